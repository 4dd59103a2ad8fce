"""A doctor names every fault of a store and what to do about it, raises nothing, and leaves nothing behind."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep import races
from modelkeep._home import Home
from modelkeep.diagnosis import Check, Diagnosis
from modelkeep.digest import Buffer
from modelkeep.doctor import examine
from modelkeep.errors import (
    AccessError,
    FormatError,
    MissingObjectError,
    ModelkeepError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
)
from modelkeep.layout import MARKER, PROBES, is_probe, probe_key
from modelkeep.races import race_apart, race_in_threads
from modelkeep.remedies import Verb, remedy_for, right_for
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store, StoredObject
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from modelkeep.system import System

NAMES = [
    *("place", "list", "read", "create", "create-if-absent", "delete", "write a pack", "clock", "latency"),
    "libraries",
]


def diagnosis_of(store: Store, **options: Any) -> Diagnosis:
    return examine(Home(store, System()), **options)


def marks(diagnosis: Diagnosis) -> dict[str, str]:
    """What is not ok, by name."""
    return {check.name: check.mark for check in diagnosis.checks if check.ok is not True}


def saved(store: Store) -> Store:
    mk.Registry(store).save({"w": np.arange(3)}, "churn")
    return store


def contents(store: Store) -> dict[str, bytes]:
    return {item.key: store.get(item.key) for item in store.list("")}


class Failing(Wrapper):
    """Raises *error* at each of *verbs*; with *late* only after it has done the work."""

    def __init__(self, within: Store, error: Callable[[], Exception], *verbs: str, late: bool = False) -> None:
        super().__init__(within)
        self.error, self.verbs, self.late = error, verbs, late

    def _do(self, verb: str, act: Callable[[], Any]) -> Any:
        if verb not in self.verbs:
            return act()
        if self.late:
            act()
        raise self.error()

    def create(self, key: str, value: bytes) -> None:
        self._do("create", lambda: self.within.create(key, value))

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        found: bytes = self._do("get", lambda: self.within.get(key, span))
        return found

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._do("get", lambda: self.within.get_many(keys))
        return found

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        self._do("put_pack", lambda: self.within.put_pack(key, source))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        found: Iterator[StoredObject] = self._do("list", lambda: self.within.list(prefix))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        self._do("delete", lambda: self.within.delete(keys))


def denied() -> Exception:
    return AccessError("403", key="k")


def refused() -> Exception:
    return StoreError("503", key="k")


def unanswered() -> Exception:
    return OutcomeUnknownError("no answer", key="k")


# -- all is well ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_registry", [True, False], ids=["a registry", "no registry yet"])
@pytest.mark.parametrize("kind", ["memory", "local", "durable"])
def test_a_sound_place_is_ok_in_every_check_and_is_left_as_it_was(
    kind: str, with_registry: bool, tmp_path: Path
) -> None:
    store: Store = MemoryStore() if kind == "memory" else LocalStore(tmp_path, durable=kind == "durable")
    if with_registry:
        saved(store)
    before, files = contents(store), sorted(tmp_path.rglob("*"))
    diagnosis = diagnosis_of(store)
    assert [check.name for check in diagnosis.checks] == NAMES
    assert marks(diagnosis) == {}
    assert diagnosis.ok
    assert contents(store) == before
    assert sorted(tmp_path.rglob("*")) == files, "hidden files and empty folders count"


def test_what_is_said_of_a_place_names_it_and_its_registry() -> None:
    store = MemoryStore("memory://named")
    assert "memory://named (MemoryStore) holds no registry yet" in diagnosis_of(store).check("place").detail
    mk.Registry(store).save({"w": np.arange(3)}, "churn")
    found = Home(store, System()).id()
    assert found
    assert found in diagnosis_of(store).check("place").detail


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert mk.Registry(tmp_path / "a" / "b").doctor().ok
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_began_to_use_meanwhile_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "registry")
    with store.leaving_no_folder(PROBES):
        store.create(probe_key("0" * 32, "mine"), b"")
        store.delete([probe_key("0" * 32, "mine")])
        store.create("modelkeep.json", b"theirs")
    assert [path.name for path in (tmp_path / "registry").iterdir()] == ["modelkeep.json"]


def test_an_object_is_written_although_its_new_folder_is_taken_away_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, made = LocalStore(tmp_path / "registry", durable=False), []
    make = store._make_folder

    def make_and_lose_the_first(folder: Path) -> None:
        make(folder)
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(store, "_make_folder", make_and_lose_the_first)
    store.create("a/b", b"1")
    assert store.get("a/b") == b"1"
    assert len(made) == 2


def test_every_request_is_timed_and_the_medians_are_told() -> None:
    diagnosis = diagnosis_of(saved(MemoryStore()))
    for name in ("list", "read", "create", "delete", "write a pack", "latency"):
        assert isinstance(diagnosis.check(name).seconds, float), name
    told = diagnosis.check("latency").detail
    assert all(f"{what} " in told for what in ("list", "get", "create", "missing get")), told


@pytest.mark.parametrize("with_registry", [True, False])
def test_get_is_timed_with_and_without_a_registry(with_registry: bool) -> None:
    store = saved(MemoryStore()) if with_registry else MemoryStore()
    assert ", get " in diagnosis_of(store).check("latency").detail


def test_a_slow_store_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr("modelkeep._visit.perf_counter", lambda: 2.0 * next(ticks))
    diagnosis = diagnosis_of(MemoryStore())
    assert marks(diagnosis) == {"latency": "note"}
    assert "in its region" in diagnosis.check("latency").remedy


def test_it_costs_as_many_requests_as_it_says() -> None:
    store = Recording(MemoryStore())
    diagnosis_of(store)
    assert 30 <= store.counts().total() <= 50


def test_versions_of_the_libraries_that_the_store_uses_are_told() -> None:
    told = diagnosis_of(ReadOnly(MemoryStore())).check("libraries").detail
    assert told == f"modelkeep {mk.__version__}, Python {sys.version.split()[0]}"

    class Carried(MemoryStore):
        libraries = ("attrs", "no-such-distribution")

    assert ", attrs " in diagnosis_of(Carried()).check("libraries").detail


# -- rights --------------------------------------------------------------------------------------------------------


def test_who_may_only_read_is_told_so_and_reading_is_still_examined() -> None:
    store = saved(MemoryStore())
    before = contents(store)
    diagnosis = diagnosis_of(ReadOnly(store))
    assert marks(diagnosis) == {
        "create": "fault",
        "create-if-absent": "note",
        "delete": "note",
        "write a pack": "fault",
        "clock": "note",
    }
    assert diagnosis.check("create").detail.startswith("you may read but not write here: ")
    assert diagnosis.check("read").detail == "modelkeep.json can be read"
    assert contents(store) == before


@pytest.mark.parametrize("with_registry", [True, False])
@pytest.mark.parametrize(
    ("verb", "check", "right"),
    [
        ("list", "list", "s3:ListBucket or storage.objects.list"),
        ("get", "read", "s3:GetObject or storage.objects.get"),
        ("create", "create", "s3:PutObject or storage.objects.create"),
        ("put_pack", "write a pack", "s3:PutObject or storage.objects.create"),
    ],
)
def test_each_denied_verb_is_a_fault_that_names_the_right_to_ask_for(
    verb: str, check: str, right: str, with_registry: bool
) -> None:
    store = saved(MemoryStore()) if with_registry else MemoryStore()
    before = contents(store)
    diagnosis = diagnosis_of(Failing(store, denied, verb))
    assert not diagnosis.ok
    assert diagnosis.check(check).mark == "fault"
    assert right in diagnosis.check(check).remedy
    assert contents(store) == before


def test_who_may_not_delete_can_save_so_it_is_a_note_that_names_what_stays() -> None:
    store = saved(MemoryStore())
    diagnosis = diagnosis_of(Failing(store, denied, "delete"))
    assert diagnosis.ok
    assert marks(diagnosis) == {"delete": "note", "clean up": "note"}
    assert "s3:DeleteObject or storage.objects.delete" in diagnosis.check("delete").remedy
    left = [item.key for item in store.list(PROBES)]
    assert diagnosis.check("clean up").detail.startswith(f"{len(left)} probes may be left under doctor/")
    report = mk.Registry(store).storage.verify()
    assert report.ok
    assert {finding.key for finding in report.findings} == set(left)
    assert {finding.kind for finding in report.findings} == {"leftover"}


def test_what_probes_leave_behind_does_not_make_an_empty_place_somebody_elses() -> None:
    store = MemoryStore()
    diagnosis_of(Failing(store, denied, "delete"))
    assert list(store.list(PROBES))
    assert mk.Registry(store).save({"w": np.arange(3)}, "churn").number == 1


def test_a_folder_of_that_name_with_something_else_is_still_somebody_elses() -> None:
    store = MemoryStore()
    store.create("doctor/strange.txt", b"patient 7")
    with pytest.raises(FormatError, match=r"doctor/strange\.txt"):
        mk.Registry(store).save({"w": np.arange(3)}, "churn")
    assert [is_probe(key) for key in ("doctor/", "doctor/x-1", "models/churn/x", f"doctor/{'a' * 32}-b/c")] == [
        False
    ] * 4


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://b/p", "s3:PutObject for s3://b/p"),
        ("gs://b/p", "storage.objects.create for gs://b/p"),
        ("gcs://b/p", "storage.objects.create for gcs://b/p"),
        ("file:///p", "the right to write to the folder of file:///p"),
        ("nas://p", "the right to create at nas://p (s3:PutObject or storage.objects.create)"),
    ],
)
def test_a_right_is_named_in_the_words_of_its_storage(url: str, words: str) -> None:
    assert right_for("create", url) == words


def test_a_folder_without_the_right_to_write_is_told_in_the_words_of_a_disk(tmp_path: Path) -> None:
    diagnosis = diagnosis_of(Failing(LocalStore(tmp_path), denied, "create"))
    assert diagnosis.check("create").remedy == f"ask for the right to write to the folder of {tmp_path.as_uri()}"


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("mine")
    diagnosis = mk.Registry(tmp_path / "registry").doctor()
    assert not diagnosis.ok
    assert "folders only" in diagnosis.check("create").remedy
    assert [path.name for path in tmp_path.iterdir()] == ["registry"]


# -- failures ------------------------------------------------------------------------------------------------------

FAILS_AS = {
    "list": "list",
    "get": "read",
    "create": "create",
    "put_pack": "write a pack",
    "delete": "delete",
}


@pytest.mark.parametrize("late", [False, True], ids=["lost request", "lost reply"])
@pytest.mark.parametrize("error", [refused, unanswered, lambda: KeyError("not mine"), lambda: OSError(5, "disk")])
@pytest.mark.parametrize("verb", FAILS_AS)
def test_a_verb_that_fails_is_a_fault_with_a_remedy_and_nothing_stays(
    verb: str, error: Callable[[], Exception], late: bool
) -> None:
    store = saved(MemoryStore())
    before = contents(store)
    diagnosis = diagnosis_of(Failing(store, error, verb, late=late), race=2)
    assert diagnosis.check(FAILS_AS[verb]).mark == "fault"
    assert diagnosis.check(FAILS_AS[verb]).remedy
    if verb != "delete":
        assert contents(store) == before
        assert "clean up" not in marks(diagnosis)


def test_a_store_that_answers_nothing_is_not_asked_for_long() -> None:
    store = Recording(Failing(MemoryStore(), unanswered, *FAILS_AS))
    diagnosis = diagnosis_of(store, race=2)
    assert [diagnosis.check(name).mark for name in ("place", "list", "read")] == ["fault"] * 3
    assert diagnosis.check("create").detail == "not tried: the store does not answer"
    assert diagnosis.check("latency").detail == "not tried: the store does not answer"
    assert store.counts().total() == 3


def test_a_deletion_that_fails_for_one_key_still_takes_the_others() -> None:
    class Stubborn(Wrapper):
        def delete(self, keys: Iterable[str]) -> None:
            for key in keys:
                if key.endswith("create-1"):
                    raise refused()
                self.within.delete([key])

    store = MemoryStore()
    diagnosis = diagnosis_of(Stubborn(store))
    assert [item.key.rpartition("-")[2] for item in store.list("")] == ["1"]
    assert diagnosis.check("clean up").detail.startswith("1 probes may be left under doctor/")


def test_probes_go_even_if_the_doctor_is_interrupted() -> None:
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        diagnosis_of(Failing(store, KeyboardInterrupt, "put_pack", late=True))  # type: ignore[arg-type]
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (StoreError("full", errno=28), "make room"),
        (StoreError("down"), "check endpoint, proxy, network and credentials"),
        (MissingObjectError("gone"), "without a cache"),
        (ObjectExistsError("taken"), "nobody used"),
        (FormatError("newer", format=2), "upgrade modelkeep"),
        (FormatError("foreign"), "empty one"),
        (ValueError("what"), "this is a ValueError"),
        (ModelkeepError("what"), "this is a ModelkeepError"),
    ],
)
def test_each_kind_of_error_has_its_remedy(error: Exception, words: str) -> None:
    assert words in remedy_for(error, "create", "s3://b/p")


@pytest.mark.parametrize("verb", ["list", "get", "create", "put", "delete"])
def test_every_verb_has_a_right_on_every_storage(verb: Verb) -> None:
    for url in ("s3://b", "gs://b", "file:///b", "memory://b"):
        assert right_for(verb, url)


# -- places that are no registry of ours ---------------------------------------------------------------------------


def test_a_damaged_marker_is_a_fault_of_the_place_alone() -> None:
    store = saved(MemoryStore())
    store.put_pack(MARKER, [store.get(MARKER)[:-9]])
    before = contents(store)
    diagnosis = diagnosis_of(store)
    assert marks(diagnosis) == {"place": "fault"}
    assert "backup" in diagnosis.check("place").remedy
    assert contents(store) == before


def test_nothing_is_written_to_a_registry_of_a_newer_format() -> None:
    from modelkeep.entry import sign

    store = Recording(MemoryStore())
    store.within.create(MARKER, sign(b'{"format":2,"id":"x","created":"2026-03-01T00:00:00.000000Z"}'))
    diagnosis = diagnosis_of(store, race=2)
    assert diagnosis.check("place").remedy == "upgrade modelkeep"
    assert diagnosis.check("create").detail == "not tried: the registry is of a newer format"
    assert set(store.counts()) == {"get", "list"}


def test_nothing_is_written_to_a_place_that_is_somebody_elses() -> None:
    store = Recording(MemoryStore())
    store.within.create("thesis.tex", b"mine")
    diagnosis = diagnosis_of(store, race=2)
    assert "thesis.tex" in diagnosis.check("place").detail
    assert diagnosis.check("create").detail == "not tried: this place is not a registry"
    assert not diagnosis.ok
    assert set(store.counts()) == {"get", "list"}


# -- promises ------------------------------------------------------------------------------------------------------


class Overwriting(Wrapper):
    """Create without the condition, as some servers do it."""

    def create(self, key: str, value: bytes) -> None:
        self.within.put_pack(key, [value])


def test_a_store_whose_create_overwrites_is_a_fault() -> None:
    store = MemoryStore()
    diagnosis = diagnosis_of(Overwriting(store))
    assert marks(diagnosis) == {"create-if-absent": "fault"}
    assert "single_writer=True" in diagnosis.check("create-if-absent").remedy
    assert list(store.list("")) == []


def test_a_store_that_refuses_equal_bytes_and_takes_others_is_a_fault() -> None:
    class Comparing(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if self.within.get_many([key]).get(key) == value:
                raise ObjectExistsError("the same", key=key)
            self.within.put_pack(key, [value])

    assert marks(diagnosis_of(Comparing(MemoryStore()))) == {"create-if-absent": "fault"}


def test_a_store_that_lets_equal_bytes_win_again_is_a_fault() -> None:
    class Defaulting(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if self.within.get_many([key]).get(key, value) != value:
                raise ObjectExistsError("other bytes", key=key)
            self.within.put_pack(key, [value])

    assert marks(diagnosis_of(Defaulting(MemoryStore()))) == {"create-if-absent": "fault"}


def test_a_store_that_says_conflict_but_overwrites_is_a_fault() -> None:
    class Lying(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            taken = bool(self.within.get_many([key]))
            self.within.put_pack(key, [value])
            if taken:
                raise ObjectExistsError("taken", key=key)

    diagnosis = diagnosis_of(Lying(MemoryStore()))
    assert marks(diagnosis) == {"create-if-absent": "fault"}
    assert "bytes changed" in diagnosis.check("create-if-absent").detail


def test_a_store_that_reads_from_a_cache_is_a_fault() -> None:
    class Cached(Wrapper):
        def __init__(self, within: Store) -> None:
            super().__init__(within)
            self.kept: dict[str, bytes] = {}

        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            if span is None and key in self.kept:
                return self.kept[key]
            found = self.within.get(key, span)
            if span is None:
                self.kept[key] = found
            return found

        def delete(self, keys: Iterable[str]) -> None:
            asked = list(keys)
            for key in asked:
                self.kept.setdefault(key, b"")
            self.within.delete(asked)

    assert marks(diagnosis_of(Cached(MemoryStore()))) == {"delete": "fault"}


def test_a_listing_from_a_cache_is_a_fault() -> None:
    class Stale(Wrapper):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            return iter(()) if prefix else self.within.list(prefix)

    diagnosis = diagnosis_of(Stale(saved(MemoryStore())))
    assert marks(diagnosis) == {"list": "fault", "clock": "fault"}
    assert "does not show what was just created" in diagnosis.check("clock").detail


def test_a_pack_that_comes_back_with_other_bytes_is_a_fault() -> None:
    class Flipping(Wrapper):
        def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
            whole = bytearray(b"".join(source))
            whole[1000] ^= 1
            self.within.put_pack(key, [bytes(whole)])

    assert marks(diagnosis_of(Flipping(MemoryStore()))) == {"write a pack": "fault"}


def test_a_get_many_that_disagrees_with_get_is_a_fault() -> None:
    class Forgetful(Wrapper):
        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            del keys
            return {}

    assert marks(diagnosis_of(Forgetful(saved(MemoryStore()))))["read"] == "fault"


@pytest.mark.parametrize(
    ("off", "mark", "words"),
    [
        (timedelta(), "ok", "agrees"),
        (timedelta(seconds=-1), "ok", "agrees"),
        (timedelta(minutes=4), "ok", "4.0 minutes ahead of"),
        (timedelta(minutes=10), "note", "10.0 minutes ahead of"),
        (timedelta(minutes=-10), "note", "10.0 minutes behind"),
        (timedelta(days=2), "fault", "2.0 days ahead of"),
        (timedelta(days=-2), "fault", "2.0 days behind"),
    ],
)
def test_the_difference_of_clocks_is_told_and_judged_as_a_write_would(off: timedelta, mark: str, words: str) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    store = MemoryStore(now=lambda: now + off)
    diagnosis = examine(Home(store, System(now=lambda: now)))
    assert diagnosis.check("clock").mark == mark
    assert words in diagnosis.check("clock").detail
    assert bool(diagnosis.check("clock").remedy) is (mark != "ok")
    assert list(store.list("")) == []


# -- the race ------------------------------------------------------------------------------------------------------

PLANTED = """
import time
from modelkeep.stores.local import LocalStore
from modelkeep.errors import ObjectExistsError, StoreError

class Gap(LocalStore):
    def create(self, key, value):
        if self.get_many([key]):
            raise ObjectExistsError("taken", key=key)
        time.sleep(0.02)
        self.put_pack(key, [value])

class Down(LocalStore):
    def create(self, key, value):
        raise StoreError("the disk is gone", key=key)
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that other processes can import, with stores that err."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "planted_for_doctor.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "planted_for_doctor", raising=False)
    import importlib

    return importlib.import_module("planted_for_doctor")


def test_a_local_registry_stands_a_race_of_real_processes(tmp_path: Path) -> None:
    saved(LocalStore(tmp_path, durable=False))
    files = sorted(tmp_path.rglob("*"))
    diagnosis = mk.Registry(tmp_path, durable=False).doctor(race=True)
    assert marks(diagnosis) == {}
    assert diagnosis.check("race").detail == "16 processes raced for 50 keys, and each had one winner"
    assert sorted(tmp_path.rglob("*")) == files


def test_a_race_finds_two_winners_in_a_store_that_looks_sound_alone(planted: Any, tmp_path: Path) -> None:
    reopen = partial(planted.Gap, tmp_path / "registry", durable=False)
    diagnosis = diagnosis_of(reopen(), race=3, reopen=reopen)
    assert marks(diagnosis) == {"race": "fault"}
    assert diagnosis.check("race").detail.startswith("3 processes raced, and ")
    assert "single_writer=True" in diagnosis.check("race").remedy
    assert not (tmp_path / "registry").exists()


def test_a_race_that_the_store_breaks_off_is_a_fault_with_its_words(planted: Any, tmp_path: Path) -> None:
    reopen = partial(planted.Down, tmp_path / "registry", durable=False)
    with pytest.raises(StoreError, match="the disk is gone"):
        race_apart(reopen, ["a", "b"], processes=2)
    diagnosis = diagnosis_of(MemoryStore("nas://x"), race=2, reopen=reopen)
    assert diagnosis.check("race").mark == "fault"
    assert diagnosis.check("race").detail == "the disk is gone"


def test_a_registry_opened_by_a_relative_path_races_though_the_process_moved_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = mk.Registry("registry", durable=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    diagnosis = examine(registry._home, race=2, reopen=registry._reopen)
    assert diagnosis.check("race").mark == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_of_a_store_in_memory_threads_race_and_it_is_a_note() -> None:
    registry = mk.Registry("memory://raced")
    check = registry.doctor(race=True).check("race")
    assert check.mark == "note"
    assert check.detail.endswith("16 threads raced for 50 keys, and each had one winner")
    assert list(registry._store.list("")) == []


def test_of_a_store_given_as_an_object_threads_race_and_it_says_how_processes_could() -> None:
    check = mk.Registry(MemoryStore("nas://x")).doctor(race=True).check("race")
    assert check.mark == "note"
    assert "16 threads raced" in check.detail
    assert "give a URL" in check.remedy


def test_threads_find_two_winners_too() -> None:
    check = diagnosis_of(Overwriting(MemoryStore("nas://x")), race=4).check("race")
    assert (check.mark, check.detail) == ("fault", "4 threads raced, and 50 of 50 keys had not exactly one winner")


def test_a_race_whose_winner_was_overwritten_is_a_fault() -> None:
    class Lying(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            try:
                self.within.create(key, value)
            except ObjectExistsError:
                if "race" in key:
                    self.within.put_pack(key, [value])
                raise

    check = diagnosis_of(Lying(MemoryStore("nas://x")), race=4).check("race")
    assert (check.mark, check.detail) == ("fault", "4 threads raced, and a key does not hold what its winner wrote")


def test_processes_that_cannot_start_are_a_note_and_threads_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "_ALONE", "raise SystemExit('no room')")
    check = diagnosis_of(MemoryStore("nas://x"), race=2, reopen=partial(MemoryStore, "nas://x")).check("race")
    assert check.mark == "note"
    assert "did not start: no room" in check.detail
    assert "2 threads raced" in check.detail


@pytest.mark.parametrize(
    "break_it",
    [
        lambda patch: patch.setattr(races, "_ALONE", "import time; time.sleep(600)"),
        lambda patch: patch.setattr(sys, "executable", "/no/such/python"),
    ],
    ids=["hangs", "no interpreter"],
)
def test_a_race_that_hangs_or_finds_no_interpreter_ends_in_an_error(
    break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    monkeypatch.setattr(races, "_WHOLE", 0.5)
    began = time.monotonic()
    with pytest.raises(ChildProcessError):
        race_apart(partial(MemoryStore), ["a"], processes=2)
    assert time.monotonic() - began < 300, "nobody waits for racers that hang"


def test_a_recipe_that_cannot_be_pickled_is_said() -> None:
    with pytest.raises(ChildProcessError, match="cannot be handed to another process"):
        race_apart(lambda: MemoryStore(), ["a"], processes=2)  # noqa: PLW0108  a lambda is the point


def test_a_script_without_a_guard_is_not_run_again_by_the_racers(tmp_path: Path) -> None:
    import subprocess

    script = tmp_path / "train.py"
    script.write_text(
        "import modelkeep as mk\n"
        "print('training')\n"
        "print(mk.Registry('registry', durable=False).doctor(race=True).check('race').mark)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert (done.stdout.split(), done.stderr) == (["training", "ok"], "")


def test_racing_processes_meet_before_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    class Meeting:
        met = 0

        def wait(self, timeout: float | None = None) -> int:
            assert timeout
            self.met += 1
            return 0

        def abort(self) -> None:
            raise AssertionError

    meeting = Meeting()
    monkeypatch.setattr(races, "_meetings", [(meeting, 1)])
    assert races._create_each(0, MemoryStore, ["a", "b", "c"]) == {"a", "b", "c"}
    assert meeting.met == 3


def test_threads_race_as_processes_do() -> None:
    won = race_in_threads(MemoryStore(), ["a", "b"], threads=4)
    assert [len(winners) for winners in won.values()] == [1, 1]


# -- how it is shown -----------------------------------------------------------------------------------------------


def shown() -> Diagnosis:
    checks = (
        Check("list", True, "all <b>well</b>", seconds=0.0123),
        Check("create", False, "denied", "ask & wait"),
        Check("race", None, "not tried"),
    )
    return Diagnosis("memory://<x>", checks)


def test_it_shows_itself_in_a_few_lines() -> None:
    assert str(shown()).splitlines() == [
        "memory://<x>: not ok",
        "ok     list: all <b>well</b> (12.30 ms)",
        "fault  create: denied",
        "       to do: ask & wait",
        "note   race: not tried",
    ]


def test_in_a_notebook_what_others_wrote_is_escaped() -> None:
    html = shown()._repr_html_()
    assert "all &lt;b&gt;well&lt;/b&gt;" in html
    assert "ask &amp; wait" in html
    assert "memory://&lt;x&gt;: not ok" in html
    assert "<b>" not in html


def test_a_fault_makes_it_not_ok_and_a_note_does_not() -> None:
    assert not shown().ok
    assert attrs.evolve(shown(), checks=shown().checks[::2]).ok


def test_a_check_that_was_not_made_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        shown().check("race against time")
