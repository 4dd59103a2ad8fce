from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations import onnx as integration
from modelkeep.integrations.onnx import serializer as protos
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory
from serializers.families import X, onnx_linear, run_onnx

WEIGHTS = np.random.default_rng(3).normal(size=(3, 400)).astype("f4")


def by_hand() -> Any:
    """Two products, one inside a function of its own: tensors lie at the top and in the attribute of a node."""
    inner = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHTS, "c"))
    product = helper.make_node("MatMul", ["x", "c"], ["y"])
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Times", ["x"], ["y"], [inner, product], opset[:1])
    nodes = [helper.make_node("Times", ["a"], ["t"], domain="own"), helper.make_node("Add", ["t", "w"], ["b"])]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, n]) for name, n in (("a", 3), ("b", 400))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHTS[0], "w")])
    return helper.make_model(graph, opset_imports=opset, functions=[function], ir_version=9)


def external(model: Any, **facts: str) -> dict[str, bytes]:
    """The file of a model whose first tensor says that it lies elsewhere."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in facts.items():
        tensor.external_data.add(key=key, value=value)
    return {"model.onnx": model.SerializeToString()}


class TestOnnx(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return protos

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [onnx_linear(), by_hand()]

    def same(self, a: Any, b: Any) -> bool:
        return a is not b and np.array_equal(run_onnx(a), run_onnx(b)) and bool(a == b)


def test_large_tensors_lie_beside_and_come_back_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(integration, "_APART", 1000)
    model = by_hand()
    files = save_in_memory(protos, model)
    assert files.names() == ("model.onnx", "model.onnx.safetensors")
    assert files.size("model.onnx") < 1000
    assert len(protos.tensors(files)) == 2
    assert model == by_hand()
    assert load_from_memory(protos, files) == by_hand()
    protos.export(files, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {"a": X})[0], run_onnx(model))


def test_onnxruntime_alone_reads_what_is_exported(tmp_path: Path) -> None:
    model = onnx_linear()
    protos.export(save_in_memory(protos, model), tmp_path)
    assert np.array_equal(run_onnx(onnx.load(tmp_path / "model.onnx")), run_onnx(model))


@pytest.mark.parametrize("location", [
    "/etc/hostname", "../secret", "sub/../../secret", "link", "", ".", "file:///etc/hostname", "secret\0",
], ids=range(8))  # fmt: skip
def test_a_tensor_that_lies_outside_is_refused(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS[0].tobytes())
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "secret")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(IntegrityError, match="is no file of this version; nothing else is read"):
        load_from_memory(protos, MemoryFiles(external(by_hand(), location=location)))


@pytest.mark.parametrize("facts", [
    {"offset": "9" * 30}, {"offset": "-1"}, {"length": "1601"}, {"length": "-5"}, {"offset": "1", "length": "1600"},
    {"offset": "x"}, {"offset": "9" * 5000},
], ids=range(7))  # fmt: skip
def test_a_tensor_beyond_its_file_is_refused(facts: dict[str, str]) -> None:
    files = external(by_hand(), location="w.bin", **facts)
    with pytest.raises(IntegrityError, match=r"lies outside of w\.bin"):
        load_from_memory(protos, MemoryFiles({**files, "w.bin": bytes(1600)}))


def test_a_folder_of_files_that_others_wrote_is_taken_in() -> None:
    files = external(by_hand(), location="w.bin", offset="8", length="1600")
    found = load_from_memory(protos, MemoryFiles({**files, "w.bin": bytes(8) + WEIGHTS[0].tobytes()}))
    assert found == by_hand()


def test_a_model_without_its_tensors_is_refused_at_the_save() -> None:
    model = by_hand()
    external(model, location="w.bin")
    with pytest.raises(SerializerError, match=r"tensor 'w' lies in a file .*onnx\.load"):
        save_in_memory(protos, model)


@pytest.mark.parametrize("raw", [b"garbage", b"\xff" * 100, b"\x3a\xff\xff\xff\x7f"])
def test_what_is_no_model_is_refused(raw: bytes) -> None:
    with pytest.raises(SerializerError, match=r"model\.onnx cannot be read by onnx"):
        load_from_memory(protos, MemoryFiles({"model.onnx": raw}))


def test_a_model_without_a_graph_is_refused() -> None:
    with pytest.raises(IntegrityError, match="holds no graph"):
        load_from_memory(protos, MemoryFiles({"model.onnx": b""}))
