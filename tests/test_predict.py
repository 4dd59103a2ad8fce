"""`ModelVersion.predict`: the signature, the preprocessing and the model, one after the other; loaded once."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import modelkeep as mk
from modelkeep.errors import SerializerError, SignatureError, TrustError
from modelkeep.integrations.torch import serializer as modules
from modelkeep.prediction import Pipeline
from modelkeep.registry import Registry
from modelkeep.serializers import plain
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording

DATA = np.random.default_rng(0).standard_normal((40, 3)) * 9 + 4
LABELS = np.where(DATA.sum(axis=1) > 12, "stays", "leaves")


class Tripled:
    """A transformer that nobody claims."""

    def transform(self, inputs: Any) -> Any:
        return 3 * inputs


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore(), trust=["cloudpickle", "sklearn", "torch"])


@pytest.fixture
def churn(registry: Registry) -> mk.ModelVersion:
    scaler = StandardScaler().fit(DATA)
    model = LogisticRegression().fit(scaler.transform(DATA), LABELS)
    return registry.save(model, "churn", preprocess=scaler, example=DATA)


def test_inputs_go_through_the_preprocessing_and_then_to_the_model(churn: mk.ModelVersion) -> None:
    again = Registry(churn._line.home.store, trust=True).get("churn")
    scaler, model = again.parts["preprocess"].load(), again.load()
    given = again.predict(DATA)
    assert type(given) is np.ndarray
    assert given.tolist() == model.predict(scaler.transform(DATA)).tolist()
    assert given.tolist() != model.predict(DATA).tolist()


def test_inputs_that_do_not_fit_never_reach_preprocessing_or_model(registry: Registry) -> None:
    def never(_: Any) -> Any:
        raise AssertionError("it was asked")

    version = registry.save(never, "own", serializer="cloudpickle", preprocess=never, example=DATA)
    with pytest.raises(SignatureError, match=r"shape \(any, 2\) came, and \(any, 3\) is wanted"):
        version.predict(DATA[:, :2])
    with pytest.raises(AssertionError, match="it was asked"):
        version.predict(DATA)


def test_columns_come_to_the_model_as_the_signature_has_them(registry: Registry) -> None:
    version = registry.save(list, "names", serializer="cloudpickle", example={"a": np.ones(2), "b": np.ones(2)})
    assert version.predict({"b": np.ones(3), "c": np.ones(3), "a": np.ones(3)}) == ["a", "b"]


@pytest.mark.parametrize("preprocess", [Tripled(), lambda inputs: 3 * inputs], ids=["transformer", "function"])
def test_a_transformer_transforms_and_a_function_is_called(registry: Registry, preprocess: Any) -> None:
    version = registry.save(lambda x: x + 1, "own", serializer="cloudpickle", preprocess=preprocess)
    assert version.predict(np.arange(3)).tolist() == [1, 4, 7]


def test_what_can_neither_transform_nor_be_called_is_refused_with_the_way_out(registry: Registry) -> None:
    version = registry.save(lambda x: x, "own", serializer="cloudpickle", preprocess={"mean": np.ones(3)})
    with pytest.raises(SerializerError, match=r"without transform\(\).*version.parts\['preprocess'\].load\(\)"):
        version.predict(DATA)
    bare = registry.save({"w": np.ones(3)}, "weights")
    with pytest.raises(SerializerError, match=r"a builtins.dict has no predict\(\) and cannot be called"):
        bare.predict(DATA)


def test_one_load_serves_all_predictions(churn: mk.ModelVersion) -> None:
    store = Recording(churn._line.home.store)
    version = Registry(store, trust=True).get("churn")
    version.predict(DATA)
    store.forget()
    for _ in range(3):
        version.predict(DATA[:5])
    assert store.requests == []


def test_threads_that_meet_load_once_and_all_get_answers(churn: mk.ModelVersion) -> None:
    store = Recording(churn._line.home.store)
    version = Registry(store, trust=True).get("churn")
    store.forget()
    alone = Registry(churn._line.home.store, trust=True).get("churn").predict(DATA).tolist()
    with ThreadPoolExecutor(8) as threads:
        answers = [one.tolist() for one in threads.map(version.predict, [DATA] * 32)]
    assert answers == [alone] * 32
    assert len(store.requests) <= 2  # the manifest, for the signature and for the one load


def test_trust_is_asked_for_the_model_and_for_the_preprocessing(registry: Registry) -> None:
    registry.save(LogisticRegression().fit(DATA, LABELS), "churn", preprocess=lambda x: x)
    version = Registry(registry._store).get("churn")
    with pytest.raises(TrustError, match=r"loading churn:1|loading 'preprocess' of churn:1"):
        version.predict(DATA)
    with pytest.raises(TrustError, match="loading 'preprocess' of churn:1"):
        version.predict(DATA, trust="sklearn")
    assert len(version.predict(DATA, trust=["sklearn", "cloudpickle"])) == 40
    assert len(version.predict(DATA)) == 40  # it runs here already, and nothing is loaded


def test_a_model_from_a_file_predicts_though_parts_lie_beside_it(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(DATA * 3, LABELS)))
    version = registry.save(tmp_path / "model.pkl", "churn", preprocess=Tripled())
    assert version.predict(DATA, trust=True).tolist() == version.load(trust=True).predict(DATA * 3).tolist()


def test_a_version_that_is_compacted_meanwhile_predicts(registry: Registry) -> None:
    table = np.random.default_rng(1).standard_normal(30_000)
    for seed in range(3):
        registry.save(lambda x, t=table + seed: x + t[:3], "own", serializer="cloudpickle", preprocess=Tripled())
    first = Registry(registry._store, trust=True).get("own:1")
    assert first.parts
    registry.storage.compact("own")
    assert np.allclose(first.predict(np.zeros(3)), table[:3])


# -- how serializers predict ---------------------------------------------------------------------------------------


def test_a_serializer_without_a_way_of_its_own_has_the_objects() -> None:
    class Bare:
        name = "bare"

    class Model:
        def predict(self, inputs: Any) -> Any:
            return inputs + 1

        def __call__(self, inputs: Any) -> Any:
            return inputs - 1

    bare: Any = Bare()
    assert Pipeline(bare, Model())(1) == 2
    assert Pipeline(bare, lambda inputs: inputs - 1)(1) == 0
    assert plain.PlainSerializer().predict(Model(), 1) == 2


def test_a_serializer_with_a_way_of_its_own_is_asked() -> None:
    class Own(plain.PlainSerializer):
        def predict(self, obj: Any, inputs: Any) -> Any:
            return obj, inputs

    assert Pipeline(Own(), "model", preprocess=lambda x: x * 2)(3) == ("model", 6)  # type: ignore[arg-type]  # it loads nothing


class Net(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    """Dropout is seen in training alone; it notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop = torch.nn.Linear(3, 8), torch.nn.Dropout(0.9)
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, inputs: Any) -> Any:
        self.seen = (self.training, torch.is_grad_enabled(), inputs.dtype)
        return self.norm(self.drop(self.first(inputs)))


def test_a_module_predicts_in_evaluation_mode_without_gradients_and_is_left_as_it_was() -> None:
    net = Net()
    net.norm.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    given = modules.predict(net, DATA)
    assert net.seen == (False, False, torch.float32)
    assert (net.training, net.drop.training, net.norm.training) == (True, True, False)
    assert isinstance(given, torch.Tensor)
    assert not given.requires_grad
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_module_that_fails_is_left_as_it_was() -> None:
    net = Net()
    with pytest.raises(RuntimeError):
        modules.predict(net, DATA[:, :2])
    assert net.training
    assert torch.is_grad_enabled()


def test_arrays_become_tensors_wherever_they_lie_and_tensors_stay() -> None:
    seen: list[Any] = []

    class Seeing(torch.nn.Module):  # type: ignore[misc]
        def forward(self, inputs: Any) -> Any:
            seen.append(inputs)
            return inputs

    reversed_, frozen = np.arange(4)[::-1], np.arange(3.0)
    frozen.setflags(write=False)
    tensor = torch.ones(2, dtype=torch.float64)
    modules.predict(Seeing(), {"a": reversed_, "b": [frozen, tensor], "c": "text"})
    (got,) = seen
    assert got["a"].tolist() == [3, 2, 1, 0]
    assert (got["b"][0].dtype, got["b"][1] is tensor, got["c"]) == (torch.float64, True, "text")


def test_threads_that_predict_with_one_module_never_meet_training() -> None:
    both, modes = threading.Barrier(2), []

    class Slow(torch.nn.Module):  # type: ignore[misc]
        def forward(self, inputs: Any) -> Any:
            both.wait(30)  # both are within
            modes.append(self.training)
            if inputs[0] == 0:
                return inputs  # and ends first
            done.wait(30)
            modes.append(self.training)
            return inputs

    done, slow = threading.Event(), Slow()
    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(modules.predict, slow, np.ones(1))
        threads.submit(modules.predict, slow, np.zeros(1)).result()
        done.set()
        long.result()
    assert modes == [False, False, False]
    assert slow.training


def test_a_module_predicts_through_a_version(registry: Registry) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))
    version = registry.save(net, "net", preprocess=StandardScaler().fit(DATA), example=DATA)
    expected = net.eval()(torch.from_numpy(StandardScaler().fit_transform(DATA)).float())
    assert torch.allclose(version.predict(DATA), expected)
