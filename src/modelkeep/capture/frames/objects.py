"""Columns of Python's own values: what pandas keeps in object columns. What they hold decides what they are."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from modelkeep.capture.frames.columns import (
    Array,
    Column,
    UnknownColumnError,
    array_moments,
    lists,
    moments,
    moments_block,
    nothing,
    numbers,
    structs,
    texts,
    whole,
)
from modelkeep.samples import SCALARS, is_missing

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  naive, as those that are counted from it
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY = dt.date(1970, 1, 1)
_MAX_DEPTH = 32
_KINDS: tuple[tuple[type, str], ...] = (
    *SCALARS,
    (decimal.Decimal, "decimal"),
    (Mapping, "struct"),
    (list, "list"),
    (tuple, "list"),
    (np.ndarray, "list"),
)


def column_of(values: Sequence[Any], depth: int = _MAX_DEPTH) -> Column:
    """The column of Python values, of which None, NaN, NaT and NA are missing.

    Raises:
        UnknownColumnError: they are of a kind that has no form here, or nested without end.
    """
    if depth == 0:
        raise UnknownColumnError(f"is nested more than {_MAX_DEPTH} deep")
    kept = _plain(values)
    kinds = {kind: _kind(kind) for kind in set(map(type, kept)) if kind is not type(None)}
    words = set(kinds.values())
    if "datetime" in words:
        words = words - {"datetime"} | {_clock(one) for one in kept if isinstance(one, dt.datetime)}
    if not words:
        return nothing(len(kept), dtype="null")
    word = words.pop() if len(words) == 1 else "object"
    if word == "int64" and not all(-(1 << 63) <= one < 1 << 63 for one in kept if one is not None):
        word = "object"
    if word == "list":
        return _lists(kept, depth)
    return _structs(kept, depth) if word == "struct" else _BUILD.get(word, _mixed)(kept, word)


def _plain(values: Sequence[Any]) -> list[Any]:
    """Values of Python's own kinds; what is missing is None."""
    kept = list(values)
    kinds = set(map(type, kept))
    if kinds <= {str, bytes, int, bool, type(None)}:
        return kept
    if any(issubclass(kind, np.generic) for kind in kinds):
        kept = [_unboxed(one) if isinstance(one, np.generic) else one for one in kept]
    return [None if _is_none(one) else one for one in kept]


def _is_none(value: Any) -> bool:
    return not isinstance(value, np.ndarray) and (
        is_missing(value) or (isinstance(value, decimal.Decimal) and value.is_nan())
    )


def _unboxed(value: Any) -> Any:
    if value.dtype.kind in "mM":
        return None if np.isnat(value) else value.astype(f"{value.dtype.kind}8[us]").item()
    return value.item()


def _kind(kind: type) -> str:
    for known, word in _KINDS:
        if issubclass(kind, known):
            return word
    raise UnknownColumnError(f"holds values of {kind.__module__}.{kind.__qualname__}")


def _clock(value: dt.datetime) -> str:
    return "datetime" if value.utcoffset() is None else "instant"


def _there(values: list[Any]) -> Array:
    return np.fromiter((one is not None for one in values), bool, len(values))


def _filled(values: list[Any], dtype: str) -> Column:
    return numbers(np.array([0 if one is None else one for one in values], dtype=dtype), _there(values))


def _bools(values: list[Any], _: str) -> Column:
    return _filled(values, "bool")


def _numbers(values: list[Any], word: str) -> Column:
    return _filled(values, word)


def _texts(values: list[Any], word: str) -> Column:
    return texts(values, word)


def _moments(values: list[Any], word: str) -> Column:
    counted = [(0, 0) if one is None else _counted(one) for one in values]
    seconds = np.fromiter((one[0] for one in counted), "<i8", len(counted))
    nanoseconds = np.fromiter((one[1] for one in counted), "<i4", len(counted))
    valid = _there(values)

    def read(start: int, stop: int) -> Any:
        block = moments_block(seconds[start:stop], "s", valid[start:stop])
        return type(block)(block.rows, block.valid, (block.parts[0], nanoseconds[start:stop]))

    return Column(word, len(values), read, dtype="datetime" if word == "instant" else word)


def _counted(value: Any) -> tuple[int, int]:
    """Whole seconds, and nanoseconds; those of pandas count nanoseconds beside."""
    if isinstance(value, dt.datetime):
        plain = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
        span = plain - (_EPOCH if plain.utcoffset() is None else _EPOCH_UTC)
        return span.days * 86_400 + span.seconds, span.microseconds * 1_000 + getattr(value, "nanosecond", 0)
    return value.days * 86_400 + value.seconds, value.microseconds * 1_000 + getattr(value, "nanoseconds", 0)


def _dates(values: list[Any], _: str) -> Column:
    days = np.array([0 if one is None else (one - _DAY).days for one in values], dtype="<i8")
    return moments(days * 86_400, "datetime", "s", _there(values), dtype="date")


def _times(values: list[Any], _: str) -> Column:
    ticks = np.array([0 if one is None else _of_day(one) for one in values], dtype="<i8")
    return whole(ticks, "time", _there(values))


def _of_day(value: dt.time) -> int:
    return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000_000 + value.microsecond * 1_000


def _decimals(values: list[Any], _: str) -> Column:
    return texts([None if one is None else decimal_text(one) for one in values], "decimal", dtype="object")


def decimal_text(value: decimal.Decimal) -> str:
    """A decimal without regard to its scale.

    Example:
        >>> decimal_text(decimal.Decimal("1.50")), decimal_text(decimal.Decimal("15E-1"))
        ('15e-1', '15e-1')
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return str(value)
    text = "".join(map(str, digits)).lstrip("0")
    short = text.rstrip("0")
    return f"{'-' if sign else ''}{short}e{exponent + len(text) - len(short)}" if short else "0"


def _lists(values: list[Any], depth: int) -> Column:
    lengths = np.fromiter((0 if one is None else len(one) for one in values), "<i8", len(values))
    there = [one for one in values if one is not None]
    if all(isinstance(one, np.ndarray) and one.ndim == 1 and one.dtype.kind in "biufc" for one in there) and (
        len({one.dtype for one in there}) == 1
    ):
        items = numbers(np.concatenate(there))
    else:
        items = column_of([item for one in there for item in one], depth - 1)
    return lists(lengths, _there(values), items, dtype="object")


def _structs(values: list[Any], depth: int) -> Column:
    names = dict.fromkeys(str(name) for one in values if one is not None for name in one)
    rows = [{} if one is None else {str(name): part for name, part in one.items()} for one in values]
    fields = {name: column_of([row.get(name) for row in rows], depth - 1) for name in names}
    return structs(len(values), _there(values), fields, dtype="object")


def _mixed(values: list[Any], _: str) -> Column:
    """Values of several kinds: each as its kind and its text."""
    return texts([None if one is None else _tagged(one) for one in values], "object", dtype="object")


def _tagged(value: Any) -> str:
    word = _kind(type(value))
    if word in ("list", "struct"):
        raise UnknownColumnError("holds lists or dicts beside other values")
    if word == "float64":
        return f"{word}:{float(value) + 0.0!r}"
    if word == "bytes":
        return f"{word}:{bytes(value).hex()}"
    if word in ("datetime", "duration"):
        return f"{_clock(value) if word == 'datetime' else word}:{_counted(value)}"
    return f"{word}:{decimal_text(value) if word == 'decimal' else value!s}"


_BUILD: dict[str, Callable[[list[Any], str], Column]] = {
    "bool": _bools,
    "int64": _numbers,
    "float64": _numbers,
    "complex128": _numbers,
    "string": _texts,
    "bytes": _texts,
    "datetime": _moments,
    "instant": _moments,
    "duration": _moments,
    "date": _dates,
    "time": _times,
    "decimal": _decimals,
}


def column_of_array(values: Array) -> Column:
    """The column of an array of NumPy with one dimension.

    Raises:
        UnknownColumnError: it holds what has no form here.
    """
    kind = values.dtype.kind
    if kind in "biufc":
        return numbers(values)
    if kind in "mM":
        return array_moments(values)
    if kind in "USTO":
        return column_of(values.tolist())
    raise UnknownColumnError(f"holds {values.dtype}")
