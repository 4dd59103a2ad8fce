from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from modelkeep.errors import AccessError, ObjectExistsError
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Latency, ReadOnly, Recording, Wrapper
from modelkeep.testing.stores import StoreContract


class DoorsIntoMemory(StoreContract):
    """Back doors into the dict of the memory store within a wrapper."""

    lacks: ClassVar[dict[str, str]] = {
        "processes": "memory is not shared between processes",
        "unfinished": "in memory nothing is left of what was not finished",
    }

    def _within(self, store: Store) -> MemoryStore:
        while isinstance(store, Wrapper):
            store = store.within
        assert isinstance(store, MemoryStore)
        return store

    def peek(self, store: Store, key: str) -> bytes | None:
        return self._within(store)._objects.get(key, (None,))[0]

    def plant(self, store: Store, key: str, value: bytes) -> None:
        self._within(store)._objects[key] = (value, datetime.now(UTC))

    def names(self, store: Store) -> set[str]:
        return set(self._within(store)._objects)


class TestWrapper(DoorsIntoMemory):
    @pytest.fixture
    def store(self) -> Store:
        return Wrapper(MemoryStore())


class TestRecording(DoorsIntoMemory):
    @pytest.fixture
    def store(self) -> Store:
        return Recording(MemoryStore())


class TestLatency(DoorsIntoMemory):
    @pytest.fixture
    def store(self) -> Store:
        return Latency(MemoryStore(), 1e-5)


class TestReadOnly(DoorsIntoMemory):
    lacks: ClassVar[dict[str, str]] = {
        **DoorsIntoMemory.lacks,
        "writing": "ReadOnly refuses to write",
    }

    @pytest.fixture
    def store(self) -> Store:
        return ReadOnly(MemoryStore())


class TestAllTogether(DoorsIntoMemory):
    @pytest.fixture
    def store(self) -> Store:
        return Latency(Recording(Wrapper(MemoryStore())), 0)


def test_read_only_refuses_every_verb_that_writes_and_changes_nothing() -> None:
    within = MemoryStore("memory://kept")
    within.create("d/a", b"old")
    store = ReadOnly(within)
    with pytest.raises(AccessError, match="memory://kept was opened for reading only, so d/a cannot") as caught:
        store.create("d/a", b"new")
    assert caught.value.key == "d/a"
    with pytest.raises(AccessError, match="d/b"):
        store.put_pack("d/b", [b"new"])
    with pytest.raises(AccessError, match="d/a, d/b"):
        store.delete(iter(["d/a", "d/b"]))
    assert {facts.key: within.get(facts.key) for facts in within.list("")} == {"d/a": b"old"}


def test_a_source_is_not_touched_by_a_store_that_cannot_write() -> None:
    source = iter([b"1", b"2"])
    with pytest.raises(AccessError):
        ReadOnly(MemoryStore()).put_pack("a", source)
    assert list(source) == [b"1", b"2"]


def test_recording_notes_every_request_in_order() -> None:
    store = Recording(MemoryStore())
    store.create("d/a", b"1")
    store.put_pack("d/b", [b"2"])
    store.get("d/a", (0, 1))
    store.get_many(iter(["d/a", "d/missing"]))
    list(store.list("d/"))
    store.delete(iter(["d/a", "d/b"]))
    assert store.requests == [
        ("create", "d/a"),
        ("put_pack", "d/b"),
        ("get", "d/a"),
        ("get", "d/a"),
        ("get", "d/missing"),
        ("list", "d/"),
        ("delete", "d/a"),
        ("delete", "d/b"),
    ]
    assert store.counts() == Counter(create=1, put_pack=1, get=3, list=1, delete=2)
    store.forget()
    assert store.requests == []


def test_recording_notes_a_request_that_fails() -> None:
    store = Recording(MemoryStore())
    store.create("a", b"")
    with pytest.raises(ObjectExistsError):
        store.create("a", b"")
    assert store.counts() == Counter(create=2)


def test_latency_waits_once_for_each_round() -> None:
    waits: list[float] = []
    store = Latency(MemoryStore(), 0.05, sleep=waits.append)
    store.create("d/a", b"1")
    assert waits == [0.05]
    store.put_pack("d/b", [b"2"])
    store.get("d/a")
    store.get_many(["d/a", "d/b", "d/c"])
    list(store.list("d/"))
    store.delete(["d/a", "d/b"])
    assert waits == [0.05] * 6


def test_latency_waits_before_it_asks() -> None:
    within = MemoryStore()
    store = Latency(within, 1, sleep=lambda _: within.create("a", b"came meanwhile"))
    assert store.get("a") == b"came meanwhile"


def test_a_wrapper_shows_what_lies_within() -> None:
    store = ReadOnly(Recording(MemoryStore("memory://x")))
    assert store.url == "memory://x"
    assert repr(store) == "ReadOnly(Recording(MemoryStore('memory://x')))"
