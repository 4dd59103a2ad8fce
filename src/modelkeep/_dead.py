"""Packs that nobody needs: condemned first, so that no entry can name them any more, then deleted.

Whoever deletes looks for himself whether anybody needs a pack: what `condemn` says of purged versions is a claim, which
whoever may write `versions` can make. Each step follows from the journals alone, so any process finishes what another
left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from modelkeep._line import Line
from modelkeep.errors import ConflictError, InvalidNameError
from modelkeep.folds.releases import ERASE, Releases
from modelkeep.folds.rules import Op
from modelkeep.folds.versions import Condemn, Drop, Move, Versions
from modelkeep.layout import SHELVES, data_prefix, line_of, pack_key
from modelkeep.stores.port import Store, StoredObject
from modelkeep.version import is_pack

BATCH = 1000  # packs that one entry condemns, and objects that one call deletes


class NothingLeftError(ConflictError):
    """What an append was to say was said already, or no longer holds."""


def needed(
    versions: Versions, releases: Releases, *, but: Collection[int] = (), dropping: Collection[str] = ()
) -> set[str]:
    """The packs that versions need which were not purged, and drafts which were not dropped.

    Args:
        versions: what exists.
        releases: what was purged of it.
        but: versions to be passed over, too.
        dropping: drafts to be passed over, too.
    """
    gone = releases.purged
    lines = list(versions.lines.items())  # other threads may fold on
    needs = {pack for number, known in lines if number not in gone and number not in but for pack in known.packs}
    drafts = versions.kept_drafts().items()
    return needs.union(*(draft.made.packs for name, draft in drafts if name not in dropping))


def condemnation(
    versions: Versions,
    releases: Releases,
    packs: Collection[str],
    moves: Iterable[Move] = (),
    *,
    erased: Collection[int] = (),
) -> Condemn | None:
    """What condemns those of *packs* that nobody needs and that are not condemned yet; None if there are none.

    Args:
        versions: the state that the entry will meet.
        releases: as far as read: what is purged stays so, so that an old state errs to the safe side.
        packs: the packs in question.
        moves: what the same entry moves before.
        erased: versions whose erasure the entry completes.
    """
    new = {move.number: {*move.packs, *versions.lines[move.number].apart} for move in moves}
    needs = needed(versions, releases, but=new).union(*new.values())
    dead = set(packs) - needs - versions.condemned - _kept_for_erasures(versions, releases, erased)
    if not dead:
        return None
    claimed = releases.purged.keys() - versions.purged
    purged = (n for n in sorted(claimed & versions.lines.keys()) if not dead.isdisjoint(versions.lines[n].packs))
    return Condemn(tuple(sorted(dead)), tuple(purged))


def unerased(versions: Versions, releases: Releases) -> list[int]:
    """The versions that are being erased, or were before the eraser was killed."""
    lines = versions.lines
    erased = (number for number, rule in list(releases.purged.items()) if rule == ERASE and number in lines)
    return [number for number in erased if lines[number].at.pack not in versions.condemned]


def _kept_for_erasures(versions: Versions, releases: Releases, erased: Collection[int]) -> set[str]:
    """Packs with the manifests of such versions: they tell what else has to go, so they go last."""
    return {versions.lines[number].at.pack for number in unerased(versions, releases) if number not in erased}


def condemn(
    line: Line,
    packs: Iterable[str],
    *,
    erased: Collection[int] = (),
    check: Callable[[Versions], None] = lambda _: None,
) -> None:
    """Condemn those of *packs* that nobody needs. One write for each 1,000; none if there is nothing to do.

    Args:
        line: read.
        packs: the packs in question.
        erased: versions whose erasure this completes.
        check: raises an error if the state that an entry would meet is not the one that it was thought out for.

    Raises:
        UnsettledError, StoreError: the entry may not stand; nothing was deleted, and any collector goes on from here.
    """
    for batch in _batches(sorted(packs)):

        def decide(state: Versions, batch: Sequence[str] = batch) -> Sequence[Op]:
            check(state)
            found = condemnation(state, line.releases.state, batch, erased=erased)
            if found is None:
                raise NothingLeftError(f"nothing of {line.name!r} is left to be condemned", name=line.name)
            return [found]

        if condemnation(line.versions.state, line.releases.state, batch, erased=erased):
            with suppress(NothingLeftError):  # another collector was first
                line.append("versions", decide)


def drop(line: Line, names: Collection[str]) -> list[str]:
    """Drop drafts and condemn their packs, in one entry for each 1,000; gives those that this dropped.

    Args:
        line: read.
        names: the ids of drafts; one that is dropped already is passed over.

    Raises:
        UnsettledError, StoreError: the entry may not stand; nothing was deleted, and any collector goes on from here.
    """
    dropped = []
    for batch in _batches(sorted(names)):

        def decide(state: Versions, batch: Sequence[str] = batch) -> Sequence[Op]:
            found = {name: draft for name, draft in state.kept_drafts().items() if name in batch}
            if not found:
                raise NothingLeftError(f"these drafts of {line.name!r} were dropped already", name=line.name)
            packs = {pack for draft in found.values() for pack in draft.made.packs}
            return [*map(Drop, found), Condemn(tuple(sorted(packs)))]

        with suppress(NothingLeftError):
            entry = line.append("versions", decide)
            dropped += [op["id"] for op in entry.ops if op["op"] == Drop.op]
    return dropped


def sweep(line: Line, packs: Iterable[str], progress: Callable[[int], None] = lambda _: None) -> list[str]:
    """Delete the objects of those of *packs* that are condemned, as far as read, and that nobody needs.

    Returns:
        The packs whose objects are gone.
    """
    state = line.versions.state
    doomed = sorted((set(packs) & state.condemned) - needed(state, line.releases.state))
    registry = line.home.id()
    kept = line.home.pack_cache(registry) if registry else None
    for batch in _batches(doomed):
        keys = [pack_key(line.name, pack) for pack in batch]
        line.home.store.delete(keys)
        if kept is not None:
            for key in keys:
                kept.drop(key)
        progress(len(keys))
    return doomed


def _batches(packs: Sequence[str]) -> Iterator[Sequence[str]]:
    rest = iter(packs)
    while batch := list(islice(rest, BATCH)):
        yield batch


def lying(store: Store, name: str | None = None) -> dict[str, dict[str, StoredObject]]:
    """The packs that lie there, by line and id, those of closed models too. One listing for each shelf.

    Args:
        store: where.
        name: of this model alone.
    """
    if name is not None:
        return {name: _packs(name, store.list(data_prefix(name)))}
    found: dict[str, list[StoredObject]] = {}
    for shelf in SHELVES:
        for item in store.list(shelf):
            with suppress(InvalidNameError):  # not ours; verify reports it
                found.setdefault(line_of(item.key), []).append(item)
    return {here: _packs(here, found[here]) for here in sorted(found)}


def sizes(line: Line) -> dict[str, int]:
    """The bytes of each pack of a model that lies there, by id. One listing."""
    return {pack: item.size for pack, item in lying(line.home.store, line.name)[line.name].items()}


def _packs(name: str, items: Iterable[StoredObject]) -> dict[str, StoredObject]:
    prefix = data_prefix(name)
    own = ((item.key.removeprefix(prefix).removesuffix(".pack"), item) for item in items if item.key.startswith(prefix))
    return {pack: item for pack, item in own if is_pack(pack) and item.key.endswith(".pack")}
