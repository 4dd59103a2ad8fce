"""Fingerprints, schemas and profiles of datasets of any library, none of which is imported for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelkeep.capture.frames.describing import can_describe, describe
    from modelkeep.capture.frames.differing import diff, overlap_of

_WHERE = {"can_describe": "describing", "describe": "describing", "diff": "differing", "overlap_of": "differing"}

__all__ = ["can_describe", "describe", "diff", "overlap_of"]


def __getattr__(name: str) -> Any:
    """Import a function where it is first asked for."""
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
