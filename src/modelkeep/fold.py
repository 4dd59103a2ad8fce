"""Folding a journal: entry after entry into a state, with no storage. Total: nothing that lies there stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic

import attrs

from modelkeep.digest import digest
from modelkeep.entry import DamagedError, Entry, Head, parse
from modelkeep.folds.rules import IllegalError, Op, Rules, S, require


@attrs.define
class Fold(Generic[S]):
    """A journal folded up to its head, and what was odd on the way.

    Args:
        rules: what the operations mean.
        seen: number and digest of the last entry, set in one step, since other threads look at it; before the first,
            0 and the genesis of the journal.
        state: what the entries add up to.
        faults: damaged entries that no seal has named yet, with the reason.
        sealed: damaged entries whose loss was accepted.
        doubted: sound entries whose loss was accepted: they were brought back, or read before they were damaged.
        void: well-formed entries that broke a rule, with the rule; they took their number and changed nothing.
        unknown: entries with an operation that this release does not know.
        skipped: the same, marked so that reading may go on.
        cancelled: transactions that were settled as never to happen.
        elsewhere: gives the genesis of the registry that the journal was pushed from, if it was; asked only where
            entry 1 does not follow the genesis of here.
        foreign: whether entry 1 follows neither.
    """

    rules: Rules[S]
    seen: Head
    state: S = attrs.field()
    faults: dict[int, str] = attrs.Factory(dict)
    sealed: set[int] = attrs.Factory(set)
    doubted: set[int] = attrs.Factory(set)
    void: dict[int, str] = attrs.Factory(dict)
    unknown: dict[int, str] = attrs.Factory(dict)
    skipped: dict[int, str] = attrs.Factory(dict)
    cancelled: set[str] = attrs.Factory(set)
    elsewhere: Callable[[], str | None] | None = None
    foreign: bool = False

    @state.default
    def _start(self) -> S:
        return self.rules.start()

    @property
    def head(self) -> int:
        """The number of the last entry."""
        return self.seen[0]

    @property
    def digest(self) -> str:
        """The digest of the last entry, or the genesis."""
        return self.seen[1]

    def take(self, raw: bytes) -> Entry | None:
        """Fold in the bytes of the next entry; None if they are damaged. Either way they take the number."""
        number, before = self.head + 1, self.digest
        try:
            entry = self._parse(raw, number, before)
        except DamagedError as error:
            self.seen = (number, digest(raw))
            self.faults[number] = str(error)
            self.state.note_loss()
            return None
        self.seen = (number, entry.digest)
        try:
            self._apply(entry)
        except IllegalError as error:
            self.void[number] = str(error)
        return entry

    def _parse(self, raw: bytes, number: int, before: str) -> Entry:
        entry = parse(raw, number)
        if entry.prev != before and number - 1 not in self.faults and not (number == 1 and self._is_pushed(entry)):
            raise DamagedError(f"it does not follow entry {number - 1}: one of the two was altered")
        return entry

    def _is_pushed(self, first: Entry) -> bool:
        """Whether the journal was pushed here from where it was born; damage if nothing says so."""
        if self.elsewhere is None:
            return False
        if first.prev == self.elsewhere():
            return True
        self.foreign = True
        raise DamagedError(
            "it does not follow entry 0: it was born in another registry, and no origin.json says in which; if it is "
            "being pushed here, or a push was cut off, run that push again"
        )

    def _apply(self, entry: Entry) -> None:
        if entry.tx in self.cancelled:
            raise IllegalError("its transaction was cancelled")
        known: list[Op] = []
        own: list[dict[str, Any]] = []
        for facts in entry.ops:
            kind = self.rules.ops.get(facts["op"])
            if kind is not None:
                known.append(kind.parse(facts))
            else:
                own.append(facts)
                require(facts["op"] != "cancel" or isinstance(facts.get("tx"), str), "cancel: tx is no text")
        self.check(known)
        for op in known:
            op.apply(self.state, entry)
        for facts in own:
            self._apply_own(facts, entry.number)

    def _apply_own(self, facts: dict[str, Any], number: int) -> None:
        """What every journal knows: cancel and seal; and what this release does not know."""
        match facts:
            case {"op": "cancel", "tx": tx}:
                self.cancelled.add(tx)
            case {"op": "seal", "n": int(sealed)} if not isinstance(sealed, bool):
                if self.faults.pop(sealed, None) is not None:
                    self.sealed.add(sealed)
                elif 0 < sealed < number and sealed not in self.sealed:
                    self.doubted.add(sealed)
            case {"op": "seal"}:
                return
            case {"op": name, "skippable": True}:
                self.skipped[number] = name
            case _:
                self.unknown[number] = facts["op"]

    def check(self, ops: Sequence[Op]) -> None:
        """Whether *ops*, one after another, are legal now; changes nothing.

        Raises:
            IllegalError: one is not.
        """
        if len(ops) == 1:
            ops[0].check(self.state)
            return
        trial = self.state.copy() if ops else self.state
        for op in ops:
            op.check(trial)
            op.apply(trial, _NOBODY)


_NOBODY = Entry(0, "", "", "", "", {}, [], "")
