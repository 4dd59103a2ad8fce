"""The policy of a registry: one text in force, kept in a journal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelkeep.errors import (
    FormatError,
    InvalidNameError,
    InvalidValueError,
    OutcomeUnknownError,
    StoreError,
    UnsettledError,
)
from modelkeep.folds.policy import SetPolicy
from modelkeep.policy import MAX_TEXT
from modelkeep.registry import Registry
from modelkeep.retention import Retention
from modelkeep.settlement import Settlement
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.wrappers import ReadOnly, Recording, Wrapper
from modelkeep.system import System

TEN = "[retention]\nlast = 10\n"
FIVE = "[retention]\nlast = 5\n"
QUICK = System(sleep=lambda _: None)


@pytest.fixture
def place() -> MemoryStore:
    return MemoryStore()


def entries(store: Store) -> list[str]:
    return [item.key for item in store.list("policy/")]


def plant(registry: Registry, text: str) -> None:
    """Put a text in force that `set` would refuse, as a newer release may have."""
    home = registry._home
    home.policy(home.prepare()).append(lambda _: [SetPolicy(text)], tx=home.system.new_id())


def test_a_registry_without_a_policy_has_an_empty_one_and_asking_writes_nothing(place: MemoryStore) -> None:
    policy = Registry(place).policy
    assert (policy.text, policy.number, policy.retention("churn")) == ("", 0, None)
    assert list(place.list("")) == []


def test_what_was_set_is_in_force_in_every_process(place: MemoryStore) -> None:
    policy = Registry(place).policy
    policy.set(TEN)
    policy.set(FIVE)
    for seen in (policy, Registry(place).policy):
        assert (seen.text, seen.number) == (FIVE, 2)
        assert seen.retention("churn") == Retention(last=5, entry=2)
    assert Registry(place).storage.verify().ok


def test_a_policy_may_be_set_before_the_first_save(place: MemoryStore) -> None:
    registry = Registry(place)
    registry.policy.set(TEN)
    assert registry.save({"w": np.ones(2)}, "churn").number == 1
    assert Registry(place).policy.text == TEN


def test_setting_the_very_same_text_again_writes_no_entry(place: MemoryStore) -> None:
    first, second = Registry(place), Registry(place)
    first.policy.set("")  # nothing is in force, and nothing is to be
    assert entries(place) == []
    first.policy.set(TEN)
    first.policy.set(TEN)
    second.policy.set(TEN)
    assert len(entries(place)) == 1
    first.policy.set(f"{TEN}# why")
    assert len(entries(place)) == 2


def test_who_is_behind_sees_what_is_in_force_before_anything_is_left_unwritten(place: MemoryStore) -> None:
    behind, other = Registry(place), Registry(place)
    behind.policy.set(TEN)
    other.policy.set(FIVE)
    behind.policy.set(TEN)  # as far as it has read, this text is in force
    assert Registry(place).policy.text == TEN
    assert len(entries(place)) == 3


def test_an_empty_text_takes_all_rules_away(place: MemoryStore) -> None:
    policy = Registry(place).policy
    policy.set(TEN)
    policy.set("")
    assert (policy.text, policy.number, policy.retention("churn")) == ("", 2, None)


@pytest.mark.parametrize(
    "text", ["[retention]\nlst = 10", "last = 10", "[retention", "\ud800", 7, None, b"[retention]"]
)
def test_what_cannot_be_read_is_not_set(place: MemoryStore, text: Any) -> None:
    registry = Registry(place)
    registry.policy.set(TEN)
    with pytest.raises(InvalidValueError):
        registry.policy.set(text)
    assert len(entries(place)) == 1
    assert registry.policy.text == TEN


def test_a_text_of_64_kib_is_set_and_one_of_a_byte_more_is_refused(place: MemoryStore) -> None:
    policy = Registry(place).policy
    room = MAX_TEXT - len(TEN.encode()) - len("#é".encode())
    whole = f"{TEN}#é{'x' * room}"
    policy.set(whole)
    assert policy.text == whole
    with pytest.raises(InvalidValueError, match="has 65537 bytes, and 65536 are allowed"):
        policy.set(f"{whole}x")
    assert policy.text == whole


def test_a_text_that_this_release_cannot_read_is_shown_and_not_followed(place: MemoryStore) -> None:
    registry = Registry(place)
    registry.policy.set(TEN)
    plant(registry, "[retention]\nforever = true")
    policy = Registry(place).policy
    assert (policy.text, policy.number) == ("[retention]\nforever = true", 2)
    with pytest.raises(InvalidValueError, match=r"entry 2 of the policy cannot be read.*'forever'.*upgrade") as caught:
        policy.retention("churn")
    assert (caught.value.entry, caught.value.key) == (2, "forever")
    policy.set(FIVE)
    assert policy.retention("churn") == Retention(last=5, entry=3)


def test_the_rules_of_a_name_that_no_model_can_bear_are_not_told(place: MemoryStore) -> None:
    with pytest.raises(InvalidNameError):
        Registry(place).policy.retention("../churn")


def test_warm_a_look_costs_one_get_and_a_set_one_write(place: MemoryStore) -> None:
    store = Recording(place)
    registry = Registry(store)
    registry.policy.set(TEN)
    looks = (
        lambda: registry.policy.text,
        lambda: registry.policy.number,
        lambda: registry.policy.retention("churn"),
    )
    for look in looks:
        store.forget()
        look()
        assert [verb for verb, _ in store.requests] == ["get"]
    store.forget()
    registry.policy.set(FIVE)
    assert [verb for verb, _ in store.requests] == ["create"]


def test_who_may_only_read_can_look_and_not_set(place: MemoryStore) -> None:
    Registry(place).policy.set(TEN)
    policy = Registry(ReadOnly(place)).policy
    assert policy.text == TEN
    with pytest.raises(StoreError):
        policy.set(FIVE)
    assert len(entries(place)) == 1


def test_a_place_that_is_no_registry_gets_no_policy(place: MemoryStore) -> None:
    place.create("somebody/else", b"x")
    with pytest.raises(FormatError):
        Registry(place).policy.set(TEN)
    assert entries(place) == []


# -- a lost answer -------------------------------------------------------------------------------------------------


class Unanswered(Wrapper):
    """Gives no answer to creates of entries of the policy; carries them out, or not."""

    def __init__(self, within: Store, *, arrives: bool) -> None:
        super().__init__(within)
        self.arrives = arrives

    def create(self, key: str, value: bytes) -> None:
        if not key.startswith("policy/"):
            super().create(key, value)
        else:
            if self.arrives:
                super().create(key, value)
            raise OutcomeUnknownError("no answer", key=key)


def test_a_set_whose_answer_was_lost_is_settled_as_never_to_be(place: MemoryStore) -> None:
    Registry(place).policy.set(TEN)
    with pytest.raises(UnsettledError) as caught:
        Registry(Unanswered(place, arrives=False), system=QUICK).policy.set(FIVE)
    registry = Registry(place)
    assert registry.settle(caught.value.token) == Settlement(committed=False)
    assert registry.settle(caught.value.token) == Settlement(committed=False)
    assert registry.policy.text == TEN
    registry.policy.set(FIVE)
    assert registry.policy.number == 3  # the slot in between says that it is not to be
    assert registry.storage.verify().ok


def test_a_set_that_arrived_without_an_answer_is_made_good_without_a_word(place: MemoryStore) -> None:
    Registry(Unanswered(place, arrives=True), system=QUICK).policy.set(TEN)
    assert (Registry(place).policy.text, len(entries(place))) == (TEN, 1)


def test_a_token_of_a_policy_is_settled_as_standing_and_by_readers_as_unknown(place: MemoryStore) -> None:
    registry = Registry(place)
    registry.policy.set(TEN)
    home = registry._home
    token = f"policy/1/{next(iter(home.policy(home.prepare()).replay()))[0].tx}"
    assert Registry(ReadOnly(place)).settle(token) == Settlement(committed=True)
    assert Registry(ReadOnly(place)).settle(f"policy/2/{'0' * 32}") == Settlement(committed=None)


def test_a_token_of_a_policy_makes_no_registry(place: MemoryStore) -> None:
    with pytest.raises(InvalidValueError, match="no registry yet"):
        Registry(place).settle(f"policy/1/{'0' * 32}")
    assert list(place.list("")) == []
