"""Parts of a version: tensors by name and files as streams, each for the price of its own bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.errors import (
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    SerializerError,
    UnknownTensorError,
)
from modelkeep.layout import pack_key
from modelkeep.registry import Registry
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store

KIB, MIB = 1024, 1024 * 1024


class Far(MemoryStore):
    """A store that lies elsewhere, and counts what is read of the packs."""

    remote = True

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        found = super().get(key, span)
        if "/data/" in key:
            self.reads.append(len(found))
        return found

    @property
    def moved(self) -> int:
        """The bytes read since this was asked last."""
        total, self.reads[:] = sum(self.reads), []
        return total


@pytest.fixture
def far() -> Far:
    return Far()


def noise(seed: int, size: int) -> Any:
    return np.random.default_rng(seed).random(size // 8)


@pytest.fixture(params=["memory", "local", "far"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    stores: dict[str, Store] = {
        "memory": MemoryStore(),
        "local": LocalStore(tmp_path / "registry", durable=False),
        "far": Far(),
    }
    return Registry(stores[request.param])


def same(one: Any, other: Any) -> bool:
    """Equal in library, type, shape and every value."""
    return (type(one), one.dtype, one.shape) == (type(other), other.dtype, other.shape) and bool((one == other).all())


def all_same(tensors: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return set(tensors) == set(wanted) and all(same(tensors[name], wanted[name]) for name in wanted)


# -- names and values ----------------------------------------------------------------------------------------------


def test_those_of_a_dict_have_its_keys_in_their_order(registry: Registry) -> None:
    saved = {
        "z": noise(1, 100 * KIB),
        "a/b": np.arange(3, dtype=np.int8),
        "ö": noise(2, 20 * KIB).reshape(2, -1),
        "e": np.zeros((0, 4), np.float32),
        "s": np.array(2.5),
        "f": np.asfortranarray(noise(3, 80 * KIB).reshape(80, -1)),
    }
    version = registry.save(saved, "m")
    assert version.tensors.names() == tuple(registry.load("m"))
    assert set(version.tensors.names()) == {"z", "a~1b" if "a~1b" in version.tensors else "a/b", "ö", "e", "s", "f"}
    assert all_same(registry.get("m").tensors, saved)
    assert len(version.tensors) == 6


def test_each_is_an_array_of_its_own(registry: Registry) -> None:
    saved = {"large": noise(1, 100 * KIB), "small": noise(2, 80)}
    version = registry.save(saved, "m")
    tensors = version.tensors
    for name, array in saved.items():
        taken = tensors[name]
        taken[:] = 0
        assert same(tensors[name], array)
        assert same(version.tensors[name], array)
    assert all_same(registry.load("m"), saved)


def test_those_of_a_tree_are_named_by_their_paths(registry: Registry) -> None:
    saved = {
        "encoder": [{"w": noise(1, 100 * KIB)}, {"w": noise(2, 20 * KIB)}],
        "steps": 7,
        "name": "of it",
        "pair": (np.arange(3), np.array(["a", "bc"])),
        "big": noise(3, 800).astype(">f8"),
        "number": np.float32(1.5),
    }
    tensors = registry.save(saved, "m").tensors
    assert set(tensors) == {"encoder/0/w", "encoder/1/w", "pair/0", "pair/1", "big", "number"}
    assert same(tensors["encoder/0/w"], noise(1, 100 * KIB))
    assert same(tensors["encoder/1/w"], noise(2, 20 * KIB))
    assert tensors["pair/1"].tolist() == ["a", "bc"]
    assert same(tensors["big"], saved["big"])
    assert tensors["number"] == np.float32(1.5)


def test_those_of_a_torch_state_are_torch_tensors(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Sequential(torch.nn.Linear(200, 100), torch.nn.BatchNorm1d(100)).to(torch.bfloat16)
    state = module.state_dict()
    tensors = registry.save(state, "m").tensors
    assert tensors.names() == tuple(state)
    assert tensors["0.weight"].dtype is torch.bfloat16
    assert all_same(tensors, state)


def test_those_of_a_torch_module_are_its_state_and_need_no_trust(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Sequential(torch.nn.Linear(200, 100), torch.nn.BatchNorm1d(100))
    tensors = registry.save(module, "m").tensors
    assert all_same(tensors, {name: value.detach() for name, value in module.state_dict().items()})


def test_those_of_a_torch_module_with_an_extra_state_are_torch_tensors_too(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Counting(torch.nn.Linear):  # type: ignore[misc, name-defined]
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 7}

        def set_extra_state(self, state: dict[str, int]) -> None:
            self.steps = state["steps"]

    module = Counting(3, 2)
    tensors = registry.save(module, "m").tensors
    assert set(tensors) == {"weight", "bias"}
    assert same(tensors["weight"], module.weight.detach())


def test_tied_tensors_are_there_under_each_of_their_keys(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shared = torch.rand(30_000)
    tensors = registry.save({"head": shared, "other": torch.ones(2), "tail": shared}, "m").tensors
    assert tensors.names() == ("head", "other", "tail")
    assert torch.equal(tensors["head"], shared)
    assert torch.equal(tensors["tail"], shared)


def test_tied_tensors_of_a_tree_are_there_under_each_of_their_paths(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shared = torch.rand(30_000)
    tensors = registry.save({"deep": [shared, {"in": shared}]}, "m").tensors
    assert set(tensors) == {"deep/0", "deep/1/in"}


def test_those_of_an_adopted_safetensors_file_have_its_names(registry: Registry, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    saved = {"model.w": noise(1, 100 * KIB), "model.b": np.arange(5, dtype=np.int16), "z": noise(2, 20 * KIB)}
    library.save_file(saved, tmp_path / "w.safetensors", metadata={"format": "np", "order": "odd", "tied": "[1]"})
    (version,) = registry.adopt(tmp_path / "*.safetensors", "m")
    assert all_same(version.tensors, saved)


def test_those_of_an_adopted_torch_file_of_the_library_are_torch_tensors(registry: Registry, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    saved = {"w": torch.rand(200, 100).to(torch.bfloat16), "b": torch.arange(5)}
    library.save_file(saved, tmp_path / "w.safetensors", metadata={"format": "pt"})
    assert all_same(registry.save(tmp_path / "w.safetensors", "m").tensors, saved)


def test_shards_in_a_folder_are_one_model_and_a_name_that_two_have_tells_the_file(
    registry: Registry, tmp_path: Path
) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    folder = tmp_path / "shards"
    folder.mkdir()
    library.save_file({"a": noise(1, 100 * KIB), "x": np.zeros(3)}, folder / "1.safetensors")
    library.save_file({"b": noise(2, 20 * KIB), "x": np.ones(3)}, folder / "2.safetensors")
    np.save(folder / "mean.npy", noise(3, 80))
    (folder / "index.json").write_text('{"weight_map": {"a": "1", "b": "2"}}')
    tensors = registry.save(folder, "m").tensors
    assert set(tensors) == {"a", "b", "1.safetensors:x", "2.safetensors:x", "mean.npy"}
    assert same(tensors["a"], noise(1, 100 * KIB))
    assert same(tensors["b"], noise(2, 20 * KIB))
    assert tensors["1.safetensors:x"].tolist() == [0] * 3
    assert tensors["2.safetensors:x"].tolist() == [1] * 3
    assert same(tensors["mean.npy"], noise(3, 80))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_those_of_a_npz_file_are_its_members(registry: Registry, tmp_path: Path, save: Any) -> None:
    saved = {"w": noise(1, 100 * KIB).reshape(2, -1), "b": np.arange(3), "e": np.zeros((0, 2)), "s": np.array(1.5)}
    save(tmp_path / "w.npz", **saved)
    version = registry.save(tmp_path / "w.npz", "m")
    assert all_same(version.tensors, saved)
    assert all_same(version.load(), saved)


@pytest.mark.parametrize(
    "array",
    [
        noise(1, 100 * KIB).reshape(4, -1),
        np.asfortranarray(noise(1, 100 * KIB).reshape(4, -1)),
        np.zeros((0, 3)),
        np.array(4.5),
        np.arange(30).astype(">i4"),
        np.array(["a", "bc"]),
        np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
        np.array([(1,)], dtype=[("größe", "i4")]),
    ],
    ids=["C", "F", "empty", "0-d", "big-endian", "texts", "record", "unicode"],
)
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_that_of_a_npy_file_bears_its_name(registry: Registry, tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "w.npy", array)
    version = registry.save(tmp_path / "w.npy", "m")
    assert version.tensors.names() == ("w.npy",)
    for found in (version.tensors["w.npy"], version.load()):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


def test_an_array_of_objects_in_a_file_is_not_unpickled(registry: Registry, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "w.npz", good=np.arange(3), bad=np.array([{}, None], dtype=object), allow_pickle=True)
    for file, name in (("w.npy", "w.npy"), ("w.npz", "bad")):
        tensors = registry.save(tmp_path / file, "m").tensors
        with pytest.raises(SerializerError, match=f"{file} cannot be read as arrays"):
            tensors[name]
    assert tensors["good"].tolist() == [0, 1, 2]


def test_a_pickle_has_none_that_can_be_read_by_themselves(registry: Registry) -> None:
    version = registry.save({"w": noise(1, MIB), "f": {1, 2}}, "m", serializer="cloudpickle")
    assert len(version.tensors) == 0
    with pytest.raises(UnknownTensorError, match="none that can be read by themselves"):
        version.tensors["w"]


# -- names that are not there --------------------------------------------------------------------------------------


def test_a_name_that_is_not_there_is_told_with_those_that_are(registry: Registry) -> None:
    tensors = registry.save({f"w{number}": np.arange(3) for number in range(7)}, "m").tensors
    with pytest.raises(UnknownTensorError, match=r"^m:1 has no tensor 'x'; it has w0, w1, w2, w3, w4, …$") as caught:
        tensors["x"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, NotFoundError)
    assert ("x" in tensors, "w0" in tensors) == (False, True)
    assert (tensors.get("x"), tensors.get("x", 7)) == (None, 7)
    found = tensors.get("w1")
    assert found is not None
    assert found.tolist() == [0, 1, 2]


# -- what it costs -------------------------------------------------------------------------------------------------


def test_one_tensor_costs_its_own_bytes(far: Far) -> None:
    saved = {f"layer{number}": noise(number, 300 * KIB) for number in range(10)}
    saved["large"] = noise(99, 9 * MIB)
    Registry(far, cache=False).save(saved, "m")
    far.moved  # noqa: B018  begin to count
    version = Registry(far, cache=False).get("m")
    assert far.moved == 0
    tensors = version.tensors
    assert 0 < far.moved < 64 * KIB, "the manifest and the header"
    for name, size in (("layer3", 300 * KIB), ("large", 9 * MIB), ("layer3", 300 * KIB)):
        assert same(tensors[name], saved[name])
        assert far.moved == size


def test_one_tensor_of_a_file_of_another_library_costs_its_own_bytes(far: Far, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    saved = {f"layer{number}": noise(number, 300 * KIB) for number in range(10)}
    library.save_file(saved, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **saved)
    for file in ("w.safetensors", "w.npz"):
        Registry(far, cache=False).save(tmp_path / file, "m")
        version = Registry(far, cache=False).get("m")
        tensors = version.tensors
        far.moved  # noqa: B018  begin to count
        assert same(tensors["layer3"], saved["layer3"])
        assert 300 * KIB <= far.moved < (300 + 64) * KIB, file


def test_small_tensors_cost_no_more_than_what_lies_around_them(far: Far) -> None:
    saved = {f"t{number:05d}": noise(number, 4 * KIB) for number in range(1000)}
    Registry(far, cache=False).save(saved, "m")
    tensors = Registry(far, cache=False).get("m").tensors
    far.moved  # noqa: B018  begin to count
    assert same(tensors["t00500"], saved["t00500"])
    assert 4 * KIB <= far.moved <= 512 * KIB


def test_reading_ten_bytes_of_a_large_file_moves_at_most_a_piece(far: Far, tmp_path: Path) -> None:
    raw = np.random.default_rng(0).bytes(12 * MIB)
    (tmp_path / "w.bin").write_bytes(raw)
    version = Registry(far, cache=False).save(tmp_path / "w.bin", "m")
    largest = max(piece.length for _, pieces in version._opened[0].manifest.files for piece in pieces)
    assert largest <= 256 * KIB
    far.moved  # noqa: B018  begin to count
    with version.open("w.bin") as stream:
        stream.seek(7 * MIB)
        assert stream.read(10) == raw[7 * MIB :][:10]
        assert 0 < far.moved <= largest
        stream.seek(-10, io.SEEK_END)
        assert stream.read() == raw[-10:]
        assert 0 < far.moved <= largest


def test_who_reads_on_and_on_is_read_ahead_for(far: Far, tmp_path: Path) -> None:
    raw = np.random.default_rng(0).bytes(3 * MIB)
    (tmp_path / "w.bin").write_bytes(raw)
    version = Registry(far, cache=False).save(tmp_path / "w.bin", "m")
    pieces = sum(len(own) for _, own in version._opened[0].manifest.files)
    assert pieces > 20
    far.reads.clear()
    with version.open("w.bin") as stream:
        parts = []
        while part := stream.read(10_000):
            parts.append(part)
    assert b"".join(parts) == raw
    assert len(far.reads) <= 9
    assert far.moved < len(raw) * 1.1, "and nothing is read twice"


# -- files as streams ----------------------------------------------------------------------------------------------

FILE = np.random.default_rng(5).bytes(700 * KIB)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> mk.ModelVersion:
    folder = tmp_path_factory.mktemp("streamed")
    (folder / "w.bin").write_bytes(FILE)
    return Registry(folder / "registry", durable=False).save(folder / "w.bin", "m")


places = st.integers(0, len(FILE) + 1000) | st.integers(len(FILE) - 5, len(FILE) + 5)
lengths = st.integers(0, 100) | st.integers(0, 200 * KIB) | st.just(-1)


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(st.tuples(places, st.sampled_from([0, 1, 2]), lengths), max_size=6))
def test_a_stream_reads_and_seeks_as_the_file_does(
    streamed: mk.ModelVersion, moves: list[tuple[int, int, int]]
) -> None:
    twin = io.BytesIO(FILE)
    with streamed.open("w.bin") as stream:
        for place, whence, length in moves:
            offset = place if whence == 0 else -(place % (twin.tell() + 1)) if whence == 1 else -(place % len(FILE))
            assert stream.seek(offset, whence) == twin.seek(offset, whence)
            assert stream.read(length) == twin.read(length)
            assert stream.tell() == twin.tell()


def test_streams_of_one_version_do_not_move_each_other(streamed: mk.ModelVersion) -> None:
    with streamed.open("w.bin") as one, streamed.open("w.bin") as other:
        assert one.read(100_000) == FILE[:100_000]
        other.seek(50)
        assert one.read(7) == FILE[100_000:100_007]
        assert other.read(7) == FILE[50:57]
        assert (one.readable(), one.seekable(), one.writable()) == (True, True, False)


def test_a_file_that_is_not_there_is_told_with_those_that_are(streamed: mk.ModelVersion) -> None:
    with pytest.raises(InvalidValueError, match=r"no file 'x'; it has w\.bin"):
        streamed.open("x")


# -- wrong bytes ---------------------------------------------------------------------------------------------------


def test_a_wrong_byte_is_an_error_of_the_tensor_that_has_it_and_of_no_other() -> None:
    store = MemoryStore()
    saved = {"a": noise(1, 100 * KIB), "b": noise(2, 100 * KIB)}
    version = Registry(store).save(saved, "m")
    manifest = version._opened[0].manifest
    ((_, pieces),) = manifest.files
    at = next(piece for piece in reversed(pieces) if piece.length == 100 * KIB)
    key = pack_key("m", manifest.packs[at.pack])
    raw = bytearray(store.get(key))
    raw[at.offset + 5] ^= 1
    store.put_pack(key, [bytes(raw)])
    tensors = Registry(store).get("m").tensors
    assert same(tensors["a"], saved["a"])
    with pytest.raises(IntegrityError) as caught:
        tensors["b"]
    assert caught.value.key == key


@pytest.mark.parametrize("part", ["tensors", "open"])
def test_a_pack_that_is_gone_is_told_as_load_tells_it(part: str) -> None:
    store = MemoryStore()
    version = Registry(store).save({"a": noise(1, 2 * MIB)}, "m")
    tensors, stream = version.tensors, version.open("model.safetensors")
    store.delete([item.key for item in store.list("models/m/data/")])
    with pytest.raises(IntegrityError, match="is missing although a version needs it"):
        tensors["a"] if part == "tensors" else stream.read()


def test_names_that_look_like_those_of_other_files_hide_nothing(registry: Registry, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    folder = tmp_path / "shards"
    folder.mkdir()
    library.save_file({"w": np.full(3, 1)}, folder / "a.st")
    library.save_file({"w": np.full(3, 2), "a.st:w": np.full(3, 3)}, folder / "b.st")
    found = {name: int(tensor[0]) for name, tensor in registry.save(folder, "m").tensors.items()}
    assert found == {"a.st:w": 1, "b.st:w": 2, "b.st:a.st:w": 3}


@pytest.mark.parametrize("array", [
    np.zeros((0, 3)), np.zeros(3, "V0"), np.array([(1.0, 2)], [("größe", "f8"), ("n", "i4")]),
], ids=["empty", "no bytes", "version 3"])  # fmt: skip
def test_npy_files_that_no_map_is_worth_come_back_all_the_same(registry: Registry, tmp_path: Path, array: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of version 3
        np.save(tmp_path / "a.npy", array)
        loaded = registry.save(tmp_path / "a.npy", "m").load()
    assert (loaded.dtype, loaded.shape, loaded.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert loaded.flags.writeable
