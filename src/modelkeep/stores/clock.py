"""The clock of a store, as it stamps what is written there."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from modelkeep.errors import ModelkeepError, ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.stores.port import Store


def clock_of(store: Store, key: str) -> datetime:
    """What time it is where *store* lies: a small object is put under *key*, listed, and taken away.

    Three requests.

    Args:
        store: where.
        key: one that nobody used before, such as a `modelkeep.layout.probe_key`.

    Raises:
        AccessError: to put, list or delete is denied.
        ObjectExistsError: somebody else's object has the key; it stays.
        StoreError: the store refused or failed, or does not list what it took. What was put is taken away if it can be.

    Example:
        >>> from modelkeep.stores.memory import MemoryStore
        >>> clock_of(MemoryStore(), "doctor/clock").tzinfo
        datetime.timezone.utc
    """
    _put(store, key)
    try:
        found = [facts.modified for facts in store.list(key) if facts.key == key]
    except BaseException:
        with suppress(ModelkeepError):
            store.delete([key])
        raise
    store.delete([key])
    if not found:
        raise StoreError(f"{store.url} does not list {key}, which it took just now; let modelkeep doctor look", key=key)
    return found[0]


def _put(store: Store, key: str) -> None:
    value = key.encode()  # tells ours, of which the answer was lost, from another's
    try:
        store.create(key, value)
    except ObjectExistsError:
        if store.get(key) != value:
            raise
    except OutcomeUnknownError:
        with suppress(ModelkeepError):
            store.delete([key])
        raise
