"""What serializers of native files share: the attributes of a wrapper as JSON.

A wrapper, such as a classifier around a booster, is kept as the name of its class and its attributes, as far as they
are plain data. No name from a file is imported: the serializer gives a closed list of classes, and what a class defines
is not replaced.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from modelkeep.errors import IntegrityError, InvalidValueError, SerializerError, shown
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import read_json
from modelkeep.values import Json, from_json, to_json

WRAPPER = "wrapper.json"
_MAX_DEPTH = 50
_MAX_ARRAY = 64 * 1024 * 1024  # bytes of an array of classes or weights, once it is made
_DTYPE = re.compile(r"[<>|][biufU][0-9]{1,6}|object")


def is_one_of(obj: object, framework: str, names: Sequence[str]) -> bool:
    """Whether the class of *obj* is one of the framework's own; a class derived from it holds what we do not know."""
    kind = type(obj)
    return kind.__name__ in names and kind.__module__.partition(".")[0] == framework


def put_wrapper(sink: Sink, obj: object, attributes: Mapping[str, Any], **more: Any) -> None:
    """Write the name of the class of *obj*, and *attributes*, as JSON.

    Args:
        sink: where to.
        obj: the wrapper.
        attributes: by name.
        more: what else the serializer wants to know.

    Raises:
        SerializerError: one of them is no plain data, such as a function; names it, and the ways out.
    """
    kind = type(obj).__name__
    facts = {"class": kind, "attributes": _kept(attributes, kind), **{key: _kept(more[key], key) for key in more}}
    sink.put(WRAPPER, json.dumps(facts, indent=1).encode())


def _kept(values: Any, kind: str) -> Json:
    try:
        return keep(values, kind)
    except InvalidValueError as error:
        raise SerializerError(
            f"{error.key} of a {kind} is no plain data, as which a {kind} is kept ({error}); replace it, "
            "by the name of a built-in one if it is a function, or save(…, serializer='cloudpickle')",
            key=error.key,
        ) from None


def wrapper(files: Files, classes: Sequence[str]) -> dict[str, Any]:
    """What `put_wrapper` wrote.

    Args:
        files: of the version.
        classes: the names that may stand there.

    Raises:
        IntegrityError: it is damaged, or of another class.
    """
    facts = read_facts(files)
    if facts["class"] not in classes:
        raise IntegrityError(
            f"{WRAPPER} is damaged: its class {shown(facts['class'])} is none of {', '.join(classes)}", path=WRAPPER
        )
    return facts


def read_facts(files: Files) -> dict[str, Any]:
    """What `put_wrapper` wrote, of whatever class it says.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        facts = {key: back(value) for key, value in read_json(files, WRAPPER).items()}
        if type(facts["class"]) is not str or not all(type(name) is str for name in facts["attributes"]):
            raise ValueError("a name is no text")  # noqa: TRY301  caught below
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, MemoryError) as error:
        raise IntegrityError(f"{WRAPPER} is damaged: {error}", path=WRAPPER) from None
    return facts


def set_attributes(obj: object, attributes: Mapping[str, Any]) -> None:
    """Set what `wrapper` gave; what the class itself defines, such as a method, stays.

    Raises:
        IntegrityError: one of them would replace it.
    """
    for name, value in attributes.items():
        if name.startswith("__") or (name not in vars(obj) and hasattr(type(obj), name)):
            raise IntegrityError(f"{WRAPPER} is damaged: {shown(name)} is part of the class", path=WRAPPER)
        vars(obj)[name] = value


def keep(value: Any, key: str, depth: int = _MAX_DEPTH) -> Json:
    """Turn plain data into JSON: what `to_json` keeps, dicts with any keys, and arrays of numbers and text.

    Raises:
        InvalidValueError: a part is something else; names it.

    Example:
        >>> import numpy as np
        >>> keep({"w": {0: 1.5}, "c": np.array(["a", "b"])}, "params")
        {'w': {'$pairs': [[0, 1.5]]}, 'c': {'$array': ['<U1', [2], ['a', 'b']]}}
    """
    if depth == 0:
        raise InvalidValueError(f"{key} is nested more than {_MAX_DEPTH} deep", key=key)
    if isinstance(value, Mapping):
        rows = [(name, keep(part, f"{key}.{name}", depth - 1)) for name, part in value.items()]
        if all(type(name) is str and not name.startswith("$") for name, _ in rows):
            return dict(rows)
        return {"$pairs": [[keep(name, key, depth - 1), part] for name, part in rows]}
    if isinstance(value, (list, tuple)):
        parts = [keep(part, f"{key}[{i}]", depth - 1) for i, part in enumerate(value)]
        return {"$tuple": parts} if isinstance(value, tuple) else parts
    if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray":
        return _kept_array(value, key)
    return to_json(value, key)


def _kept_array(array: Any, key: str) -> Json:
    dtype = "object" if array.dtype == object else array.dtype.str
    if not _DTYPE.fullmatch(dtype):
        raise InvalidValueError(f"{key} is an array of {array.dtype}; give numbers or text", key=key)
    return {"$array": [dtype, list(array.shape), [to_json(part, key) for part in array.ravel().tolist()]]}


def back(value: Json, depth: int = _MAX_DEPTH) -> Any:  # noqa: PLR0911  a table of kinds reads best whole
    """Give back what `keep` was given.

    Raises:
        ValueError: it made no such thing.
    """
    if depth == 0:
        raise ValueError("it is nested too deep")
    if isinstance(value, list):
        return [back(part, depth - 1) for part in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$pairs": list(rows)}:
            return {back(row[0], depth - 1): back(row[1], depth - 1) for row in map(_pair, rows)}
        case {"$tuple": list(parts)}:
            return tuple(back(part, depth - 1) for part in parts)
        case {"$array": [str(dtype), list(shape), list(parts)]}:
            return _array(dtype, shape, [from_json(part) for part in parts])
    if any(name.startswith("$") for name in value):
        return from_json(value)
    return {name: back(part, depth - 1) for name, part in value.items()}


def _pair(row: Json) -> list[Json]:
    if not isinstance(row, list) or len(row) != 2:  # noqa: PLR2004  a pair
        raise ValueError("a pair that is none")
    return row


def _array(dtype: str, shape: list[Any], parts: list[Any]) -> Any:
    import numpy as np

    if not _DTYPE.fullmatch(dtype) or np.dtype(dtype).itemsize * len(parts) > _MAX_ARRAY:
        raise ValueError(f"an array of {len(parts)} times {dtype}")
    if not all(type(part) in (bool, int, float, str, type(None)) for part in parts):
        raise ValueError("an array of something else than numbers and text")
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) != len(parts):
        raise ValueError("an array whose shape does not fit")
    return np.array(parts, dtype).reshape(shape)
