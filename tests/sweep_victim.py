"""What a victim of `test_crash_sweep` does: one operation, told on a board that takes no system call to write to."""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import attrs

import modelkeep as mk
from modelkeep.errors import ModelkeepError, OutcomeUnknownError, UnsettledError
from sweep_operations import OPERATIONS, template

SIZE = 1 << 16  # bytes of a board
PATIENCE = 60  # seconds
_EMPTY, _READY, _GONE_AHEAD = b"\0", b"r", b"+"
_ANYBODY = ctypes.c_ulong(-1)
_SET_TRACER = 0x59616D61  # PR_SET_PTRACER: where Yama guards processes, a tracer that is no parent needs this


@attrs.frozen
class Ending:
    """How an operation ended, as its own process told.

    Args:
        steps: how many steps were acknowledged.
        over: whether the last was, or an error came.
        error: the type of the error, and what it said; empty if none came.
        own: whether the error is one of modelkeep's.
        open: whether the error says that the write may stand.
        token: what the error gives to settle with.
    """

    steps: int = 0
    over: bool = False
    error: str = ""
    own: bool = False
    open: bool = False
    token: str | None = None


class Board:
    """A file in memory that both sides see: a write to it is no system call, and a kill does not lose it."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), SIZE)

    def clear(self) -> None:
        self._bytes[:] = _EMPTY * SIZE

    def ready(self) -> None:
        """Say that all is opened, and wait until somebody watches."""
        self._bytes[:1] = _READY
        self._wait(_GONE_AHEAD)

    def await_ready(self) -> None:
        self._wait(_READY)

    def go(self) -> None:
        self._bytes[:1] = _GONE_AHEAD

    def _wait(self, sign: bytes) -> None:
        end = time.monotonic() + PATIENCE
        while self._bytes[:1] != sign:
            if time.monotonic() > end:
                raise TimeoutError(f"no {sign!r} came")
            time.sleep(0.0005)

    def tell(self, ending: Ending) -> None:
        said = json.dumps(attrs.asdict(ending)).encode()
        self._bytes[1 : 2 + len(said)] = said + b"\0"

    def told(self) -> Ending:
        said = bytes(self._bytes[1:]).partition(b"\0")[0]
        return Ending(**json.loads(said)) if said else Ending()


def warm() -> None:
    """Import all that the operations take, so that forks need not; no thread is left."""
    for operation in OPERATIONS.values():
        with tempfile.TemporaryDirectory() as folder:
            template(operation, Path(folder) / "warm")
            for step in operation.steps:
                step(mk.Registry(Path(folder) / "warm", cache=False))


def suffer(name: str, place: str, board: str, *, durable: bool) -> NoReturn:
    """Do the operation *name* at *place* once the board says so, and end without a further call."""
    gc.disable()  # a file that it closes would be counted elsewhere from run to run
    ctypes.CDLL(None).prctl(_SET_TRACER, _ANYBODY, 0, 0, 0)
    told = Board(Path(board))
    registry = mk.Registry(place, durable=durable, cache=False)
    told.ready()
    _work(name, registry, told)
    os._exit(0)


def _work(name: str, registry: mk.Registry, board: Board) -> None:
    done = 0
    try:
        for step in OPERATIONS[name].steps:
            step(registry)
            done += 1
            board.tell(Ending(done))
    except BaseException as error:  # noqa: BLE001  told; who looks on judges it
        facts: dict[str, Any] = {"own": isinstance(error, ModelkeepError)}
        facts["open"] = isinstance(error, (UnsettledError, OutcomeUnknownError))
        facts["token"] = error.token if isinstance(error, UnsettledError) else None
        board.tell(Ending(done, over=True, error=f"{type(error).__name__}: {error}"[:2000], **facts))
    else:
        board.tell(Ending(done, over=True))


def nursery() -> None:
    """Fork a victim for each line that comes in: starting Python takes longer than a victim lives."""
    warm()
    print("warm", flush=True)  # noqa: T201  to who started it
    for line in sys.stdin:
        child = os.fork()
        if not child:
            suffer(**json.loads(line))
        print(child, flush=True)  # noqa: T201
        os.waitpid(child, 0)
        print("gone", flush=True)  # noqa: T201


if __name__ == "__main__":
    nursery()
