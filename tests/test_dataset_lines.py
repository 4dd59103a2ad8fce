"""Lines of datasets beside those of models: the same machinery, on a shelf of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.datasetversion import Dataset
from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    IntegrityError,
    InvalidNameError,
    InvalidRefError,
    InvalidValueError,
    StaleError,
    StoreError,
    UnknownAliasError,
    UnknownDatasetError,
    UnknownModelError,
)
from modelkeep.layout import announced_line, catalog_key, data_prefix, journal_prefix, line_of, model_prefix
from modelkeep.settlement import read_token
from modelkeep.stores import open_store
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording, Wrapper

NOW = timedelta(0)
NOW_AND_LATER = "2999-01-01"
LINE = "datasets/sales"


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else open_store(str(tmp_path / "registry"))


@pytest.fixture
def registry(store: Store) -> mk.Registry:
    return mk.Registry(store)


def values(seed: int) -> dict[str, Any]:
    """More than half of it is shared."""
    shared = np.random.default_rng(0).standard_normal(30_000)
    return {"shared": shared, "own": np.random.default_rng(seed).standard_normal(20_000)}


def keep(registry: mk.Registry, *seeds: int, name: str = "sales") -> list[Dataset]:
    return [registry.save_dataset(values(seed), name, keep=True) for seed in seeds]


def loads(registry: mk.Registry, ref: str, seed: int) -> bool:
    loaded = registry.dataset(ref).load()
    return all(np.array_equal(loaded[name], value) for name, value in values(seed).items())


def contents(store: Store) -> dict[str, bytes]:
    return {item.key: store.get(item.key) for item in store.list("")}


def packs(store: Store, line: str = LINE) -> list[str]:
    return [item.key for item in store.list(data_prefix(line))]


# -- a shelf of its own ------------------------------------------------------------------------------------------


def test_a_model_and_a_dataset_of_one_name_know_nothing_of_each_other(registry: mk.Registry, store: Store) -> None:
    registry.save({"w": np.zeros(3)}, "sales")
    keep(registry, 1, 2)
    assert [model.name for model in registry.models()] == ["sales"]
    assert registry.datasets() == ["sales"]
    assert registry.dataset("sales").number == 2
    assert registry.get("sales").number == 1
    assert {key.split("/")[0] for key in contents(store)} == {
        *("modelkeep.json", "catalog", "catalog-datasets", "models", "datasets")
    }
    report = registry.storage.verify()
    assert (report.ok, report.models, report.datasets, report.whole) == (True, 1, 1, 3)


@pytest.mark.parametrize("name", ["models", "datasets", "catalog", "a.b", "Ünïcode", "x" * 190])
def test_names_of_shelves_are_names_like_any_other(registry: mk.Registry, name: str) -> None:
    registry.save({"w": np.zeros(3)}, name)
    keep(registry, 1, name=name)
    assert ([model.name for model in registry.models()], registry.datasets()) == ([name], [name])
    assert registry.storage.verify().ok
    for line in (name, f"datasets/{name}"):
        assert announced_line(catalog_key(line)) == line
        assert line_of(f"{journal_prefix(line, 'versions')}{1:020d}.json") == line


@pytest.mark.parametrize("name", ["", "a/b", "datasets/a", "a:1", "..", " a"])
def test_a_name_that_no_model_can_bear_is_refused_before_anything_is_written(store: Store, name: str) -> None:
    registry = mk.Registry(store)
    with pytest.raises(InvalidNameError, match=r"^dataset name"):
        registry.save_dataset(np.zeros(3), name)
    assert contents(store) == {}


def test_no_door_of_models_leads_to_a_dataset(registry: mk.Registry) -> None:
    keep(registry, 1)
    doors: list[Callable[[], object]] = [
        lambda: registry.load("datasets/sales"),
        lambda: registry.load("datasets/sales:1"),
        lambda: registry.get("datasets/sales:1"),
        lambda: registry.model("datasets/sales"),
        lambda: registry.save({"w": np.zeros(3)}, "datasets/sales"),
        lambda: registry.load("sales"),
    ]
    for door in doors:
        with pytest.raises((InvalidNameError, InvalidRefError, UnknownModelError)):
            door()


def test_a_model_cannot_be_passed_off_as_a_dataset_nor_the_other_way_round(registry: mk.Registry, store: Store) -> None:
    registry.save(values(1), "model")
    keep(registry, 1)
    for key, value in contents(store).items():
        for there, here in (("models/model/", "datasets/stolen/"), ("datasets/sales/", "models/stolen/")):
            if key.startswith(there):
                store.put_pack(here + key.removeprefix(there), [value])
    with pytest.raises(IntegrityError):
        registry.dataset("stolen")
    with pytest.raises(IntegrityError):
        registry.load("stolen")
    assert not registry.storage.verify("datasets/stolen").ok


def test_what_is_not_there_is_told_as_a_dataset(registry: mk.Registry) -> None:
    with pytest.raises(UnknownDatasetError, match="no dataset 'sales'"):
        registry.dataset("sales")
    keep(registry, 1)
    with pytest.raises(UnknownDatasetError, match=r"no dataset 'other'.*registry.datasets\(\)"):
        registry.dataset("other")
    with pytest.raises(UnknownAliasError, match=r"registry.dataset\('sales:N'\)"):
        registry.dataset("sales@golden")
    with pytest.raises(InvalidRefError):
        registry.dataset("sales:1/onnx")


def test_foreign_files_where_datasets_lie_are_left_alone(registry: mk.Registry, store: Store) -> None:
    registry.save({"w": np.zeros(3)}, "churn")
    theirs = ["datasets/2024/sales.csv", "datasets/readme.md", "datasets/2024/data/x.pack", "datasets/UPPER/versions/1"]
    for key in theirs:
        store.put_pack(key, [b"x"])
    assert registry.storage.verify().ok
    assert registry.storage.collect(grace=NOW).removals == ()
    assert registry.datasets() == []
    assert [model.name for model in registry.storage.usage().models] == ["churn"]
    assert set(theirs) <= contents(store).keys()


# -- the machinery -----------------------------------------------------------------------------------------------


def test_references_aliases_tags_and_the_rest_work_as_for_models(registry: mk.Registry) -> None:
    first, second = keep(registry, 1, 2)
    first.promote("golden", reason="checked").tag(source="crm").describe("of June")
    second.set_label("1.2.0").hold().unhold()
    found = mk.Registry(registry._store).dataset("sales@golden")
    assert (found, found.tags, found.description, found.aliases) == (first, {"source": "crm"}, "of June", ("golden",))
    assert registry.dataset("sales:^1.0") == registry.dataset(f"sales#{second.digest[:8]}") == second
    assert registry.dataset("datasets/sales:1") == first  # as verification names it
    assert [one.number for one in first.versions] == [2, 1]
    second.delete()
    with pytest.raises(DeletedError, match=r"registry.dataset\('sales:2', deleted=True\).restore\(\)"):
        registry.dataset("sales:2")
    assert registry.dataset("sales") == first
    assert registry.dataset("sales:2", deleted=True).restore() == second
    assert [row["kept"] for row in first.versions.to_dicts()] == [True, True]


def test_versions_share_what_they_have_alike(registry: mk.Registry, store: Store) -> None:
    keep(registry, 1)
    before = sum(item.size for item in store.list(data_prefix(LINE)))
    keep(registry, 2)
    assert sum(item.size for item in store.list(data_prefix(LINE))) - before < 0.5 * before


@pytest.mark.parametrize("at", [0, 100, 5_000, -100, -1])
def test_a_flipped_bit_in_a_pack_is_found_and_named(registry: mk.Registry, store: Store, at: int) -> None:
    keep(registry, 1, 2)
    registry.save({"w": np.zeros(3)}, "churn")
    key = packs(store)[-1]
    raw = bytearray(store.get(key))
    raw[at] ^= 1
    store.delete([key])
    store.put_pack(key, [bytes(raw)])
    report = mk.Registry(store).storage.verify()
    assert not report.ok
    assert {finding.key for finding in report.findings} == {key}
    assert {loss.ref.partition(":")[0] for loss in report.lost} <= {LINE}
    assert not any(loss.is_variant for loss in report.lost)


def test_every_entry_of_a_dataset_that_is_damaged_or_lost_is_named(registry: mk.Registry, store: Store) -> None:
    keep(registry, 1)[0].promote("golden")
    keep(registry, 2)
    for key, raw in contents(store).items():
        if key.startswith(model_prefix(LINE)) and key.endswith(".json"):
            store.delete([key])
            store.put_pack(key, [raw[:20] + b"!" + raw[21:]])
            assert key in {finding.key for finding in mk.Registry(store).storage.verify().findings}
            with pytest.raises(IntegrityError):
                mk.Registry(store).dataset("sales:1").versions.to_dicts()
            store.delete([key])
            store.put_pack(key, [raw])
    assert mk.Registry(store).storage.verify().ok


def test_a_lost_marker_is_told_and_put_back(registry: mk.Registry, store: Store) -> None:
    keep(registry, 1)
    store.delete([catalog_key(LINE)])
    assert registry.datasets() == []
    (finding,) = registry.storage.verify().findings
    assert (finding.key, finding.kind) == ("catalog-datasets/sales", "unlisted")
    assert registry.storage.verify(repair=True).ok
    assert registry.datasets() == ["sales"]


def test_a_marker_of_nothing_and_a_stray_one_are_told(registry: mk.Registry, store: Store) -> None:
    keep(registry, 1)
    store.create("catalog-datasets/ghost", b"")
    store.create("catalog-datasets/Not-Encoded", b"")
    kinds = {finding.key: finding.kind for finding in registry.storage.verify().findings}
    assert kinds == {"catalog-datasets/ghost": "leftover", "catalog-datasets/Not-Encoded": "stray"}


def test_rules_for_models_purge_no_dataset_and_rules_for_datasets_no_model(registry: mk.Registry) -> None:
    for seed in (1, 2, 3):
        keep(registry, seed)
        registry.save(values(seed), "sales")
    registry.policy.set('[retention]\nlast = 1\n[retention.models."*"]\nlast = 2')
    assert [(one.name, one.number) for one in registry.storage.collect(grace=NOW).purged] == [("sales", 1)]
    assert registry.policy.retention("datasets/sales") is None
    registry.policy.set('[retention.models."datasets/*"]\nlast = 1')
    held = registry.dataset("sales:2").hold()
    assert [(one.name, one.number) for one in registry.storage.collect(grace=NOW).purged] == [(LINE, 1)]
    assert loads(registry, held.ref, 2)
    with pytest.raises(DeletedError, match="purged"):
        registry.dataset("sales:1")
    assert registry.storage.verify().ok
    assert registry.get("sales:2").load()["own"].size


def test_compaction_keeps_what_datasets_hold(registry: mk.Registry, store: Store) -> None:
    noise = np.random.default_rng(0)
    base = noise.standard_normal(50_000).astype(np.float32)
    for seed in range(1, 5):
        registry.save_dataset({"x": base + seed * np.float32(1e-3)}, "sales", keep=True)
    before = sum(item.size for item in store.list(data_prefix(LINE)))
    done = registry.storage.compact()
    assert [model.name for model in done.models] == [LINE]
    assert sum(item.size for item in store.list(data_prefix(LINE))) < 0.8 * before
    fresh = mk.Registry(store)
    for seed in range(1, 5):
        assert np.array_equal(fresh.dataset(f"sales:{seed}").load()["x"], base + seed * np.float32(1e-3))
    assert fresh.storage.verify().ok


def test_an_erased_version_is_gone_and_others_stay(registry: mk.Registry, store: Store) -> None:
    keep(registry, 1, 2)
    registry.dataset("sales:1").erase("request 17")
    own = values(1)["own"].tobytes()
    assert not any(own[:4096] in raw for raw in contents(store).values())
    assert loads(mk.Registry(store), "sales:2", 2)


def test_a_dataset_is_pushed_and_pulled_with_its_history(registry: mk.Registry) -> None:
    first, _ = keep(registry, 1, 2)
    first.promote("golden")
    team, laptop = mk.Registry(MemoryStore("memory://team")), mk.Registry(MemoryStore("memory://laptop"))
    assert registry.push(LINE, to=team).versions == 2
    assert laptop.pull(LINE, source=team).versions == 2
    assert loads(laptop, "sales@golden", 1)
    assert (laptop.datasets(), laptop.models()) == (["sales"], [])
    assert laptop.dataset("sales:1") == first
    assert laptop.storage.verify().ok
    keep(laptop, 3)
    assert registry.pull(LINE, source=laptop).versions == 1
    keep(team, 4)
    with pytest.raises(ConflictError):
        team.pull(LINE, source=laptop)


def test_usage_counts_datasets_beside_models(registry: mk.Registry, store: Store) -> None:
    registry.save(values(1), "churn")
    keep(registry, 1, 2)
    usage = registry.storage.usage()
    assert [(model.name, len(model.versions)) for model in usage.models] == [("churn", 1), (LINE, 2)]
    assert usage.stored == sum(item.size for item in store.list("") if "/data/" in item.key)


def test_the_loss_of_an_entry_can_be_accepted(registry: mk.Registry, store: Store) -> None:
    keep(registry, 1, 2)
    key = f"{journal_prefix(LINE, 'versions')}{2:020d}.json"
    store.delete([key])
    store.put_pack(key, [b"lost"])
    with pytest.raises(IntegrityError):
        mk.Registry(store).dataset("sales:1")
    mk.Registry(store).storage.seal(key)
    assert loads(mk.Registry(store), "sales:1", 1)


# -- when things go wrong ----------------------------------------------------------------------------------------


class Dying(Wrapper):
    """A store that takes so many writes, and no more."""

    def __init__(self, within: Store, writes: int) -> None:
        super().__init__(within)
        self.left = writes

    def _write(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreError("the power is gone")

    def create(self, key: str, value: bytes) -> None:
        self._write()
        self.within.create(key, value)

    def put_pack(self, key: str, source: Any) -> None:
        self._write()
        self.within.put_pack(key, source)

    def delete(self, keys: Any) -> None:
        self._write()
        self.within.delete(keys)


@pytest.mark.parametrize("writes", range(6))
def test_a_save_that_dies_at_any_write_is_whole_or_absent_and_its_upload_is_collected(writes: int) -> None:
    store = MemoryStore()
    keep(mk.Registry(store), 1)
    dying = mk.Registry(Dying(store, writes))
    try:
        keep(dying, 2)
    except StoreError:
        acknowledged = False
    else:
        acknowledged = True
    fresh = mk.Registry(store)
    assert (fresh.dataset("sales").number == 2) is acknowledged is (writes > 2)
    left = {finding.key for finding in fresh.storage.verify().findings}
    assert bool(left) is (writes == 2), "only a save that died before its entry leaves an upload"
    assert {one.key for one in fresh.storage.collect(grace=NOW).removals} == left
    assert fresh.storage.verify().findings == ()
    assert loads(fresh, "sales:1", 1)
    assert keep(fresh, 3)[0].number == 2 + acknowledged


def test_a_token_of_a_dataset_tells_what_became_of_a_save(registry: mk.Registry) -> None:
    (first,) = keep(registry, 1)
    pack = packs(registry._store)[0]
    transaction = pack.rpartition("/")[2].partition("-")[0]
    token = f"{LINE}/versions/1/{transaction}"
    assert read_token(token).name == LINE
    found = registry.settle(token)
    assert (found.committed, found.ref) == (True, "datasets/sales:1")
    assert registry.dataset(str(found.ref)) == first
    assert registry.settle(f"{LINE}/notes/1/{'0' * 32}").committed is False
    with pytest.raises(InvalidValueError, match="no model 'sales'"):
        registry.settle(f"models/sales/versions/1/{transaction}")


VICTIM = """
import sys
import numpy as np
import modelkeep as mk
registry, n = mk.Registry(sys.argv[1], durable=False), int(sys.argv[2])
shared = np.random.default_rng(0).standard_normal(30_000)
print("ready", flush=True)
while True:
    n += 1
    version = registry.save_dataset({"shared": shared, "own": np.full(200_000, n)}, "sales", keep=True, notes=str(n))
    print(version.number, flush=True)
"""


def test_what_a_killed_writer_of_datasets_leaves_is_complete_and_takes_the_next_save(tmp_path: Path) -> None:
    acknowledged = 0
    for kill, delay in enumerate((0.03, 0.07, 0.11)):
        arguments = [sys.executable, "-c", VICTIM, str(tmp_path / "registry"), str(1000 * kill)]
        victim = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        first = victim.stdout.readline()
        time.sleep(delay)
        os.kill(victim.pid, signal.SIGKILL)
        said = [first, *victim.communicate()[0].splitlines()]
        acknowledged = max(acknowledged, *(int(line) for line in said if line.strip()))
        registry = mk.Registry(tmp_path / "registry")
        versions = registry.dataset("sales").versions
        assert [one.number for one in versions] == list(range(len(versions), 0, -1))
        assert len(versions) >= acknowledged
        assert all((one.load()["own"] == int(one.notes)).all() for one in versions[:3])
        registry.storage.collect(grace=NOW)
        assert [one for one in registry.storage.verify().findings if one.kind != "unlisted"] == []


# -- costs -------------------------------------------------------------------------------------------------------


def test_a_small_dataset_takes_two_writes_and_is_opened_by_two_reads_when_warm() -> None:
    store = Recording(MemoryStore())
    registry = mk.Registry(store)
    registry.save_dataset(np.zeros(3), "sales", keep=True)
    store.requests.clear()
    registry.save_dataset(np.ones(3), "sales", keep=True)
    assert registry.dataset("sales").number == 2
    writes = [verb for verb, _ in store.requests if verb in ("create", "put_pack")]
    assert writes == ["put_pack", "create"]
    store.requests.clear()
    assert registry.dataset("sales").kept
    assert [verb for verb, _ in store.requests] == ["get", "get"]


# -- the line as a whole -----------------------------------------------------------------------------------------


def test_a_closed_dataset_takes_no_saves_and_is_listed_again_once_it_is_open(
    registry: mk.Registry, store: Store
) -> None:
    [first] = keep(registry, 1)
    first.promote("golden")
    line = registry.dataset_line("sales")
    line.close()
    assert not line.is_open
    assert (registry.datasets(), mk.Registry(store).datasets()) == ([], [])
    for known in (registry, mk.Registry(store)):
        with pytest.raises(
            ClosedError, match=r"'sales' was closed; open it again with registry.dataset_line\('sales'\)"
        ):
            keep(known, 2)
    with pytest.raises(ClosedError, match="'sales' is closed already"):
        line.close()
    assert loads(mk.Registry(store), "sales@golden", 1)
    assert mk.Registry(store).storage.verify().ok
    line.open()
    assert registry.datasets() == ["sales"]
    assert [one.number for one in keep(registry, 2)] == [2]
    with pytest.raises(ConflictError, match="'sales' is open"):
        line.open()


def test_a_line_of_a_dataset_has_a_title_a_history_and_versions_that_are_datasets(registry: mk.Registry) -> None:
    first, second = keep(registry, 1, 2)
    line = registry.dataset_line("sales")
    assert (line.title, line.name, repr(line)) == ("sales", "sales", "RegisteredDataset sales")
    line.set_title("All sales")
    line.describe("what the tills report")
    first.promote("golden")
    second.promote("golden", reason="newer")
    assert list(line.versions()) == [second, first]
    assert list(line.versions(where=lambda one: one.number == 1)) == [first]
    assert (line.version(1), line.aliases) == (first, {"golden": second})
    assert line.rollback("golden", expect=second) == first
    assert line.at("golden", NOW_AND_LATER) == first
    line.unset("golden")
    told = [(event.action, event.version, event.text) for event in line.history()]
    assert told[:3] == [("open", None, None), ("create", 1, None), ("create", 2, None)]
    assert ("describe", None, "what the tills report") in told
    assert ("promote", 2, "newer") in told
    assert [action for action, *_ in told if action in ("rollback", "unalias")] == ["rollback", "unalias"]
    assert line.title == "All sales"


def test_a_promotion_that_expects_another_holder_is_refused_and_moves_nothing(registry: mk.Registry) -> None:
    first, second = keep(registry, 1, 2)
    first.promote("golden", expect=None)
    with pytest.raises(StaleError, match=r"golden stands on version 1, not on nothing"):
        second.promote("golden", expect=None)
    assert registry.dataset("sales@golden") == first
    second.promote("golden", expect=first)
    with pytest.raises(StaleError, match=r"golden stands on version 2, not on version 1"):
        first.promote("golden", expect=1)
    assert registry.dataset("sales@golden") == second


def test_a_line_is_not_that_of_the_model_of_this_name(registry: mk.Registry) -> None:
    keep(registry, 1)
    registry.save({"w": np.zeros(3)}, "sales")
    line, model = registry.dataset_line("sales"), registry.model("sales")
    assert line != model
    assert line == registry.dataset_line("sales")
    line.set_title("rows")
    assert model.title == "sales"
    line.close()
    assert model.is_open
    assert [one.name for one in registry.models()] == ["sales"]


@pytest.mark.parametrize("name", ["", "a/b", "datasets/sales", 3])
def test_a_line_of_a_name_that_no_dataset_can_bear_is_refused(registry: mk.Registry, name: Any) -> None:
    with pytest.raises(InvalidNameError):
        registry.dataset_line(name)


def test_a_line_that_is_not_there_is_told_as_a_dataset(registry: mk.Registry) -> None:
    with pytest.raises(UnknownDatasetError, match="there is no dataset 'sales'"):
        registry.dataset_line("sales").versions()
    registry.save({"w": np.zeros(3)}, "sales")
    with pytest.raises(UnknownDatasetError, match="dataset 'sales'"):
        registry.dataset_line("sales").versions()


def test_a_dataset_names_what_it_was_made_from(registry: mk.Registry, store: Store) -> None:
    first, second = keep(registry, 1, 2)
    clean = registry.save_dataset(np.arange(3), "clean", parent=["sales:1", second])
    joined = registry.save_dataset(np.arange(4), "joined", parent="clean")
    fresh = mk.Registry(store)
    assert [(one.name, one.number, one.identity) for one in fresh.dataset("clean").parents] == [
        (LINE, 1, first.digest),
        (LINE, 2, second.digest),
    ]
    assert [str(one) for one in joined.parents] == ["datasets/clean:1"]
    assert first.parents == ()
    assert clean.parents == fresh.dataset("clean").parents
    with pytest.raises(UnknownDatasetError):
        registry.save_dataset(np.arange(5), "clean", parent="nothing")
    for given in (3, [3], {"sales:1": 2, 3: 4}):
        with pytest.raises(InvalidValueError, match="parent is"):
            registry.save_dataset(np.arange(5), "clean", parent=given)  # type: ignore[arg-type]
    assert fresh.dataset("clean").number == 1
