"""A race for keys: whether of many that create the same key at the same moment exactly one wins."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from modelkeep.errors import ModelkeepError, ObjectExistsError, StoreError
from modelkeep.stores.port import Store

Winners = dict[str, list[int]]  # for each key the numbers of those who won it

_MEET = 120  # seconds; how long a racer waits for the others
_WHOLE = 600  # seconds; how long a race may take
_ALONE = "from modelkeep.races import answer; answer()"


class _Meeting(Protocol):
    """Where racers wait for each other: a `threading.Barrier`, or one between processes."""

    def wait(self, timeout: float | None = None) -> int: ...
    def abort(self) -> None: ...


def race(reopen: Callable[[], Store], keys: Iterable[str], *, processes: int, at_once: int = 1) -> Winners:
    """Let so many processes create each of *keys* at the same moment; tell for each key who won.

    Process *n* writes `value_of(key, n)`. Each opens the store with *reopen*, which must be picklable. As with
    everything that starts processes, a script that calls it needs ``if __name__ == "__main__"``; `race_apart` does
    not.

    Args:
        reopen: opens the store.
        keys: what is raced for.
        processes: how many race.
        at_once: for how many keys each of them races at once; some servers let the losers of a key wait for seconds.
    """
    asked = list(keys)
    context = multiprocessing.get_context("spawn")
    meeting = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, initializer=_meet_at, initargs=(meeting, at_once)) as pool:
        return _winners(pool, _create_each, reopen, asked, processes)


def race_in_threads(store: Store, keys: Iterable[str], *, threads: int) -> Winners:
    """Let so many threads of this process create each of *keys* at the same moment; tell for each key who won."""
    asked = list(keys)
    meeting = threading.Barrier(threads)

    def create_each(number: int, reopen: Callable[[], Store], keys: Sequence[str]) -> set[str]:
        return _create_at(meeting, number, reopen, keys)

    with ThreadPoolExecutor(threads) as pool:
        return _winners(pool, create_each, lambda: store, asked, threads)


def race_apart(reopen: Callable[[], Store], keys: Iterable[str], *, processes: int) -> Winners:
    """Do as `race` does, but from a new interpreter, so that no racer imports the script that is running.

    Raises:
        StoreError: a racer's store failed.
        ChildProcessError: the race could not be run; says why.
    """
    try:
        told = json.loads(_run_alone(pickle.dumps((reopen, list(keys), processes))).splitlines()[-1])
    except (pickle.PicklingError, AttributeError, TypeError, IndexError, ValueError) as error:
        raise ChildProcessError(f"the store cannot be handed to another process: {error}") from error
    if "error" in told:
        raise StoreError(told["error"])
    won: Winners = told["won"]
    return won


def answer() -> None:
    """Run the race that stands on standard input; what `race_apart` starts."""
    reopen, keys, processes = pickle.load(sys.stdin.buffer)  # noqa: S301  written by the process that started this one
    told: dict[str, Any]
    try:
        told = {"won": race(reopen, keys, processes=processes)}
    except ModelkeepError as error:
        told = {"error": str(error)}
    sys.stdout.write(f"\n{json.dumps(told)}\n")


def value_of(key: str, number: int) -> bytes:
    """What process *number* writes under *key* in a `race`."""
    return f"{key} by process {number}".encode()


def _run_alone(question: bytes) -> bytes:
    try:
        child = _start()
    except OSError as error:
        raise ChildProcessError(f"the racing processes did not start: {error}") from error
    with child:
        try:
            said, complained = child.communicate(question, timeout=_WHOLE)
        except BaseException as error:
            _kill(child)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ChildProcessError(f"the race was not over after {_WHOLE} seconds") from error
            raise
    if child.returncode:
        last = complained.decode(errors="replace").strip().splitlines()[-1:]
        raise ChildProcessError(f"the racing processes did not start: {''.join(last) or child.returncode}")
    return said


def _start() -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(  # noqa: S603  this interpreter and a constant
        [sys.executable, "-c", _ALONE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a race with all its racers, which would wait for a parent that is gone."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:  # Windows
            child.kill()


def _winners(
    pool: Executor,
    create_each: Callable[[int, Callable[[], Store], Sequence[str]], set[str]],
    reopen: Callable[[], Store],
    keys: Sequence[str],
    racers: int,
) -> Winners:
    futures = [pool.submit(create_each, number, reopen, keys) for number in range(racers)]
    failed = [error for error in (future.exception() for future in futures) if error]
    for error in failed:
        if not isinstance(error, threading.BrokenBarrierError):  # which only says that another one failed
            raise error
    if failed:
        raise failed[0]
    won = [future.result() for future in futures]
    return {key: [number for number, mine in enumerate(won) if key in mine] for key in keys}


_meetings: list[tuple[_Meeting, int]] = []  # in a racing process: where it meets the others, and for how many keys


def _meet_at(meeting: _Meeting, at_once: int) -> None:
    _meetings.append((meeting, at_once))


def _create_each(number: int, reopen: Callable[[], Store], keys: Sequence[str]) -> set[str]:
    meeting, at_once = _meetings[0]
    return _create_at(meeting, number, reopen, keys, at_once)


def _create_at(
    meeting: _Meeting, number: int, reopen: Callable[[], Store], keys: Sequence[str], at_once: int = 1
) -> set[str]:
    won: set[str] = set()
    try:
        store = reopen()
        with ThreadPoolExecutor(at_once) as pool:
            for first in range(0, len(keys), at_once):
                batch = keys[first : first + at_once]
                meeting.wait(timeout=_MEET)  # so that all try each key at the same moment
                mine = pool.map(partial(_create, store, number), batch)
                won.update(key for key, winner in zip(batch, mine, strict=True) if winner)
    except BaseException:
        meeting.abort()  # the others would wait for us
        raise
    return won


def _create(store: Store, number: int, key: str) -> bool:
    try:
        store.create(key, value_of(key, number))
    except ObjectExistsError:
        return False
    return True
