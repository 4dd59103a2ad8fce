"""`Environment`: the Python, the platform and the distributions that made a version; and how another one differs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Self

import attrs

from modelkeep.bounds import object_of, one_of, sentences_of, text_of
from modelkeep.environmentdiff import EnvironmentDiff, Finding, Severity, difference
from modelkeep.installed import Distribution, Lock, Source, read_distributions

__all__ = [
    "Distribution",
    "Environment",
    "EnvironmentDiff",
    "EnvironmentWarning",
    "Finding",
    "Lock",
    "Severity",
    "Source",
]

_PYTHON = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,5})?[a-z0-9+]{0,10}")


class EnvironmentWarning(UserWarning):
    """What runs here differs from what made a version, in a way that may matter."""


@attrs.frozen(kw_only=True)
class Environment:
    """The Python, the platform and the distributions of a process.

    Args:
        python: its version, such as ``3.11.7``.
        implementation: such as ``CPython``.
        abi: what extension modules of it are called, such as ``cpython-311``, ``cpython-313t`` without the global lock.
        system: such as ``Linux``.
        machine: such as ``x86_64``.
        os: the system's own name for itself, for people to read.
        libc: such as ``glibc 2.36``; None where there is none to speak of.
        cuda: what torch was built for, such as ``12.4``, or ``none``; None where torch is not there.
        distributions: all that are installed, by name.
        lock: what pins them.
        unknown: what could not be found out, a sentence each.

    Example:
        >>> then = Environment(python="3.11.7", distributions={"numpy": Distribution("numpy", "1.26.4", loaded=True)})
        >>> now = Environment(python="3.11.9", distributions={"numpy": Distribution("numpy", "2.1.0")})
        >>> for finding in then.compare(now):
        ...     print(f"{finding.severity}: {finding}")
        abi: numpy is 2.1.0 here and was 1.26.4, loaded: what was compiled or pickled with the one may not fit the other
        patch: Python is 3.11.9 here and was 3.11.7
    """

    python: str = attrs.field()
    implementation: str = "CPython"
    abi: str = ""
    system: str = ""
    machine: str = ""
    os: str = ""
    libc: str | None = None
    cuda: str | None = None
    distributions: Mapping[str, Distribution] = attrs.field(factory=dict, repr=lambda found: f"<{len(found)}>")
    lock: Lock | None = None
    unknown: tuple[str, ...] = ()

    @python.validator
    def _check_python(self, _: object, value: object) -> None:
        one_of(_PYTHON, value, "python")

    @property
    def loaded(self) -> tuple[Distribution, ...]:
        """The distributions that the process had imported."""
        return tuple(one for one in self.distributions.values() if one.loaded)

    def compare(self, other: Environment, *, matters: Collection[str] = ()) -> EnvironmentDiff:
        """What of *other*, the environment here, differs from this one, the environment then.

        Args:
            other: what runs now.
            matters: distributions whose minor releases count as major ones, such as what a serializer names.

        Returns:
            An `EnvironmentDiff`: findings, the gravest first.
        """
        return difference(self, other, matters)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds; words of a newer release are left out.

        Raises:
            ValueError, TypeError, KeyError: it is something else, or larger than any environment.
        """
        given = object_of(value, "an environment")
        words = ("implementation", "abi", "system", "machine", "os")
        optional = [key for key in ("libc", "cuda") if given.get(key) is not None]
        return cls(
            python=given["python"],
            **{key: text_of(given.get(key, ""), key) for key in words},
            **{key: text_of(given[key], key) for key in optional},
            distributions={one.name: one for one in read_distributions(given)},
            lock=None if given.get("lock") is None else Lock.from_json(given["lock"]),
            unknown=sentences_of(given.get("unknown", [])),
        )

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        kept: dict[str, Any] = {
            key: getattr(self, key)
            for key in ("python", "implementation", "abi", "system", "machine", "os", "libc", "cuda")
            if getattr(self, key)
        }
        kept["distributions"] = {one.name: one.version for one in self.distributions.values()}
        kept["loaded"] = [one.name for one in self.loaded]
        kept["sources"] = {one.name: one.source.to_json() for one in self.distributions.values() if one.source}
        if self.lock is not None:
            kept["lock"] = self.lock.to_json()
        if self.unknown:
            kept["unknown"] = list(self.unknown)
        return kept
