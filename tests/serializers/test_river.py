from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from river import compose, linear_model, preprocessing, tree

from modelkeep.errors import TrustError
from modelkeep.integrations.river import serializer as river
from modelkeep.registry import Registry
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import SerializerContract, save_in_memory

ROWS = [({"a": float(i % 7), "b": float(i % 3)}, i % 7 > 3) for i in range(200)]


def learned(model: Any) -> Any:
    for x, y in ROWS:
        model.learn_one(x, y)
    return model


class TestRiver(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return river

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        pipeline = compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
        return [learned(pipeline), learned(tree.HoeffdingTreeClassifier(grace_period=20))]

    def same(self, a: Any, b: Any) -> bool:
        return [a.predict_proba_one(x) for x, _ in ROWS[:20]] == [b.predict_proba_one(x) for x, _ in ROWS[:20]]


def test_it_needs_trust_goes_on_learning_and_exports_one_pickle(tmp_path: Path) -> None:
    model, registry = learned(linear_model.LogisticRegression()), Registry(MemoryStore())
    registry.save(model, "stream")
    with pytest.raises(TrustError):
        registry.load("stream")
    found = registry.load("stream", trust="river")
    assert learned(found).weights == learned(model).weights
    river.export(save_in_memory(river, model), tmp_path)
    assert pickle.loads((tmp_path / "model.pkl").read_bytes()).weights == model.weights
