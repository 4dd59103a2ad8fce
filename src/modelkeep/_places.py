"""New places for the pieces of a version: what stays, what was written already, and what is to be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs

from modelkeep._fates import Fate, Plan
from modelkeep._survey import Held, Label, Layout
from modelkeep.atrest import WORTH_SHARING
from modelkeep.codecs import RAW
from modelkeep.folds.versions import MAX_SHARED
from modelkeep.manifest import MAX_DEPTH, Piece
from modelkeep.version import transaction_of


@attrs.define(eq=False)
class Write:
    """A piece that is to be written, and where it lies once it is.

    Args:
        old: where its bytes lie now.
        fate: `Fate.PACK` to pack it, by *base* if that is given and pays; `Fate.COPY` to copy what is stored;
            `Fate.REBASE` to write nothing; `Fate.STAY` to write it raw.
        base: what it is turned by.
        tensor: which tensor it is of, and the bytes from here to its end: a raw one is not split.
        placed: where it lies then.
    """

    old: Piece
    fate: Fate
    base: Slot | None = None
    tensor: tuple[object, int] | None = None
    placed: Piece | None = None

    @property
    def digest(self) -> bytes:
        """The digest of the bytes."""
        return self.old.digest

    def piece(self) -> Piece:
        """Where it lies; only once it was written."""
        if self.placed is None:
            raise AssertionError("a piece that was not written")
        return self.placed


Slot = Piece | Write


def chain(slot: Slot) -> Iterator[Slot]:
    """It, its base, the base of that, and so on."""
    at: Slot | None = slot
    while at is not None:
        yield at
        at = at.base


def depth(slot: Slot) -> int:
    """How many bases lie below one another, at most."""
    return sum(1 for _ in chain(slot)) - 1


def settled(slot: Slot) -> Piece:
    """Where it lies; only once all is written."""
    return slot if isinstance(slot, Piece) else slot.piece()


@attrs.frozen(eq=False)
class Rewritten:
    """A version with new places for its pieces.

    Args:
        held: the version.
        slots: of each file the places.
        writes: what is to be written for it, in order.
        new: the same, by digest.
    """

    held: Held
    slots: list[list[Slot]]
    writes: list[Write]
    new: dict[bytes, Slot]


@attrs.define(eq=False)
class Places:
    """Where pieces lie that this run wrote, or is about to.

    Args:
        plan: what is to be written.
        transaction: that of this run.
        new: places by digest.
        planned: the same, of versions that no entry moved yet.
        left: versions that stay as they are after all.
    """

    plan: Plan
    transaction: str
    new: dict[bytes, Piece] = attrs.Factory(dict)
    planned: dict[bytes, Slot] = attrs.Factory(dict)
    left: set[int] = attrs.Factory(set)

    def of(self, held: Held, base: int | None) -> Rewritten:
        """New places for a version that is to be written anew, stored against *base* where it can be."""
        survey = self.plan.survey
        below = survey.held[base].by_path() if base in survey.held and base not in self.left else {}
        found = _Version(self, held, below).resolved()
        used = _foreign(self, found.slots)
        if len(used) <= MAX_SHARED:
            return found
        most = sorted(used, key=lambda pack: (-used[pack], pack))[:MAX_SHARED]
        return _Version(self, held, below, frozenset(most)).resolved()

    def is_own(self, pack: int) -> bool:
        """Whether this run wrote a pack."""
        return transaction_of(self.plan.survey.packs[pack]) == self.transaction

    def packs_of(self, slot: Slot) -> Iterator[tuple[int, int]]:
        """The packs of others that it takes to read it, each with the bytes there."""
        for one in chain(slot):
            if isinstance(one, Piece):
                lies = one
            elif one.fate is Fate.REBASE:
                lies = one.old
            else:
                continue
            if not self.is_own(lies.pack):
                yield lies.pack, lies.stored


def _foreign(places: Places, slots: Sequence[Sequence[Slot]]) -> dict[int, int]:
    """The packs of others that a version needs, with the bytes that it has there."""
    found: dict[int, int] = {}
    for slot in {id(slot): slot for own in slots for slot in own}.values():
        for pack, stored in places.packs_of(slot):
            found[pack] = found.get(pack, 0) + stored
    return found


@attrs.define(eq=False)
class _Version:
    """New places for one version.

    Args:
        places: what was written before.
        held: the version.
        below: the files of the version that it is stored against.
        allowed: the packs of others that it may need, if not all.
    """

    places: Places
    held: Held
    below: dict[str, tuple[tuple[Piece, ...], Layout]]
    allowed: frozenset[int] | None = None
    writes: list[Write] = attrs.Factory(list)
    new: dict[bytes, Slot] = attrs.Factory(dict)

    def resolved(self) -> Rewritten:
        slots = [self._file(index) for index in range(len(self.held.files))]
        return Rewritten(self.held, slots, self.writes, self.new)

    def _file(self, index: int) -> list[Slot]:
        path, pieces = self.held.files[index]
        layout = self.held.layouts[index]
        plan = self.places.plan
        found: dict[int, Slot] = {}
        if self.held.number in plan.survey.protected:
            for first, last in layout.tensors:
                tensor = pieces[first:last]
                if plan.fates.is_turned(tensor) or not all(map(self._is_usable, tensor)):
                    found.update(enumerate(self._raw(tensor), first))
        for at, piece in enumerate(pieces):
            if at not in found:
                begin, left = layout.left.get(at, (None, 0))
                tensor_of = None if begin is None else ((self.held.number, index, begin), left)
                found[at] = self._place(piece, (path, layout.labels[at]), tensor_of)
        return [found[at] for at in range(len(pieces))]

    def _raw(self, tensor: Sequence[Piece]) -> list[Slot]:
        """A tensor as one run of raw bytes, so that it can be mapped; such a run that is there will do."""
        for found in (self._run_of_new(tensor), self._run_of_old(tensor)):
            if found is not None:
                return found
        left = sum(piece.length for piece in tensor)
        mark = object()
        own: dict[bytes, Slot] = {}
        for piece in tensor:
            if piece.digest not in own:
                own[piece.digest] = self._write(Write(piece, Fate.STAY, tensor=(mark, left)))
            left -= piece.length
        return [own[piece.digest] for piece in tensor]

    def _run_of_new(self, tensor: Sequence[Piece]) -> list[Slot] | None:
        found = [self._written(piece.digest) for piece in tensor]
        run = [slot for slot in found if isinstance(slot, Write) and slot.fate is Fate.STAY and slot.tensor is not None]
        if len(run) == len(tensor) and run and run[0].tensor is not None:
            marks = [slot.tensor for slot in run if slot.tensor is not None]
            same = all(mark is run[0].tensor[0] for mark, _ in marks)
            behind = all(a.tensor and b.tensor and a.tensor[1] - a.old.length == b.tensor[1] for a, b in pairwise(run))
            if same and behind and marks[-1][1] == run[-1].old.length:
                return list(run)
        old = [slot for slot in found if isinstance(slot, Piece)]
        return list(old) if len(old) == len(tensor) and _is_run(old) else None

    def _run_of_old(self, tensor: Sequence[Piece]) -> list[Slot] | None:
        found = []
        for piece in tensor:
            raw = [one for one in self.places.plan.staying.get(piece.digest, ()) if one.codec == RAW]
            found.append(next(filter(self._is_usable, raw), None))
        old = [piece for piece in found if piece is not None]
        return list(old) if len(old) == len(tensor) and _is_run(old) else None

    def _place(
        self, piece: Piece, what: tuple[str, Label | None] | None, tensor: tuple[object, int] | None = None
    ) -> Slot:
        """Where a piece is to lie; what it is turned by is placed before."""
        fate = self._fate(piece)
        if fate is Fate.STAY:
            return piece
        is_worth = piece.length >= WORTH_SHARING
        there = self._written(piece.digest) or self._staying(piece.digest) if is_worth else self.new.get(piece.digest)
        if there is not None:
            return there
        if fate in (Fate.PACK, Fate.REPACK):
            return self._write(Write(piece, Fate.PACK, self._base(piece, what), tensor))
        done = len(self.writes)
        base = None if piece.base is None else self._place(piece.base, None)
        if base is not None and not _fits(piece, base):
            self._take_back(done)
            return self._write(Write(piece, Fate.PACK, None, tensor))
        return self._write(Write(piece, fate, base, tensor))

    def _fate(self, piece: Piece) -> Fate:
        fate = self.places.plan.fates.of(piece)
        if fate in (Fate.PACK, Fate.REPACK, Fate.COPY):
            return fate
        if self.allowed is not None and not self.places.is_own(piece.pack) and piece.pack not in self.allowed:
            return Fate.COPY
        if piece.base is not None and self._fate(piece.base) is not Fate.STAY:
            return Fate.REBASE
        return fate

    def _is_usable(self, slot: Slot) -> bool:
        if self.allowed is None:
            return True
        return all(pack in self.allowed for pack, _ in self.places.packs_of(slot))

    def _written(self, digest: bytes) -> Slot | None:
        for known in (self.new, self.places.planned, self.places.new):
            found = known.get(digest)
            if found is not None and self._is_usable(found):
                return found
        return None

    def _staying(self, digest: bytes) -> Slot | None:
        return next(filter(self._is_usable, self.places.plan.staying.get(digest, ())), None)

    def _base(self, piece: Piece, what: tuple[str, Label | None] | None) -> Slot | None:
        """What a piece may be turned by: that of the base version of the same place in the same tensor."""
        if what is None or what[1] is None or piece.digest in self.places.plan.served:
            return None
        pieces, layout = self.below.get(what[0], ((), None))
        at = None if layout is None else layout.at.get(what[1])
        if at is None or pieces[at].length != piece.length:
            return None
        found = pieces[at]
        stays = self._fate(found) is Fate.STAY
        base = found if stays else self._written(found.digest) or self._staying(found.digest)
        return base if base is not None and _fits(piece, base) and self._is_usable(base) else None

    def _take_back(self, done: int) -> None:
        """Forget what was to be written for a piece that does without: no entry would tell of these bytes."""
        for write in self.writes[done:]:
            if self.new.get(write.digest) is write:
                del self.new[write.digest]
        del self.writes[done:]

    def _write(self, write: Write) -> Write:
        self.writes.append(write)
        self.new[write.digest] = write
        return write


def _fits(piece: Piece, base: Slot) -> bool:
    """Whether a piece may be turned by another: not too deep, and not by way of itself."""
    return depth(base) < MAX_DEPTH and piece.digest not in {one.digest for one in chain(base)}


def _is_run(pieces: Sequence[Piece]) -> bool:
    raw = all(piece.codec == RAW for piece in pieces)
    return raw and all(a.pack == b.pack and a.offset + a.length == b.offset for a, b in pairwise(pieces))
