"""Two versions on a holdout: what both predict, checked, and handed to what compares them row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs
import numpy as np

from modelkeep._trust import Trust
from modelkeep.errors import InvalidValueError
from modelkeep.paired import (
    ACCURACY,
    MAE,
    RESAMPLES,
    RMSE,
    SEED,
    Flips,
    Metric,
    MetricTest,
    check_rows,
    compared,
)
from modelkeep.samples import family, names_of
from modelkeep.slicing import Slice, worst_slices

_SHOWN = 5  # classes in a message

Array = Any


class Predicting(Protocol):
    """What is asked: a version."""

    @property
    def ref(self) -> str:
        """Its reference."""

    def predict(self, inputs: Any, *, trust: Trust = False) -> Any:
        """What it makes of inputs."""


@attrs.frozen(kw_only=True)
class Judgement:
    """Two versions on the same rows.

    Args:
        kind: ``classes``, where rows are right or wrong, or ``numbers``.
        rows: of the holdout.
        metrics: each with its interval, in the order in which they were given.
        flips: rows that one knew and the other did not; None of numbers.
        slices: where the later version is worse, the worst first; empty where the holdout has no columns.
        resamples: of the bootstrap.
        seed: that they were drawn with.
    """

    kind: Literal["classes", "numbers"]
    rows: int
    metrics: tuple[MetricTest, ...]
    flips: Flips | None
    slices: tuple[Slice, ...] = ()
    resamples: int = RESAMPLES
    seed: int = SEED

    def __getitem__(self, metric: str) -> MetricTest:
        """One metric.

        Raises:
            KeyError: it was not asked.
        """
        return {one.metric: one for one in self.metrics}[metric]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = {name: getattr(self, name) for name in ("kind", "rows", "resamples", "seed")}
        flips = None
        if self.flips is not None:
            rows = {name: list(getattr(self.flips, name)) for name in ("worse_rows", "better_rows")}
            flips = attrs.asdict(self.flips) | rows
        metrics = [attrs.asdict(one) | {"difference": one.difference} for one in self.metrics]
        slices = [attrs.asdict(one) | {"difference": one.difference} for one in self.slices]
        return {**plain, "metrics": metrics, "flips": flips, "slices": slices}


def judged_on(
    before: Predicting, after: Predicting, holdout: Any, metrics: Mapping[str, Metric] | None, trust: Trust
) -> Judgement:
    """Let both predict, and compare; see `modelkeep.ModelVersion.compare`.

    Args:
        before: the one.
        after: the other.
        holdout: ``(X, y)``.
        metrics: see `judged`.
        trust: as in `modelkeep.ModelVersion.load`.

    Raises:
        InvalidValueError: see `judged`.
    """
    inputs, truth = holdout
    old, new = (_predicted(version, inputs, trust) for version in (before, after))
    return judged((truth, old, new), metrics, names=(before.ref, after.ref), columns=dict(_columns(inputs)))


def _predicted(version: Predicting, inputs: Any, trust: Trust) -> Any:
    try:
        return version.predict(inputs, trust=trust)
    except Exception as error:
        error.add_note(f"while {version.ref} predicted the holdout; give predictions=(y, before, after) of your own")
        raise


def judged(
    predictions: Any,
    metrics: Mapping[str, Metric] | None = None,
    *,
    names: Sequence[str] = ("before", "after"),
    columns: Mapping[str, Array] | None = None,
) -> Judgement:
    """Compare what two models predict.

    Args:
        predictions: the truth, what the one predicts, and what the other does; a value for each row.
        metrics: by name; without them accuracy for classes, RMSE and MAE for numbers.
        names: of the two, for errors.
        columns: of the holdout, by which the worst slices are looked for.

    Raises:
        InvalidValueError: they do not fit together, see `checked`; or a metric fails.

    Example:
        >>> found = judged((["a", "b"] * 50, ["a"] * 100, ["a", "b"] * 50))
        >>> found["accuracy"].difference, found.flips.better
        (0.5, 50)
    """
    y, before, after = checked(predictions, names)
    classes = all(map(_is_classes, (y, before, after)))
    asked = dict(metrics) if metrics else {"accuracy": ACCURACY} if classes else {"rmse": RMSE, "mae": MAE}
    found = compared(y, before, after, asked, classes=classes)
    score = ACCURACY.score if classes else lambda y, predicted: -MAE.score(y, predicted)
    usable = {name: column for name, column in (columns or {}).items() if len(column) == len(y)}
    slices = worst_slices(usable, score(y, before), score(y, after)) if usable else ()
    kind: Literal["classes", "numbers"] = "classes" if classes else "numbers"
    return Judgement(kind=kind, rows=len(y), metrics=found.metrics, flips=found.flips, slices=slices)


def checked(predictions: Any, names: Sequence[str]) -> tuple[Array, Array, Array]:
    """The truth and what two models predict, as arrays that fit together.

    Raises:
        InvalidValueError: they are not three, of different lengths, or lack a value; or the predictions are of another
            kind than the truth, or name none of its classes.
    """
    if not isinstance(predictions, (tuple, list)) or len(predictions) != 3:  # noqa: PLR2004  three arrays
        raise InvalidValueError("predictions are three: predictions=(y, before, after)", key="predictions")
    y, before, after = map(_array, predictions)
    check_rows("y", y, len(y) if y.ndim else 0)
    if not len(y):
        raise InvalidValueError("y has no rows; give a holdout with some", key="y")
    for name, values in zip(names, (before, after), strict=True):
        check_rows(f"what {name} predicts", values, len(y))
    classes = all(map(_is_classes, (y, before, after)))
    for name, values in zip(names, (before, after), strict=True):
        _check_fits(name, y, values, classes=classes)
    return y, before, after


def _is_classes(values: Array) -> bool:
    """Whether they are text, truth values or whole numbers, by their type."""
    return values.dtype.kind in "biuUSO"


def _check_fits(name: str, y: Array, predicted: Array, *, classes: bool) -> None:
    kinds = [_kind(values) for values in (y, predicted)]
    if kinds[0] != kinds[1]:
        raise InvalidValueError(
            f"what {name} predicts is {kinds[1]}, such as {_some(predicted)}, and y is {kinds[0]}, such as {_some(y)}; "
            "give both in the same words",
            key="predictions",
        )
    if classes and not np.isin(predicted, y).any():
        raise InvalidValueError(
            f"{name} predicts the classes {_some(predicted)}, and y has none of them but {_some(y)}; give both in the "
            "same words",
            key="predictions",
        )


def _kind(values: Array) -> str:
    if values.dtype.kind != "O":
        return "text" if values.dtype.kind in "US" else "numbers"
    return "text" if all(isinstance(one, (str, bytes)) for one in values.tolist()) else "of mixed types"


def _some(values: Array) -> str:
    different = list(dict.fromkeys(values.tolist()))
    more = ", …" if len(different) > _SHOWN else ""
    return ", ".join(f"{one!r:.40}" for one in different[:_SHOWN]) + more


def _array(values: Any) -> Array:
    """What a library gives, as an array of numpy; a column of one becomes a row."""
    if family(values) == "torch":
        values = values.detach().cpu()
        values = (values.float() if "bfloat16" in str(values.dtype) else values).numpy()
    found = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if found.dtype.kind == "O" and found.ndim:
        listed = found.ravel().tolist()
        if not any(one is None or one != one for one in listed):  # noqa: PLR0124  not a number
            found = np.array(listed).reshape(found.shape) if len({type(one) for one in listed}) == 1 else found
    return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found  # noqa: PLR2004  a column


def _columns(inputs: Any) -> Iterator[tuple[str, Array]]:
    """The columns of a holdout, of whatever library; none where it has none."""
    library = family(inputs)
    if library in ("pandas", "polars", "pyarrow") and hasattr(inputs, "columns"):
        columns = inputs.columns if library == "pyarrow" else (inputs[name] for name in inputs.columns)
        yield from zip(names_of(inputs), map(_column, columns), strict=True)
    elif isinstance(inputs, Mapping):
        yield from ((str(name), _column(column)) for name, column in inputs.items())
    elif library in ("numpy", "torch") and inputs.ndim == 2:  # noqa: PLR2004  rows and columns
        rows = _array(inputs)
        columns = rows.T if rows.ndim == 2 else [rows]  # noqa: PLR2004  of one column it makes a row
        yield from ((f"column {place}", column) for place, column in enumerate(columns))


def _column(values: Any) -> Array:
    if hasattr(values, "to_pylist"):
        return np.array(values.to_pylist(), object)
    return np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
