"""The table of what libraries cannot tell apart, on the page about datasets: each line is checked here."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modelkeep.capture.frames import describe

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "datasets.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|\n ").split("|"))
    for line in PAGE.read_text(encoding="utf-8").partition("## What libraries cannot tell apart")[2].splitlines()
    if line.rstrip().endswith(("| same |", "| differs |"))
]


def column(values: Any, dtype: Any = None) -> Any:
    return pa.table({"x": pa.array(values, dtype)})


def frame(**columns: Any) -> Any:
    return pd.DataFrame(columns)


NUMBERS = np.array([0, 1, 1])
NOON = pd.to_datetime(["2026-03-01 12:00", "2026-07-01 12:00"])
BIG = 1 << 60
STRUCT = [("a", pa.int64()), ("b", pa.string())]
FIELDS = [{"a": 1, "b": "x"}]
CASES: dict[str, tuple[Any, Any]] = {
    "NaN": (column([0.5, float("nan")]), column([0.5, None])),
    "-0.0": (frame(x=[-0.0]), frame(x=[0.0])),
    "whole numbers, some missing": (column([1, None]), column([1.0, None])),
    "whole numbers beyond 2^53, some missing": (column([BIG, None]), column([float(BIG), None])),
    "int32": (frame(x=NUMBERS.astype("i4")), frame(x=NUMBERS)),
    "int64": (frame(x=NUMBERS), frame(x=NUMBERS.astype("f8"))),
    "float32": (frame(x=NUMBERS.astype("f4")), frame(x=NUMBERS.astype("f8"))),
    "bool": (frame(x=NUMBERS.astype(bool)), frame(x=NUMBERS.astype("i1"))),
    "text as objects": (frame(x=pd.Series(["a", None], dtype=object)), frame(x=pd.Series(["a", None], dtype="string"))),
    "text": (column(["a"]), column([b"a"])),
    "category": (frame(x=pd.Categorical(["b", "a", None])), frame(x=["b", "a", None])),
    "ordered category": (frame(x=pd.Categorical(["b", "a"], ordered=True)), frame(x=pd.Categorical(["b", "a"]))),
    "milliseconds": (frame(x=NOON.as_unit("ms")), frame(x=NOON.as_unit("ns"))),
    "a moment in Berlin": (
        frame(x=NOON.tz_localize("UTC").tz_convert("Europe/Berlin")),
        frame(x=NOON.tz_localize("UTC")),
    ),
    "a moment in UTC": (frame(x=NOON.tz_localize("UTC")), frame(x=NOON)),
    "date": (column([dt.date(2026, 3, 1)]), frame(x=pd.to_datetime(["2026-03-01"]))),
    "decimal 1.50": (column([Decimal("1.50")]), column([Decimal("1.5")])),
    "decimal 1.5": (column([Decimal("1.5")]), column([1.5])),
    "list": (column([[1, 2]], pa.list_(pa.int64())), column([[1, 2]], pa.list_(pa.int64(), 2))),
    "empty list": (column([[], [1]]), column([None, [1]])),
    "struct": (column(FIELDS, pa.struct(STRUCT)), column(FIELDS, pa.struct(STRUCT[::-1]))),
    "a column of all missing int64": (column([None, None], pa.int64()), column([None, None], pa.string())),
    "no rows of int64": (column([], pa.int64()), column([], pa.string())),
    "a column named 1": (pd.DataFrame({1: [0]}), pd.DataFrame({"1": [0]})),
    "index 0, 1, 2 (RangeIndex)": (frame(x=[4, 5, 6]), pd.DataFrame({"x": [4, 5, 6]}, index=pd.RangeIndex(5, 8))),
    "RangeIndex": (frame(x=[4, 5]), pd.DataFrame({"x": [4, 5]}, index=[0, 1])),
    "named index": (frame(x=[4, 5], y=[6, 7]).set_index("x"), frame(x=[4, 5], y=[6, 7])),
    "column order": (frame(x=[1], y=[2]), frame(y=[2], x=[1])),
    "row order": (frame(x=[1, 2]), frame(x=[2, 1])),
}


def test_every_line_of_the_table_is_checked() -> None:
    assert [row[0] for row in ROWS] == list(CASES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_line_of_the_table_holds(row: tuple[str, str, str]) -> None:
    one, other = (describe(data).fingerprint for data in CASES[row[0]])
    assert one is not None
    assert other is not None
    assert ("same" if one == other else "differs") == row[2]
