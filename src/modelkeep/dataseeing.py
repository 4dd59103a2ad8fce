"""The one place where stored datasets meet what looks at data: facts as plain values in, facts as plain values out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkeep.capture import frames
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
    return frames.describe(data, role=role, profile=profile, storage_options=storage_options).to_json()


def overlap(first: Seen, second: Seen) -> dict[str, Any] | None:
    """The share of the rows of *second* that are in *first*, too; None if there is none, or it cannot be told."""
    if "sketch" not in first or "sketch" not in second:
        return None
    found = frames.overlap_of(DatasetFacts.from_json(first), DatasetFacts.from_json(second))
    if found is None or not found.share:
        return None
    return {"share": found.share, "low": found.low, "high": found.high}
