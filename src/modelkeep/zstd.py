"""Zstandard (RFC 8878): the standard library's from Python 3.14 on, its backport before."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd as _zstd
else:
    from backports import zstd as _zstd

LEVEL = 3


class Error(ValueError):
    """The bytes are no frame, or unpack to more than was asked for."""


def compress(data: bytes | bytearray | memoryview) -> bytes:
    """Compress at level 3."""
    return _zstd.compress(data, LEVEL)


def decompress(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress one frame to at most *limit* bytes.

    Raises:
        Error: it is no frame, is cut short, has bytes behind it, or holds more.

    Example:
        >>> decompress(compress(b"ab"), 2)
        b'ab'
    """
    unpacker = _zstd.ZstdDecompressor()
    try:
        plain = unpacker.decompress(data, max_length=limit + 1)
    except _zstd.ZstdError as error:
        raise Error(str(error)) from None
    if len(plain) > limit or not unpacker.eof or unpacker.unused_data:
        raise Error(f"not one whole frame of at most {limit} bytes")
    return plain
