"""A folder on this machine with copies of what a far store said: private, bounded, and safe to lose at any moment.

Each file begins with the BLAKE3 of its key and value, so what is half written, cut off or altered counts as absent.
Files get their name when they are whole; processes need no lock. Whatever the disk refuses costs time and no more.
"""

from __future__ import annotations

import os
import re
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs
import orjson

from modelkeep.digest import digest, digest_of, raw_digest
from modelkeep.errors import NotFoundError
from modelkeep.system import format_time

ENVIRONMENT = "MODELKEEP_CACHE"
DEFAULT_SIZE = 512 << 20  # bytes, of all registries together
OFF = "off"

_FACTS = "registry.json"
_TEMPORARY = ".tmp-"
_NAME = re.compile(r"[0-9a-f]{64}")
_OURS = re.compile(rf"[0-9a-f]{{64}}|{re.escape(_FACTS)}|{re.escape(_TEMPORARY)}[0-9a-f]{{16}}")
_BLOCK = 4096  # bytes; what the smallest file takes on most disks
_LOOK_EVERY = 16 << 20  # bytes written, by all processes together, for each look at the size of it all
_LOW = 0.8  # of the limit: where making room ends
_ABANDONED = 3600  # seconds; a temporary file of that age was left by a process that died
_CHECK = 32  # bytes


@attrs.frozen
class Kept:
    """What is kept of one registry.

    Args:
        url: where the registry lies; empty if that was lost.
        id: the registry's id.
        objects: how many objects are kept.
        bytes: what they take on the disk, in blocks of 4 KiB.
        used: when a process last began to use them, by this machine's clock.
    """

    url: str
    id: str
    objects: int
    bytes: int
    used: str


@attrs.frozen
class Cache:
    """Where copies are kept on this machine, and how large all of them may grow.

    Args:
        root: the folder, which need not exist yet.
        limit: bytes.
    """

    root: Path
    limit: int = DEFAULT_SIZE

    def folder(self, url: str, registry: str) -> CacheFolder:
        """The folder of the registry with the id *registry* at *url*; touches nothing."""
        return CacheFolder(self, url, registry)

    def kept(self) -> list[Kept]:
        """What is kept of each registry, by URL.

        Example:
            >>> cache = Cache(getfixture("tmp_path") / "cache")
            >>> cache.folder("s3://acme/registry", "5f0c").put("a", b"1")
            >>> [(one.url, one.objects) for one in cache.kept()]
            [('s3://acme/registry', 1)]
        """
        return sorted((_kept(folder) for folder in self._folders()), key=lambda one: (one.url, one.id))

    def clear(self, url: str | None = None) -> int:
        """Delete what is kept of the registry at *url*, or of all; gives the bytes that were freed.

        Raises:
            NotFoundError: nothing is kept of *url*.
        """
        wanted = None if url is None else _spelled(url)
        found = [folder for folder in self._folders() if wanted is None or _spelled(_kept(folder).url) == wanted]
        if url is not None and not found:
            raise NotFoundError(
                f"nothing of {url} is kept in {self.root}; `modelkeep cache list` shows what is", url=url
            )
        return sum(map(_remove, found))

    def make_room(self) -> None:
        """Delete the oldest files until the rest takes 80 % of the limit, if now it takes more than the limit.

        Any number of processes may do so at once: each file goes once, and a file that is gone is no error.
        """
        files = sorted(
            (facts.st_mtime, _taken(facts), f"{folder}/{name}")
            for folder in self._folders()
            for name, facts in _files(folder)
            if name != _FACTS
        )
        abandoned = time.time() - _ABANDONED
        total = sum(size for _, size, _ in files)
        goal = total if total <= self.limit else _LOW * self.limit
        for written, size, path in files:
            left_over = written < abandoned and f"/{_TEMPORARY}" in path
            if total > goal or left_over:
                total -= size
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108  see CacheFolder.get

    def is_due(self, name: str, size: int) -> bool:
        """Whether the process that wrote *size* bytes under *name* looks how much there is.

        Names are digests, so a fixed share of them makes it one look for so many bytes, whoever writes them: no
        process needs to count, and many short ones keep the limit as well as a long one.
        """
        every = max(1, min(_LOOK_EVERY, self.limit // 8))
        return int(name[:8], 16) * every < size << 32

    def _folders(self) -> Iterator[str]:
        with suppress(OSError), os.scandir(self.root) as entries:
            yield from [e.path for e in entries if _NAME.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]


class CacheFolder:
    """What is kept of one registry: bytes under keys.

    Args:
        cache: where it lies.
        url: the registry's URL, without credentials.
        registry: the registry's id. Another registry at the same URL has another folder.

    Holds no lock and no open file, so threads and forked children share it.

    Example:
        >>> folder = Cache(getfixture("tmp_path")).folder("s3://acme/registry", "5f0c")
        >>> folder.put("a", b"1")
        >>> folder.get("a"), folder.get("b")
        (b'1', None)
    """

    def __init__(self, cache: Cache, url: str, registry: str) -> None:
        self._cache = cache
        self._facts = {"url": url, "id": registry}
        self._path = os.fspath(cache.root / digest_of("modelkeep cache 1", registry, url))
        self._usable: bool | None = None  # None: not known, since there is no folder yet

    def __repr__(self) -> str:
        return f"CacheFolder({self._path!r})"

    def get(self, key: str) -> bytes | None:
        """What is kept under *key*; None for nothing, or nothing sound. Some 15 µs."""
        if not self._is_usable():
            return None
        name = _name(key)
        try:
            with open(f"{self._path}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  Path costs as much again
                raw = file.read()
        except OSError:
            return None
        value = raw[_CHECK:]
        if raw[:_CHECK] == _check(key, value):
            return value
        self._unlink(name)
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep *value* under *key* in place of what was there, if the disk takes it."""
        name = _name(key)
        try:
            if not (self._is_usable() or self._make()):
                return
            self._write(name, _check(key, value) + value)
        except FileNotFoundError:
            self._usable = None  # somebody cleared it; the next put makes it anew
        except OSError:
            return
        if self._cache.is_due(name, _rounded(len(value) + _CHECK)):
            self._cache.make_room()

    def drop(self, keys: list[str]) -> None:
        """Keep nothing under *keys* any more."""
        if self._is_usable():
            for key in keys:
                self._unlink(_name(key))

    def forget(self) -> None:
        """Keep nothing of this registry any more."""
        if self._is_usable():
            for name, _ in _files(self._path):
                if _NAME.fullmatch(name):
                    self._unlink(name)

    def _unlink(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(f"{self._path}/{name}")  # noqa: PTH108  see get

    def _write(self, name: str, raw: bytes) -> None:
        temporary = f"{self._path}/{_TEMPORARY}{os.urandom(8).hex()}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  see get
                view = memoryview(raw)
                while view:  # a disk that is nearly full takes a part
                    view = view[file.write(view) :]
            os.replace(temporary, f"{self._path}/{name}")  # noqa: PTH105  see get
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108  see get
            raise

    def _is_usable(self) -> bool:
        if self._usable is None:
            with suppress(OSError):  # not there yet, or not to be looked at
                self._usable = self._is_ours()
                self._sign()
        return bool(self._usable)

    def _is_ours(self) -> bool:
        """Whether nobody else could have put bytes there; a warning says what to do if somebody could."""
        for place, look in ((os.fspath(self._cache.root), os.stat), (self._path, os.lstat)):
            fault = _fault(look(place))
            if fault:
                _warn(place, fault)
                return False
        return True

    def _make(self) -> bool:
        if self._usable is False:
            return False
        self._cache.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self._path, 0o700)  # noqa: PTH102  see get
        return self._is_usable()

    def _sign(self) -> None:
        """Say whose folder this is, and that it is in use."""
        if self._usable:
            try:
                os.utime(f"{self._path}/{_FACTS}")
            except FileNotFoundError:
                self._write(_FACTS, orjson.dumps(self._facts))


def _fault(facts: os.stat_result) -> str:
    """Why a folder cannot be relied upon; nothing if it can."""
    if not stat.S_ISDIR(facts.st_mode):
        return "it is no folder"
    if not hasattr(os, "geteuid"):
        return ""  # Windows: the folder inherits the rights of the user's own
    if facts.st_uid != os.geteuid():
        return "it belongs to another user"
    return "others may write to it" if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


def _warn(place: str, fault: str) -> None:
    with suppress(Warning):  # where warnings are errors, the registry works all the same
        warnings.warn(
            f"the cache folder {place} is not used, since {fault}; make it yours alone (chmod 700), name another one "
            f"in {ENVIRONMENT}, or set {ENVIRONMENT}={OFF}",
            stacklevel=2,
        )


def _name(key: str) -> str:
    return digest(key.encode())


def _check(key: str, value: bytes) -> bytes:
    return raw_digest(b"%b\n%b" % (key.encode(), value))


def _rounded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _taken(facts: os.stat_result) -> int:
    return _rounded(facts.st_size)


def _files(folder: str) -> list[tuple[str, os.stat_result]]:
    """Our own files in *folder*: should it hold others, they are left alone."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # gone meanwhile
                if _OURS.fullmatch(entry.name):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def _kept(folder: str) -> Kept:
    files = dict(_files(folder))
    try:
        facts = orjson.loads((Path(folder) / _FACTS).read_bytes())
        url, registry = str(facts["url"]), str(facts["id"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        url = registry = ""
    used = files[_FACTS].st_mtime if _FACTS in files else 0.0
    objects = sum(map(bool, map(_NAME.fullmatch, files)))
    time_used = format_time(datetime.fromtimestamp(used, UTC))
    return Kept(url, registry, objects, sum(map(_taken, files.values())), time_used)


def _remove(folder: str) -> int:
    freed = 0
    for name, facts in _files(folder):
        with suppress(OSError):
            (Path(folder) / name).unlink()
            freed += _taken(facts)
    with suppress(OSError):
        Path(folder).rmdir()
    return freed


def _spelled(url: str) -> str:
    """A URL as stores spell it: a folder has a scheme, and no slash stands at the end."""
    return (url if "://" in url or not url else Path(url).expanduser().absolute().as_uri()).rstrip("/")
