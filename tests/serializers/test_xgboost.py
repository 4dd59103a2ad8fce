from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFRegressor

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.xgboost import serializer as boosters
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory
from serializers.families import LABELS, TARGET, X, xgboost_classifier

SMALL = {"n_estimators": 3, "max_depth": 2, "n_jobs": 1}
FRAME = pd.DataFrame({"size": X[:, 0], "kind": pd.Categorical(np.where(X[:, 1] > 0, "a", "b"))})


def came_back(model: Any) -> Any:
    return load_from_memory(boosters, save_in_memory(boosters, model))


class TestXgboost(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return boosters

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        ranker = XGBRanker(**SMALL).fit(X, LABELS == "yes", qid=np.repeat(range(6), 10))
        forest = XGBRFRegressor(**SMALL).fit(X, TARGET)
        return [xgboost_classifier(), xgboost_classifier().get_booster(), ranker, forest]

    def same(self, a: Any, b: Any) -> bool:
        first, second = (x if isinstance(x, xgboost.Booster) else x.get_booster() for x in (a, b))
        return type(a) is type(b) and np.array_equal(first.inplace_predict(X), second.inplace_predict(X))


def test_a_wrapper_comes_back_with_its_parameters_classes_and_best_iteration() -> None:
    model = XGBClassifier(
        **SMALL, enable_categorical=True, early_stopping_rounds=1, eval_metric="logloss", learning_rate=np.float32(0.5)
    )
    model.fit(FRAME, LABELS == "yes", eval_set=[(FRAME, LABELS == "yes")], verbose=False)
    found = came_back(model)
    assert repr(found.get_params()) == repr(model.get_params() | {"learning_rate": 0.5})
    assert found.classes_.tolist() == [0, 1]
    assert (found.best_iteration, found.best_score) == (model.best_iteration, model.best_score)
    assert found.evals_result() == model.evals_result()
    assert found.feature_names_in_.tolist() == ["size", "kind"]
    assert found.get_booster().feature_types == ["float", "c"]
    assert np.array_equal(found.predict_proba(FRAME), model.predict_proba(FRAME))
    assert np.array_equal(found.feature_importances_, model.feature_importances_)


def test_an_unfitted_wrapper_comes_back_unfitted() -> None:
    found = came_back(XGBRegressor(max_depth=3, monotone_constraints=(1, 0, -1)))
    assert found.get_params()["monotone_constraints"] == (1, 0, -1)
    assert found.fit(X, TARGET).predict(X).shape == (60,)


@pytest.mark.parametrize(("model", "name"), [
    (XGBRegressor(objective=lambda y, p: (p - y, np.ones_like(y))), "objective"),
    (XGBRegressor(random_state=np.random.RandomState(0)), "random_state"),
    (XGBRegressor(eval_metric=[max]), r"eval_metric\[0\]"),
])  # fmt: skip
def test_a_parameter_that_is_no_data_is_named(model: Any, name: str) -> None:
    with pytest.raises(SerializerError, match=rf"XGBRegressor.{name} .*serializer='cloudpickle'"):
        save_in_memory(boosters, model)


def test_a_class_of_ones_own_is_left_to_others() -> None:
    class Own(XGBRegressor):  # type: ignore[misc]
        pass

    assert [boosters.accepts(obj) for obj in (Own(), XGBRegressor(), object())] == [False, True, False]


def test_xgboost_alone_reads_what_is_exported(tmp_path: Path) -> None:
    model = xgboost_classifier()
    boosters.export(save_in_memory(boosters, model), tmp_path)
    alone = XGBClassifier()
    alone.load_model(tmp_path / "model.ubj")
    assert np.array_equal(alone.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("facts", [
    b"", b"[]", b'{"class": "os.system", "attributes": {}}', b'{"class": "XGBModel", "attributes": {"predict": 1}}',
    b'{"class": "XGBModel", "attributes": {"__class__": 1}}', b'{"class": "XGBModel", "attributes": [[1]]}',
    b'{"class": "XGBModel", "attributes": {"a": {"$array": ["O", [1], [1]]}}}',
    b'{"class": "XGBModel", "attributes": {"a": {"$array": ["<U999999", [900], ["x"]]}}}',
    b'{"class": "XGBModel", "attributes": ' + b'{"a":' * 100_000,
], ids=range(9))  # fmt: skip
def test_damaged_facts_are_an_integrity_error(facts: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"wrapper\.json is damaged"):
        load_from_memory(boosters, MemoryFiles({"wrapper.json": facts}))


@pytest.mark.parametrize("raw", [b"garbage", b'{"learner": {}}', b"{L" + bytes(30)])
def test_what_is_no_model_is_refused(raw: bytes) -> None:
    with pytest.raises(SerializerError, match=r"model\.ubj cannot be read by xgboost"):
        load_from_memory(boosters, MemoryFiles({"model.ubj": raw}))


def test_an_empty_model_is_refused_before_xgboost_sees_it() -> None:
    with pytest.raises(IntegrityError, match=r"model\.ubj is empty"):
        load_from_memory(boosters, MemoryFiles({"model.ubj": b""}))


def test_the_parser_does_not_withstand_damage_so_it_needs_trust() -> None:
    """If this fails, xgboost has learned to, and the form may move to the data tier after a longer look."""
    damage = (
        "import sys, xgboost\n"
        "raw = bytearray(sys.stdin.buffer.read())\n"
        "at = raw.index(b'left_children') + len(b'left_children[$l#L') + 8\n"
        "raw[at:at + 4] = (50_000_000).to_bytes(4, 'big')\n"
        "booster = xgboost.Booster()\n"
        "booster.load_model(raw)\n"
        "booster.inplace_predict(__import__('numpy').zeros((1, 3)))\n"
    )
    raw = bytes(xgboost_classifier().get_booster().save_raw("ubj"))
    run = subprocess.run([sys.executable, "-c", damage], input=raw, capture_output=True, check=False)
    assert run.returncode < 0, run.stderr
