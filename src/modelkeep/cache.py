"""A folder on this machine with copies of what a far store said: private, bounded, and safe to lose at any moment.

Entries and tiles of journals lie here whole: each file begins with the BLAKE3 of its key and value, so what is half
written, cut off or altered counts as absent, and gets its name when it is whole. Of packs it has what was read of them
(see `packcache`), unchecked: whoever reads that knows the digests. Processes need no lock. Whatever the disk refuses
costs time and no more.
"""

from __future__ import annotations

import io
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
DEFAULT_SIZE = 10 << 30  # bytes, of all registries together
OFF = "off"

_FACTS = "registry.json"
_TEMPORARY = ".tmp-"
_PACK = ".pack"
_NAME = re.compile(r"[0-9a-f]{64}")
_OBJECT = re.compile(rf"[0-9a-f]{{64}}({re.escape(_PACK)})?")
_OURS = re.compile(rf"{_OBJECT.pattern}|{re.escape(_FACTS)}|{re.escape(_TEMPORARY)}[0-9a-f]{{16}}")
_BLOCK = 4096  # bytes; what the smallest file takes on most disks
_LOOK_EVERY = 16 << 20  # bytes written, by all processes together, for each look at the size of it all
_JOURNALS = 512 << 20  # bytes of journals that packs never push out: some 100,000 entries, each of them a request
_LOW = 0.8  # of the limit: where making room ends
_SPARE = 0.05  # of the disk is left free by packs,
_SPARE_AT_MOST = 10 << 30  # bytes of it
_ABANDONED = 3600  # seconds; a temporary file of that age was left by a process that died
_CHECK = 32  # bytes
_FOLLOWS = os.utime not in os.supports_follow_symlinks  # Windows: it has no way around a link


@attrs.frozen
class Kept:
    """What is kept of one registry.

    Args:
        url: where the registry lies; empty if that was lost.
        id: the registry's id.
        objects: how many objects are kept, packs of which a part is kept among them.
        bytes: what they take on the disk.
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

        The newest 512 MiB of journals, or half of a smaller limit, are not pushed out by packs: an entry that is gone
        costs a request for its few hundred bytes, a pack that is gone one for its megabytes. What journals take
        beyond that goes by age as packs do, so that neither fills the cache alone.

        Any number of processes may do so at once: each file goes once, and a file that is gone is no error.
        """
        files = [file for folder in self._folders() for file in _files(folder) if file.name != _FACTS]
        files.sort(key=lambda file: (file.used, file.path))
        total = sum(file.size for file in files)
        goal = total if total <= self.limit else _LOW * self.limit
        safe = _newest_journals(files, min(_JOURNALS, self.limit // 2))
        abandoned = time.time() - _ABANDONED
        for file in files:
            left_over = file.used < abandoned and file.name.startswith(_TEMPORARY)
            if left_over or (total > goal and file.path not in safe):
                total -= file.size
                with suppress(OSError):
                    os.unlink(file.path)  # noqa: PTH108  see CacheFolder.get

    def is_due(self, name: str, size: int, *, every: int = _LOOK_EVERY) -> bool:
        """Whether the process that wrote *size* bytes under *name* looks how much there is.

        Names are digests, so a fixed share of them makes it one look for so many bytes, whoever writes them: no
        process needs to count, and many short ones keep the limit as well as a long one.

        Args:
            name: a digest.
            size: bytes.
            every: how many bytes one look is for; of a small limit, an eighth of that.
        """
        every = max(1, min(every, self.limit // 8))
        return int(name[:8], 16) * every < size << 32

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes of a pack may be written: they leave room for others, here and on the disk.

        One look at the disk: some 3 µs on a local one.
        """
        from shutil import disk_usage  # 11 ms, so only where a pack is kept

        disk = disk_usage(self.root)
        return size <= self.limit // 2 and disk.free - size >= min(_SPARE * disk.total, _SPARE_AT_MOST)

    def _folders(self) -> Iterator[str]:
        with suppress(OSError), os.scandir(self.root) as entries:
            yield from [e.path for e in entries if _NAME.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]


class CacheFolder:
    """What is kept of one registry: bytes under keys, and parts of packs.

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
        self.cache = cache
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
            with io.FileIO(f"{self._path}/{name}", "r", opener=_open_own) as file:
                raw = file.readall()
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
        if self.cache.is_due(name, _rounded(len(value) + _CHECK)):
            self.cache.make_room()

    def drop(self, keys: list[str]) -> None:
        """Keep nothing under *keys* any more."""
        if self._is_usable():
            for key in keys:
                self._unlink(_name(key))

    def forget(self) -> None:
        """Keep nothing of this registry's journals any more. Packs stay: by their digests they are of any past."""
        if self._is_usable():
            for file in _files(self._path):
                if _NAME.fullmatch(file.name):
                    self._unlink(file.name)

    def open_pack(self, key: str, *, writing: int = 0) -> io.FileIO | None:
        """Open the file with what is kept of the pack *key*; None if there is none, or none is to be used.

        Args:
            key: of the pack.
            writing: how many bytes the caller will write, if any; then a file is made if need be, and None means that
                they are not to be kept.
        """
        path = f"{self._path}/{_name(key)}{_PACK}"
        try:
            if not writing:
                return io.FileIO(path, "r", opener=_open_own) if self._is_usable() else None
            if (self._is_usable() or self._make()) and self.cache.has_room(writing):
                return io.FileIO(path, "r+", opener=_open_own)
        except FileNotFoundError:
            if writing:
                self._usable = None  # see put
        except OSError:
            pass
        return None

    def drop_pack(self, key: str) -> None:
        """Keep nothing of the pack *key* any more."""
        if self._is_usable():
            self._unlink(f"{_name(key)}{_PACK}")

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
        for place, look in ((os.fspath(self.cache.root), os.stat), (self._path, os.lstat)):
            fault = _fault(look(place))
            if fault:
                _warn(place, fault)
                return False
        return True

    def _make(self) -> bool:
        if self._usable is False:
            return False
        self.cache.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(self._path, 0o700)  # noqa: PTH102  see get
        return self._is_usable()

    def _sign(self) -> None:
        """Say whose folder this is, and that it is in use."""
        if self._usable:
            try:
                os.utime(f"{self._path}/{_FACTS}", follow_symlinks=_FOLLOWS)
            except FileNotFoundError:
                self._write(_FACTS, orjson.dumps(self._facts))


def _open_own(path: str, flags: int) -> int:
    """Open a file that no link leads to; where it is to be written, make it if need be."""
    made = os.O_CREAT if flags & os.O_RDWR else 0
    return os.open(path, flags | made | getattr(os, "O_NOFOLLOW", 0), 0o600)


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


@attrs.frozen
class _File:
    """A file of ours.

    Args:
        path: where it lies.
        name: the last part of that.
        used: when it was last written, or said to be in use; seconds of this machine's clock.
        size: what it takes on the disk, in bytes.
    """

    path: str
    name: str
    used: float
    size: int

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> _File:
        facts = entry.stat(follow_symlinks=False)
        return cls(entry.path, entry.name, facts.st_mtime, _taken(entry.name, facts))


def _taken(name: str, facts: os.stat_result) -> int:
    """Of a pack only what was read takes room. Windows does not say how much, and its files have no holes."""
    blocks = getattr(facts, "st_blocks", None) if name.endswith(_PACK) else None
    return _rounded(facts.st_size) if blocks is None else blocks * 512


def _files(folder: str) -> list[_File]:
    """Our own files in *folder*: should it hold others, they are left alone."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # gone meanwhile
                if _OURS.fullmatch(entry.name):
                    found.append(_File.of(entry))
    return found


def _newest_journals(files: list[_File], size: int) -> set[str]:
    """The paths of the newest files that are no packs, up to *size* bytes; *files* begins with the oldest."""
    paths = set()
    for file in reversed(files):
        if not file.name.endswith(_PACK):
            size -= file.size
            if size < 0:
                break
            paths.add(file.path)
    return paths


def _kept(folder: str) -> Kept:
    files = _files(folder)
    try:
        with io.FileIO(f"{folder}/{_FACTS}", "r", opener=_open_own) as file:
            facts = orjson.loads(file.readall())
        url, registry = (known if isinstance(known := facts[name], str) else "" for name in ("url", "id"))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        url = registry = ""
    used = next((file.used for file in files if file.name == _FACTS), 0.0)
    objects = sum(_OBJECT.fullmatch(file.name) is not None for file in files)
    time_used = format_time(datetime.fromtimestamp(used, UTC))
    return Kept(url, registry, objects, sum(file.size for file in files), time_used)


def _remove(folder: str) -> int:
    freed = 0
    for file in _files(folder):
        with suppress(OSError):
            Path(file.path).unlink()
            freed += file.size
    with suppress(OSError):
        Path(folder).rmdir()
    return freed


def _spelled(url: str) -> str:
    """A URL as stores spell it: a folder has a scheme, and no slash stands at the end."""
    return (url if "://" in url or not url else Path(url).expanduser().absolute().as_uri()).rstrip("/")
