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

_NOT_ITS_OWN = {"identity", "place"}  # a manifest that differs in these is that of another version


@attrs.frozen
class Part:
    """A version, a variant of one, or a draft: what has a manifest of its own.

    Args:
        made: the operation that says what it is.
        at: where its manifest lies now.
        packs: those that it needs.
    """

    made: versions.Create | versions.Variant | versions.Draft
    at: Place
    packs: tuple[str, ...]

    def __str__(self) -> str:
        match self.made:
            case versions.Variant(number=number, kind=kind):
                return f"the variant {kind} of version {number}"
            case versions.Draft(id=name, kind=kind):
                return f"the draft {name} ({kind})"
        return f"version {self.made.number}"

    @property
    def named(self) -> int | str:
        """What its identity covers beside content and record."""
        return self.made.id if isinstance(self.made, versions.Draft) else self.made.number

    @property
    def is_apart(self) -> bool:
        """Whether its packs are its own alone; those of a version may be needed by others."""
        return not isinstance(self.made, versions.Create)

    @property
    def ref(self) -> str:
        """As in references, behind the name of the model."""
        match self.made:
            case versions.Variant(number=number, kind=kind):
                return f":{number}/{kind}"
            case versions.Draft(id=name):
                return f"~{name}"
        return f":{self.made.number}"


def parts_of(known: versions.Line) -> Iterator[Part]:
    """A version, then its variants."""
    yield Part(known.made, known.at, known.own)
    for variant in known.variants.values():
        yield Part(variant.made, variant.made.at, variant.made.packs)


def draft_of(known: versions.DraftLine) -> Part:
    """A draft."""
    return Part(known.made, known.made.at, known.made.packs)


@attrs.define
class Expected:
    """The bytes that packs of one model should hold, as the manifests of its versions tell.

    Args:
        line: the model, read.
        extents: for each pack, what lies in it: (offset, length).
        wanted: for each pack, its pieces, each once, and what it is for.
        in_part: packs of a version that was moved or purged, or whose manifest cannot be read: more may lie in them.
        harmed: for each pack that was looked at, the pieces that are not as written: (offset, length).
        gone: packs that are missing or cannot be read.
        unread: what has a manifest that cannot be read, or is that of another, as `Part.ref` has it.
        apart: for each pack of a variant or draft that, in words.
    """

    line: Line
    extents: dict[str, set[tuple[int, int]]] = attrs.Factory(dict)
    wanted: dict[str, dict[Piece, str]] = attrs.Factory(dict)
    in_part: set[str] = attrs.Factory(lambda self: set(_with_leavings(self.line)), takes_self=True)
    harmed: dict[str, set[tuple[int, int]]] = attrs.Factory(dict)
    gone: set[str] = attrs.Factory(set)
    unread: set[str] = attrs.Factory(set)
    apart: dict[str, str] = attrs.Factory(dict)

    def add(self, number: int) -> Iterator[Finding]:
        """Read the manifests of a version and its variants; gives what is wrong with them. One request for each."""
        for part in parts_of(self.line.versions.state.lines[number]):
            yield from self._add(part)

    def add_draft(self, known: versions.DraftLine) -> Iterator[Finding]:
        """Read the manifest of a draft; gives what is wrong with it. One request."""
        yield from self._add(draft_of(known))

    def _add(self, part: Part) -> Iterator[Finding]:
        place = part.at
        key = pack_key(self.line.name, place.pack)
        for pack in part.packs:
            self.extents.setdefault(pack, set())
            if part.is_apart:
                self.apart[pack] = str(part)
        self.extents.setdefault(place.pack, set()).add((place.offset, place.length))
        try:
            manifest = Manifest.parse(self.line.home.store.get(key, (place.offset, place.length)))
        except (MissingObjectError, StoreError):
            self._note_unread(part)
            return  # reported with its pack
        except ManifestError as error:
            self._note_unread(part)
            yield Finding(key, f"the manifest of {part} is damaged: {error}", "damaged")
            return
        differing = list(_differing(part, manifest))
        if _NOT_ITS_OWN.isdisjoint(differing):
            self._add_pieces(part, manifest)
        else:
            self._note_unread(part)  # a load refuses it, too
        for what in differing:
            yield Finding(key, f"the manifest and the journal differ in the {what} of {part}", "damaged")

    def _note_unread(self, part: Part) -> None:
        self.unread.add(part.ref)
        self.in_part.update(part.packs)

    def _add_pieces(self, part: Part, manifest: Manifest) -> None:
        for path, pieces in manifest.files:
            for one in dict.fromkeys(one for piece in pieces for one in piece.chain()):
                pack, what = manifest.packs[one.pack], f"{path!r} of {part}"
                self.extents.setdefault(pack, set()).add((one.offset, one.stored))
                self.wanted.setdefault(pack, {}).setdefault(attrs.evolve(one, pack=0), what)

    def faults(self, pack: str, raw: bytes) -> Iterator[Finding]:
        """What is wrong with the bytes of a pack: every byte is a piece, a manifest, or zero."""
        key = pack_key(self.line.name, pack)
        for piece, what in self.wanted.get(pack, {}).items():
            end = piece.offset + piece.stored
            if not _is_as_written(piece, memoryview(raw)[piece.offset : end]):
                self.harmed.setdefault(pack, set()).add((piece.offset, piece.stored))
                yield Finding(key, f"bytes {piece.offset} to {end}, of {what}, are not as written", "damaged")
        extents = None if pack in self.in_part else self.extents.get(pack, ())
        yield from (Finding(key, wrong, "damaged") for wrong in padding_faults(raw, extents))

    def misfits(self, pack: str, size: int) -> Iterator[Finding]:
        """What the size of a pack alone tells to be wrong."""
        extents = self.extents.get(pack, set())
        end = max((offset + length for offset, length in extents), default=0)
        if size < end or (size > end and pack not in self.in_part):
            cut = {(offset, length) for offset, length in extents if offset + length > size}
            self.harmed.setdefault(pack, set()).update(cut)
            yield Finding(pack_key(self.line.name, pack), f"{end} bytes belong there and {size} are there", "damaged")

    def harm_to(self, part: Part) -> set[str]:
        """The packs for which a version, variant or draft cannot be read, of those that were looked at; none if it can.

        One request if one of its packs has harm, else none.
        """
        at = part.at
        if part.ref in self.unread or at.pack in self.gone:
            return {at.pack}
        if self.gone.isdisjoint(part.packs) and self.harmed.keys().isdisjoint(part.packs):
            return set()
        raw = self.line.home.store.get(pack_key(self.line.name, at.pack), (at.offset, at.length))
        manifest = Manifest.parse(raw)
        lies = ((manifest.packs[one.pack], (one.offset, one.stored)) for one in manifest.pieces())
        return {pack for pack, span in lies if pack in self.gone or span in self.harmed.get(pack, ())}


def _with_leavings(line: Line) -> Iterator[str]:
    yield from line.versions.state.left
    for moved in line.versions.state.lines.values():
        if moved.at != moved.made.at:  # who wrote these packs may have been late with another version in them
            yield from moved.own
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


def _differing(known: Part, manifest: Manifest) -> Iterator[str]:
    """What the entry claims about a version, variant or draft and its manifest does not bear out."""
    made = known.made
    if manifest.identity(known.named) != made.identity:
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
        claims = {name: getattr(made, name, None) for name in ("serializer", "params", "metrics")}
        yield from (name for name, claim in claims.items() if claim is not None and record[name] != claim)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        yield "record"
