"""A metric over versions as a small line in SVG: NaN leaves a gap and a mark, aliases stand at their versions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

import attrs

from modelkeep.markup import tag

_WIDTH, _HEIGHT = 480, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 468, 26, 136
_MOST_DOTS = 200  # more would run into each other

Point = tuple[int, float]  # the number of a version, and the value


@attrs.frozen
class _Plane:
    """Where a version and a value lie in the picture."""

    numbers: tuple[int, int]
    values: tuple[float, float]

    def place(self, number: int, value: float) -> tuple[float, float]:
        """To a tenth of a unit."""
        x = _LEFT + (_RIGHT - _LEFT) * _share(number, self.numbers)
        y = _BOTTOM - (_BOTTOM - _TOP) * _share(value, self.values)
        return round(x, 1), round(y, 1)


def _share(value: float, span: tuple[float, float]) -> float:
    # by halves, for the distance of two numbers may be more than a float holds
    low, high = span[0] / 2, span[1] / 2
    return (value / 2 - low) / (high - low) if high > low else 0.5


def line(title: str, points: Sequence[Point], standing: Mapping[str, int]) -> Element:
    """The points, of which there is at least one, by the number of the version.

    Args:
        title: what a screen reader says.
        points: versions and values, oldest first.
        standing: the version under each alias; one that is no point is left out.
    """
    drawn = [point for point in points if math.isfinite(point[1])]
    values = [value for _, value in drawn] or [0.0]
    plane = _Plane((points[0][0], points[-1][0]), (min(values), max(values)))
    return tag(
        "svg",
        tag("title", title),
        _axes(plane),
        [tag("path", d=_path(plane, run), class_="line") for run in _runs(points)],
        _dots(plane, drawn),
        _lost(plane, points),
        _rings(plane, dict(drawn), standing),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        width=_WIDTH,
        height=_HEIGHT,
        role="img",
        class_="trend",
    )


def _axes(plane: _Plane) -> list[Element]:
    low, high = plane.values
    first, last = plane.numbers
    ends = [(last, _RIGHT, "end")] if first == last else [(first, _LEFT, "start"), (last, _RIGHT, "end")]
    return [
        tag("path", d=f"M{_LEFT - 6} {_TOP - 6}V{_BOTTOM + 6}H{_RIGHT + 6}", fill="none", class_="axis"),
        *[
            tag("text", value, x=_LEFT - 10, y=round(plane.place(first, value)[1] + 4, 1), text_anchor="end")
            for value in sorted({low, high})
        ],
        *[tag("text", f"version {n}", x=x, y=_BOTTOM + 20, text_anchor=anchor) for n, x, anchor in ends],
    ]


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The points in a row that can be drawn: NaN and infinity leave a gap."""
    run: list[Point] = []
    for point in points:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(plane: _Plane, run: Sequence[Point]) -> str:
    places = (plane.place(number, value) for number, value in run)
    return "M" + "L".join(f"{x} {y}" for x, y in places)


def _dots(plane: _Plane, drawn: Sequence[Point]) -> list[Element]:
    if len(drawn) > _MOST_DOTS:
        return []
    return [
        tag("circle", tag("title", f"version {number}: {value:.6g}"), cx=x, cy=y, r=3, class_="dot")
        for number, value in drawn
        for x, y in [plane.place(number, value)]
    ]


def _lost(plane: _Plane, points: Sequence[Point]) -> Iterator[Element]:
    for number, value in points:
        if not math.isfinite(value):
            title = tag("title", f"version {number}: {value}")
            x, _ = plane.place(number, 0)
            yield tag("text", "x", title, x=x, y=_BOTTOM, class_="lost", text_anchor="middle")


def _rings(plane: _Plane, values: Mapping[int, float], standing: Mapping[str, int]) -> Iterator[Element]:
    """A ring around each version that stands under an alias, with its aliases above."""
    aliases: dict[int, list[str]] = {}
    for alias, number in sorted(standing.items()):
        if number in values:
            aliases.setdefault(number, []).append(alias)
    for number, names in aliases.items():
        x, y = plane.place(number, values[number])
        anchor = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
        yield tag("circle", cx=x, cy=y, r=6, class_="ring")
        yield tag("text", ", ".join(names), x=x, y=round(y - 10, 1), text_anchor=anchor)
