"""Parameters and metrics come back as they were given, or are refused with the name of the key."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import InvalidValueError
from modelkeep.values import from_json, mapping_to_json, metrics_to_json, to_json

ZONES = st.none() | st.just(UTC) | st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
NUMBERS = st.integers() | st.integers(-(1 << 70), 1 << 70) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text() | st.dates() | st.datetimes(timezones=ZONES)
KEYS = st.text(max_size=5) | st.sampled_from(["$float", "$int", "$tuple", "$time", "$", "$$", "$$float", "$$$x"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.tuples(KEYS, inner).map(lambda pair: dict([pair]))
    ),
    max_leaves=20,
)


def exact(value: Any) -> Any:
    """What tells apart what == does not: types, -0.0, NaN, zones."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [exact(part) for part in value]
    if isinstance(value, dict):
        return "dict", [(key, exact(part)) for key, part in value.items()]
    if isinstance(value, datetime):
        return "datetime", value.isoformat()
    return type(value).__name__, repr(value)


def kept(value: object) -> Any:
    """*value* after it lay in a file."""
    return from_json(orjson.loads(orjson.dumps(to_json(value, "params"))))


@given(VALUES)
def test_what_was_recorded_comes_back_exactly(value: Any) -> None:
    assert exact(kept(value)) == exact(value)


@given(VALUES)
def test_what_is_written_is_json_as_the_standard_has_it(value: Any) -> None:
    written = orjson.dumps(to_json(value, "params"))

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert exact(from_json(json.loads(written, parse_constant=refuse))) == exact(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -0.0, 5e-324, 1 << 63, (1 << 63) - 1, -(1 << 63) - 1])
def test_numbers_at_the_edges_are_kept(value: float) -> None:
    assert exact(kept({"x": value})) == exact({"x": value})


def test_only_integers_that_fit_in_64_signed_bits_are_json_numbers() -> None:
    edge = 1 << 63
    assert [to_json(value, "x") for value in (edge - 1, -edge)] == [edge - 1, -edge]
    assert [to_json(value, "x") for value in (edge, -edge - 1)] == [{"$int": hex(edge)}, {"$int": hex(-edge - 1)}]


@pytest.mark.parametrize("value", [{"$float": "nan"}, {"$tuple": [1]}, {"$time": "2026-01-01"}, {"$$int": 1}])
def test_a_users_dict_that_looks_like_one_of_our_words_stays_a_dict(value: dict[str, Any]) -> None:
    assert kept(value) == value


def test_an_object_with_a_word_of_a_newer_release_is_left_as_it_is() -> None:
    assert from_json({"$decimal": "1.5"}) == {"$decimal": "1.5"}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), math.nan),
        (np.float16("-inf"), -math.inf),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(7), 7),
    ],
)
def test_a_numpy_scalar_becomes_the_python_value(value: object, plain: object) -> None:
    assert exact(kept([value])) == exact([plain])


def test_a_subclass_of_a_plain_type_becomes_the_plain_type() -> None:
    class Depth(IntEnum):
        DEEP = 6

    class Kind(StrEnum):
        TREE = "tree"

    value = {Kind.TREE: Depth.DEEP, "more": OrderedDict(kind=Kind.TREE)}
    assert exact(kept(value)) == exact({"tree": 6, "more": {"kind": "tree"}})


def test_a_path_becomes_its_text() -> None:
    assert kept({"source": PurePosixPath("a/b.csv")}) == {"source": "a/b.csv"}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"a": {"b": [1, object()]}}, "params.a.b[1]"),
        ({"a": (1, {2, 3})}, "params.a[1]"),
        ({"a": b"x"}, "params.a"),
        ({"a": 1j}, "params.a"),
        ({"a": timedelta(1)}, "params.a"),
        ({"a": np.zeros(2)}, "params.a"),
        ({"a": np.longdouble(1)}, "params.a"),
        ({"a": {1: "x"}}, "params.a"),
        ({"a": "\ud800"}, "params.a"),
        ({"a": {"\ud800": 1}}, "params.a"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_name_of_its_key(value: Any, key: str) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        mapping_to_json(value, "params")
    assert refusal.value.key == key
    assert key in str(refusal.value)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidValueError, match="nested more than 50 deep"):
        to_json({"a": value}, "params")


def test_the_deepest_value_that_is_taken_can_be_written_and_read() -> None:
    assert kept(nested(50)) == nested(50)
    with pytest.raises(InvalidValueError, match="deep"):
        to_json(nested(51), "params")
    tuples: tuple[Any, ...] = ()
    for _ in range(49):
        tuples = (tuples,)
    assert kept(tuples) == tuples


def test_a_time_that_is_no_time_is_refused_rather_than_written_so_that_nothing_can_read_it() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InvalidValueError, match=r"params\.when"):
        mapping_to_json({"when": pandas.NaT}, "params")


def test_a_time_finer_than_can_be_kept_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    assert kept(pandas.Timestamp("2026-01-01T12:00:00.000001")) == datetime(2026, 1, 1, 12, 0, 0, 1)  # noqa: DTZ001
    with pytest.raises(InvalidValueError, match=r"params\.when"):
        mapping_to_json({"when": pandas.Timestamp("2026-01-01T12:00:00.000000001")}, "params")


@pytest.mark.parametrize(
    "value", [np.datetime64("NaT"), np.datetime64("2026-01-01T00:00:00", "ns"), np.timedelta64(3, "ns")]
)
def test_a_numpy_time_is_not_turned_into_a_bare_number_or_nothing(value: object) -> None:
    with pytest.raises(InvalidValueError, match=r"params\.when"):
        mapping_to_json({"when": value}, "params")


def test_a_date_stays_a_date() -> None:
    assert exact(kept(date(2026, 3, 1))) == exact(date(2026, 3, 1))


# Metrics


@given(st.dictionaries(KEYS, NUMBERS | st.booleans()))
def test_metrics_come_back_exactly(metrics: dict[str, Any]) -> None:
    written = orjson.dumps(metrics_to_json(metrics, "metrics"))
    assert exact(from_json(orjson.loads(written))) == exact(metrics)


@pytest.mark.parametrize("value", [np.float32(0.25), np.array(0.25), np.float64(0.25)])
def test_a_metric_may_be_what_metric_functions_return(value: object) -> None:
    assert exact(metrics_to_json({"auc": value}, "metrics")) == exact({"auc": 0.25})


@pytest.mark.parametrize(
    "value",
    ["0.9", None, [0.9], (0.9,), {"a": 1}, {"$float": "nan"}, {"$int": "0x1"}, date(2026, 1, 1), 1j, np.zeros(1)],
)
def test_a_metric_that_is_no_number_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        metrics_to_json({"auc": 1, "loss": value}, "metrics")
    assert refusal.value.key == "metrics.loss"


@pytest.mark.parametrize("metrics", [[("auc", 1)], 0.9, "auc"])
def test_metrics_and_parameters_must_be_named(metrics: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"metrics is a"):
        metrics_to_json(metrics, "metrics")
    with pytest.raises(InvalidValueError, match=r"params is a"):
        mapping_to_json(metrics, "params")
    with pytest.raises(InvalidValueError, match=r"metrics has the key 1"):
        metrics_to_json({1: 0.9}, "metrics")  # type: ignore[dict-item]
