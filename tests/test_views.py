"""What a notebook shows of registries, models, versions, datasets, listings and collections."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
import sights
from modelkeep.dataset import LEVELS, ColumnProfile
from modelkeep.markup import render, view
from modelkeep.stores.memory import MemoryStore
from modelkeep.views.dataset import strip
from modelkeep.views.shapes import size, spelled, when
from sights import Stock, html_of
from viewtext import read


@pytest.fixture(scope="module")
def story() -> Stock:
    return sights.story()


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_a_registry_shows_each_model_with_what_is_newest_and_in_use(story: Stock) -> None:
    found = read(story.registry)
    assert "s3://acme-ml/registry" in found.text
    assert "3 models" in found.text
    churn = found.row("churn Churn of private customers")
    assert churn[1:] == ["6", "7 (1.6.0)", "production → 4 staging → 7", "2026-03-11 14:12"]
    assert found.row("lifetime-value")[1:4] == ["1", "1 (0.1.0)", ""]


def test_a_model_shows_its_versions_newest_first_and_each_move_of_an_alias(story: Stock) -> None:
    found = read(story.registry.model("churn"))
    assert "7 versions, 1 of them deleted" in found.text
    head = next(row for row in found.rows if row[0] == "version")
    assert head == ["version", "label", "auc", "loss", "size", "author", "saved (UTC)", "aliases"]
    at = found.rows.index(head)
    assert [row[0] for row in found.rows[at + 1 :]] == ["7", "6", "5", "4", "3", "1"]
    assert found.row("4")[1:3] == ["1.3.0", "0.85"]
    assert found.row("4")[-1] == "production"
    moves = [row[1:4] for row in found.rows[1:at]]
    assert moves == [
        ["staging", "promote", "7"],
        ["production", "rollback", "4"],
        ["production", "promote", "5"],
        ["production", "promote", "4"],
        ["production", "promote", "2"],
    ]


def test_a_version_shows_facts_metrics_params_data_code_environment_and_how_to_load_it(story: Stock) -> None:
    version = story.registry.get("churn:7")
    found = read(version)
    assert found.badges == ["staging", "team: growth"]
    for said in (
        version.digest,
        "churn:7 (1.6.0)",
        "grace@example.org",
        "builtins.dict, tree, data tier",
        "deeper trees",
    ):
        assert said in found.text
    assert found.row("auc") == ["auc", "0.832", ""]
    assert found.row("auc_live") == ["auc_live", "", "0.887"]
    assert found.row("depth") == ["depth", "8"]
    assert found.row("customers")[2:5] == ["frame", "600", "5"]
    assert "def train(" in found.text
    assert re.search(r"attrs \d", found.text)  # the first of many
    assert 'registry.load("churn:7")' in found.text


def test_a_version_says_which_dataset_of_the_registry_and_which_parent_it_was_made_from(story: Stock) -> None:
    assert read(story.registry.get("lifetime-value")).row("train")[:2] == ["train", "customers:2"]
    registry = mk.Registry(MemoryStore())
    parent = registry.save({"w": np.ones(2)}, "base")
    assert read(registry.save({"w": np.ones(2)}, "churn", parent=parent)).badges == ["base:1"]


def test_a_dataset_shows_the_type_the_gaps_the_range_and_the_spread_of_each_column(story: Stock) -> None:
    dataset = story.registry.dataset("customers")
    found, profile = read(dataset), dataset.profile
    assert profile is not None
    fee = found.row("fee")
    assert fee[1:3] == ["float64", f"{profile['fee'].nulls} ({profile['fee'].nulls / 600:.1%})"]
    assert fee[3:6] == ["2.86", "18.78", "92.03"]
    assert found.row("since")[3] == "2021-01-05"
    assert found.row("plan")[3] == "length 5"
    assert found.row("plan")[8].startswith("basic (371)")
    assert html_of(dataset).count("<svg") == 5


def test_a_collection_shows_what_would_go_and_why(story: Stock) -> None:
    found = read(story.registry.storage.collect(dry_run=True, grace=timedelta(0)))
    assert "2 versions and 2 objects" in found.text
    assert "would go" in found.text
    assert found.row("churn:3") == ["churn:3", "not among the newest 4, never under an alias"]


def test_a_listing_shows_its_first_20_items_as_rows() -> None:
    registry = mk.Registry(MemoryStore())
    for number in range(25):
        registry.save({"w": np.ones(2)}, "churn", params={"depth": number})
    found = read(registry.model("churn").versions())
    assert len(found.rows) == 21
    assert "and 5 more: to_pandas()" in found.text
    assert found.rows[0][-1] == "params.depth"
    assert found.row("25")[-1] == "24"
    assert read(registry.model("churn").versions(where=lambda v: v.number == 99)).text == "nothing is listed"


def test_deleted_held_and_closed_are_said() -> None:
    registry = mk.Registry(MemoryStore())
    version = registry.save({"w": np.ones(2)}, "churn").hold()
    version.delete()
    registry.model("churn").close()
    assert read(version).badges == ["deleted", "held"]
    assert "1 version, 1 of them deleted; closed: it takes no saves" in read(registry.model("churn")).text


def test_a_diagnosis_marks_faults_and_notes_by_colour_and_by_word() -> None:
    html = html_of(mk.Registry(MemoryStore()).doctor())
    assert '<span class="good">ok</span>' in html


# -- shapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5 * 10**20, "500.0 EB"),
    ],
)
def test_sizes_are_said_in_decimal_units(count: int, said: str) -> None:
    assert size(count) == said


def test_moments_are_told_in_utc() -> None:
    east = datetime(2026, 3, 1, 1, 30, tzinfo=UTC).astimezone(pd.Timestamp("2026-03-01", tz="Asia/Tokyo").tz)
    assert when(east) == "2026-03-01 01:30"


@given(st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.lists(st.text()), st.datetimes()))
def test_any_value_can_be_shown(value: object) -> None:
    assert view(str(spelled(value))).startswith('<div class="mk">')


@given(
    st.floats(),
    st.floats(),
    st.lists(st.floats(), min_size=len(LEVELS), max_size=len(LEVELS)),
)
def test_a_strip_of_any_numbers_stays_within_its_picture(low: float, high: float, quantiles: list[float]) -> None:
    drawn = strip(ColumnProfile(nulls=0, minimum=low, maximum=high, quantiles=tuple(quantiles)))
    if drawn is None:
        return
    for shape in drawn.iter("rect"):
        left, width = float(shape.attrib["x"]), float(shape.attrib["width"])
        assert 0 <= left <= left + width <= 130
    assert "nan" not in re.sub('<title>.*?</title>|aria-label="[^"]*"', "", render(drawn))
