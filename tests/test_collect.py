"""Collection: what nobody needs goes, with a reason; what anybody needs stays, whatever else is at work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.entry import encode, parse
from modelkeep.errors import (
    AccessError,
    ClockError,
    ConflictError,
    DeletedError,
    InUseError,
    InvalidValueError,
    MissingObjectError,
    OutcomeUnknownError,
    UnsettledError,
)
from modelkeep.layout import data_prefix, entry_key, pack_key, probe_key
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store, StoredObject
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from modelkeep.system import System

NOW = timedelta(0)
DAY = timedelta(days=1)


class Clock:
    """A store's clock that a test sets, and a machine's that may differ."""

    def __init__(self) -> None:
        self.store = datetime(2026, 3, 1, tzinfo=UTC)
        self.apart = timedelta(0)

    def later(self, by: timedelta) -> None:
        self.store += by

    def system(self) -> System:
        return System(now=lambda: self.store + self.apart)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore("memory://collect", now=lambda: clock.store)


@pytest.fixture
def registry(store: MemoryStore, clock: Clock) -> mk.Registry:
    return mk.Registry(store, system=clock.system())


def model(seed: int) -> dict[str, Any]:
    """More than half of it is shared, so that a pack is not emptied because few of its bytes are alive."""
    shared = np.random.default_rng(0).standard_normal(30_000)
    return {"shared": shared, "own": np.random.default_rng(seed).standard_normal(20_000)}


def save(registry: mk.Registry, count: int, *, first: int = 1, **options: Any) -> list[mk.ModelVersion]:
    return [registry.save(model(seed), "churn", **options) for seed in range(first, first + count)]


def packs(store: Store, name: str = "churn") -> set[str]:
    return {item.key for item in store.list(data_prefix(name))}


def all_load(registry: mk.Registry, *seeds: int) -> None:
    fresh = mk.Registry(registry._store)
    for seed in seeds:
        loaded = fresh.load(f"churn:{seed}")
        assert all(np.array_equal(loaded[name], value) for name, value in model(seed).items())
    assert fresh.storage.verify().ok


def test_without_a_policy_nothing_that_was_saved_goes(registry: mk.Registry, store: MemoryStore) -> None:
    first, *_ = save(registry, 3)
    first.delete()
    before = packs(store)
    done = registry.storage.collect(grace=NOW)
    assert (done.purged, done.removals, done.left, done.bytes) == ((), (), (), 0)
    assert packs(store) == before
    assert first.restore().load()["own"].size


def test_what_the_rules_let_go_goes_and_what_others_share_with_it_stays(registry: mk.Registry) -> None:
    save(registry, 4)
    registry.policy.set("[retention]\nlast = 2")
    done = registry.storage.collect()
    assert [(one.name, one.number) for one in done.purged] == [("churn", 1), ("churn", 2)]
    assert len(done.removals) == 1  # the first holds what all share
    assert done.removals[0].kind == "pack"
    assert done.removals[0].reason.startswith("churn:2 was purged: not among the newest 2")
    all_load(registry, 3, 4)
    with pytest.raises(DeletedError, match="purged"):
        registry.load("churn:1")


def test_the_entry_of_a_purge_bears_the_rule_and_the_policy(registry: mk.Registry) -> None:
    save(registry, 3)
    registry.policy.set("[retention]\nlast = 2")
    (gone,) = registry.storage.collect().purged
    line = registry._line("churn")
    assert line is not None
    line.read()
    (entry,) = [entry for entry, _, _ in line.releases.replay() if entry.ops[-1]["op"] == "purge"]
    assert [op["op"] for op in entry.ops] == ["delete", "purge"]
    assert entry.ops[-1]["rule"] == gone.reason
    assert entry.ops[-1]["policy"] == registry.policy.number == 1


@pytest.mark.parametrize(
    ("kind", "gone"), [("held", {2, 3}), ("aliased", {2, 3}), ("rollback", {3}), ("newest", {1, 2, 3})]
)
def test_what_is_held_or_in_use_is_never_let_go(registry: mk.Registry, kind: str, gone: set[int]) -> None:
    one, two, *_ = save(registry, 4)
    if kind == "held":
        one.hold(reason="audit 2026")
    if kind in ("aliased", "rollback"):
        one.promote("production")
    if kind == "rollback":
        two.promote("production")
    registry.policy.set("[retention]\nlast = 1\naliased = false")
    assert {one.number for one in registry.storage.collect().purged} == gone
    all_load(registry, *({1, 2, 3, 4} - gone))


def test_a_dry_run_says_what_a_run_does_and_changes_nothing(registry: mk.Registry, store: MemoryStore) -> None:
    save(registry, 5)
    store.put_pack(pack_key("churn", f"{'ab' * 16}-1"), [b"left over"])
    registry.policy.set("[retention]\nlast = 2")
    before = {item.key: item.size for item in store.list("")}
    dry = registry.storage.collect(dry_run=True, grace=NOW)
    assert {item.key: item.size for item in store.list("")} == before
    done = mk.Registry(store, system=registry._system).storage.collect(grace=NOW)
    assert (dry.purged, dry.removals, dry.left, dry.bytes) == (done.purged, done.removals, done.left, done.bytes)
    assert dry.dry_run
    assert not done.dry_run
    assert dry.bytes == sum(before[one.key] for one in dry.removals) > 0
    assert all([*(one.reason for one in dry.purged), *(one.reason for one in dry.removals)])
    gone = before.keys() - {item.key for item in store.list("")}
    assert gone == {one.key for one in done.removals}


def test_a_dry_run_needs_no_right_to_write(registry: mk.Registry, store: MemoryStore) -> None:
    save(registry, 3)
    registry.policy.set("[retention]\nlast = 1\nnewer = '1 day'")
    plan = mk.Registry(ReadOnly(store), system=registry._system).storage.collect(dry_run=True)
    assert plan.purged == ()


def test_a_second_collection_finds_nothing_and_writes_nothing(registry: mk.Registry, store: MemoryStore) -> None:
    save(registry, 4)
    registry.policy.set("[retention]\nlast = 2")
    registry.storage.collect(grace=NOW)
    recording = Recording(store)
    done = mk.Registry(recording, system=registry._system).storage.collect(grace=NOW)
    assert (done.purged, done.removals) == ((), ())
    assert [key for verb, key in recording.requests if verb in ("put_pack", "delete") and "doctor/" not in key] == []


# -- uploads ---------------------------------------------------------------------------------------------------------


def test_an_upload_goes_once_it_is_older_than_the_grace_by_the_clock_of_the_store(
    registry: mk.Registry, store: MemoryStore, clock: Clock
) -> None:
    save(registry, 1)
    key = pack_key("churn", f"{'ab' * 16}-1")
    store.put_pack(key, [b"left over"])
    clock.later(DAY)
    young = registry.storage.collect()
    assert (young.removals, [one.key for one in young.left]) == ((), [key])
    assert "only 1 day old" in young.left[0].reason
    clock.later(timedelta(seconds=1))
    clock.apart = timedelta(days=-300)  # this machine's clock does not matter
    (removal,) = registry.storage.collect().removals
    assert (removal.key, removal.kind, removal.bytes) == (key, "upload", 9)
    assert removal.reason == "no version names it: a save that was not finished, 1 day ago"
    assert key not in packs(store)
    all_load(registry, 1)


def test_an_upload_that_goes_on_is_as_young_as_its_newest_object(
    registry: mk.Registry, store: MemoryStore, clock: Clock
) -> None:
    save(registry, 1)
    store.put_pack(pack_key("churn", f"{'ab' * 16}-1"), [b"first"])
    clock.later(2 * DAY)
    store.put_pack(pack_key("churn", f"{'ab' * 16}-2"), [b"second"])
    assert registry.storage.collect().removals == ()
    clock.later(2 * DAY)
    assert len(registry.storage.collect().removals) == 2


def test_uploads_of_a_model_that_was_never_opened_go_and_its_name_can_be_used(
    registry: mk.Registry, store: MemoryStore, clock: Clock
) -> None:
    registry.save({"w": np.ones(3)}, "other")
    key = pack_key("churn", f"{'ab' * 16}-1")
    store.put_pack(key, [b"left over"])
    clock.later(2 * DAY)
    (removal,) = registry.storage.collect().removals
    assert removal.key == key
    assert save(registry, 1)[0].number == 1
    assert [found.name for found in mk.Registry(store).models()] == ["churn", "other"]
    all_load(registry, 1)


class Slow(Wrapper):
    """A store on which a save is cut in two: what *between* does happens behind its last pack."""

    def __init__(self, within: Store) -> None:
        super().__init__(within)
        self.between: list[Any] = []

    def put_pack(self, key: str, source: Any) -> None:
        self.within.put_pack(key, source)
        while self.between and "/data/" in key:
            self.between.pop()()


def test_a_saver_slower_than_the_grace_uploads_again_and_is_acknowledged(store: MemoryStore, clock: Clock) -> None:
    slow = Slow(store)
    registry = mk.Registry(slow, system=clock.system())
    save(registry, 1)
    other = mk.Registry(store, system=clock.system())
    went: list[Any] = []

    def between() -> None:
        clock.later(timedelta(seconds=1))
        went.append(other.storage.collect(grace=NOW))

    slow.between.append(between)
    assert save(registry, 1, first=2)[0].number == 2
    assert len(went[0].removals) == 1
    all_load(registry, 1, 2)


def test_a_first_save_slower_than_the_grace_is_acknowledged_and_listed(store: MemoryStore, clock: Clock) -> None:
    slow = Slow(store)
    registry = mk.Registry(slow, system=clock.system())
    other = mk.Registry(store, system=clock.system())

    def between() -> None:
        clock.later(DAY)
        other.storage.collect(grace=NOW)

    slow.between.append(between)
    assert save(registry, 1)[0].number == 1
    assert [found.name for found in mk.Registry(store).models()] == ["churn"]
    all_load(registry, 1)


def test_uploads_of_a_line_that_was_pushed_here_are_left_for_the_push(store: MemoryStore, clock: Clock) -> None:
    laptop = mk.Registry(MemoryStore("memory://laptop", now=lambda: clock.store), system=clock.system())
    save(laptop, 1)
    team = mk.Registry(store, system=clock.system())
    laptop.push("churn", to=team)
    store.put_pack(pack_key("churn", f"{'ab' * 16}-1"), [b"half a push"])
    clock.later(2 * DAY)
    done = team.storage.collect()
    assert done.removals == ()
    assert "push" in done.left[0].reason
    save(laptop, 1, first=2)
    assert laptop.push("churn", to=team).versions == 1


class Deaf(Wrapper):
    """No create of an entry gets there, or is answered."""

    def create(self, key: str, value: bytes) -> None:
        if "/versions/" in key:
            raise OutcomeUnknownError("no answer", key=key)
        self.within.create(key, value)


class Collected(Wrapper):
    """Before uploads are listed the first time a collection takes them."""

    def __init__(self, within: Store, clock: Clock) -> None:
        super().__init__(within)
        self.clock = clock
        self.done = False

    def list(self, prefix: str) -> Iterator[StoredObject]:
        if "/data/" in prefix and not self.done:
            self.done = True
            self.clock.later(DAY)
            mk.Registry(self.within, system=self.clock.system()).storage.collect(grace=NOW)
        return self.within.list(prefix)


def test_a_first_save_without_an_answer_is_settled_though_a_collection_takes_its_upload_meanwhile(
    registry: mk.Registry, store: MemoryStore, clock: Clock
) -> None:
    registry.save({"w": np.ones(3)}, "other")
    patient = System(now=lambda: clock.store, sleep=lambda _: None)
    with pytest.raises(UnsettledError) as caught:
        mk.Registry(Deaf(store), system=patient).save(model(1), "churn")
    asked = Collected(store, clock)
    assert mk.Registry(asked, system=patient).settle(caught.value.token).committed is False
    assert asked.done


def test_a_collection_without_an_answer_is_settled_where_nothing_but_an_upload_is(
    registry: mk.Registry, store: MemoryStore, clock: Clock
) -> None:
    registry.save({"w": np.ones(3)}, "other")
    store.put_pack(pack_key("churn", f"{'ab' * 16}-1"), [b"half a save"])
    clock.later(2 * DAY)
    with pytest.raises(UnsettledError) as caught:
        mk.Registry(Deaf(store), system=clock.system()).storage.collect()
    assert registry.settle(caught.value.token).committed is False
    assert [removal.bytes for removal in mk.Registry(store, system=clock.system()).storage.collect().removals] == [11]


@pytest.mark.parametrize("sister", ["releases", "notes"])
def test_what_a_newest_entry_named_that_is_gone_is_left_if_another_journal_has_seen_it(
    registry: mk.Registry, store: MemoryStore, clock: Clock, sister: str
) -> None:
    (*_, last) = save(registry, 2)
    last.promote("production") if sister == "releases" else last.tag(seen="yes")
    key = entry_key("models/churn/versions/", 2)
    entry = store.get(key)
    store.delete([key])
    clock.later(2 * DAY)
    done = mk.Registry(store, system=clock.system()).storage.collect()
    assert (done.removals, [one.reason for one in done.left]) == (
        (),
        ["no version names it, but an entry that others have seen is gone; bring it back, as verify says"],
    )
    store.create(key, entry)
    all_load(registry, 1, 2)


class NoNotes(Wrapper):
    """Whoever opens it has no right to read what people say."""

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        if "/notes/" in key:
            raise AccessError(f"{key}: ask for the right to it", key=key)
        return self.within.get(key, span)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        return {key: value for key in keys for value in [self._got(key)] if value is not None}

    def _got(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except MissingObjectError:
            return None


@pytest.mark.parametrize("notes", ["of a newer release", "not to be read"])
def test_notes_that_tell_nothing_stop_no_collection(
    registry: mk.Registry, store: MemoryStore, clock: Clock, notes: str
) -> None:
    (last,) = save(registry, 1)
    last.tag(seen="yes")
    key = pack_key("churn", f"{'ab' * 16}-1")
    store.put_pack(key, [b"half a save"])
    if notes == "of a newer release":
        first = parse(store.get(entry_key("models/churn/notes/", 1)), 1)
        raw = encode(2, first.digest, "cd" * 16, first.time, first.actor, {}, [{"op": "sing"}])
        store.create(entry_key("models/churn/notes/", 2), raw)
    clock.later(2 * DAY)
    within: Store = NoNotes(store) if notes == "not to be read" else store
    done = mk.Registry(within, system=clock.system()).storage.collect()
    assert [one.key for one in done.removals] == [key]


def test_what_a_lost_entry_may_have_named_is_left(registry: mk.Registry, store: MemoryStore, clock: Clock) -> None:
    save(registry, 2)
    registry.storage.compact()
    key = entry_key("models/churn/versions/", 3)
    raw = store.get(key)
    assert b'"move"' in raw
    store.delete([key])
    store.put_pack(key, [raw[:-1]])
    mk.Registry(store).storage.seal(key)
    before = packs(store)
    clock.later(2 * DAY)
    done = mk.Registry(store, system=registry._system).storage.collect()
    assert done.removals == ()
    assert {one.reason for one in done.left} == {"no version names it, but an entry that was lost may have"}
    assert packs(store) == before


def test_probes_that_a_doctor_left_go(registry: mk.Registry, store: MemoryStore, clock: Clock) -> None:
    save(registry, 1)
    store.put_pack(probe_key("5f0c" * 8, "pack"), [b"probe"])
    clock.later(2 * DAY)
    (removal,) = registry.storage.collect().removals
    assert (removal.kind, removal.bytes) == ("probe", 5)
    assert list(store.list("doctor/")) == []


def test_temporary_files_of_killed_writers_go(tmp_path: Path) -> None:
    registry = mk.Registry(tmp_path, durable=False)
    save(registry, 1)
    left = tmp_path / "models" / "churn" / "data" / f".tmp-{'ab' * 16}"
    left.write_bytes(b"half a pack")
    found = registry.storage.collect(grace=NOW)  # its writer may be alive
    assert (found.removals, [one.kind for one in found.left]) == ((), ["unfinished"])
    hours = time.time() - 3600
    os.utime(left, (hours, hours))
    assert registry.storage.collect().removals == ()
    (removal,) = registry.storage.collect(grace=NOW).removals
    assert (removal.kind, removal.bytes) == ("unfinished", 11)
    assert not left.exists()
    all_load(registry, 1)


# -- clocks, damage, rights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [timedelta(hours=-2), timedelta(hours=2)])
def test_rules_by_age_are_refused_where_the_clock_of_the_machine_is_off(
    registry: mk.Registry, clock: Clock, apart: timedelta
) -> None:
    save(registry, 3)
    registry.policy.set("[retention]\nlast = 1\nnewer = '1 day'")
    clock.later(10 * DAY)
    clock.apart = apart
    with pytest.raises(ClockError, match="set the clock"):
        registry.storage.collect()
    clock.apart = apart / 3
    assert [one.number for one in registry.storage.collect().purged] == [1, 2]


def test_deleted_versions_go_by_their_own_rule(registry: mk.Registry, clock: Clock) -> None:
    one, two, _ = save(registry, 3)
    registry.policy.set("[retention]\ndeleted = '30 days'")
    one.delete()
    clock.later(20 * DAY)
    two.delete()
    assert registry.storage.collect().purged == ()
    clock.later(11 * DAY)
    (gone,) = registry.storage.collect().purged
    assert (gone.number, gone.reason) == (1, "deleted 31 days ago (longer than 30 days)")
    assert two.restore().load()["own"].size


def test_a_damaged_journal_stops_the_collection_of_its_model_alone(registry: mk.Registry, store: MemoryStore) -> None:
    save(registry, 3)
    for seed in range(3):
        registry.save(model(seed), "other")
    key = "models/churn/versions/00000000000000000002.json"
    raw = store.get(key)
    store.put_pack(key, [raw[:-1]])
    registry.policy.set("[retention]\nlast = 1")
    done = mk.Registry(store, system=registry._system).storage.collect()
    assert {one.name for one in done.purged} == {"other"}
    assert [(one.key, one.kind) for one in done.left] == [(key, "model")]


def test_a_forged_condemnation_deletes_nothing_and_is_reported(registry: mk.Registry, store: MemoryStore) -> None:
    from modelkeep.folds.versions import Condemn

    save(registry, 2)
    line = registry._line("churn")
    assert line is not None
    line.read()
    own = line.line(2).packs
    line.append("versions", lambda _: [Condemn(own, purged=(1, 2))])  # a claim that releases does not bear out
    done = mk.Registry(store, system=registry._system).storage.collect(grace=NOW)
    assert done.removals == ()
    assert {one.key for one in done.left} == {pack_key("churn", pack) for pack in own}
    report = mk.Registry(store).storage.verify()
    assert {finding.kind for finding in report.findings} == {"condemned"}
    assert registry.load("churn:2")["own"].size


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), 3, "1 day"])
def test_a_grace_that_is_no_span_of_time_is_refused(registry: mk.Registry, grace: Any) -> None:
    save(registry, 1)
    with pytest.raises(InvalidValueError, match="grace"):
        registry.storage.collect(grace=grace)


def test_one_model_can_be_collected_by_itself(registry: mk.Registry) -> None:
    save(registry, 3)
    for seed in range(3):
        registry.save(model(seed), "other")
    registry.policy.set("[retention]\nlast = 1")
    assert {one.name for one in registry.storage.collect("other").purged} == {"other"}
    assert {one.name for one in registry.storage.collect().purged} == {"churn"}


def test_a_line_that_was_pushed_here_is_purged_and_compacted_only_by_name(registry: mk.Registry) -> None:
    save(registry, 3)
    team = mk.Registry(MemoryStore("memory://team"))
    registry.push("churn", to=team)
    team.policy.set("[retention]\nlast = 1")
    (left,) = team.storage.collect(grace=NOW).left
    assert (left.key, left.kind) == ("models/churn/", "model")
    ((number, why),) = team.storage.compact().models[0].left
    assert number is None
    assert "pushed here" in why
    assert team.storage.usage() == registry.storage.usage()
    save(registry, 1, first=4)
    assert registry.push("churn", to=team).versions == 1  # nothing was forked
    assert team.storage.compact("churn").models[0].moved
    assert [one.number for one in team.storage.collect("churn").purged] == [1, 2, 3]
    assert team.load("churn:4")["own"].size


def test_a_push_after_a_collection_brings_what_is_alive(registry: mk.Registry) -> None:
    save(registry, 4)
    registry.policy.set("[retention]\nlast = 2")
    other = mk.Registry(MemoryStore("memory://other"))
    registry.push("churn", to=other)
    registry.storage.collect()
    registry.push("churn", to=other)
    all_load(other, 3, 4)
    assert len(other.storage.collect().removals) == 1  # by the entries that came
    all_load(other, 3, 4)


# -- erasure ---------------------------------------------------------------------------------------------------------


def everything(store: Store) -> bytes:
    return b"".join(store.get(item.key) for item in store.list(""))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_erased_version_leaves_no_byte_that_it_alone_had(
    registry: mk.Registry, store: MemoryStore, number: int
) -> None:
    versions = save(registry, 3, notes="her name is Ada")
    private = model(number)["own"].tobytes()[:512]
    assert private in everything(store)
    versions[number - 1].describe("Ada again")
    done = versions[number - 1].erase("request 17 by the data subject")
    assert private not in everything(store)
    assert b"Ada again" not in everything(store)
    assert done.ref == f"churn:{number}"
    assert done.packs
    assert len(done.texts) == 1
    all_load(registry, *({1, 2, 3} - {number}))
    assert model(1)["shared"].tobytes()[:512] in everything(store)
    with pytest.raises(DeletedError, match="purged"):
        registry.load(f"churn:{number}")
    events = [event for event in registry.model("churn").history() if event.version == number]
    assert "request 17 by the data subject" in {event.text for event in events}


def test_what_a_version_left_where_it_lay_before_a_compaction_is_erased_too(
    registry: mk.Registry, store: MemoryStore
) -> None:
    a, b, c = (np.random.default_rng(seed).standard_normal(30_000) for seed in range(3))
    registry.save({"a": a}, "churn")
    second = registry.save({"a": a, "b": b}, "churn", notes="her name is Ada")
    registry.save({"b": b, "c": c}, "churn").promote("production")  # with it stays the pack of the second
    assert registry.storage.compact().models[0].moved == (1, 2)
    assert len(notes_in(store, 2)) == 2
    second.erase("request 17")
    assert notes_in(store, 2) == []
    assert np.array_equal(registry.load("churn@production")["b"], b)
    assert np.array_equal(registry.load("churn:1")["a"], a)
    assert mk.Registry(store).storage.verify().ok


def notes_in(store: Store, number: int) -> list[bytes]:
    """The records of a version that lie in any pack, whoever needs it."""
    from modelkeep.manifest import MAGIC, Manifest, ManifestError

    found = []
    for key in packs(store):
        raw = store.get(key)
        at = raw.find(MAGIC)
        while at >= 0:
            for end in range(at + 100, len(raw) + 1):
                try:
                    manifest = Manifest.parse(raw[at:end])
                except ManifestError:
                    continue
                if manifest.content() == mk.Registry(store).model("churn").versions(deleted=True)[-number].content:
                    found.append(manifest.record)
                break
            at = raw.find(MAGIC, at + 1)
    return found


def test_an_erasure_says_what_remains(registry: mk.Registry) -> None:
    version = registry.save(model(1), "churn", params={"depth": 6}, metrics={"auc": 0.9}, label="1.0.0")
    version.tag(team="growth")
    registry.save(model(1), "churn")
    remains = " ".join(version.erase("request 17").remains)
    for fact in ("depth", "auc", "1.0.0", "team", "Versions 2 have the same files", "backups"):
        assert fact in remains


def test_an_erasure_goes_on_where_a_compaction_was_first(store: MemoryStore, clock: Clock) -> None:
    slow = Slow(store)
    registry = mk.Registry(slow, system=clock.system())
    first, *_ = save(registry, 4)
    registry.get("churn:4").promote("production")
    private = model(1)["own"].tobytes()[:512]
    other = mk.Registry(store, system=clock.system())
    slow.between.append(other.storage.compact)  # while what shares the pack is written anew
    done = first.erase("request 17")
    assert slow.between == []
    assert private not in everything(store)
    assert not any("could not be stored anew" in one for one in done.remains)
    all_load(mk.Registry(store, system=clock.system()), 2, 3, 4)


def test_what_is_held_or_promoted_is_not_erased(registry: mk.Registry) -> None:
    one, two = save(registry, 2)
    one.hold()
    with pytest.raises(ConflictError, match="held"):
        one.erase("request 17")
    two.promote("production")
    with pytest.raises(InUseError, match="production"):
        two.erase("request 17")
    with pytest.raises(InvalidValueError, match="reason"):
        two.erase(" ")
    all_load(registry, 1, 2)


def test_an_erasure_that_was_cut_off_is_finished_by_a_collection(registry: mk.Registry, store: MemoryStore) -> None:
    from modelkeep import _erase

    save(registry, 3)
    line = registry._line("churn")
    assert line is not None
    line.read()
    _erase._purge(line, 1, "request 17")  # and then the process was killed
    private = model(1)["own"].tobytes()[:512]
    assert private in everything(store)
    mk.Registry(store, system=registry._system).storage.collect(grace=NOW)
    assert private not in everything(store)
    all_load(registry, 2, 3)


def test_what_was_purged_by_a_rule_can_be_erased(registry: mk.Registry, store: MemoryStore) -> None:
    one, *_ = save(registry, 3)
    registry.policy.set("[retention]\nlast = 2")
    registry.storage.collect()
    private = model(1)["own"].tobytes()[:512]
    assert private in everything(store)  # others share the pack
    one.erase("request 17")
    assert private not in everything(store)
    all_load(registry, 2, 3)
