"""Fields of operations: each function returns its argument, parsed, or raises ValueError; nothing is coerced."""

from __future__ import annotations

from reprlib import repr as shown  # short, and safe however deep a value is nested
from typing import Any

from modelkeep.digest import is_digest
from modelkeep.entry import is_id, is_time
from modelkeep.errors import InvalidError
from modelkeep.ref import Label, check_alias, check_kind
from modelkeep.version import Place, is_count, is_pack


def number(value: Any) -> int:
    """A version number, from 1 on."""
    if not is_count(value) or value < 1:
        raise ValueError(f"{shown(value)} is no version number")
    return int(value)


def maybe_number(value: Any) -> int | None:
    """A version number, or None for the model as a whole."""
    return None if value is None else number(value)


def numbers(value: Any) -> tuple[int, ...]:
    """A list of version numbers."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{shown(value)} is no list of version numbers")  # noqa: TRY004  one error for every fault
    return tuple(number(part) for part in value)


def count(value: Any) -> int:
    """A whole number from 0 on."""
    if not is_count(value):
        raise ValueError(f"{shown(value)} is no count")
    return int(value)


def digest(value: Any) -> str:
    """The text of a digest."""
    if not is_digest(value):
        raise ValueError(f"{shown(value)} is no digest")
    return str(value)


def maybe_digest(value: Any) -> str | None:
    """The text of a digest, or None."""
    return None if value is None else digest(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text")  # noqa: TRY004  one error for every fault
    return value


def identifier(value: Any) -> str:
    """An id: 32 hexadecimal digits."""
    if not is_id(text(value)):
        raise ValueError(f"{shown(value)} is no id")
    return str(value)


def time(value: Any) -> str:
    """A time as entries write it."""
    if not is_time(text(value)):
        raise ValueError(f"{shown(value)} is no time")
    return str(value)


def maybe_label(value: Any) -> str | None:
    """A semantic version, or None."""
    try:
        return None if value is None else str(Label.parse(text(value)))
    except InvalidError as error:
        raise ValueError(str(error)) from None


def label(value: Any) -> str:
    """A semantic version."""
    found = maybe_label(value)
    if found is None:
        raise ValueError("a label is missing")
    return found


def alias(value: Any) -> str:
    """The name of an alias."""
    try:
        return check_alias(text(value))
    except InvalidError as error:
        raise ValueError(str(error)) from None


def kind(value: Any) -> str:
    """The kind of a variant or draft."""
    try:
        return check_kind(text(value))
    except InvalidError as error:
        raise ValueError(str(error)) from None


def packs(value: Any) -> tuple[str, ...]:
    """A list of pack ids."""
    if not isinstance(value, (list, tuple)) or not all(map(is_pack, value)):
        raise ValueError(f"{shown(value)} is no list of packs")
    return tuple(value)


def place(value: Any) -> Place:
    """Where a manifest lies."""
    return value if isinstance(value, Place) else Place.parse(value)


def maybe_object(value: Any) -> dict[str, Any] | None:
    """A JSON object, or None."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is no object")
    return value


def object_or_nothing(value: Any) -> dict[str, Any] | None:
    """A JSON object; anything else counts as left out, for what was legal before the field was known stays legal."""
    return value if isinstance(value, dict) else None


def names(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{shown(value)} is no list of names")  # noqa: TRY004  one error for every fault
    return tuple(text(part) for part in value)


def move(value: Any) -> str:
    """How an alias moves."""
    if value not in ("promote", "rollback"):
        raise ValueError(f"{shown(value)} is neither promote nor rollback")
    return str(value)
