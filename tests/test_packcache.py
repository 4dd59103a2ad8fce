"""What is kept of packs on this machine: at its place, for whoever checks it; bounded, private, and safe to lose."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.cache import Cache
from modelkeep.cli import cli
from modelkeep.digest import digest
from modelkeep.packcache import PackCache
from modelkeep.stores.memory import MemoryStore

PACK = "models/churn/data/5f0c-1.pack"
OTHER = "models/churn/data/5f0c-2.pack"
BLOCK = 4096
MIB = 1 << 20
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="lacks owners and modes: this is Windows")
SPARSE = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="lacks files that surely have holes")


class Disk(NamedTuple):
    """What `shutil.disk_usage` says."""

    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have a full disk."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: Disk(1000 << 30, 0, 1000 << 30))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def packs_of(cache: Cache, registry: str = "5f0c") -> PackCache:
    """As a new process opens them."""
    return PackCache(cache.folder("memory://", registry))


def found(cache: Cache, offset: int, size: int, key: str = PACK) -> bytes | None:
    target = bytearray(b"?" * size)
    return bytes(target) if packs_of(cache).read_into(key, offset, memoryview(target)) else None


def path_of(cache: Cache, key: str = PACK) -> Path:
    (path,) = cache.root.glob(f"*/{digest(key.encode())}.pack")
    return path


def pattern(offset: int, size: int) -> bytes:
    """The bytes of a pack, none of them zero, different in each block."""
    numbers = np.arange(offset, offset + size, dtype=np.uint64)
    return ((numbers * 2654435761 >> 12) % 255 + 1).astype(np.uint8).tobytes()


# -- what is there ---------------------------------------------------------------------------------------------------


def test_what_was_written_is_there_for_the_next_process(cache: Cache) -> None:
    assert found(cache, 0, 5) is None
    packs_of(cache).write(PACK, 3 * BLOCK, pattern(3 * BLOCK, BLOCK))
    assert found(cache, 3 * BLOCK, BLOCK) == pattern(3 * BLOCK, BLOCK)
    assert found(cache, 3 * BLOCK + 7, 9) == pattern(3 * BLOCK + 7, 9)
    assert found(cache, 3 * BLOCK, BLOCK, OTHER) is None
    assert path_of(cache).stat().st_size == 4 * BLOCK, "at the same offsets as in the pack"


@pytest.mark.parametrize("target", [memoryview(bytearray(8)), np.zeros(2, np.float32).data])
def test_it_is_read_into_any_memory_and_written_from_any(cache: Cache, target: memoryview) -> None:
    weights = np.arange(2, dtype=np.float32)
    for data in (weights.tobytes(), bytearray(weights.tobytes()), weights.data):
        packs_of(cache).drop(PACK)
        packs_of(cache).write(PACK, 64, data)
        assert packs_of(cache).read_into(PACK, 64, target)
        assert target.tobytes() == weights.tobytes()


def test_a_span_that_ends_behind_what_is_kept_is_not_there(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, b"x" * 100)
    assert found(cache, 0, 101) is None
    assert found(cache, 100, 1) is None
    assert found(cache, 1 << 40, 1) is None


@SPARSE
def test_a_span_of_which_nothing_was_written_is_told_without_reading_it(cache: Cache) -> None:
    packs_of(cache).write(PACK, 64 * BLOCK, b"x" * BLOCK)
    assert found(cache, 0, 64 * BLOCK) is None
    os.truncate(path_of(cache), 256 * BLOCK)
    assert found(cache, 128 * BLOCK, BLOCK) is None, "no more data up to the end"


def test_where_the_system_knows_no_holes_they_read_as_zeros(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SEEK_DATA", raising=False)
    packs_of(cache).write(PACK, 64 * BLOCK, b"x" * BLOCK)
    assert found(cache, 0, 64 * BLOCK) == bytes(64 * BLOCK)


def test_where_the_disk_knows_no_holes_they_read_as_zeros(cache: Cache) -> None:
    packs_of(cache).write(PACK, 64 * BLOCK, b"x" * BLOCK)
    with mock.patch("os.lseek", side_effect=OSError(22, "Invalid argument")):
        assert found(cache, 0, 64 * BLOCK) == bytes(64 * BLOCK)


def test_a_span_with_a_hole_in_it_has_zeros_there(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, b"a" * BLOCK)
    packs_of(cache).write(PACK, 9 * BLOCK, b"b" * BLOCK)
    assert found(cache, 0, 10 * BLOCK) == b"a" * BLOCK + bytes(8 * BLOCK) + b"b" * BLOCK


@given(spans=st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 9_000)), max_size=8), asked=st.data())
def test_after_any_writes_a_span_is_what_was_written_with_zeros_between(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]], asked: st.DataObject
) -> None:
    cache = Cache(tmp_path_factory.mktemp("any"))
    whole = bytearray()
    for offset, size in spans:
        packs_of(cache).write(PACK, offset, pattern(offset, size))
        whole.extend(bytes(max(0, offset + size - len(whole))))
        whole[offset : offset + size] = pattern(offset, size)
    offset, size = asked.draw(st.tuples(st.integers(0, 50_000), st.integers(1, 10_000)))
    got = found(cache, offset, size)
    if offset + size > len(whole):
        assert got is None
    else:
        expected = bytes(whole[offset : offset + size])
        assert got == expected or (got is None and not any(expected))


def test_two_registries_share_nothing(cache: Cache) -> None:
    packs_of(cache, "one").write(PACK, 0, b"1")
    assert not packs_of(cache, "other").read_into(PACK, 0, memoryview(bytearray(1)))


def test_dropping_a_pack_leaves_the_others(cache: Cache) -> None:
    for key in (PACK, OTHER):
        packs_of(cache).write(key, 0, b"x")
    packs_of(cache).drop(PACK)
    packs_of(cache).drop("models/churn/data/never-seen.pack")
    assert (found(cache, 0, 1), found(cache, 0, 1, OTHER)) == (None, b"x")


def test_a_journal_of_another_past_is_forgotten_without_its_packs(cache: Cache) -> None:
    folder = cache.folder("memory://", "5f0c")
    folder.put("entry", b"1")
    packs_of(cache).write(PACK, 0, b"x")
    folder.forget()
    assert (folder.get("entry"), found(cache, 0, 1)) == (None, b"x")


# -- never believed --------------------------------------------------------------------------------------------------


def test_poisoned_bytes_are_handed_out_as_they_are_and_a_write_repairs_them(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, pattern(0, 3 * BLOCK))
    with path_of(cache).open("r+b") as file:
        file.seek(BLOCK)
        file.write(b"!" * BLOCK)
    assert found(cache, 0, 3 * BLOCK) == pattern(0, BLOCK) + b"!" * BLOCK + pattern(2 * BLOCK, BLOCK)
    packs_of(cache).write(PACK, BLOCK, pattern(BLOCK, BLOCK))
    assert found(cache, 0, 3 * BLOCK) == pattern(0, 3 * BLOCK)


def test_a_file_that_was_cut_off_has_what_is_left_of_it_and_grows_again(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, pattern(0, 3 * BLOCK))
    os.truncate(path_of(cache), BLOCK)
    assert found(cache, 0, BLOCK) == pattern(0, BLOCK)
    assert found(cache, BLOCK, BLOCK) is None
    packs_of(cache).write(PACK, 2 * BLOCK, pattern(2 * BLOCK, BLOCK))
    assert found(cache, 0, 3 * BLOCK) == pattern(0, BLOCK) + bytes(BLOCK) + pattern(2 * BLOCK, BLOCK)


def test_a_file_that_is_cut_off_while_it_is_read_is_not_there(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, pattern(0, 3 * BLOCK))

    def cut(*_: object) -> bool:
        os.truncate(path_of(cache), BLOCK)
        return False

    with mock.patch("modelkeep.packcache._is_hole", cut):
        assert found(cache, 0, 3 * BLOCK) is None


@POSIX
@pytest.mark.parametrize("planted", ["a link", "a dangling link", "a folder"])
def test_what_is_planted_under_the_name_of_a_pack_is_neither_followed_nor_used(
    cache: Cache, tmp_path: Path, planted: str
) -> None:
    packs_of(cache).write(PACK, 0, b"x" * 10)
    path = path_of(cache)
    path.unlink()
    secret = tmp_path / "secret"
    if planted == "a link":
        secret.write_bytes(b"secret bytes")
    if planted == "a folder":
        path.mkdir()
    else:
        path.symlink_to(secret)
    assert found(cache, 0, 10) is None
    packs_of(cache).write(PACK, 0, b"x" * 10)
    assert secret.exists() == (planted == "a link")
    assert planted != "a link" or secret.read_bytes() == b"secret bytes"


# -- the folder ------------------------------------------------------------------------------------------------------


@POSIX
def test_folders_and_files_are_private(cache: Cache) -> None:
    before = os.umask(0)
    try:
        packs_of(cache).write(PACK, 0, b"x")
    finally:
        os.umask(before)
    path = path_of(cache)
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (cache.root, path.parent, path)]
    assert modes == [0o700, 0o700, 0o600]


@POSIX
@pytest.mark.parametrize("which", ["root", "folder"])
@pytest.mark.parametrize("fault", ["writable by all", "writable by the group", "another's", "a link"])
def test_a_folder_that_others_may_write_to_is_neither_read_nor_written(cache: Cache, which: str, fault: str) -> None:
    packs_of(cache).write(PACK, 0, b"x")
    path = path_of(cache)
    place = cache.root if which == "root" else path.parent
    if fault == "another's":
        if os.geteuid():
            pytest.skip("lacks the right to give a folder away: this is not root")
        os.chown(place, 4711, 4711)
    elif fault == "a link":
        if which == "root":
            pytest.skip("the root may be a link: its owner chose it")
        place.rename(cache.root.parent / "elsewhere")
        place.symlink_to(cache.root.parent / "elsewhere")
    else:
        place.chmod(0o777 if fault == "writable by all" else 0o770)
    opened = packs_of(cache)
    with pytest.warns(UserWarning, match=r"is not used, since .* MODELKEEP_CACHE=off"):
        assert not opened.read_into(PACK, 0, memoryview(bytearray(1)))
    opened.write(PACK, 0, b"y")  # and no second warning
    opened.drop(PACK)
    assert path.read_bytes() == b"x"


def test_a_folder_that_goes_away_meanwhile_is_made_anew(cache: Cache) -> None:
    opened = packs_of(cache)
    opened.write(PACK, 0, b"x")
    cache.clear()
    assert not opened.read_into(PACK, 0, memoryview(bytearray(1)))
    opened.write(PACK, 0, b"x")
    opened.write(PACK, 0, b"x")
    assert found(cache, 0, 1) == b"x"
    assert [one.url for one in cache.kept()] == ["memory://"]


# -- a disk that refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", ["open", "mkdir", "stat", "lstat", "fstat", "utime"])
@pytest.mark.parametrize("warm", [True, False])
def test_a_disk_that_refuses_is_no_error(cache: Cache, refused: str, warm: bool) -> None:
    if warm:
        packs_of(cache).write(PACK, 0, b"x")
    with mock.patch(f"os.{refused}", side_effect=OSError(28, "No space left on device")):
        packs_of(cache).write(PACK, 0, b"x")
        assert found(cache, 0, 1) in (b"x", None)
    packs_of(cache).write(PACK, 0, b"x")
    assert found(cache, 0, 1) == b"x"


FULL = """
import resource, sys
from pathlib import Path
from modelkeep.cache import Cache
from modelkeep.packcache import PackCache
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # as if the disk were full after so many bytes of each file
packs = PackCache(Cache(Path(sys.argv[1])).folder("memory://", "5f0c"))
packs.write("small", 0, b"x" * 5000)
packs.write("large", 0, b"x" * 5001)
packs.write("far", 1 << 30, b"x")
print([packs.read_into(key, 0, memoryview(bytearray(1))) for key in ("small", "large", "far")])
"""


@POSIX
def test_a_file_that_the_disk_takes_a_part_of_is_given_back(cache: Cache) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(cache.root)], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, False, False]\n"
    assert len(list(cache.root.glob("*/*.pack"))) == 1


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    place = tmp_path / "tiny"
    place.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("lacks the right to mount a disk: this is not root on Linux")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_is_full_costs_nothing_but_time(tiny: Path) -> None:
    cache = Cache(tiny)
    packs_of(cache).write(OTHER, 0, pattern(0, 500_000))
    packs_of(cache).write(PACK, 0, pattern(0, 900_000))
    assert found(cache, 0, 900_000) is None
    assert found(cache, 0, 500_000, OTHER) == pattern(0, 500_000)
    assert os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize > 400_000, "what it took of the pack is given back"
    packs_of(cache).write(PACK, 0, pattern(0, 400_000))
    assert found(cache, 0, 400_000) == pattern(0, 400_000)


def test_a_real_disk_is_left_a_twentieth_free(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    cache = Cache(tiny)
    for number in range(120):
        packs_of(cache).write(PACK, number * 10_000, pattern(number * 10_000, 10_000))
    assert 0.04 < os.statvfs(tiny).f_bavail / os.statvfs(tiny).f_blocks < 0.07


@pytest.mark.parametrize(
    ("total", "free", "kept"),
    [
        (100 << 30, (5 << 30) + 10, True),
        (100 << 30, (5 << 30) + 9, False),
        (10_000 << 30, (10 << 30) + 10, True),
        (10_000 << 30, (10 << 30) + 9, False),
    ],
)
def test_a_twentieth_of_the_disk_or_10_gib_are_left_free(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, total: int, free: int, kept: bool
) -> None:
    packs_of(cache).write(OTHER, 0, b"x")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Disk(total, total - free, free))
    packs_of(cache).write(PACK, 0, b"x" * 10)
    assert (found(cache, 0, 10) is not None) is kept
    assert found(cache, 0, 1, OTHER) == b"x", "what is there is read all the same"


def test_a_span_of_more_than_half_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=100 * BLOCK)
    packs_of(cache).write(PACK, 0, b"x" * (50 * BLOCK + 1))
    assert list(tmp_path.glob("*/*.pack")) == []
    packs_of(cache).write(PACK, 0, b"x" * 50 * BLOCK)
    assert len(list(tmp_path.glob("*/*.pack"))) == 1


# -- size ------------------------------------------------------------------------------------------------------------


@SPARSE
def test_a_pack_counts_as_what_was_read_of_it(cache: Cache) -> None:
    packs_of(cache).write(PACK, 1 << 30, b"x" * BLOCK)
    (one,) = cache.kept()
    assert (one.objects, one.bytes) == (1, 2 * BLOCK), "a block of it, and one that says whose folder this is"
    Cache(cache.root, limit=2 * BLOCK).make_room()
    assert found(cache, 1 << 30, BLOCK) is not None
    assert cache.clear() == 2 * BLOCK


def key_of(number: int) -> str:
    return f"models/churn/data/5f0c-{number}.pack"


def filled(cache: Cache, count: int) -> list[int]:
    """Packs of one block each, the first of them the oldest."""
    for number in range(count):
        packs_of(cache).write(key_of(number), 0, b"x" * BLOCK)
        os.utime(path_of(cache, key_of(number)), (number, number))
    return list(range(count))


def left(cache: Cache, numbers: list[int]) -> list[int]:
    return [number for number in numbers if list(cache.root.glob(f"*/{digest(key_of(number).encode())}.pack"))]


def test_the_packs_that_were_not_used_for_longest_go_first(cache: Cache) -> None:
    numbers = filled(cache, 20)
    assert found(cache, 0, BLOCK, key_of(0)) is not None, "read"
    packs_of(cache).write(key_of(1), 0, b"y")
    assert found(cache, BLOCK - 1, 2, key_of(2)) is None, "what is not all there is of no use"
    Cache(cache.root, limit=20 * BLOCK).make_room()
    assert left(cache, numbers) == numbers, "not above the limit"
    Cache(cache.root, limit=20 * BLOCK - 1).make_room()
    assert left(cache, numbers) == [0, 1, *range(7, 20)]


def test_a_pack_in_use_says_so_once_in_five_minutes(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, b"x")
    with mock.patch("os.utime", wraps=os.utime) as said:
        for _ in range(3):
            found(cache, 0, 1)
        assert [call.args[0] for call in said.call_args_list if call.args[0].endswith(".pack")] == []
        for age in (1.0, 4e9):  # long ago, or by a clock that was ahead
            said.reset_mock()
            os.utime(path_of(cache), (age, age))
            said.reset_mock()
            for _ in range(3):
                found(cache, 0, 1)
            assert [call.args[0] for call in said.call_args_list if call.args[0].endswith(".pack")] == [
                str(path_of(cache))
            ]


def test_a_disk_for_reading_only_is_read(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, b"x")
    os.utime(path_of(cache), (1, 1))
    target, opened = bytearray(1), packs_of(cache)
    assert not opened.read_into(OTHER, 0, memoryview(target)), "the folder was looked at"
    with mock.patch("os.utime", side_effect=OSError(30, "Read-only file system")):
        assert opened.read_into(PACK, 0, memoryview(target))


def test_packs_do_not_push_out_journals(cache: Cache) -> None:
    folder = cache.folder("memory://", "5f0c")
    for number in range(10):
        folder.put(f"{number}", b"x")
    for path in cache.root.glob("*/*"):
        os.utime(path, (0, 0))  # older than every pack
    numbers = filled(cache, 40)
    Cache(cache.root, limit=40 * BLOCK).make_room()
    assert all(folder.get(f"{number}") for number in range(10))
    assert left(cache, numbers) == list(range(18, 40)), "22 packs and 10 entries are four fifths of 40"


def test_journals_beyond_what_is_theirs_go_by_age_as_packs_do(cache: Cache) -> None:
    folder = cache.folder("memory://", "5f0c")
    for number in range(40):
        folder.put(f"{number}", b"x")
        os.utime(path_of_entry(cache, number), (number, number))
    numbers = filled(cache, 10)
    for number in numbers:
        os.utime(path_of(cache, key_of(number)), (100, 100))  # newer than every entry
    Cache(cache.root, limit=40 * BLOCK).make_room()
    assert left(cache, numbers) == numbers
    assert [number for number in range(40) if folder.get(f"{number}")] == list(range(18, 40))


def path_of_entry(cache: Cache, number: int) -> Path:
    (path,) = cache.root.glob(f"*/{digest(str(number).encode())}")
    return path


def write_much(root: str, limit: int, writer: int) -> int:
    """What one process writes, 48 MiB; gives the most that lay there meanwhile."""
    cache, most = Cache(Path(root), limit), 0
    for number in range(48):
        packs_of(cache).write(f"{writer} {number // 8}", number % 8 * MIB, pattern(number * MIB, MIB))
        most = max(most, sum(one.bytes for one in cache.kept()))
    return most


def test_processes_that_write_at_once_keep_the_limit_together(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        most = list(pool.map(write_much, [str(tmp_path)] * 3, [32 * MIB] * 3, range(3)))
    assert 24 * MIB < max(most) < 56 * MIB, "an eighth of the limit for each look, give or take"


def test_one_look_at_the_size_of_it_all_is_for_many_writes(cache: Cache) -> None:
    with mock.patch.object(Cache, "make_room") as looked:
        for number in range(64):
            packs_of(cache).write(PACK, number * MIB, bytes(MIB))
    assert looked.call_count <= 5


# -- processes, threads, forks ---------------------------------------------------------------------------------------


def fill(root: str, writer: int) -> bool:
    """Write a pack of 8 MiB in pieces, half of them last to first, and read each with what the other wrote."""
    cache = Cache(Path(root))
    size = 100_003
    offsets = list(range(0, 8 * MIB, size))
    for offset in offsets if writer % 2 else reversed(offsets):
        packs_of(cache).write(PACK, offset, pattern(offset, size))
        if found(cache, offset, size) != pattern(offset, size):
            return False
    return True


def test_processes_that_fill_one_file_at_once_make_it_whole(cache: Cache) -> None:
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(fill, [str(cache.root)] * 4, range(4))) == [True] * 4
    assert found(cache, 0, 8 * MIB) == pattern(0, 8 * MIB)


@pytest.mark.skipif(sys.platform == "win32", reason="lacks the deletion of open files: this is Windows")
def test_who_reads_a_pack_that_another_deletes_reads_on(cache: Cache) -> None:
    packs_of(cache).write(PACK, 0, pattern(0, 3 * BLOCK))
    target = bytearray(3 * BLOCK)

    def delete(*_: object) -> bool:
        cache.clear()
        return False

    with mock.patch("modelkeep.packcache._is_hole", delete):
        assert packs_of(cache).read_into(PACK, 0, memoryview(target))
    assert bytes(target) == pattern(0, 3 * BLOCK)
    assert found(cache, 0, 1) is None


def test_threads_that_read_write_and_delete_at_once_never_read_what_nobody_wrote(cache: Cache) -> None:
    opened = packs_of(cache)
    wrong: list[int] = []

    def use(thread: int) -> None:
        for turn in range(300):
            offset = (turn * 7 + thread) % 16 * BLOCK
            target = bytearray(BLOCK)
            if opened.read_into(PACK, offset, memoryview(target)):  # zeros where another thread is about to write
                wrong.extend(
                    own for own, right in zip(target, pattern(offset, BLOCK), strict=True) if own not in (0, right)
                )
            opened.write(PACK, offset, pattern(offset, BLOCK))
            if turn % 50 == thread:
                opened.drop(PACK)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@POSIX
def test_a_forked_child_goes_on_with_it(cache: Cache) -> None:
    opened = packs_of(cache)
    opened.write(PACK, 0, b"parent")
    child = os.fork()
    if not child:
        try:
            target = bytearray(6)
            assert opened.read_into(PACK, 0, memoryview(target))
            assert target == b"parent"
            opened.write(PACK, 6, b" and child")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert found(cache, 0, 16) == b"parent and child"


# -- who asks for it -------------------------------------------------------------------------------------------------


def test_a_registry_has_one_if_it_has_a_cache_and_says_once_that_a_folder_is_not_used(cache: Cache) -> None:
    home = mk.Registry(MemoryStore(), cache=cache.root)._home
    packs = home.pack_cache("5f0c")
    assert packs is not None
    assert home.pack_cache("5f0c") is packs
    packs.write(PACK, 0, b"x")
    assert found(cache, 0, 1) == b"x", "in the folder of its journals"
    assert mk.Registry(MemoryStore(), cache=False)._home.pack_cache("5f0c") is None
    assert repr(packs).startswith(f"PackCache(CacheFolder('{cache.root}")


def test_the_command_lists_and_clears_packs(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKEEP_CACHE", str(cache.root))
    packs_of(cache).write(PACK, 0, b"x" * 2 * BLOCK)
    cache.folder("memory://", "5f0c").put("entry", b"1")
    (row,) = json.loads(CliRunner().invoke(cli, ["cache", "list", "--json"]).stdout)["registries"]
    assert (row["objects"], row["bytes"]) == (2, 4 * BLOCK)
    cleared = CliRunner().invoke(cli, ["cache", "clear", "memory://"]).stdout
    assert cleared == f"16,384 bytes freed in {cache.root}\n"
    assert list(cache.root.iterdir()) == []
