"""Bytes that lie at rest already: which pieces of committed versions a save may use again.

Only manifests of versions that the journal names count. What was merely uploaded may never be committed, and a
collector may take it away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

import attrs

from modelkeep.forks import renew_after_fork
from modelkeep.manifest import Manifest, Piece
from modelkeep.version import Place

WORTH_SHARING = 4096  # bytes; for less no version should need a pack more, nor a load ask for it
_VERSIONS = 4  # whose manifests are remembered
_PIECES = 400_000  # in all of these; some 100 MB


@attrs.frozen
class AtRest:
    """Pieces that committed versions hold and a save may use again.

    Args:
        packs: the packs in which they lie; few enough that a version may need all of them.
        places: each piece by its digest; its pack is an index into these packs.
        files: the pieces of each file as the first version has it that has one of this path; only their digests and
            lengths count.
    """

    packs: tuple[str, ...] = ()
    places: Mapping[bytes, Piece] = attrs.field(factory=dict)
    files: Mapping[str, tuple[Piece, ...]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, manifests: Iterable[Manifest], *, most: int, without: Iterable[str] = ()) -> AtRest:
        """What the packs that hold most of the bytes of *manifests* have.

        Args:
            manifests: of committed versions; the first that has a piece tells where it lies.
            most: how many packs a version may share with others.
            without: packs that must not be named any more.
        """
        held: dict[str, int] = {}
        for manifest in (manifests := list(manifests)):
            for piece in manifest.pieces():
                if piece.length >= WORTH_SHARING:
                    pack = manifest.packs[piece.pack]
                    held[pack] = held.get(pack, 0) + piece.stored
        kept = sorted(held.keys() - set(without), key=lambda pack: (-held[pack], pack))[:most]
        indexes = {pack: index for index, pack in enumerate(kept)}
        places: dict[bytes, Piece] = {}
        for manifest in manifests:
            here = {at: indexes[pack] for at, pack in enumerate(manifest.packs) if pack in indexes}
            for _, pieces in manifest.files:
                for piece in pieces:
                    if piece.length < WORTH_SHARING or piece.digest in places:
                        continue
                    if all(one.pack in here for one in piece.chain()):
                        places[piece.digest] = _elsewhere(piece, here)
        files = {path: pieces for manifest in reversed(manifests) for path, pieces in manifest.files}
        return cls(tuple(kept), places, files)

    def ends(self) -> dict[str, int]:
        """For each pack, where the last piece in it ends."""
        found: dict[str, int] = {}
        for place in self.places.values():
            for piece in place.chain():
                pack = self.packs[piece.pack]
                found[pack] = max(found.get(pack, 0), piece.offset + piece.stored)
        return found


NOTHING = AtRest()


def _elsewhere(piece: Piece, packs: Mapping[int, int]) -> Piece:
    plain = piece.base is None and packs[piece.pack] == piece.pack
    return piece if plain else piece.repacked(packs)


class Recent:
    """The manifests of versions that this process saved or loaded last.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._manifests: dict[Place, Manifest] = {}
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self._lock = threading.Lock()

    def remember(self, at: Place, manifest: Manifest) -> None:
        """Keep the manifest of a committed version, and forget older ones."""
        with self._lock:
            self._manifests.pop(at, None)
            self._manifests[at] = manifest
            while len(self._manifests) > _VERSIONS or sum(map(_count, self._manifests.values())) > _PIECES:
                del self._manifests[next(iter(self._manifests))]

    def get(self, at: Place) -> Manifest | None:
        """The manifest that lies at a place, if it is remembered."""
        return self._manifests.get(at)

    def all(self) -> list[Manifest]:
        """All of them, the newest first."""
        with self._lock:
            return list(reversed(self._manifests.values()))


def _count(manifest: Manifest) -> int:
    return sum(len(pieces) for _, pieces in manifest.files)
