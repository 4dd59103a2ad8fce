"""What actors do: the shipped `Registry`, called as users call it, every answer judged."""

from __future__ import annotations

import warnings
from typing import Any

import greenlet
import numpy as np

from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    ModelkeepError,
    NotFoundError,
    StaleError,
    StoreError,
    TakenError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVersionError,
    UnsettledError,
)
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.testing.simulate.oracle import Oracle, require
from modelkeep.testing.simulate.squeeze import squeeze
from modelkeep.testing.simulate.world import Actor, Intent, SimulatedStore, Violation, World

FROZEN = 16  # numbers of 8 bytes in the tensor that versions share
ALIASES = ("production", "production", "production", "production", "staging")
_ORDINARY = (ClosedError, ConflictError, NotFoundError, StoreError, TakenError, UnsettledError)


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
    "label": 1,
    "close": 1,
    "open": 1,
    "tag": 1,
    "squeeze": 1,
}
# rare meetings, made frequent: a version is saved, promoted and read within one fold; deletes under rollbacks
_RELEASES = {"save": 4, "load_alias": 2, "list_versions": 4, "promote": 9, "rollback": 6, "delete": 6, "restore": 1}
# bytes that versions share, and that are stored anew meanwhile
_BYTES = {"save": 8, "squeeze": 6, "load_latest": 3, "load_alias": 1, "promote": 1, "list_versions": 1}


class Play:
    """One actor's part: a few operations on one or two models, after a crash perhaps as a new process.

    Args:
        world: where it plays.
        oracle: who judges.
        index: which actor this is.
        names: the models.
    """

    def __init__(self, world: World, oracle: Oracle, index: int, names: list[str]) -> None:
        self.world = world
        self.oracle = oracle
        self.index = index
        self.names = names
        self.random = world.random
        self.weights = _RELEASES if world.directed else _BYTES if world.seed % 6 == 2 else _EVENLY  # noqa: PLR2004
        self.acknowledged: list[tuple[str, Any]] = []
        self.refused: list[Any] = []
        self._saves = 0
        self._held: list[ModelVersion] = []
        self._rise()

    def _rise(self) -> None:
        self.actor = Actor(self.index)
        self._held.clear()
        store = SimulatedStore(self.world, self.actor)
        self.registry = Registry(store, system=self.world.system(self.actor))
        self.world.start(self.actor, self._live)

    def _live(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for turn in range(self.random.randint(2, 9 if self.world.directed else 7)):
                    self._act(first=turn == 0)
        except Violation as violation:
            self.world.violations.append(violation)
        except greenlet.GreenletExit:
            if self.random.random() < 0.5 and not self.world.violations:  # noqa: PLR2004  half of them come back
                self._rise()
        except Exception as error:  # noqa: BLE001  whatever it is, no user should meet it
            self.world.violate(f"{self.actor.intent.kind} ended in {type(error).__name__}: {error}")

    # -- operations ------------------------------------------------------------------------------------------

    def _act(self, *, first: bool) -> None:
        # without something to work on the rest would mostly be told that there is nothing
        kind = "save" if first else self.random.choices(list(self.weights), list(self.weights.values()))[0]
        operation = getattr(self, kind)
        name = self.random.choice(self.names)
        self.actor.intent = Intent(kind, name, self.world.step)
        try:
            operation(name)
        except UnsettledError as error:
            self._unsettled(error)
        except _ORDINARY as error:
            self._refused(name, error)
        except ModelkeepError as error:
            self.world.violate(f"{kind} {name} met {type(error).__name__}: {error}")

    def _unsettled(self, error: UnsettledError) -> None:
        intent = self.actor.intent
        if not self.world.flaky and self.random.random() < 0.3:  # noqa: PLR2004  some never ask
            return
        self.actor.intent = Intent("settle", intent.name, self.world.step)
        try:
            committed = self.registry.settle(error.token).committed
        except StoreError:
            return
        except UnsettledError:
            return
        if intent.kind == "save":
            there = intent.facts["payload"] in self.oracle.model(intent.name).payloads.values()
            require(committed is there, f"settle says {committed} of a save that {'stands' if there else 'does not'}")
            (self.acknowledged if committed else self.refused).append(
                (intent.name, intent.facts["payload"]) if committed else intent.facts["payload"]
            )

    def _refused(self, name: str, error: ModelkeepError) -> None:
        """A refusal must have been true at some moment of the call."""
        intent = self.actor.intent
        if intent.kind == "save":
            self.refused.append(intent.facts["payload"])
        match error:
            case StaleError():
                self.oracle.saw_holder(name, error.alias, error.found, intent.begun)
            case UnknownAliasError():
                self.oracle.saw_holder(name, error.alias, None, intent.begun)
            case ClosedError():
                self.oracle.saw_closed(name, intent.begun)
            case DeletedError():
                self.oracle.saw_deleted(name, error.number, intent.begun)
            case TakenError() if "number" in error.facts:
                self.oracle.saw_taken(name, error.label)
            case UnknownModelError() | UnknownVersionError() if "alias" not in error.facts:
                if "number" in error.facts:
                    made = self.oracle.model(name).made.get(error.number)
                    require(made is None or made >= intent.begun, f"{name}:{error.number} was said not to exist")
                else:
                    self.oracle.saw_nothing(name, intent.begun)
            case _:
                return

    def save(self, name: str) -> None:
        """Save a model that no one else saves."""
        self._saves += 1
        payload = (self.index, self._saves, self.random.getrandbits(40))
        self.actor.intent.facts["payload"] = payload
        options: dict[str, Any] = self.random.choice(
            [{}, {}, {"bump": "minor"}, {"label": "1.0.0"}, {"label": "2.0.0"}]
        )
        model = {"w": np.array(payload), "frozen": np.full(FROZEN, self.random.randrange(3))}  # some of it shared
        version = self.registry.save(model, name, metrics={"m": float(payload[1])}, **options)
        truth = self.oracle.model(name)
        require(
            truth.payloads.get(version.number) == payload, f"{version.ref} was acknowledged, and is not what was saved"
        )
        self.acknowledged.append((name, payload))
        self._held.append(version)

    def _payload(self, loaded: Any) -> tuple[int, ...]:
        return tuple(int(part) for part in loaded["w"])

    def load_alias(self, name: str) -> None:
        """Load what stands under an alias."""
        alias = self.random.choice(ALIASES)
        payload = self._payload(self.registry.load(f"{name}@{alias}"))
        numbers = [number for number, known in self.oracle.model(name).payloads.items() if known == payload]
        require(len(numbers) == 1, f"{name}@{alias} loaded something that was never saved")
        self.oracle.saw_holder(name, alias, numbers[0], self.actor.intent.begun)

    def load_latest(self, name: str) -> None:
        """Load the latest version and look at its facts."""
        version = self.registry.get(name)
        self.oracle.saw_latest(name, version.number, self.actor.intent.begun)
        expected = self.oracle.model(name).payloads[version.number]
        require(self._payload(version.load()) == expected, f"{version.ref} loaded something else")

    def list_versions(self, name: str) -> None:
        """List all versions and find those under aliases."""
        model = self.registry.model(name)
        begun = self.actor.intent.begun
        numbers = {version.number for version in model.versions()}
        self.oracle.saw_versions(name, numbers, begun)
        try:
            holders = model.aliases
        except UnknownVersionError as error:
            raise Violation(f"an alias of {name} names a version that the reader does not know: {error}") from None
        for alias, version in holders.items():
            self.oracle.saw_holder(name, alias, version.number, begun)

    def _some(self, name: str) -> ModelVersion:
        held = [version for version in self._held if version.name == name]
        if held and self.random.random() < 0.5:  # noqa: PLR2004  a handle from some time ago, nothing read since
            return self.random.choice(held)
        highest = len(self.oracle.model(name).payloads)
        return self.registry.model(name).version(self.random.randint(1, max(1, highest)))

    def promote(self, name: str) -> None:
        """Promote some version, sometimes expecting a holder."""
        version = self._some(name)
        alias = self.random.choice(ALIASES)
        expecting: dict[str, Any] = {}
        look = self.random.choice(["look", "is told", "does not care"])
        if look == "look":
            holder = self.registry.model(name).aliases.get(alias)
            expecting["expect"] = holder.number if holder else None
        elif look == "is told":  # by a colleague, while this process may have read long ago
            expecting["expect"] = self.oracle.model(name).holder(alias)
        self.actor.intent = Intent("promote", name, self.world.step, dict(expecting))
        version.promote(alias, **expecting)

    def rollback(self, name: str) -> None:
        """Roll an alias back."""
        intent, alias = self.actor.intent, self.random.choice(ALIASES)
        intent.facts["alias"] = alias
        try:
            version = self.registry.model(name).rollback(alias)
        except UnknownVersionError:
            return
        self.oracle.saw_holder(name, alias, version.number, intent.begun)

    def unset(self, name: str) -> None:
        """Take an alias away."""
        self.registry.model(name).unset(self.random.choice(ALIASES))

    def delete(self, name: str) -> None:
        """Delete some version."""
        self._some(name).delete()

    def restore(self, name: str) -> None:
        """Bring some version back."""
        self._some(name).restore()

    def label(self, name: str) -> None:
        """Give some version a label."""
        version = self._some(name)
        try:
            if self.random.random() < 0.5:  # noqa: PLR2004  either way
                version.set_label(bump="minor")
            else:
                version.set_label("1.0.0")
        except UnknownLabelError:
            return

    def close(self, name: str) -> None:
        """Close the model."""
        self.registry.model(name).close()

    def open(self, name: str) -> None:
        """Open the model again."""
        self.registry.model(name).open()

    def squeeze(self, name: str) -> None:
        """Store some version's tensor by what it differs from another's."""
        line = self.registry._line(name)  # noqa: SLF001  there is no public way yet
        if line is not None:
            squeeze(line, self.random)

    def tag(self, name: str) -> None:
        """Tag some version."""
        self._some(name).tag(by=str(self.index))


def check_end(world: World, oracle: Oracle, plays: list[Play]) -> None:
    """At the end: every acknowledged version loads bit for bit, no refused one is there, and all verifies."""
    try:
        _check_end(Registry(world.objects), oracle, plays)
    except ModelkeepError as error:
        raise Violation(f"at the end: {type(error).__name__}: {error}") from None


def _check_end(registry: Registry, oracle: Oracle, plays: list[Play]) -> None:
    for play in plays:
        for name, payload in play.acknowledged:
            require(payload in oracle.model(name).payloads.values(), f"acknowledged, and not there: {payload}")
        for payload in play.refused:
            there = any(payload in truth.payloads.values() for truth in oracle.models.values())
            require(not there, f"refused, and there all the same: {payload}")
    for name, truth in oracle.models.items():
        if not truth.payloads:
            continue
        model = registry.model(name)
        listed = {version.number: version for version in model.versions(deleted=True)}
        require(set(listed) == set(truth.payloads), f"{name} lists {sorted(listed)}, not {sorted(truth.payloads)}")
        for number, payload in truth.payloads.items():
            try:
                loaded = listed[number].load()
            except (DeletedError, ModelkeepError) as error:
                raise Violation(f"{name}:{number} does not load: {error}") from None
            require(tuple(int(part) for part in loaded["w"]) == payload, f"{name}:{number} loads something else")
            require(listed[number].label == truth.own_label.get(number), f"{name}:{number} has another label")
        holders = {alias: version.number for alias, version in model.aliases.items()}
        expected = {alias: stack[-1] for alias, stack in truth.stacks.items() if stack}
        require(holders == expected, f"aliases of {name} read as {holders}, not {expected}")
    if oracle.registry:
        report = registry.storage.verify()
        require(report.ok, f"verify: {[str(finding) for finding in report.findings]}")
