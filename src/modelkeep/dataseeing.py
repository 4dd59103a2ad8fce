"""The one place where stored datasets meet what looks at data: facts as plain values in, facts as plain values out.

What looks at data imports NumPy and more, so it is imported when there is data to look at.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# by name, so that this release stands without them; once they are there, these become plain imports
_FACTS, _FRAMES = "modelkeep.dataset", "modelkeep.capture.frames"
Seen = dict[str, Any]  # facts of a dataset as plain values of JSON; see `modelkeep.dataset.DatasetFacts`


def _frames() -> Any:
    try:
        return importlib.import_module(_FRAMES)
    except ModuleNotFoundError:  # a build without it
        return None


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
    frames = _frames()
    if frames is None:
        return {"kind": "unknown", "notes": ["unknown: nothing here looks at data"], **({"role": role} if role else {})}
    facts = frames.describe(data, role=role, profile=profile, storage_options=storage_options)
    found: Seen = facts.to_json()
    return found


def is_data(obj: object) -> bool:
    """Whether *obj* is data, or the place of some; a text that is neither may be a reference."""
    frames = _frames()
    if frames is None:
        return isinstance(obj, PurePath) or (isinstance(obj, str) and ("://" in obj or os.path.exists(obj)))  # noqa: PTH110
    return bool(frames.can_describe(obj))


def as_facts(found: Seen) -> Any:
    """The same as `DatasetFacts`.

    Raises:
        InvalidValueError: it is something else.
    """
    try:
        facts = importlib.import_module(_FACTS)
    except ModuleNotFoundError:
        return found
    return facts.DatasetFacts.from_json(found)


def equal(first: str | None, second: object) -> bool | None:
    """Whether two fingerprints are those of equal data; None if that cannot be told."""
    if first is None or not isinstance(second, str) or first.partition(":")[0] != second.partition(":")[0]:
        return None
    return first == second


def difference(old: Any, new: Any, key: Any) -> Any:
    """What is otherwise in *new*: frames, or the facts of two datasets."""
    frames = importlib.import_module(_FRAMES)
    return frames.diff(old, new, key=key)


def overlap(first: Seen, second: Seen) -> dict[str, Any] | None:
    """The share of the rows of *second* that are in *first*, too; None if there is none, or it cannot be told."""
    if "sketch" not in first or "sketch" not in second:
        return None
    found = importlib.import_module(_FRAMES).overlap_of(as_facts(first), as_facts(second))
    if found is None or not found.share:
        return None
    return {"share": found.share, "low": found.low, "high": found.high}
