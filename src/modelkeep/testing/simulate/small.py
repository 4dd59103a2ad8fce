"""What a schedule changes in the library: all that is large there is small here, and bytes are parsed only once."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any

from modelkeep import tiles, zstd
from modelkeep.digest import Buffer
from modelkeep.entry import genesis, parse
from modelkeep.folds.rules import Op
from modelkeep.manifest import Manifest, parse_record

_FAN_OUT = 3
_PACK = 512  # bytes; two tensors fill it
_REPACKED = 192  # bytes; two or three differences, or one tensor that is packed by itself
_SHARED = 3  # packs of others that a version may need, where there are many
_KNOWN = 1024  # things that are parsed and kept; a schedule has fewer

# Tiles of three entries, windows of a few, and tensors of 64 bytes that are worth sharing and packing, by a sample of
# half of the largest; a compaction writes two or three versions at a time.
_SMALL: tuple[tuple[str, str, Any], ...] = (
    ("modelkeep.pieces", "SMALL", 64),
    ("modelkeep.splitters", "SMALL", 64),
    ("modelkeep._publish", "_LOOK_FROM", 0),
    ("modelkeep.atrest", "WORTH_SHARING", 64),
    ("modelkeep._places", "WORTH_SHARING", 64),
    ("modelkeep._fates", "SMALL_MODEL", 64),
    ("modelkeep.codecs", "SAMPLE", 128),
    ("modelkeep._rewrite", "GATHERED", 1024),
    (
        "modelkeep.registrysaves",
        "LIFE",
        timedelta(seconds=30),
    ),  # clocks are up to a minute off: a quarter is over at once
    ("modelkeep.making", "AT_THE_START", {}),  # Git, distributions and hardware are no part of a schedule
    ("modelkeep.making", "AT_THE_END", {}),
    ("modelkeep.making", "SESSION", {}),
    ("modelkeep._rewrite", "_TOGETHER", 3),
    ("modelkeep.journal", "FAN_OUT", _FAN_OUT),
    ("modelkeep.reading", "FAN_OUT", _FAN_OUT),
    ("modelkeep.tiles", "FAN_OUT", _FAN_OUT),
    ("modelkeep.tiles", "SPAN", {0: _FAN_OUT, 1: _FAN_OUT, 2: _FAN_OUT**2}),
    ("modelkeep.reading", "_FIRST_WINDOW", 2),
    ("modelkeep.reading", "_WINDOW", _FAN_OUT),
)
# Where a version has several packs, a reader is more often in the middle of a load.
_MANY_PACKS: tuple[tuple[str, str, Any], ...] = (
    ("modelkeep.packwriter", "MAX_PACK", _PACK),
    ("modelkeep._rewrite", "MAX_PACK", _REPACKED),
    ("modelkeep.folds.versions", "MAX_SHARED", _SHARED),
    ("modelkeep._places", "MAX_SHARED", _SHARED),
)


@lru_cache(maxsize=_KNOWN)
def _unpacked(raw: bytes, limit: int) -> bytes:
    return _decompress(raw, limit)


def _decompress_once(raw: Buffer, limit: int) -> bytes:
    return _unpacked(bytes(raw), limit)


@lru_cache(maxsize=_KNOWN)
def _manifest(raw: bytes) -> Manifest:
    return _parse_manifest(raw)


def _op(cls: type[Op], facts: dict[str, Any]) -> Op:
    """An operation is frozen, and the entry that it is of is parsed once: so is it."""
    found = _ops.get((cls, id(facts)))
    if found is None:
        found = _ops[cls, id(facts)] = (facts, _parse_op(cls, facts))
    return found[1]


_ops: dict[tuple[type, int], tuple[Any, Op]] = {}
_decompress, _parse_manifest, _parse_op = zstd.decompress, Manifest.parse, vars(Op)["parse"].__func__
_entry, _record, _genesis, _split = (
    lru_cache(maxsize=_KNOWN)(one) for one in (parse, parse_record, genesis, tiles.split)
)

# The same bytes are the same thing: without this a schedule parses each entry some forty times.
_ONCE: tuple[tuple[str, str, Any], ...] = (
    ("modelkeep.fold", "parse", _entry),
    ("modelkeep.reading", "parse", _entry),
    ("modelkeep.journal", "parse", _entry),
    ("modelkeep.reading", "genesis", _genesis),
    ("modelkeep._resolve", "parse_record", _record),
    ("modelkeep.tiles", "split", _split),
    ("modelkeep.zstd", "decompress", _decompress_once),
    ("modelkeep.manifest:Manifest", "parse", staticmethod(lambda raw: _manifest(bytes(raw)))),
    ("modelkeep.folds.rules:Op", "parse", classmethod(_op)),
    ("modelkeep.reading", "renew_after_fork", lambda _: None),  # nothing forks here
)


@contextmanager
def small(*, many_packs: bool = False) -> Iterator[None]:
    """Make the library small for the length of a block; with *many_packs* packs, too."""
    with _changed([*_SMALL, *(_MANY_PACKS if many_packs else ())]):
        yield


@contextmanager
def parsed_once() -> Iterator[None]:
    """Have equal bytes parsed only once for the length of a block, and nothing looked through for garbage."""
    awake = gc.isenabled()
    gc.disable()  # looking through all objects a few times in a schedule took a sixth of its time
    try:
        with _changed(_ONCE):
            yield
    finally:
        _ops.clear()
        if awake:
            gc.enable()


@contextmanager
def _changed(changes: Iterable[tuple[str, str, Any]]) -> Iterator[None]:
    targets = [(_find(where), name, value) for where, name, value in changes]
    before = [(target, name, vars(target)[name]) for target, name, _ in targets]
    try:
        for target, name, value in targets:
            setattr(target, name, value)
        yield
    finally:
        for target, name, value in before:
            setattr(target, name, value)


@lru_cache
def _find(where: str) -> Any:
    """A module, or a class in one, as in ``modelkeep.entry`` and ``modelkeep.entry:Entry``."""
    module, _, name = where.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found
