"""What is to become of each piece of the living versions: it stays, or how it goes. Reads and writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum

import attrs

from modelkeep import splitters
from modelkeep._survey import Held, Survey
from modelkeep.bases import choose
from modelkeep.codecs import RAW, Form
from modelkeep.folds import versions
from modelkeep.manifest import MAX_DEPTH, Piece

SMALL_MODEL = 64 * 1024  # bytes; packing less saves less than the manifests take, and loading it would cost more
WORTH = 0.95  # of its length; what does not shrink to that on a sample is left where it is


class Fate(Enum):
    """What becomes of a place where a piece lies."""

    STAY = "stay"
    PACK = "pack"  # it is raw, and shrinks
    REPACK = "repack"  # what it was turned by is no longer there
    COPY = "copy"  # its pack is emptied
    REBASE = "rebase"  # its bytes stay, and what it was turned by goes elsewhere


@attrs.define(eq=False)
class Fates:
    """What becomes of places, as one set of wishes has it.

    Args:
        survey: the versions.
        forms: what shrinks, by digest, and how.
        emptied: the packs that are emptied, as indexes.
        spared: packs out of which nothing is packed: as they stay, that would free nothing.
        all_else_stays: whether only what those packs take goes: what was turned by something dead elsewhere stays.
    """

    survey: Survey
    forms: Mapping[bytes, Form]
    emptied: Collection[int]
    spared: Collection[int] = ()
    all_else_stays: bool = False
    _known: dict[Piece, Fate] = attrs.Factory(dict)

    def of(self, piece: Piece) -> Fate:
        """The fate of a place."""
        found = self._known.get(piece)
        if found is None:
            found = self._known[piece] = self._find(piece)
        return found

    def _find(self, piece: Piece) -> Fate:
        base = piece.base
        if base is None:
            if piece.codec == RAW and piece.digest in self.forms and piece.pack not in self.spared:
                return Fate.PACK
            return Fate.COPY if piece.pack in self.emptied else Fate.STAY
        below = self.of(base)
        is_dead = base.digest not in self.survey.living
        is_touched = piece.pack in self.emptied or below is not Fate.STAY
        if is_dead and (is_touched or not self.all_else_stays):
            return Fate.REPACK
        if piece.pack in self.emptied:
            return Fate.COPY
        return Fate.STAY if below is Fate.STAY else Fate.REBASE

    def raw_again(self, held: Held) -> Iterator[Piece]:
        """The pieces of tensors of a protected version that are written anew, raw and in one run."""
        if held.number not in self.survey.protected:
            return
        for (_, pieces), layout in zip(held.files, held.layouts, strict=True):
            for first, last in layout.tensors:
                if self.is_turned(pieces[first:last]):
                    yield from pieces[first:last]

    def is_turned(self, tensor: tuple[Piece, ...]) -> bool:
        """Whether a tensor that should lie raw does not, or has to go."""
        return any(piece.codec != RAW or self.of(piece) is not Fate.STAY for piece in tensor)

    def goes(self, held: Held) -> bool:
        """Whether a version has to be written anew."""
        if any(self.of(piece) is not Fate.STAY for piece in held.pieces()):
            return True
        packs = [self.survey.pack(name) for name in held.known.own]
        return any(pack in self.emptied for pack in packs) or any(True for _ in self.raw_again(held))

    def living(self) -> dict[int, int]:
        """The bytes of each pack that are still needed afterwards."""
        places: dict[tuple[int, int], int] = {}
        leaving = {number: set(self.raw_again(held)) for number, held in self.survey.held.items()}
        raw = {piece.digest for leaves in leaving.values() for piece in leaves}
        for held in self.survey.held.values():
            leaves = leaving[held.number]
            for piece in held.pieces():
                fate = self.of(piece)
                if piece in leaves or fate not in (Fate.STAY, Fate.REBASE):
                    continue
                if fate is Fate.REBASE and piece.digest in raw:  # the new place will do for others too
                    continue
                for one in piece.chain() if fate is Fate.STAY else (piece,):
                    places[one.pack, one.offset] = one.stored
            if not self.goes(held):
                at = held.known.at
                places[self.survey.pack(at.pack), at.offset] = at.length
        found: dict[int, int] = {}
        for (pack, _), stored in places.items():
            found[pack] = found.get(pack, 0) + stored
        return found


@attrs.define(eq=False)
class Plan:
    """What is to be written anew, and how.

    Args:
        survey: the versions.
        fates: what becomes of their pieces.
        order: the versions to be written anew, each behind the one that it is stored against if it can be, with that.
        staying: for each digest a place that stays, if there is one.
        served: digests of what others that stay packed were turned by: these are stored by themselves.
        total: the bytes of the files of these versions.
    """

    survey: Survey
    fates: Fates
    order: list[tuple[int, int | None]]
    staying: dict[bytes, list[Piece]]
    served: set[bytes]
    total: int


def candidates(survey: Survey) -> dict[bytes, Piece]:
    """The raw pieces of tensors that may be packed, by digest: those that no protected version has."""
    kept = {piece.digest for number in survey.protected & survey.held.keys() for piece in survey.held[number].pieces()}
    found: dict[bytes, Piece] = {}
    for held in survey.held.values():
        if held.number in survey.protected or held.known.made.size < SMALL_MODEL:
            continue
        for piece, label in held.labelled():
            if label and piece.codec == RAW and piece.length >= splitters.SMALL and piece.digest not in kept:
                found.setdefault(piece.digest, piece)
    return found


def plan(survey: Survey, forms: Mapping[bytes, Form]) -> Plan:
    """What a compaction does.

    Args:
        survey: the versions.
        forms: how the candidates would be packed, by digest; of those that could be looked at.
    """
    forms = {digest: form for digest, form in forms.items() if form.ratio <= WORTH}
    pinned = {survey.pack(pack) for number in survey.left for pack in survey.line.versions.state.lines[number].own}
    spared = set(pinned)
    while True:
        fates = _emptying(survey, forms, spared, pinned)
        vain = {
            piece.pack
            for held in survey.held.values()
            for piece in held.pieces()
            if fates.of(piece) is Fate.PACK and piece.pack not in fates.emptied
        }
        if not vain:
            return _ordered(survey, fates)
        spared |= vain


def _emptying(survey: Survey, forms: Mapping[bytes, Form], spared: set[int], pinned: set[int]) -> Fates:
    """The fates where every pack goes of which less than half is alive; what goes may make others such packs.

    Unless the manifests of those that need it, which are all written anew, take more than that gives.
    """
    emptied: set[int] = set()
    cost: dict[int, int] = {}
    for held in survey.held.values():
        for name in held.known.own:
            pack = survey.pack(name)
            cost[pack] = cost.get(pack, 0) + held.known.at.length
    while True:
        fates = Fates(survey, forms, emptied, spared)
        living = fates.living()
        thin = {
            pack
            for pack in cost.keys() - emptied - pinned
            if (dead := survey.sizes.get(survey.packs[pack], 0) - living.get(pack, 0)) > cost[pack]
            and dead > living.get(pack, 0)
        }
        if not thin:
            return fates
        emptied = emptied | thin


def plan_to_empty(survey: Survey, packs: Collection[str]) -> Plan:
    """What it takes that no version needs *packs*; nothing is made smaller."""
    return _ordered(survey, Fates(survey, {}, {survey.pack(pack) for pack in packs}, all_else_stays=True))


def _ordered(survey: Survey, fates: Fates) -> Plan:
    todo = [number for number, held in survey.held.items() if fates.goes(held)]
    staying: dict[bytes, list[Piece]] = {}
    served: set[bytes] = set()
    for held in survey.held.values():
        for piece in dict.fromkeys(held.pieces()):
            fate = fates.of(piece)
            if fate is Fate.STAY:
                staying.setdefault(piece.digest, []).append(piece)
            elif fate in (Fate.COPY, Fate.REBASE):
                served.update(one.digest for one in piece.chain() if one is not piece)
    first = [number for number in todo if number in survey.protected]
    chosen = {} if fates.all_else_stays else dict(_bases(survey, fates))
    wanted = set(todo)
    order: dict[int, int | None] = {}
    for number in [*first, *chosen, *todo]:
        base = chosen.get(number)
        if base is not None and base in wanted:  # it is stored already, but has to go elsewhere
            order.setdefault(base, chosen.get(base))
        if number in wanted:
            order.setdefault(number, base)
    total = sum(survey.held[number].known.made.size for number in todo)
    return Plan(survey, fates, list(order.items()), staying, served, total)


def _bases(survey: Survey, fates: Fates) -> list[tuple[int, int | None]]:
    lines: Mapping[int, versions.Line] = survey.line.versions.state.lines
    numbers = [number for number in lines if number in survey.held or number in survey.left]
    parents = {
        number: next((parent for parent in held.parents if parent in lines), number)
        for number, held in survey.held.items()
        if held.parents
    }
    return choose(numbers, parents, {number: _depth(survey, fates, number) for number in numbers})


def _depth(survey: Survey, fates: Fates, number: int) -> int | None:
    """How deep a version is stored; None if it has pieces to be packed."""
    held = survey.held.get(number)
    if held is None or held.known.made.size < SMALL_MODEL:
        return MAX_DEPTH  # nothing is to be had from it
    if number in survey.protected:
        return 0
    deepest = 0
    for piece in held.pieces():
        if fates.of(piece) in (Fate.PACK, Fate.REPACK):
            return None
        deepest = max(deepest, piece.depth())
    return deepest
