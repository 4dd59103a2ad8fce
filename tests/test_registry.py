"""`Registry`: saving, finding, adopting, settling; from several threads, after a fork, and at what cost."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import threading
import uuid
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.entry import parse
from modelkeep.errors import (
    ClosedError,
    InvalidNameError,
    InvalidRefError,
    InvalidValueError,
    NotFoundError,
    OutcomeUnknownError,
    StoreError,
    TakenError,
    UnknownModelError,
    UnsettledError,
)
from modelkeep.ref import ModelRef
from modelkeep.registry import Registry
from modelkeep.settlement import Settlement
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording, Wrapper
from modelkeep.system import System
from modelkeep.version import Parent
from servers.sites import Site


def weights(seed: int = 0) -> dict[str, Any]:
    return {"w": np.arange(4, dtype=np.float64) + seed}


def same(loaded: Any, saved: dict[str, Any]) -> bool:
    return loaded.keys() == saved.keys() and all(np.array_equal(loaded[key], saved[key]) for key in saved)


def keys(registry: Registry) -> set[str]:
    return {item.key for item in registry._store.list("")}


@pytest.fixture(params=["memory", "moto", "seaweedfs", "gcs"])
def place(request: pytest.FixtureRequest) -> Store:
    """An empty store: in memory, and on real servers."""
    if request.param == "memory":
        return MemoryStore()
    site: Site = request.getfixturevalue(f"{request.param}_site")
    return site.store(f"registries/{uuid.uuid4().hex}")


@pytest.fixture
def registry(place: Store) -> Registry:
    return Registry(place)


# -- opening -------------------------------------------------------------------------------------------------------


def test_opening_and_asking_writes_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    assert registry.models() == []
    with pytest.raises(UnknownModelError, match="holds no registry yet"):
        registry.load("churn")
    assert not (tmp_path / "models").exists()


def test_opening_reads_nothing(place: Store) -> None:
    store = Recording(place)
    registry = Registry(store)
    registry.model("churn")
    assert store.requests == []


def test_a_registry_is_a_folder_a_url_or_a_store(tmp_path: Path) -> None:
    Registry(tmp_path / "r").save(weights(), "churn")
    for place in (tmp_path / "r", str(tmp_path / "r"), (tmp_path / "r").as_uri(), LocalStore(tmp_path / "r")):
        assert same(Registry(place).load("churn"), weights())
        assert Registry(place).url == (tmp_path / "r").as_uri()


def test_the_environment_says_where_the_registry_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_REGISTRY", str(tmp_path / "from-environment"))
    assert Registry().url == (tmp_path / "from-environment").as_uri()


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_word_the_registry_is_a_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELKEEP_REGISTRY", raising=False)
    if value is not None:
        monkeypatch.setenv("MODELKEEP_REGISTRY", value)
    Registry().save(weights(), "churn")
    assert (tmp_path / ".modelkeep" / "modelkeep.json").is_file()


def test_a_registry_is_known_by_where_it_lies(tmp_path: Path) -> None:
    assert repr(Registry(tmp_path)) == f"Registry({tmp_path.as_uri()!r})"


# -- saving and loading --------------------------------------------------------------------------------------------


def test_what_was_saved_is_loaded_bit_for_bit_by_this_registry_and_by_a_new_one(registry: Registry) -> None:
    model = {"w": np.array([0.1, -0.0, np.nan, np.inf]), "n": np.arange(6, dtype=np.int8).reshape(2, 3)}
    registry.save(model, "churn")
    for reader in (registry, Registry(registry._store)):
        loaded = reader.load("churn")
        assert {key: (a.dtype, a.shape, a.tobytes()) for key, a in loaded.items()} == {
            key: (a.dtype, a.shape, a.tobytes()) for key, a in model.items()
        }


def test_versions_are_numbered_one_two_three_for_each_model(registry: Registry) -> None:
    saved = [registry.save(weights(n), name).ref for n, name in enumerate(["a", "a", "b", "a", "b"])]
    assert saved == ["a:1", "a:2", "b:1", "a:3", "b:2"]


def test_each_way_to_name_a_version_finds_it(registry: Registry) -> None:
    one = registry.save(weights(1), "churn", label="1.2.0").promote("production")
    two = registry.save(weights(2), "churn", label="1.3.0")
    registry.save(weights(3), "churn", label="2.0.0-rc.1")
    named: dict[Any, mk.ModelVersion] = {
        "churn:1": one,
        "churn:1.2.0": one,
        "churn@production": one,
        f"churn#{one.digest}": one,
        f"churn#{one.digest[:12]}": one,
        f"churn#{two.content}": two,
        "churn:^1.2": two,
        ModelRef.parse("churn:2"): two,
        two: two,
    }
    for ref, version in named.items():
        assert registry.get(ref) == version
        assert same(registry.load(ref), weights(version.number))
    assert registry.get("churn").number == 3


def test_the_newest_of_equal_content_is_meant_by_its_digest(registry: Registry) -> None:
    first = registry.save(weights(), "churn")
    second = registry.save(weights(), "churn")
    assert first.content == second.content
    assert first.digest != second.digest
    assert registry.get(f"churn#{first.content[:20]}") == second
    second.delete()
    assert registry.get(f"churn#{first.content[:20]}") == first


def test_the_latest_is_the_highest_that_is_not_deleted(registry: Registry) -> None:
    versions = [registry.save(weights(n), "churn") for n in range(3)]
    versions[2].delete()
    assert registry.get("churn").number == 2
    versions[2].restore()
    assert registry.get("churn").number == 3


def test_names_that_differ_in_case_or_need_encoding_are_different_models(registry: Registry, tmp_path: Path) -> None:
    on_disk = Registry(tmp_path / "r", durable=False)
    names = ["churn", "Churn", "taux d'été", "模型", "a b", "x.y-z_1"]
    for place in (registry, on_disk):
        for seed, name in enumerate(names):
            assert place.save(weights(seed), name).ref == f"{name}:1"
        assert [model.name for model in place.models()] == sorted(names)
        assert all(same(place.load(name), weights(seed)) for seed, name in enumerate(names))


def test_models_are_listed_by_name_and_closed_ones_are_not(registry: Registry) -> None:
    for name in ("b", "a", "c"):
        registry.save(weights(), name)
    registry.model("b").close()
    assert [model.name for model in registry.models()] == ["a", "c"]
    registry.model("b").open()
    assert registry.models() == [registry.model(name) for name in "abc"]


def test_what_is_no_name_in_the_catalogue_is_not_listed(registry: Registry) -> None:
    registry.save(weights(), "churn")
    registry._store.create("catalog/Not-Encoded", b"")
    assert [model.name for model in registry.models()] == ["churn"]


# -- what is recorded ----------------------------------------------------------------------------------------------


def test_everything_said_at_a_save_is_kept(registry: Registry) -> None:
    facts: dict[str, Any] = {
        "params": {"depth": 6, "layers": (64, 8), "when": date(2026, 3, 1), "deep": {"$float": [None, True, 2**80]}},
        "metrics": {"auc": 0.91, "n": 10, "ok": True},
        "tags": {"team": "growth"},
    }
    registry.save(weights(), "churn", notes="wider trees\nand more", **facts)
    version = Registry(registry._store).get("churn")
    assert (version.params, version.metrics, version.tags) == (facts["params"], facts["metrics"], facts["tags"])
    assert version.notes == "wider trees\nand more"
    assert (version.record.params, version.record.metrics) == (facts["params"], facts["metrics"])


def test_a_save_keeps_when_by_whom_and_where(place: Store) -> None:
    system = System(now=lambda: datetime.now(UTC), actor=lambda: "ada@acme", host=lambda: "oak")
    before = datetime.now(UTC)
    version = Registry(place, system=system).save(weights(), "churn")
    assert before <= version.created <= datetime.now(UTC)
    assert (version.author, version.record.host) == ("ada@acme", "oak")
    assert version.record.python == ".".join(map(str, sys.version_info[:3]))
    assert version.record.type == "builtins.dict"
    assert version.serializer == version.record.serializer
    assert version.record.packages["numpy"] == np.__version__


def test_nan_and_infinite_metrics_are_kept_exactly(registry: Registry) -> None:
    metrics = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": -0.0, "e": np.float32(0.5), "f": np.array(math.nan)}
    registry.save(weights(), "churn", metrics=metrics)
    read = Registry(registry._store).get("churn").metrics
    assert math.isnan(read["a"])
    assert math.isnan(read["f"])
    assert (read["b"], read["c"], read["e"]) == (math.inf, -math.inf, 0.5)
    assert math.copysign(1, read["d"]) == -1


@pytest.mark.parametrize("count", [10, 2_000])
def test_many_parameters_and_metrics_are_kept_as_few_are(registry: Registry, count: int) -> None:
    params = {f"parameter {n}": [n, str(n)] for n in range(count)}
    metrics = {f"metric {n}": n / 7 for n in range(count)}
    registry.save(weights(), "churn", params=params, metrics=metrics)
    version = Registry(registry._store).get("churn")
    assert (version.params, version.metrics) == (params, metrics)
    assert version.to_dict()["metrics.metric 7"] == 1.0


def test_entries_stay_small_however_much_is_recorded(registry: Registry) -> None:
    registry.save(weights(), "churn", params={"p": "x" * 1_000_000}, notes="n" * 1_000_000)
    sizes = {item.key: item.size for item in registry._store.list("models/churn/versions/")}
    assert len(sizes) == 1
    assert max(sizes.values()) < 2_000


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Point(1, 2), (1, 2)),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, {"a": [1]}), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (Path("data") / "train.csv", str(Path("data") / "train.csv")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parameters_of_kindred_types_are_kept_as_the_plain_ones(registry: Registry, given: Any, kept: Any) -> None:
    registry.save(weights(), "churn", params={"x": given})
    version = Registry(registry._store).get("churn")
    assert version.params == {"x": kept}
    assert version.record.params == {"x": kept}


def test_a_record_shows_the_same_whether_it_was_just_saved_or_read_again(registry: Registry) -> None:
    saved = registry.save(weights(), "churn", params={"a": (1, 2)}, tags={"t": "x"}, notes="n", label="1.0.0")
    read = Registry(registry._store).get("churn")
    for fact in ("ref", "label", "digest", "content", "created", "author", "size", "serializer", "params", "metrics"):
        assert getattr(saved, fact) == getattr(read, fact), fact
    assert (saved.record, saved.files, saved.tags) == (read.record, read.files, read.tags)


# -- parents -------------------------------------------------------------------------------------------------------


class Thing:
    """A model that takes a weak reference, as most frameworks' do."""

    def __init__(self, value: int) -> None:
        self.value = value


def parents_of(version: mk.ModelVersion) -> list[str]:
    return [str(parent) for parent in version.parents]


def test_a_parent_is_given_as_text_reference_version_or_fact(registry: Registry) -> None:
    base = registry.save(weights(), "base").promote("production")
    fact = Parent(base.name, base.number, base.digest)
    given: list[Any] = ["base:1", "base", "base@production", ModelRef.parse("base:1"), base, fact]
    for parent in given:
        assert registry.save(weights(), "churn", parent=parent).parents == (fact,)


def test_several_parents_keep_their_order(registry: Registry) -> None:
    for n in range(3):
        registry.save(weights(n), "base")
    version = registry.save(weights(9), "merged", parent=["base:3", registry.get("base:1")])
    assert parents_of(version) == ["base:3", "base:1"]
    assert parents_of(registry.save(weights(9), "merged", parent=iter(["base:2"]))) == ["base:2"]
    assert parents_of(registry.save(weights(9), "merged", parent=[])) == []


def test_a_parent_that_does_not_exist_is_refused_and_nothing_is_saved(registry: Registry) -> None:
    registry.save(weights(), "base")
    before = keys(registry)
    with pytest.raises(NotFoundError, match="base has no version 7"):
        registry.save(weights(), "churn", parent="base:7")
    assert keys(registry) == before


def test_the_parent_of_a_loaded_object_is_guessed(registry: Registry) -> None:
    registry.save(Thing(1), "churn", serializer="cloudpickle")
    loaded = registry.load("churn", trust=True)
    loaded.value = 2
    assert parents_of(registry.save(loaded, "churn", serializer="cloudpickle")) == ["churn:1"]
    assert parents_of(registry.save(loaded, "other", serializer="cloudpickle")) == ["churn:1"]
    again = registry.get("churn:2").load(trust=True)
    assert parents_of(registry.save(again, "churn", serializer="cloudpickle")) == ["churn:2"]


def test_no_parent_is_guessed_where_none_can_be_known(registry: Registry) -> None:
    registry.save(weights(), "churn")
    loaded = registry.load("churn")  # a dict takes no weak reference
    assert parents_of(registry.save(loaded, "churn")) == []
    assert parents_of(registry.save(Thing(1), "churn", serializer="cloudpickle")) == []


def test_none_says_that_there_is_no_parent(registry: Registry) -> None:
    registry.save(Thing(1), "churn", serializer="cloudpickle")
    loaded = registry.load("churn", trust=True)
    assert parents_of(registry.save(loaded, "churn", serializer="cloudpickle", parent=None)) == []


# -- labels at a save ----------------------------------------------------------------------------------------------


def test_bump_counts_from_the_highest_label_ever_used(registry: Registry) -> None:
    given: list[dict[str, Any]] = [
        {"bump": "patch"},
        {"bump": "minor"},
        {"label": "0.1.0"},
        {},
        {"bump": "patch"},
        {"bump": "major"},
        {"label": "3.0.0-rc.1"},
        {"bump": "minor"},
    ]
    labels = [registry.save(weights(), "churn", **options).label for options in given]
    assert labels == ["1.0.0", "1.1.0", "0.1.0", None, "1.1.1", "2.0.0", "3.0.0-rc.1", "3.0.0"]


def test_a_taken_label_refuses_the_save_and_leaves_nothing(registry: Registry) -> None:
    registry.save(weights(), "churn", label="1.0.0")
    before = keys(registry)
    with pytest.raises(TakenError, match=r"label 1\.0\.0 of 'churn' is taken by version 1") as caught:
        registry.save(weights(1), "churn", label="1.0.0")
    assert (caught.value.label, caught.value.number) == ("1.0.0", 1)
    assert keys(registry) == before


def test_a_label_stays_taken_when_its_version_is_deleted(registry: Registry) -> None:
    registry.save(weights(), "churn", label="1.0.0").delete()
    with pytest.raises(TakenError):
        registry.save(weights(), "churn", label="1.0.0")


@pytest.mark.parametrize(
    "options",
    [{"label": "1.0"}, {"label": "v1.0.0"}, {"label": ""}, {"bump": "micro"}, {"label": "1.0.0", "bump": "minor"}],
)
def test_labels_that_cannot_be_are_refused_before_anything_is_written(
    registry: Registry, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRefError):
        registry.save(weights(), "churn", **options)
    assert keys(registry) == set()


# -- reuse ---------------------------------------------------------------------------------------------------------


def test_reuse_gives_back_the_newest_equal_version(registry: Registry) -> None:
    facts: dict[str, Any] = {"params": {"depth": 6}, "metrics": {"auc": math.nan}}
    registry.save(weights(), "churn", **facts)
    second = registry.save(weights(), "churn", **facts)
    registry.save(weights(1), "churn", **facts)
    before = keys(registry)
    assert registry.save(weights(), "churn", reuse=True, **facts) == second
    assert keys(registry) == before


@pytest.mark.parametrize(
    "changed",
    [{"params": {"depth": 7}}, {"metrics": {"auc": 0.2}}, {"params": {}}, {"params": {"depth": "6"}}],
)
def test_reuse_saves_what_differs_in_a_parameter_or_metric(registry: Registry, changed: dict[str, Any]) -> None:
    facts: dict[str, Any] = {"params": {"depth": 6}, "metrics": {"auc": 0.9}}
    registry.save(weights(), "churn", **facts)
    assert registry.save(weights(), "churn", reuse=True, **{**facts, **changed}).number == 2


def test_reuse_passes_over_deleted_versions(registry: Registry) -> None:
    first = registry.save(weights(), "churn")
    registry.save(weights(), "churn").delete()
    assert registry.save(weights(), "churn", reuse=True) == first
    first.delete()
    assert registry.save(weights(), "churn", reuse=True).number == 3


def test_reuse_of_a_model_that_does_not_exist_is_a_save(registry: Registry) -> None:
    assert registry.save(weights(), "churn", reuse=True).number == 1


def test_reuse_knows_many_parameters_too(registry: Registry) -> None:
    params = {f"p{n}": n for n in range(5_000)}  # beyond the 16 KiB that an entry holds
    first = registry.save(weights(), "churn", params=params, reuse=True)
    other = registry.save(weights(), "churn", params={**params, "p0": 1}, reuse=True)
    assert (first.number, other.number) == (1, 2)
    assert registry.save(weights(), "churn", params=params, reuse=True) == first


# -- adopting ------------------------------------------------------------------------------------------------------


def put(path: Path, content: bytes, changed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (changed, changed))
    return path


def test_files_are_adopted_by_time_of_change_then_natural_name(registry: Registry, tmp_path: Path) -> None:
    put(tmp_path / "churn_v10.pkl", b"ten", 2_000)
    put(tmp_path / "churn_v9.pkl", b"nine", 2_000)
    put(tmp_path / "churn_v2.pkl", b"two", 3_000)
    put(tmp_path / "other.txt", b"no", 1)
    adopted = registry.adopt(tmp_path / "*.pkl", "churn")
    names = [version.files[0].path for version in registry.model("churn").versions()]
    assert names == ["churn_v2.pkl", "churn_v10.pkl", "churn_v9.pkl"]
    assert [version.number for version in adopted] == [1, 2, 3]


def test_adopting_again_adds_only_what_is_new(registry: Registry, tmp_path: Path) -> None:
    put(tmp_path / "a.bin", b"a", 2_000)
    put(tmp_path / "b.bin", b"b", 1_000)
    first = registry.adopt(str(tmp_path / "*.bin"), "churn")
    before = keys(registry)
    assert registry.adopt(str(tmp_path / "*.bin"), "churn") == first
    assert keys(registry) == before
    put(tmp_path / "c.bin", b"c", 1_500)
    again = registry.adopt(str(tmp_path / "*.bin"), "churn")
    assert [version.ref for version in again] == ["churn:1", "churn:3", "churn:2"]


def test_a_file_that_changed_is_adopted_as_a_new_version(registry: Registry, tmp_path: Path) -> None:
    put(tmp_path / "a.bin", b"before", 1_000)
    registry.adopt(tmp_path / "a.bin", "churn")
    put(tmp_path / "a.bin", b"after", 2_000)
    assert [version.number for version in registry.adopt(tmp_path / "a.bin", "churn")] == [2]


def test_an_adopted_file_remembers_its_name_and_time(registry: Registry, tmp_path: Path) -> None:
    put(tmp_path / "churn_v1.bin", b"1", 1_700_000_000)
    (version,) = registry.adopt(tmp_path / "*.bin", "churn")
    assert version.record.origin is not None
    assert (version.record.origin.path, version.record.origin.modified) == (
        "churn_v1.bin",
        "2023-11-14T22:13:20.000000Z",
    )


def test_folders_are_adopted_by_their_newest_file(registry: Registry, tmp_path: Path) -> None:
    put(tmp_path / "models" / "new" / "weights" / "w.bin", b"new", 3_000)
    put(tmp_path / "models" / "old" / "w.bin", b"old", 2_000)
    put(tmp_path / "models" / "new" / "readme", b"first", 1_000)
    adopted = registry.adopt(tmp_path / "models" / "*", "churn")
    assert [str(v.record.origin and v.record.origin.path) for v in adopted] == ["old", "new"]
    assert [len(version.files) for version in adopted] == [1, 2]


def test_adopting_nothing_is_an_error_that_tells_the_pattern(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file or folder matches '.*nothing-\*'"):
        registry.adopt(tmp_path / "nothing-*", "churn")
    assert keys(registry) == set()


def test_adopting_runs_nothing(registry: Registry, tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Boom()))
    registry.adopt(tmp_path / "*.pkl", "churn")
    registry.get("churn").export(tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "out" / "evil.pkl").read_bytes() == (tmp_path / "evil.pkl").read_bytes()


# -- settling ------------------------------------------------------------------------------------------------------


class Unanswered(Wrapper):
    """Gives no answer to creates of entries in one journal; carries them out, or not."""

    def __init__(self, within: Store, journal: str, *, arrives: bool) -> None:
        super().__init__(within)
        self.journal, self.arrives = journal, arrives

    def create(self, key: str, value: bytes) -> None:
        if f"/{self.journal}/0" in key:
            if self.arrives:
                super().create(key, value)
            raise OutcomeUnknownError("no answer", key=key)
        super().create(key, value)


def token_of(call: Any) -> str:
    with pytest.raises(UnsettledError, match=r"registry\.settle") as caught:
        call()
    return str(caught.value.token)


QUICK = System(sleep=lambda _: None)


def test_a_save_that_never_arrived_is_settled_as_never_to_be(place: Store) -> None:
    Registry(place).save(weights(), "churn")
    lossy = Registry(Unanswered(place, "versions", arrives=False), system=QUICK)
    token = token_of(lambda: lossy.save(weights(1), "churn"))
    registry = Registry(place)
    assert registry.settle(token) == Settlement(committed=False)
    assert registry.settle(token) == Settlement(committed=False)
    number = int(token.rsplit("/", 2)[1])
    key = f"models/churn/versions/{number:020d}.json"
    assert b'"cancel"' in place.get(key)
    assert [version.number for version in registry.model("churn").versions()] == [1]
    assert registry.save(weights(1), "churn").number == 2
    assert registry.storage.verify().ok


def test_a_save_that_was_never_opened_is_settled_too(place: Store) -> None:
    lossy = Registry(Unanswered(place, "versions", arrives=False), system=QUICK)
    token = token_of(lambda: lossy.save(weights(), "churn"))
    assert Registry(place).settle(token) == Settlement(committed=False)
    assert Registry(place).save(weights(), "churn").number == 1
    assert Registry(place).storage.verify().ok


def test_a_save_that_arrived_late_is_settled_as_standing_with_its_version(place: Store) -> None:
    late: list[tuple[str, bytes]] = []

    class Late(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/versions/0" in key:
                late.append((key, value))
                raise OutcomeUnknownError("no answer", key=key)
            super().create(key, value)

    token = token_of(lambda: Registry(Late(place), system=QUICK).save(weights(), "churn"))
    assert len(set(late)) == 1  # the very same bytes, as often as it was tried
    place.create(*late[0])
    assert Registry(place).settle(token) == Settlement(committed=True, ref="churn:1")
    assert same(Registry(place).load("churn:1"), weights())


def test_what_was_settled_as_never_to_be_cannot_arrive_any_more(place: Store) -> None:
    Registry(place).save(weights(), "churn")
    lossy = Registry(Unanswered(place, "releases", arrives=False), system=QUICK)
    token = token_of(lambda: lossy.get("churn:1").promote("production"))
    assert Registry(place).settle(token).committed is False
    assert Registry(place).model("churn").aliases == {}


def test_who_may_not_write_is_told_that_nobody_knows(place: Store) -> None:
    Registry(place).save(weights(), "churn")
    token = token_of(
        lambda: Registry(Unanswered(place, "versions", arrives=False), system=QUICK).save(weights(), "churn")
    )
    from modelkeep.stores.wrappers import ReadOnly

    assert Registry(ReadOnly(place)).settle(token) == Settlement(committed=None)


def test_a_lost_answer_is_made_good_without_a_word_when_the_write_arrived(place: Store) -> None:
    lossy = Registry(Unanswered(place, "versions", arrives=True), system=QUICK)
    assert lossy.save(weights(), "churn").number == 1
    assert [v.number for v in Registry(place).model("churn").versions()] == [1]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "churn:1",
        "models/churn/versions/1/xyz",
        f"models/churn/policy/1/{'0' * 32}",
        f"models/../versions/1/{'0' * 32}",
        f"models/churn/versions/99/{'0' * 32}",
    ],
)
def test_a_token_that_is_none_of_ours_is_refused(registry: Registry, token: str) -> None:
    registry.save(weights(), "churn")
    before = keys(registry)
    with pytest.raises((InvalidValueError, InvalidNameError)):
        registry.settle(token)
    assert keys(registry) == before


# -- costs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(place: Store) -> tuple[Recording, Registry]:
    store = Recording(place)
    registry = Registry(store)
    registry.save(weights(), "churn")
    registry.save(weights(1), "churn").promote("production")
    registry.load("churn@production")
    store.forget()
    return store, registry


def test_a_warm_save_is_a_pack_and_an_entry(counted: tuple[Recording, Registry]) -> None:
    store, registry = counted
    registry.save(weights(2), "churn", params={"depth": 6}, metrics={"auc": 0.9}, notes="n", bump="minor")
    assert [verb for verb, _ in store.requests] == ["put_pack", "create"]


def test_a_warm_promote_is_a_look_at_the_policy_and_an_entry_and_a_reason_one_more(
    counted: tuple[Recording, Registry],
) -> None:
    store, registry = counted
    version = registry.get("churn:1")
    store.forget()
    version.promote("production", expect=2)
    assert [(verb, key.split("/")[0]) for verb, key in store.requests] == [("get", "policy"), ("create", "models")]
    store.forget()
    version.promote("staging", reason="to try")
    assert [verb for verb, _ in store.requests] == ["get", "put_pack", "create"]


def test_a_warm_load_by_alias_is_a_look_and_the_data(counted: tuple[Recording, Registry]) -> None:
    store, registry = counted
    registry.load("churn@production")
    assert [(verb, key.split("/")[2]) for verb, key in store.requests] == [("get", "releases"), ("get", "data")]


def test_a_warm_look_at_a_version_is_two_gets(counted: tuple[Recording, Registry]) -> None:
    store, registry = counted
    for ref in ("churn", "churn:1", f"churn#{registry.get('churn:2').digest[:9]}"):
        store.forget()
        registry.get(ref)
        assert [(verb, key.split("/")[2]) for verb, key in store.requests] == [("get", "releases"), ("get", "versions")]


def test_facts_in_the_journal_cost_nothing(counted: tuple[Recording, Registry]) -> None:
    store, registry = counted
    version = registry.get("churn:1")
    store.forget()
    _ = (
        version.number,
        version.label,
        version.params,
        version.metrics,
        version.created,
        version.to_dict(),
        version.ref,
    )
    assert store.requests == []
    _ = (version.notes, version.parents, version.files, version.record)
    assert [verb for verb, _ in store.requests] == ["get"]


@pytest.mark.parametrize("what", ["tag", "measure", "set_label", "delete", "restore", "unset", "title"])
def test_other_warm_writes_are_one_write(counted: tuple[Recording, Registry], what: str) -> None:
    store, registry = counted
    version = registry.get("churn:1")
    if what == "restore":
        version.delete()
    model = registry.model("churn")
    calls: dict[str, Callable[[], object]] = {
        "tag": lambda: version.tag(a="b"),
        "measure": lambda: version.measure(auc=0.5),
        "set_label": lambda: version.set_label(bump="major"),
        "delete": version.delete,
        "restore": version.restore,
        "unset": lambda: model.unset("production"),
        "title": lambda: model.set_title("Churn"),
    }
    version.tag(warm="yes")
    store.forget()
    calls[what]()
    writes = [verb for verb, _ in store.requests if verb != "get"]
    assert writes == ["create"]


def test_a_warm_refusal_looks_again_before_it_is_said(counted: tuple[Recording, Registry]) -> None:
    store, registry = counted
    elsewhere = Registry(store.within)
    version = registry.get("churn:1")
    elsewhere.get("churn:1").promote("production")
    store.forget()
    version.promote("production", expect=1)  # as far as this registry had read, version 2 stood there
    assert store.counts()["create"] == 1
    looks = [request for request in store.requests if not request[1].startswith("policy/")]
    assert looks[0] == ("get", "models/churn/releases/00000000000000000002.json")
    assert registry.get("churn@production").number == 1


def test_a_save_after_a_close_elsewhere_is_refused_and_after_an_open_elsewhere_is_not(
    counted: tuple[Recording, Registry],
) -> None:
    store, registry = counted
    elsewhere = Registry(store.within)
    elsewhere.model("churn").close()
    with pytest.raises(ClosedError):
        registry.save(weights(3), "churn")
    elsewhere.model("churn").open()
    assert registry.save(weights(3), "churn").number == 3


def test_a_label_that_was_freed_by_nothing_is_seen_when_taken_elsewhere(counted: tuple[Recording, Registry]) -> None:
    store, registry = counted
    Registry(store.within).save(weights(5), "churn", label="1.0.0")
    before = {item.key for item in store.list("")}
    with pytest.raises(TakenError):
        registry.save(weights(6), "churn", label="1.0.0")
    assert {item.key for item in store.list("")} == before


# -- at once -------------------------------------------------------------------------------------------------------


@pytest.fixture
def hurried() -> Any:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_eight_threads_save_ten_versions_each_through_one_registry(place: Store, hurried: None) -> None:
    del hurried
    registry = Registry(place)

    def save(thread: int) -> list[tuple[int, int]]:
        return [(registry.save(weights(thread * 100 + n), "churn").number, thread * 100 + n) for n in range(10)]

    with ThreadPoolExecutor(8) as pool:
        saved = dict(pair for pairs in pool.map(save, range(8)) for pair in pairs)
    assert sorted(saved) == list(range(1, 81))
    reader = Registry(registry._store)
    assert all(same(reader.load(f"churn:{number}"), weights(seed)) for number, seed in saved.items())
    assert reader.storage.verify().ok


def test_threads_with_registries_of_their_own_save_as_well(tmp_path: Path) -> None:
    def save(_: int) -> list[int]:
        own = Registry(tmp_path / "r", durable=False)
        return [own.save(weights(), "churn").number for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for own in pool.map(save, range(4)) for number in own]
    assert sorted(numbers) == list(range(1, 41))


def test_threads_that_save_promote_and_look_leave_a_registry_that_verifies(place: Store, hurried: None) -> None:
    del hurried
    registry = Registry(place)
    first = registry.save(weights(), "churn")
    failures: list[BaseException] = []

    def guarded(act: Any, times: int) -> None:
        try:
            for n in range(times):
                act(n)
        except BaseException as error:  # noqa: BLE001  whatever it is, no user should meet it
            failures.append(error)

    def look(_: int) -> None:
        assert first.aliases is not None
        assert registry.model("churn").aliases is not None
        assert registry.get("churn").tags is not None

    work: list[tuple[Callable[[int], object], int]] = [
        (lambda n: registry.save(weights(n), "churn"), 60),
        (lambda n: first.promote(f"alias-{n}"), 150),
        (lambda n: first.tag(n=str(n)), 60),
        (look, 150),
    ]
    threads = [threading.Thread(target=guarded, args=part) for part in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [str(finding) for finding in Registry(place).storage.verify().findings] == []


def test_a_head_that_is_noted_is_never_half_of_one_entry_and_half_of_another(
    place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(place)
    registry.save(weights(), "churn")
    journal = registry.get("churn")._line.versions
    known = {journal.seen}
    noted: list[tuple[int, str]] = []

    def slowly(raw: bytes, number: int) -> Any:
        other = threading.Thread(target=lambda: noted.append(journal.seen), daemon=True)
        other.start()
        other.join(0.5)  # it may as well wait until the entry is taken
        return parse(raw, number)

    monkeypatch.setattr("modelkeep.fold.parse", slowly)
    registry.save(weights(1), "churn")
    monkeypatch.undo()
    known.add(journal.seen)
    assert set(noted) <= known


FORK = """
import os, sys
import numpy as np
import modelkeep as mk
registry = mk.Registry(sys.argv[1], durable=False)
version = registry.save({"w": np.zeros(2)}, "churn")
model = registry.model("churn")
child = os.fork()
for n in range(10):
    registry.save({"w": np.full(2, n)}, "churn")
    version.tag(**{("child" if child == 0 else "parent"): str(n)})
    model.versions()
if child == 0:
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
print(*sorted(v.number for v in registry.model("churn").versions()))
print(sorted(version.tags.items()))
print(registry.storage.verify().ok)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_parent_and_child_of_a_fork_keep_saving_through_the_registry_they_share(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "r")], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        " ".join(map(str, range(1, 22))),
        "[('child', '9'), ('parent', '9')]",
        "True",
    ]


def test_a_process_that_forks_while_a_thread_saves_leaves_a_child_that_can_save(tmp_path: Path) -> None:
    code = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads, which is the point here
import numpy as np
import modelkeep as mk
registry = mk.Registry(sys.argv[1], durable=False)
version = registry.save({"w": np.zeros(2)}, "churn")
stop = threading.Event()
def work():
    while not stop.is_set():
        registry.save({"w": np.zeros(2)}, "busy")
        version.tag(busy="yes")
thread = threading.Thread(target=work)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        registry.save({"w": np.ones(2)}, "churn")
        version.tags
        os._exit(0)
    deadline = time.monotonic() + 20
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9); stop.set(); sys.exit("the child waits for ever")
        time.sleep(0.001)
stop.set()
thread.join()
numbers = sorted(v.number for v in registry.model("churn").versions())
print(numbers == list(range(1, 22)), registry.storage.verify().ok)
"""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r")], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_a_writer_that_loses_looks_after_its_pause_and_not_before(place: Store) -> None:
    # else a quicker writer, that writes while the other waits, keeps the other out for ever
    quick = Registry(place)
    quick.save(weights(), "churn")
    pauses: list[float] = []

    def meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) < 30:
            quick.save(weights(), "churn")

    slow = Registry(place, system=System(sleep=meanwhile, jitter=lambda: 0.5))
    slow.get("churn")
    quick.save(weights(), "churn")
    saved = slow.save(weights(7), "churn")
    assert len(pauses) <= 2
    assert saved.number == 3 + len(pauses)


def test_a_refused_save_of_who_knew_no_model_does_not_list_a_closed_one(place: Store) -> None:
    late = Registry(place)
    late.save(weights(), "other")
    with pytest.raises(UnknownModelError):
        late.get("churn")
    elsewhere = Registry(place)
    elsewhere.save(weights(), "churn")
    elsewhere.model("churn").close()
    with pytest.raises(ClosedError):
        late.save(weights(), "churn")
    assert [model.name for model in late.models()] == ["other"]


# -- a definite refusal leaves nothing -----------------------------------------------------------------------------


class RefusingPacks(Wrapper):
    def put_pack(self, key: str, source: Any) -> None:
        del source
        raise StoreError(f"{key}: no space left", key=key)


def test_a_first_save_that_is_refused_leaves_no_model_behind(place: Store) -> None:
    with pytest.raises(StoreError, match="no space left"):
        Registry(RefusingPacks(place)).save(weights(), "churn")
    registry = Registry(place)
    assert registry.models() == []
    with pytest.raises(UnknownModelError):
        registry.get("churn")
    assert registry.save(weights(), "churn").number == 1
    assert registry.models() == [registry.model("churn")]
