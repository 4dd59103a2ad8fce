from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest

from modelkeep._trust import Tier, tier_of
from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.keras import serializer as models
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory
from serializers.families import X, keras_layers, keras_model

# numpy 2 says so of torch's tensors, for keras's sake; nothing of ours converts
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
ADD = {"module": "keras.layers", "registered_name": None}


@pytest.fixture(scope="module")
def model() -> Any:
    return keras_model()


def graph() -> Any:
    ends = keras.Input((3,))
    parts = [keras.layers.Dense(2, activation=name)(ends) for name in ("relu", "tanh")]
    made = keras.Model(ends, keras.layers.Add()(parts))
    pace = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    optimizer = keras.optimizers.SGD(pace, momentum=0.9)
    made.compile(optimizer, loss=keras.losses.Huber(), metrics=[keras.metrics.MeanIoU(2)])
    made.fit(X, X[:, :2] > 0, epochs=1, batch_size=60, verbose=0)
    return made


def changed(model: Any, change: Callable[[dict[str, Any]], Any]) -> MemoryFiles:
    """The files of a model with another configuration."""
    files = save_in_memory(models, model)
    config = json.loads(files.read("config.json"))
    change(config)
    return MemoryFiles({**contents(files), "config.json": json.dumps(config).encode()})


def contents(files: MemoryFiles) -> dict[str, bytes]:
    return {name: bytes(files.read(name)) for name in files.names()}


class TestKeras(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return models

    @pytest.fixture
    def examples(self, model: Any) -> Sequence[Any]:
        return [model, graph()]

    def same(self, a: Any, b: Any) -> bool:
        return type(a) is type(b) and np.array_equal(a.predict(X, verbose=0), b.predict(X, verbose=0))


def test_usual_models_need_no_trust(model: Any) -> None:
    assert [models.form(save_in_memory(models, made), None) for made in (model, graph())] == ["keras", "keras"]
    assert (tier_of("keras"), tier_of("keras:weights"), tier_of("keras:code")) == (Tier.DATA, Tier.DATA, Tier.CODE)


def test_training_goes_on_where_it_stopped(model: Any) -> None:
    found = load_from_memory(models, save_in_memory(models, model))
    assert int(found.optimizer.iterations) == int(model.optimizer.iterations) > 0
    moments = [[np.asarray(value) for value in made.optimizer.variables] for made in (model, found)]
    assert all(np.array_equal(a, b) for a, b in zip(*moments, strict=True))


STRANGERS: dict[str, dict[str, Any]] = {
    "Lambda": {**ADD, "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {}}}},
    "another module": {**ADD, "module": "os", "class_name": "system", "config": {"command": "true"}},
    "inside of keras": {**ADD, "module": "keras.src.utils.file_utils", "class_name": "get_file", "config": {}},
    "a function of keras": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
    "a function of builtins": {"module": "builtins", "class_name": "function", "config": "exec"},
    "a function by another name": {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "x"},  # noqa: E501
    "a vocabulary by path": {**ADD, "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    "texts": {**ADD, "class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}},
    "a saved model by path": {**ADD, "class_name": "TFSMLayer", "config": {"filepath": "/tmp/x"}},
    "a torch module": {**ADD, "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}},
    "a registered name": {**ADD, "class_name": "Dense", "config": {}, "registered_name": "pkg>Dense"},
    "no module": {"class_name": "Dense", "config": {}},
    "a module that is no text": {**ADD, "module": ["keras.layers"], "class_name": "Dense", "config": {}},
    "a class that is no text": {**ADD, "class_name": ["Dense"], "config": {}},
    "a lambda": {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}},
    "a type": {"class_name": "__typespec__", "module": "tensorflow", "spec_name": "x", "config": []},
    "a name without a class": {"module": "os", "config": {}},
}  # fmt: skip


@pytest.mark.parametrize("node", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_anywhere_in_the_configuration_makes_it_code(node: dict[str, Any], model: Any) -> None:
    places: list[Callable[[dict[str, Any]], Any]] = [
        lambda config: config["config"]["layers"].append(node),
        lambda config: config["config"]["layers"][1]["config"].update(activation=node),
        lambda config: config["compile_config"].update(loss={"a": [node]}),
        lambda config: config.update(node),
    ]
    forms = [models.form(changed(model, place), None) for place in places]
    assert forms == ["keras:code"] * 4


def test_a_whole_file_is_code_whatever_it_holds(model: Any) -> None:
    whole = MemoryFiles({"model.keras": b"PK"})
    assert [models.form(whole, into) for into in (None, model)] == ["keras:code", "keras:code"]


def test_a_configuration_that_cannot_be_read_is_code() -> None:
    for raw in (b"", b"{", b"[" * 100_000, b"\xff", b'{"a": [' + b"[]," * 3_000_000 + b"1]}"):
        assert models.form(MemoryFiles({"config.json": raw}), None) == "keras:code"


class Words(keras.layers.Layer):  # type: ignore[misc]  # keras is not followed
    """A layer with a file of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.words = "none"

    def call(self, rows: Any) -> Any:
        return rows

    def save_assets(self, folder: str) -> None:
        Path(folder, "words.txt").write_text(self.words)

    def load_assets(self, folder: str) -> None:
        self.words = Path(folder, "words.txt").read_text()


def test_assets_and_classes_of_ones_own_come_back_with_trust() -> None:
    made = keras.Sequential([keras.Input((3,)), Words()])
    made.layers[0].words = "some"
    files = save_in_memory(models, made)
    assert (files.names(), models.form(files, None)) == (("model.keras",), "keras:code")
    with keras.saving.custom_object_scope({"Words": Words}):
        assert load_from_memory(models, files).layers[0].words == "some"


@pytest.mark.parametrize("spoil", [
    {"model.weights.safetensors": b"garbage"}, {"model.weights.safetensors": b""}, {"config.json": b"{}"},
], ids=["garbage", "nothing", "no model"])  # fmt: skip
def test_what_is_damaged_is_refused(spoil: dict[str, bytes], model: Any) -> None:
    files = MemoryFiles({**contents(save_in_memory(models, model)), **spoil})
    with pytest.raises((SerializerError, IntegrityError)):
        load_from_memory(models, files)


def test_a_lambda_and_a_layer_of_ones_own_come_back_with_trust() -> None:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    files = save_in_memory(models, made)
    assert models.form(files, None) == "keras:code"
    assert np.array_equal(load_from_memory(models, files).predict(X, verbose=0), X * 2)


def test_weights_fill_a_model_of_the_same_shape(model: Any) -> None:
    other = keras_layers()
    assert load_from_memory(models, save_in_memory(models, model), other) is other
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_model_that_does_not_fit_is_left_as_it_was(model: Any) -> None:
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7), keras.layers.Dense(1)])
    before = other.get_weights()
    with pytest.raises(SerializerError, match="do not fit this Sequential"):
        load_from_memory(models, save_in_memory(models, model), other)
    assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))


def test_a_model_without_weights_yet_is_refused() -> None:
    with pytest.raises(SerializerError, match="no weights yet"):
        save_in_memory(models, keras.Sequential([keras.layers.Dense(1)]))


def test_keras_alone_reads_what_is_exported(model: Any, tmp_path: Path) -> None:
    models.export(save_in_memory(models, model), tmp_path)
    alone = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(alone.predict(X, verbose=0), model.predict(X, verbose=0))
