"""Loads: from a disk of this machine tensors are mapped, elsewhere read; either way they are what was saved."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import modelkeep as mk
from modelkeep.errors import IntegrityError, InvalidValueError, SerializerError
from modelkeep.layout import pack_key
from modelkeep.registry import Registry
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper

KIB, MIB = 1024, 1024 * 1024
BOTH: tuple[Literal["now", "lazy"], ...] = ("now", "lazy")
LINUX = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="lacks /proc, which tells what memory is")


class Far(MemoryStore):
    """A store of which a client would say that it lies elsewhere."""

    remote = True


def address(array: Any) -> int:
    found: int = array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data
    return found


def mapping(array: Any) -> str:
    """What the system says of the memory in which an array begins: its rights and the file, if it is one."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, _, _, _, *path = line.split(maxsplit=5)
        start, stop = (int(number, 16) for number in where.split("-"))
        if start <= address(array) < stop:
            return f"{rights} {''.join(path)}"
    return "none"


def large(seed: int = 0, size: int = 100 * KIB) -> Any:
    return np.random.default_rng(seed).random(size // 8)


def pack_paths(version: mk.ModelVersion, root: Path) -> list[Path]:
    return [root / pack_key(version.name, pack) for pack in version._known.packs]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(LocalStore(root, durable=False))


def fresh(root: Path) -> Registry:
    return Registry(LocalStore(root, durable=False))


# -- mapped --------------------------------------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize("verify", BOTH)
def test_large_arrays_lie_in_the_file_of_the_pack_and_not_in_memory_of_their_own(
    registry: Registry, root: Path, verify: Literal["now", "lazy"]
) -> None:
    saved = {"a": large(1), "b": large(2, 64 * KIB), "s": np.arange(5.0)}
    version = registry.save(saved, "m")
    (pack,) = pack_paths(version, root)
    assert version.mapped
    loaded = fresh(root).load("m", verify=verify)
    assert [mapping(loaded[name]) for name in "ab"] == [f"rw-p {pack}"] * 2
    assert str(root) not in mapping(loaded["s"])
    assert all(np.array_equal(loaded[name], saved[name]) for name in saved)


def test_a_map_costs_no_read_of_its_bytes(root: Path) -> None:
    recording = Recording(LocalStore(root, durable=False))
    Registry(recording).save({"a": large(1, 4 * MIB)}, "m")
    version = Registry(recording).get("m")
    recording.forget()
    version.load(verify="lazy")
    data = [verb for verb, key in recording.requests if "/data/" in key]
    assert data == ["get", "get", "map"], "the manifest, the header of the file, and the map"


@pytest.mark.parametrize("saved", [{"w": large(0, 64 * KIB - 8)}, {"w": np.zeros(0)}], ids=["small", "empty"])
def test_a_model_without_large_arrays_is_not_mapped(registry: Registry, saved: dict[str, Any]) -> None:
    version = registry.save(saved, "m")
    assert version.mapped is False
    assert np.array_equal(version.load()["w"], saved["w"])


@pytest.mark.parametrize("make", [MemoryStore, Far])
def test_elsewhere_nothing_is_mapped_and_values_are_equal_and_writable(make: Callable[[], Store]) -> None:
    store = make()
    saved = {"a": large(1), "b": large(2, 3 * MIB), "s": np.arange(5.0), "e": np.zeros((0, 3))}
    registry = Registry(store)
    version = registry.save(saved, "m")
    assert version.mapped is False
    for verify in BOTH:
        loaded = Registry(store).load("m", verify=verify)
        assert all(np.array_equal(loaded[name], saved[name]) for name in saved)
        assert loaded["e"].shape == (0, 3)
        for name in "abs":
            loaded[name][:] = 0
        assert np.array_equal(Registry(store).load("m")["a"], saved["a"])
    assert registry.storage.verify().ok


def test_what_reads_only_maps_too(registry: Registry, root: Path) -> None:
    registry.save({"a": large()}, "m")
    assert Registry(ReadOnly(LocalStore(root))).get("m").mapped
    assert not Registry(Wrapper(LocalStore(root))).get("m").mapped
    assert np.array_equal(Registry(Wrapper(LocalStore(root))).load("m")["a"], large())


@pytest.mark.parametrize("verify", BOTH)
def test_who_writes_into_a_loaded_array_changes_no_file_and_no_other_load(
    registry: Registry, root: Path, verify: Literal["now", "lazy"]
) -> None:
    version = registry.save({"a": large(1), "b": large(2)}, "m")
    (pack,) = pack_paths(version, root)
    before = pack.read_bytes()
    one, other = registry.load("m", verify=verify), registry.load("m", verify=verify)
    one["a"] *= 2
    one["a"][-1] = np.nan
    one["b"][0] = -1
    assert np.array_equal(one["a"][:-1], 2 * large(1)[:-1])
    assert np.array_equal(other["a"], large(1))
    assert np.array_equal(registry.load("m")["a"], large(1))
    assert np.array_equal(registry.load("m")["b"], large(2))
    del one
    gc.collect()
    assert pack.read_bytes() == before
    assert version.verify() > 200 * KIB
    assert registry.storage.verify().findings == ()


@pytest.mark.parametrize("verify", BOTH)
def test_equal_arrays_are_stored_once_and_come_back_as_two(registry: Registry, verify: Literal["now", "lazy"]) -> None:
    """As the states of an optimizer are, all zeros, of which each is updated in place."""
    registry.save({"a": np.zeros(10_000), "b": np.zeros(10_000)}, "m")
    loaded = registry.load("m", verify=verify)
    loaded["a"] += 1
    assert loaded["b"].sum() == 0


def test_equal_tensors_that_were_not_tied_are_not_tied_by_a_load(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    registry.save({"a": torch.ones(20_000), "b": torch.ones(20_000)}, "m")
    loaded = registry.load("m")
    loaded["a"].zero_()
    assert loaded["b"].sum() == 20_000


def test_equal_arrays_that_are_read_come_back_as_two() -> None:
    registry = Registry(MemoryStore())
    registry.save({"a": np.zeros(10_000), "b": np.zeros(10_000)}, "m")
    loaded = registry.load("m")
    loaded["a"] += 1
    assert loaded["b"].sum() == 0


def test_a_loaded_array_stays_when_its_pack_is_deleted(registry: Registry, root: Path) -> None:
    version = registry.save({"a": large(1, MIB)}, "m")
    (pack,) = pack_paths(version, root)
    loaded = registry.load("m", verify="lazy")
    pack.unlink()
    assert np.array_equal(loaded["a"], large(1, MIB))
    loaded["a"][0] = 7
    assert loaded["a"][0] == 7
    with pytest.raises(IntegrityError, match=pack.name):
        registry.load("m")


def test_a_loaded_array_outlives_its_registry_and_its_dict(registry: Registry, root: Path) -> None:
    registry.save({"a": large(1), "b": large(2)}, "m")
    kept = fresh(root).load("m")["b"][5:]
    gc.collect()
    assert np.array_equal(kept, large(2)[5:])


def test_a_mapped_array_pickles_and_is_saved_again_like_any_other(registry: Registry) -> None:
    registry.save({"a": large(1)}, "m")
    loaded = registry.load("m")
    assert np.array_equal(pickle.loads(pickle.dumps(loaded))["a"], large(1))
    loaded["a"][3] = 5
    again = registry.save(loaded, "m").load()["a"]
    assert again[3] == 5
    assert np.array_equal(np.delete(again, 3), np.delete(large(1), 3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="lacks fork")
def test_what_a_forked_child_writes_its_parent_does_not_see(registry: Registry) -> None:
    registry.save({"a": large(1)}, "m")
    loaded = registry.load("m")
    child = os.fork()
    if child == 0:  # pragma: no cover
        loaded["a"][:] = 0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(loaded["a"], large(1))


# -- of every library ----------------------------------------------------------------------------------------------


@LINUX
def test_torch_tensors_are_mapped(registry: Registry, root: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    saved = {"a": torch.rand(200, 300), "half": torch.rand(70_000).to(torch.bfloat16), "s": torch.ones(3)}
    assert registry.save(saved, "m").mapped
    for verify in BOTH:
        loaded = fresh(root).load("m", verify=verify)
        assert all(torch.equal(loaded[name], saved[name]) for name in saved)
        assert all(str(root) in mapping(loaded[name]) for name in ("a", "half"))
        loaded["a"].zero_()
        assert torch.equal(registry.load("m")["a"], saved["a"])


@LINUX
def test_the_state_of_a_torch_module_is_mapped(registry: Registry, root: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Sequential(torch.nn.Linear(200, 300), torch.nn.Linear(300, 2))
    assert registry.save(module, "m").mapped
    loaded = fresh(root).load("m", trust=True, verify="lazy")
    assert str(root) in mapping(loaded[0].weight)
    given = torch.rand(5, 200)
    assert torch.equal(loaded(given), module(given))
    with torch.no_grad():
        loaded[0].weight.add_(1)
    assert torch.equal(registry.load("m", trust=True)[0].weight, module[0].weight)
    filled = torch.nn.Sequential(torch.nn.Linear(200, 300), torch.nn.Linear(300, 2))
    registry.load("m", into=filled)
    assert torch.equal(filled(given), module(given))
    assert str(root) not in mapping(filled[0].weight)


@LINUX
def test_the_arrays_of_an_estimator_are_mapped_from_one_mebibyte_on(registry: Registry, root: Path) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    x = np.random.default_rng(0).random((4, 140_000))
    fitted = linear_model.Ridge().fit(x, np.arange(4.0))
    assert registry.save(fitted, "m").mapped
    for verify in BOTH:
        loaded = fresh(root).load("m", trust=True, verify=verify)
        assert str(root) in mapping(loaded.coef_)
        assert np.array_equal(loaded.predict(x), fitted.predict(x))
        loaded.coef_[:] = 0
        assert np.array_equal(registry.load("m", trust=True).coef_, fitted.coef_)


@LINUX
def test_the_arrays_of_any_object_are_mapped_from_one_mebibyte_on(registry: Registry, root: Path) -> None:
    frozen = large(2, 2 * MIB)
    frozen.flags.writeable = False
    saved = {"large": large(1, MIB), "frozen": frozen, "small": large(3, 200 * KIB), "words": ["any", {"thing"}]}
    version = registry.save(saved, "m", serializer="cloudpickle")
    assert version.mapped
    loaded = fresh(root).load("m", trust=True)
    assert [str(root) in mapping(loaded[name]) for name in ("large", "frozen", "small")] == [True, True, False]
    assert all(np.array_equal(loaded[name], saved[name]) for name in ("large", "frozen", "small"))
    assert loaded["words"] == saved["words"]
    assert [loaded[name].flags.writeable for name in ("large", "frozen")] == [True, False]


@LINUX
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_npy_file_is_mapped(registry: Registry, root: Path, tmp_path: Path, order: Literal["C", "F"]) -> None:
    array = np.asarray(np.random.default_rng(0).random((100, 200)), order=order)
    np.save(tmp_path / "w.npy", array)
    assert registry.save(tmp_path / "w.npy", "m").mapped
    loaded = fresh(root).load("m")
    assert str(root) in mapping(loaded)
    assert np.array_equal(loaded, array)
    assert loaded.flags.f_contiguous == array.flags.f_contiguous
    loaded[:] = 0
    assert np.array_equal(registry.load("m"), array)


@LINUX
def test_a_safetensors_file_of_the_library_is_mapped(registry: Registry, root: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    saved = {"a": large(1), "b": large(2), "s": np.arange(3, dtype=np.int8)}
    library.save_file(saved, tmp_path / "w.safetensors")
    assert registry.save(tmp_path / "w.safetensors", "m").mapped
    loaded = fresh(root).load("m")
    assert all(str(root) in mapping(loaded[name]) for name in "ab")
    assert all(np.array_equal(loaded[name], saved[name]) for name in saved)


@LINUX
@pytest.mark.parametrize("kind", ["npz", "torch"])
def test_what_is_copied_does_not_claim_to_be_mapped(registry: Registry, root: Path, tmp_path: Path, kind: str) -> None:
    if kind == "npz":
        np.savez(tmp_path / "w.npz", a=large(1))
        version = registry.save(tmp_path / "w.npz", "m")
    else:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        torch.save({"a": torch.from_numpy(large(1))}, tmp_path / "w.pt")
        version = registry.save(tmp_path / "w.pt", "m")
    loaded = version.load(trust=True)
    assert version.mapped == (str(root) in mapping(loaded["a"]))


# -- checked -------------------------------------------------------------------------------------------------------


def places(version: mk.ModelVersion) -> Iterator[tuple[str, int, int]]:
    """The pieces of a version: the key of the pack, the offset, and the length as stored."""
    manifest = version._opened[0].manifest
    for _, pieces in manifest.files:
        for piece in pieces:
            yield pack_key(version.name, manifest.packs[piece.pack]), piece.offset, piece.stored


def altered(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (was,) = file.read(1)
        file.seek(at)
        file.write(bytes([was ^ 1]))


def test_an_altered_byte_anywhere_in_what_is_mapped_is_found(registry: Registry, root: Path) -> None:
    version = registry.save({"a": large(1, 70 * KIB), "b": large(2, 9 * MIB)}, "m")
    fresh(root).load("m")
    for key, offset, length in places(version):
        for at in (offset, offset + length // 2, offset + length - 1):
            altered(root / key, at)
            with pytest.raises(IntegrityError) as caught:
                fresh(root).load("m")
            assert caught.value.key == key
            altered(root / key, at)
    fresh(root).load("m")


def test_lazily_an_altered_map_is_handed_out_and_verify_names_the_object(registry: Registry, root: Path) -> None:
    version = registry.save({"a": large(1), "s": large(2, 20 * KIB)}, "m")
    key, offset, length = max(places(version), key=lambda place: place[2])
    assert length == 100 * KIB
    altered(root / key, offset + 8 * 100)
    loaded = fresh(root).load("m", verify="lazy")
    assert np.flatnonzero(loaded["a"] != large(1)).tolist() == [100]
    for asked in (version, fresh(root).get("m")):
        with pytest.raises(IntegrityError) as caught:
            asked.verify()
        assert caught.value.key == key
        assert (caught.value.offset, caught.value.length) == (offset, length)
    with pytest.raises(IntegrityError, match=f"{key} is damaged at bytes {offset}"):
        fresh(root).load("m")
    altered(root / key, offset + 8 * 100)
    assert version.verify() >= 120 * KIB


def test_lazily_what_is_read_is_checked_all_the_same(registry: Registry, root: Path) -> None:
    version = registry.save({"a": large(1), "s": large(2, 20 * KIB), "tiny": np.arange(9.0)}, "m")
    for key, offset, length in places(version):
        if length < 64 * KIB:
            altered(root / key, offset + length - 1)
            with pytest.raises(IntegrityError) as caught:
                fresh(root).load("m", verify="lazy")
            assert caught.value.key == key
            altered(root / key, offset + length - 1)
    assert fresh(root).load("m", verify="lazy")["tiny"].tolist() == list(range(9))


@pytest.mark.parametrize("verify", BOTH)
def test_a_pack_that_was_cut_off_is_an_error_and_kills_nobody(
    registry: Registry, root: Path, verify: Literal["now", "lazy"]
) -> None:
    first = registry.save({"a": large(1, MIB), "b": large(2, MIB)}, "m")
    registry.save({"a": large(1, MIB), "b": large(3, MIB)}, "m")  # its manifest lies in another pack
    (pack,) = pack_paths(first, root)
    whole = pack.read_bytes()
    script = (
        "import sys, modelkeep as mk\n"
        f"loaded = mk.Registry({str(root)!r}).load('m:2', verify={verify!r})\n"
        "sys.exit(int(loaded['a'].sum() * 0))"
    )
    for size in (0, 16, 4096, 5000, len(whole) // 4, len(whole) // 2 // 4096 * 4096):
        os.truncate(pack, size)
        with pytest.raises(IntegrityError) as caught:
            fresh(root).load("m:2", verify=verify)
        assert pack.name in str(caught.value.key)
        pack.write_bytes(whole)
    os.truncate(pack, 5000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert "IntegrityError" in done.stderr


def test_packs_that_changed_places_are_found(registry: Registry, root: Path) -> None:
    first = registry.save({"a": large(1), "b": large(2)}, "m")
    other = registry.save({"a": large(8), "b": large(9)}, "m")
    registry.save({"a": large(1), "b": large(3)}, "m")
    registry.save({"a": large(8), "b": large(4)}, "m")
    one, two = (pack_paths(v, root)[-1] for v in (first, other))
    aside = one.with_name(".aside")
    for source, target in ((one, aside), (two, one), (aside, two)):
        source.rename(target)
    for number in (1, 2, 3, 4):
        with pytest.raises(IntegrityError) as caught:
            fresh(root).load(f"m:{number}")
        assert caught.value.key.endswith((one.name, two.name))
    for number in (3, 4):
        with pytest.raises(IntegrityError):
            fresh(root).get(f"m:{number}").verify()


@pytest.mark.parametrize("word", ["later", "", "NOW", None, True, 1])
def test_how_to_verify_is_now_or_lazy_and_nothing_else(registry: Registry, word: Any, tmp_path: Path) -> None:
    version = registry.save({"a": large(1)}, "m")
    out = tmp_path / "out"
    asks: tuple[Callable[[], object], ...] = (
        lambda: version.load(verify=word),
        lambda: registry.load("m", verify=word),
        lambda: registry.load("m", verify=word, into=out),
    )
    for ask in asks:
        with pytest.raises(InvalidValueError, match="neither 'now' nor 'lazy'"):
            ask()
    assert not out.exists()


# -- all kinds of arrays -------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Equal in type, shape and every byte."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and one.tobytes() == other.tobytes()


def ways(root: Path) -> Iterator[tuple[Store, Literal["now", "lazy"]]]:
    for verify in BOTH:
        yield LocalStore(root, durable=False), verify
    yield MemoryStore(), "now"


@pytest.mark.parametrize("factor", [1, 40], ids=["small", "large"])
def test_arrays_of_every_layout_come_back_equal(tmp_path: Path, factor: int) -> None:
    rng = np.random.default_rng(0)
    base = rng.random((40 * factor, 50, 3))
    frozen = base.copy()
    frozen.flags.writeable = False
    saved = {
        "fortran": np.asfortranarray(base),
        "strided": base[::2, ::-1],
        "transposed": base.T,
        "one": np.array(3.5, np.float32),
        "empty": np.zeros((0, 5), np.int16),
        "hollow": np.zeros((3, 0, 7)),
        "frozen": frozen,
        "big": base.astype(">f8"),
        "bools": base > 0.5,
        "texts": np.array(["a", "bcd"] * 30 * factor),
        "bytes": np.array([b"a", b"bcd"] * 30 * factor),
        "times": np.arange(100 * factor).astype("M8[ms]"),
        "complex": base.astype(complex),
        "broadcast": np.broadcast_to(base[0], (factor, 50, 3)),
        "unaligned": np.frombuffer(b"x" + base.tobytes(), np.uint8)[1:].view(np.float64),
    }
    for store, verify in ways(tmp_path / "registry"):
        Registry(store).save(saved, "m")
        loaded = Registry(store).load("m", verify=verify)
        assert list(loaded) == list(saved)
        assert [name for name in saved if not same(loaded[name], saved[name])] == []
        assert all(array.flags.writeable for array in loaded.values() if array.size)


def test_an_array_of_objects_is_refused_and_the_message_names_it(registry: Registry) -> None:
    with pytest.raises(SerializerError, match="parts/1 is an array of dtype object"):
        registry.save({"parts": [large(), np.array([{}, None], dtype=object)]}, "m")


kinds = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    arrays.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    arrays.datetime64_dtypes(),
    arrays.unicode_string_dtypes(min_len=1, max_len=5),
)


@settings(max_examples=40, deadline=None)
@given(
    drawn=st.lists(
        st.tuples(kinds, st.lists(st.sampled_from([0, 1, 2, 3, 90, 300]), max_size=3), st.sampled_from("CF")),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 99),
)
def test_arrays_of_any_type_and_shape_come_back_equal(
    drawn: list[tuple[Any, list[int], Literal["C", "F"]]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    saved: dict[str, Any] = {}
    for number, (kind, shape, order) in enumerate(drawn):
        dims = shape if np.prod(shape) <= 90_000 else shape[:1]
        count = int(np.prod(dims, dtype=int))
        raw = rng.integers(0, 2 if kind.kind in "bU" else 256, count * kind.itemsize, np.uint8)
        saved[f"a{number}"] = np.asarray(raw.view(kind).reshape(dims), order=order)
    for store, verify in ways(tmp_path_factory.mktemp("any") / "registry"):
        Registry(store).save(saved, "m")
        loaded = Registry(store).load("m", verify=verify)
        assert list(loaded) == list(saved)
        assert [name for name in saved if not same(loaded[name], saved[name])] == []


def test_torch_tensors_of_every_kind_come_back_equal(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    base = torch.rand(200, 300)
    saved = {
        "bf16": base.to(torch.bfloat16),
        "half": base.half(),
        "bool": base > 0.5,
        "zero": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "turned": base.T,
        "slice": base[::2, 5:7],
        "int": torch.arange(20_000),
        "expanded": torch.ones(1).expand(30_000),
    }
    for store, verify in ways(tmp_path / "registry"):
        Registry(store).save(saved, "m")
        loaded = Registry(store).load("m", verify=verify)
        for name, tensor in saved.items():
            assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape), name
            assert torch.equal(loaded[name], tensor), name


def test_tied_torch_tensors_are_one_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shared = torch.rand(30_000)
    for store, verify in ways(tmp_path / "registry"):
        Registry(store).save({"head": shared, "tail": shared, "alike": shared.clone()}, "m")
        Registry(store).save({"deep": [shared, {"in": shared}]}, "m")
        loaded = Registry(store).load("m:1", verify=verify)
        assert loaded["head"] is loaded["tail"]
        assert loaded["alike"] is not loaded["head"]
        nested = Registry(store).load("m:2", verify=verify)["deep"]
        assert nested[0] is nested[1]["in"]
        assert torch.equal(nested[0], shared)


def test_a_tied_module_is_tied_again(registry: Registry) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = torch.nn.Sequential(torch.nn.Embedding(300, 70), torch.nn.Linear(70, 300))
    module[1].weight = module[0].weight
    registry.save(module, "m")
    loaded = registry.load("m", trust=True)
    assert loaded[1].weight is loaded[0].weight
    assert torch.equal(loaded[0].weight, module[0].weight)


# -- of every size -------------------------------------------------------------------------------------------------


def test_few_large_arrays_among_many_tiny_ones_are_mapped(tmp_path: Path) -> None:
    saved = {f"tiny{number:03d}": np.full(5, number, np.float64) for number in range(300)}
    saved |= {f"large{number}": large(number, 70 * KIB) for number in range(3)}
    saved["middle"] = large(9, 30 * KIB)
    for store, verify in ways(tmp_path / "registry"):
        version = Registry(store).save(saved, "m")
        assert version.mapped is isinstance(store, LocalStore)
        loaded = Registry(store).load("m", verify=verify)
        assert list(loaded) == list(saved)
        assert all(same(loaded[name], saved[name]) for name in saved)
        for name in saved:
            loaded[name] += 1  # none lies on another
        assert all(np.array_equal(loaded[name], saved[name] + 1) for name in saved)


def test_twenty_thousand_tiny_arrays_come_back(registry: Registry) -> None:
    saved = {f"t{number}": np.full(3, number) for number in range(20_000)}
    version = registry.save(saved, "m")
    loaded = registry.load("m")
    assert list(loaded) == list(saved)
    assert all(loaded[f"t{number}"].tolist() == [number] * 3 for number in range(0, 20_000, 7))
    pieces = sum(len(own) for _, own in version._opened[0].manifest.files)
    assert pieces < 200, "tiny tensors are no pieces of their own"


def test_64_mebibytes_of_zeros_take_one_piece(registry: Registry, root: Path) -> None:
    version = registry.save({"zeros": np.zeros(8 * MIB), "ones": large(1, 70 * KIB)}, "m")
    (pack,) = pack_paths(version, root)
    assert pack.stat().st_size < 8.2 * MIB
    loaded = fresh(root).load("m")
    assert loaded["zeros"].shape == (8 * MIB,)
    assert not loaded["zeros"].any()
    loaded["zeros"][1] = 1
    assert loaded["zeros"].sum() == 1, "each piece has memory of its own"
    assert np.array_equal(loaded["ones"], large(1, 70 * KIB))


def test_an_array_of_several_pieces_of_which_one_changed_loads(registry: Registry, root: Path) -> None:
    array = large(1, 20 * MIB)
    registry.save({"a": array}, "m")
    changed = array.copy()
    changed[9 * MIB // 8] = -1  # in its second piece
    second = registry.save({"a": changed}, "m")
    assert 8 * MIB <= pack_paths(second, root)[-1].stat().st_size < 8.2 * MIB
    for verify in BOTH:
        assert np.array_equal(fresh(root).load("m:1", verify=verify)["a"], array)
        assert np.array_equal(fresh(root).load("m:2", verify=verify)["a"], changed)
    assert registry.get("m:1").mapped
    assert not registry.get("m:2").mapped, "it lies in two packs"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  without an object for each


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lacks /proc")
def test_loads_leave_no_descriptor_behind(registry: Registry, tmp_path: Path) -> None:
    registry.save({"a": large(1), "b": large(2)}, "m")
    np.save(tmp_path / "w.npy", large(1))
    registry.save(tmp_path / "w.npy", "file")
    version = registry.get("m")

    def once() -> None:
        registry.load("m")
        registry.load("m", verify="lazy")
        registry.load("file")
        version.tensors["a"]
        version.open("model.safetensors").read(10)

    once()
    gc.collect()
    before = open_descriptors()
    for _ in range(200):
        once()
    gc.collect()
    assert open_descriptors() == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lacks /proc")
def test_a_load_that_fails_leaves_no_descriptor_behind(registry: Registry, root: Path) -> None:
    version = registry.save({"a": large(1), "b": large(2)}, "m")
    key, offset, _ = max(places(version), key=lambda place: place[2])
    altered(root / key, offset)

    def once() -> None:
        with pytest.raises(IntegrityError):
            registry.load("m")

    once()
    gc.collect()
    before = open_descriptors()
    for _ in range(50):
        once()
    gc.collect()
    assert open_descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="lacks a limit that a process may set for itself")
def test_more_loads_than_the_system_has_descriptors_for_are_possible(registry: Registry, root: Path) -> None:
    registry.save({"a": large(1)}, "m")
    script = (
        "import resource, sys, modelkeep as mk\n"
        f"registry = mk.Registry({str(root)!r})\n"
        "registry.load('m')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "held = [registry.load('m') for _ in range(100)]\n"
        "assert len({float(one['a'].sum()) for one in held}) == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_tensor_that_equals_the_end_of_another_is_not_changed_with_it(registry: Registry) -> None:
    whole = np.random.default_rng(3).random(2 << 20)  # 16 MiB: two pieces
    registry.save({"a": whole, "b": whole[1 << 20 :].copy()}, "m")
    loaded = registry.load("m")
    loaded["a"][:] = 0
    assert np.array_equal(loaded["b"], whole[1 << 20 :])


def test_all_tensors_one_by_one_hold_one_descriptor_for_each_pack(registry: Registry) -> None:
    registry.save({str(n): np.full(8192, n, np.float64) for n in range(50)}, "m")
    version = registry.get("m")
    before = open_descriptors()
    held = list(version.tensors.values())
    assert len(held) == 50
    assert open_descriptors() - before <= 1
    held[7][:] = 0
    assert version.tensors["7"].max() == 7, "who asks again gets it as it was saved"


def test_several_threads_open_the_files_of_one_version_at_once(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(300):
        (folder / f"{n:03d}.bin").write_bytes(bytes([n % 251]))
    registry.save(folder, "m")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(10):
            version = registry.get("m")
            assert version.files
            with ThreadPoolExecutor(4) as threads:
                opened = list(threads.map(lambda n, v=version: v.open(f"{n:03d}.bin").read(), range(299, 250, -1)))
            assert opened == [bytes([n % 251]) for n in range(299, 250, -1)]
    finally:
        sys.setswitchinterval(before)


def test_verify_holds_a_few_runs_and_not_the_whole_version(registry: Registry) -> None:
    version = registry.save({"a": np.random.default_rng(4).random(16 << 20)}, "m")  # 128 MiB
    tracemalloc.start()
    try:
        version.verify()
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()
