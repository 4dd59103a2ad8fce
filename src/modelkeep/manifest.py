"""The manifest of a version: its files, their pieces and where these lie, and its record.

```
8 bytes  b"MKMANIF1"
 4       H, length of the head; 4  R, length of the record; 4  P, number of pieces   (little-endian)
 H       head, zstd of JSON: {"packs": [id, …], "files": [[path, size, pieces], …], "bases": count}
 R       record, zstd of JSON
88 * P   pieces, in the order of the files, then the bases of others
32       BLAKE3 of everything before
```
A piece is 32 bytes BLAKE3 of its bytes, 32 bytes BLAKE3 of its stored bytes, pack (2, an index into the packs),
codec (1: 0 raw, 1 zstd, 2 patch), width (1), stored length (4), offset in the pack (8), length (4), base (4). Width and
base say how it was turned before it was packed, or of what it is a patch, see `modelkeep.codecs`: 0 for not; a base
counts from 1 among the bases.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

import attrs
import orjson

from modelkeep import zstd
from modelkeep.codecs import PATCH, RAW, WIDTHS, ZSTD
from modelkeep.digest import Buffer, join_digests, raw_digest
from modelkeep.errors import InvalidError, InvalidValueError
from modelkeep.signature import Signature
from modelkeep.values import MAX_VALUES, from_json, mapping_to_json, metrics_to_json, values_in
from modelkeep.version import (
    FileFacts,
    Record,
    StoredFile,
    Tolerance,
    check_paths,
    content_digest,
    identity_digest,
    is_count,
    is_pack,
    transaction_of,
)

MAGIC = b"MKMANIF1"
_LENGTHS = struct.Struct("<III")
_PIECE = struct.Struct("<32s32sHBBIQII")
_LATER = ("parts", "signature", "golden", "tier", "made")  # left out of a record where there are none
_MAX_PART = 32 * 1024 * 1024  # bytes, uncompressed, of head and record each: what a reader is willing to unpack

MAX_PIECE = 64 * 1024 * 1024  # bytes; what a reader unpacks at once
MAX_DEPTH = 4  # bases below one another; each is a read more


class ManifestError(ValueError):
    """The bytes are no manifest."""


@attrs.frozen
class Piece:
    """A run of bytes of a file: what it is, and where and how it is stored.

    Args:
        digest: 32 bytes, BLAKE3 of the bytes themselves.
        stored_digest: 32 bytes, BLAKE3 of the bytes as stored.
        pack: an index into the manifest's packs.
        codec: `RAW`, `ZSTD` or `PATCH`.
        stored: length as stored, in bytes.
        offset: where it begins in the pack, in bytes.
        length: length in bytes.
        width: bytes of an element, if its elements were rotated and shuffled; else 0.
        base: the piece that it was turned by, or is a patch of, if any.
    """

    digest: bytes
    stored_digest: bytes
    pack: int
    codec: int
    stored: int
    offset: int
    length: int
    width: int = 0
    base: Piece | None = None

    def chain(self) -> Iterator[Piece]:
        """It, its base, the base of that, and so on: all that is needed to read it."""
        yield self
        if self.base is not None:
            yield from self.base.chain()

    def depth(self) -> int:
        """How many bases lie below one another."""
        return sum(1 for _ in self.chain()) - 1

    def repacked(self, packs: Mapping[int, int]) -> Piece:
        """The same piece where packs have other indexes; its bases come along.

        Raises:
            KeyError: one of its packs has none.
        """
        base = None if self.base is None else self.base.repacked(packs)
        return attrs.evolve(self, pack=packs[self.pack], base=base)


@attrs.frozen
class Manifest:
    """What lies at the end of a version's last pack.

    Args:
        packs: the ids of all packs that the pieces lie in, and of the manifest's own.
        files: path and pieces of each file, sorted by path.
        record: the bytes of the record, JSON.
    """

    packs: tuple[str, ...]
    files: tuple[tuple[str, tuple[Piece, ...]], ...]
    record: bytes

    def pieces(self) -> Iterator[Piece]:
        """All pieces of all files, and their bases."""
        for _, pieces in self.files:
            for piece in pieces:
                yield from piece.chain()

    def facts(self) -> tuple[FileFacts, ...]:
        """Path, size and digest of each file."""
        return tuple(
            FileFacts(path, sum(p.length for p in pieces), join_digests((p.digest, p.length) for p in pieces))
            for path, pieces in self.files
        )

    def stored(self) -> tuple[StoredFile, ...]:
        """The same, and what each takes in storage; what this save wrote lies in packs of its own transaction."""
        own = [transaction_of(pack) == transaction_of(self.packs[-1]) for pack in self.packs]
        rows = []
        for facts, (_, pieces) in zip(self.facts(), self.files, strict=True):
            places = {(one.pack, one.offset): one.stored for piece in pieces for one in piece.chain()}
            shared = sum(stored for (pack, _), stored in places.items() if not own[pack])
            rows.append(StoredFile(facts.path, facts.size, facts.digest, sum(places.values()), shared))
        return tuple(rows)

    def content(self) -> str:
        """The digest of the files."""
        return content_digest(self.facts())

    def within(self, folder: str) -> Manifest:
        """The files of a folder alone, by their paths below it."""
        start = f"{folder}/"
        inside = tuple((path.removeprefix(start), ps) for path, ps in self.files if path.startswith(start))
        return attrs.evolve(self, files=inside)

    def without(self, folders: Container[str]) -> Manifest:
        """The files that do not lie in one of *folders*."""
        return attrs.evolve(self, files=tuple(row for row in self.files if row[0].partition("/")[0] not in folders))

    def identity(self, named: int | str) -> str:
        """The digest that is the version of this number, or the draft of this id."""
        return identity_digest(self.content(), self.record, named)

    def encode(self) -> bytes:
        """The bytes of the manifest."""
        facts: dict[str, Any] = {
            "packs": self.packs,
            "files": [(path, sum(p.length for p in ps), len(ps)) for path, ps in self.files],
        }
        bases = self._bases()
        if bases:
            facts["bases"] = len(bases)
        head = zstd.compress(_small_enough(orjson.dumps(facts), f"the list of {len(self.files)} files"))
        record = zstd.compress(self.record)
        pieces = [piece for _, pieces in self.files for piece in pieces] + list(bases)
        body = b"".join(
            [
                MAGIC,
                _LENGTHS.pack(len(head), len(record), len(pieces)),
                head,
                record,
                *(
                    _PIECE.pack(
                        p.digest, p.stored_digest, p.pack, p.codec, p.width, p.stored, p.offset, p.length,
                        0 if p.base is None else bases[p.base],
                    )
                    for p in pieces
                ),
            ]
        )  # fmt: skip
        return body + raw_digest(body)

    def _bases(self) -> dict[Piece, int]:
        """Each base and its number from 1 on; the base of a base comes before it."""
        found: dict[Piece, int] = {}
        for _, pieces in self.files:
            for piece in pieces:
                if piece.base is not None:
                    for base in reversed(list(piece.base.chain())):
                        found.setdefault(base, len(found) + 1)
        return found

    @classmethod
    def parse(cls, raw: Buffer) -> Self:
        """Read the bytes of a manifest.

        Raises:
            ManifestError: they are none; says why.
        """
        whole = bytes(raw)
        body = whole[:-32]
        if raw_digest(body) != whole[-32:]:
            raise ManifestError("its digest does not fit its bytes")
        start = len(MAGIC) + _LENGTHS.size
        if body[: len(MAGIC)] != MAGIC or len(body) < start:
            raise ManifestError("it does not begin as a manifest does")
        head_length, record_length, count = _LENGTHS.unpack_from(body, len(MAGIC))
        record_at = start + head_length
        pieces_at = record_at + record_length
        if len(body) != pieces_at + count * _PIECE.size:
            raise ManifestError("its parts do not add up to its length")
        try:
            head = orjson.loads(_small_enough(zstd.decompress(body[start:record_at], _MAX_PART), "its head"))
            record = zstd.decompress(body[record_at:pieces_at], _MAX_PART)
            packs, listed, bases = _checked_head(head)
        except (ValueError, KeyError, TypeError, InvalidError) as error:
            raise ManifestError(f"its head cannot be read: {error}") from None
        rows = list(_PIECE.iter_unpack(body[pieces_at:]))
        if bases > len(rows):
            raise ManifestError("it has fewer pieces than bases")
        known: list[Piece] = []
        for fields in rows[len(rows) - bases :]:
            known.append(_piece(fields, len(packs), known))
        pieces = [_piece(fields, len(packs), known) for fields in rows[: len(rows) - bases]]
        return cls(packs, _deal(listed, pieces), record)


def _checked_head(head: Any) -> tuple[tuple[str, ...], list[tuple[str, int, int]], int]:
    packs = tuple(head["packs"])
    files = [(path, size, count) for path, size, count in head["files"]]
    bases = head.get("bases", 0)
    if (
        not is_count(bases)
        or not all(map(is_pack, packs))
        or not all(is_count(size) and is_count(count) for _, size, count in files)
    ):
        raise ManifestError("a pack id or a count is wrong")
    paths = [path for path, _, _ in files]
    check_paths(paths)
    if paths != sorted(paths):
        raise ManifestError("its paths are not sorted")
    return packs, files, bases


def _piece(fields: tuple[Any, ...], packs: int, bases: Sequence[Piece]) -> Piece:
    own, stored_digest, pack, codec, width, stored, offset, length, number = fields
    raw_fits = codec != RAW or (stored == length and stored_digest == own and not width and not number)
    if length > MAX_PIECE or offset + stored >= 1 << 63:
        raise ManifestError("a piece is larger, or lies further on, than any can")
    if codec not in (RAW, ZSTD, PATCH) or width not in WIDTHS or number > len(bases) or pack >= packs or not raw_fits:
        raise ManifestError("a piece has fields that no piece has")
    base = bases[number - 1] if number else None
    piece = Piece(own, stored_digest, pack, codec, stored, offset, length, width, base)
    fits = (base is not None and not width) if codec == PATCH else (base is None or base.length == length)
    if not fits or piece.depth() > MAX_DEPTH:
        raise ManifestError("a piece has a base that no piece has")
    return piece


def _deal(listed: Sequence[tuple[str, int, int]], pieces: Sequence[Piece]) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
    files = []
    at = 0
    for path, size, count in listed:
        own = tuple(pieces[at : at + count])
        at += count
        if len(own) != count or sum(p.length for p in own) != size:
            raise ManifestError(f"the pieces of {path!r} do not add up to its size")
        files.append((path, own))
    if at != len(pieces):
        raise ManifestError("it has pieces that no file has")
    return tuple(files)


@lru_cache(maxsize=1)
def _converter() -> Any:
    from cattrs import Converter  # 39 ms, so only where a record is read or written

    converter = Converter(detailed_validation=False)  # it would gather an error for each of 100,000 odd parents
    for kind in (str, int):  # cattrs would turn whatever it finds into text
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(Signature, lambda value, _: Signature.from_json(value))
    converter.register_structure_hook(Tolerance, lambda value, _: Tolerance.from_json(value))
    converter.register_unstructure_hook(Signature, Signature.to_json)
    return converter


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def encode_record(record: Record) -> bytes:
    """The bytes of a record: JSON; params and metrics use the words of `modelkeep.values` for what JSON cannot say."""
    facts = _converter().unstructure(record)
    facts["params"] = mapping_to_json(record.params, "params")
    facts["metrics"] = metrics_to_json(record.metrics, "metrics")
    facts["made"] = mapping_to_json(record.made, "made")
    for name in _LATER:
        if not facts[name]:  # as older releases wrote it, and read it
            del facts[name]
    return _small_enough(orjson.dumps(facts), "what is recorded: parameters, metrics, notes and the like")


def _small_enough(raw: bytes, what: str) -> bytes:
    """JSON that a reader takes; it is looked at before it is parsed.

    Raises:
        InvalidValueError: it is too long, or holds too many values.
    """
    values = values_in(raw)
    if len(raw) > _MAX_PART or values > MAX_VALUES:
        raise InvalidValueError(
            f"{what} takes {len(raw):,} bytes and about {values:,} values of JSON; at most {_MAX_PART:,} bytes and "
            f"{MAX_VALUES:,} values are kept with a version: save the rest as a file",
            key="record",
        )
    return raw


def parse_record(raw: bytes) -> Record:
    """Read the bytes of a record; fields of a newer release are left out.

    Raises:
        ManifestError: they are none.
    """
    try:
        facts = orjson.loads(_small_enough(raw, "it"))
        facts.update(params=from_json(facts["params"]), metrics=from_json(facts["metrics"]))
        facts.update(made=from_json(facts.get("made", {})))
        record: Record = _converter().structure(facts, Record)
    except Exception as error:  # noqa: BLE001  cattrs raises whatever the fields raise
        raise ManifestError(f"its record cannot be read: {type(error).__name__}: {error}") from None
    return record
