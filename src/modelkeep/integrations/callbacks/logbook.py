"""What all callbacks share: which run they write into, and that nothing which goes wrong there ends a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from modelkeep.errors import InvalidValueError, NotFoundError, shown
from modelkeep.making import told
from modelkeep.runs import Run, current_run
from modelkeep.values import check_text

_MISSING = (
    "there is no run to log into: train within `with registry.run(name)` or a function with @registry.track(name), or "
    "give the callback one by run="
)
_AWAY = "this callback came here from another process, where its run is; nothing is logged of what is trained here"


class Logbook:
    """The run that a callback writes into.

    It is the one that was given; else the one that goes on when training begins; else the one that went on when the
    callback was made, since threads that a framework starts know no run.

    Args:
        run: the one to write into, if it is not the one that goes on.
        prefix: stands before the name of each metric.
    """

    def __init__(self, run: Run | None = None, prefix: str = "") -> None:
        if run is not None and not isinstance(run, Run):
            raise InvalidValueError(f"run is {shown(run):.200}; give what registry.run() gives, or None", key="run")
        self._given = run
        self._prefix = check_text(prefix, "prefix")
        self._around = _going()
        self._run: Run | None = None
        self._away = False
        self._warned = False

    def __copy__(self) -> Logbook:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: object) -> Logbook:
        # scikit-learn copies what an estimator was made with; a run is one thing, however many write into it
        other = Logbook(self._given, self._prefix)
        other._around, other._run, other._away = self._around or other._around, self._run, self._away
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return _sent, (self._prefix,)

    @property
    def run(self) -> Run | None:
        """The run to write into, or None."""
        return self._run or self._given or _going() or self._around

    def open(self) -> Run | None:
        """Find the run, before anything is trained; None in another process than that of the run.

        Raises:
            NotFoundError: there is none; says what to do.
        """
        around = self._around if self._around is not None and not _is_over(self._around) else None
        self._run = self._given or _going() or around
        if self._run is None:
            if not self._away:
                raise NotFoundError(_MISSING)
            self.warn(_AWAY)
        return self._run

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a point to each curve; what cannot be logged is left out, with a warning. Never an error."""
        run = self._run
        if run is None or not metrics:
            return
        with self.unharmed():
            named = {f"{self._prefix}{name}": value for name, value in metrics.items()}
            try:
                run.log(named, step=step)
            except InvalidValueError:  # then none of them is kept
                for name, value in named.items():
                    with self.unharmed():
                        run.log({name: value}, step=step)

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """What goes wrong in the block is a warning: training is worth more than what is told of it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, training goes on
            self.warn(f"not all of this training is logged: {told(error)}")

    def warn(self, message: str) -> None:
        """Warn, once."""
        if not self._warned:
            self._warned = True
            with suppress(Warning):  # where warnings are errors, this one must not end a training
                warnings.warn(message, stacklevel=2)


def _going() -> Run | None:
    try:
        return current_run()
    except NotFoundError:
        return None


def _is_over(run: Run) -> bool:
    return run._ended is not None  # noqa: SLF001  a part of it


def _sent(prefix: str) -> Logbook:
    """What arrives in another process: the run stays where it is."""
    book = Logbook(prefix=prefix)
    book._away = True  # noqa: SLF001  its own
    return book
