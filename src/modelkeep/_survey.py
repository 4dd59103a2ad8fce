"""What the living versions of a model hold, read before any of them is written anew."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate

import attrs

from modelkeep import splitters
from modelkeep._dead import sizes
from modelkeep._line import Line
from modelkeep.errors import IntegrityError, MissingObjectError
from modelkeep.folds import releases, versions
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, ManifestError, Piece, parse_record
from modelkeep.packfiles import PackFiles
from modelkeep.packs import read_manifest
from modelkeep.threads import answers
from modelkeep.version import Place

Label = tuple[str, int]  # the name of a tensor, and where in it a piece begins


@attrs.frozen
class Layout:
    """Which pieces of a file are of tensors.

    Args:
        labels: for each piece what it is of which tensor; None for the rest.
        at: the index of each such piece.
        tensors: the pieces of each tensor: index of the first, and behind the last.
        left: for each piece of a tensor the index of its first, and the bytes from here to its end.
    """

    labels: tuple[Label | None, ...]
    at: dict[Label, int]
    tensors: tuple[tuple[int, int], ...]
    left: dict[int, tuple[int, int]]

    @classmethod
    def of(cls, pieces: Iterable[Piece], extents: Iterable[splitters.Extent]) -> Layout:
        """Lay the pieces of a file beside its extents."""
        ends = list(accumulate(piece.length for piece in pieces))
        starts = [0, *ends][: len(ends)]
        labels: list[Label | None] = [None] * len(ends)
        tensors, left = [], {}
        for extent in extents:
            first, last = bisect_right(ends, extent.start), bisect_right(ends, extent.stop)
            whole = first < last and starts[first] == extent.start and ends[last - 1] == extent.stop
            if extent.tensor and whole:
                tensors.append((first, last))
                for index in range(first, last):
                    labels[index] = (extent.name, starts[index] - extent.start)
                    left[index] = (first, extent.stop - starts[index])
        at = {label: index for index, label in enumerate(labels) if label is not None}
        return cls(tuple(labels), at, tuple(tensors), left)


@attrs.define(eq=False)
class Held:
    """One version and all that it holds.

    Args:
        number: its number.
        known: what the journal said of it when its manifest was read.
        files: path and pieces of each file; packs count in the survey's own list.
        layouts: of each file.
        record: the bytes of its record.
        parents: the versions of this model that it was made from.
    """

    number: int
    known: versions.Line
    files: tuple[tuple[str, tuple[Piece, ...]], ...]
    layouts: tuple[Layout, ...]
    record: bytes
    parents: tuple[int, ...]

    def labelled(self) -> Iterator[tuple[Piece, Label | None]]:
        """All pieces of all files, each with what it is of which tensor."""
        for (_, pieces), layout in zip(self.files, self.layouts, strict=True):
            yield from zip(pieces, layout.labels, strict=True)

    def pieces(self) -> Iterator[Piece]:
        """All pieces of all files."""
        for _, pieces in self.files:
            yield from pieces

    def by_path(self) -> dict[str, tuple[tuple[Piece, ...], Layout]]:
        """Pieces and layout of each file."""
        return {path: (pieces, layout) for (path, pieces), layout in zip(self.files, self.layouts, strict=True)}


@attrs.define(eq=False)
class Survey:
    """What there is to work on.

    Args:
        line: the model, read.
        protected: versions that stay raw, or become raw again.
        sizes: the bytes of each pack, by id, as listed.
        held: the living versions that could be read, by number.
        left: those that could not: where they lay, and why.
        packs: the ids of all packs that pieces lie in; pieces count in these.
    """

    line: Line
    protected: set[int]
    sizes: dict[str, int]
    held: dict[int, Held] = attrs.Factory(dict)
    left: dict[int, tuple[Place, str]] = attrs.Factory(dict)
    packs: list[str] = attrs.Factory(list)
    _indexes: dict[str, int] = attrs.Factory(dict)
    _pieces: dict[Piece, Piece] = attrs.Factory(dict)
    _layouts: dict[object, Layout] = attrs.Factory(dict)
    _living: set[bytes] = attrs.Factory(set)

    def damaged(self) -> dict[int, str]:
        """Those that cannot be read, and why: what was moved or purged while it was looked at is none of them.

        Reads on in the journals if there may be any.
        """
        if self.left:
            self.line.read()
        state, purged = self.line.versions.state, self.line.releases.state.purged
        return {n: why for n, (at, why) in self.left.items() if n not in purged and state.lines[n].at == at}

    @property
    def living(self) -> set[bytes]:
        """The digests of all that the versions themselves hold."""
        if not self._living:
            self._living.update(piece.digest for held in self.held.values() for piece in held.pieces())
        return self._living

    def pack(self, name: str) -> int:
        """The index of a pack."""
        if name not in self._indexes:
            self._indexes[name] = len(self.packs)
            self.packs.append(name)
        return self._indexes[name]

    def opened(self) -> PackFiles:
        """What reads pieces, and checks them."""
        return PackFiles(self.line.home.store, self.line.name, Manifest(tuple(self.packs), (), b""))

    def read(self, number: int) -> tuple[Manifest, tuple[Layout, ...]]:
        """What a version holds, from its manifest and the headers of its files.

        Raises:
            MissingObjectError, IntegrityError: it cannot be read.
        """
        line, known = self.line, self.line.versions.state.lines[number]
        manifest, last = line.recent.get(known.at), None
        if manifest is None:
            manifest, last = read_manifest(line.home.store, line.name, known.at)
        if manifest.identity(number) != known.made.identity:
            raise IntegrityError(f"the manifest in pack {known.at.pack} is not that of {line.name}:{number}")
        for piece in manifest.pieces():
            pack = manifest.packs[piece.pack]
            if piece.offset + piece.stored > self.sizes.get(pack, 0):
                how = "cut short" if pack in self.sizes else "missing"
                raise IntegrityError(f"{pack_key(line.name, pack)} is {how}; bring it back from a backup")
        files = PackFiles(line.home.store, line.name, manifest, last)
        return manifest, tuple(self._layout(files, path, pieces) for path, pieces in manifest.files)

    def _layout(self, files: PackFiles, path: str, pieces: tuple[Piece, ...]) -> Layout:
        """Equal headers are read once: they say where the same tensors lie."""
        size = sum(piece.length for piece in pieces)
        if size <= splitters.SMALL:
            return Layout((None,) * len(pieces), {}, (), {})
        key = (pieces[0].digest, *(piece.length for piece in pieces))
        if key not in self._layouts:
            with files.open(path) as stream:
                self._layouts[key] = Layout.of(pieces, splitters.extents(stream, size))
        return self._layouts[key]

    def add(self, number: int, manifest: Manifest, layouts: tuple[Layout, ...]) -> None:
        """Note what a version holds; equal pieces are kept once."""
        packs = {index: self.pack(name) for index, name in enumerate(manifest.packs)}
        files = tuple(
            (path, tuple(self._known(piece.repacked(packs)) for piece in pieces)) for path, pieces in manifest.files
        )
        known = self.line.versions.state.lines[number]
        self.held[number] = Held(number, known, files, layouts, manifest.record, _parents(self.line.name, manifest))

    def _known(self, piece: Piece) -> Piece:
        if piece.base is not None:
            piece = attrs.evolve(piece, base=self._known(piece.base))
        return self._pieces.setdefault(piece, piece)


def _parents(name: str, manifest: Manifest) -> tuple[int, ...]:
    try:
        return tuple(parent.number for parent in parse_record(manifest.record).parents if parent.name == name)
    except ManifestError:
        return ()  # of a newer release; the version before will do


def survey(line: Line, *, rollbacks: int | None = None, newest: int = 0) -> Survey:
    """Read a model and all that its living versions hold. A listing, and a request or more for each version.

    Args:
        line: the model.
        rollbacks: how many versions below the holder of an alias stay raw; None for all of the stack.
        newest: how many of the newest versions stay raw.

    Raises:
        UnknownModelError: there is none of this name.
    """
    line.read()
    purged = line.releases.state.purged
    living = [number for number in line.versions.state.lines if number not in purged]
    protected = _stacked(line.releases.state, rollbacks) | set(living[len(living) - newest :] if newest > 0 else [])
    found = Survey(line, protected, sizes(line))
    lay = {number: line.versions.state.lines[number].at for number in living}
    for number, what in zip(living, answers(line.home.store, (partial(_read, found, n) for n in living)), strict=True):
        if isinstance(what, str):
            found.left[number] = lay[number], what
        else:
            found.add(number, *what)
    return found


def _read(found: Survey, number: int) -> tuple[Manifest, tuple[Layout, ...]] | str:
    """What a version holds, or why that cannot be read."""
    try:
        return found.read(number)
    except (MissingObjectError, IntegrityError) as error:
        return str(error)


def _stacked(state: releases.Releases, rollbacks: int | None) -> set[int]:
    """The versions on alias stacks, of each the holder and so many that rollbacks lead to."""
    if rollbacks is None:
        return state.stacked()
    found: set[int] = set()
    for stack in state.stacks.values():
        reached = [h.number for h in reversed(stack[:-1]) if h.number not in state.deleted]
        found.update([stack[-1].number, *reached[:rollbacks]])
    return found
