"""Every storage call of every operation goes wrong once, in every way: whole or not at all, and a retry works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from modelkeep.digest import Buffer
from modelkeep.errors import (
    AccessError,
    NotFoundError,
    OutcomeUnknownError,
    StoreError,
    UnsettledError,
)
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore, copied_into
from modelkeep.stores.port import StoredObject
from modelkeep.system import System
from operations import OPERATIONS, Operation, faults, numbers, one, snapshot, weights

# catalogue trouble only warns, by design: nothing is resolved by it
pytestmark = pytest.mark.filterwarnings("ignore:registry.(models|datasets)\\(\\) will not list")

QUICK = System(sleep=lambda _: None)
LOST_REQUEST, LOST_REPLY, REFUSED, DENIED = "lost request", "lost reply", "refused", "denied"
KINDS = (LOST_REQUEST, LOST_REPLY, REFUSED, DENIED)
READS = {"get", "get_many", "list"}


class Faulty:
    """A store whose calls *first* to *last*, counted from 1 on, go wrong.

    Args:
        within: the store that does the work.
        kind: how they go wrong; a read can only be refused or denied.
    """

    def __init__(self, within: MemoryStore, first: int, last: int, kind: str) -> None:
        self.within, self.first, self.last, self.kind = within, first, last, kind
        self.calls: list[str] = []
        self.url = within.url

    def _call(self, verb: str, key: str, act: Callable[[], Any]) -> Any:
        self.calls.append(f"{verb} {key}")
        if not self.first <= len(self.calls) <= self.last:
            return act()
        if self.kind == DENIED:
            raise AccessError(f"{key}: denied", key=key)
        if self.kind == REFUSED or verb in READS:
            raise StoreError(f"{key}: refused", key=key)
        if self.kind == LOST_REPLY:
            act()
        raise OutcomeUnknownError(f"{key}: no answer", key=key)

    def create(self, key: str, value: bytes) -> None:
        self._call("create", key, lambda: self.within.create(key, value))

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        found: bytes = self._call("get", key, lambda: self.within.get(key, span))
        return found

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        return copied_into(self, key, offset, target)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        asked = list(keys)
        found: dict[str, bytes] = self._call("get_many", asked[0] if asked else "", lambda: self.within.get_many(asked))
        return found

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        whole = b"".join(source)
        self._call("put_pack", key, lambda: self.within.put_pack(key, [whole]))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        found: Iterator[StoredObject] = self._call("list", prefix, lambda: self.within.list(prefix))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        asked = list(keys)
        self._call("delete", asked[0] if asked else "", lambda: self.within.delete(asked))


def calls_of(operation: Operation, *, warm: bool) -> list[str]:
    faulty = Faulty(operation.prepared(), 0, -1, REFUSED)
    registry = Registry(faulty, system=QUICK)
    if warm:
        _warm(registry)
        faulty.calls.clear()
    operation.act(registry)
    return list(faulty.calls)


def _warm(registry: Registry) -> None:
    """Has this registry write and read once, as one does that is at work."""
    registry.save(weights(0), "elsewhere")
    if numbers(registry):
        one(registry).tag(seen="yes")
        one(registry).tag(seen=None)


def cases() -> Iterator[Any]:
    for name, operation in OPERATIONS.items():
        for warm in (False, True):
            for index, call in enumerate(calls_of(operation, warm=warm), 1):
                # of a read nothing is written, so that no answer is no other fault than a refusal
                for kind in (REFUSED, DENIED) if call.partition(" ")[0] in READS else KINDS:
                    words = f"{name}, {'warm' if warm else 'cold'}, call {index}, {kind}"
                    yield pytest.param(name, warm, index, kind, id=words)


def with_fault(name: str, *, warm: bool, first: int, last: int, kind: str) -> tuple[MemoryStore, Registry, Faulty]:
    store = OPERATIONS[name].prepared()
    faulty = Faulty(store, 0, -1, kind)
    registry = Registry(faulty, system=QUICK)
    if warm:
        _warm(registry)
    faulty.calls.clear()
    faulty.first, faulty.last = first, last
    return store, registry, faulty


@pytest.mark.parametrize(("name", "warm", "index", "kind"), list(cases()))
def test_one_call_that_goes_wrong_leaves_all_or_nothing_and_a_retry_works(
    name: str, warm: bool, index: int, kind: str
) -> None:
    operation = OPERATIONS[name]
    store, registry, _ = with_fault(name, warm=warm, first=index, last=index, kind=kind)
    before = snapshot(store)
    try:
        operation.act(registry)
    except UnsettledError as error:
        settlement = Registry(store).settle(error.token)
        acknowledged = operation.done(Registry(store))
        assert not operation.whole or settlement.committed is acknowledged
    except (StoreError, NotFoundError):
        assert not operation.whole or snapshot(store) == before, "a definite error means that nothing was done"
        acknowledged = False
    else:
        assert operation.done(Registry(store)), "it was acknowledged and was not done"
        acknowledged = True
    assert faults(store) == []
    if not acknowledged:
        operation.act(registry)
    assert operation.done(registry)
    assert operation.done(Registry(store))
    assert faults(store) == []


def outages() -> Iterator[Any]:
    for name, operation in OPERATIONS.items():
        calls = calls_of(operation, warm=True)
        for index in range(1, len(calls) + 1):
            for kind in KINDS:
                yield pytest.param(name, index, kind, id=f"{name}, from call {index} on, {kind}")


@pytest.mark.parametrize(("name", "index", "kind"), list(outages()))
def test_an_outage_from_any_call_on_leaves_all_or_nothing_and_settle_tells_which(
    name: str, index: int, kind: str
) -> None:
    operation = OPERATIONS[name]
    store, registry, faulty = with_fault(name, warm=True, first=index, last=10**9, kind=kind)
    before = snapshot(store)
    try:
        operation.act(registry)
    except UnsettledError as error:
        settlement = Registry(store).settle(error.token)
        assert not operation.whole or settlement.committed is operation.done(Registry(store))
        if name.startswith("save") and settlement.committed:
            assert settlement.ref == f"churn:{numbers(Registry(store))[-1]}"
        if operation.whole and not settlement.committed:
            assert snapshot(store) == before
    except (StoreError, NotFoundError):
        assert not operation.whole or snapshot(store) == before
    else:
        assert operation.done(Registry(store)), "it was acknowledged and was not done"
    assert faults(store) == []
    faulty.first, faulty.last = 0, -1  # the storage is back, and the same registry goes on
    if not operation.done(Registry(store)):
        operation.act(registry)
    assert operation.done(registry)
    assert faults(store) == []


@pytest.mark.parametrize("kind", [REFUSED, DENIED])
@pytest.mark.parametrize("index", range(1, 8))
def test_a_read_that_goes_wrong_is_an_error_and_never_taken_for_missing(index: int, kind: str) -> None:
    store = OPERATIONS["promote"].prepared()
    faulty = Faulty(store, index, index, kind)
    registry = Registry(faulty, system=QUICK)
    asked: list[Callable[[], object]] = [
        lambda: registry.load("churn@production"),
        lambda: registry.get("churn"),
        lambda: registry.model("churn").versions(),
    ]
    errors = []
    for ask in asked:
        try:
            ask()
        except StoreError as error:
            errors.append(error)
    assert len(errors) == (1 if len(faulty.calls) >= index else 0)
    assert np.array_equal(registry.load("churn@production")["w"], weights(3)["w"])


def test_the_cases_meet_every_kind_of_call() -> None:
    verbs = {call.split()[0] for operation in OPERATIONS.values() for call in calls_of(operation, warm=False)}
    assert verbs == {"create", "get", "get_many", "put_pack", "list", "delete"}
