"""Tables of pandas, polars and pyarrow, as one Parquet file that each of them reads.

Data tier. Parquet has no place for code, and pyarrow's reader is fuzzed upstream; what Arrow adds has two. Extension
types are rebuilt by whatever class is registered under their name (``arrow.py_extension_type`` was unpickled until
pyarrow 14; polars' own holds pointers), and even reading the metadata asks that class, so a file that names one is
refused before pyarrow sees it: the key stands in base64 in a footer that is not compressed, and can be searched for
at its three alignments. The JSON that pandas adds names dtypes, which pyarrow looks up
among those of numpy and pandas; labels of several levels go through `ast.literal_eval`. What was read is validated in
full before pandas or polars see it.

The file is read by `ParquetFile` in the calling thread. ``read_table`` would start Arrow's pool of threads for input,
and one of these may hold the last reference to our bytes when the interpreter ends: it asks for the lock of an
interpreter that is gone, and the process aborts ("terminate called without an active exception") after its work.

What is written is read back and compared before anything is stored: a column that would change is refused by name.
"""

from __future__ import annotations

import base64
import inspect
import io
import json
from typing import Any, NoReturn

from modelkeep.errors import InvalidValueError, SerializerError
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading
from modelkeep.values import from_json, to_json

TABLE = "table.parquet"
_OURS, _EXTENSION = b"modelkeep", b"ARROW:extension:name"
_SPELT = tuple(  # what of it is the same in base64, wherever it begins
    base64.b64encode(_EXTENSION[-at % 3 :][: len(_EXTENSION) // 3 * 3 - 3]) for at in range(3)
)
_KINDS = {"pandas": ("DataFrame", "Series"), "polars": ("DataFrame", "Series"), "pyarrow": ("Table",)}
_UNNAMED = "values"  # the column of a series without a name
_PAGE = 16 * 1024  # bytes; with four times that a change in one place cost 7 times as much, see the benchmark
_TO_PANDAS = {"use_threads": False, "date_as_object": True, "timestamp_as_object": False}


class TableSerializer(PlainSerializer):
    """See the module."""

    name = "table"
    packages = ("pyarrow", "pandas", "polars", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: tables and series, but no subclass, which would come back as a plain one."""
        kind = type(obj)
        return kind.__name__ in _KINDS.get(kind.__module__.partition(".")[0], ())

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        library, kind = type(obj).__module__.partition(".")[0], type(obj).__name__
        try:
            raw = _WRITERS[library](obj, {"is": f"{library}.{kind}"})
        except InvalidValueError as error:
            raise SerializerError(f"a label of the table cannot be kept: {error}") from error
        with reading("the table just written"):
            back = _read(raw)
        _check_same(obj, back, library)
        sink.put(TABLE, raw)

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        raw = files.read(TABLE)
        with reading(TABLE):
            return _read(raw)

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: a table has none."""
        del files
        return {}


# -- writing ---------------------------------------------------------------------------------------------------------


def _parquet(table: Any, facts: dict[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    for field in table.schema:
        if _EXTENSION in pa.schema([field]).serialize().to_pybytes():
            _refuse(field.name, f"is of the extension type {field.type}, which only code can rebuild")
    metadata = {**(table.schema.metadata or {}), _OURS: json.dumps(facts).encode()}
    stream = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata(metadata), stream, **_form(table.schema, parquet.write_table))
    return stream.getvalue()


def _form(schema: Any, write: Any) -> dict[str, Any]:
    """How pages are written: cut where the values say and not packed, so that versions share what they have alike.

    Packing is the registry's affair. A dictionary that Parquet makes ties all pages of a column to the order of its
    first values; one that the column has is kept, with categories that no row has. See
    `benchmarks/bench_stored_datasets.py`.
    """
    import pyarrow as pa

    own = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    form: dict[str, Any] = {"compression": "none", "use_dictionary": own or False}
    if "use_content_defined_chunking" in inspect.signature(write).parameters:  # pyarrow 21
        form["use_content_defined_chunking"] = {"min_chunk_size": _PAGE, "max_chunk_size": 4 * _PAGE}
    return form


def _from_arrow(table: Any, facts: dict[str, Any]) -> bytes:
    return _parquet(table, facts)


def _from_polars(obj: Any, facts: dict[str, Any]) -> bytes:
    import polars as pl

    frame = obj.to_frame() if isinstance(obj, pl.Series) else obj
    for name in frame.columns:
        try:
            frame.get_column(name).to_arrow()
        except BaseException as error:  # noqa: BLE001  a panic of Rust is no Exception
            _refuse(name, f"is of type {frame.schema[name]}, which Arrow does not take ({error})")
    return _parquet(frame.to_arrow(), facts)


def _from_pandas(obj: Any, facts: dict[str, Any]) -> bytes:
    import pandas as pd
    import pyarrow as pa

    if isinstance(obj, pd.Series):
        facts["name"] = to_json(obj.name, "the name of the series")
        obj = obj.to_frame(_UNNAMED)
    labels = [str(label) for label in obj.columns]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        _refuse(twice, "is there twice")
    facts["dtypes"] = {str(at): mend for at, dtype in enumerate(obj.dtypes) if (mend := _mend_of(dtype))}
    try:
        table = pa.Table.from_pandas(obj)
    except Exception as error:
        raise SerializerError(
            f"the table cannot be kept as Parquet ({'; '.join(map(str, error.args))}); give each column one type, or "
            "save with serializer='cloudpickle'"
        ) from error
    return _parquet(table, facts)


def _mend_of(dtype: Any) -> Any:
    """What Parquet forgets of a dtype: that text was in objects, and categories that are no text."""
    if dtype.kind == "O" and str(dtype) == "object":
        return "object"
    if getattr(dtype, "name", "") == "category":
        try:
            categories = to_json(dtype.categories.tolist(), "categories")
            return {"categories": categories, "of": str(dtype.categories.dtype), "ordered": bool(dtype.ordered)}
        except InvalidValueError:
            return None  # such as timestamps; whether they come back is looked at
    return None


_WRITERS = {"pandas": _from_pandas, "polars": _from_polars, "pyarrow": _from_arrow}


# -- reading ---------------------------------------------------------------------------------------------------------


def _read(raw: bytes | bytearray) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    if any(spelt in raw for spelt in _SPELT):
        raise SerializerError(f"{TABLE} has a column of an extension type, which only code can rebuild")
    table = parquet.ParquetFile(pa.BufferReader(raw)).read(use_threads=False)
    table.validate(full=True)
    own = dict(table.schema.metadata or {})
    facts = json.loads(own.pop(_OURS, b"{}"))
    read: Any = _READERS[facts.get("is", "pyarrow.Table")]
    return read(table.replace_schema_metadata(own or None), facts)


def _to_frame(table: Any, facts: dict[str, Any]) -> Any:
    import pandas as pd

    frame = table.to_pandas(**_TO_PANDAS)
    for at, mend in facts.get("dtypes", {}).items():
        column = frame.columns[int(at)]
        if mend == "object":
            frame[column] = pd.Series(table.column(int(at)).to_pylist(), dtype=object, index=frame.index)
        else:
            categories = pd.Index(from_json(mend["categories"]), dtype=mend["of"])
            frame[column] = frame[column].astype(pd.CategoricalDtype(categories, mend["ordered"]))
    return frame


def _to_series(table: Any, facts: dict[str, Any]) -> Any:
    return _to_frame(table, facts)[_UNNAMED].rename(from_json(facts["name"]))


def _to_polars(table: Any, facts: dict[str, Any]) -> Any:
    import polars as pl

    del facts
    return pl.from_arrow(table)


_READERS = {
    "pandas.DataFrame": _to_frame,
    "pandas.Series": _to_series,
    "polars.DataFrame": _to_polars,
    "polars.Series": lambda table, facts: _to_polars(table, facts).to_series(0),
    "pyarrow.Table": lambda table, _: table,
}


# -- looking at what would come back ---------------------------------------------------------------------------------


def _check_same(obj: Any, back: Any, library: str) -> None:
    if library == "pandas":
        _check_pandas(obj, back)
    elif library == "polars":
        _check_columns(obj, back)
    elif not obj.equals(back, check_metadata=True):
        _refuse("the table", "would change")


def _check_columns(obj: Any, back: Any) -> None:
    import polars as pl

    first, second = (one.to_frame() if isinstance(one, pl.Series) else one for one in (obj, back))
    for name in first.columns:
        a, b = first.get_column(name), second.get_column(name)
        if a.dtype != b.dtype or not a.equals(b):
            _refuse(name, f"is of type {a.dtype}, and would come back otherwise")


def _check_pandas(obj: Any, back: Any) -> None:
    import pandas as pd

    first, second = (one.to_frame(_UNNAMED) if isinstance(one, pd.Series) else one for one in (obj, back))
    for what in ("index", "columns"):
        a, b = getattr(first, what), getattr(second, what)
        if not a.identical(b) and not (a.equals(b) and _levels(a) == _levels(b)):
            _refuse(f"the {what}", f"would come back as {b!r}")
    for column in first.columns:
        a, b = first[column], second[column]
        same = a.dtype == b.dtype and a.equals(b)
        if same and a.dtype == object:
            same = [(type(part), repr(part)) for part in a] == [(type(part), repr(part)) for part in b]
        if not same:
            _refuse(column, f"of dtype {a.dtype} would change: give it one type that Parquet has")


def _levels(index: Any) -> Any:
    return list(index.names), [str(index.get_level_values(at).dtype) for at in range(index.nlevels)]


def _refuse(column: object, why: str) -> NoReturn:
    raise SerializerError(
        f"{column!r} {why}; leave it out, convert it, or save with serializer='cloudpickle'", column=str(column)
    )


serializer = TableSerializer()
