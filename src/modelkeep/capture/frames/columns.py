"""`Column`: one column in a form that no library, slice or chunk shows in. What is hashed is written down here.

A column is read in blocks of 65,536 rows, whatever its chunks are. In a block, a value that is missing is zero and
marked so; floats have one zero and no NaN; moments are seconds and nanoseconds; text is its lengths and its UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

BLOCK = 65_536  # rows; the values of a column of numbers then lie in the second cache of a core
EXACT = 1 << 53  # whole numbers up to here are exact as float64
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
MOMENTS = frozenset({"datetime", "instant", "duration"})
TEXTS = frozenset({"string", "bytes", "decimal", "object"})
_NAT = np.iinfo(np.int64).min

Array = Any  # of NumPy: what it holds is decided at run time


class UnknownColumnError(Exception):
    """A column holds what has no form here; the text says what."""


@attrs.frozen
class Block:
    """Some rows of one column.

    Args:
        rows: how many.
        valid: which are there; None if all are.
        parts: of numbers the values; of moments seconds and nanoseconds; of text lengths in bytes, and the bytes; of
            lists their lengths; of structs nothing.
    """

    rows: int
    valid: Array | None
    parts: tuple[Array, ...]


Read = Callable[[int, int], Block]


@attrs.frozen
class Column:
    """One column, read in blocks.

    Args:
        word: what is hashed as the kind of its values, such as ``float64`` or ``string``.
        rows: how many.
        read: ``read(start, stop)`` gives rows in their form.
        children: of lists the column of all their items; of structs those of the fields, by name.
        dtype: what the schema says, where it is not *word*.
        native: what the library calls the type.
        categories: of a category column.
    """

    word: str
    rows: int
    read: Read
    children: tuple[tuple[str, Column], ...] = ()
    dtype: str = ""
    native: str = ""
    categories: tuple[Any, ...] | None = None


def numbers_block(values: Array, valid: Array | None) -> Block:
    """Numbers of any byte order and stride, of which NaN is missing and -0.0 is 0.0."""
    kept = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    if kept.dtype.kind in "fc":
        kept = kept + kept.dtype.type(0)
        nan = np.isnan(kept)
        if nan.any():
            valid = ~nan if valid is None else valid & ~nan
    valid = some(valid)
    if valid is not None:
        kept = kept.copy() if kept.dtype.kind not in "fc" else kept
        kept[~valid] = 0
    return Block(len(kept), valid, (kept,))


def moments_block(ticks: Array, unit: str, valid: Array | None) -> Block:
    """Whole *unit*s since 1970, or of a span of time, as seconds and nanoseconds; NaT is missing."""
    ticks = np.ascontiguousarray(ticks, dtype="<i8")
    nat = ticks == _NAT
    if nat.any():
        valid = ~nat if valid is None else valid & ~nat
    valid = some(valid)
    if valid is not None:
        ticks = np.where(valid, ticks, 0)
    each = PER_SECOND[unit]
    seconds = ticks if each == 1 else np.floor_divide(ticks, each)
    nanoseconds = ((ticks - seconds * each) * (1_000_000_000 // each)).astype("<i4")
    return Block(len(ticks), valid, (seconds, nanoseconds))


def text_block(lengths: Array, raw: Array, valid: Array | None) -> Block:
    """Texts as their lengths in bytes and their bytes; those that are missing have none."""
    return Block(len(lengths), some(valid), (np.ascontiguousarray(lengths, dtype="<u4"), raw))


def list_block(lengths: Array, valid: Array | None) -> Block:
    """Lists as how many items each has."""
    return Block(len(lengths), some(valid), (np.ascontiguousarray(lengths, dtype="<i8"),))


def some(valid: Array | None) -> Array | None:
    """None where all are there."""
    return None if valid is None or valid.all() else valid


def numbers(values: Array, valid: Array | None = None, **said: Any) -> Column:
    """A column of an array of numbers or truth values; whole numbers of which some are missing become float64.

    That is how pandas holds them, unless told otherwise; beyond 2^53 they stay what they are.

    Raises:
        UnknownColumnError: the numbers are longer than 64 bits.
    """
    if values.dtype.itemsize > (16 if values.dtype.kind == "c" else 8):
        raise UnknownColumnError(f"holds {values.dtype}, of which each machine has another")
    valid = some(valid)
    word = "bool" if values.dtype.kind == "b" else values.dtype.newbyteorder("=").name
    dtype: dict[str, Any] = {"dtype": word} | said
    as_float = valid is not None and values.dtype.kind in "iu" and fits_float(values[valid])

    def read(start: int, stop: int) -> Block:
        part = values[start:stop]
        if as_float:
            part = part.astype("<f8")
        elif part.dtype.kind == "b":
            part = part.astype("u1")
        return numbers_block(part, None if valid is None else valid[start:stop])

    return Column("float64" if as_float else word, len(values), read, **dtype)


def whole(values: Array, word: str, valid: Array | None = None, **said: Any) -> Column:
    """A column of whole numbers that stay so where some are missing: nanoseconds of a day."""

    def read(start: int, stop: int) -> Block:
        return numbers_block(values[start:stop], None if valid is None else valid[start:stop])

    return Column(word, len(values), read, **said)


def fits_float(counts: Array) -> bool:
    """Whether all of these whole numbers are exact as float64."""
    if counts.dtype.itemsize < 8 or not counts.size:  # noqa: PLR2004  bytes
        return True
    return bool(int(counts.min()) >= -EXACT and int(counts.max()) <= EXACT)


def moments(values: Array, word: str, unit: str, valid: Array | None = None, **said: Any) -> Column:
    """A column of whole *unit*s in an array of 64-bit integers; a date is its midnight, as in pandas."""

    def read(start: int, stop: int) -> Block:
        return moments_block(values[start:stop], unit, None if valid is None else valid[start:stop])

    return Column(word, len(values), read, **({"dtype": "datetime" if word == "instant" else word} | said))


def array_moments(values: Array, word: str | None = None, **said: Any) -> Column:
    """A column of an array of datetime64 or timedelta64.

    Raises:
        UnknownColumnError: its unit is finer than nanoseconds, or a duration in months.
    """
    kind = values.dtype.kind
    if kind == "M" and np.datetime_data(values.dtype) == ("D", 1):
        said = {"dtype": "date"} | said
    unit = np.datetime_data(values.dtype)[0]
    known = word or ("datetime" if kind == "M" else "duration")
    if unit not in PER_SECOND or np.datetime_data(values.dtype)[1] != 1:
        try:
            values, unit = values.astype(f"{kind}8[s]", casting="safe"), "s"
        except TypeError:
            raise UnknownColumnError(f"holds {values.dtype}") from None
    return moments(np.asarray(values).view("i8"), known, unit, **said)


def texts(values: list[Any], word: str = "string", **said: Any) -> Column:
    """A column of Python's text or bytes; None is missing."""

    def read(start: int, stop: int) -> Block:
        part = values[start:stop]
        valid = np.fromiter((one is not None for one in part), bool, len(part)) if None in part else None
        there = part if valid is None else [one or part_empty for one in part]
        encoded = there if word == "bytes" else _encoded(there)
        lengths = np.fromiter(map(len, encoded), "<u4", len(encoded))
        return text_block(lengths, np.frombuffer(b"".join(encoded), "u1"), valid)

    part_empty: Any = b"" if word == "bytes" else ""
    return Column(word, len(values), read, **said)


def _encoded(values: list[str]) -> list[bytes]:
    return [one.encode("utf-8", "surrogatepass") for one in values]


def nothing(rows: int, **said: Any) -> Column:
    """A column in which all is missing, and nothing tells of which kind it were."""

    def read(start: int, stop: int) -> Block:
        return numbers_block(np.zeros(stop - start, "u1"), np.zeros(stop - start, bool))

    return Column("null", rows, read, **said)


def lists(lengths: Array, valid: Array | None, items: Column, **said: Any) -> Column:
    """A column of lists, each with so many of the *items*."""

    def read(start: int, stop: int) -> Block:
        return list_block(lengths[start:stop], None if valid is None else valid[start:stop])

    return Column("list", len(lengths), read, (("", items),), **said)


def structs(rows: int, valid: Array | None, fields: dict[str, Column], **said: Any) -> Column:
    """A column of structs; the order of their fields is no part of it, as that of a dict is none."""

    def read(start: int, stop: int) -> Block:
        return Block(stop - start, some(None if valid is None else valid[start:stop]), ())

    return Column("struct", rows, read, tuple(sorted(fields.items())), **said)
