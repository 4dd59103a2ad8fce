"""What a sample says of itself: names, dtypes, shapes, missing values. Of any library, and none is imported for it.

What is not imported made no object: a library is looked for among the modules that the process has.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import attrs

from modelkeep.errors import InvalidValueError
from modelkeep.schema import MAX_CATEGORIES, Columns, Lists, Schema, Values

_MAX_DEPTH = 32
_KINDS = {"U": "string", "T": "string", "S": "bytes", "V": "bytes", "m": "duration"}
_NUMBERS = {  # dtypes that NumPy, torch, polars and pyarrow spell as we do, but for capitals
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "bool", "complex64", "complex128"),
}
SCALARS: tuple[tuple[type, str], ...] = (  # in this order: a bool is an int, a datetime is a date
    (bool, "bool"),
    (int, "int64"),
    (float, "float64"),
    (complex, "complex128"),
    (str, "string"),
    (bytes, "bytes"),
    (dt.datetime, "datetime"),
    (dt.date, "date"),
    (dt.time, "time"),
    (dt.timedelta, "duration"),
)


def family(obj: object) -> str | None:
    """Which library a sample is of, such as ``pandas`` or ``numpy``; None if of none."""
    for name, kinds in _FAMILIES.items():
        module = sys.modules.get(name)
        if module is not None and isinstance(obj, tuple(filter(None, (getattr(module, kind, None) for kind in kinds)))):
            return name
    sparse = sys.modules.get("scipy.sparse")
    return "scipy" if sparse is not None and sparse.issparse(obj) else None


_FAMILIES = {
    "pandas": ("DataFrame", "Series", "Index"),
    "polars": ("DataFrame", "Series"),
    "pyarrow": ("Table", "RecordBatch", "Array", "ChunkedArray"),
    "torch": ("Tensor",),
    "numpy": ("ndarray", "generic"),
}


def schema_of(sample: object) -> Schema:
    """The schema of a sample.

    Raises:
        InvalidValueError: nothing can be told of it, or it has two columns of one name.

    Example:
        >>> import numpy as np
        >>> schema_of(np.zeros((5, 3), np.float32))
        Values(dtype='float32', shape=(None, 3), nullable=False, categories=None)
    """
    return _schema(sample, _MAX_DEPTH)


def _schema(sample: Any, depth: int) -> Schema:
    if depth == 0:
        raise InvalidValueError(f"a sample is nested more than {_MAX_DEPTH} deep", key="example")
    library = family(sample)
    if library is not None:
        return _READERS[library](sample, depth)
    if isinstance(sample, Mapping):
        return Columns(_fields((name, _schema(column, depth - 1)) for name, column in sample.items()))
    if isinstance(sample, (list, tuple)):
        return _of_list(sample, depth)
    if sample is None or isinstance(sample, tuple(kind for kind, _ in SCALARS)):
        return _first(_of_list([sample], depth))
    raise InvalidValueError(
        f"nothing can be told of a {type(sample).__module__}.{type(sample).__qualname__}; give a frame, an array, a "
        "dict of arrays, or a list of dicts",
        key="example",
    )


def _first(column: Schema) -> Schema:
    """What one element of a column is."""
    return attrs.evolve(column, shape=column.shape[1:]) if isinstance(column, Values) else column


def _fields(columns: Any) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for name, schema in columns:
        text = str(name)
        if text in found:
            raise InvalidValueError(f"the column {text!r} is there twice; name the columns apart", key=text)
        found[text] = schema
    return found


def names_of(frame: Any) -> list[str]:
    """The names of the columns of a frame, as text."""
    names = frame.column_names if family(frame) == "pyarrow" else frame.columns
    return [str(name) for name in names]


# -- libraries ---------------------------------------------------------------------------------------------------


def _of_numpy(array: Any, depth: int) -> Schema:
    import numpy as np

    array = np.asarray(array)
    if array.dtype.names is not None:
        return Columns(_fields((name, _of_numpy(array[name], depth)) for name in array.dtype.names))
    kind, shape = array.dtype.kind, _free(array.shape)
    if kind == "O":
        found = _of_list(array.reshape(-1).tolist(), depth)
        if isinstance(found, Values):
            return attrs.evolve(found, shape=shape + found.shape[1:], loose=True)
        return found if array.ndim == 1 else Values("object", shape, nullable=found.nullable)
    missing = False
    if kind in "fc":
        missing = bool(np.isnan(array).any())
    elif kind in "mM":
        missing = bool(np.isnat(array).any())
    span = (int(array.min()), int(array.max())) if kind in "iu" and array.size else None
    return Values(_numpy_word(array.dtype), shape, missing, span=span)


def _numpy_word(dtype: Any) -> str:
    if dtype.kind == "M":
        return "date" if str(dtype) == "datetime64[D]" else "datetime"
    name = str(dtype.name)
    return name if name in _NUMBERS else _KINDS.get(dtype.kind, "object")


def _free(shape: Sequence[int]) -> tuple[int | None, ...]:
    """A shape of which the first dimension, that of the rows, may be any."""
    return (None, *shape[1:]) if shape else ()


def _of_scipy(matrix: Any, _: int) -> Schema:
    import numpy as np

    inner = _of_numpy(np.asarray(matrix.data if hasattr(matrix, "data") and matrix.format != "lil" else [0.0]), 1)
    assert isinstance(inner, Values)  # noqa: S101  for the type checker: what a sparse array holds are numbers
    return attrs.evolve(inner, dtype=_numpy_word(matrix.dtype), shape=_free(matrix.shape))


def _of_torch(tensor: Any, _: int) -> Schema:
    import torch

    word = str(tensor.dtype).removeprefix("torch.")
    known = word if word in _NUMBERS else "object"
    missing = (tensor.is_floating_point() or tensor.is_complex()) and bool(torch.isnan(tensor).any())
    whole = "int" in known and bool(tensor.numel())
    span = (int(tensor.min()), int(tensor.max())) if whole else None
    return Values(known, _free(tensor.shape), missing, span=span)


def _of_pandas(frame: Any, depth: int) -> Schema:
    if frame.ndim == 1:
        return _of_series(frame, depth)
    return Columns(_fields((name, _of_series(column, depth - 1)) for name, column in frame.items()))


def _of_series(series: Any, depth: int) -> Schema:
    dtype = series.dtype
    if isinstance(dtype, sys.modules["pandas"].CategoricalDtype):
        return _category(dtype.categories.tolist(), missing=bool(series.isna().any()))
    if getattr(dtype, "kind", "") == "O" and type(dtype).__module__.startswith("numpy"):
        return _of_numpy(series.to_numpy(), depth)
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if arrow is not None:
        return _of_arrow_column(sys.modules["pyarrow"].array(series.array, from_pandas=True), depth)
    word = str(dtype.name).lower().partition("[")[0]  # of pandas' own dtypes: Int64, boolean, str, datetime64[ns, UTC]
    word = {"boolean": "bool", "str": "string", "datetime64": "datetime", "timedelta64": "duration"}.get(word, word)
    known = word if word in _NUMBERS | {"string", "datetime", "duration"} else "object"
    whole = "int" in known and bool(series.notna().any())
    span = (int(series.min()), int(series.max())) if whole else None
    return Values(known, (None,), bool(series.isna().any()), span=span)


def _of_polars(frame: Any, depth: int) -> Schema:
    if hasattr(frame, "columns"):
        return Columns(_fields((column.name, _of_polars(column, depth - 1)) for column in frame.get_columns()))
    word = str(frame.dtype.base_type()).lower()
    missing = bool(frame.null_count()) or (word.startswith("float") and bool(frame.is_nan().any()))
    if word in ("categorical", "enum"):
        return _category(list(frame.dtype.categories) if word == "enum" else None, missing=missing)
    if word in ("list", "array", "struct"):
        return _of_list(frame.to_list(), depth)
    word = {"boolean": "bool", "utf8": "string", "binary": "bytes"}.get(word, word)
    known = word if word in _NUMBERS | {"string", "bytes", "datetime", "date", "time", "duration", "null"} else "object"
    whole = "int" in known and frame.null_count() < len(frame)
    span = (int(frame.min()), int(frame.max())) if whole else None
    return Values(known, (None,), missing, span=span)


def _of_arrow(table: Any, depth: int) -> Schema:
    if hasattr(table, "column_names"):
        pairs = zip(table.column_names, table.columns, strict=True)
        return Columns(_fields((name, _of_arrow_column(column, depth - 1)) for name, column in pairs))
    return _of_arrow_column(table, depth)


def _of_arrow_column(column: Any, depth: int) -> Schema:
    import numpy as np

    kind, types = column.type, sys.modules["pyarrow"].types
    missing = bool(column.null_count)
    if types.is_dictionary(kind):
        chunks = column.chunks if hasattr(column, "chunks") else [column]
        values = dict.fromkeys(chain.from_iterable(chunk.dictionary.to_pylist() for chunk in chunks))
        return _category(list(values), missing=missing)
    if types.is_nested(kind):
        return _of_list(column.to_pylist(), depth)
    word = _arrow_word(kind)
    if types.is_floating(kind):
        missing = missing or bool(np.isnan(column.to_numpy()).any())
    span = None
    if types.is_integer(kind) and column.null_count < len(column):
        there = column.drop_null().to_numpy()
        span = (int(there.min()), int(there.max()))
    return Values(word, (None,), missing, span=span)


def _arrow_word(kind: Any) -> str:
    words = {"halffloat": "float16", "float": "float32", "double": "float64", "large_string": "string"}
    words |= {"string_view": "string", "large_binary": "bytes", "binary": "bytes", "binary_view": "bytes"}
    word = str(kind).partition("[")[0]
    word = words.get(word, {"date32": "date", "date64": "date", "time32": "time", "time64": "time"}.get(word, word))
    word = {"timestamp": "datetime"}.get(word, word)
    return word if word in _NUMBERS | {"string", "bytes", "date", "time", "datetime", "duration", "null"} else "object"


def _category(categories: list[Any] | None, *, missing: bool) -> Values:
    """A category column; without the list where it is long, or where there is no closed one."""
    few = categories is not None and len(categories) <= MAX_CATEGORIES
    plain = few and all(type(one) in (str, int, float, bool) for one in categories or ())
    return Values("category", (None,), missing, tuple(categories or ()) if plain else None)


_READERS: dict[str, Callable[[Any, int], Schema]] = {
    "numpy": _of_numpy,
    "scipy": _of_scipy,
    "torch": _of_torch,
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": _of_arrow,
}


# -- Python's own values -----------------------------------------------------------------------------------------


def is_missing(value: Any) -> bool:
    """Whether a value of a column is none: None, NaN, NaT, NA."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return True
    if isinstance(value, (float, complex)):
        return value != value  # noqa: PLR0124  NaN alone
    return getattr(value, "ndim", 1) == 0 and value.dtype.kind in "mM" and str(value) == "NaT"


def _of_list(values: Sequence[Any], depth: int) -> Schema:
    """The schema of rows, or of the values of a column."""
    if depth == 0:
        raise InvalidValueError(f"a sample is nested more than {_MAX_DEPTH} deep", key="example")
    there = [value for value in values if not is_missing(value)]
    missing = len(there) < len(values)
    if not there:
        return Values("null" if values else "object", (None,), missing, loose=True)
    if all(isinstance(value, Mapping) for value in there):
        return _of_rows(there, depth, missing=missing)
    if all(isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) for value in there):
        return _of_lists(there, depth, missing=missing)
    return _of_values(there, missing=missing)


def _of_rows(rows: Sequence[Mapping[Any, Any]], depth: int, *, missing: bool) -> Schema:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row[name] for row in rows if name in row] for name in names}
    fields = _fields((name, _of_list(column, depth - 1)) for name, column in columns.items())
    optional = frozenset(str(name) for name, column in columns.items() if len(column) < len(rows))
    return Columns(fields, optional, nullable=missing)


def _of_lists(lists: Sequence[Any], depth: int, *, missing: bool) -> Schema:
    """Lists of one length are a further dimension."""
    if all(family(one) is not None for one in lists):
        found = [_schema(one, depth - 1) for one in lists]
        if all(isinstance(one, Values) for one in found):
            return _of_arrays(lists, found, missing=missing)
    inner = _of_list([part for one in lists for part in _listed(one)], depth - 1)
    lengths = {len(one) for one in lists}
    if isinstance(inner, Values) and len(lengths) == 1:
        shape = (None, lengths.pop(), *inner.shape[1:])
        return attrs.evolve(inner, shape=shape, nullable=inner.nullable or missing)
    return Lists(inner, missing)


def _listed(one: Any) -> list[Any]:
    return list(one.tolist() if hasattr(one, "tolist") else one)


def _of_arrays(arrays: Sequence[Any], found: Sequence[Any], *, missing: bool) -> Schema:
    words = {one.dtype for one in found}
    word = words.pop() if len(words) == 1 else "object"
    missing = missing or any(one.nullable for one in found)
    shapes = {tuple(array.shape) for array in arrays}
    if len(shapes) == 1:
        return Values(word, (None, *shapes.pop()), missing)
    dims = {len(shape) for shape in shapes}
    if len(dims) == 1:
        return Lists(Values(word, (None, *([None] * (dims.pop() - 1))), missing))
    return Values("object", (None,), missing)


def _of_values(there: Sequence[Any], *, missing: bool) -> Schema:
    words = {_word(value) for value in there}
    if words <= {"int64", "float64"} and len(words) > 1:
        words = {"float64"}
    word = words.pop() if len(words) == 1 else "object"
    span = (int(min(there)), int(max(there))) if word == "int64" else None
    if span is not None and not -(1 << 63) <= span[0] <= span[1] < 1 << 63:
        word, span = "object", None
    return Values(word, (None,), missing, loose=True, span=span)


def _word(value: Any) -> str:
    for kind, word in SCALARS:
        if isinstance(value, kind):
            return word
    dtype = getattr(value, "dtype", None)
    return _numpy_word(dtype) if hasattr(dtype, "kind") else "object"


# -- the first rows ----------------------------------------------------------------------------------------------


def head(sample: Any, rows: int) -> Any:
    """The first rows of a sample; what has no rows stays what it is.

    Example:
        >>> head({"a": [1, 2, 3], "b": 0.5}, 2)
        {'a': [1, 2], 'b': 0.5}
    """
    library = family(sample)
    if library == "pandas":
        return sample.iloc[:rows]
    if library in ("polars", "pyarrow"):
        return sample[:rows] if library == "polars" else sample.slice(0, rows)
    if library == "scipy":
        return sample.tocsr()[:rows]
    if library is not None:
        return sample[:rows] if sample.ndim else sample
    if isinstance(sample, Mapping):
        return {name: head(column, rows) for name, column in sample.items()}
    return sample[:rows] if isinstance(sample, (list, tuple)) else sample
