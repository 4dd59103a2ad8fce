"""Journals: append-only, numbered, hash-chained. One implementation for versions, releases, notes and policy.

Entry *n* is one small object written by create-if-absent under the key *n*, so of any number of writers one gets
each number, and a missing entry *h+1* proves that *h* is current. See ``docs/reference/format.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from modelkeep import tiles
from modelkeep.digest import digest
from modelkeep.entry import DamagedError, Entry, Head, encode, parse
from modelkeep.errors import (
    AccessError,
    ConflictError,
    FormatError,
    InvalidValueError,
    ModelkeepError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
    UnsettledError,
)
from modelkeep.folds.rules import IllegalError, Op, S
from modelkeep.layout import FAN_OUT
from modelkeep.reading import JournalReader

_PATIENCE = 5  # tries to get an answer about one slot before the caller is told that it is open
_MAX_LOSSES = 1000  # slots lost in a row before a writer gives up
_LONGEST_PAUSE = 2.0  # seconds


class Journal(JournalReader[S]):
    """One journal: how to append to it, settle what is open, and seal what is lost. See `JournalReader` for the rest.

    Safe to use from several threads.
    """

    def append(
        self, decide: Callable[[S], Sequence[Op]], *, tx: str, sisters: Mapping[str, Head] | None = None
    ) -> Entry:
        """Append one entry. One write when this process has seen the head; a conflict costs a read and a try more.

        Args:
            decide: gives the operations for the state that it is handed, or raises; asked again on each try.
            tx: the transaction, new for each append.
            sisters: heads of the sister journals to note.

        Raises:
            UnsettledError: no answer came; the entry may stand or come to stand. `settle` finds out.
            ConflictError: others were first a thousand times in a row.
            ModelkeepError: what *decide* raises, once the newest state says so too.
        """
        with self.lock:
            fresh = self._cold
            if fresh:
                self._refresh()
            self._since.clear()
            for losses in range(_MAX_LOSSES):
                try:
                    ops = self._decided(decide)
                except ModelkeepError:
                    if fresh:
                        raise
                    fresh = True  # the state was only as new as our last read: look, then decide anew
                    self._refresh()
                    continue
                written = self._fill([op.to_json() for op in ops], tx, sisters or {}, losses)
                if written is not None:
                    return written
                fresh = True
        raise self._always_late()

    def _always_late(self) -> ConflictError:
        return ConflictError(
            f"{self.prefix}: others were first {_MAX_LOSSES} times in a row; try again", prefix=self.prefix
        )

    def _decided(self, decide: Callable[[S], Sequence[Op]]) -> Sequence[Op]:
        self._check_readable()
        for number, op in self._fold.skipped.items():
            raise FormatError(
                f"{self._key(number)} has the operation {op!r}, which this release can skip but not write after; "
                "upgrade modelkeep",
                key=self._key(number),
            )
        ops = decide(self.state)
        try:
            self._fold.check(ops)
        except IllegalError as error:
            raise ConflictError(f"{self.prefix}: {error}", prefix=self.prefix) from None
        return ops

    def _fill(
        self, ops: Sequence[Mapping[str, Any]], tx: str, sisters: Mapping[str, Head], losses: int
    ) -> Entry | None:
        """Fill the next slot; None if it is another's. The very same bytes are sent until the slot is taken."""
        number = self.head + 1
        raw = self._encoded(ops, tx, sisters)
        if self._create(number, raw, tx):
            self._take(raw)
        else:
            self._pause(losses)  # before the look, not behind it: what is seen should be new when the next try is made
            self._refresh_surely(number, tx)
        mine = self._since.get(tx)
        if mine:
            self._write_tiles()
        return mine

    def _encoded(self, ops: Sequence[Mapping[str, Any]], tx: str, sisters: Mapping[str, Head]) -> bytes:
        """The bytes of an entry for the next slot."""
        system = self._system
        prev = self._fold.digest if self.head or self._birth is None else self._birth.first_genesis(self.prefix)
        return encode(self.head + 1, prev, tx, system.timestamp(), system.actor(), sisters, ops)

    def _create(self, number: int, raw: bytes, tx: str) -> bool:
        """Whether the slot took *raw* now; False if it was taken, perhaps by an earlier try of ours."""
        answered, tried, last = True, 0, StoreError("")
        while tried < _PATIENCE:
            try:
                self.store.create(self._key(number), raw)
            except ObjectExistsError:
                return False
            except OutcomeUnknownError as error:
                # a later look that finds nothing proves nothing: the request may still arrive
                answered, last = False, error
                self._pause(tried)
                tried += tries_of(error)
            except StoreError as error:
                if answered:
                    raise
                raise self._unsettled(number, tx, error) from error
            else:
                return True
        raise self._unsettled(number, tx, last) from last

    def _refresh_surely(self, number: int, tx: str) -> None:
        """Refresh although a write of ours may stand unseen: a failure to read leaves it open."""
        tried, last = 0, StoreError("")
        while tried < _PATIENCE:
            try:
                self._read_new()
            except StoreError as error:
                last = error
                self._pause(tried)
                tried += tries_of(error)
            except ModelkeepError as error:
                raise self._unsettled(number, tx, error) from error
            else:
                return
        raise self._unsettled(number, tx, last) from last

    def _unsettled(self, number: int, tx: str, because: ModelkeepError) -> UnsettledError:
        return UnsettledError(
            f"the storage gave no answer about {self._key(number)}: the write may stand or come to stand; "
            f"call registry.settle(error.token) to find out ({because})",
            token=f"{self.prefix}{number}/{tx}",
        )

    def _pause(self, attempt: int) -> None:
        # "full jitter": M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015
        self._system.sleep(min(_LONGEST_PAUSE, 0.001 * 2 ** min(attempt, 11)) * self._system.jitter())

    def settle(self, number: int, tx: str) -> bool | None:
        """Whether transaction *tx* stands in slot *number*; an empty slot is filled, so that it never will.

        Returns:
            True: it stands. False: it does not and never will. None: without the right to write nobody can know.

        Raises:
            UnsettledError: again no answer.
        """
        with self.lock:
            self._refresh()
            if self.head + 1 < number:
                raise InvalidValueError(f"the token speaks of entry {number}, and {self.prefix} ends at {self.head}")
            if self.head < number:
                try:
                    self._create(number, self._encoded([{"op": "cancel", "tx": tx}], self._system.new_id(), {}), tx)
                except AccessError:
                    return None
                self._refresh_surely(number, tx)
            try:
                return parse(self._get(number) or b"", number).tx == tx
            except DamagedError:
                return False  # its loss was accepted, so nothing that it said stands

    def seal(self, number: int) -> None:
        """Accept the loss of a damaged entry: from here on the journal reads as if it had done nothing.

        Raises:
            ConflictError: the entry is sound, or belongs to a push that is not finished.
            InvalidValueError: there is no such entry.
        """
        tx = self._system.new_id()
        with self.lock:
            self._since.clear()
            for losses in range(_MAX_LOSSES):
                self._read_new()
                key = self._key(number)
                if not 0 < number <= self.head:
                    raise InvalidValueError(f"{key} is not there; the journal ends at {self.head}", key=key)
                if number not in self._fold.faults:
                    raise ConflictError(f"{key} is sound; there is nothing to seal", key=key)
                if self._fold.foreign:
                    raise ConflictError(f"{key} is not to be sealed: {self._fold.faults[1]}", key=key)
                facts = {"op": "seal", "n": number, "digest": digest(self._get(number) or b"")}
                if self._fill([facts], tx, {}, losses):
                    return
        raise self._always_late()

    def _write_tiles(self) -> None:
        """After the acknowledgement, never before; whoever may not write them, or fails to, carries on."""
        while len(self._untiled) >= FAN_OUT:
            batch = self._untiled[:FAN_OUT]
            start = self._forget_to_boundary()
            if start % FAN_OUT == 0:  # else an entry before these was damaged
                with suppress(StoreError):
                    tiles.write(self.store, self.prefix, start // FAN_OUT, batch)


def tries_of(error: StoreError) -> int:
    """How often the store itself has tried: remote ones do, with pauses longer than ours."""
    return int(error.facts.get("tries", 1))
