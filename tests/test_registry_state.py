"""A registry against a model of it in plain Python: any sequence of operations, through one or two registries."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    InUseError,
    ModelkeepError,
    StaleError,
    TakenError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVersionError,
)
from modelkeep.ref import Label
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore

NAMES = st.sampled_from(["a", "B"])
ALIASES = st.sampled_from(["production", "staging"])
LABELS = st.sampled_from(["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0"])
BUMPS = st.sampled_from(["major", "minor", "patch"])
WHO = st.integers(0, 1)
PICK = st.integers(0, 30)


@attrs.define
class Truth:
    """What should be known about one model."""

    payloads: dict[int, int] = attrs.Factory(dict)
    labels: dict[int, str] = attrs.Factory(dict)
    stacks: dict[str, list[int]] = attrs.Factory(dict)
    deleted: set[int] = attrs.Factory(set)
    tags: dict[int, dict[str, str]] = attrs.Factory(dict)
    is_open: bool = False
    events: int = 0

    def pick(self, number: int) -> int:
        """Some version, mostly one that exists."""
        return number % (len(self.payloads) + 1) + 1

    def bumped(self, part: str) -> str:
        used = [Label.parse(label) for label in self.labels.values()]
        return str(max(used).bump(part)) if used else "1.0.0"

    def holder(self, alias: str) -> int | None:
        return self.stacks[alias][-1] if alias in self.stacks else None

    def latest(self) -> int | None:
        return max(set(self.payloads) - self.deleted, default=None)


class RegistryMachine(RuleBasedStateMachine):
    """Two registries over one store; either may be behind until it looks."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.registries = [Registry(self.store), Registry(self.store)]
        self.truths: dict[str, Truth] = {}
        self.payload = 0

    def truth(self, name: str) -> Truth:
        return self.truths.setdefault(name, Truth())

    def meets(self, error: type[ModelkeepError] | None, act: Callable[[], Any]) -> Any:
        """Do it, and it must end as the truth says: in *error*, or well."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="the model .* was closed")
            if error is None:
                return act()
            with pytest.raises(ModelkeepError) as caught:
                act()
        assert type(caught.value) is error
        return None

    @initialize(both=st.booleans())
    def begin(self, both: bool) -> None:
        if not both:
            self.registries[1] = self.registries[0]

    # -- writing ---------------------------------------------------------------------------------------------------

    @rule(who=WHO, name=NAMES, label=st.none() | LABELS, bump=st.none() | BUMPS)
    def save(self, who: int, name: str, label: str | None, bump: str | None) -> None:
        truth = self.truth(name)
        bump = None if label else bump
        self.payload += 1
        error: type[ModelkeepError] | None = None
        if truth.payloads and not truth.is_open:
            error = ClosedError
        elif label in truth.labels.values():
            error = TakenError
        payload = self.payload
        options: Any = {"label": label, "bump": bump, "metrics": {"m": payload}}
        version = self.meets(error, lambda: self.registries[who].save({"w": np.array(payload)}, name, **options))
        if version is None:
            return
        number = len(truth.payloads) + 1
        assert version.number == number
        wanted = label or (truth.bumped(bump) if bump else None)
        assert version.label == wanted
        truth.payloads[number] = payload
        truth.is_open = True
        if wanted:
            truth.labels[number] = wanted

    def version(self, who: int, name: str, number: int) -> Any:
        """A version as that registry gives it, or None after it was checked that there is none."""
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        if not truth.payloads:
            error = UnknownModelError
        elif number not in truth.payloads:
            error = UnknownVersionError
        return self.meets(error, lambda: self.registries[who].model(name).version(number))

    @rule(who=WHO, name=NAMES, pick=PICK, alias=ALIASES, expect=st.none() | PICK | st.just("unchecked"))
    def promote(self, who: int, name: str, pick: int, alias: str, expect: Any) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        found = truth.holder(alias)
        error: type[ModelkeepError] | None = None
        options = {} if expect == "unchecked" else {"expect": expect}
        if number in truth.deleted:
            error = DeletedError
        elif options and expect != found:
            error = StaleError
        self.meets(error, lambda: version.promote(alias, **options))
        if error is None:
            stack = truth.stacks.setdefault(alias, [])
            if not stack or stack[-1] != number:
                stack.append(number)

    @rule(who=WHO, name=NAMES, alias=ALIASES)
    def rollback(self, who: int, name: str, alias: str) -> None:
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        below = [*truth.stacks.get(alias, [])[:-1]]
        while below and below[-1] in truth.deleted:
            below.pop()
        if not truth.payloads:
            error = UnknownModelError
        elif alias not in truth.stacks:
            error = UnknownAliasError
        elif not below:
            error = UnknownVersionError
        version = self.meets(error, lambda: self.registries[who].model(name).rollback(alias))
        if version is not None:
            assert version.number == below[-1]
            truth.stacks[alias] = below

    @rule(who=WHO, name=NAMES, alias=ALIASES)
    def unset(self, who: int, name: str, alias: str) -> None:
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        if not truth.payloads:
            error = UnknownModelError
        elif alias not in truth.stacks:
            error = UnknownAliasError
        self.meets(error, lambda: self.registries[who].model(name).unset(alias))
        if error is None:
            del truth.stacks[alias]

    @rule(who=WHO, name=NAMES, pick=PICK)
    def delete(self, who: int, name: str, pick: int) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        error: type[ModelkeepError] | None = None
        if number in truth.deleted:
            error = DeletedError
        elif any(stack[-1] == number for stack in truth.stacks.values()):
            error = InUseError
        self.meets(error, version.delete)
        truth.deleted |= {number} if error is None else set()

    @rule(who=WHO, name=NAMES, pick=PICK)
    def restore(self, who: int, name: str, pick: int) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        error = None if number in truth.deleted else ConflictError
        self.meets(error, version.restore)
        truth.deleted.discard(number)

    @rule(who=WHO, name=NAMES, pick=PICK, label=LABELS, bump=st.none() | BUMPS)
    def set_label(self, who: int, name: str, pick: int, label: str, bump: Any) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        wanted = truth.bumped(bump) if bump else label
        taken = number in truth.labels or wanted in truth.labels.values()
        options: Any = {"bump": bump} if bump else {"label": label}
        self.meets(TakenError if taken else None, lambda: version.set_label(**options))
        if not taken:
            truth.labels[number] = wanted
            assert version.label == wanted

    @rule(who=WHO, name=NAMES)
    def close(self, who: int, name: str) -> None:
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        if not truth.payloads:
            error = UnknownModelError
        elif not truth.is_open:
            error = ClosedError
        self.meets(error, lambda: self.registries[who].model(name).close())
        truth.is_open = False

    @rule(who=WHO, name=NAMES)
    def open(self, who: int, name: str) -> None:
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        if not truth.payloads:
            error = UnknownModelError
        elif truth.is_open:
            error = ConflictError
        self.meets(error, lambda: self.registries[who].model(name).open())
        truth.is_open = bool(truth.payloads)

    @rule(who=WHO, name=NAMES, pick=PICK, key=st.sampled_from("xy"), text=st.none() | st.sampled_from(["1", "2"]))
    def tag(self, who: int, name: str, pick: int, key: str, text: str | None) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        version.tag(**{key: text})
        tags = truth.tags.setdefault(number, {})
        if text is None:
            tags.pop(key, None)
        else:
            tags[key] = text
        assert version.tags == tags

    @rule(who=WHO)
    def open_again_from_cold(self, who: int) -> None:
        self.registries[who] = Registry(self.store)

    # -- reading ---------------------------------------------------------------------------------------------------

    @rule(who=WHO, name=NAMES)
    def look(self, who: int, name: str) -> None:
        self.check(self.registries[who], name)

    @rule(who=WHO, name=NAMES, ref=st.sampled_from(["", "@production", "@staging", ":1", ":2", ":^1", ":2.0.0"]))
    def load(self, who: int, name: str, ref: str) -> None:
        truth = self.truth(name)
        number, error = self.meant(truth, ref)
        loaded = self.meets(error, lambda: self.registries[who].load(f"{name}{ref}"))
        if loaded is not None:
            assert number is not None
            assert int(loaded["w"]) == truth.payloads[number]

    @staticmethod
    def meant(truth: Truth, ref: str) -> tuple[int | None, type[ModelkeepError] | None]:
        """What a reference means, or the error that it must meet."""
        if not truth.payloads:
            return None, UnknownModelError
        missing: type[ModelkeepError]
        if ref.startswith("@"):
            number, missing = truth.holder(ref[1:]), UnknownAliasError
        elif ref == ":^1":
            fitting = [
                (Label.parse(label), number)
                for number, label in truth.labels.items()
                if label.startswith("1.") and number not in truth.deleted
            ]
            number, missing = max(fitting)[1] if fitting else None, UnknownLabelError
        elif ref == ":2.0.0":
            number, missing = {label: n for n, label in truth.labels.items()}.get(ref[1:]), UnknownLabelError
        elif ref:
            number, missing = int(ref[1:]) if int(ref[1:]) in truth.payloads else None, UnknownVersionError
        else:
            number, missing = truth.latest(), UnknownVersionError
        if number is None:
            return None, missing
        return number, DeletedError if number in truth.deleted else None

    def check(self, registry: Registry, name: str) -> None:
        truth = self.truth(name)
        model = registry.model(name)
        if not truth.payloads:
            with pytest.raises(UnknownModelError):
                model.versions()
            return
        everything = model.versions(deleted=True)
        assert [version.number for version in everything] == list(reversed(truth.payloads))
        assert {version.number for version in everything if version.deleted} == truth.deleted
        assert [version.number for version in model.versions()] == [
            number for number in reversed(truth.payloads) if number not in truth.deleted
        ]
        assert {version.number: version.label for version in everything if version.label} == truth.labels
        assert {version.number: version.metrics["m"] for version in everything} == truth.payloads
        assert {alias: version.number for alias, version in model.aliases.items()} == {
            alias: stack[-1] for alias, stack in truth.stacks.items()
        }
        assert model.is_open == truth.is_open

    @invariant()
    def the_catalogue_lists_what_is_open(self) -> None:
        listed = {model.name for model in self.registries[0].models()}
        assert listed == {name for name, truth in self.truths.items() if truth.is_open}

    def teardown(self) -> None:
        reader = Registry(self.store)
        for name, truth in self.truths.items():
            self.check(reader, name)
            for number, payload in truth.payloads.items():
                version = reader.model(name).version(number)
                assert int(version.load()["w"]) == payload
                assert version.tags == truth.tags.get(number, {})
        if any(truth.payloads for truth in self.truths.values()):
            assert [str(finding) for finding in reader.storage.verify().findings] == []


TestRegistryAgainstItsModel = RegistryMachine.TestCase
TestRegistryAgainstItsModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
