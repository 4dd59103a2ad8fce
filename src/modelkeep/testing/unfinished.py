"""The part of a store's contract that says what becomes of writes that are never finished."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from modelkeep.errors import MissingObjectError, StoreError
from modelkeep.stores.port import Store, Unfinished, UnfinishedWrite, abandon, unfinished
from modelkeep.testing.doors import Doors

SENT = 17 << 20  # bytes that a write under way has handed over; enough that no store holds all of them back
REST = 1 << 20  # bytes that it has yet to hand over
WHOLE = b"x" * SENT + b"y" * REST
LONGEST = 120  # seconds that a write under way waits before it goes on by itself


@attrs.frozen
class UnderWay:
    """A write that waits to go on.

    Args:
        key: what it will have stored.
        going: set to let it go on.
        written: how it ended.
    """

    key: str
    going: threading.Event
    written: Future[None]

    def finish(self) -> None:
        """Let it go on, and wait for its end; what the store raised comes through."""
        self.going.set()
        self.written.result()


class UnfinishedContract(Doors):
    """What a store with the capability `Unfinished` must do; part of `StoreContract`."""

    @contextmanager
    def under_way(self, store: Store, key: str) -> Iterator[UnderWay]:
        """A pack of which the store has got all but the end."""
        going, reached = threading.Event(), threading.Event()

        def source() -> Iterator[bytes]:
            yield b"x" * SENT
            reached.set()
            going.wait(LONGEST)
            yield b"y" * REST

        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(store.put_pack, key, source())
            written.add_done_callback(lambda _: reached.set())  # a store that fails early shall not keep us waiting
            try:
                reached.wait(LONGEST)
                yield UnderWay(key, going, written)
            finally:
                going.set()

    def need_unfinished(self, store: Store) -> None:
        """Skip the running test if the store cannot name what was never finished."""
        self.need("unfinished", "writing")
        if not isinstance(store, Unfinished):
            self._skip("unfinished")

    def test_what_is_finished_is_not_unfinished(self, store: Store) -> None:
        self.need_unfinished(store)
        store.create("d/a", b"1")
        store.put_pack("d/b.pack", [b"1"])
        store.put_pack("d/e/c.pack", [b"x" * SENT])
        assert list(unfinished(store, "")) == []

    def test_a_write_under_way_is_named_below_its_prefix_alone(self, store: Store) -> None:
        self.need_unfinished(store)
        with self.under_way(store, "d/%65/a.pack") as write:
            assert list(store.list("")) == []
            for prefix in ("", "d/", "d/%6", "d/%65/"):
                (found,) = unfinished(store, prefix)
                assert found.key.startswith(prefix)
                assert write.key.startswith(found.key)
            for prefix in ("e/", "d/%6/", "d/%65/a.pack/", "d/%65/b", "x/y/"):
                assert list(unfinished(store, prefix)) == []
            write.finish()
        assert list(unfinished(store, "")) == []
        assert self.peek(store, write.key) == WHOLE

    def test_an_unfinished_write_tells_its_size_and_when_it_went_on_last(self, store: Store) -> None:
        self.need_unfinished(store)
        with self.under_way(store, "d/a.pack"):
            (found,) = unfinished(store, "d/")
            assert 0 <= found.size <= SENT
            assert found.modified.utcoffset() == timedelta(0)
            self.need("clock")
            assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)

    def test_an_abandoned_write_leaves_nothing_and_its_writer_fails(self, store: Store) -> None:
        self.need_unfinished(store)
        with self.under_way(store, "d/a.pack") as write:
            found = list(unfinished(store, "d/"))
            abandon(store, iter(found))
            assert list(unfinished(store, "")) == []
            abandon(store, found)  # again, and they are gone
            with pytest.raises(StoreError, match="call again") as caught:
                write.finish()
            assert caught.value.key == "d/a.pack"
        with pytest.raises(MissingObjectError):
            store.get("d/a.pack")
        assert list(unfinished(store, "")) == []
        assert self.names(store) == set()

    def test_abandoning_one_write_leaves_others_alone(self, store: Store) -> None:
        self.need_unfinished(store)
        with self.under_way(store, "d/e/a.pack") as one, self.under_way(store, "d/f/a.pack") as other:
            abandon(store, unfinished(store, "d/e/"))
            other.finish()
            with pytest.raises(StoreError):
                one.finish()
        assert [facts.key for facts in store.list("")] == ["d/f/a.pack"]

    def test_what_was_finished_meanwhile_is_not_abandoned(self, store: Store) -> None:
        self.need_unfinished(store)
        with self.under_way(store, "d/a.pack") as write:
            found = list(unfinished(store, "d/"))
            write.finish()
        assert len(found) == 1
        abandon(store, found)
        assert self.peek(store, "d/a.pack") == WHOLE

    def test_what_no_store_calls_an_unfinished_write_is_refused(self, store: Store) -> None:
        self.need_unfinished(store)
        self.plant(store, "d/a", b"1")
        for write in forged("", " ", "a b", "\0", "é"):
            with pytest.raises(StoreError):
                abandon(store, [write])
            assert self.peek(store, "d/a") == b"1"

    def test_no_object_is_taken_away_as_unfinished(self, store: Store) -> None:
        self.need_unfinished(store)
        self.plant(store, "d/a", b"1")
        for write in forged("a", "d/a", "../d/a", ".", "..", ".tmp-1", "0" * 32):
            with suppress(StoreError):
                abandon(store, [write])
            assert self.peek(store, "d/a") == b"1"

    def test_nothing_is_unfinished_under_a_prefix_that_no_key_has(self, store: Store) -> None:
        self.need_unfinished(store)
        for prefix in ("/", "a//", "../", ".", "é"):
            with pytest.raises(StoreError) as caught:
                list(unfinished(store, prefix))
            assert caught.value.key == prefix


def forged(*names: str) -> Iterator[UnfinishedWrite]:
    """What might be taken for an unfinished write."""
    for key in ("", "d", "d/", "d/a", "../d/", "/"):
        for name in names:
            yield UnfinishedWrite(key, name, 0, datetime.now(UTC))
