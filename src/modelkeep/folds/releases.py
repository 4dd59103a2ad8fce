"""The journal `releases`: what is in use. An alias is a stack: promote pushes, rollback pops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

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


@attrs.frozen
class Verdict:
    """What somebody says of a version now.

    Args:
        actor: who says it.
        approves: whether it may be promoted.
        identity: the version that was looked at.
        time: when it was said.
    """

    actor: str
    approves: bool
    identity: str
    time: str


@attrs.frozen
class Review:
    """What is said of a version now.

    Args:
        requested_by: who asked for a review; None: nobody, or it was withdrawn.
        reviewers: who was asked, if anybody was named.
        verdicts: one for each who gave one and did not withdraw it, in the order in which they came.
    """

    requested_by: str | None = None
    reviewers: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    def verdict_of(self, actor: str) -> Verdict | None:
        """What *actor* says, or None."""
        return next((verdict for verdict in self.verdicts if verdict.actor == actor), None)

    def without(self, actor: str) -> Review:
        """The same without what *actor* says."""
        return attrs.evolve(self, verdicts=tuple(verdict for verdict in self.verdicts if verdict.actor != actor))


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
        reviews: what is said of versions, by number.
    """

    stacks: dict[str, tuple[Holder, ...]] = attrs.Factory(dict)
    deleted: dict[int, str] = attrs.Factory(dict)
    purged: dict[int, str] = attrs.Factory(dict)
    held: set[int] = attrs.Factory(set)
    aliased: set[int] = attrs.Factory(set)
    latest: str = ""
    reviews: dict[int, Review] = attrs.Factory(dict)

    def copy(self) -> Releases:
        """See `State.copy`."""
        return Releases(
            dict(self.stacks),
            dict(self.deleted),
            dict(self.purged),
            set(self.held),
            set(self.aliased),
            self.latest,
            dict(self.reviews),
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

    def review(self, number: int) -> Review:
        """What is said of a version."""
        return self.reviews.get(number, Review())

    def stands(self, alias: str, number: int) -> bool:
        """Whether a version stands under *alias*, or stood there and was not rolled back."""
        return any(holder.number == number for holder in self.stacks.get(alias, ()))

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
        evidence: of a promote that a policy asked something of, by what policy, and what was found.
    """

    op: ClassVar[str] = "alias"
    alias: str = attrs.field(converter=fields.alias)
    number: int = attrs.field(converter=fields.number)
    identity: str = attrs.field(converter=fields.digest)
    at: Place = attrs.field(converter=fields.place)
    how: str = attrs.field(default="promote", converter=fields.move)
    reason: str | None = attrs.field(default=None, converter=fields.maybe_digest)
    evidence: dict[str, Any] | None = attrs.field(default=None, converter=fields.object_or_nothing)

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


def alias_moves(ops: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, int | None]]:
    """The moves of aliases among the operations of an entry: which, how, and the version that it moved to, if any."""
    for op in ops:
        if op["op"] == SetAlias.op:
            yield op["alias"], op.get("how", "promote"), op["number"]
        elif op["op"] == Unalias.op:
            yield op["alias"], "unset", None


# -- gates and reviews -------------------------------------------------------------------------------------------------


@attrs.frozen
class _Skippable(Op):
    """What releases before it may leave out when they read; they cannot write after it, so none promotes past it."""

    def to_json(self) -> dict[str, Any]:
        """See `Op.to_json`."""
        return {**super().to_json(), "skippable": True}


@attrs.frozen
class Refuse(_Skippable):
    """A promote was refused by the policy; no alias moves.

    Args:
        alias: the name that was to move.
        number: the version that it was to move to.
        identity: that version's digest.
        evidence: by what policy, and what was found.
        reason: the digest of a text that says why it was tried.
    """

    op: ClassVar[str] = "refuse"
    alias: str = attrs.field(converter=fields.alias)
    number: int = attrs.field(converter=fields.number)
    identity: str = attrs.field(converter=fields.digest)
    evidence: dict[str, Any] | None = attrs.field(default=None, converter=fields.object_or_nothing)
    reason: str | None = attrs.field(default=None, converter=fields.maybe_digest)


@attrs.frozen
class _OfReview(_Skippable):
    number: int = attrs.field(converter=fields.number)
    identity: str = attrs.field(converter=fields.digest)
    reason: str | None = attrs.field(default=None, converter=fields.maybe_digest)

    def check(self, state: Releases) -> None:
        """See `Op.check`."""
        require(self.number not in state.purged, f"version {self.number} is purged")
        require(self.number not in state.deleted, f"version {self.number} is deleted")


@attrs.frozen
class Request(_OfReview):
    """Somebody asks for a review, of these or of anybody."""

    op: ClassVar[str] = "request"
    reviewers: tuple[str, ...] = attrs.field(default=(), converter=fields.names)

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        known = state.review(self.number)
        state.reviews[self.number] = attrs.evolve(known, requested_by=entry.actor, reviewers=self.reviewers)


@attrs.frozen
class _Verdict(_OfReview):
    approves: ClassVar[bool]

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        others = state.review(self.number).without(entry.actor)
        verdict = Verdict(entry.actor, self.approves, self.identity, entry.time)
        state.reviews[self.number] = attrs.evolve(others, verdicts=(*others.verdicts, verdict))


@attrs.frozen
class Approve(_Verdict):
    """The actor finds that the version may be promoted; what they said before is over."""

    op: ClassVar[str] = "approve"
    approves: ClassVar[bool] = True


@attrs.frozen
class Reject(_Verdict):
    """The actor finds that the version must not be promoted; what they said before is over."""

    op: ClassVar[str] = "reject"
    approves: ClassVar[bool] = False


@attrs.frozen
class Withdraw(_OfReview):
    """The actor takes back what they said; if they said nothing, the request that they made."""

    op: ClassVar[str] = "withdraw"

    def apply(self, state: Releases, entry: Entry) -> None:
        """See `Op.apply`."""
        known = state.review(self.number)
        if known.verdict_of(entry.actor):
            state.reviews[self.number] = known.without(entry.actor)
        elif known.requested_by == entry.actor:
            state.reviews[self.number] = attrs.evolve(known, requested_by=None, reviewers=())


_IN_USE = (SetAlias, Unalias, Repin, Delete, Restore, Hold, Unhold, Purge)
_REVIEWED = (Refuse, Request, Approve, Reject, Withdraw)
RULES = rules_of(Releases, *_IN_USE, *_REVIEWED)
