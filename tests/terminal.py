"""The command on a terminal of 80 columns."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path


def on_a_terminal(folder: Path, line: str, kind: str = "dumb") -> tuple[int, str]:
    """The status of a command that runs in *folder*, and what it shows on standard output and error.

    Of *kind* ``"dumb"`` no cursor can be moved: no bar is shown.
    """
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "40", "TERM": kind}
    command = [sys.executable, "-m", "modelkeep", *line.split()]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment, cwd=folder) as running:
        os.close(theirs)
        raw = b""
        while part := _read(ours):
            raw += part
    os.close(ours)
    return running.returncode, raw.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # so Linux says that nobody writes any more
        return b""
