"""A snapshot of the project's files that were imported, for a project without Git.

Only what Python imported from below the folder of the project can get in, so no data, no ``.env``, and nothing that is
installed; and of that nothing whose name says that it holds secrets.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from modelkeep.capture.sources import is_own, place_in
from modelkeep.digest import digest
from modelkeep.redaction import redacted

MAX_FILE, MAX_ALL, MAX_FILES = 256 * 1024, 4 << 20, 500  # characters, characters, files
_HIDDEN = re.compile(r"(?i)(^|/)(\.[^/]*|[^/]*(secret|credential|password|passwd)s?[^/]*|local_settings[^/]*)(/|$)")


def imported_files(root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The project's imported files below *root*, and notes on what was left out; never an error.

    Returns:
        For each file its path relative to *root*, its text (redacted), and the digest of that text; sorted by path.

    Example:
        >>> imported_files(Path("/nonexistent"))
        ([], [])
    """
    files: list[dict[str, Any]] = []
    notes: list[str] = []
    left = MAX_ALL
    for place, file in sorted(_places(root).items()):
        if _HIDDEN.search(place):
            notes.append(f"files: {redacted(place)} left out: by its name it may hold secrets")
            continue
        text = _text(file)
        if text is None or len(text) > min(left, MAX_FILE) or len(files) == MAX_FILES:
            notes.append(f"files: {redacted(place)} left out: it cannot be read, or there is too much")
            continue
        left -= len(text)
        files.append({"path": redacted(place), "digest": digest(text.encode()), "text": text})
    return files, notes


def _places(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        try:
            file = None if is_own(name) else vars(module).get("__file__")
        except TypeError:  # not every entry is a module
            continue
        if isinstance(file, str) and file.endswith(".py") and (place := place_in(os.path.abspath(file), root)):  # noqa: PTH100
            found[place] = file
    return found


def _text(file: str) -> str | None:
    try:
        if os.path.getsize(file) > 4 * MAX_FILE:  # noqa: PTH202  a letter has at most four bytes
            return None
        return redacted(Path(file).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
