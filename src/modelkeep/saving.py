"""Saves in the background: what ``Registry.save(wait=False)`` gives, and the thread that does the work."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  before `_wait_at_exit` is registered: see there
import sys
import threading
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from modelkeep.errors import ConflictError
from modelkeep.forks import renew_after_fork
from modelkeep.modelversion import ModelVersion


class PendingSave:
    """A save that goes on in the background, on a copy of the arrays. Given by ``Registry.save(..., wait=False)``.

    Saves of one registry are done one after the other, in the order of the calls, and nothing of a save is visible
    before it is done. A process that ends waits for them. If one fails and nobody asks for its result, a warning says
    so when the handle goes, or at the end of the process. In a forked child it is over, with a `ConflictError`: the
    parent goes on with it.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://pendingsave")
        >>> weights = np.zeros(2)
        >>> pending = registry.save({"w": weights}, "churn", wait=False)
        >>> weights += 1  # training goes on
        >>> pending.result(), registry.load("churn")
        (ModelVersion churn:1, {'w': array([0., 0.])})
        >>> pending
        PendingSave churn:1 (done)
    """

    def __init__(self, name: str, work: Callable[[], ModelVersion], until: ExitStack) -> None:
        self.name = name
        self._outcome: ModelVersion | BaseException | None = None
        self._asked = False
        self._over = threading.Event()
        self._work: Callable[[], ModelVersion] | None = work
        self._until = until
        renew_after_fork(self)

    def __repr__(self) -> str:
        match self._outcome:
            case None:
                return f"PendingSave {self.name} (under way)"
            case BaseException() as error:
                return f"PendingSave {self.name} (failed: {type(error).__name__}: {error})"
            case version:
                return f"PendingSave {version} (done)"

    def done(self) -> bool:
        """Whether it is over, well or not. Never waits."""
        return self._over.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, at most *timeout* seconds; give whether it is. Raises nothing that the save raised."""
        return self._over.wait(timeout)

    def result(self, timeout: float | None = None) -> ModelVersion:
        """Wait until it is over and give the version.

        Args:
            timeout: how long to wait at most, in seconds. The save goes on afterwards, and after Ctrl-C.

        Raises:
            TimeoutError: it is not over yet.
            ModelkeepError: what `Registry.save` raises.
        """
        outcome = self._asked_for(timeout)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until it is over and give what the save raised; None if it went well.

        Raises:
            TimeoutError: it is not over after *timeout* seconds.
        """
        outcome = self._asked_for(timeout)
        return outcome if isinstance(outcome, BaseException) else None

    def after_fork(self) -> None:
        """See `Forked.after_fork`; called in the child, not by users."""
        self._over = threading.Event()
        self._over.set()
        self._asked = True  # the parent tells what nobody asked for
        if self._outcome is None:
            self._work = None
            self._outcome = ConflictError(
                f"the save of {self.name!r} belongs to the process that began it, and this is a forked child; ask for "
                f"its result there, or look here with registry.model({self.name!r}).versions()",
                name=self.name,
            )

    def _asked_for(self, timeout: float | None) -> ModelVersion | BaseException:
        if not self._over.wait(timeout) or self._outcome is None:
            raise TimeoutError(f"the save of {self.name!r} is not over after {timeout} seconds; ask again")
        self._asked = True
        return self._outcome

    def _run(self) -> None:
        """In the thread of the queue: do the work, then let go of all that it needed."""
        work, self._work = self._work, None
        try:
            with self._until:
                self._outcome = work() if work else None
        except BaseException as error:  # noqa: BLE001  whoever asks for the result gets it
            _empty_frames(error)
            self._outcome = error
            _failed.append(weakref.ref(self, _failed.remove))
        finally:
            self._over.set()
            del work, self  # the error has this frame, and must not have by it the handle that has the error

    def _tell(self) -> None:
        error = self._outcome
        if isinstance(error, BaseException) and not self._asked:
            self._asked = True
            token = getattr(error, "token", None)
            open_end = f" (the token is {token!r})" if token else ""
            warnings.warn(
                f"the save of {self.name!r} in the background failed, and nobody asked for its result(): "
                f"{type(error).__name__}: {error}{open_end}",
                stacklevel=2,
            )

    def __del__(self) -> None:
        self._tell()


def _empty_frames(error: BaseException) -> None:
    """Let go of what the frames of *error* hold: they would keep the copied arrays as long as the error is kept."""
    seen: set[int] = set()
    above: BaseException | None = error
    while above is not None and id(above) not in seen:
        seen.add(id(above))
        traceback.clear_frames(above.__traceback__)
        above = above.__cause__ or above.__context__


class SaveQueue:
    """The saves of one registry that go on in the background: one thread, first in, first out.

    The thread lives only while there is something to do.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may save while its own thread is in here
        self._waiting: deque[PendingSave] = deque()  # the first is under way
        self._thread: threading.Thread | None = None

    def add(self, name: str, work: Callable[[], ModelVersion], until: ExitStack) -> PendingSave:
        """Have *work* done after all that was added before.

        Args:
            name: the model.
            work: saves it.
            until: what *work* needs; taken over, and closed when the work is done.
        """
        with self._lock:
            if self._thread is None:
                self._start()
            pending = PendingSave(name, work, until.pop_all())
            self._waiting.append(pending)
        return pending

    def wait(self, name: str) -> None:
        """Wait until the saves of the model *name* that were added before are over; not if called by one of them."""
        with self._lock:
            within = threading.current_thread() is self._thread
            earlier = [pending for pending in self._waiting if pending.name == name]
        if earlier and not within:
            earlier[-1].wait()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._do_all, name="modelkeep-saves", daemon=False)
        _threads.add(self._thread)
        try:
            self._thread.start()
        except BaseException:
            self._thread = None  # should it have begun nevertheless, it ends by itself
            raise

    def _do_all(self) -> None:
        try:
            while pending := self._first():
                pending._run()  # noqa: SLF001  the other half of the same thing
                with self._lock:
                    self._waiting.popleft()
        finally:
            _threads.discard(threading.current_thread())

    def _first(self) -> PendingSave | None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return None
            if not self._waiting:
                self._thread = None
                return None
            return self._waiting[0]


_threads: set[threading.Thread] = set()
_failed: list[weakref.ref[PendingSave]] = []  # not a WeakSet: a thread may add while another looks


def _wait_at_exit() -> None:
    """When the main thread has ended: wait for what is under way, then tell of errors that nobody asked for."""
    while working := [thread for thread in list(_threads) if thread.is_alive()]:  # in a forked child none of them is
        for thread in working:
            thread.join()
    for pending in [found for ref in list(_failed) if (found := ref())]:
        try:
            pending._tell()  # noqa: SLF001  the other half of the same thing
        except Warning as warning:  # where warnings are errors; raised, it would keep other hooks from running
            sys.excepthook(type(warning), warning, warning.__traceback__)


# Python joins threads that are no daemons when the main thread ends, but only after `concurrent.futures` has closed all
# its pools by a hook of its own. A save uses pools, and so does asyncio, which looks up host names in one: joined then,
# it would fail with "cannot schedule new futures after interpreter shutdown". So our hook has to run before theirs.
# These hooks run last in, first out, and the import above has registered theirs. The function is private to Python (3.9
# to 3.14 have it, and `concurrent.futures` calls it too); without it, threads are joined as late as Python does it.
_register = getattr(threading, "_register_atexit", None)
if _register is not None:
    try:
        _register(_wait_at_exit)
    except RuntimeError:  # imported while the process ends
        _register = None
