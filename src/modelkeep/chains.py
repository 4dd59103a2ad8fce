"""The stored bytes of pieces and of what they were turned by, from where they are nearest, and what they unpack to.

What unpacks to the right digest is right, whatever it was read from and turned by, so only the piece itself is
digested. Where that does not fit, the digests of the stored bytes tell which of them are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import attrs

from modelkeep.codecs import RAW, Link, unpack
from modelkeep.digest import Buffer, flat, raw_digest
from modelkeep.errors import IntegrityError
from modelkeep.layout import pack_key
from modelkeep.manifest import Piece
from modelkeep.pieces import PIECE
from modelkeep.stores.port import Store

RUN = 2 * PIECE  # bytes that one read of neighbouring pieces takes at most, with all that they were turned by
GAP = 64 * 1024  # bytes between two pieces that are cheaper to read over than to ask for both


class Kept(Protocol):
    """What this machine keeps of far packs; see `modelkeep.packcache`. Its bytes are checked on every use."""

    def read_into(self, key: str, offset: int, target: memoryview) -> bool:
        """Fill *target* with what is kept; False if there is nothing."""
        ...

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Keep *data*, if the disk takes it."""
        ...


@attrs.frozen
class _Span:
    """Neighbouring pieces, and what lies there."""

    run: Sequence[Piece]
    raw: memoryview
    origin: str  # "last", "kept" or "store"

    def stored(self, piece: Piece) -> memoryview:
        return self.raw[piece.offset - self.run[0].offset :][: piece.stored]


@attrs.frozen
class Chains:
    """Reads pieces with all that they were turned by. Safe to use from several threads.

    Args:
        store: where they lie.
        name: the model.
        packs: the ids of its packs.
        last: the whole last pack, if it is at hand.
        kept: what this machine keeps of the packs, if it keeps any.
    """

    store: Store
    name: str
    packs: tuple[str, ...]
    last: bytes | None = None
    kept: Kept | None = None

    def key(self, piece: Piece) -> str:
        """The key of its pack."""
        return pack_key(self.name, self.packs[piece.pack])

    def is_at_hand(self, piece: Piece) -> bool:
        """Whether it lies in the pack that is at hand."""
        return self.last is not None and piece.pack == len(self.packs) - 1

    def read(self, run: Sequence[Piece], *, thorough: bool = False) -> list[Buffer]:
        """The bytes of neighbouring pieces, checked: one request, and one for each run of what they were turned by.

        Args:
            run: they.
            thorough: check the stored bytes too, of all of them and of all that they were turned by.

        Raises:
            IntegrityError: bytes are not as they were written; names the object that they lie in, and where.
        """
        spans = [self._nearest(run), *map(self._nearest, _below(run))]
        try:
            plain = self._unpacked(run, spans, thorough=thorough)
        except IntegrityError:
            if all(span.origin != "kept" for span in spans):
                raise
            spans = [self._fetched(span.run) if span.origin == "kept" else span for span in spans]
            plain = self._unpacked(run, spans, thorough=thorough)
        if self.kept is not None:
            for span in spans:
                if span.origin == "store":
                    self.kept.write(self.key(span.run[0]), span.run[0].offset, span.raw)
        return plain

    def check(self, run: Sequence[Piece], raw: memoryview) -> None:
        """Check neighbouring raw pieces, whose bytes are *raw*.

        Raises:
            IntegrityError: see `read`.
        """
        self._unpacked(run, [_Span(run, raw, "store")])

    def damaged(self, piece: Piece, why: str) -> IntegrityError:
        """The error that names a piece."""
        return IntegrityError(
            f"{self.key(piece)} is damaged at bytes {piece.offset} to {piece.offset + piece.stored}: {why}; "
            "bring the object back from a backup",
            key=self.key(piece),
            offset=piece.offset,
            length=piece.stored,
        )

    def _nearest(self, run: Sequence[Piece]) -> _Span:
        start, end = _extent(run)
        if self.is_at_hand(run[0]):
            return _Span(run, memoryview(self.last or b"")[start:end], "last")
        if self.kept is not None:
            raw = memoryview(bytearray(end - start))
            if self.kept.read_into(self.key(run[0]), start, raw):
                return _Span(run, raw, "kept")
        return self._fetched(run)

    def _fetched(self, run: Sequence[Piece]) -> _Span:
        start, end = _extent(run)
        return _Span(run, memoryview(self.store.get(self.key(run[0]), (start, end - start))), "store")

    def _unpacked(self, run: Sequence[Piece], spans: Iterable[_Span], *, thorough: bool = False) -> list[Buffer]:
        stored = {_place(piece): span.stored(piece) for span in spans for piece in span.run}
        return [self._plain(piece, stored, thorough=thorough) for piece in run]

    def _plain(self, piece: Piece, stored: Mapping[_Place, memoryview], *, thorough: bool) -> Buffer:
        if thorough and piece.codec != RAW:  # of a raw one both digests are the same
            self._check_stored(piece, stored)
        try:
            return _plain(piece, stored)
        except ValueError as error:
            self._check_stored(piece, stored)
            raise self.damaged(piece, str(error)) from None

    def _check_stored(self, piece: Piece, stored: Mapping[_Place, memoryview]) -> None:
        for one in piece.chain():
            try:
                _check_size(one, raw := stored[_place(one)])
            except ValueError as error:
                raise self.damaged(one, str(error)) from None
            if raw_digest(raw, alone=False) != one.stored_digest:
                raise self.damaged(one, "they are not the bytes that were written")


_Place = tuple[int, int, int]


def _place(piece: Piece) -> _Place:
    return piece.pack, piece.offset, piece.stored


def _extent(run: Sequence[Piece]) -> tuple[int, int]:
    return run[0].offset, run[-1].offset + run[-1].stored


def _plain(piece: Piece, stored: Mapping[_Place, memoryview]) -> Buffer:
    """Raises ValueError if they are not what was written; says why."""
    links = []
    for one in piece.chain():
        _check_size(one, raw := stored[_place(one)])
        links.append(Link(raw, one.codec, one.width, one.length))
    plain = links[0].stored if piece.codec == RAW else unpack(links, piece.length)
    if flat(plain).nbytes != piece.length or raw_digest(plain, alone=False) != piece.digest:
        raise ValueError("they are not the bytes that were written")
    return plain


def _check_size(piece: Piece, raw: memoryview) -> None:
    if raw.nbytes != piece.stored:
        raise ValueError(f"{piece.stored} bytes belong there and {raw.nbytes} are there")


def _below(run: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Runs of what pieces were turned by, each once."""
    found = {_place(one): one for piece in run if piece.base is not None for one in piece.base.chain()}
    for piece in run:
        found.pop(_place(piece), None)
    return runs([found[place] for place in sorted(found)])


def _needed(piece: Piece) -> int:
    """Bytes of memory that it takes to read a piece."""
    return piece.length if piece.base is None else max(piece.length, sum(one.stored for one in piece.chain()))


def runs(pieces: Iterable[Piece], *, over_gaps: bool = True) -> Iterator[list[Piece]]:
    """Neighbouring pieces together, so that one request reads them.

    Args:
        pieces: in the order in which they are wanted.
        over_gaps: whether a few bytes may be read for nothing.
    """
    run: list[Piece] = []
    total = 0
    for piece in pieces:
        own = _needed(piece)
        if run:
            between = piece.offset - (run[-1].offset + run[-1].stored)
            stored = piece.offset + piece.stored - run[0].offset
            near = piece.pack == run[0].pack and 0 <= between <= (GAP if over_gaps else 0)
            if not near or max(total + own, stored) > RUN:
                yield run
                run, total = [], 0
        run.append(piece)
        total += own
    if run:
        yield run
