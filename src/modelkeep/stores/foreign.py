"""Any other place that fsspec reaches: for reading; for writing only where one process alone ever writes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import fsspec
from fsspec.spec import AbstractFileSystem

from modelkeep.digest import Buffer
from modelkeep.errors import (
    AccessError,
    InvalidValueError,
    ModelkeepError,
    OutcomeUnknownError,
    StoreError,
)
from modelkeep.forks import renew_after_fork
from modelkeep.stores.bucket import hidden
from modelkeep.stores.memory import (
    check_key,
    check_prefix,
    check_span,
    check_value,
    copied_into,
    missing_object,
)
from modelkeep.stores.port import StoredObject

T = TypeVar("T")

_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # a folder is no object
_TEMPORARY = ".tmp-"  # no key has a part that begins with a dot
_USER = re.compile(r"://[^/@]*@")  # user and password in a URL; they are never shown

_WHEN = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")  # by file system
_UNKNOWN = datetime.fromtimestamp(0, UTC)


class FsspecStore:
    """Objects wherever fsspec reaches: Azure, SFTP, HTTP, WebDAV and more.

    fsspec promises no create-if-absent, so `create` overwrites. `open_store` hands it out for reading, and for writing
    with ``single_writer=True`` only, behind a `SingleWriter` that looks first.

    Args:
        url: what fsspec understands.
        options: what the file system takes. Kept in memory only, never shown.

    Raises:
        InvalidValueError: fsspec knows no such place, or lacks a package for it.
    """

    remote = True
    libraries = ("fsspec",)

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self._options = dict(options or {})
        self._given = url
        self.url = _USER.sub("://", url).rstrip("/")
        self._opened: tuple[AbstractFileSystem, str] | None = None
        self._quotes = url.startswith(("http://", "https://"))  # keys hold % signs, which mean something in a URL
        self._try(lambda: fsspec.get_filesystem_class(url.partition("://")[0]))  # connects to nothing
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`: the child makes connections of its own."""
        self._opened = None

    def __repr__(self) -> str:
        return f"FsspecStore({self.url!r})"

    def create(self, key: str, value: bytes) -> None:
        """Write *value*, whatever is there: `SingleWriter` has looked."""
        check_value(key, value)
        self.put_pack(key, [value])

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        check_span(key, span)
        path = self._path(key)
        if span is None:
            return bytes(self._said(key, lambda: self._fs.cat_file(path)))
        end = min(sum(span), self._said(key, lambda: self._fs.size(path)))
        if span[0] >= end:
            return b""
        found = bytes(self._said(key, lambda: self._fs.cat_file(path, start=span[0], end=end)))
        return found if len(found) <= end - span[0] else found[span[0] : end]  # a web server may know no spans

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        return copied_into(self, key, offset, target)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`."""
        paths = {self._path(key): key for key in keys}
        if not paths:
            return {}
        found = self._said("", lambda: self._fs.cat(list(paths), on_error="return"))
        values = {}
        for path, value in found.items():
            if isinstance(value, _NOT_THERE):
                continue
            if isinstance(value, Exception):
                raise self._sorted(paths[path], value) from value
            values[paths[path]] = bytes(value)
        return values

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`. Written beside and moved, so that half of it shows nowhere."""
        path = self._path(key)
        folder = path.rpartition("/")[0]
        beside = f"{folder}/{_TEMPORARY}{uuid.uuid4().hex}"
        self._said(key, lambda: self._fs.makedirs(folder, exist_ok=True), writes=True)
        try:
            self._write(key, beside, source)
            self._said(key, lambda: self._fs.mv(beside, path), writes=True)
        except BaseException:
            with suppress(Exception):
                self._fs.rm_file(beside)
            raise

    def _write(self, key: str, path: str, source: Iterable[Buffer]) -> None:
        file = self._said(key, lambda: self._fs.open(path, "wb"), writes=True)
        try:
            for buffer in source:  # what it raises is not ours to translate
                self._said(key, lambda data=buffer: file.write(data), writes=True)  # type: ignore[misc]
        except BaseException:
            with suppress(Exception):
                file.close()
            raise
        self._said(key, file.close, writes=True)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`. Reads the whole listing below the folder first."""
        check_prefix(prefix)
        folder = f"{self._root}/{prefix}".rpartition("/")[0]
        try:
            found = self._said(prefix, lambda: self._fs.find(folder, detail=True, on_error="raise"))
        except ModelkeepError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return iter(())
            raise
        rows = [(self._key(path), path, facts) for path, facts in found.items()]
        kept = [
            StoredObject(key, self._size(path, facts), _when(facts))
            for key, path, facts in rows
            if key.startswith(prefix) and f"/{_TEMPORARY}" not in f"/{key}"
        ]
        return iter(sorted(kept, key=lambda item: item.key))

    def _key(self, path: str) -> str:
        key = path[len(self._root) + 1 :]
        return unquote(key) if self._quotes else key

    def _size(self, path: str, facts: Mapping[str, Any]) -> int:
        size = facts.get("size")
        if size is None:  # a web server's listing does not tell
            size = self._said(path, lambda: self._fs.size(path))
        return int(size or 0)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        for key in keys:
            path = self._path(key)
            try:
                self._said(key, lambda at=path: self._fs.rm_file(at), writes=True)  # type: ignore[misc]
            except ModelkeepError as error:
                if not isinstance(error.__cause__, _NOT_THERE):
                    raise

    @property
    def _fs(self) -> AbstractFileSystem:
        return self._open()[0]

    @property
    def _root(self) -> str:
        return self._open()[1].rstrip("/")

    def _open(self) -> tuple[AbstractFileSystem, str]:
        if self._opened is None:
            own = {**self._options, "skip_instance_cache": True, "use_listings_cache": False}
            self._opened = self._try(lambda: fsspec.url_to_fs(self._given, **own))
        return self._opened

    def _try(self, opening: Callable[[], T]) -> T:
        try:
            return opening()
        except (ValueError, ImportError, TypeError) as error:
            said = hidden(str(error), self._options)
            raise InvalidValueError(
                f"fsspec cannot open {self.url}: {said}; check the URL, and that the package for it is installed",
                url=self.url,
            ) from None
        except Exception as error:  # a file system may connect when it is made, and raises what it likes
            raise self._sorted("", error) from error

    def _path(self, key: str) -> str:
        check_key(key)
        return f"{self._root}/{quote(key) if self._quotes else key}"

    def _said(self, key: str, request: Callable[[], T], *, writes: bool = False) -> T:
        try:
            return request()
        except ModelkeepError:
            raise
        except Exception as error:
            raise self._sorted(key, error, writes=writes) from error

    def _sorted(self, key: str, error: Exception, *, writes: bool = False) -> ModelkeepError:
        text = hidden(f"{self.url} {key}: {type(error).__name__}: {error}", self._options)
        if isinstance(error, _NOT_THERE) and not writes:
            return missing_object(self.url, key)
        if isinstance(error, PermissionError):
            return AccessError(f"{text}; ask for the right to it", key=key)
        unknown = writes and not isinstance(error, NotImplementedError)
        return (OutcomeUnknownError if unknown else StoreError)(text, key=key)


def _when(facts: Mapping[str, Any]) -> datetime:
    """When an object was last written, if the file system says so; else 1970."""
    for name in _WHEN:
        value = facts.get(name)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            with suppress(ValueError):
                read = datetime.fromisoformat(value)
                return read if read.tzinfo else read.replace(tzinfo=UTC)
    return _UNKNOWN
