"""SIGTERM during a run: an exception, so that the run can be kept as failed, and then the end that was asked for.

Python gives SIGTERM to the operating system, which ends the process on the spot. While a run is under way, and where
nobody else handles the signal, it is raised in the main thread instead; once the run is over, the process ends by
SIGTERM as it would have done.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from modelkeep.forks import renew_after_fork


class TerminatedError(BaseException):
    """SIGTERM came while a run was under way. No `Exception`: what goes on after errors should not go on after this."""


class _Guard:
    """The handler of this process, there while runs are."""

    def __init__(self) -> None:
        self._runs = 0
        self._came = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """In a forked child the signal does what it always did: pools end their workers by it."""
        ours = self._runs > 0
        self._runs, self._came = 0, False
        if ours and signal.getsignal(signal.SIGTERM) == self._raise:
            with suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def begin(self) -> bool:
        """Take the signal if nobody has it; give whether `end` has to be called."""
        if threading.current_thread() is not threading.main_thread():
            return False
        if self._runs == 0:
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                return False
            try:
                signal.signal(signal.SIGTERM, self._raise)
            except ValueError:  # the main thread of a subinterpreter
                return False
        self._runs += 1
        return True

    def end(self) -> None:
        if self._runs == 0:  # forked within the run
            return
        self._runs -= 1
        if self._runs:
            return
        if signal.getsignal(signal.SIGTERM) == self._raise:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        came, self._came = self._came, False
        if came:
            os.kill(os.getpid(), signal.SIGTERM)

    def _raise(self, _signal: int, _frame: FrameType | None) -> None:
        if self._came:  # asked twice
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        self._came = True
        raise TerminatedError("SIGTERM")


_guard = _Guard()


@contextmanager
def raised_here() -> Iterator[None]:
    """Have SIGTERM raise `TerminatedError` within the block, and end the process after it."""
    ours = _guard.begin()
    try:
        yield
    finally:
        if ours:
            _guard.end()
