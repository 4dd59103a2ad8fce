"""Zstandard (RFC 8878): the standard library's from Python 3.14 on, its backport before."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Literal

if sys.version_info >= (3, 14):
    from compression import zstd as _zstd
else:
    from backports import zstd as _zstd

Settings = Literal["bytes", "numbers"]

_LEVEL, _MATCH, _HASH, _WINDOW = (
    int(_zstd.CompressionParameter[name]) for name in ("compression_level", "min_match", "hash_log", "window_log")
)
_SETTINGS: dict[Settings, dict[int, int]] = {
    "bytes": {_LEVEL: 3},
    # looks for few matches, since there are few: random fp32, turned, shrinks to 0.83, to 0.85 at level 3 at a third of
    # the speed; bf16 to 0.66 and 0.70; what two versions differ by to 0.57 and 0.58
    "numbers": {_LEVEL: 1, _MATCH: 7, _HASH: 6, _WINDOW: 17},
}
# finds again what is long in the bytes before: by level 3 alone, 1 % of random rows cost 0.10 of a table, by this 0.06
_AFTER: dict[int, int] = {
    _LEVEL: 1,
    _WINDOW: 22,
    int(_zstd.CompressionParameter.enable_long_distance_matching): 1,
    int(_zstd.CompressionParameter.ldm_min_match): 32,
    int(_zstd.CompressionParameter.ldm_hash_log): 16,
    int(_zstd.CompressionParameter.ldm_hash_rate_log): 4,
}
_of_thread = threading.local()  # making a compressor costs as much as packing a small record
_MAX_FRAMES = 1000  # the widest tile has 100; each costs a copy of what is behind it


class Error(ValueError):
    """The bytes are no frame, or unpack to more than was asked for."""


def compress(*parts: bytes | bytearray | memoryview, settings: Settings = "bytes") -> bytes:
    """Compress into one frame.

    Args:
        parts: what follows one another, flat. Each begins a new block, with a table of its own for its symbols: bytes
            that are unlike those before shrink better for it.
        settings: level 3 for bytes of any kind; or what suits numbers that were turned, see `modelkeep.codecs`.

    Example:
        >>> decompress(compress(b"ab", b"c"), 3)
        b'abc'
    """
    packers = _of_thread.__dict__
    packer = packers.pop(settings, None) or _zstd.ZstdCompressor(options=_SETTINGS[settings])
    if len(parts) > 1:
        packer.set_pledged_input_size(sum(memoryview(part).nbytes for part in parts))
    *others, last = parts
    packed = [packer.compress(part, packer.FLUSH_BLOCK) for part in others]
    packed.append(packer.compress(last, packer.FLUSH_FRAME))
    packers[settings] = packer  # only after a whole frame: half of one would go before the next
    return packed[0] if len(packed) == 1 else b"".join(packed)


def decompress(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress one or more frames to at most *limit* bytes.

    Raises:
        Error: it is no frame, is cut short, has other bytes behind it, or holds more.

    Example:
        >>> decompress(compress(b"ab"), 2)
        b'ab'
    """
    parts = list(decompressed(data, limit, step=limit + 1))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def compress_after(before: bytes | bytearray | memoryview, data: bytes | bytearray | memoryview) -> bytes:
    """Compress into one frame that refers to the bytes *before*, 8 at least, and unpacks only behind them.

    Example:
        >>> before = bytes(range(256))
        >>> frame = compress_after(before, before[1:])
        >>> len(frame) < 30, decompress_after(before, frame, 255) == before[1:]
        (True, True)
    """
    packer = _zstd.ZstdCompressor(options=_AFTER, zstd_dict=_zstd.ZstdDict(before, is_raw=True).as_prefix)
    packer.set_pledged_input_size(memoryview(data).nbytes)
    return packer.compress(data, packer.FLUSH_FRAME)


def decompress_after(before: bytes | bytearray | memoryview, data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Decompress the one frame that `compress_after` made, to at most *limit* bytes.

    Raises:
        Error: it is none, is cut short, has other bytes behind it, or holds more; or *before* is shorter than 8 bytes.
    """
    try:
        unpacker = _zstd.ZstdDecompressor(zstd_dict=_zstd.ZstdDict(before, is_raw=True).as_prefix)
        found = unpacker.decompress(data, max_length=limit + 1)
    except (_zstd.ZstdError, ValueError) as error:
        raise Error(str(error)) from None
    if len(found) > limit or not unpacker.eof or unpacker.unused_data:
        raise Error("not one whole frame, or more bytes than belong there")
    return found


def decompressed(data: bytes | bytearray | memoryview, limit: int, *, step: int) -> Iterator[bytes]:
    """The same in parts of *step* bytes at most, which lie in the cache of the core for who uses them at once."""
    for _ in range(_MAX_FRAMES):
        unpacker = _zstd.ZstdDecompressor()
        while not unpacker.eof:
            try:
                part = unpacker.decompress(data, max_length=min(step, limit + 1))
            except _zstd.ZstdError as error:
                raise Error(str(error)) from None
            limit -= len(part)
            if limit < 0 or (unpacker.needs_input and not unpacker.eof):
                raise Error("not whole frames, or more bytes than belong there")
            yield part
            data = b""
        data = unpacker.unused_data
        if not data:
            return
    raise Error(f"more than {_MAX_FRAMES} frames")
