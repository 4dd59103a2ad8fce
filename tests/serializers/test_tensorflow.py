"""TensorFlow is no part of the extra `test` (it is 270 MB, and wants an older h5py): install it to run these."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkeep.errors import SerializerError, TrustError
from modelkeep.registry import Registry
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import SerializerContract

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import tensorflow as tf

from modelkeep.integrations.tensorflow import serializer as saved_models

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


class Line(tf.Module):  # type: ignore[misc]  # it ships no types
    """Fitted to ``x @ [1, 2, 3] + 4`` by a few steps of gradient descent."""

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(tf.zeros([3, 1]))
        self.b = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])  # type: ignore[untyped-decorator]
    def __call__(self, rows: Any) -> Any:
        return tf.linalg.matmul(rows, self.w) + self.b


def trained() -> Any:
    line, wanted = Line(), ROWS @ np.array([[1.0], [2.0], [3.0]], np.float32) + 4
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((line(ROWS) - wanted) ** 2)
        for variable, gradient in zip((line.w, line.b), tape.gradient(loss, [line.w, line.b]), strict=True):
            variable.assign_sub(0.005 * gradient)
    return line


class TestTensorFlow(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return saved_models

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [trained()]

    def same(self, a: Any, b: Any) -> bool:
        return bool(np.array_equal(a(ROWS).numpy(), b(ROWS).numpy()))


def test_a_module_needs_trust_predicts_the_same_and_what_was_loaded_is_saved_again() -> None:
    registry, line = Registry(MemoryStore()), trained()
    version = registry.save(line, "line")
    assert (version.serializer, version.record.tier) == ("tensorflow", "code")
    with pytest.raises(TrustError):
        registry.load("line")
    loaded = registry.load("line", trust="tensorflow")
    assert np.array_equal(loaded(ROWS).numpy(), line(ROWS).numpy())
    assert np.array_equal(version.predict(ROWS, trust=True), line(ROWS).numpy())
    again = registry.save(loaded, "line")
    assert np.array_equal(again.load(trust=True)(ROWS).numpy(), line(ROWS).numpy())
    assert [str(parent) for parent in again.parents] == ["line:1"]


def test_a_fresh_process_predicts_the_same(tmp_path: Path) -> None:
    line = trained()
    Registry(tmp_path / "registry").save(line, "line")
    code = (
        "import sys, numpy as np, modelkeep as mk\n"
        "line = mk.Registry(sys.argv[1]).load('line', trust='tensorflow')\n"
        "np.save(sys.argv[2], line(np.arange(12, dtype=np.float32).reshape(4, 3)).numpy())\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "registry", tmp_path / "out.npy"], check=True)
    assert np.array_equal(np.load(tmp_path / "out.npy"), line(ROWS).numpy())


def test_tensorflow_alone_opens_what_is_exported(tmp_path: Path) -> None:
    line = trained()
    folder = Registry(MemoryStore()).save(line, "line").export(tmp_path / "out")
    assert np.array_equal(tf.saved_model.load(str(folder))(ROWS).numpy(), line(ROWS).numpy())


def test_what_cannot_be_traced_is_refused_and_nothing_is_saved() -> None:
    class Odd(tf.Module):  # type: ignore[misc]  # it ships no types
        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            raise ValueError(f"no layer for {x}")

    registry = Registry(MemoryStore())
    with pytest.raises(SerializerError, match="cannot be written as a SavedModel"):
        registry.save(Odd(), "odd")
    assert registry.models() == []
