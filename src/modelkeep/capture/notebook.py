"""The cells of a notebook or an IPython console as they were executed, in that order, which need not be the file's."""

from __future__ import annotations

import sys
from typing import Any

from modelkeep.redaction import redacted

MAX_CELL, MAX_ALL = 64 * 1024, 1 << 20  # characters
_MAX_CELLS = 1000


def executed_cells() -> tuple[list[dict[str, Any]], list[str]]:
    """What was executed so far, the running cell included, and notes on what was left out; never an error.

    Returns:
        For each cell its number (``In [3]`` is 3) and its text, redacted; and notes.

    Example:
        >>> executed_cells()
        ([], ['cells: unknown: this is not IPython'])
    """
    module = sys.modules.get("IPython")  # where it is not loaded, no cell was executed
    try:
        shell = module.get_ipython() if module else None
        history = list(shell.history_manager.input_hist_raw) if shell else None
    except Exception as error:  # noqa: BLE001  any kind of shell may call itself IPython
        return [], [f"cells: unknown: {type(error).__name__}"]
    if history is None:
        return [], ["cells: unknown: this is not IPython"]
    return _kept(history)


def _kept(history: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    cells: list[dict[str, Any]] = []
    notes: list[str] = []
    left = MAX_ALL
    numbered = [(i, text) for i, text in enumerate(history) if i and isinstance(text, str)]
    for number, text in reversed(numbered):
        kept = redacted(text)
        if len(kept) > MAX_CELL:
            kept = f"{kept[:MAX_CELL]}\n[cut: {len(kept) - MAX_CELL} more characters]"
        left -= len(kept)
        if left < 0 or len(cells) == _MAX_CELLS:
            notes.append(f"cells: the first {number} were left out, since there are many")
            break
        cells.append({"number": number, "text": kept})
    return cells[::-1], notes
