"""How many rows two datasets share: exactly where both are at hand, else from the least hashes of each.

A sketch has the 256 least of the different row hashes (bottom-k MinHash: Broder 1997, Cohen and Kaplan 2007). Those
below the greater bound of neither are a random sample of all rows of both, so the share in it is that of the whole; the
bounds are Wilson's (1927), for 19 of 20 sketches.
"""

from __future__ import annotations

import math
from bisect import bisect_right

import attrs
import numpy as np

from modelkeep.capture.frames.columns import Array
from modelkeep.dataset import SKETCH, Sketch

_Z = 1.959963984540054  # of the normal distribution, for 95 %


@attrs.define
class Least:
    """Gathers the least of the different hashes."""

    _kept: Array = attrs.field(factory=lambda: np.zeros(0, "u8"))

    def add(self, hashes: Array) -> None:
        """See more rows."""
        if len(self._kept) == SKETCH:
            hashes = hashes[hashes < self._kept[-1]]
        if len(hashes) > 4 * SKETCH:  # to find the least of many needs no sort of all
            bound = np.partition(hashes, 2 * SKETCH)[2 * SKETCH]
            least = np.unique(hashes[hashes <= bound])
            hashes = least if len(least) >= SKETCH else np.unique(hashes)
        self._kept = np.unique(np.concatenate([self._kept, hashes]))[:SKETCH]

    def hashes(self) -> tuple[int, ...]:
        """Those that are kept, in order."""
        return tuple(self._kept.tolist())


@attrs.frozen
class Overlap:
    """How much of one dataset is in another.

    Args:
        share: of the different rows of the second, those that are in the first, too; from 0 to 1.
        low: the share is at least this.
        high: and at most this.
        exact: whether all rows were compared; else *low* and *high* hold for 19 of 20 sketches.

    Example:
        >>> str(Overlap(0.25, 0.12, 0.41, exact=False))
        '25.0 % (12.0 to 41.0)'
    """

    share: float
    low: float
    high: float
    exact: bool

    def __str__(self) -> str:
        bounds = "" if self.exact else f" ({self.low * 100:.1f} to {self.high * 100:.1f})"
        return f"{self.share * 100:.1f} %{bounds}"


def overlap(first: Sketch | None, second: Sketch | None) -> Overlap | None:
    """The share of the rows of *second* that are in *first*, too; None where that cannot be told.

    Args:
        first: of the training data, say.
        second: of the validation data.

    Example:
        >>> overlap(Sketch("x", (1, 2, 3, 9)), Sketch("x", (3, 7)))
        Overlap(share=0.5, low=0.5, high=0.5, exact=True)
    """
    if first is None or second is None or first.columns != second.columns or not second.hashes:
        return None
    here, there = set(first.hashes), second.hashes
    if len(here) < SKETCH and len(there) < SKETCH:  # all rows of both
        return _exact(sum(one in here for one in there), len(there))
    bounds = [hashes[-1] for hashes in (first.hashes, there) if len(hashes) == SKETCH]
    sample = there[: bisect_right(there, min(bounds))]
    if not sample:
        return Overlap(0.0, 0.0, 1.0, exact=False)
    return _estimated(sum(one in here for one in sample), len(sample))


def overlap_of_rows(first: Array, second: Array) -> Overlap | None:
    """The same of all row hashes."""
    different = np.unique(second)
    if not len(different):
        return None
    return _exact(int(np.isin(different, np.unique(first), assume_unique=True).sum()), len(different))


def _exact(count: int, of: int) -> Overlap:
    return Overlap(count / of, count / of, count / of, exact=True)


def _estimated(count: int, of: int) -> Overlap:
    share = count / of
    scale = 1 + _Z**2 / of
    middle = (share + _Z**2 / (2 * of)) / scale
    half = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2)) / scale
    low = max(0.0, middle - half) if count else 0.0
    high = min(1.0, middle + half) if count < of else 1.0
    return Overlap(share, low, high, exact=False)
