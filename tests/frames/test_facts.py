"""`DatasetFacts` from records: what was written is read, and what a stranger wrote is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames.made import mixed_frame
from modelkeep.capture.frames import describe
from modelkeep.dataset import DatasetFacts
from modelkeep.errors import InvalidValueError

WRITTEN = describe(mixed_frame(200), role="train").to_json()


def test_what_is_written_is_read_again() -> None:
    raw = json.dumps(WRITTEN, allow_nan=False)
    assert DatasetFacts.from_json(json.loads(raw)).to_json() == WRITTEN
    assert DatasetFacts.from_json(json.loads(raw)) == describe(mixed_frame(200), role="train")


def test_words_of_a_newer_release_are_left_out() -> None:
    assert DatasetFacts.from_json({**WRITTEN, "colour": "red"}).to_json() == WRITTEN


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["kind"], "model"),
        (["kind"], ["frame"]),
        (["fingerprint"], "frame-1:xyz"),
        (["fingerprint"], 7),
        (["rows"], -1),
        (["rows"], True),
        (["rows"], 1 << 63),
        (["size"], 1.5),
        (["role"], 3),
        (["role"], "x" * 5000),
        (["types"], ["a"]),
        (["types", "price"], 3),
        (["source"], {"url": None}),
        (["notes"], "text"),
        (["notes"], ["x"] * 101),
        (["schema"], {"dtype": "../../etc"}),
        (["profile"], []),
        (["profile", "price"], None),
        (["profile", "price", "nulls"], None),
        (["profile", "price", "of"], "cost"),
        (["profile", "price", "mean"], "high"),
        (["profile", "price", "quantiles"], [1.0]),
        (["profile", "price", "quantiles"], 3),
        (["profile", "place", "top"], [["north"]]),
        (["profile", "place", "top"], [["north", -1]]),
        (["profile", "place", "top"], [[{}, 1]]),
        (["profile", "place", "top"], [["x" * 5000, 1]]),
        (["profile", "place", "top"], [["x", 1]] * 101),
        (["sketch"], "x"),
        (["sketch", "hashes"], "not base64"),
        (["sketch", "hashes"], "AAAA"),
        (["sketch", "hashes"], "A" * 5000),
        (["sketch", "hashes"], "AQAAAAAAAAABAAAAAAAAAA=="),
        (["sketch", "columns"], 3),
    ],
    ids=str,
)
def test_what_no_dataset_has_is_refused(place: list[str], value: Any) -> None:
    odd = copy.deepcopy(WRITTEN)
    inner = odd
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(InvalidValueError):
        DatasetFacts.from_json(odd)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(WRITTEN)), JSON)
def test_a_stranger_gets_facts_or_a_refusal_and_nothing_else(name: str, value: Any) -> None:
    for odd in (
        value,
        {**WRITTEN, name: value},
        {**WRITTEN, name: {**value, "nulls": 1} if isinstance(value, dict) else [value]},
    ):
        try:
            DatasetFacts.from_json(odd).to_json()
        except InvalidValueError:
            continue
