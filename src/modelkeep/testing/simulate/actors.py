"""Actors: what each one does next, and what becomes of it."""

from __future__ import annotations

import warnings

import greenlet

from modelkeep.errors import (
    ClosedError,
    ConflictError,
    GateError,
    ModelkeepError,
    NotFoundError,
    StoreError,
    TakenError,
    UnsettledError,
)
from modelkeep.registry import Registry
from modelkeep.testing.simulate.deeds import Deeds
from modelkeep.testing.simulate.history import History
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.truth import require
from modelkeep.testing.simulate.world import Actor, Intent, SimulatedStore, Violation, World

_ORDINARY = (ClosedError, ConflictError, GateError, NotFoundError, StoreError, TakenError, UnsettledError)

_KEEPS = ("save", "add_variant", "fail_run")

_EVENLY = {
    "save": 6,
    "load_alias": 3,
    "load_latest": 2,
    "list_versions": 1,
    "promote": 4,
    "rollback": 3,
    "unset": 1,
    "delete": 2,
    "restore": 1,
    "hold": 1,
    "unhold": 1,
    "label": 1,
    "close": 1,
    "open": 1,
    "tag": 1,
    "note": 2,
    "look": 1,
    "by_label": 1,
    "compact": 3,
    "collect": 2,
    "erase": 1,
    "retain": 1,
}
# rare meetings, made frequent: a version is saved, promoted and read within one fold; deletes under rollbacks
_RELEASES = {
    "save": 4,
    "load_alias": 2,
    "list_versions": 4,
    "promote": 9,
    "rollback": 6,
    "delete": 6,
    "restore": 1,
    "collect": 1,
    "hold": 1,
}
# bytes that versions share, that are stored anew, and that go, while others save and load
_STORAGE = {
    "save": 8,
    "load_some": 3,
    "load_latest": 2,
    "load_alias": 1,
    "promote": 2,
    "rollback": 1,
    "delete": 2,
    "restore": 2,
    "hold": 1,
    "unhold": 1,
    "list_versions": 1,
    "compact": 5,
    "collect": 5,
    "erase": 2,
    "retain": 1,
}
# one version's life, while others compact and collect: what is deleted is not dead, what is held stays
_LIVES = (
    ("save", "save", "delete", "collect", "restore", "load_some"),
    ("save", "delete", "restore", "load_some"),
    ("save", "save", "compact", "load_some", "collect", "load_some"),
    ("save", "hold", "delete", "collect", "restore", "load_some"),
    ("save", *["collect"] * 6),
    ("save", "save", "save", "compact", "save", "save", "compact", "load_some"),
    ("save", "promote", "load_alias", "list_versions", "promote", "list_versions"),
)
# who saves and promotes at once, and who looks all the while
_RELEASE_LIVES = (
    ("save", *["release"] * 6),
    ("save", *["list_aliases"] * 12),
)
# whose writes may go unanswered while others compact and collect, or label and close
_FLAKY_LIVES = (
    ("save", "save", "compact", "save", "compact", "load_latest"),
    ("save", "label", "close", "open", "save", "label", "close", "open"),
)
# in the schedules with variants: what is done beside all else, and what becomes of a version that has one
_VARIANTS = {"add_variant": 5, "load_variant": 3}
_VARIANT_LIVES = (
    ("save", "add_variant", "compact", "load_variant", "collect", "load_variant"),
    ("save", "save", "add_variant", "save", "compact", "collect", "load_variant"),
    ("save", "add_variant", "delete", "collect", "restore", "load_variant"),
)
# in the schedules with runs that fail: the same, and what becomes of a model of which the first run failed
_RUNS = {"fail_run": 6, "read_failed": 5, "drop_run": 2, "collect": 3}
_RUN_LIVES = (
    ("fail_run", "load_latest", "read_failed", "save", "compact", "collect", "read_failed"),
    ("fail_run", "fail_run", "collect", "drop_run", "collect", "read_failed"),
    ("fail_run", "close", "save", "fail_run", "open", "save", "read_failed"),
    ("save", "fail_run", *["collect"] * 4, "read_failed"),
)
# in the schedules with policies that ask something of a promotion
_GOVERNED = {"retain": 3, "judge": 8, "promote": 9}
_GOVERNED_LIVES = (
    ("save", "save", "judge", "promote", "judge", "promote", "judge", "promote"),
    ("save", "save", "save", "promote", "promote", "promote", "promote", "promote"),
    ("save", "retain", "judge", "promote", "retain", "promote", "retain", "promote"),
)
_LED = 0.2  # share of actors that lead one of these lives


class Play(Deeds):
    """One actor's part: a few operations on one or two models, after a crash perhaps as a new process.

    Args:
        world: where it plays.
        oracle: who judges, answer by answer.
        history: where it is noted what it asks and is told.
        index: which actor this is.
        names: the models.
    """

    def __init__(self, world: World, oracle: Oracle, history: History, index: int, names: list[str]) -> None:
        super().__init__(world, oracle, history, index)
        self.names = names
        self.weights = _RELEASES if world.directed else _STORAGE if world.stores else _EVENLY
        if world.variants:
            self.weights = {**self.weights, **_VARIANTS}
        if world.runs:
            self.weights = {**self.weights, **_RUNS}
        if world.governed:
            self.weights = {**self.weights, **_GOVERNED}
        self._rise()

    def _rise(self) -> None:
        self.actor = Actor(self.index)
        self._held.clear()
        self._failed.clear()
        store = SimulatedStore(self.world, self.actor)
        self.registry = Registry(store, system=self.world.system(self.actor))
        self.world.start(self.actor, self._live)

    def _live(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for kind in self._plan():
                    self._act(kind)
        except Violation as violation:
            self.world.violations.append(violation)
        except greenlet.GreenletExit:
            if self.random.random() < 0.5 and not self.world.violations:  # noqa: PLR2004  half of them come back
                self._rise()
        except Exception as error:  # noqa: BLE001  whatever it is, no user should meet it
            self._violate(f"{self.actor.intent.kind} ended in {type(error).__name__}: {error}")

    def _plan(self) -> list[str]:
        """What it will do; without something to work on the rest would mostly be told that there is nothing."""
        lives = _LIVES if self.world.stores else _RELEASE_LIVES if self.world.directed else _FLAKY_LIVES
        if self.world.variants:
            lives = (*lives, *_VARIANT_LIVES)
        if self.world.runs:
            lives = (*lives, *_RUN_LIVES)
        if self.world.governed:
            lives = (*lives, *_GOVERNED_LIVES)
        self._stays = self.random.random() < _LED
        if self._stays:
            return list(self.random.choice(lives))
        turns = self.random.randint(2, 7 if self.world.flaky else 9)
        first = "fail_run" if self.world.runs and self.random.random() < 0.5 else "save"  # noqa: PLR2004  either
        return [first, *self.random.choices(list(self.weights), list(self.weights.values()), k=turns - 1)]

    # -- operations ------------------------------------------------------------------------------------------

    def _act(self, kind: str) -> None:
        name = self.names[0] if self._stays else self.random.choice(self.names)
        self.actor.intent = Intent(kind, name, self.world.step)
        try:
            getattr(self, kind)(name)
        except UnsettledError as error:
            self._unsettled(error)
        except _ORDINARY as error:
            self._refused(name, error)
        except ModelkeepError as error:
            self._violate(f"{kind} {name} met {type(error).__name__}: {error}")

    def _violate(self, message: str) -> None:
        if not self.world.silent:
            self.world.violate(message)

    def _unsettled(self, error: UnsettledError) -> None:
        intent = self.actor.intent
        if not self.world.flaky and self.random.random() < 0.3:  # noqa: PLR2004  some never ask
            return
        try:
            committed = self.settle(error.token)
        except StoreError:
            return
        except UnsettledError:
            return
        if intent.kind in _KEEPS:
            there = intent.facts["payload"] in self.oracle.model(intent.name).saved()
            require(committed == there, f"settle says {committed} of a save that {'stands' if there else 'does not'}")
            if committed:
                self.acknowledged.append((intent.name, intent.facts["payload"]))
            else:
                self.refused.append(intent.facts["payload"])

    def _refused(self, name: str, error: ModelkeepError) -> None:
        if self.actor.intent.kind in _KEEPS and "payload" in self.actor.intent.facts:
            self.refused.append(self.actor.intent.facts["payload"])
        self.oracle.answers.refused(name, error, self.actor.intent)
