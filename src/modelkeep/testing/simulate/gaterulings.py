"""What policies ask of promotions, judged entry by entry: a second reading, of the texts that schedules set alone."""

from __future__ import annotations

import re
from typing import Any

from modelkeep.testing.simulate.rulings import Scene

_APPROVALS = re.compile(r"approvals = ([0-9])")
_LEAST = re.compile(r"least = ([0-9])")
_MARGIN = "margin = 0"


def judge_gates(scene: Scene, op: dict[str, Any], actor: str) -> None:
    """Whether an entry of `releases` is one that the policy lets be; notes what the actor says of a version.

    Called before the entry changes what is true.
    """
    kind, said = op["op"], scene.truth.verdicts.setdefault(op.get("number", 0), {})
    if kind == "alias" and op["how"] == "promote" and scene.world.governed:
        _promoted(scene, op)
    elif kind == "refuse":
        policy = _in_force(scene, op)
        scene.require(not _passes(scene, policy, op), f"version {op['number']} is refused, and policy {policy} lets it")
    elif kind == "request":
        scene.truth.requests[op["number"]] = actor
    elif kind in ("approve", "reject"):
        said[actor] = kind == "approve"
    elif kind == "withdraw":
        _withdrawn(scene, op["number"], actor)


def _withdrawn(scene: Scene, number: int, actor: str) -> None:
    """What the actor said; if it said nothing, its request."""
    said, requests = scene.truth.verdicts[number], scene.truth.requests
    if actor not in said:
        scene.require(requests.get(number) == actor, "withdraws what was not said")
        del requests[number]
    said.pop(actor, None)


def _promoted(scene: Scene, op: dict[str, Any]) -> None:
    number = op["number"]
    if "evidence" in op:
        policy = _in_force(scene, op)
        scene.require(_passes(scene, policy, op), f"version {number} is promoted, and policy {policy} does not let it")
        return
    asks_nothing = [
        one for one in (0, *scene.texts) if _was_in_force(scene, one) and not _asks(scene, one, op["alias"])
    ]
    scene.require(bool(asks_nothing), f"version {number} is promoted unseen, and every policy asks for something")


def _in_force(scene: Scene, op: dict[str, Any]) -> int:
    """The policy that an entry names; it was in force at some moment of the call."""
    policy: int = op["evidence"]["policy"]
    scene.require(
        policy in scene.texts and _was_in_force(scene, policy), f"judged by policy {policy}, of some time ago"
    )
    scene.require(_asks(scene, policy, op["alias"]), f"judged by policy {policy}, which asks nothing")
    return policy


def _was_in_force(scene: Scene, policy: int) -> bool:
    ended = min((step for later, step in scene.policies.items() if later > policy), default=scene.world.step)
    return ended >= scene.intent.begun


def _asks(scene: Scene, policy: int, alias: str) -> bool:
    return f".aliases.{alias}]" in scene.texts.get(policy, "")


def _passes(scene: Scene, policy: int, op: dict[str, Any]) -> bool:
    """By what is true at the moment of the entry: approvals and the holder, not those of the look."""
    text, truth, number = scene.texts[policy], scene.truth, op["number"]
    metric, said = truth.payloads[number][1], truth.verdicts.get(number, {}).values()
    approvals, least = _APPROVALS.search(text), _LEAST.search(text)
    if approvals and (sum(said) < int(approvals[1]) or not all(said)):
        return False
    if least and metric < int(least[1]):
        return False
    holder = truth.holder(op["alias"])
    return _MARGIN not in text or holder is None or metric >= truth.payloads[holder][1]
