"""Faults in variants: their packs are their own, each kind is given once, and they live as long as their version."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from modelkeep import _publish
from modelkeep.atrest import NOTHING
from modelkeep.folds import versions
from modelkeep.testing.simulate.planted.collection import everywhere
from modelkeep.testing.simulate.planted.planting import Planted, checks_once, nothing, on


def _move_replaces_all(self: Any, state: Any, entry: Any) -> None:
    """A version needs what the move names, and its variants need nothing."""
    del entry
    line = state.lines[self.number]
    state.left.update(line.packs)
    state.lines[self.number] = attrs.evolve(line, at=self.at, packs=self.packs)


def _needed_without_variants(state: Any, used: Any, *, but: Collection[int] = (), **_: Any) -> set[str]:
    gone = {*used.purged, *but}
    return {pack for number, known in state.lines.items() if number not in gone for pack in known.own}


def _at_rest_for_versions(line: Any, draft: Any) -> Any:
    return NOTHING if draft.variant else _at_rest(line, draft)


_at_rest = _publish._at_rest


VARIANTS = (
    Planted(
        "move-drops-variants",
        "after a move a version no longer needs the packs of its variants",
        lambda: [on(versions.Move, "apply", _move_replaces_all)],
    ),
    Planted(
        "variants-not-counted",
        "the packs of variants count as needed by nobody",
        lambda: [*everywhere("needed", _needed_without_variants), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "variant-shared",
        "a save uses pieces again that lie in a pack of a variant",
        lambda: [
            on(_publish, "_shares", lambda _: True),
            on(_publish, "_at_rest", _at_rest_for_versions),
            on(versions, "_check_apart", nothing),
        ],
    ),
    Planted(
        "variant-check-once",
        "whether a kind is free is looked at on the first try only",
        lambda: checks_once(versions.Variant),
    ),
    Planted(
        "variant-of-purged",
        "a variant is added without a look whether its version was purged",
        lambda: [on(_publish, "_check_alive", nothing)],
    ),
)
