from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.lightgbm import serializer as boosters
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory
from serializers.families import LABELS, TARGET, X, lightgbm_classifier

ROWS = X.astype("f8")
SMALL = {"n_estimators": 3, "num_leaves": 4, "n_jobs": 1, "verbose": -1}
FRAME = pd.DataFrame({"size": ROWS[:, 0], "kind": pd.Categorical(np.where(ROWS[:, 1] > 0, "a", "b"))})


def came_back(model: Any) -> Any:
    return load_from_memory(boosters, save_in_memory(boosters, model))


class TestLightgbm(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return boosters

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        ranker = LGBMRanker(**SMALL).fit(ROWS, LABELS == "yes", group=[30, 30])
        return [lightgbm_classifier(), lightgbm_classifier().booster_, ranker, LGBMRegressor(**SMALL).fit(ROWS, TARGET)]

    def same(self, a: Any, b: Any) -> bool:
        first, second = (x if isinstance(x, lightgbm.Booster) else x.booster_ for x in (a, b))
        return type(a) is type(b) and np.array_equal(first.predict(ROWS), second.predict(ROWS))


def test_a_classifier_comes_back_with_its_classes_and_parameters() -> None:
    model = LGBMClassifier(**SMALL, class_weight={"yes": 2.0, "no": 1.0}).fit(FRAME, LABELS)
    found = came_back(model)
    assert found.classes_.tolist() == ["no", "yes"]
    assert found.predict(FRAME).tolist() == model.predict(FRAME).tolist()
    assert found.get_params() == model.get_params()
    assert (found.n_features_, found.n_classes_) == (2, 2)
    assert found.feature_names_in_.tolist() == ["size", "kind"]
    assert found.booster_.pandas_categorical == [["a", "b"]]
    assert np.array_equal(found.predict_proba(FRAME), model.predict_proba(FRAME))


@pytest.mark.filterwarnings("ignore:The argument 'eval_set'")  # what replaces it, lightgbm 4.6 does not know
def test_the_best_iteration_and_the_trees_after_it_are_kept() -> None:
    stop = [lightgbm.early_stopping(1, verbose=False)]
    model = LGBMRegressor(**SMALL | {"n_estimators": 40, "learning_rate": 0.9})
    model.fit(ROWS[:30], TARGET[:30], eval_set=[(ROWS[30:], TARGET[30:])], callbacks=stop)
    found = came_back(model)
    assert found.best_iteration_ == model.best_iteration_ == found.booster_.best_iteration
    assert found.booster_.num_trees() == model.booster_.num_trees()
    assert found.evals_result_ == model.evals_result_
    assert np.array_equal(came_back(model.booster_).predict(ROWS), model.booster_.predict(ROWS))


def test_a_parameter_that_is_no_data_is_named() -> None:
    model = LGBMRegressor(objective=lambda y, p: (p - y, np.ones_like(y)))
    with pytest.raises(SerializerError, match=r"LGBMRegressor.objective .*serializer='cloudpickle'"):
        save_in_memory(boosters, model)


def test_an_unfitted_wrapper_comes_back_unfitted() -> None:
    assert came_back(LGBMRegressor(**SMALL)).fit(ROWS, TARGET).predict(ROWS).shape == (60,)


def test_lightgbm_alone_reads_what_is_exported(tmp_path: Path) -> None:
    model = lightgbm_classifier()
    boosters.export(save_in_memory(boosters, model), tmp_path)
    alone = lightgbm.Booster(model_file=tmp_path / "model.txt")
    assert np.array_equal(alone.predict(ROWS), model.booster_.predict(ROWS))


@pytest.mark.parametrize("raw", [b"", b"garbage", b"tree\nversion=v4\n", b"\xff\xfe"])
def test_what_is_no_model_is_refused(raw: bytes) -> None:
    facts = b'{"class": "Booster", "attributes": {}}'
    with pytest.raises(SerializerError, match=r"model\.txt cannot be read by lightgbm"):
        load_from_memory(boosters, MemoryFiles({"model.txt": raw, "wrapper.json": facts}))


def test_a_class_of_a_stranger_is_not_built() -> None:
    with pytest.raises(IntegrityError, match="its class 'Dataset' is none of"):
        load_from_memory(boosters, MemoryFiles({"wrapper.json": b'{"class": "Dataset", "attributes": {}}'}))


def test_the_parser_does_not_withstand_damage_so_it_needs_trust() -> None:
    """If this fails, lightgbm has learned to, and the form may move to the data tier after a longer look."""
    damage = (
        "import re, sys, lightgbm\n"
        "far = '=9999999 9999999 9999999'\n"
        "text = re.sub(r'(?m)^(left_child|right_child)=.*', lambda m: m[1] + far, sys.stdin.read())\n"
        "lightgbm.Booster(model_str=text).predict([[0.0, 0.0, 0.0]])\n"
    )
    text = lightgbm_classifier().booster_.model_to_string()
    run = subprocess.run([sys.executable, "-c", damage], input=text, text=True, capture_output=True, check=False)
    assert run.returncode < 0, run.stderr
