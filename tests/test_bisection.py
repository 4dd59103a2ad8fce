"""Which version was the first bad one: found by halving, past what is deleted or cannot be loaded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.bisection import Bisection, Skipped, Verdict
from modelkeep.errors import (
    DeletedError,
    InvalidValueError,
    ModelkeepError,
    StoreError,
    TrustError,
    UnknownVersionError,
)
from modelkeep.layout import pack_key
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording, Wrapper

MANY = 30


@pytest.fixture(scope="module")
def many() -> mk.RegisteredModel:
    return filled(mk.Registry(MemoryStore()), MANY)


@pytest.fixture
def store() -> Recording:
    return Recording(MemoryStore())


@pytest.fixture
def registry(store: Recording) -> mk.Registry:
    return mk.Registry(store)


def filled(registry: mk.Registry, count: int, name: str = "churn") -> mk.RegisteredModel:
    """So many versions, each of which holds its number."""
    for number in range(1, count + 1):
        registry.save({"n": np.full(3, number)}, name)
    return registry.model(name)


def number_in(model: Any) -> int:
    """Which version of `filled` was loaded."""
    return int(model["n"][0])


def check_bounds(found: Bisection[Any], versions: int) -> None:
    assert found.loads <= math.ceil(math.log2(versions)) + 2


@pytest.mark.parametrize("first_bad", [2, 3, 15, 16, 29, 30])
def test_the_first_bad_version_is_found_in_log2_loads(many: mk.RegisteredModel, first_bad: int) -> None:
    asked: list[int] = []

    def test(model: Any) -> bool:
        asked.append(number_in(model))
        return number_in(model) < first_bad

    found = many.bisect(1, MANY, test)
    assert (found.last_good.number, found.first_bad.number) == (first_bad - 1, first_bad)
    assert found.certain
    assert found.skipped == ()
    assert [verdict.number for verdict in found.tested] == asked
    assert found.tested[:2] == (Verdict(1, good=True), Verdict(MANY, good=False))
    assert found.loads == len(asked)
    check_bounds(found, MANY)


@given(st.data())
@settings(max_examples=60)
def test_with_any_versions_deleted_the_answer_is_the_narrowest_there_is(
    many: mk.RegisteredModel, data: st.DataObject
) -> None:
    low = data.draw(st.integers(1, MANY - 1))
    high = data.draw(st.integers(low + 1, MANY))
    border = data.draw(st.integers(low + 1, high))
    gone = data.draw(st.sets(st.integers(low + 1, high - 1))) if high > low + 1 else set()
    back = data.draw(st.booleans())
    for number in gone:
        many.version(number).delete()
    try:
        ends = (high, low) if back else (low, high)
        found = many.bisect(*ends, lambda model: (number_in(model) >= border) == back)
    finally:
        for number in gone:
            many.version(number).restore()
    alive = [number for number in range(low, high + 1) if number not in gone]
    below, above = max(n for n in alive if n < border), min(n for n in alive if n >= border)
    last_good, first_bad = (above, below) if back else (below, above)
    assert (found.last_good.number, found.first_bad.number) == (last_good, first_bad)
    between = range(below, above) if back else range(below + 1, above + 1)
    assert set(found.suspects) == set(between)
    assert found.suspects[-1] == first_bad
    assert {one.number for one in found.skipped} == gone
    check_bounds(found, len(alive))


def test_each_load_is_one_read_of_a_version_and_nothing_else_is_asked(registry: mk.Registry, store: Recording) -> None:
    model = filled(registry, 20)
    model.versions()
    cold = mk.Registry(store).model("churn")
    cold.versions()
    store.forget()
    found = cold.bisect(1, 20, lambda loaded: number_in(loaded) < 13)
    packs = [key for _, key in store.requests if "/data/" in key]
    assert len(packs) == found.loads
    assert len(store.requests) == found.loads + 2


def pack_of(version: mk.ModelVersion) -> str:
    return pack_key(version.name, version._found().at.pack)


@pytest.mark.parametrize("broken", [{5}, {4, 5, 6}, {2, 3, 4, 5, 6, 7, 8, 9}])
def test_what_cannot_be_loaded_is_skipped_and_told(registry: mk.Registry, store: Recording, broken: set[int]) -> None:
    model = filled(registry, 10)
    store.delete([pack_of(model.version(number)) for number in broken])
    cold = mk.Registry(store).model("churn")
    found = cold.bisect(1, 10, lambda loaded: number_in(loaded) < 5)
    last_good = max(n for n in range(1, 5) if n not in broken)
    first_bad = min(n for n in range(5, 11) if n not in broken)
    assert (found.last_good.number, found.first_bad.number) == (last_good, first_bad)
    assert found.suspects == tuple(range(last_good + 1, first_bad + 1))
    assert {one.number for one in found.skipped} <= broken
    assert set(found.suspects) - {first_bad} <= {one.number for one in found.skipped}
    assert all("could not be loaded: IntegrityError" in one.why for one in found.skipped)
    assert not found.certain
    assert f"one of {', '.join(map(str, found.suspects))} of churn" in str(found)


def test_after_one_that_cannot_be_loaded_it_looks_far_from_it(registry: mk.Registry, store: Recording) -> None:
    model = filled(registry, 40)
    store.delete([pack_of(model.version(number)) for number in range(15, 35)])
    found = mk.Registry(store).model("churn").bisect(1, 40, lambda loaded: number_in(loaded) < 8)
    assert found.first_bad.number == 8
    assert found.certain
    assert len(found.skipped) < 4  # of 20 side by side


def test_a_store_that_fails_is_no_reason_to_skip() -> None:
    class Down(Wrapper):
        down = False

        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            if self.down and "/data/" in key:
                raise StoreError("the network is down")
            return super().get(key, span)

    failing = Down(MemoryStore())
    model = filled(mk.Registry(failing), 5)
    model.bisect(1, 5, lambda loaded: number_in(loaded) < 3)
    cold = mk.Registry(failing).model("churn")
    failing.down = True
    for check in (True, False):
        with pytest.raises(StoreError, match="the network is down"):
            cold.bisect(1, 5, lambda loaded: number_in(loaded) < 3, check=check)


def test_code_in_a_model_needs_trust_and_is_not_skipped() -> None:
    granted = mk.Registry(MemoryStore(), trust="cloudpickle")
    for number in range(4):
        granted.save(lambda x, n=number: x + n, "adder", serializer="cloudpickle")
    strict = mk.Registry(granted._store).model("adder")
    for check in (True, False):
        with pytest.raises(TrustError):
            strict.bisect(1, 4, lambda model: model(0) < 2, check=check)
    assert strict.bisect(1, 4, lambda model: model(0) < 2, trust=True).first_bad.number == 3


def test_an_end_that_is_not_what_it_is_said_to_be_is_an_error(many: mk.RegisteredModel) -> None:
    with pytest.raises(InvalidValueError, match="churn:4 was given as good, and the test says it is not"):
        many.bisect(4, 9, lambda model: number_in(model) < 3)
    with pytest.raises(InvalidValueError, match="churn:9 was given as bad, and the test says it is not"):
        many.bisect(4, 9, lambda _: True)


def test_ends_that_are_believed_are_not_loaded(many: mk.RegisteredModel) -> None:
    found = many.bisect(4, 20, lambda model: number_in(model) < 9, check=False)
    assert found.first_bad.number == 9
    assert {verdict.number for verdict in found.tested}.isdisjoint({4, 20})
    assert found.loads <= math.ceil(math.log2(17))
    beside = many.bisect(4, 5, lambda _: True, check=False)
    assert (beside.first_bad.number, beside.loads) == (5, 0)


def test_versions_can_be_given_themselves(many: mk.RegisteredModel) -> None:
    found = many.bisect(many.version(2), many.version(9), lambda model: number_in(model) < 7)
    assert found.first_bad == many.version(7)
    assert isinstance(found.first_bad, mk.ModelVersion)


def test_a_test_may_ask_for_the_version_instead_of_the_model(many: mk.RegisteredModel) -> None:
    found = many.bisect(1, MANY, lambda version: version.number < 11, load=False)
    assert (found.first_bad.number, found.loads) == (11, 0)
    assert len(found.tested) <= math.ceil(math.log2(MANY)) + 2


@pytest.mark.parametrize("loaded", [True, False])
def test_what_a_test_raises_comes_through_with_a_note_of_the_version(many: mk.RegisteredModel, loaded: bool) -> None:
    def test(_: Any) -> bool:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        many.bisect(3, 9, test, load=loaded)
    assert caught.value.__notes__ == ["raised by the test of churn:3"]


def test_a_test_that_forgets_to_return_is_told(many: mk.RegisteredModel) -> None:
    with pytest.raises(InvalidValueError, match="the test gave None for churn:3; return true if it is good"):
        many.bisect(3, 9, lambda _: None)


def test_truth_values_of_numpy_are_truth_values(many: mk.RegisteredModel) -> None:
    assert many.bisect(1, 9, lambda model: (model["n"] < 5).all()).first_bad.number == 5


@pytest.mark.parametrize(
    ("ends", "error", "message"),
    [
        ((3, 3), InvalidValueError, "good and bad are both churn:3"),
        ((3, "9"), InvalidValueError, "bad='9' is no version of 'churn'"),
        ((True, 9), InvalidValueError, "good=True is no version of 'churn'"),
        ((3, 99), UnknownVersionError, "no version 99"),
    ],
)
def test_ends_that_are_no_two_versions_are_refused(
    many: mk.RegisteredModel, ends: Any, error: type[ModelkeepError], message: str
) -> None:
    with pytest.raises(error, match=message):
        many.bisect(ends[0], ends[1], lambda _: True)


def test_a_version_of_another_model_is_refused(registry: mk.Registry, many: mk.RegisteredModel) -> None:
    other = filled(registry, 1, name="other").version(1)
    with pytest.raises(InvalidValueError, match="is no version of 'churn'"):
        many.bisect(other, 3, lambda _: True)


def test_an_end_that_is_deleted_is_an_error_unless_it_is_believed(registry: mk.Registry) -> None:
    model = filled(registry, 6)
    model.version(6).delete()
    with pytest.raises(DeletedError, match="churn:6 is deleted"):
        model.bisect(1, 6, lambda loaded: number_in(loaded) < 3)
    assert model.bisect(1, 6, lambda loaded: number_in(loaded) < 3, check=False).first_bad.number == 3


def test_the_answer_is_told_in_words_and_as_plain_values(registry: mk.Registry) -> None:
    model = filled(registry, 6)
    model.version(4).delete()
    found = model.bisect(1, 6, lambda loaded: number_in(loaded) < 5)
    assert str(found) == "the first bad version is one of 4, 5 of churn, and churn:3 the last good one (4 loads)"
    assert found.to_dict() == {
        "last_good": "churn:3",
        "first_bad": "churn:5",
        "certain": False,
        "suspects": [4, 5],
        "tested": [{"number": one.number, "good": one.number < 5} for one in found.tested],
        "skipped": [{"number": 4, "why": "it is deleted"}],
        "loads": 4,
    }
    assert found.skipped == (Skipped(4, "it is deleted"),)
    shown = found._repr_html_()
    assert "<td>churn:5</td><td>bad</td>" in shown
    assert "<td>churn:4</td><td>skipped: it is deleted</td>" in shown


def test_the_bad_rows_of_the_trained_digits_are_found_in_either_direction(digits_registry: mk.Registry) -> None:
    from trained import digits

    inputs, labels = digits.holdout()
    model = digits_registry.model(digits.NAME)
    least = model.version(4).metrics["accuracy"] - 0.01

    def is_good(classifier: Any) -> bool:
        return bool((classifier.predict(inputs) == labels).mean() >= least)

    forth = model.bisect(4, 8, is_good)
    assert (forth.last_good.number, forth.first_bad.number) == (digits.LAST_GOOD, digits.FIRST_BAD)
    assert forth.loads <= math.ceil(math.log2(5)) + 2
    back = model.bisect(10, 7, is_good)
    assert (back.last_good.number, back.first_bad.number) == (9, 8)
