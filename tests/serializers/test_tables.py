from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from modelkeep.errors import SerializerError
from modelkeep.integrations.tables import serializer as tables
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

COLUMNS: dict[str, Any] = {
    "floats": [1.5, np.nan, -0.0],
    "small": np.array([1, 2, 3], "u1"),
    "text": ["a", None, "c"],
    "objects": pd.Series(["a", None, "b"], dtype=object),
    "bytes": [b"a", None, b"\0"],
    "lists": [[1], None, [2, 3]],
    "dates": [dt.date(2020, 1, 1), None, dt.date(1, 1, 1)],
    "decimals": [Decimal("1.10"), None, Decimal("2.00")],
    "nullable": pd.array([1, None, 3], dtype="Int64"),
    "maybe": pd.array([True, None, False], dtype="boolean"),
    "times": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
    "nanoseconds": pd.to_datetime([1, 2, 3], unit="ns"),
    "durations": pd.to_timedelta([1, 2, 3], unit="s"),
    "category": pd.Categorical(["x", "y", "x"], categories=["y", "x", "unused"], ordered=True),
    "numbers": pd.Categorical([3, 1, None], categories=[3, 1, 7]),
    "halves": pd.Categorical([0.5, 1.5, 0.5], categories=[1.5, 0.5]),
}
FRAME = pd.DataFrame(COLUMNS)
POLARS = pl.DataFrame(
    {
        "i": [1, None],
        "c": pl.Series(["x", "y"], dtype=pl.Categorical),
        "e": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x", "unused"])),
        "lists": [[1], [2, 3]],
        "structs": [{"a": 1}, {"a": 2}],
        "decimals": pl.Series([1, 2], dtype=pl.Decimal(10, 2)),
        "times": pl.Series([1, 2], dtype=pl.Datetime("us", "Europe/Berlin")),
    }
)


def came_back(obj: Any) -> Any:
    return load_from_memory(tables, save_in_memory(tables, obj))


class TestTables(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return tables

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [
            FRAME,
            FRAME.set_index(["text", "small"]),
            FRAME["numbers"],
            pd.Series([1.0, 2.0], index=["a", "b"]),
            pd.DataFrame({0: [1], 1: [2]}),
            pd.DataFrame(),
            POLARS,
            POLARS["e"],
            pa.table({"a": [1, 2], "b": [None, "x"]}).replace_schema_metadata({"own": "note"}),
        ]

    def same(self, a: Any, b: Any) -> bool:
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        elif isinstance(a, pd.Series):
            pd.testing.assert_series_equal(a, b, check_exact=True)
        elif isinstance(a, pa.Table):
            return bool(a.equals(b, check_metadata=True))
        else:
            return a.equals(b) and getattr(a, "schema", a.dtype if hasattr(a, "dtype") else 0) == getattr(
                b, "schema", b.dtype if hasattr(b, "dtype") else 0
            )
        return type(a) is type(b)


@pytest.mark.parametrize("column", COLUMNS)
def test_every_dtype_comes_back_as_it_was(column: str) -> None:
    found = came_back(FRAME[[column]])
    assert found[column].dtype == FRAME[column].dtype
    assert [repr(part) for part in found[column]] == [repr(part) for part in FRAME[column]]


def test_index_and_labels_come_back() -> None:
    frame = pd.DataFrame(
        [[1, 2]],
        index=pd.MultiIndex.from_tuples([(1, "a")], names=["k", None]),
        columns=pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")]),
    )
    pd.testing.assert_frame_equal(came_back(frame), frame)


REFUSED = {
    "mixed": (pd.DataFrame({"good": [1, 2], "odd": [1, "a"]}), "odd"),
    "objects of one type": (pd.DataFrame({"good": [1, 2], "odd": [{1}, {2}]}), "odd"),
    "lists of several types": (pd.DataFrame({"odd": [[1, 2.5], [2]]}), "odd"),
    "both kinds of nothing": (pd.DataFrame({"odd": pd.Series(["a", None, np.nan], dtype=object)}), "odd"),
    "periods": (pd.DataFrame({"odd": pd.period_range("2020", periods=2, freq="M")}), "odd"),
    "twice": (pd.DataFrame([[1, 2]], columns=["odd", "odd"]), "odd"),
    "index": (pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex([3, 1], categories=[3, 1, 7])), "index"),
    "polars objects": (pl.DataFrame({"odd": pl.Series([object()], dtype=pl.Object)}), "odd"),
    "arrow extension": (pa.table({"odd": pa.array([b"0" * 16], pa.uuid())}), "odd"),
}


@pytest.mark.parametrize(("table", "named"), REFUSED.values(), ids=REFUSED)
def test_a_column_that_would_change_is_refused_by_its_name(table: Any, named: str) -> None:
    with pytest.raises(SerializerError, match=f"{named}.*serializer='cloudpickle'"):
        save_in_memory(tables, table)


def test_a_subclass_is_not_taken() -> None:
    class Own(pd.DataFrame):  # type: ignore[misc]
        pass

    taken = [tables.accepts(obj) for obj in (FRAME, Own(), FRAME.index, POLARS.lazy(), pa.array([1]))]
    assert taken == [True, False, False, False, False]


def test_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    tables.export(save_in_memory(tables, FRAME), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["table.parquet"]
    assert pd.read_parquet(tmp_path / "table.parquet")["category"].equals(FRAME["category"])
    assert pl.read_parquet(tmp_path / "table.parquet")["small"].to_list() == [1, 2, 3]


# -- from a stranger -------------------------------------------------------------------------------------------------


def forged(table: pa.Table) -> MemoryFiles:
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    return MemoryFiles({"table.parquet": stream.getvalue()})


def extension(name: str, trap: Path) -> pa.Table:
    payload = f"cos\nmkdir\n(V{trap}\ntR.".encode()
    facts = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": payload}
    inner = pa.field("in", pa.int64(), metadata=facts)
    return pa.table(
        {"x": pa.array([{"in": 1}], pa.struct([inner])), "y": [1]},
        schema=pa.schema([pa.field("x", pa.struct([inner])), pa.field("y", pa.int64(), metadata=facts)]),
    )


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "_POLARS_PYTHON_OBJECT", "pandas.period", "unknown"])
def test_extension_types_of_a_file_are_refused_before_any_class_is_asked(name: str, tmp_path: Path) -> None:
    with pytest.raises(SerializerError, match="extension type"):
        load_from_memory(tables, forged(extension(name, tmp_path / "trap")))
    assert not (tmp_path / "trap").exists()


def test_a_registered_extension_type_is_not_asked_either(tmp_path: Path) -> None:
    asked = []

    class Own(pa.ExtensionType):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(pa.int64(), "own.type")

        def __arrow_ext_serialize__(self) -> bytes:
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage: Any, raw: bytes) -> Any:
            asked.append(raw)
            return cls()

    files = forged(extension("own.type", tmp_path))
    pa.register_extension_type(Own())
    try:
        with pytest.raises(SerializerError, match="extension type"):
            load_from_memory(tables, files)
    finally:
        pa.unregister_extension_type("own.type")
    assert asked == []


EVIL = "__import__('os').mkdir({trap!r})"


@pytest.mark.parametrize(
    "where", ["numpy_type", "pandas_type", "field_name", "name", "index_columns", "labels", "metadata"]
)
def test_what_pandas_notes_beside_the_columns_is_never_evaluated(where: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    evil = EVIL.format(trap=str(trap))
    column = {"name": "a", "field_name": "a", "pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    notes: dict[str, Any] = {
        "index_columns": [evil] if where == "index_columns" else [],
        "column_indexes": [column, column] if where == "labels" else [],
        "columns": [column | ({where: evil} if where in column else {})],
        "pandas_version": "3.0.0",
    }
    name = evil if where == "labels" else "a"
    table = pa.table({name: [1]}).replace_schema_metadata(
        {b"pandas": json.dumps(notes).encode(), b"modelkeep": b'{"is": "pandas.DataFrame"}'}
    )
    with suppress(SerializerError):
        load_from_memory(tables, forged(table))
    assert not trap.exists()


@pytest.mark.parametrize("facts", [
    b"", b"3", b'{"is": "os.system"}', b'{"is": []}', b'{"is": "pandas.DataFrame", "dtypes": {"9": "object"}}',
    b'{"is": "pandas.DataFrame", "dtypes": {"0": {"categories": 3}}}', b'{"is": "pandas.Series"}', b"[" * 100_000,
])  # fmt: skip
def test_facts_of_ours_that_do_not_fit_are_refused(facts: bytes) -> None:
    with pytest.raises(SerializerError, match=r"table\.parquet cannot be read"):
        load_from_memory(tables, forged(pa.table({"a": [1]}).replace_schema_metadata({b"modelkeep": facts})))


ALONE = """
import os, sys, pyarrow, pandas, pyarrow.parquet
from modelkeep.integrations.tables import serializer
from modelkeep.testing.serializers import MemoryFiles, load_from_memory
files = MemoryFiles({"table.parquet": sys.stdin.buffer.read()})
before = os.listdir("/proc/self/task")
load_from_memory(serializer, files)
print(len(set(os.listdir("/proc/self/task")) - set(before)))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists the threads of others")
@pytest.mark.parametrize("table", [FRAME, pa.table({"a": [1.0]})], ids=["pandas", "pyarrow"])
def test_reading_leaves_no_thread_behind_that_the_end_of_the_interpreter_could_catch(table: Any) -> None:
    raw = bytes(save_in_memory(tables, table).read("table.parquet"))
    run = subprocess.run([sys.executable, "-c", ALONE], input=raw, capture_output=True, check=False)
    assert (run.returncode, run.stdout.split()) == (0, [b"0"]), run.stderr.decode()


BROKEN = """
import sys, random
from modelkeep.errors import ModelkeepError
from modelkeep.integrations.tables import serializer
from modelkeep.testing.serializers import MemoryFiles, load_from_memory
good, rng, refused = bytearray(sys.stdin.buffer.read()), random.Random(7), 0
for turn in range(int(sys.argv[1])):
    bad = bytearray(good)
    if turn % 4 == 0:
        del bad[rng.randrange(len(bad)):]
    for _ in range(rng.choice((1, 3, 20))):
        if bad:
            bad[rng.randrange(len(bad))] = rng.randrange(256)
    try:
        load_from_memory(serializer, MemoryFiles({"table.parquet": bytes(bad)}))
    except ModelkeepError:
        refused += 1
print(refused)
"""


@pytest.mark.parametrize("table", [FRAME, POLARS], ids=["pandas", "polars"])
def test_damaged_files_end_in_an_error_of_ours_and_never_in_a_crash(table: Any) -> None:
    good = bytes(save_in_memory(tables, table).read("table.parquet"))
    run = subprocess.run([sys.executable, "-c", BROKEN, "60"], input=good, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert int(run.stdout) > 30
