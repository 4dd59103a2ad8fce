"""Packs: objects that hold the pieces of files. Written in one pass; read, and every byte checked, piece by piece.

```
16 bytes  b"modelkeep pack 1"
…         stored pieces, each beginning at the next multiple of its alignment, zeros between
…         in the last pack of a save: the manifest, which ends it
```
Raw pieces begin at a multiple of 64, of 4,096 from 64 KiB on, so that they can be mapped; aligning all of them to
4,096 made small models 16 times larger.
"""

from __future__ import annotations

import io
import os
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import attrs

from modelkeep import zstd
from modelkeep.chunking import cut
from modelkeep.digest import Buffer, join_digests, raw_digest
from modelkeep.errors import IntegrityError, InvalidValueError
from modelkeep.layout import pack_key
from modelkeep.manifest import RAW, ZSTD, Manifest, ManifestError, Piece
from modelkeep.progress import nothing
from modelkeep.stores.port import Store
from modelkeep.version import FileFacts, Place, content_digest

MAGIC = b"modelkeep pack 1"
PIECE = 8 * 1024 * 1024  # bytes; below 5 MiB S3 refuses parts
MAX_PACK = 256 * 1024 * 1024  # bytes
WHOLE = 1024 * 1024  # bytes; a last pack up to this size is read whole, in one round
_RUN = 64 * 1024 * 1024  # bytes that one read of neighbouring pieces takes at most
_WORTH = 0.95  # compressed pieces larger than this share of the original are kept raw


@attrs.frozen
class Source:
    """A file to be saved: its path in the version, and how to read its bytes, as often as need be.

    Args:
        path: its name in the version.
        opaque: whether compressing it is worth a try.
        buffers: gives its bytes in order.
    """

    path: str
    opaque: bool
    buffers: Callable[[], Iterator[Buffer]]

    def pieces(self) -> Iterator[memoryview]:
        """Its bytes cut every 8 MiB; without copying where a cut falls within one buffer."""
        return map(_joined, cut(self.buffers(), PIECE))


def _joined(parts: list[memoryview]) -> memoryview:
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def file_source(path: str, source: Path) -> Source:
    """A file on disk as a `Source`.

    Raises:
        InvalidValueError: later, when it changes while it is read.
    """

    def read() -> Iterator[Buffer]:
        with source.open("rb", buffering=0) as file:
            expected, seen = os.fstat(file.fileno()).st_size, 0
            while part := file.read(PIECE):
                seen += len(part)
                yield part
        if seen != expected:
            raise InvalidValueError(
                f"{source} changed while it was saved: {expected} bytes before, {seen} read; save it at rest",
                path=str(source),
            )

    return Source(path, opaque=True, buffers=read)


def content_of(sources: Iterable[Source]) -> str:
    """The content digest of files that are not saved yet; reads them once."""
    return content_digest(
        tuple(
            FileFacts(source.path, sum(n for _, n in rows), join_digests(rows))
            for source in sources
            for rows in [[(raw_digest(piece), piece.nbytes) for piece in source.pieces()]]
        )
    )


@attrs.frozen
class Written:
    """What `write_packs` put where."""

    manifest: Manifest
    place: Place


class _Writer:
    """Deals pieces out to packs, one pack after the other, in a single pass."""

    def __init__(self, sources: Iterable[Source], record: bytes, progress: Callable[[int], None]) -> None:
        self.ids: list[str] = []
        self.written: Written | None = None
        self._record = record
        self._progress = progress
        self._sources = sorted(sources, key=lambda source: source.path)
        self._rows: list[list[Piece]] = [[] for _ in self._sources]
        self._known: dict[bytes, Piece] = {}
        self._todo = self._pieces()
        self._next = next(self._todo, None)

    def _pieces(self) -> Iterator[tuple[int, memoryview]]:
        for index, source in enumerate(self._sources):
            for piece in source.pieces():
                yield index, _at_rest(piece)

    def pack(self, pack: str) -> Iterator[Buffer]:
        """The bytes of the next pack, with the manifest if it is the last."""
        self.ids.append(pack)
        yield MAGIC
        offset = len(MAGIC)
        while self._next is not None:
            index, view = self._next
            if offset > len(MAGIC) and offset + view.nbytes > MAX_PACK:
                return
            own = raw_digest(view)
            piece = self._known.get(own)
            if piece is None:
                stored, codec, stored_digest, alignment = _stored(view, own, self._sources[index].opaque)
                padding = -offset % alignment
                if padding:
                    yield bytes(padding)
                yield stored
                offset += padding
                length = memoryview(stored).nbytes
                piece = Piece(own, stored_digest, len(self.ids) - 1, codec, length, offset, view.nbytes)
                self._known[own] = piece
                offset += length
            self._rows[index].append(piece)
            self._progress(view.nbytes)
            self._next = next(self._todo, None)
        yield self._end(offset)

    def _end(self, offset: int) -> bytes:
        files = tuple((source.path, tuple(rows)) for source, rows in zip(self._sources, self._rows, strict=True))
        manifest = Manifest(tuple(self.ids), files, self._record)
        raw = manifest.encode()
        self.written = Written(manifest, Place(self.ids[-1], offset, len(raw)))
        return raw


def _at_rest(view: memoryview) -> memoryview:
    """A piece that nobody can change between its digest and its last byte on the way; one copy, if need be."""
    return view if isinstance(view.obj, bytes) else memoryview(bytes(view))


def _stored(view: memoryview, own: bytes, opaque: bool) -> tuple[Buffer, int, bytes, int]:
    if opaque:
        packed = zstd.compress(view)
        if len(packed) < view.nbytes * _WORTH:
            return packed, ZSTD, raw_digest(packed), 1
    return view, RAW, own, 4096 if view.nbytes >= 64 * 1024 else 64


def write_packs(
    store: Store,
    name: str,
    ids: Iterator[str],
    sources: Iterable[Source],
    record: bytes,
    *,
    progress: Callable[[int], None] = nothing,
) -> Written:
    """Write files and record as packs; the manifest ends the last one. One request for each 256 MiB.

    Args:
        store: where.
        name: the model.
        ids: new pack ids, never used before.
        sources: the files; read once.
        record: the bytes of the record.
        progress: hears how many bytes of the files were done since the last call.

    Raises:
        StoreError: the store refused; what was put is deleted again as far as it lets us.
    """
    writer = _Writer(sources, record, progress)
    try:
        while writer.written is None:
            pack = next(ids)
            store.put_pack(pack_key(name, pack), writer.pack(pack))
    except BaseException:
        with suppress(Exception):  # invisible all the same: no entry names them
            store.delete([pack_key(name, pack) for pack in writer.ids])
        raise
    return writer.written


def read_manifest(store: Store, name: str, place: Place) -> tuple[Manifest, bytes | None]:
    """The manifest at *place*, and the whole pack if it is small. One request.

    Raises:
        MissingObjectError: the pack is not there.
        IntegrityError: the bytes are not a manifest; names the object.
    """
    key = pack_key(name, place.pack)
    whole = place.offset + place.length <= WHOLE
    raw = store.get(key) if whole else store.get(key, (place.offset, place.length))
    try:
        manifest = _own_manifest(raw[place.offset : place.offset + place.length] if whole else raw, place)
    except ManifestError as error:
        raise IntegrityError(
            f"the manifest in {key} is damaged: {error}; bring the object back from a backup", key=key
        ) from None
    return manifest, raw if whole else None


def _own_manifest(raw: bytes, place: Place) -> Manifest:
    if len(raw) != place.length:
        raise ManifestError(f"{place.length} bytes belong there and {len(raw)} are there")
    manifest = Manifest.parse(raw)
    if manifest.packs[-1:] != (place.pack,):
        raise ManifestError("it is that of another pack")
    return manifest


@attrs.frozen
class PackFiles:
    """The files of a version, every piece checked on the way in. See `modelkeep.serializers.port.Files`.

    Args:
        store: where they lie.
        name: the model.
        manifest: what they are.
        last: the whole last pack, if it was small and read with the manifest.
    """

    store: Store
    name: str
    manifest: Manifest
    last: bytes | None = None

    def names(self) -> tuple[str, ...]:
        """See `Files.names`."""
        return tuple(path for path, _ in self.manifest.files)

    def size(self, path: str) -> int:
        """See `Files.size`."""
        return sum(piece.length for piece in self._pieces(path))

    def read(self, path: str) -> bytearray:
        """See `Files.read`."""
        pieces = self._pieces(path)
        whole = bytearray(sum(piece.length for piece in pieces))
        view, at = memoryview(whole), 0
        runs = list(_runs(pieces))
        with ThreadPoolExecutor(1) if len(runs) > 1 else nullcontext() as behind:  # checks while the next is under way
            checks: list[Callable[[], None]] = []
            for run in runs:
                target = view[at : at + sum(piece.length for piece in run)]
                check = self._read_run(run, target)
                checks += [behind.submit(check).result] if behind else [check]
                at += target.nbytes
            for check in checks:
                check()
        return whole

    def _read_run(self, run: list[Piece], target: memoryview) -> Callable[[], None]:
        """Read neighbouring pieces into *target*; gives what checks them, if that is still to be done."""
        if not self._is_flat(run):
            at = 0
            for piece, stored in self._fetch(run):
                target[at : at + piece.length] = self._checked(piece, stored)
                at += piece.length
            return lambda: None
        found = target[: self.store.get_into(self._key(run[0]), run[0].offset, target)]
        return partial(self._check_run, run, found)

    def _is_flat(self, run: list[Piece]) -> bool:
        """Whether the stored bytes are those of the file, one piece right behind the other, and not read yet."""
        if self.last is not None and run[0].pack == len(self.manifest.packs) - 1:
            return False
        ends = [piece.offset + piece.length for piece in run]
        return all(piece.codec == RAW for piece in run) and ends[:-1] == [piece.offset for piece in run[1:]]

    def _check_run(self, run: list[Piece], found: memoryview) -> None:
        for piece in run:
            start = piece.offset - run[0].offset
            self._checked(piece, found[start : start + piece.length])

    def open(self, path: str) -> BinaryIO:
        """See `Files.open`."""
        return io.BufferedReader(_PieceStream(self, self._pieces(path)), buffer_size=1 << 16)

    def extract(self, folder: Path) -> None:
        """See `Files.extract`. All files or none.

        Raises:
            InvalidValueError: a file is there already; also where the disk does not tell two paths apart.
        """
        made: list[Path] = []
        try:
            for path, pieces in self.manifest.files:
                self._extract(folder / path, pieces)
                made.append(folder / path)
        except BaseException:
            for target in made:
                target.unlink(missing_ok=True)
            raise

    def _extract(self, target: Path, pieces: Iterable[Piece]) -> None:
        make_folder(target.parent)
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                for run in _runs(pieces):
                    for piece, stored in self._fetch(run):
                        file.write(self._checked(piece, stored))
            check_free(target)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def piece(self, piece: Piece) -> memoryview:
        """The bytes of one piece, checked."""
        ((_, stored),) = self._fetch([piece])
        return memoryview(self._checked(piece, stored))

    def _pieces(self, path: str) -> tuple[Piece, ...]:
        for known, pieces in self.manifest.files:
            if known == path:
                return pieces
        raise InvalidValueError(f"the version has no file {path!r}; it has {', '.join(self.names())}", path=path)

    def _key(self, piece: Piece) -> str:
        return pack_key(self.name, self.manifest.packs[piece.pack])

    def _fetch(self, run: list[Piece]) -> Iterator[tuple[Piece, memoryview]]:
        first, last = run[0], run[-1]
        start, end = first.offset, last.offset + last.stored
        if self.last is not None and first.pack == len(self.manifest.packs) - 1:
            raw = memoryview(self.last)[start:end]
        else:
            raw = memoryview(self.store.get(self._key(first), (start, end - start)))
        for piece in run:
            yield piece, raw[piece.offset - start : piece.offset - start + piece.stored]

    def _checked(self, piece: Piece, stored: memoryview) -> Buffer:
        try:
            if stored.nbytes != piece.stored:
                raise ValueError(f"{piece.stored} bytes belong there and {stored.nbytes} are there")  # noqa: TRY301
            plain: Buffer = stored if piece.codec == RAW else zstd.decompress(stored, piece.length)
            if memoryview(plain).nbytes != piece.length or raw_digest(plain) != piece.digest:
                raise ValueError("they are not the bytes that were written")  # noqa: TRY301
        except ValueError as error:
            raise IntegrityError(
                f"{self._key(piece)} is damaged at bytes {piece.offset} to {piece.offset + piece.stored}: {error}; "
                "bring the object back from a backup",
                key=self._key(piece),
                offset=piece.offset,
                length=piece.stored,
            ) from None
        return plain


def check_free(target: Path) -> None:
    """Raises `InvalidValueError` if something lies at *target* already."""
    if os.path.lexists(target):
        raise InvalidValueError(f"{target} exists already; choose an empty folder", path=str(target))


def make_folder(folder: Path) -> None:
    """Make *folder* if need be.

    Raises:
        InvalidValueError: it cannot be one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        raise InvalidValueError(
            f"{folder} cannot be a folder: {error}; choose another place", path=str(folder)
        ) from error


def _runs(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Neighbouring pieces together, so that one request reads them."""
    run: list[Piece] = []
    for piece in pieces:
        if run:
            gap = piece.offset - (run[-1].offset + run[-1].stored)
            size = piece.offset + piece.stored - run[0].offset
            if piece.pack != run[0].pack or not 0 <= gap < 4096 or size > _RUN:  # noqa: PLR2004  the widest padding
                yield run
                run = []
        run.append(piece)
    if run:
        yield run


class _PieceStream(io.RawIOBase):
    """A file as a stream; holds one piece at a time."""

    def __init__(self, files: PackFiles, pieces: tuple[Piece, ...]) -> None:
        self._files = files
        self._pieces = pieces
        self._ends = list(accumulate(piece.length for piece in pieces))
        self._size = self._ends[-1] if pieces else 0
        self._at = 0
        self._held: tuple[int, memoryview] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, target: Buffer) -> int:  # type: ignore[override]
        index = bisect_right(self._ends, self._at)
        if index == len(self._pieces):
            return 0
        if self._held is None or self._held[0] != index:
            self._held = (index, self._files.piece(self._pieces[index]))
        start = self._at - (self._ends[index] - self._pieces[index].length)
        view = memoryview(target).cast("B")
        part = self._held[1][start : start + view.nbytes]
        view[: part.nbytes] = part
        self._at += part.nbytes
        return part.nbytes


def padding_faults(pack: bytes, extents: Iterable[tuple[int, int]]) -> Iterator[str]:
    """What is wrong with a pack between its extents, given as (offset, length): all of it must be accounted for."""
    if pack[: len(MAGIC)] != MAGIC:
        yield "it does not begin as a pack does"
    at = len(MAGIC)
    for offset, length in sorted(extents):
        if offset > at and pack[at:offset].strip(b"\0"):
            yield f"bytes {at} to {offset} should be zero"
        at = max(at, offset + length)
    if at != len(pack):
        yield f"{at} bytes belong there and {len(pack)} are there"


def missing_pack(key: str) -> IntegrityError:
    """The error for a pack that a version needs and that is nowhere."""
    return IntegrityError(f"{key} is missing although a version needs it; bring the object back from a backup", key=key)
