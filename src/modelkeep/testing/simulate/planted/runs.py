"""Faults in runs that failed: they are whole until they are dropped, and nobody but their user drops them early."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from modelkeep import _collect, _publish
from modelkeep.folds import versions
from modelkeep.layout import pack_key
from modelkeep.testing.simulate.planted.collection import everywhere
from modelkeep.testing.simulate.planted.planting import Planted, nothing, on


def _needed_without_drafts(state: Any, used: Any, *, but: Collection[int] = (), **_: Any) -> set[str]:
    gone = {*used.purged, *but}
    return {pack for number, known in state.lines.items() if number not in gone for pack in known.packs}


def _all_expired(self: Any) -> dict[str, str]:
    return dict.fromkeys(self.line.drafts(), "")


def _deletes_alone(line: Any, names: Collection[str]) -> list[str]:
    packs = [pack for name in names for pack in line.versions.state.drafts[name].made.packs]
    line.home.store.delete([pack_key(line.name, pack) for pack in packs])
    return list(names)


def _check_by_number(state: Any, name: str, draft: Any) -> None:
    """What has no version is taken for what never was."""
    _check(attrs.evolve(state, began=state.highest > 0), name, draft)


_check = _publish._check


RUNS = (
    Planted(
        "drafts-not-counted",
        "the packs of failed runs count as needed by nobody",
        lambda: [*everywhere("needed", _needed_without_drafts), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "draft-expires-early",
        "a collector drops failed runs that have not expired",
        lambda: [on(_collect._Collector, "_expired", _all_expired)],
    ),
    Planted(
        "draft-not-dropped",
        "the bytes of failed runs that expired are deleted, and no entry drops them",
        lambda: [on(_collect, "drop", _deletes_alone)],
    ),
    Planted(
        "opening-forgotten",
        "a model that was closed while it had failed runs alone is opened by the next save",
        lambda: [on(_publish, "_check", _check_by_number)],
    ),
)
