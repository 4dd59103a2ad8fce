"""Repairs: what can be computed from sound objects is made anew. Nothing else is written, and no evidence deleted.

These are the tiles of journals, the markers of the catalogue, and the copies that this machine keeps. Any number may
repair at once, beside readers and writers: no reader needs any of these, and the right ones always say the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import attrs

from modelkeep import tiles
from modelkeep._expected import Expected
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep.digest import raw_digest
from modelkeep.entry import DamagedError, parse
from modelkeep.errors import MissingObjectError, ObjectExistsError, StoreError
from modelkeep.journal import Journal
from modelkeep.layout import FAN_OUT, catalog_key, entry_key, pack_key, tile_key, tiles_prefix
from modelkeep.packcache import PackCache
from modelkeep.reading import Finding
from modelkeep.stores.cached import Cached
from modelkeep.stores.port import Store


@attrs.frozen
class Repair:
    """Something that a repair did, or tried to.

    Args:
        key: the object.
        what: what was done to it.
        failed: why it could not be done; empty if it was.
    """

    key: str
    what: str
    failed: str = ""

    def __str__(self) -> str:
        return f"{self.key}: could not be {self.what}: {self.failed}" if self.failed else f"{self.key}: {self.what}"


_SOUND = ("void", "unknown")  # what is said of entries of which the bytes are as they were written


# -- tiles -----------------------------------------------------------------------------------------------------


def tiled(journal: Journal[Any], found: Iterable[Finding]) -> Iterator[Repair]:
    """Make the tiles of a journal anew that are missing or wrong, from entries that are sound.

    Two listings where all tiles are there and right; else a read of its entries for each, and two writes.

    Args:
        journal: which.
        found: what its verification found.
    """
    wrong = {finding.key: finding.kind for finding in found if finding.kind not in _SOUND}
    store, prefix = journal.store, journal.prefix
    there = {item.key for item in store.list(tiles_prefix(prefix))}
    listed = tiles.listed_entries(store, prefix)
    head = next(number for number in range(len(listed) + 1) if number + 1 not in listed)
    for level in (1, 2):
        for index in range(head // tiles.SPAN[level]):
            key = tile_key(prefix, level, index)
            if key not in there or wrong.get(key) == "tile":
                with suppress(MissingObjectError):  # another is at it
                    yield from _tile(store, prefix, (level, index), wrong)


def _tile(store: Store, prefix: str, tile: tiles.Tile, wrong: Collection[str]) -> Iterator[Repair]:
    """Make one tile, if its entries are sound.

    Of two that do so at once the slower may delete what the other made; then it makes it again, or nobody does: a
    missing tile proves nothing, and the next repair makes it.
    """
    (level, index), key = tile, tile_key(prefix, *tile)
    end = (index + 1) * tiles.SPAN[level]
    what = "written anew from its entries" if key in wrong else "written from its entries"
    try:
        raws = _sound_entries(store, prefix, range(index * tiles.SPAN[level] + 1, end + 1), wrong)
        if raws is None or _holds(store, key, raws):
            return
        store.delete([key])
        tiles.write(store, prefix, end // FAN_OUT - 1, raws[-FAN_OUT:])
        if _holds(store, key, raws):
            yield Repair(key, what)
    except StoreError as error:
        yield Repair(key, what, str(error))


def _holds(store: Store, key: str, raws: list[bytes]) -> bool:
    with suppress(MissingObjectError):
        return tiles.split(store.get(key), len(raws)) == raws
    return False


def _sound_entries(store: Store, prefix: str, numbers: range, wrong: Collection[str]) -> list[bytes] | None:
    """The bytes of some entries; None unless each is sound, and follows the one before."""
    keys = [entry_key(prefix, number) for number in numbers]
    if any(key in wrong for key in keys):
        return None
    found = store.get_many(keys)
    raws = [found[key] for key in keys if key in found]
    try:
        entries = [parse(raw, number) for number, raw in zip(numbers, raws, strict=True)]
    except (DamagedError, ValueError):
        return None  # its loss was accepted, or another took it away just now
    return raws if all(b.prev == a.digest for a, b in pairwise(entries)) else None


# -- markers ---------------------------------------------------------------------------------------------------


def announced(line: Line) -> Repair:
    """Put back the marker of a model that is open. One write, and one read: it may have been closed meanwhile."""
    key, what = catalog_key(line.name), "created"
    try:
        with suppress(ObjectExistsError):
            line.home.store.create(key, b"")
        line.versions.refresh()
        if not line.versions.state.is_open:
            line.home.store.delete([key])
    except StoreError as error:
        return Repair(key, what, str(error))
    return Repair(key, what)


# -- copies on this machine --------------------------------------------------------------------------------------


def dropped_entries(home: Home, registry: str, journal: Journal[Any], found: Iterable[Finding]) -> Iterator[Repair]:
    """Drop what this machine keeps of a journal if it is not what the store has.

    Of a journal that is damaged nothing is dropped: a copy may be the last sound one. One request and a listing, where
    anything is kept.
    """
    if home.cache is None or any(finding.kind != "tile" for finding in found):
        return
    folder = home.cache.folder(home.store.url, registry)
    keys = [item.key for item in journal.store.list(journal.prefix)]
    kept = {key: raw for key in keys if (raw := folder.get(key)) is not None}  # what is unsound in itself goes here
    if kept:
        Cached(journal.store, folder).get_many(kept)  # asks the store for the last one; if it must, keeps all anew
        if any(folder.get(key) != raw for key, raw in kept.items()):
            yield Repair(journal.prefix, "copies on this machine dropped: they are not what lies there")


def dropped_packs(home: Home, registry: str, expected: Expected) -> Iterator[Repair]:
    """Drop what this machine keeps of packs where it is not what manifests say. No request."""
    if home.cache is None:
        return
    kept = PackCache(home.cache.folder(home.store.url, registry))
    for pack, pieces in expected.wanted.items():
        key = pack_key(expected.line.name, pack)
        for piece in pieces:
            copy = bytearray(piece.stored)
            if kept.read_into(key, piece.offset, memoryview(copy)) and not _is_sound(copy, piece.stored_digest):
                kept.drop(key)
                yield Repair(key, "copy on this machine dropped: it is not what was written")
                break


def _is_sound(copy: bytearray, digest: bytes) -> bool:
    """Whether a copy is right, or in part a hole, which reads as zeros and which nobody believes."""
    return raw_digest(copy) == digest or not copy.strip(b"\0")
