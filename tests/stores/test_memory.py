from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import pytest

from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.testing.stores import StoreContract


class MemoryDoors(StoreContract):
    """Back doors into the dict of a memory store."""

    lacks: ClassVar[dict[str, str]] = {"processes": "memory is not shared between processes"}

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
