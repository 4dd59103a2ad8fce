"""Where a model became worse: rows by the values of one column at a time, each slice with its interval and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import attrs
import numpy as np

from modelkeep.paired import holm, mean_interval, sign_test

LEAST = 20  # rows of a slice; below, an interval says nothing
WORST = 5  # slices that are told
_MANY = 20  # different whole numbers are values of their own up to here, and bins beyond
_MAX_COLUMNS, _MAX_VALUES = 500, 100

Array = Any


@attrs.frozen(kw_only=True)
class Slice:
    """Rows that have one value, or a range of values, in one column, on which the score fell.

    Args:
        column: its name.
        values: which rows: ``= north``, or ``in (3, 7]``.
        rows: how many.
        before: the mean score of these rows: the share that is right, or the mean absolute error with a minus.
        after: the same of the other version.
        low: the difference is at least this; at 95 %, for this slice alone.
        high: and at most this.
        worse: rows of which the score fell.
        better: rows of which it rose.
        adjusted: the exact sign test of these, as Holm corrects it for all slices that were looked at.
    """

    column: str
    values: str
    rows: int
    before: float
    after: float
    low: float
    high: float
    worse: int
    better: int
    adjusted: float

    def __str__(self) -> str:
        return f"{self.column} {self.values}"

    @property
    def difference(self) -> float:
        """After less before; below 0."""
        return self.after - self.before


def worst_slices(columns: Mapping[str, Array], before: Array, after: Array) -> tuple[Slice, ...]:
    """The slices of at least 20 rows on which the mean score fell most, at most five.

    Args:
        columns: arrays by name, a value for each row.
        before: the score of each row; more is better.
        after: the same of the other version.

    Example:
        >>> region = np.repeat(["north", "south"], 50)
        >>> [found] = worst_slices({"region": region}, np.ones(100), np.asarray(region == "north", float))
        >>> str(found), found.rows, found.difference
        ('region = south', 50, -1.0)
    """
    change = np.asarray(after, "f8") - np.asarray(before, "f8")
    found = [
        (name, values, rows)
        for name, column in list(columns.items())[:_MAX_COLUMNS]
        for values, rows in _slices(np.asarray(column))
        if LEAST <= len(rows) < len(change)
    ]
    signs = [(int((change[rows] < 0).sum()), int((change[rows] > 0).sum())) for _, _, rows in found]
    adjusted = holm([sign_test(*pair) for pair in signs])
    order = sorted(range(len(found)), key=lambda place: (change[found[place][2]].mean(), adjusted[place]))
    told = [place for place in order if change[found[place][2]].mean() < 0][:WORST]
    return tuple(_slice(found[place], before, after, signs[place], adjusted[place]) for place in told)


def _slice(
    found: tuple[str, str, Array], before: Array, after: Array, signs: tuple[int, int], adjusted: float
) -> Slice:
    column, values, rows = found
    low, high = mean_interval(after[rows] - before[rows])
    return Slice(
        column=column,
        values=values,
        rows=len(rows),
        before=float(before[rows].mean()),
        after=float(after[rows].mean()),
        low=low,
        high=high,
        worse=signs[0],
        better=signs[1],
        adjusted=adjusted,
    )


def _slices(column: Array) -> Iterator[tuple[str, Array]]:
    """The rows of each value, or of each quarter of the values where many differ; those without a value apart."""
    if column.ndim != 1:
        return
    gone = np.array([one is None or one != one for one in column.tolist()], bool)  # noqa: PLR0124  not a number
    there = np.flatnonzero(~gone)
    if gone.any():
        yield "is missing", np.flatnonzero(gone)
    values = column[there]
    if column.dtype.kind in "fiu":
        yield from _numbers(values, there)
    else:
        words, codes = np.unique(np.array([str(one) for one in values.tolist()]), return_inverse=True)
        if len(words) <= _MAX_VALUES:
            yield from ((f"= {word}", there[codes == code]) for code, word in enumerate(words))


def _numbers(values: Array, there: Array) -> Iterator[tuple[str, Array]]:
    different = np.unique(values)
    if values.dtype.kind in "iu" and len(different) <= _MANY:
        yield from ((f"= {one}", there[values == one]) for one in different)
        return
    edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf")) if len(values) else values
    if len(edges) > 1:
        codes = np.maximum(np.searchsorted(edges, values, side="left"), 1) - 1
        for code, (start, stop) in enumerate(pairwise(edges)):
            yield f"in {'(' if code else '['}{start:g}, {stop:g}]", there[codes == code]
