"""Signatures: told by a sample of any library, kept as JSON Schema, and what does not fit is named by its column."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import modelkeep as mk
from modelkeep.errors import InvalidValueError, SerializerError, SignatureError
from modelkeep.schema import Columns, Lists, Schema, Values
from modelkeep.signature import Signature
from modelkeep.stores.memory import MemoryStore

pd, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
DAY, MOMENT = dt.date(2026, 3, 1), dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001  as most frames have them


def said(sample: Any) -> list[str]:
    return str(Signature.infer(sample)).splitlines()


def faults_of(signature: Signature, inputs: Any) -> list[str]:
    with pytest.raises(SignatureError) as caught:
        signature.check(inputs)
    assert caught.value.kind == "signature"
    assert all(fault in str(caught.value) for fault in caught.value.faults[:10])
    return list(caught.value.faults)


def frame() -> Any:
    return pd.DataFrame(
        {
            "age": [31, 47, 58],
            "rate": [0.5, None, 2.0],
            "city": ["Ulm", "Bonn", None],
            "plan": pd.Categorical(["a", "b", "a"]),
            "since": pd.to_datetime([MOMENT] * 3),
            "day": [DAY] * 3,
            "spent": pd.to_timedelta([1, 2, 3], unit="s"),
            "raw": [b"1", b"2", b"3"],
            "paid": [True, False, True],
            "visits": pd.array([1, None, 3], dtype="Int64"),
            "tags": [["x"], ["y", "z"], []],
            "pair": [[1.0, 2.0]] * 3,
            "at": [{"x": 1, "y": "u"}] * 3,
            "none": [None] * 3,
            "odd": [1, "a", None],
        }
    )


# -- what a sample says --------------------------------------------------------------------------------------------


def test_a_pandas_frame_tells_each_column() -> None:
    assert said(frame()) == [
        "age: int64",
        "rate: float64, or missing",
        "city: string, or missing",
        "plan: category",
        "since: datetime",
        "day: date",
        "spent: duration",
        "raw: bytes",
        "paid: bool",
        "visits: int64, or missing",
        "tags: lists of string",
        "pair: float64 of shape (2,)",
        "at.x: int64",
        "at.y: string",
        "none: null, or missing",
        "odd: object, or missing",
    ]


def test_whole_numbers_with_missing_ones_are_floats_in_pandas_and_so_in_the_signature() -> None:
    assert said(pd.DataFrame({"n": [1, 2]})) == ["n: int64"]
    assert said(pd.DataFrame({"n": [1, None]})) == ["n: float64, or missing"]
    assert Signature.infer(pd.DataFrame({"n": [1, None]})).check(pd.DataFrame({"n": [1, 2]})) is not None


def test_the_libraries_agree_on_words() -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    columns = {
        "i": np.array([1, 2], np.int16),
        "f": np.array([1, 2], np.float32),
        "b": [True, False],
        "s": ["a", None],
        "x": [b"1", b"2"],
        "d": [DAY, DAY],
        "m": [MOMENT, MOMENT],
        "t": [dt.time(1), dt.time(2)],
        "u": [dt.timedelta(1), dt.timedelta(2)],
        "l": [[1], [2, 3]],
        "r": [{"k": 1}, {"k": 2}],
        "z": [None, None],
    }
    expected = said(pl.DataFrame(columns))
    assert said(pa.table(columns)) == expected
    assert said(pd.DataFrame(columns)) == expected
    assert said({**columns}) == expected
    assert expected[:3] == ["i: int16", "f: float32", "b: bool"]


def test_categories_are_told_where_they_are_few_and_closed() -> None:
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    few = {
        "pandas": pd.DataFrame({"c": pd.Categorical(["a"], categories=["a", "b"])}),
        "polars": pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Enum(["a", "b"]))}),
        "pyarrow": pa.table({"c": pa.array(["a", "b"]).dictionary_encode()}),
    }
    for sample in few.values():
        assert Signature.infer(sample).inputs == Columns({"c": Values("category", categories=("a", "b"))})
    many = pd.DataFrame({"c": pd.Categorical(range(101))})
    assert Signature.infer(many).inputs == Columns({"c": Values("category")})
    open_ended = pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Categorical)})
    assert Signature.infer(open_ended).inputs == Columns({"c": Values("category")})


SAMPLES: dict[str, tuple[Any, Schema]] = {
    "matrix": (np.zeros((5, 3), np.float32), Values("float32", (None, 3))),
    "images": (np.zeros((2, 8, 8, 3), np.uint8), Values("uint8", (None, 8, 8, 3))),
    "labels": (np.array(["yes", "no"]), Values("string")),
    "objects": (np.array(["yes", None], dtype=object), Values("string", nullable=True)),
    "days": (np.array(["2026-03-01"], "M8[D]"), Values("date")),
    "moments with a gap": (np.array(["2026-03-01", "NaT"], "M8[s]"), Values("datetime", nullable=True)),
    "complex": (np.zeros(2, np.complex64), Values("complex64")),
    "one number": (np.float16(1), Values("float16", ())),
    "a structured array": (
        np.zeros(2, [("x", "i4"), ("y", "f8", (2,))]),
        Columns({"x": Values("int32"), "y": Values("float64", (None, 2))}),
    ),
    "a tensor": (torch.zeros(2, 4, dtype=torch.bfloat16), Values("bfloat16", (None, 4))),
    "a tensor with a gap": (torch.tensor([1.0, math.nan]), Values("float32", nullable=True)),
    "csr": (sparse.csr_array(np.eye(3)), Values("float64", (None, 3))),
    "lil": (sparse.lil_array(np.eye(3)), Values("float64", (None, 3))),
    "coo": (sparse.coo_matrix(np.eye(3)), Values("float64", (None, 3))),
    "tokens": (
        {"ids": np.zeros((2, 7), int), "temperature": 0.5},
        Columns({"ids": Values("int64", (None, 7)), "temperature": Values("float64", ())}),
    ),
    "rows": (
        [{"a": 1, "b": "x"}, {"a": None}],
        Columns({"a": Values("int64", nullable=True), "b": Values("string")}, frozenset({"b"})),
    ),
    "nested": ({"a": {"b": np.zeros(2, bool)}}, Columns({"a": Columns({"b": Values("bool")})})),
    "lists": ([[1, 2], [3, 4]], Values("int64", (None, 2))),
    "ragged lists": ([[1], [2, 3]], Lists(Values("int64"))),
    "texts": (["a", "b"], Values("string")),
    "numbers of two kinds": ([1, 2.5], Values("float64")),
    "a huge number": ([1 << 70], Values("object")),
    "nothing": ([], Values("object")),
    "a series": (pd.Series([1, 2], dtype="int8"), Values("int8")),
}


@pytest.mark.parametrize(("sample", "schema"), SAMPLES.values(), ids=SAMPLES)
def test_a_sample_tells_its_schema_and_fits_it(sample: Any, schema: Schema) -> None:
    signature = Signature.infer(sample)
    assert signature.inputs == schema
    assert signature.check(sample) is sample
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


@pytest.mark.parametrize(
    "sample",
    [pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame([[1, 2]], columns=["1", 1]), object(), {"a": {1, 2}}],
    ids=["a name twice", "names alike as text", "an object", "a set"],
)
def test_a_sample_of_which_nothing_can_be_told_is_refused(sample: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"is there twice|nothing can be told"):
        Signature.infer(sample)


def test_a_sample_that_is_nested_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    for sample in (deep, {"a": deep}):
        with pytest.raises(InvalidValueError, match="nested more than 32 deep"):
            Signature.infer(sample)


def test_neither_reading_nor_checking_imports_a_library() -> None:
    code = (
        "import sys; from modelkeep.signature import Signature\n"
        "Signature.infer([{'a': 1, 'b': 'x'}]).check([{'b': 'y', 'a': 2}])\n"
        "print(*{'numpy', 'pandas', 'polars', 'pyarrow', 'torch', 'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split() == []


# -- JSON Schema ---------------------------------------------------------------------------------------------------


def as_json(value: Any) -> Any:
    """A value of a row as JSON has it."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, dict):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [as_json(part) for part in value]
    if isinstance(value, (str, bool, int, float)):
        return value
    return value.item() if isinstance(value, np.generic) else str(value)


def test_rows_of_a_sample_satisfy_its_json_schema_and_others_do_not() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    kept = Signature.infer(frame(), np.zeros((3, 2))).to_json()
    for schema in kept.values():
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        jsonschema.Draft202012Validator.check_schema(schema)
    rows = [as_json(row) for row in frame().to_dict("records")]
    validator = jsonschema.Draft202012Validator(kept["inputs"])
    for row in rows:
        validator.validate(row)
    assert jsonschema.Draft202012Validator(kept["outputs"]).is_valid([0.5, 1.5])
    assert not jsonschema.Draft202012Validator(kept["outputs"]).is_valid([0.5])
    for wrong in ({"age": 0.5}, {"age": None}, {"plan": "c"}, {"tags": "x"}, {"pair": [1.0]}, {"paid": "yes"}):
        assert not validator.is_valid(rows[0] | wrong), wrong
    assert not validator.is_valid({name: part for name, part in rows[0].items() if name != "age"})


NUMBERS = st.sampled_from(
    ["bool", "int8", "int16", "int64", "uint8", "uint64", "float16", "float32", "float64", "M8[s]"]
)
ARRAYS = NUMBERS.flatmap(lambda word: npst.arrays(word, npst.array_shapes(max_dims=3, max_side=4)))
LEAVES = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.text(max_size=3) | st.dates()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), min_size=1, max_size=4)


@settings(max_examples=70, deadline=None)
@given(ARRAYS | st.dictionaries(st.text(max_size=3), ARRAYS, max_size=3) | ROWS | VALUES)
def test_every_sample_fits_its_own_signature_before_and_after_json(sample: Any) -> None:
    signature = Signature.infer(sample)
    again = Signature.from_json(json.loads(json.dumps(signature.to_json())))
    assert again == signature
    again.check(sample)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_any_rows_satisfy_the_schema_that_they_tell(rows: list[dict[str, Any]]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = Signature.infer(rows).to_json()["inputs"]
    jsonschema.Draft202012Validator.check_schema(schema)
    for row in rows:
        jsonschema.Draft202012Validator(schema).validate(as_json(row))


def test_a_signature_that_is_too_long_to_keep_is_refused_before_anything_is_written() -> None:
    store = MemoryStore()
    wide = Signature(Columns({f"column {n:2000}": Values("float64") for n in range(2_100)}))
    with pytest.raises(InvalidValueError, match="and 4,194,304 are allowed"):
        mk.Registry(store).save({"w": np.ones(1)}, "churn", signature=wide)
    assert list(store.list("")) == []


# -- what does not fit ---------------------------------------------------------------------------------------------


def test_faults_name_the_column_what_came_and_what_is_wanted() -> None:
    sample = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, 1.5], "d": pd.Categorical(["u", "v"])})
    signature = Signature.infer(sample)
    assert faults_of(signature, sample[["b", "c", "d"]]) == [
        "column 'a' is missing; values of int64 are wanted, and columns b, c, d came"
    ]
    assert faults_of(signature, sample.assign(a=[1.5, 2.0])) == ["column 'a': float64 came, and int64 is wanted"]
    assert faults_of(signature, sample.assign(b=["x", None])) == ["column 'b': values are missing, and none may be"]
    assert faults_of(signature, sample.assign(d=pd.Categorical(["u", "w"]))) == [
        "column 'd': the categories ['w'] came, and ['u', 'v'] are wanted"
    ]
    assert faults_of(signature, sample.assign(c=["1", "2"], a=None)) == [
        "column 'a': values are missing, and none may be",
        "column 'c': string came, and float64 is wanted",
    ]
    assert faults_of(signature, sample.to_numpy())[0].endswith("came, and columns a, b, c, d are wanted")


def test_faults_in_arrays_name_shape_and_dtype() -> None:
    signature = Signature.infer(np.zeros((5, 3), np.float32))
    assert faults_of(signature, np.zeros((5, 4), np.float64)) == [
        "the inputs: float64 came, and float32 is wanted",
        "the inputs: shape (any, 4) came, and (any, 3) is wanted",
    ]
    assert faults_of(signature, np.zeros(3, np.float32)) == ["the inputs: shape (any) came, and (any, 3) is wanted"]
    nested = Signature.infer({"text": {"ids": np.zeros((2, 7), int)}})
    assert faults_of(nested, {"text": {"ids": np.zeros((2, 8), int)}}) == [
        "column 'text.ids': shape (any, 8) came, and (any, 7) is wanted"
    ]
    assert faults_of(nested, {"text": {}})[0].startswith("column 'text.ids' is missing")


def test_rows_that_lack_a_key_are_named() -> None:
    signature = Signature.infer([{"a": 1, "b": 2}, {"a": 1}])
    assert signature.check([{"a": 3}]) == [{"a": 3}]
    assert faults_of(signature, [{"a": 1}, {"b": 1}]) == [
        "column 'a' is missing in some rows; values of int64 are wanted, and columns a, b came"
    ]


def test_the_first_ten_faults_are_told_and_the_others_counted() -> None:
    signature = Signature(Columns({f"c{n:02}": Values("int64") for n in range(25)}))
    with pytest.raises(SignatureError) as caught:
        signature.check({"x": np.zeros(2)})
    assert len(caught.value.faults) == 25
    assert "'c09'" in str(caught.value)
    assert "'c10'" not in str(caught.value)
    assert "and 15 more" in str(caught.value)


@pytest.mark.parametrize(
    ("come", "wanted"),
    [
        *(("int8", "int16"), ("uint8", "int16"), ("uint32", "int64"), ("int64", "float64"), ("int32", "float32")),
        *(
            ("float16", "float32"),
            ("float32", "float64"),
            ("bool", "int8"),
            ("bool", "float32"),
            ("float64", "complex128"),
        ),
        *(("M8[D]", "M8[s]"), ("U3", "U9"), ("int64", "O")),
    ],
)
def test_a_dtype_that_widens_without_loss_fits(come: str, wanted: str) -> None:
    inputs = np.ones(2, come) if come != "U3" else np.array(["a"])
    schema = Values("object") if wanted == "O" else Signature.infer(np.ones(2, wanted)).inputs
    assert Signature(schema).check(inputs) is inputs


@pytest.mark.parametrize(
    ("come", "wanted"),
    [
        *(("int16", "int8"), ("int8", "uint8"), ("uint64", "int64"), ("float64", "float32"), ("float32", "int64")),
        *(
            ("int64", "bool"),
            ("complex64", "float64"),
            ("M8[s]", "M8[D]"),
            ("int64", "U3"),
            ("U3", "int64"),
            ("m8[s]", "int64"),
        ),
    ],
)
def test_a_dtype_that_could_lose_something_does_not_fit(come: str, wanted: str) -> None:
    inputs = np.ones(2, come) if come != "U3" else np.array(["a"])
    (fault,) = faults_of(Signature.infer(np.ones(2, wanted)), inputs)
    assert fault.endswith("is wanted")


def test_whole_numbers_fit_floats_as_far_as_these_are_exact() -> None:
    for word, last in (("float64", 2**53), ("float32", 2**24), ("float16", 2**11)):
        signature = Signature(Values(word))
        assert signature.check(np.array([-last, last])) is not None
        assert f"(from 0 to {last + 1})" in faults_of(signature, np.array([0, last + 1]))[0]


def test_numbers_of_python_fit_by_what_they_are_and_not_by_a_dtype_that_nobody_said() -> None:
    assert Signature(Values("int8")).check([1, 127]) == [1, 127]
    assert Signature(Values("float32")).check([0.1, 2]) == [0.1, 2]
    assert "int8 is wanted" in faults_of(Signature(Values("int8")), [1, 128])[0]
    assert Signature(Values("float32", (None, 2))).check([[0.1, 2.0]]) == [[0.1, 2.0]]


def test_texts_and_categories_fit_each_other_where_they_are_texts() -> None:
    texts, plans = pd.DataFrame({"c": ["a", "b"]}), pd.DataFrame({"c": pd.Categorical(["a", "b"])})
    Signature.infer(texts).check(plans)
    Signature.infer(plans).check(texts)
    numbered = pd.DataFrame({"c": pd.Categorical([1, 2])})
    assert "category came, and string is wanted" in faults_of(Signature.infer(texts), numbered)[0]


# -- the columns that are wanted -----------------------------------------------------------------------------------


def structured(columns: dict[str, Any]) -> Any:
    arrays = {name: np.array(column) for name, column in columns.items()}
    made = np.zeros(2, dtype=[(name, array.dtype) for name, array in arrays.items()])
    for name, array in arrays.items():
        made[name] = array
    return made


def libraries() -> dict[str, Callable[[dict[str, Any]], Any]]:
    found: dict[str, Callable[[dict[str, Any]], Any]] = {"pandas": pd.DataFrame, "dict": dict}
    for name, make in (("polars", "DataFrame"), ("pyarrow", "table")):
        found[name] = lambda columns, name=name, make=make: getattr(pytest.importorskip(name), make)(columns)  # type: ignore[misc]
    found["rows"] = lambda columns: [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ]
    found["structured"] = structured
    return found


@pytest.mark.parametrize("library", libraries())
def test_columns_are_put_in_order_and_others_left_out(library: str) -> None:
    make = libraries()[library]
    signature = Signature.infer(make({"a": [1, 2], "b": [0.5, 1.5]}))
    inputs = make({"b": [2.5, 3.5], "more": [7, 8], "a": [3, 4]})
    ready = signature.check(inputs)
    assert type(ready) is type(inputs)
    assert isinstance(Signature.infer(ready).inputs, Columns)
    assert said(ready) == ["a: int64", "b: float64"]
    assert said(inputs)[1] == "more: int64", "the caller's own were changed"
    if library == "rows":
        assert ready == [{"a": 3, "b": 2.5}, {"a": 4, "b": 3.5}]
    else:
        assert [float(str(one)) for one in (*ready["a"], *ready["b"])] == [3, 4, 2.5, 3.5]


def test_what_fits_already_is_given_back_as_it_is() -> None:
    for make in libraries().values():
        inputs = make({"a": [1, 2], "b": [0.5, 1.5]})
        assert Signature.infer(inputs).check(inputs) is inputs


def test_nested_columns_are_put_in_order_too() -> None:
    signature = Signature.infer({"x": {"a": np.ones(1), "b": np.ones(1)}})
    ready = signature.check({"x": {"b": np.ones(1), "c": np.ones(1), "a": np.ones(1)}})
    assert list(ready["x"]) == ["a", "b"]


def test_columns_named_by_numbers_keep_their_names() -> None:
    sample = pd.DataFrame(np.zeros((2, 3)))
    ready = Signature.infer(sample).check(sample[[2, 0, 1]])
    assert list(ready.columns) == [0, 1, 2]


# -- with a version ------------------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> mk.Registry:
    return mk.Registry(MemoryStore())


def test_an_example_gives_the_signature_and_its_first_five_rows_are_kept(registry: mk.Registry) -> None:
    rows = np.arange(24.0).reshape(8, 3)
    rows[7, 0] = math.nan  # not among those that are kept
    version = registry.save({"w": np.ones(3)}, "churn", example={"x": rows, "n": 3})
    again = mk.Registry(registry._store).get("churn")
    assert again.signature == version.signature == Signature.infer({"x": rows, "n": 3})
    assert str(again.signature).splitlines() == ["x: float64 of shape (3,), or missing", "n: int64"]
    assert np.array_equal(again.example()["x"], rows[:5])
    assert again.example()["n"] == 3


def test_examples_of_rows_and_texts_are_kept(registry: mk.Registry) -> None:
    rows = [{"age": age, "city": "Ulm"} for age in range(7)]
    assert registry.save({"w": np.ones(3)}, "rows", example=rows).example() == rows[:5]
    assert registry.save({"w": np.ones(3)}, "texts", example=["a", "b"]).example() == ["a", "b"]
    version = registry.save({"w": np.ones(3)}, "objects", example=np.array(["yes", "no"], dtype=object))
    assert version.example().tolist() == ["yes", "no"]


def test_an_example_that_is_a_frame_is_kept(registry: mk.Registry) -> None:
    sample = pd.DataFrame({"age": [31, 47]})
    try:
        version = registry.save({"w": np.ones(3)}, "churn", example=sample)
    except SerializerError:
        pytest.skip("there is no serializer for frames (Parquet) in this release")
    assert version.example().equals(sample)


def test_a_signature_can_be_given_as_a_value_or_as_json(registry: mk.Registry) -> None:
    signature = Signature(Values("float32", (None, 3)), Values("int64"))
    for told in (signature, signature.to_json()):
        version = registry.save({"w": np.ones(3)}, "churn", signature=told)
        assert mk.Registry(registry._store).get(version.ref).signature == signature
        assert version.parts == {}
    odds: list[Any] = [3, "int64", {"outputs": {}}, np.ones(3)]
    for odd in odds:
        with pytest.raises(InvalidValueError, match="signature"):
            registry.save({"w": np.ones(3)}, "churn", signature=odd)


def test_an_example_must_fit_a_signature_that_is_given(registry: mk.Registry) -> None:
    signature = Signature(Values("float32", (None, 3)))
    with pytest.raises(SignatureError, match=r"shape \(any, 2\) came"):
        registry.save({"w": np.ones(3)}, "churn", signature=signature, example=np.ones((4, 2), np.float32))
    assert list(registry._store.list("")) == []
    version = registry.save({"w": np.ones(3)}, "churn", signature=signature, example=np.ones((4, 3), np.float16))
    assert version.signature == signature
    assert version.example().dtype == np.float16


def test_a_version_without_says_so(registry: mk.Registry) -> None:
    version = registry.save({"w": np.ones(3)}, "churn")
    assert version.signature is None
    with pytest.raises(
        mk.NotFoundError, match=r"churn:1 has no example; it has no parts. Save a version with save\(…, example"
    ):
        version.example()


def test_the_inference_holds_nothing_of_the_sample() -> None:
    values = Signature.infer(np.arange(5)).inputs
    assert not [name for name, kept in attrs.asdict(values).items() if isinstance(kept, np.ndarray)]
