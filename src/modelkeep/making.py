"""What made a version: everything that is looked at while a run goes on, gathered in one place.

Each look is a line in a table below. Whatever goes wrong in one gives less, and says so; it never stops a training.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from types import FunctionType
from typing import Any

import attrs
import orjson

from modelkeep.capture.hardware import peak_memory
from modelkeep.code import TrainingFunction
from modelkeep.digest import digest_of
from modelkeep.errors import InvalidValueError
from modelkeep.redaction import check_params as check_secrets
from modelkeep.redaction import redacted
from modelkeep.tails import Tail
from modelkeep.values import mapping_to_json, to_json

# What is captured only on request, by the word in `capture=`.
CAPTURES = ("diff", "notebook", "sources", "lock")
_MAX_ERROR = 4_000  # characters of an exception
_MAX_TRACE = 16_000  # characters at the end of a traceback, where what raised stands
_LOOKED_AT = 8 * _MAX_TRACE  # and those that are looked through for secrets, so that none is cut in two


@attrs.frozen
class Asked:
    """What a look may go by.

    Args:
        function: what is run; None in a `with` block.
        capture: what was asked for, of `CAPTURES`.
    """

    function: Callable[..., Any] | None = None
    capture: frozenset[str] = frozenset()


# -- the doors to what looks ------------------------------------------------------------------------------------------


def dataset_facts(role: str, obj: object) -> dict[str, Any]:
    """What is told of a dataset; with ``fingerprint`` if it has one."""
    from modelkeep.capture.frames import can_describe
    from modelkeep.dataseeing import seen
    from modelkeep.datasets import entry_of
    from modelkeep.datasetversion import Dataset

    if isinstance(obj, Dataset):
        return {"role": role, **entry_of(obj, obj.described())}
    if can_describe(obj):
        return seen(obj, role=role)
    kind = type(obj)
    return {"role": role, "type": f"{kind.__module__}.{kind.__qualname__}", **_shape(obj)}


def code_digest(code: Mapping[str, Any]) -> str | None:
    """What is equal for equal code, of what `AT_THE_START` gives; None where nothing can be told."""
    function = code.get("function")
    return TrainingFunction.from_json(function).digest if isinstance(function, Mapping) else None


def fingerprint(facts: Mapping[str, Any]) -> str | None:
    """What is equal for equal data, of what `dataset_facts` gives; None where nothing can be told."""
    found = facts.get("fingerprint")
    return found if isinstance(found, str) else None


# -- the looks -------------------------------------------------------------------------------------------------------


def _code(asked: Asked) -> dict[str, Any]:
    """What Git says, the function with all of the project that it calls, and what else was asked for."""
    from modelkeep.capture.code import code_facts

    wanted = asked.capture
    return code_facts(asked.function, diff="diff" in wanted, cells="notebook" in wanted, files="sources" in wanted)


def _environment(asked: Asked) -> dict[str, Any]:
    from modelkeep.capture import environment

    return environment.captured(lock="lock" in asked.capture)


def _hardware(_: Asked) -> dict[str, Any]:
    from modelkeep.capture import hardware

    return hardware.captured()


def _seeds(_: Asked) -> dict[str, Any]:
    from modelkeep.capture import seeds

    return seeds.captured()


def _ci(_: Asked) -> dict[str, Any]:
    from modelkeep.capture import ci

    return {name: redacted(text) for name, text in ci.captured().items()}


def _enclosed(function: Callable[..., Any] | None) -> dict[str, Any] | None:
    """The plain values of functions around this one that it uses; None where it uses others too, or has a state."""
    if not isinstance(function, FunctionType):  # a partial, or an object that can be called
        return None
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = to_json(cell.cell_contents, name)
        except ValueError:  # empty yet, or no plain value
            return None
    return found


def _shape(obj: object) -> dict[str, Any]:
    shape = getattr(obj, "shape", None)
    if isinstance(shape, tuple) and all(type(size) is int for size in shape):
        return {"shape": list(shape)}
    return {}


def looked_over(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, with the rows noted that training and other data have in common."""
    from modelkeep.datasets import with_overlaps

    try:
        return with_overlaps(data)
    except Exception:  # noqa: BLE001  whatever it is, training goes on
        return [*data]


Look = Callable[[Asked], dict[str, Any]]
AT_THE_START: dict[str, Look] = {"code": _code}  # before the function can change it
AT_THE_END: dict[str, Look] = {"environment": _environment}  # when all that it imports is imported
SESSION: dict[str, Look] = {"seeds": _seeds, "hardware": _hardware, "ci": _ci}  # at the start, part of the session


def looked(look: Look, asked: Asked) -> dict[str, Any]:
    """What a look gives; where it fails, or gives what no record keeps, why."""
    try:
        found = look(asked)
        mapping_to_json(found, "made")
    except Exception as error:  # noqa: BLE001  whatever it is, training goes on
        return {"unknown": [told(error)]}  # as what is looked at says of its parts
    return found


def told(error: BaseException) -> str:
    """An exception in words, without what looks like a secret.

    Example:
        >>> told(KeyError("x"))
        "KeyError: 'x'"
    """
    try:
        said = str(error)
    except Exception as other:  # noqa: BLE001  the class is not ours
        said = f"(cannot be shown: {type(other).__name__})"
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return redacted(text.encode(errors="replace").decode())[:_MAX_ERROR]


def traced(error: BaseException) -> str:
    """The end of the traceback of an exception, without what looks like a secret; empty if it cannot be had."""
    try:
        whole = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001  the classes in it are not ours
        return ""
    return redacted(whole[-_LOOKED_AT:].encode(errors="replace").decode())[-_MAX_TRACE:]


def check_captures(given: Iterable[str]) -> frozenset[str]:
    """Return what was asked for.

    Raises:
        InvalidValueError: one is unknown.
    """
    names = frozenset([given] if isinstance(given, str) else given)
    if unknown := sorted(map(str, names - set(CAPTURES))):
        raise InvalidValueError(
            f"capture names {', '.join(unknown)}; what can be captured on request is {', '.join(CAPTURES)}",
            key="capture",
        )
    return names


class Making:
    """What is known of a run of its own accord, from its beginning on.

    Args:
        function: what is run, if it is a function.
        capture: what to look at beside what is always looked at, of `CAPTURES`.
    """

    def __init__(self, function: Callable[..., Any] | None = None, capture: frozenset[str] = frozenset()) -> None:
        self.asked = Asked(function, capture)
        self.session: dict[str, Any] = {}
        self.data: list[dict[str, Any]] = []
        self.output: dict[str, Tail] = {}
        self._sure = True
        self._memory = peak_memory()
        self._pid = os.getpid()
        self._began = time.perf_counter()
        self._at_the_start: dict[str, dict[str, Any]] = {}

    @classmethod
    def begin(
        cls, function: Callable[..., Any] | None = None, capture: frozenset[str] = frozenset(), *, kind: str
    ) -> Making:
        """Look at what has to be looked at before anything runs; *kind* is ``track`` or ``run``."""
        making = cls(function, capture)
        making.session["kind"] = kind
        if function is not None:
            named = function if hasattr(function, "__qualname__") else type(function)  # a partial has no name
            making.session["function"] = named.__qualname__
        making._at_the_start = {name: looked(look, making.asked) for name, look in AT_THE_START.items()}
        making.session.update({name: looked(look, making.asked) for name, look in SESSION.items()})
        making._began = time.perf_counter()
        return making

    def add_data(self, role: str, obj: object) -> None:
        """Look at a dataset, as it is now."""
        facts = looked(lambda _: dataset_facts(role, obj), self.asked)
        self.data.append({"role": role, **facts})

    def unsure(self) -> None:
        """Something that nothing is known of goes into the run: no other run can be told to be the same."""
        self._sure = False

    def key(self, params: Mapping[str, object]) -> str | None:
        """What is equal for runs of the same code, data and parameters; None where that cannot be told."""
        code = code_digest(self._at_the_start.get("code", {}))
        prints = [(str(facts["role"]), fingerprint(facts)) for facts in self.data]
        enclosed = _enclosed(self.asked.function)
        if code is None or enclosed is None or not self._sure or any(found is None for _, found in prints):
            return None
        given = orjson.dumps(to_json([params, enclosed], "params"), option=orjson.OPT_SORT_KEYS).decode()
        return digest_of(
            "modelkeep run 1", code, given, *(f"{role} {found}" for role, found in sorted(prints, key=str))
        )

    @property
    def duration(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._began

    def finish(self) -> dict[str, Any]:
        """All of it as a record keeps it, up to now."""
        seen = {**self._at_the_start, **{name: looked(look, self.asked) for name, look in AT_THE_END.items()}}
        made: dict[str, Any] = {name: facts for name, facts in seen.items() if facts}
        made["session"] = {**self.session, "duration_s": round(self.duration, 6), **self._grown()}
        if self.output:
            made["session"]["output"] = {name: tail.text(redacted) for name, tail in self.output.items()}
        if self.data:
            made["data"] = looked_over(self.data)
        return made

    def _grown(self) -> dict[str, Any]:
        now = peak_memory()
        if now is None or self._memory is None or os.getpid() != self._pid:
            return {}
        return {"peak_memory": now, "memory_growth": now - self._memory}


def check_params(params: Mapping[str, object], allowed: Collection[str]) -> None:
    """Refuse parameters that a record cannot keep, or should not.

    Raises:
        InvalidValueError: one is of a kind that cannot be kept, or looks like a secret; the message names it.
    """
    mapping_to_json(params, "params")
    check_secrets(params, allowed)
