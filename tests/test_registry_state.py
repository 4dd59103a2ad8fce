"""A registry against a model of it in plain Python: any sequence of operations, through one or two registries.

Either may be opened anew at any time, and their clocks jump. ``python tests/test_registry_state.py --examples 500``
tries so many sequences in memory, on a disk and on moto; ``--on`` chooses, ``--seed`` begins elsewhere.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modelkeep.errors import (
    ClockError,
    ClosedError,
    ConflictError,
    DeletedError,
    FormatError,
    GateError,
    InUseError,
    ModelkeepError,
    StaleError,
    TakenError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownModelError,
    UnknownVariantError,
    UnknownVersionError,
)
from modelkeep.layout import pack_key
from modelkeep.ref import Label
from modelkeep.registry import Registry
from modelkeep.runs import keep_failed
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.system import System
from servers import running
from servers.sites import Site

LAST = 2  # versions that the policy keeps
POLICY = f"[retention]\nlast = {LAST}\naliased = false\nlabelled = false\n"
RULES = f'{POLICY}[models."*".aliases.production]\napprovals = 1\ngates = [{{ metric = "m", margin = 0 }}]\n'
NAMES = st.sampled_from(["a", "a", "a", "B"])
ALIASES = st.sampled_from(["production", "staging"])
LABELS = st.sampled_from(["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0"])
BUMPS = st.sampled_from(["major", "minor", "patch"])
KINDS = st.sampled_from(["int8", "half"])
VERDICTS = st.sampled_from(["request", "approve", "approve", "reject", "withdraw"])
WHO = st.integers(0, 1)
PICK = st.integers(0, 30)
WRONG_CLOCK = "this machine's clock says"
HOURS = st.floats(-23, 23)  # that a clock may be off; from a day on a registry does not write


@attrs.define
class Truth:
    """What should be known about one model."""

    payloads: dict[int, int] = attrs.Factory(dict)
    labels: dict[int, str] = attrs.Factory(dict)
    stacks: dict[str, list[int]] = attrs.Factory(dict)
    deleted: set[int] = attrs.Factory(set)
    held: set[int] = attrs.Factory(set)
    purged: set[int] = attrs.Factory(set)
    tags: dict[int, dict[str, str]] = attrs.Factory(dict)
    variants: dict[int, dict[str, int]] = attrs.Factory(dict)
    runs: dict[str, int] = attrs.Factory(dict)
    authors: dict[int, str] = attrs.Factory(dict)
    requests: dict[int, str] = attrs.Factory(dict)
    verdicts: dict[int, dict[str, str]] = attrs.Factory(dict)
    is_open: bool = False
    began: bool = False
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

    def said(self, number: int, verdict: str) -> tuple[str, ...]:
        """Who says so of a version."""
        return tuple(who for who, said in self.verdicts.get(number, {}).items() if said == verdict)

    def passes(self, number: int) -> bool:
        """Whether a version may stand under production by `RULES`."""
        held = self.holder("production")
        approved = set(self.said(number, "approve")) - {self.authors[number]}
        worse = held is not None and self.payloads[number] < self.payloads[held]
        return bool(approved) and not self.said(number, "reject") and not worse

    def stands(self, number: int) -> bool:
        """Whether it is the holder of an alias."""
        return any(stack[-1] == number for stack in self.stacks.values())

    def let_go(self) -> set[int]:
        """What the policy lets go: the newest, what is held, and what a rollback may come back to stays."""
        alive = sorted(set(self.payloads) - self.deleted)
        stacked = {number for stack in self.stacks.values() for number in stack}
        return set(self.payloads) - self.purged - self.held - stacked - set(alive[-LAST:])


class RegistryMachine(RuleBasedStateMachine):
    """Two registries over one store; either may be behind until it looks, and have a wrong clock.

    Args:
        place: makes an empty store.
    """

    def __init__(self, place: Callable[[], Store] = MemoryStore) -> None:
        super().__init__()
        self.store = place()
        self.hours = [0.0, 0.0]
        self.registries = [self.opened(0), self.opened(1)]
        self.policy = ""
        self.truths: dict[str, Truth] = {}
        self.payload = 0
        self.dropped: set[str] = set()  # packs that the next collection takes

    def opened(self, who: int) -> Registry:
        """A registry of a new process, whose clock may jump at any time."""
        now = lambda: datetime.now(UTC) + timedelta(hours=self.hours[who])  # noqa: E731  it jumps later on
        system = System(now=now, actor=lambda: f"actor-{who}")
        return Registry(self.store, cache=False, system=system)

    def actor(self, who: int) -> str:
        return self.registries[who]._home.system.actor()

    def truth(self, name: str) -> Truth:
        return self.truths.setdefault(name, Truth())

    def meets(self, error: type[ModelkeepError] | None, act: Callable[[], Any]) -> Any:
        """Do it, and it must end as the truth says: in *error*, or well."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=f"the model .* was closed|{WRONG_CLOCK}")
            if error is None:
                return act()
            with pytest.raises(ModelkeepError) as caught:
                act()
        assert type(caught.value) is error
        return None

    @initialize(both=st.booleans(), saves=st.integers(0, 5), policy=st.sampled_from(["", POLICY, RULES]))
    def begin(self, both: bool, saves: int, policy: str) -> None:
        """With one process or two; often in a registry that has a past, for else little would be let go."""
        if not both:
            self.registries[1] = self.registries[0]
        for _ in range(saves):
            self.save(0, "a", None, None)
        if policy:
            self.set_policy(1, policy)

    # -- writing ---------------------------------------------------------------------------------------------------

    @rule(who=WHO, name=NAMES, label=st.none() | LABELS, bump=st.none() | BUMPS)
    def save(self, who: int, name: str, label: str | None, bump: str | None) -> None:
        truth = self.truth(name)
        bump = None if label else bump
        self.payload += 1
        error: type[ModelkeepError] | None = None
        if truth.began and not truth.is_open:
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
        truth.authors[number] = self.actor(who)
        truth.is_open = truth.began = True
        if wanted:
            truth.labels[number] = wanted

    @rule(who=WHO, name=NAMES)
    def fail_run(self, who: int, name: str) -> None:
        truth = self.truth(name)
        self.payload += 1
        run = self.registries[who].run(name, params={"p": self.payload})
        error = ClosedError if truth.began and not truth.is_open else None
        if self.meets(error, lambda: keep_failed(run, ValueError("bad rows"))) is not None:
            truth.runs[run.id] = self.payload
            truth.is_open = truth.began = True

    @rule(who=WHO, name=NAMES, pick=PICK)
    def drop_run(self, who: int, name: str, pick: int) -> None:
        truth = self.truth(name)
        if truth.runs:
            found = self.registries[who].model(name).failed_runs()
            gone = found[pick % len(found)]
            gone.drop()
            del truth.runs[gone.id]
            self.dropped.update(pack_key(name, pack) for pack in gone._known.made.packs)

    @rule(who=WHO, name=NAMES, pick=PICK, kind=KINDS)
    def add_variant(self, who: int, name: str, pick: int, kind: str) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        self.payload += 1
        payload, known = self.payload, truth.variants.setdefault(number, {})
        error: type[ModelkeepError] | None = None
        if not truth.is_open:
            error = ClosedError
        elif kind in known and number not in truth.purged:
            error = TakenError
        elif number in truth.deleted:
            error = DeletedError
        variant = self.meets(error, lambda: version.add_variant({"w": np.array(payload)}, kind=kind))
        if variant is not None:
            assert variant.ref == f"{name}:{number}/{kind}"
            known[kind] = payload

    def version(self, who: int, name: str, number: int) -> Any:
        """A version as that registry gives it, or None after it was checked that there is none."""
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        if not truth.began:
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
        elif alias == "production" and self.policy == RULES and not truth.passes(number):
            error = GateError
        self.meets(error, lambda: version.promote(alias, **options))
        if error is None:
            stack = truth.stacks.setdefault(alias, [])
            if not stack or stack[-1] != number:
                stack.append(number)

    @rule(who=WHO, name=NAMES, pick=PICK, verdict=VERDICTS)
    def review(self, who: int, name: str, pick: int, verdict: str) -> None:
        truth = self.truth(name)
        number, actor = truth.pick(pick), self.actor(who)
        version = self.version(who, name, number)
        if version is None:
            return
        said, asks = truth.verdicts.setdefault(number, {}), truth.requests.get(number) == actor
        error: type[ModelkeepError] | None = None
        if number in truth.deleted:
            error = DeletedError
        elif verdict == "withdraw" and actor not in said and not asks:
            error = ConflictError
        self.meets(error, getattr(version.review, verdict))
        if error is None and verdict == "request":
            truth.requests[number] = actor
        elif error is None:
            before = said.pop(actor, None)
            if verdict != "withdraw":
                said[actor] = verdict
            elif before is None:
                del truth.requests[number]

    @rule(who=WHO, verdicts=st.lists(VERDICTS, min_size=1, max_size=3))
    def release(self, who: int, verdicts: list[str]) -> None:
        """Under the rules one saves and promotes, and both have their say in between: by chance alone that is rare."""
        if self.policy != RULES:
            self.set_policy(who, RULES)
        self.save(who, "a", None, None)
        newest = max(len(self.truth("a").payloads) - 1, 0)
        for turn, verdict in enumerate(verdicts, 1):  # the other one first
            self.review((who + turn) % 2, "a", newest, verdict)
        self.promote(who, "a", newest, "production", "unchecked")

    @rule(who=WHO, name=NAMES, alias=ALIASES)
    def rollback(self, who: int, name: str, alias: str) -> None:
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        below = [*truth.stacks.get(alias, [])[:-1]]
        while below and below[-1] in truth.deleted:
            below.pop()
        if not truth.began:
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
        if not truth.began:
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
        elif truth.stands(number):
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
        error: type[ModelkeepError] | None = None if number in truth.deleted else ConflictError
        if number in truth.purged:
            error = DeletedError
        self.meets(error, version.restore)
        truth.deleted -= {number} - truth.purged

    @rule(who=WHO, name=NAMES, pick=PICK)
    def hold(self, who: int, name: str, pick: int) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        error: type[ModelkeepError] | None = ConflictError if number in truth.held else None
        if number in truth.purged:
            error = DeletedError
        self.meets(error, version.hold)
        truth.held |= {number} if error is None else set()

    @rule(who=WHO, name=NAMES, pick=PICK)
    def unhold(self, who: int, name: str, pick: int) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None:
            return
        self.meets(None if number in truth.held else ConflictError, version.unhold)
        truth.held.discard(number)

    # -- storing anew, and letting go --------------------------------------------------------------------------

    @rule(who=WHO, text=st.sampled_from([POLICY, RULES]))
    def set_policy(self, who: int, text: str) -> None:
        self.meets(None, lambda: self.registries[who].policy.set(text))
        self.policy = text

    def is_registry(self) -> bool:
        return bool(self.policy) or any(truth.began for truth in self.truths.values())

    @rule(who=WHO)
    def collect(self, who: int) -> None:
        error = None if self.is_registry() else FormatError
        done = self.meets(error, lambda: self.registries[who].storage.collect(grace=timedelta(0)))
        if done is None:
            return
        expected = {name: truth.let_go() if self.policy else set() for name, truth in self.truths.items()}
        assert {(one.name, one.number) for one in done.purged} == {(n, v) for n, gone in expected.items() for v in gone}
        for name, gone in expected.items():
            self.truths[name].purged |= gone
            self.truths[name].deleted |= gone

    @rule(who=WHO)
    def compact(self, who: int) -> None:
        error = None if self.is_registry() else FormatError
        self.meets(error, self.registries[who].storage.compact)

    @rule(who=WHO, name=NAMES, pick=PICK)
    def erase(self, who: int, name: str, pick: int) -> None:
        truth = self.truth(name)
        number = truth.pick(pick)
        version = self.version(who, name, number)
        if version is None or number in truth.purged:
            return
        error = ConflictError if number in truth.held else InUseError if truth.stands(number) else None
        self.meets(error, lambda: version.erase("a request"))
        if error is None:
            truth.purged.add(number)
            truth.deleted.add(number)

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
        if not truth.began:
            error = UnknownModelError
        elif not truth.is_open:
            error = ClosedError
        self.meets(error, lambda: self.registries[who].model(name).close())
        truth.is_open = False

    @rule(who=WHO, name=NAMES)
    def open(self, who: int, name: str) -> None:
        truth = self.truth(name)
        error: type[ModelkeepError] | None = None
        if not truth.began:
            error = UnknownModelError
        elif truth.is_open:
            error = ConflictError
        self.meets(error, lambda: self.registries[who].model(name).open())
        truth.is_open = truth.began

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
        if number not in truth.purged:  # those of the save went with its bytes
            assert version.tags == tags

    @rule(who=WHO)
    def open_again_from_cold(self, who: int) -> None:
        self.registries[who] = self.opened(who)

    @rule(who=WHO, hours=HOURS)
    def the_clock_jumps(self, who: int, hours: float) -> None:
        self.hours[who] = hours

    @rule(days=st.sampled_from([-400, -2, 2, 400]), name=NAMES)
    def a_clock_that_is_days_off_saves_nothing(self, days: int, name: str) -> None:
        truth = self.truth(name)
        if not truth.is_open:
            return
        late = Registry(self.store, cache=False, system=System(now=lambda: datetime.now(UTC) + timedelta(days=days)))
        self.meets(ClockError, lambda: late.save({"w": np.array(-1)}, name))

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

    @rule(who=WHO, name=NAMES, ref=st.sampled_from(["", "@production", ":1", ":2"]), kind=KINDS)
    def load_variant(self, who: int, name: str, ref: str, kind: str) -> None:
        truth = self.truth(name)
        number, error = self.meant(truth, ref)
        if error is None and number is not None and kind not in truth.variants.get(number, {}):
            error = UnknownVariantError
        loaded = self.meets(error, lambda: self.registries[who].load(f"{name}{ref}/{kind}"))
        if loaded is not None:
            assert number is not None
            assert int(loaded["w"]) == truth.variants[number][kind]

    @staticmethod
    def meant(truth: Truth, ref: str) -> tuple[int | None, type[ModelkeepError] | None]:
        """What a reference means, or the error that it must meet."""
        if not truth.began:
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
        if not truth.began:
            with pytest.raises(UnknownModelError):
                model.versions()
            return
        assert {run.id: run.params["p"] for run in model.failed_runs()} == truth.runs
        everything = model.versions(deleted=True)
        assert [version.number for version in everything] == list(reversed(truth.payloads))
        assert {version.number for version in everything if version.deleted} == truth.deleted
        assert {version.number for version in everything if version.held} == truth.held
        assert [version.number for version in model.versions()] == [
            number for number in reversed(truth.payloads) if number not in truth.deleted
        ]
        assert {version.number: version.label for version in everything if version.label} == truth.labels
        for version in everything:
            found = version.review.opinions()
            approved, rejected = (truth.said(version.number, verdict) for verdict in ("approve", "reject"))
            told = (found.requested_by, found.approved, found.rejected)
            assert told == (truth.requests.get(version.number), approved, rejected)
        assert {version.number: version.metrics["m"] for version in everything} == truth.payloads
        assert {version.number: set(version.variants) for version in everything if version.variants} == {
            number: set(known) for number, known in truth.variants.items() if known
        }
        assert {alias: version.number for alias, version in model.aliases.items()} == {
            alias: stack[-1] for alias, stack in truth.stacks.items()
        }
        assert model.is_open == truth.is_open

    @invariant()
    def the_catalogue_lists_what_is_open(self) -> None:
        listed = {model.name for model in self.registries[0].models()}
        assert listed == {name for name, truth in self.truths.items() if truth.is_open}

    def teardown(self) -> None:
        reader = Registry(self.store, cache=False)
        for name, truth in self.truths.items():
            self.check(reader, name)
            for number, payload in truth.payloads.items():
                version = reader.model(name).version(number)
                if number in truth.purged:
                    with pytest.raises(DeletedError):
                        version.load()
                    continue
                assert int(version.load()["w"]) == payload
                found = {kind: int(variant.load()["w"]) for kind, variant in version.variants.items()}
                assert found == truth.variants.get(number, {})
                assert version.tags == truth.tags.get(number, {})
        if any(truth.began for truth in self.truths.values()):
            findings = [one for one in reader.storage.verify().findings if one.key not in self.dropped]
            assert [str(finding) for finding in findings] == []


# -- where it lies -----------------------------------------------------------------------------------------------------


def in_memory(_: ExitStack) -> Callable[[], Store]:
    return MemoryStore


def on_disk(stack: ExitStack) -> Callable[[], Store]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return lambda: LocalStore(folder / uuid.uuid4().hex, durable=False)


def on_moto(stack: ExitStack) -> Callable[[], Store]:
    site = Site.on(stack.enter_context(running.moto()))
    return lambda: site.store(uuid.uuid4().hex)


PLACES = {"memory": in_memory, "disk": on_disk, "moto": on_moto}


def check(place: Callable[[], Store], examples: int, steps: int, start: int | None = None) -> None:
    """Try so many sequences of so many operations; the shortest that fails is printed."""
    shown = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=set(Phase) - {Phase.explain},
    )

    class Placed(RegistryMachine):
        def __init__(self) -> None:
            super().__init__(place)

    run_state_machine_as_test(Placed if start is None else seed(start)(Placed), settings=shown)


def test_a_registry_in_memory_does_what_its_model_does() -> None:
    check(MemoryStore, 60, 40)


def test_a_registry_on_a_disk_does_what_its_model_does(tmp_path: Path) -> None:
    check(lambda: LocalStore(tmp_path / uuid.uuid4().hex, durable=False), 15, 40)


def test_a_registry_on_moto_does_what_its_model_does(moto_site: Site) -> None:
    check(lambda: moto_site.store(uuid.uuid4().hex), 4, 30)


def main() -> int:
    """Try what the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--examples", type=int, default=500, help="sequences of operations, at each place")
    options.add_argument("--steps", type=int, default=50, help="operations of each")
    options.add_argument("--on", choices=PLACES, action="append", help="a place; all without it")
    options.add_argument("--seed", type=int, default=0, help="which sequences")
    chosen = options.parse_args()
    warnings.filterwarnings("ignore", WRONG_CLOCK)
    for name in chosen.on or PLACES:
        began = time.monotonic()
        with ExitStack() as stack:
            check(PLACES[name](stack), chosen.examples, chosen.steps, chosen.seed)
        told = f"{chosen.examples:,} sequences of up to {chosen.steps} operations, 0 differences"
        sys.stdout.write(f"{name}: {told}; {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
