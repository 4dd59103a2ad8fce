"""A registry that is small and has everything that can lie in one, what it answers, and what each object is for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any
from unittest import mock

import attrs
import numpy as np
import orjson

import modelkeep as mk
from modelkeep import packwriter
from modelkeep.errors import DeletedError
from modelkeep.layout import CATALOG, MARKER, POLICY, number_of, pack_key
from modelkeep.manifest import Manifest
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store

NOW = timedelta(0)
SMALL_PACK = 40_000  # bytes; so that the first version has several
SIZE = 8_500  # numbers in a tensor: 34 KB; in files of 64 KiB and less none is found


def _model(seed: int, size: int = SIZE) -> dict[str, Any]:
    """Tensors: one that never changes, one that changes a little, and one that is new; and text."""
    chance = np.random.default_rng(seed)
    frozen, middle = np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
    moving = middle + np.float32(1e-4) * chance.standard_normal(size).astype(np.float32)
    return {"frozen": frozen, "moving": moving, "own": chance.standard_normal(9), "words": f"model {seed}"}


def _grown(registry: mk.Registry) -> None:
    """The model churn: everything that can be done to versions."""
    registry.policy.set("[retention]\nlast = 9")
    for seed in range(1, 9):
        version = registry.save(
            _model(seed),
            "churn",
            params={"depth": seed},
            metrics={"auc": 0.5 + seed / 100},
            bump="minor",
            notes="wider",
        )
        if seed in (2, 4, 5):
            version.promote("production", reason=f"better than {seed - 1}")
    churn = registry.model("churn")
    churn.rollback("production", reason="drift")
    registry.get("churn:8").promote("staging")
    registry.get("churn:1").promote("champion").tag(team="growth")
    churn.unset("champion", reason="no contest")
    churn.set_title("Customers who leave")
    churn.describe("who leaves")
    registry.get("churn:3").hold(reason="audit").describe("looked at").measure(auc_live=0.61)
    registry.get("churn:6").delete(reason="leaks the label")
    registry.storage.compact("churn")
    for number in (1, 7):
        registry.get(f"churn:{number}").delete()
    registry.model("churn").version(7).restore(reason="needed")
    registry.model("churn").version(1).erase("a customer asked")
    for seed in (9, 10):
        registry.save(
            _model(seed), "churn", params={"depth": seed}, metrics={"auc": 0.6}, bump="patch", parent="churn:7"
        )
    registry.policy.set("[retention]\nlast = 4\naliased = true")
    with mock.patch("modelkeep._collect.BUSY", NOW):
        registry.storage.collect("churn", grace=NOW)
    registry.get("churn:10").promote("staging", reason="newest").tag(team="growth")


def complete() -> dict[str, bytes]:
    """The objects of the registry, by key."""
    store = MemoryStore()
    registry = mk.Registry(store, cache=False)
    with mock.patch.object(packwriter, "MAX_PACK", SMALL_PACK):
        _grown(registry)
        _walked(registry)
        there = mk.Registry(MemoryStore(), cache=False)
        for seed in (21, 22):
            there.save(_model(seed, 99), "guest", notes="from afar").promote("production", reason="good")
        there.push("guest", to=registry)
        registry.get("guest:1").tag(seen="here")
        registry.save(_model(31, 99), "closed").promote("production")
        registry.model("closed").close()
    return {item.key: store.get(item.key) for item in store.list("")}


def _walked(registry: mk.Registry) -> None:
    """The model walker, whose alias moved so often that there are tiles."""
    first = registry.save({"w": np.arange(3)}, "walker")
    second = registry.save({"w": np.arange(4)}, "walker")
    for _ in range(51):
        first.promote("production")
        second.promote("production")


def put_in(store: Store, objects: Mapping[str, bytes]) -> None:
    """Have *objects* lie in *store*, an empty one."""
    for key, value in objects.items():
        store.put_pack(key, [value])


# -- what it is all for ----------------------------------------------------------------------------------------


def kind_of(key: str) -> str:
    """What kind of object lies under *key*."""
    if key == MARKER:
        return "marker"
    if key.startswith((CATALOG, POLICY)):
        return key.partition("/")[0]
    part = key.split("/")[2]
    if "/t1/" in key:
        return "tile"
    return {"data": "pack", "texts": "text"}.get(part, part)


def model_of(key: str) -> str | None:
    """The model that an object belongs to; None if to all."""
    parts = key.split("/")
    return parts[1] if parts[0] in ("models", "catalog") else None


@attrs.frozen
class Anatomy:
    """What the objects are for, read past the library's own checks."""

    objects: Mapping[str, bytes]

    @cached_property
    def journals(self) -> dict[str, list[str]]:
        """The keys of the entries of each journal, in order."""
        found: dict[str, list[str]] = {}
        for key in sorted(self.objects):
            if key.endswith(".json") and number_of(key):
                found.setdefault(key.rpartition("/")[0], []).append(key)
        return found

    @cached_property
    def unseen(self) -> set[str]:
        """The newest entries that no sister has seen, nor any tile."""
        seen: set[str] = set()
        for journal, keys in self.journals.items():
            for key in keys:
                heads = orjson.loads(self.objects[key].splitlines()[0])["seen"]
                parent = journal.rpartition("/")[0]
                seen.update(f"{parent}/{sister}/{number:020d}.json" for sister, (number, _) in heads.items())
        return {keys[-1] for keys in self.journals.values()} - seen

    @cached_property
    def living(self) -> dict[str, list[tuple[int, int]]]:
        """For each pack the spans that a version needs which was not purged: (offset, length)."""
        found: dict[str, list[tuple[int, int]]] = {}
        registry = mk.Registry(_memory(self.objects), cache=False)
        for name in {model_of(key) for key in self.objects} - {None}:
            line = registry.model(str(name))._line
            line.read()
            for number, known in line.versions.state.lines.items():
                if number in line.releases.state.purged:
                    continue
                at, here = known.at, pack_key(str(name), known.at.pack)
                found.setdefault(here, []).append((at.offset, at.length))
                manifest = Manifest.parse(self.objects[here][at.offset : at.offset + at.length])
                for piece in manifest.pieces():
                    key = pack_key(str(name), manifest.packs[piece.pack])
                    found.setdefault(key, []).append((piece.offset, piece.stored))
        return found

    @cached_property
    def with_leavings(self) -> set[str]:
        """The keys of packs in which more may lie than is needed: of versions that were moved, or purged."""
        registry = mk.Registry(_memory(self.objects), cache=False)
        found = set()
        for name in {model_of(key) for key in self.objects} - {None}:
            line = registry.model(str(name))._line
            line.read()
            packs = [line.versions.state.left]
            for number, known in line.versions.state.lines.items():
                if number in line.releases.state.purged or known.at != known.made.at:
                    packs.append(set(known.packs))
            found |= {pack_key(str(name), pack) for pack in set().union(*packs)}
        return found

    @cached_property
    def manifests(self) -> dict[str, set[tuple[int, int]]]:
        """Which of the living spans of each pack are manifests."""
        return {
            key: {(at, length) for at, length in spans if self.objects[key][at : at + 8] == b"MKMANIF1"}
            for key, spans in self.living.items()
        }

    def read_manifests(self) -> Iterator[Manifest]:
        """The manifests of all versions that were not purged."""
        for key, spans in self.manifests.items():
            yield from (Manifest.parse(self.objects[key][at : at + length]) for at, length in spans)

    def has_leavings(self, key: str) -> bool:
        """Whether the last bytes of a pack are needed by nobody."""
        return max(at + length for at, length in self.living[key]) < len(self.objects[key])

    def harm(self, key: str, new: bytes) -> list[tuple[int, int]]:
        """The spans of a pack that are needed, its beginning among them, and that *new* does not have."""
        old = self.objects[key]
        spans = {(0, 16), *self.living[key]}
        return [(at, length) for at, length in spans if old[at : at + length] != new[at : at + length]]


def _memory(objects: Mapping[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    put_in(store, objects)
    return store


# -- what it answers -------------------------------------------------------------------------------------------


def questions(registry: mk.Registry, name: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All that can be asked of a model without loading."""
    model = registry.model(name)
    yield "models", lambda: [one.name for one in registry.models()]
    yield "versions", lambda: [_told(version) for version in model.versions(deleted=True)]
    yield "aliases", lambda: {alias: version.ref for alias, version in model.aliases.items()}
    yield "title", lambda: (model.title, model.is_open)
    yield "history", lambda: model.history().to_dicts()
    yield "policy", lambda: registry.policy.text


def _told(version: mk.ModelVersion) -> dict[str, Any]:
    try:
        words = {"tags": version.tags, "measured": version.measured, "held": version.held, "deleted": version.deleted}
        return {**version.to_dict(), **words, "description": version.description}
    except DeletedError:  # it was purged
        return {"number": version.number}


def loads(registry: mk.Registry, refs: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The loads of versions, each by every reference that is given."""
    for ref in refs:
        yield ref, lambda ref=ref: _loaded(registry.get(ref))  # type: ignore[misc]


def _loaded(version: mk.ModelVersion) -> Any:
    model = version.load()
    return version.ref, {
        part: value if isinstance(value, str) else (str(value.dtype), value.tobytes()) for part, value in model.items()
    }


def answer(ask: Callable[[], Any]) -> Any:
    """What is answered; an error of ours is an answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ask()
        except mk.ModelkeepError as error:
            return error


def references(registry: mk.Registry, name: str) -> list[str]:
    """Every version and alias of a model that loads."""
    model = registry.model(name)
    found = [f"{name}@{alias}" for alias in model.aliases]
    for version in model.versions(deleted=True):
        try:
            registry.get(version.ref)
        except DeletedError:
            continue
        found.append(version.ref)
    return [name, *found]
