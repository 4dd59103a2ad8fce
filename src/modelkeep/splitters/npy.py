"""The array of an .npy file (numpy.lib.format, versions 1 to 3). Two reads of a few hundred bytes."""

from __future__ import annotations

import ast
import math
from typing import BinaryIO

from modelkeep.splitters.port import Span
from modelkeep.streams import read_span

MAGIC = b"\x93NUMPY"
_VERSIONS = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}  # and the bytes that the length of the header takes
_MAX_HEADER = 10_000  # bytes, as numpy has it: a longer literal could exhaust the stack of the parser


def begins(head: bytes) -> bool:
    """See `modelkeep.splitters.port`."""
    return head.startswith(MAGIC)


def tensors(stream: BinaryIO, size: int) -> list[Span]:
    """See `modelkeep.splitters.port`."""
    return array(stream, 0, size)


def array(stream: BinaryIO, start: int, stop: int) -> list[Span]:
    """The array of the .npy file that lies in a span of *stream*; none if there is no such file, or it is cut off.

    Example:
        >>> import io, numpy as np
        >>> file = io.BytesIO()
        >>> np.save(file, np.zeros(10))
        >>> array(file, 0, 128 + 80)
        [(128, 208, '')]
    """
    head = read_span(stream, start, len(MAGIC) + 2 + 4)
    width = _VERSIONS.get(head[len(MAGIC) : len(MAGIC) + 2])
    if not head.startswith(MAGIC) or width is None:
        return []
    first = len(MAGIC) + 2 + width
    length = int.from_bytes(head[first - width : first], "little")
    if length > _MAX_HEADER:
        return []
    data = start + first + length
    size = _array_size(read_span(stream, start + first, length))
    return [(data, data + size, "")] if data + size <= stop else []


def _array_size(header: bytes) -> int:
    """Bytes that the array takes; 0 for objects, which are pickled, and for what is no header."""
    from numpy.lib.format import descr_to_dtype

    try:
        facts = ast.literal_eval(header.decode("latin-1"))  # UTF-8 in version 3, but names do not matter here
        dtype, shape = descr_to_dtype(facts["descr"]), facts["shape"]
        if dtype.hasobject or not all(type(number) is int and number >= 0 for number in shape):
            return 0
        size: int = math.prod(shape, start=dtype.itemsize)
    except Exception:  # noqa: BLE001  the parser and numpy raise what they like at what a stranger wrote
        return 0
    return size
