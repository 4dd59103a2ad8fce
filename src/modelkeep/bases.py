"""Which version is stored by what it differs from which: along the tree of parents, and never deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from modelkeep.manifest import MAX_DEPTH

_STEPS = 3  # along the tree; a version further away has as little in common as none
_MIDDLE = MAX_DEPTH  # versions before a new root: as many as can be stored against one another, on either side


def choose(
    numbers: Sequence[int], parents: Mapping[int, int], depths: Mapping[int, int | None]
) -> list[tuple[int, int | None]]:
    """Give each version that is still to be stored its base, or none: then it is stored by itself.

    Each gets a neighbour in the tree, parent or child, that is less than 4 deep; else the nearest such version within
    three steps; else it, or one a few versions on, becomes a root.

    Args:
        numbers: all versions, in order.
        parents: the version that each was made from; where that is not among them, the version before counts.
        depths: for each how deep it is stored, 0 for what is stored by itself; None for those that are to be stored.

    Returns:
        Number and base of those, each behind its base.

    Example:
        >>> choose(range(1, 11), {}, dict.fromkeys(range(1, 11)))
        [(5, None), (4, 5), (6, 5), (3, 4), (7, 6), (2, 3), (8, 7), (1, 2), (9, 8), (10, 8)]
    """
    tree = _Tree(numbers, parents)
    known = {number: depth for number in numbers if (depth := depths[number]) is not None}
    order: list[tuple[int, int | None]] = []
    _spread(tree, known, order, list(known))
    for number in numbers:
        while number not in known:
            found = _near(tree, known, number)
            new = number if found is not None else _root(tree, known, number)
            known[new] = 0 if found is None else known[found] + 1
            order.append((new, found))
            _spread(tree, known, order, [new])
    return order


class _Tree:
    """Who is next to whom. Parents have lower numbers, so that the lowest of any part of it is its top."""

    def __init__(self, numbers: Sequence[int], parents: Mapping[int, int]) -> None:
        self.above: dict[int, int] = {}
        self.below: dict[int, list[int]] = {number: [] for number in numbers}
        for before, number in pairwise(numbers):
            parent = parents.get(number, before)
            self.above[number] = parent if parent in self.below and parent < number else before
            self.below[self.above[number]].append(number)

    def beside(self, number: int) -> Iterator[int]:
        """Its parent and its children."""
        if number in self.above:
            yield self.above[number]
        yield from self.below[number]


def _spread(tree: _Tree, known: dict[int, int], order: list[tuple[int, int | None]], start: Sequence[int]) -> None:
    """Store against those of *start* whatever lies next to them, and so on, the least deep first."""
    left = [(known[number], number) for number in start]
    heapify(left)
    while left:
        depth, number = heappop(left)
        if depth >= MAX_DEPTH:
            return
        for other in tree.beside(number):
            if other not in known:
                known[other] = depth + 1
                order.append((other, number))
                heappush(left, (depth + 1, other))


def _near(tree: _Tree, known: Mapping[int, int], number: int) -> int | None:
    """The nearest version that another may be stored against; of those the least deep, of these the first."""
    seen = {number}
    ring = [number]
    for _ in range(_STEPS):
        ring = [other for one in ring for other in tree.beside(one) if other not in seen]
        seen.update(ring)
        fitting = [(known[one], one) for one in ring if known.get(one, MAX_DEPTH) < MAX_DEPTH]
        if fitting:
            return min(fitting)[1]
    return None


def _root(tree: _Tree, known: Mapping[int, int], top: int) -> int:
    """The middle of the next nine that hang together and are still to be stored; *top* is the first of them."""
    found: list[int] = []
    left = [top]
    while left and len(found) <= 2 * _MIDDLE:
        found.append(heappop(left))
        for other in tree.below[found[-1]]:
            if other not in known:
                heappush(left, other)
    return found[min(_MIDDLE, len(found) // 2)]
