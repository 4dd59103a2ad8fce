"""What the formats share. Each is a module of two functions.

``begins(head)`` tells whether a file that begins with these 9 bytes may be of the format; ``tensors(stream, size)``
gives the spans of its arrays, in any order, none if it is of another format after all.
"""

from __future__ import annotations

SMALL = 16 * 1024  # bytes; smaller tensors are part of the rest around them, as each would cost a line of the manifest
Span = tuple[int, int, str]  # the first byte, the byte behind the last, and the name, where the format has one
