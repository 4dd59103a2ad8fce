"""Parameters, metrics and tags: Python values that JSON can keep exactly, and the words for those it cannot.

orjson writes NaN and infinity as ``null`` and refuses integers beyond 64 bits, so these and tuples are written
as objects with one key: ``{"$float": "nan"}``, ``{"$int": "…"}``, ``{"$tuple": […]}``, ``{"$time": "…"}``. A key
of the user's own that begins with ``$`` gets a second one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

from modelkeep.errors import InvalidValueError, shown

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_MAX_DEPTH = 50
_EXACT = 1 << 63  # orjson keeps 64 bits
MAX_VALUES = 2_000_000  # in one text of JSON: each takes some 64 bytes of memory or more


def values_in(raw: bytes) -> int:
    """About how many values a text of JSON has, told without parsing it: a list takes two bytes there, and 64 here.

    Example:
        >>> values_in(b'{"w": [1, 2, []]}')
        5
    """
    return raw.count(b"[") + raw.count(b"{") + raw.count(b",")


def to_json(value: object, key: str) -> Json:
    """Turn *value* into what JSON keeps exactly; numpy scalars become numbers, paths become text.

    Args:
        value: None, bool, int, float, str, date, datetime, path, numpy scalar, or list, tuple, mapping of these.
        key: what the value is called, for the error.

    Raises:
        InvalidValueError: a part cannot be kept; the message names its key.

    Example:
        >>> to_json({"depth": 6, "rate": float("inf"), "layers": (64, 8)}, "params")
        {'depth': 6, 'rate': {'$float': 'inf'}, 'layers': {'$tuple': [64, 8]}}
    """
    return _encode(value, key, _MAX_DEPTH)


def _encode(value: Any, key: str, depth: int) -> Json:  # noqa: PLR0911, C901  a table of types reads best whole
    if value is None or value is True or value is False:
        return value
    if depth == 0:
        raise InvalidValueError(f"{key} is nested more than {_MAX_DEPTH} deep; keep it as a file", key=key)
    if isinstance(value, str):
        return _text(str.__str__(value), key)
    if isinstance(value, int):
        number = int(value)
        return number if -_EXACT <= number < _EXACT else {"$int": hex(number)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": _word(value)}
    if isinstance(value, (list, tuple)):
        listed = [_encode(part, f"{key}[{i}]", depth - 1) for i, part in enumerate(value)]
        return {"$tuple": listed} if isinstance(value, tuple) else listed
    if isinstance(value, Mapping):
        return {_name(k, key): _encode(part, f"{key}.{k}", depth - 1) for k, part in value.items()}
    if isinstance(value, (datetime, date)):
        return {"$time": _moment(value, key)}
    if isinstance(value, PurePath):
        return _text(str(value), key)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and value.dtype.kind not in "mMO":
        plain = value.item()
        if type(plain).__module__ != "numpy":
            return _encode(plain, key, depth - 1)
    raise InvalidValueError(
        f"{key} is a {type(value).__module__}.{type(value).__qualname__}, which a record cannot keep; give numbers, "
        "text, dates, or lists and dicts of these",
        key=key,
    )


def _moment(value: date, key: str) -> str:
    text = value.isoformat()
    try:
        kept = _time(text) == value
    except ValueError:
        kept = False
    if not kept:
        raise InvalidValueError(
            f"{key} is {value!r}, which a record cannot keep to the microsecond; give text", key=key
        )
    return text


def _word(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _text(value: str, key: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValueError(f"{key} holds {value!r}, which is not valid Unicode", key=key) from None
    return value


def _name(name: object, key: str) -> str:
    if not isinstance(name, str):
        raise InvalidValueError(f"{key} has the key {shown(name)}, a {type(name).__name__}; keys are text", key=key)
    text = _text(str.__str__(name), key)
    return f"${text}" if text.startswith("$") else text


def from_json(value: Json) -> Any:
    """Give back what `to_json` was given.

    Example:
        >>> from_json({"rate": {"$float": "inf"}, "layers": {"$tuple": [64, 8]}})
        {'rate': inf, 'layers': (64, 8)}
    """
    return _decode(value, _MAX_DEPTH)


def _decode(value: Json, depth: int) -> Any:
    if isinstance(value, list):
        return [_decode(part, depth - 1) for part in value] if depth else value
    if not isinstance(value, dict) or not depth:  # `to_json` makes nothing so deep: it stays what it is
        return value
    if len(value) == 1:
        ((name, part),) = value.items()
        if name == "$tuple" and isinstance(part, list):
            return tuple(_decode(one, depth - 1) for one in part)
        if name in _WORDS:
            try:
                return _WORDS[name](part)
            except (TypeError, ValueError):  # nobody's word: it stays what it is
                return value
    return {(name[1:] if name.startswith("$$") else name): _decode(part, depth - 1) for name, part in value.items()}


def _time(text: Any) -> date:
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


_WORDS: dict[str, Any] = {
    "$float": float,
    "$int": lambda text: int(text, 16),
    "$time": _time,
}


def check_text(value: object, key: str) -> str:
    """Return *value* as a plain `str`, if it is text that can be kept.

    Raises:
        InvalidValueError: it is something else, or no valid Unicode; names *key*.
    """
    if not isinstance(value, str):
        raise InvalidValueError(f"{key} is {shown(value)}, a {type(value).__name__}; give text", key=key)
    return _text(str.__str__(value), key)


def mapping_from_json(kept: Mapping[str, Json]) -> dict[str, Any]:
    """Give back what `mapping_to_json` or `metrics_to_json` was given; what they never write stays as it is.

    Example:
        >>> mapping_from_json({"loss": {"$float": "nan"}}), mapping_from_json({"$tuple": [1]})
        ({'loss': nan}, {'$tuple': [1]})
    """
    found = from_json(dict(kept))
    return found if isinstance(found, dict) else dict(kept)


def metrics_to_json(metrics: Mapping[str, object], what: str) -> dict[str, Json]:
    """Turn named numbers into JSON; NaN and infinity are kept.

    Raises:
        InvalidValueError: a value is no number; the message names its key.

    Example:
        >>> metrics_to_json({"auc": 0.91, "loss": float("nan")}, "metrics")
        {'auc': 0.91, 'loss': {'$float': 'nan'}}
    """
    if not isinstance(metrics, Mapping):
        raise InvalidValueError(f"{what} is a {type(metrics).__name__}; give a dict such as {{'auc': 0.91}}", key=what)
    encoded: dict[str, Json] = {}
    for name, value in metrics.items():
        word = _name(name, what)
        key = f"{what}.{name}"
        kept = to_json(_scalar(value), key)
        if isinstance(kept, (str, list, type(None))) or (isinstance(kept, dict) and not {"$float", "$int"} & set(kept)):
            raise InvalidValueError(
                f"{key} is {shown(value)}, which is no number; give it as a parameter or tag", key=key
            )
        encoded[word] = kept
    return encoded


def _scalar(value: Any) -> Any:
    # arrays and tensors of one element are what metric functions return
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value


def mapping_to_json(values: Mapping[str, object], what: str) -> dict[str, Json]:
    """Turn named values into a JSON object.

    Raises:
        InvalidValueError: *values* is no mapping, or a part cannot be kept; the message names its key.
    """
    if not isinstance(values, Mapping):
        raise InvalidValueError(f"{what} is a {type(values).__name__}; give a dict such as {{'depth': 6}}", key=what)
    kept = to_json(values, what)
    assert isinstance(kept, dict)  # noqa: S101  for the type checker: a mapping becomes a dict
    return kept
