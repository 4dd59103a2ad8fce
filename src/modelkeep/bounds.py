"""Reads what a record may hold: text, numbers and objects of bounded size; whoever wrote the record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from modelkeep.digest import is_digest
from modelkeep.errors import shown

_MAX_TEXT, _MAX_SENTENCES = 500, 100
_MAX_COUNT = 1 << 53  # what JSON readers in any language keep exactly


def text_of(value: object, what: str, most: int = _MAX_TEXT) -> str:
    """Return *value* if it is text of at most *most* characters.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is {shown(value):.80}, and should be text")
    if len(value) > most:
        raise ValueError(f"{what} has {len(value)} characters, and {most} are allowed")
    return value


def one_of(pattern: re.Pattern[str], value: object, what: str) -> str:
    """Return *value* if it is text that fits *pattern*.

    Raises:
        TypeError, ValueError: it does not.
    """
    text = text_of(value, what, 2000)
    if not pattern.fullmatch(text):
        raise ValueError(f"{what} cannot be {text!r:.80}")
    return text


def digest_in(value: object, what: str) -> str:
    """Return *value* if it is the text of a digest.

    Raises:
        ValueError: it is not.
    """
    if not is_digest(value):
        raise ValueError(f"{what} is {shown(value):.80}, which is no digest")
    return str(value)


def sentences_of(value: Any) -> tuple[str, ...]:
    """Read why something is not known: a list of at most 100 sentences.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(value, list) or len(value) > _MAX_SENTENCES:
        raise ValueError(f"'unknown' is a list of at most {_MAX_SENTENCES} sentences")
    return tuple(text_of(sentence, "a sentence of 'unknown'") for sentence in value)


def object_of(value: object, what: str) -> Mapping[str, Any]:
    """Return *value* if it is a JSON object.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{what} is {shown(value):.80}, and should be an object")
    return value


def count_of(value: object, what: str) -> int:
    """Return *value* if it is a whole number from 0 on that JSON keeps exactly.

    Raises:
        TypeError, ValueError: it is not.
    """
    if type(value) is not int:
        raise TypeError(f"{what} is {shown(value):.80}, and should be a whole number")
    if not 0 <= value <= _MAX_COUNT:
        raise ValueError(f"{what} cannot be {shown(value):.80}")
    return value


def number_of(value: object, what: str) -> float:
    """Return *value* if it is a finite number from 0 on.

    Raises:
        TypeError, ValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is {shown(value):.80}, and should be a number")
    if not 0 <= value < math.inf:
        raise ValueError(f"{what} cannot be {shown(value):.80}")
    return float(value)
