"""`Registry.live`: what must not serve, and a storage that fails, leave the old model in place and say why."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import modelkeep as mk
from followed import (
    ASK,
    Changeable,
    Clock,
    Failing,
    Numbered,
    Shared,
)
from modelkeep.errors import (
    StoreError,
    UnfitError,
    UnknownAliasError,
)
from modelkeep.looks import Check
from modelkeep.pacing import Pace
from modelkeep.registry import Registry
from modelkeep.stores import open_store
from modelkeep.stores.wrappers import Recording


@pytest.fixture
def shared() -> Shared:
    return Shared()


# -- what must not serve -------------------------------------------------------------------------------------------


def damaged(folder: Path, save: Callable[[], object], change: Callable[[Path], object]) -> None:
    """*change* the one pack that a save makes."""
    before = set(folder.rglob("*.pack"))
    save()
    (pack,) = set(folder.rglob("*.pack")) - before
    change(pack)


def flipped(pack: Path) -> None:
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 3] ^= 1  # of the model: headers and padding are nobody's but `verify`'s
    pack.chmod(0o644)
    pack.write_bytes(raw)


Broken = Callable[[Path, Registry], object]


def on_disk(change: Callable[[Path], object]) -> Broken:
    return lambda folder, registry: damaged(folder, lambda: put(registry, Numbered(2)), change)


def put(registry: Registry, model: object, **given: Any) -> mk.ModelVersion:
    given = {"example": np.zeros(2), **given}
    version: mk.ModelVersion = registry.save(model, "churn", serializer="cloudpickle", **given)
    return version


def golden(_: Path, registry: Registry) -> None:
    put(registry, Changeable(2), golden=np.ones(3))
    Changeable.drift = 1


BROKEN: dict[str, tuple[Broken, str]] = {
    "corrupt": (on_disk(flipped), r"IntegrityError: .*\.pack"),
    "missing": (on_disk(Path.unlink), r"IntegrityError: .*\.pack"),
    "raises": (lambda _, r: put(r, Failing(2)), "UnfitError: churn:2 fails on its own example: ZeroDivisionError"),
    "golden": (golden, "UnfitError: churn:2 misses its golden outputs here: 3 of 3 values differ"),
    "signature": (
        lambda _, r: put(r, Changeable(2), example=np.zeros((2, 4))),
        "UnfitError: churn:2 does not take what churn:1 takes, so callers would fail",
    ),
    "type": (lambda _, r: put(r, {"w": 1}), r"SerializerError: churn:2 holds a builtins\.dict, and no followed"),
}


@pytest.fixture
def no_drift() -> Iterator[None]:
    yield
    Changeable.drift = 0


@pytest.mark.usefixtures("no_drift")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_version_that_must_not_serve_leaves_the_old_one_in_place_and_says_why(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock, told = Clock(), list[Check]()
    writer = Registry(tmp_path, durable=False, trust="cloudpickle")
    put(writer, Numbered(1)).promote("production")
    store = open_store(str(tmp_path))
    reader = Registry(store, trust="cloudpickle", system=clock.system())
    live = reader.live("churn@production", as_=Numbered, on_change=told.append, start=False)
    make, why = BROKEN[broken]
    make(tmp_path, writer)
    writer.model("churn").version(2).promote("production")
    clock.pass_by(20)
    check = live.check()
    assert (check.version.number, check.changed, bool(check)) == (1, False, False)
    assert live.predict(ASK) == (1, 1000)
    assert live.last_error is check.error
    clock.pass_by(5)
    assert live.stale_for == 25  # the storage was asked 5 seconds ago, but what serves was right 25 seconds ago
    assert (clock.time - live.checked).total_seconds() == 5
    live.check()
    (message,) = [record.getMessage() for record in caplog.records if record.name == "modelkeep.live"]
    assert "churn@production: churn:1 still serves: " in message
    assert re.search(why, message)
    assert [one.error is not None for one in told] == [True]  # the same error is told once

    put(writer, Numbered(3)).promote("production")
    assert live.check().version.number == 3
    assert live.last_error is None
    assert live.stale_for == 0
    assert told[-1].changed


@pytest.mark.parametrize(("verify", "serves"), [("now", 1), ("lazy", 2)])
def test_bytes_that_are_mapped_are_checked_unless_the_caller_leaves_them(
    tmp_path: Path, verify: Literal["now", "lazy"], serves: int
) -> None:
    def save(number: int) -> None:
        registry.save({"w": np.full(1 << 15, float(number))}, "churn").promote("production")

    registry = Registry(tmp_path, durable=False)
    save(1)
    live = Registry(tmp_path).live("churn@production", verify=verify, start=False)
    damaged(tmp_path, lambda: save(2), flipped)
    assert live.check().version.number == serves


def test_a_refused_version_is_tried_ever_more_rarely_and_another_at_once(shared: Shared) -> None:
    shared.promoted(1)
    store = Recording(shared.store)
    live = Registry(store, trust="cloudpickle").live("churn@production", start=False)
    shared.save(Failing(2), example=np.zeros(2)).promote("production")

    def loads() -> bool:
        store.forget()
        live._on_time()
        assert isinstance(live.last_error, UnfitError)
        return len(store.requests) > 1

    assert [look for look in range(1, 100) if loads()] == [1, 2, 4, 8, 16, 32, 64, 96]
    shared.promoted(3)
    live._on_time()
    assert live.version.number == 3
    shared.writer.get("churn:2").promote("production")
    assert [look for look in range(1, 9) if loads()] == [1, 2, 4, 8]  # it is counted anew


def test_whoever_asks_for_a_check_gets_a_refused_version_tried_again(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", start=False)
    shared.save(Changeable(2), golden=np.ones(2)).promote("production")
    Changeable.drift = 1
    try:
        for _ in range(5):
            live._on_time()
    finally:
        Changeable.drift = 0
    assert live.last_error is not None
    assert live.check().version.number == 2


def test_an_alias_that_is_taken_away_leaves_the_model_and_says_so(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", start=False)
    shared.writer.model("churn").unset("production")
    assert isinstance(live.check().error, UnknownAliasError)
    assert live.predict(ASK) == (1, 1000)
    shared.promoted(2)
    assert live.check()
    assert live.predict(ASK) == (2, 2000)


# -- a storage that fails ------------------------------------------------------------------------------------------


def test_while_the_storage_is_down_the_model_serves_and_the_handle_says_how_stale_it_may_be(shared: Shared) -> None:
    shared.promoted(1)
    told: list[Check] = []
    live = shared.reader.live("churn@production", start=False, on_change=told.append)
    shared.promoted(2)
    shared.store.down = True
    began = shared.clock.time
    for _ in range(4):
        shared.clock.pass_by(10)
        assert isinstance(live.check().error, StoreError)
        assert live.predict(ASK) == (1, 1000)
    assert live.stale_for == 40
    assert live.checked == began
    shared.store.down = False
    assert live.check().version.number == 2
    assert (live.stale_for, live.last_error, live.checked) == (0, None, shared.clock.time)
    assert [(one.changed, one.error is None) for one in told] == [(False, False), (True, True)]


def test_an_error_that_goes_is_told_though_the_version_stays(shared: Shared) -> None:
    shared.promoted(1)
    told: list[bool] = []
    live = shared.reader.live("churn@production", start=False, on_change=lambda check: told.append(bool(check)))
    shared.store.down = True
    live.check()
    shared.store.down = False
    live.check()
    live.check()
    assert told == [False, True]


def test_looks_that_fail_come_ever_more_rarely_up_to_a_bound(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", every=30, start=False)
    shared.store.down = True
    assert [live._on_time() for _ in range(6)] == [60, 120, 240, 300, 300, 300]
    shared.store.down = False
    assert live._on_time() == 30


@pytest.mark.parametrize("every", [0.5, 30, 3600])
@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_no_pause_after_a_failure_is_shorter_than_one_without_and_all_without_are_within_the_bound(
    every: float, jitter: float
) -> None:
    pace = Pace(every, mk.System(jitter=lambda: jitter))
    pauses = [pace.pause(failures) for failures in range(100)]
    assert every / 2 <= pauses[0] <= every
    assert pauses == sorted(pauses)
    assert max(pauses) <= max(every, 300)


def test_an_unset_alias_is_an_answer_and_slows_nothing_down(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", every=30, start=False)
    shared.writer.model("churn").unset("production")
    assert [live._on_time() for _ in range(3)] == [30, 30, 30]


def test_a_listener_that_raises_is_logged_and_the_handle_goes_on(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Check) -> None:
        raise LookupError("nobody listens")

    shared.promoted(1)
    live = shared.reader.live("churn@production", start=False, on_change=fail)
    shared.promoted(2)
    with caplog.at_level(logging.ERROR):
        assert live.check()
    assert "on_change failed" in caplog.text
    assert "nobody listens" in caplog.text


def test_a_listener_may_look_and_close(shared: Shared) -> None:
    shared.promoted(1)
    seen: list[str] = []

    def act(check: Check) -> None:
        seen.append(str(check))
        live.check()
        live.close()

    live = shared.reader.live("churn@production", start=False, on_change=act)
    shared.promoted(2)
    assert live.check()
    assert seen == ["churn:2 serves, after churn:1"]
