"""Which version a loaded object came from, so that a save of it knows its parent without being told.

Only objects that take a weak reference are remembered, and only as long as they live.
"""

from __future__ import annotations

import weakref
from typing import Any

from modelkeep.version import Parent

_known: dict[int, tuple[weakref.ref[Any], Parent]] = {}


def remember(obj: object, parent: Parent) -> None:
    """Note that *obj* was loaded from *parent*; nothing is noted where no weak reference can be had."""
    key = id(obj)
    try:
        _known[key] = (weakref.ref(obj, lambda _: _known.pop(key, None)), parent)
    except TypeError:
        return


def origin(obj: object) -> Parent | None:
    """The version that *obj* was loaded from, or None."""
    found = _known.get(id(obj))
    return found[1] if found and found[0]() is obj else None
