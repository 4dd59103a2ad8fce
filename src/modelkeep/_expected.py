"""What versions say about the bytes of their packs, and which bytes are not so: for those who verify and who copy."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from modelkeep._line import Line
from modelkeep.digest import raw_digest
from modelkeep.entry import Entry
from modelkeep.errors import MissingObjectError
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, ManifestError
from modelkeep.packs import padding_faults
from modelkeep.reading import Finding
from modelkeep.version import Place, identity_digest


@attrs.define
class Expected:
    """The bytes that packs of one model should hold, as the manifests of its versions tell.

    Args:
        line: the model, read.
        extents: for each pack, what lies in it: (offset, length).
        wanted: for each pack, its pieces: offset, length, digest, and what they are for.
    """

    line: Line
    extents: dict[str, list[tuple[int, int]]] = attrs.Factory(dict)
    wanted: dict[str, list[tuple[int, int, bytes, str]]] = attrs.Factory(dict)

    def add(self, number: int) -> Iterator[Finding]:
        """Read the manifest of a version; gives what is wrong with it. One request."""
        known = self.line.versions.state.lines[number]
        place: Place = known.at
        key = pack_key(self.line.name, place.pack)
        self.extents.setdefault(place.pack, []).append((place.offset, place.length))
        try:
            manifest = Manifest.parse(self.line.home.store.get(key, (place.offset, place.length)))
        except MissingObjectError:
            return  # reported with its pack
        except ManifestError as error:
            yield Finding(key, f"the manifest of version {number} is damaged: {error}", "damaged")
            return
        own = manifest.packs[-1:] == (place.pack,)  # equal models have equal identities but for number and place
        if not own or identity_digest(manifest.content(), manifest.record, number) != known.made.identity:
            yield Finding(key, f"the manifest is not that of version {number}", "damaged")
        for path, pieces in manifest.files:
            for piece in pieces:
                pack = manifest.packs[piece.pack]
                self.extents.setdefault(pack, []).append((piece.offset, piece.stored))
                what = f"{path!r} of version {number}"
                self.wanted.setdefault(pack, []).append((piece.offset, piece.stored, piece.stored_digest, what))

    def faults(self, pack: str, raw: bytes) -> Iterator[Finding]:
        """What is wrong with the bytes of a pack: every byte is a piece, a manifest, or zero."""
        key = pack_key(self.line.name, pack)
        view = memoryview(raw)
        for offset, stored, expected, what in self.wanted.get(pack, []):
            if raw_digest(view[offset : offset + stored]) != expected:
                yield Finding(key, f"bytes {offset} to {offset + stored}, of {what}, are not as written", "damaged")
        yield from (Finding(key, wrong, "damaged") for wrong in padding_faults(raw, self.extents.get(pack, [])))


def texts_of(entry: Entry) -> list[str]:
    """The digests of the texts in `texts/` that an entry refers to; all lie under its transaction."""
    return [said for op in entry.ops if isinstance(said := op.get("reason") or op.get("text"), str)]
