"""A fingerprint is that of the values: not of their slices, their chunks or their library."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames.made import in_chunks, in_polars, mixed_frame, tables
from modelkeep.capture.frames import describe
from modelkeep.capture.frames.columns import BLOCK


def of(frame: Any) -> str:
    facts = describe(frame, profile=False, sketch=False)
    assert facts.fingerprint is not None, facts.notes
    return facts.fingerprint


@settings(max_examples=60, deadline=None)
@given(tables(), st.lists(st.integers(0, 12), max_size=4))
def test_slices_and_chunks_do_not_show(table: pa.Table, cuts: list[int]) -> None:
    chunked = in_chunks(table, cuts)
    assert of(chunked) == of(table) == of(chunked.combine_chunks())
    padded = pa.concat_tables([table, table, table]).combine_chunks().slice(len(table), len(table))
    assert of(padded) == of(table)
    if table.num_rows and not any("list" in name or "struct" in name for name in table.column_names):
        frame = table.to_pandas()
        parts = [frame.iloc[: len(frame) // 2], frame.iloc[len(frame) // 2 :]]
        assert of(pd.concat(parts)) == of(frame)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_libraries_do_not_show(table: pa.Table) -> None:
    wanted = of(table)
    assert of(in_polars(table)) == wanted
    assert of(table.to_pandas(types_mapper=pd.ArrowDtype)) == wanted
    assert of(in_polars(table).to_arrow()) == wanted
    assert of(table.to_pandas()) == wanted
    assert of(in_polars(table).to_pandas()) == wanted
    if len(table):
        assert of(table.to_batches()[0]) == wanted


@settings(max_examples=80, deadline=None)
@given(tables(least=2), st.data())
def test_one_value_one_null_one_name_or_the_order_shows(table: pa.Table, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, table.num_columns - 1))
    row, other = data.draw(st.permutations(range(len(table))))[:2]
    name = table.column_names[place]
    values = [None if one != one else one for one in table.column(place).to_pylist()]  # noqa: PLR0124
    seen = of(table)
    assert of(table.rename_columns([f"{old}'" if old == name else old for old in table.column_names])) != seen

    def replaced(found: list[Any]) -> str:
        return of(table.set_column(place, name, pa.array(found, table.schema.field(place).type)))

    if values[row] is not None:
        assert replaced([*values[:row], None, *values[row + 1 :]]) != seen
    if values[row] != values[other]:
        assert replaced([*values[:row], values[other], *values[row + 1 :]]) != seen
        swapped = list(values)
        swapped[row], swapped[other] = values[other], values[row]
        assert replaced(swapped) != seen
    assert of(table.slice(0, len(table) - 1)) != seen


def test_blocks_are_cut_by_rows_and_not_by_chunks() -> None:
    frame = mixed_frame(2 * BLOCK + 100)
    table = pa.Table.from_pandas(frame)
    cut = in_chunks(table, [1, 17, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
    assert len({of(frame), of(table), of(cut), of(in_polars(table)), of(in_polars(cut))}) == 1
    changed = frame.copy()
    changed.loc[2 * BLOCK + 50, "count"] += 1
    assert of(changed) != of(frame)


def test_a_value_moved_over_the_edge_of_a_text_shows() -> None:
    assert of(pd.DataFrame({"a": ["ab", "c"]})) != of(pd.DataFrame({"a": ["a", "bc"]}))
    assert of(pd.DataFrame({"a": ["x"], "b": ["y"]})) != of(pd.DataFrame({"a": ["y"], "b": ["x"]}))
    assert of(pa.table({"l": [[1, 2], [3]]})) != of(pa.table({"l": [[1], [2, 3]]}))
    assert of(pa.table({"l": [[], [3]]})) != of(pa.table({"l": [None, [3]]}))


def test_the_order_of_columns_shows() -> None:
    frame = mixed_frame(10)
    assert of(frame[frame.columns[::-1]]) != of(frame)


def test_a_dtype_of_full_columns_shows() -> None:
    kinds = ["int8", "int16", "int32", "int64", "uint8", "float32", "float64", "bool"]
    assert len({of(pd.DataFrame({"a": np.array([0, 1], kind)})) for kind in kinds}) == len(kinds)


def test_what_lies_below_a_null_does_not_show() -> None:
    raw = np.array([1.0, 99.0, 3.0])
    one = pa.Array.from_buffers(pa.float64(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(raw.tobytes())])
    assert of(pa.table({"a": one})) == of(pa.table({"a": [1.0, None, 3.0]}))
    text = pa.Array.from_buffers(
        pa.string(),
        2,
        [pa.py_buffer(b"\x02"), pa.py_buffer(np.array([0, 3, 4], "<i4").tobytes()), pa.py_buffer(b"xyzw")],
    )
    assert of(pa.table({"a": text})) == of(pa.table({"a": [None, "w"]}))


def test_an_index_is_a_column_unless_it_counts_rows() -> None:
    frame = mixed_frame(9)
    assert of(frame.iloc[3:6]) == of(frame.iloc[3:6].reset_index(drop=True))
    named = frame.set_index("count")
    assert of(named) == of(frame[["count", *(name for name in frame.columns if name != "count")]])
    shuffled = frame.iloc[[2, 0, 1]]
    assert of(shuffled) == of(pa.Table.from_pandas(shuffled).select(["__index_level_0__", *frame.columns]))
    assert "reset_index" in describe(shuffled).notes[0]


def test_a_lazy_frame_is_not_computed_and_says_so() -> None:
    facts = describe(pl.DataFrame({"a": [1]}).lazy())
    assert facts.fingerprint is None
    assert facts.notes == ("unknown: lazy; collect() it, or give the frame that is computed",)


def test_a_dataset_of_pyarrow_is_its_table(tmp_path: Any) -> None:
    table = pa.Table.from_pandas(mixed_frame(50), preserve_index=False)
    for part in range(2):
        import pyarrow.parquet as pq

        pq.write_table(table.slice(part * 25, 25), tmp_path / f"{part}.parquet")
    assert of(ds.dataset(tmp_path)) == of(table)


@pytest.mark.parametrize("value", [object(), {1, 2}, pd.Series([1])], ids=["object", "set", "series"])
def test_what_has_no_form_is_unknown_with_the_column_named(value: Any) -> None:
    facts = describe(pd.DataFrame({"odd": [value, None]}))
    assert facts.fingerprint is None
    assert facts.kind == "frame"
    assert facts.notes[0].startswith("unknown: the column 'odd' holds values of ")


WITHOUT_ARROW = """
import sys
sys.modules["pyarrow"] = None
import frames.plain as made
from modelkeep.capture.frames import describe
for frame in made.frames():
    print(describe(frame, profile=False, sketch=False).fingerprint)
"""


def test_pandas_and_polars_without_pyarrow_give_the_same() -> None:
    from frames import plain as made

    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_ARROW], capture_output=True, text=True, check=True, cwd="tests"
    ).stdout.split()
    assert found == [of(frame) for frame in made.frames()]
    assert len(set(found)) == len(found) // 2  # each once by pandas and once by polars


def test_a_fingerprint_of_today_is_one_of_tomorrow() -> None:
    # whoever changes one of these changes the number of its scheme, too
    import scipy.sparse as sp

    rows = BLOCK + 4464
    frame = pd.DataFrame({"n": np.arange(rows) * 0.5, "w": [f"row {row % 7}" for row in range(rows)]})
    frame["t"] = pd.to_datetime(np.arange(rows), unit="s")
    frame.loc[::3, "w"] = None
    assert of(frame) == "frame-1:4fd63a272bf3381139d15682dd9b30e1511353337cb7acf2d8a9fb85ada15faf"
    array = np.arange(6, dtype="f4").reshape(2, 3)
    assert of(array) == "array-1:a16d00e8367d2028db2e3250cfb35d3b2629e74d2e2177ebcea7540d7522530c"
    sparse = sp.eye_array(3, format="csc")
    assert of(sparse) == "sparse-1:93bb8fbfa9ed6e40642cd6f2833c2ca01829795f5f6276af3683ec1e31e218d2"
    sketch = describe(frame).sketch
    assert sketch is not None
    assert sketch.hashes[:2] == (60507630503308, 517063353282621)
