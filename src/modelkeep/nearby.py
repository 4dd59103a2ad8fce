"""What the last version has where a piece of a new file lies, so that a save can write what differs alone.

Most of a table of which 1 % of the rows changed, anywhere, is there already; yet no piece is equal, since each holds a
changed row. Such a piece is stored as a patch of the one that lies at the same place in the same file of the last
version (`modelkeep.codecs`).
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

import attrs

from modelkeep.atrest import WORTH_SHARING, AtRest
from modelkeep.chains import Chains, runs
from modelkeep.digest import Buffer, flat
from modelkeep.errors import IntegrityError, MissingObjectError, StoreError
from modelkeep.manifest import MAX_DEPTH, Piece
from modelkeep.stores.port import Store

_BLOCK = 1024 * 1024  # bytes that are read at once; a request each, from a far store
_HELD = 8  # blocks; twice as many as there are threads that ask
_TRIES = 32  # pieces in vain before the two files are taken for unlike
_LARGEST = 1024 * 1024  # bytes of a piece; two of them fit the window of a frame twice


@attrs.define(eq=False)
class _Block:
    """Neighbouring pieces, from the index of the first on, read together when one of them is asked for."""

    first: int
    last: int
    pieces: list[Piece] = attrs.Factory(list)
    plain: dict[Piece, Buffer] = attrs.Factory(dict)
    lock: threading.Lock = attrs.Factory(threading.Lock)


class Nearby:
    """The pieces of a file of the last version by place. Safe to use from several threads.

    Args:
        store: where they lie.
        name: the model.
        at_rest: what may be used of them.
        path: the file.
        size: of the new file, in bytes: places are scaled, as where rows are gone everywhere.
    """

    def __init__(self, store: Store, name: str, at_rest: AtRest, path: str, size: int) -> None:
        self._chains = Chains(store, name, at_rest.packs)
        old = at_rest.files.get(path, ())
        self._ends = list(accumulate(piece.length for piece in old))
        self._scale = self._ends[-1] / size if old and size else 1.0
        self._lock = threading.Lock()
        self._held: deque[_Block] = deque()
        self._left = _TRIES
        self._bases = [_base(at_rest.places.get(piece.digest)) for piece in old]
        self._blocks = _blocks(self._bases)

    def at(self, start: int, stop: int, head: bytes) -> tuple[Piece, Buffer] | None:
        """The piece that is most likely the one of which bytes *start* to *stop* of the new file are a change.

        None where nothing is near; nor where it cannot be read, which is no reason to refuse a save.

        Args:
            start: the first byte.
            stop: the byte behind the last.
            head: the first bytes: pieces are cut where these say so, so they are the same of most that changed.
        """
        index = bisect_right(self._ends, int((start + stop) / 2 * self._scale))
        if self._left <= 0 or index >= len(self._bases):
            return None
        try:
            return self._beginning(index, head) or self._found(index)
        except (StoreError, MissingObjectError, IntegrityError):
            self._left = 0
            return None

    def learn(self, *, shrank: bool) -> None:
        """Hear whether a patch was worth it: of files that have nothing alike no more is read."""
        with self._lock:
            self._left = _TRIES if shrank else self._left - 1

    def _beginning(self, index: int, head: bytes) -> tuple[Piece, Buffer] | None:
        """The piece next to a place that begins so: first of its block, then of the two beside it."""
        first, last = self._blocks[index].first, self._blocks[index].last
        for begin, end in ((first, last), (self._blocks[max(0, first - 1)].first, self._last(last))):
            for other in sorted(range(begin, end), key=lambda other: abs(other - index)):
                found = self._found(other)
                if found is not None and flat(found[1])[: len(head)] == head:
                    return found
        return None

    def _last(self, last: int) -> int:
        return self._blocks[min(last, len(self._blocks) - 1)].last

    def _found(self, index: int) -> tuple[Piece, Buffer] | None:
        base = self._bases[index]
        return None if base is None else (base, self._plain(self._blocks[index], base))

    def _plain(self, block: _Block, base: Piece) -> Buffer:
        with block.lock:
            plain = block.plain  # another thread may let go of it
            if not plain:
                for run in runs(sorted(set(block.pieces), key=lambda piece: (piece.pack, piece.offset))):
                    plain.update(zip(run, self._chains.read(run), strict=True))
                self._hold(block)
            return plain[base]

    def _hold(self, block: _Block) -> None:
        with self._lock:
            self._held.append(block)
            if len(self._held) > _HELD:
                self._held.popleft().plain = {}


def _base(piece: Piece | None) -> Piece | None:
    """What may be patched: the piece, or the first below it that is not as deep as can be."""
    if piece is None or not WORTH_SHARING <= piece.length <= _LARGEST:
        return None
    return next(one for one in piece.chain() if one.depth() < MAX_DEPTH)


def _blocks(bases: Sequence[Piece | None]) -> list[_Block]:
    """The block of each piece."""
    found: list[_Block] = []
    size = _BLOCK
    for index, base in enumerate(bases):
        if size >= _BLOCK:
            size = 0
            found.append(_Block(index, index))
        else:
            found.append(found[-1])
        found[-1].last = index + 1
        if base is not None:
            found[-1].pieces.append(base)
            size += base.length
    return found
