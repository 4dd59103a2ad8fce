"""Versions that are written anew: what is left out, what is taken back, and what is never named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep._compact import empty
from modelkeep._dead import sweep
from modelkeep._fates import Fate
from modelkeep._line import Line
from modelkeep._places import Places, Write, _Version, depth
from modelkeep._repack import BrokenError, Maker
from modelkeep.codecs import RAW, ZSTD
from modelkeep.digest import Buffer, raw_digest
from modelkeep.errors import AccessError, StoreError
from modelkeep.folds.releases import Delete, Purge, Unalias
from modelkeep.folds.versions import Condemn
from modelkeep.layout import data_prefix, pack_key
from modelkeep.manifest import MAX_DEPTH, Manifest, Piece
from modelkeep.packfiles import PackFiles
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Wrapper

Model = dict[str, Any]


def tensor(seed: int, size: int = 30_000) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def noisy(count: int, tensors: int = 2) -> list[Model]:
    """Versions of a model of which all tensors change each time, by a little."""
    last = {f"t{n}": tensor(n) for n in range(tensors)}
    found = [last]
    for number in range(1, count):
        last = {name: was + tensor(100 * number) * np.float32(1e-3) for name, was in last.items()}
        found.append(last)
    return found


def saved(store: Store, models: Iterable[Model]) -> mk.Registry:
    registry = mk.Registry(store)
    for one in models:
        registry.save(one, "m")
    return registry


def line_of(store: Store) -> Line:
    line = mk.Registry(store).model("m")._line
    line.read()
    return line


def packs(store: Store) -> set[str]:
    return {item.key for item in store.list(data_prefix("m"))}


def check(store: Store, models: dict[int, Model]) -> None:
    registry = mk.Registry(store)
    for number, wanted in models.items():
        loaded = registry.load(f"m:{number}")
        assert all(np.array_equal(loaded[name], own) for name, own in wanted.items())
    assert registry.storage.verify().ok


def numbered(models: list[Model], *numbers: int) -> dict[int, Model]:
    return {number: models[number - 1] for number in numbers}


class Before(Wrapper):
    """Something else happens before the first write of a key that has *part* in it."""

    def __init__(self, within: Store, part: str, act: Callable[[], object]) -> None:
        super().__init__(within)
        self.part = part
        self.acts = [act]

    def _step(self, key: str) -> None:
        if self.acts and self.part in key:
            self.acts.pop()()

    def create(self, key: str, value: bytes) -> None:
        self._step(key)
        self.within.create(key, value)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._step(key)
        self.within.put_pack(key, source)


# -- places, thought out --------------------------------------------------------------------------------------------


def piece(seed: int, base: Piece | None = None, pack: int = 0) -> Piece:
    own = bytes([seed]) * 32
    return Piece(own, own, pack, ZSTD, 10, 100 * seed, 100_000, 0, base)


def placed(wanted: Piece, staying: Iterable[Piece]) -> tuple[list[Write], Any]:
    """Where a piece goes if its pack 0 is emptied while pack 1 stays."""
    plan: Any = SimpleNamespace(
        fates=SimpleNamespace(of=lambda one: Fate.STAY if one.pack else Fate.COPY),
        staying={one.digest: [one] for one in staying},
        served=set(),
        survey=SimpleNamespace(packs=["a-1", "b-1"], protected=set()),
    )
    version = _Version(Places(plan, "c"), cast("Any", None), {})
    return version.writes, version._place(wanted, None)


def test_what_would_lie_too_deep_is_packed_by_itself_and_what_it_needed_is_not_written() -> None:
    last = piece(1)
    below = piece(2, last)
    above = piece(3, below)
    top = piece(4, above)
    deep = attrs.evolve(last, pack=1, base=piece(7, piece(6, piece(5, None, 1), 1), 1))
    assert sum(1 for _ in deep.chain()) - 1 == MAX_DEPTH - 1
    writes, found = placed(top, [deep])
    assert depth(found) <= MAX_DEPTH
    assert [(write.digest[0], write.fate) for write in writes] == [(3, Fate.PACK), (4, Fate.COPY)]
    assert writes[0].base is None


def test_a_piece_is_never_turned_by_way_of_itself() -> None:
    last = piece(1)
    top = piece(2, last)
    writes, found = placed(top, [attrs.evolve(last, pack=1, base=attrs.evolve(top, pack=1, base=None))])
    assert writes == [found]
    assert (found.fate, found.base) == (Fate.PACK, None)


# -- others at work -------------------------------------------------------------------------------------------------


def purge(line: Line, number: int) -> None:
    line.append("releases", lambda _: [Delete(number), Purge(number)])


def test_what_was_purged_while_it_was_written_is_not_moved() -> None:
    store = MemoryStore()
    models = noisy(4)
    saved(store, models)
    (found,) = mk.Registry(Before(store, "/data/", lambda: purge(line_of(store), 2))).storage.compact().models
    assert found.left == ((2, "it was purged meanwhile"),)
    assert found.moved == (1, 3, 4)
    line = line_of(store)
    assert line.line(2).at == line.line(2).made.at
    check(store, numbered(models, 1, 3, 4))


def test_a_version_whose_base_was_collected_meanwhile_stays_where_it_is() -> None:
    store = MemoryStore()
    models = noisy(2)
    models[1]["more"] = tensor(9, 10)  # another header, so that the second shares nothing with the first
    saved(store, models).get("m:1").promote("production")
    assert set(line_of(store).line(1).packs).isdisjoint(line_of(store).line(2).packs)

    def collected() -> None:
        line = line_of(store)
        line.append("releases", lambda _: [Unalias("production")])
        purge(line, 1)
        line.append("versions", lambda _: [Condemn(line.line(1).packs, (1,))])
        sweep(line, line.line(1).packs)

    meanwhile = Before(store, "/versions/", collected)
    (found,) = mk.Registry(meanwhile).storage.compact().models
    assert found.left == ((2, "a pack that it needs was emptied meanwhile; compact again"),)
    check(store, numbered(models, 2))
    (found,) = mk.Registry(store).storage.compact().models
    assert found.left == ()
    check(store, numbered(models, 2))


def test_packs_of_a_write_that_failed_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep._rewrite.MAX_PACK", 150_000)
    store = MemoryStore()
    models = noisy(4)
    saved(store, models)
    before = packs(store)

    class Full(Wrapper):
        count = 0

        def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
            self.count += 1
            if self.count == 3:
                for _ in source:
                    raise StoreError("the disk is full; make room", key=key)
            self.within.put_pack(key, source)

    with pytest.raises(StoreError, match="full"):
        mk.Registry(Full(store)).storage.compact()
    assert packs(store) == before
    check(store, numbered(models, 1, 2, 3, 4))


@pytest.mark.parametrize("part", ["/data/", "/versions/", "/releases/"])
def test_a_keyboard_interrupt_at_any_write_leaves_what_the_next_run_finishes(part: str) -> None:
    store = MemoryStore()
    models = noisy(4)
    saved(store, models).get("m:2").promote("production")
    mk.Registry(store).storage.compact()
    mk.Registry(store).get("m:3").promote("production")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mk.Registry(Before(store, part, stop)).storage.compact()
    check(store, numbered(models, 1, 2, 3, 4))
    mk.Registry(store).storage.compact()
    mk.Registry(store).storage.collect(grace=timedelta(0))  # an upload that an entry might have named
    known = line_of(store).versions.state.lines.values()
    assert packs(store) == {pack_key("m", pack) for own in known for pack in own.packs}
    check(store, numbered(models, 1, 2, 3, 4))


def test_a_store_that_may_not_be_written_says_so_and_nothing_is_half_done() -> None:
    store = MemoryStore()
    models = noisy(3)
    saved(store, models)
    before = {item.key: item.size for item in store.list("")}
    with pytest.raises(AccessError):
        mk.Registry(ReadOnly(store)).storage.compact()
    with pytest.raises(AccessError):
        mk.Registry(ReadOnly(store)).storage.collect()
    with pytest.raises(AccessError):
        mk.Registry(ReadOnly(store)).get("m:1").erase("request 17")
    assert {item.key: item.size for item in store.list("")} == before


def test_a_compaction_that_would_write_more_than_it_frees_writes_nothing() -> None:
    store = MemoryStore()
    common = {f"t{n}": tensor(n, 2500) for n in range(8)}  # too small to be packed by themselves
    models = [{**common, "big": tensor(99)}]
    for number in range(1, 300):
        name = f"t{number % 8}"
        models.append({**models[-1], name: models[-1][name] + np.float32(number)})
    saved(store, models)
    before = sum(item.size for item in store.list(""))
    (done,) = mk.Registry(store).storage.compact().models
    assert done.moved == ()
    assert sum(item.size for item in store.list("")) <= before
    for number in range(2, 300):
        purge(line_of(store), number)
    (done,) = mk.Registry(store).storage.compact().models
    assert done.moved == (1, 300)
    assert done.after < done.before
    check(store, numbered(models, 1, 300))


# -- what was read --------------------------------------------------------------------------------------------------


def shares_with_a_first(store: Store) -> tuple[str, list[Model]]:
    """Three versions of which the second has a tensor of the first; gives the pack of that."""
    first = {"a": tensor(1), "b": tensor(2)}
    models = [first, {"b": first["b"], "c": tensor(3)}, {"d": tensor(4)}]
    saved(store, models)
    (key,) = {pack_key("m", pack) for pack in line_of(store).line(1).packs}
    return key, models


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_version_of_which_a_pack_is_damaged_is_told_before_anything_is_written(how: str) -> None:
    store = MemoryStore()
    key, models = shares_with_a_first(store)
    raw = store.get(key)
    store.delete([key])
    if how == "cut":
        store.put_pack(key, [raw[: len(raw) // 8]])
    from modelkeep._survey import survey

    found = survey(line_of(store))
    assert set(found.left) == {1, 2}
    assert key in found.damaged()[2]
    assert "bring it back from a backup" in found.damaged()[2]
    (done,) = mk.Registry(store).storage.compact().models
    assert (done.moved, {number for number, _ in done.left}) == ((3,), {1, 2})
    assert np.array_equal(mk.Registry(store).load("m:3")["d"], models[2]["d"])


def test_what_is_copied_must_be_the_very_bytes_that_were_written() -> None:
    store = MemoryStore()
    saved(store, noisy(3))
    mk.Registry(store).storage.compact()
    line = line_of(store)
    from modelkeep.packs import read_manifest

    manifest = read_manifest(store, "m", line.line(2).at)[0]
    packed = next(one for one in manifest.pieces() if one.codec != RAW)
    maker = Maker(PackFiles(store, "m", Manifest(manifest.packs, (), b"")), {})
    (made,) = maker.all([(2, Write(packed, Fate.COPY))])
    assert raw_digest(made.stored) == packed.stored_digest
    other = attrs.evolve(packed, stored_digest=bytes(32))
    with pytest.raises(BrokenError, match="damaged"):
        list(maker.all([(2, Write(other, Fate.COPY))]))


def test_what_is_condemned_and_needed_is_not_deleted() -> None:
    store = MemoryStore()
    models = noisy(2)
    saved(store, models)
    line = line_of(store)
    own = line.line(2).packs
    line.append("versions", lambda _: [Condemn(own, purged=(1, 2))])  # a claim that releases does not bear out
    before = packs(store)
    assert sweep(line, own) == []
    assert packs(store) == before
    assert np.array_equal(mk.Registry(store).load("m:2")["t0"], models[1]["t0"])


def test_emptying_packs_moves_only_what_needs_them() -> None:
    store = MemoryStore()
    models = [*noisy(4), {"else": tensor(77)}]
    saved(store, models[:4])
    mk.Registry(store).storage.compact()
    saved(store, models[4:])
    dead = next(
        number
        for number in (1, 2, 3, 4)
        if any(base_digests(store, other) & own_digests(store, number) for other in (1, 2, 3, 4) if other != number)
    )
    purge(line_of(store), dead)
    before = {number: known.at for number, known in line_of(store).versions.state.lines.items()}
    assert empty(line_of(store), line_of(store).line(5).packs) == ()
    after = {number: known.at for number, known in line_of(store).versions.state.lines.items()}
    assert {number for number in after if after[number] != before[number]} == {5}
    check(store, numbered(models, *({1, 2, 3, 4, 5} - {dead})))


def own_digests(store: Store, number: int) -> set[bytes]:
    return {one.digest for one in _pieces(store, number)}


def base_digests(store: Store, number: int) -> set[bytes]:
    return {one.base.digest for one in _pieces(store, number) if one.base is not None}


def _pieces(store: Store, number: int) -> Iterator[Piece]:
    from modelkeep.packs import read_manifest

    for _, pieces in read_manifest(store, "m", line_of(store).line(number).at)[0].files:
        yield from pieces
