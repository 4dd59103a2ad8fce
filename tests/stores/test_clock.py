"""The clock of a store, read off an object that comes and goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelkeep.errors import AccessError, ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.layout import probe_key
from modelkeep.stores.clock import clock_of
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store, StoredObject
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from servers.sites import Site

KEY = probe_key("0f" * 16, "clock")
THEN = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_it_is_the_clock_that_stamps_objects_and_not_ours() -> None:
    store = Recording(MemoryStore(now=lambda: THEN))
    assert clock_of(store, KEY) == THEN
    assert list(store.within.list("")) == []
    assert store.counts() == {"create": 1, "list": 1, "delete": 1}


def test_a_disk_tells_this_machines_time_and_keeps_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models", durable=False)
    assert abs(clock_of(store, KEY) - datetime.now(UTC)) < timedelta(minutes=1)
    assert list(store.list("")) == []


@pytest.mark.parametrize("name", ["moto_site", "seaweedfs_site", "gcs_site"])
def test_a_server_tells_its_own_time_and_keeps_nothing(name: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(name)
    store = site.store(uuid.uuid4().hex)
    assert abs(clock_of(store, KEY) - datetime.now(UTC)) < timedelta(minutes=5)
    assert list(store.list("")) == []


def test_an_object_that_has_the_key_stays() -> None:
    store = MemoryStore()
    store.create(KEY, b"somebody's")
    with pytest.raises(ObjectExistsError):
        clock_of(store, KEY)
    assert store.get(KEY) == b"somebody's"


def test_where_writing_is_denied_it_is_said_so() -> None:
    with pytest.raises(AccessError, match=KEY):
        clock_of(ReadOnly(MemoryStore()), KEY)


class Answers(Wrapper):
    """Does what it is asked, and then says something else."""

    def __init__(self, within: Store, verb: str, error: Exception) -> None:
        super().__init__(within)
        self.verb, self.error = verb, error

    def _say(self, verb: str) -> None:
        if verb == self.verb:
            raise self.error

    def create(self, key: str, value: bytes) -> None:
        super().create(key, value)
        self._say("create")

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._say("list")
        return super().list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        super().delete(keys)
        self._say("delete")


@pytest.mark.parametrize(
    ("verb", "error"),
    [
        ("create", OutcomeUnknownError("no answer")),
        ("list", AccessError("not to be listed")),
        ("list", StoreError("out of order")),
        ("delete", StoreError("out of order")),
    ],
)
def test_what_a_store_says_comes_through_and_nothing_stays(verb: str, error: Exception) -> None:
    within = MemoryStore()
    with pytest.raises(type(error)) as caught:
        clock_of(Answers(within, verb, error), KEY)
    assert caught.value is error
    assert list(within.list("")) == []


def test_what_is_said_to_exist_after_a_lost_answer_is_its_own() -> None:
    within = MemoryStore(now=lambda: THEN)
    assert clock_of(Answers(within, "create", ObjectExistsError("again", key=KEY)), KEY) == THEN
    assert list(within.list("")) == []


class Unlisting(Wrapper):
    def list(self, prefix: str) -> Iterator[StoredObject]:
        return (facts for facts in super().list(prefix) if facts.key != KEY)


def test_a_store_that_does_not_list_what_it_took_tells_no_time() -> None:
    within = MemoryStore()
    within.create(f"{KEY}-2", b"")  # a longer key is not taken for its own
    with pytest.raises(StoreError, match=f"does not list {KEY}"):
        clock_of(Unlisting(within), KEY)
    assert [facts.key for facts in within.list("")] == [f"{KEY}-2"]
