"""`Live`: a handle on what a reference means now. It looks from time to time, and exchanges the model."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from modelkeep import _resolve
from modelkeep.errors import InvalidValueError, NotFoundError, shown
from modelkeep.forks import renew_after_fork
from modelkeep.looks import Check, Refused, without_frames
from modelkeep.modelversion import ModelVersion
from modelkeep.pacing import LOG, Pace
from modelkeep.ref import ModelRef
from modelkeep.served import Loading, Served

T = TypeVar("T")
_PATIENCE = 5.0  # seconds that `close` waits for a look that is under way


class Live(Generic[T]):
    """A model that follows its reference. Made by `Registry.live`.

    Safe to use from several threads; a forked child looks for itself from its first use on. A call takes no lock and
    makes no request: it goes to the model that serves at its start, to the end, whatever moves meanwhile. A model that
    serves no more is let go when the last call or `use` of it ends; the handle keeps no other.

    Example:
        >>> import modelkeep as mk
        >>> registry = mk.Registry("memory://live-handle", trust="cloudpickle")
        >>> _ = registry.save(lambda x: x + 1, "step", serializer="cloudpickle").promote("production")
        >>> with registry.live("step@production", start=False) as live:
        ...     _ = registry.save(lambda x: x + 2, "step", serializer="cloudpickle").promote("production")
        ...     live.predict(1), str(live.check()), live.predict(1)
        (2, 'step:2 serves, after step:1', 3)
    """

    def __init__(
        self,
        ref: ModelRef,
        loading: Loading,
        pace: Pace,
        *,
        on_change: Callable[[Check], object] | None = None,
        start: bool = True,
    ) -> None:
        self.ref = ref
        self._loading = loading
        self._pace = pace
        self._tell = on_change
        self._checked = self._confirmed = pace.system.now()  # as of before the request, so that no bound is too low
        self._served = loading.load(self._find(), None)
        self._refused: Refused | None = None
        self._error: Exception | None = None
        self._failures = 0
        self._follows = start
        self.after_fork()
        renew_after_fork(self)
        self._current()

    def after_fork(self) -> None:
        """See `Forked.after_fork`; called in the child, not by users. The thread that looked is not in the child."""
        self._looking = threading.Lock()
        self._starting = threading.Lock()
        self._timer: threading.Thread | None = None
        self._stop = threading.Event()

    def __repr__(self) -> str:
        return f"Live {self.ref}: {self.version.ref}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the model -------------------------------------------------------------------------------------------

    def predict(self, inputs: Any) -> Any:
        """What the model that serves now makes of *inputs*, checked and preprocessed; see `ModelVersion.predict`.

        Raises:
            SignatureError: the inputs do not fit the signature.
            SerializerError: the object cannot predict.
        """
        return self._current().pipeline(inputs)

    @contextmanager
    def use(self) -> Iterator[T]:
        """The model that serves now, for a block: it stays the same within, and may be let go afterwards.

        The variable of the block holds it, too, until it is set anew or deleted.
        """
        served = self._current()
        yield served.pipeline.model

    @property
    def model(self) -> T:
        """The model that serves now, as it was saved; who keeps it has it when another serves."""
        model: T = self._current().pipeline.model
        return model

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def version(self) -> ModelVersion:
        """The version that serves now."""
        return self._current().version

    @property
    def checked(self) -> datetime:
        """When the storage last told what the reference means, by the clock of this machine."""
        return self._checked

    @property
    def stale_for(self) -> float:
        """Seconds since what serves was surely what the reference means: it cannot have been outdated for longer.

        While all is well this stays below *every*, and the time that a look takes. It grows while looks fail, and while
        the version that should serve was refused.
        """
        # by the time of day: a clock that stands still while the machine sleeps would call an old model fresh
        return max(0.0, (self._pace.system.now() - self._confirmed).total_seconds())

    @property
    def last_error(self) -> Exception | None:
        """Why the last look failed, or why the version that should serve was refused; None if all is well.

        Without its traceback, which would keep the refused model in memory; the log has it.
        """
        return self._error

    # -- looking ---------------------------------------------------------------------------------------------

    def check(self) -> Check:
        """Look now, and change the model if need be. By alias one GET when warm, and what a load costs if it moved.

        A version that was refused is tried again. What goes wrong is told and not raised, and the model stays.
        """
        return self._check(again=True)

    def close(self) -> None:
        """Look no more; what serves now can be used on. Waits for a look under way, for at most five seconds."""
        with self._starting:
            self._follows = False
            timer, self._timer = self._timer, None
            self._stop.set()
        if timer is not None and timer is not threading.current_thread():
            timer.join(_PATIENCE)

    def _current(self) -> Served:
        if self._follows and self._timer is None:
            self._start()
        return self._served

    def _start(self) -> None:
        with self._starting:
            if self._follows and self._timer is None:
                weakref.finalize(self, self._stop.set)  # when nobody holds it, or the interpreter ends
                given = weakref.ref(self), self._stop, self._pace.pause()
                timer = threading.Thread(target=_look_on, args=given, name=f"modelkeep-live {self.ref}", daemon=True)
                try:
                    timer.start()
                except RuntimeError as error:  # no thread to be had: callers are served, and the next one tries again
                    self._error = error
                    return
                self._timer = timer

    def _on_time(self) -> float:
        """One look of the timer; gives the seconds until the next."""
        self._check(again=False)
        return self._pace.pause(self._failures)

    def _check(self, *, again: bool) -> Check:
        with self._looking:
            moment, before = self._pace.system.now(), self._served.version
            error = self._look(moment, again=again)
            check = Check(moment, before, self._served.version, error)
            news = check.changed or repr(error) != repr(self._error)
            if news:
                _log(self.ref, check)
            self._error = error and without_frames(error)
            if error is None:
                self._confirmed = moment
        if news and self._tell is not None:
            try:
                self._tell(check)
            except Exception:  # noqa: BLE001  it is the caller's, and following goes on without it
                LOG.exception("%s: on_change failed", self.ref)
        return check

    def _look(self, moment: datetime, *, again: bool) -> Exception | None:
        """Find what the reference means, and have it serve if it works; None if what it means serves."""
        try:
            found = self._find()
        except Exception as error:  # noqa: BLE001  whatever is wrong, the model stays
            answered = isinstance(error, NotFoundError)  # the storage is well, and says that there is none
            self._checked, self._failures = (moment, 0) if answered else (self._checked, self._failures + 1)
            return error
        self._checked, self._failures = moment, 0
        refused = self._refused
        if found.identity == self._served.version.digest:
            self._refused = None
        elif refused and not again and refused.passes_over(found.identity):
            return refused.error
        else:
            return self._change(found)
        return None

    def _change(self, found: _resolve.Found) -> Exception | None:
        try:
            self._served = self._loading.load(found, self._served)
        except Exception as error:  # noqa: BLE001  whatever a model raises, the one before stays
            refused = self._refused
            self._refused = refused.again(found.identity, error) if refused else Refused(found.identity, error)
            return error
        self._refused = None
        return None

    def _find(self) -> _resolve.Found:
        return _resolve.find(self._loading.line, self.ref)


def _look_on(handle: weakref.ref[Live[Any]], stop: threading.Event, pause: float) -> None:
    """What the thread of a handle does. It holds the handle only while it looks, so that others can let go of it."""
    while not stop.wait(pause):
        live = handle()
        if live is None:
            return
        pause = live._on_time()  # noqa: SLF001  the other half of the same thing
        del live


def _log(ref: ModelRef, check: Check) -> None:
    if check.error is None:
        LOG.info("%s: %s", ref, check)
    else:
        LOG.warning("%s: %s", ref, check, exc_info=check.error)


def check_callable(on_change: object) -> None:
    """Raises `InvalidValueError` if *on_change* is given and cannot be called."""
    if on_change is not None and not callable(on_change):
        raise InvalidValueError(f"on_change is {shown(on_change)}; give a function of one Check", key="on_change")
