"""Pieces on their way from an old pack to a new one: read, checked, packed by several threads, and given in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

import attrs

from modelkeep._fates import WORTH, Fate
from modelkeep._places import Write
from modelkeep.codecs import RAW, ZSTD, Form, Link, form_against, pack, plain_form, sample_span, unpack
from modelkeep.digest import Buffer, flat, raw_digest
from modelkeep.errors import IntegrityError, MissingObjectError
from modelkeep.layout import pack_key
from modelkeep.manifest import Piece
from modelkeep.packfiles import PackFiles
from modelkeep.threads import FAR_READS, Threads, cores

_UNDER_WAY = 32 * 1024 * 1024  # bytes of pieces; with what they are turned by, and packed, twice to three times that
_AT_ONCE = 1024 * 1024  # bytes; less is done before a thread has begun
_BETTER = 0.8  # of the plain form; what a difference must come down to, as it takes a read more
_MOST_THREADS = 4  # each holds some 40 MiB


class BrokenError(Exception):
    """A version cannot be read any more, so it is left as it is: what was to be said of it, and its number."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


@attrs.frozen(eq=False)
class Made:
    """What is stored of a piece.

    Args:
        write: the piece.
        codec: `RAW` or `ZSTD`.
        width: bytes of an element, if it was shuffled by them.
        turned: whether it was turned by its base.
        stored: the bytes.
        stored_digest: 32 bytes, BLAKE3 of these.
        seconds: that reading it back took.
    """

    write: Write
    codec: int
    width: int
    turned: bool
    stored: Buffer
    stored_digest: bytes
    seconds: float = 0.0


@attrs.frozen(eq=False)
class Maker:
    """Reads pieces and makes what is stored of them.

    Args:
        files: what reads the packs that are there.
        forms: how pieces are packed by themselves, by digest, as far as that is known.
        raw: where pieces still lie raw although they were packed since.
    """

    files: PackFiles
    forms: Mapping[bytes, Form]
    raw: Mapping[bytes, Piece] = attrs.Factory(dict)

    def all(self, writes: Iterable[tuple[int, Write]]) -> Iterator[Made]:
        """Make what is stored of pieces, each given with the number of the version that it is for; in order.

        Raises:
            BrokenError: a piece is damaged, or not there any more.
            IntegrityError: what was packed does not unpack to what it was: a fault of this program or machine.
        """
        listed = list(writes)
        if sum(write.old.length for _, write in listed) <= _AT_ONCE:
            yield from (self._whole(number, write) for number, write in listed)
            return
        far = bool(getattr(self.files.store, "remote", False))
        under_way: deque[tuple[int, Future[Made]]] = deque()
        with Threads(FAR_READS if far else min(_MOST_THREADS, cores())) as threads:
            for number, write in listed:
                while under_way and sum(size for size, _ in under_way) + write.old.length > _UNDER_WAY:
                    yield under_way.popleft()[1].result()
                if far:
                    work: Callable[[], Made] = partial(self._whole, number, write)
                else:  # a store that does not say that it is far may not bear threads
                    work = partial(self._make, write, *self._load(number, write))
                under_way.append((write.old.length, threads.start(work)))
            while under_way:
                yield under_way.popleft()[1].result()

    def _whole(self, number: int, write: Write) -> Made:
        return self._make(write, *self._load(number, write))

    # -- reading ---------------------------------------------------------------------------------------------

    def _load(self, number: int, write: Write) -> tuple[Buffer, Buffer | None]:
        """The bytes of a piece, or as they are stored if they are copied; and those of its base, if it is to be had."""
        try:
            if write.fate is Fate.REBASE:
                return b"", None
            if write.fate is Fate.COPY:
                return self._stored(write.old), None
            data = self._plain(write.old)
        except (IntegrityError, MissingObjectError) as error:
            raise BrokenError(number, str(error)) from error
        return data, self._below(write)

    def _below(self, write: Write) -> Buffer | None:
        base = write.base
        if base is None:
            return None
        if isinstance(base, Piece) and (raw := self.raw.get(base.digest)) is not None:
            with suppress(IntegrityError, MissingObjectError):  # a collector may have taken it away
                return self._plain(raw)
        try:
            return self._plain(base.old if isinstance(base, Write) else base)
        except (IntegrityError, MissingObjectError):
            return None  # it does without

    def _plain(self, piece: Piece) -> Buffer:
        return self.files.pieces([piece])[0]

    def _stored(self, piece: Piece) -> Buffer:
        """The bytes of a piece as they are stored, checked that they are those and that they unpack to it."""
        if piece.codec == RAW:
            return self._plain(piece)
        key = pack_key(self.files.name, self.files.manifest.packs[piece.pack])
        stored = self.files.store.get(key, (piece.offset, piece.stored))
        links = [Link(stored, piece.codec, piece.width)]
        links += [] if piece.base is None else [Link(self._plain(piece.base))]
        try:
            sound = raw_digest(stored) == piece.stored_digest and _is(piece.digest, unpack(links, piece.length))
        except ValueError:
            sound = False
        if not sound:
            raise IntegrityError(f"{key} is damaged; bring the object back from a backup", key=key)
        return stored

    # -- making ----------------------------------------------------------------------------------------------

    def _make(self, write: Write, data: Buffer, base: Buffer | None) -> Made:
        old = write.old
        match write.fate:
            case Fate.REBASE:
                return Made(write, old.codec, old.width, turned=True, stored=b"", stored_digest=old.stored_digest)
            case Fate.COPY:
                return Made(write, old.codec, old.width, old.base is not None, data, old.stored_digest)
            case Fate.STAY:
                return Made(write, RAW, 0, turned=False, stored=data, stored_digest=old.digest)
        return self._packed(write, flat(data), base)

    def _packed(self, write: Write, data: memoryview, base: Buffer | None) -> Made:
        raw = Made(write, RAW, 0, turned=False, stored=data, stored_digest=write.digest)
        form, turned = self._form(write, data, base)
        if form.ratio > WORTH:
            return raw
        base = base if turned else None
        stored = pack(data, width=form.width, base=base)
        if len(stored) >= data.nbytes:
            return raw
        begin = time.perf_counter()
        try:
            found: Buffer = unpack(
                [Link(stored, ZSTD, form.width), *([] if base is None else [Link(base)])], data.nbytes
            )
        except ValueError:
            found = b""
        seconds = time.perf_counter() - begin
        if not _is(write.digest, found):
            raise IntegrityError(
                "a piece that was packed does not unpack to what it was, so nothing was changed; test the memory of "
                "this machine, and report it"
            )
        return Made(write, ZSTD, form.width, turned, stored, raw_digest(stored, alone=False), seconds)

    def _form(self, write: Write, data: memoryview, base: Buffer | None) -> tuple[Form, bool]:
        """How to pack a piece, and whether its base helps."""
        start, size = sample_span(data.nbytes)
        sample = data[start : start + size]
        plain = self.forms.get(write.digest) or plain_form(sample)
        if base is not None:
            against = form_against(sample, flat(base)[start : start + size])
            if against.ratio <= _BETTER * plain.ratio:
                return against, True
        return plain, False


def _is(digest: bytes, found: Buffer) -> bool:
    return raw_digest(found, alone=False) == digest
