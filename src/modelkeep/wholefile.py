"""A file of the user's, such as a page or a pointer, that is written whole or not at all."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path


def write_whole(target: Path, text: bytes, *, overwrite: bool) -> None:
    """Write to a file beside *target*, and give it that name at the end.

    Args:
        target: the file; its folder must be there.
        text: what it is to hold.
        overwrite: also where something has the name; it then is the old file or the new one at any moment.

    Raises:
        FileExistsError: *target* is there, and not to be overwritten.
        OSError: it cannot be written; may name the file beside, which nobody named.

    Example:
        >>> place = getfixture("tmp_path") / "page.html"
        >>> write_whole(place, b"<p>", overwrite=False)
        >>> place.read_bytes()
        b'<p>'
    """
    beside = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            beside.replace(target)
        else:
            _name(beside, target)
    finally:
        with suppress(OSError):
            beside.unlink()


def _name(beside: Path, target: Path) -> None:
    """Give a finished file a name that nothing has."""
    try:
        target.hardlink_to(beside)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links: who comes between these two lines loses
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        beside.replace(target)
