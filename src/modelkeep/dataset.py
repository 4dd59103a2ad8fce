"""What a version says about data: `DatasetFacts`, read back from records that a stranger may have written."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Self

import attrs

from modelkeep.errors import InvalidValueError, shown
from modelkeep.schema import Columns, Schema, read_schema
from modelkeep.values import from_json, to_json

KINDS = ("frame", "array", "sparse", "file", "folder", "url", "pointer", "unknown")
LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of the quantiles of a profile
SKETCH = 256  # hashes of a sketch
MAX_PROFILED = 500  # columns of a profile
_MAX_COLUMNS, _MAX_TOP, _MAX_TEXT, _MAX_NOTES = 100_000, 100, 4096, 100
_MAX_COUNT = 1 << 63
FINGERPRINT = re.compile(r"[a-z][a-z0-9]{0,15}-[0-9]{1,4}:[0-9a-f]{16,128}")
_MEASURES = ("values", "seconds", "length")


def _refuse(what: str, value: object, wanted: str) -> InvalidValueError:
    return InvalidValueError(f"{what} of a dataset is {shown(value):.80}; {wanted}", key=what)


def _is_text(_: Any, field: Any, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise _refuse(field.name, value, f"give text of at most {_MAX_TEXT} characters")


def _is_count(_: Any, field: Any, value: Any) -> None:
    if value is not None and (type(value) is not int or not 0 <= value < _MAX_COUNT):
        raise _refuse(field.name, value, "give a whole number from 0 on")


def _is_number(_: Any, field: Any, value: Any) -> None:
    if value is not None and type(value) not in (int, float):
        raise _refuse(field.name, value, "give a number")


def _is_one_of(words: tuple[str, ...]) -> Any:
    def check(_: Any, field: Any, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            raise _refuse(field.name, value, f"it is one of {', '.join(words)}")

    return check


def _is_fingerprint(_: Any, __: Any, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and FINGERPRINT.fullmatch(value)):
        raise _refuse("fingerprint", value, "give a scheme, its number and a digest, such as 'frame-1:6b1f…'")


def _are_numbers(_: Any, field: Any, value: Any) -> None:
    if len(value) not in (0, len(LEVELS)) or any(type(one) not in (int, float) for one in value):
        raise _refuse(field.name, value, f"give {len(LEVELS)} numbers, or none")


def _are_counts(_: Any, field: Any, value: Any) -> None:
    if len(value) > _MAX_TOP:
        raise _refuse(field.name, value, f"give at most {_MAX_TOP}")
    for one, count in value:
        if type(one) not in (int, float, str) or (isinstance(one, str) and len(one) > _MAX_TEXT):
            raise _refuse(field.name, one, "give texts and numbers")
        if type(count) is not int or not 0 <= count < _MAX_COUNT:
            raise _refuse(field.name, count, "give counts")


@attrs.frozen(kw_only=True)
class ColumnProfile:
    """What is known of the values of one column.

    Args:
        nulls: rows without a value.
        of: what is measured: ``values``; ``seconds`` (of dates and times since 1970, UTC); ``length``, of text in bytes
            and of lists in items.
        minimum: the least of them.
        maximum: the greatest.
        mean: their mean.
        quantiles: those at `LEVELS`, of a sample of 10,000 rows.
        distinct: how many values differ; None if more than 100.
        top: the most frequent values with their counts, if few differ; no text that fewer than five rows have, and
            nothing that looks like a secret.
    """

    nulls: int = attrs.field(validator=_is_count)
    of: str = attrs.field(default="values", validator=_is_one_of(_MEASURES))
    minimum: float | None = attrs.field(default=None, validator=_is_number)
    maximum: float | None = attrs.field(default=None, validator=_is_number)
    mean: float | None = attrs.field(default=None, validator=_is_number)
    quantiles: tuple[float, ...] = attrs.field(default=(), validator=_are_numbers)
    distinct: int | None = attrs.field(default=None, validator=_is_count)
    top: tuple[tuple[str | float, int], ...] = attrs.field(default=(), validator=_are_counts)

    def to_json(self) -> dict[str, Any]:
        """Plain values of JSON, without what is not known."""
        kept = {name: value for name, value in attrs.asdict(self, recurse=False).items() if value not in (None, ())}
        for name in ("quantiles", "top"):
            if name in kept:
                kept[name] = [list(one) if isinstance(one, tuple) else one for one in kept[name]]
        found = to_json(kept, "profile")
        assert isinstance(found, dict)  # noqa: S101  for the type checker: a mapping becomes a dict
        return found

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote; words of a newer release are left out.

        Raises:
            InvalidValueError: it is something else.
        """
        kept = from_json(_object(value, "profile"))
        known = {field.name: kept[field.name] for field in attrs.fields(cls) if field.name in kept}
        if "nulls" not in known or known["nulls"] is None:
            raise _refuse("profile", value, "say how many values are missing")
        known["quantiles"] = tuple(_list(known.get("quantiles", []), "quantiles"))
        known["top"] = tuple(_pair(one) for one in _list(known.get("top", []), "top"))
        return cls(**known)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(what, value, "give an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _refuse(what, value, "give a list")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004  a value and its count
        raise _refuse("top", value, "give pairs of a value and a count")
    return value[0], value[1]


def _are_hashes(_: Any, __: Any, value: Any) -> None:
    if len(value) > SKETCH or list(value) != sorted(set(value)) or any(not 0 <= one < 1 << 64 for one in value):
        raise _refuse("sketch", value, f"give at most {SKETCH} numbers of 64 bits, sorted, none twice")


@attrs.frozen
class Sketch:
    """The 256 least hashes of the rows: two of them tell how many rows are in both (Broder 1997).

    Args:
        columns: a digest of the names of the columns; only rows of the same columns are compared.
        hashes: the least of the different hashes, in order.
    """

    columns: str = attrs.field(validator=_is_text)
    hashes: tuple[int, ...] = attrs.field(repr=False, validator=_are_hashes)

    def to_json(self) -> dict[str, Any]:
        """Plain values of JSON: the hashes as base64 of eight bytes each."""
        packed = b"".join(one.to_bytes(8, "little") for one in self.hashes)
        return {"columns": self.columns, "hashes": base64.b64encode(packed).decode()}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InvalidValueError: it is something else.
        """
        kept = _object(value, "sketch")
        text = kept.get("hashes")
        if not isinstance(text, str) or len(text) > 12 * SKETCH:
            raise _refuse("sketch", text, "give base64")
        try:
            packed = base64.b64decode(text, validate=True)
        except ValueError:
            raise _refuse("sketch", text, "give base64") from None
        if len(packed) % 8:
            raise _refuse("sketch", text, "give eight bytes for each hash")
        hashes = (int.from_bytes(packed[at : at + 8], "little") for at in range(0, len(packed), 8))
        return cls(kept.get("columns", ""), tuple(hashes))


def _are_texts(_: Any, field: Any, value: Any) -> None:
    if len(value) > _MAX_COLUMNS:
        raise _refuse(field.name, len(value), f"give at most {_MAX_COLUMNS}")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str) or len(text) > _MAX_TEXT:
            raise _refuse(field.name, text, "give texts by name")


def _are_notes(_: Any, field: Any, value: Any) -> None:
    if len(value) > _MAX_NOTES or any(not isinstance(one, str) or len(one) > _MAX_TEXT for one in value):
        raise _refuse(field.name, value, f"give at most {_MAX_NOTES} texts")


def _are_profiles(_: Any, __: Any, value: Any) -> None:
    if value is not None and len(value) > MAX_PROFILED:
        raise _refuse("profile", len(value), f"give at most {MAX_PROFILED} columns")


def are_equal(first: str | None, second: str | None) -> bool | None:
    """Whether two fingerprints are those of equal data; None if that cannot be told.

    Example:
        >>> are_equal("frame-1:6b1f", "frame-1:6b1f"), are_equal("frame-1:6b1f", "file-1:6b1f")
        (True, None)
    """
    if first is None or second is None or _scheme_of(first) != _scheme_of(second):
        return None
    return first == second


def _scheme_of(fingerprint: str) -> str:
    return fingerprint.partition(":")[0]


@attrs.frozen(kw_only=True)
class DatasetFacts:
    """What a version says about one dataset. No row of it is kept.

    Args:
        kind: ``frame``, ``array``, ``sparse``, ``file``, ``folder``, ``url``, ``pointer`` or ``unknown``.
        fingerprint: scheme, number of the scheme, and a digest; equal data, equal fingerprint. None: see *notes*.
        rows: how many, where there are rows.
        columns: how many, where there are columns.
        size: in bytes, of what was hashed.
        schema: names, dtypes, missing values.
        types: what the library calls the type of each column, with time zone, unit and precision.
        profile: of each column; None if it was switched off.
        source: where it came from: name of the file, URL without credentials, ETag.
        role: what it was for, such as ``train``.
        sketch: what tells the overlap with another dataset.
        notes: why something is not known.

    Example:
        >>> facts = DatasetFacts(kind="frame", fingerprint=f"frame-1:{'0' * 64}", rows=3, role="train")
        >>> facts.scheme, DatasetFacts.from_json(facts.to_json()) == facts
        ('frame-1', True)
    """

    kind: str = attrs.field(validator=_is_one_of(KINDS))
    fingerprint: str | None = attrs.field(default=None, validator=_is_fingerprint)
    rows: int | None = attrs.field(default=None, validator=_is_count)
    columns: int | None = attrs.field(default=None, validator=_is_count)
    size: int | None = attrs.field(default=None, validator=_is_count)
    schema: Schema | None = attrs.field(default=None, repr=False)
    types: Mapping[str, str] = attrs.field(factory=dict, repr=False, validator=_are_texts)
    profile: Mapping[str, ColumnProfile] | None = attrs.field(default=None, repr=False, validator=_are_profiles)
    source: Mapping[str, str] = attrs.field(factory=dict, validator=_are_texts)
    role: str | None = attrs.field(default=None, validator=attrs.validators.optional(_is_text))
    sketch: Sketch | None = attrs.field(default=None, repr=False)
    notes: tuple[str, ...] = attrs.field(default=(), validator=_are_notes)

    @property
    def scheme(self) -> str | None:
        """How the fingerprint was made: only those of one scheme can be equal."""
        return None if self.fingerprint is None else _scheme_of(self.fingerprint)

    def same_as(self, other: DatasetFacts) -> bool | None:
        """Whether both are equal data; None if that cannot be told."""
        return are_equal(self.fingerprint, other.fingerprint)

    def to_json(self) -> dict[str, Any]:
        """Plain values of JSON, without what is not known."""
        kept: dict[str, Any] = {"kind": self.kind}
        for name in ("fingerprint", "rows", "columns", "size", "role"):
            if getattr(self, name) is not None:
                kept[name] = getattr(self, name)
        for name in ("types", "source"):
            if getattr(self, name):
                kept[name] = dict(getattr(self, name))
        if self.schema is not None:
            kept["schema"] = self.schema.to_json()
        if self.profile is not None:
            kept["profile"] = {name: one.to_json() for name, one in self.profile.items()}
        if self.sketch is not None:
            kept["sketch"] = self.sketch.to_json()
        return kept | ({"notes": list(self.notes)} if self.notes else {})

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote; words of a newer release are left out.

        Raises:
            InvalidValueError: it is something else, or longer than any dataset needs.
        """
        kept = _object(value, "facts")
        known: dict[str, Any] = {"kind": kept.get("kind")}
        known |= {name: kept[name] for name in ("fingerprint", "rows", "columns", "size", "role") if name in kept}
        known |= {name: _object(kept[name], name) for name in ("types", "source") if name in kept}
        if "schema" in kept:
            known["schema"] = read_schema(kept["schema"])
        if "profile" in kept:
            profiles = _object(kept["profile"], "profile")
            if len(profiles) > MAX_PROFILED:
                raise _refuse("profile", len(profiles), f"give at most {MAX_PROFILED} columns")
            known["profile"] = {name: ColumnProfile.from_json(one) for name, one in profiles.items()}
        if "sketch" in kept:
            known["sketch"] = Sketch.from_json(kept["sketch"])
        if "notes" in kept:
            known["notes"] = tuple(_list(kept["notes"], "notes"))
        return cls(**known)

    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, where there are any."""
        return tuple(self.schema.fields) if isinstance(self.schema, Columns) else ()
