"""Promotions while others are at work: the table "Outcomes, where several are at work" of note 17, row by row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelkeep import gates
from modelkeep.digest import digest
from modelkeep.errors import (
    ConflictError,
    DeletedError,
    GateError,
    OutcomeUnknownError,
    StaleError,
    StoreError,
    UnsettledError,
)
from modelkeep.evidence import Finding
from modelkeep.gatepolicy import Asked
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import Wrapper
from test_gates import AUC, BETTER, QUICK, TOP, holder, ops, save, told

APPROVED = f"{TOP}approvals = 1\nby_author = true\n"
LOOK, ENTRY = "while gates look", "just before the entry"

Act = Callable[[], object]
Meanwhile = Callable[[Act], Registry]


@pytest.fixture
def place() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def other(place: MemoryStore) -> Registry:
    """Who is at work beside the one that promotes."""
    return Registry(place)


class Late(Wrapper):
    """Somebody is first, just before the first entry of releases."""

    def __init__(self, within: Store, act: Act) -> None:
        super().__init__(within)
        self.acts = [act]

    def create(self, key: str, value: bytes) -> None:
        if "/releases/" in key and self.acts:
            self.acts.pop()()
        super().create(key, value)


def looked(monkeypatch: pytest.MonkeyPatch, *acts: Act) -> list[int]:
    """Have each of *acts* done by others while gates look, one each time; counts the looks."""
    looks: list[int] = []
    left, real = list(acts), gates.findings

    def looking(asked: Asked, scene: gates.Scene) -> list[Finding]:
        found = list(real(asked, scene))
        looks.append(len(found))
        if left:
            left.pop(0)()
        return found

    monkeypatch.setattr(gates, "findings", looking)
    return looks


@pytest.fixture(params=[LOOK, ENTRY])
def meanwhile(request: pytest.FixtureRequest, place: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Gives a registry, during the next promotion of which others do something."""

    def registry(act: Act) -> Registry:
        if request.param == ENTRY:
            return Registry(Late(place, act), system=QUICK)
        looked(monkeypatch, act)
        return Registry(place)

    return registry


# -- another promotes --------------------------------------------------------------------------------------------------


def test_who_is_overtaken_by_a_better_one_is_refused(other: Registry, meanwhile: Meanwhile) -> None:
    other.policy.set(BETTER)
    one, two = save(other, metrics={"auc": 0.9}), save(other, metrics={"auc": 0.8})
    registry = meanwhile(lambda: one.promote("production"))
    with pytest.raises(GateError, match=r"auc is 0\.8, and that of churn:1 0\.9"):
        registry.get(two.ref).promote("production")
    assert told(other) == [("promote", 1), ("refuse", 2)]
    assert holder(other) == 1


def test_who_is_overtaken_by_a_worse_one_is_promoted_after_it(
    other: Registry, place: MemoryStore, meanwhile: Meanwhile
) -> None:
    other.policy.set(BETTER)
    one, two = save(other, metrics={"auc": 0.8}), save(other, metrics={"auc": 0.9})
    registry = meanwhile(lambda: one.promote("production"))
    registry.get(two.ref).promote("production")
    assert told(other) == [("promote", 1), ("promote", 2)]
    assert holder(other) == 2
    assert ops(place)[-1]["evidence"]["holder"] == 1, "it was compared with who stood there by then"


def test_who_expects_a_holder_and_is_overtaken_is_told_and_nothing_is_written(
    other: Registry, place: MemoryStore, meanwhile: Meanwhile
) -> None:
    other.policy.set(BETTER)
    one, two = save(other, metrics={"auc": 0.8}), save(other, metrics={"auc": 0.9})
    registry = meanwhile(lambda: one.promote("production"))
    with pytest.raises(StaleError):
        registry.get(two.ref).promote("production", expect=None)
    assert [op["number"] for op in ops(place)] == [1]


# -- the policy is changed ---------------------------------------------------------------------------------------------


def test_a_policy_that_is_changed_while_gates_look_is_the_one_that_counts(
    other: Registry, place: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.policy.set(AUC)
    version, harder = save(other, metrics={"auc": 0.91}), AUC.replace("0.9", "0.95")
    looks = looked(monkeypatch, lambda: Registry(place).policy.set(harder))
    with pytest.raises(GateError, match=r"says entry 2 of the policy.*at least 0.95"):
        version.promote("production")
    assert len(looks) == 2
    (op,) = ops(place)
    assert (op["evidence"]["policy"], op["evidence"]["digest"]) == (2, digest(harder.encode()))


def test_rules_that_are_taken_away_while_gates_look_ask_nothing(
    other: Registry, place: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.policy.set(AUC)
    version = save(other, metrics={"auc": 0.5})
    looked(monkeypatch, lambda: Registry(place).policy.set(""))
    version.promote("production")
    assert "evidence" not in ops(place)[-1]


def test_a_policy_that_is_changed_between_the_last_look_and_the_entry_came_after(
    other: Registry, place: MemoryStore
) -> None:
    other.policy.set(AUC)
    version = save(other, metrics={"auc": 0.91})
    registry = Registry(Late(place, lambda: other.policy.set(AUC.replace("0.9", "0.95"))), system=QUICK)
    registry.get(version.ref).promote("production")
    (op,) = ops(place)
    assert (op["op"], op["evidence"]["policy"], op["evidence"]["digest"]) == ("alias", 1, digest(AUC.encode()))
    assert (other.policy.number, holder(other)) == (2, 1)


def test_rules_that_come_before_the_entry_is_taken_count(other: Registry, place: MemoryStore) -> None:
    version = save(other, metrics={"auc": 0.5})

    def first() -> None:
        other.policy.set(AUC)
        version.promote("staging")

    with pytest.raises(GateError, match=r"auc at least 0\.9"):
        Registry(Late(place, first), system=QUICK).get("churn:1").promote("production")
    assert holder(other) is None


# -- reviews, and deletes ----------------------------------------------------------------------------------------------


def test_an_approval_that_is_withdrawn_before_the_entry_counts_as_withdrawn(
    other: Registry, meanwhile: Meanwhile
) -> None:
    other.policy.set(APPROVED)
    review = save(other).review
    review.approve()
    registry = meanwhile(review.withdraw)
    with pytest.raises(GateError, match="nobody approved"):
        registry.get("churn:1").promote("production")
    assert holder(other) is None


def test_an_approval_that_comes_before_the_entry_counts(other: Registry, meanwhile: Meanwhile) -> None:
    other.policy.set(APPROVED)
    registry = meanwhile(save(other).review.approve)
    registry.get("churn:1").promote("production")
    assert told(other) == [("promote", 1)]


def test_a_version_that_is_deleted_before_the_entry_is_not_promoted(
    other: Registry, place: MemoryStore, meanwhile: Meanwhile
) -> None:
    other.policy.set(AUC)
    registry = meanwhile(save(other, metrics={"auc": 0.95}).delete)
    with pytest.raises(DeletedError):
        registry.get("churn:1").promote("production")
    assert [op["op"] for op in ops(place)] == ["delete"]


# -- no answer ---------------------------------------------------------------------------------------------------------


class Unanswered(Wrapper):
    """Gives no answer to the first entry of releases, nor to anything about releases from there on.

    Args:
        within: the store that does the work.
        arrives: whether the entry is there nevertheless.
    """

    def __init__(self, within: Store, *, arrives: bool) -> None:
        super().__init__(within)
        self.arrives = arrives
        self.down = False

    def create(self, key: str, value: bytes) -> None:
        if "/releases/" not in key:
            super().create(key, value)
            return
        if self.arrives and not self.down:
            super().create(key, value)
        self.down = True
        raise OutcomeUnknownError("no answer", key=key)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        if self.down and "/releases/" in key:
            raise StoreError("no answer", key=key)
        return super().get(key, span)


@pytest.mark.parametrize("arrives", [False, True])
def test_a_promotion_that_is_not_answered_is_open_and_settle_tells(
    other: Registry, place: MemoryStore, arrives: bool
) -> None:
    other.policy.set(AUC)
    save(other, metrics={"auc": 0.95})
    with pytest.raises(UnsettledError) as caught:
        Registry(Unanswered(place, arrives=arrives), system=QUICK).get("churn:1").promote("production")
    assert other.settle(caught.value.token).committed is arrives
    assert holder(other) == (1 if arrives else None)


@pytest.mark.parametrize("arrives", [False, True])
def test_a_refusal_that_is_not_answered_is_one_kept_or_not(other: Registry, place: MemoryStore, arrives: bool) -> None:
    other.policy.set(AUC)
    save(other, metrics={"auc": 0.5})
    with pytest.raises(GateError, match=r"auc at least 0\.9"):
        Registry(Unanswered(place, arrives=arrives), system=QUICK).get("churn:1").promote("production")
    assert told(other) == [("refuse", 1)] * arrives
    assert holder(other) is None


# -- again and again ---------------------------------------------------------------------------------------------------


def test_who_is_overtaken_by_a_hundred_policies_gives_up(other: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    other.policy.set(AUC)
    version = save(other, metrics={"auc": 0.95})
    looks = looked(monkeypatch, *(lambda n=n: other.policy.set(f"{AUC}# {n}") for n in range(200)))
    with pytest.raises(ConflictError, match="changed 100 times"):
        version.promote("production")
    assert len(looks) == 100


def test_who_is_overtaken_by_a_hundred_holders_gives_up(
    other: Registry, place: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others roll back, which asks no gate."""
    one, two, best = (save(other, metrics={"auc": auc}) for auc in (0.7, 0.8, 0.9))
    for number in range(102):
        (one, two)[number % 2].promote("production")
    other.policy.set(AUC)
    model = Registry(place).model("churn")
    looks = looked(monkeypatch, *[lambda: model.rollback("production")] * 101)
    with pytest.raises(ConflictError, match="changed 100 times"):
        best.promote("production")
    assert len(looks) == 100
