"""Columns of pyarrow: their buffers, as they lie."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import numpy as np

from modelkeep.capture.frames.columns import (
    EXACT,
    PER_SECOND,
    Array,
    Block,
    Column,
    UnknownColumnError,
    lists,
    moments_block,
    nothing,
    numbers_block,
    structs,
    text_block,
    texts,
)
from modelkeep.capture.frames.objects import decimal_text
from modelkeep.schema import MAX_CATEGORIES

_SECONDS, _MILLISECONDS = 86_400, 86_400_000  # of a day
_WORDS = {"halffloat": "float16", "float": "float32", "double": "float64"}


def column_of(column: Any) -> Column:
    """The column of an Array or a ChunkedArray.

    Raises:
        UnknownColumnError: its type has no form here.
    """
    kind = column.type
    found = _column(column)
    return attrs.evolve(found, native=str(kind)[:100], dtype=found.dtype or _word(found))


def _word(found: Column) -> str:
    return {"instant": "datetime", "decimal": "object", "list": "object", "struct": "object"}.get(
        found.word, found.word
    )


def _column(column: Any) -> Column:  # noqa: C901, PLR0911  a table of types reads best whole
    pa = sys.modules["pyarrow"]
    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _column(_storage(column))
    if types.is_dictionary(kind):
        return _dictionary(column)
    if types.is_null(kind):
        return nothing(len(column))
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return _numbers(column)
    if types.is_timestamp(kind):
        return _moments(column, "datetime" if kind.tz is None else "instant", kind.unit)
    if types.is_duration(kind):
        return _moments(column, "duration", kind.unit)
    if types.is_date(kind):
        return _dates(column)
    if types.is_time(kind):
        return _times(column)
    if types.is_decimal(kind):
        values = [None if one is None else decimal_text(one) for one in column.to_pylist()]
        return texts(values, "decimal", dtype="object")
    if types.is_struct(kind) or types.is_nested(kind):
        return _nested(column)
    return _texts(column)


def _storage(column: Any) -> Any:
    pa = sys.modules["pyarrow"]
    if not hasattr(column, "chunks"):
        return column.storage
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _dictionary(column: Any) -> Column:
    chunks = column.chunks if hasattr(column, "chunks") else [column]
    found = _column(column.cast(column.type.value_type))
    categories: dict[Any, None] = {}
    for chunk in chunks:
        if len(chunk.dictionary) > MAX_CATEGORIES or len(categories) > MAX_CATEGORIES:
            return attrs.evolve(found, dtype="category")
        categories.update(dict.fromkeys(chunk.dictionary.to_pylist()))
    return attrs.evolve(found, dtype="category", categories=tuple(categories))


def piece(column: Any, start: int, stop: int) -> Any:
    """Some rows as one Array; copied only where they lie in several chunks."""
    part = column.slice(start, stop - start)
    if not hasattr(part, "chunks"):
        return part
    pa = sys.modules["pyarrow"]
    if part.num_chunks == 1:
        return part.chunk(0)
    return pa.concat_arrays(part.chunks) if part.num_chunks else pa.array([], part.type)


def _valid(array: Any) -> Array | None:
    return _bits(array, 0) if array.null_count else None


def _bits(array: Any, index: int) -> Array:
    bits = np.frombuffer(array.buffers()[index], "u1")
    first = array.offset // 8
    last = (array.offset + len(array) + 7) // 8
    return np.unpackbits(bits[first:last], bitorder="little")[array.offset % 8 :][: len(array)].astype(bool)


def _values(array: Any, dtype: str) -> Array:
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype)[array.offset : array.offset + len(array)]


def _numbers(column: Any) -> Column:
    word = _WORDS.get(str(column.type), str(column.type))
    as_float = "int" in word and bool(column.null_count) and _exact(column)

    def read(start: int, stop: int) -> Block:
        part = piece(column, start, stop)
        values = _bits(part, 1).astype("u1") if word == "bool" and len(part) else _values(part, word)
        return numbers_block(values.astype("<f8") if as_float else values, _valid(part))

    return Column("float64" if as_float else word, len(column), read, dtype=word)


def _exact(column: Any) -> bool:
    if column.type.bit_width < 64:  # noqa: PLR2004
        return True
    import pyarrow.compute as pc

    ends = pc.min_max(column).as_py()
    return ends["min"] is None or (ends["min"] >= -EXACT and ends["max"] <= EXACT)


def _moments(column: Any, word: str, unit: str) -> Column:
    def read(start: int, stop: int) -> Block:
        part = piece(column, start, stop)
        return moments_block(_values(part, "<i8"), unit, _valid(part))

    return Column(word, len(column), read, dtype="datetime" if word == "instant" else word)


def _dates(column: Any) -> Column:
    """Dates are their midnights: pandas has no others."""
    unit, each = ("<i8", _MILLISECONDS) if column.type.bit_width == 64 else ("<i4", 1)  # noqa: PLR2004

    def read(start: int, stop: int) -> Block:
        part = piece(column, start, stop)
        days = np.floor_divide(_values(part, unit), each).astype("<i8")
        return moments_block(days * _SECONDS, "s", _valid(part))

    return Column("datetime", len(column), read, dtype="date")


def _times(column: Any) -> Column:
    each = 1_000_000_000 // PER_SECOND[column.type.unit]
    unit = f"<i{column.type.bit_width // 8}"

    def read(start: int, stop: int) -> Block:
        part = piece(column, start, stop)
        return numbers_block(_values(part, unit).astype("<i8") * each, _valid(part))

    return Column("time", len(column), read)


def _texts(column: Any) -> Column:
    pa = sys.modules["pyarrow"]
    types = pa.types
    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        word, plain = "string", (pa.string(), pa.large_string())
    elif (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or (types.is_binary_view(kind))
    ):
        word, plain = "bytes", (pa.binary(), pa.large_binary())
    else:
        raise UnknownColumnError(f"is {kind}")
    turned = column if kind in plain else column.cast(plain[1])
    offsets = "<i4" if turned.type == plain[0] else "<i8"

    def read(start: int, stop: int) -> Block:
        return _text_block(piece(turned, start, stop), offsets)

    return Column(word, len(column), read)


def _text_block(part: Any, offsets: str) -> Block:
    valid = _valid(part)
    if valid is not None:
        part = part.fill_null("" if "string" in str(part.type) else b"")  # what lies below a null is anything
    if not len(part):
        return text_block(np.zeros(0, "<u4"), np.zeros(0, "u1"), None)
    _, places, raw = part.buffers()
    ends = np.frombuffer(places, offsets)[part.offset : part.offset + len(part) + 1]
    kept = np.zeros(0, "u1") if raw is None else np.frombuffer(raw, "u1")[ends[0] : ends[-1]]
    return text_block(np.diff(ends), kept, valid)


def _nested(column: Any) -> Column:
    pa = sys.modules["pyarrow"]
    whole = piece(column, 0, len(column))
    valid = _valid(whole)
    if pa.types.is_struct(whole.type):
        names = [whole.type.field(index).name for index in range(whole.type.num_fields)]
        if len(set(names)) < len(names):
            raise UnknownColumnError("has structs with two fields of one name")
        fields = {name: column_of(part) for name, part in zip(names, whole.flatten(), strict=True)}
        return structs(len(whole), valid, fields, dtype="object")
    if pa.types.is_map(whole.type):
        return _nested(whole.cast(pa.list_(pa.struct([("key", whole.type.key_type), ("value", whole.type.item_type)]))))
    if not (
        pa.types.is_list(whole.type) or pa.types.is_large_list(whole.type) or pa.types.is_fixed_size_list(whole.type)
    ):
        raise UnknownColumnError(f"is {whole.type}")
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(whole), 0).to_numpy(zero_copy_only=False)
    return lists(lengths.astype("<i8"), valid, column_of(whole.flatten()), dtype="object")
