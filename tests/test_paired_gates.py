"""A margin by what both predict: the gate passes only where the paired interval lies beyond the margin."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from modelkeep import gates
from modelkeep.errors import GateError, InvalidValueError, StaleError
from modelkeep.evidence import Check, Finding
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore

Three = tuple[Any, Any, Any]


@pytest.fixture
def place() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry(place: MemoryStore) -> Registry:
    return Registry(place, trust=("cloudpickle", "sklearn"))


def asked(registry: Registry, gate: str) -> None:
    registry.policy.set(f'[models."churn*".aliases.production]\ngates = [{{ {gate} }}]')


def save(registry: Registry, accuracy: float = 0.5) -> ModelVersion:
    version: ModelVersion = registry.save({"w": np.array([accuracy])}, "churn", metrics={"accuracy": accuracy})
    return version


def pair(registry: Registry) -> ModelVersion:
    """Who is to take the place of version 1, with a metric on record that is better by 0.05."""
    save(registry, 0.80).promote("production")
    return save(registry, 0.85)


def always(registry: Registry, value: float) -> ModelVersion:
    version: ModelVersion = registry.save(
        lambda x: np.full(len(x), value), "churn", serializer="cloudpickle", metrics={"rmse": 0.0}
    )
    return version


def only(check: Check) -> Finding:
    (finding,) = check.findings
    return finding


def told(place: MemoryStore) -> list[dict[str, Any]]:
    line = Registry(place).model("churn")._read()
    return [op for entry, _, _ in line.releases.replay() for op in entry.ops]


def flipped(rows: int, *, better: int, worse: int) -> Three:
    """So many rows that only the later model knows, and so many that only the one before does; both know the others."""
    y = np.arange(rows) % 2
    before, after = y.copy(), y.copy()
    before[:better] ^= 1
    after[better : better + worse] ^= 1
    return y, before, after


# -- with the answer known beforehand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "better", "worse", "margin", "passed"),
    [
        (40, 2, 0, 0.01, False),  # 0.05 better, as on record, and no more than luck
        (4000, 200, 0, 0.01, True),  # the same, and surely so
        (4000, 200, 0, 0.042, True),  # 0.05 - 1.96 * sqrt(0.05 * 0.95 / 4000) is 0.0432
        (4000, 200, 0, 0.045, False),
        (4000, 400, 200, 0.01, True),  # 0.05 - 1.96 * sqrt((0.15 - 0.05²) / 4000) is 0.0381
        (4000, 400, 200, 0.042, False),
        (200, 199, 0, 0.9, True),
        (100, 0, 0, 0, True),  # not worse, on any resample
        (400, 30, 30, 0, False),
        (1000, 0, 50, 0, False),
    ],
)
def test_the_interval_of_what_both_predict_lies_beyond_the_margin_or_the_gate_fails(
    registry: Registry, rows: int, better: int, worse: int, margin: float, passed: bool
) -> None:
    version = pair(registry)
    asked(registry, f'metric = "accuracy", margin = {margin}')
    three = flipped(rows, better=better, worse=worse)
    finding = only(version.check("production", predictions=three))
    assert finding.passed is passed, finding.said
    found = finding.paired
    assert found is not None
    share, apart = (better - worse) / rows, (better + worse) / rows
    half = 1.96 * math.sqrt((apart - share**2) / rows)
    assert found.difference == pytest.approx(share)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.02)
    assert (found.rows, found.level) == (rows, 0.95)


@pytest.mark.parametrize(("off", "passed"), [(0.5, True), (0.75, True), (0.8, False), (1.5, False)])
def test_where_lower_is_better_the_whole_interval_is_lower_by_the_margin(
    registry: Registry, off: float, passed: bool
) -> None:
    version = pair(registry)
    asked(registry, 'metric = "rmse", margin = 0.25, lowest = true')
    y = np.linspace(0, 1, 64)
    finding = only(version.check("production", predictions=(y, y + 1.0, y + off)))
    assert finding.passed is passed
    assert finding.paired is not None
    assert finding.paired.low == pytest.approx(off - 1.0)


def test_it_is_the_interval_that_a_comparison_tells(registry: Registry) -> None:
    version = pair(registry)
    asked(registry, 'metric = "accuracy", margin = 0.01')
    three = flipped(500, better=60, worse=20)
    metrics = {"accuracy": lambda y, p: float(np.mean(y == p)), "share": lambda _, p: float(np.mean(p))}
    judgement = version.compare(1, predictions=three, metrics=metrics).judgement
    assert judgement is not None
    found = only(version.check("production", predictions=three, metrics=metrics)).paired
    assert found is not None
    test = judgement["accuracy"]
    assert (found.difference, found.low, found.high, found.level) == (test.difference, test.low, test.high, 0.975)
    assert found.how == f"paired bootstrap of {judgement.resamples} resamples, seed {judgement.seed}"


def test_on_rows_that_both_predict_it_is_the_same(registry: Registry) -> None:
    inputs, y = load_breast_cancer(return_X_y=True)
    stump = DecisionTreeClassifier(max_depth=1, random_state=0).fit(inputs[:300], y[:300])
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs[:300], y[:300])
    rows, truth = inputs[300:], y[300:]
    weak, strong = (registry.save(one, "churn") for one in (stump, linear))
    asked(registry, 'metric = "accuracy", margin = 0, paired = true')
    weak.promote("production")
    by_models = strong.check("production", on=(rows, truth))
    given = strong.check("production", predictions=(truth, stump.predict(rows), linear.predict(rows)))
    assert by_models == given
    found = only(by_models).paired
    assert found is not None
    assert found.difference == pytest.approx(linear.score(rows, truth) - stump.score(rows, truth))
    assert found.low > 0
    assert strong.promote("production", on=(rows, truth)).aliases == ("production",)
    with pytest.raises(GateError):
        weak.promote("production", on=(rows, truth))


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_the_entry_keeps_difference_interval_rows_and_how(registry: Registry, place: MemoryStore) -> None:
    version = pair(registry)
    asked(registry, 'metric = "accuracy", margin = 0.01')
    version.promote("production", expect=1, predictions=flipped(200, better=200, worse=0))
    assert told(place)[-1]["evidence"]["findings"] == [
        {
            "asked": "accuracy above the holder's by at least 0.01",
            "passed": True,
            "measured": 1.0,
            "paired": {
                "difference": 1.0,
                "low": 1.0,
                "high": 1.0,
                "level": 0.95,
                "rows": 200,
                "how": "paired bootstrap of 2000 resamples, seed 0",
            },
        }
    ]


def test_what_was_found_is_said_and_told_as_plain_values(registry: Registry) -> None:
    version = pair(registry)
    asked(registry, 'metric = "accuracy", margin = 0.01')
    check = version.check("production", predictions=flipped(200, better=200, worse=0))
    said = "accuracy is 1, and that of churn:1 0; difference 1, between 1 and 1 (95 %, 200 rows)"
    assert only(check).said == said
    assert check.to_dict()["findings"][0]["paired"]["rows"] == 200
    assert "paired" not in version.check("production").to_dict()["findings"][0]


# -- without predictions -----------------------------------------------------------------------------------------------


def test_without_predictions_the_recorded_metrics_are_compared_unless_the_policy_asks_for_predictions(
    registry: Registry, place: MemoryStore
) -> None:
    version = pair(registry)
    asked(registry, 'metric = "accuracy", margin = 0.01')
    recorded = only(version.check("production"))
    assert (recorded.passed, recorded.measured, recorded.paired) == (True, 0.85, None)
    asked(registry, 'metric = "accuracy", margin = 0.01, paired = true')
    with pytest.raises(GateError, match=r"on the same rows \(what both predict was not given; give on=\(X, y\)"):
        version.promote("production")
    assert told(place)[-1]["op"] == "refuse"


def test_where_nobody_else_stands_no_predictions_are_asked_for(registry: Registry) -> None:
    asked(registry, 'metric = "accuracy", margin = 0.01, paired = true')
    version = save(registry).promote("production")
    assert only(version.check("production")).said == "nobody else stands there"


def test_of_a_metric_that_predictions_do_not_tell_a_gate_goes_by_what_was_recorded_or_fails(registry: Registry) -> None:
    for seconds in (9.0, 5.0):
        version = registry.save({"w": np.array([seconds])}, "churn", metrics={"seconds": seconds})
        if seconds == 9.0:
            version.promote("production")
    three = flipped(50, better=0, worse=0)
    asked(registry, 'metric = "seconds", margin = 1, lowest = true')
    assert only(version.check("production", predictions=three)).passed
    asked(registry, 'metric = "seconds", margin = 1, lowest = true, paired = true')
    finding = only(version.check("production", predictions=three))
    assert not finding.passed
    assert finding.said == "predictions tell accuracy; give metrics={'seconds': …}, of (y, predicted)"


# -- what cannot be told -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        (([0, 1], [0, 1]), "predictions are three"),
        (([0, 1], [0, 1, 1], [0, 1]), r"what the holder predicts has the shape \(3,\), and the holdout 2 rows"),
        (([0, 1], [0, 1], [0]), r"what churn:2 predicts has the shape \(1,\)"),
        (([0.0, None], [0.0, 1.0], [0.0, 1.0]), "y has no value in 1 rows"),
        (([0.0, 1.0], [0.0, 1.0], [0.0, math.nan]), "what churn:2 predicts has no value in 1 rows, the first is row 1"),
        ((["a", "b"], ["a", "b"], [0, 1]), "what churn:2 predicts is numbers"),
    ],
)
def test_predictions_that_do_not_fit_together_are_an_error_and_nothing_is_written(
    registry: Registry, place: MemoryStore, predictions: Any, said: str
) -> None:
    version = pair(registry)
    asked(registry, 'metric = "accuracy", margin = 0.01')
    for call in (version.check, lambda alias, **given: version.promote(alias, expect=1, **given)):
        with pytest.raises(InvalidValueError, match=said):
            call("production", predictions=predictions)
    assert [op["op"] for op in told(place)] == ["alias"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"on": ([1], [1]), "predictions": ([1], [1], [1])}, "not both"),
        ({"on": [1]}, "is no holdout"),
        ({"metrics": {"f": max}}, "metrics are reckoned on rows"),
        ({"predictions": ([1, 0], [1, 0], [1, 0])}, "another may stand there; say which it is, such as expect=3"),
    ],
)
def test_a_call_that_says_too_much_or_too_little_is_refused_with_or_without_a_policy(
    registry: Registry, place: MemoryStore, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidValueError, match=said):
        pair(registry).promote("production", **given)
    assert [op["op"] for op in told(place)] == ["alias"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(math.nan, "what churn:2 predicts has no value in 20 rows"), ("x", "ValueError: could not convert")],
)
def test_a_model_that_predicts_no_numbers_is_refused(
    registry: Registry, place: MemoryStore, value: Any, said: str
) -> None:
    always(registry, 1.0).promote("production")
    version = registry.save(
        lambda x: np.full(len(x), float(value)), "churn", serializer="cloudpickle", metrics={"rmse": 0.0}
    )
    asked(registry, 'metric = "rmse", margin = 0, lowest = true')
    holdout = (np.zeros((20, 1)), np.ones(20))
    assert said in only(version.check("production", on=holdout)).said
    with pytest.raises(GateError):
        version.promote("production", on=holdout)
    assert told(place)[-1]["op"] == "refuse"


def recall(y: Any, predicted: Any) -> float:
    return float(np.mean(predicted[y == 1])) if np.any(y == 1) else math.nan


@pytest.mark.parametrize(("positives", "passed"), [(5, True), (2, False)])
def test_resamples_without_a_value_count_as_bad_ones(registry: Registry, positives: int, passed: bool) -> None:
    version = pair(registry)
    asked(registry, 'metric = "recall", margin = 0.5')
    y = (np.arange(1000) < positives).astype(int)  # of resamples exp(-positives) have none: 0.7 % and 14 %
    given = (y, np.zeros(1000, int), y)
    finding = only(version.check("production", predictions=given, metrics={"recall": recall}))
    assert finding.passed is passed
    assert finding.paired is not None
    assert finding.paired.low == 1.0
    assert "of 2000 resamples have no value" in finding.said


def test_nan_never_passes_and_is_a_word_in_the_entry(registry: Registry, place: MemoryStore) -> None:
    version = pair(registry)
    asked(registry, 'metric = "f", margin = 0')
    with pytest.raises(GateError):
        version.promote(
            "production", expect=1, predictions=([0, 1], [0, 1], [0, 1]), metrics={"f": lambda *_: math.nan}
        )
    kept = told(place)[-1]["evidence"]["findings"][0]
    assert (kept["measured"], kept["paired"]["difference"], kept["paired"]["low"]) == ("nan", "nan", "nan")


# -- others at work meanwhile ------------------------------------------------------------------------------------------


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something done by others while gates look for the first time."""
    real, left = gates.findings, [act]

    def looking(*given: Any) -> Any:
        found = list(real(*given))
        if left:
            left.pop()()
        return iter(found)

    monkeypatch.setattr(gates, "findings", looking)


def test_who_is_overtaken_is_compared_on_the_same_rows_with_the_new_holder(
    registry: Registry, place: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(registry, 3.0).promote("production")
    better, best = always(registry, 2.0), always(registry, 1.0)
    other = Registry(place, trust="cloudpickle").get(best.ref)
    holdout = (np.zeros((30, 1)), np.ones(30))
    meanwhile(monkeypatch, lambda: other.promote("production", on=holdout))
    asked(registry, 'metric = "rmse", margin = 0.5, lowest = true')
    with pytest.raises(GateError, match="rmse is 1, and that of churn:3 0"):
        better.promote("production", on=holdout)


def test_predictions_of_a_holder_that_stands_there_no_more_prove_nothing(
    registry: Registry, place: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, third = pair(registry), save(registry, 0.9)
    other = Registry(place).get(third.ref)
    meanwhile(monkeypatch, lambda: other.promote("production"))
    asked(registry, 'metric = "accuracy", margin = 0.01')
    with pytest.raises(StaleError):
        version.promote("production", expect=1, predictions=flipped(200, better=200, worse=0))
    assert [op["op"] for op in told(place)] == ["alias", "alias"]
