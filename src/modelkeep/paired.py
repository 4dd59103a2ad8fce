"""Two models on the same rows: is one better, or was it luck? Arrays in, frozen values out; nothing of versions.

Intervals are percentile intervals of the bootstrap, rows drawn in pairs, and p its share of resamples on the other side
(Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 16). Rows that flipped are judged by the
exact test of McNemar (1947). What is asked several times is corrected as Holm (1979) said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from modelkeep.errors import InvalidValueError, shown

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95
MAX_ROWS = 100  # indexes of flipped rows that are kept, of each kind
_DRAWN = 1 << 21  # indexes drawn at once: 8 MiB, and what is looked up by them twice that

Array = Any
Metric = Callable[[Array, Array], float]


@attrs.frozen
class RowMean:
    """A metric that is a mean over rows, so that all its resamples are reckoned at once.

    Args:
        score: of each row, from the truth and what was predicted.
        finish: what becomes of the mean.
    """

    score: Callable[[Array, Array], Array]
    finish: Callable[[Array], Array] = attrs.field(default=lambda mean: mean)

    def __call__(self, y: Array, predicted: Array) -> float:
        return float(self.finish(np.mean(self.score(y, predicted))))


def _error(y: Array, predicted: Array) -> Array:
    return np.asarray(predicted, "f8") - np.asarray(y, "f8")


ACCURACY = RowMean(lambda y, predicted: np.asarray(y == predicted, "f8"))
MAE = RowMean(lambda y, predicted: np.abs(_error(y, predicted)))
RMSE = RowMean(lambda y, predicted: _error(y, predicted) ** 2, np.sqrt)


@attrs.frozen(kw_only=True)
class MetricTest:
    """One metric of both, and how sure the difference is.

    Args:
        metric: its name.
        before: of the one.
        after: of the other.
        low: the difference is at least this, in so many of 100 such samples as *level* says; NaN if nothing tells.
        high: and at most this.
        level: of the interval; the intervals of all metrics hold together at 95 % (Bonferroni).
        p: how often luck alone would show a difference like this.
        adjusted: the same, as `holm` corrects it for all that was asked of these rows.
        undefined: resamples on which the metric has no value; they were left out.
    """

    metric: str
    before: float
    after: float
    low: float
    high: float
    level: float
    p: float
    adjusted: float
    undefined: int = 0

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before


@attrs.frozen(kw_only=True)
class Flips:
    """Rows of which one model knew the class and the other did not.

    Args:
        worse: how many were right, and are wrong now.
        better: how many were wrong, and are right now.
        worse_rows: the indexes of the first hundred of them.
        better_rows: likewise.
        p: of the exact test of McNemar: how often luck alone would part them so unevenly.
        adjusted: the same, as `holm` corrects it for all that was asked of these rows.
    """

    worse: int
    better: int
    worse_rows: tuple[int, ...] = attrs.field(repr=False)
    better_rows: tuple[int, ...] = attrs.field(repr=False)
    p: float
    adjusted: float


def sign_test(less: int, more: int) -> float:
    """How often a fair coin parts ``less + more`` throws at least as unevenly: the exact test of McNemar, and of signs.

    Example:
        >>> round(sign_test(1, 9), 6), sign_test(4, 4)
        (0.021484, 1.0)
    """
    few, count = min(less, more), less + more
    term = math.exp(math.lgamma(count + 1) - math.lgamma(few + 1) - math.lgamma(count - few + 1) - count * math.log(2))
    total = 0.0
    for wins in range(few, -1, -1):  # from the largest on, until no more of them counts
        total += term
        if term < total * 1e-17:
            break
        term *= wins / (count - wins + 1)
    return min(1.0, 2 * total)


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """The same p values, corrected for their number: any below 0.05 then is so with 95 % for all of them together.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        (0.03, 0.06, 0.06)
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    found, least = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        found[place] = least
    return tuple(found)


def compared(y: Array, before: Array, after: Array, metrics: Mapping[str, Metric], *, classes: bool) -> Paired:
    """Ask all *metrics*, and of classes the rows that flipped, too.

    Args:
        y: the truth, one value for each row.
        before: what one model predicts.
        after: what the other predicts.
        metrics: by name; each takes the truth and what was predicted, as arrays.
        classes: whether rows are right or wrong.

    Raises:
        InvalidValueError: a metric cannot be reckoned on these rows, or is no number; names it.

    Example:
        >>> y = np.tile([0, 1], 100)
        >>> found = compared(y, np.zeros(200, int), y, {"accuracy": ACCURACY}, classes=True)
        >>> found.metrics[0].difference, found.metrics[0].low > 0.3, found.flips.better
        (0.5, True, 100)
    """
    points = [(_value(name, metric, y, before), _value(name, metric, y, after)) for name, metric in metrics.items()]
    drawn = _resampled(y, before, after, list(metrics.values()))
    level = 1 - (1 - LEVEL) / max(1, len(metrics))
    bounds = [_interval(column, level) for column in drawn]
    flipped = _flips(y, before, after) if classes else None
    ps = [_p(column) for column in drawn] + ([flipped.p] if flipped else [])
    adjusted = holm(ps)
    return Paired(
        tuple(
            MetricTest(
                metric=name, before=old, after=new, low=low, high=high, level=level, p=p, adjusted=corrected,
                undefined=int(np.isnan(column).sum()),
            )
            for name, (old, new), (low, high), p, corrected, column in zip(
                metrics, points, bounds, ps[: len(metrics)], adjusted[: len(metrics)], drawn, strict=True
            )
        ),
        None if flipped is None else attrs.evolve(flipped, adjusted=adjusted[-1]),
    )  # fmt: skip


@attrs.frozen
class Paired:
    """What `compared` found: each metric, and of classes what flipped."""

    metrics: tuple[MetricTest, ...]
    flips: Flips | None


def _value(name: str, metric: Metric, y: Array, predicted: Array) -> float:
    try:
        return float(metric(y, predicted))
    except Exception as error:
        raise InvalidValueError(
            f"the metric {name!r} cannot be reckoned on these rows: {type(error).__name__}: {error}; a metric takes "
            "(y, predicted) and gives a number",
            key="metrics",
        ) from error


def _flips(y: Array, before: Array, after: Array) -> Flips:
    was, is_now = np.asarray(y == before), np.asarray(y == after)
    worse, better = np.flatnonzero(was & ~is_now), np.flatnonzero(~was & is_now)
    p = sign_test(len(worse), len(better))
    return Flips(
        worse=len(worse),
        better=len(better),
        worse_rows=tuple(worse[:MAX_ROWS].tolist()),
        better_rows=tuple(better[:MAX_ROWS].tolist()),
        p=p,
        adjusted=p,
    )


# -- resampling --------------------------------------------------------------------------------------------------------


def _resampled(y: Array, before: Array, after: Array, metrics: Sequence[Metric]) -> list[Array]:
    """Of each metric its difference on each resample; NaN where it has none. All see the same resamples."""
    scores = [(m.score(y, before), m.score(y, after)) if isinstance(m, RowMean) else None for m in metrics]
    parts: list[list[Array]] = [[] for _ in metrics]
    for rows in _draws(len(y)):
        for part, metric, scored in zip(parts, metrics, scores, strict=True):
            if scored is not None and isinstance(metric, RowMean):
                old, new = (metric.finish(one[rows].mean(axis=1)) for one in scored)
                part.append(new - old)
            else:
                part.append(np.array([_difference(metric, y[one], before[one], after[one]) for one in rows]))
    return [np.concatenate(part) for part in parts]


def _draws(count: int) -> list[Array] | Any:
    """Indexes of rows, a resample in each row of an array, a few at once."""
    random = np.random.default_rng(SEED)
    at_once = max(1, _DRAWN // count)
    for start in range(0, RESAMPLES, at_once):
        yield random.integers(0, count, (min(at_once, RESAMPLES - start), count), dtype=np.int32)


def _difference(metric: Metric, y: Array, before: Array, after: Array) -> float:
    try:
        return float(metric(y, after)) - float(metric(y, before))
    except Exception:  # noqa: BLE001  a resample may lack a class, and a metric may say so in any way
        return math.nan


def _interval(drawn: Array, level: float) -> tuple[float, float]:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _p(drawn: Array) -> float:
    known = drawn[~np.isnan(drawn)]
    other_side = min(int(np.count_nonzero(known <= 0)), int(np.count_nonzero(known >= 0)))
    return min(1.0, 2 * (1 + other_side) / (1 + len(known)))


def mean_interval(values: Array) -> tuple[float, float]:
    """The interval of the mean of *values* at 95 %.

    Example:
        >>> mean_interval(np.ones(20))
        (1.0, 1.0)
    """
    return _interval(np.concatenate([values[rows].mean(axis=1) for rows in _draws(len(values))]), LEVEL)


def check_rows(name: str, values: Array, count: int) -> None:
    """Refuse what are not *count* values, one for each row, none missing.

    Raises:
        InvalidValueError: they are not; says how many there are, or which is missing.
    """
    if np.ndim(values) != 1 or len(values) != count:
        raise InvalidValueError(
            f"{name} has the shape {np.shape(values)}, and the holdout {count} rows; give one value for each row: of "
            "scores of classes the class, as in predictions=(y, a.argmax(1), b.argmax(1))",
            key=name,
        )
    missing = np.flatnonzero([one is None or one != one for one in values.tolist()])  # noqa: PLR0124  not a number
    if len(missing):
        raise InvalidValueError(
            f"{name} has no value in {len(missing)} rows, the first is row {shown(int(missing[0]))}; leave them out of "
            "all three",
            key=name,
        )
