"""Files, folders and globs on this machine: by their bytes, each read once in a process while it stays the same."""

from __future__ import annotations

import glob
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from blake3 import blake3

from modelkeep.capture.frames.columns import UnknownColumnError
from modelkeep.dataset import DatasetFacts
from modelkeep.digest import digest_of

_MAX_FILES = 200_000  # of a folder
_REMEMBERED = 10_000  # digests
_MAPPED = 1 << 20  # bytes; smaller files are read
_FRESH = 2_000_000_000  # nanoseconds; a file changed so lately may be changed again without its time telling
_MAGIC = frozenset("*?[")

Stamp = tuple[str, int, int, int]


@attrs.define
class _Digests:
    """The digests of files by path, size, time of change and inode."""

    _kept: OrderedDict[Stamp, str] = attrs.field(factory=OrderedDict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def of(self, path: str, found: os.stat_result) -> str:
        """The digest of a file; read unless it is as it was."""
        stamp = (path, found.st_size, found.st_mtime_ns, found.st_ino)
        with self._lock:
            if stamp in self._kept:
                self._kept.move_to_end(stamp)
                return self._kept[stamp]
        known = _read(path, found.st_size)
        after = os.stat(path)  # noqa: PTH116  the path is text
        if (after.st_size, after.st_mtime_ns, after.st_ino) != stamp[1:]:
            raise UnknownColumnError("changed while it was read")
        if time.time_ns() - found.st_mtime_ns > _FRESH:
            with self._lock:
                self._kept[stamp] = known
                while len(self._kept) > _REMEMBERED:
                    self._kept.popitem(last=False)
        return known

    def forget(self) -> None:
        """Read all files anew."""
        with self._lock:
            self._kept.clear()


DIGESTS = _Digests()


def _read(path: str, size: int) -> str:
    if size < _MAPPED:
        return blake3(Path(path).read_bytes()).hexdigest()
    return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


def is_pattern(path: str) -> bool:
    """Whether a path that does not exist has ``*``, ``?`` or ``[``.

    Example:
        >>> is_pattern("parts/*.parquet")
        True
    """
    return bool(_MAGIC & set(path)) and not os.path.lexists(path)


def facts_of_path(path: str) -> DatasetFacts:
    """The facts of a file, a folder, or all files that match a pattern.

    Raises:
        OSError: it cannot be read.
        UnknownColumnError: nothing matches, or it is no file; says so.
    """
    path = os.path.expanduser(path)  # noqa: PTH111  may be a pattern
    name = Path(path).name or Path(path).resolve().name
    if is_pattern(path):
        found = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207  text in, text out
        if not found:
            raise UnknownColumnError("nothing matches the pattern")
        return _facts_of_files("folder", name, _base(path), _matching(found))
    kept = os.stat(path)  # noqa: PTH116
    if stat.S_ISDIR(kept.st_mode):
        return _facts_of_files("folder", name, path, _within(path))
    if not stat.S_ISREG(kept.st_mode):
        raise UnknownColumnError("is neither a file nor a folder")
    known = DIGESTS.of(os.path.abspath(path), kept)  # noqa: PTH100
    return DatasetFacts(kind="file", fingerprint=f"file-1:{known}", size=kept.st_size, source={"name": name})


def _base(pattern: str) -> str:
    """The folder above the first part with a wildcard."""
    parts = Path(pattern).parts
    place = next((at for at, part in enumerate(parts) if _MAGIC & set(part)), len(parts))
    return str(Path(*parts[:place])) if place else "."


def _matching(found: Iterable[str]) -> Iterator[str]:
    for path in found:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            yield from _within(path)
        else:
            yield path


def _within(folder: str) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        linked = [name for name in folders if os.path.islink(os.path.join(here, name))]  # noqa: PTH114, PTH118
        yield from (os.path.join(here, name) for name in [*files, *linked])  # noqa: PTH118


def _facts_of_files(kind: str, name: str, base: str, paths: Iterable[str]) -> DatasetFacts:
    root = os.path.realpath(base)
    rows: dict[str, tuple[str, str]] = {}
    size, outside = 0, 0
    for path in paths:
        row, length = _row(path, root)
        rows[os.path.relpath(path, base).replace(os.sep, "/")] = row
        size += length
        outside += row[0] == "link"
        if len(rows) > _MAX_FILES:
            raise UnknownColumnError(f"has more than {_MAX_FILES} files")
    lines = [part for relative in sorted(rows) for part in (_line(relative), *rows[relative])]
    notes = (f"{outside} links lead out of the folder, or nowhere, and were not followed",) if outside else ()
    return DatasetFacts(
        kind=kind,
        fingerprint=f"folder-1:{digest_of('folder-1', *lines)}",
        size=size,
        source={"name": name, "files": str(len(rows))},
        notes=notes,
    )


def _row(path: str, root: str) -> tuple[tuple[str, str], int]:
    """What is hashed of one file, and its size: its digest, or where a link leads that is not followed."""
    if os.path.islink(path):  # noqa: PTH114
        target = os.path.realpath(path)
        if not os.path.isfile(target) or os.path.commonpath([root, target]) != root:  # noqa: PTH113
            return ("link", _line(os.readlink(path))), 0  # noqa: PTH115
    found = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(found.st_mode):
        return ("other", str(stat.S_IFMT(found.st_mode))), 0
    return (str(found.st_size), DIGESTS.of(os.path.abspath(path), found)), found.st_size  # noqa: PTH100


def _line(text: str) -> str:
    return os.fsencode(text).hex()
