"""Whose line a warning blames: the nearest one that is not ours."""

from __future__ import annotations

import inspect
import warnings
from contextlib import suppress

_OURS = __name__.partition(".")[0]


def level_above_us() -> int:
    """The ``stacklevel`` by which `warnings.warn`, called by whoever called this, names the first line outside."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in (_OURS, "contextlib"):
        frame, level = frame.f_back, level + 1
    return level


def warn_caller(message: str) -> None:
    """Warn at the line that called us; where warnings are errors this one is not, since work goes on behind it."""
    with suppress(Warning):
        warnings.warn(message, stacklevel=level_above_us())
