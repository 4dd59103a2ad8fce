"""`diff`: what changed from one dataset to another, by rows where both are at hand, else by what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from modelkeep.capture.frames import drift
from modelkeep.capture.frames.columns import BLOCK, MOMENTS, TEXTS, Array, Column, UnknownColumnError
from modelkeep.capture.frames.counting import measure
from modelkeep.capture.frames.describing import columns_of, family
from modelkeep.capture.frames.drift import Drift
from modelkeep.capture.frames.rowhash import column_bits
from modelkeep.capture.frames.sketching import Overlap, overlap, overlap_of_rows
from modelkeep.capture.frames.table import row_hashes
from modelkeep.dataset import DatasetFacts
from modelkeep.errors import InvalidValueError, shown
from modelkeep.schema import Columns, Schema


@attrs.frozen(kw_only=True)
class DatasetDiff:
    """What changed from one dataset to another.

    Args:
        same: whether both have one fingerprint, or one content; None if that is not known.
        rows: how many there were, and are.
        added: rows that are new: by key, else equal rows are matched with each other; None if not known.
        removed: rows that are gone.
        changed: rows of the same key that differ in a column of both; None without a key.
        changed_values: of each column that differs in a row of the same key, in how many.
        columns_added: names.
        columns_removed: names.
        columns_retyped: what each was, and is.
        drift: of each column of both, where it can be told.
    """

    same: bool | None
    rows: tuple[int | None, int | None]
    added: int | None = None
    removed: int | None = None
    changed: int | None = None
    changed_values: dict[str, int] = attrs.field(factory=dict)
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    columns_retyped: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    drift: dict[str, Drift] = attrs.field(factory=dict)


def diff(old: Any, new: Any, key: str | Sequence[str] | None = None) -> DatasetDiff:
    """What changed from *old* to *new*: two frames of any library, or two `DatasetFacts`.

    Args:
        old: before.
        new: now.
        key: columns that name a row; of frames alone.

    Raises:
        InvalidValueError: they are no such pair, a key is missing or names two rows, or a column has no form.

    Example:
        >>> import pandas as pd
        >>> old = pd.DataFrame({"id": [1, 2, 3], "x": [5, 6, 7]})
        >>> found = diff(old, pd.DataFrame({"id": [1, 2, 4], "x": [5, 9, 7]}), key="id")
        >>> found.added, found.removed, found.changed, found.changed_values
        (1, 1, 1, {'x': 1})
    """
    if isinstance(old, DatasetFacts) and isinstance(new, DatasetFacts):
        return _of_facts(old, new)
    before, now = _columns(old), _columns(new)
    both = [name for name in before if name in now]
    names = (key,) if isinstance(key, str) else tuple(key or ())
    _check_keys(names, both)
    rows = (_rows(before), _rows(now))
    kept: dict[str, Any] = {
        "rows": rows,
        "columns_added": tuple(name for name in now if name not in before),
        "columns_removed": tuple(name for name in before if name not in now),
        "columns_retyped": _retyped(before, now, both),
        "drift": {name: found for name in both if (found := _drift(before[name], now[name])) is not None},
    }
    counted = _by_key(before, now, both, names) if names else _by_rows(before, now, both)
    same = not any((*counted.values(), kept["columns_added"], kept["columns_removed"], kept["columns_retyped"]))
    return DatasetDiff(same=same, **kept, **counted)


def _columns(frame: Any) -> dict[str, Column]:
    library = family(frame)
    if library not in ("pandas", "polars", "pyarrow"):
        raise InvalidValueError(f"{shown(frame):.80} is no frame; give two frames, or two DatasetFacts", key="data")
    try:
        columns, apart = columns_of(frame, library)
    except UnknownColumnError as error:
        raise InvalidValueError(f"these frames cannot be compared: {error}", key="data") from None
    found = {name: column for name, column in columns if name not in apart}
    if len(found) < len(columns) - len(apart):
        raise InvalidValueError("two columns have one name; name them apart", key="data")
    return found


def _check_keys(names: Sequence[str], both: Sequence[str]) -> None:
    missing = [name for name in names if name not in both]
    if missing:
        raise InvalidValueError(f"the key {missing[0]!r} is no column of both; they share {', '.join(both)}", key="key")


def _rows(columns: dict[str, Column]) -> int:
    return next(iter(columns.values())).rows if columns else 0


def _retyped(before: dict[str, Column], now: dict[str, Column], both: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of which columns the dtype is another; whole numbers that became float64 for a missing value count, too."""
    pairs = {name: (before[name].dtype or before[name].word, now[name].dtype or now[name].word) for name in both}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# -- rows --------------------------------------------------------------------------------------------------------------


def _by_rows(before: dict[str, Column], now: dict[str, Column], both: Sequence[str]) -> dict[str, Any]:
    """Rows as a bag: of equal ones as many are matched as there are on both sides."""
    old, new = (row_hashes([(name, side[name]) for name in both]) for side in (before, now))
    values, counts = np.unique(old, return_counts=True)
    others, more = np.unique(new, return_counts=True)
    _, here, there = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    matched = int(np.minimum(counts[here], more[there]).sum())
    return {"added": len(new) - matched, "removed": len(old) - matched}


def _by_key(
    before: dict[str, Column], now: dict[str, Column], both: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    old, new = (_keys(side, names) for side in (before, now))
    _, here, there = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    differs = np.zeros(len(here), bool)
    counts = {}
    for name in both:
        if name not in names:
            moved = column_bits(before[name])[here] != column_bits(now[name])[there]
            differs |= moved
            counts[name] = int(np.count_nonzero(moved))
    return {
        "added": len(new) - len(there),
        "removed": len(old) - len(here),
        "changed": int(np.count_nonzero(differs)),
        "changed_values": {name: count for name, count in counts.items() if count},
    }


def _keys(side: dict[str, Column], names: Sequence[str]) -> Array:
    found = row_hashes([(name, side[name]) for name in names])
    twice = len(found) - len(np.unique(found))
    if twice:
        raise InvalidValueError(
            f"the key {', '.join(names)} names {twice} rows that another has, too; give one that names each row once",
            key="key",
        )
    return found


# -- drift -------------------------------------------------------------------------------------------------------------


def _drift(old: Column, new: Column) -> Drift | None:
    if "struct" in (old.word, new.word) or _ordered(old) != _ordered(new):
        return None
    read = _measured if _ordered(old) else _hashed
    (before, gone), (now, missing) = read(old), read(new)
    nulls = (gone / old.rows if old.rows else 0.0, missing / new.rows if new.rows else 0.0)
    return (drift.of_values if _ordered(old) else drift.of_hashes)(before, now, nulls)


def _ordered(column: Column) -> bool:
    return column.word in MOMENTS or column.word not in {*TEXTS, "list", "null", "complex64", "complex128"}


def _measured(column: Column) -> tuple[Array, int]:
    parts, gone = [np.zeros(0)], 0
    for start in range(0, column.rows, BLOCK):
        block = column.read(start, min(start + BLOCK, column.rows))
        values = measure(column.word, block).astype("f8")
        parts.append(values if block.valid is None else values[block.valid])
        gone += 0 if block.valid is None else block.rows - int(np.count_nonzero(block.valid))
    return np.concatenate(parts), gone


def _hashed(column: Column) -> tuple[Array, int]:
    valid = [np.zeros(0, bool)]
    for start in range(0, column.rows, BLOCK):
        block = column.read(start, min(start + BLOCK, column.rows))
        valid.append(np.ones(block.rows, bool) if block.valid is None else block.valid)
    there = np.concatenate(valid)
    return column_bits(column)[there], int(column.rows - np.count_nonzero(there))


# -- facts -------------------------------------------------------------------------------------------------------------


def _of_facts(old: DatasetFacts, new: DatasetFacts) -> DatasetDiff:
    before, now = _fields(old.schema), _fields(new.schema)
    both = [name for name in before if name in now]
    profiles = [(name, (old.profile or {}).get(name), (new.profile or {}).get(name)) for name in both]
    rows = (old.rows or 0, new.rows or 0)
    drifts = {
        name: found
        for name, then, here in profiles
        if then is not None and here is not None and (found := drift.of_profiles(then, here, rows)) is not None
    }
    words = {name: (_dtype(before[name]), _dtype(now[name])) for name in both}
    return DatasetDiff(
        same=old.same_as(new),
        rows=(old.rows, new.rows),
        columns_added=tuple(name for name in now if name not in before),
        columns_removed=tuple(name for name in before if name not in now),
        columns_retyped={name: pair for name, pair in words.items() if pair[0] != pair[1]},
        drift=drifts,
    )


def _fields(schema: Schema | None) -> dict[str, Schema]:
    return dict(schema.fields) if isinstance(schema, Columns) else {}


def _dtype(schema: Schema) -> str:
    return str(getattr(schema, "dtype", type(schema).__name__.lower()))


def overlap_of(first: Any, second: Any) -> Overlap | None:
    """The share of the different rows of *second* that are in *first*, too; None where that cannot be told.

    Exact for two frames, by the columns that both have. Of two `DatasetFacts` it is told by their sketches.

    Args:
        first: the training data, say.
        second: the validation data.

    Example:
        >>> import pandas as pd
        >>> str(overlap_of(pd.DataFrame({"x": [1, 2, 3]}), pd.DataFrame({"x": [3, 4]})))
        '50.0 %'
    """
    if isinstance(first, DatasetFacts) and isinstance(second, DatasetFacts):
        return overlap(first.sketch, second.sketch)
    try:
        here, there = _columns(first), _columns(second)
    except InvalidValueError:
        return None
    both = sorted(name for name in here if name in there)
    if not both:
        return None
    hashes = [row_hashes([(name, side[name]) for name in both]) for side in (here, there)]
    return overlap_of_rows(hashes[0], hashes[1])
