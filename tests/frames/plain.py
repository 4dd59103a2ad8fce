"""Frames that need no pyarrow, each twice: of pandas, and of polars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

WHEN = dt.datetime(2026, 3, 1, 12, 30, 0, 250_000)  # noqa: DTZ001  naive is meant
COLUMNS: dict[str, list[Any]] = {
    "whole": [1, 2, -3],
    "whole, one missing": [1, None, 3],
    "number": [0.5, None, -0.0],
    "truth": [True, False, True],
    "truth, one missing": [True, None, False],
    "text": ["x", None, "äöü"],
    "moment": [WHEN, None, WHEN + dt.timedelta(days=1)],
    "span": [dt.timedelta(seconds=1), None, dt.timedelta(microseconds=-1)],
    "day": [WHEN.date(), None, dt.date(1969, 12, 31)],
    "list": [[1, 2], None, []],
    "dict": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 2, "b": None}],
    "nothing": [None, None, None],
}


def frames() -> Iterator[Any]:
    """One column each."""
    for name, values in COLUMNS.items():
        plain = name in ("text", "day", "list", "dict", "nothing") or name == "truth, one missing"
        yield pd.DataFrame({name: np.array([*values, None], dtype=object)[:-1] if plain else values})
        yield pl.DataFrame({name: values}, strict=False)
