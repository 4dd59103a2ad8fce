"""The operations of the shipped `Registry` that schedules know: each is called as users call it, noted, and judged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np

from modelkeep.errors import FormatError, UnknownVersionError
from modelkeep.failedrun import FailedRun
from modelkeep.modelvariant import Variant
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.runs import keep_failed
from modelkeep.testing.simulate.history import History
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.truth import require
from modelkeep.testing.simulate.world import Actor, Intent, Violation, World

T = TypeVar("T")
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


def _nothing(_: object) -> None:
    return None


class Operations:
    """What one actor asks of its registry.

    Args:
        world: where it plays.
        oracle: who judges, answer by answer.
        history: where it is noted, for the search.
        index: which actor this is.
    """

    actor: Actor
    registry: Registry

    def __init__(self, world: World, oracle: Oracle, history: History, index: int) -> None:
        self.world = world
        self.oracle = oracle
        self.history = history
        self.index = index
        self.acknowledged: list[tuple[str, Payload]] = []
        self.refused: list[Payload] = []

    def _ask(self, kind: str, name: str, work: Callable[[], T], tell: Callable[[T], Any] = _nothing, **asked: Any) -> T:
        return self.history.ask(kind, name, asked, work, tell)

    # -- saving and loading ----------------------------------------------------------------------------------

    def keep(self, name: str, payload: Payload, options: dict[str, Any]) -> ModelVersion:
        """Save a model."""
        model = model_of(payload, drifts=self.world.stores)
        version: ModelVersion = self._ask(
            "save",
            name,
            lambda: self.registry.save(model, name, metrics={"m": float(payload[1])}, **options),
            lambda version: (version.number, version.label if options else None),
            payload=payload,
            **options,
        )
        truth = self.oracle.model(name)
        require(
            truth.payloads.get(version.number) == payload, f"{version.ref} was acknowledged, and is not what was saved"
        )
        self.acknowledged.append((name, payload))
        return version

    def read_alias(self, name: str, alias: str) -> None:
        """Load what stands under an alias."""
        payload = self._ask(
            "load alias", name, lambda: payload_of(self.registry.load(f"{name}@{alias}")), lambda own: own, alias=alias
        )
        numbers = [number for number, known in self.oracle.model(name).payloads.items() if known == payload]
        require(len(numbers) == 1, f"{name}@{alias} loaded something that was never saved")
        self.oracle.answers.saw_holder(name, alias, numbers[0] if numbers else None, self.actor.intent.begun)

    def read_latest(self, name: str) -> ModelVersion:
        """Which version is the latest."""
        version = self._ask("latest", name, lambda: self.registry.get(name), lambda version: version.number)
        self.oracle.answers.saw_latest(name, version.number, self.actor.intent.begun)
        return version

    def read_label(self, name: str, label: str) -> None:
        """Which version has a label."""
        ref = f"{name}:{label}"
        version = self._ask(
            "by label", name, lambda: self.registry.get(ref), lambda version: version.number, label=label
        )
        require(self.oracle.model(name).labels.get(label) == version.number, f"{ref} was read as {version.number}")

    def find(self, name: str, number: int) -> ModelVersion:
        """The version of a number."""
        return self._ask("find", name, lambda: self.registry.model(name).version(number), number=number)

    def read(self, version: ModelVersion) -> None:
        """Load a version."""
        expected = self.oracle.model(version.name).payloads.get(version.number)
        payload = self._ask(
            "load", version.name, lambda: payload_of(version.load()), lambda own: own, number=version.number
        )
        require(payload == expected, f"{version.ref} loaded something else")

    # -- variants --------------------------------------------------------------------------------------------

    def keep_variant(self, version: ModelVersion, form: str, payload: Payload) -> None:
        """Add a variant to a version."""
        name, number = version.name, version.number
        model = model_of(payload, drifts=self.world.stores)
        metrics = {"m": float(payload[1])}
        self._ask(
            "add variant",
            name,
            lambda: version.add_variant(model, kind=form, metrics=metrics),
            number=number,
            form=form,
            payload=payload,
        )
        truth = self.oracle.model(name)
        require(truth.variants.get((number, form)) == payload, f"{version.ref}/{form} was acknowledged, and is another")
        self.acknowledged.append((name, payload))

    def read_variants(self, version: ModelVersion) -> dict[str, Variant]:
        """The variants of a version, by kind."""
        return self._ask("variants", version.name, lambda: version.variants, tuple, number=version.number)

    def read_variant(self, version: ModelVersion, variant: Variant) -> None:
        """Load a variant."""
        self._loaded_variant("load variant", version.name, version.number, variant.kind, variant.load)

    def find_variant(self, name: str, number: int, form: str) -> None:
        """Load a variant by its reference."""
        ref = f"{name}:{number}/{form}"
        self._loaded_variant("find variant", name, number, form, lambda: self.registry.load(ref))

    def _loaded_variant(self, kind: str, name: str, number: int, form: str, work: Callable[[], dict[str, Any]]) -> None:
        expected = self.oracle.model(name).variants.get((number, form))
        payload = self._ask(kind, name, lambda: payload_of(work()), lambda own: own, number=number, form=form)
        expected = expected or self.oracle.model(name).variants.get((number, form))  # it may have come meanwhile
        require(payload == expected, f"{name}:{number}/{form} loaded something else")

    # -- runs that fail --------------------------------------------------------------------------------------

    def fail(self, name: str, payload: Payload) -> FailedRun:
        """Keep a run that failed, with curves of its own."""
        run = self.registry.run(name, params={"payload": list(payload)})
        for part in payload:
            run.log(w=part)
        kept = self._ask("fail run", name, lambda: keep_failed(run, ValueError("bad rows")), payload=payload)
        require(self.oracle.model(name).drafts.get(kept.id) == payload, f"{kept.ref} was acknowledged, and is another")
        self.acknowledged.append((name, payload))
        return kept

    def read_runs(self, name: str) -> tuple[FailedRun, ...]:
        """The runs that failed."""
        found = self._ask("failed runs", name, lambda: tuple(self.registry.model(name).failed_runs()), len)
        self.oracle.answers.saw_runs(name, tuple(run.id for run in found), self.actor.intent.begun)
        return found

    def read_run(self, run: FailedRun) -> None:
        """Read all of a run that failed; it is whole until it was dropped."""
        expected = self.oracle.model(run.name).drafts[run.id]

        def work() -> tuple[Any, Any, str]:
            run.verify()
            return run.params["payload"], run.history["w"].value.tolist(), run.error

        told = self._ask("read run", run.name, work)
        as_it_was = (list(expected), list(map(float, expected)), "ValueError: bad rows")
        require(told == as_it_was, f"{run.ref} reads as {told}")

    def end(self, run: FailedRun) -> None:
        """Drop a run that failed."""
        self.actor.intent.facts["draft"] = run.id
        self._ask("drop run", run.name, run.drop, draft=run.id)
        require(run.id in self.oracle.model(run.name).dropped, f"{run.ref} was dropped, and is there")

    # -- lists -----------------------------------------------------------------------------------------------

    def read_versions(self, name: str) -> None:
        """List the versions that are not deleted."""
        numbers = self._ask(
            "versions",
            name,
            lambda: tuple(version.number for version in self.registry.model(name).versions()),
            lambda numbers: numbers,
        )
        self.oracle.answers.saw_versions(name, set(numbers), self.actor.intent.begun)

    def read_all(self, name: str) -> tuple[ModelVersion, ...]:
        """List all versions, those that are deleted, too."""
        return self._ask(
            "all versions",
            name,
            lambda: tuple(reversed(self.registry.model(name).versions(deleted=True))),
            lambda versions: tuple((version.number, version.label) for version in versions),
        )

    def read_aliases(self, name: str) -> dict[str, int]:
        """The versions under aliases."""
        begun = self.actor.intent.begun
        try:
            holders: dict[str, int] = self._ask(
                "aliases",
                name,
                lambda: {alias: version.number for alias, version in self.registry.model(name).aliases.items()},
                lambda holders: holders,
            )
        except UnknownVersionError as error:
            raise Violation(f"an alias of {name} names a version that the reader does not know: {error}") from None
        for alias, number in holders.items():
            self.oracle.answers.saw_holder(name, alias, number, begun)
        return holders

    def read_state(self, version: ModelVersion) -> None:
        """Whether a version is held, whether it is deleted, and under which aliases it stands."""
        name, number = version.name, version.number
        self.read_held(version)
        self._ask("is deleted", name, lambda: version.deleted, bool, number=number)
        self._ask("aliases of", name, lambda: version.aliases, lambda aliases: aliases, number=number)

    def read_held(self, version: ModelVersion) -> None:
        """Whether a version is held."""
        self._ask("is held", version.name, lambda: version.held, bool, number=version.number)

    # -- what is in use --------------------------------------------------------------------------------------

    def put(self, version: ModelVersion, alias: str, said: dict[str, Any], **options: Any) -> None:
        """Promote a version; *said* is what is expected, if anything is."""
        self._ask(
            "promote",
            version.name,
            lambda: version.promote(alias, **said, **options),
            number=version.number,
            alias=alias,
            **said,
        )

    def go_back(self, name: str, alias: str, said: dict[str, Any]) -> None:
        """Roll an alias back."""
        intent = self.actor.intent
        intent.facts["alias"] = alias
        version = self._ask(
            "rollback",
            name,
            lambda: self.registry.model(name).rollback(alias, **said),
            lambda version: version.number,
            alias=alias,
            **said,
        )
        self.oracle.answers.saw_holder(name, alias, version.number, intent.begun)

    def take_away(self, name: str, alias: str) -> None:
        """Take an alias away."""
        self._ask("unset", name, lambda: self.registry.model(name).unset(alias), alias=alias)

    def change(self, version: ModelVersion, kind: str, **options: Any) -> None:
        """Delete, restore, hold or unhold a version."""
        self._ask(kind, version.name, lambda: getattr(version, kind)(**options), number=version.number)

    def give_label(self, version: ModelVersion, options: dict[str, Any]) -> None:
        """Give a version a label."""
        self._ask(
            "label",
            version.name,
            lambda: version.set_label(**options),
            lambda version: version.label,
            number=version.number,
            **options,
        )

    def turn(self, name: str, kind: str) -> None:
        """Close or open a model."""
        self._ask(kind, name, getattr(self.registry.model(name), kind))

    # -- what people say -------------------------------------------------------------------------------------

    def say(self, version: ModelVersion, field: str, value: Any) -> None:
        """Tag, measure or describe a version."""
        works: dict[str, Callable[[], object]] = {
            "tag": lambda: version.tag(by=value),
            "metric": lambda: version.measure(later=value),
            "text": lambda: version.describe(value),
        }
        self._ask(f"set {field}", version.name, works[field], number=version.number, value=value)

    def hear(self, version: ModelVersion, field: str) -> None:
        """Read what was said about a version."""
        works: dict[str, Callable[[], Any]] = {
            "tag": lambda: version.tags.get("by", ""),
            "metric": lambda: version.measured.get("later", ""),
            "text": lambda: version.description or "",
        }
        self._ask(field, version.name, works[field], lambda value: value, number=version.number)

    def set_title(self, name: str, title: str) -> None:
        """Give a model a title."""
        self._ask("set title", name, lambda: self.registry.model(name).set_title(title), value=title)

    def read_title(self, name: str) -> None:
        """The title of a model; without one it is the name."""
        model = self.registry.model(name)
        self._ask("title", name, lambda: model.title, lambda title: "" if title == name else title)

    def review(self, version: ModelVersion, verdict: str) -> None:
        """Ask for a review of a version, approve or reject it, or withdraw that."""
        self._ask(verdict, version.name, getattr(version.review, verdict), number=version.number)

    def set_policy(self, text: str) -> None:
        """Set a policy, by which collectors let versions go."""
        self._ask("set policy", "", lambda: self.registry.policy.set(text), value=text)

    def read_policy(self) -> None:
        """The policy in force."""
        self._ask("policy", "", lambda: self.registry.policy.text, lambda text: text)

    # -- the bytes -------------------------------------------------------------------------------------------

    def store_anew(self, name: str) -> None:
        """Store the versions by what they differ from each other."""
        self._tended(lambda: self._ask("compact", name, lambda: self.registry.storage.compact(name)))

    def take_out(self, name: str) -> Any:
        """Take away what nobody needs."""
        return self._tended(
            lambda: self._ask(
                "collect",
                name,
                lambda: self.registry.storage.collect(name, grace=NOW),
                lambda done: tuple(one.number for one in done.purged),
            )
        )

    def _tended(self, work: Callable[[], T]) -> T | None:
        known = bool(self.oracle.registry)
        try:
            return work()
        except FormatError as error:  # nothing was ever saved here
            require(not known, f"{self.actor.intent.kind} met {error}")
            return None

    def forget(self, version: ModelVersion) -> None:
        """Erase a version."""
        self._ask("erase", version.name, lambda: version.erase("asked for"), number=version.number)
        purged = self.oracle.model(version.name).purged
        require(version.number in purged, f"{version.ref} was erased, and is not purged")

    # -- what became of a write ------------------------------------------------------------------------------

    def settle(self, token: str) -> bool | None:
        """Ask what became of a write that was not answered."""
        begun = self.actor.intent
        self.actor.intent = Intent("settle", begun.name, self.world.step)
        committed = self.registry.settle(token).committed
        self.history.settled(token, committed)
        return committed
