from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoost, CatBoostClassifier, CatBoostRegressor

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.catboost import serializer as models
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory
from serializers.families import LABELS, TARGET, X, catboost_classifier

SMALL = {"iterations": 3, "depth": 2, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
FRAME = pd.DataFrame({"size": X[:, 0], "kind": np.where(X[:, 1] > 0, "a", "b")})
DAMAGED = """
import random, sys, catboost, numpy
raw = sys.stdin.buffer.read()
places = [at for at, byte in enumerate(raw) if not 32 <= byte < 127]
for seed in range(1500):
    rng, copy = random.Random(seed), bytearray(raw)
    copy[rng.choice(places)] = rng.choice([0, 1, 4, 127, 128, 200, 255])
    try:
        catboost.CatBoost().load_model(blob=bytes(copy)).predict(numpy.zeros((1, 3)), thread_count=1)
    except Exception:
        pass
"""


def came_back(model: Any) -> Any:
    return load_from_memory(models, save_in_memory(models, model))


class TestCatboost(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return models

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [catboost_classifier(), CatBoostRegressor(**SMALL).fit(X, TARGET), CatBoost(SMALL).fit(X, TARGET)]

    def same(self, a: Any, b: Any) -> bool:
        return type(a) is type(b) and np.array_equal(a.predict(X), b.predict(X)) and a.get_params() == b.get_params()


def test_a_classifier_comes_back_with_classes_categories_and_names() -> None:
    model = CatBoostClassifier(**SMALL, cat_features=["kind"], class_weights={"yes": 2.0, "no": 1.0})
    model.fit(FRAME, LABELS, eval_set=(FRAME, LABELS))
    found = came_back(model)
    assert found.classes_.tolist() == model.classes_.tolist()
    assert found.feature_names_ == ["size", "kind"]
    assert found.get_cat_feature_indices() == [1]
    assert found.get_params() == model.get_params()
    assert (found.tree_count_, found.learning_rate_) == (model.tree_count_, model.learning_rate_)
    assert found.n_features_in_ == 2
    assert np.array_equal(found.feature_importances_, model.feature_importances_)
    assert np.array_equal(found.predict_proba(FRAME), model.predict_proba(FRAME))


def test_an_unfitted_wrapper_comes_back_unfitted() -> None:
    assert came_back(CatBoostRegressor(**SMALL)).fit(X, TARGET).predict(X).shape == (60,)


def test_a_parameter_that_is_no_data_is_named() -> None:
    class Metric:
        pass

    with pytest.raises(SerializerError, match=r"CatBoostRegressor.eval_metric .*serializer='cloudpickle'"):
        save_in_memory(models, CatBoostRegressor(eval_metric=Metric()))


def test_catboost_alone_reads_what_is_exported(tmp_path: Path) -> None:
    model = catboost_classifier()
    models.export(save_in_memory(models, model), tmp_path)
    alone = CatBoostClassifier().load_model(tmp_path / "model.cbm")
    assert np.array_equal(alone.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("raw", [b"", b"garbage", b"CBM1", b"CBM1" + bytes(100), b"\x80\x04]."])
def test_what_is_no_model_is_refused(raw: bytes) -> None:
    facts = b'{"class": "CatBoost", "attributes": {}}'
    with pytest.raises(SerializerError, match=r"model\.cbm cannot be read by catboost"):
        load_from_memory(models, MemoryFiles({"model.cbm": raw, "wrapper.json": facts}))


def test_facts_of_a_stranger_build_nothing_else() -> None:
    with pytest.raises(IntegrityError, match="its class 'Pool' is none of"):
        load_from_memory(models, MemoryFiles({"wrapper.json": b'{"class": "Pool", "attributes": {}}'}))


def test_the_parser_does_not_withstand_damage_so_it_needs_trust() -> None:
    """If this fails, catboost has learned to, and the form may move to the data tier after a longer look."""
    files = save_in_memory(models, catboost_classifier())
    run = subprocess.run(
        [sys.executable, "-c", DAMAGED], input=bytes(files.read("model.cbm")), capture_output=True, check=False
    )
    assert run.returncode < 0, run.stderr
