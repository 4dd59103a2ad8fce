"""The contract of a store as a test suite: a new store inherits it, and a skipped test names what it lacks.

pytest shows both sides of a failed assertion here if a ``conftest.py`` says, before this module is imported,
``pytest.register_assert_rewrite("modelkeep.testing")``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from modelkeep.errors import MissingObjectError, ObjectExistsError, StoreError
from modelkeep.races import race, value_of
from modelkeep.stores.port import MAX_VALUE, Store, mapped
from modelkeep.testing.listings import MEBIBYTE, ListingContract
from modelkeep.testing.unfinished import UnfinishedContract

__all__ = ["StoreContract", "race", "value_of"]

BAD_KEYS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../x", "a/.b", ".tmp-1", "a\\b", "a b", "a:b", "é",
    "a\0b", "a\n", "x" * 256,
]  # fmt: skip
LONG = "models/" + "%c3%a9" * 33 + "ab/versions/00000000000000000001.json"  # a name of 200 bytes


class StoreContract(ListingContract, UnfinishedContract):
    """What every store must do, as tests; inherit it and give it a store.

    A store is never tested with itself: what it writes is looked at, and what it reads is put there, through
    back doors that go past it. Without a back door, and for each capability named in *lacks*, the tests that
    need it are skipped, and the skip says why.

    ==========  ======================================================================
    capability  what it is
    ==========  ======================================================================
    writing     the store takes `create`, `put_pack` and `delete`
    peek        back door: read what lies under a key
    plant       back door: put bytes under a key
    names       back door: name everything that lies there, temporary files too
    processes   `recipe` gives a picklable callable that opens the same store in another process
    whole       no reader sees half a value while `create` is writing it
    clock       the store stamps objects by this machine's clock
    unfinished  the store names and takes away what was never finished
    ==========  ======================================================================

    Example:
        class TestNasStore(StoreContract):
            @pytest.fixture
            def store(self, tmp_path):
                return open_store(tmp_path.as_uri())
    """

    def test_what_it_lacks_is_a_capability(self) -> None:
        assert set(self.lacks) <= set(self.CAPABILITIES)

    def test_it_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)
        assert "://" in store.url

    # create

    def test_create_stores_exactly_the_bytes(self, store: Store) -> None:
        self.need("writing")
        value = bytes(range(256)) * 5 + b"\r\n\0"
        store.create("d/a", value)
        assert self.peek(store, "d/a") == value

    def test_create_stores_an_empty_value(self, store: Store) -> None:
        self.need("writing")
        store.create("d/empty", b"")
        assert self.peek(store, "d/empty") == b""

    @pytest.mark.parametrize("value", [b"", b"same", b"x" * MEBIBYTE], ids=["empty", "short", "long"])
    def test_equal_bytes_still_lose(self, store: Store, value: bytes) -> None:
        self.need("writing")
        store.create("d/a", value)
        with pytest.raises(ObjectExistsError) as caught:
            store.create("d/a", value)
        assert caught.value.key == "d/a"

    @pytest.mark.parametrize("value", [b"", b"new and longer"], ids=["empty", "longer"])
    def test_the_loser_leaves_the_old_bytes_intact(self, store: Store, value: bytes) -> None:
        self.need("writing")
        self.plant(store, "d/a", b"old")
        with pytest.raises(ObjectExistsError):
            store.create("d/a", value)
        assert self.peek(store, "d/a") == b"old"
        assert store.get("d/a") == b"old"

    def test_the_loser_leaves_nothing_else_behind(self, store: Store) -> None:
        self.need("writing")
        self.plant(store, "d/a", b"old")
        with pytest.raises(ObjectExistsError):
            store.create("d/a", b"new")
        assert self.names(store) == {"d/a"}

    def test_a_pack_holds_its_key_against_create(self, store: Store) -> None:
        self.need("writing")
        store.put_pack("d/a.pack", [b"pack"])
        with pytest.raises(ObjectExistsError):
            store.create("d/a.pack", b"")
        assert store.get("d/a.pack") == b"pack"

    def test_a_deleted_key_can_be_created_again(self, store: Store) -> None:
        self.need("writing")
        store.create("d/a", b"1")
        store.delete(["d/a"])
        store.create("d/a", b"2")
        assert store.get("d/a") == b"2"

    def test_of_16_threads_on_one_key_exactly_one_wins(self, store: Store) -> None:
        self.need("writing")
        barrier = threading.Barrier(16)

        def attempt(key: str, value: bytes) -> bytes | None:
            barrier.wait()
            with suppress(ObjectExistsError):
                store.create(key, value)
                return value
            return None

        with ThreadPoolExecutor(16) as pool:
            for race_number in range(self.races):
                key = f"races/{race_number}"
                won = list(pool.map(attempt, [key] * 16, [b"writer %d" % n for n in range(16)]))
                winners = [value for value in won if value is not None]
                assert len(winners) == 1, f"{len(winners)} of 16 threads won {key}"
                assert store.get(key) == winners[0]

    def test_of_several_processes_on_one_key_exactly_one_wins(self, store: Store) -> None:
        self.need("writing", "processes")
        keys = [f"races/{number}" for number in range(self.races)]
        for key, winners in race(self.recipe(store), keys, processes=3).items():
            assert len(winners) == 1, f"processes {winners} of 3 won {key}"
            assert store.get(key) == value_of(key, winners[0])

    def test_the_largest_value_fits(self, store: Store) -> None:
        self.need("writing")
        store.create("d/a", b"x" * MAX_VALUE)
        assert store.get("d/a") == b"x" * MAX_VALUE

    def test_a_larger_value_is_refused_and_nothing_is_left(self, store: Store) -> None:
        self.need("writing")
        with pytest.raises(StoreError, match=str(MAX_VALUE)) as caught:
            store.create("d/a", b"x" * (MAX_VALUE + 1))
        assert caught.value.key == "d/a"
        assert list(store.list("")) == []
        assert self.names(store) == set()

    def test_a_reader_never_sees_half_a_value(self, store: Store) -> None:
        self.need("writing", "whole")
        value = b"x" * (4 * MEBIBYTE)
        done = threading.Event()

        def write() -> None:
            try:
                for number in range(8):
                    store.create(f"d/{number}", value)
            finally:
                done.set()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            sizes = set()
            while not done.is_set():
                sizes |= {facts.size for facts in store.list("d/")}
                sizes |= {len(found) for found in store.get_many(f"d/{n}" for n in range(8)).values()}
            writing.result()
        assert sizes <= {len(value)}

    # get and get_many

    def test_get_gives_exactly_the_bytes(self, store: Store) -> None:
        value = bytes(range(256)) * 5 + b"\r\n\0"
        self.plant(store, "d/a", value)
        self.plant(store, "d/empty", b"")
        assert store.get("d/a") == value
        assert store.get("d/empty") == b""

    def test_get_of_a_missing_object_names_the_key(self, store: Store) -> None:
        with pytest.raises(MissingObjectError, match="d/missing") as caught:
            store.get("d/missing")
        assert caught.value.key == "d/missing"

    def test_a_span_of_a_missing_object_is_missing(self, store: Store) -> None:
        with pytest.raises(MissingObjectError):
            store.get("d/missing", (0, 0))

    def test_a_folder_is_no_object(self, store: Store) -> None:
        self.plant(store, "d/e/a", b"1")
        for key in ("d", "d/e", "d/e/a/b"):
            with pytest.raises(MissingObjectError):
                store.get(key)
        assert store.get_many(["d", "d/e", "d/e/a", "d/e/a/b"]) == {"d/e/a": b"1"}

    @pytest.mark.parametrize(
        ("span", "expected"),
        [
            ((0, 3), b"012"),
            ((4, 2), b"45"),
            ((0, 10), b"0123456789"),
            ((7, 100), b"789"),
            ((0, 1 << 40), b"0123456789"),
            ((9, 1), b"9"),
            ((10, 1), b""),
            ((11, 5), b""),
            ((1 << 40, 5), b""),
            ((0, 0), b""),
            ((5, 0), b""),
            ((10, 0), b""),
        ],
    )
    def test_a_span_is_cut_where_the_object_ends(self, store: Store, span: tuple[int, int], expected: bytes) -> None:
        self.plant(store, "d/a", b"0123456789")
        assert store.get("d/a", span) == expected

    def test_a_span_of_an_empty_object_is_empty(self, store: Store) -> None:
        self.plant(store, "d/a", b"")
        assert store.get("d/a", (0, 5)) == b""

    @pytest.mark.parametrize(
        ("offset", "room", "expected"), [(2, 4, b"2345"), (7, 8, b"789"), (10, 8, b""), (3, 0, b"")]
    )
    def test_a_span_goes_into_what_is_given_as_far_as_the_object_goes(
        self, store: Store, offset: int, room: int, expected: bytes
    ) -> None:
        self.plant(store, "d/a", b"0123456789")
        target = bytearray(b"." * (room + 2))
        assert store.get_into("d/a", offset, memoryview(target)[1:-1]) == len(expected)
        assert target == b"." + expected.ljust(room, b".") + b"."

    def test_a_large_span_goes_into_what_is_given(self, store: Store) -> None:
        whole = bytes(range(256)) * (80 * 1024)
        self.plant(store, "d/a", whole)
        target = bytearray(len(whole))
        assert store.get_into("d/a", 1, memoryview(target)) == len(whole) - 1
        assert target == whole[1:] + b"\0"

    def test_what_is_missing_goes_into_nothing(self, store: Store) -> None:
        with pytest.raises(MissingObjectError):
            store.get_into("d/a", 0, memoryview(bytearray(3)))
        with pytest.raises(MissingObjectError):
            store.get_into("d/a", 0, memoryview(bytearray(0)))

    @pytest.mark.parametrize("span", [(-1, 2), (0, -1), (-3, -3)])
    def test_a_negative_span_is_refused(self, store: Store, span: tuple[int, int]) -> None:
        self.plant(store, "d/a", b"0123456789")
        with pytest.raises(StoreError, match="d/a"):
            store.get("d/a", span)

    def test_get_many_omits_what_is_missing(self, store: Store) -> None:
        self.plant(store, "d/a", b"1")
        self.plant(store, "d/empty", b"")
        asked = iter(["d/a", "d/missing", "d/empty", "e/missing"])
        assert store.get_many(asked) == {"d/a": b"1", "d/empty": b""}

    def test_get_many_of_nothing_is_empty(self, store: Store) -> None:
        assert store.get_many([]) == {}

    def test_a_value_is_the_readers_own(self, store: Store) -> None:
        self.plant(store, "d/a", b"1")
        assert type(store.get("d/a")) is bytes
        assert [type(value) for value in store.get_many(["d/a"]).values()] == [bytes]

    # map, where a store has it

    def mapped(self, store: Store, value: bytes) -> memoryview:
        """A map of an object that holds *value*; skips where the store makes none."""
        self.plant(store, "d/a", value)
        found = mapped(store, "d/a")
        if found is None:
            pytest.skip("lacks maps: its objects are no files of this machine, or it does not show them")
        return found

    def test_a_map_shows_the_bytes_and_can_be_written_to(self, store: Store) -> None:
        found = self.mapped(store, b"abc" * 5000)
        assert bytes(found) == b"abc" * 5000
        assert not found.readonly

    def test_what_is_written_into_a_map_is_seen_nowhere_else(self, store: Store) -> None:
        found = self.mapped(store, b"abc" * 5000)
        other = mapped(store, "d/a")
        found[0] = 0
        assert other is not None
        assert other[0] == store.get("d/a")[0] == b"a"[0]

    def test_a_map_stays_as_it_is_when_the_object_is_deleted(self, store: Store) -> None:
        self.need("writing")
        found = self.mapped(store, b"abc" * 5000)
        store.delete(["d/a"])
        assert bytes(found) == b"abc" * 5000

    def test_a_map_of_what_is_not_there_is_an_error_that_names_the_key(self, store: Store) -> None:
        self.mapped(store, b"abc")
        with pytest.raises(MissingObjectError) as caught:
            mapped(store, "d/other")
        assert caught.value.key == "d/other"

    # put_pack

    def test_a_pack_joins_what_its_source_yields_in_order(self, store: Store) -> None:
        self.need("writing")
        parts: list[bytes | bytearray | memoryview] = [
            b"a" * MEBIBYTE,
            b"",
            bytearray(b"bc"),
            memoryview(b"_def_")[1:4],
            b"g" * (9 * MEBIBYTE),
        ]
        store.put_pack("d/a.pack", iter(parts))
        assert self.peek(store, "d/a.pack") == b"".join(parts)

    def test_a_pack_may_reuse_its_buffer(self, store: Store) -> None:
        self.need("writing")
        buffer = bytearray(4)

        def source() -> Iterator[bytes]:
            for number in range(3):
                buffer[:] = b"%04d" % number
                yield bytes(buffer)

        store.put_pack("d/a.pack", source())
        assert self.peek(store, "d/a.pack") == b"000000010002"

    def test_an_empty_pack_exists(self, store: Store) -> None:
        self.need("writing")
        store.put_pack("d/a.pack", [])
        assert self.peek(store, "d/a.pack") == b""
        assert [facts.size for facts in store.list("d/")] == [0]

    def test_a_pack_put_twice_is_there_once(self, store: Store) -> None:
        self.need("writing")
        store.put_pack("d/a.pack", [b"one", b"two"])
        store.put_pack("d/a.pack", [b"onetwo"])
        assert self.peek(store, "d/a.pack") == b"onetwo"
        assert self.names(store) == {"d/a.pack"}

    def test_nothing_of_a_pack_shows_before_all_of_it_is_there(self, store: Store) -> None:
        self.need("writing")
        self.plant(store, "d/other", b"")

        def source() -> Iterator[bytes]:
            for _ in range(12):
                yield b"x" * MEBIBYTE
                with pytest.raises(MissingObjectError):
                    store.get("d/a.pack")
                assert store.get_many(["d/a.pack"]) == {}
                assert [facts.key for facts in store.list("")] == ["d/other"]

        store.put_pack("d/a.pack", source())
        assert len(store.get("d/a.pack")) == 12 * MEBIBYTE

    @pytest.mark.parametrize("error", [RuntimeError("broken"), PermissionError("denied"), KeyboardInterrupt()])
    def test_a_failing_source_leaves_nothing_and_its_error_comes_through(
        self, store: Store, error: BaseException
    ) -> None:
        self.need("writing")

        def source() -> Iterator[bytes]:
            yield b"x" * (9 * MEBIBYTE)
            raise error

        with pytest.raises(type(error)) as caught:
            store.put_pack("d/a.pack", source())
        assert caught.value is error
        assert list(store.list("")) == []
        assert self.names(store) == set()

    def test_a_failing_source_leaves_an_earlier_pack_intact(self, store: Store) -> None:
        self.need("writing")
        self.plant(store, "d/a.pack", b"old")

        def source() -> Iterator[bytes]:
            yield b"new"
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            store.put_pack("d/a.pack", source())
        assert self.peek(store, "d/a.pack") == b"old"

    # delete

    def test_delete_removes_only_what_it_names(self, store: Store) -> None:
        self.need("writing")
        for key in ("d/a", "d/ab", "d/b", "e"):
            self.plant(store, key, b"1")
        store.delete(iter(["d/a", "e"]))
        assert self.peek(store, "d/a") is None
        assert [facts.key for facts in store.list("")] == ["d/ab", "d/b"]

    def test_delete_of_what_is_missing_is_no_error(self, store: Store) -> None:
        self.need("writing")
        self.plant(store, "d/a", b"1")
        store.delete([])
        store.delete(["d/missing", "x/y/z", "d", "d/a/b", "d/a", "d/a"])
        assert list(store.list("")) == []

    def test_delete_and_get_many_may_ask_the_store_for_their_keys(self, store: Store) -> None:
        self.need("writing")
        for number in range(5):
            self.plant(store, f"d/{number}", b"%d" % number)

        def odd() -> Iterator[str]:
            for facts in store.list("d/"):
                if int(store.get(facts.key)) % 2:
                    yield facts.key

        assert set(store.get_many(odd())) == {"d/1", "d/3"}
        store.delete(odd())
        assert [facts.key for facts in store.list("")] == ["d/0", "d/2", "d/4"]

    # keys

    @pytest.mark.parametrize("key", ["%43hurn/a%2e", "d/%2e%2e", "d/%00", "d/100%", LONG, f"d/{'x' * 255}"])
    def test_keys_with_percent_signs_and_long_ones_are_taken_as_they_are(self, store: Store, key: str) -> None:
        self.plant(store, key, b"planted")
        assert store.get(key) == b"planted"
        assert store.get_many([key]) == {key: b"planted"}
        assert [facts.key for facts in store.list("")] == [key]
        assert [facts.key for facts in store.list(key[:-1])] == [key]
        self.need("writing")
        store.delete([key])
        assert self.peek(store, key) is None
        store.create(key, b"created")
        assert self.peek(store, key) == b"created"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_bad_key_is_refused_by_what_reads(self, store: Store, key: str) -> None:
        for refused in (lambda: store.get(key), lambda: store.get_many([key])):
            with pytest.raises(StoreError) as caught:
                refused()
            assert caught.value.key == key

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_bad_key_is_refused_by_what_writes(self, store: Store, key: str) -> None:
        self.need("writing")
        refusals: list[Callable[[], object]] = [
            lambda: store.create(key, b""),
            lambda: store.put_pack(key, [b""]),
            lambda: store.delete([key]),
        ]
        for refused in refusals:
            with pytest.raises(StoreError) as caught:
                refused()
            assert caught.value.key == key
        assert self.names(store) == set()
