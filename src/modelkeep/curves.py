"""Metrics by step: curves that grow while training runs, packed in columns, and what a version keeps of them.

A version keeps them as a part of its own, ``history``: three arrays of one length for each metric, ``step/<name>``
(int64), ``value/<name>`` and ``time/<name>`` (float64; seconds since the run began). The serializer of trees writes
them, so that they are one safetensors file and load without trust.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

import attrs

from modelkeep.errors import IntegrityError, InvalidValueError, shown
from modelkeep.forks import renew_after_fork
from modelkeep.values import check_text

if TYPE_CHECKING:
    import numpy as np

HISTORY = "history"
_STEP, _VALUE, _TIME = "step", "value", "time"
_MOST = 1 << 63  # a step lies below


class _Growing:
    """One metric while it grows: 24 bytes a point."""

    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.times = array("d")


class Curves:
    """Metrics by step, from any number of threads.

    Args:
        clock: gives seconds; they are counted from now on.

    Example:
        >>> curves = Curves()
        >>> curves.log({"loss": 0.7})
        >>> curves.log({"loss": 0.5, "auc": 0.8}, step=10)
        >>> curves.last()
        {'loss': 0.5, 'auc': 0.8}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self._by_name: dict[str, _Growing] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def __len__(self) -> int:
        return len(self._by_name)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self._lock = threading.Lock()

    def log(self, metrics: Mapping[str, SupportsFloat], step: SupportsIndex | None = None) -> None:
        """Add a point to the curve of each metric; all of them, or none where one is refused.

        Args:
            metrics: numbers by name; NaN and infinity are kept.
            step: where they lie; None: each is one further than the last point of its curve.

        Raises:
            InvalidValueError: a value is no number, or *step* no whole one; the message names it.
        """
        seconds = self._clock() - self._began
        for name, value in metrics.items():
            if type(value) is not float:
                metrics = {name: _number(name, value) for name, value in metrics.items()}
                break
        at = step if step is None or (type(step) is int and -_MOST <= step < _MOST) else _whole(step)
        curves = self._by_name
        with self._lock:
            for name in metrics:
                if name not in curves:
                    check_text(name, "the name of a metric")
            for name, value in metrics.items():
                curve = curves.get(name) or curves.setdefault(name, _Growing())
                steps = curve.steps
                steps.append(at if at is not None else steps[-1] + 1 if steps else 0)
                curve.values.append(value)  # type: ignore[arg-type]
                curve.times.append(seconds)

    def last(self) -> dict[str, float]:
        """The last value of each curve."""
        with self._lock:
            return {name: curve.values[-1] for name, curve in self._by_name.items()}

    def columns(self) -> dict[str, np.ndarray[Any, Any]]:
        """A copy of all points, as a version keeps them."""
        if not self._by_name:
            return {}
        import numpy as np

        with self._lock:
            return {
                f"{kind}/{name}": np.array(column)
                for name, curve in self._by_name.items()
                for kind, column in ((_STEP, curve.steps), (_VALUE, curve.values), (_TIME, curve.times))
            }


def _number(name: object, value: Any) -> float:
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, (str, bytes, bytearray)):  # which float() would read
            return float(value)
    raise InvalidValueError(
        f"metric {name} is {shown(value):.200}, a {type(value).__name__}; log a number", key=str(name)
    )


def _whole(step: Any) -> int:
    with suppress(AttributeError, TypeError, ValueError, OverflowError):
        found = int(step) if isinstance(step, float) and step.is_integer() else step.__index__()
        if -_MOST <= found < _MOST:
            return int(found)
    raise InvalidValueError(f"step is {shown(step):.200}; give a whole number below 2^63", key="step")


@attrs.frozen(eq=False)
class Curve:
    """One metric by step, as a version keeps it.

    Args:
        step: where each point lies, int64.
        value: the metric there, float64.
        time: seconds since the run began, float64.
    """

    step: np.ndarray[Any, Any] = attrs.field(repr=False)
    value: np.ndarray[Any, Any] = attrs.field(repr=False)
    time: np.ndarray[Any, Any] = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.value)

    @property
    def last(self) -> float:
        """The last value; NaN where there is none."""
        return float(self.value[-1]) if len(self) else math.nan


class History(Mapping[str, Curve]):
    """The metrics of a run by step, by name; from `ModelVersion.history`.

    Example:
        >>> curves = Curves()
        >>> for loss in (0.7, 0.5):
        ...     curves.log({"loss": loss})
        >>> history = History.of(curves.columns(), "churn:1")
        >>> history["loss"].step.tolist(), history["loss"].value.tolist()
        ([0, 1], [0.7, 0.5])
    """

    def __init__(self, curves: Mapping[str, Curve]) -> None:
        self._curves = dict(curves)

    def __repr__(self) -> str:
        return f"History({', '.join(f'{name}: {len(curve)}' for name, curve in self.items())})"

    def __getitem__(self, name: str) -> Curve:
        return self._curves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)

    @classmethod
    def of(cls, columns: object, ref: str) -> History:
        """Read the columns of *ref*.

        Raises:
            IntegrityError: they are none that a run writes.
        """
        try:
            return cls(_curves(columns))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise IntegrityError(
                f"the part 'history' of {ref} holds no curves ({error}); whoever wrote it was no modelkeep", ref=ref
            ) from None

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each point: metric, step, time, value.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import numpy as np
        import pandas as pd

        def joined(kind: str, dtype: str) -> Any:
            return np.concatenate([np.empty(0, dtype), *(getattr(curve, kind) for curve in self.values())])

        names = np.repeat(np.array(list(self), dtype=object), [len(curve) for curve in self.values()])
        columns = {_STEP: joined(_STEP, "int64"), _TIME: joined(_TIME, "float64"), _VALUE: joined(_VALUE, "float64")}
        return pd.DataFrame({"metric": names, **columns})


def _curves(columns: Any) -> dict[str, Curve]:
    by_name: dict[str, dict[str, Any]] = {}
    for path, column in columns.items():
        kind, _, name = path.partition("/")
        if column.dtype.str[1:] != {_STEP: "i8", _VALUE: "f8", _TIME: "f8"}[kind] or column.ndim != 1:
            raise ValueError(f"{path} is no column")
        by_name.setdefault(name, {})[kind] = column
    for name, own in by_name.items():
        if len(own) != 3 or len({len(column) for column in own.values()}) != 1:  # noqa: PLR2004  step, value, time
            raise ValueError(f"the columns of {name} do not belong together")
    return {name: Curve(**own) for name, own in by_name.items()}
