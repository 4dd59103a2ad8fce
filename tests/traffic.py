"""What a writer, a reader, a compactor and a collector do all day; each is a process of its own.

``python tests/traffic.py ROLE NAME URL OPTIONS`` says "ready", takes the seconds from standard input, and ends with a
line of JSON: counts, errors by kind, and faults.
"""

from __future__ import annotations

import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import attrs

sys.path.insert(0, str(Path(__file__).parent))  # it is run as a script

import modelkeep as mk
from modelkeep.errors import (
    ConflictError,
    DeletedError,
    ModelkeepError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownVersionError,
)
from modelkeep.registry import Registry
from truth import NAME, facts, made, same, wrong

ALIASES = ("production", "staging")
NOW = timedelta(0)
PAUSE = 0.8  # seconds that a writer pauses at most
LEAST = 6  # steps of each worker, however slow the machine
KEPT = 15  # handles, and maps, that a reader keeps


@attrs.define
class Worker:
    """What all have in common: a registry, chance, counts, and what is legal."""

    own: int
    open: Callable[[], Registry]
    legal: tuple[type[ModelkeepError], ...] = ()
    registry: Registry = attrs.field(init=False)
    chance: random.Random = attrs.field(init=False)
    counts: Counter[str] = attrs.Factory(Counter)
    errors: Counter[str] = attrs.Factory(Counter)
    faults: list[str] = attrs.Factory(list)
    saved: dict[int, int] = attrs.Factory(dict)
    gone: dict[int, str] = attrs.Factory(dict)
    longest: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.registry = self.open()
        self.chance = random.Random(self.own)

    @property
    def model(self) -> Any:
        return self.registry.model(NAME)

    def step(self) -> None:
        raise NotImplementedError

    def work(self, seconds: float) -> None:
        """Step until the time is over, and so often at least; an error that is not legal is a fault."""
        end, steps = time.monotonic() + seconds, 0
        while time.monotonic() < end or steps < LEAST:
            steps += 1
            try:
                self.step()
            except self.legal as error:
                self.errors[type(error).__name__] += 1
                self.heard(error)
            except Exception as error:  # noqa: BLE001  it is told, and work goes on
                self.errors[type(error).__name__] += 1
                self.faults.append("".join(traceback.format_exception(error, limit=-6)))

    def heard(self, error: ModelkeepError) -> None:
        """A version is said to be gone: whether that is true is looked up in the end, in the history."""
        if isinstance(error, DeletedError):
            self.gone[error.number] = "purge" if "was purged" in str(error) else "delete"

    def report(self) -> str:
        return json.dumps(
            {
                "counts": self.counts,
                "errors": self.errors,
                "faults": self.faults[:20],
                "saved": [*self.saved.items()],
                "gone": [*self.gone.items()],
                "longest": self.longest,
            }
        )


@attrs.define
class Writer(Worker):
    """Saves models that share and change a little; promotes, rolls back, deletes, restores, holds and labels."""

    legal: tuple[type[ModelkeepError], ...] = (ConflictError, DeletedError, UnknownAliasError)
    n: int = 0
    held: list[int] = attrs.Factory(list)

    def step(self) -> None:
        version = self.save()
        act = self.chance.choice((self.nothing, self.promote, self.promote, self.retire, self.hold, self.label))
        act(version)
        time.sleep(self.chance.uniform(0, PAUSE))

    def save(self) -> mk.ModelVersion:
        self.n += 1
        more: dict[str, Any] = {"bump": "patch"} if self.chance.random() < 0.3 else {}
        if self.chance.random() < 0.2:
            more["parent"] = f"{NAME}:{self.older()}" if self.chance.random() < 0.5 else None
        model, began = made(self.own, self.n), time.monotonic()
        try:
            version: mk.ModelVersion = self.registry.save(model, NAME, params=facts(self.own, self.n), **more)
        except ConflictError as error:  # legal in what follows a save, but not here
            raise AssertionError("a save lost") from error
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        self.saved[version.number] = self.n
        self.counts["saves"] += 1
        return version

    def older(self) -> int:
        latest = max(self.saved, default=1)
        return self.chance.randint(max(1, latest - 6), latest)

    def nothing(self, version: mk.ModelVersion) -> None:
        del version

    def promote(self, version: mk.ModelVersion) -> None:
        alias = self.chance.choice(ALIASES)
        if self.chance.random() < 0.15:
            self.model.unset(alias)  # else its stack, all of which stays, would grow for ever
        elif self.chance.random() < 0.2:
            self.model.rollback(alias, expect=version.number)
        else:
            version.promote(alias)
        self.counts["promotions"] += 1

    def retire(self, version: mk.ModelVersion) -> None:
        number = self.chance.choice([version.number, self.older()])
        self.model.version(number).delete()
        if self.chance.random() < 0.5:
            self.model.version(number).restore()
        self.counts["deletes"] += 1

    def hold(self, version: mk.ModelVersion) -> None:
        version.hold()
        self.held.append(version.number)
        while len(self.held) > 2:
            self.model.version(self.held.pop(0)).unhold()
        self.counts["holds"] += 1

    def label(self, version: mk.ModelVersion) -> None:
        version.set_label(bump="minor")
        self.counts["labels"] += 1


@attrs.define
class Reader(Worker):
    """Loads by alias, by number, by label, the latest, and tensor by tensor; keeps handles and maps of old versions."""

    legal: tuple[type[ModelkeepError], ...] = (DeletedError, UnknownAliasError, UnknownLabelError, UnknownVersionError)
    handles: list[mk.ModelVersion] = attrs.Factory(list)
    maps: list[tuple[dict[str, Any], dict[str, Any]]] = attrs.Factory(list)

    def step(self) -> None:
        if self.chance.random() < 0.02:
            self.registry = self.open()
        ways = (self.by_alias, self.by_number, self.by_label, self.latest, self.old_handle, self.tensors, self.old_map)
        way = self.chance.choice(ways)
        way()
        self.counts[way.__name__] += 1
        time.sleep(self.chance.uniform(0, 0.05))

    def check(self, loaded: dict[str, Any], params: dict[str, Any] | None, what: str) -> None:
        self.counts["loads"] += 1
        if parts := wrong(loaded, params):
            self.faults.append(f"{what}: {', '.join(parts)} are not what was saved with {params}")

    def load(self, ref: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        verify: Literal["now", "lazy"] = self.chance.choice(("now", "lazy"))
        loaded: dict[str, Any] = self.registry.load(ref, verify=verify)
        self.check(loaded, params, ref)
        if verify == "lazy":
            self.maps = [*self.maps, (loaded, params or made_with(loaded))][-KEPT:]
        return loaded

    def by_alias(self) -> None:
        self.load(f"{NAME}@{self.chance.choice(ALIASES)}")

    def latest(self) -> None:
        self.load(NAME)

    def by_label(self) -> None:
        self.load(f"{NAME}:^1.0")

    def by_number(self) -> None:
        version = self.registry.get(NAME)
        number = self.chance.randint(max(1, version.number - 8), version.number)
        version = self.registry.get(f"{NAME}:{number}")
        self.load(f"{NAME}:{number}", version.params)
        self.handles = [*self.handles, version][-KEPT:]

    def old_handle(self) -> None:
        if not self.handles:
            return
        version = self.chance.choice(self.handles)
        way = self.chance.randrange(4)
        if way == 0:
            self.check(version.load(verify=self.chance.choice(("now", "lazy"))), version.params, str(version))
        elif way == 1:
            self.one_by_one(version)
        elif way == 2:
            version.verify()
        else:
            with version.open("tree.json") as file:
                words = json.loads(file.read())
            if made(version.params["seed"], version.params["n"])["words"] not in json.dumps(words):
                self.faults.append(f"{version}: tree.json is not what was saved")

    def tensors(self) -> None:
        version = self.registry.get(NAME)
        self.one_by_one(version)
        self.handles = [*self.handles, version][-KEPT:]

    def one_by_one(self, version: mk.ModelVersion) -> None:
        model = made(version.params["seed"], version.params["n"])
        names = ("frozen", "moving", "own")
        for name in self.chance.sample(names, 2):
            self.counts["tensors read"] += 1
            if not same(version.tensors[name], model[name]):
                self.faults.append(f"{version}: the tensor {name} is not what was saved")

    def old_map(self) -> None:
        """What was mapped stays as it is, also when its version is gone."""
        if self.maps:
            loaded, params = self.chance.choice(self.maps)
            self.check(loaded, params, "an old map")


def made_with(loaded: dict[str, Any]) -> dict[str, Any]:
    seed, n, _ = (int(part) for part in loaded["own"])
    return facts(seed, n)


@attrs.define
class Compactor(Worker):
    """Compacts again and again."""

    def step(self) -> None:
        rollbacks, newest = self.chance.choice([None, 0, 1, 3]), self.chance.choice([0, 0, 1, 3])
        done = self.registry.storage.compact(NAME, rollbacks=rollbacks, newest=newest)
        self.counts["compactions"] += 1
        self.counts["versions moved"] += sum(len(model.moved) for model in done.models)
        self.counts["versions left"] += sum(len(model.left) for model in done.models)
        time.sleep(self.chance.uniform(0, 0.3))


@attrs.define
class Collector(Worker):
    """Collects without any grace, so that savers must upload again."""

    def step(self) -> None:
        done = self.registry.storage.collect(self.chance.choice([None, NAME]), grace=NOW)
        self.counts["collections"] += 1
        self.counts["purged"] += len(done.purged)
        for one in done.removals:
            self.counts[f"removed: {one.kind}"] += 1
        for one in done.left:
            self.counts[f"left: {one.kind}"] += 1
        time.sleep(self.chance.uniform(0, 0.3))


ROLES: dict[str, type[Worker]] = {"writer": Writer, "reader": Reader, "compactor": Compactor, "collector": Collector}


def main(arguments: Sequence[str]) -> None:
    role, own, url, options = arguments
    cache = int(own) % 2 == 0 if json.loads(options) else None  # every other one keeps copies on this machine

    def opened() -> Registry:
        return Registry(url, storage_options=json.loads(options), durable=False, cache=cache)

    worker = ROLES[role](int(own), opened)
    worker.registry.models()  # connected
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    worker.work(float(sys.stdin.readline()))
    sys.stdout.write(worker.report() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
