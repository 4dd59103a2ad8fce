"""Faults in saving: uploads, the entry that names them, and what versions share."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs

from modelkeep import _line, _publish, packwriter
from modelkeep.errors import ModelkeepError, OutcomeUnknownError, StoreError, UnsettledError
from modelkeep.folds import versions
from modelkeep.layout import pack_key
from modelkeep.testing.simulate.planted.planting import Planted, checks_once, on


def _put_errors_ignored(store: Any, name: str, ids: Any, sources: Any, record: bytes, **options: Any) -> Any:
    class Deaf:
        def put_pack(self, key: str, source: Any) -> None:
            held = list(source)
            try:
                store.put_pack(key, held)
            except OutcomeUnknownError:
                return

        def delete(self, keys: Any) -> None:
            store.delete(keys)

    return _write_packs(Deaf(), name, ids, sources, record, **options)  # type: ignore[arg-type]


_write_packs = packwriter.write_packs


def _entry_before_bytes(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    """The entry first: readers may meet a version whose bytes are still on their way."""
    held: list[tuple[str, list[Any]]] = []

    class Later:
        def put_pack(self, key: str, source: Any) -> None:
            held.append((key, [bytes(memoryview(part)) for part in source]))

        def delete(self, keys: Any) -> None:
            del keys

    written = _write_packs(Later(), line.name, ids, draft.sources, record)  # type: ignore[arg-type]
    operations = _publish._Operations.of(line.name, draft, written, registry)
    entry = line.append("versions", operations, tx=transaction)
    for key, parts in held:
        line.home.store.put_pack(key, parts)
    return int(entry.ops[-1]["number"])


def _clean_up_when_unsettled(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    written = _write_packs(line.home.store, line.name, ids, draft.sources, record)
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


def _remember_too_early(self: Any, journal: Any, decide: Any, **options: Any) -> Any:
    if isinstance(decide, _publish._Operations):
        self.recent.remember(decide.written.place, decide.written.manifest)
    return _append_to(self, journal, decide, **options)


_append_to = _line.Line.append


def _own_packs_alone(self: Any, state: Any) -> Any:
    return [
        attrs.evolve(op, packs=self.written.own) if isinstance(op, versions.Create) else op
        for op in _operations(self, state)
    ]


_operations = _publish._Operations.__call__


def _clean_up_all(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    """A failed save deletes what its manifest names, as if all of it were its own."""
    at_rest = _publish._at_rest(line, draft)
    written = _write_packs(line.home.store, line.name, ids, draft.sources, record, at_rest=at_rest)
    operations = _publish._Operations.of(line.name, draft, written, registry)
    try:
        entry = line.append("versions", operations, tx=transaction)
    except ModelkeepError as error:
        if not isinstance(error, UnsettledError):
            with suppress(StoreError):
                line.home.store.delete([pack_key(line.name, pack) for pack in written.manifest.packs])
        raise
    line.recent.remember(written.place, written.manifest)
    return int(entry.ops[-1]["number"])


SAVES = (
    Planted(
        "number-fixed-at-start",
        "a save keeps the number of its first try",
        lambda: checks_once(versions.Create),
    ),
    Planted(
        "label-check-once",
        "labels and close are looked at on the first try only",
        lambda: checks_once(versions.SetLabel, versions.Close, versions.Open),
    ),
    Planted(
        "put-errors-ignored",
        "an upload without an answer is taken for done",
        lambda: [on(_publish, "write_packs", _put_errors_ignored)],
    ),
    Planted(
        "entry-before-bytes",
        "the entry is written before the pack",
        lambda: [on(_publish, "_commit", _entry_before_bytes)],
    ),
    Planted(
        "clean-up-when-unsettled",
        "the packs of a save without an answer are deleted",
        lambda: [on(_publish, "_commit", _clean_up_when_unsettled)],
    ),
    Planted(
        "unsettled-tried-again",
        "a save without an answer is begun anew under another transaction",
        lambda: [on(_publish, "_commit", _unsettled_is_tried_again)],
    ),
    Planted(
        "reuses-uncommitted",
        "a save uses bytes again of an upload that was never committed",
        lambda: [on(_line.Line, "append", _remember_too_early)],
    ),
    Planted(
        "shared-pack-forgotten",
        "the entry of a version names the packs that its save wrote, and not those that it shares",
        lambda: [on(_publish._Operations, "__call__", _own_packs_alone)],
    ),
    Planted(
        "cleans-up-shared",
        "a save that failed deletes the packs of others that it shares",
        lambda: [on(_publish, "_commit", _clean_up_all)],
    ),
)
