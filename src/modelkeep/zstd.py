"""Zstandard (RFC 8878): the standard library's from Python 3.14 on, its backport before."""

from __future__ import annotations

import sys
import threading

if sys.version_info >= (3, 14):
    from compression import zstd as _zstd
else:
    from backports import zstd as _zstd

LEVEL = 3
_of_thread = threading.local()  # making a compressor costs as much as packing a small record
_MAX_FRAMES = 1000  # the widest tile has 100; each costs a copy of what is behind it


class Error(ValueError):
    """The bytes are no frame, or unpack to more than was asked for."""


def compress(data: bytes | bytearray | memoryview) -> bytes:
    """Compress at level 3."""
    packer = _of_thread.__dict__.pop("packer", None) or _zstd.ZstdCompressor(LEVEL)
    packed: bytes = packer.compress(data, packer.FLUSH_FRAME)
    _of_thread.packer = packer  # only after a whole frame: half of one would go before the next
    return packed


def decompress(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress one or more frames to at most *limit* bytes.

    Raises:
        Error: it is no frame, is cut short, has other bytes behind it, or holds more.

    Example:
        >>> decompress(compress(b"ab"), 2)
        b'ab'
    """
    parts: list[bytes] = []
    for _ in range(_MAX_FRAMES):
        unpacker = _zstd.ZstdDecompressor()
        try:
            parts.append(unpacker.decompress(data, max_length=limit + 1))
        except _zstd.ZstdError as error:
            raise Error(str(error)) from None
        limit -= len(parts[-1])
        if limit < 0 or not unpacker.eof:
            raise Error("not whole frames, or more bytes than belong there")
        data = unpacker.unused_data
        if not data:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise Error(f"more than {_MAX_FRAMES} frames")
