"""Where files are written for the user: into folders that can be, and never over what is there."""

from __future__ import annotations

import os
from pathlib import Path

from modelkeep.errors import InvalidValueError, shown


def check_free(target: Path) -> None:
    """Raises `InvalidValueError` if something lies at *target* already."""
    if os.path.lexists(target):
        raise InvalidValueError(f"{target} exists already; choose an empty folder", path=str(target))


def path_of(folder: object) -> Path:
    """What was given as a folder, as a path.

    Raises:
        InvalidValueError: it is neither text nor a path.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise InvalidValueError(f"{shown(folder)} is no folder; give text or a path", key="folder")
    return Path(folder)


def check_way(folder: Path, target: Path) -> None:
    """Raises `InvalidValueError` if a link below *folder* leads the way to *target* elsewhere."""
    way = folder
    for part in target.relative_to(folder).parts[:-1]:
        way /= part
        if os.path.islink(way):  # noqa: PTH114  a name that is too long is none, and told of later
            raise InvalidValueError(
                f"{way} is a link, and may lead out of {folder}; choose an empty folder", path=str(way)
            )


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


def empty_folder(folder: object) -> Path:
    """*folder* as a path, made if need be.

    Raises:
        InvalidValueError: it is not empty, or cannot be a folder.
    """
    target = path_of(folder)
    make_folder(target)
    if any(target.iterdir()):
        raise InvalidValueError(f"{target} is not empty; choose an empty folder", path=str(target))
    return target
