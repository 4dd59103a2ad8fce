"""Frames for the tests of datasets: columns of each kind that libraries share, drawn by hypothesis."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

_moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1))  # noqa: DTZ001  naive ones are meant
_floats = st.floats(allow_nan=True, allow_infinity=True)
# of each kind: a type of pyarrow, and values
SHARED: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-(1 << 7), (1 << 7) - 1)),
    "int32": (pa.int32(), st.integers(-(1 << 31), (1 << 31) - 1)),
    "int64": (pa.int64(), st.integers(-(1 << 53), 1 << 53)),
    "uint8": (pa.uint8(), st.integers(0, 255)),
    "uint64": (pa.uint64(), st.integers(0, 1 << 53)),
    "float32": (pa.float32(), st.floats(width=32)),
    "float64": (pa.float64(), _floats),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    "bytes": (pa.binary(), st.binary(max_size=20)),
    "datetime": (pa.timestamp("us"), _moments),
    "instant": (pa.timestamp("us", "UTC"), _moments.map(lambda one: one.replace(tzinfo=dt.UTC))),
    "duration": (pa.duration("us"), st.timedeltas(dt.timedelta(-10_000), dt.timedelta(10_000))),
    "date": (pa.date32(), st.dates(dt.date(1700, 1, 1), dt.date(2250, 1, 1))),
    "time": (pa.time64("us"), st.times()),
    "decimal": (pa.decimal128(12, 2), st.decimals(-10_000, 10_000, places=2)),
    "list": (pa.list_(pa.int64()), st.lists(st.integers(-(1 << 53), 1 << 53), max_size=4)),
    "struct": (
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        st.fixed_dictionaries({"a": st.integers(-9, 9), "b": st.text("xyz", max_size=3)}),
    ),
}


@st.composite
def tables(draw: st.DrawFn, *, least: int = 0) -> pa.Table:
    """A table with up to four columns of kinds that all libraries have, some with missing values."""
    rows = draw(st.integers(least, 12))
    kinds = draw(st.lists(st.sampled_from(sorted(SHARED)), min_size=1, max_size=4))
    columns = {}
    for place, kind in enumerate(kinds):
        typed, values = SHARED[kind]
        missing = draw(st.booleans())
        drawn = draw(st.lists(values | st.none() if missing else values, min_size=rows, max_size=rows))
        columns[f"{kind} {place}"] = pa.array(drawn, typed)
    return pa.table(columns)


def in_chunks(table: pa.Table, cuts: list[int]) -> pa.Table:
    """The same rows, cut into chunks, some of them empty."""
    edges = [0, *sorted(min(cut, len(table)) for cut in cuts), len(table)]
    return pa.concat_tables([table.slice(a, b - a) for a, b in pairwise(edges)])


def in_polars(table: pa.Table) -> pl.DataFrame:
    """The same in polars."""
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def mixed_frame(rows: int) -> Any:
    """A frame of pandas with numbers, text, categories and dates, some missing."""
    import pandas as pd

    draw = np.random.default_rng(rows)
    words = np.array(["north", "south", "east", "west"])
    frame = pd.DataFrame(
        {
            "price": draw.normal(size=rows),
            "count": draw.integers(0, 1000, rows),
            "place": words[draw.integers(0, 4, rows)],
            "kind": pd.Categorical(words[draw.integers(0, 4, rows)]),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(draw.integers(0, 10**6, rows), unit="s"),
        }
    )
    frame.loc[frame.index[::7], "price"] = None
    frame.loc[frame.index[::5], "place"] = None
    return frame
