"""Files to be saved: how large they are, and their bytes at any place, as often as need be."""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import attrs

from modelkeep.digest import Buffer, flat
from modelkeep.errors import InvalidValueError
from modelkeep.streams import Sought, fill

_BY_NUMPY = 1 << 20  # bytes; below, importing and calling numpy costs more than other threads lose by waiting


class Content(Protocol):
    """The bytes of a file. Safe to use from several threads."""

    def view(self, start: int, stop: int) -> memoryview | None:
        """The bytes in place, if they lie in one buffer; unless its owner is of `bytes`, somebody may change them."""
        ...

    def read_into(self, start: int, target: memoryview) -> None:
        """Copy the bytes from *start* on into *target*, which they fill.

        Raises:
            InvalidValueError: the file has changed.
        """
        ...


@attrs.frozen
class Source:
    """A file to be saved.

    Args:
        path: its name in the version.
        size: in bytes.
        opaque: whether compressing what is no tensor in it is worth a try.
        content: its bytes.
        alike: whether writing what differs from the file of this path in the last version is worth a try.
    """

    path: str
    size: int
    opaque: bool
    content: Content
    alike: bool = False


class InMemory:
    """A file made of buffers, one after another.

    Example:
        >>> target = memoryview(bytearray(2))
        >>> InMemory([b"abc", bytearray(b"de")]).read_into(2, target)
        >>> bytes(target)
        b'cd'
    """

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._views = [flat(buffer) for buffer in buffers]
        self._ends = list(accumulate(view.nbytes for view in self._views))

    @property
    def size(self) -> int:
        """In bytes."""
        return self._ends[-1] if self._ends else 0

    def view(self, start: int, stop: int) -> memoryview | None:
        """See `Content.view`."""
        index = bisect_right(self._ends, start)
        if index == len(self._ends) or stop > self._ends[index]:
            return None
        return self._within(index, start, stop)

    def read_into(self, start: int, target: memoryview) -> None:
        """See `Content.read_into`."""
        index, at = bisect_right(self._ends, start), 0
        while at < target.nbytes:
            part = self._within(index, start + at, start + target.nbytes)
            _copy(part, target[at : at + part.nbytes])
            at += part.nbytes
            index += 1

    def snapshot(self) -> None:
        """Copy the buffers that somebody could change, one by one: what was made for this file alone goes at once."""
        for index, view in enumerate(self._views):
            if not isinstance(view.obj, bytes):
                copy = memoryview(_memory(view.nbytes))
                _copy(view, copy)
                self._views[index] = copy

    def _within(self, index: int, start: int, stop: int) -> memoryview:
        """What of a buffer lies between two places of the file."""
        begin = self._ends[index] - self._views[index].nbytes
        return self._views[index][max(0, start - begin) : stop - begin]


def _memory(size: int) -> Buffer:
    if size < _BY_NUMPY:
        return bytearray(size)
    import numpy as np

    return np.empty(size, np.uint8).data  # a bytearray would be filled with zeros first


def _copy(part: memoryview, target: memoryview) -> None:
    if part.nbytes < _BY_NUMPY:
        target[:] = part
        return
    import numpy as np

    np.copyto(np.frombuffer(target, np.uint8), np.frombuffer(part, np.uint8))  # lets other threads run


class Open:
    """A file that is open, and that nobody else reads meanwhile."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def view(self, start: int, stop: int) -> memoryview | None:
        """See `Content.view`: never."""
        del start, stop
        return None

    def read_into(self, start: int, target: memoryview) -> None:
        """See `Content.read_into`."""
        with self._lock:
            fill(self._file, start, target)


class OnDisk:
    """A file on disk, opened for each read: a save of thousands of files holds none of them open.

    Args:
        file: which is looked at now; every read is an error if it was changed since.

    Raises:
        InvalidValueError: it cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        try:
            self._stamp = _stamp(file.stat())
        except OSError as error:
            raise self._unreadable(error) from error

    @property
    def size(self) -> int:
        """In bytes."""
        return self._stamp[2]

    def view(self, start: int, stop: int) -> memoryview | None:
        """See `Content.view`: never."""
        del start, stop
        return None

    def read_into(self, start: int, target: memoryview) -> None:
        """See `Content.read_into`."""
        try:
            with io.FileIO(self._path) as file:
                count = fill(file, start, target)
                found = _stamp(os.fstat(file.fileno()))
        except OSError as error:
            raise self._unreadable(error) from error
        if count < target.nbytes or found != self._stamp:
            raise InvalidValueError(f"{self._path} changed while it was saved; save it at rest", path=str(self._path))

    def _unreadable(self, error: OSError) -> InvalidValueError:
        return InvalidValueError(f"{self._path} cannot be read: {error.strerror}", path=str(self._path))


def _stamp(facts: os.stat_result) -> tuple[int, int, int, int]:
    """What changes whenever a file does."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def memory_source(path: str, buffers: Sequence[Buffer], *, opaque: bool = True) -> Source:
    """Buffers as a `Source`."""
    content = InMemory(buffers)
    return Source(path, content.size, opaque, content)


def file_source(path: str, file: Path) -> Source:
    """A file on disk as a `Source`; see `OnDisk`."""
    content = OnDisk(file)
    return Source(path, content.size, opaque=True, content=content)


class _Stream(Sought):
    """A file to be saved as a stream, for those who look for tensors in it."""

    def __init__(self, content: Content, size: int) -> None:
        super().__init__(size)
        self._content = content

    def readinto(self, target: Buffer) -> int:  # type: ignore[override]
        view = flat(target)[: max(0, self.size - self.at)]
        self._content.read_into(self.at, view)
        self.at += view.nbytes
        return view.nbytes


def stream(content: Content, size: int) -> BinaryIO:
    """The bytes of a file as a stream that can be sought."""
    return cast(BinaryIO, io.BufferedReader(_Stream(content, size), 1 << 16))
