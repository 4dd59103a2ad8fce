"""XGBoost and LightGBM: curves are what they themselves report."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from callbacks.looking import LABELS, TARGET, X, curve, points
from modelkeep.errors import NotFoundError
from modelkeep.integrations.callbacks.lightgbm import RunCallback as LightgbmCallback
from modelkeep.integrations.callbacks.xgboost import RunCallback as XgboostCallback
from modelkeep.registry import Registry
from modelkeep.runs import Run, current_run
from modelkeep.stores.memory import MemoryStore
from modelkeep.track import last_run

XGB: dict[str, Any] = {"nthread": 1, "max_depth": 2, "eval_metric": ["rmse", "mae"]}
LGB: dict[str, Any] = {"num_threads": 1, "verbose": -1, "num_leaves": 3, "metric": ["l1", "l2"], "min_data_in_leaf": 2}
ROWS, WIDE = slice(0, 40), X.astype("f8")


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


def assert_logged(run: Run, report: Any) -> None:
    """The curves are *report*, ``{"train": {"rmse": […]}}``, and nothing else."""
    wanted = {f"{rows}/{metric}": points(values) for rows, own in report.items() for metric, values in own.items()}
    assert wanted
    assert {name: curve(run, name) for name in run.metrics} == wanted


def matrices() -> Any:
    return [
        (xgboost.DMatrix(X[rows], TARGET[rows], nthread=1), name)
        for rows, name in ((ROWS, "train"), (slice(40, 60), "held_out"))
    ]


def test_xgboost_logs_each_evaluation(registry: Registry) -> None:
    report: Any = {}
    with registry.run("churn") as run:
        xgboost.train(
            XGB, matrices()[0][0], 5, evals=matrices(), evals_result=report, verbose_eval=False,
            callbacks=[XgboostCallback()],
        )  # fmt: skip
    assert_logged(run, report)


@pytest.mark.parametrize("first", [True, False])
def test_the_round_in_which_xgboost_stops_early_is_logged_wherever_the_callback_stands(
    registry: Registry, first: bool
) -> None:
    report: Any = {}
    with registry.run("churn") as run:
        stopping = [xgboost.callback.EarlyStopping(rounds=2), XgboostCallback()]
        xgboost.train(
            {**XGB, "eta": 3.0}, matrices()[0][0], 50, evals=matrices(), evals_result=report, verbose_eval=False,
            callbacks=stopping[::-1] if first else stopping,
        )  # fmt: skip
    assert len(report["train"]["rmse"]) < 50
    assert_logged(run, report)


def test_xgboost_cv_logs_mean_and_deviation(registry: Registry) -> None:
    with registry.run("churn") as run:
        frame = xgboost.cv(XGB, matrices()[0][0], 4, nfold=2, callbacks=[XgboostCallback()])
    assert len(frame) == 4
    names = {"test-rmse-mean", "test-rmse-std", "test-mae-std", "train-mae-mean"}
    assert {name: curve(run, name.replace("-", "/", 1)) for name in names} == {
        name: points(frame[name]) for name in names
    }


def test_a_tracked_xgboost_classifier_is_saved_without_the_callback(registry: Registry) -> None:
    @registry.track("churn")
    def train() -> Any:
        model = xgboost.XGBClassifier(n_estimators=3, n_jobs=1, max_depth=2, callbacks=[XgboostCallback(current_run())])
        return model.fit(X, LABELS, eval_set=[(X, LABELS)], verbose=False)

    model = train()
    loaded: Any = Registry(registry._store).load("churn:1", trust=True)
    assert loaded.callbacks is None
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert len(model.callbacks) == 1
    assert_logged(last_run(train), model.evals_result())


def test_scikit_learn_can_clone_and_search_an_estimator_with_the_callback(registry: Registry) -> None:
    with registry.run("churn") as run:
        model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1, callbacks=[XgboostCallback()])
        clone(model).fit(X, TARGET, eval_set=[(X, TARGET)], verbose=False)
        assert len(curve(run, "validation_0/rmse")) == 3
        search = GridSearchCV(model, {"max_depth": [1, 2]}, cv=2).fit(X, TARGET, eval_set=[(X, TARGET)], verbose=False)
    assert len(search.cv_results_["params"]) == 2
    assert len(curve(run, "validation_0/rmse")) == 3 + 5 * 3


def test_lightgbm_logs_each_evaluation(registry: Registry) -> None:
    report: Any = {}
    with registry.run("churn") as run:
        rows = lightgbm.Dataset(WIDE, TARGET)
        lightgbm.train(
            LGB, rows, 5, valid_sets=[rows, rows.create_valid(WIDE[ROWS], TARGET[ROWS])],
            callbacks=[LightgbmCallback(), lightgbm.record_evaluation(report)],
        )  # fmt: skip
    assert set(report) == {"training", "valid_1"}
    assert_logged(run, report)


def test_the_iteration_in_which_lightgbm_stops_early_is_logged_wherever_the_callback_stands(registry: Registry) -> None:
    with registry.run("churn") as run:
        model = lightgbm.LGBMRegressor(n_estimators=50, learning_rate=5.0, n_jobs=1, verbose=-1, min_child_samples=2)
        model.fit(
            WIDE[:40], TARGET[:40], eval_X=WIDE[40:], eval_y=TARGET[40:],
            callbacks=[lightgbm.early_stopping(2, verbose=False), LightgbmCallback()],
        )  # fmt: skip
    assert 2 < len(model.evals_result_["valid_0"]["l2"]) < 50
    assert_logged(run, model.evals_result_)


def test_lightgbm_cv_logs_mean_and_deviation(registry: Registry) -> None:
    report: Any = {}
    with registry.run("churn") as run:
        lightgbm.cv(
            LGB, lightgbm.Dataset(WIDE, TARGET), 4, nfold=2, stratified=False,
            callbacks=[LightgbmCallback(), lightgbm.record_evaluation(report)],
        )  # fmt: skip
    assert set(report["valid"]) == {"l1-mean", "l1-stdv", "l2-mean", "l2-stdv"}
    assert_logged(run, report)


def test_a_booster_that_evaluates_nothing_logs_nothing(registry: Registry) -> None:
    with registry.run("churn") as run:
        xgboost.train(XGB, matrices()[0][0], 2, callbacks=[XgboostCallback()])
        lightgbm.train(LGB, lightgbm.Dataset(WIDE, TARGET), 2, callbacks=[LightgbmCallback()])
    assert dict(run.metrics) == {}


def test_without_a_run_training_does_not_begin() -> None:
    with pytest.raises(NotFoundError, match="there is no run to log into"):
        xgboost.train(XGB, matrices()[0][0], 2, callbacks=[XgboostCallback()])
    with pytest.raises(NotFoundError, match="there is no run to log into"):
        lightgbm.train(LGB, lightgbm.Dataset(WIDE, TARGET), 2, callbacks=[LightgbmCallback()])


def test_the_model_is_the_same_with_the_callback_and_without(registry: Registry) -> None:
    def trained(*callbacks: Any) -> tuple[bytes, str]:
        booster = xgboost.train(
            XGB, matrices()[0][0], 3, evals=matrices(), verbose_eval=False, callbacks=[*callbacks[:1]]
        )
        other = lightgbm.train(LGB, lightgbm.Dataset(WIDE, TARGET), 3, callbacks=[*callbacks[1:]])
        return bytes(booster.save_raw("ubj")), other.model_to_string()

    with registry.run("churn"):
        assert trained(XgboostCallback(), LightgbmCallback()) == trained()
