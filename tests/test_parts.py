"""What lies beside the model: parts of their own, through the gate by themselves, shared between versions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import orjson
import pytest

import modelkeep as mk
from modelkeep._publish import Draft, publish
from modelkeep.errors import IntegrityError, InvalidValueError, SerializerError, TrustError
from modelkeep.manifest import ManifestError, encode_record, parse_record
from modelkeep.registry import Registry
from modelkeep.sources import memory_source
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from modelkeep.version import Part, Record, check_part

SCALE = {"mean": np.arange(3.0), "scale": np.ones(3)}
LARGE = {
    "table": np.random.default_rng(7).standard_normal(20_000)
}  # 160 KB; versions of less than 64 KiB share nothing
PART: dict[str, Any] = {"serializer": "tree", "serializer_format": 1, "packages": {}, "type": "builtins.dict"}


def weights(seed: int = 0) -> dict[str, Any]:
    return {"w": np.arange(4.0) + seed}


def doubled(inputs: Any) -> Any:
    return 2 * inputs


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


def keys(registry: Registry) -> set[str]:
    return {item.key for item in registry._store.list("")}


def same(loaded: Any, saved: dict[str, Any]) -> bool:
    return loaded.keys() == saved.keys() and all(np.array_equal(loaded[key], saved[key]) for key in saved)


def forged(registry: Registry, parts: dict[str, Part], files: dict[str, bytes]) -> mk.ModelVersion:
    """A version with a record and files that no save would write."""
    sound = registry.save(weights(), "churn")
    record = attrs.evolve(sound.record, parts=parts)
    sources = [memory_source(path, [content]) for path, content in files.items()]
    return registry.model("churn").version(publish(sound._line, Draft(sources=sources, record=record)))


# -- a part of its own ---------------------------------------------------------------------------------------------


def test_a_part_comes_back_and_lies_in_its_folder(registry: Registry) -> None:
    version = registry.save(weights(), "churn", preprocess=SCALE)
    again = Registry(registry._store).get("churn")
    assert same(again.parts["preprocess"].load(), SCALE)
    assert same(again.load(), weights())
    assert [file.path for file in version.files] == ["model.safetensors", "preprocess/model.safetensors"]
    part = again.parts["preprocess"]
    assert (part.record.serializer, part.record.type, part.size) == ("tree", "builtins.dict", version.files[1].size)
    assert version.record.packages["numpy"] == part.record.packages["numpy"]


def test_a_version_without_parts_says_so_and_costs_what_it_did(registry: Registry) -> None:
    version = registry.save(weights(), "churn")
    assert version.parts == {}
    assert {"parts", "signature", "golden"}.isdisjoint(orjson.loads(encode_record(version.record)))


def test_the_serializer_of_the_model_sees_the_models_own_files_alone(registry: Registry, tmp_path: Path) -> None:
    np.save(tmp_path / "model.npy", np.arange(3))
    version = registry.save(tmp_path / "model.npy", "churn", preprocess=LARGE)
    assert version.load().tolist() == [0, 1, 2]  # of two files the serializer would refuse to make one object
    assert version.tensors.names() == ("model.npy",)
    assert not version.mapped


def test_files_into_a_folder_are_the_models_at_the_top_and_parts_in_folders(registry: Registry, tmp_path: Path) -> None:
    version = registry.save(weights(), "churn", preprocess=SCALE, example=np.ones((2, 3)))
    version.load(into=tmp_path / "files")
    version.export(tmp_path / "native")
    for folder in (tmp_path / "files", tmp_path / "native"):
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert found == {file.path for file in version.files}
        assert (folder / "preprocess" / "model.safetensors").read_bytes()[8:9] == b"{"


def test_a_part_is_exported_as_its_own_serializer_does(registry: Registry, tmp_path: Path) -> None:
    import pickle

    from sklearn.preprocessing import StandardScaler

    data = np.random.default_rng(0).standard_normal((5, 3))
    version = registry.save(weights(), "churn", preprocess=StandardScaler().fit(data))
    version.export(tmp_path)
    (file,) = (tmp_path / "preprocess").iterdir()
    assert np.allclose(pickle.loads(file.read_bytes()).transform(data).mean(axis=0), 0)


def test_a_folder_can_be_a_part(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "words" / "deep").mkdir(parents=True)
    (tmp_path / "words" / "deep" / "vocabulary.txt").write_text("yes\nno\n")
    version = registry.save(weights(), "churn", preprocess=tmp_path / "words")
    with version.open("preprocess/deep/vocabulary.txt") as file:
        assert file.read() == b"yes\nno\n"


@pytest.mark.parametrize("name", ["preprocess", "Preprocess"])
@pytest.mark.parametrize("deep", [True, False])
def test_a_model_with_files_in_the_folder_of_a_part_is_refused_before_anything_is_written(
    registry: Registry, tmp_path: Path, name: str, deep: bool
) -> None:
    model = tmp_path / "model"
    (model / name if deep else model).mkdir(parents=True)
    (model / name / "a" if deep else model / name).write_bytes(b"own")
    with pytest.raises(InvalidValueError, match=r"'preprocess' is the folder of the part that was given"):
        registry.save(model, "churn", preprocess=SCALE)
    assert keys(registry) == set()
    assert registry.save(model, "churn").number == 1  # without the part there is nothing to clash with


def test_what_no_serializer_takes_is_refused_by_the_name_of_the_part(registry: Registry) -> None:
    for given in ({"preprocess": {"a": object()}}, {"golden": (object(), 1)}):
        with pytest.raises(SerializerError, match=r"the part '(preprocess|golden-inputs)' cannot be kept"):
            registry.save(weights(), "churn", **given)
    assert keys(registry) == set()


def test_a_save_in_the_background_takes_parts_as_they_are_now(registry: Registry) -> None:
    scale, go = {"mean": np.zeros(3)}, threading.Event()

    def held(_: int, __: int) -> None:
        go.wait(30)

    before = registry.save(weights(), "churn", wait=False, progress=held)
    pending = registry.save(weights(), "churn", preprocess=scale, golden=(scale["mean"], np.zeros(2)), wait=False)
    scale["mean"] += 1
    go.set()
    before.result()
    version = pending.result()
    assert version.parts["preprocess"].load()["mean"].tolist() == [0, 0, 0]
    assert version.parts["golden-inputs"].load().tolist() == [0, 0, 0]


# -- between versions ----------------------------------------------------------------------------------------------


def test_an_equal_part_is_stored_once_and_has_one_digest(registry: Registry) -> None:
    one, two = (registry.save(weights(seed), "churn", preprocess=LARGE) for seed in (0, 1))
    other = registry.save(weights(2), "churn", preprocess={"table": LARGE["table"] + 1})
    assert one.parts["preprocess"].digest == two.parts["preprocess"].digest != other.parts["preprocess"].digest
    assert one.content != two.content
    shared = {file.path: (file.shared, file.stored) for file in two.files}["preprocess/model.safetensors"]
    assert shared[0] > 0.99 * LARGE["table"].nbytes
    packs = [item.size for item in registry._store.list("models/churn/data/")]
    assert sum(packs) < 2.1 * LARGE["table"].nbytes  # two tables for three versions


def test_reuse_looks_at_the_parts_too(registry: Registry) -> None:
    first = registry.save(weights(), "churn", preprocess=SCALE)
    assert registry.save(weights(), "churn", preprocess=SCALE, reuse=True) == first
    assert registry.save(weights(), "churn", preprocess={"mean": np.ones(3)}, reuse=True).number == 2
    assert registry.save(weights(), "churn", reuse=True).number == 3


def test_parts_are_pushed_compacted_verified_and_erased_as_the_model_is(registry: Registry) -> None:
    for seed in range(3):
        registry.save(weights(seed), "churn", preprocess={"table": LARGE["table"] + 1e-4 * seed})
    there = Registry(MemoryStore())
    registry.push("churn", to=there)
    there.storage.compact("churn")
    for number in (1, 2, 3):
        expected = LARGE["table"] + 1e-4 * (number - 1)
        assert np.array_equal(there.get(f"churn:{number}").parts["preprocess"].load()["table"], expected)
    there.get("churn:2").erase("request 7")
    there.storage.collect(grace=timedelta(0))
    assert there.storage.verify().ok
    assert there.get("churn:3").verify() > 0
    assert np.array_equal(there.get("churn:1").parts["preprocess"].load()["table"], LARGE["table"])


# -- the gate ------------------------------------------------------------------------------------------------------


def test_the_gate_is_asked_for_a_part_by_itself(registry: Registry) -> None:
    version = registry.save(weights(), "churn", preprocess=doubled)  # a function, which nobody claims: cloudpickle
    assert version.parts["preprocess"].record.serializer == "cloudpickle"
    assert same(version.load(), weights())
    for trust in (False, "tree", "0" * 64):
        with pytest.raises(TrustError, match="loading 'preprocess' of churn:1 may run code"):
            version.parts["preprocess"].load(trust=trust)
    for trust in (True, "cloudpickle", version.digest):
        assert version.parts["preprocess"].load(trust=trust)(3) == 6


def test_a_part_of_the_data_tier_loads_beside_a_model_that_needs_trust(registry: Registry) -> None:
    version = registry.save(doubled, "churn", serializer="cloudpickle", preprocess=SCALE)
    assert same(version.parts["preprocess"].load(), SCALE)
    with pytest.raises(TrustError, match="loading churn:1 may run code"):
        version.load()


def test_the_record_tells_the_tier_where_no_look_at_the_files_is_needed(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"?")
    assert registry.save(weights(), "tree").record.tier == "data"
    assert registry.save(doubled, "own", serializer="cloudpickle").record.tier == "code"
    assert registry.save(tmp_path / "model.bin", "files").record.tier is None


def test_what_a_record_says_of_the_tier_opens_no_gate(registry: Registry) -> None:
    sound = registry.save(doubled, "churn", serializer="cloudpickle")
    record = attrs.evolve(sound.record, tier="data")
    sources = [memory_source("model.pkl", [b"\x80\x04N."])]
    number = publish(sound._line, Draft(sources=sources, record=record))
    with pytest.raises(TrustError):
        registry.load(f"churn:{number}")


def test_a_part_of_a_serializer_that_is_not_here_is_an_error_and_the_model_loads(registry: Registry) -> None:
    part = Part(**(PART | {"serializer": "os:system"}))
    version = forged(registry, {"preprocess": part}, {"model.safetensors": SOUND, "preprocess/a": b"1"})
    with pytest.raises(SerializerError, match="no serializer 'os:system' is installed"):
        version.parts["preprocess"].load(trust=True)
    assert version.load() == {}


def test_a_part_of_another_distribution_is_not_imported_without_a_grant(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelkeep.serializers.discovery import forget

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "alien_parts.py").write_text("raise RuntimeError('imported')")
    facts = tmp_path / "alien_parts-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: alien-parts\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[modelkeep.serializers]\nalien_parts = alien_parts:serializer\n")
    forget()
    try:
        part = Part(**(PART | {"serializer": "alien_parts"}))
        version = forged(registry, {"preprocess": part}, {"model.safetensors": SOUND, "preprocess/a": b"1"})
        with pytest.raises(TrustError, match="'alien_parts' is of alien-parts"):
            version.parts["preprocess"].load()
        with pytest.raises(SerializerError, match="cannot be imported: RuntimeError"):  # granted: it is what it is
            version.parts["preprocess"].load(trust="alien_parts")
    finally:
        forget()


# -- what lies in a registry ---------------------------------------------------------------------------------------

SOUND = (2).to_bytes(8, "little") + b"{}"  # safetensors without a tensor


def test_a_part_without_files_is_damage_and_the_model_loads(registry: Registry) -> None:
    version = forged(registry, {"preprocess": Part(**PART)}, {"model.safetensors": SOUND})
    with pytest.raises(IntegrityError, match="the record of churn:2 names a part 'preprocess', and no file lies"):
        version.parts["preprocess"].load()
    assert version.load() == {}


@pytest.mark.parametrize("name", ["preprocess", "golden-inputs", "a", "v2", "x" * 40])
def test_names_of_parts_are_plain_words(name: str) -> None:
    assert check_part(name) == name


HOSTILE = ["", "..", "../x", "a/b", "A", "-a", "a-", "a--b", "a_b", "ä", "a\n", "x" * 41, "a.b", "con ", None, 3]


@pytest.mark.parametrize("name", HOSTILE)
def test_other_names_of_parts_are_refused(name: Any) -> None:
    with pytest.raises(InvalidValueError, match="is no name of a part"):
        check_part(name)


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in HOSTILE[:-2]:
        yield f"part {name!r:.10}", {"parts": {name: PART}}
    yield "101 parts", {"parts": {f"p{n}": PART for n in range(101)}}
    for field, wrong in (("serializer", 3), ("serializer_format", "1"), ("packages", []), ("type", None)):
        yield f"part with a wrong {field}", {"parts": {"preprocess": PART | {field: wrong}}}
    yield "parts as a list", {"parts": ["preprocess"]}
    yield "tier as a number", {"tier": 3}
    for golden in (
        3,
        {},
        {"rtol": "1", "atol": 0},
        {"rtol": -1, "atol": 0},
        {"rtol": True, "atol": 0},
        {"rtol": 1e400},
    ):
        yield f"golden {golden}", {"golden": golden}
    values = {"dtype": "int64", "shape": [None]}
    deep: Any = values
    for _ in range(200):
        deep = {"items": deep}
    for name, inputs in {
        "no object": [],
        "nothing": {},
        "too deep": deep,
        "an odd dtype": values | {"dtype": "../x"},
        "an odd shape": values | {"shape": [-1]},
        "a long shape": values | {"shape": [1] * 33},
        "a shape of text": values | {"shape": "ab"},
        "odd categories": values | {"categories": [[]]},
        "many categories": values | {"categories": list(range(101))},
        "odd nullable": values | {"nullable": 1},
        "no required": {"properties": {"a": values}},
        "10 MB": {"properties": {"a" * 10_000_000: values}, "required": []},
        "200,000 columns": {"properties": {f"c{n}": values for n in range(200_000)}, "required": []},
    }.items():
        yield f"signature: {name}", {"signature": {"inputs": inputs}}
    yield "no inputs", {"signature": {"outputs": values}}
    yield "signature as text", {"signature": "int64"}


@pytest.fixture(scope="module")
def sound() -> Record:
    return Registry(MemoryStore()).save(weights(), "churn").record


@pytest.mark.parametrize(("_", "changed"), [pytest.param(n, c, id=n[:40]) for n, c in records()])
def test_a_record_with_a_wrong_field_is_refused(sound: Record, _: str, changed: dict[str, Any]) -> None:
    facts = orjson.loads(encode_record(sound))
    with pytest.raises(ManifestError, match="its record cannot be read"):
        parse_record(orjson.dumps(facts | changed))


def test_a_record_that_is_nested_without_end_is_refused(sound: Record) -> None:
    depth = 1_000_000
    deep = b'{"signature": {"inputs": ' + b'{"items":' * depth + b"{}" + b"}" * depth + b"}}"
    with pytest.raises(ManifestError, match="its record cannot be read"):
        parse_record(encode_record(sound)[:-1] + b"," + deep[1:])


def test_words_of_a_newer_release_are_left_out(sound: Record) -> None:
    facts = orjson.loads(encode_record(sound))
    facts["parts"] = {"monitor": PART | {"new": [1]}}
    facts["signature"] = {"inputs": {"dtype": "int4", "shape": [None], "unit": "kg"}, "more": 1}
    facts["tier"] = "sandboxed"
    record = parse_record(orjson.dumps(facts))
    assert record.parts == {"monitor": Part(**PART)}
    assert str(record.signature) == "int4"
    assert record.tier == "sandboxed"


def test_parts_cost_no_request_more_than_the_model(registry: Registry) -> None:
    recording = Recording(registry._store)
    watched = Registry(recording)
    watched.save(weights(), "churn")
    recording.forget()
    watched.save(weights(), "churn", preprocess=SCALE, example=np.ones((9, 3)), golden=(np.ones((2, 3)), np.ones(2)))
    assert sum(recording.counts().values()) == 2
