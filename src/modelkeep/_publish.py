"""Saving: order is the protocol. Bytes first, invisible; then the one entry that makes them a version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import attrs
import orjson

from modelkeep._line import Line
from modelkeep.atrest import NOTHING, AtRest
from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    IntegrityError,
    MissingObjectError,
    ModelkeepError,
    StoreError,
    TakenError,
    UnknownVersionError,
    UnsettledError,
)
from modelkeep.folds import versions
from modelkeep.folds.rules import Op
from modelkeep.layout import is_dataset, own_name, pack_key
from modelkeep.manifest import Manifest, encode_record, parse_record
from modelkeep.packs import read_manifest
from modelkeep.packwriter import Written, content_of, write_packs
from modelkeep.progress import nothing
from modelkeep.sources import Source
from modelkeep.threads import answers
from modelkeep.values import Json, mapping_to_json, metrics_to_json
from modelkeep.version import Record, identity_digest

_Facts = tuple[dict[str, Json], dict[str, Json]]  # parameters and metrics

_MAX_FACTS = 16 * 1024  # bytes of params and metrics in an entry; beyond, they lie in the manifest alone
_LOOK_FROM = 64 * 1024  # bytes; smaller models share nothing


@attrs.frozen
class VariantOf:
    """Which version a draft is a variant of, and of which kind."""

    number: int
    kind: str


@attrs.frozen
class RunAs:
    """Under which id a failed run is kept, and until when."""

    id: str
    expires: str


@attrs.frozen(kw_only=True)
class Draft:
    """A version before it has a number; or a variant or a failed run, which get none.

    Args:
        sources: its files.
        record: what it will know about itself.
        label: the label asked for, or None.
        bump: the part of the highest label to raise, or None.
        reuse: whether an equal version that exists will do.
        progress: hears how many bytes of the files were done since the last call.
        variant: what it is a variant of, or None. A variant shares nothing with anything.
        run: what it is kept as if it is a run that failed, or None. That shares nothing, either.
    """

    sources: Sequence[Source]
    record: Record
    label: str | None = None
    bump: str | None = None
    reuse: bool = False
    progress: Callable[[int], None] = nothing
    variant: VariantOf | None = None
    run: RunAs | None = None


def publish(line: Line, draft: Draft) -> int:
    """Save *draft* and give its number, or that of its version; 0 of a run. Two writes when warm: a pack and an entry.

    Raises:
        ClosedError: the model was closed.
        TakenError: the label is in use, the version has a variant of this kind, or the run was kept already.
        DeletedError: the version of a variant was deleted or purged.
        UnsettledError: no answer came about the entry.
        StoreError: the store refused, and nothing is visible.
    """
    registry = line.home.prepare()
    if draft.reuse and (found := _equal(line, draft, content_of(draft.sources))):
        return found
    _check_early(line, draft)
    transaction = line.home.system.new_id()
    record = encode_record(draft.record)
    ids = (f"{transaction}-{n}" for n in range(1, 1_000_000))
    return _commit(line, draft, registry, transaction, record, ids)


def _check_early(line: Line, draft: Draft) -> None:
    """Refuse before any byte is sent what would be refused after; by the newest state, not one of some time ago."""
    try:
        known = line.versions.head > 0 and not line.versions.is_cold
        _check(line.versions.state, line.name, draft)
    except ModelkeepError:
        known = False
    if not known:
        line.versions.refresh()
        _check(line.versions.state, line.name, draft)
    if draft.variant is not None:
        _check_alive(line, draft.variant)


def _check_alive(line: Line, variant: VariantOf) -> None:
    """Raises `DeletedError` if the version of a variant was deleted or purged. One GET."""
    line.releases.refresh()
    line.check_alive(variant.number)


def _commit(line: Line, draft: Draft, registry: str, transaction: str, record: bytes, ids: Iterator[str]) -> int:
    store = line.home.store
    while True:
        at_rest = _at_rest(line, draft)
        written = write_packs(  # 1 invisible until named
            store, line.name, ids, draft.sources, record, at_rest=at_rest, progress=draft.progress
        )
        try:
            line.home.check_clock(pack_key(line.name, written.own[-1]), committed=False)
            if not line.versions.state.is_open:  # also where entries stand that only condemn or cancel
                _check_early(line, draft)
                line.announce()  # as late as can be: a save that was refused should not list a model
            operations = _Operations.of(line.name, draft, written, registry)  # 2 pure
            decide = operations if draft.variant is None else partial(_while_alive, line, draft.variant, operations)
            entry = line.append("versions", decide, tx=transaction)  # 3 the only moment that matters
        except ModelkeepError as error:
            if not isinstance(error, UnsettledError):  # else the entry may stand, and need them
                with suppress(StoreError):  # its own alone: what it shares belongs to others
                    store.delete([pack_key(line.name, pack) for pack in written.own])
            if isinstance(error, _CondemnedError):
                continue  # a collector took packs for left over, or emptied shared ones: again, under new names
            raise
        if _shares(draft):
            line.recent.remember(written.place, written.manifest)
        return int(entry.ops[-1].get("number", 0))


def _while_alive(line: Line, variant: VariantOf, operations: _Operations, state: versions.Versions) -> list[Op]:
    """A purge stands in `releases`, so each try looks there."""
    _check_alive(line, variant)
    return operations(state)


def _at_rest(line: Line, draft: Draft) -> AtRest:
    """What the last version, the parents in this model and versions seen lately have; by the state as far as read.

    Nothing for a small model: loading it would take a request more for each pack that it shares.
    """
    if not _shares(draft):
        return NOTHING
    state = line.versions.state
    parents = [p.number for p in draft.record.parents if p.name == line.name]
    lines = [known for n in dict.fromkeys((state.highest, *parents)) if (known := state.lines.get(n)) is not None]
    found = [line.recent.get(known.at) or _manifest(line, known) for known in lines]
    manifests = [*filter(None, found), *line.recent.all()]
    if not manifests:
        return NOTHING
    planned = AtRest.of(manifests, most=versions.MAX_SHARED, without=state.condemned)
    lost = _lost(line, planned)
    return AtRest.of(manifests, most=versions.MAX_SHARED, without=state.condemned | lost) if lost else planned


def _lost(line: Line, planned: AtRest) -> set[str]:
    """Packs that are not there, or are cut short: a version must not be acknowledged on top of them."""

    def is_whole(pack: str, end: int) -> bool:
        with suppress(StoreError, MissingObjectError):
            return len(line.home.store.get(pack_key(line.name, pack), (end - 1, 1))) == 1
        return False

    ends = planned.ends()
    looks = (partial(is_whole, pack, end) for pack, end in ends.items())
    whole = answers(line.home.store, looks, at_once=versions.MAX_SHARED)
    return {pack for pack, is_there in zip(ends, whole, strict=True) if not is_there}


def _shares(draft: Draft) -> bool:
    return draft.variant is None and draft.run is None and sum(source.size for source in draft.sources) >= _LOOK_FROM


def _manifest(line: Line, known: versions.Line) -> Manifest | None:
    """A manifest that may save bytes; none if it cannot be had, which is no reason to refuse a save."""
    with suppress(StoreError, MissingObjectError, IntegrityError):
        manifest, _ = read_manifest(line.home.store, line.name, known.at)
        if manifest.identity(known.made.number) == known.made.identity:
            line.recent.remember(known.at, manifest)
            return manifest
    return None


class _CondemnedError(ConflictError):
    """Packs that this save wrote or shares were condemned before it was committed."""


@attrs.frozen
class _Operations:
    """What a save appends, for the state of the moment."""

    name: str
    draft: Draft
    written: Written
    registry: str
    content: str
    facts: _Facts | None

    @classmethod
    def of(cls, name: str, draft: Draft, written: Written, registry: str) -> _Operations:
        facts = _facts(draft.record)
        small = facts if len(orjson.dumps(facts)) <= _MAX_FACTS else None
        return cls(name, draft, written, registry, written.manifest.content(), small)

    def __call__(self, state: versions.Versions) -> list[Op]:
        _check(state, self.name, self.draft)
        manifest = self.written.manifest
        if not state.condemned.isdisjoint(manifest.packs):
            raise _CondemnedError("condemned", packs=list(manifest.packs))
        if self.draft.variant is not None:
            return [self._variant(self.draft.variant)]
        made = self._create(state) if self.draft.run is None else self._run(self.draft.run)
        return [made] if state.is_open else [versions.Open(self.registry), made]

    def _create(self, state: versions.Versions) -> versions.Create:
        manifest, number = self.written.manifest, state.next_number()
        params, metrics = self.facts or (None, None)
        return versions.Create(
            number=number,
            identity=identity_digest(self.content, manifest.record, number),
            content=self.content,
            at=self.written.place,
            packs=manifest.packs,
            size=sum(file.size for file in manifest.facts()),
            serializer=self.draft.record.serializer,
            label=self.draft.label or (state.next_label(self.draft.bump) if self.draft.bump else None),
            params=params,
            metrics=metrics,
        )

    def _run(self, run: RunAs) -> versions.Draft:
        manifest = self.written.manifest
        return versions.Draft(
            id=run.id,
            kind="run",
            registry=self.registry,
            identity=identity_digest(self.content, manifest.record, run.id),
            content=self.content,
            at=self.written.place,
            packs=manifest.packs,
            size=sum(file.size for file in manifest.facts()),
            expires=run.expires,
        )

    def _variant(self, variant: VariantOf) -> versions.Variant:
        manifest = self.written.manifest
        return versions.Variant(
            number=variant.number,
            kind=variant.kind,
            identity=identity_digest(self.content, manifest.record, variant.number),
            content=self.content,
            at=self.written.place,
            packs=manifest.packs,
            size=sum(file.size for file in manifest.facts()),
            serializer=self.draft.record.serializer,
        )


def _facts(record: Record) -> _Facts:
    """Parameters and metrics as JSON."""
    return mapping_to_json(record.params, "params"), metrics_to_json(record.metrics, "metrics")


def _canonical(facts: _Facts) -> bytes:
    return orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)


def _check(state: versions.Versions, name: str, draft: Draft) -> None:
    if not state.is_open and state.began:
        own, line = own_name(name), "dataset_line" if is_dataset(name) else "model"
        raise ClosedError(
            f"{own!r} was closed; open it again with registry.{line}({own!r}).open(), or save under another name",
            name=own,
        )
    if draft.label is not None and draft.label in state.labels:
        raise TakenError(
            f"label {draft.label} of {name!r} is taken by version {state.labels[draft.label]}, and labels are never "
            "reused; choose another, or bump",
            name=name,
            label=draft.label,
            number=state.labels[draft.label],
        )
    if draft.variant is not None:
        _check_variant(state, name, draft.variant)
    if draft.run is not None and draft.run.id in state.drafts:
        raise TakenError(f"the failed run {name}~{draft.run.id} was kept already", name=name, draft=draft.run.id)


def _check_variant(state: versions.Versions, name: str, variant: VariantOf) -> None:
    ref, known = f"{name}:{variant.number}", state.lines.get(variant.number)
    if known is None:
        raise UnknownVersionError(f"there is no version {ref}", name=name, number=variant.number)
    if variant.number in state.purged:
        raise DeletedError(f"{ref} was purged and cannot be read any more", name=name, number=variant.number)
    if variant.kind in known.variants:
        raise TakenError(
            f"{ref} has a variant {variant.kind} already, and variants never change; choose another kind",
            name=name,
            number=variant.number,
            variant=variant.kind,
        )


def _equal(line: Line, draft: Draft, content: str) -> int | None:
    """The newest living version with the same files, parameters and metrics, or None."""
    line.releases.refresh()
    line.versions.refresh()
    gone = line.releases.state.deleted
    wanted = _canonical(_facts(draft.record))
    for number, known in reversed(list(line.versions.state.lines.items())):
        if known.made.content == content and number not in gone and _canonical(_facts_of(line, known)) == wanted:
            return number
    return None


def _facts_of(line: Line, known: versions.Line) -> _Facts:
    if known.made.params is not None and known.made.metrics is not None:
        return known.made.params, known.made.metrics
    manifest, _ = read_manifest(line.home.store, line.name, known.at)  # they are too large for the entry
    return _facts(parse_record(manifest.record))
