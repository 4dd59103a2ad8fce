"""Writing packs: the pieces of a save in one pass, those that lie at rest already left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress

import attrs

from modelkeep.atrest import NOTHING, AtRest
from modelkeep.digest import Buffer, join_digests
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, Piece
from modelkeep.nearby import Nearby
from modelkeep.packs import MAGIC, MAX_PACK, alignment
from modelkeep.pieces import Fresh, read_pieces
from modelkeep.progress import nothing
from modelkeep.sources import Source
from modelkeep.stores.port import Store
from modelkeep.version import FileFacts, Place, content_digest


class _Everything:
    """As if all bytes were at rest: nothing is copied or packed."""

    def __contains__(self, own: object) -> bool:
        return True


def content_of(sources: Iterable[Source]) -> str:
    """The content digest of files that are not saved yet; reads them once."""
    sources = list(sources)
    rows: list[list[tuple[bytes, int]]] = [[] for _ in sources]
    for fresh in read_pieces(sources, _Everything()):
        rows[fresh.source].append((fresh.digest, fresh.length))
    return content_digest(
        tuple(FileFacts(s.path, s.size, join_digests(own)) for s, own in zip(sources, rows, strict=True))
    )


@attrs.frozen
class Written:
    """What `write_packs` put where.

    Args:
        manifest: of the version.
        place: where it lies.
        own: the packs that were written.
    """

    manifest: Manifest
    place: Place
    own: tuple[str, ...]


class _Writer:
    """Deals pieces out to packs, one pack after the other, in a single pass."""

    def __init__(
        self,
        sources: Sequence[Source],
        record: bytes,
        at_rest: AtRest,
        near: Mapping[str, Nearby],
        progress: Callable[[int], None],
    ) -> None:
        self.ids: list[str] = []
        self.written: Written | None = None
        self._sources = sources
        self._record = record
        self._at_rest = at_rest
        self._progress = progress
        self._rows: list[list[Piece]] = [[] for _ in sources]
        self._known = dict(at_rest.places)
        self.todo = read_pieces(sources, at_rest.places.keys() or (), near)
        self._next = next(self.todo, None)

    def pack(self, pack: str) -> Iterator[Buffer]:
        """The bytes of the next pack, with the manifest if it is the last."""
        self.ids.append(pack)
        yield MAGIC
        offset = len(MAGIC)
        begun = None  # the tensor whose bytes end the pack so far
        while self._next is not None:
            fresh = self._next
            piece = self._known.get(fresh.digest)
            if piece is None:
                full = offset + fresh.left > MAX_PACK
                if full and offset > len(MAGIC) and begun != fresh.extent:
                    return
                begun = fresh.extent
                padding = -offset % alignment(fresh.codec, fresh.length)
                if padding:
                    yield bytes(padding)
                piece = self._placed(fresh, offset + padding)
                yield fresh.stored
                offset = piece.offset + piece.stored
            self._rows[fresh.source].append(piece)
            self._progress(fresh.length)
            self._next = next(self.todo, None)
        yield self._end(offset)

    def _placed(self, fresh: Fresh, offset: int) -> Piece:
        stored = memoryview(fresh.stored).nbytes
        pack = len(self._at_rest.packs) + len(self.ids) - 1
        piece = Piece(
            fresh.digest, fresh.stored_digest, pack, fresh.codec, stored, offset, fresh.length, base=fresh.base
        )
        self._known[fresh.digest] = piece
        return piece

    def _end(self, offset: int) -> bytes:
        """The manifest; it names the packs of others that are used, then all of its own."""
        shared = len(self._at_rest.packs)
        used = sorted({one.pack for own in self._rows for piece in own for one in piece.chain() if one.pack < shared})
        packs = [*(self._at_rest.packs[index] for index in used), *self.ids]
        moved = {index: at for at, index in enumerate([*used, *range(shared, shared + len(self.ids))])}
        rows = self._rows
        if any(index != at for index, at in moved.items()):
            rows = [[piece.repacked(moved) for piece in own] for own in rows]
        files = tuple((source.path, tuple(own)) for source, own in zip(self._sources, rows, strict=True))
        manifest = Manifest(tuple(packs), files, self._record)
        raw = manifest.encode()
        self.written = Written(manifest, Place(self.ids[-1], offset, len(raw)), tuple(self.ids))
        return raw


def write_packs(
    store: Store,
    name: str,
    ids: Iterator[str],
    sources: Iterable[Source],
    record: bytes,
    *,
    at_rest: AtRest = NOTHING,
    progress: Callable[[int], None] = nothing,
) -> Written:
    """Write files and record as packs; the manifest ends the last one. One request for each 256 MiB.

    Args:
        store: where.
        name: the model.
        ids: new pack ids, never used before.
        sources: the files; read once.
        record: the bytes of the record.
        at_rest: pieces that are not written again.
        progress: hears how many bytes of the files were done since the last call.

    Raises:
        StoreError: the store refused; what was put is deleted again as far as it lets us.
    """
    ordered = sorted(sources, key=lambda source: source.path)
    alike = [source for source in ordered if source.alike and source.path in at_rest.files]
    near = {source.path: Nearby(store, name, at_rest, source.path, source.size) for source in alike}
    writer = _Writer(ordered, record, at_rest, near, progress)
    try:
        with closing(writer.todo):
            while writer.written is None:
                pack = next(ids)
                store.put_pack(pack_key(name, pack), writer.pack(pack))
    except BaseException:
        with suppress(Exception):  # invisible all the same: no entry names them
            store.delete([pack_key(name, pack) for pack in writer.ids])
        raise
    return writer.written
