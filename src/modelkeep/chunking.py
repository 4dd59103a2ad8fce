"""Where streams of bytes are cut. Every so many bytes, for now, whatever the bytes say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkeep.digest import Buffer


def cut(buffers: Iterable[Buffer], size: int) -> Iterator[list[memoryview]]:
    """Cut a stream every *size* bytes; each part as the views that make it up, so that nothing is copied here.

    Example:
        >>> [b"".join(part) for part in cut([b"abc", b"defg"], 3)]
        [b'abc', b'def', b'g']
    """
    held: list[memoryview] = []
    room = size
    for buffer in buffers:
        view = memoryview(buffer)
        view = view.cast("B") if view.nbytes else memoryview(b"")  # a view of shape (0, 3) cannot be cast
        while view.nbytes:
            held.append(view[:room])
            room -= held[-1].nbytes
            view = view[held[-1].nbytes :]
            if room == 0:
                yield held
                held, room = [], size
    if held:
        yield held
