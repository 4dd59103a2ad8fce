"""Erasure beside others at work, and cut off: in the end no byte is left that the erased version alone had."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep import _erase
from modelkeep._fates import Fates, _ordered
from modelkeep._line import Line
from modelkeep._rewrite import Rewriting
from modelkeep._survey import survey
from modelkeep.digest import Buffer
from modelkeep.errors import StoreError
from modelkeep.layout import data_prefix, pack_key
from modelkeep.manifest import Manifest
from modelkeep.packs import read_manifest
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store, StoredObject
from modelkeep.stores.wrappers import Wrapper

Model = dict[str, Any]
NOW = timedelta(0)
DAY = timedelta(days=1)


def tensor(seed: int, size: int = 30_000) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def model(seed: int) -> Model:
    return {"shared": tensor(0, 60_000), "own": tensor(seed, 40_000)}


def noisy(count: int, tensors: int = 2) -> list[Model]:
    """Versions of a model of which all tensors change each time, by a little."""
    last = {f"t{n}": tensor(n) for n in range(tensors)}
    found = [last]
    for number in range(1, count):
        last = {name: was + tensor(100 * number) * np.float32(1e-3) for name, was in last.items()}
        found.append(last)
    return found


def saved(store: Store, models: Iterable[Model]) -> list[mk.ModelVersion]:
    registry = mk.Registry(store)
    return [registry.save(one, "m") for one in models]


def line_of(store: Store) -> Line:
    line = mk.Registry(store).model("m")._line
    line.read()
    return line


def manifest(store: Store, number: int) -> Manifest:
    return read_manifest(store, "m", line_of(store).line(number).at)[0]


def own_digests(store: Store, number: int) -> set[bytes]:
    return {piece.digest for _, pieces in manifest(store, number).files for piece in pieces}


def private_of(store: Store, number: int) -> set[bytes]:
    """What a version has and no other that was not purged."""
    line = line_of(store)
    others = line.versions.state.lines.keys() - line.releases.state.purged.keys() - {number}
    return own_digests(store, number).difference(*(own_digests(store, other) for other in others))


def everything(store: Store) -> bytes:
    return b"".join(store.get(item.key) for item in store.list(""))


def check_gone(store: Store, private: set[bytes], models: dict[int, Model]) -> None:
    """No pack is left but those of living versions, and none of these has, or is stored by, what was private."""
    needed: set[str] = set()
    registry = mk.Registry(store)
    for number, wanted in models.items():
        found = manifest(store, number)
        assert private.isdisjoint(piece.digest for piece in found.pieces())
        needed.update(pack_key("m", pack) for pack in found.packs)
        loaded = registry.load(f"m:{number}")
        assert all(np.array_equal(loaded[name], own) for name, own in wanted.items())
    assert {item.key for item in store.list(data_prefix("m"))} == needed
    assert registry.storage.verify().ok


class Before(Wrapper):
    """Something else happens before the first write that *when* picks."""

    def __init__(self, within: Store, when: Callable[[str, bytes], bool], act: Callable[[], object]) -> None:
        super().__init__(within)
        self.when = when
        self.acts = [act]

    def _step(self, key: str, value: bytes = b"") -> None:
        if self.acts and self.when(key, value):
            self.acts.pop()()

    def create(self, key: str, value: bytes) -> None:
        self._step(key, value)
        self.within.create(key, value)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._step(key)
        self.within.put_pack(key, source)


class Reading(Before):
    """Something else happens before the first request of any kind that *when* picks."""

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self._step(key)
        return self.within.get(key, span)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        self._step("")
        return self.within.get_many(keys)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._step(prefix)
        return self.within.list(prefix)


def is_versions(key: str, _: bytes) -> bool:
    return "/versions/" in key and key.endswith(".json")


def is_condemn(key: str, value: bytes) -> bool:
    return is_versions(key, value) and b'"condemn"' in value


def is_pack(key: str, _: bytes) -> bool:
    return "/data/" in key


def test_a_save_that_began_before_an_erasure_does_not_keep_what_it_does_not_have() -> None:
    store = MemoryStore()
    saved(store, [model(1), {"else": tensor(9)}])
    private = private_of(store, 1)
    planned, go = threading.Event(), threading.Event()

    def wait() -> None:
        planned.set()
        go.wait(20)

    saver = threading.Thread(
        target=lambda: mk.Registry(Before(store, is_versions, wait)).save(model(3), "m", parent="m:1")
    )
    saver.start()
    assert planned.wait(20)

    def commit() -> None:
        go.set()
        saver.join(20)

    mk.Registry(Before(store, is_condemn, commit)).get("m:1").erase("request 17")
    assert line_of(store).versions.state.highest == 3
    assert model(1)["own"].tobytes()[:512] not in everything(store)
    check_gone(store, private - own_digests(store, 3), {2: {"else": tensor(9)}, 3: model(3)})


def test_a_save_that_shares_with_what_was_erased_is_told() -> None:
    store = MemoryStore()
    first, _ = saved(store, [model(1), model(2)])
    assert "Tensors that other versions have too stay" in " ".join(first.erase("request 17").remains)
    assert tensor(0, 60_000).tobytes()[:512] in everything(store)


def test_what_was_erased_while_it_was_compacted_does_not_come_back() -> None:
    store = MemoryStore()
    models = [{f"of {seed}": tensor(seed)} for seed in range(1, 5)]  # nothing is shared, so that others do not move
    saved(store, models)
    private = private_of(store, 1)
    meanwhile = Before(store, is_versions, lambda: mk.Registry(store).get("m:1").erase("request 17"))
    (found,) = mk.Registry(meanwhile).storage.compact().models
    assert found.left == ((1, "it was purged meanwhile"),)
    assert found.moved == (2, 3, 4)
    check_gone(store, private, {n: models[n - 1] for n in (2, 3, 4)})


@pytest.mark.parametrize("at", range(12))
def test_what_was_erased_at_any_moment_of_a_compaction_is_gone_after_a_collection(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep._rewrite.GATHERED", 100_000)
    store = MemoryStore()
    models = noisy(6)
    saved(store, models)
    mk.Registry(store).storage.compact()
    line = line_of(store)
    for number in (4, 5):
        _purge(line, number)
    private = private_of(store, 3)
    left = iter(range(at))

    def when(key: str, value: bytes) -> bool:
        return (is_versions(key, value) or is_pack(key, value)) and next(left, None) is None

    meanwhile = Before(store, when, lambda: _erase._purge(line_of(store), 3, "request 17"))
    mk.Registry(meanwhile).storage.compact()
    if meanwhile.acts:
        meanwhile.acts.pop()()
    mk.Registry(store).storage.collect(grace=NOW)
    check_gone(store, private, {n: models[n - 1] for n in (1, 2, 6)})


def _purge(line: Line, number: int) -> None:
    from modelkeep.folds.releases import Delete, Purge

    line.append("releases", lambda _: [Delete(number), Purge(number)])


ACTS: dict[str, Callable[[Store], object]] = {
    "the same erasure": lambda store: mk.Registry(store).model("m").version(3).erase("request 18"),
    "another erasure": lambda store: mk.Registry(store).get("m:2").erase("request 18"),
    "a compaction": lambda store: mk.Registry(store).storage.compact(),
    "a collection": lambda store: mk.Registry(store).storage.collect(grace=DAY),
    "a save": lambda store: mk.Registry(store).save(noisy(7)[6], "m"),
}


@pytest.mark.parametrize("act", ACTS)
def test_whatever_happens_during_an_erasure_nothing_is_left_when_both_are_done(act: str) -> None:
    models = dict(enumerate(noisy(7), 1))
    for at in range(100):
        store = MemoryStore()
        saved(store, [models[number] for number in range(1, 7)])
        mk.Registry(store).storage.compact()
        private = private_of(store, 3)
        left = iter(range(at))
        meanwhile = Before(store, lambda *_, left=left: next(left, None) is None, lambda store=store: ACTS[act](store))  # type: ignore[misc]
        version = mk.Registry(meanwhile).get("m:3")
        version.erase("request 17")
        living = {1, 2, 4, 5, 6}
        if not meanwhile.acts:
            living = living - {2} if act == "another erasure" else living | {7} if act == "a save" else living
        for number in living:
            assert private.isdisjoint(piece.digest for piece in manifest(store, number).pieces())
        mk.Registry(store).storage.collect(grace=NOW)
        check_gone(store, private, {number: models[number] for number in living})
        if meanwhile.acts:
            assert at > 5
            return
    raise AssertionError("it never ends")


def written_anew(store: Store, packs: Iterable[str], *numbers: int) -> None:
    """As a compaction does that empties *packs*, and is stopped after some versions."""
    found = survey(line_of(store))
    planned = _ordered(found, Fates(found, {}, {found.pack(pack) for pack in packs}))
    planned.order[:] = [(number, base) for number, base in planned.order if number in numbers]
    Rewriting(planned, lambda _: None).run()


def test_what_was_left_where_a_version_lay_before_goes_too() -> None:
    store = MemoryStore()
    one, two = {"a": tensor(1), "b": tensor(2)}, {"b": tensor(2), "c": tensor(3)}
    saved(store, [one, two])
    (first,) = line_of(store).line(1).packs
    written_anew(store, [first], 1)
    assert first not in line_of(store).line(1).packs
    assert first in line_of(store).line(2).packs
    private = private_of(store, 1)
    mk.Registry(store).get("m:1").erase("request 17")
    assert one["a"].tobytes()[:512] not in everything(store)
    check_gone(store, private, {2: two})


def test_versions_that_are_moved_while_an_erasure_reads_them_are_not_taken_for_damaged() -> None:
    noise = np.random.default_rng(2).integers(256, size=300_000, dtype=np.uint8)  # it stays: nothing packs it
    models = {1: {"a": tensor(1), "b": noise}, 2: {"b": noise, "c": tensor(3)}}
    models[3] = {"b": noise, "c": tensor(3) + np.float32(1e-3)}
    for at in range(100):
        store = MemoryStore()
        saved(store, models.values())
        (first,) = line_of(store).line(1).packs
        written_anew(store, [first], 1)
        private = private_of(store, 1)
        left = iter(range(at))
        moves = lambda store=store: mk.Registry(store).storage.compact()  # noqa: E731  of this round
        meanwhile = Reading(store, lambda *_, left=left: next(left, None) is None, moves)
        mk.Registry(meanwhile).get("m:1").erase("request 17")
        assert models[1]["a"].tobytes()[:512] not in everything(store)
        mk.Registry(store).storage.collect(grace=NOW)
        check_gone(store, private, {number: models[number] for number in (2, 3)})
        if meanwhile.acts:
            assert at > 20
            return
    raise AssertionError("it never ends")


def test_what_others_are_stored_by_goes_wherever_it_lies() -> None:
    """A base that was copied for another version alone, where the erased one never lay."""
    store = MemoryStore()
    models = noisy(3)
    saved(store, models)
    mk.Registry(store).storage.compact()
    line = line_of(store)
    packs = {pack for number in (1, 2, 3) for pack in line.line(number).packs}
    private = private_of(store, 2)
    at = line.line(2).at
    written_anew(store, packs, 1, 3)
    assert line_of(store).line(2).at == at
    assert any(private & {piece.digest for piece in manifest(store, n).pieces()} for n in (1, 3))
    mk.Registry(store).get("m:2").erase("request 17")
    check_gone(store, private, {n: models[n - 1] for n in (1, 3)})


def test_two_erasures_that_were_cut_off_are_finished_though_both_manifests_lie_in_one_pack() -> None:
    store = MemoryStore()
    models = noisy(4)
    saved(store, models)
    mk.Registry(store).storage.compact()
    assert line_of(store).line(1).at.pack == line_of(store).line(3).at.pack
    for number in (1, 3):
        _erase._purge(line_of(store), number, "request 17")
    private = private_of(store, 1) | private_of(store, 3)
    mk.Registry(store).storage.collect(grace=NOW)
    check_gone(store, private, {n: models[n - 1] for n in (2, 4)})
    before = everything(store)
    mk.Registry(store).storage.collect(grace=NOW)
    assert everything(store) == before


def test_texts_of_an_erasure_that_was_cut_off_go_with_a_collection() -> None:
    store = MemoryStore()
    (first,) = saved(store, [model(1)])
    first.describe("her name is Ada")
    assert b"her name is Ada" in everything(store)
    _erase._purge(line_of(store), 1, "request 17")  # and then the process was killed
    mk.Registry(store).storage.collect(grace=NOW)
    assert b"her name is Ada" not in everything(store)
    assert b"request 17" in everything(store)


class NoDelete(Wrapper):
    """A store that deletes nothing for so many requests."""

    def __init__(self, within: Store, at: int) -> None:
        super().__init__(within)
        self.count = 0
        self.at = at

    def delete(self, keys: Iterable[str]) -> None:
        self.count += 1
        if self.count >= self.at:
            raise StoreError("it cannot delete; ask for the right")
        self.within.delete(keys)


@pytest.mark.parametrize("at", [1, 2])
def test_an_erasure_whose_deletes_fail_says_so_and_is_finished_by_the_next(at: int) -> None:
    store = MemoryStore()
    models = [model(seed) for seed in (1, 2, 3)]
    saved(store, models)[0].describe("her name is Ada")
    mk.Registry(store).storage.compact()
    private = private_of(store, 1)
    failing = NoDelete(store, at)
    with pytest.raises(StoreError, match="cannot delete"):
        mk.Registry(failing).get("m:1").erase("request 17")
    mk.Registry(store).storage.collect(grace=NOW)
    assert b"her name is Ada" not in everything(store)
    check_gone(store, private, {2: models[1], 3: models[2]})


# -- any history ----------------------------------------------------------------------------------------------------


@attrs.define
class _History:
    """Saves, promotes, compactions, erasures and collections, drawn by chance."""

    chance: random.Random
    store: MemoryStore = attrs.Factory(MemoryStore)
    models: dict[int, Model] = attrs.Factory(dict)
    private: set[bytes] = attrs.Factory(set)
    beginnings: set[bytes] = attrs.Factory(set)  # of tensors that were erased

    def fresh(self) -> np.ndarray[Any, Any]:
        size = self.chance.choice([0, 10, 5000, 20_000])
        if self.chance.random() < 0.2:
            return np.zeros(size, np.float32)
        return tensor(self.chance.randrange(1 << 30), size)

    def save(self) -> None:
        last = dict(self.models[self.chance.choice(sorted(self.models))]) if self.models else {}
        for name in list(last):
            match self.chance.randrange(5):
                case 0:
                    last[name] = self.fresh()
                case 1 | 2:
                    last[name] = last[name] + tensor(self.chance.randrange(1 << 30), last[name].size) * np.float32(1e-4)
                case 3 if self.chance.random() < 0.3:
                    last[name] = last[self.chance.choice(sorted(last))]  # the same tensor twice
        while len(last) < 3:
            last[f"t{self.chance.randrange(9)}"] = self.fresh()
        version = mk.Registry(self.store).save(last, "m", notes=f"private {len(self.models)}")
        self.models[version.number] = last

    def compact(self) -> None:
        (done,) = mk.Registry(self.store).storage.compact("m", newest=self.chance.choice([0, 2])).models
        assert done.left == ()

    def promote(self) -> None:
        mk.Registry(self.store).get(f"m:{self.chance.choice(sorted(self.models))}").promote("production")

    def gone(self) -> int | None:
        line = line_of(self.store)
        free = self.models.keys() - line.releases.state.stacked()
        if len(self.models) < 2 or not free:
            return None
        number = self.chance.choice(sorted(free))
        self.private |= private_of(self.store, number)
        self.beginnings |= _beginnings(self.models.pop(number))
        return number

    def erase(self) -> None:
        if (number := self.gone()) is not None:
            mk.Registry(self.store).get(f"m:{number}").erase("request 17")
            mk.Registry(self.store).storage.collect(grace=DAY)  # also what was cut off before
            self.check_gone()

    def erase_cut_off(self) -> None:
        if (number := self.gone()) is not None:
            _erase._purge(line_of(self.store), number, "request 17")

    def collect(self) -> None:
        mk.Registry(self.store).storage.collect(grace=NOW)
        self.check_gone()
        check_gone(self.store, set(), self.models)

    def check_gone(self) -> None:
        living = set[bytes]().union(*(own_digests(self.store, number) for number in self.models))
        for number in self.models:
            chains = {piece.digest for piece in manifest(self.store, number).pieces()}
            assert chains & self.private <= living
        there = everything(self.store)
        for beginning in self.beginnings.difference(*map(_beginnings, self.models.values())):
            assert beginning not in there


def _beginnings(model: Model) -> set[bytes]:
    return {own.tobytes()[:512] for own in model.values() if own.size >= 5000 and own.any()}


@pytest.mark.parametrize("seed", range(25))
def test_whatever_the_history_nothing_is_stored_by_what_was_erased(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    history = _History(random.Random(seed))
    chance = history.chance
    monkeypatch.setattr("modelkeep._rewrite.GATHERED", chance.choice([1, 50_000, 1 << 26]))
    monkeypatch.setattr("modelkeep._rewrite.MAX_PACK", chance.choice([100_000, 1 << 28]))
    monkeypatch.setattr("modelkeep._places.MAX_SHARED", chance.choice([1, 2, 32]))
    history.save()
    acts = ["save", "save", "save", "compact", "promote", "erase", "erase_cut_off", "collect"]
    for _ in range(chance.randint(8, 20)):
        getattr(history, chance.choice(acts))()
    history.collect()
