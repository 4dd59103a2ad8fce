"""Where bytes are cut: every so many, or where they say so themselves, so that what is moved is still found.

The second is local-maximum chunking (N. Bjørner, A. Blass, Y. Gurevich: Content-dependent chunking for differential
compression, the local maximum approach, J. Computer and System Sciences 76, 2010): a byte begins a piece if the four
bytes from there on, mixed, are the largest within *h* bytes on either side. No state is carried from byte to byte, as
in a rolling hash, so numpy does it; benchmarks/bench_chunking.py has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from modelkeep.digest import Buffer, flat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint32]

LARGE = 256 * 1024 * 1024  # bytes; larger files are cut into larger pieces, so that their manifest stays small
BATCH = 8 * 1024 * 1024  # bytes
LONGEST = 8  # half windows; the piece that is cut although nothing says so
_WORD = 4  # bytes that decide whether a place is a cut
_MIX = 0x9E3779B1  # odd: distinct words stay distinct and zeros stay zero; 2**32 over the golden ratio, nearly prime
_PAGE, _LINE = 4096, 16  # bytes; what processors compare of addresses, and what numpy aligns memory to
_SPAN = 128 * 1024  # bytes mixed at once; four times as many fit the cache of a core


def cut(buffers: Iterable[Buffer], size: int) -> Iterator[list[memoryview]]:
    """Cut a stream every *size* bytes; each part as the views that make it up, so that nothing is copied here.

    Example:
        >>> [b"".join(part) for part in cut([b"abc", b"defg"], 3)]
        [b'abc', b'def', b'g']
    """
    held: list[memoryview] = []
    room = size
    for buffer in buffers:
        view = flat(buffer)
        while view.nbytes:
            held.append(view[:room])
            room -= held[-1].nbytes
            view = view[held[-1].nbytes :]
            if room == 0:
                yield held
                held, room = [], size
    if held:
        yield held


def half_window(size: int) -> int:
    """The half window in bytes for a file of *size* bytes; pieces are twice as long on average.

    Example:
        >>> half_window(1_000_000), half_window(1_000_000_000)
        (32768, 131072)
    """
    return 128 * 1024 if size > LARGE else 32 * 1024


def local_maxima(data: Buffer | Bytes, h: int) -> list[int]:
    """The places at which the four bytes from there on, mixed, are the maximum of all within *h* bytes.

    A place is strictly greater than all before it in its window and not less than any behind it, and only those
    places count whose windows lie in *data* on both sides.

    Args:
        data: any bytes.
        h: the half window, in bytes; 3 at least.

    Example:
        >>> run = b"the quick brown fox jumps over the lazy dog"
        >>> local_maxima(run, 5), local_maxima(b"and now " + run, 5)
        ([9, 19, 25], [10, 17, 27, 33])
    """
    import numpy as np

    raw = np.frombuffer(data, np.uint8)
    count = raw.nbytes - (_WORD - 1)  # places that four bytes begin at
    if count <= 2 * h:
        return []
    block = max(_WORD, h // 8 // _WORD * _WORD)  # at most h + 1: only the first maximum of a block can be one of all
    highest = _highest(raw, count, block)
    within = (h + 1) // block - 1  # so many blocks on either side lie in the window of every place of a block
    likely = _stands_out(highest, within)
    certain = _stands_out(highest, within + 2)  # these cover the window, wherever the place lies in the block
    found = []
    for index in np.flatnonzero(likely).tolist():
        start = index * block
        place = start + int(_mixed(raw, start, min(start + block, count)).argmax())
        if not h <= place < count - h:
            continue
        top, left, right = int(highest[index]), start - within * block, start + (within + 1) * block
        if certain[index] or _most(raw, place - h, left) < top >= _most(raw, right, place + h + 1):
            found.append(place)
    return found


def content_pieces(
    fill: Callable[[int, memoryview], None], size: int, h: int, *, batch: int = BATCH
) -> Iterator[list[memoryview]]:
    """Cut a run of bytes at its `local_maxima`, and 8 *h* bytes behind the last cut where there is none.

    Pieces are longer than *h*, but for the last one and those on either side of a cut without a maximum; a piece of one
    byte costs little there, as no two of them follow each other, and a maximum that is kept brings the cuts of
    a changed run back in step. The cuts depend on the bytes and *size* alone.

    Args:
        fill: ``fill(start, target)`` writes the bytes from *start* on into *target*; called in order, once for a byte.
        size: of the run, in bytes.
        h: the half window, in bytes; pieces have about twice that on average.
        batch: bytes that are read at once, at least; no more than this and 9 *h* are held.

    Yields:
        Pieces that follow one another, as views of memory that nobody else writes to.

    Example:
        >>> run = bytes(1000) + b"one" + bytes(100) + b"two" + bytes(100)
        >>> def fill(start, target):
        ...     target[:] = run[start : start + len(target)]
        >>> [[len(piece) for piece in pieces] for pieces in content_pieces(fill, len(run), 64)]
        [[512, 489, 104, 101]]
    """
    import numpy as np

    held = np.empty(0, np.uint8)
    start = filled = known = last = 0  # where held begins and ends; maxima before known are found; the last cut
    while filled < size:
        fresh = min(batch, size - filled)
        keep = min(last, max(0, known - h))
        buffer = np.empty(filled - keep + fresh, np.uint8)
        buffer[: filled - keep] = held[keep - start :]
        held, start = buffer, keep
        fill(filled, held.data[filled - start :])
        filled += fresh
        context = max(0, known - h)
        found = [context + place for place in local_maxima(held[context - start :], h)]
        known = size if filled == size else max(known, filled - h - (_WORD - 1))
        cuts = list(_cuts(last, found, known, LONGEST * h))
        if filled == size:
            cuts.append(size)
        if cuts:
            yield [held.data[one - start : other - start] for one, other in pairwise([last, *cuts])]
            last = cuts[-1]


def _cuts(last: int, found: list[int], known: int, longest: int) -> Iterator[int]:
    """The maxima *found*, and what must be cut between them and before *known*, behind which nothing is known."""
    for place in [*found, known]:
        while place - last > longest:
            last += longest
            yield last
        if place != known:
            last = place
            yield last


def _highest(raw: Bytes, count: int, block: int) -> Words:
    """The highest mixed word that begins in each block; all but a tenth of the time goes here."""
    import numpy as np

    whole = count // block
    highest = np.empty(-(-count // block), np.uint32)
    step = max(1, _SPAN // block)  # blocks
    memory = _apart(raw, _WORD * min(step, whole) * block).view("<u4")
    for first in range(0, whole, step):
        blocks = min(step, whole - first)
        words = memory[: blocks * block].reshape(_WORD, blocks * block // _WORD)
        # row k begins k bytes later, as numpy multiplies aligned words twice as fast, copies included
        words.view(np.uint8)[...] = np.ndarray((_WORD, blocks * block), np.uint8, raw, first * block, (1, 1))
        np.multiply(words, np.uint32(_MIX), out=words)
        words.reshape(_WORD, blocks, block // _WORD).max(axis=2).max(axis=0, out=highest[first : first + blocks])
    if whole < highest.size:
        highest[whole] = _mixed(raw, whole * block, count).max()
    return highest


def _apart(raw: Bytes, size: int) -> Bytes:
    """Memory of *size* bytes, half a page off *raw*: copies between equal places of pages are four times slower."""
    import numpy as np

    memory = np.empty(size + _PAGE, np.uint8)
    start = (raw.ctypes.data + _PAGE // 2 - memory.ctypes.data) % _PAGE // _LINE * _LINE
    return memory[start : start + size]


def _stands_out(highest: Words, near: int) -> NDArray[np.bool_]:
    """Which blocks are above the *near* ones before them, and not below those behind them."""
    import numpy as np

    before, behind = np.zeros_like(highest), np.zeros_like(highest)
    for by in range(1, min(near, highest.size - 1) + 1):
        np.maximum(before[by:], highest[:-by], out=before[by:])
        np.maximum(behind[:-by], highest[by:], out=behind[:-by])
    outstanding: NDArray[np.bool_] = (highest > before) & (highest >= behind)
    return outstanding


def _most(raw: Bytes, start: int, stop: int) -> int:
    """The highest mixed word that begins at places *start* to *stop*; -1 where there are none."""
    return int(_mixed(raw, start, stop).max()) if start < stop else -1


def _mixed(raw: Bytes, start: int, stop: int) -> Words:
    """The mixed words that begin at places *start* to *stop*."""
    import numpy as np

    words: Words = np.ndarray((stop - start,), "<u4", raw, start, (1,))  # one for each byte
    return np.multiply(words, np.uint32(_MIX))
