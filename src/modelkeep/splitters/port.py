"""What the formats share. Each is a module of two functions.

``begins(head)`` tells whether a file that begins with these 9 bytes may be of the format; ``tensors(stream, size)``
gives the spans of its arrays, in any order, none if it is of another format after all.
"""

from __future__ import annotations

from typing import BinaryIO

SMALL = 16 * 1024  # bytes; smaller tensors are part of the rest around them, as each would cost a line of the manifest
Span = tuple[int, int]  # the first byte, and the byte behind the last


def read_span(stream: BinaryIO, start: int, length: int) -> bytes:
    """At most *length* bytes of *stream* from *start* on; fewer only where it ends.

    Example:
        >>> import io
        >>> read_span(io.BytesIO(b"some bytes"), 5, 100)
        b'bytes'
    """
    stream.seek(start)
    parts = []
    while length > 0 and (part := stream.read(length)):  # an unbuffered file may give less than is asked for
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
