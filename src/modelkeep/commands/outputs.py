"""Files that commands write for others: whole, or not at all."""

from __future__ import annotations

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write *text* to the file at *path*, in place of what lies there; if that fails, what lies there stays.

    Raises:
        OSError: it cannot be written; names *path*.
    """
    from modelkeep.wholefile import write_whole

    place = path.resolve()  # a link stays one
    try:
        if place.exists() and not place.is_file():
            place.write_text(text, encoding="utf-8")  # a pipe or /dev/null is written to, and must not be replaced
        else:
            write_whole(place, text.encode(), overwrite=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
