"""A cache before a far store, for what journals consist of: entries and tiles. Only ever behind, never wrong.

Nothing is handed out on the cache's word alone. Entries are chained: each carries the digest of the one before it. Of
every unbroken run of entries and tiles that are at hand, the last entry is asked from the store in the same round as
what is not at hand; if it is there with the same bytes, its digests, read downwards, name every byte below it, tiles
included. So what comes from the cache is what the store's own chain says was written; a fork cannot slip in, wherever
a registry was restored, cut off or mixed, since bytes of another past have another digest. If one link does not fit,
the folder is forgotten and the store is asked for all.

That something is *not* there is never cached, and `get` and `list` always ask: where a journal ends, and which tiles
there are, the store alone says. One thing a chain cannot tell: that an entry was damaged later and its loss accepted.
Hence entries with a `seal` are never cached, and whoever meets one drops what it names (see
`JournalReader._read_cold`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import attrs
from blake3 import blake3

from modelkeep import tiles
from modelkeep.cache import CacheFolder
from modelkeep.digest import digest
from modelkeep.entry import DamagedError, parse
from modelkeep.layout import entry_key, number_of, tile_key
from modelkeep.stores.port import Store, UnfinishedWrite, abandon, unfinished
from modelkeep.stores.wrappers import Wrapper

_DIGEST = 64  # hexadecimal digits
_SEAL = re.compile(rb'"op"\s*:\s*"seal"')


@attrs.frozen
class _Span:
    """The entries that an object holds: one, or those of a tile.

    Args:
        prefix: what the keys of its journal begin with.
        level: of the tile; 0 for an entry.
        first: the number of its first entry.
        last: the number of its last entry.
    """

    prefix: str
    level: int
    first: int
    last: int

    @classmethod
    def of(cls, key: str) -> _Span | None:
        """What lies under *key*; None for what is no entry and no tile."""
        number = number_of(key)
        folder, _, name = key.rpartition("/")
        if number is None or not folder:
            return None
        if name.endswith(".json"):
            return cls(f"{folder}/", 0, number, number) if number else None
        above, _, place = folder.rpartition("/")
        if place not in ("t1", "t2") or not above:
            return None
        level = int(place[1])
        span = tiles.SPAN[level]
        return cls(f"{above}/", level, number * span + 1, (number + 1) * span)

    @property
    def tip(self) -> str:
        """The key of its last entry."""
        return entry_key(self.prefix, self.last)


@attrs.frozen
class _Held:
    """An object at hand.

    Args:
        key: where it lies.
        span: the entries in it.
        before: the digest that its first entry carries as that of the entry before.
        after: the digest of its last entry.
        raw: its bytes.
    """

    key: str
    span: _Span
    before: bytes
    after: bytes
    raw: bytes

    @classmethod
    def read(cls, key: str, span: _Span, kept: bytes) -> _Held:
        """What `ties` and the bytes, one after the other, say."""
        return cls(key, span, kept[:_DIGEST], kept[_DIGEST : 2 * _DIGEST], kept[2 * _DIGEST :])


class Cached(Wrapper):
    """Keeps copies of entries and tiles in a folder on this machine.

    Args:
        within: the store that has the say.
        folder: where copies are kept; of this registry, by its id.

    Example:
        >>> from modelkeep.cache import Cache
        >>> from modelkeep.stores.memory import MemoryStore
        >>> folder = Cache(getfixture("tmp_path")).folder("memory://", "5f0c")
        >>> Cached(MemoryStore(), folder).get_many(["models/churn/notes/00000000000000000001.json"])
        {}
    """

    def __init__(self, within: Store, folder: CacheFolder) -> None:
        super().__init__(within)
        self.folder = folder

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`."""
        self.within.create(key, value)
        self._remember(key, value)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`; the store is always asked."""
        raw = self.within.get(key, span)
        if span is None:
            self._remember(key, raw)
        return raw

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`; one round more if what is at hand turns out to be of another past."""
        asked = list(keys)
        held = self._held(asked)
        runs = list(_runs(held.values()))
        tips = [run[-1].span.tip for run in runs]
        found = self.within.get_many(dict.fromkeys([*(key for key in asked if key not in held), *tips]))
        if not all(_fits(run, found) for run in runs):
            self.folder.forget()
            held, found = {}, self.within.get_many(asked)
        for key in asked:
            if key in found and key not in held:
                self._remember(key, found[key])
        given = {key: one.raw for key, one in held.items()} | found
        return {key: given[key] for key in asked if key in given}

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        asked = list(keys)
        try:
            self.within.delete(asked)
        finally:
            self.folder.drop(asked)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`."""
        return unfinished(self.within, prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """See `Unfinished.abandon`."""
        abandon(self.within, writes)

    def _held(self, keys: Iterable[str]) -> dict[str, _Held]:
        held = {}
        for key in keys:
            span = _Span.of(key)
            kept = None if span is None else self.folder.get(key)
            if span is not None and kept is not None:
                held[key] = _Held.read(key, span, kept)
        return held

    def _remember(self, key: str, raw: bytes) -> None:
        span = _Span.of(key)
        if span is None:
            return
        raws = (tiles.split(raw, tiles.SPAN[span.level]) or []) if span.level else [bytes(raw)]
        sealed = _sealed(span, raws)
        if sealed:
            self.folder.drop([key, *(lost for number in sealed for lost in _keys_with(span.prefix, number))])
        elif ties := _ties(span, raws):
            self.folder.put(key, ties + raw)


def _runs(held: Iterable[_Held]) -> Iterator[list[_Held]]:
    """What is at hand in runs without a gap, of one journal each."""
    run: list[_Held] = []
    for one in sorted(held, key=lambda one: (one.span.prefix, one.span.first)):
        if run and (run[-1].span.prefix, run[-1].span.last + 1) != (one.span.prefix, one.span.first):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _fits(run: Sequence[_Held], found: Mapping[str, bytes]) -> bool:
    """Whether the store has the last entry of *run*, and each link below it holds."""
    tip = found.get(run[-1].span.tip)
    if tip is None or digest(tip).encode() != run[-1].after:
        return False
    return all(below.after == above.before for below, above in pairwise(run))


def _ties(span: _Span, raws: Sequence[bytes]) -> bytes:
    """The digests that tie the entries of an object to those before and behind; nothing if one is unsound."""
    try:
        first = parse(raws[0], span.first)
    except (DamagedError, IndexError):
        return b""
    after = first.digest
    for number, raw in enumerate(raws[1:], span.first + 1):
        # as every writer of ours begins an entry; parsing 10,000 of them would take 60 ms
        if not raw.startswith(f'{{"n":{number},"prev":"{after}"'.encode()):
            return b""
        after = blake3(raw).hexdigest()
    return (first.prev + after).encode()


def _sealed(span: _Span, raws: Sequence[bytes]) -> list[int]:
    """The entries whose loss an entry of an object accepts."""
    ops: list[dict[str, Any]] = []
    for number, raw in enumerate(raws, span.first):
        if _SEAL.search(raw):
            with suppress(DamagedError):
                ops += parse(raw, number).ops
    return [op["n"] for op in ops if op["op"] == "seal" and type(op.get("n")) is int]


def _keys_with(prefix: str, number: int) -> list[str]:
    """The keys under which entry *number* may be kept."""
    return [
        entry_key(prefix, number),
        *(tile_key(prefix, level, (number - 1) // tiles.SPAN[level]) for level in (1, 2)),
    ]
