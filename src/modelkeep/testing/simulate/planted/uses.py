"""Faults in promote, roll back, delete, and in what readers of aliases see."""

from __future__ import annotations

from typing import Any

from modelkeep import _line, model, modelversion
from modelkeep.errors import ConflictError
from modelkeep.folds import releases
from modelkeep.testing.simulate.planted.planting import Planted, checks_once, nothing, on


def _versions_first(self: Any) -> None:
    self.versions.refresh()
    self.releases.refresh()
    if not self.versions.head:
        raise self.unknown()


def _rollback_without_expect(self: Any, alias: str, **_: Any) -> Any:
    line = self._read()

    def decide(state: Any) -> Any:
        below = state.rolled_back(alias)
        if not below:
            raise ConflictError("nothing below")
        return [releases.SetAlias(alias, below[-1].number, below[-1].identity, below[-1].at, "rollback")]

    entry = line.append("releases", decide)
    return modelversion.ModelVersion(line, entry.ops[0]["number"])


def _rollback_pushes(self: Any, state: Any, entry: Any) -> None:
    here = releases.Holder(self.number, self.identity, self.at, entry.time, entry.actor)
    below = state.stacks.get(self.alias, ())
    state.stacks[self.alias] = (*below, here) if not below or below[-1].number != self.number else below


def _holder_before(self: Any, alias: str) -> Any:
    return self.stacks.get(alias, ())[:-1]  # past deleted ones it does not look


USES = (
    Planted(
        "promote-check-once",
        "a promote looks at the holder on its first try only",
        lambda: checks_once(releases.SetAlias),
    ),
    Planted(
        "delete-check-once",
        "a delete looks at aliases on its first try only",
        lambda: checks_once(releases.Delete, releases.Restore),
    ),
    Planted(
        "versions-first",
        "versions are read before releases",
        lambda: [on(_line.Line, "read", _versions_first)],
    ),
    Planted(
        "rollback-without-expect",
        "two rollbacks at once go back two steps",
        lambda: [on(model.RegisteredModel, "rollback", _rollback_without_expect)],
    ),
    Planted(
        "rollback-pushes",
        "a rollback pushes, so the next one comes back to the bad version",
        lambda: [on(releases.SetAlias, "apply", _rollback_pushes)],
    ),
    Planted(
        "rollback-to-deleted",
        "a rollback does not pass over deleted versions",
        lambda: [
            on(releases.Releases, "rolled_back", _holder_before),
            on(releases.SetAlias, "check", nothing),
        ],
    ),
    Planted(
        "deletes-aliased",
        "a version under an alias can be deleted",
        lambda: [on(releases.Releases, "aliases_of", lambda *_: ())],
    ),
)
