"""What is done to a registry on such a disk, step by step, and what the registry must say after each step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

import modelkeep as mk
from modelkeep.layout import pack_key
from operations import refused
from powercut.disk import Call, Marked
from powercut.mount import Mount
from truth import NAME, NOW, facts, made

REGISTRY = "team/registry"  # its folder on the disk; the first save makes both
SEED = 5
POLICY = """
[retention]
last = 3
aliased = false
labelled = false
[models."*".aliases.staging]
approvals = 1
by_author = true
"""


@attrs.frozen
class Facts:
    """What a registry says, as far as the steps change it.

    Args:
        saved: what each version was saved with; see `truth.made`.
        aliases: the version that each alias names.
        deleted: the versions that are deleted; what is purged is deleted, too.
        purged: the versions that are purged.
        tags: the tags of versions.
        words: the descriptions of versions.
        policy: the text of the policy.
        reviews: for each version of which a review was asked whom, and for each verdict whether it approves.
        refusals: how many promotions were refused.
    """

    saved: dict[int, tuple[int, int]] = attrs.Factory(dict)
    aliases: dict[str, int] = attrs.Factory(dict)
    deleted: frozenset[int] = frozenset()
    purged: frozenset[int] = frozenset()
    tags: dict[int, dict[str, str]] = attrs.Factory(dict)
    words: dict[int, str] = attrs.Factory(dict)
    policy: str = ""
    reviews: dict[int, tuple[tuple[str, ...], tuple[bool, ...]]] = attrs.Factory(dict)
    refusals: int = 0


@attrs.frozen
class Step:
    """One operation: what is done, which gives keys that are gone for good then, and what it changes."""

    name: str
    act: Callable[[mk.Registry], Sequence[str]]
    change: Callable[[Facts], dict[str, Any]] = lambda _: {}

    def after(self, before: Facts) -> Facts:
        return attrs.evolve(before, **self.change(before))


def save(n: int) -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        registry.save(made(SEED, n), NAME, params=facts(SEED, n))
        return ()

    return Step("save", act, lambda f: {"saved": {**f.saved, len(f.saved) + 1: (SEED, n)}})


def _on(number: int, act: Callable[[mk.ModelVersion], object]) -> Callable[[mk.Registry], Sequence[str]]:
    def on(registry: mk.Registry) -> Sequence[str]:
        act(registry.model(NAME).version(number))
        return ()

    return on


def promote(number: int, alias: str = "production") -> Step:
    return Step(
        "promote",
        _on(number, lambda version: version.promote(alias, reason="newer")),
        lambda f: {"aliases": {**f.aliases, alias: number}},
    )


def refuse(number: int) -> Step:
    return Step("refuse", _on(number, lambda v: refused(v, "staging")), lambda f: {"refusals": f.refusals + 1})


def request(number: int) -> Step:
    return Step("request", _on(number, lambda v: v.review.request(["ada"])), lambda f: _said(f, number))


def approve(number: int) -> Step:
    return Step("approve", _on(number, lambda v: v.review.approve()), lambda f: _said(f, number, True))


def reject(number: int) -> Step:
    return Step("reject", _on(number, lambda v: v.review.reject()), lambda f: _said(f, number, False))


def withdraw(number: int) -> Step:
    return Step("withdraw", _on(number, lambda v: v.review.withdraw()), lambda f: _said(f, number))


def _said(before: Facts, number: int, *verdicts: bool) -> dict[str, Any]:
    """One person says all of it."""
    return {"reviews": {**before.reviews, number: (("ada",), verdicts)}}


def rollback(to: int) -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        registry.model(NAME).rollback("production", reason="worse")
        return ()

    return Step("rollback", act, lambda f: {"aliases": {**f.aliases, "production": to}})


def unset() -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        registry.model(NAME).unset("production")
        return ()

    return Step("unset", act, lambda f: {"aliases": {k: v for k, v in f.aliases.items() if k != "production"}})


def tag(number: int) -> Step:
    return Step(
        "tag", _on(number, lambda v: v.tag(team="risk")), lambda f: {"tags": {**f.tags, number: {"team": "risk"}}}
    )


def describe(number: int) -> Step:
    return Step("describe", _on(number, lambda v: v.describe("deep")), lambda f: {"words": {**f.words, number: "deep"}})


def delete(number: int) -> Step:
    return Step("delete", _on(number, lambda v: v.delete()), lambda f: {"deleted": f.deleted | {number}})


def policy() -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        registry.policy.set(POLICY)
        return ()

    return Step("policy", act, lambda _: {"policy": POLICY})


def compact() -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        registry.storage.compact(rollbacks=0)
        return ()

    return Step("compact", act)


def collect(*purged: int) -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        registry.storage.collect(grace=NOW)
        return ()

    return Step("collect", act, lambda f: _without(f, *purged))


def erase(number: int) -> Step:
    def act(registry: mk.Registry) -> Sequence[str]:
        done = registry.model(NAME).version(number).erase("request 17")
        return [*(pack_key(NAME, pack) for pack in done.packs), *done.texts]

    return Step("erase", act, lambda f: _without(f, number))


def _without(before: Facts, *purged: int) -> dict[str, Any]:
    words = {n: text for n, text in before.words.items() if n not in purged}
    return {"purged": before.purged | {*purged}, "deleted": before.deleted | {*purged}, "words": words}


STEPS = [
    save(1), save(2), promote(1), save(3), promote(2), save(4), describe(4), tag(3), rollback(1), policy(), delete(2),
    save(5), collect(2), describe(5), compact(), promote(3), save(6), compact(), erase(5), request(6), refuse(6),
    approve(6), promote(6, "staging"), reject(6), withdraw(6), unset(), save(7), save(8), collect(1, 3, 4), save(9),
]  # fmt: skip


def states(steps: Sequence[Step] = STEPS) -> list[Facts]:
    """What the registry says before the first step, and after each."""
    found = [Facts()]
    for step in steps:
        found.append(step.after(found[-1]))
    return found


def record(mount: Mount, steps: Sequence[Step] = STEPS, *, durable: bool = True) -> list[Call]:
    """Take all steps on a mounted disk, and give all that happened to it."""
    registry = mk.Registry(mount.root / REGISTRY, durable=durable, cache=False)
    for step in steps:
        mount.mark(f"begin {step.name}")
        gone = step.act(registry)
        mount.mark(f"end {json.dumps(list(gone))}")
    return mount.calls()


@attrs.frozen
class Cut:
    """The power is cut before a call.

    Args:
        at: the number of the call, from 0 on; the count of all calls: after the last one.
        call: what does not happen any more.
        name: of the step that was under way; "between" if none was.
        may_be: what the registry may say; first of all, what was acknowledged.
        gone: keys of which an acknowledged step said that they are gone for good.
        step: what was under way, if it is to be done again.
    """

    at: int
    call: str
    name: str
    may_be: tuple[Facts, ...]
    gone: tuple[str, ...] = ()
    step: Step | None = None


def cuts(calls: Sequence[Call], steps: Sequence[Step] = STEPS) -> Iterator[Cut]:
    """A cut before each call, and one after the last."""
    said = states(steps)
    done, under_way, gone = 0, None, tuple[str, ...]()
    for at in range(len(calls) + 1):
        call = calls[at] if at < len(calls) else "the end"
        may_be = tuple(said[done : done + 1 + (under_way is not None)])
        yield Cut(at, str(call), under_way.name if under_way else "between", may_be, gone, under_way)
        if isinstance(call, Marked):
            word, _, text = call.text.partition(" ")
            under_way = steps[done] if word == "begin" else None
            if word == "end":
                done, gone = done + 1, (*gone, *json.loads(text))


def lay_out(tree: Any, folder: Path) -> Path:
    """Write what survived to a folder; gives that of the registry in it."""
    for path, content in sorted(tree.items()):
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    return folder / REGISTRY
