"""A layered layout of a directed graph: numbers in, numbers out.

After K. Sugiyama, S. Tagawa and M. Toda, Methods for Visual Understanding of Hierarchical System Structures, IEEE
Trans. SMC 11 (1981): break circles, put nodes on layers, order each layer by barycentres, then place. Layers are those
of the longest path, then a node goes down where that makes its edges shorter together, which E. Gansner et al., A
Technique for Drawing Directed Graphs (1993) do by a network simplex. Places within a layer are the least squares under
the distances that there must be, by pooling adjacent violators (R. Barlow et al., Statistical Inference under Order
Restrictions, 1972).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

import attrs

_SWEEPS = 12  # up and down over the layers; beyond, nothing got better on graphs of 200 nodes
_PASSES = 10  # of placing
_PULLS = (1.0, 0.02, 8.0)  # of an edge between two nodes, a node and what stands in for one, two of these
Point = tuple[float, float]


@attrs.frozen
class Layout:
    """Where nodes and edges lie; down is the direction of the edges.

    Args:
        width: of it all.
        height: of it all.
        places: the middle of each node.
        ways: of each edge, the points that it goes through, from the middle of its source to that of its target.
    """

    width: float
    height: float
    places: tuple[Point, ...]
    ways: tuple[tuple[Point, ...], ...]


def layered(
    sizes: Sequence[Point], edges: Sequence[tuple[int, int]], *, apart: float = 16.0, between: float = 40.0
) -> Layout:
    """Lay out a graph, which may have circles, loops and parts that do not hang together.

    Args:
        sizes: width and height of each node.
        edges: source and target, by place in *sizes*.
        apart: the least distance of neighbours in a layer.
        between: the distance of layers.

    Example:
        >>> layout = layered([(10, 4), (10, 4), (10, 4)], [(0, 1), (0, 2)], apart=2, between=6)
        >>> layout.places
        ((11.0, 2.0), (5.0, 12.0), (17.0, 12.0))
    """
    if not sizes:
        return Layout(0.0, 0.0, (), ())
    arcs = _without_circles(len(sizes), edges)
    layers = _layers(len(sizes), arcs)
    grid = _Grid.of(sizes, layers, arcs)
    _order(grid)
    middles = _placed(grid, apart)
    rows = [max((sizes[one][1] for one in row if one < len(sizes)), default=0.0) for row in grid.rows]
    tops = [sum(rows[:at]) + between * at for at in range(len(rows))]
    points = [(middles[one], tops[layer] + rows[layer] / 2) for one, layer in enumerate(grid.layers)]
    ways = [tuple(points[one] for one in grid.way(source, target)) for source, target in edges]
    width = max(middles[one] + grid.widths[one] / 2 for one in range(len(points)))
    return Layout(width, tops[-1] + rows[-1], tuple(points[: len(sizes)]), tuple(ways))


# -- layers ----------------------------------------------------------------------------------------------------


def _without_circles(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each edge once, without loops, those turned around that close a circle in a walk into the depth."""
    after: list[list[int]] = [[] for _ in range(count)]
    for source, target in dict.fromkeys(edges):
        if source != target:
            after[source].append(target)
    done, open_ = [False] * count, [False] * count
    arcs: dict[tuple[int, int], None] = {}
    for root in range(count):
        stack = [] if done[root] else [(root, iter(after[root]))]
        open_[root] = bool(stack)
        while stack:
            one, rest = stack[-1]
            other = next(rest, None)
            if other is None:
                stack.pop()
                open_[one], done[one] = False, True
                continue
            arcs[(other, one) if open_[other] else (one, other)] = None
            if not (done[other] or open_[other]):
                open_[other] = True
                stack.append((other, iter(after[other])))
    return list(arcs)


def _layers(count: int, arcs: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path to each node; then those with more below than above go down as far as they may."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in arcs:
        above[target].append(source)
        below[source].append(target)
    left = [len(one) for one in above]
    sorted_ = [one for one in range(count) if not left[one]]
    layers = [0] * count
    for one in sorted_:  # grows on the way
        for other in below[one]:
            layers[other] = max(layers[other], layers[one] + 1)
            left[other] -= 1
            if not left[other]:
                sorted_.append(other)
    for one in reversed(sorted_):
        if below[one] and len(below[one]) > len(above[one]):
            layers[one] = min(layers[other] for other in below[one]) - 1
    return layers


# -- order -----------------------------------------------------------------------------------------------------


@attrs.define
class _Grid:
    """The nodes and what stands in for long edges, layer by layer; the long edges of a node share what stands in."""

    layers: list[int]
    widths: list[float]
    rows: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]
    stand_ins: dict[tuple[int, int], int]

    @classmethod
    def of(cls, sizes: Sequence[Point], layers: list[int], arcs: Sequence[tuple[int, int]]) -> _Grid:
        grid = cls([*layers], [width for width, _ in sizes], [], [[] for _ in sizes], [[] for _ in sizes], {})
        for source, target in arcs:
            last = source
            for layer in range(layers[source] + 1, layers[target]):
                last = grid._stand_in(source, layer, last)
            grid._link(last, target)
        grid.rows = [[] for _ in range(max(layers) + 1)]
        for one, layer in enumerate(grid.layers):
            grid.rows[layer].append(one)
        return grid

    def _stand_in(self, source: int, layer: int, last: int) -> int:
        found = self.stand_ins.get((source, layer))
        if found is None:
            found = self.stand_ins[source, layer] = len(self.layers)
            self.layers.append(layer)
            self.widths.append(0.0)
            self.above.append([])
            self.below.append([])
            self._link(last, found)
        return found

    def _link(self, one: int, other: int) -> None:
        self.below[one].append(other)
        self.above[other].append(one)

    def is_stand_in(self, one: int) -> bool:
        return one >= len(self.layers) - len(self.stand_ins)

    def way(self, source: int, target: int) -> list[int]:
        if self.layers[source] > self.layers[target]:  # it was turned around
            return self.way(target, source)[::-1]
        between = range(self.layers[source] + 1, self.layers[target])
        return [source, *(self.stand_ins[source, layer] for layer in between), target]


def _order(grid: _Grid) -> None:
    """Sort layers by the mean place of neighbours, down and up in turn; the order with the fewest crossings stays."""
    best, fewest = [[*row] for row in grid.rows], _crossings(grid)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for row in grid.rows[1:] if down else grid.rows[-2::-1]:
            _sort(grid, row, grid.above if down else grid.below)
        if (now := _crossings(grid)) < fewest:
            best, fewest = [[*row] for row in grid.rows], now
    grid.rows = best


def _sort(grid: _Grid, row: list[int], beside: list[list[int]]) -> None:
    layer = next((grid.layers[other] for one in row for other in beside[one]), None)
    if layer is None:
        return
    place = {other: at for at, other in enumerate(grid.rows[layer])}
    here = {one: at for at, one in enumerate(row)}
    mean = {one: sum(place[o] for o in beside[one]) / len(beside[one]) if beside[one] else here[one] for one in row}
    row.sort(key=lambda one: (mean[one], here[one]))


def _crossings(grid: _Grid) -> int:
    """How many pairs of edges cross, over all layers."""
    return sum(_between(grid, upper, lower) for upper, lower in pairwise(grid.rows))


def _between(grid: _Grid, upper: list[int], lower: list[int]) -> int:
    place = {one: at for at, one in enumerate(lower)}
    seen: list[int] = []
    found = 0
    for one in upper:
        ends = sorted(place[other] for other in grid.below[one])
        found += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return found


# -- places ----------------------------------------------------------------------------------------------------


def _placed(grid: _Grid, apart: float) -> list[float]:
    """The middle of each node across: near those that it hangs together with, and *apart* from its neighbours."""
    middles = [0.0] * len(grid.layers)
    for row in grid.rows:
        for one, offset in zip(row, _offsets(grid, row, apart), strict=True):
            middles[one] = offset
    for step in range(_PASSES):
        for row in grid.rows if step % 2 else grid.rows[::-1]:
            wanted = [_mean(grid, one, middles, up=step % 2 == 1) for one in row]
            for one, middle in zip(row, _settled(wanted, _offsets(grid, row, apart)), strict=True):
                middles[one] = middle
    left = min(middle - width / 2 for middle, width in zip(middles, grid.widths, strict=True))
    return [middle - left for middle in middles]


def _offsets(grid: _Grid, row: list[int], apart: float) -> list[float]:
    """The least distance of each from the first."""
    offsets = [0.0]
    for one, other in pairwise(row):
        offsets.append(offsets[-1] + (grid.widths[one] + grid.widths[other]) / 2 + apart)
    return offsets


def _mean(grid: _Grid, one: int, middles: list[float], *, up: bool) -> float:
    """Where it would like to lie: long lines pull little at nodes, so that chains beside them stay straight."""
    near = grid.above[one] if up else grid.below[one]
    if not near:
        return middles[one]
    pulls = [_PULLS[grid.is_stand_in(one) + grid.is_stand_in(other)] for other in near]
    return sum(pull * middles[other] for pull, other in zip(pulls, near, strict=True)) / sum(pulls)


def _settled(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The places that lie nearest to *wanted* with the distances of *offsets* kept."""
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    starts = [mean for mean, count in pools for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
