"""Line charts as SVG, for pages that run nothing: series are told apart by dash and marker as well as by colour.

They are 480 units wide, so that the labels can be read on a telephone. Colours come from `markup.css`, which knows
light and dark; without it, all is drawn in the colour of the text.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

import attrs

from modelkeep.markup import Child, readable, tag

MOST = 6  # series in one chart; more cannot be told apart
WIDTH, HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, WIDTH - 14, 14, HEIGHT - 42
_ROW, _ENTRY, _LONGEST = 16, 220, 30  # of the legend: height of a row, width of an entry, characters of a name
_STEP = 2  # units of width that a group of points shares
_MOST_KEPT = 4000  # points of a line
_MARKED = 8  # points of a long line that get a marker
_FEW = 24  # points of a line each of which gets one
_LARGEST = sys.float_info.max
_SMALL = 1e-290  # what differs by less counts as equal: slopes would overflow
_DASHES = (None, "7 3", "2 3", "9 3 2 3", "5 2 1 2 1 2", "12 4")
_MARKERS = (
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",  # circle
    "m-3-3h6v6h-6z",  # square
    "m0-4l4 7h-8z",  # triangle
    "m0-4l4 4l-4 4l-4-4z",  # diamond
    "m-1-4h2v3h3v2h-3v3h-2v-3h-3v-2h3z",  # cross
    "m0 4l4-7h-8z",  # triangle, upside down
)

Point = tuple[float, float]


@attrs.frozen
class Series:
    """A line of a chart: its name, and where its points lie. A point that is no finite number is a gap in the line."""

    name: str
    x: Sequence[float] = attrs.field(repr=False)
    y: Sequence[float] = attrs.field(repr=False)

    def points(self) -> list[Point | None]:
        """The points; None for a gap."""
        pairs = zip(self.x, self.y, strict=True)
        return [(x, y) if math.isfinite(x) and math.isfinite(y) else None for x, y in pairs]


@attrs.frozen
class _Axis:
    """One side of a chart: from which value to which, and between which places these are drawn."""

    low: float
    high: float
    start: float
    end: float
    whole: bool

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """The axis that has room for *values*."""
        low, high = min(values), max(values)
        if high / 2 - low / 2 < _SMALL:  # halved, for the difference may be larger than any number
            room = abs(low) * 0.05 if abs(low) * 0.05 > _SMALL else 0.5
            low, high = max(low - room, -_LARGEST), min(high + room, _LARGEST)
        return cls(low, high, start, end, all(value == int(value) for value in values))

    def places(self, values: Iterable[float]) -> list[float]:
        """Where values are drawn."""
        base, slope = self.low / 2, (self.end - self.start) / (self.high / 2 - self.low / 2)
        return [self.start + (value / 2 - base) * slope for value in values]

    def ticks(self) -> list[tuple[float, str]]:
        """Places of round values on the axis, and what these are called."""
        rough = (self.high / 2 - self.low / 2) / 3
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
        step = max(step, 1.0) if self.whole else step
        first = math.ceil(self.low / step)
        values = [value for n in range(8) if self.low <= (value := (first + n) * step) <= self.high]
        named = {self._called(value, step): value for value in values}  # where floats are rare, two may be called alike
        return list(zip(self.places(named.values()), named, strict=True))

    def _called(self, value: float, step: float) -> str:
        """A value with as many digits as tell it from those one step away."""
        largest, decimals = max(abs(self.low), abs(self.high)), -math.floor(math.log10(step) + 1e-9)
        if largest < 1e6 and decimals <= 6:  # noqa: PLR2004  beyond, powers of ten are shorter
            return f"{value + 0.0:,.{max(0, decimals)}f}"
        return f"{value + 0.0:.{min(17, max(3, math.ceil(math.log10(largest / step)) + 1))}g}"


def line_chart(series: Sequence[Series], *, x: str, y: str, marks: Mapping[float, str] | None = None) -> Element | None:
    """Draw lines over one pair of axes; None if no point is finite.

    A line of many points is drawn by the first, least, greatest and last of those that share two units of width.

    Args:
        series: the lines; those after the first `MOST` are named and not drawn.
        x: what the points lie along, with its unit.
        y: what they measure, with its unit.
        marks: places on the x axis that get an upright line with a name.

    Example:
        >>> chart = line_chart([Series("loss", [0, 1, 2], [0.9, 0.5, 0.4])], x="step", y="loss")
        >>> chart.tag, chart.get("viewBox")
        ('svg', '0 0 480 240')
    """
    drawn = [(one, one.points()) for one in series[:MOST]]
    finite = [point for _, points in drawn for point in points if point]
    if not finite:
        return None
    across = _Axis.around([at for at, _ in finite], _LEFT, _RIGHT)
    upright = _Axis.around([value for _, value in finite], _BOTTOM, _TOP)
    names = [] if [one.name for one in series] == [y] else [one.name for one in series]
    height = HEIGHT + _ROW * math.ceil(min(len(names), MOST + 1) / 2)
    return tag(
        "svg",
        tag("title", f"{y} by {x}: {', '.join(one.name for one, _ in drawn)}"),
        _axes(across, upright, x, y),
        _marks(across, marks or {}),
        [_line(n, _placed(points, across, upright)) for n, (_, points) in enumerate(drawn)],
        _legend(names),
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        class_="sketch",
        font_size=11,
    )


def _axes(across: _Axis, upright: _Axis, x: str, y: str) -> Iterator[Child]:
    for place, name in upright.ticks():
        at = f"{place:.1f}"
        yield tag("path", d=f"M{_LEFT} {at}H{_RIGHT}", fill="none", stroke="currentColor", stroke_opacity=0.2)
        yield tag("text", name, x=_LEFT - 6, y=at, text_anchor="end", dominant_baseline="middle")
    for place, name in across.ticks():
        yield tag("text", name, x=f"{place:.1f}", y=_BOTTOM + 15, text_anchor="middle")
    yield tag("path", d=f"M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}", fill="none", stroke="currentColor")
    yield tag("text", _short(x), x=(_LEFT + _RIGHT) // 2, y=_BOTTOM + 31, text_anchor="middle")
    middle = (_TOP + _BOTTOM) // 2
    yield tag("text", _short(y), x=11, y=middle, transform=f"rotate(-90 11 {middle})", text_anchor="middle")


def _marks(across: _Axis, marks: Mapping[float, str]) -> Iterator[Child]:
    for value, name in marks.items():
        if across.low <= value <= across.high:
            (place,) = across.places([value])
            side, gap = ("end", -4) if place > WIDTH * 0.7 else ("start", 4)
            yield tag("path", d=f"M{place:.1f} {_TOP}V{_BOTTOM}", stroke="currentColor", stroke_dasharray="3 3")
            yield tag("text", _short(name), x=f"{place + gap:.1f}", y=_TOP - 3, text_anchor=side)


def _placed(points: Sequence[Point | None], across: _Axis, upright: _Axis) -> list[Point | None]:
    """Where the points are drawn, thinned."""
    finite = [point for point in points if point]
    places = zip(across.places(x for x, _ in finite), upright.places(y for _, y in finite), strict=True)
    kept = [one for group in _groups(None if one is None else next(places) for one in points) for one in group]
    return kept[:: len(kept) // _MOST_KEPT + 1]  # where steps go to and fro, no two neighbours share a width


def _groups(placed: Iterable[Point | None]) -> Iterator[Sequence[Point | None]]:
    """The outlines of neighbours that share a width; a gap is a group of its own."""
    for shared, group in itertools.groupby(placed, lambda point: None if point is None else point[0] // _STEP):
        yield [None] if shared is None else _outline([point for point in group if point])


def _outline(group: Sequence[Point]) -> Sequence[Point]:
    """The first, least, greatest and last of a group, in their order."""
    if len(group) <= 4:  # noqa: PLR2004  as many as are kept
        return group
    heights = [height for _, height in group]
    kept = {0, heights.index(min(heights)), heights.index(max(heights)), len(group) - 1}
    return [group[at] for at in sorted(kept)]


def _line(number: int, points: Sequence[Point | None]) -> list[Element]:
    """The line of a series, and markers on some of its points."""
    finite = [point for point in points if point]
    shown = finite if len(finite) <= _FEW else finite[:: max(1, len(finite) // _MARKED)]
    shape = "".join(_stroke(points))
    return [
        tag("path", d=shape, class_=f"curve s{number + 1}", fill="none", stroke="currentColor", stroke_width=1.5,
            stroke_dasharray=_DASHES[number], stroke_linejoin="round"),
        tag("path", d="".join(f"M{x:.1f} {y:.1f}{_MARKERS[number]}" for x, y in shown), class_=f"point s{number + 1}",
            fill="currentColor"),
    ]  # fmt: skip


def _stroke(points: Sequence[Point | None]) -> Iterator[str]:
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            yield f"{pen}{point[0]:.1f} {point[1]:.1f}"
            pen = "L"


def _legend(names: Sequence[str]) -> Iterator[Child]:
    """A piece of each line with its name, two in a row."""
    left_out = len(names) - MOST
    told = [*names[:MOST], *([f"and {left_out} more"] if left_out > 0 else [])]
    for number, name in enumerate(told):
        x, y = 14 + number % 2 * _ENTRY, HEIGHT + _ROW * (number // 2) + 4
        if number < MOST:
            yield _line(number, [(x, y - 4), (x + 15, y - 4), (x + 30, y - 4)])
        yield tag("text", _short(name), x=x + 38, y=y)


def _short(text: str) -> str:
    line = " ".join(readable(text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
