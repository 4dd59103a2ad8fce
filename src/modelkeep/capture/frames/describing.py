"""`describe`: what there is to say about one dataset, in one pass; and what cannot be said, why."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import attrs

from modelkeep.dataset import DatasetFacts
from modelkeep.errors import InvalidValueError, shown

_MOST = 1 << 33  # bytes of a dataset of pyarrow that are read into memory
_PARTS = 1000  # arrays in a list or dict

Families = Mapping[str, tuple[str, ...]]  # classes by the top-level module that defines them, or a base of theirs
_FAMILIES: Families = {
    "pandas": ("DataFrame", "Series"),
    "polars": ("DataFrame", "LazyFrame", "Series"),
    "pyarrow": ("Table", "RecordBatch", "Dataset", "ChunkedArray", "Array"),
    "numpy": ("ndarray",),
    "scipy": ("_spbase", "spmatrix", "sparray"),
    "torch": ("Tensor",),
}


def family(obj: object, families: Families = _FAMILIES) -> str | None:
    """Which library's data an object is, by the classes that it is made of; nothing is imported.

    Args:
        obj: anything.
        families: what counts as data; without it all that facts are told of.

    Example:
        >>> import numpy as np
        >>> family(np.zeros(3)), family(3)
        ('numpy', None)
    """
    for kind in type(obj).__mro__:
        library = str(getattr(kind, "__module__", "")).partition(".")[0]
        if kind.__name__ in families.get(library, ()):
            return library
    return None


def can_describe(obj: object) -> bool:
    """Whether an argument is data: a frame, an array, a path, a URL, a list or dict of arrays. Cheap; imports nothing.

    A text is data only if it is a URL with a path, or names a file with a suffix, or below a folder, that exists.

    Example:
        >>> import numpy as np
        >>> can_describe(np.zeros(3)), can_describe([np.zeros(3)]), can_describe("adam"), can_describe(0.1)
        (True, True, False, False)
    """
    if family(obj) is not None or isinstance(obj, PurePath):
        return True
    if isinstance(obj, str):
        return _is_place(obj)
    parts = _parts(obj)
    return bool(parts) and len(parts) <= _PARTS and all(family(part) is not None for _, part in parts)


def _is_place(text: str) -> bool:
    from modelkeep.capture.frames.addresses import is_url

    if not text or len(text) > 4096 or "\0" in text or "\n" in text:  # noqa: PLR2004  no path is longer
        return False
    if is_url(text):
        return "/" in text.rpartition("://")[2] and " " not in text
    if os.sep not in text and "/" not in text and not os.path.splitext(text)[1]:  # noqa: PTH122
        return False
    if any(mark in text for mark in "*?["):
        return os.path.isdir(os.path.dirname(re.split(r"[*?\[]", text, maxsplit=1)[0]) or ".")  # noqa: PTH112, PTH120
    return os.path.exists(os.path.expanduser(text))  # noqa: PTH110, PTH111


def _parts(obj: object) -> list[tuple[str, Any]]:
    """The parts of a list, tuple or dict."""
    if isinstance(obj, Mapping):
        return [(str(name), part) for name, part in obj.items()]
    return [(str(place), part) for place, part in enumerate(obj)] if type(obj) in (list, tuple) else []  # type: ignore[arg-type,var-annotated]


def describe(
    obj: object,
    *,
    role: str | None = None,
    profile: bool = True,
    sketch: bool = True,
    content: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> DatasetFacts:
    """What there is to say about a dataset: fingerprint, schema, counts, profile; nothing of it is kept.

    One pass over the values; of a file or a folder one over the bytes, unless this process has read it before and it is
    unchanged; of a URL one request where the store names a version of the object.

    Args:
        obj: a frame of pandas, polars or pyarrow, an array of NumPy, a tensor of torch, a sparse matrix of SciPy, a
            list or dict of these, a path, a pattern, a URL of fsspec, or a pointer of DVC.
        role: what it is for, such as ``train``.
        profile: whether values are counted: nulls, ranges, quantiles, frequent values.
        sketch: whether rows are hashed, to tell the overlap with other data.
        content: read what lies behind a URL, however large.
        storage_options: for fsspec; they are not kept.

    Raises:
        InvalidValueError: *obj* is no data. Whatever else goes wrong stands in the notes of the facts.

    Example:
        >>> import numpy as np
        >>> facts = describe(np.arange(6).reshape(3, 2), role="train")
        >>> facts.kind, facts.rows, facts.columns, facts.scheme
        ('array', 3, 2, 'array-1')
    """
    work = _work(obj, profile=profile, sketch=sketch, content=content, options=storage_options or {})
    if work is None:
        raise InvalidValueError(
            f"{shown(obj):.80} is no data; give a frame, an array, a path or a URL, or lists of these", key="data"
        )
    kind, tell = work
    try:
        facts = tell()
    except Exception as error:  # noqa: BLE001  capture never makes training fail
        facts = DatasetFacts(kind=kind, notes=(f"unknown: {_why(error)}",), **_source(obj))
    return attrs.evolve(facts, role=role) if role is not None else facts


def _why(error: Exception) -> str:
    """What went wrong; the words of a stranger's error may hold a credential, so its kind must do."""
    from modelkeep.capture.frames.columns import UnknownColumnError

    if isinstance(error, UnknownColumnError):
        return str(error)[:1000]
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"[:1000]
    return type(error).__name__


def _source(obj: object) -> dict[str, Any]:
    from modelkeep.capture.frames.addresses import is_url, redacted

    if not isinstance(obj, (str, PurePath)):
        return {}
    text = str(obj)
    return {"source": {"url": redacted(text)[:1000]} if is_url(text) else {"name": PurePath(text).name[:1000]}}


Work = tuple[str, Callable[[], DatasetFacts]]


def _work(obj: Any, *, profile: bool, sketch: bool, content: bool, options: Mapping[str, Any]) -> Work | None:
    """The kind of an object, and what tells its facts."""
    library = family(obj)
    if library in ("numpy", "torch"):
        return "array", lambda: _array(obj, sketch=sketch)
    if library == "scipy":
        return "sparse", lambda: _sparse(obj, sketch=sketch)
    if library is not None:
        return "frame", lambda: _frame(obj, library, profile=profile, sketch=sketch)
    if isinstance(obj, (str, PurePath)):
        return _place(os.fspath(obj), content=content, options=options)
    if can_describe(obj):
        return "array", lambda: _several(_parts(obj), profile=profile, sketch=sketch)
    return None


def _array(obj: Any, *, sketch: bool) -> DatasetFacts:
    from modelkeep.capture.frames.arrays import facts_of_array

    return facts_of_array(obj, sketch=sketch)


def _sparse(obj: Any, *, sketch: bool) -> DatasetFacts:
    from modelkeep.capture.frames.arrays import facts_of_sparse

    return facts_of_sparse(obj, sketch=sketch)


def _place(path: str, *, content: bool, options: Mapping[str, Any]) -> Work:
    from modelkeep.capture.frames import files, pointers, urls
    from modelkeep.capture.frames.addresses import is_url

    if is_url(path):
        return "url", lambda: urls.facts_of_url(path, options, content=content)
    if pointers.is_pointer(path):
        return "pointer", lambda: pointers.facts_of_pointer(path)
    return "folder" if os.path.isdir(path) else "file", lambda: files.facts_of_path(path)  # noqa: PTH112


def _frame(obj: Any, library: str, *, profile: bool, sketch: bool) -> DatasetFacts:
    from modelkeep.capture.frames.table import tell

    columns, apart = columns_of(obj, library)
    told = tell(columns, profile=profile, sketch=sketch, apart=apart)
    notes = ("the index has no name and counts as a column; reset_index(drop=True) leaves it out",) if apart else ()
    return DatasetFacts(
        kind="frame",
        fingerprint=told.fingerprint,
        rows=told.rows if columns else _rows(obj),
        columns=len(columns),
        size=told.size,
        schema=told.schema,
        types=told.types,
        profile=told.profile,
        sketch=told.sketch,
        notes=(*told.notes, *notes),
    )


def _rows(obj: Any) -> int:
    return int(getattr(obj, "num_rows", None) or len(obj) if hasattr(obj, "__len__") else 0)


def columns_of(obj: Any, library: str) -> tuple[list[tuple[str, Any]], frozenset[str]]:
    """The columns of a frame, and the names of those that are no part of a row.

    Raises:
        UnknownColumnError: one has no form, or all of them are not computed yet.
    """
    from modelkeep.capture.frames import arrow, pandas
    from modelkeep.capture.frames.columns import UnknownColumnError
    from modelkeep.capture.frames.table import read_all

    if library == "pandas":
        apart = frozenset({"__index_level_0__"} if pandas.has_row_numbers(obj) else ())
        return read_all(pandas.columns_of(obj), pandas.column_of_series), apart
    if library == "polars":
        if not hasattr(obj, "to_arrow"):
            raise UnknownColumnError("lazy; collect() it, or give the frame that is computed")
        series = obj.get_columns() if hasattr(obj, "get_columns") else [obj]
        return read_all(((one.name, one) for one in series), pandas.column_of_polars), frozenset()
    table = _table(obj)
    pairs = zip(table.column_names, table.columns, strict=True) if hasattr(table, "column_names") else [("0", table)]
    return read_all(pairs, arrow.column_of), frozenset()


def _table(obj: Any) -> Any:
    """A table of pyarrow; a dataset is read if it is not too large."""
    if not hasattr(obj, "to_table"):
        return obj
    from modelkeep.capture.frames.columns import UnknownColumnError

    paths: Sequence[str] = getattr(obj, "files", ())
    files = getattr(obj, "filesystem", None)
    size = sum(one.size or 0 for one in files.get_file_info(list(paths))) if files is not None else 0
    if size > _MOST:
        raise UnknownColumnError(f"files of {size} bytes, too large to be read into memory; give their folder or URL")
    return obj.to_table()


def _several(parts: list[tuple[str, Any]], *, profile: bool, sketch: bool) -> DatasetFacts:
    """Arrays and frames side by side: the facts of each, in their order, make the fingerprint."""
    from modelkeep.digest import digest_of

    told = [(name, describe(part, profile=profile, sketch=sketch)) for name, part in parts]
    notes = tuple(f"{name}: {note}"[:1000] for name, one in told for note in one.notes)[:50]
    rows = {one.rows for _, one in told}
    known = [f"{len(name)} {name!r} {one.fingerprint}" for name, one in told]
    whole = all(one.fingerprint is not None for _, one in told)
    return DatasetFacts(
        kind="array",
        fingerprint=f"list-1:{digest_of('list-1', *known)}" if whole else None,
        rows=rows.pop() if len(rows) == 1 else None,
        size=None if any(one.size is None for _, one in told) else sum(one.size or 0 for _, one in told),
        types={name[:100]: str(one.schema)[:200] for name, one in told},
        notes=notes,
    )
