"""A lineage as a picture: shapes by kind, lines from what was there first down to what came of it.

Everything is drawn in the reader's colour (`currentColor`), so it stands on light and dark ground and in print; the
style of views adds a colour for each kind. No text from outside is in an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from unicodedata import east_asian_width
from xml.etree.ElementTree import Element

from modelkeep.layered import Point, layered
from modelkeep.lineagefold import folded
from modelkeep.lineagenodes import ALIAS, CODE, DATASET, HERE, RUN, STANDS_AT, VARIANT, Edge, Node
from modelkeep.lineagetext import shown_label
from modelkeep.markup import tag

_FONT, _LETTER = 12, 6.6  # pixels: of the font, and how wide its letters are at most on the average
_LONGEST = 30  # letters of a label
_HEIGHT, _ROOM, _EDGE = 28.0, 12.0, 6.0  # of a box; beside its text; around the picture
_MIDDLE = 0.35 * _FONT  # pixels from the middle of a line of text down to its baseline
_RIM = 3.0  # half of how high the rim of a cylinder is; its text stands so much lower, in the middle of what is below
_ARROW = 5.0
_TURN = 0.5  # of a step: where a line turns


def picture(nodes: Sequence[Node], edges: Sequence[Edge], most: int | None) -> tuple[Element, tuple[str, ...]]:
    """The drawing, and in sentences what was folded in it."""
    drawn = folded(nodes, edges, most)
    labels = [_cut(shown_label(node)) for node in drawn.nodes]
    sizes = [(_width(label) + 2 * _ROOM, _HEIGHT) for label in labels]
    places = {node.id: at for at, node in enumerate(drawn.nodes)}
    layout = layered(sizes, [(places[edge.source], places[edge.target]) for edge in drawn.edges])
    lines = [_line(edge, way) for edge, way in zip(drawn.edges, layout.ways, strict=True)]
    boxes = [
        _box(node, label, size, middle)
        for node, label, size, middle in zip(drawn.nodes, labels, sizes, layout.places, strict=True)
    ]
    width, height = layout.width + 2 * _EDGE, layout.height + 2 * _EDGE
    element = tag(
        "svg",
        tag("title", f"{len(nodes):,} nodes and {len(edges):,} edges"),
        tag("g", lines, boxes, transform=f"translate({_EDGE:g} {_EDGE:g})"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        class_="graph",
        role="img",
        font_size=_FONT,
        font_family="system-ui, sans-serif",
    )
    return element, drawn.said


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 9]}…{label[-8:]}"


def _width(label: str) -> float:
    return _LETTER * sum(2 if east_asian_width(c) in "WF" else 1 for c in label)


# -- nodes -----------------------------------------------------------------------------------------------------


def _box(node: Node, label: str, size: Point, middle: Point) -> Element:
    x, y = middle
    return tag(
        "g",
        tag("title", f"{node.kind} {node}"),
        tag(
            "path",
            d=_shape(node.kind, size),
            fill="none",
            stroke="currentColor",
            stroke_dasharray=None if node.state == HERE else "4 3",
        ),
        tag("text", label, text_anchor="middle", y=_MIDDLE + _RIM * (node.kind == DATASET), fill="currentColor"),
        class_=f"node kind-{node.kind}",
        transform=f"translate({x:.1f} {y:.1f})",
    )


def _shape(kind: str, size: Point) -> str:
    """The outline around the middle, as a path of SVG."""
    x, y = size[0] / 2, size[1] / 2
    return _SHAPES.get(kind, _rounded)(x, y)


def _rounded(x: float, y: float, radius: float = 6.0) -> str:
    r, turn = radius, f"a{radius:g} {radius:g} 0 0 1"
    sides = f"H{x - r:.1f}{turn} {r:g} {r:g}V{y - r:g}{turn} {-r:g} {r:g}H{r - x:.1f}{turn} {-r:g} {-r:g}V{r - y:g}"
    return f"M{r - x:.1f} {-y:g}{sides}{turn} {r:g} {-r:g}z"


def _cylinder(x: float, y: float, rim: float = _RIM) -> str:
    over, under = (f"a{x:.1f} {rim:g} 0 0 1 {way * x:.1f} 0" for way in (2, -2))
    return f"M{-x:.1f} {rim - y:g}{over}v{2 * (y - rim):g}{under}zm0 0a{x:.1f} {rim:g} 0 0 0 {2 * x:.1f} 0"


def _sheet(x: float, y: float) -> str:
    return f"M{-x:.1f} {-y:g}H{x - 8:.1f}L{x:.1f} {8 - y:g}V{y:g}H{-x:.1f}zM{x - 8:.1f} {-y:g}v8h8"


def _flag(x: float, y: float) -> str:
    return f"M{-x:.1f} {-y:g}H{x - 8:.1f}L{x:.1f} 0L{x - 8:.1f} {y:g}H{-x:.1f}z"


def _barred(x: float, y: float) -> str:
    return f"M{-x:.1f} {-y:g}H{x:.1f}V{y:g}H{-x:.1f}zM{4 - x:.1f} {-y:g}V{y:g}M{x - 4:.1f} {-y:g}V{y:g}"


_SHAPES: dict[str, Callable[[float, float], str]] = {
    DATASET: _cylinder,
    CODE: _sheet,
    RUN: lambda x, y: _rounded(x, y, y),
    ALIAS: _flag,
    VARIANT: _barred,
}


# -- lines -----------------------------------------------------------------------------------------------------


def _line(edge: Edge, way: Sequence[Point]) -> Element:
    points = _between(way)
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        turn = (y2 - y1) * _TURN
        parts.append(f"C{x1:.1f} {y1 + turn:.1f} {x2:.1f} {y2 - turn:.1f} {x2:.1f} {y2:.1f}")
    x, y = points[-1]
    up = _ARROW if way[-1][1] >= way[0][1] else -_ARROW
    head = f"M{x - _ARROW * 0.7:.1f} {y - up:.1f}L{x:.1f} {y:.1f}L{x + _ARROW * 0.7:.1f} {y - up:.1f}z"
    return tag(
        "g",
        tag("title", str(edge)),
        tag(
            "path",
            d="".join(parts),
            fill="none",
            stroke="currentColor",
            stroke_opacity="0.55",
            stroke_dasharray="4 3" if edge.relation == STANDS_AT else None,
        ),
        tag("path", d=head, fill="currentColor", fill_opacity="0.7"),
        class_="edge",
    )


def _between(way: Sequence[Point]) -> list[Point]:
    """The way from border to border instead of middle to middle."""
    down = 1 if way[-1][1] >= way[0][1] else -1
    first, last = way[0], way[-1]
    return [(first[0], first[1] + down * _HEIGHT / 2), *way[1:-1], (last[0], last[1] - down * _HEIGHT / 2)]
