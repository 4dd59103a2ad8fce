"""Journals: numbers without a gap or a double, whatever the storage and other writers do meanwhile."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep import tiles, zstd
from modelkeep.digest import digest
from modelkeep.entry import encode, genesis, parse, sign
from modelkeep.errors import (
    AccessError,
    ConflictError,
    FormatError,
    IntegrityError,
    InvalidValueError,
    ObjectExistsError,
    OutcomeUnknownError,
    StaleError,
    StoreError,
    UnsettledError,
)
from modelkeep.fold import Fold
from modelkeep.folds import policy, versions
from modelkeep.folds.policy import Policy, SetPolicy
from modelkeep.folds.rules import Op
from modelkeep.journal import Journal
from modelkeep.layout import entry_key, tile_key
from modelkeep.reading import Finding
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from modelkeep.system import System

REGISTRY = "the registry"
PREFIX = "policy/"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SYSTEM = System(sleep=lambda _: None, jitter=lambda: 0.5, actor=lambda: "ada")


def key(number: int) -> str:
    return entry_key(PREFIX, number)


def tx_of(number: int) -> str:
    return f"{number:032x}"


def opened(store: Store, *, system: System = SYSTEM, registry: str = REGISTRY) -> Journal[Policy]:
    return Journal(store, PREFIX, registry, policy.RULES, system)


def saying(text: str) -> Callable[[Policy], Sequence[Op]]:
    return lambda _: [SetPolicy(text)]


def add(journal: Journal[Policy], text: str, tx: int | None = None) -> int:
    """Append an entry that says *text*; its number."""
    transaction = journal._system.new_id() if tx is None else tx_of(tx)
    return journal.append(saying(text), tx=transaction).number


def written(count: int, *, tiled: bool = True, store: MemoryStore | None = None) -> MemoryStore:
    """A store with a journal of *count* entries, put there by hand."""
    store = store or MemoryStore()
    prev, raws = genesis(REGISTRY, PREFIX), []
    for number in range(1, count + 1):
        ops = [{"op": "policy", "text": f"text {number}"}]
        raws.append(encode(number, prev, tx_of(number), moment(number), "ada", {}, ops))
        prev = digest(raws[-1])
        store.create(key(number), raws[-1])
        if tiled and number % 100 == 0:
            tiles.write(store, PREFIX, number // 100 - 1, raws[-100:])
    return store


def moment(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def overwrite(store: MemoryStore, where: str, value: bytes) -> None:
    store.delete([where])
    store.create(where, value)


def objects(store: MemoryStore) -> dict[str, bytes]:
    return {item.key: store.get(item.key) for item in store.list("")}


class Rounds(Wrapper):
    """Counts calls, however many keys one has."""

    def __init__(self, within: Store) -> None:
        super().__init__(within)
        self.rounds: list[str] = []

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self.rounds.append("get")
        return super().get(key, span)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        self.rounds.append("get_many")
        return super().get_many(keys)

    def list(self, prefix: str) -> Iterator[Any]:
        self.rounds.append("list")
        return super().list(prefix)


class Faulty(Wrapper):
    """Does to each `create` what *plan* says, in order, and afterwards nothing odd.

    Args:
        within: the store that does the work.
        plan: ``lost request``, ``lost reply``, ``late`` (arrives when `arrive` is called), ``retried`` (the client
            library repeats its own success), ``refused``, ``denied``.
        reads: how many reads fail after the first create.
    """

    def __init__(self, within: Store, *plan: str, reads: int = 0) -> None:
        super().__init__(within)
        self.plan = list(plan)
        self.reads = reads
        self.sent: list[tuple[str, bytes]] = []
        self.late: list[tuple[str, bytes]] = []

    def create(self, key: str, value: bytes) -> None:
        self.sent.append((key, value))
        fault = self.plan.pop(0) if self.plan else ""
        if fault == "refused":
            raise StoreError("no space", key=key)
        if fault == "denied":
            raise AccessError("denied", key=key)
        if fault == "late":
            self.late.append((key, value))
        elif fault != "lost request":
            self.within.create(key, value)
        if fault == "retried":
            self.within.create(key, value)
        if fault in ("lost request", "lost reply", "late"):
            raise OutcomeUnknownError("no answer", key=key)

    def arrive(self) -> None:
        """Deliver what is late."""
        for where, value in self.late:
            try:
                self.within.create(where, value)
            except ObjectExistsError:
                continue

    def _read(self, where: str) -> None:
        if self.sent and self.reads:
            self.reads -= 1
            raise OutcomeUnknownError("timed out", key=where)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        self._read(key)
        return super().get(key, span)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        asked = list(keys)
        self._read(asked[0] if asked else PREFIX)
        return super().get_many(asked)


# The chain


def test_entry_1_is_bound_to_its_registry_and_its_journal() -> None:
    store = MemoryStore()
    add(opened(store), "a")
    assert parse(store.get(key(1)), 1).prev == genesis(REGISTRY, PREFIX)
    with pytest.raises(IntegrityError, match="does not follow entry 0"):
        opened(store, registry="another").refresh()
    elsewhere = Journal(store, "models/churn/notes/", REGISTRY, policy.RULES, SYSTEM)
    store.create(entry_key(elsewhere.prefix, 1), store.get(key(1)))
    with pytest.raises(IntegrityError, match="does not follow entry 0"):
        elsewhere.refresh()


def test_each_entry_carries_the_digest_of_all_bytes_of_the_one_before() -> None:
    store = MemoryStore()
    journal = opened(store)
    for number in range(1, 6):
        assert add(journal, "x") == number
    for number in range(2, 6):
        assert parse(store.get(key(number)), number).prev == digest(store.get(key(number - 1)))
    assert journal.seen == (5, digest(store.get(key(5))))


def test_an_entry_carries_the_time_the_actor_and_the_sister_heads() -> None:
    store = MemoryStore()
    clock = System(now=lambda: BEGIN, actor=lambda: "eve", sleep=lambda _: None)
    sisters = {"releases": (3, digest(b"")), "notes": (0, digest(b""))}
    entry = opened(store, system=clock).append(saying("x"), tx=tx_of(1), sisters=sisters)
    assert entry == parse(store.get(key(1)), 1)
    assert (entry.time, entry.actor, entry.tx) == ("2026-03-01T12:00:00.000000Z", "eve", tx_of(1))
    assert entry.seen == {"releases": [3, digest(b"")]}


# What it costs


def test_a_warm_append_is_exactly_one_write() -> None:
    store = Recording(MemoryStore())
    journal = opened(store)
    add(journal, "a")
    store.forget()
    add(journal, "b")
    assert store.requests == [("create", key(2))]


def test_a_warm_refresh_with_nothing_new_is_exactly_one_get() -> None:
    store = Recording(written(7))
    journal = opened(store)
    journal.refresh()
    store.forget()
    journal.refresh()
    assert store.requests == [("get", key(8))]


@pytest.mark.parametrize("count", [0, 5, 40, 99, 100, 250, 300, 10_000, 10_250])
def test_a_cold_open_takes_at_most_three_rounds(count: int) -> None:
    store = Rounds(written(count))
    journal = opened(store)
    journal.refresh()
    assert journal.head == count
    assert journal.state == (Policy(f"text {count}", count) if count else Policy())
    assert len(store.rounds) <= 3, store.rounds


def test_a_cold_open_of_100_hundreds_reads_one_tile_for_them() -> None:
    store = Recording(written(10_100))
    opened(store).refresh()
    read = [where for verb, where in store.requests if verb == "get"]
    assert [where for where in read if "/t" in where] == [tile_key(PREFIX, 2, 0), tile_key(PREFIX, 1, 100)]
    assert len(read) < 120


def test_making_a_journal_reads_nothing() -> None:
    store = Recording(written(3))
    journal = opened(store)
    assert journal.is_cold
    assert store.requests == []
    journal.refresh()
    assert not journal.is_cold


# Appending against others


def test_of_two_writers_each_gets_its_own_number_and_the_loser_tries_again() -> None:
    store = Recording(MemoryStore())
    one, other = opened(store), opened(store)
    add(one, "a")
    other.refresh()
    add(one, "b")
    store.forget()
    assert add(other, "c") == 3
    assert [verb for verb, _ in store.requests if verb == "create"] == ["create", "create"]
    assert [parse(store.get(key(n)), n).ops[0]["text"] for n in (1, 2, 3)] == ["a", "b", "c"]


def test_the_operations_are_decided_anew_for_the_newest_state_on_each_try() -> None:
    store = MemoryStore()
    one, other = opened(store), opened(store)
    add(one, "a")
    other.refresh()
    add(one, "b")
    asked: list[str] = []

    def decide(state: Policy) -> list[Op]:
        asked.append(state.text)
        return [SetPolicy(state.text + "!")]

    entry = other.append(decide, tx=tx_of(9))
    assert asked == ["a", "b"]
    assert entry.ops == [{"op": "policy", "text": "b!"}]


def refusing(wanted: str) -> Callable[[Policy], Sequence[Op]]:
    def decide(state: Policy) -> list[Op]:
        if state.text != wanted:
            raise StaleError("stale", found=state.text)
        return [SetPolicy("done")]

    return decide


def test_a_refusal_from_an_old_state_looks_again_first() -> None:
    store = Recording(MemoryStore())
    one, other = opened(store), opened(store)
    add(one, "a")
    other.refresh()
    add(one, "b")
    assert other.append(refusing("b"), tx=tx_of(9)).number == 3
    add(one, "c")
    store.forget()
    with pytest.raises(StaleError) as refusal:
        other.append(refusing("z"), tx=tx_of(10))
    assert refusal.value.found == "c"
    assert [verb for verb, _ in store.requests if verb == "create"] == []
    assert other.head == 4


def test_a_refusal_after_a_conflict_is_believed_at_once() -> None:
    store = MemoryStore()
    one, other = opened(store), opened(store)
    add(one, "a")
    other.refresh()
    add(one, "b")
    with pytest.raises(StaleError):
        other.append(refusing("a"), tx=tx_of(9))
    assert other.head == 2
    assert len(objects(store)) == 2


def test_what_breaks_a_rule_is_not_written() -> None:
    store = MemoryStore()
    journal = Journal(store, PREFIX, REGISTRY, versions.RULES, SYSTEM)
    journal.append(lambda _: [versions.Open(REGISTRY)], tx=tx_of(1))
    with pytest.raises(ConflictError, match="open already"):
        journal.append(lambda _: [versions.Close(), versions.Open(""), versions.Open("")], tx=tx_of(2))
    assert list(objects(store)) == [key(1)]
    assert journal.state.is_open


def test_an_error_of_the_callers_own_passes_and_nothing_is_written() -> None:
    store = MemoryStore()
    journal = opened(store)

    def decide(_: Policy) -> list[Op]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        journal.append(decide, tx=tx_of(1))
    assert objects(store) == {}
    assert add(journal, "a") == 1


def test_a_writer_that_always_loses_gives_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Crowded(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            add(opened(self.within), "another")
            super().create(key, value)

    monkeypatch.setattr("modelkeep.journal._MAX_LOSSES", 5)
    with pytest.raises(ConflictError, match="others were first 5 times"):
        add(opened(Crowded(MemoryStore())), "mine")


def test_two_threads_on_one_journal_get_consecutive_numbers() -> None:
    store = MemoryStore()
    journal = opened(store)
    numbers: list[int] = []

    def work() -> None:
        numbers.extend(add(journal, "x") for _ in range(60))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 121))
    assert opened(store).verify() == []


def append_many(root: Path, who: int, count: int) -> list[int]:
    journal = opened(LocalStore(root, durable=False), system=System(actor=lambda: "ada"))
    return [journal.append(saying(f"{who}"), tx=f"{who:016x}{n:016x}").number for n in range(count)]


def test_four_processes_on_one_folder_get_consecutive_numbers(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        taken = pool.starmap(append_many, [(tmp_path, who, 30) for who in range(4)])
    assert sorted(number for numbers in taken for number in numbers) == list(range(1, 121))
    assert all(numbers == sorted(numbers) for numbers in taken)
    journal = opened(LocalStore(tmp_path))
    assert journal.verify() == []
    journal.refresh()
    told = {entry.number: entry.tx[:16] for entry, _, _ in journal.replay()}
    assert told == {number: f"{who:016x}" for who, numbers in enumerate(taken) for number in numbers}


def test_a_replay_of_a_journal_that_was_not_read_yet_tells_nothing() -> None:
    assert list(opened(written(3)).replay()) == []


# Lost answers


@pytest.mark.parametrize(
    "plan",
    [
        ["lost request"],
        ["lost reply"],
        ["late"],
        ["retried"],
        ["lost request", "lost request", "lost reply"],
        ["late", "lost reply", "late"],
        ["lost reply", "retried"],
        ["lost request"] * 4,
    ],
)
@pytest.mark.parametrize("reads", [0, 1, 4])
def test_an_entry_stands_exactly_once_whatever_got_lost(plan: list[str], reads: int) -> None:
    store = written(3)
    faulty = Faulty(store, reads=reads)
    journal = opened(faulty)
    journal.refresh()
    faulty.plan = plan
    entry = journal.append(saying("mine"), tx=tx_of(77))
    faulty.arrive()
    assert (entry.number, entry.tx, entry.ops) == (4, tx_of(77), [{"op": "policy", "text": "mine"}])
    assert {where for where, _ in faulty.sent} == {key(4)}
    assert len({value for _, value in faulty.sent}) == 1
    assert sorted(objects(store)) == [key(number) for number in range(1, 5)]
    assert journal.seen == (4, digest(store.get(key(4))))
    assert opened(store).verify() == []


def test_others_that_were_first_after_a_lost_request_are_told_apart_from_ones_own_entry() -> None:
    store = written(3)

    class Overtaken(Faulty):
        def create(self, key: str, value: bytes) -> None:
            try:
                super().create(key, value)
            except OutcomeUnknownError:
                add(opened(self.within), "another", 50)
                raise

    faulty = Overtaken(store)
    journal = opened(faulty)
    journal.refresh()
    faulty.plan = ["late"]
    assert add(journal, "mine", 77) == 5
    faulty.arrive()
    assert [parse(store.get(key(n)), n).tx for n in (4, 5)] == [tx_of(50), tx_of(77)]
    assert [where for where, _ in faulty.sent] == [key(4), key(4), key(5)]


def test_own_entry_is_recognised_among_those_that_came_after_it() -> None:
    store = written(3)

    class Followed(Faulty):
        def create(self, key: str, value: bytes) -> None:
            try:
                super().create(key, value)
            except OutcomeUnknownError:
                for text in "abc":
                    add(opened(self.within), text)
                raise

    faulty = Followed(store)
    journal = opened(faulty)
    journal.refresh()
    faulty.plan = ["lost reply"]
    assert add(journal, "mine", 77) == 4
    assert journal.head == 7
    assert journal.state.text == "c"
    assert len(objects(store)) == 7


def unsettled(*plan: str, reads: int = 0, count: int = 3) -> tuple[Faulty, MemoryStore, UnsettledError]:
    """Append transaction 77 to a journal of 3 entries, with faults that leave it open."""
    store = written(count)
    faulty = Faulty(store, reads=reads)
    journal = opened(faulty)
    journal.refresh()
    faulty.plan = list(plan)
    with pytest.raises(UnsettledError) as open_:
        add(journal, "mine", 77)
    assert open_.value.token == f"{PREFIX}4/{tx_of(77)}"
    assert len({value for _, value in faulty.sent}) == 1
    faulty.plan, faulty.reads = [], 0
    return faulty, store, open_.value


@pytest.mark.parametrize(
    ("plan", "reads", "stands"),
    [
        (["lost request"] * 5, 0, False),
        (["late"] * 5, 0, False),
        (["lost reply"], 5, True),
        (["retried"], 5, True),
        (["lost request", "refused"], 0, False),
        (["late", "denied"], 0, False),
    ],
)
def test_when_no_answer_comes_the_error_says_so_and_settle_answers_for_good(
    plan: list[str], reads: int, stands: bool
) -> None:
    faulty, store, _ = unsettled(*plan, reads=reads)
    assert opened(store).settle(4, tx_of(77)) is stands
    faulty.arrive()
    assert opened(store).settle(4, tx_of(77)) is stands
    journal = opened(store)
    journal.refresh()
    assert journal.state.text == ("mine" if stands else "text 3")
    assert journal.verify() == []


def test_settling_before_a_late_request_arrives_shuts_it_out_and_after_finds_it() -> None:
    faulty, store, _ = unsettled(*["late"] * 5)
    faulty.arrive()
    assert opened(store).settle(4, tx_of(77)) is True
    assert len(objects(store)) == 4
    faulty, store, _ = unsettled(*["late"] * 5)
    assert opened(store).settle(4, tx_of(77)) is False
    faulty.arrive()
    entry = parse(store.get(key(4)), 4)
    assert entry.ops == [{"op": "cancel", "tx": tx_of(77)}]
    assert entry.tx != tx_of(77)


def test_a_slot_that_another_took_settles_without_a_write() -> None:
    _, store, _ = unsettled(*["lost request"] * 5)
    add(opened(store), "another")
    recording = Recording(store)
    assert opened(recording).settle(4, tx_of(77)) is False
    assert "create" not in recording.counts()


def test_without_the_right_to_write_an_empty_slot_settles_nothing() -> None:
    faulty, store, _ = unsettled(*["late"] * 5)
    assert opened(ReadOnly(store)).settle(4, tx_of(77)) is None
    faulty.arrive()
    assert opened(ReadOnly(store)).settle(4, tx_of(77)) is True


def test_settling_may_get_no_answer_either_and_the_token_still_holds() -> None:
    _, store, error = unsettled(*["lost request"] * 5)
    with pytest.raises(UnsettledError) as again:
        opened(Faulty(store, *["lost request"] * 5)).settle(4, tx_of(77))
    assert again.value.token == error.token
    assert opened(Faulty(store, "lost reply")).settle(4, tx_of(77)) is False


def test_a_token_of_another_registry_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="entry 9, and policy/ ends at 3"):
        opened(written(3)).settle(9, tx_of(77))


def test_the_writer_itself_goes_on_after_an_open_outcome() -> None:
    for late in (True, False):
        faulty, store, _ = unsettled(*["late"] * 5)
        journal = opened(faulty)
        journal.refresh()
        if late:
            faulty.arrive()
        assert add(journal, "next", 78) == (5 if late else 4)
        faulty.arrive()
        assert opened(store).verify() == []
        assert opened(store).settle(4, tx_of(77)) is late


@pytest.mark.parametrize("fault", ["refused", "denied"])
def test_a_definite_refusal_leaves_nothing_and_the_next_append_works(fault: str) -> None:
    store = written(3)
    faulty = Faulty(store)
    journal = opened(faulty)
    journal.refresh()
    before = objects(store)
    faulty.plan = [fault]
    with pytest.raises(StoreError) as refusal:
        add(journal, "mine")
    assert not isinstance(refusal.value, UnsettledError)
    assert objects(store) == before
    assert add(journal, "mine") == 4


def test_a_cold_read_that_failed_half_way_is_begun_anew() -> None:
    class Flaky(Wrapper):
        calls = 0

        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            self.calls += 1
            if self.calls == 2:
                raise StoreError("network", key=PREFIX)
            return super().get_many(keys)

    journal = opened(Flaky(written(150, tiled=False)))
    with pytest.raises(StoreError):
        journal.refresh()
    journal.refresh()
    assert journal.head == 150
    assert journal.state.text == "text 150"


def test_a_cold_read_that_failed_leaves_what_was_known_to_other_threads() -> None:
    class Flaky(Wrapper):
        calls = 0

        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            self.calls += 1
            if self.calls == 5:
                raise StoreError("network", key=PREFIX)
            return super().get_many(keys)

    journal = opened(Flaky(written(150, tiled=False)))
    journal.refresh()
    journal.after_fork()
    with pytest.raises(StoreError):
        journal.refresh()
    assert (journal.head, journal.state.text) == (150, "text 150")


@pytest.mark.parametrize("part", ["_apply", "_parse"])
def test_a_read_that_a_signal_broke_off_is_begun_anew(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    store = written(3)
    journal = opened(store)
    journal.refresh()
    add(opened(store), "newest")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Fold, part, interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.refresh()
    assert journal.is_cold
    assert add(journal, "mine") == 5
    other = opened(store)
    other.refresh()
    assert facts_of(journal) == facts_of(other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs fork")
def test_a_child_forked_while_another_thread_reads_cold_collects_its_garbage() -> None:
    reading, done = threading.Event(), threading.Event()

    class Waiting(Wrapper):
        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            reading.set()
            done.wait(60)
            return super().get_many(keys)

    thread = threading.Thread(target=opened(Waiting(written(3))).refresh)
    thread.start()
    reading.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if not child:
        os._exit(0 if gc.isenabled() else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gc.isenabled()


# Tiles


@pytest.mark.parametrize("each", [7_000, 6_000], ids=["more", "as much"])
def test_a_tile_of_tiles_is_written_only_if_readers_unpack_it_and_takes_little_memory(each: int) -> None:
    store = MemoryStore()
    raws = [b"0" * each + b"\n\n"] * 100
    for index in range(99):
        tiles.write(store, PREFIX, index, raws)
    tracemalloc.start()
    try:
        tiles.write(store, PREFIX, 99, raws)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tile_key(PREFIX, 2, 0) in objects(store)) == (each * 10_000 < 1 << 26)
    assert peak < 8 << 20  # bytes; all of them unpacked take 60 MB


@st.composite
def random_journals(draw: st.DrawFn) -> tuple[MemoryStore, MemoryStore]:
    """The same random journal with and without tiles; entries may be void."""
    count = draw(st.integers(0, 320))
    seed = draw(st.integers(0, 2**32))
    tiled, bare = MemoryStore(), MemoryStore()
    prev, raws = genesis(REGISTRY, PREFIX), []
    for number in range(1, count + 1):
        seed = (seed * 1103515245 + 12345) % 2**31
        kinds: list[dict[str, Any]] = [
            {"op": "policy", "text": f"text {seed}"},
            {"op": "policy", "text": 7},
            {"op": "cancel", "tx": tx_of(number + 1)},
            {"op": "policy"},
        ]
        raws.append(encode(number, prev, tx_of(number), moment(0), "ada", {}, [kinds[seed // 8 % 4]]))
        prev = digest(raws[-1])
        for store in (tiled, bare):
            store.create(key(number), raws[-1])
        if number % 100 == 0 and seed // 64 % 3:  # some tiles are missing
            tiles.write(tiled, PREFIX, number // 100 - 1, raws[-100:])
    return tiled, bare


def facts_of(journal: Journal[Policy]) -> Fold[Policy]:
    return journal._fold


@settings(max_examples=25, deadline=None)
@given(random_journals(), st.integers(0, 320))
def test_the_state_is_the_same_read_cold_warm_with_tiles_and_without(
    stores: tuple[MemoryStore, MemoryStore], half: int
) -> None:
    tiled, bare = stores
    raws = [value for where, value in sorted(objects(bare).items())]
    growing = MemoryStore()
    warm = opened(growing)
    for number, raw in enumerate(raws, 1):
        growing.create(key(number), raw)
        if number in (1, half):
            warm.refresh()
    warm.refresh()
    folded: Fold[Policy] = Fold(policy.RULES, (0, genesis(REGISTRY, PREFIX)))
    for raw in raws:
        folded.take(raw)
    for store in (tiled, bare):
        cold = opened(store)
        cold.refresh()
        assert facts_of(cold) == facts_of(warm) == folded
        assert [entry.number for entry, _, _ in cold.replay()] == list(range(1, len(raws) + 1))


@pytest.mark.parametrize("missing", [[0], [1], [0, 1], [0, 1, 2], [2]])
def test_a_missing_tile_proves_nothing(missing: list[int]) -> None:
    store = written(330)
    store.delete([tile_key(PREFIX, 1, index) for index in missing])
    journal = opened(store)
    journal.refresh()
    assert (journal.head, journal.state.text) == (330, "text 330")
    assert add(journal, "next") == 331


def foreign_tile() -> bytes:
    store = MemoryStore()
    for _ in range(100):
        add(opened(store, registry="another"), "foreign")
    return store.get(tile_key(PREFIX, 1, 0))


def altered_tile(store: MemoryStore, number: int) -> bytes:
    """The tile of the first hundred with entry *number* altered and signed anew."""
    raws = [store.get(key(n)) for n in range(1, 101)]
    raws[number - 1] = sign(raws[number - 1].split(b"\n")[0].replace(b'"text ', b'"evil '))
    return zstd.compress(b"".join(raws))


SPOIL: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda tile: tile[:-20],
    "extended": lambda tile: tile + b"x",
    "headless": lambda tile: tile[9:],
    "one entry short": lambda tile: zstd.compress(b"\n".join(zstd.decompress(tile, 1 << 30).split(b"\n")[2:])),
    "a line short": lambda tile: zstd.compress(b"\n".join(zstd.decompress(tile, 1 << 30).split(b"\n")[1:])),
    "foreign": lambda _: foreign_tile(),
    "another hundred": lambda _: written(200).get(tile_key(PREFIX, 1, 1)),
    "one bit": lambda tile: zstd.compress(zstd.decompress(tile, 1 << 30).replace(b"ada", b"ade", 1)),
    "altered and signed": lambda _: altered_tile(written(100), 50),
    "last one altered and signed": lambda _: altered_tile(written(100), 100),
}


@pytest.mark.parametrize("how", sorted(SPOIL))
@pytest.mark.parametrize("count", [120, 230])
def test_an_unsound_tile_is_read_around_and_reported(how: str, count: int) -> None:
    store = written(count)
    where = tile_key(PREFIX, 1, 0)
    overwrite(store, where, SPOIL[how](store.get(where)))
    journal = opened(store)
    journal.refresh()
    sound: Fold[Policy] = Fold(policy.RULES, (0, genesis(REGISTRY, PREFIX)))
    for number in range(1, count + 1):
        sound.take(store.get(key(number)))
    assert facts_of(journal) == sound
    assert add(journal, "next") == count + 1
    assert journal.verify() == [Finding(where, "it does not hold the bytes of its entries", "tile")]
    assert opened(store).at(moment(50)).text == "text 50"


def test_a_tile_with_a_flipped_bit_never_stops_a_reader() -> None:
    store = written(103)
    where = tile_key(PREFIX, 1, 0)
    tile = store.get(where)
    stopped = []
    for bit in range(0, 8 * len(tile), 41):
        flipped = bytearray(tile)
        flipped[bit // 8] ^= 1 << bit % 8
        overwrite(store, where, bytes(flipped))
        journal = opened(store)
        try:
            journal.refresh()
        except IntegrityError:
            stopped.append(bit)
        else:
            assert (journal.head, journal.state.text) == (103, "text 103")
    assert stopped == []


def test_a_tile_without_its_entries_is_no_proof_of_them() -> None:
    store = written(50)
    overwrite(store, tile_key(PREFIX, 1, 0), b"rubbish")
    journal = opened(store)
    journal.refresh()
    assert journal.head == 50
    assert add(journal, "next") == 51


def test_a_tile_whose_last_entry_is_another_is_not_believed_though_nothing_follows() -> None:
    store = written(100)
    where = tile_key(PREFIX, 1, 0)
    overwrite(store, where, altered_tile(store, 100))
    journal = opened(store)
    journal.refresh()
    assert journal.seen == (100, digest(store.get(key(100))))
    assert journal.verify() == [Finding(where, "it does not hold the bytes of its entries", "tile")]


def test_a_last_entry_that_only_a_tile_still_holds_keeps_its_number_and_is_reported() -> None:
    store = written(200)
    seen = (200, digest(store.get(key(200))))
    store.delete([key(200)])
    journal = opened(store)
    journal.refresh()
    assert journal.seen == seen
    (found,) = journal.verify()
    assert (found.key, found.kind) == (key(200), "missing")
    assert add(journal, "next") == 201


def test_all_tiles_that_cannot_be_read_are_left_aside_at_once() -> None:
    store = written(1300)
    for index in range(13):
        overwrite(store, tile_key(PREFIX, 1, index), b"rubbish")
    counted = Recording(store)
    journal = opened(counted)
    journal.refresh()
    assert journal.head == 1300
    assert counted.counts()["get"] < 1500


def test_a_stray_tile_far_beyond_the_end_costs_one_look() -> None:
    store = written(120)
    for index in (198, 199):
        store.create(tile_key(PREFIX, 1, index), b"")
    counted = Recording(store)
    journal = opened(counted)
    journal.refresh()
    assert journal.head == 120
    assert counted.counts()["get"] < 200


def test_tiles_behind_a_long_stretch_without_any_are_used() -> None:
    store = written(2330)
    store.delete([tile_key(PREFIX, 1, index) for index in range(3, 21)])
    counted = Recording(store)
    journal = opened(counted)
    journal.refresh()
    assert (journal.head, journal.state.text) == (2330, "text 2330")
    assert ("get", tile_key(PREFIX, 1, 22)) in counted.requests


def test_a_tile_that_unpacks_to_nothing_but_ends_of_lines_is_refused_before_it_is_split() -> None:
    bomb = zstd.compress(b"\n" * (1 << 26))
    tracemalloc.start()
    try:
        assert tiles.split(bomb, 100) is None
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_a_stray_object_among_the_tiles_does_not_stop_anybody() -> None:
    store = written(120)
    store.create(f"{PREFIX}t1/notes.txt", b"")
    store.create(f"{PREFIX}t9/{0:020d}.zst", b"")
    store.create(f"{PREFIX}t1/{7:020d}.zst", b"")
    journal = opened(store)
    journal.refresh()
    assert journal.head == 120


def test_a_tile_with_an_absurd_number_does_not_stop_anybody() -> None:
    class Patient(Wrapper):
        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            asked = list(keys)
            assert len(asked) < 20_000, "the keys of all entries up to an absurd number"
            return super().get_many(asked)

    store = written(120)
    store.create(f"{PREFIX}t1/{1_000:020d}.zst", b"")
    journal = opened(Patient(store))
    journal.refresh()
    assert journal.head == 120


@pytest.mark.parametrize("count", [100, 300])
def test_a_tile_holds_the_exact_bytes_of_its_hundred(count: int) -> None:
    store = MemoryStore()
    journal = opened(store)
    for _ in range(count):
        add(journal, "x")
    for index in range(count // 100):
        tile = zstd.decompress(store.get(tile_key(PREFIX, 1, index)), 1 << 20)
        assert tile == b"".join(store.get(key(n)) for n in range(100 * index + 1, 100 * index + 101))


def test_a_tile_is_written_after_the_entry_was_acknowledged_by_whoever_passes_the_boundary() -> None:
    within = written(98)
    store = Recording(within)
    journal = opened(store)
    journal.refresh()
    store.forget()
    for number in (99, 100, 101):
        assert add(journal, "x") == number
    assert store.requests == [
        ("create", key(99)),
        ("create", key(100)),
        ("create", tile_key(PREFIX, 1, 0)),
        ("create", key(101)),
    ]


def test_a_tile_left_over_by_a_crashed_writer_is_written_by_the_next() -> None:
    store = written(230, tiled=False)
    add(opened(store), "next")
    assert [where for where in objects(store) if "/t" in where] == [tile_key(PREFIX, 1, index) for index in (0, 1)]
    assert opened(store).verify() == []


def test_a_tile_that_another_wrote_is_left_as_it_is() -> None:
    store = written(99)
    store.create(tile_key(PREFIX, 1, 0), b"by another build of zstd")
    assert add(opened(store), "x") == 100
    assert store.get(tile_key(PREFIX, 1, 0)) == b"by another build of zstd"


@pytest.mark.parametrize("error", [AccessError, StoreError, OutcomeUnknownError])
def test_who_cannot_write_a_tile_carries_on(error: type[StoreError]) -> None:
    class NoTiles(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/t" in key:
                raise error("no", key=key)
            super().create(key, value)

    store = written(99)
    journal = opened(NoTiles(store))
    assert [add(journal, "x") for _ in range(3)] == [100, 101, 102]
    assert not [where for where in objects(store) if "/t" in where]


def test_a_reader_without_the_right_to_write_reads_a_journal_without_tiles() -> None:
    journal = opened(ReadOnly(written(230, tiled=False)))
    journal.refresh()
    assert journal.head == 230
    with pytest.raises(AccessError):
        add(journal, "x")


def test_a_tile_larger_than_a_store_takes_is_not_written_and_the_entries_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = written(99)
    monkeypatch.setattr("modelkeep.tiles.MAX_VALUE", 100)
    add(opened(store), "x")
    assert not [where for where in objects(store) if "/t" in where]
    journal = opened(store)
    journal.refresh()
    assert journal.head == 100


def test_entry_10_000_brings_a_tile_of_the_second_level_with_all_their_bytes() -> None:
    store = written(9_999)
    recording = Recording(store)
    journal = opened(recording)
    journal.refresh()
    recording.forget()
    assert add(journal, "last") == 10_000
    created = [where for verb, where in recording.requests if verb == "create"]
    assert created == [key(10_000), tile_key(PREFIX, 1, 99), tile_key(PREFIX, 2, 0)]
    held = tiles.split(store.get(tile_key(PREFIX, 2, 0)), 10_000)
    assert held == [store.get(key(number)) for number in range(1, 10_001)]
    cold = opened(store)
    cold.refresh()
    assert facts_of(cold) == facts_of(journal)


def test_a_tile_of_the_second_level_waits_for_all_that_it_holds() -> None:
    store = written(9_999)
    store.delete([tile_key(PREFIX, 1, 7)])
    add(opened(store), "last")
    assert not [where for where in objects(store) if "/t2/" in where]
    journal = opened(store)
    journal.refresh()
    assert journal.head == 10_000


def test_an_unsound_tile_of_the_second_level_is_read_around() -> None:
    store = written(10_020)
    overwrite(store, tile_key(PREFIX, 2, 0), store.get(tile_key(PREFIX, 2, 0))[:-9])
    journal = opened(store)
    journal.refresh()
    assert (journal.head, journal.state.text) == (10_020, "text 10020")


def test_a_reader_that_follows_for_long_does_not_keep_all_bytes_in_memory() -> None:
    store = MemoryStore()
    writer, reader = opened(store), opened(store)
    reader.refresh()
    for number in range(1, 700):
        add(writer, "x")
        if number % 50 == 0:
            reader.refresh()
    assert len(reader._untiled) <= 300
    reader.refresh()
    assert add(reader, "mine") == 700
    assert opened(store).verify() == []


# Damage


@pytest.mark.parametrize("count", [10, 60, 150])
@pytest.mark.parametrize("hole", [1, 5, 9])
def test_a_hole_is_an_integrity_error_that_names_the_object(count: int, hole: int) -> None:
    store = written(count, tiled=False)
    store.delete([key(hole)])
    journal = opened(store)
    with pytest.raises(IntegrityError, match=key(hole)) as error:
        journal.refresh()
    assert (error.value.key, error.value.number) == (key(hole), hole)
    with pytest.raises(IntegrityError):
        add(journal, "x")
    assert key(count + 1) not in objects(store)
    assert opened(store).verify()[0] == Finding(key(hole), "it is missing", "missing")


def test_an_entry_that_came_between_two_answers_of_one_round_is_no_hole() -> None:
    within = written(9)
    late = within.get(key(5))
    within.delete([key(5)])

    class Behind(Wrapper):
        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            found = super().get_many(keys)
            if key(5) not in objects(within):
                within.create(key(5), late)
            return found

    journal = opened(Behind(within))
    journal.refresh()
    assert journal.head == 9
    assert journal.state.text == "text 9"


@pytest.mark.parametrize("which", [1, 4, 7])
def test_damage_is_an_error_that_names_object_and_number_until_somebody_accepts_the_loss(which: int) -> None:
    store = written(7)
    overwrite(store, key(which), store.get(key(which))[:-1] + b"?")
    journal = opened(store)
    for _ in range(2):
        with pytest.raises(IntegrityError, match=f"{key(which)} is damaged") as error:
            journal.refresh()
        assert (error.value.key, error.value.number) == (key(which), which)
    opened(store).seal(which)
    entry = parse(store.get(key(8)), 8)
    assert entry.ops == [{"op": "seal", "n": which, "digest": digest(store.get(key(which)))}]
    journal.refresh()
    assert journal.state.text == ("text 6" if which == 7 else "text 7")
    assert add(journal, "next") == 9
    assert opened(store).verify() == []


def test_nothing_is_appended_after_damage_that_nobody_accepted() -> None:
    store = written(7)
    overwrite(store, key(4), b"junk")
    journal = opened(store)
    for _ in range(3):
        with pytest.raises(IntegrityError):
            add(journal, "x")
    assert key(8) not in objects(store)


def test_damage_met_on_the_way_does_not_let_the_next_append_through() -> None:
    store = written(7)
    journal = opened(store)
    journal.refresh()
    store.create(key(8), b"junk")
    for _ in range(3):
        with pytest.raises((IntegrityError, UnsettledError)):
            add(journal, "x")
    assert key(9) not in objects(store)


def test_an_entry_read_half_written_is_read_again_by_the_next_refresh() -> None:
    store = written(7)
    journal = opened(store)
    journal.refresh()
    add(opened(store), "whole")
    whole = store.get(key(8))
    overwrite(store, key(8), whole[:20])
    with pytest.raises(IntegrityError):
        journal.refresh()
    overwrite(store, key(8), whole)
    journal.refresh()
    assert journal.state.text == "whole"


def test_only_damage_can_be_sealed() -> None:
    store = written(7)
    with pytest.raises(ConflictError, match=f"{key(3)} is sound"):
        opened(store).seal(3)
    assert len(objects(store)) == 7


@pytest.mark.parametrize("plan", [["lost reply"], ["retried"], ["lost request"]])
def test_a_seal_whose_answer_was_lost_is_a_seal(plan: list[str]) -> None:
    store = written(7)
    overwrite(store, key(4), b"junk")
    opened(Faulty(store, *plan)).seal(4)
    assert sorted(objects(store)) == [key(number) for number in range(1, 9)]
    opened(store).refresh()


def test_settling_a_slot_whose_damage_was_accepted_answers_without_an_error() -> None:
    store = written(7)
    overwrite(store, key(4), b"junk")
    opened(store).seal(4)
    assert opened(store).settle(4, tx_of(77)) in (False, None)


def test_a_hundred_with_damage_gets_no_tile_and_the_next_hundred_does() -> None:
    store = written(90)
    overwrite(store, key(50), b"junk")
    opened(store).seal(50)
    journal = opened(store)
    for _ in range(120):
        add(journal, "x")
    assert [where for where in objects(store) if "/t" in where] == [tile_key(PREFIX, 1, 1)]
    cold = opened(store)
    cold.refresh()
    assert facts_of(cold) == facts_of(journal)
    assert cold.verify() == []


# Operations of another release


def raw_after(store: MemoryStore, *ops: dict[str, Any]) -> tuple[str, bytes]:
    number = len(objects(store)) + 1
    prev = digest(store.get(key(number - 1)))
    return key(number), encode(number, prev, tx_of(number), moment(0), "ada", {}, ops)


def test_an_unknown_operation_stops_reading_and_writing_and_names_the_entry() -> None:
    store = written(3)
    store.create(*raw_after(store, {"op": "quantize"}))
    journal = opened(store)
    for _ in range(2):
        with pytest.raises(FormatError, match=r"'quantize'.*upgrade modelkeep") as error:
            journal.refresh()
        assert error.value.key == key(4)
        with pytest.raises(FormatError):
            add(journal, "x")
    assert key(5) not in objects(store)


def test_an_operation_that_may_be_skipped_stops_writing_alone() -> None:
    store = written(3)
    store.create(*raw_after(store, {"op": "quantize", "skippable": True}))
    journal = opened(store)
    journal.refresh()
    assert journal.state.text == "text 3"
    for _ in range(2):
        with pytest.raises(FormatError, match=r"'quantize'.*upgrade modelkeep"):
            add(journal, "x")
    assert key(5) not in objects(store)


# The past


@pytest.mark.parametrize("tiled", [True, False])
def test_the_state_at_a_moment_is_that_after_the_last_entry_until_then(tiled: bool) -> None:
    journal = opened(written(230, tiled=tiled))
    for seconds in (1, 99, 100, 101, 200, 230):
        assert journal.at(moment(seconds)) == Policy(f"text {seconds}", seconds)
        assert journal.at(moment(seconds + 0.5)).number == seconds
    assert journal.at(moment(0)) == Policy()
    assert journal.at(moment(10**6)).number == 230


def test_a_clock_that_goes_backwards_does_not_bring_an_earlier_entry_before_a_later() -> None:
    store = MemoryStore()
    times = iter([10, 20, 15, 30, 5, 40])
    clock = System(now=lambda: BEGIN + timedelta(seconds=next(times)), actor=lambda: "ada")
    journal = opened(store, system=clock)
    for number in range(1, 7):
        add(journal, f"text {number}")
    seen = {seconds: journal.at(moment(seconds)).number for seconds in (5, 10, 14, 15, 19, 20, 29, 30, 39, 40)}
    assert seen == {5: 0, 10: 1, 14: 1, 15: 1, 19: 1, 20: 3, 29: 3, 30: 5, 39: 5, 40: 6}


def test_asking_for_the_past_leaves_the_present_as_it_is() -> None:
    journal = opened(written(30))
    journal.at(moment(5))
    assert journal.state.number == 30


def test_a_replay_tells_every_entry_the_state_after_it_and_why_it_is_void() -> None:
    store = written(2)
    store.create(*raw_after(store, {"op": "policy"}))
    journal = opened(store)
    journal.refresh()
    told = [(entry.number, state.number, why) for entry, state, why in journal.replay()]
    assert told[:2] == [(1, 1, None), (2, 2, None)]
    assert told[2][:2] == (3, 2)
    assert "missing" in str(told[2][2])


@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_damage_since_the_last_read_is_an_error_in_the_past_too_and_not_another_past(harm: str) -> None:
    store = written(30)
    journal = opened(store)
    journal.refresh()
    store.delete([key(5)])
    if harm == "altered":
        store.create(key(5), b"junk")
    with pytest.raises(IntegrityError, match=key(5)):
        journal.at(moment(5))
    with pytest.raises(IntegrityError, match=key(5)):
        list(journal.replay())


# Verification


def test_a_sound_journal_has_no_findings() -> None:
    for count in (0, 1, 99, 100, 101, 250):
        assert opened(written(count)).verify() == []


@given(st.integers(1, 40), st.data())
@settings(deadline=None)
def test_verify_names_the_first_bad_entry_first(count: int, data: st.DataObject) -> None:
    store = written(count)
    number = data.draw(st.integers(1, count))
    raw = bytearray(store.get(key(number)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    overwrite(store, key(number), bytes(raw))
    findings = opened(store).verify()
    assert (findings[0].key, findings[0].kind) == (key(number), "damaged")
    assert len(findings) == 1


@pytest.mark.parametrize("number", [1, 5, 9])
def test_an_entry_altered_and_signed_anew_breaks_the_chain_at_the_next(number: int) -> None:
    store = written(10)
    facts = orjson.loads(store.get(key(number)).split(b"\n")[0])
    overwrite(store, key(number), sign(orjson.dumps({**facts, "actor": "eve"})))
    findings = opened(store).verify()
    assert [finding.key for finding in findings] == [key(number + 1)]
    assert f"does not follow entry {number}" in findings[0].problem
    with pytest.raises(IntegrityError, match=key(number + 1)):
        opened(store).refresh()


@pytest.mark.parametrize("how", sorted(SPOIL))
def test_verify_reports_every_unsound_tile(how: str) -> None:
    store = written(120)
    where = tile_key(PREFIX, 1, 0)
    overwrite(store, where, SPOIL[how](store.get(where)))
    assert opened(store).verify() == [Finding(where, "it does not hold the bytes of its entries", "tile")]


def test_verify_reports_void_entries_missing_ones_and_tiles_all_at_once() -> None:
    store = written(120)
    store.create(*raw_after_number(store, 120, {"op": "policy"}))
    store.delete([key(30)])
    overwrite(store, tile_key(PREFIX, 1, 0), b"junk")
    findings = opened(store).verify()
    assert [(finding.key, finding.kind) for finding in findings] == [
        (key(30), "missing"),
        (key(121), "void"),
        (tile_key(PREFIX, 1, 0), "tile"),
    ]
    assert str(findings[0]) == f"{key(30)}: it is missing"


def raw_after_number(store: MemoryStore, number: int, *ops: dict[str, Any]) -> tuple[str, bytes]:
    prev = digest(store.get(key(number)))
    return key(number + 1), encode(number + 1, prev, tx_of(number + 1), moment(0), "ada", {}, ops)


def test_an_entry_with_an_absurd_number_is_a_finding_and_not_an_endless_search() -> None:
    class Patient(Wrapper):
        calls = 0

        def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
            self.calls += 1
            assert self.calls < 1000, "the search for all entries up to an absurd number"
            return super().get_many(keys)

    store = written(5)
    store.create(key(10**12), b"")
    findings = opened(Patient(store)).verify()
    assert key(10**12) in {finding.key for finding in findings}


def test_a_journal_shows_its_place_and_head() -> None:
    journal = opened(written(3))
    journal.refresh()
    assert repr(journal) == "Journal('policy/', head=3)"
    assert partial(opened, MemoryStore())().head == 0
