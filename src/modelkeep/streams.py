"""Files and streams of bytes: read until there is enough, and sought."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

_ASK = 1 << 30  # bytes that are asked for at once; some systems give no more than 2 GiB


def fill(file: io.FileIO, start: int, target: memoryview) -> int:
    """Read a file from *start* on into *target*; gives how many bytes, fewer than fit only where the file ends.

    Example:
        >>> path = getfixture("tmp_path") / "file"
        >>> _ = path.write_bytes(b"some bytes")
        >>> target = bytearray(9)
        >>> with io.FileIO(path) as file:
        ...     fill(file, 5, memoryview(target)), bytes(target[:5])
        (5, b'bytes')
    """
    file.seek(start)
    at = 0
    while at < target.nbytes and (count := file.readinto(target[at : at + _ASK])):
        at += count
    return at


def read_span(stream: BinaryIO, start: int, length: int) -> bytes:
    """At most *length* bytes of *stream* from *start* on; fewer only where it ends.

    Example:
        >>> read_span(io.BytesIO(b"some bytes"), 5, 100)
        b'bytes'
    """
    stream.seek(start)
    parts = []
    while length > 0 and (part := stream.read(length)):  # an unbuffered file may give less than is asked for
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


class Sought(io.RawIOBase):
    """A stream of a known size that can be sought; a subclass reads at `at`, and moves it on.

    Args:
        size: in bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.at = 0

    def readable(self) -> bool:
        """See `io.IOBase.readable`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase.seekable`."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io.IOBase.seek`; before the beginning is the beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        self.at = max(0, base + offset)
        return self.at

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self.at
