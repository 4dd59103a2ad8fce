"""How far numbers moved, whatever they are: norms that neither overflow nor vanish, and NaN told apart from numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

_BLOCK = 1 << 16  # elements that are widened at once: as float64 they stay in the cache of a core
_LEAST, _MOST = 1e-280, 1e300  # squares within are exact enough; beyond them numbers are scaled first

Array = Any


@attrs.frozen
class Sums:
    """What is known of the elements so far.

    Args:
        norm: of those before that are finite in both.
        moved: the norm of the change of these.
        changed: how many differ.
        not_finite: how many were, and are, NaN or infinite.
        read: bytes.
    """

    norm: float = 0.0
    moved: float = 0.0
    changed: int = 0
    not_finite: tuple[int, int] = (0, 0)
    read: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            math.hypot(self.norm, other.norm),
            math.hypot(self.moved, other.moved),
            self.changed + other.changed,
            (self.not_finite[0] + other.not_finite[0], self.not_finite[1] + other.not_finite[1]),
            self.read + other.read,
        )

    @property
    def relative(self) -> float | None:
        """The norm of the change by the norm before; None where both are too large for a number."""
        if not self.moved:
            return 0.0
        if math.isinf(self.moved):
            return None
        return self.moved / self.norm if self.norm else math.inf


def differing(before: Array, after: Array) -> int:
    """How many elements that are no numbers have other bytes, or of two types another value."""
    if before.dtype != after.dtype:
        return int(np.count_nonzero(before != after))
    parts = [np.ascontiguousarray(one).view(np.uint8).reshape(len(one), -1) for one in (before, after)]
    return int((parts[0] != parts[1]).any(axis=1).sum())


def of_elements(before: Array, after: Array) -> Sums:
    """What became of a run of numbers, a little of it at a time.

    Example:
        >>> found = of_elements(np.array([3.0, 4.0, np.nan]), np.array([3.0, 4.5, np.nan]))
        >>> found.relative, found.changed, found.not_finite
        (0.1, 1, (1, 1))
    """
    with np.errstate(all="ignore"):  # what overflows is reckoned again, scaled
        return sum(_blocks(before, after), Sums())


def _blocks(before: Array, after: Array) -> Iterator[Sums]:
    pairs = "c" in (before.dtype.kind, after.dtype.kind)
    whole = before.dtype == after.dtype and before.dtype.kind in "iu" and before.dtype.itemsize == 8  # noqa: PLR2004
    for at in range(0, len(before), _BLOCK):
        old, new = before[at : at + _BLOCK], after[at : at + _BLOCK]
        sums = _of_block(_wide(old, pairs=pairs), _wide(new, pairs=pairs))
        # a complex number is two floats there, and float64 does not tell all whole numbers of 64 bits apart
        yield attrs.evolve(sums, changed=int(np.count_nonzero(_differs(old, new)))) if pairs or whole else sums


def _wide(block: Array, *, pairs: bool) -> Array:
    if pairs:
        return block.astype(np.complex128).view(np.float64)
    return block.astype(np.float64, copy=False)


def _differs(old: Array, new: Array) -> Array:
    return (old != new) & ~(np.isnan(old) & np.isnan(new))


def _of_block(old: Array, new: Array) -> Sums:
    moved = new - old
    squares = float(np.dot(old, old)), float(np.dot(moved, moved))
    if all(map(_is_sound, squares, (old, moved))):
        return Sums(math.sqrt(squares[0]), math.sqrt(squares[1]), int(np.count_nonzero(moved)))
    return _of_odd_block(old, new)


def _is_sound(square: float, values: Array) -> bool:
    return _LEAST < square < _MOST or (not square and not values.any())


def _of_odd_block(old: Array, new: Array) -> Sums:
    """The same where an element is NaN or infinite, or the squares are too large or too small for a float."""
    finite = [np.isfinite(one) for one in (old, new)]
    both = finite[0] & finite[1]
    before, after = (np.where(both, one, 0.0) for one in (old, new))
    return Sums(
        _norm(before),
        2 * _norm(after / 2 - before / 2),  # the difference of two floats may be none
        int(np.count_nonzero(_differs(old, new))),
        (int(np.count_nonzero(~finite[0])), int(np.count_nonzero(~finite[1]))),
    )


def _norm(values: Array) -> float:
    top = float(np.max(np.abs(values), initial=0.0))
    return top * float(np.linalg.norm(values / top)) if top else 0.0
