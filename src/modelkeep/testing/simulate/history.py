"""What users asked for and were told, in the order in which they asked and were told; not read from the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs

from modelkeep.errors import InUseError, ModelkeepError, NotFoundError, StoreError, UnsettledError

T = TypeVar("T")

NEVER: Final = 1 << 60  # when an operation ended that was not answered
# all others write one entry, and nothing after it may fail: an error of the store means that nothing was written
_MANY_ENTRIES = frozenset({"erase", "collect", "compact"})
_MANY_STEPS = _MANY_ENTRIES | {"rollback"}


class Unsaid:
    """What became of an operation, where its caller was not told."""

    def __repr__(self) -> str:
        return "unsaid"


UNSAID: Final = Unsaid()


@attrs.define
class Call:
    """One operation.

    Args:
        kind: which, such as ``promote``.
        name: the model; empty for the policy.
        asked: the arguments.
        begun: when, by the clock of the history.
        ended: when it was answered; `NEVER`, if it was not.
        answer: what was answered; `UNSAID`, if only that it was done is known, or not even that.
        error: what was refused, or None.
        happened: whether it took effect; None: perhaps, at any time after it began, or never.
    """

    kind: str
    name: str
    asked: dict[str, Any]
    begun: int
    ended: int = NEVER
    answer: Any = UNSAID
    error: ModelkeepError | None = None
    happened: bool | None = None

    def __str__(self) -> str:
        asked = ", ".join(f"{key}={value!r}" for key, value in self.asked.items())
        told = "no answer" if self.happened is None else type(self.error).__name__ if self.error else repr(self.answer)
        ended = "" if self.ended == NEVER else self.ended
        return f"{self.kind}({asked}) -> {told} [{self.begun}-{ended}]"


class History:
    """All operations of a schedule. Beginnings and answers are counted, so each two of them have an order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.now = 0
        self._open: dict[str, Call] = {}

    def ask(self, kind: str, name: str, asked: dict[str, Any], work: Callable[[], T], tell: Callable[[T], Any]) -> T:
        """Do *work* and note what came of it. A crash leaves it unanswered.

        Args:
            kind: the operation.
            name: the model.
            asked: its arguments.
            work: does it.
            tell: makes a plain value of what *work* gave.
        """
        call = Call(kind, name, asked, self._tick())
        self.calls.append(call)
        try:
            given = work()
        except UnsettledError as error:
            self._open[error.token] = call
            raise
        except ModelkeepError as error:
            if isinstance(error, StoreError):
                if kind not in _MANY_STEPS:
                    self._end(call, happened=False)
            elif kind not in _MANY_ENTRIES or _is_refusal(error):
                self._end(call, happened=True)
                call.error = error
            raise
        call.answer = tell(given)
        self._end(call, happened=True)
        return given

    def settled(self, token: str, committed: bool | None) -> None:
        """An actor was told what became of a write; of one that takes several the rest is as open as before."""
        call = self._open[token]
        if committed is not None and call.kind not in _MANY_STEPS:
            self._end(call, happened=committed)

    def _end(self, call: Call, *, happened: bool) -> None:
        call.ended = self._tick()
        call.happened = happened

    def _tick(self) -> int:
        self.now += 1
        return self.now


def _is_refusal(error: ModelkeepError) -> bool:
    """Whether nothing was done; else a part was."""
    return isinstance(error, (InUseError, NotFoundError)) or "is held" in str(error)
