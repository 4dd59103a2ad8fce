"""Tiles keep cold reads small: 100 entries, zstd, and then 100 such tiles, their exact bytes one after another.

They are a cache that is part of the format: create-if-absent, never needed, checked against the chain by whoever
reads them. A missing tile proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import attrs

from modelkeep import zstd
from modelkeep.entry import DamagedError, parse
from modelkeep.errors import ConflictError, MissingObjectError, StoreError
from modelkeep.layout import FAN_OUT, entry_key, number_of, tile_key, tiles_prefix
from modelkeep.stores.port import MAX_VALUE, Store

_MAX_TILE = 1 << 26  # bytes, uncompressed: what a reader is willing to unpack, three times of which it takes
SPAN = {0: FAN_OUT, 1: FAN_OUT, 2: FAN_OUT * FAN_OUT}  # entries in a tile of each level; level 0 is no tile
_LONGEST_GAP = 2 * SPAN[2]  # entries that may lie between two tiles
_SHORT_GAP = 10 * FAN_OUT  # entries between two tiles that are asked for without a look whether there are any

Tile = tuple[int, int]  # level and index


@attrs.frozen
class Plan:
    """Which tiles cover the beginning of a journal.

    Args:
        prefix: what the journal's keys begin with.
        parts: the tiles, in order; a level of 0 stands for a hundred entries without one.
        covered: how many entries they cover.
    """

    prefix: str
    parts: tuple[Tile, ...]
    covered: int

    def keys(self) -> list[str]:
        """The keys to read, all at once."""
        return [key for part in self.parts for key in self.keys_of(part)]

    def keys_of(self, part: Tile) -> list[str]:
        """The keys to read for one part."""
        level, index = part
        if level:
            return [tile_key(self.prefix, level, index)]
        first = index * FAN_OUT + 1
        return [entry_key(self.prefix, number) for number in range(first, first + FAN_OUT)]

    def tile_with(self, number: int) -> Tile | None:
        """The tile that covers an entry; None if it is read by itself."""
        for level, index in self.parts:
            if level and index * SPAN[level] < number <= (index + 1) * SPAN[level]:
                return level, index
        return None

    def unreadable(self, found: Mapping[str, bytes]) -> list[Tile]:
        """The tiles that do not hold as many entries as they should."""
        return [
            part
            for part in self.parts
            if part[0] and split(found.get(tile_key(self.prefix, *part)), SPAN[part[0]]) is None
        ]


def plan(store: Store, prefix: str) -> tuple[Tile, ...]:
    """Find out by one listing which tiles there are; one round more if some lie far behind the others.

    Those count only if there is an entry where the first of them ends: else one stray tile would have the entries
    of a long gap asked for, one by one.
    """
    beginning = tiles_prefix(prefix)
    found = [tile for item in store.list(beginning) if (tile := _tile_of(item.key, beginning))]
    runs = _runs(found)
    proofs = [entry_key(prefix, _end(run[0])) for run in runs[1:]]
    there = store.get_many(proofs) if proofs else {}
    proven = [run for run, proof in zip(runs[1:], proofs, strict=True) if proof in there]
    return tuple(tile for run in (runs[0], *proven) for tile in run)


def _runs(found: Iterable[Tile]) -> list[list[Tile]]:
    """Tiles in order, cut wherever many entries lie between two; the first run is empty if many lie before it."""
    runs: list[list[Tile]] = [[]]
    last = 0
    for tile in sorted(found, key=_end):
        if tile[1] * SPAN[tile[0]] - last > _SHORT_GAP:
            runs.append([])
        runs[-1].append(tile)
        last = _end(tile)
    return runs


def _end(tile: Tile) -> int:
    """The last entry that a tile covers."""
    level, index = tile
    return (index + 1) * SPAN[level]


def cover(prefix: str, tiles: Collection[Tile]) -> Plan:
    """Cover the beginning of a journal with as few tiles as can be; a hundred without one is read entry by entry.

    A tile far beyond the others is a stray and covers nothing.
    """
    ends = sorted(map(_end, tiles))
    last = 0
    for end in ends:
        if end - last <= _LONGEST_GAP:
            last = end
    parts: list[Tile] = []
    covered = 0
    while covered < last:
        level = 2 if covered % SPAN[2] == 0 and (2, covered // SPAN[2]) in tiles else 1
        part = (level, covered // SPAN[level])
        parts.append(part if part in tiles else (0, covered // FAN_OUT))
        covered += SPAN[level]
    return Plan(prefix, tuple(parts), covered)


def _tile_of(key: str, beginning: str) -> Tile | None:
    """Level and index of the tile under *key*."""
    level, index = key[len(beginning) :][:2], number_of(key)
    return (int(level[0]), index) if level in ("1/", "2/") and index is not None else None


def split(tile: bytes | None, count: int) -> list[bytes] | None:
    """The *count* entries in a tile; None if it does not hold them."""
    if tile is None:
        return None
    try:
        whole = zstd.decompress(tile, _MAX_TILE)
    except zstd.Error:
        return None
    if whole.count(b"\n") != 2 * count or not whole.endswith(b"\n"):  # 33 KB can unpack to 2^30 newlines
        return None
    lines = whole.split(b"\n")
    return [b"%b\n%b\n" % pair for pair in zip(lines[0:-1:2], lines[1:-1:2], strict=True)]


def write(store: Store, prefix: str, index: int, raws: Sequence[bytes]) -> None:
    """Write tile *index* of level 1, and the tile above it when it is the last of a hundred.

    Raises:
        StoreError: the store refused.
    """
    whole = b"".join(raws)
    if len(whole) <= _MAX_TILE:
        _put(store, tile_key(prefix, 1, index), zstd.compress(whole))
    if (index + 1) % FAN_OUT:
        return
    below = [tile_key(prefix, 1, i) for i in range(index + 1 - FAN_OUT, index + 1)]
    found = store.get_many(below)
    room = _MAX_TILE
    for key in below:  # one unpacked at a time
        held = split(found.get(key), FAN_OUT)
        room -= sum(map(len, held or ()))
        if held is None or room < 0:  # a bad one would stay for ever
            return
    _put(store, tile_key(prefix, 2, index // FAN_OUT), b"".join(found[key] for key in below))


def _holds(number: int, held: bytes, own: bytes) -> bool:
    """Whether a tile holds an entry: the bytes that lie there, or those that must have."""
    return held == own or (_is_sound(held, number) and not _is_sound(own, number))


def _is_sound(raw: bytes, number: int) -> bool:
    try:
        parse(raw, number)
    except DamagedError:
        return False
    return True


def _put(store: Store, key: str, packed: bytes) -> None:
    if len(packed) <= MAX_VALUE:  # else the level below serves
        with suppress(ConflictError):  # somebody else wrote it; zstd builds may differ, so bytes are not compared
            store.create(key, packed)


def listed_entries(store: Store, prefix: str) -> set[int]:
    """The numbers of the entries that a listing shows."""
    found = (number_of(item.key) for item in store.list(f"{prefix}0") if item.key.endswith(".json"))
    return {number for number in found if number}


def compare(store: Store, prefix: str, raws: Sequence[bytes]) -> Iterator[tuple[str, str, str]]:
    """Compare every tile with the entries that it should hold; gives key, problem and kind of what differs.

    A tile is not to blame where an entry was damaged since: it may be the last that has the sound bytes.
    """
    beginning = tiles_prefix(prefix)
    for item in store.list(beginning):
        tile = _tile_of(item.key, beginning)
        if tile is None:
            yield item.key, "it is no tile", "stray"
            continue
        index, span = tile[1], SPAN[tile[0]]
        try:
            held = split(store.get(item.key), span)
        except (StoreError, MissingObjectError) as error:
            yield item.key, str(error), "unreadable"
            continue
        first = index * span
        own = list(raws[first : first + span])
        # of entries that are all gone the tile itself is the last that tells
        if held is None or not all(map(_holds, range(first + 1, first + 1 + span), held, own or [b""] * span)):
            yield item.key, "it does not hold the bytes of its entries", "tile"
        elif len(own) < span:  # the last entries were lost after the tile was made of them
            lost = max(first, len(raws)) + 1
            yield entry_key(prefix, lost), f"it is missing although {item.key} holds it", "missing"
