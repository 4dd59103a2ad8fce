"""What one side of a signature says: values, columns, lists. Each is written as the JSON Schema of one row.

The words ``dtype``, ``shape``, ``nullable`` and ``categories`` are ours, and JSON Schema (draft 2020-12) lets them be;
all else follows from them, and is written for others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from modelkeep.errors import InvalidValueError, shown

MAX_CATEGORIES = 100  # beyond, a category column says that it is one, and no more
_MAX_DEPTH, _MAX_SHAPE = 32, 32
_MAX_NODES = 100_000
_WORD = re.compile(r"[a-z][a-z0-9]{0,39}")
_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_TYPES: dict[str, dict[str, Any]] = {
    **{word: {"type": "integer"} for word in _INTEGERS},
    **{word: {"type": "number"} for word in ("float16", "bfloat16", "float32", "float64")},
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "duration": {"type": "string", "format": "duration"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "null": {"type": "null"},
}
Shape = tuple[int | None, ...]


def _is_word(_: Any, __: Any, value: Any) -> None:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise InvalidValueError(f"{shown(value):.80} is no dtype; give one such as 'float64' or 'string'", key="dtype")


def _is_shape(_: Any, __: Any, value: Any) -> None:
    if (
        not isinstance(value, tuple)
        or len(value) > _MAX_SHAPE
        or any(size is not None and (type(size) is not int or not 0 <= size < 1 << 53) for size in value)
    ):
        raise InvalidValueError(
            f"{shown(value):.80} is no shape; give sizes, and None for any, such as (None, 3)", key="shape"
        )


def _are_categories(_: Any, __: Any, value: Any) -> None:
    if value is not None and (
        not isinstance(value, tuple)
        or len(value) > MAX_CATEGORIES
        or any(not isinstance(one, (str, int, float)) or one != one for one in value)  # noqa: PLR0124  not a number
    ):
        raise InvalidValueError(
            f"categories are at most {MAX_CATEGORIES} texts or numbers, as a tuple", key="categories"
        )


@attrs.frozen
class Values:
    """An array, a column of a frame, or one value.

    Args:
        dtype: ``int8`` to ``uint64``, ``float16`` to ``float64``, ``bool``, ``string``, ``bytes``, ``datetime``,
            ``date``, ``time``, ``duration``, ``category``, ``object`` for what no word is for, ``null`` where none is
            known.
        shape: of the whole; None for any size. ``(None,)`` is a column, ``()`` one value.
        nullable: whether values may be missing: None, NaN, NaT, NA.
        categories: those of a category column, if they are few.
    """

    dtype: str = attrs.field(validator=_is_word)
    shape: Shape = attrs.field(default=(None,), validator=_is_shape)
    nullable: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    categories: tuple[str | float, ...] | None = attrs.field(default=None, validator=_are_categories)
    # of samples, for `fitting` alone: whether the dtype is a guess at Python values, and the least and most of them
    loose: bool = attrs.field(default=False, eq=False, repr=False)
    span: tuple[int, int] | None = attrs.field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        inner = f" of shape {tuple(self.shape[1:])}".replace("None", "any") if len(self.shape) > 1 else ""
        return f"{self.dtype}{inner}{', or missing' if self.nullable else ''}"

    def to_json(self) -> dict[str, Any]:
        """The schema of a row."""
        row = self._of_one()
        for size in reversed(self.shape[1:]):
            sizes = {} if size is None else {"minItems": size, "maxItems": size}
            row = {"type": ["array", "null"] if self.nullable else "array", "items": row, **sizes}
        own: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape)}
        if self.nullable:
            own["nullable"] = True
        if self.categories is not None:
            own["categories"] = list(self.categories)
        return {**row, **own}

    def _of_one(self) -> dict[str, Any]:
        if self.categories is not None:
            return {"enum": [*self.categories, *([None] if self.nullable else [])]}
        known = dict(_TYPES.get(self.dtype, {}))
        if self.nullable and known.get("type", "null") != "null":
            known["type"] = [known["type"], "null"]
        return known


@attrs.frozen
class Columns:
    """Values by name: a frame, a dict of arrays, a row.

    Args:
        fields: each column; their order is that of the sample.
        optional: those that some rows lack.
        nullable: whether a row may be missing.
    """

    fields: Mapping[str, Schema]
    optional: frozenset[str] = frozenset()
    nullable: bool = False

    def __str__(self) -> str:
        names = list(self.fields)
        return f"columns {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"  # noqa: PLR2004

    def to_json(self) -> dict[str, Any]:
        """The schema of a row."""
        kept: dict[str, Any] = {
            "type": ["object", "null"] if self.nullable else "object",
            "properties": {name: field.to_json() for name, field in self.fields.items()},
            "required": [name for name in self.fields if name not in self.optional],
        }
        return kept | {"nullable": True} if self.nullable else kept


@attrs.frozen
class Lists:
    """A column of lists that differ in length.

    Args:
        items: what lies in them.
        nullable: whether a list may be missing.
    """

    items: Schema
    nullable: bool = False

    def __str__(self) -> str:
        return f"lists of {self.items}"

    def to_json(self) -> dict[str, Any]:
        """The schema of a row."""
        kept: dict[str, Any] = {"type": ["array", "null"] if self.nullable else "array", "items": self.items.to_json()}
        return kept | {"nullable": True} if self.nullable else kept


Schema = Values | Columns | Lists


def read_schema(value: Any) -> Schema:
    """Read what ``to_json`` of a schema wrote; words of a newer release, and of JSON Schema, are left out.

    Raises:
        InvalidValueError: it is something else, or longer or deeper than any schema.

    Example:
        >>> read_schema({"type": "integer", "dtype": "int64", "shape": [None]})
        Values(dtype='int64', shape=(None,), nullable=False, categories=None)
    """
    return _Reader().read(value, 0)


class _Reader:
    """Reads schemas that a stranger may have written."""

    def __init__(self) -> None:
        self._left = _MAX_NODES

    def read(self, value: Any, depth: int) -> Schema:
        self._left -= 1
        if not isinstance(value, dict) or depth > _MAX_DEPTH or self._left < 0:
            raise InvalidValueError("a schema is no object, or nested or long without end", key="signature")
        nullable = value.get("nullable", False)
        if not isinstance(nullable, bool):
            raise InvalidValueError("nullable is neither true nor false", key="signature")
        if "dtype" in value:
            return self._values(value, nullable=nullable)
        if isinstance(value.get("properties"), dict):
            fields = {name: self.read(field, depth + 1) for name, field in value["properties"].items()}
            required = value.get("required")
            if not isinstance(required, list):
                raise InvalidValueError("required is no list", key="signature")
            known = {name for name in required if isinstance(name, str)}
            return Columns(fields, frozenset(set(fields) - known), nullable)
        if "items" in value:
            return Lists(self.read(value["items"], depth + 1), nullable)
        raise InvalidValueError("a schema has neither dtype, properties nor items", key="signature")

    def _values(self, value: Mapping[str, Any], *, nullable: bool) -> Values:
        shape, categories = value.get("shape", [None]), value.get("categories")
        if not isinstance(shape, list) or not (categories is None or isinstance(categories, list)):
            raise InvalidValueError("shape or categories are no list", key="signature")
        return Values(value["dtype"], tuple(shape), nullable, None if categories is None else tuple(categories))
