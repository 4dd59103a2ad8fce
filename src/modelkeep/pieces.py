"""Files into pieces: cut, copied, digested and compressed by several threads; given in order.

What is stored is a copy, and the digest is that of the copy, so that an array on which training goes on is saved as
something that was there. Where there is something to share with, the bytes are digested in place before: most of them
may lie at rest already, and are neither copied nor written.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any, Protocol

import attrs

from modelkeep import zstd
from modelkeep.chunking import content_pieces, half_window
from modelkeep.codecs import PATCH, RAW, ZSTD, patch
from modelkeep.digest import Buffer, filled_digest, raw_digest
from modelkeep.manifest import Piece
from modelkeep.sources import Content, Source, stream
from modelkeep.splitters import SMALL, Extent, extents
from modelkeep.threads import Threads, cores

PIECE = 8 * 1024 * 1024  # bytes of a tensor; below 5 MiB S3 refuses parts
_AT_ONCE = 1024 * 1024  # bytes; what one thread is given at least, and up to where no thread is worth its start
_WORTH = 0.95  # compressed pieces larger than this share of the original are kept raw
_LEAST = 512  # bytes; compressing less costs more than it saves
_CLEARLY = 1 / 8  # of its bytes; a patch that small is taken without a look at what the piece takes by itself
_PATCHED = 0.5  # of that; what another patch must come down to, as it takes a read more
_HEAD = 32  # bytes by which a piece is known again: long enough to tell pieces apart, and few enough to last
_MOST_THREADS = 4  # each holds 8 MiB and more; a store takes no more than four cores digest


@attrs.frozen
class Fresh:
    """A piece as read from a file.

    Args:
        source: the index of its file.
        digest: 32 bytes, BLAKE3 of its bytes.
        length: in bytes.
        extent: what it is a part of, as (index of the file, where the extent begins): a tensor, or itself alone.
        left: bytes of the extent from its start on.
        codec: how it would be stored.
        stored: the bytes that would be stored; none where they are at rest already.
        stored_digest: 32 bytes, BLAKE3 of these.
        base: what it is a patch of, if it is one.
    """

    source: int
    digest: bytes
    length: int
    extent: tuple[int, int]
    left: int
    codec: int
    stored: Buffer
    stored_digest: bytes
    base: Piece | None = None


class Near(Protocol):
    """What lies near a place in a file that is at rest; see `modelkeep.nearby`. Safe to use from several threads."""

    def at(self, start: int, stop: int, head: bytes) -> tuple[Piece, Buffer] | None:
        """A piece that may be patched, and its bytes."""
        ...

    def learn(self, *, shrank: bool) -> None:
        """Hear whether a patch was worth it."""
        ...


@attrs.frozen
class _Todo:
    """A piece to be read: where it lies, and its bytes if they were needed to find that out."""

    source: int
    start: int
    stop: int
    extent: Extent
    opaque: bool
    content: Content
    memory: _Memory
    near: Near | None = None
    data: memoryview | None = None

    def fresh(self, at_rest: Container[bytes], *, alone: bool) -> Fresh:
        """Read it; the work of a thread, or of the only one."""
        data = self.data if self.data is not None else self.content.view(self.start, self.stop)
        own = raw_digest(data, alone=alone) if data is not None and (at_rest != () or self._is_safe(data)) else b""
        if own and own in at_rest:  # so it was a moment ago, and nobody needs more
            return self._result(own, RAW, b"", own)
        if data is None or not self._is_safe(data):
            data = self.memory.take(self.stop - self.start)
            own = filled_digest(data, lambda at, part: self.content.read_into(self.start + at, part))
            if own in at_rest:
                return self._result(own, RAW, b"", own)
        return self._result(own, *self._stored(data, own, alone=alone))

    def _is_safe(self, data: memoryview) -> bool:
        """Whether nobody can change these bytes until they are stored."""
        return data is self.data or isinstance(data.obj, bytes)

    def _result(self, own: bytes, codec: int, stored: Buffer, stored_digest: bytes, base: Piece | None = None) -> Fresh:
        tensor = self.extent.tensor
        extent = self.extent.start if tensor else self.start
        left = (self.extent.stop if tensor else self.stop) - self.start
        length = self.stop - self.start
        return Fresh(self.source, own, length, (self.source, extent), left, codec, stored, stored_digest, base)

    def _stored(self, data: memoryview, own: bytes, *, alone: bool) -> tuple[int, Buffer, bytes, Piece | None]:
        if not self.opaque or self.extent.tensor or data.nbytes < _LEAST:
            return RAW, data, own, None
        patched = self._patched(data)
        if patched is not None:
            frame, base = patched
            return PATCH, frame, raw_digest(frame, alone=alone), base
        packed = zstd.compress(data)
        if len(packed) < data.nbytes * _WORTH:
            return ZSTD, packed, raw_digest(packed, alone=alone), None
        return RAW, data, own, None

    def _patched(self, data: memoryview) -> tuple[bytes, Piece] | None:
        """What a piece differs by from one that is at rest, and that; None where this does not pay."""
        there = None if self.near is None else self.near.at(self.start, self.stop, bytes(data[:_HEAD]))
        if self.near is None or there is None:
            return None
        frame = patch(data, there[1])
        pays = len(frame) <= data.nbytes * _CLEARLY or len(frame) <= len(zstd.compress(data)) * _PATCHED
        self.near.learn(shrank=pays)
        return (frame, there[0]) if pays else None


class _Memory:
    """Blocks for pieces, used again when the last view of one is gone: fresh memory costs as much as its digest."""

    def __init__(self) -> None:
        self._free: list[Any] = []

    def take(self, size: int) -> memoryview:
        """Memory for *size* bytes, at most 8 MiB."""
        if size < _AT_ONCE:
            return memoryview(bytearray(size))
        import numpy as np

        block = self._free.pop() if self._free else np.empty(PIECE, np.uint8)
        array = block[:size]
        weakref.finalize(array, self._free.append, block).atexit = False
        return array.data


def read_pieces(
    sources: Iterable[Source], at_rest: Container[bytes] = (), near: Mapping[str, Near] | None = None
) -> Generator[Fresh]:
    """The pieces of files, in order, each file read once; at most some 40 MiB are held.

    Args:
        sources: the files.
        at_rest: digests of pieces whose bytes nobody needs.
        near: by path, what pieces of a file may be patches of.

    Raises:
        InvalidValueError: a file changed while it was read.
    """
    sources = list(sources)
    small = sum(source.size for source in sources) <= _AT_ONCE
    with closing(_todos(sources, near or {})) as todos:
        if small:
            yield from (todo.fresh(at_rest, alone=True) for todo in todos)
        else:
            yield from _by_threads(_batches(todos), lambda todo: todo.fresh(at_rest, alone=False))


def _todos(sources: Iterable[Source], near: Mapping[str, Near]) -> Generator[_Todo]:
    memory = _Memory()
    for index, source in enumerate(sources):
        make = partial(_Todo, index, opaque=source.opaque, content=source.content, memory=memory)
        make = partial(make, near=near.get(source.path))
        for extent in _extents(source.content, source.size):
            yield from _cut(make, extent, source.size)


def _extents(content: Content, size: int) -> list[Extent]:
    if size <= SMALL:  # no tensor in it is worth a piece of its own
        return [Extent(0, size, tensor=False)] if size else []
    return extents(stream(content, size), size)


def _cut(make: Callable[..., _Todo], extent: Extent, size: int) -> Generator[_Todo]:
    h = half_window(size)
    if extent.tensor or extent.stop - extent.start <= 2 * h:
        for start in range(extent.start, extent.stop, PIECE):
            yield make(start, min(start + PIECE, extent.stop), extent)
        return
    content = make(0, 0, extent).content
    start = extent.start
    for batch in content_pieces(
        lambda at, target: content.read_into(extent.start + at, target), extent.stop - extent.start, h
    ):
        for data in batch:
            yield make(start, start + data.nbytes, extent, data=data)
            start += data.nbytes


def _batches(todos: Iterable[_Todo]) -> Iterator[list[_Todo]]:
    """Small ones together, so that a thread is asked for a mebibyte at least."""
    held: list[_Todo] = []
    size = 0
    for todo in todos:
        held.append(todo)
        size += todo.stop - todo.start
        if size >= _AT_ONCE:
            yield held
            held, size = [], 0
    if held:
        yield held


def _by_threads(batches: Iterator[list[_Todo]], work: Callable[[_Todo], Fresh]) -> Iterator[Fresh]:
    """The results of *work* in order; who asks for them writes them, or works too while the next is not done."""
    others = max(1, min(_MOST_THREADS, cores()) - 1)
    under_way: deque[tuple[list[_Todo], Future[list[Fresh]]]] = deque()
    with Threads(others) as threads:
        for batch in batches:
            under_way.append((batch, threads.start(partial(_each, work, batch))))
            if len(under_way) > others + 2:
                yield from _first(under_way, work)
        while under_way:
            yield from _first(under_way, work)


def _each(work: Callable[[_Todo], Fresh], batch: list[_Todo]) -> list[Fresh]:
    return list(map(work, batch))


def _first(under_way: deque[tuple[list[_Todo], Future[list[Fresh]]]], work: Callable[[_Todo], Fresh]) -> list[Fresh]:
    for index, (batch, later) in enumerate(under_way):
        if under_way[0][1].done():
            break
        if later.cancel():  # nobody had begun with it
            done: Future[list[Fresh]] = Future()
            done.set_result(_each(work, batch))
            under_way[index] = (batch, done)
    return under_way.popleft()[1].result()
