"""What versions say about the bytes of their packs, and which bytes are not so: for those who verify and who copy."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import orjson

from modelkeep._line import Line
from modelkeep.codecs import RAW, Link, unpack
from modelkeep.digest import raw_digest
from modelkeep.entry import Entry
from modelkeep.errors import MissingObjectError, StoreError
from modelkeep.folds import versions
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, ManifestError, Piece
from modelkeep.packs import padding_faults
from modelkeep.reading import Finding
from modelkeep.version import Place


@attrs.define
class Expected:
    """The bytes that packs of one model should hold, as the manifests of its versions tell.

    Args:
        line: the model, read.
        extents: for each pack, what lies in it: (offset, length).
        wanted: for each pack, its pieces, each once, and what it is for.
        in_part: packs of a version that was moved or purged, or whose manifest cannot be read: more may lie in them.
    """

    line: Line
    extents: dict[str, set[tuple[int, int]]] = attrs.Factory(dict)
    wanted: dict[str, dict[Piece, str]] = attrs.Factory(dict)
    in_part: set[str] = attrs.Factory(lambda self: set(_with_leavings(self.line)), takes_self=True)

    def add(self, number: int) -> Iterator[Finding]:
        """Read the manifest of a version; gives what is wrong with it. One request."""
        known = self.line.versions.state.lines[number]
        place: Place = known.at
        key = pack_key(self.line.name, place.pack)
        for pack in known.packs:
            self.extents.setdefault(pack, set())
        self.extents.setdefault(place.pack, set()).add((place.offset, place.length))
        try:
            manifest = Manifest.parse(self.line.home.store.get(key, (place.offset, place.length)))
        except (MissingObjectError, StoreError):
            self.in_part.update(known.packs)
            return  # reported with its pack
        except ManifestError as error:
            self.in_part.update(known.packs)
            yield Finding(key, f"the manifest of version {number} is damaged: {error}", "damaged")
            return
        self._add_pieces(number, manifest)
        for what in _differing(known, manifest):
            yield Finding(key, f"the manifest and the journal differ in the {what} of version {number}", "damaged")

    def _add_pieces(self, number: int, manifest: Manifest) -> None:
        for path, pieces in manifest.files:
            for one in dict.fromkeys(one for piece in pieces for one in piece.chain()):
                pack, what = manifest.packs[one.pack], f"{path!r} of version {number}"
                self.extents.setdefault(pack, set()).add((one.offset, one.stored))
                self.wanted.setdefault(pack, {}).setdefault(attrs.evolve(one, pack=0), what)

    def faults(self, pack: str, raw: bytes) -> Iterator[Finding]:
        """What is wrong with the bytes of a pack: every byte is a piece, a manifest, or zero."""
        key = pack_key(self.line.name, pack)
        for piece, what in self.wanted.get(pack, {}).items():
            end = piece.offset + piece.stored
            if not _is_as_written(piece, memoryview(raw)[piece.offset : end]):
                yield Finding(key, f"bytes {piece.offset} to {end}, of {what}, are not as written", "damaged")
        if pack not in self.in_part:
            yield from (Finding(key, wrong, "damaged") for wrong in padding_faults(raw, self.extents.get(pack, ())))


def _with_leavings(line: Line) -> Iterator[str]:
    yield from line.versions.state.left
    for moved in line.versions.state.lines.values():
        if moved.at != moved.made.at:  # who wrote these packs may have been late with another version in them
            yield from moved.packs
    for number in line.releases.state.purged:
        if (known := line.versions.state.lines.get(number)) is not None:
            yield from known.packs


def texts_of(entry: Entry) -> list[str]:
    """The digests of the texts in `texts/` that an entry refers to; all lie under its transaction."""
    return [said for op in entry.ops if isinstance(said := op.get("reason") or op.get("text"), str)]


def _is_as_written(piece: Piece, stored: memoryview) -> bool:
    if raw_digest(stored) != piece.stored_digest:
        return False
    if piece.codec == RAW or piece.base is not None:  # its base is checked by itself
        return True
    try:
        plain = unpack([Link(stored, piece.codec, piece.width)], piece.length)
    except ValueError:
        return False
    return len(plain) == piece.length and raw_digest(plain) == piece.digest


def _differing(known: versions.Line, manifest: Manifest) -> Iterator[str]:
    """What the entry claims about a version and its manifest does not bear out."""
    made = known.made
    if manifest.identity(made.number) != made.identity:
        yield "identity"
    if manifest.packs[-1:] != (known.at.pack,):  # equal models have equal identities but for number and place
        yield "place"
    if manifest.content() != made.content:
        yield "content"
    if sum(file.size for file in manifest.facts()) != made.size:
        yield "size"
    if not set(manifest.packs) <= set(known.packs):
        yield "packs"
    try:
        record = orjson.loads(manifest.record)
        claims = {"serializer": made.serializer, "params": made.params, "metrics": made.metrics}
        yield from (name for name, claim in claims.items() if claim is not None and record[name] != claim)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        yield "record"
