"""Stores: where objects lie. `open_store` picks one by URL; each adapter is a module, imported on use."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from modelkeep.errors import InvalidValueError

if TYPE_CHECKING:
    from modelkeep.stores.memory import MemoryStore
    from modelkeep.stores.port import Store
    from modelkeep.stores.retries import Retries

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_NOT_SOUND = (
    "no store of modelkeep makes create-if-absent sound there, so two writers could both win; open it with "
    "single_writer=True if one process alone ever writes, or keep the registry on S3, GCS or a disk"
)

_memories: dict[str, MemoryStore] = {}
_memories_lock = threading.Lock()


def open_store(
    url: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    durable: bool = True,
    single_writer: bool = False,
    retries: Retries | None = None,
) -> Store:
    """Open the store at *url*; nothing is read or written, and the place need not exist.

    ==========================  ==================================================================
    URL                         store
    ==========================  ==================================================================
    a folder, ``file://…``      the local disk
    ``memory://name``           this process, shared by name
    ``s3://bucket/prefix``      S3 and servers that speak its protocol (needs ``modelkeep[s3]``)
    ``gs://bucket/prefix``      Google Cloud Storage (needs ``modelkeep[gcs]``)
    anything that fsspec opens  for reading; for writing with *single_writer* only
    ==========================  ==================================================================

    Args:
        url: the place.
        storage_options: what the client of the place takes: endpoint, profile, keys, proxies. Kept in memory only:
            never stored, logged or shown.
        durable: local disk only: wait for the disk (fsync) before a write counts as done.
        single_writer: you see to it that one process alone ever writes, so a store without create-if-absent will do.
        retries: remote places only: how long and how often to try.

    Raises:
        InvalidValueError: no store serves the URL, its package is not installed, or it names no place.

    Example:
        >>> open_store("memory://doc").url
        'memory://doc'
    """
    text = str(url)
    if not text:
        raise InvalidValueError("no place was given; write a folder, s3://…, gs://… or memory://name", url=text)
    if "\0" in text:
        raise InvalidValueError(f"{text!r} names no place: it holds a NUL", url=text)
    scheme = _scheme(text)
    if scheme == "memory":
        from modelkeep.stores.memory import MemoryStore

        with _memories_lock:
            return _memories.setdefault(text, MemoryStore(text))
    if scheme in ("", "file"):
        from modelkeep.stores.local import LocalStore

        return LocalStore(_folder(text) if scheme else _expanded(text), durable=durable)
    return _remote(scheme, text, storage_options or {}, single_writer, retries)


def _scheme(text: str) -> str:
    try:
        if "://" not in text:
            os.fsencode(text)  # a folder may have any name that a disk takes, also one that is no UTF-8
            return ""
        text.encode()
        return urlsplit(text).scheme
    except ValueError as error:  # no valid Unicode, or brackets without an address between them
        raise InvalidValueError(f"{text!r} names no place: {error}", url=text) from None


def _remote(scheme: str, url: str, options: Mapping[str, Any], single_writer: bool, retries: Retries | None) -> Store:
    from modelkeep.stores.wrappers import ReadOnly, SingleWriter

    try:
        if scheme in ("s3", "s3a"):
            from modelkeep.stores.s3 import S3Store

            store: Store = S3Store(url, options, retries=retries)
        elif scheme in ("gs", "gcs"):
            from modelkeep.stores.gcs import GcsStore

            store = GcsStore(url, options, retries=retries)
        else:
            from modelkeep.stores.foreign import FsspecStore

            store = FsspecStore(url, options)
            if not single_writer:
                return ReadOnly(store, why=_NOT_SOUND)
    except ImportError as error:
        raise InvalidValueError(
            f'{scheme}:// needs a package that is not installed ({error}); pip install "modelkeep[{_EXTRAS[scheme]}]"',
            url=f"{scheme}://",
        ) from None
    return SingleWriter(store) if single_writer else store


def _expanded(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise InvalidValueError(f"{folder!r} names no folder: {error}; write the whole path", url=folder) from None


def _folder(url: str) -> Path:
    parts = urlsplit(url)
    if (
        not url.startswith("file://")
        or parts.netloc not in ("", "localhost")
        or not parts.path
        or "?" in url
        or "#" in url
    ):
        # file://models would otherwise mean the folder that this process happens to stand in
        raise InvalidValueError(
            f"{url!r} names no folder on this machine; write file:///path/to/folder, ? as %3F and # as %23",
            url=url,
        )
    return Path(unquote(parts.path))
