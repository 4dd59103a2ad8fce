"""`Session`: when, how long, on what and from which seeds a version was made, as a record holds it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Self

import attrs

from modelkeep.bounds import count_of, digest_in, number_of, object_of, one_of, sentences_of, text_of
from modelkeep.errors import shown
from modelkeep.machine import Hardware
from modelkeep.system import format_time, parse_time

_MAX_NAMES = 100  # of one mapping
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_SEED = 1 << 128  # what numpy's SeedSequence draws


def _mapping(value: object, what: str, read: Callable[[object, str], Any]) -> dict[str, Any]:
    given = object_of(value, what)
    if len(given) > _MAX_NAMES:
        raise ValueError(f"{what} has {len(given)} names, and {_MAX_NAMES} are allowed")
    return {one_of(_NAME, name, f"a name in {what}"): read(part, f"{what}.{name}") for name, part in given.items()}


def _seed(value: object, what: str) -> int:
    if type(value) is str and len(value) < 50:  # noqa: PLR2004  JSON keeps 64 bits exactly; the larger are text
        value = int(value)
    if type(value) is not int or not -_MAX_SEED < value < _MAX_SEED:
        raise ValueError(f"{what} is {shown(value):.80}, which is no seed")
    return value


def _time(value: object) -> datetime:
    try:
        return parse_time(text_of(value, "began", 60))
    except OverflowError as error:  # a time zone that leads out of the calendar
        raise ValueError(f"began cannot be {value!r}") from error


def _flag(value: object, what: str) -> bool | int | str:
    if isinstance(value, int):
        return value
    return text_of(value, what, 100)


@attrs.frozen(kw_only=True)
class Seeds:
    """What randomness began with.

    Args:
        states: a digest of the state of each generator; equal digests give equal numbers.
        initial: the seeds, where they can be told from the generators.
        flags: what frameworks were told about determinism, and how Python hashed.
        unknown: what could not be found out, a sentence each.

    Example:
        >>> Seeds.from_json({"initial": {"torch": 7}, "flags": {"cudnn.benchmark": False}}).initial
        {'torch': 7}
    """

    states: Mapping[str, str] = attrs.field(factory=dict)
    initial: Mapping[str, int] = attrs.field(factory=dict)
    flags: Mapping[str, bool | int | str] = attrs.field(factory=dict)
    unknown: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "seeds")
        return cls(
            states=_mapping(given.get("states", {}), "states", digest_in),
            initial=_mapping(given.get("initial", {}), "initial", _seed),
            flags=_mapping(given.get("flags", {}), "flags", _flag),
            unknown=sentences_of(given.get("unknown", [])),
        )

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        initial = {name: seed if -(1 << 63) <= seed < 1 << 63 else str(seed) for name, seed in self.initial.items()}
        kept = {
            "states": dict(self.states),
            "initial": initial,
            "flags": dict(self.flags),
            "unknown": list(self.unknown),
        }
        return {key: value for key, value in kept.items() if value}


@attrs.frozen(kw_only=True)
class Session:
    """When, how long, on what and from which seeds a version was made.

    Args:
        began: when, in UTC.
        duration_s: how long it took, in seconds.
        peak_memory: the most memory that the process ever held by then, in bytes; what came before the session counts.
        function: the name of the function that was tracked.
        hardware: what it ran on.
        seeds: what randomness began with.
        ci: the run of a continuous integration, by the names that `modelkeep.capture.ci` gives.
        unknown: what could not be found out, a sentence each.

    Example:
        >>> kept = {"began": "2026-03-01T12:00:00Z", "duration_s": 1.5, "ci": {"provider": "github"}}
        >>> session = Session.from_json(kept)
        >>> session.began.hour, session.duration_s, session.ci["provider"]
        (12, 1.5, 'github')
    """

    began: datetime
    duration_s: float | None = None
    peak_memory: int | None = None
    function: str | None = None
    hardware: Hardware | None = None
    seeds: Seeds | None = None
    ci: Mapping[str, str] = attrs.field(factory=dict)
    unknown: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds; words of a newer release are left out.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "a session")
        return cls(
            began=_time(given["began"]),
            ci=_mapping(given.get("ci", {}), "ci", text_of),
            unknown=sentences_of(given.get("unknown", [])),
            **{key: read(given[key], key) for key, read in _OPTIONAL.items() if given.get(key) is not None},
        )

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        kept = {
            "began": format_time(self.began),
            "duration_s": self.duration_s,
            "peak_memory": self.peak_memory,
            "function": self.function,
            "hardware": None if self.hardware is None else self.hardware.to_json(),
            "seeds": None if self.seeds is None else self.seeds.to_json(),
            "ci": dict(self.ci) or None,
            "unknown": list(self.unknown) or None,
        }
        return {key: value for key, value in kept.items() if value is not None}


_OPTIONAL: dict[str, Callable[[Any, str], Any]] = {
    "duration_s": number_of,
    "peak_memory": count_of,
    "function": text_of,
    "hardware": lambda value, _: Hardware.from_json(value),
    "seeds": lambda value, _: Seeds.from_json(value),
}
