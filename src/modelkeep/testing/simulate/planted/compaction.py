"""Faults in compaction and erasure: what the entry that moves versions says, in which order, and who looks again."""

from __future__ import annotations

from typing import Any

import attrs

from modelkeep import _erase, _line, _rewrite, atrest
from modelkeep.folds import versions
from modelkeep.folds.rules import Op
from modelkeep.testing.simulate.planted.planting import Planted, nothing, on


def _without_bases(self: Any) -> versions.Move:
    """Only the packs that the pieces themselves lie in."""
    used = {self.manifest.packs[piece.pack] for _, pieces in self.manifest.files for piece in pieces}
    packs = tuple(pack for pack in self.manifest.packs if pack in used or pack == self.at.pack)
    return attrs.evolve(_operation(self), packs=packs)


def _condemns_alone(self: Any, moved: Any, state: Any) -> list[Op]:
    """The entries of versions go on naming the packs that are emptied."""
    ops = _decide(self, moved, state)
    return [op for op in ops if isinstance(op, versions.Condemn)] or ops


def _condemns_first(self: Any, journal: Any, decide: Any, **options: Any) -> Any:
    """Two entries for what should be one."""
    if getattr(getattr(decide, "func", None), "__func__", None) is _decide:

        def condemns(state: Any) -> list[Op]:
            return [op for op in decide(state) if isinstance(op, versions.Condemn)]

        def moves(state: Any) -> list[Op]:
            return [op for op in decide(state) if isinstance(op, versions.Move)]

        if condemns(self.versions.state):
            _append(self, journal, condemns, **options)
            return _append(self, journal, moves, **options)
    return _append(self, journal, decide, **options)


class _NeverError(Exception):
    """No error is one."""


_operation, _decide, _append = _rewrite._Moved.operation, _rewrite.Rewriting._decide, _line.Line.append


COMPACTION = (
    Planted(
        "base-not-named",
        "an entry that moves a version names the packs of its pieces, and not those of their bases",
        lambda: [on(_rewrite._Moved, "operation", _without_bases)],
    ),
    Planted(
        "base-forgotten",
        "a piece is used again without the base that it was turned by",
        lambda: [on(atrest, "_elsewhere", lambda piece, packs: attrs.evolve(piece, pack=packs[piece.pack], base=None))],
    ),
    Planted(
        "compact-without-move",
        "versions are stored anew and their packs condemned, and no entry says where they lie now",
        lambda: [on(_rewrite.Rewriting, "_decide", _condemns_alone), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "condemn-before-move",
        "what versions lay in is condemned by an entry before that which moves them",
        lambda: [on(_line.Line, "append", _condemns_first), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "move-check-once",
        "a move does not look again whether the version lies where it lay",
        lambda: [on(_rewrite.Rewriting, "_gone", nothing), on(versions.Move, "check", nothing)],
    ),
    Planted(
        "move-names-condemned",
        "a move does not look whether the packs that it names were condemned meanwhile",
        lambda: [on(_rewrite._Moved, "lacks", nothing), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "rewriter-cleans-up",
        "the packs of a compaction without an answer are deleted",
        lambda: [on(_rewrite, "UnsettledError", _NeverError)],
    ),
    Planted(
        "erases-own-packs-alone",
        "what an erased version had in packs that others need is left there",
        lambda: [on(_erase, "_mixed", lambda *_: set())],
    ),
)
