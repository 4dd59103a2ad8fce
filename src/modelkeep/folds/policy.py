"""The journal `policy` of a registry: the whole TOML text, each time."""

from __future__ import annotations

from typing import ClassVar

import attrs

from modelkeep.entry import Entry
from modelkeep.folds import fields
from modelkeep.folds.rules import Op, rules_of


@attrs.define
class Policy:
    """The policy in force: its text, empty if none was ever set, and the number of the entry that set it."""

    text: str = ""
    number: int = 0

    def copy(self) -> Policy:
        """See `State.copy`."""
        return Policy(self.text, self.number)

    def note_loss(self) -> None:
        """See `State.note_loss`: a lost policy leaves the one before in force."""


@attrs.frozen
class SetPolicy(Op):
    """The whole policy, as TOML text."""

    op: ClassVar[str] = "policy"
    text: str = attrs.field(converter=fields.text)

    def apply(self, state: Policy, entry: Entry) -> None:
        """See `Op.apply`."""
        state.text, state.number = self.text, entry.number


RULES = rules_of(Policy, SetPolicy)
