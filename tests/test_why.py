"""Why a version differs: on chains whose story is known the change that was made is ranked first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.stores.memory import MemoryStore
from modelkeep.why import CAVEAT, WEIGHTS, Why
from trained import digits, nets

PAGE = Path(__file__).parent.parent / "docs" / "explain" / "comparison.md"
# of the story of the digits: what changed from the version before to this one, and a word of it
FIRST = {
    2: ("parameter", "C"),
    3: ("rows", "train"),
    4: ("columns", "train"),
    5: ("function", "trained.digits:train_forest"),
    6: ("parameter", "trees"),
    7: ("rows", "train"),
    8: ("parameter", "depth"),
    9: ("rows", "train"),  # and the depth
    10: ("seed", "seed"),
}


def why(before: dict[str, Any], after: dict[str, Any]) -> Why:
    registry = mk.Registry(MemoryStore())
    versions = [registry.save({"w": np.ones(n)}, "churn", **given) for n, given in enumerate((before, after), 1)]
    found: Why = versions[1].compare(versions[0]).why()
    return found


def ranked(found: Why) -> list[tuple[str, str]]:
    return [(one.what, one.name) for one in found]


@pytest.mark.parametrize("number", FIRST)
def test_what_changed_in_each_version_of_the_chain_is_ranked_first(digits_registry: mk.Registry, number: int) -> None:
    found = digits_registry.get(f"{digits.NAME}:{number}").compare(number - 1).why()
    assert ranked(found)[0] == FIRST[number]
    alone = set(digits.STORY) - {1, 5, 9}  # with another function come other parameters; 9 has both rows and depth
    assert (len(found) == 1) == (number in alone)


def test_of_two_changes_the_rows_come_before_the_depth(digits_registry: mk.Registry) -> None:
    found = digits_registry.get("digits:9").compare("digits:8").why()
    assert ranked(found) == [("rows", "train"), ("parameter", "depth")]


def test_the_new_column_is_named_and_so_are_the_rows(digits_registry: mk.Registry) -> None:
    assert str(digits_registry.get("digits:4").compare(3).why()[0]) == "the train data: new column ink"
    said = str(digits_registry.get("digits:3").compare(2).why()[0])
    assert said.startswith("the train data: rows from 500 to 1000; ")
    assert re.search(r"(4\d|5\d)% of the rows are new", said)


def test_the_text_begins_by_saying_that_it_is_no_cause(digits_registry: mk.Registry) -> None:
    found = digits_registry.get("digits:2").compare(1).why()
    assert str(found).splitlines() == [CAVEAT, "1. the parameter C, from 0.001 to 0.1 (0.70)"]
    assert found.to_markdown().startswith(CAVEAT)
    assert CAVEAT in found._repr_html_()
    assert found.to_dict()["caveat"] == CAVEAT
    assert "a ranking" in CAVEAT.lower()
    assert "not a cause" in CAVEAT


def test_a_version_beside_itself_has_no_reasons(digits_registry: mk.Registry) -> None:
    assert list(digits_registry.get("digits:2").compare(2).why()) == []


def test_where_nothing_was_recorded_of_the_making_it_says_so(nets_registry: mk.Registry) -> None:
    found = nets_registry.get(f"{nets.NAME}:3").compare(2).why()
    assert list(found) == []
    assert "what made them is not known" in str(found)


def test_a_seed_and_the_number_of_workers_come_after_what_can_matter() -> None:
    old = {"n_jobs": 1, "seed": 0, "model.random_state": 1, "depth": 60}
    found = why({"params": old}, {"params": {"n_jobs": 8, "seed": 1, "model.random_state": 2, "depth": 61}})
    assert [one.name for one in found] == ["depth", "seed", "model.random_state", "n_jobs"]


def test_of_two_numbers_the_one_that_changed_more_comes_first() -> None:
    found = why({"params": {"a": 100, "b": 1e-4}}, {"params": {"a": 101, "b": 1e-1}})
    assert [one.name for one in found] == ["b", "a"]
    assert [round(one.extent, 2) for one in found] == [1.0, 0.5]


@pytest.mark.parametrize(("old", "new"), [(float("nan"), 1.0), (float("inf"), 1.0), (10**400, 1), (True, 2), (0, -0.5)])
def test_any_two_values_have_an_extent_from_0_to_1(old: object, new: object) -> None:
    (reason,) = why({"params": {"a": old}}, {"params": {"a": new}})
    assert 0.5 <= reason.extent <= 1


def test_other_data_to_measure_on_is_told_apart_from_other_data_to_train_on() -> None:
    rows = np.arange(40.0).reshape(20, 2)
    found = why({"data": {"train": rows, "test": rows}}, {"data": {"train": rows + 1, "test": rows + 1}})
    assert ranked(found) == [("rows", "train"), ("measured on", "test")]
    (only,) = why({"data": {"train": rows, "test": rows}}, {"data": {"train": rows, "test": rows[:9]}})
    assert (only.what, str(only)) == ("measured on", "the test data: rows from 20 to 9")


def test_data_of_which_nothing_tells_whether_it_is_the_same_is_told_as_such() -> None:
    registry = mk.Registry("memory://unknown-data")
    for rows in ([1], [2]):
        with registry.run("churn", data={"train": iter(rows)}) as run:
            run.save({"w": np.ones(1)})
    found = registry.get("churn:2").compare(1).why()
    assert ranked(found) == [("unknown data", "train")]


def test_another_release_of_the_framework_comes_before_the_seed() -> None:
    from modelkeep.comparison import Comparison
    from modelkeep.comparisonparts import Change
    from modelkeep.environment import Distribution, Environment

    def environment(numpy: str, sklearn: str, black: str) -> Environment:
        pairs = {"numpy": numpy, "scikit-learn": sklearn}
        loaded = [Distribution(name, version, loaded=True) for name, version in pairs.items()]
        return Environment(
            python="3.11.7", distributions={one.name: one for one in [*loaded, Distribution("black", black)]}
        )

    then, now = environment("1.26.4", "1.3.0", "23.1"), environment("2.1.0", "1.6.0", "25.1")
    found = Comparison(
        before="churn:1",
        after="churn:2",
        environment=then.compare(now, matters={"scikit-learn"}),
        frameworks=frozenset({"scikit-learn"}),
        seeds=(Change("numpy", "changed", 1, 2),),
    ).why()
    assert ranked(found) == [
        ("framework", "scikit-learn"),
        ("package", "numpy"),
        ("seed", "numpy"),
        ("aside", "environment"),
    ]
    assert str(found[0]) == "scikit-learn, from 1.3.0 to 1.6.0"


def test_the_weights_in_the_docs_are_those_of_the_code() -> None:
    told = dict(re.findall(r"^\| `([a-z ]+)` \|[^|]*\| ([0-9.]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name: float(weight) for name, weight in told.items()} == WEIGHTS


def test_a_frame_has_a_row_for_each_reason(digits_registry: mk.Registry) -> None:
    frame = digits_registry.get("digits:5").compare(4).why().to_pandas()
    assert list(frame["what"])[:2] == ["function", "class"]
    assert frame["score"].is_monotonic_decreasing
