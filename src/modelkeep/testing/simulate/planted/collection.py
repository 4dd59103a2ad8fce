"""Faults in collection: what is judged dead, in which order it goes, and who looks again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import attrs

from modelkeep import (
    _collect,
    _compact,
    _dead,
    _erase,
    _publish,
    _resolve,
    _rewrite,
    _rulings,
    modelversion,
    packwriter,
)
from modelkeep.errors import ConflictError, ModelkeepError
from modelkeep.folds import releases, versions
from modelkeep.folds.rules import require
from modelkeep.layout import pack_key
from modelkeep.packs import missing_pack
from modelkeep.testing.simulate.planted.planting import Patch, Planted, checks_once, nothing, on

_USERS = (_dead, _collect, _compact, _erase, _rewrite)
_condemn, _needed, _let_go = _dead.condemn, _dead.needed, _rulings.let_go


def everywhere(name: str, new: Any) -> list[Patch]:
    """A function of `_dead`, replaced wherever it is used."""
    return [on(module, name, new) for module in _USERS if hasattr(module, name)]


def _delete(line: Any, packs: Iterable[str]) -> list[str]:
    gone = sorted(packs)
    line.home.store.delete([pack_key(line.name, pack) for pack in gone])
    return gone


def _sweep_unneeded(line: Any, packs: Iterable[str], progress: Callable[[int], None] = nothing) -> list[str]:
    del progress
    return _delete(line, set(packs) - _needed(line.versions.state, line.releases.state))


def _sweep_planned(line: Any, packs: Iterable[str], progress: Callable[[int], None] = nothing) -> list[str]:
    del progress
    return _delete(line, packs)


def _delete_then_condemn(line: Any, packs: Iterable[str], **options: Any) -> None:
    doomed = set(packs)
    _sweep_unneeded(line, doomed)
    _condemn(line, doomed, **options)


def _without_look_at_condemned(self: Any, state: Any) -> Any:
    known = attrs.evolve(state, condemned=set())
    return _operations(self, known)


_operations = _publish._Operations.__call__


def _uploads_to_same_keys(line: Any, draft: Any, registry: str, transaction: str, record: bytes, ids: Any) -> int:
    """What was condemned is uploaded again under its old names, and taken for new."""
    del ids
    store = line.home.store
    while True:
        at_rest = _publish._at_rest(line, draft)
        again = (f"{transaction}-{n}" for n in range(1, 100))
        written = packwriter.write_packs(store, line.name, again, draft.sources, record, at_rest=at_rest)
        operations = _publish._Operations.of(line.name, draft, written, registry)

        def decide(state: Any, operations: Any = operations, own: Any = written.own) -> Any:
            return _operations(operations, attrs.evolve(state, condemned=state.condemned - set(own)))

        try:
            entry = line.append("versions", decide, tx=transaction)
        except _publish._CondemnedError:
            continue
        return int(entry.ops[-1]["number"])


def _needed_without_manifests(state: Any, used: Any, *, but: Collection[int] = (), **_: Any) -> set[str]:
    """Only what the pieces of a version's own upload lie in: the last pack is taken for the only one."""
    gone = {*used.purged, *but}
    return {pack for n, known in state.lines.items() if n not in gone for pack in known.packs if pack != known.at.pack}


def _needed_but_deleted(state: Any, used: Any, *, but: Collection[int] = (), **options: Any) -> set[str]:
    return _needed(state, used, but={*used.deleted, *but}, **options)


def _condemnation_of_deleted(state: Any, used: Any, packs: Any, moves: Any = (), **options: Any) -> Any:
    purged = {**dict.fromkeys(used.deleted, ""), **used.purged}
    return _condemnation(state, attrs.evolve(used, purged=purged), packs, moves, **options)


_condemnation = _dead.condemnation


def _restored_when_deleted(self: Any, state: Any) -> None:
    require(self.number in state.deleted, "not deleted")


def _restores(self: Any, **_: Any) -> Any:
    def decide(state: Any) -> Any:
        if self.number not in state.deleted:
            raise ConflictError("not deleted")
        return [releases.Restore(self.number)]

    self._line.append("releases", decide)
    return self


def _purged_when_deleted(self: Any, state: Any) -> None:
    require(self.number in state.deleted, "not deleted")
    require(self.number not in state.purged, "purged already")


def _holds_ignored(line: Any, retention: Any, state: Any, now: Any) -> Any:
    return _let_go(line, retention, attrs.evolve(state, held=set()), now)


def _stacks_ignored(line: Any, retention: Any, state: Any, now: Any) -> Any:
    return _let_go(line, retention, attrs.evolve(state, stacks={}), now)


def _gives_up(line: Any, found: Any, error: ModelkeepError) -> Any:
    del line, found
    raise missing_pack(str(error.facts["key"])) from None


COLLECTION = (
    Planted(
        "no-condemn",
        "packs that nobody needs are deleted, and no entry says so",
        lambda: [*everywhere("condemn", nothing), *everywhere("sweep", _sweep_unneeded)],
    ),
    Planted(
        "condemn-after-delete",
        "packs are deleted before the entry that condemns them",
        lambda: everywhere("condemn", _delete_then_condemn),
    ),
    Planted(
        "condemn-check-once",
        "what nobody needs is looked for on the first try only",
        lambda: checks_once(versions.Condemn),
    ),
    Planted(
        "commit-check-once",
        "a save does not look whether its packs were condemned meanwhile",
        lambda: [
            on(_publish._Operations, "__call__", _without_look_at_condemned),
            on(versions, "check_packs", nothing),
        ],
    ),
    Planted(
        "condemned-forgotten",
        "a pack that was condemned and deleted may be named again",
        lambda: [on(versions.Condemn, "apply", nothing), *everywhere("sweep", _sweep_unneeded)],
    ),
    Planted(
        "same-key-again",
        "a save whose packs were condemned uploads them again under the same names",
        lambda: [on(_publish, "_commit", _uploads_to_same_keys), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "manifest-not-counted",
        "the pack in which the manifest of a version lies counts as needed by nobody",
        lambda: [*everywhere("needed", _needed_without_manifests), on(versions, "check_packs", nothing)],
    ),
    Planted(
        "deleted-is-dead",
        "a version that is deleted, and may be restored, is taken for purged",
        lambda: [
            *everywhere("needed", _needed_but_deleted),
            *everywhere("condemnation", _condemnation_of_deleted),
        ],
    ),
    Planted(
        "restore-unchecked",
        "a version that was purged can be restored",
        lambda: [
            on(releases.Restore, "check", _restored_when_deleted),
            on(modelversion.ModelVersion, "restore", _restores),
        ],
    ),
    Planted(
        "purge-check-once",
        "what the rules let go is judged on the first try only",
        lambda: [*checks_once(releases.Purge), on(releases.Purge, "check", nothing)],
    ),
    Planted(
        "hold-ignored",
        "a rule lets go what is held",
        lambda: [on(releases.Purge, "check", _purged_when_deleted), on(_collect, "let_go", _holds_ignored)],
    ),
    Planted(
        "stack-ignored",
        "a rule lets go what a rollback may come back to",
        lambda: [on(_collect, "let_go", _stacks_ignored)],
    ),
    Planted(
        "sweeper-trusts-plan",
        "what was to be condemned is deleted, whatever was condemned",
        lambda: everywhere("sweep", _sweep_planned),
    ),
    Planted(
        "reader-gives-up",
        "a reader takes a pack that is missing for damage",
        lambda: [on(_resolve, "look_again", _gives_up)],
    ),
)
