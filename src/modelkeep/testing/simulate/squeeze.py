"""What a compaction does to one version, so that schedules have pieces with bases: one tensor turned by another's."""

from __future__ import annotations

import random

import attrs

from modelkeep import codecs
from modelkeep._line import Line
from modelkeep.digest import raw_digest
from modelkeep.errors import ConflictError
from modelkeep.folds import versions
from modelkeep.folds.rules import Op
from modelkeep.layout import pack_key
from modelkeep.manifest import MAX_DEPTH, Manifest, Piece
from modelkeep.packfiles import PackFiles
from modelkeep.packs import MAGIC, read_manifest
from modelkeep.version import Place


def squeeze(line: Line, chance: random.Random) -> None:
    """Store some piece of some version as what it differs from that of another, in a new pack, and move it there."""
    line.read()
    known = list(line.versions.state.lines.values())
    if len(known) < 2:  # noqa: PLR2004  itself, and one to differ from
        return
    version, other = known[-1] if chance.random() < 0.5 else chance.choice(known[1:]), chance.choice(known[:-1])  # noqa: PLR2004
    here, there = (_opened(line, one.at) for one in (version, other))
    index = chance.randrange(len(here.manifest.files[0][1]))
    piece, base = (files.manifest.files[0][1][index] for files in (here, there))
    if piece.length != base.length or version is other or sum(1 for _ in base.chain()) > MAX_DEPTH:
        return
    plain, below = here.pieces([piece])[0], there.pieces([base])[0]
    stored = codecs.pack(plain, width=8, base=below)
    pack = f"{line.home.system.new_id()}-1"
    packs = list(dict.fromkeys([*here.manifest.packs, *there.manifest.packs]))
    turned = Piece(
        piece.digest, raw_digest(stored), len(packs), codecs.ZSTD, len(stored), len(MAGIC), piece.length, 8,
        base.repacked({at: packs.index(name) for at, name in enumerate(there.manifest.packs)}),
    )  # fmt: skip
    raw, manifest = _with(here.manifest, index, turned, [*packs, pack])
    store, at = line.home.store, Place(pack, len(MAGIC) + len(stored), len(raw))
    store.put_pack(pack_key(line.name, pack), [MAGIC, stored, raw])

    def decide(state: versions.Versions) -> list[Op]:
        if state.lines[version.made.number].at != version.at or not state.condemned.isdisjoint(manifest.packs):
            raise ConflictError("it was moved meanwhile", number=version.made.number)
        return [versions.Move(version.made.number, version.at, at, manifest.packs)]

    line.append("versions", decide)


def _opened(line: Line, at: Place) -> PackFiles:
    manifest, last = read_manifest(line.home.store, line.name, at)
    return PackFiles(line.home.store, line.name, manifest, last)


def _with(manifest: Manifest, index: int, piece: Piece, packs: list[str]) -> tuple[bytes, Manifest]:
    """A manifest with another piece in one place, and only with packs that are needed; its own is the last."""
    ((path, pieces),) = manifest.files
    files = Manifest(tuple(packs), ((path, (*pieces[:index], piece, *pieces[index + 1 :])),), manifest.record)
    needed = sorted({one.pack for one in files.pieces()})
    moved = {index: at for at, index in enumerate(needed)}
    own = tuple(one.repacked(moved) for one in files.files[0][1])
    kept = attrs.evolve(files, packs=tuple(packs[index] for index in needed), files=((path, own),))
    return kept.encode(), kept
