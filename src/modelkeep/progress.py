"""How far a save has come, told to a function of the caller, or drawn as a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import attrs

from modelkeep.errors import InvalidValueError

Progress = Callable[[int, int], None] | bool | None

STEP = 8 * 1024 * 1024  # bytes between two calls; what comes through in some 10 ms
WORTH = 64 * 1024 * 1024  # bytes; smaller saves are over before a bar could be read


def nothing(count: int) -> None:
    """Tell nobody that *count* more bytes are done."""
    del count


def reporter(progress: Progress, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Make what is called with the count of bytes that were done since the last call, within the block.

    Args:
        progress: a function of (done, total), which hears 0 first and *total* last, and between them of every 8 MiB or
            so; what it raises passes through. None: a bar if tqdm is installed, stderr is a terminal and *total* is
            64 MiB or more. True: a bar at any size. False: nothing.
        total: how many bytes there are; more than these are not told of.

    Raises:
        InvalidValueError: *progress* is something else; at once, not when the block begins.

    Example:
        >>> said = []
        >>> with reporter(lambda done, total: said.append((done, total)), 5) as advance:
        ...     advance(5)
        >>> said
        [(0, 5), (5, 5)]
    """
    return _counted(_listener(progress, total), total)


_Tell = Callable[[int, int], None]


def _listener(progress: Progress, total: int) -> AbstractContextManager[_Tell]:
    if callable(progress):
        return nullcontext(progress)
    if progress is not None and not isinstance(progress, bool):
        raise InvalidValueError(
            f"progress is {progress!r}, of type {type(progress).__name__}; give a function of (done, total), True, "
            "False or None",
            key="progress",
        )
    wanted = total >= WORTH if progress is None else progress
    bar = _bar_class() if wanted and _on_terminal() else None
    return nullcontext(_silent) if bar is None else _drawn(bar, total)


def _silent(done: int, total: int) -> None:
    del done, total


def _on_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it was closed
        return False


def _bar_class() -> Any:
    """The bar of tqdm, without its thread that watches over slow bars; None if tqdm is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return type("Bar", (tqdm,), {"monitor_interval": 0})


@contextmanager
def _drawn(bar_class: Any, total: int) -> Iterator[_Tell]:
    # tqdm itself bears a terminal that goes away meanwhile
    with bar_class(total=total, desc="saving", unit="B", unit_scale=True, unit_divisor=1024, leave=False) as bar:
        yield lambda done, _: bar.update(done - bar.n)


@contextmanager
def _counted(listener: AbstractContextManager[_Tell], total: int) -> Iterator[Callable[[int], None]]:
    with listener as tell:
        count = _Count(tell, total)
        tell(0, total)
        yield count.advance
        count.finish()


@attrs.define
class _Count:
    tell: _Tell
    total: int
    done: int = 0
    told: int = 0

    def advance(self, count: int) -> None:
        # what is uploaded again, after a collector was quicker, was counted once already
        self.done = min(self.total, self.done + count)
        if self.done - self.told >= STEP or self.done == self.total:
            self._tell()

    def finish(self) -> None:
        self.done = self.total
        self._tell()

    def _tell(self) -> None:
        if self.told < self.done:
            self.told = self.done
            self.tell(self.done, self.total)
