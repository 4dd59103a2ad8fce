"""What a call was given: parameters, datasets, and objects of which the class alone is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import attrs
import orjson

from modelkeep.capture.frames.describing import Families, family
from modelkeep.errors import InvalidValueError
from modelkeep.values import to_json

_MOST = 1_000  # values in one parameter; what has more is data
_LONGEST = 4_096  # bytes of one parameter as JSON; parameters and metrics lie in the journal up to 16 KiB
_UNTOLD: Families = {  # data beside that of which `modelkeep.capture.frames` tells facts; of this the type is kept
    "cudf": ("DataFrame", "Series"),
    "cupy": ("ndarray",),
    "dask": ("DataFrame", "Series", "Array"),
    "datasets": ("Dataset", "DatasetDict", "IterableDataset"),
    "jax": ("Array",),
    "jaxlib": ("ArrayImpl",),
    "lightgbm": ("Dataset",),
    "modelkeep": ("Dataset",),
    "modin": ("DataFrame", "Series"),
    "pandas": ("Index",),
    "tensorflow": ("Tensor", "DatasetV2"),
    "torch": ("Dataset", "DataLoader"),
    "xgboost": ("DMatrix",),
}


def is_data(obj: object) -> bool:
    """Whether *obj* is a frame, an array or a path; told by the names of its classes, and nothing is imported for it.

    Unlike for `modelkeep.capture.frames.can_describe`, a text that leads to a file is none: it may be a parameter.

    Example:
        >>> import numpy as np
        >>> is_data(np.zeros(3)), is_data(3.0)
        (True, False)
    """
    return isinstance(obj, PurePath) or family(obj) is not None or family(obj, _UNTOLD) is not None


@attrs.frozen
class Call:
    """The arguments of one call.

    Args:
        params: those that are plain values.
        data: datasets by role.
        others: the classes of all others, by name.
        objects: these themselves.
    """

    params: dict[str, Any]
    data: dict[str, Any]
    others: dict[str, str]
    objects: tuple[Any, ...] = attrs.field(repr=False)


@attrs.frozen
class Reader:
    """Sorts the arguments of the calls of one function.

    Args:
        signature: of the function.
        data: names of arguments that are datasets whatever they are.
        skipped: how many arguments come before those of the user: ``self`` or ``cls``.
    """

    signature: inspect.Signature
    data: frozenset[str]
    skipped: int

    @classmethod
    def of(cls, function: Callable[..., Any], data: frozenset[str]) -> Reader:
        """Look at a function.

        Raises:
            InvalidValueError: *data* names no argument of it.
        """
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        unknown = sorted(data - set(signature.parameters))
        if unknown and not any(one.kind is one.VAR_KEYWORD for one in parameters):
            taken = ", ".join(signature.parameters) or "nothing"
            raise InvalidValueError(f"data names {', '.join(unknown)}, and {_name(function)} takes {taken}", key="data")
        # a method is a plain function when it is decorated; that it is one, its qualified name tells
        around = _name(function).rpartition(".")[0]
        within_class = around and not around.endswith("<locals>")
        first = parameters[0].name if parameters and within_class else ""
        return cls(signature, data, int(first in ("self", "cls")))

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Sort the arguments of one call.

        Raises:
            TypeError: the function does not take them; what calling it would raise.
        """
        call = Call({}, {}, {}, ())
        found = list(self._arguments(args, kwargs))
        objects = [obj for name, obj in found if not self._sorted(name, obj, call)]
        return attrs.evolve(call, objects=tuple(objects))

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in list(bound.arguments.items())[self.skipped :]:
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                yield from value.items()
            elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
                yield name, value

    def _sorted(self, name: str, obj: Any, call: Call) -> bool:
        """Put an argument where it belongs; false where that is among the others."""
        if name in self.data or is_data(obj):
            call.data[name] = obj
            return True
        if parts := _parts(obj):
            call.data.update({f"{name}{place}": part for place, part in parts})
            return True
        if _is_plain(obj, name):
            call.params[name] = obj
            return True
        call.others[name] = f"{type(obj).__module__}.{type(obj).__qualname__}"
        return False


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _parts(obj: Any) -> list[tuple[str, Any]]:
    """The datasets in a dict, list or tuple of datasets alone, each with its place."""
    if isinstance(obj, Mapping):
        found = [(f".{key}", part) for key, part in obj.items()]
    elif type(obj) in (list, tuple):
        found = [(f"[{index}]", part) for index, part in enumerate(obj[: _MOST + 1])]
    else:
        return []
    return found if len(found) <= _MOST and all(is_data(part) for _, part in found) else []


def _is_plain(obj: Any, name: str) -> bool:
    """Whether a record keeps *obj*, and it is small enough to be a parameter."""
    try:
        if _count(obj, _MOST) > _MOST or isinstance(obj, PurePath):
            return False
        return len(orjson.dumps(to_json(obj, name))) <= _LONGEST
    except (InvalidValueError, RecursionError):
        return False


def _count(obj: Any, most: int) -> int:
    """About how many values there are in nested lists and dicts, told before all of them are looked at."""
    if isinstance(obj, str):
        return len(obj) // 8
    if not isinstance(obj, (list, tuple, Mapping)) or len(obj) > most:
        return len(obj) if isinstance(obj, (list, tuple, Mapping)) else 1
    total = 1
    for part in obj.values() if isinstance(obj, Mapping) else obj:
        total += _count(part, most)
        if total > most:
            break
    return total
