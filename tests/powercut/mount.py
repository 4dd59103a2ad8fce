"""Starts and stops a mounted disk, and reads its log."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import attrs

from powercut.disk import Call

_PATIENCE = 30  # seconds until a mount must be there


def why_not() -> str:
    """Why no disk can be mounted here; empty if one can."""
    if not Path("/dev/fuse").exists():
        return "no /dev/fuse here, so no disk whose power is cut"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be used here, so no disk whose power is cut"
    if shutil.which("fusermount3") is None:
        return "no fusermount3 here (apt-get install fuse3), so no disk whose power is cut"
    return "" if find_spec("mfusepy") else "mfusepy is not installed, so no disk whose power is cut"


@attrs.frozen
class Mount:
    """A disk that is mounted at *root*."""

    root: Path
    _log: Path

    def mark(self, text: str) -> None:
        """Say in the log where the process is."""
        os.setxattr(self.root, "user.mark", text.encode())

    def calls(self) -> list[Call]:
        """All that happened to the disk so far."""
        os.setxattr(self.root, "user.log", b"now")
        calls: list[Call] = pickle.loads(self._log.read_bytes())
        return calls


@contextmanager
def mounted(below: Path, *, before: Sequence[Call] = (), blind: bool = False) -> Iterator[Mount]:
    """Mount a disk below a folder, on which *before* happened already."""
    root, log, begin = below / "disk", below / "log", below / "before"
    root.mkdir()
    begin.write_bytes(pickle.dumps(list(before)))
    script = [sys.executable, str(Path(__file__).with_name("filesystem.py")), str(root), str(log)]
    server = subprocess.Popen([*script, "--before", str(begin), *(["--blind"] if blind else [])])
    try:
        until = time.monotonic() + _PATIENCE
        while not root.is_mount():
            assert server.poll() is None, "the file system ended by itself"
            assert time.monotonic() < until, "the file system did not mount"
            time.sleep(0.01)
        yield Mount(root, log)
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(root)], check=False)  # lazily: maps may be held
        server.kill()
        server.wait()
