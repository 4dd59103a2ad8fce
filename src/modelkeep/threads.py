"""Work side by side: a few threads for the length of a block, or for as long as a far store is asked."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")

FAR_READS = 16  # requests at once to a far store; most of each is waiting
_AHEAD = 256  # answers that nobody has taken yet; each may have a megabyte


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


def answers(store: object, questions: Iterable[Callable[[], T]], *, at_once: int = FAR_READS) -> Iterator[T]:
    """What each of *questions* to a store gives, in order; several at once if it is far.

    One after another if it is not: a disk answers faster than a thread starts, and a store that does not say that it
    is far may not bear threads.

    Args:
        store: who is asked.
        questions: what is asked; an error of one ends the rest.
        at_once: how many are asked at once.

    Example:
        >>> list(answers(object(), [lambda: 1, lambda: 2]))
        [1, 2]
    """
    if not getattr(store, "remote", False):
        yield from (question() for question in questions)
        return
    under_way: deque[Future[T]] = deque()
    with Threads(at_once) as threads:
        for question in questions:
            under_way.append(threads.start(question))
            if len(under_way) >= _AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
