"""The narrow port that everything stored goes through: six verbs, and what a new store must promise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol, runtime_checkable

import attrs

from modelkeep.digest import Buffer
from modelkeep.errors import StoreError

MAX_VALUE = 8 * 1024 * 1024  # bytes; larger values would need multipart, where Ceph ignores conditions


@attrs.frozen
class StoredObject:
    """One line of a listing: key, size in bytes, and when it was last written by the store's own clock."""

    key: str
    size: int
    modified: datetime


@attrs.frozen
class UnfinishedWrite:
    """What a store still holds of a write that was never finished, or is under way; no listing shows it.

    Args:
        key: the key that it would have got; where the store cannot tell, the folder of that key, ``d/e/``.
        name: what the store calls it; for nobody else to read.
        size: bytes that are there; 0 if unknown.
        modified: when a byte of it was last written, by the store's own clock.
    """

    key: str
    name: str
    size: int
    modified: datetime


@runtime_checkable
class Store(Protocol):
    """A prefix that holds immutable objects.

    Every verb may raise `AccessError` (denied; never read as "missing"), `StoreError` (refused or failed,
    nothing was written) and `OutcomeUnknownError` (no answer came; the request may have been carried out, now
    or later). Each of them names the key in the attribute ``key``. What a source of bytes or an iterable of
    keys raises passes through unchanged.

    Keys are relative to the store's prefix: parts of 1 to 255 ASCII letters, digits and ``_ - . %``, none
    beginning with a dot, separated by ``/``. Every verb refuses another key with `StoreError`. No key may be
    a folder of another key: some stores cannot hold both.
    """

    @property
    def url(self) -> str:
        """Where the store lies, without credentials."""
        ...

    def create(self, key: str, value: bytes) -> None:
        """Store *value* (at most 8 MiB) unless *key* exists, atomically: of any number of callers one wins.

        Equal bytes still lose; a reader sees no half value; once this returns, every reader sees it. One
        round trip. Raises `ObjectExistsError`; the old bytes are intact. They may be *value* itself, where a store
        tried again after an answer was lost: who must know whose they are looks at them.
        """
        ...

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """Read an object, or of it *span* = (offset, length) in bytes, cut where the object ends.

        Beyond the end and for length 0 that is ``b""``; a negative number raises `StoreError`. One round
        trip. Raises `MissingObjectError`.
        """
        ...

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """Read an object from *offset* on into *target*, a flat writable view of bytes, without a copy in between.

        Reads until *target* is full or the object ends, and gives how many bytes it read. Large spans take several
        requests at once. Raises `MissingObjectError`.
        """
        ...

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Read whole objects at once; those that do not exist are left out.

        One round, a request for each key.
        """
        ...

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """Store what *source* yields, under a key that nobody else writes; it is read once, in order.

        Nothing shows under *key* before all of it is there. Large sources take several requests.
        """
        ...

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Objects whose key begins with *prefix*, in key order, lazily, never from a cache.

        A prefix may end inside a name; one that no key can begin with is refused with `StoreError`.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        ...


@runtime_checkable
class Maps(Protocol):
    """A capability that a store may have: its objects are files of this machine."""

    def map(self, key: str) -> memoryview | None:
        """A private, writable map of an object (copy on write); None if it cannot be mapped.

        The map stays as it is when the object is deleted. Raises `MissingObjectError`.
        """
        ...


def mapped(store: Store, key: str) -> memoryview | None:
    """A map of an object, if *store* can make one; see `Maps.map`."""
    return store.map(key) if isinstance(store, Maps) else None


@runtime_checkable
class Unfinished(Protocol):
    """A capability that a store may have: it can name what listings do not show, and take it away.

    A writer that is killed leaves temporary files on a disk and multipart uploads on S3, which lie there for ever.
    """

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """Writes that are not finished and whose key begins with *prefix*, lazily, in no order.

        Those of live writers too: who takes them away goes by `UnfinishedWrite.modified`. What can only be told by its
        folder is left out where the folder does not begin with *prefix*.
        """
        ...

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """Take away what is left of *writes*; those that are gone, or were finished meanwhile, are no error.

        A writer that was alive all the same gets a `StoreError`, and nothing is stored. No object is ever taken away:
        what is not named as the store names unfinished writes is refused with `StoreError`.
        """
        ...


def unfinished(store: Store, prefix: str) -> Iterator[UnfinishedWrite]:
    """The writes that are not finished, if *store* can name them; see `Unfinished.unfinished`."""
    return store.unfinished(prefix) if isinstance(store, Unfinished) else iter(())


def abandon(store: Store, writes: Iterable[UnfinishedWrite]) -> None:
    """Take away what is left of *writes*; see `Unfinished.abandon`.

    Raises:
        StoreError: there are some, and *store* has none: they are another's.
    """
    if isinstance(store, Unfinished):
        store.abandon(writes)
        return
    for write in writes:
        raise not_unfinished(write)


def not_unfinished(write: UnfinishedWrite) -> StoreError:
    """The error of a store that never named *write*."""
    return StoreError(
        f"{write.name!r} of {write.key!r} is no unfinished write of this store; give what unfinished() gave",
        key=write.key,
    )
