"""The cache before a far store: what it saves, and that what is read through it is what the store would say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import modelkeep as mk
from modelkeep import tiles, zstd
from modelkeep.cache import Cache, CacheFolder, Kept
from modelkeep.digest import digest
from modelkeep.entry import encode, genesis
from modelkeep.errors import ConflictError, IntegrityError, MissingObjectError
from modelkeep.folds import policy
from modelkeep.folds.policy import Policy, SetPolicy
from modelkeep.journal import Journal
from modelkeep.layout import entry_key, tile_key
from modelkeep.stores.cached import Cached
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Latency, ReadOnly, Recording, Wrapper
from modelkeep.system import System
from modelkeep.testing import simulate
from modelkeep.testing.simulate.small import small
from modelkeep.testing.stores import StoreContract

REGISTRY = "5f0c"
PREFIX = "models/churn/notes/"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SYSTEM = System(sleep=lambda _: None, jitter=lambda: 0.5, actor=lambda: "ada")
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="lacks owners and modes: this is Windows")


class TestCached(StoreContract):
    lacks: ClassVar[dict[str, str]] = {
        "processes": "memory is not shared between processes",
        "unfinished": "in memory nothing is left of what was not finished",
    }

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Cached(MemoryStore(), Cache(tmp_path).folder("memory://", REGISTRY))

    def _within(self, store: Store) -> MemoryStore:
        assert isinstance(store, Cached)
        assert isinstance(store.within, MemoryStore)
        return store.within

    def peek(self, store: Store, key: str) -> bytes | None:
        return self._within(store)._objects.get(key, (None,))[0]

    def plant(self, store: Store, key: str, value: bytes) -> None:
        self._within(store)._objects[key] = (value, datetime.now(UTC))

    def names(self, store: Store) -> set[str]:
        return set(self._within(store)._objects)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def folder_of(cache: Cache) -> CacheFolder:
    return cache.folder("memory://", REGISTRY)


def key(number: int) -> str:
    return entry_key(PREFIX, number)


def tile(index: int, level: int = 1) -> str:
    return tile_key(PREFIX, level, index)


def opened(store: Store, cache: Cache | None = None) -> Journal[Policy]:
    """A journal as a new process opens it, through the cache if one is given."""
    through = store if cache is None else Cached(store, folder_of(cache))
    return Journal(through, PREFIX, REGISTRY, policy.RULES, SYSTEM)


def read(store: Store, cache: Cache | None = None) -> tuple[Any, ...]:
    """All that a new process makes of a journal, or the key of what it finds damaged."""
    journal = opened(store, cache)
    try:
        journal.refresh()
    except IntegrityError as error:
        return ("damaged", error.key)
    return (journal.seen, journal.state, journal.sealed, journal._fold.void)


def requests(store: MemoryStore, cache: Cache | None = None) -> list[tuple[str, str]]:
    """What a new process asks the store for to read the journal."""
    recording = Recording(store)
    read(recording, cache)
    return recording.requests


def add(store: Store, text: str, cache: Cache | None = None) -> None:
    opened(store, cache).append(lambda _: [SetPolicy(text)], tx=SYSTEM.new_id())


def grow(store: MemoryStore, count: int, text: str = "text") -> MemoryStore:
    """Let the journal have *count* entries, and its tiles, all put there by hand."""
    raws = [store.get(item.key) for item in store.list(f"{PREFIX}0")]
    prev = digest(raws[-1]) if raws else genesis(REGISTRY, PREFIX)
    for number in range(len(raws) + 1, count + 1):
        stamped = f"{BEGIN + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S.%f}Z"
        ops = [{"op": "policy", "text": f"{text} {number}"}]
        raws.append(encode(number, prev, SYSTEM.new_id(), stamped, "ada", {}, ops))
        prev = digest(raws[-1])
        store.create(key(number), raws[-1])
        if number % 100 == 0:
            tiles.write(store, PREFIX, number // 100 - 1, raws[-100:])
    return store


def cut(store: MemoryStore, count: int) -> MemoryStore:
    """Restore the store from a backup that had *count* entries."""
    store.delete([item.key for item in store.list(f"{PREFIX}0") if item.key > key(count)])
    store.delete([item.key for item in store.list(f"{PREFIX}t") if item.key >= tile(count // 100)])
    return store


def overwrite(store: MemoryStore, where: str, value: bytes) -> None:
    store.delete([where])
    store.create(where, value)


def damage(store: MemoryStore, where: str) -> bytes:
    """Flip a bit; gives the bytes as they were."""
    sound = store.get(where)
    overwrite(store, where, sound[:40] + bytes([sound[40] ^ 1]) + sound[41:])
    return sound


def files_of(cache: Cache) -> list[Path]:
    """Every file that holds an object."""
    return sorted(path for path in cache.root.glob("*/*") if len(path.name) == 64)


# -- what it saves ---------------------------------------------------------------------------------------------------


def test_a_second_process_asks_for_the_listing_the_tips_and_what_is_not_there(cache: Cache) -> None:
    store = grow(MemoryStore(), 950)
    assert len(requests(store, cache)) == 1 + 9 + 1 + 16 + 84
    assert requests(store, cache) == [
        ("list", f"{PREFIX}t"),
        ("get", key(900)),
        ("get", key(916)),
        *(("get", key(number)) for number in range(951, 1001)),
        ("get", key(950)),
    ]
    assert read(store, cache) == read(store)


def test_it_takes_no_more_rounds_than_without(cache: Cache) -> None:
    store = grow(MemoryStore(), 950)
    waits: list[float] = []
    for through in (None, cache, cache):
        waits.clear()
        read(Latency(store, 1, sleep=waits.append), through)
        assert len(waits) == 3


def test_a_tile_at_the_very_end_is_vouched_for_by_the_entry_it_ends_with(cache: Cache) -> None:
    store = grow(MemoryStore(), 200)
    read(store, cache)
    asked = [asked for _, asked in requests(store, cache)]
    assert asked == [f"{PREFIX}t", *map(key, range(201, 217)), key(200)]
    assert len(files_of(cache)) == 3, "two tiles, and the entry that vouches for the last"
    assert Cached(store, folder_of(cache)).get_many([tile(1)]).keys() == {tile(1)}, "what vouches is not given out"


def test_a_warm_look_and_a_warm_append_cost_what_they_cost_without(cache: Cache) -> None:
    store = Recording(grow(MemoryStore(), 5))
    journal = opened(store, cache)
    journal.refresh()
    store.forget()
    journal.refresh()
    assert store.requests == [("get", key(6))]
    store.forget()
    journal.append(lambda _: [SetPolicy("x")], tx=SYSTEM.new_id())
    assert store.requests == [("create", key(6))]


def test_what_was_written_or_met_warm_need_not_be_read_again(cache: Cache) -> None:
    store = grow(MemoryStore(), 3)
    journal = opened(store, cache)
    journal.refresh()
    add(store, "by another")
    journal.refresh()
    journal.append(lambda _: [SetPolicy("own")], tx=SYSTEM.new_id())
    asked = {asked for _, asked in requests(store, cache)}
    assert not asked & set(map(key, range(1, 5)))
    assert key(5) in asked


def test_replays_and_the_past_are_served_too(cache: Cache) -> None:
    store = Recording(grow(MemoryStore(), 350))
    journal = opened(store, cache)
    journal.refresh()
    store.forget()
    assert [entry.number for entry, _, _ in journal.replay()] == list(range(1, 351))
    assert not any("/t1/" in asked for verb, asked in store.requests if verb == "get")


def test_100_tiles_make_the_one_above_them_from_the_cache(cache: Cache) -> None:
    with small_tiles():
        store = MemoryStore()
        for number in range(1, 12):
            add(store, f"{number}", cache)
        assert store.get(tile(0, 2)) == b"".join(store.get(tile(index)) for index in range(3))
        assert read(store, cache) == read(store)


# -- never wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("had", [10, 16, 17, 100, 120, 200, 250])
@pytest.mark.parametrize("left", [0, 9, 16, 99, 100, 116, 150])
@pytest.mark.parametrize("then", [0, 10, 16, 30, 100, 110, 200])
def test_a_store_restored_from_an_older_backup_and_grown_differently_reads_right(
    tmp_path: Path, had: int, left: int, then: int
) -> None:
    store = grow(MemoryStore(), had)
    cache = Cache(tmp_path)
    read(store, cache)
    grow(cut(store, left), then, "other")
    for _ in range(2):
        assert read(store, cache) == read(store)
    grow(store, 260, "later")
    assert read(store, cache) == read(store)


def test_copies_of_two_pasts_side_by_side_do_no_harm(cache: Cache) -> None:
    store = grow(MemoryStore(), 95)
    read(store, cache)  # entries 1 to 95 of one past
    grow(cut(store, 50), 110, "other")
    read(store, cache)  # a tile and entries 101 to 110 of the other
    store.delete([tile(0)])
    assert read(store, cache) == read(store)


@pytest.mark.parametrize("stale", [range(1, 4), range(4, 7), range(8, 11)])
def test_every_run_of_copies_is_vouched_for_by_itself(cache: Cache, stale: range) -> None:
    old, store = grow(MemoryStore(), 10), grow(MemoryStore(), 10, "other")
    cached = Cached(store, folder_of(cache))
    cached.get_many(map(key, {1, 2, 3, 5, 6, 8, 9, 10} - set(stale)))
    Cached(old, folder_of(cache)).get_many(map(key, set(stale) - {4}))
    wanted = list(map(key, range(1, 11)))
    assert cached.get_many(wanted) == store.get_many(wanted)


def test_copies_beyond_the_end_of_a_restored_journal_are_forgotten(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    read(store, cache)
    cut(store, 8)
    assert len(requests(store, cache)) > len(requests(store))
    assert folder_of(cache).get(key(9)) is None
    assert len(requests(store, cache)) < len(requests(store))


def test_a_fork_that_is_found_out_costs_one_round_once(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    read(store, cache)
    grow(cut(store, 8), 10, "other")
    assert len(requests(store, cache)) > len(requests(store)), "asked for all once more"
    assert len(requests(store, cache)) < len(requests(store)), "and then not again"


def test_another_registry_at_the_same_url_shares_nothing(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    read(store, cache)
    other = Recording(store)
    Cached(other, cache.folder("memory://", "another id")).get_many([key(1)])
    assert other.counts() == {"get": 1}
    assert {one.id for one in cache.kept()} == {REGISTRY, "another id"}


def test_that_an_object_is_missing_is_never_kept(cache: Cache) -> None:
    store = Recording(MemoryStore())
    cached = Cached(store, folder_of(cache))
    for _ in range(2):
        assert cached.get_many([key(1), tile(0)]) == {}
        with pytest.raises(MissingObjectError):
            cached.get(key(1))
    assert store.counts() == {"get": 6}
    assert files_of(cache) == []


def test_what_is_neither_entry_nor_tile_passes_through(cache: Cache) -> None:
    store = MemoryStore()
    cached = Cached(store, folder_of(cache))
    sound = grow(MemoryStore(), 1).get(key(1))
    for name in (
        "modelkeep.json",
        "models/a/texts/5f0c",
        "models/a/t3/00000000000000000001.zst",
        key(0),
        f"{1:020}.json",
    ):
        cached.create(name, sound)
        assert cached.get(name) == sound
        assert cached.get_many([name]) == {name: sound}
    assert files_of(cache) == []


def test_a_part_of_an_entry_is_not_kept(cache: Cache) -> None:
    store = grow(MemoryStore(), 1)
    assert Cached(store, folder_of(cache)).get(key(1), (0, 5)) == store.get(key(1))[:5]
    assert files_of(cache) == []


def test_an_entry_that_the_store_did_not_take_is_not_kept(cache: Cache) -> None:
    raw = grow(MemoryStore(), 1).get(key(1))
    with pytest.raises(ConflictError):
        Cached(grow(MemoryStore(), 1, "by another"), folder_of(cache)).create(key(1), raw)
    assert files_of(cache) == []


def test_what_is_kept_already_is_not_written_again(cache: Cache) -> None:
    store = grow(MemoryStore(), 250)
    read(store, cache)
    with mock.patch.object(CacheFolder, "put") as put:
        read(store, cache)
    put.assert_not_called()


def test_what_was_deleted_is_dropped(cache: Cache) -> None:
    store = grow(MemoryStore(), 3)
    cached = Cached(store, folder_of(cache))
    cached.get_many(map(key, range(1, 4)))
    cached.delete([key(2)])
    assert cached.get_many(map(key, range(1, 4))).keys() == {key(1), key(3)}


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [1, 5, 9, 10])
def test_an_entry_damaged_in_the_store_is_not_kept_and_is_seen_once_it_is_back(cache: Cache, which: int) -> None:
    store = grow(MemoryStore(), 10)
    sound = damage(store, key(which))
    for _ in range(2):
        assert read(store, cache) == read(store) == ("damaged", key(which))
    overwrite(store, key(which), sound)
    assert read(store, cache) == read(store)
    assert read(store)[0][0] == 10


def test_a_process_that_met_damage_goes_on_once_the_entry_is_back(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    sound = damage(store, key(4))
    journal = opened(store, cache)
    with pytest.raises(IntegrityError):
        journal.refresh()
    overwrite(store, key(4), sound)
    journal.refresh()
    assert journal.head == 10


@pytest.mark.parametrize("which", [1, 7, 10, 20, 40])
@pytest.mark.parametrize("later", [0, 30, 120])
def test_an_entry_whose_loss_was_accepted_after_it_was_kept_is_lost_here_too(
    cache: Cache, which: int, later: int
) -> None:
    store = grow(MemoryStore(), 40)
    read(store, cache)
    damage(store, key(which))
    opened(store).seal(which)
    for number in range(later):
        add(store, f"after {number}") if number % 40 == 0 else grow(store, 41 + number)
    for _ in range(3):
        assert read(store, cache) == read(store)
    assert read(store, cache)[2] == {which}


def test_an_entry_kept_in_a_tile_is_lost_with_its_loss_accepted(cache: Cache) -> None:
    store = grow(MemoryStore(), 110)
    read(store, cache)
    sound = store.get(tile(0))
    store.delete([tile(0)])
    damage(store, key(50))
    opened(store).seal(50)
    assert read(store, cache) == read(store)
    store.create(tile(0), sound[:-1])  # somebody brings back a tile that is damaged itself
    assert read(store, cache) == read(store)
    assert read(store, cache)[2] == {50}


def test_a_sealed_entry_that_was_brought_back_is_read_alike(cache: Cache) -> None:
    store = grow(MemoryStore(), 20)
    read(store, cache)
    sound = damage(store, key(5))
    opened(store).seal(5)
    read(store, cache)
    overwrite(store, key(5), sound)
    for _ in range(2):
        assert read(store, cache) == read(store)
    assert read(store, cache)[2] == set()


def test_an_unsound_tile_is_not_kept_and_its_repair_is_seen(cache: Cache) -> None:
    store = grow(MemoryStore(), 110)
    sound = store.get(tile(0))
    raws = [store.get(key(number)) for number in range(1, 101)]
    swapped = [*raws[:50], raws[51], raws[50], *raws[52:]]
    for bad in (sound[:-1], zstd.compress(b"".join(swapped)), zstd.compress(b"".join(raws[:99]))):
        overwrite(store, tile(0), bad)
        assert read(store, cache) == read(store)
        assert folder_of(cache).get(tile(0)) is None
    overwrite(store, tile(0), sound)
    read(store, cache)
    assert folder_of(cache).get(tile(0)) is not None


@pytest.mark.parametrize("what", ["entry", "pack"])
def test_verify_and_seal_read_past_it(cache: Cache, what: str) -> None:
    store = MemoryStore()
    registry = mk.Registry(store, cache=cache.root)
    for number in range(3):
        registry.save({"w": np.full(3, number)}, "churn").tag(round=str(number))
    lost = {"entry": "models/churn/notes/00000000000000000002.json", "pack": next(store.list("models/churn/data/")).key}
    damage(store, lost[what])
    again = mk.Registry(store, cache=cache.root)
    assert again.get("churn:2").tags == {"round": "1"}, "as it was written"
    assert {finding.key for finding in again.storage.verify().findings if finding.kind == "damaged"} == {lost[what]}
    if what == "entry":
        again.storage.seal(lost["entry"])
        assert mk.Registry(store, cache=cache.root).get("churn:2").tags == {}
        assert mk.Registry(store).get("churn:2").tags == {}


# -- the folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["flip", "cut off", "empty", "another's", "folder"])
def test_a_file_that_was_altered_counts_as_absent_and_is_replaced(cache: Cache, harm: str) -> None:
    store = grow(MemoryStore(), 250)
    read(store, cache)
    kept = files_of(cache)
    whole = [path.read_bytes() for path in kept]
    for path, raw, other in zip(kept, whole, whole[1:] + whole[:1], strict=True):
        path.unlink()
        if harm == "folder":
            path.mkdir()
        else:
            harmed = {"flip": raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:], "cut off": raw[:-1], "empty": b""}
            path.write_bytes(harmed.get(harm, other))
    assert read(store, cache) == read(store)
    if harm != "folder":
        assert [path.read_bytes() for path in files_of(cache)] == whole


def test_a_copy_with_a_link_that_does_not_hold_is_not_trusted_even_if_its_file_is_sound(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    read(store, cache)
    stranger = grow(MemoryStore(), 10, "stranger")
    Cached(stranger, folder_of(cache)).get(key(5))  # a sound entry 5, of another chain
    assert read(store, cache) == read(store)


def test_a_file_under_the_name_of_another_key_counts_as_absent(cache: Cache) -> None:
    folder = folder_of(cache)
    folder.put("a", b"1")
    (written,) = files_of(cache)
    folder.put("b", b"2")
    written.rename(next(path for path in files_of(cache) if path != written))
    assert folder.get("b") is None


def test_a_write_that_breaks_off_leaves_what_was_there(cache: Cache) -> None:
    folder = folder_of(cache)
    folder.put("a", b"1")
    with mock.patch("os.replace", side_effect=OSError(5, "Input/output error")):
        folder.put("a", b"2")
    assert folder.get("a") == b"1"


@POSIX
def test_folders_and_files_are_private(cache: Cache) -> None:
    before = os.umask(0)
    try:
        read(grow(MemoryStore(), 3), cache)
    finally:
        os.umask(before)
    (folder,) = cache.root.iterdir()
    assert [path.stat().st_mode & 0o777 for path in (cache.root, folder)] == [0o700, 0o700]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@POSIX
@pytest.mark.parametrize("which", ["root", "folder"])
@pytest.mark.parametrize("fault", ["writable by all", "writable by the group", "another's", "a link"])
def test_a_folder_that_others_may_write_to_is_not_used_and_one_warning_says_what_to_do(
    cache: Cache, which: str, fault: str
) -> None:
    store = grow(MemoryStore(), 10)
    read(store, cache)
    (folder,) = cache.root.iterdir()
    place = cache.root if which == "root" else folder
    if fault == "another's":
        if os.geteuid():
            pytest.skip("lacks the right to give a folder away: this is not root")
        os.chown(place, 4711, 4711)
    elif fault == "a link":
        if which == "root":
            pytest.skip("the root may be a link: its owner chose it")
        folder.rename(cache.root.parent / "elsewhere")
        folder.symlink_to(cache.root.parent / "elsewhere")
    else:
        place.chmod(0o777 if fault == "writable by all" else 0o770)
    before = {path: path.read_bytes() for path in files_of(cache)}
    recording = Recording(store)
    with pytest.warns(UserWarning, match=r"is not used, since .* MODELKEEP_CACHE=off") as caught:
        assert read(recording, cache) == read(store)
    assert len(caught) == 1
    assert len(recording.requests) == len(requests(store))
    assert {path: path.read_bytes() for path in files_of(cache)} == before


@POSIX
def test_a_bad_folder_is_no_error_where_warnings_are_errors(cache: Cache) -> None:
    cache.root.mkdir(mode=0o700)
    cache.root.chmod(0o777)
    store = MemoryStore()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add(store, "x", cache)
    assert read(store)[0][0] == 1
    assert list(cache.root.iterdir()) == []


def test_a_file_where_the_folder_should_be_is_no_error(cache: Cache, tmp_path: Path) -> None:
    store = grow(MemoryStore(), 3)
    (tmp_path / "file").write_bytes(b"")
    assert read(store, Cache(tmp_path / "file" / "below")) == read(store)
    with pytest.warns(UserWarning, match="it is no folder"):
        assert read(store, Cache(tmp_path / "file")) == read(store)
    cache.root.mkdir()


def test_a_folder_that_goes_away_meanwhile_is_made_anew(cache: Cache) -> None:
    store = grow(MemoryStore(), 3)
    cached = Cached(store, folder_of(cache))
    cached.get(key(1))
    cache.clear()
    cached.get(key(2))
    cached.get(key(3))
    assert len(files_of(cache)) == 1
    assert [one.url for one in cache.kept()] == ["memory://"]


@pytest.mark.parametrize("refused", ["open", "replace", "mkdir", "utime"])
def test_a_disk_that_refuses_is_no_error(cache: Cache, refused: str) -> None:
    store = grow(MemoryStore(), 10)
    with mock.patch(f"os.{refused}", side_effect=OSError(28, "No space left on device")):
        assert read(store, cache) == read(store)
    assert [path.name for path in cache.root.glob("*/.tmp-*")] == []
    assert read(store, cache) == read(store)


FULL = """
import resource, sys
from pathlib import Path
from modelkeep import Registry
from modelkeep.stores.local import LocalStore
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))  # as if the disk were full after so many bytes of each file
print(len(Registry(LocalStore(sys.argv[1]), cache=sys.argv[2]).model("churn").versions()))
"""


@POSIX
def test_a_disk_that_is_full_takes_part_of_a_file_and_none_stays(tmp_path: Path, cache: Cache) -> None:
    registry = mk.Registry(LocalStore(tmp_path / "far", durable=False))
    for number in range(3):
        registry.save({"w": np.ones(3)}, "churn", params={"long": "x" * 1000 * (number % 2)})
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "far"), str(cache.root)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "3\n"
    assert list(cache.root.glob("*/.tmp-*")) == []
    assert len(files_of(cache)) < 3
    assert len(mk.Registry(LocalStore(tmp_path / "far"), cache=cache.root).model("churn").versions()) == 3


# -- processes, threads, forks ---------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from modelkeep.cache import Cache
folder = Cache(Path(sys.argv[1])).folder("memory://", "5f0c")
size = int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[3])):
    for n in range(20):
        folder.put(f"key {n}", bytes([n]) * size)
        found = folder.get(f"key {n}")
        assert found in (None, bytes([n]) * size), (turn, n)
"""


def writers(cache: Cache, count: int, size: int, turns: int) -> list[subprocess.Popen[str]]:
    args = [sys.executable, "-c", WRITER, str(cache.root), str(size), str(turns)]
    started = [subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for one in started:
        assert one.stdout
        one.stdout.readline()
    for one in started:
        assert one.stdin
        one.stdin.write("go\n")
        one.stdin.flush()
    return started


def closed(process: subprocess.Popen[str]) -> int:
    with process:
        return process.wait(60)


def test_processes_that_write_the_same_keys_at_once_leave_whole_files(cache: Cache) -> None:
    assert list(map(closed, writers(cache, 3, 100_000, 10))) == [0, 0, 0]
    folder = folder_of(cache)
    assert [folder.get(f"key {n}") for n in range(20)] == [bytes([n]) * 100_000 for n in range(20)]
    assert list(cache.root.glob("*/.tmp-*")) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="lacks kill -9: this is Windows")
def test_a_process_killed_while_it_writes_leaves_nothing_that_is_taken_for_whole(cache: Cache) -> None:
    for delay in (0.002, 0.01, 0.02, 0.03, 0.05):
        (victim,) = writers(cache, 1, 3_000_000, 1_000)
        time.sleep(delay)
        victim.kill()
        assert closed(victim) == -signal.SIGKILL
        folder = folder_of(cache)
        assert all(folder.get(f"key {n}") in (None, bytes([n]) * 3_000_000) for n in range(20))
    for path in cache.root.glob("*/.tmp-*"):
        os.utime(path, (0, 0))
    cache.make_room()
    assert list(cache.root.glob("*/.tmp-*")) == [], "what the dead left is swept once it is old"


def test_a_temporary_file_is_left_alone_until_it_is_old(cache: Cache) -> None:
    folder_of(cache).put("a", b"1")
    (folder,) = cache.root.iterdir()
    (folder / (".tmp-" + 16 * "0")).write_bytes(b"half")
    cache.make_room()
    (temporary,) = folder.glob(".tmp-*")
    os.utime(temporary, (0, 0))
    cache.make_room()
    assert not temporary.exists(), "whoever wrote it is long gone"
    assert folder_of(cache).get("a") == b"1"


@POSIX
def test_a_forked_child_goes_on_with_it(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    journal = opened(store, cache)
    journal.refresh()
    child = os.fork()
    if not child:
        try:
            journal.append(lambda _: [SetPolicy("child's")], tx=SYSTEM.new_id())
            assert folder_of(cache).get(key(11)) is not None
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert read(store, cache) == read(store), "the child's memory was its own, and entry 11 with it"


def test_threads_share_it(cache: Cache) -> None:
    store = grow(MemoryStore(), 250)
    cached = Cached(store, folder_of(cache))
    wanted = [tile(0), tile(1), *map(key, range(201, 260))]
    found: list[dict[str, bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(cached.get_many(wanted))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [store.get_many(wanted)] * 8


# -- size ------------------------------------------------------------------------------------------------------------


def test_the_oldest_go_first_until_four_fifths_are_left(tmp_path: Path) -> None:
    roomy = Cache(tmp_path)
    folders = [roomy.folder("s3://a", "1"), roomy.folder("s3://b", "2")]
    for number in range(20):
        folders[number % 2].put(f"{number}", b"x" * 5000)  # 8,192 bytes on a disk
        written = max(files_of(roomy), key=lambda path: path.stat().st_ctime_ns)
        os.utime(written, (number, number))
    Cache(tmp_path, limit=20 * 8192).make_room()
    assert len(files_of(roomy)) == 20, "not above the limit"
    Cache(tmp_path, limit=20 * 8192 - 1).make_room()
    left = [number for number in range(20) if folders[number % 2].get(f"{number}")]
    assert left == list(range(5, 20))


def test_many_short_processes_keep_the_limit_as_one_long_one_does(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1 << 20)
    for number in range(2000):
        cache.folder("s3://a", "1").put(f"{number}", b"x")  # as if each were another process
        if number % 100 == 0:
            assert sum(one.bytes for one in cache.kept()) <= 2 << 20
    assert sum(one.bytes for one in cache.kept()) <= 2 << 20
    assert len(files_of(cache)) > 100


def test_a_cache_that_has_room_is_not_looked_through_at_every_write(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with mock.patch.object(Cache, "make_room") as looked:
        for number in range(1000):
            cache.folder("s3://a", "1").put(f"{number}", b"x")
    assert looked.call_count <= 3


def test_making_room_twice_at_once_removes_no_more_than_once(tmp_path: Path) -> None:
    folder = Cache(tmp_path).folder("s3://a", "1")
    for number in range(200):
        folder.put(f"{number}", b"x")
    tight = Cache(tmp_path, limit=100 * 4096)
    threads = [threading.Thread(target=tight.make_room) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files_of(tight)) == 80


def test_an_evicted_entry_is_read_again_and_kept_again(cache: Cache) -> None:
    store = grow(MemoryStore(), 10)
    read(store, cache)
    folder_of(cache).drop([key(3), key(7)])
    recording = Recording(store)
    assert read(recording, cache) == read(store)
    asked = {asked for verb, asked in recording.requests if verb == "get"}
    assert asked & set(map(key, range(1, 11))) == set(map(key, [2, 3, 6, 7, 10])), (
        "the missing, and the end of each run"
    )
    assert len(files_of(cache)) == 10


# -- what is on, and where -------------------------------------------------------------------------------------------


class Far(Wrapper):
    remote = True


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MODELKEEP_CACHE", "MODELKEEP_CACHE_SIZE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def used(registry: mk.Registry) -> Path | None:
    cache = registry._home.cache
    return cache.root if cache else None


def test_it_is_on_for_remote_stores_alone_unless_somebody_says_otherwise(home: Path) -> None:
    far = Far(MemoryStore())
    usual = home / ".cache" / "modelkeep"
    assert used(mk.Registry(far)) == usual
    assert used(mk.Registry(Recording(ReadOnly(far)))) == usual
    assert used(mk.Registry(MemoryStore())) is None
    assert used(mk.Registry(home / "registry")) is None
    assert used(mk.Registry(far, cache=False)) is None
    assert used(mk.Registry(MemoryStore(), cache=True)) == usual
    assert used(mk.Registry(MemoryStore(), cache=home / "here")) == home / "here"
    assert used(mk.Registry(MemoryStore(), cache="~/here")) == home / "here"


def test_the_environment_says_where_and_whether(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far(MemoryStore())
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert used(mk.Registry(far)) == home / "xdg" / "modelkeep"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert used(mk.Registry(far)) == home / ".cache" / "modelkeep"
    monkeypatch.setenv("MODELKEEP_CACHE", "~/mine")
    assert used(mk.Registry(far)) == home / "mine"
    for off in ("off", "OFF"):
        monkeypatch.setenv("MODELKEEP_CACHE", off)
        assert used(mk.Registry(far)) is None
        assert used(mk.Registry(far, cache=True)) == home / ".cache" / "modelkeep", "the call wins"
    monkeypatch.delenv("MODELKEEP_CACHE")
    monkeypatch.setenv("MODELKEEP_CACHE_SIZE", "0")
    assert used(mk.Registry(far)) is None
    monkeypatch.setenv("MODELKEEP_CACHE_SIZE", "1000000")
    cache = mk.Registry(far)._home.cache
    assert cache is not None
    assert cache.limit == 1_000_000


def test_each_platform_has_its_own_place(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert used(mk.Registry(Far(MemoryStore()))) == home / "Library" / "Caches" / "modelkeep"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(home / "Local"))
    assert used(mk.Registry(Far(MemoryStore()))) == home / "Local" / "modelkeep" / "cache"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("size", ["512 MiB", "-1", "1e6", "²"])
def test_a_size_that_is_no_number_of_bytes_is_refused_at_the_door(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE_SIZE", size)
    mk.Registry(MemoryStore())
    with pytest.raises(mk.InvalidError, match="MODELKEEP_CACHE_SIZE"):
        mk.Registry(MemoryStore(), cache=True)


@pytest.mark.parametrize("word", [b"x", 1, "", 0.5])
def test_what_is_no_folder_is_refused_at_the_door(word: Any) -> None:
    with pytest.raises(mk.InvalidError, match="neither True, False nor a folder"):
        mk.Registry(MemoryStore(), cache=word)


def test_without_a_home_there_is_no_cache_unless_somebody_asks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del home

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert used(mk.Registry(Far(MemoryStore()))) is None
    with pytest.raises(mk.InvalidError, match="name one in MODELKEEP_CACHE"):
        mk.Registry(MemoryStore(), cache=True)


def test_a_registry_saves_loads_and_promotes_through_it(cache: Cache) -> None:
    store = MemoryStore()
    registry = mk.Registry(store, cache=cache.root)
    for number in range(3):
        registry.save({"w": np.full(3, number)}, "churn").promote("production", reason="newer")
    recording = Recording(store)
    again = mk.Registry(recording, cache=cache.root)
    assert again.load("churn@production")["w"].tolist() == [2, 2, 2]
    assert again.model("churn").versions().to_dicts() == mk.Registry(store).model("churn").versions().to_dicts()
    assert ("get", "models/churn/releases/00000000000000000002.json") not in recording.requests
    assert [(one.url, one.id) for one in cache.kept()] == [("memory://", registry._home.id())]


def test_kept_and_clear_tell_what_there_is_and_was(cache: Cache) -> None:
    assert cache.kept() == []
    assert cache.clear() == 0
    for url in ("s3://b", "s3://a/"):
        cache.folder(url, REGISTRY).put("x", b"1")
    assert [(one.url, one.objects, one.bytes) for one in cache.kept()] == [("s3://a/", 1, 8192), ("s3://b", 1, 8192)]
    assert cache.clear("s3://a") == 8192
    assert [one.url for one in cache.kept()] == ["s3://b"]
    with pytest.raises(mk.NotFoundError, match="nothing of s3://a is kept"):
        cache.clear("s3://a")
    assert cache.clear() == 8192
    assert list(cache.root.iterdir()) == []


def test_clear_leaves_alone_what_is_not_ours(cache: Cache) -> None:
    cache.folder("s3://a", REGISTRY).put("x", b"1")
    (folder,) = cache.root.iterdir()
    for mine in (folder / "thesis.tex", cache.root / "photos" / "a.jpg", cache.root / "notes.txt"):
        mine.parent.mkdir(exist_ok=True)
        mine.write_bytes(b"mine")
    cache.clear()
    Cache(cache.root, limit=1).make_room()
    assert sorted(path.name for path in cache.root.rglob("*") if path.is_file()) == ["a.jpg", "notes.txt", "thesis.tex"]


def test_a_folder_that_lost_its_name_is_still_counted_and_cleared(cache: Cache) -> None:
    cache.folder("s3://a", REGISTRY).put("x", b"1")
    (folder,) = cache.root.iterdir()
    (folder / "registry.json").write_bytes(b"{")
    assert cache.kept() == [Kept("", "", 1, 8192, cache.kept()[0].used)]
    assert cache.clear() == 8192


# -- any sequence ----------------------------------------------------------------------------------------------------


def small_tiles() -> Any:
    return small()


@pytest.mark.parametrize("first", range(0, 200, 100))
def test_no_promise_is_broken_under_faults_with_a_cache(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 100):
        here = Cache(tmp_path / str(seed))
        with mock.patch("modelkeep.registryplace.chosen", lambda *_, here=here, **__: here):
            assert simulate.run(seed).violation is None
    assert len(list(tmp_path.glob("*/*/*"))) > 500


class CachedReaders(RuleBasedStateMachine):
    """A store that grows, is cut back, forks, loses and regains objects; a cached reader always equals another."""

    def __init__(self) -> None:
        super().__init__()
        self._patches = small_tiles()
        self._patches.__enter__()
        self.store = MemoryStore()
        self.backups: list[dict[str, Any]] = [{}]
        self._temporary = tempfile.TemporaryDirectory()
        self.cache = Cache(Path(self._temporary.name))

    def teardown(self) -> None:
        self._patches.__exit__(None, None, None)
        self._temporary.cleanup()

    def _keys(self, beginning: str) -> list[str]:
        return [item.key for item in self.store.list(PREFIX + beginning)]

    @rule(count=st.integers(1, 12), cached=st.booleans())
    def grow(self, count: int, cached: bool) -> None:
        journal = opened(self.store, self.cache if cached else None)
        for _ in range(count):
            journal.append(lambda _: [SetPolicy(SYSTEM.new_id())], tx=SYSTEM.new_id())

    @rule()
    def back_up(self) -> None:
        self.backups.append(dict(self.store._objects))

    @rule(which=st.integers(0, 100))
    def restore(self, which: int) -> None:
        self.store._objects = dict(self.backups[which % len(self.backups)])

    @rule(which=st.integers(0, 100))
    def lose_a_tile(self, which: int) -> None:
        if found := self._keys("t"):
            self.store.delete([found[which % len(found)]])

    @rule(which=st.integers(0, 100))
    def damage_a_tile(self, which: int) -> None:
        if found := self._keys("t"):
            where = found[which % len(found)]
            overwrite(self.store, where, self.store.get(where)[:-1])

    @rule(which=st.integers(0, 100))
    def lose_an_entry_for_good(self, which: int) -> None:
        found = self._keys("0")
        if found and b'"seal"' not in self.store.get(found[which % len(found)]):  # whose loss undoes what it accepted
            where = found[which % len(found)]
            sound = damage(self.store, where)
            try:
                opened(self.store).seal(which % len(found) + 1)
            except ConflictError:  # a tile has it
                overwrite(self.store, where, sound)

    @rule(which=st.integers(0, 100))
    def read_while_an_entry_is_damaged(self, which: int) -> None:
        if found := self._keys("0"):
            where, truth = found[which % len(found)], read(self.store)
            sound = damage(self.store, where)
            assert read(self.store, self.cache) in (truth, read(self.store))
            overwrite(self.store, where, sound)

    @rule(which=st.integers(0, 100))
    def evict(self, which: int) -> None:
        for path in files_of(self.cache)[which % 4 :: 4]:
            path.unlink()

    @rule(numbers=st.lists(st.integers(1, 40), max_size=6))
    def read_some_through_the_cache(self, numbers: list[int]) -> None:
        cached = Cached(self.store, folder_of(self.cache))
        for number in numbers[:2]:
            try:
                cached.get(key(number))
            except MissingObjectError:
                continue
        cached.get_many(map(key, numbers))

    @rule()
    def read_cached(self) -> None:
        assert read(self.store, self.cache) == read(self.store)

    @invariant()
    def the_store_itself_is_sound(self) -> None:
        assert read(self.store)[0] != "damaged"


TestCachedReaders = CachedReaders.TestCase
TestCachedReaders.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_stack_shows_itself(cache: Cache) -> None:
    assert repr(Cached(MemoryStore("memory://x"), folder_of(cache))) == "Cached(MemoryStore('memory://x'))"
    assert repr(folder_of(cache)).startswith(f"CacheFolder('{cache.root}")
