"""Profiles and schemas: what is counted is right, and no row is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings

from frames.made import mixed_frame, tables
from modelkeep.capture.frames import describe
from modelkeep.capture.frames.columns import BLOCK
from modelkeep.dataset import LEVELS, ColumnProfile
from modelkeep.schema import Columns, Values


def profile_of(frame: Any) -> dict[str, ColumnProfile]:
    found = describe(frame).profile
    assert found is not None
    return dict(found)


def test_numbers_are_counted_over_all_blocks() -> None:
    values = np.random.default_rng(1).normal(size=3 * BLOCK + 5)
    values[::10] = np.nan
    found = profile_of(pd.DataFrame({"x": values}))["x"]
    there = values[~np.isnan(values)]
    assert found.nulls == len(values) - len(there)
    assert (found.minimum, found.maximum) == (there.min(), there.max())
    assert found.mean == pytest.approx(there.mean(), abs=1e-12)
    ranks = np.searchsorted(np.sort(there), found.quantiles) / len(there)
    assert np.abs(ranks - LEVELS).max() < 0.02  # 1.4 points in 19 of 20 draws; the draw is the same each time
    assert found.distinct is None
    assert found.top == ()


def test_values_are_counted_exactly_where_few_differ() -> None:
    draw = np.random.default_rng(2)
    numbers, words = (
        draw.integers(0, 60, 2 * BLOCK),
        np.array([f"w{i}" for i in range(40)])[draw.integers(0, 40, 2 * BLOCK)],
    )
    found = profile_of(pd.DataFrame({"n": numbers, "w": words}))
    assert found["n"].distinct == 60
    assert found["w"].distinct == 40
    assert dict(found["n"].top) == dict(pd.Series(numbers).value_counts().head(20))
    assert [count for _, count in found["w"].top] == pd.Series(words).value_counts().head(20).tolist()
    assert dict(found["w"].top).items() <= dict(pd.Series(words).value_counts()).items()


def test_a_text_that_looks_like_a_secret_is_counted_and_not_told() -> None:
    words = ["north", "south", f"ghp_{'aB3' * 12}", "postgresql://ada:maple-7@db/sales"] * 40
    found = profile_of(pd.DataFrame({"w": words}))["w"]
    assert found.distinct == 4
    assert found.top == (("north", 40), ("south", 40))
    assert profile_of(pd.DataFrame({"password": [4711, 4712] * 40}))["password"].top == ()


def test_a_value_that_comes_late_is_counted() -> None:
    values = np.zeros(2 * BLOCK, "i8")
    values[-3:] = 7
    assert profile_of(pd.DataFrame({"x": values}))["x"].top == ((0, 2 * BLOCK - 3), (7, 3))
    assert profile_of(pd.DataFrame({"x": np.arange(2 * BLOCK) // BLOCK * np.arange(2 * BLOCK)}))["x"].distinct is None


@settings(max_examples=40, deadline=None)
@given(tables(least=1))
def test_a_profile_is_that_of_the_values_whatever_the_library(table: pa.Table) -> None:
    found = describe(table)
    assert found.profile == describe(pl.from_arrow(table)).profile
    assert found.sketch == describe(table.to_pandas(types_mapper=pd.ArrowDtype)).sketch
    json.dumps(found.to_json(), allow_nan=False)
    for name, one in (found.profile or {}).items():
        values = [value for value in table.column(name).to_pylist() if value is not None and value == value]  # noqa: PLR0124
        assert one.nulls == len(table) - len(values)
        if values and name.startswith(("int", "uint", "float")):
            assert (one.minimum, one.maximum) == (min(values), max(values))


@pytest.mark.parametrize("name", ["email", "Phone number", "user_name", "api_key", "birthday"])
def test_no_text_of_a_column_that_sounds_personal_is_told(name: str) -> None:
    assert profile_of(pd.DataFrame({name: ["ann", "bob"] * 50}))[name].top == ()
    assert profile_of(pd.DataFrame({"side": ["ann", "bob"] * 50}))["side"].top == (("ann", 50), ("bob", 50))


def test_no_text_that_few_rows_have_or_that_is_long_is_told() -> None:
    rows = ["often"] * 100 + ["canary-rare"] * 4 + ["canary-" + "x" * 100] * 20
    facts = describe(pd.DataFrame({"word": rows, "id": [f"canary-{i}" for i in range(124)]}))
    assert facts.profile is not None
    assert facts.profile["word"].top == (("often", 100),)
    assert facts.profile["word"].of == "length"
    assert "canary" not in json.dumps(facts.to_json()) + repr(facts)


def test_a_profile_and_a_sketch_can_be_switched_off() -> None:
    facts = describe(mixed_frame(50), profile=False, sketch=False)
    assert facts.profile is None
    assert facts.sketch is None
    assert facts.fingerprint == describe(mixed_frame(50)).fingerprint


def test_a_schema_has_names_dtypes_missing_values_and_categories() -> None:
    facts = describe(mixed_frame(50), role="train")
    assert isinstance(facts.schema, Columns)
    assert facts.schema.fields["price"] == Values("float64", (None,), nullable=True)
    assert facts.schema.fields["count"] == Values("int64")
    assert facts.schema.fields["kind"] == Values("category", categories=("east", "north", "south", "west"))
    assert facts.schema.fields["when"].dtype == "datetime"  # type: ignore[union-attr]
    assert facts.types["when"] == "datetime64[us]"
    assert (facts.rows, facts.columns, facts.role) == (50, 5, "train")


def test_columns_of_one_name_are_told_apart() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert describe(frame).column_names() == ("a", "a (column 2)")


def test_infinity_is_kept_as_a_word() -> None:
    facts = describe(pd.DataFrame({"x": [1.0, float("inf"), -float("inf")]}))
    assert type(facts).from_json(json.loads(json.dumps(facts.to_json(), allow_nan=False))).profile is not None
    assert profile_of(pd.DataFrame({"x": [1.0, float("inf")]}))["x"].maximum == float("inf")


def test_a_frame_without_rows_or_columns_has_facts() -> None:
    for frame in (pd.DataFrame(), pd.DataFrame({"a": []}), pl.DataFrame(), pa.table({})):
        facts = describe(frame)
        assert facts.fingerprint is not None, facts.notes
        assert facts.rows == 0
