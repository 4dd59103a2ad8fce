"""Which version is best, and how a metric went."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.errors import InvalidValueError, NotFoundError, UnknownModelError
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from modelkeep.system import parse_time

NAN, INFINITE = math.nan, math.inf
START = datetime.now(UTC)  # a clock that is far from the store's would be refused


class Clock:
    """A minute passes with each look, unless somebody sets it."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Recording:
    return Recording(MemoryStore())


@pytest.fixture
def registry(store: Recording, clock: Clock) -> mk.Registry:
    return mk.Registry(store, system=mk.System(now=clock))


def filled(registry: mk.Registry, *values: Any, name: str = "churn") -> mk.RegisteredModel:
    """A version for each value of the metric `auc`; None: without any."""
    for number, value in enumerate(values, 1):
        metrics = {"loss": 1.0} if value is None else {"auc": value}
        registry.save({"n": np.full(3, number)}, name, metrics=metrics, params={"depth": number % 3})
    return registry.model(name)


# -- the best ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "mode", "wanted"),
    [
        ((0.8, 0.9, 0.85), "max", 2),
        ((0.8, 0.9, 0.85), "min", 1),
        ((0.9, 0.9, 0.1), "max", 2),  # of equal ones the newer
        ((0.1, 0.9, 0.1), "min", 3),
        ((NAN, 0.1, NAN), "max", 2),
        ((NAN, 0.1, NAN), "min", 2),
        ((None, 0.1, None), "min", 2),
        ((True, 0.1), "max", 2),  # a truth value is no number
        ((0.9, INFINITE), "max", 2),
        ((0.9, -INFINITE), "max", 1),
        ((1 << 70, 0.5), "max", 1),
    ],
)
def test_the_best_version_has_the_best_number(registry: mk.Registry, values: Any, mode: Any, wanted: int) -> None:
    assert filled(registry, *values).best("auc", mode=mode).number == wanted


def test_a_deleted_version_is_not_the_best_and_is_again_when_it_is_restored(registry: mk.Registry) -> None:
    model = filled(registry, 0.8, 0.9)
    model.version(2).delete()
    assert model.best("auc").number == 1
    model.version(2).restore()
    assert model.best("auc").number == 2


def test_the_best_is_looked_for_among_those_that_where_lets_through(registry: mk.Registry) -> None:
    model = filled(registry, 0.9, 0.8, 0.7, 0.6)
    assert model.best("auc", where=lambda v: v.params["depth"] == 1).number == 1
    assert model.best("auc", where=lambda v: v.params["depth"] == 2).number == 2
    assert model.best("auc", where=lambda v: v.metrics["auc"] < 0.8).number == 3


def test_no_number_at_all_is_an_error_that_names_the_metrics_there_are(registry: mk.Registry) -> None:
    model = filled(registry, 0.9, None)
    with pytest.raises(NotFoundError, match=r"no version of 'churn' has a number for .* 'acc'; there is auc, loss"):
        model.best("acc")
    with pytest.raises(NotFoundError, match="'auc'"):
        filled(registry, NAN, name="other").best("auc")
    with pytest.raises(NotFoundError, match="no version to choose from"):
        model.best("auc", where=lambda _: False)


def test_what_is_no_question_is_refused(registry: mk.Registry) -> None:
    model = filled(registry, 0.9)
    wrong: Any = "highest"
    with pytest.raises(InvalidValueError, match="mode is 'highest'; give 'max' or 'min'"):
        model.best("auc", mode=wrong)
    with pytest.raises(InvalidValueError, match="mode"):
        model.trend("auc", mode=wrong)
    wrong = ["auc"]
    with pytest.raises(InvalidValueError, match="metric is"):
        model.best(wrong)
    with pytest.raises(UnknownModelError):
        registry.model("nobody").best("auc")


def test_the_best_costs_two_requests_when_warm(registry: mk.Registry, store: Recording) -> None:
    model = filled(registry, *(n / 40 for n in range(40)))
    model.versions()
    store.forget()
    assert model.best("auc").number == 40
    assert len(store.requests) == 2


def test_the_best_of_the_trained_digits_is_one_of_those_that_the_story_names(digits_registry: mk.Registry) -> None:
    from trained import digits

    model = digits_registry.model(digits.NAME)
    assert model.best("accuracy").number in digits.BEST
    assert model.best("accuracy", mode="min").number in (1, 7, 8)
    assert model.best("accuracy", where=lambda v: "C" in v.params).number in (3, 4)


# -- the trend -----------------------------------------------------------------------------------------------------


def test_a_trend_has_each_version_in_order_and_keeps_nan(registry: mk.Registry) -> None:
    model = filled(registry, 0.8, NAN, None, 0.7, INFINITE)
    model.version(4).delete()
    found = model.trend("auc")
    assert [point.number for point in found.points] == [1, 2, 5]
    assert [point.created for point in found.points] == [model.version(n).created for n in (1, 2, 5)]
    np.testing.assert_array_equal([point.value for point in found.points], [0.8, NAN, INFINITE])
    assert found.without == (3,)


@pytest.mark.parametrize(
    ("values", "mode", "so_far", "top"),
    [
        ((0.8, NAN, 0.9, 0.9, 0.7), "max", (0.8, 0.8, 0.9, 0.9, 0.9), 4),
        ((NAN, 0.8, 0.9, 0.7), "min", (NAN, 0.8, 0.8, 0.7), 4),
        ((NAN, NAN), "max", (NAN, NAN), None),
    ],
)
def test_the_best_so_far_passes_nan_over(
    registry: mk.Registry, values: Any, mode: Any, so_far: Any, top: int | None
) -> None:
    found = filled(registry, *values).trend("auc", mode=mode)
    np.testing.assert_array_equal(found.best_so_far, so_far)
    assert (found.best and found.best.number) == top


def test_the_best_of_a_trend_is_the_best_version(registry: mk.Registry) -> None:
    model = filled(registry, 0.8, NAN, 0.9, 0.9, None, 0.7)
    for mode in ("max", "min"):
        top = model.trend("auc", mode=mode).best
        assert top is not None
        assert top.number == model.best("auc", mode=mode).number


def test_a_trend_tells_what_stood_under_each_alias_from_when_to_when(registry: mk.Registry) -> None:
    model = filled(registry, 0.7, 0.8, 0.9)
    model.version(1).promote("production")
    model.version(2).promote("production")
    model.version(3).promote("staging")
    model.version(2).promote("production", reason="again")  # it stands there already
    model.rollback("production")
    model.unset("staging")
    stays = model.trend("auc").stays
    assert [(stay.alias, stay.number) for stay in stays] == [
        ("production", 1),
        ("production", 2),
        ("staging", 3),
        ("production", 1),
    ]
    moves = [event.time for event in model.history() if event.journal == "releases"]
    assert [stay.since for stay in stays] == [moves[0], moves[1], moves[2], moves[4]]
    assert [stay.until for stay in stays] == [moves[1], moves[4], moves[5], None]
    assert model.trend("auc").standing() == {"production": 1}
    assert str(stays[1]) == f"production: version 2 from {moves[1]:%Y-%m-%d %H:%M} to {moves[4]:%Y-%m-%d %H:%M}"


def test_a_slow_clock_does_not_turn_the_moves_around_and_at_agrees(registry: mk.Registry, clock: Clock) -> None:
    model = filled(registry, 0.7, 0.8, 0.9)
    model.version(1).promote("production")
    clock.time = START + timedelta(days=2)
    model.version(2).promote("production")
    clock.time = START + timedelta(days=1)  # this writer's clock is slow
    model.version(3).promote("production")
    clock.time = START + timedelta(days=3)
    model.version(1).promote("production")
    stays = model.trend("auc").stays
    assert [stay.number for stay in stays] == [1, 2, 3, 1]
    times = [stay.since for stay in stays]
    assert times == sorted(times)
    assert model.at("production", stays[2].since) == model.version(3)
    assert stays[1].until == stays[1].since  # as far as these clocks tell


def test_what_was_measured_later_is_a_trend_of_its_own(registry: mk.Registry) -> None:
    model = filled(registry, 0.8, 0.9)
    model.version(2).measure(drift=0.1)
    model.version(2).measure(drift=0.3)
    again = mk.Registry(registry._store).model("churn")
    found = again.trend("drift", measured=True)
    assert [(point.number, point.value) for point in found.points] == [(2, 0.3)]
    assert found.without == (1,)
    registry.get("churn:1").measure(drift=0.2)  # by somebody else
    assert [point.value for point in again.trend("drift", measured=True).points] == [0.2, 0.3]
    with pytest.raises(NotFoundError, match=r"'drift'; there is auc.*measured=True"):
        model.trend("drift")
    with pytest.raises(NotFoundError, match="'auc'; there is drift"):
        model.trend("auc", measured=True)


def test_a_trend_as_plain_values_and_as_a_table_holds_what_it_holds(registry: mk.Registry) -> None:
    pandas = pytest.importorskip("pandas")
    model = filled(registry, 0.8, 0.9, 0.7)
    model.version(2).promote("production").promote("staging")
    found = model.trend("auc")
    plain = found.to_dict()
    assert [(row["version"], row["value"], row["best_so_far"]) for row in plain["versions"]] == [
        (1, 0.8, 0.8),
        (2, 0.9, 0.9),
        (3, 0.7, 0.9),
    ]
    assert parse_time(plain["versions"][0]["created"]) == model.version(1).created
    assert [(stay["alias"], stay["version"], stay["until"]) for stay in plain["stays"]] == [
        ("production", 2, None),
        ("staging", 2, None),
    ]
    table = found.to_pandas()
    assert table["version"].tolist() == [1, 2, 3]
    assert table["aliases"].tolist() == [(), ("production", "staging"), ()]
    assert isinstance(table["created"].dtype, pandas.DatetimeTZDtype)


def test_a_trend_costs_two_requests_and_a_cold_read_of_releases_whatever_it_is_about(
    registry: mk.Registry, store: Recording
) -> None:
    model = filled(registry, *(n / 9 for n in range(9)))
    model.version(3).promote("production")
    model.trend("auc")
    store.forget()
    model.trend("auc")
    others = [key for _, key in store.requests if "/releases/" not in key]
    assert len(others) == 1, others  # the next entry of `versions`
    assert not [key for _, key in store.requests if "/data/" in key]


def test_the_trend_of_the_trained_digits_is_as_the_story_tells_it(digits_registry: mk.Registry) -> None:
    from trained import digits

    found = digits_registry.model(digits.NAME).trend("accuracy")
    values = {point.number: point.value for point in found.points}
    assert list(values) == list(digits.STORY)
    assert found.best is not None
    assert found.best.number in digits.BEST
    assert max(values[7], values[8]) < values[digits.LAST_GOOD]
    assert found.best_so_far[digits.FIRST_BAD - 1] == found.best_so_far[digits.LAST_GOOD - 1]  # no new best on bad rows
    assert found.standing() == {"staging": 6, "production": 8}


class Drawn(HTMLParser):
    """The elements of a view with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.elements if attributes.get("class") == name]


def test_a_notebook_shows_a_line_with_gaps_where_there_is_no_number(registry: mk.Registry) -> None:
    model = filled(registry, 0.8, 0.9, NAN, 0.7, 0.75, INFINITE)
    model.version(2).promote("production")
    drawn = Drawn(model.trend("auc")._repr_html_())
    lines = [str(line["d"]).split("L") for line in drawn.of_class("line")]
    assert [len(line) for line in lines] == [2, 2]
    assert len(drawn.of_class("dot")) == 4
    assert len(drawn.of_class("lost")) == 2
    assert len(drawn.of_class("ring")) == 1
    assert "production: version 2" in drawn.text
    assert [attributes for _, attributes in drawn.elements if "style" in attributes] == []


def test_the_better_value_lies_higher_in_the_picture(registry: mk.Registry) -> None:
    drawn = Drawn(filled(registry, 0.8, 0.9, 0.85).trend("auc")._repr_html_())
    heights = [float(str(dot["cy"])) for dot in drawn.of_class("dot")]
    assert heights[0] > heights[2] > heights[1]


@given(
    values=st.lists(st.floats() | st.none() | st.booleans(), min_size=1, max_size=6).filter(
        lambda values: any(isinstance(value, float) for value in values)
    ),
    name=st.text(max_size=10),
)
@settings(max_examples=30)
def test_a_view_of_any_numbers_and_names_is_drawn_within_its_picture(values: list[Any], name: str) -> None:
    registry = mk.Registry(MemoryStore())
    for value in values:
        registry.save({"w": np.zeros(2)}, "churn", metrics={} if value is None else {name: value})
    drawn = Drawn(registry.model("churn").trend(name)._repr_html_())
    for dot in drawn.of_class("dot"):
        assert 0 <= float(str(dot["cx"])) <= 480
        assert 0 <= float(str(dot["cy"])) <= 160
    assert "script" not in {tag for tag, _ in drawn.elements}
