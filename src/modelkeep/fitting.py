"""Whether inputs fit a signature, and inputs with their columns as the signature has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from modelkeep.errors import InvalidValueError, SignatureError, shown
from modelkeep.samples import family, names_of, schema_of
from modelkeep.schema import Columns, Lists, Schema, Values

_SHOWN = 10
_EXACT = {
    "bfloat16": 1 << 8,
    "float16": 1 << 11,
    "float32": 1 << 24,
    "float64": 1 << 53,
}  # the whole numbers up to there
_WIDER = {  # what takes each dtype without loss, beside itself; whole numbers are looked at one by one
    "bool": {"float16", "bfloat16", "float32", "float64"},
    "float16": {"float32", "float64", "complex64", "complex128"},
    "bfloat16": {"float32", "float64", "complex64", "complex128"},
    "float32": {"float64", "complex64", "complex128"},
    "float64": {"complex128"},
    "complex64": {"complex128"},
    "date": {"datetime"},
}


def fitted(inputs: Any, wanted: Schema) -> Any:
    """Give back *inputs* with the columns that are *wanted*, in their order, and no others.

    Raises:
        SignatureError: they do not fit; names each column, what came and what is wanted.
    """
    try:
        found = schema_of(inputs)
    except InvalidValueError as error:
        raise SignatureError(f"the inputs do not fit the signature: {error}", faults=[str(error)]) from None
    faults = misfits(found, wanted)
    if faults:
        more = f"\n- and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        listed = "".join(f"\n- {fault}" for fault in faults[:_SHOWN])
        raise SignatureError(
            f"the inputs do not fit the signature:{listed}{more}\nmend them; version.signature has all that is wanted",
            faults=faults,
        )
    return _chosen(inputs, found, wanted)


def misfits(found: Schema, wanted: Schema) -> list[str]:
    """Why values of one schema do not fit another, a sentence for each column; empty where all fit.

    Example:
        >>> misfits(Values("float64"), Values("int64"))
        ['the inputs: float64 came, and int64 is wanted']
    """
    return list(_faults("", found, wanted))


def _faults(path: str, found: Schema, wanted: Schema) -> Iterator[str]:
    here = f"column {path!r}" if path else "the inputs"
    if isinstance(wanted, Values) and wanted.dtype == "object":
        return
    if isinstance(wanted, Columns) and isinstance(found, Columns):
        yield from _column_faults(path, found, wanted)
    elif isinstance(wanted, Values) and isinstance(found, Values):
        yield from (f"{here}: {fault}" for fault in _value_faults(found, wanted))
    elif isinstance(wanted, Lists) and (inner := _inner(found)) is not None:
        yield from _faults(path, inner, wanted.items)
    else:
        yield f"{here}: {_said(found)} came, and {_said(wanted)} are wanted"
    if not isinstance(wanted, Values) and not isinstance(found, Values) and found.nullable and not wanted.nullable:
        yield f"{here}: rows are missing, and none may be"


def _said(schema: Schema) -> str:
    return f"values of {schema}" if isinstance(schema, Values) else str(schema)


def _inner(found: Schema) -> Schema | None:
    """What lies in the lists of a column; arrays of one length are lists, too."""
    if isinstance(found, Lists):
        return found.items
    if isinstance(found, Values) and len(found.shape) > 1:
        return attrs.evolve(found, shape=found.shape[1:])
    return None


def _column_faults(path: str, found: Columns, wanted: Columns) -> Iterator[str]:
    for name, field in wanted.fields.items():
        inner = f"{path}.{name}" if path else name
        if name in found.fields:
            yield from _faults(inner, found.fields[name], field)
        if name not in found.fields or (name in found.optional and name not in wanted.optional):
            if name in wanted.optional:
                continue
            some = "is missing in some rows" if name in found.fields else "is missing"
            yield f"column {inner!r} {some}; {_said(field)} are wanted, and {found} came"


def _value_faults(found: Values, wanted: Values) -> Iterator[str]:
    if not _widens(found, wanted):
        span = found.span if found.span and wanted.dtype in _EXACT else None
        why = f" (from {span[0]} to {span[1]})" if span else ""
        yield f"{found.dtype}{why} came, and {wanted.dtype} is wanted"
    elif wanted.categories is not None and found.categories is not None:
        unknown = [one for one in found.categories if one not in wanted.categories]
        if unknown:
            yield f"the categories {shown(unknown[:3])} came, and {shown(list(wanted.categories[:10]))} are wanted"
    if found.nullable and not wanted.nullable:
        yield "values are missing, and none may be"
    if not _same_shape(found.shape, wanted.shape):
        yield f"shape {_spelled(found.shape)} came, and {_spelled(wanted.shape)} is wanted"


def _widens(found: Values, wanted: Values) -> bool:
    come, to = found.dtype, wanted.dtype
    if come in (to, "null") or to in _WIDER.get(come, ()) or (come == "object" and found.shape[:1] == (0,)):
        return True
    if "int" in come or (come == "bool" and "int" in to):
        return _holds(to, found, come)
    if {come, to} == {"string", "category"}:
        kinds = found.categories if come == "category" else wanted.categories
        return kinds is None or all(isinstance(one, str) for one in kinds)
    return found.loose and (come, to) in _GUESSES


# what Python writes as one type, and frames and arrays as several
_GUESSES = {("float64", one) for one in ("float16", "bfloat16", "float32")} | {("datetime", "date")}


def _holds(to: str, found: Values, come: str) -> bool:
    """Whether a dtype takes whole numbers of another without loss: all that can be, or for floats those that came."""
    if come == "bool":
        return True
    if to in _EXACT:
        low, high = found.span or (0, 0)
        return -_EXACT[to] <= low and high <= _EXACT[to]
    if "int" not in to:
        return False
    low, high = (found.span or (0, 0)) if found.loose else _range(come)
    return _range(to)[0] <= low and high <= _range(to)[1]


def _range(word: str) -> tuple[int, int]:
    bits = int(word.rpartition("int")[2])
    return (0, (1 << bits) - 1) if word.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)


def _same_shape(found: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        want is None or come is None or come == want for come, want in zip(found, wanted, strict=True)
    )


def _spelled(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


# -- the columns that are wanted ---------------------------------------------------------------------------------


def _chosen(inputs: Any, found: Schema, wanted: Schema) -> Any:
    if not isinstance(found, Columns) or not isinstance(wanted, Columns):
        return inputs
    names = [name for name in wanted.fields if name in found.fields]
    if isinstance(inputs, Mapping):
        by_text = {str(name): name for name in inputs}
        parts = {by_text[n]: _chosen(inputs[by_text[n]], found.fields[n], wanted.fields[n]) for n in names}
        same = names == list(by_text) and all(parts[name] is inputs[name] for name in parts)
        return inputs if same else parts
    if isinstance(inputs, (list, tuple)):
        rows = [_row(row, names) if isinstance(row, Mapping) else row for row in inputs]
        return inputs if all(new is old for new, old in zip(rows, inputs, strict=True)) else type(inputs)(rows)
    return inputs if list(found.fields) == names else _picked(inputs, names)


def _row(row: Mapping[Any, Any], names: list[str]) -> Mapping[Any, Any]:
    by_text = {str(name): name for name in row}
    own = [name for name in names if name in by_text]
    return row if own == list(by_text) else {by_text[name]: row[by_text[name]] for name in own}


def _picked(frame: Any, names: list[str]) -> Any:
    """A frame, or an array with named fields, with these columns."""
    library = family(frame)
    if library == "numpy":
        return frame[names]
    here = names_of(frame)
    order = [here.index(name) for name in names]
    if library == "pandas":
        return frame.iloc[:, order]
    return frame.select(names) if library == "polars" else frame.select([frame.column_names[index] for index in order])
