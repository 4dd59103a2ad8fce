"""How far the values of a column moved: PSI and KS, of values at hand or of two profiles.

The population stability index (Lewis 1994, Siddiqi 2006) compares shares of bins, here the tenths of the old values, or
the values themselves where few differ; below 0.1 is read as stable, above 0.25 as moved. The statistic of Kolmogorov
(1933) and Smirnov (1939) is the greatest distance of the two distribution functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from modelkeep.capture.frames.columns import Array
from modelkeep.dataset import LEVELS, ColumnProfile

_LEAST = 1e-4  # the share of an empty bin, so that its logarithm is one
_FEW = 100  # values that are bins themselves


@attrs.frozen
class Drift:
    """How far one column moved.

    Args:
        psi: the population stability index; 0 is no change.
        ks: the greatest distance of the distribution functions, from 0 to 1; None where values have no order.
        nulls: the share of missing values, before and now.
        exact: whether all values were compared; else it was reckoned from two profiles, whose quantiles are of 10,000
            rows.
    """

    psi: float
    ks: float | None
    nulls: tuple[float, float]
    exact: bool


def stability(old: Any, new: Any) -> float:
    """The population stability index of shares of the same bins.

    Example:
        >>> round(stability([0.5, 0.5], [0.25, 0.75]), 4)
        0.2747
    """
    before, now = (np.maximum(np.asarray(shares, "f8"), _LEAST) for shares in (old, new))
    return float(np.sum((now - before) * np.log(now / before)))


def of_values(old: Array, new: Array, nulls: tuple[float, float]) -> Drift | None:
    """The drift of numbers; None where one side has none.

    Args:
        old: before, without those that are missing.
        new: now.
        nulls: the shares of those that are missing.
    """
    if not len(old) or not len(new):
        return None
    before, now = np.sort(old), np.sort(new)
    edges = np.unique(np.quantile(before, np.arange(1, 10) / 10, method="inverted_cdf"))
    shares = [np.diff([0.0, *(np.searchsorted(part, edges, side="right") / len(part)), 1.0]) for part in (before, now)]
    points = np.concatenate([before, now])
    far = [np.searchsorted(part, points, side="right") / len(part) for part in (before, now)]
    return Drift(_with_nulls(shares[0], shares[1], nulls), float(np.max(np.abs(far[0] - far[1]))), nulls, exact=True)


def of_hashes(old: Array, new: Array, nulls: tuple[float, float]) -> Drift | None:
    """The drift of values without an order, by their numbers; the rarest share one bin."""
    if not len(old) or not len(new):
        return None
    values, counts = np.unique(old, return_counts=True)
    kept = np.sort(values[np.argsort(counts)[::-1][:_FEW]])
    shares = []
    for part in (old, new):
        places = np.minimum(np.searchsorted(kept, part), len(kept) - 1)
        found = np.bincount(places[kept[places] == part], minlength=len(kept)) / len(part)
        shares.append(np.append(found, max(0.0, 1 - found.sum())))
    return Drift(_with_nulls(shares[0], shares[1], nulls), None, nulls, exact=True)


def _with_nulls(old: Any, new: Any, nulls: tuple[float, float]) -> float:
    """Values that are missing are a bin, too, where there are some."""
    if not any(nulls):
        return stability(old, new)
    return stability(
        *(np.append(np.asarray(part) * (1 - gone), gone) for part, gone in zip((old, new), nulls, strict=True))
    )


def of_profiles(old: ColumnProfile, new: ColumnProfile, rows: tuple[int, int]) -> Drift | None:
    """The drift between two profiles; None where they do not tell it."""
    nulls = (_share(old.nulls, rows[0]), _share(new.nulls, rows[1]))
    if old.of != new.of:
        return None
    if _complete(old, rows[0]) and _complete(new, rows[1]):
        before, now = dict(old.top), dict(new.top)
        names = [*before, *(name for name in now if name not in before)]
        shares = [_shares(counts, names) for counts in (before, now)]
        return Drift(_with_nulls(shares[0], shares[1], nulls), _top_distance(before, now), nulls, exact=False)
    if not old.quantiles or not new.quantiles or not _finite(old) or not _finite(new):
        return None
    edges = np.unique(old.quantiles[2:-2])
    parts = [np.diff([0.0, *_below(one, edges), 1.0]) for one in (old, new)]
    points = np.array([*old.quantiles, *new.quantiles])
    far = float(np.max(np.abs(_below(old, points) - _below(new, points))))
    return Drift(_with_nulls(parts[0], parts[1], nulls), far, nulls, exact=False)


def _share(count: int, of: int) -> float:
    return min(1.0, count / of) if of else 0.0


def _complete(profile: ColumnProfile, rows: int) -> bool:
    """Whether the frequent values are all values."""
    return bool(profile.top) and sum(count for _, count in profile.top) == rows - profile.nulls


def _shares(counts: Mapping[Any, int], names: list[Any]) -> list[float]:
    total = sum(counts.values())
    return [counts.get(name, 0) / total for name in names]


def _top_distance(old: Mapping[Any, int], new: Mapping[Any, int]) -> float | None:
    names = [*old, *new]
    if any(isinstance(name, str) for name in names):
        return None
    ordered = sorted(set(names))
    far = [np.cumsum(_shares(counts, ordered)) for counts in (old, new)]
    return float(np.max(np.abs(far[0] - far[1])))


def _finite(profile: ColumnProfile) -> bool:
    ends = (profile.minimum, profile.maximum, *profile.quantiles)
    return all(one is not None and math.isfinite(one) for one in ends)


def _below(profile: ColumnProfile, points: Any) -> Array:
    """The share of values up to each point: at a quantile its level, between two a line."""
    values = np.array([profile.minimum, *profile.quantiles, profile.maximum], "f8")
    levels = np.array([0.0, *LEVELS, 1.0])
    kept = np.append(values[1:] != values[:-1], True)  # the last of equal values
    return np.interp(points, values[kept], levels[kept], left=0.0, right=1.0)
