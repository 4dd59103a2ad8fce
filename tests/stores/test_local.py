from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from modelkeep.errors import MissingObjectError, ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.stores.local import LocalStore
from modelkeep.stores.port import Store
from modelkeep.testing.stores import StoreContract


def files_below(root: Path) -> set[str]:
    return {found.relative_to(root).as_posix() for found in root.rglob("*") if not found.is_dir()}


class DoorsIntoFolder(StoreContract):
    """Back doors through the file system."""

    def _root(self, store: Store) -> Path:
        assert isinstance(store, LocalStore)
        return store.root

    def peek(self, store: Store, key: str) -> bytes | None:
        path = self._root(store) / key
        return path.read_bytes() if path.exists() else None

    def plant(self, store: Store, key: str, value: bytes) -> None:
        path = self._root(store) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)

    def names(self, store: Store) -> set[str]:
        return files_below(self._root(store))

    def recipe(self, store: Store) -> Callable[[], Store]:
        assert isinstance(store, LocalStore)
        return partial(LocalStore, store.root, durable=store.durable)


class TestDurable(DoorsIntoFolder):
    races: ClassVar[int] = 5

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "models")


class TestNotDurable(DoorsIntoFolder):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path / "models", durable=False)


class TestWithoutHardLinks(DoorsIntoFolder):
    lacks: ClassVar[dict[str, str]] = {
        "whole": "without hard links a value is written under its name",
        "processes": "the missing of hard links is played within one process",
    }

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
        return LocalStore(tmp_path / "models", durable=False)


def failing(number: int, *, after: Callable[..., object] | None = None) -> Callable[..., Any]:
    def fail(*args: object) -> None:
        if after is not None:
            after(*args)
        raise OSError(number, os.strerror(number))

    return fail


# Permission

AS_NOBODY = """
import json, os, sys
from modelkeep.stores.local import LocalStore
store = LocalStore(sys.argv[1], durable=False)
asked = {
    "get": lambda: store.get("d/a"),
    "span": lambda: store.get("d/a", (0, 1)),
    "get missing": lambda: store.get("d/missing"),
    "get_many": lambda: store.get_many(["d/a", "d/missing"]),
    "list": lambda: [facts.key for facts in store.list("")],
    "list d/": lambda: [facts.key for facts in store.list("d/")],
    "create": lambda: store.create("d/b", b"new"),
    "create taken": lambda: store.create("d/a", b"new"),
    "create elsewhere": lambda: store.create("e/f/a", b"new"),
    "put_pack": lambda: store.put_pack("d/b.pack", [b"new"]),
    "delete": lambda: store.delete(["d/a"]),
}
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
answers = {}
for verb, ask in asked.items():
    try:
        answers[verb] = repr(ask())
    except Exception as error:
        answers[verb] = type(error).__name__
json.dump(answers, sys.stdout)
"""


@pytest.fixture
def others_folder() -> Iterator[Path]:
    # pytest's own folders can be entered by nobody else, which would deny too much
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "d").mkdir()
        (root / "d" / "a").write_bytes(b"1")
        (root / "d" / "a").chmod(0o644)
        yield root
        for path in (root, root / "d", root / "d" / "a"):
            path.chmod(0o755)


def _as_nobody(root: Path) -> dict[str, str]:
    run = subprocess.run([sys.executable, "-c", AS_NOBODY, root], capture_output=True, check=True, timeout=60)
    answers: dict[str, str] = json.loads(run.stdout)
    return answers


def test_a_folder_that_may_not_be_entered_is_denied_and_never_missing(others_folder: Path) -> None:
    (others_folder / "d").chmod(0)
    others_folder.chmod(0)
    answers = _as_nobody(others_folder)
    assert set(answers.values()) == {"AccessError"}, answers


def test_a_folder_that_may_only_be_read_serves_readers_and_denies_writers(others_folder: Path) -> None:
    (others_folder / "d").chmod(0o555)
    others_folder.chmod(0o555)
    answers = _as_nobody(others_folder)
    assert answers == {
        "get": "b'1'",
        "span": "b'1'",
        "get missing": "MissingObjectError",
        "get_many": "{'d/a': b'1'}",
        "list": "['d/a']",
        "list d/": "['d/a']",
        "create": "AccessError",
        "create taken": "AccessError",
        "create elsewhere": "AccessError",
        "put_pack": "AccessError",
        "delete": "AccessError",
    }
    assert files_below(others_folder) == {"d/a"}


def test_an_object_that_may_not_be_read_is_denied_and_never_missing(others_folder: Path) -> None:
    (others_folder / "d" / "a").chmod(0)
    answers = _as_nobody(others_folder)
    assert [answers[verb] for verb in ("get", "span", "get_many")] == ["AccessError"] * 3
    assert answers["get missing"] == "MissingObjectError"


def test_objects_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    before = os.umask(0o027)
    try:
        store.create("a", b"1")
        store.put_pack("b", [b"2"])
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o640]


# Space


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a disk of 64 KiB could not be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("durable", [True, False])
def test_a_full_disk_is_an_error_and_nothing_is_left(small_disk: Path, *, durable: bool) -> None:
    store = LocalStore(small_disk, durable=durable)
    store.create("d/a", b"x" * 20_000)
    with pytest.raises(StoreError, match="make room") as caught:
        store.create("d/b", b"x" * 60_000)
    assert (caught.value.errno, caught.value.key) == (errno.ENOSPC, "d/b")
    with pytest.raises(StoreError, match="make room"):
        store.put_pack("d/b.pack", [b"x" * 10_000] * 9)
    assert files_below(small_disk) == {"d/a"}
    assert store.get("d/a") == b"x" * 20_000


def test_a_disk_without_hard_links_that_fills_up_leaves_no_half_value(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    store = LocalStore(small_disk)
    with pytest.raises(StoreError, match="make room"):
        store.create("a", b"x" * 40_000)  # fits once, and not beside its temporary file
    assert files_below(small_disk) == set()


# Hard links


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_without_hard_links_the_first_writer_still_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    store = LocalStore(tmp_path)
    store.create("a", b"old")
    with pytest.raises(ObjectExistsError):
        store.create("a", b"old")
    assert store.get("a") == b"old"
    assert files_below(tmp_path) == {"a"}


def test_a_repeated_reply_of_a_network_disk_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EEXIST, after=os.link))  # done, and the reply says "exists"
    store = LocalStore(tmp_path)
    store.create("a", b"ours")
    assert store.get("a") == b"ours"
    with pytest.raises(FileExistsError):
        os.link(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(os, "link", failing(errno.EEXIST))  # truly another's
    with pytest.raises(ObjectExistsError):
        store.create("a", b"ours")


def test_a_link_without_an_answer_leaves_the_outcome_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EIO, after=os.link))
    store = LocalStore(tmp_path)
    with pytest.raises(OutcomeUnknownError) as caught:
        store.create("a", b"1")
    assert caught.value.key == "a"
    assert files_below(tmp_path) == {"a"}


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EHOSTDOWN, errno.ENOTCONN, errno.EINTR, errno.EBUSY])
def test_a_link_leaves_the_outcome_open_unless_its_error_is_known_to_come_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number, after=os.link))
    with pytest.raises(OutcomeUnknownError, match="may have got its name, or not"):
        LocalStore(tmp_path).create("a", b"1")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.EXDEV])
def test_a_link_that_was_refused_before_it_did_anything_is_a_definite_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(number))
    with pytest.raises(StoreError) as caught:
        LocalStore(tmp_path).create("a", b"1")
    assert not isinstance(caught.value, OutcomeUnknownError)


def test_a_repeated_reply_that_nobody_can_check_leaves_the_outcome_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.stat

    def stale(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if ".tmp-" in str(path):
            raise OSError(errno.ESTALE, "stale")
        return look(path, *args, **options)

    monkeypatch.setattr(os, "link", failing(errno.EEXIST, after=os.link))
    monkeypatch.setattr(os, "stat", stale)
    with pytest.raises(OutcomeUnknownError):
        LocalStore(tmp_path).create("a", b"1")


def test_a_temporary_file_that_cannot_be_removed_undoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", failing(errno.EIO))
        store.create("a", b"1")
    assert [facts.key for facts in store.list("")] == ["a"]


# Durability


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """What is asked of the disk, in order; a temporary file is called "temporary"."""
    noted: list[tuple[str, str]] = []
    fsync, link, replace = os.fsync, os.link, os.replace

    def name_of(path: str | Path) -> str:
        name = os.path.relpath(path, tmp_path)
        return "temporary" if "/.tmp-" in name else name

    def noted_fsync(descriptor: int) -> None:
        noted.append(("fsync", name_of(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def noted_link(source: str, target: str) -> None:
        noted.append(("link", name_of(target)))
        link(source, target)

    def noted_replace(source: str, target: str) -> None:
        noted.append(("replace", name_of(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "replace", noted_replace)
    return noted


linux_only = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lacks /proc, which names what is synced")


@linux_only
def test_a_durable_value_is_on_the_disk_before_it_has_a_name_and_its_name_too_before_it_counts(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    store = LocalStore(tmp_path)
    store.create("d/z", b"1")
    calls.clear()
    store.create("d/a", b"1")
    assert calls == [("fsync", "temporary"), ("link", "d/a"), ("fsync", "d")]
    calls.clear()
    store.put_pack("d/b", [b"1"])
    assert calls == [("fsync", "temporary"), ("replace", "d/b"), ("fsync", "d")]


@linux_only
def test_a_durable_loser_waits_until_the_winner_is_on_the_disk(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"old")
    with pytest.raises(ObjectExistsError):
        LocalStore(tmp_path).create("d/a", b"new")
    assert ("fsync", "d") in calls[calls.index(("fsync", "temporary")) :]


@linux_only
def test_a_folder_that_another_process_made_is_on_the_disk_before_what_lies_in_it_counts(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    LocalStore(tmp_path).create("d/e/a", b"1")
    assert calls == [
        ("fsync", "temporary"), ("link", "d/e/a"),
        ("fsync", "d/e"), ("fsync", "d"), ("fsync", "."), ("fsync", ".."),
    ]  # fmt: skip


@linux_only
@pytest.mark.parametrize("read", ["get", "get_many"])
def test_what_a_writer_has_read_is_on_the_disk_before_what_it_writes_has_a_name(
    tmp_path: Path, calls: list[tuple[str, str]], read: str
) -> None:
    LocalStore(tmp_path, durable=False).create("read/a", b"1")  # by another, who is about to sync it
    store = LocalStore(tmp_path)
    store.create("d/z", b"1")
    calls.clear()
    store.get("read/a") if read == "get" else store.get_many(["read/a"])
    store.create("d/a", b"1")
    assert calls.index(("fsync", "read")) < calls.index(("link", "d/a"))
    calls.clear()
    store.create("d/b", b"1")
    assert ("fsync", "read") not in calls, "once is enough"


@linux_only
def test_a_deletion_is_on_the_disk_before_it_counts_and_what_was_read_before_it_is_made(
    tmp_path: Path, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    for key in ("d/a", "d/b", "e/a", "read/a"):
        store.create(key, b"1")
    calls.clear()
    unlink = os.unlink

    def noted_unlink(path: str) -> None:
        calls.append(("unlink", os.path.relpath(path, tmp_path)))
        unlink(path)

    monkeypatch.setattr(os, "unlink", noted_unlink)
    store.get("read/a")
    store.delete(["d/a", "d/b", "e/a", "f/missing"])
    assert calls == [
        ("fsync", "read"),
        ("unlink", "d/a"), ("unlink", "d/b"), ("unlink", "e/a"), ("unlink", "f/missing"),
        ("fsync", "d"), ("fsync", "e"),
    ]  # fmt: skip


@linux_only
def test_new_folders_are_on_the_disk_before_what_lies_in_them(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    LocalStore(tmp_path).create("d/e/f/a", b"1")
    folders, value = calls[:3], calls[3:6]
    assert folders == [("fsync", "."), ("fsync", "d"), ("fsync", "d/e")]  # each before the next is made
    assert value == [("fsync", "temporary"), ("link", "d/e/f/a"), ("fsync", "d/e/f")]


@linux_only
def test_without_durable_nothing_waits_for_the_disk(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    store = LocalStore(tmp_path, durable=False)
    store.create("d/e/a", b"1")
    store.put_pack("d/f/b", [b"2"])
    store.delete(["d/e/a"])
    assert calls == [("link", "d/e/a"), ("replace", "d/f/b")]


def test_a_disk_that_does_not_take_the_bytes_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    (tmp_path / "d").mkdir()
    with pytest.raises(StoreError) as caught:
        LocalStore(tmp_path).create("d/a", b"1")
    assert type(caught.value) is StoreError
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    ("number", "outcome"), [(errno.EIO, OutcomeUnknownError), (errno.EINVAL, None), (errno.ENOTSUP, None)]
)
def test_a_folder_that_cannot_be_synced_leaves_the_outcome_open_unless_no_folder_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, outcome: type[Exception] | None
) -> None:
    fsync = os.fsync

    def fail_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    store = LocalStore(tmp_path)
    verbs: dict[str, Callable[[], None]] = {
        "a": lambda: store.create("a", b"1"),
        "b": lambda: store.put_pack("b", [b"2"]),
    }
    for key, write in verbs.items():
        if outcome is None:
            write()
            continue
        with pytest.raises(outcome, match=key):
            write()
    assert files_below(tmp_path) == {"a", "b"}


# Temporary files

KILLED = """
import os, signal, sys
from modelkeep.stores.local import LocalStore
def source():
    yield b"x" * 1_000_000
    os.kill(os.getpid(), signal.SIGKILL)
LocalStore(sys.argv[1], durable=False).put_pack("d/a.pack", source())
"""


def test_what_a_killed_writer_leaves_is_seen_by_nobody(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (left,) = files_below(tmp_path)
    assert left.startswith("d/.tmp-")
    store = LocalStore(tmp_path, durable=False)
    assert list(store.list("")) == []
    assert list(store.list("d/")) == []
    with pytest.raises(MissingObjectError):
        store.get("d/a.pack")
    with pytest.raises(StoreError, match="is not a key"):
        store.get(left)
    store.put_pack("d/a.pack", [b"again"])
    assert [facts.key for facts in store.list("")] == ["d/a.pack"]


# Odd places


def test_a_file_where_the_folder_should_be_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file", durable=False)
    writes: list[Callable[[], None]] = [
        lambda: store.create("d/a", b""),
        lambda: store.put_pack("d/a", [b""]),
    ]
    for write in writes:
        with pytest.raises(StoreError, match="d/a") as caught:
            write()
        assert caught.value.key == "d/a"
    with pytest.raises(MissingObjectError):
        store.get("d/a")


def test_a_key_below_another_key_is_a_store_error(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create("d", b"1")
    with pytest.raises(StoreError) as caught:
        store.create("d/a", b"2")
    assert caught.value.key == "d/a"
    assert files_below(tmp_path) == {"d"}


def test_a_listing_stays_within_the_store(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    store = LocalStore(tmp_path / "models")
    for prefix in ("../", "../out", f"{tmp_path}/"):
        with pytest.raises(StoreError, match="no key begins"):
            list(store.list(prefix))


def test_a_local_store_travels_to_another_process(tmp_path: Path) -> None:
    store = pickle.loads(pickle.dumps(LocalStore(tmp_path, durable=False)))
    store.create("a", b"1")
    assert (store.durable, files_below(tmp_path)) == (False, {"a"})


def test_the_root_of_a_disk_can_be_the_folder_of_a_store(tmp_path: Path) -> None:
    key = f"{tmp_path.relative_to('/').as_posix()}/folder/object"
    LocalStore("/").create(key, b"1")
    assert LocalStore("/").get(key) == b"1"
