"""Faults planted into the library, one at a time: a simulator that does not see them proves nothing.

Each is what a hasty author might write. Run them with ``python -m modelkeep.testing.simulate --planted``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest import mock

import attrs

from modelkeep import _home, _line, _publish, journal, model, modelversion, packs
from modelkeep.digest import digest
from modelkeep.entry import encode
from modelkeep.errors import (
    ConflictError,
    MissingObjectError,
    ModelkeepError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
    UnsettledError,
)
from modelkeep.folds import releases, versions
from modelkeep.layout import pack_key

_Patch = AbstractContextManager[object]


@attrs.frozen
class Planted:
    """A fault: what was done wrong, and how to do it.

    Args:
        name: a short name.
        wrong: what the library does with it.
        patches: makes the patches that plant it.
        overwrites: whether the store lets two writers win.
    """

    name: str
    wrong: str
    patches: Callable[[], Sequence[_Patch]]
    overwrites: bool = False

    def plant(self) -> AbstractContextManager[object]:
        """Put the fault in for the length of a block."""
        stack = ExitStack()
        for patch in self.patches():
            stack.enter_context(patch)
        return stack


def _on(target: object, name: str, new: Any) -> _Patch:
    patched: _Patch = mock.patch.object(target, name, new)
    return patched


_fill, _create, _refresh = journal.Journal._fill, journal.Journal._create, journal.Journal._refresh
_decided, _read_cold = journal.Journal._decided, journal.Journal._read_cold


def _fill_without_scan(self: Any, ops: Any, tx: str, sisters: Any, losses: int) -> Any:
    head = self.head
    number = head + 1
    if self._create(number, self._encoded(ops, tx, sisters), tx):
        self._refresh()
        return self._since.get(tx)
    self._refresh_surely(number, tx)
    return None  # "taken" is read as "another was first"


def _decide_once(kinds: tuple[type, ...]) -> Any:
    """Operations are computed on the first try and sent again on the others, unchecked."""

    def append(self: Any, decide: Any, *, tx: str, sisters: Any = None) -> Any:
        kept: list[Any] = []

        def once(state: Any) -> Any:
            if not kept or not isinstance(kept[0][-1], kinds):
                kept[:] = [decide(state)]
            return kept[0]

        return _append(self, once, tx=tx, sisters=sisters)

    return append


_append = journal.Journal.append


def _unchecked(self: Any, decide: Any) -> Any:
    del self
    return decide


def _decided_unchecked(self: Any, decide: Any) -> Any:
    return decide(self.state)


def _retry_with_new_bytes(self: Any, number: int, raw: bytes, tx: str) -> bool:
    """After a lost reply the entry is made anew, with a new time; the first bytes are taken for stored."""
    key = self._key(number)
    for _ in range(5):
        try:
            self.store.create(key, raw)
        except ObjectExistsError:
            return tx.encode() in self.store.get(key)
        except OutcomeUnknownError:
            import orjson

            facts = orjson.loads(raw.split(b"\n")[0])
            raw = encode(number, facts["prev"], tx, self._system.timestamp(), "again", {}, facts["ops"])
            self._again = raw
        else:
            return True
    raise self._unsettled(number, tx)


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
    from modelkeep import tiles

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


def _stale_refusal(self: Any, decide: Any, *, tx: str, sisters: Any = None) -> Any:
    """A refusal from an old state is handed to the caller as it is."""
    with self.lock:
        if self._cold:
            self._refresh()
        self._decided(decide)
    return _append(self, decide, tx=tx, sisters=sisters)


def _versions_first(self: Any) -> None:
    self.versions.refresh()
    self.releases.refresh()
    if not self.versions.head:
        raise self.unknown()


def _rollback_without_expect(self: Any, alias: str, **_: Any) -> Any:
    line = self._read()

    def decide(state: Any) -> Any:
        below = state.rolled_back(alias)
        if not below:
            raise ConflictError("nothing below")
        return [releases.SetAlias(alias, below[-1].number, below[-1].identity, below[-1].at, "rollback")]

    entry = line.append("releases", decide)
    return modelversion.ModelVersion(line, entry.ops[0]["number"])


def _rollback_pushes(self: Any, state: Any, entry: Any) -> None:
    here = releases.Holder(self.number, self.identity, self.at, entry.time, entry.actor)
    below = state.stacks.get(self.alias, ())
    state.stacks[self.alias] = (*below, here) if not below or below[-1].number != self.number else below


def _holder_before(self: Any, alias: str) -> Any:
    return self.stacks.get(alias, ())[:-1]  # past deleted ones it does not look


def _put_errors_ignored(store: Any, name: str, ids: Any, sources: Any, record: bytes, **how: Any) -> Any:
    class Deaf:
        def put_pack(self, key: str, source: Any) -> None:
            held = list(source)
            try:
                store.put_pack(key, held)
            except OutcomeUnknownError:
                return

        def delete(self, keys: Any) -> None:
            store.delete(keys)

    return _write_packs(Deaf(), name, ids, sources, record, **how)  # type: ignore[arg-type]


_write_packs = packs.write_packs


def _entry_before_bytes(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    """The entry first: readers may meet a version whose bytes are still on their way."""
    held: list[tuple[str, list[Any]]] = []

    class Later:
        def put_pack(self, key: str, source: Any) -> None:
            held.append((key, [bytes(memoryview(part)) for part in source]))

        def delete(self, keys: Any) -> None:
            del keys

    written = packs.write_packs(Later(), line.name, ids, draft.sources, record)  # type: ignore[arg-type]
    operations = _publish._Operations.of(line.name, draft, written, registry)
    entry = line.append("versions", operations, tx=transaction)
    for key, parts in held:
        line.home.store.put_pack(key, parts)
    return int(entry.ops[-1]["number"])


def _clean_up_when_unsettled(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    written = packs.write_packs(line.home.store, line.name, ids, draft.sources, record)
    operations = _publish._Operations.of(line.name, draft, written, registry)
    try:
        entry = line.append("versions", operations, tx=transaction)
    except ModelkeepError:
        line.home.store.delete([pack_key(line.name, pack) for pack in written.manifest.packs])
        raise
    return int(entry.ops[-1]["number"])


def _unsettled_is_tried_again(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    try:
        return _commit(line, draft, registry, transaction, record, ids)
    except UnsettledError:
        again = line.home.system.new_id()
        return _commit(line, draft, registry, again, record, (f"{again}-{n}" for n in range(1, 100)))


_commit = _publish._commit


def _fixed_prev(self: Any, ops: Any, tx: str, sisters: Any) -> bytes:
    system = self._system
    return encode(self.head + 1, digest(b""), tx, system.timestamp(), system.actor(), sisters, ops)


def _nothing(*_: Any, **__: Any) -> None:
    return None


PLANTED = (
    Planted(
        "no-own-scan", "a taken slot is always another's", lambda: [_on(journal.Journal, "_fill", _fill_without_scan)]
    ),
    Planted(
        "number-fixed-at-start",
        "a save keeps the number of its first try",
        lambda: [
            _on(journal.Journal, "append", _decide_once((versions.Create,))),
            _on(journal.Journal, "_decided", _decided_unchecked),
        ],
    ),
    Planted(
        "promote-check-once",
        "a promote looks at the holder on its first try only",
        lambda: [
            _on(journal.Journal, "append", _decide_once((releases.SetAlias,))),
            _on(journal.Journal, "_decided", _decided_unchecked),
        ],
    ),
    Planted(
        "delete-check-once",
        "a delete looks at aliases on its first try only",
        lambda: [
            _on(journal.Journal, "append", _decide_once((releases.Delete, releases.Restore))),
            _on(journal.Journal, "_decided", _decided_unchecked),
        ],
    ),
    Planted(
        "label-check-once",
        "labels and close are looked at on the first try only",
        lambda: [
            _on(journal.Journal, "append", _decide_once((versions.SetLabel, versions.Close, versions.Open))),
            _on(journal.Journal, "_decided", _decided_unchecked),
        ],
    ),
    Planted(
        "retry-with-new-bytes",
        "a retry after a lost reply sends other bytes",
        lambda: [_on(journal.Journal, "_create", _retry_with_new_bytes)],
    ),
    Planted(
        "time-out-is-success",
        "no answer is read as done",
        lambda: [_on(journal.Journal, "_create", _timeout_is_success)],
    ),
    Planted(
        "time-out-is-failure",
        "no answer is read as not done, and the bytes are deleted",
        lambda: [_on(journal.Journal, "_create", _timeout_is_failure)],
    ),
    Planted(
        "time-out-moves-on",
        "after no answer a look that finds nothing is read as not done",
        lambda: [_on(journal.Journal, "_create", _timeout_moves_on)],
    ),
    Planted(
        "settle-by-looking",
        "settle looks at the slot and does not fill it",
        lambda: [_on(journal.Journal, "settle", _settle_by_looking)],
    ),
    Planted(
        "tile-miss-is-head",
        "a cold read ends where the tiles end",
        lambda: [_on(journal.Journal, "_read_cold", _tile_miss_is_head)],
    ),
    Planted(
        "cache-without-look",
        "a journal that was read once is not read again",
        lambda: [_on(journal.Journal, "_refresh", _never_reads_again)],
    ),
    Planted(
        "stale-refusal",
        "a refusal is judged by what was read some time ago",
        lambda: [_on(journal.Journal, "append", _stale_refusal)],
    ),
    Planted(
        "versions-first",
        "versions are read before releases",
        lambda: [_on(_line.Line, "read", _versions_first)],
    ),
    Planted(
        "rollback-without-expect",
        "two rollbacks at once go back two steps",
        lambda: [_on(model.RegisteredModel, "rollback", _rollback_without_expect)],
    ),
    Planted(
        "rollback-pushes",
        "a rollback pushes, so the next one comes back to the bad version",
        lambda: [_on(releases.SetAlias, "apply", _rollback_pushes)],
    ),
    Planted(
        "rollback-to-deleted",
        "a rollback does not pass over deleted versions",
        lambda: [
            _on(releases.Releases, "rolled_back", _holder_before),
            _on(releases.SetAlias, "check", _nothing),
        ],
    ),
    Planted(
        "deletes-aliased",
        "a version under an alias can be deleted",
        lambda: [_on(releases.Releases, "aliases_of", lambda *_: ())],
    ),
    Planted(
        "put-errors-ignored",
        "an upload without an answer is taken for done",
        lambda: [_on(_publish, "write_packs", _put_errors_ignored)],
    ),
    Planted(
        "entry-before-bytes",
        "the entry is written before the pack",
        lambda: [_on(_publish, "_commit", _entry_before_bytes)],
    ),
    Planted(
        "clean-up-when-unsettled",
        "the packs of a save without an answer are deleted",
        lambda: [_on(_publish, "_commit", _clean_up_when_unsettled)],
    ),
    Planted(
        "unsettled-tried-again",
        "a save without an answer is begun anew under another transaction",
        lambda: [_on(_publish, "_commit", _unsettled_is_tried_again)],
    ),
    Planted(
        "no-chain",
        "entries do not carry the digest of the one before",
        lambda: [_on(journal.Journal, "_encoded", _fixed_prev)],
    ),
    Planted(
        "store-overwrites",
        "the store lets two writers win, and is not tested",
        lambda: [_on(_home.Home, "_test", _nothing)],
        overwrites=True,
    ),
)
