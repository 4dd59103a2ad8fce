"""How often a reader of a far store waits: rounds of requests, of which those at once count as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import pytest

from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store, StoredObject
from modelkeep.stores.wrappers import Wrapper

T = TypeVar("T")


class Far(Wrapper):
    """A store that is far away: it notes when each request was under way, and counts objects asked for."""

    remote = True

    def __init__(self, within: Store, *, wait: float = 0.15, page: int = 1000) -> None:
        super().__init__(within)
        self.wait, self.page = wait, page
        self.requests = 0
        self._spans: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    def rounds(self) -> int:
        """The longest chain of requests of which each began when the one before it had ended."""
        count, free = 0, 0.0
        for begun, ended in sorted(self._spans, key=lambda span: span[1]):
            if begun >= free:
                count, free = count + 1, ended
        return count

    def _during(self, requests: int, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        time.sleep(self.wait)
        answer = work()
        with self._lock:
            self.requests += requests
            self._spans.append((begun, time.monotonic()))
        return answer

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        return self._during(1, lambda: self.within.get(key, span))

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        asked = list(keys)
        return self._during(len(asked), lambda: self.within.get_many(asked))

    def create(self, key: str, value: bytes) -> None:
        self._during(1, lambda: self.within.create(key, value))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        found = list(self.within.list(prefix))
        for start in range(0, max(1, len(found)), self.page):
            yield from self._during(1, lambda first=start: found[first : first + self.page])  # type: ignore[misc]


@pytest.fixture
def ten() -> MemoryStore:
    store = MemoryStore()
    registry = Registry(store)
    for n in range(10):
        version = registry.save({"w": np.array([n])}, "churn")
    version.promote("production")
    return store


def test_ten_versions_are_listed_cold_in_three_rounds(ten: MemoryStore) -> None:
    far = Far(ten)
    assert len(Registry(far, cache=False).model("churn").versions()) == 10
    assert far.rounds() == 3


def test_an_alias_is_loaded_cold_in_two_rounds_and_the_data(ten: MemoryStore) -> None:
    far = Far(ten)
    assert Registry(far, cache=False).load("churn@production")["w"].tolist() == [9]
    assert far.rounds() == 3


def test_a_warm_save_waits_twice_and_a_promote_once(ten: MemoryStore) -> None:
    far = Far(ten)
    registry = Registry(far, cache=False)
    version = registry.save({"w": np.array([10])}, "churn")
    version.promote("production")
    before = far.requests
    registry.save({"w": np.array([11])}, "churn")
    assert far.requests - before == 1, "the entry; the pack is not counted here"
    version.promote("production")
    assert far.requests - before == 2


def test_a_hundred_thousand_entries_are_read_cold_in_four_rounds_and_130_requests() -> None:
    store = MemoryStore()
    registry = Registry(store)
    registry.save({"w": np.zeros(1)}, "churn").promote("production")
    journal = registry.get("churn")._line.versions
    for number in range(journal.head + 1, 100_001):
        journal.append(lambda _: [], tx=f"{number:032x}")
    far = Far(store)
    assert len(Registry(far, cache=False).model("churn").versions()) == 1
    assert far.rounds() <= 4
    assert far.requests <= 130
