"""Tensors of safetensors files. One read of the header."""

from __future__ import annotations

from typing import BinaryIO

from modelkeep.errors import IntegrityError
from modelkeep.serializers.safetensors import LENGTH, read_header
from modelkeep.splitters.port import Span


def begins(head: bytes) -> bool:
    """See `modelkeep.splitters.port`."""
    return head[LENGTH : LENGTH + 1] == b"{"


def tensors(stream: BinaryIO, size: int) -> list[Span]:
    """See `modelkeep.splitters.port`."""
    try:
        rows, _ = read_header(stream, size)
    except IntegrityError:
        return []
    return [(row.start, row.stop, row.name) for row in rows]
