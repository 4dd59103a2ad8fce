"""Tensors of safetensors files. One read of the header."""

from __future__ import annotations

from typing import BinaryIO

from modelkeep.errors import IntegrityError
from modelkeep.serializers.safetensors import LENGTH, header_length, parse_header
from modelkeep.splitters.port import Span, read_span


def begins(head: bytes) -> bool:
    """See `modelkeep.splitters.port`."""
    return head[LENGTH : LENGTH + 1] == b"{"


def tensors(stream: BinaryIO, size: int) -> list[Span]:
    """See `modelkeep.splitters.port`."""
    try:
        length = header_length(read_span(stream, 0, LENGTH), size)
        data = LENGTH + length
        rows, _ = parse_header(read_span(stream, LENGTH, length), size - data)
    except IntegrityError:
        return []
    return [(data + row.start, data + row.stop) for row in rows]
