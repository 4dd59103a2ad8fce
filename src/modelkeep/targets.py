"""Where files are written for the user: into folders that can be, and never over what is there."""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.errors import InvalidValueError


def check_free(target: Path) -> None:
    """Raises `InvalidValueError` if something lies at *target* already."""
    if os.path.lexists(target):
        raise InvalidValueError(f"{target} exists already; choose an empty folder", path=str(target))


def make_folder(folder: Path) -> None:
    """Make *folder* if need be.

    Raises:
        InvalidValueError: it cannot be one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        raise InvalidValueError(
            f"{folder} cannot be a folder: {error}; choose another place", path=str(folder)
        ) from error
