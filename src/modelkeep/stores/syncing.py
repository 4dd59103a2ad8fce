"""Folders of a disk, synced so that a power cut takes nothing that was acknowledged, or that anything was built on.

A file that was synced is still gone if the folder that names it was not (fsync(2)), and so is a folder. Another process
may have been killed before it synced what this one reads, or be about to sync it only now. So a writer first syncs what
it read: else a cut takes an entry, and leaves what was written, or deleted, because of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from modelkeep.stores.disk import NOT_THERE

_STAYS = "(when it was last synced; look at the disk, then open the registry again)"
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}  # file systems that know no fsync of a folder


class UnsyncedError(OSError):
    """The disk refused to sync, which is worse than that it could not be asked.

    A second sync may say yes of what the first has lost, for a kernel tells an error once (see fsync(2), and Rebello et
    al., Can Applications Recover from fsync Failures?, USENIX ATC 2020).
    """


class _Read:
    """Folders of which an object was read since they were synced."""

    def __init__(self) -> None:
        self.folders: set[tuple[str, object]] = set()
        self.round = object()

    def taken(self) -> set[tuple[str, object]]:
        """Those until now; what is read from here on, by another thread, is noted anew."""
        self.round = object()
        return set(self.folders)


class Folders:
    """The folders of a store, and which of them hold something that may not be on the disk yet.

    One that the disk once refused to sync is not asked again: whoever heard the refusal may have been allowed to go on
    without what it wrote, such as a tile, and the next writer would be told yes.

    Args:
        base: the folder of the store.
    """

    def __init__(self, base: str) -> None:
        self._base = base
        self._firm: set[str] = set()  # those that a power cut leaves where they are
        self._read: dict[str, _Read] = {"": _Read()}  # by what they are a part of
        self._refused: dict[str, int] = {}  # with the errno

    def make(self, folder: Path) -> None:
        """Make *folder* and those above it that are missing, each on the disk before the next one is made.

        So whoever finds a folder finds those above it kept.
        """
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        if Path(self._base) in missing:  # what was found above it may have been made a moment ago
            self._sync_if_allowed(os.fspath(missing[-1].parent.parent))
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            self._sync(os.fspath(made.parent))

    def sync(self, folder: str) -> None:
        """Have what *folder* names on the disk, and, the first time, the folders that lead to it."""
        self._sync(folder)
        self._sync_those_above(folder)

    def note_read(self, path: str) -> None:
        """The file at *path* was read, and something may be built on it."""
        folder = os.path.dirname(path)  # noqa: PTH120  Path costs as much as all of it
        whole = self._whole(folder)
        read = self._read.get(whole) or self._read.setdefault(whole, _Read())
        read.folders.add((folder, read.round))

    def sync_what_was_read(self, path: str) -> None:
        """Have on the disk what was read since the last time, and what is at *path* may be built on."""
        for whole in {self._whole(os.path.dirname(path)), ""}:  # noqa: PTH120  see note_read
            read = self._read.get(whole)
            if read and read.folders:
                taken = read.taken()
                self._sync_all({folder for folder, _ in taken})
                read.folders -= taken

    def _sync_all(self, folders: Iterable[str]) -> None:
        for folder in folders:
            with suppress(*NOT_THERE):
                self._sync_if_allowed(folder)
                self._sync_those_above(folder)

    def _whole(self, folder: str) -> str:
        """What a folder is a part of, as its two topmost names, such as a model; empty for what all of them share.

        Nothing in one model hangs on what lies in another. A process that reads thousands of them syncs none of these
        when it writes to one, and one that cannot be synced stops no other.
        """
        parts = folder[len(self._base) + 1 :].split("/", 2)
        return "/".join(parts[:2]) if len(parts) > 1 else ""

    def _sync_those_above(self, folder: str) -> None:
        """Another process may just have made them."""
        new = []
        while folder not in self._firm:
            new.append(folder)
            below, folder = folder, os.path.dirname(folder)  # noqa: PTH120  see note_read
            self._sync_if_allowed(folder)
            if below in (self._base, folder):  # "/" lies in itself
                break
        self._firm.update(new)

    def _sync_if_allowed(self, folder: str) -> None:
        with suppress(PermissionError):  # who may not list a folder cannot sync it, and may be meant to read in it
            self._sync(folder)

    def _sync(self, folder: str) -> None:
        if refused := self._refused.get(folder):
            raise UnsyncedError(refused, f"{os.strerror(refused)} {_STAYS}", folder)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                self._refused[folder] = error.errno or errno.EIO
                raise UnsyncedError(error.errno, error.strerror, folder) from error
        finally:
            os.close(descriptor)
