"""Work side by side: a few threads for the length of a block."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """At most *count* threads; when the block ends, what was not begun is left undone, and the rest is waited for.

    Example:
        >>> with Threads(2) as threads:
        ...     [later.result() for later in [threads.start(lambda n=n: n * n) for n in range(3)]]
        [0, 1, 4]
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "modelkeep")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Have *work* done; at once and in this thread if the interpreter ends, which then takes no more of them."""
        try:
            return self._pool.submit(work)
        except RuntimeError:
            done: Future[T] = Future()
            done.set_result(work())
            return done
