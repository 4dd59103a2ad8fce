"""Paired tests: held against scipy and statsmodels, which know nothing of ours, and against cases worked by hand."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.errors import InvalidValueError
from modelkeep.judging import judged, judged_on
from modelkeep.paired import ACCURACY, MAE, RMSE, compared, holm, mean_interval, sign_test
from modelkeep.slicing import worst_slices

COUNTS = st.integers(0, 3000)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- the exact test --------------------------------------------------------------------------------------------------


@given(COUNTS, COUNTS)
def test_the_sign_test_is_the_exact_binomial_test_of_scipy(less: int, more: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(less, less + more).pvalue if less + more else 1.0
    assert sign_test(less, more) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_the_flips_are_judged_as_mcnemars_exact_test_of_statsmodels_judges_them() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    y = np.ones(60, int)
    before = np.r_[np.zeros(14, int), np.ones(46, int)]
    after = np.r_[np.ones(11, int), np.zeros(3, int), np.zeros(4, int), np.ones(42, int)]
    found = compared(y, before, after, {"accuracy": ACCURACY}, classes=True).flips
    assert found is not None
    assert (found.better, found.worse) == (11, 4)
    assert found.worse_rows == (14, 15, 16, 17)
    assert found.p == pytest.approx(tables.mcnemar([[42, 4], [11, 3]], exact=True).pvalue, rel=1e-12)


def test_a_hundred_flipped_rows_of_each_kind_are_named_and_all_are_counted() -> None:
    y = np.ones(300, int)
    found = compared(y, y, np.zeros(300, int), {"accuracy": ACCURACY}, classes=True).flips
    assert found is not None
    assert (found.worse, len(found.worse_rows), found.better_rows) == (300, 100, ())


# -- correction ------------------------------------------------------------------------------------------------------


@settings(max_examples=10)  # statsmodels collects garbage at each call, and that of all frameworks takes a second
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_correction_is_that_of_holm_in_statsmodels(values: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1], abs=1e-12)


def test_two_metrics_are_corrected_for_being_two_and_their_intervals_are_wider() -> None:
    y, noise = random().normal(size=200), random(1).normal(size=(2, 200))
    alone = compared(y, y + noise[0], y + 0.8 * noise[1], {"mae": MAE}, classes=False).metrics[0]
    one, _ = compared(y, y + noise[0], y + 0.8 * noise[1], {"mae": MAE, "rmse": RMSE}, classes=False).metrics
    assert (alone.level, one.level) == (0.95, 0.975)
    assert one.low < alone.low < alone.high < one.high
    assert (alone.p, alone.adjusted) == (one.p, alone.p)
    assert one.adjusted > one.p


# -- the bootstrap ---------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_scipys_paired_bootstrap() -> None:
    stats = pytest.importorskip("scipy.stats")
    y = random().normal(size=300)
    before, after = y + random(1).normal(size=300), y + random(2).normal(0.2, 1, size=300)
    found = compared(y, before, after, {"mae": MAE}, classes=False).metrics[0]

    def difference(one: Any, other: Any, axis: int) -> Any:
        return other.mean(axis=axis) - one.mean(axis=axis)

    expected = stats.bootstrap(
        (np.abs(before - y), np.abs(after - y)), difference, paired=True, method="percentile", n_resamples=20_000, rng=3
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)


def test_19_of_20_intervals_hold_the_true_difference() -> None:
    held = 0
    for seed in range(200):
        low, high = mean_interval(random(seed).normal(0.3, 1, size=80))
        held += low <= 0.3 <= high
    assert 180 <= held <= 198


def test_a_function_of_ones_own_gives_what_the_metric_reckoned_at_once_gives() -> None:
    y, before, after = random().integers(0, 3, (3, 120))
    own = {"accuracy": lambda truth, predicted: float((truth == predicted).mean())}
    ours = compared(y, before, after, {"accuracy": ACCURACY}, classes=True).metrics[0]
    theirs = compared(y, before, after, own, classes=True).metrics[0]
    assert (theirs.low, theirs.high, theirs.p) == pytest.approx((ours.low, ours.high, ours.p))


def test_the_same_rows_give_the_same_interval_each_time() -> None:
    y, before, after = random().integers(0, 2, (3, 90))
    metrics = {"accuracy": ACCURACY}
    assert compared(y, before, after, metrics, classes=True) == compared(y, before, after, metrics, classes=True)


def test_a_model_beside_itself_is_no_better() -> None:
    y, before = random().integers(0, 2, (2, 90))
    found = compared(y, before, before, {"accuracy": ACCURACY}, classes=True).metrics[0]
    assert (found.difference, found.low, found.high, found.adjusted) == (0.0, 0.0, 0.0, 1.0)


def test_a_metric_without_a_value_on_some_resamples_says_how_many_they_were() -> None:
    def recall(y: Any, predicted: Any) -> float:
        if not y.any():
            raise ValueError("only one class")
        return float(predicted[y == 1].mean())

    y = np.r_[np.ones(2, int), np.zeros(40, int)]
    found = compared(y, y, np.zeros(42, int), {"recall": recall}, classes=True).metrics[0]
    assert 100 < found.undefined < 500  # (1 - 2 / 42) ** 42 of 2,000
    assert found.high == -1.0


def test_a_metric_that_is_nan_is_neither_better_nor_worse() -> None:
    y = random().normal(size=30)
    found = compared(y, y, y + 1, {"odd": lambda *_: math.nan}, classes=False).metrics[0]
    assert math.isnan(found.low)
    assert (found.undefined, found.adjusted) == (2000, 1.0)


# -- slices ----------------------------------------------------------------------------------------------------------


def test_the_worst_slice_is_the_one_where_the_planted_fault_is() -> None:
    region = np.array(["north", "south", "east", "west"])[random().integers(0, 4, 800)]
    age = random(1).uniform(0, 100, 800)
    after = np.where((region == "east") & (random(2).random(800) < 0.6), 0.0, 1.0)
    found = worst_slices({"age": age, "region": region}, np.ones(800), after)
    assert (found[0].column, found[0].values, found[0].rows) == ("region", "= east", int((region == "east").sum()))
    assert found[0].low < found[0].difference < found[0].high < 0
    assert found[0].adjusted < 0.001
    assert (found[0].worse, found[0].better) == (int((after == 0).sum()), 0)


def test_a_slice_of_fewer_than_20_rows_is_not_told() -> None:
    few = np.array(["rare"] * 19 + ["common"] * 181)
    after = np.where(few == "rare", 0.0, 1.0)
    assert worst_slices({"kind": few}, np.ones(200), after) == ()
    assert [str(one) for one in worst_slices({"kind": few[:20].repeat(10)}, np.ones(200), after[:20].repeat(10))] == [
        "kind = rare"
    ]


def test_numbers_are_cut_into_quarters_each_row_in_one_of_them_and_missing_values_stand_apart() -> None:
    column = np.r_[np.arange(160.0), np.full(40, np.nan)]
    found = worst_slices({"x": column}, np.ones(200), np.zeros(200))
    assert sorted((one.values, one.rows) for one in found) == [
        ("in (119, 159]", 40),
        ("in (39, 79]", 40),
        ("in (79, 119]", 40),
        ("in [0, 39]", 40),
        ("is missing", 40),
    ]


def test_where_nothing_became_worse_no_slice_is_told() -> None:
    column = np.repeat(["a", "b"], 50)
    assert worst_slices({"x": column}, np.zeros(100), np.ones(100)) == ()


def test_among_many_slices_of_noise_none_passes_for_real() -> None:
    columns = {f"x{place}": random(place).normal(size=1000) for place in range(50)}
    before, after = random(98).integers(0, 2, (2, 1000)).astype(float)
    assert min(one.adjusted for one in worst_slices(columns, before, after)) > 0.05


# -- what comes in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        (([1, 2, 3], [1, 2, 3], [1, 2]), "what after predicts has the shape (2,), and the holdout 3 rows"),
        (([1.0, math.nan], [1.0, 2.0], [1.0, 2.0]), "y has no value in 1 rows, the first is row 1"),
        (([1.0, 2.0], [1.0, 2.0], [math.nan, 2.0]), "what after predicts has no value in 1 rows, the first is row 0"),
        ((["a", None], ["a", "b"], ["a", "b"]), "y has no value"),
        ((["a", "b"], [0, 1], ["a", "b"]), "what before predicts is numbers, such as 0, 1, and y is text"),
        ((["a", "b"], ["a", "b"], ["A", "B"]), "after predicts the classes 'A', 'B', and y has none of them"),
        (([0, 1], np.eye(2), [0, 1]), "of scores of classes the class"),
        (([], [], []), "y has no rows"),
        (([0, 1], [0, 1]), "predictions are three"),
        (0, "predictions are three"),
        ((1, [1], [1]), "y has the shape ()"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(predictions: object, said: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        judged(predictions)
    assert said in str(caught.value)


def test_a_metric_that_fails_is_named() -> None:
    with pytest.raises(InvalidValueError, match="the metric 'auc' cannot be reckoned on these rows: ZeroDivisionError"):
        judged(([0, 1], [0, 1], [0, 1]), {"auc": lambda *_: 1 / 0})


def test_classes_and_numbers_are_told_apart_by_their_types() -> None:
    classes = judged(([0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 0]))
    assert (classes.kind, [one.metric for one in classes.metrics]) == ("classes", ["accuracy"])
    numbers = judged(([0.0, 1.0], [0.0, 1.5], [0.0, 1.0]))
    assert (numbers.kind, [one.metric for one in numbers.metrics], numbers.flips) == ("numbers", ["rmse", "mae"], None)
    assert numbers["mae"].before == 0.25
    assert numbers["rmse"].before == pytest.approx(math.sqrt(0.125))
    assert judged(([0, 1], [0.2, 0.9], [0, 1])).kind == "numbers"


@attrs.frozen
class Fixed:
    """A version that predicts one class for all rows."""

    ref: str
    value: int

    def predict(self, inputs: Any, *, trust: object = False) -> Any:
        del trust
        return np.full(len(inputs), self.value)


def test_a_holdout_of_one_column_is_sliced_by_it() -> None:
    inputs, y = np.repeat([[1], [2]], 50, axis=0), np.repeat([0, 1], 50)
    found = judged_on(Fixed("a", 0), Fixed("b", 1), (inputs, y), None, False)
    assert [(one.column, one.rows) for one in found.slices] == [("column 0", 50)]


def test_rows_of_every_library_are_taken() -> None:
    pd, torch, pl = pytest.importorskip("pandas"), pytest.importorskip("torch"), pytest.importorskip("polars")
    found = judged((pd.Series([0, 1, 1]), torch.tensor([[0], [1], [0]]), pl.Series([0, 1, 1])))
    assert found["accuracy"].difference == pytest.approx(1 / 3)
    words = pd.Series(["a", "b"], dtype="category")
    assert judged((words, words, ["a", "a"]))["accuracy"].difference == -0.5
