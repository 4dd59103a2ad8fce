"""Searches of scikit-learn and studies of Optuna: their trials, together, in the record of the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  without it there are none
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from callbacks.looking import LABELS, TARGET, X, curve, points, saved, sweeps
from modelkeep.errors import InvalidValueError, NotFoundError
from modelkeep.integrations.callbacks import trials
from modelkeep.integrations.callbacks.optuna import RunCallback
from modelkeep.integrations.callbacks.sklearn import log_search
from modelkeep.registry import Registry
from modelkeep.runs import Run
from modelkeep.stores.memory import MemoryStore
from modelkeep.track import last_run

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


# -- scikit-learn --------------------------------------------------------------------------------------------------


def assert_searched(run: Run, search: Any) -> Any:
    """The run has all of ``cv_results_`` that a user looks at; gives its sweep."""
    results = search.cv_results_
    columns = [name for name in results if name.startswith(("mean_", "std_"))]
    assert len(columns) >= 4
    assert {name: curve(run, name) for name in columns} == {name: points(results[name]) for name in columns}
    (sweep,) = sweeps(run)
    assert [trial["number"] for trial in sweep["trials"]] == list(range(len(results["params"])))
    assert [trial["values"] for trial in sweep["trials"]] == [
        {name: results[name][i] for name in columns} for i in range(len(results["params"]))
    ]
    return sweep


@pytest.mark.parametrize(
    "search",
    [
        GridSearchCV(Ridge(), {"alpha": [100.0, 0.1, 10.0]}, cv=2),
        RandomizedSearchCV(Ridge(), {"alpha": np.logspace(-2, 2, 9)}, n_iter=4, cv=2, random_state=1),
        HalvingGridSearchCV(Ridge(), {"alpha": [100.0, 0.1, 10.0]}, cv=2, min_resources=20, factor=2, random_state=1),
    ],
    ids=lambda search: type(search).__name__,
)
def test_a_search_is_logged_candidate_by_candidate(registry: Registry, search: Any) -> None:
    with registry.run("churn") as run:
        search.fit(X, TARGET)
        log_search(search)
    sweep = assert_searched(run, search)
    assert (sweep["tool"], sweep["name"], sweep["best"]) == ("scikit-learn", type(search).__name__, search.best_index_)
    assert [trial["params"] for trial in sweep["trials"]] == search.cv_results_["params"]
    version = saved(run)
    assert version.params == {"best_params": search.best_params_}
    assert version.metrics["mean_test_score"] == search.best_score_


def test_a_halving_search_says_where_each_candidate_was(registry: Registry) -> None:
    search = HalvingGridSearchCV(Ridge(), {"alpha": [100.0, 0.1]}, cv=2, min_resources=20, factor=2, random_state=1)
    with registry.run("churn") as run:
        log_search(search.fit(X, TARGET))
    found = [(trial["iter"], trial["n_resources"]) for trial in sweeps(run)[0]["trials"]]
    assert found == list(zip(search.cv_results_["iter"], search.cv_results_["n_resources"], strict=True))


def test_of_several_metrics_each_has_its_curve_and_the_best_is_what_the_search_says_or_the_first(
    registry: Registry,
) -> None:
    scores = ["neg_mean_absolute_error", "r2"]
    for refit in (False, "r2"):
        search = GridSearchCV(Ridge(), {"alpha": [100.0, 0.1, 9.0]}, cv=2, scoring=scores, refit=refit).fit(X, TARGET)
        with registry.run("churn") as run:
            log_search(search)
        assert assert_searched(run, search)["best"] == 1
        assert run.metrics["mean_test_r2"] == max(search.cv_results_["mean_test_r2"])


def test_a_parameter_that_is_an_object_is_kept_as_its_class(registry: Registry) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    grid = {"standardscaler": [StandardScaler(), "passthrough"], "logisticregression__C": [1.0]}
    search = GridSearchCV(model, grid, cv=2).fit(X, LABELS)
    with registry.run("churn") as run:
        log_search(search)
    kept = [trial["params"]["standardscaler"] for trial in sweeps(run)[0]["trials"]]
    assert kept == ["sklearn.preprocessing._data.StandardScaler", "passthrough"]


def test_two_searches_of_a_run_are_two_sweeps(registry: Registry) -> None:
    search = GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, cv=2).fit(X, TARGET)
    with registry.run("churn") as run:
        log_search(search, prefix="first/")
        log_search(search, prefix="second/")
    assert [len(sweep["trials"]) for sweep in sweeps(run)] == [2, 2]
    assert run.metrics["second/mean_test_score"] == run.metrics["first/mean_test_score"] == search.best_score_


def test_what_is_no_fitted_search_is_an_error_and_so_is_no_run(registry: Registry) -> None:
    search = GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=2)
    with registry.run("churn"), pytest.raises(InvalidValueError, match="has no cv_results_; give a search after"):
        log_search(search)
    with pytest.raises(NotFoundError, match="there is no run"):
        log_search(search.fit(X, TARGET))


# -- optuna --------------------------------------------------------------------------------------------------------


def objective(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("rate", 0.01, 1.0, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    for step in range(4):
        trial.report(rate / (step + 1), step)
        if trial.number > 3 and trial.should_prune():
            raise optuna.TrialPruned
    if trial.number == 2:
        raise ZeroDivisionError
    return float(rate + (kind == "a"))


def study(**options: Any) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), **options)


def test_each_trial_of_a_study_is_in_the_record_with_its_values_by_step(registry: Registry) -> None:
    tried = study(study_name="rates", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    with registry.run("churn") as run:
        tried.optimize(objective, n_trials=12, callbacks=[RunCallback()], catch=ZeroDivisionError)
    (sweep,) = sweeps(run)
    assert (sweep["tool"], sweep["name"], sweep["best"]) == ("optuna", "rates", tried.best_trial.number)
    assert {trial.state.name for trial in tried.trials} == {"COMPLETE", "PRUNED", "FAIL"}
    for kept, trial in zip(sweep["trials"], tried.trials, strict=True):
        assert (kept["number"], kept["params"], kept["state"]) == (trial.number, trial.params, trial.state.name.lower())
        assert kept.get("values") == trial.values
        assert dict(zip(kept["steps"]["step"], kept["steps"]["value"], strict=True)) == trial.intermediate_values
        assert trial.duration is not None
        assert kept["duration_s"] == trial.duration.total_seconds()
    done = [(trial.number, trial.value) for trial in tried.trials if trial.state.name == "COMPLETE"]
    assert curve(run, "value") == done


def test_the_curve_has_the_completed_trials_and_the_metric_is_the_best(registry: Registry) -> None:
    tried = study(direction="maximize")
    with registry.run("churn") as run:
        tried.optimize(objective, n_trials=6, callbacks=[RunCallback()], catch=ZeroDivisionError)
    done = [(trial.number, trial.value) for trial in tried.trials if trial.state.name == "COMPLETE"]
    assert curve(run, "value") == done
    assert tried.best_trial.number != done[-1][0]
    version = saved(run)
    assert (version.metrics, version.params) == ({"value": tried.best_value}, {"best_params": tried.best_params})


def test_a_study_that_goes_on_in_another_run_is_a_sweep_there(registry: Registry) -> None:
    tried, callback = study(), RunCallback()
    found = []
    for _ in range(2):
        with registry.run("churn") as run:
            tried.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, callbacks=[callback])
        found += [[trial["number"] for trial in sweep["trials"]] for sweep in sweeps(run)]
    assert found == [[0, 1], [2, 3]]


def test_threads_of_a_study_write_into_one_sweep(registry: Registry) -> None:
    tried = study()
    with registry.run("churn") as run:
        tried.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=40, n_jobs=4, callbacks=[RunCallback()])
    (sweep,) = sweeps(run)
    assert sorted(trial["number"] for trial in sweep["trials"]) == list(range(40))
    assert sorted(curve(run, "value")) == [(trial.number, trial.value) for trial in tried.trials]
    assert (sweep["best"], run.metrics["value"]) == (tried.best_trial.number, tried.best_value)


def test_several_objectives_have_their_curves_and_no_best(registry: Registry) -> None:
    tried = study(directions=["minimize", "maximize"])
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        tried.set_metric_names(["loss", "auc"])
    with registry.run("churn") as run:
        tried.optimize(
            lambda trial: (trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)),
            n_trials=3, callbacks=[RunCallback()],
        )  # fmt: skip
    assert curve(run, "loss") == [(trial.number, trial.values[0]) for trial in tried.trials]
    assert curve(run, "auc") == [(trial.number, trial.values[1]) for trial in tried.trials]
    assert "best" not in sweeps(run)[0]
    assert "best_params" not in run.params


def test_trials_that_are_tracked_say_in_which_run(registry: Registry) -> None:
    @registry.track("trial")
    def train(rate: float) -> Any:
        return {"w": np.full(2, rate)}

    def value(trial: optuna.Trial) -> float:
        return float(train(trial.suggest_float("rate", 0, 1))["w"][0])

    with registry.run("churn") as run:
        study().optimize(value, n_trials=2, callbacks=[RunCallback()])
    assert last_run(train).version.record.made["session"]["within"] == run.id
    assert len(sweeps(run)[0]["trials"]) == 2


def test_a_parameter_that_looks_like_a_secret_is_left_out_and_named_and_the_study_goes_on(registry: Registry) -> None:
    def value(trial: optuna.Trial) -> float:
        trial.suggest_categorical("db_password", ["maple-7-orchard"])
        return float(trial.suggest_float("x", 0, 1))

    with (
        registry.run("churn") as run,
        pytest.warns(UserWarning, match="params.db_password looks like a secret .* left out of the trials") as seen,
    ):
        study().optimize(value, n_trials=3, callbacks=[RunCallback()])
    assert [list(trial["params"]) for trial in sweeps(run)[0]["trials"]] == [["x"]] * 3
    assert list(run.params["best_params"]) == ["x"]
    assert "maple-7" not in str(seen[0].message)
    assert len(seen) == 1


def test_a_parameter_that_was_allowed_is_kept(registry: Registry) -> None:
    def value(trial: optuna.Trial) -> float:
        trial.suggest_categorical("db_password", ["maple-7-orchard"])
        return 0.0

    with registry.run("churn", allow_secret_like={"db_password"}) as run:
        study().optimize(value, n_trials=1, callbacks=[RunCallback()])
    assert sweeps(run)[0]["trials"][0]["params"] == {"db_password": "maple-7-orchard"}


def test_a_record_keeps_so_many_trials_and_points_and_says_how_many_are_left_out(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "MAX_TRIALS", 3)
    monkeypatch.setattr(trials, "MAX_POINTS", 5)

    def value(trial: optuna.Trial) -> float:
        for step in range(101):
            trial.report(step / 2, step)
        return -float(trial.number)

    with registry.run("churn") as run:
        study().optimize(value, n_trials=5, callbacks=[RunCallback()])
    (sweep,) = sweeps(run)
    assert ([trial["number"] for trial in sweep["trials"]], sweep["left_out"], sweep["best"]) == ([0, 1, 2], 2, 4)
    assert sweep["trials"][0]["steps"] == {"step": [0, 25, 50, 75, 100], "value": [0.0, 12.5, 25.0, 37.5, 50.0]}
    assert len(curve(run, "value")) == 5


def test_without_a_run_a_study_ends_with_an_error_that_says_what_to_do() -> None:
    with pytest.raises(NotFoundError, match="there is no run to log into"):
        study().optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, callbacks=[RunCallback()])
