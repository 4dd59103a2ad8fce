"""The one place where stored datasets meet what looks at data: facts as plain values in, facts as plain values out.

What looks at data imports NumPy and more, so it is imported when there is data to look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkeep.dataset import DatasetFacts

Seen = dict[str, Any]  # facts of a dataset as plain values of JSON; see `modelkeep.dataset.DatasetFacts`


def seen(
    data: object,
    *,
    role: str | None = None,
    profile: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> Seen:
    """What there is to say of *data*; at most its fingerprint cannot be told, and the notes say why.

    Raises:
        InvalidValueError: it is no data.
    """
    from modelkeep.capture.frames import describe

    found: Seen = describe(data, role=role, profile=profile, storage_options=storage_options).to_json()
    return found


def is_data(obj: object) -> bool:
    """Whether *obj* is data, or the place of some; a text that is neither may be a reference."""
    from modelkeep.capture.frames import can_describe

    return bool(can_describe(obj))


def equal(first: str | None, second: object) -> bool | None:
    """Whether two fingerprints are those of equal data; None if that cannot be told."""
    if first is None or not isinstance(second, str) or first.partition(":")[0] != second.partition(":")[0]:
        return None
    return first == second


def overlap(first: Seen, second: Seen) -> dict[str, Any] | None:
    """The share of the rows of *second* that are in *first*, too; None if there is none, or it cannot be told."""
    if "sketch" not in first or "sketch" not in second:
        return None
    from modelkeep.capture.frames import overlap_of

    found = overlap_of(DatasetFacts.from_json(first), DatasetFacts.from_json(second))
    if found is None or not found.share:
        return None
    return {"share": found.share, "low": found.low, "high": found.high}
