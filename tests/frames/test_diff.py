"""What changed between two datasets: rows by key, columns, drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames.made import mixed_frame
from modelkeep.capture.frames import describe, diff
from modelkeep.capture.frames.drift import stability

ROWS = st.dictionaries(st.integers(0, 30), st.tuples(st.integers(0, 3), st.sampled_from("ab") | st.none()), max_size=20)


def keyed(rows: dict[int, Any]) -> Any:
    listed = [(key, *values) for key, values in rows.items()]
    return pl.DataFrame(listed, schema={"id": pl.Int64, "n": pl.Int64, "w": pl.String}, orient="row")


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_rows_by_key_are_those_that_a_dict_finds(old: dict[int, Any], new: dict[int, Any]) -> None:
    found = diff(keyed(old), keyed(new).to_arrow(), key="id")
    both = old.keys() & new.keys()
    assert found.added == len(new.keys() - old.keys())
    assert found.removed == len(old.keys() - new.keys())
    assert found.changed == sum(old[key] != new[key] for key in both)
    counts = {
        "n": sum(old[key][0] != new[key][0] for key in both),
        "w": sum(old[key][1] != new[key][1] for key in both),
    }
    assert found.changed_values == {name: count for name, count in counts.items() if count}
    assert found.same == (old == new)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 4), max_size=12))
def test_without_a_key_equal_rows_are_matched(old: list[int], new: list[int]) -> None:
    from collections import Counter

    frames = [pl.DataFrame({"x": rows}, schema={"x": pl.Int64}) for rows in (old, new)]
    found = diff(*frames)
    assert found.added == (Counter(new) - Counter(old)).total()
    assert found.removed == (Counter(old) - Counter(new)).total()
    assert found.changed is None


def test_columns_that_came_went_or_have_another_dtype_are_named() -> None:
    old = pd.DataFrame({"id": [1, 2], "gone": [1, 2], "turned": [1, 2]})
    new = pd.DataFrame({"id": [1, 2], "turned": [1.0, 2.0], "new": ["x", "y"]})
    for found in (diff(old, new, key="id"), diff(describe(old), describe(new))):
        assert found.columns_added == ("new",)
        assert found.columns_removed == ("gone",)
        assert found.columns_retyped == {"turned": ("int64", "float64")}
        assert found.same is False
    assert diff(old, new, key="id").changed == 0  # 1 and 1.0 are one value


def test_a_key_that_names_two_rows_or_none_is_refused() -> None:
    frame = pd.DataFrame({"id": [1, 1], "x": [2, 3]})
    with pytest.raises(ValueError, match="the key id names 1 rows that another has, too"):
        diff(frame, frame, key="id")
    assert diff(frame, frame, key=["id", "x"]).changed == 0
    with pytest.raises(ValueError, match="the key 'nr' is no column of both; they share id, x"):
        diff(frame, frame, key="nr")
    with pytest.raises(ValueError, match="is no frame"):
        diff(frame, 3)


def test_drift_is_none_where_nothing_moved_and_large_where_it_did() -> None:
    draw = np.random.default_rng(0)
    old = pd.DataFrame({"x": draw.normal(size=20_000), "place": draw.choice(list("abcd"), 20_000)})
    new = pd.DataFrame({"x": draw.normal(size=20_000), "place": draw.choice(list("abcd"), 20_000)})
    moved = pd.DataFrame(
        {"x": draw.normal(1, size=20_000), "place": draw.choice(list("abcd"), 20_000, p=[0.7, 0.1, 0.1, 0.1])}
    )
    for one, other, odd in ((old, new, moved), (describe(old), describe(new), describe(moved))):
        still, far = diff(one, other).drift, diff(one, odd).drift
        assert still["x"].psi < 0.01
        assert still["place"].psi < 0.01
        assert far["x"].psi > 0.5
        assert far["place"].psi > 0.5
        ks = still["x"].ks
        assert ks is not None
        assert ks < 0.04
    assert diff(old, old).drift["x"].psi == 0


def test_drift_agrees_with_scipy_and_that_of_profiles_is_near() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(1)
    old, new = draw.gamma(2, size=8000), draw.gamma(2.5, size=6000)
    found = diff(pd.DataFrame({"x": old}), pd.DataFrame({"x": new})).drift["x"]
    wanted = stats.ks_2samp(old, new).statistic
    assert found.ks == pytest.approx(wanted, abs=1e-12)
    told = diff(describe(pd.DataFrame({"x": old})), describe(pd.DataFrame({"x": new}))).drift["x"]
    assert told.ks == pytest.approx(wanted, abs=0.03)
    assert told.psi == pytest.approx(found.psi, rel=0.25)
    assert not told.exact


def test_values_that_went_missing_are_drift() -> None:
    old = pd.DataFrame({"x": np.arange(1000.0)})
    new = old.assign(x=old.x.where(old.index % 2 == 0))
    found = diff(old, new).drift["x"]
    assert found.nulls == (0.0, 0.5)
    assert found.psi > 0.25
    assert diff(describe(old), describe(new)).drift["x"].psi > 0.25


def test_the_stability_index_is_that_of_the_books() -> None:
    # Siddiqi's form: the sum of (now - before) times the logarithm of now by before
    assert stability([0.2, 0.3, 0.5], [0.3, 0.3, 0.4]) == pytest.approx(0.1 * np.log(1.5) + 0.1 * np.log(1.25))


def test_equal_facts_are_the_same_and_unlike_schemes_are_not_compared() -> None:
    frame = mixed_frame(30)
    assert diff(describe(frame), describe(pl.from_pandas(frame))).same is True
    assert diff(describe(frame), describe(np.zeros(3))).same is None
