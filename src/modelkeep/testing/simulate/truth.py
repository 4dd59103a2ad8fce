"""What is true of the models in a schedule, as the oracle has read it from the objects in the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from modelkeep.testing.simulate.world import Violation

Moment = tuple[int, int | None]


_silent: list[bool] = []


def require(condition: bool, message: str) -> None:
    """Raises `Violation` unless *condition* holds."""
    if not condition and not _silent:
        raise Violation(message)


def is_silent() -> bool:
    """Whether nothing is judged but by the search over histories."""
    return bool(_silent)


@contextmanager
def silent() -> Iterator[None]:
    """Have the oracle keep its judgements to itself for the length of a block, to see what the search finds alone."""
    _silent.append(True)
    try:
        yield
    finally:
        _silent.pop()


@attrs.define
class JournalTruth:
    """The entries of one journal, as they were created."""

    raws: list[bytes] = attrs.Factory(list)
    transactions: set[str] = attrs.Factory(set)


@attrs.define
class ModelTruth:
    """What the entries of a model mean.

    Args:
        payloads: what was saved, by version number.
        made: the step at which each version came to be.
        places: where the manifest of each version lies now.
        packs: the packs that each version needs now.
        bases: how many pieces its own are turned by now.
        lain: the packs that each version needed at any time.
        variants: what was added as variants, by version number and kind.
        added: the step at which each variant came to be.
        apart: the packs of each variant.
        drafts: what runs that failed logged, by id.
        failed: the step at which each of them was kept.
        drafted: the packs of each.
        expiries: from when on a collector may drop each, as entries write it.
        dropped: the step at which each was dropped.
        condemned: packs that must not be named any more.
        deletions: (step, number, whether it went) of every delete and restore.
        purged: for each version that was purged the step.
        erased: those of them that were erased.
        holds: (step, number, whether it is held) of every hold and unhold.
        holders: for each alias (step, number) of every move.
        moves: for each alias (entry, number) of every move.
        openings: (step, whether it is open) of every open and close.
        requests: for each version of which a review is asked, who asks.
        verdicts: for each version what actors said last and did not withdraw: whether they approve.
    """

    journals: dict[str, JournalTruth] = attrs.Factory(
        lambda: {"versions": JournalTruth(), "releases": JournalTruth(), "notes": JournalTruth()}
    )
    payloads: dict[int, Any] = attrs.Factory(dict)
    made: dict[int, int] = attrs.Factory(dict)
    places: dict[int, list[Any]] = attrs.Factory(dict)
    packs: dict[int, list[str]] = attrs.Factory(dict)
    bases: dict[int, int] = attrs.Factory(dict)
    lain: dict[int, set[str]] = attrs.Factory(dict)
    variants: dict[tuple[int, str], Any] = attrs.Factory(dict)
    added: dict[tuple[int, str], int] = attrs.Factory(dict)
    apart: dict[tuple[int, str], list[str]] = attrs.Factory(dict)
    drafts: dict[str, Any] = attrs.Factory(dict)
    failed: dict[str, int] = attrs.Factory(dict)
    drafted: dict[str, list[str]] = attrs.Factory(dict)
    expiries: dict[str, str] = attrs.Factory(dict)
    dropped: dict[str, int] = attrs.Factory(dict)
    condemned: set[str] = attrs.Factory(set)
    labels: dict[str, int] = attrs.Factory(dict)
    own_label: dict[int, str] = attrs.Factory(dict)
    stacks: dict[str, list[int]] = attrs.Factory(dict)
    deleted: set[int] = attrs.Factory(set)
    deletions: list[tuple[int, int, bool]] = attrs.Factory(list)
    purged: dict[int, int] = attrs.Factory(dict)
    erased: set[int] = attrs.Factory(set)
    held: set[int] = attrs.Factory(set)
    holds: list[tuple[int, int, bool]] = attrs.Factory(list)
    holders: dict[str, list[Moment]] = attrs.Factory(dict)
    moves: dict[str, list[Moment]] = attrs.Factory(dict)
    is_open: bool = False
    openings: list[tuple[int, bool]] = attrs.Factory(list)
    requests: dict[int, str] = attrs.Factory(dict)
    verdicts: dict[int, dict[str, bool]] = attrs.Factory(dict)

    def holder(self, alias: str) -> int | None:
        """Who holds *alias* now."""
        stack = self.stacks.get(alias)
        return stack[-1] if stack else None

    def aliases_of(self, number: int) -> list[str]:
        """The aliases that a version holds now."""
        return [alias for alias in self.stacks if self.holder(alias) == number]

    def alive(self) -> list[int]:
        """The versions that are not deleted, in order."""
        return [number for number in self.payloads if number not in self.deleted]

    def kept(self) -> list[int]:
        """The versions that are not purged, deleted ones too."""
        return [number for number in self.payloads if number not in self.purged]

    def saved(self) -> list[Any]:
        """All that was saved, as versions, as variants, or as runs that failed."""
        return [*self.payloads.values(), *self.variants.values(), *self.drafts.values()]

    def kept_drafts(self) -> list[str]:
        """The runs that failed and were not dropped."""
        return [draft for draft in self.drafts if draft not in self.dropped]

    def needs(self, number: int) -> list[str]:
        """The packs without which a version or one of its variants cannot be read."""
        return [*self.packs[number], *(pack for of, packs in self.apart.items() if of[0] == number for pack in packs)]

    def who_needs(self, pack: str) -> list[int | str]:
        """The versions that are not purged and that cannot be read without *pack*, or of which a variant cannot.

        And runs that failed and were not dropped.
        """
        numbers = [number for number in self.packs if number not in self.purged and pack in self.needs(number)]
        return [*numbers, *(draft for draft in self.kept_drafts() if pack in self.drafted[draft])]

    def holders_since(self, alias: str, step: int) -> set[int | None]:
        """All who held *alias* at some moment from *step* on."""
        moves = self.holders.get(alias, [])
        before = [number for when, number in moves if when <= step][-1:] or [None]
        return {*before, *(number for when, number in moves if when > step)}

    def ever_deleted_since(self, number: int, step: int) -> bool:
        """Whether a version was deleted at some moment from *step* on."""
        return True in _since(self.deletions, number, step)

    def ever_alive_since(self, number: int, step: int) -> bool:
        """Whether a version was not deleted at some moment from *step* on."""
        return False in _since(self.deletions, number, step)

    def ever_held_since(self, number: int, step: int) -> bool:
        """Whether a version was held at some moment from *step* on."""
        return True in _since(self.holds, number, step)


def _since(changes: list[tuple[int, int, bool]], number: int, step: int) -> list[bool]:
    """What something about a version was from *step* on, one after the other; it began as False."""
    moves = [(when, now) for when, which, now in changes if which == number]
    before = [now for when, now in moves if when <= step][-1:] or [False]
    return [*before, *(now for when, now in moves if when > step)]
