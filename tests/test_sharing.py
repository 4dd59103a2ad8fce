"""Saves share bytes: what a version of the same model holds already is not written again, and nothing is lost by it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.errors import (
    IntegrityError,
    MissingObjectError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
    TakenError,
    UnsettledError,
)
from modelkeep.folds import releases, versions
from modelkeep.layout import pack_key
from modelkeep.registry import Registry
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording, Wrapper

SIZE = 18 * 1024  # bytes of a tensor: enough for a piece of its own
SLACK = 8 * 1024  # bytes for what is no tensor: the manifest, above all
DATA = "models/m/data/"

Tensors = dict[str, Any]


def tensor(seed: int) -> Any:
    return np.random.default_rng(seed).random(SIZE // 8)


def model(seeds: Iterable[int]) -> Tensors:
    return {f"t{place:02d}": tensor(seed) for place, seed in enumerate(seeds)}


def equal(one: Tensors, other: Tensors) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def packs(store: Store, name: str = "m") -> dict[str, int]:
    """The packs of a model, by what the store lists, and their sizes."""
    return {item.key: item.size for item in store.list(f"models/{name}/data/")}


def written(store: Store, before: dict[str, int], name: str = "m") -> int:
    """The bytes of the packs that came since."""
    return sum(size for key, size in packs(store, name).items() if key not in before)


def entry(store: Store, number: int, name: str = "m") -> dict[str, Any]:
    """The `create` of a journal entry, as it lies there."""
    raw = store.get(f"models/{name}/versions/{number:020d}.json")
    found: dict[str, Any] = orjson.loads(raw.splitlines()[0])["ops"][-1]
    assert found["op"] == "create"
    return found


def pack_of(version: mk.ModelVersion) -> str:
    """The key of the pack in which the manifest of a version lies."""
    return pack_key(version.name, version._known.at.pack)


def flip(store: Store, key: str, at: int) -> None:
    raw = bytearray(store.get(key))
    raw[at] ^= 1
    store.delete([key])
    store.put_pack(key, [bytes(raw)])


def needs(store: Store, number: int) -> set[str]:
    """The packs that a version needs, whatever became of it."""
    line = Registry(store).model("m")._line
    line.read()
    return set(line.versions.state.lines[number].packs)


def purge(registry: Registry, number: int, *, condemned: Iterable[str] = ()) -> None:
    """Delete and purge a version by hand, condemn packs that no other needs, and take their objects away."""
    version = registry.get(f"m:{number}")
    line = version._line
    version.delete()
    line.append("releases", lambda _: [releases.Purge(number)])
    doomed = tuple(condemned)
    if doomed:
        purged = tuple(sorted(line.releases.state.purged))
        line.append("versions", lambda _: [versions.Condemn(doomed, purged)])
        line.home.store.delete([pack_key("m", pack) for pack in doomed])


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "registry", durable=False)


# -- what is shared ------------------------------------------------------------------------------------------------


def test_a_second_save_writes_the_tensors_that_changed_and_no_others(store: Store) -> None:
    registry = Registry(store)
    first, second = model(range(20)), model([*range(19), 99])
    registry.save(first, "m")
    before = packs(store)
    registry.save(second, "m")
    assert SIZE <= written(store, before) < SIZE + SLACK
    for ref, saved in (("m:1", first), ("m:2", second)):
        assert equal(registry.load(ref), saved)
        assert equal(Registry(store).load(ref), saved)
    assert registry.storage.verify().findings == ()


def test_where_a_tensor_stands_in_a_model_does_not_matter(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(10)), "m")
    before = packs(store)
    turned = {"first of all": tensor(7), "nested": [tensor(2), {"deep": tensor(5)}], **model([9, 8, 1])}
    registry.save(turned, "m")
    assert written(store, before) < SLACK
    found = Registry(store).load("m")
    assert np.array_equal(found["first of all"], tensor(7))
    assert np.array_equal(found["nested"][1]["deep"], tensor(5))
    assert np.array_equal(found["t01"], tensor(8))


def test_an_equal_model_is_written_once(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    before = packs(store)
    registry.save(model(range(20)), "m")
    assert written(store, before) < SLACK
    assert equal(Registry(store).load("m:2"), model(range(20)))


def test_a_version_that_is_deleted_takes_nothing_from_the_next(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    second = registry.save(model([*range(19), 99]), "m")
    registry.get("m:1").delete()
    assert equal(Registry(store).load("m"), model([*range(19), 99]))
    assert equal(second.load(), model([*range(19), 99]))
    assert Registry(store).storage.verify().ok


@pytest.mark.parametrize("given", [True, False])
def test_parents_in_the_same_model_are_shared_with(store: Store, given: bool) -> None:
    Registry(store).save(model(range(20)), "m")
    Registry(store).save(model(range(100, 120)), "m")
    before = packs(store)
    Registry(store).save(model([*range(19), 99]), "m", parent="m:1" if given else None)
    news = written(store, before)
    assert (news < SIZE + SLACK) if given else (news > 20 * SIZE), "without a parent only the last version counts"
    assert equal(Registry(store).load("m"), model([*range(19), 99]))


def test_the_parent_is_the_version_that_was_loaded_and_trained_on(store: Store) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    Registry(store).save(torch.nn.Linear(300, 80), "m")
    Registry(store).save(torch.nn.Linear(300, 80), "m")
    registry = Registry(store)
    module = registry.load("m:1", trust=True)
    module.bias.data += 1
    before = packs(store)
    version = registry.save(module, "m")
    assert [parent.number for parent in version.parents] == [1]
    assert written(store, before) < SLACK


def test_versions_that_this_process_loaded_are_shared_with(store: Store) -> None:
    Registry(store).save(model(range(20)), "m")
    Registry(store).save(model(range(100, 120)), "m")
    registry = Registry(store)
    registry.load("m:1")
    before = packs(store)
    registry.save(model([*range(19), 99]), "m", parent=None)
    assert written(store, before) < SIZE + SLACK
    assert equal(Registry(store).load("m"), model([*range(19), 99]))


def test_two_who_save_in_turns_share_with_each_other(store: Store) -> None:
    ada, bob = Registry(store), Registry(store)
    for number, registry in enumerate([ada, bob, ada, bob, ada]):
        before = packs(store)
        registry.save(model([*range(19), 100 + number]), "m")
        assert written(store, before) < (SIZE + SLACK if number else 21 * SIZE)
    for number in range(5):
        assert equal(Registry(store).load(f"m:{number + 1}"), model([*range(19), 100 + number]))


def test_threads_that_save_one_model_at_once_share_and_lose_nothing(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(10)), "m")
    faults: list[BaseException] = []
    saved: dict[int, Tensors] = {}

    def save(own: int) -> None:
        try:
            for turn in range(3):
                mine = model([*range(9), 100 * own + turn])
                saved[registry.save(mine, "m").number] = mine
        except BaseException as error:  # noqa: BLE001  told below
            faults.append(error)

    threads = [threading.Thread(target=save, args=(own,)) for own in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(saved) == list(range(2, 11))
    assert all(equal(Registry(store).load(f"m:{number}"), mine) for number, mine in saved.items())
    assert sum(packs(store).values()) < (10 + 9) * SIZE + 10 * SLACK
    assert Registry(store).storage.verify().findings == ()


def test_nothing_is_shared_between_models(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    registry.save(model(range(20)), "other", parent="m:1")
    assert sum(packs(store, "other").values()) > 20 * SIZE
    named = {pack_key("other", pack) for pack in entry(store, 1, "other")["packs"]}
    assert named == set(packs(store, "other"))
    purge(registry, 1, condemned=entry(store, 1)["packs"])
    assert equal(Registry(store).load("other"), model(range(20)))


def test_bytes_in_front_of_a_file_do_not_make_it_another(tmp_path: Path) -> None:
    """The text of a table, to which lines were added at the top each day."""
    rng = np.random.default_rng(0)
    lines = [",".join(f"{number:.6f}" for number in row) + "\n" for row in rng.random((36_000, 4))]
    text = "".join(lines).encode()[: 300 * 1024 * 4]
    for day in range(10):
        text = f"day {day}, {rng.random()}\n".encode() * (day % 3 + 1) + text
        file = tmp_path / f"day{day}.csv"
        file.write_bytes(text)
        os.utime(file, (day, day))
    store, alone = MemoryStore(), MemoryStore()
    Registry(alone).save(tmp_path / "day9.csv", "m")
    adopted = Registry(store).adopt(tmp_path / "*.csv", "m")
    assert [version.number for version in adopted] == list(range(1, 11))
    one, ten = sum(packs(alone).values()), sum(packs(store).values())
    assert ten < 2 * one, "ten files of a mebibyte, of which all but the beginning is the same"
    for day, version in enumerate(adopted):
        folder = tmp_path / f"out{day}"
        Registry(store).load(version.ref, into=folder)
        assert (folder / f"day{day}.csv").read_bytes() == (tmp_path / f"day{day}.csv").read_bytes()


def test_a_small_file_with_bytes_in_front_shares_what_lies_behind_the_first_cuts(tmp_path: Path) -> None:
    text = np.random.default_rng(1).integers(97, 123, 300 * 1024, np.uint8).tobytes()
    for number in range(10):
        file = tmp_path / f"f{number}.txt"
        file.write_bytes(b"x" * number + text)
        os.utime(file, (number, number))
    store, alone = MemoryStore(), MemoryStore()
    Registry(alone).save(tmp_path / "f0.txt", "m")
    Registry(store).adopt(tmp_path / "*.txt", "m")
    one, ten = sum(packs(alone).values()), sum(packs(store).values())
    assert ten < 5 * one, "half of what ten files take that share nothing"


# -- what a version says about it ----------------------------------------------------------------------------------


def test_files_tell_what_they_take_and_what_of_it_was_there(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    registry.save(model([*range(19), 99]), "m")
    registry.save(model(range(200, 220)), "m", parent=None)
    (first,), (second,), (third,) = (Registry(store).get(f"m:{number}").files for number in (1, 2, 3))
    assert (first.size, first.shared) == (second.size, 0)
    assert 20 * SIZE < first.stored < 20 * SIZE + SLACK
    assert 0 <= second.stored - second.shared - SIZE < SLACK
    assert 19 * SIZE <= second.shared < 19 * SIZE + SLACK
    assert third.shared < SLACK, "the header of the file at most"


def test_an_entry_names_every_pack_that_its_version_needs(store: Store) -> None:
    registry = Registry(store)
    for number in range(4):
        registry.save(model([*range(100 * number, 100 * number + 5), 1000]), "m")
    registry.save(model([0, 1, 100, 200, 300]), "m")  # of each of the four
    fresh = Registry(store)
    for number in range(1, 6):
        manifest = fresh.get(f"m:{number}")._opened[0].manifest
        assert set(manifest.packs) == set(entry(store, number)["packs"])
        assert {piece.pack for _, pieces in manifest.files for piece in pieces} <= set(range(len(manifest.packs)))
    assert len(entry(store, 5)["packs"]) == 5
    needed = {pack_key("m", pack) for pack in entry(store, 5)["packs"]}
    for key in set(packs(store)) - needed:
        store.delete([key])
    assert equal(Registry(store).load("m:5"), model([0, 1, 100, 200, 300]))
    for key in needed:
        raw = store.get(key)
        store.delete([key])
        with pytest.raises((IntegrityError, MissingObjectError)):  # each is needed
            Registry(store).load("m:5")
        store.put_pack(key, [raw])


def test_a_version_never_needs_more_than_32_packs_of_others() -> None:
    store = MemoryStore()
    seeds = list(range(60))
    wanted = []
    registry = Registry(store)
    for number in range(60):
        seeds[number] = 1000 + number
        registry.save(model(seeds), "m")
        wanted.append(list(seeds))
    shared = [len(entry(store, number)["packs"]) - 1 for number in range(1, 61)]
    assert max(shared) == 32, "the limit was met, and kept"
    assert sum(packs(store).values()) < 240 * SIZE, "of 3,600 tensors; what is shared most is shared first"
    reader = Registry(store)
    for number, saved in enumerate(wanted, 1):
        assert equal(reader.load(f"m:{number}"), model(saved))
    assert reader.storage.verify().findings == ()


# -- what it costs -------------------------------------------------------------------------------------------------


def test_a_process_that_has_seen_nothing_shares_with_the_last_version_for_two_gets_more() -> None:
    recording = Recording(MemoryStore())
    Registry(recording).save(model(range(20)), "m")
    Registry(recording).save({"w": np.arange(4)}, "small")
    recording.forget()
    Registry(recording).save({"w": np.arange(5)}, "small")
    small = recording.counts()
    before = packs(recording)
    recording.forget()
    Registry(recording).save(model([*range(19), 99]), "m")
    assert recording.counts() - small == {"get": 2}  # the manifest, and whether the pack is there
    assert small - recording.counts() == {}
    assert written(recording, before) < SIZE + SLACK


def test_a_save_that_goes_on_costs_two_writes_and_a_look_at_each_pack_that_it_may_share() -> None:
    recording = Recording(MemoryStore())
    registry = Registry(recording)
    for seed in range(4):
        recording.forget()
        registry.save(model([*range(19), 100 + seed]), "m")
    assert recording.counts() == {"put_pack": 1, "create": 1, "get": 3}


def test_a_small_model_costs_two_writes_and_looks_for_nothing() -> None:
    recording = Recording(MemoryStore())
    registry = Registry(recording)
    small = {"w": np.random.default_rng(0).random(7 * 1024)}  # 56 KiB
    registry.save(small, "m")
    recording.forget()
    registry.save(small, "m")
    assert recording.counts() == {"put_pack": 1, "create": 1}
    recording.forget()
    Registry(recording).save(small, "m")
    assert [key for verb, key in recording.requests if verb == "get" and key.startswith(DATA)] == []
    assert [verb for verb, _ in recording.requests if verb in ("put_pack", "create")][-2:] == ["put_pack", "create"]


# -- what can go wrong ---------------------------------------------------------------------------------------------


def test_a_save_whose_shared_pack_was_condemned_meanwhile_writes_it_anew(store: Store) -> None:
    recording = Recording(store)
    registry = Registry(recording)
    registry.save(model(range(20)), "m")
    doomed = entry(store, 1)["packs"]
    kept = {key: store.get(key) for key in packs(store)}
    purge(Registry(store), 1, condemned=doomed)
    for key, raw in kept.items():
        store.put_pack(key, [raw])  # a delete may come at any time later
    recording.forget()
    version = registry.save(model([*range(19), 99]), "m")
    puts = [key for verb, key in recording.requests if verb == "put_pack"]
    assert len(puts) == 2, "it had not heard of it, and began with what it knew"
    assert puts[0] != puts[1]
    assert set(packs(store)) - set(kept) == {puts[1]}, "the first try left nothing behind"
    assert needs(store, version.number) == {puts[1].removeprefix(DATA).removesuffix(".pack")}
    store.delete(list(kept))
    assert written(store, {}) > 20 * SIZE
    assert equal(Registry(store).load("m"), model([*range(19), 99]))
    assert Registry(store).storage.verify().findings == ()


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_a_save_is_never_acknowledged_on_top_of_a_pack_that_is_not_there(store: Store, harm: str) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    (key,) = packs(store)
    raw = store.get(key)
    store.delete([key])
    if harm == "cut short":
        store.put_pack(key, [raw[: len(raw) // 2]])
    for saver in (registry, Registry(store)):
        version = saver.save(model(range(20)), "m")
        assert needs(store, version.number).isdisjoint({key.removeprefix(DATA).removesuffix(".pack")})
        assert equal(version.load(), model(range(20)))


def test_a_save_keeps_sharing_what_was_not_condemned(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(10)), "m")
    registry.save(model([*range(9), 99]), "m")
    registry.save(model(range(200, 210)), "m")  # shares nothing
    other = Registry(store)
    purge(other, 3, condemned=needs(store, 3) - needs(store, 1) - needs(store, 2))
    before = packs(store)
    registry.save(model([*range(9), 200]), "m", parent="m:2")
    assert SIZE <= written(store, before) < SIZE + SLACK
    assert equal(Registry(store).load("m"), model([*range(9), 200]))
    assert Registry(store).storage.verify().ok


def test_what_is_condemned_is_not_shared_by_those_who_come_after(store: Store) -> None:
    Registry(store).save(model(range(20)), "m")
    purge(Registry(store), 1, condemned=entry(store, 1)["packs"])
    recording = Recording(store)
    Registry(recording).save(model(range(20)), "m")
    assert recording.counts()["put_pack"] == 1, "it knew at once"
    assert equal(Registry(store).load("m"), model(range(20)))


class Refusing(Wrapper):
    """Refuses the entry of a save, after its packs."""

    refuse = False

    def create(self, key: str, value: bytes) -> None:
        if self.refuse and "/versions/" in key:
            raise StoreError(f"{key}: no", key=key)
        super().create(key, value)


class Full(Wrapper):
    """A disk that takes a pack of so many bytes and no more."""

    room = 1 << 40

    def put_pack(self, key: str, source: Any) -> None:
        def counted() -> Any:
            left = self.room
            for part in source:
                left -= memoryview(part).nbytes
                if left < 0:
                    raise StoreError(f"{key}: No space left on device", key=key)
                yield part

        super().put_pack(key, counted())


def test_a_failed_save_takes_its_own_packs_away_and_those_of_no_other(store: Store) -> None:
    def refused(registry: Registry, within: Any) -> None:
        within.refuse = True
        with pytest.raises(StoreError, match="no"):
            registry.save(model([*range(19), 99]), "m")
        within.refuse = False

    def taken(registry: Registry, _: Any) -> None:
        Registry(store).get("m:1").set_label("1.0.0")
        with pytest.raises(TakenError):
            registry.save(model([*range(19), 99]), "m", label="1.0.0")

    def full(registry: Registry, within: Any) -> None:
        within.room = SIZE // 2
        with pytest.raises(StoreError, match="No space left"):
            registry.save(model([*range(18), 98, 99]), "m")
        within.room = 1 << 40

    class Both(Refusing, Full):
        pass

    within = Both(store)
    registry = Registry(within)
    registry.save(model(range(20)), "m")
    registry.save(model([*range(19), 50]), "m")
    before = packs(store)
    for fail in (refused, full, taken):
        fail(registry, within)
        assert packs(store) == before, fail
        assert equal(Registry(store).load("m:1"), model(range(20)))
        assert equal(Registry(store).load("m:2"), model([*range(19), 50]))
        assert Registry(store).storage.verify().findings == ()
    registry.save(model([*range(19), 99]), "m")
    assert written(store, before) < SIZE + SLACK
    assert equal(Registry(store).load("m:3"), model([*range(19), 99]))


class Silent(Wrapper):
    """Carries out an entry, or not, and gives no answer."""

    carry_out: bool | None = None

    def create(self, key: str, value: bytes) -> None:
        if self.carry_out is None or "/versions/" not in key:
            super().create(key, value)
            return
        if self.carry_out:
            with suppress(ObjectExistsError):
                super().create(key, value)
        raise OutcomeUnknownError(f"{key}: no answer", key=key)


@pytest.mark.parametrize("carry_out", [True, False])
def test_a_save_without_an_answer_leaves_its_packs_and_those_that_it_shares(carry_out: bool) -> None:
    store = MemoryStore()
    silent = Silent(store)
    registry = Registry(silent)
    registry.save(model(range(20)), "m")
    silent.carry_out = carry_out
    with pytest.raises(UnsettledError) as caught:
        registry.save(model([*range(19), 99]), "m")
    settled = Registry(store).settle(caught.value.token)
    assert settled.committed is carry_out
    fresh = Registry(store)
    assert equal(fresh.load("m:1"), model(range(20)))
    if carry_out:
        assert equal(fresh.load("m:2"), model([*range(19), 99]))
    assert fresh.storage.verify().ok
    silent.carry_out = None
    registry.save(model([*range(19), 98]), "m")
    assert equal(Registry(store).load("m"), model([*range(19), 98]))


@pytest.mark.parametrize("how", ["damaged", "missing", "unreadable", "another"])
def test_a_last_version_that_cannot_be_read_stops_no_save(how: str) -> None:
    store = MemoryStore()
    first = Registry(store).save(model(range(20)), "m")
    key, place = pack_of(first), first._known.at
    within: Store = store
    if how == "damaged":
        flip(store, key, place.offset + 40)
    elif how == "missing":
        store.delete([key])
    elif how == "another":  # sound by itself, and it tells of bytes that lie elsewhere
        manifest = first._opened[0].manifest
        ((path, pieces),) = manifest.files
        one, two, *rest = pieces[::-1]
        swapped = attrs.evolve(one, offset=two.offset), attrs.evolve(two, offset=one.offset)
        forged = attrs.evolve(manifest, files=((path, (*rest[::-1], *swapped)),)).encode()
        assert len(forged) == place.length
        store.put_pack(key, [store.get(key)[: place.offset], forged])
    else:

        class Unreadable(Wrapper):
            def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
                if key.startswith(DATA):
                    raise StoreError(f"{key}: the disk is ill", key=key)
                return super().get(key, span)

        within = Unreadable(store)
    second = Registry(within).save(model([*range(19), 99]), "m")
    assert second.number == 2
    assert pack_key("m", second._known.packs[0]) != key
    assert len(second._known.packs) == 1, "nothing is shared with what cannot be checked"
    assert equal(Registry(store).load("m:2"), model([*range(19), 99]))


def test_one_flipped_bit_in_a_shared_piece_is_an_error_for_every_version_that_has_it(store: Store) -> None:
    registry = Registry(store)
    for seed in (97, 98, 99):
        registry.save(model([*range(19), seed]), "m")
    registry.save(model(range(300, 320)), "m", parent=None)
    first = registry.get("m:1")
    manifest = first._opened[0].manifest
    digests = [{p.digest: p for _, ps in registry.get(f"m:{n}")._opened[0].manifest.files for p in ps} for n in (1, 2)]
    shared = next(p for d, p in digests[0].items() if d in digests[1] and p.length >= SIZE)
    own = next(p for d, p in digests[0].items() if d not in digests[1] and p.length >= SIZE)
    key = pack_key("m", manifest.packs[shared.pack])
    flip(store, key, shared.offset + 1000)
    for number in (1, 2, 3):
        for ask in (Registry(store).get(f"m:{number}").load, Registry(store).get(f"m:{number}").verify):
            with pytest.raises(IntegrityError) as caught:
                ask()
            assert caught.value.key == key
    assert equal(Registry(store).load("m:4"), model(range(300, 320)))
    report = Registry(store).storage.verify()
    assert {finding.key for finding in report.findings} == {key}
    flip(store, key, shared.offset + 1000)
    flip(store, key, own.offset)
    with pytest.raises(IntegrityError):
        Registry(store).load("m:1")
    assert equal(Registry(store).load("m:2"), model([*range(19), 98]))


# -- purges, verification, other registries ------------------------------------------------------------------------


def test_a_registry_with_shared_packs_verifies(store: Store) -> None:
    registry = Registry(store)
    for seed in range(5):
        registry.save(model([*range(seed, 19), *range(100, 101 + seed)]), "m")
    report = Registry(store).storage.verify()
    assert report.findings == ()
    assert report.versions == 5
    assert report.bytes == sum(packs(store).values()), "each pack is read once"


def test_after_a_purge_the_versions_that_share_with_it_load_and_verify(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    registry.save(model([*range(19), 99]), "m")
    purge(registry, 1)  # its pack must stay: the next version needs it
    assert equal(Registry(store).load("m"), model([*range(19), 99]))
    assert Registry(store).get("m:2").verify() > 20 * SIZE
    report = Registry(store).storage.verify()
    assert [str(finding) for finding in report.findings] == []


def test_a_pack_that_a_living_version_shares_cannot_be_condemned(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    registry.save(model([*range(19), 99]), "m")
    doomed = tuple(entry(store, 1)["packs"])
    line = registry.get("m:1")._line
    registry.get("m:1").delete()
    line.append("releases", lambda _: [releases.Purge(1)])
    with pytest.raises(mk.errors.ModelkeepError, match="version 2 needs pack"):
        line.append("versions", lambda _: [versions.Condemn(doomed, (1,))])
    assert equal(Registry(store).load("m"), model([*range(19), 99]))


@pytest.mark.parametrize("way", ["push", "pull"])
def test_a_model_with_shared_packs_is_copied_whole(store: Store, way: str, tmp_path: Path) -> None:
    registry = Registry(store)
    other = Registry(LocalStore(tmp_path / "other", durable=False))

    def copy() -> mk.Transfer:
        return registry.push("m", to=other) if way == "push" else other.pull("m", source=registry)

    seeds = [[*range(seed, 10), *range(100, 100 + seed)] for seed in range(6)]
    for one in seeds[:3]:
        registry.save(model(one), "m")
    copy()
    for one in seeds[3:]:
        registry.save(model(one), "m")
    moved = copy()
    assert moved.versions == 3
    assert moved.packs == 3, "what was there was not copied again"
    assert moved.bytes < 3 * (SIZE + SLACK) + 3 * SLACK
    for number, one in enumerate(seeds, 1):
        assert equal(Registry(other._store).load(f"m:{number}"), model(one))
    assert Registry(other._store).storage.verify().findings == ()
    before = packs(other._store)
    Registry(other._store).save(model([*seeds[-1][:-1], 999]), "m")
    assert written(other._store, before) < SIZE + SLACK, "and goes on there"


def test_a_model_of_which_a_shared_with_version_was_purged_is_copied(store: Store) -> None:
    registry = Registry(store)
    registry.save(model(range(20)), "m")
    registry.save(model([*range(19), 99]), "m")
    purge(registry, 1)
    other = MemoryStore("memory://other")
    registry.push("m", to=other)
    assert equal(Registry(other).load("m"), model([*range(19), 99]))


# -- any history ---------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 11), min_size=1, max_size=6),  # which tensors
            st.booleans(),  # by a process that has seen nothing
            st.one_of(st.none(), st.integers(0, 30)),  # which parent
            st.booleans(),  # delete and purge the version before
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_saved_by_whom_comes_back(steps: list[tuple[list[int], bool, int | None, bool]]) -> None:
    store = MemoryStore()
    registry = Registry(store)
    alive: dict[int, list[int]] = {}
    for seeds, fresh, parent, removes in steps:
        by = Registry(store) if fresh else registry
        given_parent = f"m:{sorted(alive)[parent % len(alive)]}" if parent is not None and alive else None
        number = by.save(model(seeds), "m", parent=given_parent).number
        if removes and alive:
            doomed = max(alive)
            living = set[str]().union(*(needs(store, n) for n in [*alive, number] if n != doomed))
            purge(Registry(store), doomed, condemned=needs(store, doomed) - living)
            del alive[doomed]
        alive[number] = seeds
    for number, seeds in alive.items():
        version = Registry(store).get(f"m:{number}")
        assert equal(version.load(), model(seeds))
        manifest = version._opened[0].manifest
        assert set(manifest.packs) <= needs(store, number)
        assert version._known.at.pack in manifest.packs
