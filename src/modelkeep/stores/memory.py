"""The memory store: the contract made executable. Users test with it; every other store agrees with it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import ClassVar

from modelkeep.digest import Buffer
from modelkeep.errors import MissingObjectError, ObjectExistsError, StoreError
from modelkeep.forks import renew_after_fork
from modelkeep.stores.port import MAX_VALUE, Store, StoredObject


class MemoryStore:
    """Objects in a dict under a lock.

    Args:
        url: what it is called in messages.
        now: the clock that stamps objects, timezone-aware.

    Example:
        >>> store = MemoryStore()
        >>> store.create("a", b"1")
        >>> store.get("a")
        b'1'
    """

    libraries: ClassVar[tuple[str, ...]] = ()
    """See `LocalStore.libraries`."""

    def __init__(self, url: str = "memory://", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.url = url
        self._now = now
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`."""
        check_key(key)
        check_value(key, value)
        stamped = (bytes(value), self._now())
        with self._lock:
            # not setdefault(...) is stamped: an identical b"" would win a second time
            if key in self._objects:
                raise object_exists(self.url, key)
            self._objects[key] = stamped

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        check_key(key)
        check_span(key, span)
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise missing_object(self.url, key)
        return found[0] if span is None else found[0][span[0] : span[0] + span[1]]

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        return copied_into(self, key, offset, target)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`."""
        asked = [check_key(key) for key in keys]  # before the lock: an iterable may ask this store itself
        with self._lock:
            return {key: self._objects[key][0] for key in asked if key in self._objects}

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`."""
        check_key(key)
        value = b"".join(source)
        stamped = (value, self._now())
        with self._lock:
            self._objects[key] = stamped

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        check_prefix(prefix)
        with self._lock:
            found = [(key, *value) for key, value in self._objects.items() if key.startswith(prefix)]
        return iter([StoredObject(key, len(value), modified) for key, value, modified in sorted(found)])

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        asked = [check_key(key) for key in keys]  # before the lock, as in get_many
        with self._lock:
            for key in asked:
                self._objects.pop(key, None)


_PART = r"[A-Za-z0-9_%-][A-Za-z0-9._%-]{0,254}"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*")
_PREFIX = re.compile(rf"(?:{_PART}/)*(?:{_PART})?")


def check_key(key: str) -> str:
    """Return *key* if a store can hold it.

    Raises:
        StoreError: it cannot; the message quotes it.
    """
    if not _KEY.fullmatch(key):
        raise StoreError(
            f"{key!r} is not a key; write parts of 1 to 255 letters, digits and _ - . %, none beginning with "
            "a dot, separated by /",
            key=key,
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return *prefix* if a key can begin with it.

    Raises:
        StoreError: none can; the message quotes it.
    """
    if not _PREFIX.fullmatch(prefix):
        raise StoreError(f"no key begins with {prefix!r}; list a folder or the beginning of a name", key=prefix)
    return prefix


def check_span(key: str, span: tuple[int, int] | None) -> None:
    """Refuse a span that no object has.

    Raises:
        StoreError: offset or length is negative.
    """
    if span is not None and min(span) < 0:
        raise StoreError(f"{key} has no span {span}; offset and length count from 0 on", key=key)


def check_value(key: str, value: bytes) -> None:
    """Refuse what is too large for `Store.create`.

    Raises:
        StoreError: *value* is larger than 8 MiB.
    """
    if len(value) > MAX_VALUE:
        raise StoreError(f"{key} has {len(value)} bytes, and create takes at most {MAX_VALUE}", key=key)


def copied_into(store: Store, key: str, offset: int, target: memoryview) -> int:
    """`Store.get_into` for a store that cannot spare the copy."""
    found = store.get(key, (offset, target.nbytes))
    target[: len(found)] = found
    return len(found)


def missing_object(url: str, key: str) -> MissingObjectError:
    """The error of a store that lacks *key*."""
    return MissingObjectError(f"{url} has no object {key}", key=key)


def object_exists(url: str, key: str) -> ObjectExistsError:
    """The error of a store where *key* is taken."""
    return ObjectExistsError(f"{url} has an object {key} already; it was left as it is", key=key)
