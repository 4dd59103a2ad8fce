"""BLAKE3 digests (the BLAKE3 specification, 2020), written as 64 lower-case hexadecimal digits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from blake3 import blake3

Buffer = bytes | bytearray | memoryview

_THREADS_FROM = 1 << 20  # bytes; below, starting threads costs more than hashing
_PART = 1 << 19  # bytes; half as many again fit the cache of a core, with what they are copied from
_DIGITS = 64  # hexadecimal, of a digest


def digest(data: Buffer) -> str:
    """Digest *data* (bytes-like), using all cores for a mebibyte and more.

    Example:
        >>> digest(b"")[:16]
        'af1349b9f5f9a1a6'
    """
    return raw_digest(data).hex()


def raw_digest(data: Buffer, *, alone: bool = True) -> bytes:
    """Digest *data* and return the 32 bytes themselves.

    Args:
        data: bytes-like.
        alone: False where other threads digest at the same time, and one core is all that there is.
    """
    view = flat(data)
    hasher = blake3(max_threads=blake3.AUTO) if alone and view.nbytes >= _THREADS_FROM else blake3()
    return hasher.update(view).digest()


def filled_digest(target: memoryview, fill: Callable[[int, memoryview], None]) -> bytes:
    """Digest *target* while it is filled, part by part: each is digested from the cache of the core, on one core.

    Args:
        target: memory.
        fill: ``fill(start, part)`` writes the bytes from *start* on into *part*.

    Example:
        >>> target = memoryview(bytearray(3))
        >>> filled_digest(target, lambda start, part: part.__setitem__(slice(None), b"abc")) == raw_digest(b"abc")
        True
    """
    hasher = blake3()
    for start in range(0, target.nbytes, _PART):
        part = target[start : start + _PART]
        fill(start, part)
        hasher.update(part)
    return hasher.digest()


def flat(data: Buffer) -> memoryview:
    """The bytes of *data*, which may have any shape, in one row; not copied.

    Example:
        >>> flat(memoryview(bytes(6)).cast("H", (3, 1))).nbytes
        6
    """
    view = memoryview(data)
    return view.cast("B") if view.nbytes else memoryview(b"")  # a view of shape (0, 3) cannot be cast


def digest_of(*parts: str) -> str:
    r"""Digest texts joined by newlines, each ended by one; used where a digest names a combination of facts.

    Example:
        >>> digest_of("a", "b") == digest(b"a\nb\n")
        True
    """
    return digest("".join(f"{part}\n" for part in parts).encode())


def join_digests(rows: Iterable[tuple[bytes, int]]) -> str:
    """Digest an ordered list of (piece digest, piece length in bytes); one piece alone keeps its own digest."""
    listed = list(rows)
    if len(listed) == 1:
        return listed[0][0].hex()
    return digest(b"".join(piece + length.to_bytes(8, "little") for piece, length in listed))


def is_digest(value: object) -> bool:
    """Whether *value* is the text of a digest."""
    return isinstance(value, str) and len(value) == _DIGITS and not value.strip("0123456789abcdef")
