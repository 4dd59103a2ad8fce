"""A doctor's visit: requests that are timed and may fail, and probes that are taken away whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import attrs

from modelkeep._home import Home
from modelkeep.diagnosis import Check
from modelkeep.errors import AccessError, ModelkeepError, StoreError
from modelkeep.layout import PROBES, probe_key
from modelkeep.remedies import Verb, remedy_for
from modelkeep.stores.port import Store

REPEATS = 5

T = TypeVar("T")


class NotTriedError(Exception):
    """There is no way, or no point, to try this; says why."""


@attrs.define
class Visit:
    """What was asked of a place, what may have been written there, and what was found on the way.

    Args:
        home: the place.
        doctor: a fresh id.
    """

    home: Home
    doctor: str
    asked: Verb = attrs.field(default="get", init=False)
    took: float | None = attrs.field(default=None, init=False)  # seconds, the last request
    medians: dict[str, float] = attrs.field(factory=dict, init=False)  # seconds by what was asked
    failed: set[str] = attrs.field(factory=set, init=False)  # checks that met no answer
    registry: str | None = attrs.field(default=None, init=False)
    may_read: bool = attrs.field(default=False, init=False)
    barred: str = attrs.field(default="", init=False)  # why nothing is to be written here
    made: list[str] = attrs.field(factory=list, init=False)  # probes that the store acknowledged
    moment: tuple[datetime, datetime] | None = attrs.field(default=None, init=False)  # before and after the first
    _written: list[str] = attrs.field(factory=list, init=False)  # every key that may have come to be

    @property
    def store(self) -> Store:
        """What is examined."""
        return self.home.store

    @property
    def url(self) -> str:
        """Where it lies."""
        return self.home.store.url

    @property
    def is_silent(self) -> bool:
        """Whether neither a listing nor a read got an answer, so that more requests would only wait."""
        return {"list", "read"} <= self.failed

    # -- asking ----------------------------------------------------------------------------------------------

    def tell(self, name: str, check: Callable[[Visit], Check]) -> Check:
        """Make a check, whatever it raises."""
        self.took = None
        try:
            return attrs.evolve(check(self), name=name, seconds=self.took)
        except NotTriedError as error:
            return Check(name, None, f"not tried: {error}")
        except Exception as error:  # noqa: BLE001  a store by somebody else may raise anything, and that is a finding
            if isinstance(error, StoreError) and not isinstance(error, AccessError):
                self.failed.add(name)
            return Check(name, False, self.said(error), remedy_for(error, self.asked, self.url))

    def said(self, error: Exception) -> str:
        """What *error* says, on one line."""
        said = " ".join(str(error).split())
        if isinstance(error, AccessError) and self.asked in ("create", "put"):
            return f"you may {'read but ' if self.may_read else ''}not write here: {said}"
        return said if isinstance(error, ModelkeepError) else f"{type(error).__name__}: {said}"

    def ask(self, verb: Verb, act: Callable[[], T]) -> T:
        """Make a request and note how long it took."""
        self.asked = verb
        began = perf_counter()
        result = act()
        self.took = perf_counter() - began
        return result

    def ask_often(self, verb: Verb, what: str, act: Callable[[int], T]) -> T:
        """Make a request five times and note the median."""
        times = []
        for turn in range(REPEATS):
            result = self.ask(verb, partial(act, turn))
            times.append(self.took or 0.0)
        self.took = self.medians[what] = median(times)
        return result

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Read back what was written, leaving the time of the writing as it is."""
        took = self.took
        found = self.ask("get", lambda: self.store.get(key, span))
        self.took = took
        return found

    # -- probes ----------------------------------------------------------------------------------------------

    def key(self, name: str) -> str:
        """The key of a probe."""
        return probe_key(self.doctor, name)

    def write(self, verb: Verb, name: str, act: Callable[[str], None]) -> str:
        """Write the probe *name* with *act*.

        Raises:
            NotTriedError: nothing is to be written here.
        """
        (key,) = self.expect([self.key(name)])
        try:
            self.ask(verb, lambda: act(key))
        except AccessError:
            self._written.remove(key)  # denied is the one failure after which it surely does not lie there
            raise
        return key

    def expect(self, keys: list[str]) -> list[str]:
        """Note that *keys* may come to be, so that they go in the end.

        Raises:
            NotTriedError: nothing is to be written here.
        """
        if self.barred:
            raise NotTriedError(self.barred)
        self._written += keys
        return keys

    def probe(self) -> str:
        """A probe that was created.

        Raises:
            NotTriedError: there is none.
        """
        if not self.made:
            raise NotTriedError(self.barred or "it needs a probe, and none could be created")
        return self.made[0]

    @contextmanager
    def leaving_nothing(self, left: list[Check]) -> Iterator[None]:
        """Afterwards delete every probe; *left* gets a check if some may have stayed."""
        leaving_no_folder: Callable[[str], AbstractContextManager[None]]
        leaving_no_folder = optional(self.store, "leaving_no_folder", lambda _: nullcontext())
        with leaving_no_folder(PROBES):
            try:
                yield
            finally:
                left += self._clean_up()

    def _clean_up(self) -> list[Check]:
        left = self._undeleted() if self._written else []
        if not left:
            return []
        detail = f"{len(left)} probes may be left under {PROBES}{self.doctor}-; they do no harm"
        return [Check("clean up", None, detail, "have them deleted by somebody who may")]

    def _undeleted(self) -> list[str]:
        try:
            self.store.delete(self._written)
        except AccessError:
            return self._written
        except Exception:  # noqa: BLE001  whatever it was, the others are still to be deleted
            return [key for key in self._written if not self._deletes(key)]
        return []

    def _deletes(self, key: str) -> bool:
        try:
            self.store.delete([key])
        except Exception:  # noqa: BLE001  see _undeleted
            return False
        return True


def optional(store: Store, name: str, default: Any) -> Any:
    """An optional capability: of the store, or of the one that it wraps."""
    within: Any = store
    while not hasattr(within, name) and hasattr(within, "within"):
        within = within.within
    return getattr(within, name, default)
