from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.tree import serializer as tree
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import (
    MemoryFiles,
    MemorySink,
    SerializerContract,
    load_from_memory,
    save_in_memory,
)


def raw(array: Any) -> bytes:
    if isinstance(array, torch.Tensor):
        return bytes(array.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return bytes(np.asarray(array).tobytes())


def same(a: Any, b: Any) -> bool:
    """Equal in type, structure, order of keys and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic, torch.Tensor)):
        return (a.dtype, a.shape, raw(a)) == (b.dtype, b.shape, raw(b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    return bool(a == b)


def came_back(obj: Any) -> Any:
    return load_from_memory(tree, save_in_memory(tree, obj))


class TestTree(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return tree

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        weights = np.arange(6, dtype="f4").reshape(2, 3)
        return [
            {"w": weights, "b": np.zeros(3)},
            {"w": torch.ones(2, 3), "b": torch.zeros(3, dtype=torch.bfloat16)},
            {"w": weights, "t": torch.ones(2)},
            {"layers": [{"w": weights}, (weights, 1, 2.5, "relu", None, True)], 3: np.float64(0.5)},
            weights,
            torch.ones(2),
        ]

    def same(self, a: Any, b: Any) -> bool:
        return same(a, b)


FIXED = ["?", "i1", "u1", "<i2", ">i2", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8", "<c8", ">c8", "<c16", "<M8[ns]",
         ">m8[D]", "<U3", ">U3", "S5", "V4"]  # fmt: skip


@pytest.mark.parametrize("dtype", FIXED)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_every_numpy_type_of_fixed_size_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    pattern = bytes([1, 0]) if kind.kind == "b" else bytes(range(256))
    if kind.kind == "U":
        pattern = b"\0\0\0a" if kind.byteorder == ">" else b"a\0\0\0"
    array = np.frombuffer((pattern * (size // len(pattern) + 1))[:size], kind).reshape(shape)
    found = came_back({"w": array})["w"]
    assert same(array, found)
    assert found.flags.writeable


TORCH = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.float16, torch.bfloat16, torch.int32,
         torch.uint32, torch.float32, torch.int64, torch.uint64, torch.float64, torch.complex64, torch.float8_e4m3fn,
         torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu]  # fmt: skip


@pytest.mark.parametrize("dtype", TORCH, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_torch_tensors_come_back_bit_for_bit(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    size = math.prod(shape) * dtype.itemsize
    pattern = torch.tensor([(i % 2) if dtype == torch.bool else i for i in range(size)], dtype=torch.uint8)
    tensor = pattern.view(dtype).reshape(shape)
    found = came_back({"w": tensor})["w"]
    assert same(tensor, found)
    if found.numel():
        found.view(-1)[:1] = 1  # it is writable
        assert found.view(-1)[:1].to(torch.complex64).item() == 1


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | hnp.arrays(
        hnp.scalar_dtypes().filter(lambda d: d.itemsize > 0), hnp.array_shapes(min_dims=0, min_side=0, max_dims=3)
    )
)
keys = st.text() | st.integers()
trees = st.recursive(
    leaves,
    lambda part: st.lists(part, max_size=3) | st.lists(part, max_size=3).map(tuple) | st.dictionaries(keys, part),
    max_leaves=8,
)


@given(trees)
def test_any_tree_comes_back_exactly(obj: Any) -> None:
    obj = {"array": np.zeros(1), "rest": obj}
    assert tree.accepts(obj)
    assert same(obj, came_back(obj))


@given(st.dictionaries(st.text(min_size=1), hnp.arrays("f4", 2), min_size=1))
def test_a_flat_dict_is_one_file_and_keeps_its_order(obj: dict[str, Any]) -> None:
    files = save_in_memory(tree, obj)
    assert files.names() == ("model.safetensors",)
    assert same(obj, load_from_memory(tree, files))


@pytest.mark.parametrize("obj", [
    {1: np.zeros(1), "1": np.ones(1)},
    {"": {"a": np.zeros(1)}, "a": np.ones(1)},
    {"a": {"b/c": np.zeros(1)}, "a/b": {"c": np.ones(1)}},
    {"__metadata__": np.zeros(1)},
    {"__metadata__": np.zeros(1), "__metadata__~": np.ones(1)},
    {"\ud800": np.zeros(1), "\\ud800": np.ones(1)},
    {"order": np.zeros(1), "tied": np.ones(1), "format": np.ones(2)},
    {"$array": {"$dict": np.zeros(1), "$value": "x"}},
])  # fmt: skip
def test_keys_that_could_be_mistaken_for_each_other_stay_apart(obj: Any) -> None:
    assert same(obj, came_back(obj))


def test_the_reference_reads_a_flat_dict() -> None:
    weights = {"w": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array(True)}
    read = safetensors.numpy.load(bytes(save_in_memory(tree, weights).read("model.safetensors")))
    assert {key: same(weights[key], read[key]) for key in weights} == {"w": True, "b": True}
    state = torch.nn.Linear(2, 3).state_dict()
    tensors = safetensors.torch.load(bytes(save_in_memory(tree, state).read("model.safetensors")))
    assert {key: torch.equal(state[key], tensors[key]) for key in state} == {"weight": True, "bias": True}


def test_large_arrays_are_handed_on_without_a_copy() -> None:
    array, tensor = np.zeros(1000), torch.zeros(1000)
    with MemorySink() as sink:
        tree.save({"a": array, "t": tensor}, sink)
        array[:], tensor[:] = 7, 8
        found = load_from_memory(tree, sink.files())
    assert (found["a"].max(), found["t"].max()) == (7, 8)


@pytest.mark.parametrize("array", [
    np.arange(6)[::-2], np.asfortranarray(np.arange(6).reshape(2, 3)), np.broadcast_to(np.float32(1), (3,)),
    torch.arange(6.0).reshape(2, 3).T, torch.ones(1).expand(3), torch.ones(2, dtype=torch.complex64).conj(),
    torch.ones(2, dtype=torch.complex64).conj().imag,
])  # fmt: skip
def test_arrays_of_any_layout_come_back_by_value(array: Any) -> None:
    plain = array.copy() if isinstance(array, np.ndarray) else array.resolve_conj().resolve_neg().contiguous()
    assert same(plain, came_back({"w": array})["w"])


def test_the_bits_of_nan_and_the_sign_of_zero_are_kept() -> None:
    odd = np.array([0x7FF8DEADBEEF0001, 0xFFF0000000000001, 0x8000000000000000], "u8").view("f8")
    assert raw(came_back({"w": odd})["w"]) == raw(odd)
    assert raw(came_back([torch.from_numpy(odd)])[0]) == raw(odd)
    assert math.copysign(1, came_back([np.zeros(1), -0.0])[1]) == -1


@pytest.mark.parametrize("wrap", [dict, lambda pairs: [dict(pairs)]], ids=["flat", "nested"])
def test_tied_tensors_are_stored_once_and_tied_again(wrap: Any) -> None:
    tensor = torch.arange(1000.0)
    files = save_in_memory(tree, wrap([("head", tensor), ("embed", tensor), ("other", tensor.clone())]))
    assert files.size("model.safetensors") < 2.5 * 4000
    found = load_from_memory(tree, files)
    found = found if isinstance(found, dict) else found[0]
    assert list(found) == ["head", "embed", "other"]
    found["head"][0] = 99
    assert found["embed"][0] == 99
    assert found["other"][0] == 0


def test_an_ordered_dict_keeps_its_order() -> None:
    assert list(came_back(OrderedDict(b=np.zeros(1), a=np.ones(1)))) == ["b", "a"]


REFUSED = {
    "object": (np.array([None]), "object"),
    "structured": (np.zeros(2, "i4,f4"), "f0"),
    "masked": (np.ma.masked_array([1.0, 2.0], [True, False]), "MaskedArray"),
    "no bytes": (np.ndarray((2,), "U0"), "U0"),
    "ending in zero": (np.str_("a\0"), "str_"),
    "sparse": (torch.eye(2).to_sparse(), "sparse"),
    "without values": (torch.ones(2, device="meta"), "no values"),
    "complex128": (torch.ones(2, dtype=torch.complex128), "complex128"),
    "subclass": (torch.nn.parameter.UninitializedParameter(), "UninitializedParameter"),
    "bytes": (b"raw", "bytes"),
    "set": ({1}, "set"),
    "class": (object, "type"),
    "key": ({True: np.zeros(1)}, "True"),
    "tuple key": ({(1, 2): np.zeros(1)}, "(1, 2)"),
}


@pytest.mark.parametrize(("part", "named"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_by_its_path(part: Any, named: str) -> None:
    with pytest.raises(SerializerError) as refused:
        save_in_memory(tree, {"w": np.zeros(1), "encoder": [part]})
    assert "encoder/0" in str(refused.value)
    assert named in str(refused.value)


def test_a_tree_without_end_is_refused() -> None:
    loop: list[Any] = [np.zeros(1)]
    loop.append(loop)
    assert not tree.accepts(loop)
    with pytest.raises(SerializerError, match="nested more than 50 deep"):
        save_in_memory(tree, loop)


@pytest.mark.parametrize("obj", [
    "text", 3, None, True, 2.5, b"raw", {1}, {"a": object(), "w": np.zeros(1)}, [np.zeros(1), {1, 2}], {"a": [b""]},
])  # fmt: skip
def test_bare_text_and_numbers_and_what_holds_something_unknown_are_no_model(obj: Any) -> None:
    assert not tree.accepts(obj)


@pytest.mark.parametrize("obj", [
    {}, [], (), {"a": "b"}, {"depth": 3, 3: None}, [1, (2.5, True), {"x": [float("inf"), 2**80, "\u2028"]}], {"$a": 1},
])  # fmt: skip
def test_a_container_without_arrays_is_one_json_file_and_comes_back_exactly(obj: Any) -> None:
    assert tree.accepts(obj)
    files = save_in_memory(tree, obj)
    assert files.names() == ("tree.json",)
    assert same(obj, load_from_memory(tree, files))
    assert tree.tensors(files) == {}


def test_metadata_of_others_is_not_taken_for_ours() -> None:
    arrays = {"a": np.zeros(2), "b": np.ones(2)}
    for order in ("[]", '["a"]', '["a","a"]', "random", "3", '["a","c"]'):
        stored = safetensors.numpy.save(arrays, {"order": order})
        assert same(arrays, load_from_memory(tree, MemoryFiles({"model.safetensors": stored})))


GOOD = save_in_memory(tree, {"w": np.zeros(2), "x": [1]})


@pytest.mark.parametrize("structure", [
    "", "3", "[]", "{", '{"$array":"gone"}', '{"$array":["w"]}', '{"$array":"w","dtype":"O"}', '{"$dict":3}',
    '{"$array":"w","dtype":"no such"}', '{"$array":"w","dtype":"<f8","shape":[3]}', '{"$dict":[["a"]]}', '{"$else":1}',
    '{"$array":"w","dtype":"<f8","shape":"x"}', '{"$list":' * 100 + "[]" + "}" * 100,
])  # fmt: skip
def test_a_damaged_structure_is_an_integrity_error(structure: str) -> None:
    damaged = MemoryFiles({"model.safetensors": bytes(GOOD.read("model.safetensors")), "tree.json": structure.encode()})
    with pytest.raises(IntegrityError):
        load_from_memory(tree, damaged)


def test_deep_structures_from_outside_do_not_end_the_process() -> None:
    deep = '{"$list":[' * 20_000 + '{"$value":1}' + "]}" * 20_000
    stored = MemoryFiles({"model.safetensors": bytes(GOOD.read("model.safetensors")), "tree.json": deep.encode()})
    with pytest.raises(IntegrityError):
        load_from_memory(tree, stored)


def test_a_view_that_reads_the_same_memory_as_other_numbers_is_a_tensor_of_its_own() -> None:
    base = torch.tensor([1 + 2j, 3 + 4j])
    loaded = came_back({"a": base, "b": base.conj(), "c": base.imag, "d": base.conj().imag})
    assert loaded["b"].tolist() == [1 - 2j, 3 - 4j]
    assert (loaded["c"].tolist(), loaded["d"].tolist()) == ([2, 4], [-2, -4])


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_an_array_of_a_type_that_numpy_alone_does_not_know_is_refused(name: str) -> None:
    dtypes: Any = pytest.importorskip("ml_dtypes")
    array = np.array([1, 2], dtype=getattr(dtypes, name))
    with pytest.raises(SerializerError, match=f"w is an array of dtype {name}, which numpy alone does not know"):
        save_in_memory(tree, {"w": array})


def test_an_array_whose_type_does_not_survive_its_own_name_is_refused() -> None:
    array = np.zeros(2, np.dtype("V2", metadata={"of": "another library"}))
    assert same(came_back({"w": array})["w"], array)  # plain bytes are kept

    class Foreign:
        str = "V2"
        itemsize, hasobject, names = 2, False, None

    from modelkeep.integrations.tree import _is_foreign

    assert _is_foreign(Foreign())
    assert not any(_is_foreign(np.dtype(kind)) for kind in ("<f4", ">f4", "V2", "S3", "<M8[ns]", "<U2", "|b1"))
