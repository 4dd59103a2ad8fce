"""The part of a store's contract that says what a listing names, in which order, and how fresh it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelkeep.errors import MissingObjectError, StoreError
from modelkeep.stores.port import Store
from modelkeep.testing.doors import Doors

BAD_PREFIXES = ["/", "/a", "//", "a//", "..", "../", "../x", "a/../", ".", "a/.b", "a\\b", "é", "a\0"]
MEBIBYTE = 1 << 20  # bytes


class ListingContract(Doors):
    """What `Store.list` must do; part of `StoreContract`."""

    def test_a_listing_is_in_key_order_where_folders_meet_names(self, store: Store) -> None:
        keys = ["a", "d/a-b", "d/a.b", "d/a/b", "d/a/c", "d/a0", "d/a_b", "d/b", "d-e/f", "d.e", "d0", "e"]
        for key in reversed(keys):
            self.plant(store, key, b"")
        assert [facts.key for facts in store.list("")] == sorted(keys)

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("d/", ["d/a-b", "d/a/b", "d/ab", "d/c"]),
            ("d/a", ["d/a-b", "d/a/b", "d/ab"]),
            ("d/a/", ["d/a/b"]),
            ("d/a/b", ["d/a/b"]),
            ("d/a/b/", []),
            ("d/ab", ["d/ab"]),
            ("d/abc", []),
            ("d", ["d/a-b", "d/a/b", "d/ab", "d/c", "de"]),
            ("x/y/", []),
        ],
    )
    def test_a_prefix_may_end_inside_a_name(self, store: Store, prefix: str, expected: list[str]) -> None:
        for key in ["c", "d/a-b", "d/a/b", "d/ab", "d/c", "de", "f"]:
            self.plant(store, key, b"")
        assert [facts.key for facts in store.list(prefix)] == expected

    def test_numbered_keys_list_as_numbers(self, store: Store) -> None:
        numbers = [1, 2, 9, 10, 99, 100, 10**15]
        for number in reversed(numbers):
            self.plant(store, f"v/{number:020d}.json", b"")
        assert [int(facts.key[2:22]) for facts in store.list("v/")] == numbers

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert list(store.list("")) == []
        assert list(store.list("d/")) == []

    def test_a_listing_is_never_from_a_cache(self, store: Store) -> None:
        self.plant(store, "d/a", b"1")
        assert [facts.key for facts in store.list("d/")] == ["d/a"]
        self.plant(store, "d/b", b"1")
        self.plant(store, "d/a", b"longer")
        assert [(facts.key, facts.size) for facts in store.list("d/")] == [("d/a", 6), ("d/b", 1)]

    def test_a_missing_object_is_seen_once_it_is_there(self, store: Store) -> None:
        with pytest.raises(MissingObjectError):
            store.get("d/a")
        assert store.get_many(["d/a"]) == {}
        self.plant(store, "d/a", b"1")
        assert store.get("d/a") == b"1"
        assert store.get_many(["d/a"]) == {"d/a": b"1"}

    def test_a_listing_tells_sizes_in_bytes(self, store: Store) -> None:
        for size in (0, 1, 300, MEBIBYTE):
            self.plant(store, f"d/{size}", b"x" * size)
        assert {facts.key: facts.size for facts in store.list("d/")} == {
            f"d/{size}": size for size in (0, 1, 300, MEBIBYTE)
        }

    def test_a_listing_tells_when_objects_were_written(self, store: Store) -> None:
        self.need("writing")
        store.create("d/a", b"1")
        store.put_pack("d/b", [b"1"])
        for facts in store.list("d/"):
            assert facts.modified.utcoffset() == timedelta(0)
        self.need("clock")
        for facts in store.list("d/"):
            assert abs(datetime.now(UTC) - facts.modified) < timedelta(minutes=1)

    def test_a_listing_survives_what_is_deleted_meanwhile(self, store: Store) -> None:
        self.need("writing")
        keys = [f"d/{number}" for number in range(9)]
        for key in keys:
            self.plant(store, key, b"")
        listing = store.list("d/")
        first = next(listing).key
        store.delete(keys)
        assert first == keys[0]
        assert {facts.key for facts in listing} <= set(keys)

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    def test_a_prefix_that_no_key_has_is_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(StoreError) as caught:
            list(store.list(prefix))
        assert caught.value.key == prefix
