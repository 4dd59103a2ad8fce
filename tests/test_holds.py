"""Holds: a version that is held is never purged; and what the history tells of holds and purges."""

from __future__ import annotations

import numpy as np
import pytest

from modelkeep.errors import ConflictError, DeletedError
from modelkeep.folds.releases import Purge
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording


@pytest.fixture
def store() -> Recording:
    return Recording(MemoryStore())


@pytest.fixture
def version(store: Recording) -> ModelVersion:
    return Registry(store).save({"w": np.zeros(3)}, "churn")


def purge(version: ModelVersion, reason: str = "") -> None:
    """As a collector does it."""
    version._line.append("releases", lambda _: [Purge(version.number, rule=reason)])


def test_a_version_is_held_until_it_is_not(store: Recording, version: ModelVersion) -> None:
    assert not version.held
    assert version.hold() is version
    assert version.held
    assert Registry(store).get("churn:1").held
    assert version.unhold() is version
    assert not version.held
    version.hold()
    assert Registry(store).get("churn:1").held


def test_what_is_held_cannot_be_held_again_and_what_is_not_cannot_be_let_go(
    store: Recording, version: ModelVersion
) -> None:
    with pytest.raises(ConflictError, match="churn:1 is not held"):
        version.unhold(reason="nobody knows")
    Registry(store).get("churn:1").hold()
    with pytest.raises(ConflictError, match="churn:1 is held already"):
        version.hold(reason="once more")
    assert [item.key for item in store.list("models/churn/texts/")] == []  # no reason of what did not happen


def test_a_version_that_is_held_is_deleted_and_restored_and_stays_held(version: ModelVersion) -> None:
    version.hold()
    version.delete()
    assert version.deleted
    assert version.held
    version.restore()
    assert version.held


def test_a_deleted_version_can_be_held(version: ModelVersion) -> None:
    version.delete()
    assert version.hold().held


def test_a_version_that_is_held_is_never_purged(store: Recording, version: ModelVersion) -> None:
    version.delete()
    version.hold()
    with pytest.raises(ConflictError, match="is held"):
        purge(Registry(store).model("churn").version(1))
    version.unhold()
    purge(Registry(store).model("churn").version(1))


def test_a_version_that_was_purged_cannot_be_held(store: Recording, version: ModelVersion) -> None:
    version.delete()
    purge(Registry(store).model("churn").version(1))
    with pytest.raises(DeletedError, match="was purged"):
        version.hold()


def test_warm_a_look_costs_one_get_and_a_hold_one_write_and_its_reason_one_more(
    store: Recording, version: ModelVersion
) -> None:
    assert not version.held
    store.forget()
    assert not version.held
    assert [verb for verb, _ in store.requests] == ["get"]
    for act, reason, verbs in [
        (version.hold, None, ["create"]),
        (version.unhold, None, ["create"]),
        (version.hold, "why", ["put_pack", "create"]),
        (version.unhold, "why", ["put_pack", "create"]),
    ]:
        store.forget()
        act(reason=reason)
        assert [verb for verb, _ in store.requests] == verbs


def test_the_history_tells_of_holds_and_of_purges_with_their_rule(store: Recording, version: ModelVersion) -> None:
    version.hold(reason="audit of 2026")
    version.unhold(reason="audit is over")
    version.delete()
    purge(version, "deleted 45 days ago (longer than 30 days)")
    told = [event for event in Registry(store).model("churn").history() if event.journal == "releases"]
    assert [(event.action, event.version, event.text) for event in told] == [
        ("hold", 1, "audit of 2026"),
        ("unhold", 1, "audit is over"),
        ("delete", 1, None),
        ("purge", 1, "deleted 45 days ago (longer than 30 days)"),
    ]
    assert str(told[-1]).endswith(": purge version 1")


def test_a_purge_without_a_rule_has_no_text(store: Recording, version: ModelVersion) -> None:
    version.delete()
    purge(version)
    assert Registry(store).model("churn").history()[-1].text is None
