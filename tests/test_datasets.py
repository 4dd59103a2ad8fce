"""Datasets in a registry: noted or kept, known again, compared, and named by the versions that were made from them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import modelkeep as mk
from modelkeep import datafiles
from modelkeep.datasets import data_facts
from modelkeep.errors import ConflictError, InvalidValueError, NotFoundError, SerializerError, UnknownDatasetError
from modelkeep.facts import Facts, Options, serializer_for
from modelkeep.stores import open_store
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Recording
from servers.sites import Site


@pytest.fixture(params=["memory", "local", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "moto":
        return request.getfixturevalue("moto_site").store(uuid.uuid4().hex)  # type: ignore[no-any-return]
    return MemoryStore() if request.param == "memory" else open_store(str(tmp_path / "registry"))


@pytest.fixture
def registry() -> mk.Registry:
    return mk.Registry(MemoryStore())


def frame(rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame({"id": range(rows), "x": chance.normal(size=rows), "kind": chance.choice(["a", "b"], rows)})


def train_on(registry: mk.Registry, data: Any, name: str = "churn", seed: int = 0) -> mk.ModelVersion:
    """A version whose record tells what it was made from."""
    facts = Facts(made={"data": data_facts(data, registry.dataset)})
    weights = {"w": np.full(3, seed)}
    return registry._save(weights, name, facts, Options(), serializer_for(weights, None, registry._home.granted))


# -- noted and kept ----------------------------------------------------------------------------------------------


def test_without_keep_facts_alone_are_stored_and_loading_says_where_the_data_was(
    registry: mk.Registry, tmp_path: Path
) -> None:
    secret = pd.DataFrame({"name": [f"person {n} of the secret list" for n in range(100)]})
    registry.save_dataset(secret, "people", notes="June")
    (tmp_path / "train.csv").write_text("x\n1\n")
    noted = registry.save_dataset(tmp_path / "train.csv", "file")
    assert (noted.kept, noted.rows, noted.facts.kind) == (False, None, "file")
    with pytest.raises(NotFoundError, match=r"only facts were kept.*train\.csv.*keep=True"):
        noted.load()
    with pytest.raises(NotFoundError, match="only facts were kept"):
        registry.dataset("people").load()
    stored = b"".join(registry._store.get(item.key) for item in registry._store.list("datasets/people/"))
    assert b"person 7" not in stored
    (facts,) = registry.dataset("people").export(tmp_path / "out").iterdir()
    assert facts.name == "dataset.json"
    assert json.loads(facts.read_text())["rows"] == 100
    assert b"person 7" not in facts.read_bytes()


KEPT: dict[str, tuple[Any, Callable[[Any, Any], bool]]] = {
    "pandas": (frame(), lambda a, b: a.equals(b)),
    "polars": (pl.DataFrame({"x": [1, None, 3], "s": ["a", "b", None]}), lambda a, b: a.equals(b)),
    "pyarrow": (pa.table({"x": [1, None], "s": pa.array(["a", "b"]).dictionary_encode()}), lambda a, b: a.equals(b)),
    "categories": (pd.DataFrame({"c": pd.Categorical(["x"], ["y", "x", "z"])}), lambda a, b: a.equals(b)),
    "empty frame": (frame(0), lambda a, b: a.equals(b)),
    "array": (np.arange(12.0).reshape(3, 4), np.array_equal),
    "arrays": ({"x": np.arange(3), "y": np.zeros((3, 2))}, lambda a, b: all(np.array_equal(a[k], b[k]) for k in b)),
    "sparse": (scipy.sparse.random(20, 10, 0.2, "csr", rng=0), lambda a, b: (a != b).nnz == 0),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_kept_loads_as_it_was_saved(store: Store, case: str) -> None:
    data, same = KEPT[case]
    mk.Registry(store).save_dataset(data, "sales", keep=True)
    found = mk.Registry(store).dataset("sales")
    assert found.kept
    assert same(found.load(), data)
    assert found.matches(data)
    assert found.verify() > 0
    assert mk.Registry(store).storage.verify().ok


def test_files_folders_and_patterns_are_kept_as_they_are(registry: mk.Registry, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.csv").write_text("x\n1\n")
    (data / "deep" / "b.csv").write_text("x\n2\n")
    (data / "c.txt").write_text("no")
    asked: list[tuple[Any, list[str]]] = [
        (data / "a.csv", ["a.csv"]),
        (str(data / "a.csv"), ["a.csv"]),
        (data, ["a.csv", "c.txt", "deep/b.csv"]),
        (str(data / "*.csv"), ["a.csv"]),
        (str(data / "**" / "*.csv"), ["a.csv", "deep/b.csv"]),
        (data.as_uri(), ["a.csv", "c.txt", "deep/b.csv"]),
        (f"{data.as_uri()}/*.csv", ["a.csv"]),
        (f"{data.as_uri()}/c.txt", ["c.txt"]),
    ]
    for number, (given, expected) in enumerate(asked):
        kept = registry.save_dataset(given, f"files{number}", keep=True)
        into = tmp_path / f"into{number}"
        kept.load(into=into)
        found = {file.relative_to(into).as_posix(): file for file in into.rglob("*") if file.is_file()}
        assert sorted(found) == expected
        assert all(file.read_bytes() == (data / name).read_bytes() for name, file in found.items())
        assert kept.matches(given)


def test_what_lies_in_a_bucket_is_noted_by_its_etag_or_kept_by_its_bytes(
    moto_site: Site, registry: mk.Registry, tmp_path: Path
) -> None:
    place, options = uuid.uuid4().hex, dict(moto_site.server.options)
    moto_site.store(place).put_pack("train.csv", [b"x\n1\n"])
    url = f"{moto_site.url(place)}/train.csv"
    noted = registry.save_dataset(url, "noted", storage_options=options)
    kept = registry.save_dataset(url, "kept", keep=True, storage_options=options)
    assert noted.fingerprint == kept.fingerprint is not None
    assert registry.save_dataset(url, "noted", storage_options=options) == noted
    with pytest.raises(NotFoundError, match=r"train\.csv"):
        noted.load()
    kept.load(into=tmp_path / "into")
    assert (tmp_path / "into" / "train.csv").read_bytes() == b"x\n1\n"
    moto_site.store(place).put_pack("train.csv", [b"x\n2\n"])
    assert registry.save_dataset(url, "noted", storage_options=options).number == 2
    stored = [registry._store.get(item.key) for item in registry._store.list("")]
    assert not any(b"storage_options" in raw or b"endpoint" in raw for raw in stored)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("given", ["nowhere/at/all.csv", Path("no.csv"), "nowhere/*.csv", object(), 7, None, "sales"])
def test_what_is_no_data_or_not_there_is_refused_and_nothing_is_written(given: Any, keep: bool) -> None:
    registry = mk.Registry(MemoryStore())
    with pytest.raises((InvalidValueError, SerializerError)):
        registry.save_dataset(given, "sales", keep=keep)
    assert list(registry._store.list("")) == []


def test_a_column_that_cannot_be_kept_is_refused_by_its_name(registry: mk.Registry) -> None:
    mixed = pd.DataFrame({"fine": [1, 2], "odd": [{"a": 1}, "b"]})
    with pytest.raises(SerializerError, match="odd"):
        registry.save_dataset(mixed, "sales", keep=True)
    assert registry.datasets() == []


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    registry: mk.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "train.csv"
    file.write_text("x\n1\n")

    def slowly(*given: Any) -> Any:
        filled = datafiles.fill(*given)
        file.write_text("x\n1\n2\n3\n")
        return filled

    monkeypatch.setattr("modelkeep.datasets.fill", slowly)
    with pytest.raises(ConflictError, match="changed while it was read"):
        registry.save_dataset(file, "sales", keep=True)
    assert registry.datasets() == []


# -- known again -------------------------------------------------------------------------------------------------


def test_equal_data_gives_the_newest_version_again_whatever_library_holds_it(registry: mk.Registry) -> None:
    data = frame()
    first = registry.save_dataset(data, "sales")
    store = Recording(registry._store)
    again = mk.Registry(store)
    for same in (data, data.copy(), pl.from_pandas(data), pa.Table.from_pandas(data, preserve_index=False)):
        if not first.matches(same):
            continue  # an index counts as a column
        assert again.save_dataset(same, "sales") == first
    assert not [verb for verb, _ in store.requests if verb in ("create", "put_pack")]
    assert again.save_dataset(data, "other") != first


def test_data_that_was_another_in_between_is_a_new_version_and_keep_is_a_line_of_its_own(registry: mk.Registry) -> None:
    one, two = frame(seed=1), frame(seed=2)
    numbers = [registry.save_dataset(data, "sales").number for data in (one, one, two, one)]
    assert numbers == [1, 1, 2, 3]
    assert [registry.save_dataset(one, "sales", keep=keep).number for keep in (True, True, False, True)] == [4, 4, 3, 4]


def test_a_version_that_was_deleted_is_not_given_again(registry: mk.Registry) -> None:
    data = frame()
    registry.save_dataset(data, "sales").delete()
    assert registry.save_dataset(data, "sales").number == 2


def test_other_data_does_not_match_and_what_cannot_be_told_is_an_error(registry: mk.Registry, tmp_path: Path) -> None:
    data = frame()
    known = registry.save_dataset(data, "sales")
    changed = data.copy()
    changed.loc[500, "x"] += 1e-9
    assert [known.matches(one) for one in (data, changed, data[::-1], data.head(0))] == [True, False, False, False]
    data.to_csv(tmp_path / "sales.csv")
    with pytest.raises(InvalidValueError, match="cannot be told"):
        known.matches(tmp_path / "sales.csv")


def test_facts_schema_and_profile_are_those_of_the_data(registry: mk.Registry) -> None:
    registry.save_dataset(frame(), "sales", tags={"source": "crm"}, notes="June", label="1.0.0")
    found = registry.dataset("sales:1.0.0")
    assert (found.rows, found.notes, found.tags, found.label) == (1000, "June", {"source": "crm"}, "1.0.0")
    assert (found.facts.kind, found.facts.fingerprint) == ("frame", found.fingerprint)
    assert {"id", "x", "kind"} <= set(found.facts.column_names())
    assert (found.profile or {})["id"].maximum == 999
    assert registry.save_dataset(frame(seed=9), "sales", profile=False).profile is None


def test_a_diff_counts_rows_where_they_are_at_hand_and_else_tells_what_facts_do(registry: mk.Registry) -> None:
    old, new = frame(), frame()
    new.loc[:9, "x"] = 0.0
    kept = [registry.save_dataset(data, "kept", keep=True) for data in (old, new)]
    noted = [registry.save_dataset(data, "noted") for data in (old, new)]
    assert kept[0].diff(kept[1], key="id").changed == kept[0].diff(new, key="id").changed == 10
    assert (noted[0].diff(noted[1]).same, noted[0].diff(old).same) == (False, True)
    with pytest.raises(InvalidValueError, match="by key only"):
        noted[0].diff(noted[1], key="id")


# -- what a version says of its data -----------------------------------------------------------------------------


def test_facts_name_roles_datasets_and_what_train_and_others_have_in_common(registry: mk.Registry) -> None:
    data = frame()
    train, test = data.head(800), data.tail(300).reset_index(drop=True)
    known = registry.save_dataset(train, "sales", keep=True)
    by_role = {"train": known, "test": test, "old": "sales:1"}
    listed = data_facts(by_role, registry.dataset)
    assert [one["role"] for one in listed] == ["train", "test", "old"]
    assert (listed[0]["dataset"], listed[0]["identity"]) == ("sales:1", known.digest)
    assert listed[0]["fingerprint"] == listed[2]["fingerprint"] == known.fingerprint
    assert "schema" not in listed[0]
    assert "schema" in listed[1]
    assert "overlap" not in listed[0]
    (shared,) = listed[1]["overlap"]
    assert shared["with"] == "train"
    assert shared["low"] <= 1 / 3 <= shared["high"]
    assert data_facts(test, registry.dataset)[0].get("role") is None
    apart = data_facts({"train": train, "valid": frame(seed=5)}, registry.dataset)
    assert all("overlap" not in one for one in apart)
    json.dumps(listed)


def test_a_reference_that_leads_nowhere_is_an_error(registry: mk.Registry) -> None:
    with pytest.raises(UnknownDatasetError):
        data_facts({"train": "nowhere:3"}, registry.dataset)


def test_models_that_used_a_dataset_are_found_by_name_and_by_equal_data_newest_first(registry: mk.Registry) -> None:
    one, two = frame(seed=1), frame(seed=2)
    first, second = registry.save_dataset(one, "sales"), registry.save_dataset(two, "sales")
    by_frame = train_on(registry, {"train": one}, seed=1)
    by_name = train_on(registry, {"train": "sales:1", "test": second}, "other", seed=2)
    train_on(registry, two, seed=3).delete()
    registry.save({"w": np.zeros(3)}, "churn")
    assert registry.models_using(first) == registry.models_using("sales:1") == [by_name, by_frame]
    assert registry.models_using(one) == [by_name, by_frame]
    assert registry.models_using(second) == [by_name]
    assert registry.models_using(frame(seed=3)) == []
    assert registry.get(by_name.ref).record.made["data"][0]["dataset"] == "sales:1"


def test_who_used_it_costs_a_request_for_each_version() -> None:
    store = Recording(MemoryStore())
    registry = mk.Registry(store)
    for seed in range(5):
        train_on(registry, frame(), seed=seed)
    cold = mk.Registry(store)
    cold.models()
    for model in cold.models():
        model.versions()
    store.requests.clear()
    assert len(cold.models_using(frame())) == 5
    assert len([key for verb, key in store.requests if "/data/" in key]) == 5


# -- bytes -------------------------------------------------------------------------------------------------------


def wide(rows: int, seed: int = 0) -> pa.Table:
    chance = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(rows),
            "x": chance.normal(size=rows),
            "count": chance.poisson(3, rows).astype(np.int32),
            "region": np.array(["north", "south", "east"])[chance.integers(0, 3, rows)],
            "customer": [f"c{number:06d}" for number in chance.integers(0, 50_000, rows)],
        }
    )


@pytest.mark.parametrize("how", ["in one place", "appended", "inserted", "deleted"])
def test_rows_that_change_together_cost_what_they_are(registry: mk.Registry, how: str) -> None:
    rows, few = 200_000, 2_000
    old, new = wide(rows), wide(few, seed=1)
    head, tail = old.slice(0, rows // 2), old.slice(rows // 2)
    parts = {
        "in one place": [head, new, tail.slice(few)],
        "appended": [old, new],
        "inserted": [head, new, tail],
        "deleted": [head, tail.slice(few)],
    }
    first = registry.save_dataset(old, "sales", keep=True)
    changed = pa.concat_tables(parts[how]).combine_chunks()
    second = registry.save_dataset(changed, "sales", keep=True)
    assert second.load().equals(changed)
    (whole,), (added,) = first._version.files, second._version.files
    assert added.stored - added.shared < 0.15 * whole.stored  # of a million rows it is some 3 %, see the benchmark
