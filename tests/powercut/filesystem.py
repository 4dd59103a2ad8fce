"""Mounts such a disk by FUSE: ``python filesystem.py FOLDER LOG`` serves it until it is unmounted.

It loses no power itself: it notes what is synced (see `powercut.disk`), and the states that a cut could leave are made
of its log afterwards. ``setxattr(FOLDER, "user.mark", text)`` puts a mark into the log, and ``"user.log"`` writes the
log so far to LOG.
"""

# ruff: noqa: ARG002  FUSE says what it calls with

from __future__ import annotations

import argparse
import errno
import os
import pickle
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mfusepy

sys.path.insert(0, str(Path(__file__).parents[1]))

from powercut.disk import ROOT, Call, Disk, Entered, File, Folder, Marked, Resized, Synced, Written, replayed

BLOCK = 4096


class Mounted(mfusepy.Operations):  # type: ignore[misc]  # it has no types
    """The calls of FUSE, as calls on a disk.

    What it has no method for, such as symbolic links, fallocate and file locks, the kernel refuses or does by itself.

    Args:
        disk: what lies there.
        log: where the log is written to when asked for.
        blind: names that differ by case alone are the same, and keep the spelling that they were made with.
    """

    use_ns = True

    def __init__(self, disk: Disk, log: Path, *, blind: bool = False) -> None:
        self.disk = disk
        self.log = log
        self.blind = blind

    # -- names -----------------------------------------------------------------------------------------------

    def _spelled(self, folder: Folder, name: str) -> str:
        """The name as it is spelled in a folder; as it was given if it is not there."""
        if name in folder.seen or not self.blind:
            return name
        return next((known for known in folder.seen if known.casefold() == name.casefold()), name)

    def _split(self, path: str) -> tuple[int, Folder, str]:
        """The folder of *path*, and how its last part is spelled there."""
        above, _, name = path.rpartition("/")
        number = self._number(above or "/")
        folder = self.disk.nodes[number]
        if not isinstance(folder, Folder):
            raise mfusepy.FuseOSError(errno.ENOTDIR)
        return number, folder, self._spelled(folder, name)

    def _number(self, path: str) -> int:
        if path == "/":
            return ROOT
        _, folder, name = self._split(path)
        if name not in folder.seen:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return folder.seen[name]

    def _free(self, path: str) -> tuple[int, str]:
        number, folder, name = self._split(path)
        if name in folder.seen:
            raise mfusepy.FuseOSError(errno.EEXIST)
        return number, name

    def _born(self, verb: str, path: str, *, is_folder: bool) -> int:
        above, name = self._free(path)
        number = self.disk.new_number()
        self.disk.do(Entered(verb, ((above, name, number),), (number, is_folder)))
        return number

    # -- files -----------------------------------------------------------------------------------------------

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return self._born("create", path, is_folder=False)

    def open(self, path: str, flags: int) -> int:
        return self._number(path)  # the kernel truncates by a call of its own

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self.disk.file(fh).seen[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self.disk.do(Written(fh, offset, data))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self.disk.do(Resized(self._number(path) if fh is None else fh, length))
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self.disk.do(Synced(fh))
        return 0

    # -- folders ---------------------------------------------------------------------------------------------

    def mkdir(self, path: str, mode: int) -> int:
        self._born("mkdir", path, is_folder=True)
        return 0

    def opendir(self, path: str) -> int:
        return self._number(path)

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, Any], int]]:
        # a name without a number is one that the kernel passes over
        return [(name, self._facts(number), 0) for name, number in {".": fh, **self.disk.folder(fh).seen}.items()]

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self.disk.do(Synced(fh))
        return 0

    def link(self, target: str, source: str) -> int:
        above, name = self._free(target)
        self.disk.do(Entered("link", ((above, name, self._number(source)),)))
        return 0

    def rename(self, old: str, new: str) -> int:
        number, (above, _, name), (below, taken, to) = self._number(old), self._split(old), self._split(new)
        if taken.seen.get(to) == number and (above, name) != (below, to):
            return 0  # rename(2): two links to one file stay
        self.disk.do(Entered("rename", ((below, to, number), (above, name, None))))
        return 0

    def unlink(self, path: str) -> int:
        self._number(path)
        above, _, name = self._split(path)
        self.disk.do(Entered("unlink", ((above, name, None),)))
        return 0

    def rmdir(self, path: str) -> int:
        if self.disk.folder(self._number(path)).seen:
            raise mfusepy.FuseOSError(errno.ENOTEMPTY)
        above, _, name = self._split(path)
        self.disk.do(Entered("rmdir", ((above, name, None),)))
        return 0

    # -- facts -----------------------------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        return self._facts(self._number(path) if fh is None else fh)

    def _facts(self, number: int) -> dict[str, Any]:
        node = self.disk.nodes[number]
        size = len(node.seen) if isinstance(node, File) else BLOCK
        kind, links = (stat.S_IFREG | 0o644, node.links) if isinstance(node, File) else (stat.S_IFDIR | 0o755, 2)
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), node.modified)
        facts = {"st_ino": number, "st_mode": kind, "st_nlink": links, "st_size": size, "st_blocks": -(-size // 512)}
        return {**facts, "st_uid": os.getuid(), "st_gid": os.getgid(), **times}

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": BLOCK, "f_frsize": BLOCK, "f_blocks": 1 << 20, "f_bavail": 1 << 20, "f_namemax": 255}

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        self.disk.nodes[self._number(path)].modified = times[1] if times else time.time_ns()
        return 0

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        if name == "user.mark":
            self.disk.do(Marked(value.decode()))
        elif name == "user.log":
            self.log.write_bytes(pickle.dumps(self.disk.calls))
        else:
            raise mfusepy.FuseOSError(errno.ENOTSUP)
        return 0


def serve(folder: str, log: Path, before: Sequence[Call], *, blind: bool) -> None:
    """Serve a disk at *folder*, on which *before* happened already."""
    mfusepy.FUSE(
        Mounted(replayed(before), log, blind=blind),
        folder,
        foreground=True,
        nothreads=True,
        use_ino=True,
        hard_remove=True,
        attr_timeout=0,  # what is looked up is asked for each time: two spellings may be one file
        entry_timeout=0,
        negative_timeout=0,
        fsname="powercut",
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder")
    options.add_argument("log", type=Path)
    options.add_argument("--before", type=Path, help="a log to begin with")
    options.add_argument("--blind", action="store_true", help="names that differ by case alone are the same")
    chosen = options.parse_args()
    before = pickle.loads(chosen.before.read_bytes()) if chosen.before else []
    serve(chosen.folder, chosen.log, before, blind=chosen.blind)


if __name__ == "__main__":
    main()
