"""Faults in how journals are written and read."""

from __future__ import annotations

from typing import Any

import orjson

from modelkeep import _home, journal, tiles
from modelkeep.digest import digest
from modelkeep.entry import encode
from modelkeep.errors import MissingObjectError, ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.testing.simulate.planted.planting import Planted, nothing, on

_refresh, _read_cold = journal.Journal._refresh, journal.Journal._read_cold


def _fill_without_scan(self: Any, ops: Any, tx: str, sisters: Any, losses: int) -> Any:
    head = self.head
    number = head + 1
    if self._create(number, self._encoded(ops, tx, sisters), tx):
        self._refresh()
        return self._since.get(tx)
    self._refresh_surely(number, tx)
    return None  # "taken" is read as "another was first"


def _retry_with_new_bytes(self: Any, number: int, raw: bytes, tx: str) -> bool:
    """After a lost reply the entry is made anew, with a new time; the first bytes are taken for stored."""
    key = self._key(number)
    for _ in range(5):
        try:
            self.store.create(key, raw)
        except ObjectExistsError:
            return tx.encode() in self.store.get(key)
        except OutcomeUnknownError:
            facts = orjson.loads(raw.split(b"\n")[0])
            raw = encode(number, facts["prev"], tx, self._system.timestamp(), "again", {}, facts["ops"])
            self._again = raw
        else:
            return True
    raise self._unsettled(number, tx, StoreError("no answer"))


def _timeout_is_success(self: Any, number: int, raw: bytes, tx: str) -> bool:
    try:
        self.store.create(self._key(number), raw)
    except ObjectExistsError:
        return False
    except OutcomeUnknownError:
        return True
    return True


def _timeout_is_failure(self: Any, number: int, raw: bytes, tx: str) -> bool:
    del tx
    try:
        self.store.create(self._key(number), raw)
    except ObjectExistsError:
        return False
    except OutcomeUnknownError as error:
        raise StoreError("the write failed") from error
    return True


def _timeout_moves_on(self: Any, number: int, raw: bytes, tx: str) -> bool:
    """After a lost reply it looks, finds nothing of its own yet, and takes the next number."""
    try:
        self.store.create(self._key(number), raw)
    except ObjectExistsError:
        return False
    except OutcomeUnknownError:
        self._since.clear()
        self._refresh_surely(number, tx)
        if self.head < number:
            raise StoreError("the write failed") from None
        self._since.pop(tx, None)
        return False
    return True


def _settle_by_looking(self: Any, number: int, tx: str) -> bool:
    self._refresh()
    try:
        return tx.encode() in self.store.get(self._key(number))
    except MissingObjectError:
        return False  # "not there" is read as "never"


def _tile_miss_is_head(self: Any, ahead: Any = None) -> None:
    self._fold, self._untiled = self._start(), []
    plan = tiles.cover(self.prefix, tiles.plan(self.store, self.prefix))
    if not plan.covered:
        _read_cold(self, ahead)
        return
    self._take_parts(plan, self.store.get_many(plan.keys()))
    self._cold = False


def _never_reads_again(self: Any, ahead: Any = None) -> None:
    if self._cold:
        _refresh(self, ahead)


_append = journal.Journal.append


def _stale_refusal(self: Any, decide: Any, *, tx: str, sisters: Any = None) -> Any:
    """A refusal from an old state is handed to the caller as it is."""
    with self.lock:
        if self._cold:
            self._refresh()
        self._decided(decide)
    return _append(self, decide, tx=tx, sisters=sisters)


def _fixed_prev(self: Any, ops: Any, tx: str, sisters: Any) -> bytes:
    system = self._system
    return encode(self.head + 1, digest(b""), tx, system.timestamp(), system.actor(), sisters, ops)


JOURNALS = (
    Planted(
        "no-own-scan", "a taken slot is always another's", lambda: [on(journal.Journal, "_fill", _fill_without_scan)]
    ),
    Planted(
        "retry-with-new-bytes",
        "a retry after a lost reply sends other bytes",
        lambda: [on(journal.Journal, "_create", _retry_with_new_bytes)],
    ),
    Planted(
        "time-out-is-success",
        "no answer is read as done",
        lambda: [on(journal.Journal, "_create", _timeout_is_success)],
    ),
    Planted(
        "time-out-is-failure",
        "no answer is read as not done, and the bytes are deleted",
        lambda: [on(journal.Journal, "_create", _timeout_is_failure)],
    ),
    Planted(
        "time-out-moves-on",
        "after no answer a look that finds nothing is read as not done",
        lambda: [on(journal.Journal, "_create", _timeout_moves_on)],
    ),
    Planted(
        "settle-by-looking",
        "settle looks at the slot and does not fill it",
        lambda: [on(journal.Journal, "settle", _settle_by_looking)],
    ),
    Planted(
        "tile-miss-is-head",
        "a cold read ends where the tiles end",
        lambda: [on(journal.Journal, "_read_cold", _tile_miss_is_head)],
    ),
    Planted(
        "cache-without-look",
        "a journal that was read once is not read again",
        lambda: [on(journal.Journal, "_refresh", _never_reads_again)],
    ),
    Planted(
        "stale-refusal",
        "a refusal is judged by what was read some time ago",
        lambda: [on(journal.Journal, "append", _stale_refusal)],
    ),
    Planted(
        "no-chain",
        "entries do not carry the digest of the one before",
        lambda: [on(journal.Journal, "_encoded", _fixed_prev)],
    ),
    Planted(
        "store-overwrites",
        "the store lets two writers win, and is not tested",
        lambda: [on(_home.Home, "_test", nothing)],
        overwrites=True,
    ),
)
