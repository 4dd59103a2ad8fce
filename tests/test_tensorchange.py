"""How far tensors moved: the nets whose story is known, numbers of every kind, pieces that are not read, and memory."""

from __future__ import annotations

import math
import multiprocessing
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import modelkeep as mk
from modelkeep.manifest import Manifest
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper
from modelkeep.tensorchange import TensorChange, TensorChanges, tensor_changes
from modelkeep.tensornorms import of_elements
from trained import nets

MIB = 1 << 20


def between(before: object, after: object, place: Any = None, **options: Any) -> TensorChanges:
    registry = mk.Registry(MemoryStore() if place is None else place, durable=False)
    return tensor_changes(*(registry.save(model, "churn", **options) for model in (before, after)))


def only(found: TensorChanges) -> TensorChange:
    (change,) = found
    return change


def random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


# -- the nets --------------------------------------------------------------------------------------------------------


def story(registry: mk.Registry, number: int) -> TensorChanges:
    model = registry.model(nets.NAME)
    before = registry.get("encoder:1") if number == 1 else model.version(number - 1)
    return tensor_changes(before, model.version(number))


def kinds(found: TensorChanges) -> dict[str, set[str]]:
    return {kind: {one.name for one in found if one.kind == kind} for kind in {one.kind for one in found}}


def test_a_version_made_from_another_with_the_same_tensors_changed_none_and_read_none(
    nets_registry: mk.Registry,
) -> None:
    found = story(nets_registry, 1)
    assert (list(found), found.equal, found.read) == ([], 4, 0)


def test_where_the_head_alone_was_trained_the_head_alone_moved(nets_registry: mk.Registry) -> None:
    assert kinds(story(nets_registry, 2)) == {"changed": set(nets.HEAD)}


def test_where_all_was_trained_all_moved_by_what_torch_reckons(nets_registry: mk.Registry) -> None:
    found = story(nets_registry, 3)
    assert kinds(found) == {"changed": {*nets.HEAD, *nets.BODY}}
    old, new = (nets_registry.load(f"net:{number}") for number in (2, 3))
    for change in found:
        was, now = (state[change.name].double() for state in (old, new))
        assert change.relative == pytest.approx(float((now - was).norm() / was.norm()), rel=1e-12)
        assert change.changed == int((was != now).sum())


def test_a_head_of_other_classes_is_reshaped_and_a_new_layer_is_new(nets_registry: mk.Registry) -> None:
    reshaped = story(nets_registry, 4)
    assert kinds(reshaped) == {"reshaped": set(nets.HEAD)}
    assert reshaped["head.weight"].shapes == ((10, 32), (12, 32))
    assert reshaped["head.weight"].relative is None
    assert kinds(story(nets_registry, 5)) == {"new": {"middle.bias", "middle.weight"}}
    back = tensor_changes(nets_registry.get("net:5"), nets_registry.get("net:4"))
    assert kinds(back) == {"gone": {"middle.bias", "middle.weight"}}


# -- numbers ---------------------------------------------------------------------------------------------------------


def norm(values: Any) -> float:
    return math.hypot(*values.ravel().tolist())


FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(arrays.arrays("f8", 20, elements=FLOATS), arrays.arrays("f8", 20, elements=FLOATS))
def test_the_norm_holds_for_numbers_of_any_size(before: Any, after: Any) -> None:
    found = of_elements(before, after)
    halves = norm(after / 2 - before / 2)  # a difference of two floats may be beyond them
    expected = 2 * halves / norm(before) if norm(before) else math.inf if halves else 0.0
    if found.relative is None:
        assert math.isinf(2 * halves)
    elif math.isfinite(expected) and norm(before) > 1e-300:
        assert found.relative == pytest.approx(expected, rel=1e-9)
    assert found.changed == np.count_nonzero(before != after)


SPECIAL = st.sampled_from([0.0, 1.0, -2.0, math.nan, math.inf, -math.inf])


@given(arrays.arrays("f4", 12, elements=SPECIAL), arrays.arrays("f4", 12, elements=SPECIAL))
def test_nan_and_infinity_are_counted_and_stay_out_of_the_norm(before: Any, after: Any) -> None:
    found = of_elements(before, after)
    both = np.isfinite(before) & np.isfinite(after)
    was, now = before[both].astype(float), after[both].astype(float)
    expected = norm(now - was) / norm(was) if norm(was) else math.inf if norm(now - was) else 0.0
    assert found.relative == pytest.approx(expected)
    assert list(found.not_finite) == [np.count_nonzero(~np.isfinite(one)) for one in (before, after)]
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    assert found.changed == np.count_nonzero(~same)


def test_a_nan_that_stays_is_the_same_and_one_that_came_is_told() -> None:
    before = {"w": np.array([1.0, math.nan]), "v": np.array([1.0, 2.0])}
    found = between(before, before | {"v": np.array([1.0, math.nan])})
    assert (only(found).name, only(found).changed, only(found).not_finite, found.equal) == ("v", 1, (0, 1), 1)


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8"])
def test_every_type_of_number_gives_the_same_norm(dtype: str) -> None:
    before = np.array([1, 0, 1, 1], dtype)
    change = only(between({"w": before}, {"w": np.array([1, 1, 1, 0], dtype)}))
    assert change.relative == pytest.approx(math.sqrt(2 / 3))
    assert change.changed == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "bool", "complex64"])
def test_every_type_of_torch_gives_the_same_norm(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    kind = getattr(torch, dtype)
    before, after = torch.tensor([1.0, 0, 1, 1]).to(kind), torch.tensor([1.0, 1, 1, 0]).to(kind)
    change = only(between({"w": before}, {"w": after}))
    assert change.relative == pytest.approx(math.sqrt(2 / 3))
    assert (change.changed, change.dtypes[0]) == (2, dtype)


def test_whole_numbers_that_a_float_cannot_tell_apart_are_told_apart() -> None:
    before = np.array([1 << 60, 7], "i8")
    change = only(between({"w": before}, {"w": before + np.array([1, 0])}))
    assert change.changed == 1


def test_another_type_of_the_same_numbers_is_retyped_and_did_not_move() -> None:
    torch = pytest.importorskip("torch")
    change = only(between({"w": torch.ones(3)}, {"w": torch.ones(3, dtype=torch.bfloat16)}))
    assert (change.kind, change.relative, change.changed) == ("retyped", 0.0, 0)
    assert change.dtypes == ("float32", "bfloat16")
    rounded = only(between({"w": random(9)}, {"w": random(9).astype("f2")}))
    assert 0 < (rounded.relative or 0) < 1e-3
    complex_now = only(between({"w": np.ones(3, "f4")}, {"w": np.array([1, 1, 1j], "c8")}))
    assert complex_now.relative == pytest.approx(math.sqrt(2 / 3))
    assert complex_now.changed == 1


def test_what_was_all_zero_moved_infinitely_far() -> None:
    change = only(between({"b": np.zeros(3)}, {"b": np.array([0, 0, 1e-9])}))
    assert change.relative == math.inf


def test_texts_have_no_norm_and_are_counted() -> None:
    change = only(between({"names": np.array(["a", "bc"])}, {"names": np.array(["a", "bd"])}))
    assert (change.relative, change.changed) == (None, 1)
    moments = np.array(["2026-01-01", "NaT"], "M8[D]")
    assert only(between({"t": moments}, {"t": moments + np.array([1, 0])})).changed == 1


def test_tensors_without_elements_or_dimensions_are_compared() -> None:
    found = between({"none": np.zeros((0, 3)), "one": np.array(2.0)}, {"none": np.zeros((0, 3)), "one": np.array(3.0)})
    assert (only(found).name, only(found).relative, found.equal) == ("one", 0.5, 1)


def test_arrays_kept_by_columns_are_compared_by_their_elements(tmp_path: Path) -> None:
    before, after = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)
    after[1, 0] = 7.0
    for place, (one, other) in enumerate([("C", "F"), ("F", "C"), ("F", "F")]):
        paths = []
        for name, (array, order) in {"old": (before, one), "new": (after, other)}.items():
            (tmp_path / f"{place}{name}").mkdir()
            paths.append(tmp_path / f"{place}{name}" / "w.npy")
            np.save(paths[-1], (np.asfortranarray if order == "F" else np.ascontiguousarray)(array))
        change = only(between(*paths, serializer="files"))
        assert change.relative == pytest.approx(4 / norm(before))
        assert change.changed == 1


def test_archives_of_numpy_are_compared_too(tmp_path: Path) -> None:
    for name, value in (("old", 1.0), ("new", 1.5)):
        (tmp_path / name).mkdir()
        np.savez_compressed(tmp_path / name / "model.npz", w=np.full(4, value), b=np.zeros(2))
    found = between(tmp_path / "old" / "model.npz", tmp_path / "new" / "model.npz", serializer="files")
    assert (only(found).name, only(found).relative, found.equal) == ("w", 0.5, 1)


def test_tensors_of_jax_are_compared() -> None:
    jnp = pytest.importorskip("jax.numpy")
    change = only(between({"w": jnp.ones(4, jnp.bfloat16)}, {"w": jnp.full(4, 1.5, jnp.bfloat16)}))
    assert (change.relative, change.dtypes[0]) == (0.5, "bfloat16")


def test_a_tensor_that_cannot_be_read_here_is_unknown_and_the_others_are_told() -> None:
    pytest.importorskip("jax")
    import jax

    with jax.enable_x64(True):
        registry = mk.Registry("memory://x64")
        wide = {"a": jax.numpy.ones(2, "float64"), "b": jax.numpy.ones(2, "float32")}
        versions = [registry.save({"t": wide | {"b": wide["b"] * n}}, "churn") for n in (1, 2)]
    found = tensor_changes(*versions)
    assert kinds(found) == {"unknown": {"t/a"}, "changed": {"t/b"}}
    assert "jax_enable_x64" in found["t/a"].note


def test_preprocessing_and_other_parts_are_no_tensors_of_the_model() -> None:
    registry = mk.Registry("memory://parts-apart")
    old, new = (registry.save({"w": np.ones(2)}, "churn", preprocess={"m": np.full(2, n)}) for n in (1.0, 2.0))
    assert (list(tensor_changes(old, new)), tensor_changes(old, new).equal) == ([], 1)


# -- bytes -----------------------------------------------------------------------------------------------------------


class Counting(Wrapper):
    """Counts the bytes that are got of packs."""

    got = 0

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        raw = self.within.get(key, span)
        self.got += len(raw) if "/data/" in key else 0
        return raw

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        self.got += target.nbytes
        return self.within.get_into(key, offset, target)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        return self.within.get_many(keys)


def test_a_tensor_whose_pieces_are_equal_by_digest_is_not_read() -> None:
    store = Counting(MemoryStore())
    registry = mk.Registry(store)
    model = {f"layer{n}": random(MIB // 4) + n for n in range(4)}
    registry.save(model, "churn")
    registry.save(model | {"layer2": model["layer2"] * 2}, "churn")
    fresh = mk.Registry(store)
    versions = [fresh.get(f"churn:{n}") for n in (1, 2)]
    store.got = 0
    found = tensor_changes(*versions)
    assert only(found).relative == pytest.approx(1)
    assert (only(found).name, found.equal) == ("layer2", 3)
    assert found.read == 2 * MIB
    assert store.got < 2 * MIB + 200_000  # manifests and headers


def test_of_a_tensor_of_many_pieces_the_equal_ones_are_read_once() -> None:
    before = random(6 * MIB)
    after = before.copy()
    after[0] += 1
    found = between({"w": before}, {"w": after})
    assert found.read == (24 + 8) * MIB
    moved = float(np.float64(after[0]) - np.float64(before[0]))
    assert only(found).relative == pytest.approx(moved / np.linalg.norm(before.astype("f8")), rel=1e-9)


def test_a_wrong_byte_is_an_error_and_no_change(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path / "registry", durable=False)
    old, new = registry.save({"w": random(MIB)}, "churn"), registry.save({"w": random(MIB) + 1}, "churn")
    pack = max(tmp_path.rglob("*.pack"), key=lambda path: path.stat().st_mtime_ns)
    raw = bytearray(pack.read_bytes())
    raw[2 * MIB] ^= 1
    pack.write_bytes(raw)
    with pytest.raises(mk.IntegrityError):
        tensor_changes(old, new)


def test_versions_that_were_compacted_meanwhile_are_compared_as_before(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path / "registry", durable=False)
    base = random(MIB)
    old, new = registry.save({"w": base}, "churn"), registry.save({"w": base * np.float32(1.5)}, "churn")
    before = tensor_changes(old, new)
    mk.Registry(tmp_path / "registry", durable=False).storage.compact()
    assert not registry.get("churn:1").mapped
    assert list(tensor_changes(old, new)) == list(before)
    assert list(tensor_changes(registry.get("churn:1"), registry.get("churn:2"))) == list(before)


def test_a_piece_of_every_manifest_is_what_a_tensor_says_it_is(tmp_path: Path) -> None:
    # equal digests are believed, so the digest must be that of the bytes: read past the library
    from blake3 import blake3

    registry = mk.Registry(tmp_path / "registry", durable=False)
    version = registry.save({"w": random(MIB)}, "churn")
    manifest: Manifest = version._opened[0].manifest
    (piece, *_) = (piece for _, pieces in manifest.files for piece in pieces if piece.length == 4 * MIB)
    assert piece.digest == blake3(random(MIB).tobytes()).digest()


# -- memory ----------------------------------------------------------------------------------------------------------


def peak(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_tensors_that_cannot_be_mapped_are_held_a_few_pieces_at_a_time() -> None:
    registry = mk.Registry("memory://large")
    base = random(24 * MIB)  # 96 MiB
    old, new = registry.save({"w": base}, "churn"), registry.save({"w": base * np.float32(2)}, "churn")
    del base
    assert peak(lambda: tensor_changes(old, new)) < 64 * MIB


def _compare(folder: str, line: Any) -> None:
    registry = mk.Registry(folder, durable=False)
    tensor_changes(registry.get("warm:1"), registry.get("warm:2"))
    old, new = registry.get("churn:1"), registry.get("churn:2")
    line.send("ready")
    line.recv()
    line.send(str(tensor_changes(old, new)["w"].relative))
    line.recv()


def _anonymous(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory of a process")
def test_two_models_on_a_disk_are_compared_with_little_memory_of_their_own(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path, durable=False)
    base = random(32 * MIB)  # 128 MiB
    for factor in (1, 2):
        registry.save({"w": np.ones(4) * factor}, "warm")
        registry.save({"w": base * np.float32(factor)}, "churn")
    line, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_compare, args=(str(tmp_path), theirs))
    process.start()
    line.recv()
    highest = before = _anonymous(process.pid)
    line.send("go")
    while not line.poll(0.001):
        highest = max(highest, _anonymous(process.pid))
    assert float(line.recv()) == pytest.approx(1)
    line.send("end")
    process.join()
    assert highest - before < 64 * MIB
