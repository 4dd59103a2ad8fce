"""How a piece is stored: as it is, or as one Zstandard frame of its bytes, perhaps turned before so that it shrinks.

Turning is reversible and has two steps, each optional: XOR with another piece of the same length, which turns what
both have into zeros; then a byte shuffle (as in HDF5 and Blosc), which puts the first bytes of all elements together,
then the second ones, and so on.
"""

from __future__ import annotations

from typing import Any

from modelkeep import zstd
from modelkeep.digest import Buffer

RAW, ZSTD = 0, 1
WIDTHS = (0, 2, 4, 8, 16)  # bytes of an element; 0: not shuffled


def pack(data: Buffer, *, width: int = 0, base: Buffer | None = None) -> bytes:
    """The Zstandard frame of *data*, turned by *base* and *width*.

    Example:
        >>> unpack(pack(b"abcdefg", width=2, base=b"abcdxyz"), 7, width=2, base=b"abcdxyz")
        b'abcdefg'
    """
    turned = data if base is None else _xor(data, base)
    return zstd.compress(_shuffled(turned, width).data if width else turned)


def unpack(stored: Buffer, length: int, *, width: int = 0, base: Buffer | None = None) -> Buffer:
    """The bytes that were packed.

    Args:
        stored: the frame.
        length: of the bytes.
        width: bytes of an element, if they were shuffled.
        base: what they were turned by, of the same length.

    Raises:
        ValueError: the frame holds no such bytes.
    """
    turned: Buffer = zstd.decompress(stored, length)
    if len(turned) != length:
        raise ValueError(f"it unpacks to {len(turned)} bytes, and {length} belong there")
    if width:
        turned = _unshuffled(turned, width).tobytes()
    return turned if base is None else _xor(turned, base)


def _xor(data: Buffer, base: Buffer) -> bytes:
    import numpy as np

    found: bytes = np.bitwise_xor(np.frombuffer(data, np.uint8), np.frombuffer(base, np.uint8)).tobytes()
    return found


def _shuffled(data: Buffer, width: int) -> Any:
    """What is left over at the end, less than an element, stays there."""
    import numpy as np

    raw = np.frombuffer(data, np.uint8)
    whole = raw.size - raw.size % width
    return np.concatenate([raw[:whole].reshape(-1, width).T.reshape(-1), raw[whole:]])


def _unshuffled(data: Buffer, width: int) -> Any:
    import numpy as np

    raw = np.frombuffer(data, np.uint8)
    whole = raw.size - raw.size % width
    return np.concatenate([raw[:whole].reshape(width, -1).T.reshape(-1), raw[whole:]])
