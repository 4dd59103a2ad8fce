"""The local store: a folder on a disk. An object is complete from the moment it has a name.

Create-if-absent is `os.link` of a finished temporary file (link(2) fails with EEXIST, atomically); fsspec's
``mode="create"`` let two writers win on 3 of 300 keys.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from modelkeep.digest import Buffer
from modelkeep.errors import OutcomeUnknownError
from modelkeep.stores.disk import NOT_THERE, Said, no_answer, translated
from modelkeep.stores.memory import (
    check_key,
    check_prefix,
    check_span,
    check_value,
    missing_object,
    object_exists,
)
from modelkeep.stores.port import StoredObject, UnfinishedWrite
from modelkeep.stores.syncing import Folders, UnsyncedError
from modelkeep.stores.temporaries import new_temporary, temporaries, temporary_at
from modelkeep.streams import fill

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
# what link says before it does anything; a network disk says anything else after it may have done the work
_REFUSED = {
    errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EXDEV,
}  # fmt: skip
# of a sync that was refused: a second one may say yes of what the first has lost, for a kernel tells an error once
_ASK_NO_MORE = 1000  # "tries" that were made, more than any caller would make
_TRIES = 3  # `leaving_no_folder` of another process may take away the empty folder that was just made
# a map needs the file no more once it is made; before Python 3.13 it keeps a descriptor all the same
_NO_DESCRIPTOR: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class LocalStore:
    """Objects as files below a folder, which need not exist yet.

    Args:
        root: the folder.
        durable: wait until the disk has what was written (fsync of file and folder: 8 ms on ext4), and what was read
            of others before anything is built on it. Without it an object costs some 20 µs; a crash of the process
            loses nothing, a power cut may lose or empty what was written in the last half minute.

    On a file system without hard links *create* falls back to an exclusive open: of any number of writers one
    still wins, and a reader that comes too early sees a damaged entry, which it can tell by its digest.

    Example:
        >>> store = LocalStore(getfixture("tmp_path"), durable=False)
        >>> store.create("a/b", b"1")
        >>> store.get("a/b")
        b'1'
    """

    libraries: ClassVar[tuple[str, ...]] = ()
    """The distributions that carry the bytes; a diagnosis tells their versions."""

    def __init__(self, root: str | Path, *, durable: bool = True) -> None:
        self.root = Path(root).absolute()
        self.durable = durable
        self.url = self.root.as_uri()
        self._base = os.fspath(self.root)
        self._folders = Folders(self._base) if durable else None

    def __repr__(self) -> str:
        return f"LocalStore({self._base!r}, durable={self.durable})"

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`. If durable two fsyncs, and one of each folder of which an object was read since the last.

        The first write to a folder syncs those above it, too.
        """
        check_value(key, value)
        path = self._path(key)
        with self._written_beside(key, path, [value]) as temporary, Said(key):
            if self._folders:
                self._folders.sync_what_was_read(path)
            taken = not self._link(key, temporary, path, value)
        self._sync_folder(key, path)  # a loser too: what it goes on to read must not vanish
        if taken:
            raise object_exists(self.url, key)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        check_span(key, span)
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123  paths are strings here: Path costs as much
                if span is None:
                    if self._folders:
                        self._folders.note_read(path)
                    return file.read()
                file.seek(span[0])
                return _read_fully(file.fileno(), span[1])
        except NOT_THERE:
            raise missing_object(self.url, key) from None
        except OSError as error:
            raise translated(error, key) from error

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        check_span(key, (offset, target.nbytes))
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123  see get
                return fill(file, offset, target)
        except NOT_THERE:
            raise missing_object(self.url, key) from None
        except OSError as error:
            raise translated(error, key) from error

    def map(self, key: str) -> memoryview | None:
        """See `Maps.map`; None also for an empty object, and where the process has no descriptor left."""
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123  see get
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY, **_NO_DESCRIPTOR))
        except NOT_THERE:
            raise missing_object(self.url, key) from None
        except (OSError, ValueError):  # reading it says what is wrong, if anything is
            return None

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`. One after another: a disk's cache answers faster than a thread starts."""
        found = {}
        for key in keys:
            path = self._path(key)
            with Said(key), suppress(*NOT_THERE), open(path, "rb", buffering=0) as file:  # noqa: PTH123  see get
                if self._folders:
                    self._folders.note_read(path)
                found[key] = file.read()
        return found

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`. Two fsyncs if durable."""
        path = self._path(key)
        with self._written_beside(key, path, source) as temporary, Said(key):
            os.replace(temporary, path)  # noqa: PTH105  see get
        self._sync_folder(key, path)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        folder, _, beginning = check_prefix(prefix).rpartition("/")
        return self._walk(f"{folder}/" if folder else "", beginning)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`. A fsync of each folder if durable: what was erased must not come back."""
        emptied: dict[str, str] = {}
        for key in keys:
            path = self._path(key)
            with Said(key), suppress(*NOT_THERE):
                if self._folders:
                    self._folders.sync_what_was_read(path)  # whoever deletes may have read that nobody needs it
                os.unlink(path)  # noqa: PTH108  see get
            emptied[os.path.dirname(path)] = key  # noqa: PTH120  see get
        if self._folders:
            for folder, key in emptied.items():
                with Said(key), suppress(*NOT_THERE):
                    self._folders.sync(folder)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`: temporary files, of which only the folder is known.

        A file is touched by each write, so that one which is still being written does not look old. Reads every folder
        below *prefix*, and follows no symbolic link.
        """
        return temporaries(self._base, check_prefix(prefix))

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """See `Unfinished.abandon`."""
        for key, path in [(write.key, temporary_at(self._base, write)) for write in writes]:
            with Said(key), suppress(*NOT_THERE):
                os.unlink(path)  # noqa: PTH108  see get

    @contextmanager
    def leaving_no_folder(self, prefix: str) -> Iterator[None]:
        """Afterwards remove the folders of *prefix*, and above it, that were not there before and are empty."""
        folder = self.root / check_prefix(prefix)
        missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]  # noqa: PTH110  it never raises
        try:
            yield
        finally:
            for path in missing:
                with suppress(OSError):  # somebody else uses it by now
                    path.rmdir()

    def _path(self, key: str) -> str:
        return f"{self._base}/{check_key(key)}"

    @contextmanager
    def _written_beside(self, key: str, path: str, source: Iterable[Buffer]) -> Iterator[str]:
        temporary = f"{os.path.dirname(path)}/{new_temporary()}"  # noqa: PTH120  see get
        with Said(key):
            file = self._open_new(temporary)
        try:
            try:
                for buffer in source:  # what it raises is not ours to translate
                    with Said(key):
                        file.write(buffer)
                with Said(key):
                    file.flush()
                    if self.durable:
                        os.fsync(file.fileno())
            finally:
                with Said(key):
                    file.close()
            yield temporary
        finally:
            with suppress(OSError):  # it was renamed, or stays where no listing shows it
                os.unlink(temporary)  # noqa: PTH108  see get

    def _open_new(self, temporary: str) -> BinaryIO:
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                return open(temporary, "xb", buffering=1 << 16)  # noqa: PTH123  see get
            with suppress(FileNotFoundError):
                self._make_folder(Path(temporary).parent)
        return open(temporary, "xb", buffering=1 << 16)  # noqa: PTH123  see get

    def _make_folder(self, folder: Path) -> None:
        if self._folders:
            self._folders.make(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)

    def _link(self, key: str, temporary: str, path: str, value: bytes) -> bool:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return _is_linked(key, temporary, path)
        except OSError as error:
            if error.errno in _NO_LINKS:
                return self._create_exclusively(path, value)
            if error.errno in _REFUSED:
                raise
            raise no_answer(key, path, error) from error
        return True

    def _create_exclusively(self, path: str, value: bytes) -> bool:
        try:
            file = open(path, "xb")  # noqa: PTH123, SIM115  see get
        except FileExistsError:
            return False
        try:
            with file:
                file.write(value)
                file.flush()
                if self.durable:
                    os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)  # noqa: PTH108  half a value must not hold the key for ever
            raise
        return True

    def _sync_folder(self, key: str, path: str) -> None:
        if not self._folders:
            return
        try:
            self._folders.sync(os.path.dirname(path))  # noqa: PTH120  see get
        except OSError as error:
            tries = _ASK_NO_MORE if isinstance(error, UnsyncedError) else 1
            raise OutcomeUnknownError(
                f"{key} has its name, but the disk did not confirm it: {error}", key=key, tries=tries
            ) from error

    def _walk(self, folder: str, beginning: str) -> Iterator[StoredObject]:
        found: list[str] = []
        path = f"{self._base}/{folder}"
        with Said(folder), suppress(*NOT_THERE), os.scandir(path) as entries:
            # a folder sorts as its keys do, with the slash
            found = sorted(
                f"{e.name}/" if e.is_dir() else e.name
                for e in entries
                if e.name.startswith(beginning) and not e.name.startswith(".")
            )
        for name in found:
            if name.endswith("/"):
                yield from self._walk(f"{folder}{name}", "")
            elif facts := self._facts(f"{folder}{name}"):
                yield facts

    def _facts(self, key: str) -> StoredObject | None:
        with Said(key), suppress(*NOT_THERE):  # deleted since the folder was read
            facts = os.stat(f"{self._base}/{key}")  # noqa: PTH116  see get
            if stat.S_ISREG(facts.st_mode):
                return StoredObject(key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))
        return None


def _is_linked(key: str, temporary: str, path: str) -> bool:
    """Whether "exists" was said of our own link: on NFS the first reply may be lost, and the client asks again."""
    try:
        return os.stat(temporary).st_nlink == 2  # noqa: PLR2004, PTH116  two links prove it; see get
    except OSError as error:
        raise no_answer(key, path, error) from error


def _read_fully(descriptor: int, length: int) -> bytes:
    parts = []
    while length > 0 and (part := os.read(descriptor, min(length, 1 << 30))):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
