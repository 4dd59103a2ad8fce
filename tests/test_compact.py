"""Compaction: storage shrinks, every version stays what it is, and whatever happens meanwhile nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from modelkeep import Registry
from modelkeep._compact import Compaction, ModelCompaction, empty, plan_compaction, run_compaction
from modelkeep._line import Line
from modelkeep.codecs import RAW
from modelkeep.digest import Buffer
from modelkeep.errors import (
    AccessError,
    IntegrityError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
    UnsettledError,
)
from modelkeep.folds import releases, versions
from modelkeep.layout import entry_key, pack_key
from modelkeep.manifest import MAX_DEPTH, Manifest
from modelkeep.packs import PAGED, read_manifest
from modelkeep.progress import nothing
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording, Wrapper

Model = dict[str, Any]
WRITES = {"create", "put_pack", "delete"}
SIZE = PAGED // 4  # elements of a tensor


def compact(
    line: Line, *, rollbacks: int | None = None, newest: int = 0, progress: Callable[[int], None] = nothing
) -> ModelCompaction:
    """Compact one model whose line is at hand."""
    return run_compaction(plan_compaction(line, rollbacks=rollbacks, newest=newest), progress=progress)


def tensor(seed: int, size: int = SIZE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def changing(count: int = 10, tensors: int = 20) -> list[Model]:
    """Versions of a model of which one tensor changes each time, by a little."""
    last = {f"t{n:02}": tensor(n) for n in range(tensors)}
    found = [last]
    for number in range(1, count):
        name = f"t{number % tensors:02}"
        last = {**last, name: last[name] + tensor(100 + number) * np.float32(1e-4)}
        found.append(last)
    return found


def noisy(count: int = 10, tensors: int = 2, size: int = SIZE) -> list[Model]:
    """Versions of a model of which all tensors change each time, by a little."""
    last = {f"t{n:02}": tensor(n, size) for n in range(tensors)}
    found = [last]
    for number in range(1, count):
        last = {name: was + tensor(100 * number, size) * np.float32(1e-3) for name, was in last.items()}
        found.append(last)
    return found


def halved(models: list[Model]) -> list[Model]:
    """The same, each number cut to its upper two bytes, as bfloat16 has them."""
    return [{name: (was.view(np.uint32) >> 16).astype(np.uint16) for name, was in one.items()} for one in models]


def saved(store: Store, models: Iterable[Model]) -> Registry:
    registry = Registry(store)
    for one in models:
        registry.save(one, "m")
    return registry


def line_of(store: Store) -> Line:
    return Registry(store).model("m")._line


def equal(found: Model, wanted: Model) -> bool:
    same = found.keys() == wanted.keys()
    return same and all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)


def check(store: Store, models: Iterable[Model]) -> None:
    """All versions are what was saved, told by a reader that comes fresh."""
    registry = Registry(store)
    for number, model in enumerate(models, 1):
        assert equal(registry.load(f"m:{number}"), model), number


def sound(store: Store) -> bool:
    report = Registry(store).storage.verify()
    return report.ok and not report.findings


def packs(store: Store) -> dict[str, int]:
    return {item.key: item.size for item in store.list("models/m/data/")}


def stored(store: Store, number: int) -> Manifest:
    line = line_of(store)
    line.read()
    return read_manifest(store, "m", line.line(number).at)[0]


def depths(store: Store, number: int) -> set[int]:
    """How deep the pieces of tensors of a version are stored; -1 for raw."""
    found = set()
    for _, pieces in stored(store, number).files:
        for piece in pieces:
            if piece.length >= PAGED // 2:
                found.add(-1 if piece.codec == RAW else sum(1 for _ in piece.chain()) - 1)
    return found


class _Far(Wrapper):
    """A store to which requests leave this machine, so that several are made at once."""

    remote = True


@pytest.fixture(params=["memory", "local", "far"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "far":
        return _Far(MemoryStore())
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "registry", durable=False)


KINDS: dict[str, Callable[[], list[Model]]] = {
    "one tensor changes": changing,
    "all change": noisy,
    "all change, of two bytes": lambda: halved(noisy(size=2 * SIZE)),
}


# -- what it does ---------------------------------------------------------------------------------------------------


class _Watching(Wrapper):
    """Has all versions loaded before and after every write."""

    def __init__(self, within: Store, look: Callable[[], None]) -> None:
        super().__init__(within)
        self.look = look
        self.looks = 0

    def _around(self) -> None:
        self.looks += 1
        self.look()

    def create(self, key: str, value: bytes) -> None:
        self._around()
        self.within.create(key, value)
        self._around()

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._around()
        self.within.put_pack(key, source)
        self._around()

    def delete(self, keys: Iterable[str]) -> None:
        self._around()
        self.within.delete(keys)
        self._around()


@pytest.mark.parametrize("kind", KINDS)
def test_every_version_loads_before_during_and_after_and_storage_shrinks(store: Store, kind: str) -> None:
    models = KINDS[kind]()
    saved(store, models)
    check(store, models)
    watching = _Watching(store, lambda: check(store, models))
    found = compact(line_of(watching))
    assert watching.looks > 4
    check(store, models)
    assert found.moved == tuple(range(1, 11))
    assert found.left == ()
    assert found.after < 0.93 * found.before
    assert found.after == sum(packs(store).values())
    assert sound(store)


def test_versions_are_stored_by_what_they_differ_and_never_deeper_than_four(store: Store) -> None:
    saved(store, noisy())
    found = compact(line_of(store))
    assert [max(depths(store, number)) for number in range(1, 11)] == [4, 3, 2, 1, 0, 1, 2, 3, 4, 4]
    assert [cost.form for cost in found.forms] == ["raw", "packed", *(f"difference {n}" for n in range(1, 5))]
    assert [cost.reads for cost in found.forms] == [1, 1, 2, 3, 4, 5]
    raw, *others = found.forms
    assert (raw.stored, raw.bytes_read, raw.rate) == (raw.logical, raw.logical, None)
    assert all(cost.bytes_read >= cost.stored > 0 and cost.logical > cost.stored for cost in others)
    assert all(cost.rate for cost in others)


def test_torch_tensors_of_two_bytes_come_back_as_they_were(store: Store) -> None:
    torch = pytest.importorskip("torch")
    models = [{name: torch.from_numpy(a).to(torch.bfloat16) for name, a in m.items()} for m in noisy(4, size=2 * SIZE)]
    registry = saved(store, models)
    found = compact(line_of(store))
    assert found.after < 0.6 * found.before
    for number, model in enumerate(models, 1):
        loaded = Registry(store).load(f"m:{number}")
        assert all(torch.equal(loaded[name], own) for name, own in model.items())
    assert registry.storage.verify().findings == ()


def test_a_second_run_writes_nothing(store: Store) -> None:
    models = [*changing(5), *noisy(5)]
    saved(store, models)
    Registry(store).get("m:3").promote("production")
    compact(line_of(store))
    recording = Recording(store)
    again = compact(line_of(recording))
    assert again.moved == ()
    assert again.before == again.after
    assert not WRITES & recording.counts().keys()


def test_what_does_not_shrink_is_left_where_it_is(store: Store) -> None:
    noise = [{"w": np.frombuffer(np.random.default_rng(n).bytes(PAGED), np.uint8)} for n in range(3)]
    saved(store, noise)
    recording = Recording(store)
    assert compact(line_of(recording)).moved == ()
    assert not WRITES & recording.counts().keys()


def test_small_models_are_left_alone(store: Store) -> None:
    saved(store, ({"w": np.full(8000, n)} for n in range(3)))
    saved(store, ({"w": np.full(7000, n, np.float64)} for n in range(3)))
    before = packs(store)
    assert compact(line_of(store)).moved == ()
    assert packs(store) == before


def test_a_version_that_is_saved_later_is_stored_against_those_that_are_there(store: Store) -> None:
    models = noisy(6)
    saved(store, models[:5])
    compact(line_of(store))
    saved(store, models[5:])
    found = compact(line_of(store))
    assert found.moved == (6,)
    assert max(depths(store, 6)) > 0
    check(store, models)
    assert sound(store)


def test_a_version_hangs_on_its_parent(store: Store) -> None:
    one, other = noisy(2), [{"t00": tensor(7), "t01": tensor(8)}]
    registry = saved(store, [one[0], other[0]])
    registry.save(one[1], "m", parent="m:1")
    compact(line_of(store))
    first = {piece.digest for _, pieces in stored(store, 1).files for piece in pieces}
    third = {piece.base.digest for _, pieces in stored(store, 3).files for piece in pieces if piece.base}
    assert third
    assert third <= first


def test_a_version_that_was_opened_before_still_loads(store: Store) -> None:
    models = noisy(4)
    registry = saved(store, models)
    opened = [registry.get(f"m:{number}") for number in range(1, 5)]
    compact(line_of(store))
    for version, model in zip(opened, models, strict=True):
        assert equal(version.load(), model)


def test_progress_adds_up_to_what_was_planned(store: Store) -> None:
    saved(store, noisy(4))
    line = line_of(store)
    planned = plan_compaction(line)
    told: list[int] = []
    compact(line, progress=told.append)
    assert sum(told) == planned.total == sum(line.versions.state.lines[n].made.size for n in range(1, 5))


def test_a_compaction_tells_of_all_models() -> None:
    models = (ModelCompaction("a", 10, 5, (1,), (), ()), ModelCompaction("b", 3, 3, (), ((1, "why"),), ()))
    found = Compaction(models)
    assert (found.before, found.after) == (13, 8)
    told = found.to_dict()
    assert (told["before"], told["after"]) == (13, 8)
    assert [model["name"] for model in told["models"]] == ["a", "b"]


# -- what stays raw -------------------------------------------------------------------------------------------------


def test_what_stands_on_an_alias_stack_stays_mapped(tmp_path: Path) -> None:
    models = noisy(5)
    store = LocalStore(tmp_path / "registry", durable=False)
    registry = saved(store, models)
    registry.get("m:2").promote("production")
    registry.get("m:4").promote("production")
    compact(line_of(store))
    assert [Registry(store).get(f"m:{n}").mapped for n in range(1, 6)] == [False, True, False, True, False]
    check(store, models)
    assert sound(store)


def test_of_a_stack_as_many_stay_raw_as_are_asked_for(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "registry", durable=False)
    registry = saved(store, noisy(5))
    for number in (1, 2, 3, 4):
        registry.get(f"m:{number}").promote("production")
    compact(line_of(store), rollbacks=1, newest=1)
    assert [Registry(store).get(f"m:{n}").mapped for n in range(1, 6)] == [False, False, True, True, True]


def test_what_was_promoted_after_a_compaction_is_raw_after_the_next_and_the_alias_knows_where(tmp_path: Path) -> None:
    models = noisy(10)
    store = LocalStore(tmp_path / "registry", durable=False)
    registry = saved(store, models)
    compact(line_of(store))
    for number in (10, 5, 2):
        registry.get(f"m:{number}").promote("production")
    assert not Registry(store).get("m@production").mapped
    found = compact(line_of(store))
    assert {2, 5, 10} <= set(found.moved)
    fresh = Registry(store)
    assert [fresh.get(f"m:{n}").mapped for n in (2, 5, 10)] == [True] * 3
    line = line_of(store)
    line.read()
    assert {h.number: h.at for h in line.releases.state.stacks["production"]} == {
        n: line.versions.state.lines[n].at for n in (2, 5, 10)
    }
    check(store, models)
    assert sound(store)
    recording = Recording(store)
    assert compact(line_of(recording)).moved == ()
    for number in (1, 9):
        registry.get(f"m:{number}").promote("production")
    registry.model("m")._line.append("releases", lambda _: [releases.Unalias("production")])
    compact(line_of(store))
    check(store, models)
    assert sound(store)
    assert max(max(depths(store, n)) for n in range(1, 11)) <= MAX_DEPTH
    assert min(min(depths(store, n)) for n in range(1, 11)) >= 0


def test_a_tensor_of_many_pieces_comes_back_in_one_run(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "registry", durable=False)
    registry = saved(store, noisy(2, 1, 5_000_000))
    compact(line_of(store))
    assert not Registry(store).get("m:1").mapped
    registry.get("m:1").promote("production")
    compact(line_of(store))
    assert Registry(store).get("m:1").mapped
    check(store, noisy(2, 1, 5_000_000))
    assert sound(store)


def test_packs_are_cut_where_they_are_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    models = noisy(6, 4)
    saved(store, models)
    monkeypatch.setattr("modelkeep._rewrite.MAX_PACK", 3 * PAGED)
    before = sum(packs(store).values())
    assert compact(line_of(store)).moved == (1, 2, 3, 4, 5, 6)
    assert sum(packs(store).values()) < before
    assert len(packs(store)) >= 4
    check(store, models)
    assert sound(store)
    assert max(size for _, size in packs(store).items()) < 4 * PAGED


def test_no_version_needs_more_packs_of_others_than_a_reader_bears(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = changing(8, 8)
    saved(store, models)
    for number in range(1, 9):
        Registry(store).get(f"m:{number}").promote("production")
    registry = Registry(store)
    registry.model("m")._line.append("releases", lambda _: [releases.Unalias("production")])
    registry.get("m:4").promote("production")
    monkeypatch.setattr("modelkeep._places.MAX_SHARED", 2)
    found = compact(line_of(store))
    assert found.left == ()
    line = line_of(store)
    line.read()
    for number in found.moved:
        known = line.versions.state.lines[number]
        own = known.at.pack.partition("-")[0]
        assert sum(not pack.startswith(own) for pack in known.packs) <= 2
    monkeypatch.undo()
    check(store, models)
    assert sound(store)


# -- dead things ----------------------------------------------------------------------------------------------------


def purge(store: Store, *numbers: int) -> set[str]:
    """Purge versions; gives the packs that they need."""
    line = line_of(store)
    line.read()
    line.append("releases", lambda _: [op for n in numbers for op in (releases.Delete(n), releases.Purge(n))])
    return {pack for number in numbers for pack in line.versions.state.lines[number].packs}


def check_living(store: Store, models: list[Model], *gone: int) -> None:
    registry = Registry(store)
    for number, model in enumerate(models, 1):
        if number not in gone:
            assert equal(registry.load(f"m:{number}"), model), number


def test_what_was_turned_by_a_version_that_is_gone_is_packed_anew(store: Store) -> None:
    models = noisy(10)
    saved(store, models)
    compact(line_of(store))
    purge(store, 5)
    compact(line_of(store))
    check_living(store, models, 5)
    living = {piece.digest for n in range(1, 11) if n != 5 for _, ps in stored(store, n).files for piece in ps}
    for number in (1, 2, 3, 4, 6, 7, 8, 9, 10):
        for _, pieces in stored(store, number).files:
            assert {one.digest for piece in pieces for one in piece.chain()} <= living
    assert sound(store)
    recording = Recording(store)
    assert compact(line_of(recording)).moved == ()


def test_packs_are_emptied_so_that_no_version_needs_them(store: Store) -> None:
    models = noisy(10)
    saved(store, models)
    Registry(store).get("m:7").promote("production")
    compact(line_of(store))
    doomed = purge(store, 4)
    assert len(doomed) > 0
    assert empty(line_of(store), doomed) == ()
    line = line_of(store)
    line.read()
    assert doomed <= line.versions.state.condemned
    assert not {pack_key("m", pack) for pack in doomed} & packs(store).keys()
    for number, known in line.versions.state.lines.items():
        assert number == 4 or doomed.isdisjoint(known.packs)
    check_living(store, models, 4)
    assert sound(store)


def test_packs_that_nobody_needs_are_emptied_by_an_entry_alone(store: Store) -> None:
    models = [{"w": tensor(1)}, {"another": tensor(2)}]
    saved(store, models)
    doomed = purge(store, 1)
    recording = Recording(store)
    empty(line_of(recording), doomed)
    assert recording.counts()["put_pack"] == 0
    assert not {pack_key("m", pack) for pack in doomed} & packs(store).keys()
    check_living(store, models, 1)
    assert sound(store)


def test_a_pack_of_which_little_is_alive_is_emptied(store: Store) -> None:
    first = {f"t{n}": np.frombuffer(np.random.default_rng(n).bytes(PAGED), np.uint8) for n in range(8)}
    second = {**{f"u{n}": np.frombuffer(np.random.default_rng(99 + n).bytes(PAGED), np.uint8) for n in range(8)}}
    second["t0"] = first["t0"]
    saved(store, [first, second])
    gone = purge(store, 1)
    found = compact(line_of(store))
    assert found.moved == (2,)
    assert not {pack_key("m", pack) for pack in gone} & packs(store).keys()
    check_living(store, [first, second], 1)
    assert Registry(store).storage.verify().findings == ()


# -- what goes wrong ------------------------------------------------------------------------------------------------


class _Failing(Wrapper):
    """Fails at one request, or takes it and gives no answer."""

    def __init__(self, within: Store, at: int) -> None:
        super().__init__(within)
        self.at = at
        self.count = 0

    def _step(self, key: str) -> None:
        self.count += 1
        if self.count == self.at:
            raise StoreError("it failed; try again", key=key)

    def create(self, key: str, value: bytes) -> None:
        self._step(key)
        self.within.create(key, value)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self._step(key)
        return self.within.get(key, span)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._step(key)
        self.within.put_pack(key, source)

    def list(self, prefix: str) -> Iterator[Any]:
        self._step(prefix)
        return self.within.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        self._step("")
        self.within.delete(keys)


def test_whatever_request_fails_all_versions_load_and_a_second_run_finishes(monkeypatch: pytest.MonkeyPatch) -> None:
    models = noisy(4, 1)
    monkeypatch.setattr("modelkeep._rewrite.GATHERED", 2 * PAGED)
    for at in range(1, 1000):
        store = MemoryStore()
        saved(store, models)
        Registry(store).get("m:4").promote("production")
        failing = _Failing(store, at)
        with suppress(StoreError, UnsettledError):
            compact(line_of(failing))
        check(store, models)
        assert Registry(store).storage.verify().ok, at
        compact(line_of(store))
        check(store, models)
        report = Registry(store).storage.verify()
        assert report.ok, at
        assert {finding.kind for finding in report.findings} <= {"leftover"}
        assert max(depths(store, 1)) == 3
        if failing.count < at:
            assert at > 30
            return
    raise AssertionError("it never ends")


def test_a_damaged_pack_leaves_its_version_and_the_others_are_compacted(store: Store) -> None:
    models = noisy(5)
    saved(store, models)
    key = pack_key("m", stored(store, 3).packs[-1])
    raw = bytearray(store.get(key))
    raw[PAGED + 5000] ^= 1
    store.delete([key])
    store.put_pack(key, [bytes(raw)])
    found = compact(line_of(store))
    assert [number for number, _ in found.left] == [3]
    assert key in found.left[0][1]
    assert found.moved == (1, 2, 4, 5)
    check_living(store, models, 3)
    assert key in packs(store)


@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_pack_that_is_gone_or_cut_short_leaves_its_version(store: Store, how: str) -> None:
    models = noisy(5)
    saved(store, models)
    key = pack_key("m", stored(store, 3).packs[-1])
    raw = store.get(key)
    store.delete([key])
    if how == "cut":
        store.put_pack(key, [raw[: len(raw) // 2]])
    found = compact(line_of(store))
    assert [number for number, _ in found.left] == [3]
    assert found.moved == (1, 2, 4, 5)
    check_living(store, models, 3)


class _Meanwhile(Wrapper):
    """Something else happens before the nth write."""

    def __init__(self, within: Store, at: int, act: Callable[[], object]) -> None:
        super().__init__(within)
        self.at = at
        self.count = 0
        self.act = act

    def _step(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.act()

    def create(self, key: str, value: bytes) -> None:
        self._step()
        self.within.create(key, value)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        def slow() -> Iterator[Buffer]:
            for part in source:
                self._step()
                yield part

        self.within.put_pack(key, slow())

    def delete(self, keys: Iterable[str]) -> None:
        self._step()
        self.within.delete(keys)


def collected(store: Store) -> None:
    """Purge a version, and condemn and delete what it alone needed, as a collector does."""
    purge(store, 2)
    line = line_of(store)
    line.read()
    state = line.versions.state
    kept = {pack for n, known in state.lines.items() if n != 2 for pack in known.packs}
    doomed = tuple(sorted(set(state.lines[2].packs) - kept))
    if doomed:
        line.append("versions", lambda _: [versions.Condemn(doomed, (2,))])
        store.delete([pack_key("m", pack) for pack in doomed])


ACTS: dict[str, Callable[[Store], object]] = {
    "another compactor": lambda store: compact(line_of(store)),
    "a save": lambda store: Registry(store).save(noisy(3, 1)[2], "m"),
    "a promote": lambda store: Registry(store).get("m:2").promote("production"),
    "a collector": collected,
}


@pytest.mark.parametrize("act", ACTS)
def test_whatever_happens_meanwhile_nothing_is_lost(act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep._rewrite.GATHERED", 2 * PAGED)
    models = noisy(4, 1)
    for at in range(1, 200):
        store = MemoryStore()
        saved(store, models)
        others = store
        meanwhile = _Meanwhile(store, at, lambda others=others: ACTS[act](others))  # type: ignore[misc]
        found = compact(line_of(meanwhile))
        gone = (2,) if act == "a collector" and meanwhile.count >= at else ()
        check_living(store, models, *gone)
        report = Registry(store).storage.verify()
        assert report.ok, (at, report.findings)
        assert {number for number, _ in found.left}.isdisjoint(found.moved)
        compact(line_of(store))
        check_living(store, models, *gone)
        assert Registry(store).storage.verify().ok
        if meanwhile.count < at:
            assert at > 10
            return
    raise AssertionError("it never ends")


def test_two_compactors_leave_nothing_behind() -> None:
    models = noisy(6, 1)
    store = MemoryStore()
    saved(store, models)
    meanwhile = _Meanwhile(store, 3, lambda: compact(line_of(store)))
    found = compact(line_of(meanwhile))
    assert found.moved == ()
    assert found.left == tuple((number, "it was moved meanwhile") for number in range(1, 7))
    check(store, models)
    assert sound(store)


def test_what_is_not_known_to_be_unwritten_is_not_deleted() -> None:
    class NoAnswer(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            self.within.create(key, value)
            if key == entry_key("models/m/versions/", 5):
                raise OutcomeUnknownError("no answer; look again", key=key)

    models = noisy(4, 1)
    store = MemoryStore()
    saved(store, models)
    line = line_of(NoAnswer(store))
    assert compact(line).moved == (1, 2, 3, 4)
    check(store, models)
    assert sound(store)


def test_what_an_entry_may_name_is_not_deleted_when_no_answer_comes() -> None:
    class Mute(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/versions/" not in key:
                return self.within.create(key, value)
            with suppress(ObjectExistsError):
                self.within.create(key, value)
            raise OutcomeUnknownError("no answer; look again", key=key, tries=5)

    models = noisy(4, 1)
    store = MemoryStore()
    saved(store, models)
    with pytest.raises(UnsettledError):
        compact(line_of(Mute(store)))
    line = line_of(store)
    line.read()
    assert len({known.at.pack for known in line.versions.state.lines.values()}) == 1
    check(store, models)
    assert Registry(store).storage.verify().ok


def test_an_alias_is_told_by_a_later_run_if_the_first_was_cut_off() -> None:
    class Denied(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/releases/" in key:
                raise AccessError("it is not allowed; ask for it", key=key)
            self.within.create(key, value)

    models = noisy(4, 1)
    store = MemoryStore()
    registry = saved(store, models)
    compact(line_of(store))
    registry.get("m:2").promote("production")
    assert 2 in compact(line_of(Denied(store))).moved
    check(store, models)
    assert compact(line_of(store)).moved == ()
    line = line_of(store)
    line.read()
    assert line.releases.state.stacks["production"][0].at == line.versions.state.lines[2].at


def test_nothing_is_packed_out_of_a_pack_that_stays(store: Store) -> None:
    first = {f"t{n}": tensor(n) for n in range(10)}
    second = {**first, "t0": tensor(99)}
    saved(store, [first, second])
    Registry(store).get("m:2").promote("production")
    before = packs(store)
    assert compact(line_of(store)).moved == ()  # nine tenths of the first pack belong to the second version, too
    assert packs(store) == before


def test_what_does_not_unpack_to_what_it_was_is_never_named(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    models = noisy(3, 2)
    saved(store, models)
    before = packs(store)

    def broken(*_: object, **__: object) -> bytes:
        return b"what nobody asked for"

    monkeypatch.setattr("modelkeep._repack.pack", broken)
    with pytest.raises(IntegrityError, match="does not unpack"):
        compact(line_of(store))
    assert packs(store) == before
    check(store, models)


# -- any history ----------------------------------------------------------------------------------------------------


@attrs.define
class _History:
    """Saves, promotes, purges and compactions, drawn by chance, each followed by a look at everything."""

    chance: random.Random
    store: MemoryStore = attrs.Factory(MemoryStore)
    models: dict[int, Model] = attrs.Factory(dict)
    gone: set[int] = attrs.Factory(set)

    def line(self) -> Line:
        line = line_of(self.store)
        line.read()
        return line

    def living(self) -> list[int]:
        return [number for number in self.models if number not in self.gone]

    def fresh(self) -> np.ndarray[Any, Any]:
        size = self.chance.choice([4500, 9000, 17_000])
        seed = self.chance.randrange(1 << 30)
        match self.chance.randrange(5):
            case 0:
                return np.frombuffer(np.random.default_rng(seed).bytes(size * 4), np.uint8)
            case 1:
                return np.zeros(size, np.float32)
        return tensor(seed, size)

    def changed(self, was: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seed = self.chance.randrange(1 << 30)
        match self.chance.randrange(5):
            case 0 | 1:
                return was
            case 2:
                return self.fresh()
        return was + tensor(seed, was.size) * np.float32(1e-4) if was.dtype == np.float32 else was

    def save(self) -> None:
        living = self.living()
        last = self.models[self.chance.choice([living[-1], self.chance.choice(living)])] if living else {}
        model = {name: self.changed(was) for name, was in last.items()}
        if len(model) < 2 or self.chance.random() < 0.2:
            model[f"t{self.chance.randrange(6)}"] = self.fresh()
        parent = f"m:{self.chance.choice(living)}" if living and self.chance.random() < 0.3 else None
        self.models[Registry(self.store).save(model, "m", parent=parent).number] = model

    def compact(self) -> None:
        kept: dict[str, Any] = {"rollbacks": self.chance.choice([None, 0, 1]), "newest": self.chance.choice([0, 0, 2])}
        found = compact(self.line(), **kept)
        assert found.left == ()
        assert found.after == sum(packs(self.store).values())
        line = self.line()
        for number in line.releases.state.stacked() if kept["rollbacks"] is None else ():
            assert depths(self.store, number) <= {-1}

    def promote(self) -> None:
        Registry(self.store).get(f"m:{self.chance.choice(self.living())}").promote(self.chance.choice("pq"))

    def unalias(self) -> None:
        line = self.line()
        if line.releases.state.stacks:
            alias = min(line.releases.state.stacks)
            line.append("releases", lambda _: [releases.Unalias(alias)])

    def purge(self) -> None:
        line = self.line()
        free = [number for number in self.living() if number not in line.releases.state.stacked()]
        if len(free) > 1:
            number = self.chance.choice(free)
            self.gone.add(number)
            assert empty(self.line(), purge(self.store, number)) == ()

    def empty(self) -> None:
        packs_of = {pack for n in self.living() for pack in self.line().versions.state.lines[n].packs}
        doomed = self.chance.choice(sorted(packs_of))
        assert empty(self.line(), [doomed]) == ()
        assert doomed in self.line().versions.state.condemned
        assert pack_key("m", doomed) not in packs(self.store)

    def check(self) -> None:
        check_living(self.store, [self.models[n] for n in sorted(self.models)], *self.gone)
        assert Registry(self.store).storage.verify().findings == ()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_history_every_version_stays_what_it_is(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    history = _History(random.Random(seed))
    chance = history.chance
    monkeypatch.setattr("modelkeep._rewrite.GATHERED", chance.choice([1, 100_000, 1 << 26]))
    monkeypatch.setattr("modelkeep._rewrite.MAX_PACK", chance.choice([100_000, 1 << 28]))
    monkeypatch.setattr("modelkeep._places.MAX_SHARED", chance.choice([1, 2, 4, 32]))
    history.save()
    for _ in range(chance.randint(4, 14)):
        act = chance.choice(["save", "save", "save", "compact", "compact", "promote", "unalias", "purge", "empty"])
        getattr(history, act)()
        history.check()
