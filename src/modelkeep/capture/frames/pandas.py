"""Columns of pandas and polars. Those that lie in Arrow's memory are read there, others as arrays of NumPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from modelkeep.capture.frames import arrow
from modelkeep.capture.frames.columns import Column, UnknownColumnError, array_moments, moments, nothing, numbers, texts
from modelkeep.capture.frames.objects import column_of, column_of_array
from modelkeep.schema import MAX_CATEGORIES


def columns_of(frame: Any) -> Iterator[tuple[str, Any]]:
    """The series of a DataFrame by name, those of its index first unless it only counts rows."""
    if frame.ndim == 1:
        frame = frame.to_frame()
    pandas = sys.modules["pandas"]
    if not (isinstance(frame.index, pandas.RangeIndex) and frame.index.name is None):
        for level in range(frame.index.nlevels):
            values = frame.index.get_level_values(level)
            name = f"__index_level_{level}__" if values.name is None else str(values.name)
            yield name, values.to_series(index=range(len(values)))
    for place, name in enumerate(frame.columns):
        yield str(name), frame.iloc[:, place]


def has_row_numbers(frame: Any) -> bool:
    """Whether the index is whole numbers without a name: those of rows, unless somebody meant more by them."""
    pandas = sys.modules["pandas"]
    index = frame.index
    counts = isinstance(index, pandas.RangeIndex)
    return index.nlevels == 1 and index.name is None and not counts and getattr(index.dtype, "kind", "") in "iu"


def column_of_series(series: Any) -> Column:
    """The column of a Series.

    Raises:
        UnknownColumnError: it holds what has no form here.
    """
    found = _column(series.array, series.dtype)
    return attrs.evolve(found, native=str(series.dtype)[:100], dtype=found.dtype or found.word)


def _column(array: Any, dtype: Any) -> Column:  # noqa: PLR0911  a table of types reads best whole
    pandas = sys.modules["pandas"]
    kind = getattr(dtype, "kind", "")
    if isinstance(dtype, pandas.CategoricalDtype):
        return _category(array, dtype)
    if isinstance(dtype, np.dtype):
        return column_of_array(np.asarray(array))
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return array_moments(array.to_numpy(dtype=f"M8[{dtype.unit}]"), "instant", dtype="datetime")
    if hasattr(dtype, "pyarrow_dtype") or getattr(dtype, "storage", "") in ("pyarrow", "pyarrow_numpy"):
        return arrow.column_of(array.__arrow_array__())
    if isinstance(dtype, pandas.StringDtype):
        return texts(_listed(array))
    if isinstance(dtype, pandas.SparseDtype):
        return column_of_array(np.asarray(array))
    if kind in "biuf" and hasattr(dtype, "numpy_dtype"):
        missing = array.isna()
        return numbers(array.to_numpy(dtype=dtype.numpy_dtype, na_value=0), ~missing)
    if type(dtype).__name__ in ("PeriodDtype", "IntervalDtype"):
        return texts([None if one is pandas.NaT or one != one else str(one) for one in array], "object")  # noqa: PLR0124
    raise UnknownColumnError(f"is {dtype}")


def _listed(array: Any) -> list[Any]:
    missing = array.isna()
    return [None if gone else one for one, gone in zip(array, missing, strict=True)]


def _category(array: Any, dtype: Any) -> Column:
    categories, codes = dtype.categories, np.asarray(array.codes)
    listed = tuple(categories.tolist()) if len(categories) <= MAX_CATEGORIES else None
    native = f"category{' (ordered)' if dtype.ordered else ''}"
    if "pyarrow" in sys.modules and str(categories.dtype) in ("str", "string", "object"):
        pa = sys.modules["pyarrow"]
        try:
            kept = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(categories))
            found = arrow.column_of(kept)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            found = column_of(array.astype(object).tolist())
    elif isinstance(categories.dtype, np.dtype) and categories.dtype.kind in "biuf" and len(categories):
        found = numbers(categories.to_numpy()[np.maximum(codes, 0)], codes >= 0)
    elif len(categories):
        found = column_of(array.astype(object).tolist())
    else:
        found = nothing(len(codes))
    return attrs.evolve(found, dtype="category", categories=listed, native=native)


def column_of_polars(series: Any) -> Column:
    """The column of a Series of polars.

    Raises:
        UnknownColumnError: it holds what has no form here.
    """
    found = _of_polars(series)
    return attrs.evolve(found, native=str(series.dtype)[:100], dtype=found.dtype or found.word)


def _of_polars(series: Any) -> Column:
    word = str(series.dtype.base_type()).lower()
    if word in _NUMBERS and (word[0] == "f" or not series.null_count()):
        # what is missing of floats is NaN there; neither needs pyarrow
        return numbers(series.to_numpy())
    if word == "object":
        return column_of(series.to_list())
    if _has_pyarrow():
        return arrow.column_of(series.to_arrow())
    if word in _NUMBERS:
        values = series.fill_null(0).to_numpy()
        return numbers(values, ~series.is_null().to_numpy())
    if word in ("datetime", "duration"):
        zone = getattr(series.dtype, "time_zone", None)
        ticks = series.to_physical()
        known = "instant" if zone else word
        return moments(ticks.fill_null(0).to_numpy(), known, series.dtype.time_unit, ~ticks.is_null().to_numpy())
    return column_of(series.to_list())


_NUMBERS = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float32", "float64"}


def _has_pyarrow() -> bool:
    try:
        import pyarrow as pa  # noqa: F401
    except ImportError:
        return False
    return True
