"""How a piece is stored: as it is, or as one Zstandard frame of its bytes, perhaps turned before so that it shrinks.

Turning is reversible, and each step may be left out: XOR with another piece of the same length, which turns what both
have into zeros; then each element is rotated left by one bit, which puts the sign of a float last, so that its exponent
fills the top byte; then a byte shuffle (as in HDF5 and Blosc), which puts the first bytes of all elements together,
then the second ones, and so on. All three are linear under XOR, so of a chain of differences the unpacked frames are
added up first, and turned back once.

Or it is the frame of what comes after its base (a *patch*): where the base has the same bytes, the frame refers to
them. The two need not have the same length, nor what is alike the same place. Such a frame is no sum: the base is
unpacked first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from modelkeep import zstd
from modelkeep.digest import Buffer, flat

RAW, ZSTD, PATCH = 0, 1, 2
WIDTHS = (0, 2, 4, 8, 16)  # bytes of an element; 0: neither rotated nor shuffled
SAMPLE = 64 * 1024  # bytes; what all four widths are tried on in half a millisecond
_TRIED = (0, 2, 4, 8)  # nothing that is common has elements of 16 bytes
_BY_CHANCE = 1.005  # a gain that says nothing of the whole; pieces of one width are turned back together
_ALIGNED = 16  # bytes; a sample begins where an element of any width does
_WORD = 8  # bytes; the widest number that numpy shifts
_STEP = 1 << 19  # bytes that are unpacked at once, so that they are added up from the cache of the core: a sixth faster
_AT_ONCE = 1 << 18  # elements; fewer cost more calls, more leave the cache: 2.6 GB/s here, 2.3 at a quarter of it


@attrs.frozen
class Link:
    """One of a chain: the stored bytes of a piece, or of what it was turned by.

    Args:
        stored: the bytes as they are stored.
        codec: `RAW`, `ZSTD` or `PATCH`.
        width: bytes of an element, if it was rotated and shuffled by them; else 0.
        length: in bytes, unpacked; only needed below a patch.
    """

    stored: Buffer
    codec: int = RAW
    width: int = 0
    length: int = 0


@attrs.frozen
class Form:
    """A way to store a piece, as far as a sample tells.

    Args:
        width: bytes of an element; 0 for not rotated and shuffled.
        ratio: size as packed by size as it is.
    """

    width: int
    ratio: float


def pack(data: Buffer, *, width: int = 0, base: Buffer | None = None) -> bytes:
    """The Zstandard frame of *data*, turned by *base* and *width*.

    Raises:
        ValueError: the base has another length.

    Example:
        >>> stored = pack(b"abcdefg", width=2, base=b"abcdxyz")
        >>> bytes(unpack([Link(stored, ZSTD, width=2), Link(b"abcdxyz")], 7))
        b'abcdefg'
    """
    turned = flat(data) if base is None else _differing(data, base)
    if not width:
        return zstd.compress(turned)
    return zstd.compress(*_parts(_turned(turned, width), width), settings="numbers")


def patch(data: Buffer, base: Buffer) -> bytes:
    """The frame of *data* as it comes after *base*, which has 8 bytes at least.

    Example:
        >>> base = bytes(range(256))
        >>> links = [Link(patch(base[9:] + base, base), PATCH), Link(base)]
        >>> bytes(unpack(links, 503)) == base[9:] + base
        True
    """
    return zstd.compress_after(flat(base), flat(data))


def unpack(links: Sequence[Link], length: int) -> Buffer:
    """The bytes of a piece.

    Args:
        links: it, what it was turned by or is a patch of, the same of that, and so on.
        length: of the bytes; all that was turned by one another has as many.

    Raises:
        ValueError: a frame holds no such bytes.
    """
    at = next((index for index, link in enumerate(links) if link.codec == PATCH), None)
    if at is not None:
        first, *below = links[at:]
        base = unpack(below, below[0].length or flat(below[0].stored).nbytes)
        links = [*links[:at], Link(zstd.decompress_after(flat(base), first.stored, length))]
    by_width: dict[int, list[Link]] = {}
    for link in links:
        by_width.setdefault(link.width if link.codec != RAW else 0, []).append(link)
    total: Buffer = b""
    for width in sorted(by_width, reverse=True):  # what was turned back is fresh memory: others can be added to it
        added = _sum(by_width[width], length)
        part = _turned_back(added, width) if width else added
        total = _add(total, 0, part) if total else part
    return total


def plain_form(sample: Buffer) -> Form:
    """How a sample shrinks most by itself; of those as good by half a percent the smallest width.

    Example:
        >>> plain_form(bytes(1000)).width
        0
    """
    return _smallest(flat(sample))


def form_against(sample: Buffer, base: Buffer) -> Form:
    """How what a sample differs by from the same bytes of a base shrinks most.

    Raises:
        ValueError: the base has another length.

    Example:
        >>> form_against(b"abcd" * 9, b"abcd" * 9).width
        0
    """
    return _smallest(_differing(sample, base))


def sample_span(length: int) -> tuple[int, int]:
    """Where in a piece of *length* bytes the sample lies: offset and length.

    Example:
        >>> sample_span(100), sample_span(1 << 20)
        ((0, 100), (491520, 65536))
    """
    size = min(length, SAMPLE)
    return (length - size) // 2 // _ALIGNED * _ALIGNED, size


def _smallest(sample: memoryview) -> Form:
    if not sample.nbytes:
        return Form(0, 1.0)
    forms = [Form(width, len(pack(sample, width=width)) / sample.nbytes) for width in _TRIED]
    enough = min(form.ratio for form in forms) * _BY_CHANCE
    return next(form for form in forms if form.ratio <= enough)


def _parts(turned: memoryview, width: int) -> Iterator[memoryview]:
    """The first bytes of all elements, the second ones, and so on; what is left over goes with the last.

    Each with a block of its own: of 64 KiB of random fp32 0.83 is left with, and 0.92 without.
    """
    count = turned.nbytes // width
    for index in range(width - 1):
        yield turned[index * count : (index + 1) * count]
    yield turned[(width - 1) * count :]


def _sum(links: Sequence[Link], length: int) -> Buffer:
    """What links of one width hold, XORed; one alone is given as it is."""
    if len(links) == 1:
        (alone,) = links
        found = flat(alone.stored) if alone.codec == RAW else zstd.decompress(alone.stored, length)
        _check_length(len(found), length)
        return found
    import numpy as np

    total: memoryview = np.empty(length, np.uint8).data
    for index, link in enumerate(links):
        parts = [flat(link.stored)] if link.codec == RAW else zstd.decompressed(link.stored, length, step=_STEP)
        at = 0
        for part in parts:
            _check_length(max(at + len(part), length), length)
            if index:
                _add(total, at, part)
            else:
                np.copyto(np.frombuffer(total, np.uint8)[at : at + len(part)], np.frombuffer(part, np.uint8))
            at += len(part)
        _check_length(at, length)
    return total


def _check_length(found: int, length: int) -> None:
    if found != length:
        raise ValueError(f"it unpacks to {found} bytes, and {length} belong there")


def _add(total: Buffer, at: int, part: Buffer) -> Buffer:
    """XOR *part* into *total*, memory of our own, from *at* on."""
    import numpy as np

    into = np.frombuffer(total, np.uint8)[at : at + len(part)]
    np.bitwise_xor(into, np.frombuffer(part, np.uint8), out=into)
    return total


def _differing(data: Buffer, base: Buffer) -> memoryview:
    if flat(data).nbytes != flat(base).nbytes:
        raise ValueError(f"a base of {flat(base).nbytes} bytes does not turn {flat(data).nbytes}")
    import numpy as np

    turned: memoryview = np.bitwise_xor(np.frombuffer(data, np.uint8), np.frombuffer(base, np.uint8)).data
    return turned


def _turned(data: Buffer, width: int) -> memoryview:
    """Rotated and shuffled; what is left over at the end, less than an element, stays there."""
    import numpy as np

    raw = np.frombuffer(data, np.uint8)
    turned = np.empty(raw.size, np.uint8)
    for word, planes in _blocks(raw, turned, width):
        rotated = np.left_shift(word, 1)
        rotated |= word >> (8 * word.itemsize - 1)
        _split(rotated, planes)
    whole = raw.size - raw.size % width
    turned[whole:] = raw[whole:]
    found: memoryview = turned.data
    return found


def _turned_back(data: Buffer, width: int) -> memoryview:
    import numpy as np

    turned = np.frombuffer(data, np.uint8)
    raw = np.empty(turned.size, np.uint8)
    for word, planes in _blocks(raw, turned, width):
        joined = _joined(planes)
        np.right_shift(joined, 1, out=word)
        joined <<= 8 * word.itemsize - 1
        np.bitwise_or(word, joined, out=word)
    whole = raw.size - raw.size % width
    raw[whole:] = turned[whole:]
    found: memoryview = raw.data
    return found


def _blocks(raw: Any, turned: Any, width: int) -> Iterator[tuple[Any, Any]]:
    """The numbers of *raw*, some at once, each time with the planes of *turned* for their bytes.

    Elements of 16 bytes are two numbers of 8.
    """
    count = raw.size // width
    planes = turned[: count * width].reshape(width, count)
    words = raw[: count * width].view(f"<u{min(width, _WORD)}").reshape(count, max(1, width // _WORD))
    for start in range(0, count, _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        for index, word in enumerate(words[here].T):
            yield word, planes[_WORD * index : _WORD * (index + 1), here]


def _split(numbers: Any, planes: Any) -> None:
    """Put the bytes of *numbers*, which are changed, into as many planes.

    By halves, since numpy narrows and widens numbers at twice the speed at which it copies every other byte.
    """
    import numpy as np

    half = len(planes) // 2
    if not half:
        np.copyto(planes[0], numbers, casting="unsafe")
        return
    _split(numbers if half == 1 else numbers.astype(f"<u{half}"), planes[:half])
    numbers >>= 8 * half
    _split(numbers if half == 1 else numbers.astype(f"<u{half}"), planes[half:])


def _joined(planes: Any) -> Any:
    """Numbers, in fresh memory, of which *planes* are the bytes."""
    half = len(planes) // 2
    if not half:
        return planes[0]
    numbers = _joined(planes[half:]).astype(f"<u{2 * half}")
    numbers <<= 8 * half
    numbers |= _joined(planes[:half])
    return numbers
