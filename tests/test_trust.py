"""What a caller grants: to one call or to all that a registry loads, and how far it goes."""

from __future__ import annotations

from typing import Any

import pytest

import modelkeep as mk
from modelkeep._trust import Tier, tier_of
from modelkeep.errors import InvalidValueError, SerializerError, TrustError
from modelkeep.stores.memory import MemoryStore


class Own:
    """A class of a stranger; its pickle names it, and no list does."""

    def __init__(self, text: str = "built") -> None:
        self.text = text


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for text in ("first", "second"):
        mk.Registry(store).save(Own(text), "churn", serializer="cloudpickle")
    return store


def text_of(store: MemoryStore, ref: str, *, given: Any = False, granted: Any = False) -> str:
    loaded: Own = mk.Registry(store, trust=granted).load(ref, trust=given)
    return loaded.text


@pytest.mark.parametrize("way", ["given", "granted"])
def test_trust_may_be_everything_or_a_serializer(store: MemoryStore, way: str) -> None:
    for trust in (True, "cloudpickle", ["torch", "cloudpickle"], {"cloudpickle"}):
        assert text_of(store, "churn:1", **{way: trust}) == "first"
    for trust in (False, "torch", ["tree", "files"]):
        with pytest.raises(TrustError, match="loading churn:1 may run code"):
            text_of(store, "churn:1", **{way: trust})


@pytest.mark.parametrize("way", ["given", "granted"])
def test_a_digest_lets_in_one_version_and_no_other(store: MemoryStore, way: str) -> None:
    digest = mk.Registry(store).get("churn:1").digest
    assert text_of(store, "churn:1", **{way: digest}) == "first"
    with pytest.raises(TrustError):
        text_of(store, "churn:2", **{way: digest})
    with pytest.raises(TrustError):
        text_of(store, "churn:1", **{way: digest[:-1]})


def test_what_a_call_is_given_adds_to_what_the_registry_was_granted(store: MemoryStore) -> None:
    registry = mk.Registry(store, trust="cloudpickle")
    assert registry.get("churn:2").load(trust=False).text == "second"
    assert registry.load("churn:2", trust="torch").text == "second"


def test_a_grant_is_stored_nowhere(store: MemoryStore) -> None:
    mk.Registry(store, trust=True).load("churn")
    with pytest.raises(TrustError):
        mk.Registry(store).load("churn")


@pytest.mark.parametrize("odd", [1, None, b"cloudpickle", "", ["cloudpickle", 3], 0.5, range(10**12)])
def test_odd_trust_is_refused_at_once(odd: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"trust is .*; give True, the digest of a version"):
        mk.Registry(MemoryStore(), trust=odd)


def test_a_class_that_is_asked_for_must_be_what_comes(store: MemoryStore) -> None:
    registry = mk.Registry(store, trust="cloudpickle")
    assert registry.load("churn:1", as_=Own).text == "first"
    assert registry.get("churn:1").load(as_=Own).text == "first"
    with pytest.raises(SerializerError, match=r"churn:1 holds a .*Own, and no builtins\.dict"):
        registry.load("churn:1", as_=dict)


def test_forms_that_nobody_lists_are_code() -> None:
    assert {tier_of(form) for form in ("", "os:system", "tree:code", "torch", "TREE")} == {Tier.CODE}


def test_a_layout_of_a_newer_release_is_not_read_as_if_it_were_known(store: MemoryStore) -> None:
    from modelkeep.integrations.pickles import CloudpickleSerializer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CloudpickleSerializer, "format", 2)
        mk.Registry(store).save(Own(), "churn", serializer="cloudpickle")
    with pytest.raises(
        SerializerError, match="was written in layout 2 of 'cloudpickle', and this release reads up to 1"
    ):
        mk.Registry(store).load("churn:3", trust=True)


def test_a_broken_pickle_is_an_error_of_ours_with_trust_too(store: MemoryStore) -> None:
    from modelkeep.serializers import outofband

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outofband, "save", lambda _, sink, *__, **___: sink.put("model.pkl", b"\x80\x05\x93."))
        mk.Registry(store).save(Own(), "churn", serializer="cloudpickle")
    with pytest.raises(SerializerError, match=r"model\.pkl cannot be read: UnpicklingError"):
        mk.Registry(store).load("churn:3", trust=True)
