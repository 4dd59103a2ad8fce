"""What a notebook shows of a dataset: its facts, and of each column the type, range and spread of its values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from modelkeep.dataset import LEVELS, ColumnProfile, DatasetFacts
from modelkeep.markup import Child, facts, tag
from modelkeep.schema import Columns
from modelkeep.usable import UsableVersion
from modelkeep.views.shapes import MAX_ROWS, attempted, badges, bounded, clipped, picture, safely, spelled, unread, when

_WIDTH, _HEIGHT, _EDGE = 130, 18, 3  # pixels of a strip
_MAX_TOP = 5
_HEAD = ("column", "type", "missing", "least", "median", "greatest", "spread", "distinct", "most frequent")


def dataset_html(title: str, version: UsableVersion, read: Callable[[], DatasetFacts]) -> str:
    """A version of a dataset: schema and profile. One request, once, and a GET for its aliases.

    Args:
        title: how it is called.
        version: what it is in its line.
        read: gives its facts.
    """
    return safely(title, lambda: _dataset(title, version, read))


def _dataset(title: str, version: UsableVersion, read: Callable[[], DatasetFacts]) -> Child:
    saved = {"digest": version.digest, "saved": f"{when(version.created)} UTC by {clipped(version.author)}"}
    heading = [tag("h3", f"Dataset {title}"), attempted("the aliases", lambda: badges(version.aliases, "good"))]
    try:
        known = read()
    except Exception as error:  # noqa: BLE001  of what is purged or out of reach, the journal still tells some
        return [heading, facts(saved), unread("what is known of the data", error)]
    notes = [tag("p", clipped(note), class_="soft") for note in known.notes]
    return [heading, facts(saved | _told(version, known)), notes, attempted("the columns", lambda: columns(known))]


def _told(version: UsableVersion, known: DatasetFacts) -> dict[str, Child]:
    """What the record tells, but for the columns."""
    source = [f"{name}: {clipped(text)}" for name, text in known.source.items()]
    return {
        "kind": known.kind,
        "rows": None if known.rows is None else f"{known.rows:,}",
        "columns": None if known.columns is None else f"{known.columns:,}",
        "fingerprint": known.fingerprint,
        "source": badges(source) or None,
        "data": "kept" if version.params.get("kept") is True else "not kept, facts alone",
        "notes": clipped(version.notes, 2000) or None,
    }


def columns(known: DatasetFacts) -> Child:
    """The type, range and spread of each column, as a table; None where there is no schema."""
    if not isinstance(known.schema, Columns):
        return None if known.schema is None else facts({"values": clipped(str(known.schema))})
    fields, profile = known.schema.fields, known.profile or {}
    rows = [
        [clipped(name), known.types.get(name) or clipped(str(field)), *_counted(profile.get(name), known.rows)]
        for name, field in list(fields.items())[:MAX_ROWS]
    ]
    return bounded(_HEAD if profile else _HEAD[:2], rows, len(fields), rest="dataset.schema, dataset.profile")


def _counted(found: ColumnProfile | None, rows: int | None) -> Sequence[Child]:
    if found is None:
        return []
    middle = found.quantiles[LEVELS.index(0.5)] if found.quantiles else None
    share = f"{found.nulls:,} ({found.nulls / rows:.1%})" if rows and found.nulls else found.nulls
    top = [_frequent(value, count) for value, count in found.top[:_MAX_TOP]]
    least, median, greatest = (_measured(value, found.of) for value in (found.minimum, middle, found.maximum))
    distinct = "> 100" if found.distinct is None else found.distinct
    return [share, least, median, greatest, strip(found), distinct, top]


def _frequent(value: str | float, count: int) -> Child:
    return [tag("span", f"{clipped(str(spelled(value)), 40)} ({count:,})", class_="whole"), " "]


def _measured(value: float | None, of: str) -> Child:
    """A value of a column as people read it: seconds since 1970 as a moment, a length as one."""
    if value is None:
        return None
    if of == "seconds":
        try:
            return tag("span", when(datetime.fromtimestamp(value, UTC)).removesuffix(" 00:00"), class_="whole")
        except (ValueError, OverflowError, OSError):  # beyond the calendar
            return spelled(value)
    return f"length {value:.6g}" if of == "length" else spelled(value)


def strip(found: ColumnProfile) -> Element | None:
    """The spread of a column from its least value to its greatest: 90 % and 60 % of the rows, and the median.

    Example:
        >>> strip(ColumnProfile(nulls=0, minimum=0, maximum=1)) is None
        True
    """
    low, high, at = found.minimum, found.maximum, dict(zip(LEVELS, found.quantiles, strict=False))
    if low is None or high is None or not at or not 0 < high - low < math.inf:
        return None

    def x(level: float) -> float:
        share = (at[level] - low) / (high - low)
        return _EDGE + (_WIDTH - 2 * _EDGE) * min(1.0, max(0.0, share))  # a NaN falls to the left

    middle = _HEIGHT / 2
    bars = [
        tag("rect", x=x(a), y=middle - half, width=max(1.0, x(b) - x(a)), height=2 * half, class_=kind)
        for a, b, half, kind in ((0.05, 0.95, 3, "band"), (0.2, 0.8, 5, "mark"))
    ]
    median = tag("line", x1=x(0.5), x2=x(0.5), y1=1, y2=_HEIGHT - 1, class_="tick")
    axis = tag("line", x1=_EDGE, x2=_WIDTH - _EDGE, y1=middle, y2=middle, class_="axis")
    label = f"5 %: {at[0.05]:.6g}, 20 %: {at[0.2]:.6g}, 50 %: {at[0.5]:.6g}, 80 %: {at[0.8]:.6g}, 95 %: {at[0.95]:.6g}"
    drawn = (tag("title", label), axis, bars, median)
    return picture(_WIDTH, _HEIGHT, label, *drawn)
