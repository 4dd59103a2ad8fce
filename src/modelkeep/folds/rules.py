"""What every journal's rules have in common: operations that parse, are checked, then applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

import attrs

from modelkeep.entry import Entry


class IllegalError(ValueError):
    """An operation breaks a rule of its journal; its entry is void."""


class State(Protocol):
    """What the entries of a journal add up to."""

    def copy(self) -> Self:
        """An independent copy, to try several operations of one entry on."""
        ...

    def note_loss(self) -> None:
        """A damaged entry was sealed: what it did is not known."""
        ...


S = TypeVar("S", bound=State)
S_co = TypeVar("S_co", bound=State, covariant=True)


@attrs.frozen
class Op:
    """An operation: a value with a name, a check against the state, and an effect."""

    op: ClassVar[str]

    def check(self, state: Any) -> None:
        """Raises `IllegalError` if the operation breaks a rule in this state."""

    def apply(self, state: Any, entry: Entry) -> None:
        """Change the state; only after a check."""

    def to_json(self) -> dict[str, Any]:
        """The form in entries: the fields that are not None."""
        facts: dict[str, Any] = {"op": self.op}
        for name in self._fields():
            value = getattr(self, name)
            if value is not None:
                facts[name] = value.to_json() if hasattr(value, "to_json") else value
        return facts

    @classmethod
    def parse(cls, facts: Mapping[str, Any]) -> Self:
        """Read the form in entries; unknown fields are ignored.

        Raises:
            IllegalError: a field is missing or has a wrong value.
        """
        try:
            return cls(**{name: facts[name] for name in cls._fields() if name in facts})
        except (TypeError, ValueError, KeyError) as error:
            raise IllegalError(f"{cls.op}: {error}") from None

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        cached = cls.__dict__.get("_field_names")
        if cached is None:
            cached = tuple(field.name for field in attrs.fields(cls))
            type.__setattr__(cls, "_field_names", cached)
        return cached


class Rules(Protocol[S_co]):
    """The rules of one kind of journal."""

    @property
    def ops(self) -> Mapping[str, type[Op]]:
        """The operations that this journal knows, by name."""
        ...

    def start(self) -> S_co:
        """The state before entry 1."""
        ...


@attrs.frozen
class Journalled:
    """Rules made of a starting state and a list of operations."""

    start: Any
    ops: Mapping[str, type[Op]]


def rules_of(start: type[S], *ops: type[Op]) -> Rules[S]:
    """Gather the rules of a journal."""
    return Journalled(start, {op.op: op for op in ops})


def require(condition: bool, message: str) -> None:
    """Raises `IllegalError` unless *condition* holds."""
    if not condition:
        raise IllegalError(message)
