"""Behaviour is wrapped around a store, not switched inside: ``ReadOnly(Recording(open_store("models")))``."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from modelkeep.digest import Buffer
from modelkeep.errors import AccessError, MissingObjectError
from modelkeep.forks import renew_after_fork
from modelkeep.stores.memory import copied_into, object_exists
from modelkeep.stores.port import Store, StoredObject, UnfinishedWrite, abandon, mapped, unfinished


class Wrapper:
    """Hands every verb on to the store within; subclasses change what they need.

    The capability `Unfinished` is hidden: whoever changes what may be deleted must see what else goes. A subclass
    shows it by methods of its own.

    Args:
        within: the store that does the work.
    """

    def __init__(self, within: Store) -> None:
        self.within = within

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.within!r})"

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self.within.url

    @property
    def remote(self) -> bool:
        """Whether requests leave this machine, so that a cache is worth having; a store need not say."""
        return bool(getattr(self.within, "remote", False))

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`."""
        self.within.create(key, value)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        return self.within.get(key, span)

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`. Goes through `get`, so that a subclass that changes `get` changes both."""
        return copied_into(self, key, offset, target)

    def map(self, key: str) -> memoryview | None:
        """See `Maps.map`: never, for the same reason as `get_into`."""
        del key
        return None

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`."""
        return self.within.get_many(keys)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`."""
        self.within.put_pack(key, source)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        return self.within.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        self.within.delete(keys)


class ReadOnly(Wrapper):
    """Refuses to write.

    Args:
        within: the store that does the work.
        why: ends the message.

    Example:
        >>> from modelkeep.stores.memory import MemoryStore
        >>> ReadOnly(MemoryStore()).create("a", b"")
        Traceback (most recent call last):
        modelkeep.errors.AccessError: memory:// was opened for reading only, so a cannot be written
    """

    def __init__(self, within: Store, *, why: str = "") -> None:
        super().__init__(within)
        self._why = f": {why}" if why else ""

    def _refuse(self, key: str) -> AccessError:
        return AccessError(f"{self.url} was opened for reading only, so {key} cannot be written{self._why}", key=key)

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        return self.within.get_into(key, offset, target)

    def map(self, key: str) -> memoryview | None:
        """See `Maps.map`."""
        return mapped(self.within, key)

    def create(self, key: str, value: bytes) -> None:
        """Raises `AccessError`."""
        del value
        raise self._refuse(key)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """Raises `AccessError`."""
        del source
        raise self._refuse(key)

    def delete(self, keys: Iterable[str]) -> None:
        """Raises `AccessError`."""
        raise self._refuse(", ".join(keys))

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`."""
        return unfinished(self.within, prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """Raises `AccessError`."""
        raise self._refuse(", ".join(write.key for write in writes))


class SingleWriter(Wrapper):
    """Looks before it creates, for stores that ignore conditions; sound only while one process alone writes.

    Example:
        >>> from modelkeep.stores.memory import MemoryStore
        >>> store = SingleWriter(MemoryStore())
        >>> store.create("a", b"1"); store.create("a", b"2")
        Traceback (most recent call last):
        modelkeep.errors.ObjectExistsError: memory:// has an object a already; it was left as it is
    """

    def __init__(self, within: Store) -> None:
        super().__init__(within)
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self._lock = threading.Lock()

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        return self.within.get_into(key, offset, target)

    def map(self, key: str) -> memoryview | None:
        """See `Maps.map`."""
        return mapped(self.within, key)

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`. Two requests."""
        with self._lock:  # of this process's threads one wins
            with suppress(MissingObjectError):
                self.within.get(key)
                raise object_exists(self.url, key)
            self.within.create(key, value)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`."""
        return unfinished(self.within, prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """See `Unfinished.abandon`."""
        abandon(self.within, writes)


class Recording(Wrapper):
    """Notes every request as (verb, key), so that costs can be asserted.

    Example:
        >>> from modelkeep.stores.memory import MemoryStore
        >>> store = Recording(MemoryStore())
        >>> store.create("a", b"1"); store.get("a"); store.counts()
        b'1'
        Counter({'create': 1, 'get': 1})
    """

    def __init__(self, within: Store) -> None:
        super().__init__(within)
        self.requests: list[tuple[str, str]] = []

    def counts(self) -> Counter[str]:
        """How often each verb was requested; a `get_many` counts as one *get* for each key."""
        return Counter(verb for verb, _ in self.requests)

    def forget(self) -> None:
        """Begin to count anew."""
        self.requests.clear()

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`."""
        self.requests.append(("create", key))
        self.within.create(key, value)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        self.requests.append(("get", key))
        return self.within.get(key, span)

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        self.requests.append(("get", key))
        return self.within.get_into(key, offset, target)

    def map(self, key: str) -> memoryview | None:
        """See `Maps.map`; noted if there is a map."""
        found = mapped(self.within, key)
        if found is not None:
            self.requests.append(("map", key))
        return found

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`."""
        asked = list(keys)
        self.requests.extend(("get", key) for key in asked)
        return self.within.get_many(asked)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`."""
        self.requests.append(("put_pack", key))
        self.within.put_pack(key, source)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        self.requests.append(("list", prefix))
        return self.within.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        asked = list(keys)
        self.requests.extend(("delete", key) for key in asked)
        self.within.delete(asked)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`; noted as a *list*."""
        self.requests.append(("list", prefix))
        return unfinished(self.within, prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """See `Unfinished.abandon`; noted as one *delete* for each."""
        asked = list(writes)
        self.requests.extend(("delete", write.key) for write in asked)
        abandon(self.within, asked)


class Latency(Wrapper):
    """Waits before every request, as a far bucket makes one wait; a `get_many` waits once.

    Args:
        within: the store that does the work.
        seconds: how long each round takes.
        sleep: how to wait.
    """

    def __init__(self, within: Store, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(within)
        self.seconds = seconds
        self._sleep = sleep

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`."""
        self._sleep(self.seconds)
        self.within.create(key, value)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        self._sleep(self.seconds)
        return self.within.get(key, span)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`."""
        self._sleep(self.seconds)
        return self.within.get_many(keys)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`."""
        self._sleep(self.seconds)
        self.within.put_pack(key, source)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        self._sleep(self.seconds)
        return self.within.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        self._sleep(self.seconds)
        self.within.delete(keys)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`."""
        self._sleep(self.seconds)
        return unfinished(self.within, prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """See `Unfinished.abandon`."""
        self._sleep(self.seconds)
        abandon(self.within, writes)
