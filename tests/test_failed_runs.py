"""A run that fails is kept for a while, without a model: what of it, at what price, and that nothing is hidden."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import modelkeep as mk
from modelkeep.cli import cli
from modelkeep.errors import (
    ClockError,
    ClosedError,
    DeletedError,
    IntegrityError,
    InvalidRefError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
    UnknownAliasError,
    UnknownModelError,
    UnknownVersionError,
)
from modelkeep.failedrun import FailedRun
from modelkeep.layout import data_prefix
from modelkeep.runs import Run
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording, Wrapper
from viewtext import read

W = {"w": np.arange(3.0)}
NOW = timedelta(0)
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


class BadRowsError(Exception):
    """What ends a training."""


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> datetime:
        return BEGAN + timedelta(days=self.days)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(now=clock)


@pytest.fixture
def registry(store: MemoryStore, clock: Clock) -> mk.Registry:
    return opened(store, clock)


def opened(store: Any, clock: Clock) -> mk.Registry:
    return mk.Registry(store, cache=False, system=mk.System(now=clock, sleep=lambda _: None))


def logs(run: Run) -> None:
    run.log(loss=0.7)
    run.log(loss=0.5)


def fail(
    registry: mk.Registry,
    error: BaseException | None = None,
    *,
    work: Callable[[Run], object] = logs,
    **options: Any,
) -> Run:
    """A run that does *work* and fails, and whose exception goes on."""
    error = error or BadRowsError("bad rows")
    run = registry.run("churn", **options)
    with pytest.raises(type(error)) as caught, run:
        _fail(work(run), error)
    assert caught.value is error
    return run


def _fail(_: object, error: BaseException) -> None:
    raise error


def kept_of(registry: mk.Registry, **options: Any) -> FailedRun:
    found = fail(registry, **options).kept
    assert found is not None
    return found


def packs(store: Any) -> set[str]:
    return {item.key for item in store.list(data_prefix("churn"))}


def kept(registry: mk.Registry) -> list[FailedRun]:
    return list(registry.model("churn").failed_runs())


# -- what is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cold", [False, True])
def test_all_that_a_run_knew_is_kept_and_no_model(
    store: MemoryStore, registry: mk.Registry, clock: Clock, cold: bool
) -> None:
    given: dict[str, Any] = {"params": {"depth": 6}, "tags": {"team": "growth"}, "notes": "wider trees"}
    run = fail(registry, data={"train": np.zeros((5, 2))}, **given)
    (found,) = kept(opened(store, clock) if cold else registry)
    assert (found.id, found.name, found.ref, str(found)) == (run.id, "churn", f"churn~{run.id}", f"churn~{run.id}")
    assert (found.params, found.metrics) == ({"depth": 6}, {"loss": 0.5})
    assert (found.tags, found.notes) == ({"team": "growth"}, "wider trees")
    assert found.history["loss"].value.tolist() == [0.7, 0.5]
    assert (found.created, found.expires) == (BEGAN, BEGAN + timedelta(days=30))
    assert (found.error, found.versions) == ("BadRowsError: bad rows", ())
    assert found.traceback.startswith("Traceback (most recent call last):")
    assert "raise error\n" in found.traceback
    assert found.session is not None
    assert found.session.began == BEGAN
    assert found.session.duration_s == pytest.approx(run.duration, abs=5)
    assert found.environment is not None
    assert found.code is not None
    assert found.data["train"].rows == 5
    assert [file.path for file in found.files] == ["history/model.safetensors"]
    assert (found.record.type, found.record.serializer, found.size > 0) == ("", "", True)
    assert found == run.kept
    assert found.verify() == found.size


def test_a_run_that_logged_nothing_has_no_history_and_no_files(registry: mk.Registry) -> None:
    with pytest.raises(BadRowsError), registry.run("churn"):
        raise BadRowsError
    (found,) = kept(registry)
    assert (dict(found.history), found.files, found.size, found.verify()) == ({}, (), 0, 0)
    assert (found.error, registry.storage.verify().findings) == ("BadRowsError", ())


def test_a_run_that_saved_versions_before_it_failed_says_which(registry: mk.Registry) -> None:
    found = kept_of(registry, work=lambda run: (run.save(W), run.save(W)))
    assert found.versions == ("churn:1", "churn:2")
    assert [version.number for version in registry.model("churn").versions()] == [2, 1]


def test_failed_runs_are_listed_newest_first_and_as_a_table(registry: mk.Registry, clock: Clock) -> None:
    ids = []
    for clock.days in (0, 1, 2):
        ids.append(fail(registry).id)
    assert [one.id for one in kept(registry)] == ids[::-1]
    assert [row["id"] for row in registry.model("churn").failed_runs().to_dicts()] == ids[::-1]
    assert len({*kept(registry), *kept(registry)}) == 3


def test_a_row_says_why_a_run_failed_and_with_what(registry: mk.Registry) -> None:
    registry.save(W, "churn")
    fail(registry, params={"depth": 6})
    listed = registry.model("churn").failed_runs()
    (row,) = listed.to_dicts()
    assert (row["error"], row["params.depth"], row["metrics.loss"]) == ("BadRowsError: bad rows", 6, 0.5)
    assert "BadRowsError: bad rows" in read(listed).text
    assert listed.to_pandas()["error"].tolist() == ["BadRowsError: bad rows"]


def test_a_row_of_a_run_that_cannot_be_read_says_why_and_the_others_are_there(
    store: MemoryStore, clock: Clock, registry: mk.Registry
) -> None:
    fail(registry)
    before = packs(store)
    fail(registry)
    (gone,) = packs(store) - before
    store.delete([gone])
    newer, older = opened(store, clock).model("churn").failed_runs().to_dicts()
    assert ("error" in newer, older["error"]) == (False, "BadRowsError: bad rows")
    assert gone in newer["unread"]
    shown = read(opened(store, clock).model("churn").failed_runs())
    assert [len(shown.rows), newer["unread"][:60] in shown.text] == [3, True]


def test_a_notebook_shows_the_error_and_its_traceback_and_what_was_known(registry: mk.Registry) -> None:
    found = read(kept_of(registry, params={"depth": 6}, data={"train": np.ones((7, 2))}, notes="try <b>"))
    assert "BadRowsError: bad rows" in found.text
    assert "raise error" in found.text, "the traceback"
    assert (found.row("depth"), found.row("loss")) == (["depth", "6"], ["loss", "0.5"])
    assert found.row("train")[3] == "7"
    assert "try <b>" in found.text


def test_a_notebook_shows_of_a_damaged_run_what_the_journal_has(
    store: MemoryStore, clock: Clock, registry: mk.Registry
) -> None:
    run = fail(registry)
    store.delete(packs(store))
    (damaged,) = kept(opened(store, clock))
    shown = read(damaged)
    assert run.id in shown.text
    assert "what was recorded cannot be read: " in shown.text


def test_secrets_in_the_error_and_in_the_lines_of_the_traceback_are_left_out(registry: mk.Registry) -> None:
    with pytest.raises(BadRowsError), registry.run("churn", notes="DB_PASSWORD=maple-77") as run:
        raise BadRowsError("postgresql://ada:maple-77@db/sales", "DB_PASSWORD=maple-77")
    found = run.kept
    assert found is not None
    assert "maple-77" not in found.error + found.traceback + found.notes
    assert "[redacted" in found.error
    assert "[redacted" in found.traceback


def test_a_traceback_of_any_length_is_kept_by_its_end(registry: mk.Registry) -> None:
    def deep(level: int) -> None:
        if level == 0:
            raise BadRowsError("x" * 100_000)
        deep(level - 1)

    with pytest.raises(BadRowsError), registry.run("churn") as run:
        deep(50)
    assert run.kept is not None
    assert len(run.kept.traceback) == 16_000
    assert run.kept.traceback.endswith("x\n")


def test_keeping_a_run_takes_two_writes_when_warm_and_no_read(store: MemoryStore, clock: Clock) -> None:
    recorded = Recording(store)
    registry = opened(recorded, clock)
    assert registry.save(W, "churn").aliases == ()  # `releases` was read
    recorded.forget()
    run = fail(registry)
    assert recorded.counts() == {"put_pack": 1, "create": 1}
    recorded.forget()
    assert len(kept(registry)) == 1
    assert recorded.counts() == {"get": 2}
    assert run.kept is not None


def test_the_first_run_of_a_model_may_fail_in_one_entry(registry: mk.Registry) -> None:
    run = fail(registry)
    events = registry.model("churn").history()
    assert [(event.action, event.subject, event.entry) for event in events] == [("open", "", 1), ("draft", run.id, 1)]
    assert [model.name for model in registry.models()] == ["churn"]
    assert registry.save(W, "churn").number == 1


# -- the exception goes on -----------------------------------------------------------------------------------------


class Down(Wrapper):
    """Refuses, or gives no answer, once it is told to."""

    how: type[StoreError] | None = None
    what = "create"

    def put_pack(self, key: str, source: Any) -> None:
        if self.how is not None and self.what == "put_pack":
            raise self.how("the store is down")
        super().put_pack(key, source)

    def create(self, key: str, value: bytes) -> None:
        if self.how is not None and self.what == "create":
            if self.how is OutcomeUnknownError:
                with suppress(ObjectExistsError):
                    super().create(key, value)
            raise self.how("the store is down")
        super().create(key, value)


@pytest.mark.parametrize("what", ["put_pack", "create"])
@pytest.mark.parametrize("how", [StoreError, OutcomeUnknownError])
@pytest.mark.parametrize("strict", [False, True])
def test_a_store_that_is_down_is_a_warning_and_the_exception_goes_on(
    store: MemoryStore, clock: Clock, how: type[StoreError], what: str, strict: bool
) -> None:
    down = Down(store)
    registry = opened(down, clock)
    registry.save(W, "churn")
    down.how, down.what = how, what
    with warnings.catch_warnings(record=not strict) as told:
        warnings.simplefilter("error" if strict else "always")
        run = fail(registry)
    assert (run.failed, run.kept) == (True, None)
    if told is not None:
        (warning,) = told
        assert "the failed run of 'churn' is not kept" in str(warning.message)
        assert warning.filename == __file__
        assert ("the token is" in str(warning.message)) == (how is OutcomeUnknownError and what == "create")


def test_a_run_without_an_answer_is_settled_as_a_save_is(store: MemoryStore, clock: Clock) -> None:
    down = Down(store)
    registry = opened(down, clock)
    registry.save(W, "churn")
    down.how = OutcomeUnknownError
    with pytest.warns(UserWarning, match="is not kept") as told:
        run = fail(registry)
    token = str(told[0].message).rpartition("the token is '")[2].rstrip("')")
    found = opened(store, clock).settle(token)
    assert (found.committed, found.ref) == (True, f"churn~{run.id}")
    assert [one.id for one in kept(opened(store, clock))] == [run.id]


def test_a_closed_model_and_what_no_record_keeps_are_warnings(store: MemoryStore, registry: mk.Registry) -> None:
    registry.save(W, "churn")
    with pytest.warns(UserWarning, match=r"not kept: InvalidValueError: .*tag"):
        fail(registry, work=lambda run: run.tags.update(team=7))  # type: ignore[call-overload]
    registry.model("churn").close()
    before = packs(store)
    with pytest.warns(UserWarning, match="not kept: ClosedError"):
        fail(registry)
    assert (packs(store), kept(registry)) == (before, [])


@pytest.mark.parametrize("error", [StoreError("down"), ClockError("set the clock")])
def test_an_exception_of_the_storage_is_not_written_there(
    store: MemoryStore, clock: Clock, error: BaseException
) -> None:
    recorded = Recording(store)
    registry = opened(recorded, clock)
    registry.save(W, "churn")
    recorded.forget()
    assert fail(registry, error).kept is None
    assert recorded.counts() == {}


@pytest.mark.parametrize(("code", "failed"), [(None, False), (0, False), (1, True), ("no rows", True)])
def test_an_exit_is_a_failure_unless_it_says_that_all_went_well(registry: mk.Registry, code: Any, failed: bool) -> None:
    with pytest.raises(SystemExit), registry.run("churn") as run:
        sys.exit(code)
    assert (run.failed, run.kept is not None) == (failed, failed)


# -- a model without a version -------------------------------------------------------------------------------------


def test_whatever_asks_a_model_without_a_version_is_told_so(
    store: MemoryStore, registry: mk.Registry, clock: Clock
) -> None:
    fail(registry)
    for reader in (registry, opened(store, clock)):
        for ref, error, said in (
            (
                "churn",
                UnknownVersionError,
                r"has no version yet: .* 1 failed, see registry.model\('churn'\).failed_runs",
            ),
            ("churn:1", UnknownVersionError, "its latest is none"),
            ("churn@production", UnknownAliasError, "it has none"),
        ):
            for ask in (reader.get, reader.load):
                with pytest.raises(error, match=said):
                    ask(ref)
        with pytest.raises(InvalidRefError, match=r"are no versions; runs that failed are in .*failed_runs"):
            reader.get("churn~abc")
        model = reader.model("churn")
        assert (list(model.versions()), model.aliases, model.is_open, model.title) == ([], {}, True, "churn")
        report = reader.storage.verify()
        assert (report.findings, report.versions, report.drafts, report.lost) == ((), 0, 1, ())
        assert reader.storage.compact("churn").models[0].moved == ()
        reader.policy.set("[retention]\nlast = 1\n")
        assert reader.storage.collect(grace=NOW).removals == ()
    with pytest.raises(UnknownModelError):
        registry.get("nobody")


def test_a_model_that_was_closed_before_it_had_a_version_stays_closed(store: MemoryStore, clock: Clock) -> None:
    registry = opened(store, clock)
    fail(registry)
    registry.model("churn").close()
    for saver in (registry, opened(store, clock)):
        with pytest.raises(ClosedError):
            saver.save(W, "churn")
    registry.model("churn").open()
    assert registry.save(W, "churn").number == 1


# -- its end -------------------------------------------------------------------------------------------------------


def test_what_was_dropped_is_listed_no_more_and_a_collection_takes_its_bytes(
    store: MemoryStore, registry: mk.Registry, clock: Clock
) -> None:
    registry.save(W, "churn")
    versions = packs(store)
    first, second = kept_of(registry), kept_of(registry)
    elsewhere = opened(store, clock).model("churn").failed_runs()[1]
    first.drop()
    assert [one.id for one in kept(registry)] == [second.id]
    assert len(packs(store) - versions) == 2
    for late in (first, elsewhere):
        with pytest.raises(DeletedError, match="was dropped already"):
            late.drop()
    done = registry.storage.collect()
    assert [one.reason for one in done.removals] == [f"{first.ref} was dropped"]
    assert (len(packs(store) - versions), done.dropped) == (1, ())
    for gone in (opened(store, clock).model("churn"), registry.model("churn")):
        assert [one.error for one in gone.failed_runs()] == [second.error]
    with pytest.raises(DeletedError, match="was dropped and cannot be read any more"):
        _ = elsewhere.error
    assert registry.storage.verify().findings == ()


def test_a_reader_whose_run_is_dropped_and_collected_meanwhile_is_told(
    store: MemoryStore, registry: mk.Registry, clock: Clock
) -> None:
    found = kept_of(registry)
    (held,) = kept(opened(store, clock))
    found.drop()
    registry.storage.collect()
    with pytest.raises(DeletedError, match="was dropped"):
        _ = held.record


def test_a_collection_drops_what_expired_by_the_clock_of_the_store_and_nothing_before(
    store: MemoryStore, registry: mk.Registry, clock: Clock
) -> None:
    registry.save(W, "churn")
    early = fail(registry)
    clock.days = 20
    late = fail(registry)
    clock.days = 29.99
    assert (registry.storage.collect(grace=NOW).removals, len(kept(registry))) == ((), 2)
    clock.days = 30.01
    before = packs(store)
    foretold = registry.storage.collect(dry_run=True)
    assert [(one.name, one.id, one.reason) for one in foretold.dropped] == [
        ("churn", early.id, "it expired on 2026-03-31")
    ]
    assert [(one.kind, one.reason) for one in foretold.removals] == [
        ("pack", f"churn~{early.id} was dropped: it expired on 2026-03-31")
    ]
    assert (packs(store), len(kept(registry))) == (before, 2), "a dry run does nothing"
    done = opened(store, clock).storage.collect()
    assert (done.dropped, done.removals) == (foretold.dropped, foretold.removals)
    assert packs(store) == before - {one.key for one in done.removals}
    assert [one.id for one in kept(registry)] == [late.id]
    assert registry.get("churn").load()["w"].tolist() == [0, 1, 2]
    entry = registry.model("churn")._read().versions
    assert [[op["op"] for op in one.ops] for one, _, _ in entry.replay()][-1] == ["drop", "condemn"]
    assert registry.storage.verify().findings == ()


def test_with_a_wrong_clock_no_run_is_dropped_and_all_else_is_collected(
    store: MemoryStore, registry: mk.Registry
) -> None:
    fail(registry)
    kept_of(registry).drop()
    ahead = Clock()
    ahead.days = 400
    done = opened(store, ahead).storage.collect(grace=NOW)
    assert [(one.kind, "set the clock" in one.reason) for one in done.left] == [("draft", True)]
    assert (done.dropped, len(done.removals), len(kept(registry))) == ((), 1, 1)


def test_another_collector_finishes_what_one_that_was_killed_began(
    store: MemoryStore, registry: mk.Registry, clock: Clock
) -> None:
    class KilledError(Exception):
        pass

    class Dies(Wrapper):
        def delete(self, keys: Any) -> None:
            asked = list(keys)
            if any("/data/" in key for key in asked):
                raise KilledError
            super().delete(asked)

    fail(registry)
    clock.days = 31
    with pytest.raises(KilledError):
        opened(Dies(store), clock).storage.collect()
    assert (len(packs(store)), kept(registry)) == (1, [])
    assert len(registry.storage.collect().removals) == 1
    assert packs(store) == set()


def test_the_upload_of_a_run_whose_process_was_killed_is_collected_as_any(
    store: MemoryStore, registry: mk.Registry, clock: Clock
) -> None:
    class KilledError(BaseException):
        pass

    class Dies(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "/versions/" in key:
                raise KilledError
            super().create(key, value)

    registry.save(W, "churn")
    with pytest.raises(KilledError), opened(Dies(store), clock).run("churn"):
        raise BadRowsError
    clock.days = 0.01
    (gone,) = registry.storage.collect(grace=NOW).removals
    assert gone.kind == "upload"
    assert (kept(registry), registry.storage.verify().findings) == ([], ())


def test_a_run_whose_upload_was_condemned_meanwhile_is_uploaded_again(store: MemoryStore, clock: Clock) -> None:
    class Late(Wrapper):
        """Lets a collector take the upload before the entry names it."""

        is_late = False

        def put_pack(self, key: str, source: Any) -> None:
            super().put_pack(key, source)
            if self.is_late:
                self.is_late = False
                clock.days += 0.001
                opened(store, clock).storage.collect(grace=NOW)

    late = Late(store)
    registry = opened(late, clock)
    registry.save(W, "churn")
    late.is_late = True
    assert kept_of(registry).history["loss"].last == 0.5
    assert registry.storage.verify().findings == ()


# -- its bytes are its own -----------------------------------------------------------------------------------------


def test_saves_and_compactions_leave_the_packs_of_failed_runs_alone(store: MemoryStore, registry: mk.Registry) -> None:
    def model(seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(0).standard_normal(40_000)
        return {"w": (rng + seed * 1e-6).astype(np.float32), "same": rng.astype(np.float32)}

    for seed in (1, 2, 3):
        registry.save(model(seed), "churn")
        fail(registry)
    (own,) = {key for key in packs(store) if kept(registry)[0]._known.made.at.pack in key}
    named = {pack for version in registry.model("churn").versions() for pack in version._known.packs}
    assert not any(pack in own for pack in named)
    done = registry.storage.compact("churn").models[0]
    assert done.after < done.before
    registry.storage.collect(grace=NOW)
    assert own in packs(store)
    assert [one.history["loss"].last for one in kept(registry)] == [0.5] * 3
    assert registry.storage.verify().findings == ()


def test_usage_counts_the_bytes_of_failed_runs_apart(registry: mk.Registry) -> None:
    registry.save(W, "churn")
    before = registry.storage.usage().models[0]
    fail(registry)
    found = registry.storage.usage().models[0]
    assert (found.versions, found.leftover) == (before.versions, 0)
    assert found.drafts == found.stored - before.stored > 0
    kept(registry)[0].drop()
    assert registry.storage.usage().models[0].leftover == found.drafts


def test_an_erasure_says_that_failed_runs_have_records_of_their_own(registry: mk.Registry) -> None:
    version = registry.save(W, "churn")
    fail(registry)
    assert any("1 failed runs of 'churn' have records of their own" in said for said in version.erase("17").remains)
    assert len(kept(registry)) == 1
    kept(registry)[0].drop()
    registry.storage.collect()
    assert not any(b"bad rows" in registry._store.get(item.key) for item in registry._store.list(""))


# -- damage, and elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["piece", "manifest", "gone"])
@pytest.mark.parametrize("quick", [False, True])
def test_a_damaged_run_is_lost_by_its_own_name_and_versions_are_whole(
    store: MemoryStore, registry: mk.Registry, clock: Clock, harm: str, quick: bool
) -> None:
    registry.save(W, "churn").promote("production")
    before = packs(store)
    found = kept_of(registry)
    (key,) = packs(store) - before
    raw = bytearray(store.get(key))
    raw[70 if harm == "piece" else found._known.made.at.offset + 40] ^= 1
    store.delete([key])
    if harm != "gone":
        store.put_pack(key, [bytes(raw)])
    report = registry.storage.verify(quick=quick)
    assert (report.versions, report.whole) == (1, 1)
    if quick and harm == "piece":
        return  # no byte of it was read
    assert [(loss.ref, loss.aliases, loss.objects, loss.is_draft) for loss in report.lost] == [
        (found.ref, (), (key,), True)
    ]
    assert f"draft {found.id} (run)" in " ".join(one.problem for one in report.findings)
    assert str(report).endswith("1 versions are whole, 0 are lost, and 1 failed runs")
    with pytest.raises(IntegrityError):
        kept(opened(store, clock))[0].verify()


def test_a_push_carries_no_failed_runs_and_the_other_registry_is_sound(registry: mk.Registry, clock: Clock) -> None:
    registry.save(W, "churn")
    fail(registry)
    target = MemoryStore(now=clock)
    done = registry.push("churn", to=target)
    assert (done.versions, done.entries, done.packs) == (1, 2, 1)
    team = opened(target, clock)
    assert kept(team) == []
    assert team.storage.verify().findings == ()
    assert team.storage.usage().models[0].drafts == 0
    clock.days = 40
    assert team.storage.collect("churn", grace=NOW).dropped == ()
    there = fail(team)
    assert [one.id for one in kept(team)] == [there.id]
    registry.pull("churn", source=team)
    assert [one.error for one in kept(registry)] == ["BadRowsError: bad rows"], "its own alone"
    assert (registry.storage.verify().findings, registry.storage.collect().removals != ()) == ((), True)
    assert registry.push("churn", to=team).entries == 1
    assert (len(kept(team)), team.storage.verify().findings) == (1, ())


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_tells_of_failed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*args: str) -> str:
        done = CliRunner().invoke(cli, [*args, "--registry", str(tmp_path / "r")])
        assert done.exit_code == 0, done.output
        return done.stdout

    monkeypatch.setattr("modelkeep.registrysaves.LIFE", timedelta(0))
    run = fail(mk.Registry(tmp_path / "r", durable=False))
    assert f" failed run {run.id[:8]} " in said("log", "churn")
    assert "0 versions: " in said("usage", "churn")
    assert " of failed runs, 0 bytes left over" in said("usage", "churn")
    assert said("verify").startswith("ok: 1 model, 0 versions and ")
    assert "1 failed run and 1 object" in said("collect", "--dry-run")
    shown = said("collect")
    assert f"churn~{run.id}" in shown
    assert "it expired on " in shown
    assert json.loads(said("collect", "--json"))["dropped"] == []
    assert f" drop failed run {run.id[:8]} " in said("log", "churn")


def test_the_command_counts_lost_runs_apart(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "r", durable=False)
    registry = mk.Registry(store)
    run = fail(registry)
    store.delete(packs(store))
    done = CliRunner().invoke(cli, ["verify", "--registry", str(tmp_path / "r")])
    assert done.exit_code != 0
    assert f"churn~{run.id}" in done.stdout
    assert "1 failed run lost, 0 whole" in done.stdout
