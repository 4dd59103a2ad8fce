"""The reverse index: what it costs, that it is never wrong, and that nothing of what was erased stays in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep._kin import file_of, parsed, written
from modelkeep.cache import Cache, CacheFolder
from modelkeep.errors import UnknownModelError
from modelkeep.folds.releases import Delete, Purge
from modelkeep.kinship import Kinship, Used
from modelkeep.lineage import Lineage
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from modelkeep.version import Parent

MODEL = {"w": np.ones(3)}
ROWS = np.arange(8.0).reshape(4, 2)


def story(registry: mk.Registry) -> None:
    """Three models that are made one from another, a dataset, a run, a variant and two aliases."""
    rows = registry.save_dataset(ROWS, "rows").promote("golden")
    encoder = registry.save(MODEL, "encoder", data={"train": rows})
    with registry.run("churn", parent=encoder) as run:
        first = run.save(MODEL)
        second = run.save(MODEL, data={"train": ROWS, "test": np.zeros((2, 2))}, parent=first)
    second.promote("production").add_variant(MODEL, kind="half")
    registry.save(MODEL, "fraud", parent=[encoder, second]).promote("staging")


def told(lineage: Lineage) -> set[tuple[str, str, str]]:
    return {
        (edge.source, edge.target, edge.note)
        for edge in lineage.edges
        if not edge.source.startswith(("run:", "commit:"))
    }


@pytest.fixture
def bucket() -> Recording:
    store = Recording(MemoryStore("memory://far"))
    story(mk.Registry(store, cache=False))
    store.forget()
    return store


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def packs(store: Recording) -> list[str]:
    return [key for _, key in store.requests if "/data/" in key]


def folder_of(store: Recording | mk.Registry, cache: Path) -> CacheFolder:
    registry = mk.Registry(store) if isinstance(store, Recording) else store
    home = registry._home
    return Cache(cache).folder(home.store.url, str(home.id()))


# -- what it tells -------------------------------------------------------------------------------------------------


def test_it_tells_what_was_made_from_what_over_the_bounds_of_models(bucket: Recording) -> None:
    test = f"array-1:{mk.Registry(bucket).get('churn:2').data['test'].fingerprint.partition(':')[2]}"  # type: ignore[union-attr]
    assert told(mk.Registry(bucket).lineage()) == {
        ("data:rows:1", "data:rows@golden", ""),
        ("data:rows:1", "encoder:1", ""),
        ("encoder:1", "churn:1", ""),
        ("churn:1", "churn:2", ""),
        ("data:rows:1", "churn:2", ""),  # the same data, given as an array
        (test, "churn:2", "as test"),
        ("churn:2", "churn:2/half", ""),
        ("churn:2", "churn@production", ""),
        ("encoder:1", "fraud:1", ""),
        ("churn:2", "fraud:1", ""),
        ("fraud:1", "fraud@staging", ""),
    }


def test_both_versions_of_a_run_hang_on_one_node(bucket: Recording) -> None:
    lineage = mk.Registry(bucket).lineage()
    (run,) = [node for node in lineage.nodes if node.kind == "run"]
    assert {edge.target for edge in lineage.edges if edge.source == run.id} == {"churn:1", "churn:2"}


def test_the_lineage_of_a_version_has_all_above_and_below_it_and_no_more(bucket: Recording) -> None:
    registry = mk.Registry(bucket)
    registry.save(MODEL, "apart")
    lineage = registry.get("churn:1").lineage()
    assert lineage.start == "churn:1"
    assert {node.id for node in lineage.versions} == {"encoder:1", "churn:1", "churn:2", "fraud:1"}
    assert {node.id for node in lineage.aliases} == {"churn@production", "fraud@staging"}
    assert "apart:1" not in {node.id for node in registry.get("apart").lineage().ancestors("apart:1").nodes} - {
        "apart:1"
    }


def test_models_may_be_named_and_come_with_what_they_were_made_from(bucket: Recording) -> None:
    registry = mk.Registry(bucket)
    assert [node.id for node in registry.lineage("churn").versions] == ["churn:1", "churn:2", "encoder:1"]
    assert [node.id for node in registry.lineage(["encoder"]).versions] == ["encoder:1"]
    with pytest.raises(UnknownModelError, match="nobody"):
        registry.lineage(["churn", "nobody"])


def test_a_place_without_a_registry_has_an_empty_lineage(tmp_path: Path) -> None:
    assert mk.Registry(tmp_path / "none").lineage().nodes == ()
    assert not (tmp_path / "none").exists()


def test_a_deleted_version_is_told_as_such_and_a_purged_one_keeps_its_children(bucket: Recording) -> None:
    registry = mk.Registry(bucket)
    registry.get("churn:1").delete()
    assert registry.lineage().node("churn:1").state == "deleted"
    assert ("encoder:1", "churn:1", "") in told(registry.lineage())
    registry._existing("churn").append("releases", lambda _: [Purge(1)])
    lineage = registry.lineage()
    assert lineage.node("churn:1").state == "purged"
    assert ("churn:1", "churn:2", "") in told(lineage)
    assert ("encoder:1", "churn:1", "") not in told(lineage)  # its manifest said so, and is gone


def test_a_parent_of_another_registry_is_a_node_that_says_so(bucket: Recording, tmp_path: Path) -> None:
    other = mk.Registry(tmp_path / "other", durable=False)
    other.save({"w": np.zeros(9)}, "encoder")  # another one of the same name and number
    other.pull("churn", source=mk.Registry(bucket))
    lineage = other.lineage()
    (away,) = [node for node in lineage.nodes if node.state == "elsewhere" and node.kind == "version"]
    assert away.id == f"encoder:1#{mk.Registry(bucket).get('encoder:1').digest[:8]}"
    assert [node.id for node in lineage.impact(away).versions] == ["churn:2", "churn:1"]
    assert lineage.impact("encoder:1").reached == ()


def test_a_dataset_that_lies_in_another_registry_is_a_node_that_says_so(bucket: Recording, tmp_path: Path) -> None:
    other = mk.Registry(tmp_path / "other", durable=False)
    other.pull("encoder", source=mk.Registry(bucket))
    (node,) = other.lineage().datasets
    assert (node.state, node.id.partition("#")[0]) == ("elsewhere", "data:rows:1")
    other.save_dataset(ROWS, "mine")  # equal data
    assert [node.id for node in other.lineage().datasets] == ["data:mine:1"]


def test_what_was_closed_is_found_by_itself_by_name_and_as_a_parent(bucket: Recording) -> None:
    registry = mk.Registry(bucket)
    registry.model("fraud").close()
    registry.model("encoder").close()
    assert [node.id for node in registry.lineage().versions] == ["churn:1", "churn:2", "encoder:1"]
    assert [node.id for node in registry.lineage("fraud").versions][-1] == "fraud:1"
    with pytest.warns(UserWarning, match="was closed"):
        assert len(mk.Registry(bucket).get("fraud:1").lineage().ancestors().versions) == 4


def test_a_version_that_cannot_be_read_is_told_and_hides_no_other(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path / "registry", durable=False)
    story(registry)
    pack = registry._existing("churn").versions.state.lines[1].at.pack
    place = tmp_path / "registry" / "models" / "churn" / "data" / f"{pack}.pack"
    whole = place.read_bytes()
    place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    lineage = mk.Registry(tmp_path / "registry", cache=False).lineage()
    node = lineage.node("churn:1")
    assert node.state == "unreadable"
    assert place.name in node.facts["reason"]
    assert ("churn:1", "churn:2", "") in told(lineage)
    place.write_bytes(whole)
    assert mk.Registry(tmp_path / "registry", cache=False).lineage().node("churn:1").state == "here"


def test_models_that_records_name_and_nobody_has_are_looked_for_a_hundred_times_at_most(bucket: Recording) -> None:
    registry = mk.Registry(bucket, cache=False)
    registry.save(MODEL, "odd", parent=[Parent(f"stranger{n}", 1, "0" * 64) for n in range(300)])
    bucket.forget()
    lineage = registry.lineage()
    assert sum(node.state == "elsewhere" for node in lineage.nodes) == 300
    assert len({key.split("/")[1] for _, key in bucket.requests if key.startswith("models/stranger")}) == 100


# -- what it costs -------------------------------------------------------------------------------------------------


def test_cold_it_reads_each_manifest_once_and_warm_two_objects_for_each_line(bucket: Recording) -> None:
    registry = mk.Registry(bucket, cache=False)
    first = registry.lineage()
    assert len(packs(bucket)) == len(first.versions) == 4
    bucket.forget()
    assert registry.lineage() == first
    assert bucket.counts() == {"list": 2, "get": 2 * 4}  # three models and a dataset


def test_the_lineage_of_a_version_costs_the_same(bucket: Recording) -> None:
    version = mk.Registry(bucket, cache=False).get("churn:1")
    bucket.forget()
    version.lineage()
    assert len(packs(bucket)) == 4
    bucket.forget()
    version.lineage()
    assert bucket.counts() == {"list": 2, "get": 2 * 4}


def test_the_next_process_reads_no_manifest_and_after_a_save_one(bucket: Recording, cache: Path) -> None:
    first = mk.Registry(bucket, cache=cache).lineage()
    bucket.forget()
    registry = mk.Registry(bucket, cache=cache)
    assert registry.lineage() == first
    assert packs(bucket) == []
    registry.save(MODEL, "churn", parent="churn:2")
    bucket.forget()
    assert ("churn:2", "churn:3", "") in told(mk.Registry(bucket, cache=cache).lineage())
    assert len(packs(bucket)) == 1


def test_a_registry_on_a_disk_is_indexed_too_unless_no_cache_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story(mk.Registry(tmp_path / "registry", durable=False))
    monkeypatch.setenv("MODELKEEP_CACHE", str(tmp_path / "cache"))
    mk.Registry(tmp_path / "registry", cache=False).lineage()
    assert not (tmp_path / "cache").exists()
    registry = mk.Registry(tmp_path / "registry")
    registry.lineage()
    folder = folder_of(registry, tmp_path / "cache")
    assert folder.get(file_of("churn")) is not None
    assert not any(path.suffix == ".pack" for path in (tmp_path / "cache").rglob("*"))  # copies are of no use there
    monkeypatch.setenv("MODELKEEP_CACHE", "off")
    folder.drop([file_of("churn")])
    mk.Registry(tmp_path / "registry").lineage()
    assert folder.get(file_of("churn")) is None


def test_a_registry_in_memory_leaves_nothing_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE", str(tmp_path / "cache"))
    registry = mk.Registry("memory://leaves-nothing")
    story(registry)
    registry.lineage()
    assert not (tmp_path / "cache").exists()


# -- that it is never wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_file_that_is_damaged_or_gone_is_made_anew(bucket: Recording, cache: Path, damage: str) -> None:
    first = mk.Registry(bucket, cache=cache).lineage()
    folder = folder_of(bucket, cache)
    key = file_of("churn")
    sound = folder.get(key)
    assert sound is not None
    (place,) = [path for path in cache.rglob("*") if path.is_file() and path.read_bytes()[32:] == sound]
    whole = place.read_bytes()
    where = whole.index(b'"parents"')
    place.write_bytes(
        {"flip": whole[:where] + b"x" + whole[where + 1 :], "cut": whole[:-9], "empty": b"", "gone": b""}[damage]
    )
    if damage == "gone":
        place.unlink()
    bucket.forget()
    assert mk.Registry(bucket, cache=cache).lineage() == first
    assert len(packs(bucket)) == 2
    assert folder.get(key) == sound


def test_what_is_kept_of_another_version_is_never_taken_for_this_one(bucket: Recording, cache: Path) -> None:
    first = mk.Registry(bucket, cache=cache).lineage()
    wrong = Kinship(parents=(Parent("fraud", 1, "0" * 64),))
    folder_of(bucket, cache).put(file_of("churn"), written({"1" * 64: wrong}))
    assert mk.Registry(bucket, cache=cache).lineage() == first
    assert b"1" * 64 not in (folder_of(bucket, cache).get(file_of("churn")) or b"")


def test_a_file_of_a_newer_form_is_read_as_none(bucket: Recording, cache: Path) -> None:
    first = mk.Registry(bucket, cache=cache).lineage()
    rows = (folder_of(bucket, cache).get(file_of("churn")) or b"").split(b"\n")
    folder_of(bucket, cache).put(file_of("churn"), b"\n".join([b"2", *rows[1:]]))
    bucket.forget()
    assert mk.Registry(bucket, cache=cache).lineage() == first
    assert len(packs(bucket)) == 2


kinships = st.builds(
    Kinship,
    parents=st.lists(st.builds(Parent, st.sampled_from(["churn", "a b"]), st.integers(1, 99), st.just("0" * 64))).map(
        tuple
    ),
    data=st.lists(st.builds(Used, st.text(max_size=9), st.none() | st.just(f"frame-1:{'1' * 64}"))).map(tuple),
    commit=st.none() | st.just("0f" * 20),
    dirty=st.booleans(),
    function=st.none() | st.text(min_size=1),
)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["parents", "data", "commit", "x"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("0123456789abcdef", min_size=64, max_size=64), kinships, max_size=4))
def test_what_is_written_is_read_back(known: dict[str, Kinship]) -> None:
    assert parsed(written(known)) == known


@given(st.binary() | jsons.map(lambda value: b"1\n" + orjson.dumps(["0" * 64, value])))
def test_any_bytes_are_read_as_sound_rows_or_as_none(raw: bytes) -> None:
    for one in parsed(raw).values():
        assert Kinship.from_json(orjson.loads(orjson.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "row",
    [
        {"commit": 5},
        {"run": ["a"]},
        {"dirty": "yes"},
        {"data": [[3, None, None, None]]},
        {"data": 7},
        {"parents": [["churn", 0, "0" * 64]]},
        {"parents": [["a/b", 1, "0" * 64]]},
        {"parents": [["churn", 1, "0"]]},
        {"later": "x"},
        [],
        7,
    ],
)
def test_a_row_of_another_form_makes_the_file_count_as_none(row: object) -> None:
    sound = ["1" * 64, {"commit": "0f" * 20}]
    assert parsed(b"1\n" + orjson.dumps(sound)) == {"1" * 64: Kinship(commit="0f" * 20)}
    assert parsed(b"\n".join(map(orjson.dumps, [1, sound, ["2" * 64, row]]))) == {}


class Recorded:
    """What `Kinship.of` looks at, of any form."""

    def __init__(self, code: object, session: object, data: object) -> None:
        self.parents: tuple[Parent, ...] = (
            Parent("a/b", 1, "0" * 64),
            Parent("churn", -3, "0" * 64),
            Parent("churn", 2, "0" * 64),
        )
        self.made = {"code": code, "session": session, "data": data}


@given(
    st.dictionaries(st.sampled_from(["commit", "remote", "dirty", "function", "id"]), jsons),
    st.lists(st.dictionaries(st.sampled_from(["role", "fingerprint", "dataset", "identity"]), jsons)),
)
def test_of_a_record_of_any_form_only_what_is_sound_is_kept(
    made: dict[str, object], data: list[dict[str, object]]
) -> None:
    kinship = Kinship.of(Recorded(made, made, data))  # type: ignore[arg-type]
    assert kinship.parents == (Parent("churn", 2, "0" * 64),)
    assert Kinship.from_json(orjson.loads(orjson.dumps(kinship.to_json()))) == kinship


# -- what goes -----------------------------------------------------------------------------------------------------


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_after_an_erasure_the_index_holds_nothing_of_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE", str(tmp_path / "cache"))
    registry = mk.Registry(tmp_path / "registry", durable=False)
    story(registry)
    version = registry.get("churn:1")
    print_ = str(registry.save(MODEL, "churn", data=np.full((3, 3), 7.0), parent=None).data["0"].fingerprint)
    registry.lineage()
    assert print_.encode() in everything(tmp_path / "cache")
    registry.get("churn:3").erase("request 17")
    assert print_.encode() not in everything(tmp_path / "cache")
    assert version.digest.encode() in everything(tmp_path / "cache")
    lineage = registry.lineage()
    assert lineage.node("churn:3").state == "purged"
    assert print_ not in {node.id for node in lineage.nodes}


def test_what_another_process_purged_goes_from_memory_and_file_with_the_next_question(
    bucket: Recording, cache: Path
) -> None:
    registry = mk.Registry(bucket, cache=cache)
    digest = registry.get("churn:1").digest
    registry.lineage()
    other = mk.Registry(bucket, cache=False)._existing("churn")
    other.read()
    other.append("releases", lambda _: [Delete(1), Purge(1)])
    assert digest in parsed(folder_of(bucket, cache).get(file_of("churn")))
    assert registry.lineage().node("churn:1").state == "purged"
    assert set(parsed(folder_of(bucket, cache).get(file_of("churn")))) == {registry.get("churn:2").digest}


def test_no_parameter_metric_note_tag_or_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE", str(tmp_path / "cache"))
    registry = mk.Registry(tmp_path / "registry", durable=False)
    with registry.run("churn", params={"p": "canary-param"}, tags={"t": "canary-tag"}, notes="canary-note") as run:
        run.save(MODEL, metrics={"canary-metric": 1.0})
    registry.lineage()
    assert b"canary" not in everything(tmp_path / "cache")
    assert run.id.encode() in everything(tmp_path / "cache")


# -- side by side --------------------------------------------------------------------------------------------------


def test_threads_that_ask_at_once_are_told_the_same(bucket: Recording, cache: Path) -> None:
    registry = mk.Registry(bucket, cache=cache)
    found: list[Lineage] = []
    threads = [threading.Thread(target=lambda: found.append(registry.lineage())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(one == found[0] for one in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_asks_as_its_parent_does(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path / "registry", durable=False, cache=False)
    story(registry)
    first = registry.lineage()
    child = os.fork()
    if not child:
        os._exit(0 if registry.lineage() == first else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_registry_is_let_go_after_a_question() -> None:
    import gc
    import weakref

    registry = mk.Registry("memory://let-go")
    registry.save(MODEL, "churn")
    registry.lineage()
    gone: Callable[[], object] = weakref.ref(registry._home)
    del registry
    gc.collect()
    assert gone() is None
