"""Tiles keep cold reads small: 100 entries, zstd, and then 100 such tiles, their exact bytes one after another.

They are a cache that is part of the format: create-if-absent, never needed, checked against the chain by whoever
reads them. A missing tile proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import attrs

from modelkeep import zstd
from modelkeep.errors import ConflictError, StoreError
from modelkeep.layout import FAN_OUT, entry_key, number_of, tile_key, tiles_prefix
from modelkeep.stores.port import MAX_VALUE, Store

_MAX_TILE = 1 << 30  # bytes, uncompressed: what a reader is willing to unpack
_SPAN = {1: FAN_OUT, 2: FAN_OUT * FAN_OUT}  # entries in a tile of each level


@attrs.frozen
class Plan:
    """Which tiles cover the beginning of a journal.

    Args:
        prefix: what the journal's keys begin with.
        parts: (level, index) of each tile, in order; a level of 0 stands for a hundred entries without a tile.
        covered: how many entries they cover.
    """

    prefix: str
    parts: tuple[tuple[int, int], ...]
    covered: int

    def keys(self) -> list[str]:
        """The keys to read, all at once."""
        return [key for part in self.parts for key in self._keys_of(part)]

    def _keys_of(self, part: tuple[int, int]) -> list[str]:
        level, index = part
        if level:
            return [tile_key(self.prefix, level, index)]
        first = index * FAN_OUT + 1
        return [entry_key(self.prefix, number) for number in range(first, first + FAN_OUT)]

    def entries(self, found: Mapping[str, bytes], store: Store) -> Iterator[bytes]:
        """The bytes of the entries, from what was read; an unsound tile is replaced by its entries."""
        for level, index in self.parts:
            keys = self._keys_of((level, index))
            if level:
                raws = split(found.get(keys[0]), _SPAN[level])
                if raws is not None:
                    yield from raws
                    continue
                first = index * _SPAN[level] + 1
                keys = [entry_key(self.prefix, number) for number in range(first, first + _SPAN[level])]
                found = {**found, **store.get_many(keys)}
            for key in keys:
                if key not in found:
                    return
                yield found[key]


def plan(store: Store, prefix: str) -> Plan:
    """Find out by one listing which tiles there are."""
    listed: dict[int, set[int]] = {1: set(), 2: set()}
    beginning = tiles_prefix(prefix)
    for item in store.list(beginning):
        tile = _tile_of(item.key, beginning)
        if tile is not None:
            listed[tile[0]].add(tile[1])
    parts: list[tuple[int, int]] = []
    last = max([(i + 1) * _SPAN[level] for level in _SPAN for i in listed[level]], default=0)
    covered = 0
    while covered < last:
        if covered % _SPAN[2] == 0 and covered // _SPAN[2] in listed[2]:
            level = 2
        else:
            level = 1 if covered // FAN_OUT in listed[1] else 0
        span = _SPAN[max(level, 1)]
        parts.append((level, covered // span))
        covered += span
    return Plan(prefix, tuple(parts), covered)


def _tile_of(key: str, beginning: str) -> tuple[int, int] | None:
    """Level and index of the tile under *key*."""
    level, index = key[len(beginning) :][:2], number_of(key)
    return (int(level[0]), index) if level in ("1/", "2/") and index is not None else None


def split(tile: bytes | None, count: int) -> list[bytes] | None:
    """The *count* entries in a tile; None if it does not hold them."""
    if tile is None:
        return None
    try:
        lines = zstd.decompress(tile, _MAX_TILE).split(b"\n")
    except zstd.Error:
        return None
    if len(lines) != 2 * count + 1 or lines[-1]:
        return None
    return [b"%b\n%b\n" % pair for pair in zip(lines[0:-1:2], lines[1:-1:2], strict=True)]


def write(store: Store, prefix: str, index: int, raws: Sequence[bytes]) -> None:
    """Write tile *index* of level 1, and the tile above it when it is the last of a hundred.

    Raises:
        StoreError: the store refused.
    """
    _put(store, tile_key(prefix, 1, index), zstd.compress(b"".join(raws)))
    if (index + 1) % FAN_OUT:
        return
    below = [tile_key(prefix, 1, i) for i in range(index + 1 - FAN_OUT, index + 1)]
    found = store.get_many(below)
    if len(found) == len(below):
        _put(store, tile_key(prefix, 2, index // FAN_OUT), b"".join(found[key] for key in below))


def _put(store: Store, key: str, packed: bytes) -> None:
    if len(packed) <= MAX_VALUE:  # else the level below serves
        with suppress(ConflictError):  # somebody else wrote it; zstd builds may differ, so bytes are not compared
            store.create(key, packed)


def listed_entries(store: Store, prefix: str) -> set[int]:
    """The numbers of the entries that a listing shows."""
    return {
        number
        for item in store.list(f"{prefix}0")
        if item.key.endswith(".json") and (number := number_of(item.key)) is not None
    }


def compare(store: Store, prefix: str, raws: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    """Compare every tile with the entries that it should hold; gives the key and the problem of each that differs."""
    beginning = tiles_prefix(prefix)
    for item in store.list(beginning):
        tile = _tile_of(item.key, beginning)
        if tile is None:
            yield item.key, "it is no tile"
            continue
        index, span = tile[1], _SPAN[tile[0]]
        try:
            held = split(store.get(item.key), span)
        except StoreError as error:
            held = None
            yield item.key, str(error)
        if held is None or held != list(raws[index * span : (index + 1) * span]):
            yield item.key, "it does not hold the bytes of its entries"
