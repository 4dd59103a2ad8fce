"""What the tests of `Live` and `watch` follow: models that know whether they are whole; a store that can be down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import numpy as np

import modelkeep as mk
from modelkeep.errors import StoreError
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper

PATIENCE = 60  # seconds until a test that waits for something gives up
ROWS = 1000
ASK = np.zeros(1)
ENTERED, GO_ON = threading.Event(), threading.Event()


class Numbered:
    """Answers with its number, and with a sum that only the whole table of that number gives."""

    def __init__(self, number: int) -> None:
        self.number, self.table = number, np.full(ROWS, number)

    def predict(self, inputs: Any) -> tuple[int, int]:
        return self.number, int(self.table.sum()) + int(np.sum(inputs))


class Failing(Numbered):
    """Raises whatever it is asked."""

    def predict(self, _: Any) -> tuple[int, int]:
        raise ZeroDivisionError("no rows in the denominator")


class Changeable(Numbered):
    """Answers otherwise than it did when it was saved, as another version of a library would have it."""

    drift = 0

    def predict(self, inputs: Any) -> Any:
        return np.asarray(inputs) + self.drift


class Slow(Numbered):
    """Says that it was asked, and answers when it is told to."""

    def predict(self, inputs: Any) -> tuple[int, int]:
        ENTERED.set()
        assert GO_ON.wait(PATIENCE)
        return super().predict(inputs)


def right(answer: tuple[int, int], added: int = 0) -> bool:
    number, total = answer
    return total == ROWS * number + added


class Down(Wrapper):
    """A store that answers nothing while it is down."""

    down = False

    def _asked(self) -> None:
        if self.down:
            raise StoreError("the storage is down")

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self._asked()
        return super().get(key, span)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        self._asked()
        return super().get_many(keys)


@attrs.define
class Clock:
    """A clock that stands still, unless somebody sleeps or the test says otherwise; what happens in a sleep is told."""

    time: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    slept: list[float] = attrs.Factory(list)
    meanwhile: Callable[[], object] = attrs.field(default=lambda: None)

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_by(seconds)
        self.meanwhile()

    def system(self) -> mk.System:
        return mk.System(now=lambda: self.time, sleep=self.sleep, jitter=lambda: 0.0)


@attrs.define
class Shared:
    """One store with two registries on it, as two processes have: one promotes, the other follows by our clock."""

    store: Down = attrs.field(factory=lambda: Down(MemoryStore()))
    clock: Clock = attrs.Factory(Clock)
    writer: Registry = attrs.field(init=False)
    reader: Registry = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.writer = Registry(self.store.within, trust="cloudpickle")
        self.reader = Registry(self.store, trust="cloudpickle", system=self.clock.system())

    def save(self, model: object, **given: Any) -> mk.ModelVersion:
        version: mk.ModelVersion = self.writer.save(model, "churn", serializer="cloudpickle", **given)
        return version

    def promoted(self, *numbers: int) -> mk.ModelVersion:
        """Versions that answer with their number; the last of them is promoted."""
        for number in numbers:
            version = self.save(Numbered(number), example=np.zeros(2))
            assert version.number == number
        return version.promote("production")
