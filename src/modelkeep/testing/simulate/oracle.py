"""What must hold, told from the objects in the store alone: it watches every object that comes and goes."""

from __future__ import annotations

import json
import re
from typing import Any

from blake3 import blake3

from modelkeep.testing.simulate.answers import Answers
from modelkeep.testing.simulate.gaterulings import judge_gates
from modelkeep.testing.simulate.rulings import RULINGS, Scene
from modelkeep.testing.simulate.truth import JournalTruth, ModelTruth, require
from modelkeep.testing.simulate.world import Intent

_ENTRY = re.compile(r"(?:models/([^/]+)/(versions|releases|notes)|policy)/([0-9]{20})\.json")
_PACK = re.compile(r"models/([^/]+)/data/([^/]+)\.pack")


class Oracle:
    """Watches every object that comes to be or goes, and has every answer judged that an actor gets."""

    def __init__(self) -> None:
        self.registry = ""
        self.models: dict[str, ModelTruth] = {}
        self.policy = JournalTruth()
        self.policies: dict[int, int] = {}
        self.texts: dict[int, str] = {}
        self.world: Any = None
        self.answers = Answers(self.model)
        self.entries = 0
        self.shared = 0
        self.purges = 0
        self.moved = 0
        self.variants = 0
        self.drafts = 0
        self.turned = 0
        self.gated = 0
        self.refused = 0
        self.swept = 0

    def model(self, name: str) -> ModelTruth:
        """What is true of a model."""
        if name not in self.models:
            self.models[name] = ModelTruth()
        return self.models[name]

    def watch(self, key: str, value: bytes, intent: Intent) -> None:
        """An object was created under *key*."""
        if key == "modelkeep.json":
            self.registry = json.loads(value.split(b"\n")[0])["id"]
        found = _ENTRY.fullmatch(key)
        if found and found[1]:
            self._entry(key, value, intent, found[1], found[2], int(found[3]))
        elif found:
            self._policy(key, value, int(found[3]))
        elif "/t1/" in key or "/t2/" in key:
            self._tile(key, value)

    def watch_delete(self, key: str, intent: Intent) -> None:
        """The object under *key* is about to go; that of a pack only if nobody needs it."""
        found = _PACK.fullmatch(key)
        if not found:
            return
        needing = self.model(found[1]).who_needs(found[2])
        require(not needing, f"{intent.kind} deletes {key}, which {needing} need")
        self.swept += found[2] in self.model(found[1]).condemned

    def attempt(self, key: str, intent: Intent) -> None:
        """An entry is asked for: a rollback goes back from the holder that its first try saw."""
        found = _ENTRY.fullmatch(key)
        if found and intent.kind == "rollback" and found[2] == "releases" and "first holder" not in intent.facts:
            moves = self.model(found[1]).moves.get(intent.facts["alias"], [])
            seen = [number for entry, number in moves if entry < int(found[3])]
            intent.facts["first holder"] = seen[-1] if seen else None

    # -- at each entry ---------------------------------------------------------------------------------------

    def _entry(self, key: str, raw: bytes, intent: Intent, name: str, journal: str, number: int) -> None:
        truth = self.model(name)
        ops = self._linked(key, raw, truth.journals[journal], number)
        scene = Scene(self.world, self.registry, name, key, truth, intent, truth.alive(), self.policies, self.texts)
        for op in sorted(ops, key=lambda op: op["op"] == "condemn"):  # it holds for what is there after the entry
            if journal == "releases":
                judge_gates(scene, op, json.loads(raw.partition(b"\n")[0])["actor"])
            RULINGS[op["op"]](scene, op)
            self._count(op, truth)

    def _linked(self, key: str, raw: bytes, journal: JournalTruth, number: int) -> list[dict[str, Any]]:
        """The operations of an entry that follows those before it."""
        self.entries += 1
        line, _, signature = raw.partition(b"\n")
        facts = json.loads(line)
        require(signature == blake3(line + b"\n").hexdigest().encode() + b"\n", f"{key}: its digest line is wrong")
        require(number == len(journal.raws) + 1 == facts["n"], f"{key}: the journal is not dense")
        genesis = f"modelkeep journal 1\n{self.registry}\n{key.rpartition('/')[0]}/\n".encode()
        before = journal.raws[-1] if journal.raws else genesis
        require(facts["prev"] == blake3(before).hexdigest(), f"{key}: the chain is broken")
        require(facts["tx"] not in journal.transactions, f"{key}: the transaction is there twice")
        journal.raws.append(raw)
        journal.transactions.add(facts["tx"])
        ops: list[dict[str, Any]] = facts["ops"]
        return ops

    def _count(self, op: dict[str, Any], truth: ModelTruth) -> None:
        self.shared += op["op"] == "create" and len({pack.partition("-")[0] for pack in op["packs"]}) > 1
        self.purges += op["op"] == "purge"
        self.moved += op["op"] == "move"
        self.variants += op["op"] == "variant"
        self.drafts += op["op"] == "draft"
        self.gated += "evidence" in op and op["op"] == "alias"
        self.refused += op["op"] == "refuse"
        self.turned += op["op"] == "move" and truth.bases[op["number"]] > 0

    def _policy(self, key: str, raw: bytes, number: int) -> None:
        for op in self._linked(key, raw, self.policy, number):
            require(op.get("tx") not in self.policy.transactions, f"{key}: cancels a transaction that stands")
            if op["op"] == "policy":
                self.policies[number] = self.world.step
                self.texts[number] = op["text"]

    def _tile(self, key: str, value: bytes) -> None:
        from modelkeep.zstd import decompress

        folder, _, rest = key.rpartition("/t")
        name, journal = folder.split("/")[1:3] if folder != "policy" else ("", "policy")
        raws = (self.model(name).journals[journal] if name else self.policy).raws
        held = decompress(value, 1 << 30)
        index = int(rest.partition("/")[2].split(".")[0])
        whole = b"".join(raws)
        require(held in whole and (index > 0 or whole.startswith(held)), f"{key}: it does not hold its entries")
