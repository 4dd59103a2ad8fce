"""What must hold, told from the objects in the store alone: a second reading of the format, written apart from it."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
from blake3 import blake3

from modelkeep.testing.simulate.world import Intent, Violation

_ENTRY = re.compile(r"models/([^/]+)/(versions|releases|notes)/([0-9]{20})\.json")

Moment = tuple[int, int | None]


@attrs.define
class JournalTruth:
    """The entries of one journal, as they were created."""

    raws: list[bytes] = attrs.Factory(list)
    transactions: set[str] = attrs.Factory(set)


@attrs.define
class ModelTruth:
    """What the entries of a model mean.

    Args:
        payloads: what was saved, by version number.
        made: the step at which each version came to be.
        holders: for each alias (step, number) of every move.
        moves: for each alias (entry, number) of every move.
        closed: (step, 1 or None) of every close and open.
    """

    journals: dict[str, JournalTruth] = attrs.Factory(
        lambda: {"versions": JournalTruth(), "releases": JournalTruth(), "notes": JournalTruth()}
    )
    payloads: dict[int, Any] = attrs.Factory(dict)
    made: dict[int, int] = attrs.Factory(dict)
    labels: dict[str, int] = attrs.Factory(dict)
    own_label: dict[int, str] = attrs.Factory(dict)
    stacks: dict[str, list[int]] = attrs.Factory(dict)
    deleted: set[int] = attrs.Factory(set)
    deletions: list[tuple[int, int, bool]] = attrs.Factory(list)
    holders: dict[str, list[Moment]] = attrs.Factory(dict)
    moves: dict[str, list[Moment]] = attrs.Factory(dict)
    is_open: bool = False
    openings: list[tuple[int, bool]] = attrs.Factory(list)

    def holder(self, alias: str) -> int | None:
        """Who holds *alias* now."""
        stack = self.stacks.get(alias)
        return stack[-1] if stack else None

    def holders_since(self, alias: str, step: int) -> set[int | None]:
        """All who held *alias* at some moment from *step* on."""
        moves = self.holders.get(alias, [])
        before = [number for when, number in moves if when <= step][-1:] or [None]
        return {*before, *(number for when, number in moves if when > step)}

    def ever_deleted_since(self, number: int, step: int) -> bool:
        """Whether a version was deleted at some moment from *step* on."""
        moves = [(when, gone) for when, which, gone in self.deletions if which == number]
        before = [gone for when, gone in moves if when <= step][-1:] or [False]
        return before[0] or any(gone for when, gone in moves if when > step)

    def ever_alive_since(self, number: int, step: int) -> bool:
        """Whether a version was not deleted at some moment from *step* on."""
        moves = [(when, gone) for when, which, gone in self.deletions if which == number]
        before = [gone for when, gone in moves if when <= step][-1:] or [False]
        return not before[0] or any(not gone for when, gone in moves if when > step)


def require(condition: bool, message: str) -> None:
    """Raises `Violation` unless *condition* holds."""
    if not condition:
        raise Violation(message)


class Oracle:
    """Watches every object that comes to be, and judges every answer that an actor gets."""

    def __init__(self) -> None:
        self.registry = ""
        self.models: dict[str, ModelTruth] = {}
        self.world: Any = None
        self.entries = 0
        self.shared = 0

    def model(self, name: str) -> ModelTruth:
        """What is true of a model."""
        return self.models.setdefault(name, ModelTruth())

    def watch(self, key: str, value: bytes, intent: Intent) -> None:
        """An object was created under *key*."""
        if key == "modelkeep.json":
            self.registry = json.loads(value.split(b"\n")[0])["id"]
        found = _ENTRY.fullmatch(key)
        if found:
            self.entries += 1
            self._entry(key, value, intent, found[1], found[2], int(found[3]))
        elif "/t1/" in key or "/t2/" in key:
            self._tile(key, value)

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
        own = truth.journals[journal]
        line, _, signature = raw.partition(b"\n")
        facts = json.loads(line)
        require(signature == blake3(line + b"\n").hexdigest().encode() + b"\n", f"{key}: its digest line is wrong")
        require(number == len(own.raws) + 1 == facts["n"], f"{key}: the journal is not dense")
        genesis = f"modelkeep journal 1\n{self.registry}\nmodels/{name}/{journal}/\n".encode()
        before = own.raws[-1] if own.raws else genesis
        require(facts["prev"] == blake3(before).hexdigest(), f"{key}: the chain is broken")
        require(facts["tx"] not in own.transactions, f"{key}: the transaction is there twice")
        own.raws.append(raw)
        own.transactions.add(facts["tx"])
        for op in facts["ops"]:
            judge = getattr(self, f"_on_{op['op']}")
            judge(truth, op, intent, key)

    def _on_open(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        require(not truth.is_open, f"{key}: opened twice")
        require(op["registry"] == self.registry, f"{key}: opened in another registry")
        truth.is_open = True
        truth.openings.append((self.world.step, True))

    def _on_close(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del op, intent
        require(truth.is_open, f"{key}: closed twice")
        truth.is_open = False
        truth.openings.append((self.world.step, False))

    def _on_create(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        number = op["number"]
        self.shared += len({pack.partition("-")[0] for pack in op["packs"]}) > 1
        require(truth.is_open, f"{key}: saved to a closed model")
        require(number == len(truth.payloads) + 1, f"{key}: version {number} after {len(truth.payloads)}")
        self._there(op["packs"], key)
        if "label" in op:
            require(op["label"] not in truth.labels, f"{key}: label {op['label']} is there twice")
            truth.labels[op["label"]] = number
            truth.own_label[number] = op["label"]
        payload = intent.facts["payload"]
        require(payload not in truth.payloads.values(), f"{key}: one save became two versions")
        truth.payloads[number] = payload
        truth.made[number] = self.world.step

    def _there(self, packs: list[str], key: str) -> None:
        for pack in packs:
            where = f"{key.split('/versions/', maxsplit=1)[0]}/data/{pack}.pack"
            require(where in {item.key for item in self.world.objects.list(where)}, f"{key}: {where} is not there")

    def _on_move(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        require(op["number"] in truth.payloads, f"{key}: moves a version that is not there")
        self._there(op["packs"], key)

    def _on_label(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        require(op["number"] in truth.payloads, f"{key}: labels a version that is not there")
        require(op["label"] not in truth.labels, f"{key}: label {op['label']} is there twice")
        require(op["number"] not in truth.own_label, f"{key}: a second label")
        truth.labels[op["label"]] = op["number"]
        truth.own_label[op["number"]] = op["label"]

    def _on_alias(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        alias, number = op["alias"], op["number"]
        require(number in truth.payloads, f"{key}: alias to a version that is not there")
        require(number not in truth.deleted, f"{key}: alias to a deleted version")
        stack = truth.stacks.setdefault(alias, [])
        if op["how"] == "rollback":
            expected = self._alive_below(truth, stack)
            require(bool(expected) and expected[-1] == number, f"{key}: rollback to {number}, from {stack}")
            first = intent.facts.get("first holder", stack[-1])
            require(first == stack[-1], f"{key}: a rollback from {stack[-1]} by one who saw {first}: too far")
            stack[:] = expected
        else:
            if "expect" in intent.facts:
                expect = intent.facts["expect"]
                require(
                    truth.holder(alias) == expect, f"{key}: {alias} held by {truth.holder(alias)}, expected {expect}"
                )
            if not stack or stack[-1] != number:
                stack.append(number)
        truth.holders.setdefault(alias, []).append((self.world.step, number))
        truth.moves.setdefault(alias, []).append((len(truth.journals["releases"].raws), number))

    def _alive_below(self, truth: ModelTruth, stack: list[int]) -> list[int]:
        below = stack[:-1]
        while below and below[-1] in truth.deleted:
            below = below[:-1]
        return below

    def _on_unalias(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        require(bool(truth.stacks.get(op["alias"])), f"{key}: unset an alias that is not set")
        del truth.stacks[op["alias"]]
        truth.holders[op["alias"]].append((self.world.step, None))
        truth.moves[op["alias"]].append((len(truth.journals["releases"].raws), None))

    def _on_delete(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        number = op["number"]
        require(number in truth.payloads, f"{key}: deletes a version that is not there")
        require(number not in truth.deleted, f"{key}: deletes twice")
        held = [alias for alias in truth.stacks if truth.holder(alias) == number]
        require(not held, f"{key}: deletes version {number}, which stands under {held}")
        truth.deleted.add(number)
        truth.deletions.append((self.world.step, number, True))

    def _on_restore(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        require(op["number"] in truth.deleted, f"{key}: restores a version that is not deleted")
        truth.deleted.discard(op["number"])
        truth.deletions.append((self.world.step, op["number"], False))

    def _on_cancel(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        for journal in truth.journals.values():
            require(op["tx"] not in journal.transactions, f"{key}: cancels a transaction that stands")

    def _on_tag(self, truth: ModelTruth, op: dict[str, Any], intent: Intent, key: str) -> None:
        del intent
        require(op["number"] in truth.payloads, f"{key}: tags a version that is not there")

    def _tile(self, key: str, value: bytes) -> None:
        from modelkeep.zstd import decompress

        name, journal, rest = key.split("/")[1], key.split("/")[2], key.split("/")[4]
        raws = self.model(name).journals[journal].raws
        held = decompress(value, 1 << 30)
        index = int(rest.split(".")[0])
        whole = b"".join(raws)
        require(held in whole and (index > 0 or whole.startswith(held)), f"{key}: it does not hold its entries")

    # -- at each answer --------------------------------------------------------------------------------------

    def saw_holder(self, name: str, alias: str, number: int | None, begun: int) -> None:
        """An actor was told who holds an alias; it must have been so during the call."""
        possible = self.model(name).holders_since(alias, begun)
        require(number in possible, f"read {name}@{alias} as {number}; during the call it was {possible}")

    def saw_latest(self, name: str, number: int, begun: int) -> None:
        """An actor was told which version is the latest."""
        truth = self.model(name)
        require(truth.ever_alive_since(number, begun), f"{name} read as version {number}, which was deleted all along")
        for later, made in truth.made.items():
            if later > number and made < begun:
                require(truth.ever_deleted_since(later, begun), f"{name} read as {number} although {later} was there")

    def saw_versions(self, name: str, numbers: set[int], begun: int) -> None:
        """An actor was given a list of the versions that are not deleted."""
        truth = self.model(name)
        for number, made in truth.made.items():
            if made < begun and number not in numbers:
                require(truth.ever_deleted_since(number, begun), f"{name}:{number} is missing from a listing")
        for number in numbers:
            require(truth.ever_alive_since(number, begun), f"{name}:{number} is listed though deleted all along")

    def saw_closed(self, name: str, begun: int) -> None:
        """An actor was told that a model is closed."""
        moves = self.model(name).openings
        before = [is_open for when, is_open in moves if when <= begun][-1:] or [False]
        during = [is_open for when, is_open in moves if when > begun]
        require(not all([*before, *during]), f"{name} was said to be closed, and it was open all along")

    def saw_deleted(self, name: str, number: int, begun: int) -> None:
        """An actor was told that a version is deleted."""
        require(self.model(name).ever_deleted_since(number, begun), f"{name}:{number} was said to be deleted")

    def saw_taken(self, name: str, label: str) -> None:
        """An actor was told that a label is in use."""
        require(label in self.model(name).labels, f"label {label} of {name} was said to be taken")

    def saw_nothing(self, name: str, begun: int) -> None:
        """An actor was told that a model or version does not exist."""
        truth = self.model(name)
        there = [
            number
            for number, made in truth.made.items()
            if made < begun and not truth.ever_deleted_since(number, begun)
        ]
        require(not there, f"{name} was said to be empty, and it has {there}")
