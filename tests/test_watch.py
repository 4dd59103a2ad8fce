"""`RegisteredModel.watch`: every move of an alias, once and in order."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

import modelkeep as mk
from followed import Shared
from modelkeep.errors import AccessError, InvalidNameError, InvalidValueError, UnknownModelError
from modelkeep.registry import Registry
from modelkeep.stores.wrappers import Recording
from modelkeep.watching import Change

Told = tuple[str, int | None, int | None]


@pytest.fixture
def shared() -> Shared:
    made = Shared()
    for number in (1, 2, 3):
        made.writer.save({"w": np.full(3, number)}, "churn")
    return made


def told(changes: Iterator[Change]) -> list[Told]:
    return [
        (one.action, one.before.number if one.before else None, one.after.number if one.after else None)
        for one in changes
    ]


def in_turn(shared: Shared, *steps: Callable[[], object]) -> None:
    """Each pause of the watch sees the next step."""
    left = list(steps)
    shared.clock.meanwhile = lambda: left.pop(0)() if left else None


def test_promote_rollback_and_unset_are_told_in_order_with_who_when_and_why(shared: Shared) -> None:
    v1, v2, v3 = (shared.writer.get(f"churn:{number}") for number in (1, 2, 3))
    churn = shared.writer.model("churn")
    v1.promote("production")
    changes = shared.reader.model("churn").watch("production", timeout=100)
    v2.promote("production", reason="beats 1 on the holdout")
    v3.promote("staging")
    in_turn(
        shared,
        lambda: churn.rollback("production", reason="calibration drift"),
        lambda: churn.unset("production"),
        lambda: v3.promote("production"),
    )
    moves = list(changes)
    assert told(iter(moves)) == [
        ("promote", 1, 2),
        ("rollback", 2, 1),
        ("unalias", 1, None),
        ("promote", None, 3),
    ]
    assert [one.reason for one in moves] == ["beats 1 on the holdout", "calibration drift", None, None]
    events = [event for event in churn.history() if event.subject == "production"][1:]
    assert [(one.time, one.actor) for one in moves] == [(event.time, event.actor) for event in events]
    assert (moves[0].before, moves[0].after) == (v1, v2)
    assert str(moves[0]).endswith(": promote churn:1 -> churn:2")
    assert str(moves[2]).endswith(": unalias churn:1 -> nothing")


@pytest.mark.parametrize("count", [3, 99, 250, 1234])
def test_of_any_number_of_moves_between_two_looks_none_is_missed(shared: Shared, count: int) -> None:
    versions = [shared.writer.get(f"churn:{number}") for number in (1, 2, 3)]
    versions[0].promote("production")
    changes = shared.reader.model("churn").watch("production", timeout=40)

    def many() -> None:
        for move in range(1, count + 1):
            versions[move % 3].promote("production")

    in_turn(shared, many, lambda: versions[0].promote("staging"))
    numbers = [1 + move % 3 for move in range(count + 1)]
    assert told(changes) == [("promote", *pair) for pair in pairwise(numbers)]


def test_a_watch_in_the_process_that_promotes_misses_nothing_either(shared: Shared) -> None:
    v1, v2 = shared.writer.get("churn:1"), shared.writer.get("churn:2")
    registry = Registry(shared.store, system=shared.clock.system())
    changes = registry.model("churn").watch("production", timeout=0)
    for _ in range(150):
        v1.promote("production")
        v2.promote("production")
    registry.get("churn@production")  # reads on in the same journal
    assert len(told(changes)) == 300


def test_an_entry_that_is_void_moves_nothing_and_is_not_told(shared: Shared) -> None:
    shared.writer.get("churn:1").promote("staging")
    journal = shared.writer._existing("churn").releases
    changes = shared.reader.model("churn").watch("production", timeout=0)
    raw = journal._encoded([{"op": "unalias", "alias": "production"}], uuid.uuid4().hex, {})  # it is not set
    shared.store.create(journal._key(journal.head + 1), raw)
    shared.writer.get("churn:2").promote("production")
    assert told(changes) == [("promote", None, 2)]


def test_a_look_that_finds_nothing_new_is_one_get(shared: Shared) -> None:
    shared.writer.get("churn:1").promote("production")
    store = Recording(shared.store)
    reader = Registry(store, system=shared.clock.system())
    changes = reader.model("churn").watch("production", every=10, timeout=50)
    store.forget()
    assert list(changes) == []
    assert shared.clock.slept == [10] * 5
    assert dict(store.counts()) == {"get": 6}


def test_it_ends_when_the_time_is_over_with_a_last_look(shared: Shared) -> None:
    changes = shared.reader.model("churn").watch("production", every=10, timeout=25)
    in_turn(shared, lambda: None, lambda: None, lambda: shared.writer.get("churn:1").promote("production"))
    assert told(changes) == [("promote", None, 1)]
    assert shared.clock.slept == [10, 10, 5]


def test_without_a_timeout_it_goes_on_until_it_is_closed(shared: Shared) -> None:
    changes = shared.reader.model("churn").watch("production")
    in_turn(shared, *[lambda: None] * 50, lambda: shared.writer.get("churn:2").promote("production"))
    first = next(changes)
    assert first.after is not None
    assert first.after.number == 2
    assert isinstance(changes, Iterator)
    changes.close()  # type: ignore[attr-defined]  # of a generator
    assert list(changes) == []


def test_while_the_storage_is_down_it_waits_ever_longer_and_misses_nothing(shared: Shared) -> None:
    v1, v2 = shared.writer.get("churn:1"), shared.writer.get("churn:2")
    changes = shared.reader.model("churn").watch("production", every=10, timeout=200)

    def down(moved: mk.ModelVersion) -> None:
        shared.store.down = True
        moved.promote("production", reason="while nobody could look")

    def back() -> None:
        shared.store.down = False

    in_turn(shared, lambda: down(v1), lambda: down(v2), lambda: None, back)
    assert told(changes) == [("promote", None, 1), ("promote", 1, 2)]
    assert shared.clock.slept[:5] == [10, 20, 40, 80, 10]


def test_a_move_of_which_the_reason_could_not_be_read_is_told_by_the_next_look(shared: Shared) -> None:
    class NoTexts(Recording):
        texts = False

        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            if "/texts/" in key and not self.texts:
                self.texts = True
                raise mk.StoreError("no answer")
            return super().get(key, span)

    reader = Registry(NoTexts(shared.store), system=shared.clock.system())
    changes = reader.model("churn").watch("production", timeout=100)
    shared.writer.get("churn:1").promote("production", reason="first")
    shared.writer.get("churn:2").promote("production", reason="second")
    assert [one.reason for one in changes] == ["first", "second"]


def test_what_waiting_does_not_mend_is_raised(shared: Shared) -> None:
    class Denied(Recording):
        denied = False

        def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
            if self.denied:
                raise AccessError("denied")
            return super().get(key, span)

    store = Denied(shared.store)
    changes = Registry(store, system=shared.clock.system()).model("churn").watch("production")
    store.denied = True
    with pytest.raises(AccessError):
        next(changes)


def test_what_is_wrong_is_said_by_the_call_and_not_by_the_first_look(shared: Shared) -> None:
    with pytest.raises(UnknownModelError):
        shared.reader.model("other").watch("production")
    with pytest.raises(InvalidNameError):
        shared.reader.model("churn").watch("7")
    with pytest.raises(InvalidValueError, match="every=-1"):
        shared.reader.model("churn").watch("production", every=-1)
    with pytest.raises(InvalidValueError, match="timeout='soon'"):
        shared.reader.model("churn").watch("production", timeout="soon")  # type: ignore[arg-type]


def test_moves_before_the_call_are_not_told_and_those_before_the_first_look_are(shared: Shared) -> None:
    shared.writer.get("churn:1").promote("production")
    changes = shared.reader.model("churn").watch("production", timeout=0)
    shared.writer.get("churn:2").promote("production")
    assert told(changes) == [("promote", 1, 2)]
