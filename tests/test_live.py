"""`Registry.live`: it follows what its reference means, and no call ever fails or meets half a model for it."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from followed import (
    ASK,
    ENTERED,
    GO_ON,
    PATIENCE,
    Failing,
    Numbered,
    Shared,
    Slow,
    right,
)
from modelkeep.errors import (
    GateError,
    InvalidRefError,
    InvalidValueError,
    SerializerError,
    TrustError,
    UnfitError,
    UnknownAliasError,
    UnknownModelError,
)
from modelkeep.live import Live
from modelkeep.looks import Check
from modelkeep.pacing import LOG
from modelkeep.registry import Registry
from modelkeep.stores.wrappers import Recording

ASKS = '[models.churn.aliases.production]\napprovals = 1\nby_author = true\ngates = [{ size = "1 MB" }]\n'
CALLERS = 8
MOVES = 1000


@pytest.fixture
def shared() -> Shared:
    return Shared()


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("modelkeep-live")]


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE)
    return not thread.is_alive()


# -- following -----------------------------------------------------------------------------------------------------


def test_it_serves_what_is_promoted_and_what_is_rolled_back_to(shared: Shared) -> None:
    first = shared.promoted(1)
    live = shared.reader.live("churn@production", start=False)
    assert live.predict(np.ones(2)) == (1, 1002)
    second = shared.promoted(2)
    assert live.predict(ASK) == (1, 1000)  # nobody looked
    check = live.check()
    assert (check.before, check.version, check.changed, check.error, bool(check)) == (first, second, True, None, True)
    assert (live.version, live.predict(np.ones(2))) == (second, (2, 2002))
    shared.writer.model("churn").rollback("production")
    assert str(live.check()) == "churn:1 serves, after churn:2"
    assert live.predict(ASK) == (1, 1000)
    assert str(live.check()) == "churn:1 still serves"


def test_the_timer_looks_without_being_asked(shared: Shared) -> None:
    shared.promoted(1)
    came: list[Check] = []
    told = threading.Event()

    def note(check: Check) -> None:
        came.append(check)
        told.set()

    reader = Registry(shared.store, trust="cloudpickle")
    with reader.live("churn@production", every=0.01, on_change=note) as live:
        shared.promoted(2)
        assert told.wait(PATIENCE)
        assert live.predict(ASK) == (2, 2000)
    assert [check.version.number for check in came] == [2]


@pytest.mark.parametrize("ref", ["churn", "churn:^1.1"])
def test_the_latest_and_a_range_are_followed_too(shared: Shared, ref: str) -> None:
    shared.save(Numbered(1), label="1.1.0")
    live = shared.reader.live(ref, start=False)
    shared.save(Numbered(2), label="1.2.0")
    assert live.check().version.number == 2
    shared.writer.get("churn:2").delete()
    assert live.check().version.number == 1
    assert live.predict(ASK) == (1, 1000)


@pytest.mark.parametrize("ref", ["churn:1", "churn:1.0.0", "churn#{digest}", "version"])
def test_what_never_moves_is_refused_with_the_way_out(shared: Shared, ref: str) -> None:
    version = shared.save(Numbered(1), label="1.0.0")
    given = version if ref == "version" else ref.format(digest=version.digest[:8])
    with pytest.raises(InvalidRefError, match=r"never moves.*load it, or give churn@production, churn or churn"):
        shared.reader.live(given)


@pytest.mark.parametrize("ref", ["churn@production/int8", "churn~draft:1"])
def test_what_is_no_version_is_refused(shared: Shared, ref: str) -> None:
    with pytest.raises(InvalidRefError, match="cannot be followed"):
        shared.reader.live(ref)


@pytest.mark.parametrize(
    "given",
    [{"every": 0}, {"every": "30"}, {"every": float("nan")}, {"every": True}, {"verify": "later"}, {"on_change": 3}],
    ids=str,
)
def test_a_wrong_option_is_refused_and_quoted(shared: Shared, given: dict[str, Any]) -> None:
    shared.promoted(1)
    with pytest.raises(InvalidValueError, match=next(iter(given))):
        shared.reader.live("churn@production", **given)
    assert timers() == []


def test_the_first_load_raises(shared: Shared) -> None:
    with pytest.raises(UnknownModelError):
        shared.reader.live("churn@production")
    version = shared.save(Failing(1), example=np.zeros(2))
    with pytest.raises(UnknownAliasError):
        shared.reader.live("churn@production")
    version.promote("production")
    with pytest.raises(UnfitError, match="churn:1 fails on its own example: ZeroDivisionError: no rows"):
        shared.reader.live("churn@production")
    with pytest.raises(TrustError):
        Registry(shared.store).live("churn@production")
    with pytest.raises(SerializerError, match=r"churn:1 holds a followed\.Failing, and no builtins\.dict"):
        shared.reader.live("churn@production", as_=dict)
    assert timers() == []


def test_trust_and_warm_are_words_of_the_handle(shared: Shared) -> None:
    shared.save(Failing(1), example=np.zeros(2)).promote("production")
    trust = iter(["cloudpickle"])  # asked at each load
    live = Registry(shared.store).live("churn@production", warm=False, trust=trust, as_=Failing, start=False)
    shared.save(Failing(2), example=np.zeros(2)).promote("production")
    assert live.check()
    assert live.model.number == 2


# -- what it costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ref", "gets"), [("churn@production", 1), ("churn", 2), ("churn:^1", 2)])
def test_a_look_that_finds_nothing_new_is_one_get_by_alias_and_a_call_is_none(
    shared: Shared, ref: str, gets: int
) -> None:
    shared.save(Numbered(1), label="1.0.0").promote("production")
    store = Recording(shared.store)
    live = Registry(store, trust="cloudpickle").live(ref, start=False)
    store.forget()
    for _ in range(3):
        assert live.check()
    assert dict(store.counts()) == {"get": 3 * gets}
    store.forget()
    live.predict(ASK)
    _ = live.version.metrics, live.stale_for, live.checked
    with live.use():
        pass
    assert store.requests == []


def test_a_policy_adds_no_request_to_a_look_though_it_asks_for_approvals_and_gates(shared: Shared) -> None:
    first = shared.promoted(1)
    shared.writer.policy.set(ASKS)
    store = Recording(shared.store)
    live = Registry(store, trust="cloudpickle").live("churn@production", start=False)
    second = shared.save(Numbered(2), example=np.zeros(2))
    second.review.approve()
    store.forget()
    assert live.check().version == first
    assert [verb for verb, _ in store.requests] == ["get", "get"]  # the approval, and nothing after it
    with pytest.raises(GateError):
        shared.save(Numbered(3), example=np.zeros(2)).promote("production")
    second.promote("production")
    assert live.check().version == second
    shared.writer.model("churn").rollback("production")
    assert live.check().version == first
    store.forget()
    for _ in range(3):
        assert live.check()
    assert dict(store.counts()) == {"get": 3}


def test_a_repinned_version_is_not_loaded_again(shared: Shared) -> None:
    for number in range(1, 4):
        shared.promoted(number)
    live = shared.reader.live("churn@production", start=False)
    model = live.model
    shared.writer.storage.compact("churn", rollbacks=0, newest=0)
    assert live.check()
    assert live.model is model


# -- under load ----------------------------------------------------------------------------------------------------


def calls_until(done: threading.Event, live: Live[Any]) -> list[int]:
    """The numbers that answered, one call after another; an answer that no whole model gives ends it."""
    seen = []
    while not done.wait(0.0005):  # seconds; without a pause eight threads leave no time for the moves
        answer = live.predict(np.ones(3))
        assert right(answer, 3)
        with live.use() as model:
            inside = model.number
            assert right(model.predict(ASK))
            assert model.number == inside
        seen.append(answer[0])
    return seen


def test_through_a_thousand_moves_no_call_fails_or_meets_half_a_model(shared: Shared) -> None:
    versions = [shared.promoted(number) for number in range(1, 6)]
    done = threading.Event()
    with shared.reader.live("churn@production", start=False) as live, ThreadPoolExecutor(CALLERS) as threads:
        callers = [threads.submit(calls_until, done, live) for _ in range(CALLERS)]
        try:
            for move in range(MOVES):
                version = versions[move % 5].promote("production")
                check = live.check()
                assert check
                assert check.changed
                assert check.version == live.version == version
        finally:
            done.set()
        answered = [caller.result() for caller in callers]
    assert all(answered)
    assert {number for seen in answered for number in seen} == {1, 2, 3, 4, 5}


def test_a_call_does_not_wait_for_a_version_that_is_being_tried(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", start=False)
    ENTERED.clear()
    GO_ON.clear()
    shared.save(Slow(2), example=np.zeros(2)).promote("production")
    with ThreadPoolExecutor(1) as threads:
        look = threads.submit(live.check)
        try:
            assert ENTERED.wait(PATIENCE)
            assert live.predict(ASK) == (1, 1000)
            assert live.version.number == 1
        finally:
            GO_ON.set()
        assert look.result().version.number == 2


# -- letting go ----------------------------------------------------------------------------------------------------


def test_the_old_model_is_let_go_when_its_last_call_ends(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", start=False)
    gc.collect()
    gc.disable()  # not by a later collection: at once
    try:
        with live.use() as model:
            old = weakref.ref(model)
            shared.promoted(2)
            assert live.check().changed
            with live.use() as new:
                assert (model.number, new.number) == (1, 2)
            del model
            assert old() is not None  # the block itself has it
        assert old() is None
        del new
        current = weakref.ref(live.model)
        assert current() is not None
    finally:
        gc.enable()


def test_what_was_refused_is_let_go_though_its_error_is_kept(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    monkeypatch.setattr(LOG, "disabled", True)  # pytest keeps what is logged, and the frames with it

    def loaded(model: Numbered, state: dict[str, Any]) -> None:
        alive.add(model)
        model.__dict__.update(state)

    monkeypatch.setattr(Numbered, "__setstate__", loaded, raising=False)
    shared.promoted(1)
    live = shared.reader.live("churn@production", start=False)
    shared.save(Failing(2), example=np.zeros(2)).promote("production")
    gc.collect()
    gc.disable()
    try:
        check = live.check()
        assert isinstance(live.last_error, UnfitError)
        assert isinstance(live.last_error.__cause__, ZeroDivisionError)
        assert [model.number for model in alive] == [1]
        shared.promoted(3)
        live.check()
        assert [model.number for model in alive] == [3]
        del check
    finally:
        gc.enable()


def test_a_handle_that_is_closed_has_no_thread_and_serves_on(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", every=3600)
    (timer,) = timers()
    live.close()
    assert not timer.is_alive()
    assert timers() == []
    assert live.predict(ASK) == (1, 1000)
    assert live._timer is None
    shared.promoted(2)
    assert live.check().version.number == 2
    live.close()


def test_a_handle_that_nobody_holds_ends_its_thread_and_lets_the_model_go(shared: Shared) -> None:
    shared.promoted(1)
    live = shared.reader.live("churn@production", every=3600)
    (timer,), model = timers(), weakref.ref(live.model)
    del live
    gc.collect()
    assert ended(timer)
    assert model() is None


def test_the_thread_never_keeps_a_process_alive(shared: Shared) -> None:
    shared.promoted(1)
    with shared.reader.live("churn@production") as live:
        (timer,) = timers()
        assert timer.daemon
        assert repr(live) == "Live churn@production: churn:1"
