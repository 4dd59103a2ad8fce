"""Tensors of a version where they lie: found unread, told equal by their pieces, read a run of elements at a time."""

from __future__ import annotations

import math
import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import attrs
import numpy as np

from modelkeep.codecs import RAW
from modelkeep.errors import MissingObjectError
from modelkeep.packfiles import PackFiles
from modelkeep.samples import family
from modelkeep.versionfacts import VersionFacts

Array = Any
T = TypeVar("T")


@attrs.frozen
class _Run:
    """A piece as a tensor sees it: from where to where, in bytes of the tensor, what it is, whether it is packed."""

    start: int
    stop: int
    digest: bytes
    is_packed: bool = attrs.field(eq=False)


@attrs.frozen(eq=False)
class Located:
    """A tensor of a version: where its bytes lie in which file, or the array itself where it cannot be read in parts.

    Args:
        like: an array of its type and shape; its own numbers only if *path* is None.
        path: the file.
        start: its first byte there.
        runs: the pieces that hold it.
    """

    like: Array
    path: str | None = None
    start: int = 0
    runs: tuple[_Run, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return tuple(int(size) for size in self.like.shape)

    @property
    def dtype(self) -> str:
        """Its type, as both numpy and torch call it."""
        return str(self.like.dtype).removeprefix("torch.")

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return int(self.like.dtype.itemsize)

    @property
    def count(self) -> int:
        """Its elements."""
        return math.prod(self.shape)

    @property
    def is_number(self) -> bool:
        """Torch and ml_dtypes have numbers alone; the kinds of numpy tell."""
        dtype = self.like.dtype
        return type(dtype).__module__.partition(".")[0] == "torch" or dtype.kind in "biufc" or "float" in dtype.name

    @property
    def is_in_rows(self) -> bool:
        """Whether the last dimension moves fastest in its bytes."""
        return family(self.like) != "numpy" or bool(self.like.flags.c_contiguous)

    @property
    def is_packed(self) -> bool:
        """Whether a piece has to be unpacked, which takes several times its memory."""
        return any(run.is_packed for run in self.runs)

    def is_same(self, other: Located) -> bool:
        """Whether its pieces say that it is equal; false where they do not tell."""
        alike = (self.dtype, self.is_in_rows) == (other.dtype, other.is_in_rows)
        return alike and self.path is not None and bool(self.runs) and self.runs == other.runs

    def ends(self) -> set[int]:
        """The elements before which a piece ends."""
        return {run.stop // self.itemsize for run in self.runs if not run.stop % self.itemsize}

    def within(self, start: int, stop: int) -> tuple[_Run, ...]:
        """The pieces that hold elements from *start* to *stop*."""
        first = bisect_right(self.runs, start * self.itemsize, key=lambda run: run.stop)
        last = bisect_right(self.runs, stop * self.itemsize - 1, key=lambda run: run.start)
        return self.runs[first:last]


class _Noting:
    """Stands in for the files of a version: notes which bytes a reader wants, and gives memory nobody touched."""

    def __init__(self, files: PackFiles) -> None:
        self._files = files
        self.asked: list[tuple[str, int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def views(self, path: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        self.asked += [(path, *span) for span in spans]
        return [memoryview(mmap.mmap(-1, max(1, stop - start)))[: stop - start] for start, stop in spans]


class Side:
    """One of the versions, its tensors to be read in parts."""

    def __init__(self, version: VersionFacts) -> None:
        self._version = version
        self._again(lambda: self._open(version._opened[0]))  # noqa: SLF001  its own
        self.names = dict.fromkeys(self._readers)

    def _open(self, files: PackFiles) -> None:
        from modelkeep.serializers.discovery import by_name

        record, granted = self._version.record, self._version._line.home.granted  # noqa: SLF001  its own
        self._files = attrs.evolve(files.without(record.parts))  # with maps of its own: each piece is mapped once
        self._noting = _Noting(self._files)
        self._readers: Mapping[str, Callable[[], Any]] = by_name(record.serializer, granted.allows).tensors(
            self._noting
        )
        self._pieces = dict(self._files.manifest.files)

    def _again(self, use: Callable[[], T]) -> T:
        """*use* the files, again where they were moved meanwhile."""
        try:
            return use()
        except MissingObjectError as error:
            self._open(self._version._files_again(error))  # noqa: SLF001  its own
            return use()

    def locate(self, name: str) -> Located:
        """Where a tensor lies; what cannot be read in parts is read."""
        return self._again(lambda: self._located(name))

    def _located(self, name: str) -> Located:
        self._noting.asked.clear()
        like = self._readers[name]()
        if not self._noting.asked:  # it was read otherwise, such as from an archive
            return Located(_in_rows(like))
        (path, start, stop), *more = self._noting.asked
        if more or stop - start != math.prod(like.shape) * like.dtype.itemsize:
            return self.whole(name)
        return Located(like, path, start, tuple(self._runs(path, start, stop)))

    def whole(self, name: str) -> Located:
        """A tensor, read as a whole."""
        return Located(_in_rows(self._version.tensors[name]))

    def _runs(self, path: str, start: int, stop: int) -> Iterator[_Run]:
        pieces = self._pieces[path]
        ends = list(accumulate(piece.length for piece in pieces))
        for end, piece in zip(ends, pieces, strict=True):
            if end > start and end - piece.length < stop:
                yield _Run(end - piece.length - start, end - start, piece.digest, piece.codec != RAW)

    def elements(self, tensor: Located, start: int, stop: int) -> Array:
        """A run of the elements of a tensor, flat."""
        if tensor.path is None:
            return _plain(tensor.like).reshape(-1)[start:stop]
        path, size = tensor.path, tensor.itemsize
        span = (tensor.start + start * size, tensor.start + stop * size)
        (view,) = self._again(lambda: self._files.views(path, [span]))
        return _of_bytes(view, tensor.like)


def _in_rows(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(array.shape) if family(array) == "numpy" else array


def _of_bytes(view: memoryview, like: Array) -> Array:
    if family(like) != "torch":
        return np.frombuffer(view, like.dtype)
    import torch

    return _plain(torch.frombuffer(view, dtype=like.dtype))


def _plain(array: Array) -> Array:
    """An array of numpy; of what numpy does not know, a wider one of the same numbers."""
    if family(array) != "torch":
        return np.asarray(array)
    plain = array.detach().cpu().resolve_conj().resolve_neg()
    name = str(plain.dtype)
    return (plain.float() if "bfloat16" in name or "float8" in name else plain).numpy()
