"""What is saved under real processes, derived from two numbers; and what must lie there when all is quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import numpy as np

import modelkeep as mk
from modelkeep.errors import DeletedError, UnknownModelError
from modelkeep.layout import data_prefix, pack_key
from modelkeep.stores.port import unfinished
from test_saves_race import Place

NOW = timedelta(0)
NAME = "churn"
LARGE = 9 << 20  # bytes; from 8 MiB on an object goes up in parts


@cache
def _common() -> tuple[Any, Any]:
    return np.arange(20_000), np.random.default_rng(0).standard_normal(12_000).astype(np.float32)


def made(seed: int, n: int, *, large: bool = False) -> dict[str, Any]:
    """A model of 210 KB: a tensor that never changes, one that changes a little, and text, which is opaque.

    *large* adds 9 MiB that nothing makes smaller.
    """
    frozen, middle = _common()
    chance = np.random.default_rng([seed, n])
    model: dict[str, Any] = {
        "frozen": frozen,
        "moving": middle + chance.standard_normal(middle.size).astype(np.float32) * np.float32(1e-3),
        "own": np.array([seed, n, large]),
        "words": chance.bytes(int(chance.integers(20_000))).hex(),
    }
    if large:
        model["large"] = chance.integers(256, size=LARGE, dtype=np.uint8)
    return model


def facts(seed: int, n: int, *, large: bool = False) -> dict[str, Any]:
    """The parameters that such a model is saved with."""
    return {"seed": seed, "n": n, "large": large}


def same(one: Any, other: Any) -> bool:
    """Whether two parts of models are equal, bit for bit."""
    if not isinstance(one, np.ndarray):
        return bool(type(one) is type(other) and one == other)
    return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)


def wrong(loaded: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> list[str]:
    """The parts of a loaded model that are not what was saved with *params*; without these, by what it says itself."""
    if params is None:
        seed, n, large = (int(part) for part in loaded["own"])
        params = facts(seed, n, large=bool(large))
    model = made(params["seed"], params["n"], large=params["large"])
    return [part for part in {*model, *loaded} if not (part in model and same(model[part], loaded.get(part)))]


@attrs.define
class Truth:
    """A registry as it lies there, read without any cache."""

    place: Place
    registry: mk.Registry

    @classmethod
    def of(cls, place: Place) -> Truth:
        return cls(place, mk.Registry(place.url, storage_options=place.options, cache=False))

    def anew(self) -> Truth:
        """The same with nothing known yet; over the connections that there are."""
        return Truth(self.place, mk.Registry(self.registry._store, cache=False))

    def numbers(self) -> dict[int, dict[str, Any]]:
        """The parameters of all versions, the purged too; none before the first save."""
        line = self.registry.model(NAME)._line
        try:
            line.read()
        except UnknownModelError:
            return {}
        return {number: dict(known.made.params or {}) for number, known in line.versions.state.lines.items()}

    def purged(self) -> dict[int, str]:
        """The versions that were purged, and by which rule, as the history tells it."""
        history = self.registry.model(NAME).history()
        return {e.version or 0: e.text or "" for e in history if e.action == "purge"}

    def faults(self, saved: Mapping[int, tuple[int, int]], rule: str) -> list[str]:
        """What is wrong: *saved* tells which versions were acknowledged, *rule* by what alone one may be purged."""
        numbers = self.numbers()
        if not numbers:
            return [f"version {number} was acknowledged, and there is none" for number in saved]
        found = [] if [*numbers] == list(range(1, len(numbers) + 1)) else [f"the numbers are {[*numbers]}"]
        for number, (seed, n) in saved.items():
            params = numbers.get(number)
            if params is None or (params["seed"], params["n"]) != (seed, n):
                found.append(f"version {number} was acknowledged with {(seed, n)} and has {params}")
        purged = self.purged()
        found += [f"version {number} was purged by {why!r}" for number, why in purged.items() if rule not in why]
        for number, params in numbers.items():
            found += self._faults_of(number, params, purged=number in purged)
        return found

    def _faults_of(self, number: int, params: Mapping[str, Any], *, purged: bool) -> list[str]:
        version = self.registry.model(NAME).version(number)
        try:
            if purged:
                self._check_gone(number)
            parts = wrong(version.load(), params)
        except DeletedError as error:
            return [] if purged else [f"version {number} was not purged: {error}"]
        except Exception as error:  # noqa: BLE001  told, and the others are looked at
            return [f"version {number}: {type(error).__name__}: {error}"]
        # of one that was purged the bytes may be there yet, for others that share its packs
        return [f"version {number} is not what was saved: {', '.join(parts)}"] if parts else []

    def _check_gone(self, number: int) -> None:
        with suppress(DeletedError):
            self.registry.load(f"{NAME}:{number}")
            raise AssertionError("it was purged, and its number loads")

    def damage(self) -> list[str]:
        """What `verify` finds, but for what a collection takes away."""
        report = self.registry.storage.verify()
        return [str(one) for one in report.findings if one.kind not in ("leftover", "unlisted")]

    def faults_when_quiet(self) -> list[str]:
        """Collect, with nobody else at work, and say what is not exactly as it should be then."""
        time.sleep(2.1 if self.place.options else 0.02)  # of the next tick of the store's clock; a disk's is 4 ms
        with mock.patch("modelkeep._collect.BUSY", NOW):  # nobody writes any more
            done = self.registry.storage.collect(grace=NOW)
        found = [f"a quiet collection left {one}" for one in done.left]
        report = self.registry.storage.verify()
        found += [str(one) for one in report.findings]
        line = self.registry.model(NAME)._line
        line.read()
        living = {n: known for n, known in line.versions.state.lines.items() if n not in line.releases.state.purged}
        needs = {pack_key(NAME, pack) for known in living.values() for pack in known.packs}
        needs |= {
            pack_key(NAME, pack) for kept in line.versions.state.kept_drafts().values() for pack in kept.made.packs
        }
        store = self.registry._store
        lies = {item.key for item in store.list(data_prefix(NAME))}
        found += [f"{key} is missing" for key in needs - lies] + [f"{key} is left over" for key in lies - needs]
        found += [f"{one} was not finished" for one in unfinished(store, "")]
        return found + self._strange_files()

    def _strange_files(self) -> list[str]:
        """On a local disk: files that no listing shows."""
        if self.place.options:
            return []
        root = Path(self.place.url)
        listed = {item.key for item in self.registry._store.list("")}
        files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        return [f"{path} lies there" for path in sorted(files - listed)]

    def kept(self, *, last: int) -> tuple[set[int], set[int]]:
        """The versions that are not purged, and those that a quiet collection must keep by *last* alone."""
        line = self.registry.model(NAME)._line
        line.read()
        state = line.releases.state
        living = [number for number in line.versions.state.lines if number not in state.purged]
        alive = [number for number in living if number not in state.deleted]
        return set(living), {*alive[-last:], *state.stacked(), *state.held}
