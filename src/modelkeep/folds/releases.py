"""The journal `releases`: what is in use. An alias is a stack: promote pushes, rollback pops."""

from __future__ import annotations

from typing import ClassVar

import attrs

from modelkeep.entry import Entry
from modelkeep.folds import fields
from modelkeep.folds.rules import Op, require, rules_of
from modelkeep.version import Place

ERASE = "erase"


@attrs.frozen
class Holder:
    """A version under an alias: number, identity, where its manifest lay, and who put it there when."""

    number: int
    identity: str
    at: Place
    time: str
    actor: str


@attrs.define
class Releases:
    """What the entries of `releases` add up to.

    Args:
        stacks: for each alias that is set its versions, the holder last.
        deleted: versions that are deleted and not restored, each with when, as `latest` was.
        purged: versions whose bytes may go, each with the rule by which; they never come back.
        held: versions that must not be purged.
        aliased: versions that ever stood under an alias.
        latest: the latest time of any delete so far, so that a slow clock does not make one look old.
    """

    stacks: dict[str, tuple[Holder, ...]] = attrs.Factory(dict)
    deleted: dict[int, str] = attrs.Factory(dict)
    purged: dict[int, str] = attrs.Factory(dict)
    held: set[int] = attrs.Factory(set)
    aliased: set[int] = attrs.Factory(set)
    latest: str = ""

    def copy(self) -> Releases:
        """See `State.copy`."""
        return Releases(
            dict(self.stacks), dict(self.deleted), dict(self.purged), set(self.held), set(self.aliased), self.latest
        )

    def note_loss(self) -> None:
        """See `State.note_loss`: a lost alias move leaves the alias where it stood."""

    def holder(self, alias: str) -> Holder | None:
        """The version that stands under *alias*, or None."""
        stack = self.stacks.get(alias)
        return stack[-1] if stack else None

    def aliases_of(self, number: int) -> tuple[str, ...]:
        """The aliases under which a version stands, sorted."""
        return tuple(sorted(alias for alias, stack in tuple(self.stacks.items()) if stack[-1].number == number))

    def stacked(self) -> set[int]:
        """The versions that stand under an alias, or that a rollback may come back to."""
        return {holder.number for stack in tuple(self.stacks.values()) for holder in stack}

    def rolled_back(self, alias: str) -> tuple[Holder, ...]:
        """The stack after one rollback: down to the next version that is neither deleted nor purged, or empty."""
        stack = self.stacks.get(alias, ())[:-1]
        while stack and stack[-1].number in self.deleted:  # what is purged is deleted, too
            stack = stack[:-1]
        return stack


@attrs.frozen
class SetAlias(Op):
    """An alias moves to a version. A promote pushes it; a rollback pops down to it.

    Args:
        alias: the name that moves.
        number: the version that it moves to.
        identity: that version's digest, so that a reader needs no other journal.
        at: where its manifest lies.
        how: ``promote`` or ``rollback``.
        reason: the digest of a text that says why.
    """

    op: ClassVar[str] = "alias"
    alias: str = attrs.field(converter=fields.alias)
    number: int = attrs.field(converter=fields.number)
    identity: str = attrs.field(converter=fields.digest)
    at: Place = attrs.field(converter=fields.place)
    how: str = attrs.field(default="promote", converter=fields.move)
    reason: str | None = attrs.field(default=None, converter=fields.maybe_digest)

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number not in state.deleted, f"version {self.number} is deleted")
        require(self.number not in state.purged, f"version {self.number} is purged")
        if self.how == "rollback":
            stack = state.rolled_back(self.alias)
            require(bool(stack) and stack[-1].number == self.number, f"no rollback leads to version {self.number}")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        here = Holder(self.number, self.identity, self.at, entry.time, entry.actor)
        if self.how == "rollback":
            below = state.rolled_back(self.alias)[:-1]
        else:
            below = state.stacks.get(self.alias, ())
            if below and below[-1].number == self.number:  # recorded, not pushed
                below = below[:-1]
        state.stacks[self.alias] = (*below, here)
        state.aliased.add(self.number)


@attrs.frozen
class Unalias(Op):
    """An alias is no longer set; its stack is gone."""

    op: ClassVar[str] = "unalias"
    alias: str = attrs.field(converter=fields.alias)
    reason: str | None = attrs.field(default=None, converter=fields.maybe_digest)

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.alias in state.stacks, f"alias {self.alias} is not set")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        del state.stacks[self.alias]


@attrs.frozen
class Repin(Op):
    """The manifest of a version on an alias stack lies elsewhere; readers of the alias are told."""

    op: ClassVar[str] = "repin"
    number: int = attrs.field(converter=fields.number)
    at: Place = attrs.field(converter=fields.place)

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number in state.stacked(), f"version {self.number} stands on no alias stack")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        for alias, stack in state.stacks.items():
            state.stacks[alias] = tuple(attrs.evolve(h, at=self.at) if h.number == self.number else h for h in stack)


@attrs.frozen
class _OfOneVersion(Op):
    number: int = attrs.field(converter=fields.number)
    reason: str | None = attrs.field(default=None, converter=fields.maybe_digest)


@attrs.frozen
class Delete(_OfOneVersion):
    """A version is hidden; its bytes stay, and `restore` brings it back."""

    op: ClassVar[str] = "delete"

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number not in state.deleted, f"version {self.number} is deleted already")
        aliases = state.aliases_of(self.number)
        require(not aliases, f"version {self.number} stands under {', '.join(aliases)}")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        state.latest = max(state.latest, entry.time)
        state.deleted[self.number] = state.latest


@attrs.frozen
class Restore(_OfOneVersion):
    """A deleted version is back."""

    op: ClassVar[str] = "restore"

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number in state.deleted, f"version {self.number} is not deleted")
        require(self.number not in state.purged, f"version {self.number} is purged")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        del state.deleted[self.number]


@attrs.frozen
class Hold(_OfOneVersion):
    """A version must not be purged."""

    op: ClassVar[str] = "hold"

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number not in state.held, f"version {self.number} is held already")
        require(self.number not in state.purged, f"version {self.number} is purged")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.held.add(self.number)


@attrs.frozen
class Unhold(_OfOneVersion):
    """A version may be purged again."""

    op: ClassVar[str] = "unhold"

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number in state.held, f"version {self.number} is not held")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.held.discard(self.number)


@attrs.frozen
class Purge(_OfOneVersion):
    """The bytes of a deleted version may go; here, where alias moves and holds are, so that neither can lose.

    Args:
        rule: by what rule, in words; `ERASE` asks for bytes that others share a pack with to go, too.
        policy: the number of the entry of `policy` that holds the rule, if one does.
    """

    op: ClassVar[str] = "purge"
    rule: str = attrs.field(default="", converter=fields.text)
    policy: int | None = attrs.field(default=None, converter=fields.maybe_number)

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number in state.deleted, f"version {self.number} is not deleted")
        require(self.number not in state.held, f"version {self.number} is held")
        require(self.number not in state.purged, f"version {self.number} is purged already")

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.purged[self.number] = self.rule


RULES = rules_of(Releases, SetAlias, Unalias, Repin, Delete, Restore, Hold, Unhold, Purge)
