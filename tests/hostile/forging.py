"""A registry as whoever may write to its bucket could leave it: altered where it hurts, and signed anew.

Digests and chains are made to fit again, so that what is read goes past them, as deep as it can.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
import orjson

from modelkeep.digest import digest
from modelkeep.entry import genesis, sign
from modelkeep.manifest import Manifest
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore

MODEL = "churn"
PREFIX = f"models/{MODEL}/"
JOURNALS = (f"{PREFIX}versions/", f"{PREFIX}releases/", f"{PREFIX}notes/", "policy/")
TIME = "2026-03-01T12:00:00.000000Z"


@attrs.define
class Forge:
    """All objects of a registry, and the facts of its journals, to be altered.

    Args:
        objects: the objects that are no entries, by key.
        journals: the entries of each journal, by its prefix: facts, or a line as it is.
        registry: its id.
    """

    objects: dict[str, bytes]
    journals: dict[str, list[dict[str, Any] | bytes]]
    registry: str

    @classmethod
    def of(cls, objects: dict[str, bytes]) -> Forge:
        """Take a registry apart."""
        journals = {
            prefix: [
                orjson.loads(raw.split(b"\n")[0]) for key, raw in sorted(objects.items()) if _is_entry(key, prefix)
            ]
            for prefix in JOURNALS
        }
        rest = {key: raw for key, raw in objects.items() if not any(_is_entry(key, prefix) for prefix in JOURNALS)}
        marker = orjson.loads(objects["modelkeep.json"].split(b"\n")[0])
        return cls(rest, deepcopy(journals), marker["id"])

    def append(self, prefix: str, *ops: dict[str, Any] | bytes, **raw: bytes) -> Forge:
        """Add an entry with these operations; fields of it spelled as *raw* says."""
        listed = b"[" + b",".join(op if isinstance(op, bytes) else orjson.dumps(op) for op in ops) + b"]"
        number = len(self.journals[prefix]) + 1
        facts = {"n": number, "prev": "", "tx": f"{number:032x}", "time": TIME, "actor": "eve", "seen": {}}
        spelled = {**{key: orjson.dumps(value) for key, value in facts.items()}, "ops": listed, **raw}
        if "prev" not in raw:
            spelled["prev"] = b'"@"'  # filled in when it is signed
        line = b"{" + b",".join(orjson.dumps(key) + b":" + part for key, part in spelled.items()) + b"}"
        self.journals[prefix].append(line)
        return self

    def signed(self) -> dict[str, bytes]:
        """All objects, each entry following the one before."""
        found = dict(self.objects)
        for prefix, entries in self.journals.items():
            before = genesis(self.registry, prefix)
            for number, facts in enumerate(entries, 1):
                line = facts if isinstance(facts, bytes) else orjson.dumps({**facts, "prev": before})
                raw = sign(line.replace(b'"prev":"@"', b'"prev":"%b"' % before.encode(), 1))
                found[f"{prefix}{number:020d}.json"] = raw
                before = digest(raw)
        return found

    def place(self, number: int) -> list[Any]:
        """Where the manifest of a version lies: pack, offset, length."""
        return list(self._create(number)["at"])

    def manifest(self, number: int) -> Manifest:
        """The manifest of a version."""
        pack, offset, length = self.place(number)
        return Manifest.parse(self.objects[f"{PREFIX}data/{pack}.pack"][offset : offset + length])

    def put_manifest(self, number: int, raw: bytes, *, manifest: Manifest | None = None, **at: int) -> Forge:
        """Put other bytes in the place of a manifest; *manifest* is what they say, if they can be read."""
        pack, offset, _ = self.place(number)
        key = f"{PREFIX}data/{pack}.pack"
        self.objects[key] = self.objects[key][:offset] + raw
        place = [pack, at.get("offset", offset), at.get("length", len(raw))]
        identity = manifest.identity(number) if manifest else self._create(number)["identity"]
        content = manifest.content() if manifest else self._create(number)["content"]
        for entries in self.journals.values():
            for facts in entries:
                for op in facts["ops"] if isinstance(facts, dict) else ():
                    if op.get("number") == number and "at" in op:
                        op.update(at=place, identity=identity)
                    if op.get("number") == number and "content" in op:
                        op.update(content=content)
        return self

    def put_record(self, number: int, record: bytes) -> Forge:
        """Give a version another record."""
        manifest = attrs.evolve(self.manifest(number), record=record)
        return self.put_manifest(number, manifest.encode(), manifest=manifest)

    def _create(self, number: int) -> dict[str, Any]:
        listed = (op for facts in self.journals[JOURNALS[0]] if isinstance(facts, dict) for op in facts["ops"])
        return next(op for op in listed if op["op"] == "create" and op["number"] == number)


def _is_entry(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and key.endswith(".json") and "/" not in key[len(prefix) :]


def weights(seed: int = 0) -> dict[str, Any]:
    """A small model."""
    return {"w": np.arange(4) + seed, "b": np.random.default_rng(seed).random((90, 100))}


@lru_cache(maxsize=1)
def sound() -> dict[str, bytes]:
    """The objects of a sound registry with something in each journal."""
    store = MemoryStore()
    registry = Registry(store)
    for seed in (1, 2, 3):
        version = registry.save(weights(seed), MODEL, params={"depth": seed}, metrics={"auc": 0.5}, bump="minor")
    version.promote("production", reason="better")
    registry.get(f"{MODEL}:1").describe("the first").tag(team="risk").measure(auc_live=0.4)
    registry.get(f"{MODEL}:2").delete(reason="old")
    registry.model(MODEL).set_title("Churn")
    registry.policy.set("[retention]\nlast = 10")
    return objects_of(store)


def objects_of(store: MemoryStore) -> dict[str, bytes]:
    """What lies in a store."""
    return {item.key: store.get(item.key) for item in store.list("")}


def store_of(objects: dict[str, bytes]) -> MemoryStore:
    """A store in which that lies."""
    store = MemoryStore("memory://hostile")
    for key, raw in objects.items():
        store._objects[key] = (raw, store._now())  # keys that a store refuses may lie in a bucket
    return store


def forge() -> Forge:
    """A sound registry, taken apart."""
    return Forge.of(sound())
