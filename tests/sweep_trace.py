"""System calls of a process: which of them touch a folder, and what strace lets happen at one of them.

strace counts calls by name (``when=``), and over the whole life of what it traces. So it is attached to a process that
waits, with all imports behind it; what a call touches is read from the trace, and so is which call was met.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import attrs

from modelkeep.system import find_actor
from sweep_victim import Board, Ending

# one that changes what lies on a disk needs room for it; taking away does not
NEEDS_ROOM = {
    "write", "writev", "pwrite64", "pwritev", "pwritev2", "fsync", "fdatasync", "link", "linkat", "rename", "renameat",
    "renameat2", "mkdir", "mkdirat", "ftruncate", "truncate", "fallocate", "copy_file_range", "sendfile", "symlink",
    "symlinkat", "utimensat",
}  # fmt: skip
TAKES_AWAY = {"unlink", "unlinkat", "rmdir"}
_LINE = re.compile(r"(?:\[pid +)?(?P<pid>\d+)?\]? +(?P<name>[a-z0-9_]+)\((?P<rest>.*)")
_ATTACHED = re.compile(r"Process \d+ attached")


@attrs.frozen
class Call:
    """A system call.

    Args:
        name: such as ``openat``.
        nth: how many of that name there were by then, itself included.
        text: what strace says of it.
        before: how many calls of each name came before.
    """

    name: str
    nth: int
    text: str
    before: Mapping[str, int]

    @property
    def needs_room(self) -> bool:
        return self.name in NEEDS_ROOM or "O_CREAT" in self.text

    @property
    def changes(self) -> bool:
        """Whether it changes what lies on the disk."""
        return self.needs_room or self.name in TAKES_AWAY


@attrs.frozen
class Fault:
    """What is to happen at a call.

    Args:
        kind: ``kill``, ``ENOSPC`` or ``EIO``.
        onward: whether it goes on at all calls that come after.
    """

    kind: str
    onward: bool = False

    def __str__(self) -> str:
        return f"{self.kind} from there on" if self.onward else self.kind

    def meets(self, call: Call) -> bool:
        """Whether it can befall *call*: a full disk can be read."""
        return self.kind != "ENOSPC" or call.needs_room

    def injections(self, call: Call, names: Iterable[str]) -> list[str]:
        """The options of strace that let it happen at *call*."""
        if self.kind == "kill":
            return [f"inject={call.name}:signal=SIGKILL:when={call.nth}"]
        if not self.onward:
            return [f"inject={call.name}:error={self.kind}:when={call.nth}"]
        hit = {*names} if self.kind == "EIO" else {*names} & NEEDS_ROOM
        return [
            f"inject={name}:error={self.kind}:when={call.nth if name == call.name else call.before.get(name, 0) + 1}+"
            for name in sorted(hit | {call.name})
        ]


FAULTS = (
    Fault("kill"),
    Fault("ENOSPC"),
    Fault("ENOSPC", onward=True),
    Fault("EIO"),
    Fault("EIO", onward=True),
)


@attrs.frozen
class Trace:
    """What strace wrote of one process."""

    text: str

    def calls(self, root: str) -> list[Call]:
        """The calls that touch what lies below *root*, with their number among all calls of that name."""
        found, count = [], Counter[str]()
        for line in self.text.splitlines():
            if not (match := _LINE.match(line)):
                continue
            name = match["name"]
            before = dict(count)
            count[name] += 1
            if is_below(line, root):
                found.append(Call(name, count[name], line, before))
        return found

    @property
    def threads(self) -> int:
        """How many threads or processes there were: numbers are counted for each by itself."""
        return len({match["pid"] for line in self.text.splitlines() if (match := _LINE.match(line))})

    def killed_at(self) -> str:
        """The call over which the process was killed; empty if it was not."""
        lines = [line for line in self.text.splitlines() if not line.endswith("exited with 0 +++")]
        return lines[-2] if len(lines) > 1 and lines[-1].endswith("killed by SIGKILL +++") else ""

    def injected(self) -> list[str]:
        """The calls that were let fail."""
        return [line for line in self.text.splitlines() if "(INJECTED)" in line]


def is_below(line: str, root: str) -> bool:
    """Whether a call touches *root* or what lies below it, by path or by descriptor."""
    return any(f"{root}{end}" in line for end in ("/", '"', ">"))


def unusable() -> str:
    """Why strace cannot be used here; empty if it can."""
    if shutil.which("strace") is None:
        return "there is no strace here (apt install strace)"
    if sys.platform != "linux":
        return "strace is for Linux alone"
    asked = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return "" if asked.returncode == 0 else f"strace may not trace here: {asked.stderr.strip()[-200:]}"


@attrs.define
class Nursery:
    """Where victims come from, and where they are watched."""

    below: Path
    _forks: subprocess.Popen[str] = attrs.field(init=False)

    def __enter__(self) -> Self:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "sweep_victim.py")]
        # no Git: calls are counted for each process by itself; the name is the one that it would have told
        env = {**os.environ, "MODELKEEP_ACTOR": find_actor(), "PATH": ""}
        with (self.below / "said").open("ab") as said:
            self._forks = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, process_group=0, env=env
            )
        assert self._answer() == "warm", (self.below / "said").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._forks.send_signal(signal.SIGKILL)
        self._forks.communicate()

    def run(self, name: str, place: Path, injections: Iterable[str] = (), *, durable: bool) -> tuple[Trace, Ending]:
        """Let a victim do the operation *name*; what it did, and how that ended."""
        board, out = Board(self.below / "board"), self.below / "trace"
        board.clear()
        asked = {"name": name, "place": str(place), "board": str(self.below / "board"), "durable": durable}
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps(asked) + "\n")
        self._forks.stdin.flush()
        victim = self._answer()
        board.await_ready()
        options = [part for injection in injections for part in ("-e", injection)]
        command = ["strace", "-f", "-y", "-s", "32", "-o", str(out), "-e", "trace=%file,%desc", *options, "-p", victim]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stderr is not None
            said = watching.stderr.readline()
            board.go()  # also where strace could not attach, so that the victim ends
            rest = watching.communicate(timeout=120)[1]
        assert _ATTACHED.search(said), f"strace says: {said}{rest}"
        assert self._answer() == "gone"
        return Trace(out.read_text()), board.told()

    def _answer(self) -> str:
        assert self._forks.stdout is not None
        return self._forks.stdout.readline().strip()

    def complaints(self) -> str:
        """What victims wrote where a traceback would go; forgotten once it is told."""
        path = self.below / "said"
        said = path.read_text(errors="replace")
        if said:
            path.write_text("")
        return said[-2000:]
