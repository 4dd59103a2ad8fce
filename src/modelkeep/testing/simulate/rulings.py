"""The rules of the journals, judged operation by operation: a second reading of the format, written apart from it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import attrs

from modelkeep.system import format_time
from modelkeep.testing.simulate.truth import ModelTruth, require
from modelkeep.testing.simulate.world import Intent, World

Op = dict[str, Any]


@attrs.frozen
class Scene:
    """An entry as it comes to be.

    Args:
        world: where.
        registry: the id of the registry.
        name: the model.
        key: the entry.
        truth: what was true before it, and is changed by it.
        intent: what its writer is about.
        alive: the versions that were not deleted before it.
        policies: for each entry that set a policy, by its number, the step.
        texts: and what it says.
    """

    world: World
    registry: str
    name: str
    key: str
    truth: ModelTruth
    intent: Intent
    alive: list[int]
    policies: dict[int, int]
    texts: dict[int, str]

    def require(self, condition: bool, message: str) -> None:
        """Raises `Violation` unless *condition* holds; names the entry."""
        require(condition, f"{self.key}: {message}")


# -- versions ----------------------------------------------------------------------------------------------------


def _open(scene: Scene, op: Op) -> None:
    scene.require(not scene.truth.is_open, "opened twice")
    scene.require(op["registry"] == scene.registry, "opened in another registry")
    scene.truth.is_open = True
    scene.truth.openings.append((scene.world.step, True))


def _close(scene: Scene, op: Op) -> None:
    del op
    scene.require(scene.truth.is_open, "closed twice")
    scene.truth.is_open = False
    scene.truth.openings.append((scene.world.step, False))


def _create(scene: Scene, op: Op) -> None:
    truth, number = scene.truth, op["number"]
    scene.require(truth.is_open, "saved to a closed model")
    scene.require(number == len(truth.payloads) + 1, f"version {number} after {len(truth.payloads)}")
    _lies(scene, op)
    if "label" in op:
        scene.require(op["label"] not in truth.labels, f"label {op['label']} is there twice")
        truth.labels[op["label"]] = number
        truth.own_label[number] = op["label"]
    payload = scene.intent.facts["payload"]
    scene.require(payload not in truth.saved(), "one save became two versions")
    truth.payloads[number] = payload
    truth.made[number] = scene.world.step


def _lies(scene: Scene, op: Op) -> None:
    """A version lies where an entry says, and in no pack of a variant or of a run that failed."""
    head, packs = _readable(scene, op), op["packs"]
    aparts = [*scene.truth.apart.items(), *scene.truth.drafted.items()]
    shared = [of for of, apart in aparts if not set(apart).isdisjoint(packs)]
    scene.require(not shared, f"version {op['number']} shares packs with {shared}")
    scene.truth.places[op["number"]] = op["at"]
    scene.truth.packs[op["number"]] = packs
    scene.truth.bases[op["number"]] = head.get("bases", 0)
    scene.truth.lain.setdefault(op["number"], set()).update(packs)


def _readable(scene: Scene, op: Op) -> dict[str, Any]:
    """The head of a manifest; all that it takes to read what it tells of is named, is there, and may be named."""
    packs: list[str] = op["packs"]
    for pack in packs:
        scene.require(pack not in scene.truth.condemned, f"names pack {pack}, which was condemned")
        scene.require(scene.world.has(_key(scene, pack)), f"{pack} is not there")
    head = _head_of_manifest(scene, op["at"])
    named: list[str] = head["packs"]
    scene.require(set(named) <= set(packs), f"names {packs}, and the manifest {named}")
    scene.require(named[-1:] == op["at"][:1], "the manifest is that of another pack")
    return head


def _key(scene: Scene, pack: str) -> str:
    return f"models/{scene.name}/data/{pack}.pack"


def _head_of_manifest(scene: Scene, at: list[Any]) -> dict[str, Any]:
    from modelkeep.zstd import decompress

    pack, offset, length = at
    raw = scene.world.objects.get(_key(scene, pack), (offset, length))
    scene.require(raw[:8] == b"MKMANIF1", "the manifest does not lie there")
    (size,) = struct.unpack_from("<I", raw, 8)
    head: dict[str, Any] = json.loads(decompress(raw[20 : 20 + size], 1 << 20))
    return head


def _label(scene: Scene, op: Op) -> None:
    truth = scene.truth
    scene.require(op["number"] in truth.payloads, "labels a version that is not there")
    scene.require(op["label"] not in truth.labels, f"label {op['label']} is there twice")
    scene.require(op["number"] not in truth.own_label, "a second label")
    truth.labels[op["label"]] = op["number"]
    truth.own_label[op["number"]] = op["label"]


def _move(scene: Scene, op: Op) -> None:
    number = op["number"]
    scene.require(number in scene.truth.payloads, "moves a version that is not there")
    scene.require(op["was"] == scene.truth.places[number], f"moves version {number} from where it does not lie")
    _lies(scene, op)


def _variant(scene: Scene, op: Op) -> None:
    truth, number, of = scene.truth, op["number"], (op["number"], op["kind"])
    scene.require(truth.is_open, "a variant in a closed model")
    scene.require(number in truth.payloads, "a variant of a version that is not there")
    scene.require(of not in truth.variants, f"a second {op['kind']} of version {number}")
    _readable(scene, op)
    scene.require(_named(truth).isdisjoint(op["packs"]), f"the variant {of} shares packs with others")
    payload = scene.intent.facts["payload"]
    scene.require(payload not in truth.saved(), "one variant was added twice")
    truth.variants[of], truth.apart[of], truth.added[of] = payload, op["packs"], scene.world.step


def _named(truth: ModelTruth) -> set[str]:
    """All packs that anything ever lay in."""
    lain = {pack for own in truth.lain.values() for pack in own}
    return lain.union(*truth.apart.values(), *truth.drafted.values())


def _draft(scene: Scene, op: Op) -> None:
    truth, draft = scene.truth, op["id"]
    scene.require(truth.is_open, "a run in a closed model")
    scene.require(draft not in truth.drafts, f"run {draft} is there twice")
    scene.require(op["registry"] == scene.registry, "kept in another registry")
    scene.require(op["kind"] == "run", f"a draft of kind {op['kind']}")
    _readable(scene, op)
    scene.require(_named(truth).isdisjoint(op["packs"]), f"run {draft} shares packs with others")
    payload = scene.intent.facts["payload"]
    scene.require(payload not in truth.saved(), "one run was kept twice")
    truth.drafts[draft], truth.drafted[draft], truth.expiries[draft] = payload, op["packs"], op["expires"]
    truth.failed[draft] = scene.world.step


def _drop(scene: Scene, op: Op) -> None:
    """By whoever asked for it; else it must have expired by the store's clock."""
    truth, draft = scene.truth, op["id"]
    scene.require(draft in truth.drafts, f"drops run {draft}, which is not there")
    scene.require(draft not in truth.dropped, f"drops run {draft} twice")
    asked = scene.intent.facts.get("draft") == draft
    over = truth.expiries[draft] <= format_time(scene.world.now())
    scene.require(asked or over, f"drops run {draft}, which lives until {truth.expiries[draft]}")
    truth.dropped[draft] = scene.world.step


def _condemn(scene: Scene, op: Op) -> None:
    """Judged after all else that the entry does."""
    truth = scene.truth
    for number in op.get("purged", []):
        scene.require(number in truth.purged, f"says that version {number} was purged")
    for pack in op["packs"]:
        needing = truth.who_needs(pack)
        scene.require(not needing, f"condemns {pack}, which {needing} need")
    truth.condemned.update(op["packs"])


# -- releases ----------------------------------------------------------------------------------------------------


def _alias(scene: Scene, op: Op) -> None:
    truth, alias, number = scene.truth, op["alias"], op["number"]
    scene.require(number in truth.payloads, "alias to a version that is not there")
    scene.require(number not in truth.deleted, "alias to a deleted version")
    stack = truth.stacks.setdefault(alias, [])
    if op["how"] == "rollback":
        expected = _alive_below(truth, stack)
        scene.require(bool(expected) and expected[-1] == number, f"rollback to {number}, from {stack}")
        first = scene.intent.facts.get("first holder", stack[-1])
        expect = scene.intent.facts.get("expect", first)
        scene.require(first == expect == stack[-1], f"a rollback from {stack[-1]} by one who saw {expect}: too far")
        stack[:] = expected
    else:
        expect = scene.intent.facts.get("expect", truth.holder(alias))
        scene.require(truth.holder(alias) == expect, f"{alias} held by {truth.holder(alias)}, expected {expect}")
        if not stack or stack[-1] != number:
            stack.append(number)
    _note_holder(scene, alias, number)


def _reviewed(scene: Scene, op: Op) -> None:
    number = op["number"]
    scene.require(number in scene.truth.payloads, f"{op['op']} of a version that is not there")
    scene.require(op["op"] == "refuse" or number not in scene.truth.deleted, f"{op['op']} of a deleted version")


def _alive_below(truth: ModelTruth, stack: list[int]) -> list[int]:
    below = stack[:-1]
    while below and below[-1] in truth.deleted:
        below = below[:-1]
    return below


def _note_holder(scene: Scene, alias: str, number: int | None) -> None:
    truth = scene.truth
    truth.holders.setdefault(alias, []).append((scene.world.step, number))
    truth.moves.setdefault(alias, []).append((len(truth.journals["releases"].raws), number))


def _unalias(scene: Scene, op: Op) -> None:
    scene.require(bool(scene.truth.stacks.get(op["alias"])), "unset an alias that is not set")
    del scene.truth.stacks[op["alias"]]
    _note_holder(scene, op["alias"], None)


def _repin(scene: Scene, op: Op) -> None:
    stacked = any(op["number"] in stack for stack in scene.truth.stacks.values())
    scene.require(stacked, f"repins version {op['number']}, which stands on no alias")


def _delete(scene: Scene, op: Op) -> None:
    truth, number = scene.truth, op["number"]
    scene.require(number in truth.payloads, "deletes a version that is not there")
    scene.require(number not in truth.deleted, "deletes twice")
    holding = truth.aliases_of(number)
    scene.require(not holding, f"deletes version {number}, which stands under {holding}")
    truth.deleted.add(number)
    truth.deletions.append((scene.world.step, number, True))


def _restore(scene: Scene, op: Op) -> None:
    truth, number = scene.truth, op["number"]
    scene.require(number in truth.deleted, "restores a version that is not deleted")
    scene.require(number not in truth.purged, f"restores version {number}, which was purged")
    truth.deleted.discard(number)
    truth.deletions.append((scene.world.step, number, False))


def _hold(scene: Scene, op: Op) -> None:
    truth, number = scene.truth, op["number"]
    scene.require(number in truth.payloads, "holds a version that is not there")
    scene.require(number not in truth.held, "holds twice")
    scene.require(number not in truth.purged, f"holds version {number}, which was purged")
    truth.held.add(number)
    truth.holds.append((scene.world.step, number, True))


def _unhold(scene: Scene, op: Op) -> None:
    truth, number = scene.truth, op["number"]
    scene.require(number in truth.held, "lets go what is not held")
    truth.held.discard(number)
    truth.holds.append((scene.world.step, number, False))


def _purge(scene: Scene, op: Op) -> None:
    truth, number = scene.truth, op["number"]
    scene.require(number in truth.payloads, "purges a version that is not there")
    scene.require(number not in truth.purged, f"purges version {number} twice")
    scene.require(number in truth.deleted, f"purges version {number}, which is not deleted")
    scene.require(number not in truth.held, f"purges version {number}, which is held")
    scene.require(not truth.aliases_of(number), f"purges version {number}, which holds {truth.aliases_of(number)}")
    if op["rule"] == "erase":
        truth.erased.add(number)
    else:
        _purge_by_rule(scene, op)
    truth.purged[number] = scene.world.step


def _purge_by_rule(scene: Scene, op: Op) -> None:
    """By a policy that was in force during the call; all policies of schedules keep the last two, and alias stacks."""
    number, policy = op["number"], op.get("policy", 0)
    scene.require(policy in scene.policies, f"purges version {number} by policy {policy}")
    ended = min((step for later, step in scene.policies.items() if later > policy), default=scene.world.step)
    scene.require(ended >= scene.intent.begun, f"purges version {number} by policy {policy}, of some time ago")
    newer = [other for other in scene.alive if other > number]
    kept = number in scene.alive and len(newer) < LAST
    scene.require(not kept, f"purges version {number}, which is among the newest {LAST}")
    stacked = [alias for alias, stack in scene.truth.stacks.items() if number in stack]
    scene.require(not stacked, f"purges version {number}, to which a rollback of {stacked} may come back")


LAST = 2  # versions that the policies of schedules keep

# -- notes, and what every journal knows -------------------------------------------------------------------------


def _title(scene: Scene, op: Op) -> None:
    scene.require(isinstance(op["title"], str), f"the title {op['title']!r}")


def _said(scene: Scene, op: Op) -> None:
    scene.require(op["number"] in scene.truth.payloads, f"{op['op']} of a version that is not there")


def _cancel(scene: Scene, op: Op) -> None:
    for journal in scene.truth.journals.values():
        scene.require(op["tx"] not in journal.transactions, "cancels a transaction that stands")


RULINGS: dict[str, Callable[[Scene, Op], None]] = {
    "open": _open,
    "close": _close,
    "create": _create,
    "label": _label,
    "move": _move,
    "variant": _variant,
    "draft": _draft,
    "drop": _drop,
    "condemn": _condemn,
    "alias": _alias,
    "unalias": _unalias,
    "repin": _repin,
    "delete": _delete,
    "restore": _restore,
    "hold": _hold,
    "unhold": _unhold,
    "purge": _purge,
    "refuse": _reviewed,
    "request": _reviewed,
    "approve": _reviewed,
    "reject": _reviewed,
    "withdraw": _reviewed,
    "title": _title,
    "tag": _said,
    "measure": _said,
    "describe": _said,
    "cancel": _cancel,
}
