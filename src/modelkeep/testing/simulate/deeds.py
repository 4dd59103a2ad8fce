"""What actors do: the shipped `Registry`, called as users call it, every answer judged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from modelkeep.errors import FormatError, UnknownLabelError, UnknownVersionError
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.truth import require
from modelkeep.testing.simulate.world import Actor, Intent, Violation, World

ALIASES = ("production", "production", "production", "production", "staging")
POLICIES = tuple(f"[retention]\nlast = {last}\naliased = false\nlabelled = false\n" for last in (2, 3))
_ALIKE = 48  # chances that far apart give equal tensors
_FROZEN = 16  # numbers of 8 bytes in the tensor that versions share
# one that nearly stays: packed by itself it takes half, and what it differs by from another a fifth
_DRIFTING = np.round(np.random.default_rng(7).normal(0, 1, 64) * 64).astype(np.float32) / 64
NOW = timedelta(0)  # no grace: every upload that is not committed yet is fair game

Payload = tuple[int, int, int]  # who saved, which save of his, and chance


def model_of(payload: Payload, *, drifts: bool) -> dict[str, Any]:
    """What is saved for a payload: a tensor of its own, one that versions share, one that changes a little."""
    chance = payload[2]
    model = {"w": np.array(payload), "frozen": np.full(_FROZEN, chance % 3)}
    if drifts:
        model["drift"] = _DRIFTING.copy()
        model["drift"][chance % 4] += np.float32(chance // 4 % 4) / 1024
    return model


def bytes_of(payload: Payload) -> bytes:
    """The bytes that a model of this payload has, and no other; they are too few to be packed."""
    return np.array(payload).tobytes()


def payload_of(loaded: dict[str, Any]) -> Payload:
    """The payload of a model that was loaded, every bit of which must be as it was saved."""
    own, saves, chance = (int(part) for part in loaded["w"])
    payload = (own, saves, chance)
    expected = model_of(payload, drifts="drift" in loaded)
    same = loaded.keys() == expected.keys() and all(loaded[k].tobytes() == expected[k].tobytes() for k in expected)
    require(same, f"{payload} does not load as it was saved")
    return payload


class Deeds:
    """The operations of an actor.

    Args:
        world: where it plays.
        oracle: who judges.
        index: which actor this is.
    """

    actor: Actor
    registry: Registry

    def __init__(self, world: World, oracle: Oracle, index: int) -> None:
        self.world = world
        self.oracle = oracle
        self.index = index
        self.random = world.random
        self.acknowledged: list[tuple[str, Payload]] = []
        self.refused: list[Payload] = []
        self._saves = 0
        self._held: list[ModelVersion] = []
        self._stays = False  # with the version that it saved last

    # -- saving and loading ----------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Save a model that no one else saves."""
        self._saves += 1
        payload = (self.index, self._saves, self._chance(name))
        self.actor.intent.facts["payload"] = payload
        options: dict[str, Any] = self.random.choice(
            [{}, {}, {"bump": "minor"}, {"label": "1.0.0"}, {"label": "2.0.0"}]
        )
        model = model_of(payload, drifts=self.world.stores)
        version = self.registry.save(model, name, metrics={"m": float(payload[1])}, **options)
        truth = self.oracle.model(name)
        require(
            truth.payloads.get(version.number) == payload, f"{version.ref} was acknowledged, and is not what was saved"
        )
        self.acknowledged.append((name, payload))
        self._held.append(version)

    def _chance(self, name: str) -> int:
        """What tells tensors apart; often those of the newest version, so that they are shared however they lie."""
        chance, known = self.random.getrandbits(40), self.oracle.model(name).payloads
        if known and self.random.random() < 0.4:  # noqa: PLR2004  the others differ a little
            chance += known[max(known)][2] % _ALIKE - chance % _ALIKE
        return chance

    def load_alias(self, name: str) -> None:
        """Load what stands under an alias."""
        alias = self.random.choice(ALIASES)
        payload = payload_of(self.registry.load(f"{name}@{alias}"))
        numbers = [number for number, known in self.oracle.model(name).payloads.items() if known == payload]
        require(len(numbers) == 1, f"{name}@{alias} loaded something that was never saved")
        self.oracle.answers.saw_holder(name, alias, numbers[0], self.actor.intent.begun)

    def load_latest(self, name: str) -> None:
        """Load the latest version and look at its facts."""
        version = self.registry.get(name)
        self.oracle.answers.saw_latest(name, version.number, self.actor.intent.begun)
        self._load(version)

    def load_some(self, name: str) -> None:
        """Load some version."""
        self._load(self._some(name))

    def _load(self, version: ModelVersion) -> None:
        expected = self.oracle.model(version.name).payloads[version.number]
        require(payload_of(version.load()) == expected, f"{version.ref} loaded something else")

    def list_versions(self, name: str) -> None:
        """List all versions and find those under aliases."""
        numbers = {version.number for version in self.registry.model(name).versions()}
        self.oracle.answers.saw_versions(name, numbers, self.actor.intent.begun)
        self.list_aliases(name)

    def list_aliases(self, name: str) -> None:
        """List the versions under aliases."""
        begun = self.actor.intent.begun
        try:
            holders = self.registry.model(name).aliases
        except UnknownVersionError as error:
            raise Violation(f"an alias of {name} names a version that the reader does not know: {error}") from None
        for alias, version in holders.items():
            self.oracle.answers.saw_holder(name, alias, version.number, begun)

    def _some(self, name: str) -> ModelVersion:
        version = self._chosen(name)
        self.actor.intent.facts["number"] = version.number
        return version

    def _chosen(self, name: str) -> ModelVersion:
        held = [version for version in self._held if version.name == name]
        if held and self._stays:
            return held[-1]
        if held and self.random.random() < 0.5:  # noqa: PLR2004  a handle from some time ago, nothing read since
            return self.random.choice(held)
        highest = len(self.oracle.model(name).payloads)
        return self.registry.model(name).version(self.random.randint(1, max(1, highest)))

    # -- what is in use --------------------------------------------------------------------------------------

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

    def release(self, name: str) -> None:
        """Save a model and promote it at once."""
        self.actor.intent = Intent("save", name, self.world.step)
        self.save(name)
        self.actor.intent = Intent("promote", name, self.world.step)
        self._held[-1].promote("production")

    def rollback(self, name: str) -> None:
        """Roll an alias back."""
        intent, alias = self.actor.intent, self.random.choice(ALIASES)
        intent.facts["alias"] = alias
        try:
            version = self.registry.model(name).rollback(alias)
        except UnknownVersionError:
            return
        self.oracle.answers.saw_holder(name, alias, version.number, intent.begun)

    def unset(self, name: str) -> None:
        """Take an alias away."""
        self.registry.model(name).unset(self.random.choice(ALIASES))

    def delete(self, name: str) -> None:
        """Delete some version."""
        self._some(name).delete()

    def restore(self, name: str) -> None:
        """Bring some version back."""
        self._some(name).restore()

    def hold(self, name: str) -> None:
        """Hold some version."""
        self._some(name).hold()

    def unhold(self, name: str) -> None:
        """Let some version go that was held."""
        self._some(name).unhold()

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

    def tag(self, name: str) -> None:
        """Tag some version."""
        self._some(name).tag(by=str(self.index))

    # -- the bytes -------------------------------------------------------------------------------------------

    def compact(self, name: str) -> None:
        """Store the versions by what they differ from each other."""
        self._tended(lambda: self.registry.storage.compact(name))

    def collect(self, name: str) -> None:
        """Take away what nobody needs."""
        self._tended(lambda: self.registry.storage.collect(name, grace=NOW))

    def _tended(self, work: Callable[[], object]) -> None:
        known = bool(self.oracle.registry)
        try:
            work()
        except FormatError as error:  # nothing was ever saved here
            require(not known, f"{self.actor.intent.kind} met {error}")

    def erase(self, name: str) -> None:
        """Erase some version."""
        version = self._some(name)
        version.erase("asked for")
        require(version.number in self.oracle.model(name).purged, f"{version.ref} was erased, and is not purged")

    def retain(self, name: str) -> None:
        """Set a policy, by which collectors let versions go."""
        del name
        self.registry.policy.set(self.random.choice(POLICIES))
