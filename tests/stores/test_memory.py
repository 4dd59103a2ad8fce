from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.testing.stores import StoreContract


class MemoryDoors(StoreContract):
    """Back doors into the dict of a memory store."""

    lacks: ClassVar[dict[str, str]] = {
        "processes": "memory is not shared between processes",
        "unfinished": "in memory nothing is left of what was not finished",
    }

    def _within(self, store: Store) -> MemoryStore:
        assert isinstance(store, MemoryStore)
        return store

    def peek(self, store: Store, key: str) -> bytes | None:
        return self._within(store)._objects.get(key, (None,))[0]

    def plant(self, store: Store, key: str, value: bytes) -> None:
        self._within(store)._objects[key] = (value, datetime.now(UTC))

    def names(self, store: Store) -> set[str]:
        return set(self._within(store)._objects)


class TestMemoryStore(MemoryDoors):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


def test_objects_are_stamped_by_the_clock_that_was_given() -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    store = MemoryStore(now=lambda: moment)
    store.create("a", b"1")
    store.put_pack("b", [b"2"])
    assert [facts.modified for facts in store.list("")] == [moment, moment]


def test_what_was_given_may_change_afterwards() -> None:
    store = MemoryStore()
    value = bytearray(b"old")
    store.create("a", value)  # type: ignore[arg-type]  # callers without a type checker do this
    value[:] = b"new"
    assert store.get("a") == b"old"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs fork")
def test_a_child_forked_while_another_thread_holds_the_lock_can_read() -> None:
    store = MemoryStore()
    store.create("a", b"1")
    with store._lock:
        child = os.fork()
        if not child:
            signal.alarm(10)
            os._exit(0 if store.get("a") == b"1" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
