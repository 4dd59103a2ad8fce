"""What a run prints: the end of its stdout and stderr, written through and kept."""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from modelkeep.forks import renew_after_fork

MAX_TAIL = 64 * 1024  # bytes of each stream
STREAMS = ("stdout", "stderr")
_ENDS = re.compile(r"[\r\n]")


class Tail:
    r"""The end of one stream, in characters; what a terminal would have overwritten is left out.

    Example:
        >>> tail = Tail()
        >>> for text in ("epoch 1\n", "10 %\r", "100 %\n"):
        ...     tail.add(text)
        >>> tail.text()
        'epoch 1\n100 %\n'
    """

    def __init__(self, most: int = MAX_TAIL) -> None:
        self._most = most
        self._parts: deque[str] = deque()
        self._length = 0
        self._was_cut = False
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Add what was written."""
        if not text:
            return
        with self._lock:
            self._was_cut |= len(text) > self._most
            self._parts.append(text[-self._most :])
            self._length += len(self._parts[-1])
            while self._length - len(self._parts[0]) >= self._most:
                self._length -= len(self._parts.popleft())
                self._was_cut = True

    def text(self, change: Callable[[str], str] = str) -> str:
        """What is left, after *change*, in at most so many bytes of UTF-8 as was said."""
        with self._lock:
            whole = "".join(self._parts)
            cut = self._was_cut or len(whole) > self._most
        if cut:  # from the first whole line on: half a secret is none that a redactor knows
            end = _ENDS.search(whole, max(0, len(whole) - self._most))
            whole = whole[end.end() :] if end else ""
        lines = (line.rstrip("\r").rpartition("\r")[2] for line in whole.split("\n"))
        said = change("\n".join(lines)).encode(errors="replace")
        return said[-self._most :].decode(errors="ignore")


_own: ContextVar[tuple[Tail, Tail] | None] = ContextVar("modelkeep_tails", default=None)
_active: list[tuple[Tail, Tail]] = []
_lock = threading.RLock()  # a handler of a signal may begin a run while its own thread is in here


class _Tee:
    """Stands for a stream: writes through, and adds to the tails of the runs that are under way."""

    def __init__(self, within: TextIO, which: int) -> None:
        self._within = within
        self._which = which

    def write(self, text: str) -> int:
        written = self._within.write(text)
        own = _own.get()
        # a thread that belongs to no run may have been started by any of them
        for tails in [own] if own is not None else list(_active):
            tails[self._which].add(text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._within, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._within)


class _Streams:
    """The stand-ins of this process, there while a run asks for its output."""

    def __init__(self) -> None:
        self._tees: dict[str, tuple[Any, _Tee]] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        global _lock  # noqa: PLW0603  held by a thread that the child has not
        _lock = threading.RLock()

    def begin(self, tails: tuple[Tail, Tail]) -> None:
        with _lock:
            _active.append(tails)
            for which, name in enumerate(STREAMS):
                stream = getattr(sys, name)
                if stream is not None and not isinstance(stream, _Tee):
                    tee = _Tee(stream, which)
                    self._tees[name] = (stream, tee)
                    setattr(sys, name, tee)

    def end(self, tails: tuple[Tail, Tail]) -> None:
        with _lock:
            _active[:] = [one for one in _active if one is not tails]
            if _active:
                return
            for name, (stream, tee) in self._tees.items():
                if getattr(sys, name) is tee:  # else somebody put a stream of their own there, and takes care of it
                    setattr(sys, name, stream)
            self._tees.clear()


_streams = _Streams()


@contextmanager
def printed() -> Iterator[tuple[Tail, Tail]]:
    """Keep the end of what is written to stdout and stderr in the block, by it and by threads of no other run."""
    tails = (Tail(), Tail())
    before = _own.get()
    _own.set(tails)
    _streams.begin(tails)
    try:
        yield tails
    finally:
        _streams.end(tails)
        _own.set(before)
