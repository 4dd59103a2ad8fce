"""The operations that `test_crash_sweep` lets fail at each call, and what of a registry must not be lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

import modelkeep as mk
from modelkeep.errors import IntegrityError, InvalidValueError, UnknownModelError
from modelkeep.layout import journal_prefix, model_prefix, pack_key
from operations import fail, failed, keep, kept, refused
from truth import NAME, facts, made, wrong

SEED = 7
LONG_AGO = 2 * 86_400  # seconds; beyond any grace
RULES = "[retention]\nlast = 2\naliased = false\nlabelled = false"
ASKS = "[models.churn.aliases.production]\napprovals = 1\nby_author = true"
OF_RUNS = ("draft", "drop")  # in the history they tell an id, which each time is another
ROWS = 100  # entries of a tile

Facts = dict[str, Any]
Step = Callable[[mk.Registry], object]


@attrs.frozen
class Operation:
    """Something that a process does and dies over.

    Args:
        prepare: makes what lies there before.
        steps: what is done, each acknowledged by itself.
        again: whether it is called again whatever became of it, and may take several entries.
        refused: whether the model is refused until it is over, and `verify` says so.
        removes: whether it says what it has removed; what others remove is condemned already, and may come back.
        repins: whether what it writes to `releases` after a move is a hint for readers, whose failure it passes over.
    """

    prepare: Step
    steps: tuple[Step, ...]
    again: bool = False
    refused: bool = False
    removes: bool = False
    repins: bool = False


def _save(registry: mk.Registry, n: int, **given: Any) -> mk.ModelVersion:
    version: mk.ModelVersion = registry.save(made(SEED, n), NAME, params=facts(SEED, n), **given)
    return version


def _nothing(_: mk.Registry) -> None:
    pass


def _three(registry: mk.Registry) -> None:
    """Three versions that share a tensor of 160 KB; 1 and 2 were promoted, so that a rollback has where to go.

    The first has a variant.
    """
    for n in (1, 2, 3):
        _save(registry, n, **({"bump": "minor"} if n == 1 else {}))
    for number in (1, 2):
        _version(registry, number).promote("production", reason=f"{number} is better")
    _version(registry, 1).add_variant(made(SEED, 1), kind="int8")
    _version(registry, 1).tag(team="growth").describe("the first")


def _version(registry: mk.Registry, number: int) -> mk.ModelVersion:
    return registry.model(NAME).version(number)


def _deleted(registry: mk.Registry) -> None:
    _three(registry)
    _version(registry, 3).delete(reason="poor")
    _version(registry, 1).hold()


def _ruled(registry: mk.Registry) -> None:
    """The policy asks for an approval, which the third version has."""
    _three(registry)
    _version(registry, 3).review.approve()
    registry.policy.set(ASKS)


def _closed(registry: mk.Registry) -> None:
    _three(registry)
    registry.model(NAME).close()


def _with_run(registry: mk.Registry) -> None:
    """A run that failed beside versions."""
    _three(registry)
    fail(registry)


def _with_data(registry: mk.Registry) -> None:
    """A version of a dataset beside models."""
    _three(registry)
    keep(registry, 1)


def _boundary(registry: mk.Registry) -> None:
    """The next entry of `notes` is followed by a tile."""
    _three(registry)
    head = len(list(registry._store.list(journal_prefix(NAME, "notes"))))
    for n in range(head + 1, ROWS):
        _version(registry, 2).tag(n=str(n))


def _rubbish(registry: mk.Registry) -> None:
    """Versions for a policy to purge, some of them moved; and, both old, an upload of nobody and a temporary file."""
    _three(registry)
    _save(registry, 4)
    _save(registry, 5)
    registry.storage.compact(rollbacks=0)
    registry.model(NAME).unset("production")
    registry.policy.set(RULES)
    root = _folder(registry)
    stray = root / model_prefix(NAME) / "versions" / f".tmp-{'0' * 31}1"
    stray.write_bytes(b"half an entry")
    upload = pack_key(NAME, f"{'0' * 31}2-1")
    registry._store.put_pack(upload, [bytes(9000)])
    for path in (stray, root / upload):
        os.utime(path, (time.time() - LONG_AGO,) * 2)


def _folder(registry: mk.Registry) -> Path:
    return Path(str(registry._store.root))  # type: ignore[attr-defined]  # it lies on a disk


def _source(registry: mk.Registry) -> mk.Registry:
    """Where what is pushed comes from: beside the registry, so that its own calls do not count."""
    return mk.Registry(_folder(registry).parent / "source", durable=False, cache=False)


def _one_to_push(registry: mk.Registry) -> None:
    source = _source(registry)
    if source._home.id() is None:
        _three(source)
    registry.save(made(SEED, 1), "other")


def _push(registry: mk.Registry) -> None:
    _source(registry).push(NAME, to=registry)


def _load(registry: mk.Registry) -> None:
    version = registry.get(f"{NAME}@production")
    if parts := wrong(registry.load(f"{NAME}@production"), version.params):
        raise AssertionError(f"{parts} are wrong")


def _export(registry: mk.Registry) -> None:
    _version(registry, 3).export(_folder(registry).parent / "exported")


OPERATIONS: dict[str, Operation] = {
    "first save": Operation(_nothing, (lambda r: _save(r, 1, bump="minor", notes="the first"),)),
    "save": Operation(_three, (lambda r: _save(r, 4, bump="patch"),)),
    "variant": Operation(_three, (lambda r: _version(r, 3).add_variant(made(SEED, 4), kind="int8", notes="by hand"),)),
    "promote": Operation(_three, (lambda r: _version(r, 3).promote("production", expect=2, reason="best"),)),
    "promote by rules": Operation(_ruled, (lambda r: _version(r, 3).promote("production", reason="best"),)),
    "refuse": Operation(_ruled, (lambda r: refused(_version(r, 1)),)),
    "reviews": Operation(
        _three,
        (
            lambda r: _version(r, 3).review.request(["ada"], reason="for Monday"),
            lambda r: _version(r, 3).review.approve(reason="calibrated"),
            lambda r: _version(r, 3).review.reject(),
            lambda r: _version(r, 3).review.withdraw(),
            lambda r: _version(r, 3).review.comment("why not?"),
        ),
    ),
    "rollback": Operation(_three, (lambda r: r.model(NAME).rollback("production", expect=2, reason="drift"),)),
    "unset": Operation(_three, (lambda r: r.model(NAME).unset("production", reason="off"),)),
    "delete": Operation(_three, (lambda r: _version(r, 3).delete(reason="poor"),)),
    "restore": Operation(_deleted, (lambda r: _version(r, 3).restore(reason="needed"),)),
    "fail run": Operation(_three, (fail,)),
    "drop run": Operation(_with_run, (lambda r: failed(r)[0].drop(),)),
    "first dataset": Operation(_nothing, (lambda r: keep(r, 1),)),
    "dataset": Operation(_with_data, (lambda r: keep(r, 2), lambda r: r.dataset("sales:2").promote("golden"))),
    "label": Operation(_three, (lambda r: _version(r, 3).set_label("2.0.0"),)),
    "texts": Operation(
        _three,
        (
            lambda r: _version(r, 3).tag(team="risk"),
            lambda r: _version(r, 3).describe("the third"),
            lambda r: _version(r, 3).measure(live=0.5),
            lambda r: r.model(NAME).describe("who leaves"),
            lambda r: r.model(NAME).set_title("Churn"),
        ),
    ),
    "tile": Operation(_boundary, (lambda r: _version(r, 2).tag(n=str(ROWS)),)),
    "hold": Operation(_three, (lambda r: _version(r, 3).hold(reason="audit"),)),
    "unhold": Operation(_deleted, (lambda r: _version(r, 1).unhold(reason="done"),)),
    "close": Operation(_three, (lambda r: r.model(NAME).close(),)),
    "open": Operation(_closed, (lambda r: r.model(NAME).open(),)),
    "policy": Operation(_three, (lambda r: r.policy.set(RULES),)),
    "compact": Operation(_three, (lambda r: r.storage.compact(rollbacks=0),), again=True, repins=True),
    "collect": Operation(_rubbish, (lambda r: r.storage.collect(grace=timedelta(hours=1)),), again=True, removes=True),
    "erase": Operation(_three, (lambda r: _version(r, 1).erase("request 17"),), again=True, removes=True, repins=True),
    "push": Operation(_one_to_push, (_push,), again=True, refused=True),
    "load": Operation(_three, (_load,), again=True),
    "export": Operation(_three, (_export,), again=True),
}


def facts_of(registry: mk.Registry) -> Facts:
    """All that users can see, times left out; each version loaded and compared with what was saved."""
    model = registry.model(NAME)
    found: Facts = {"policy": [registry.policy.number, registry.policy.text]}
    found["data"] = [[number, list(registry.dataset(f"sales:{number}").aliases)] for number in kept(registry)]
    try:
        versions = model.versions(deleted=True)
    except UnknownModelError:
        return found
    except IntegrityError as error:
        if "if it is being pushed here" in str(error):  # then it is not there yet
            return found
        raise
    found["versions"] = {version.number: _facts_of_one(model, version) for version in versions}
    found["aliases"] = {alias: holder.number for alias, holder in model.aliases.items()}
    found["model"] = [model.is_open, model.title]
    found["failed"] = [[run.error, run.params, run.history["loss"].last, run.verify()] for run in failed(registry)]
    found["history"] = [
        f"{e.journal} {e.entry} {e.action} {e.version} {None if e.action in OF_RUNS else e.subject} {e.text}"
        for e in sorted(model.history(), key=lambda e: (e.journal, e.entry))
    ]
    return dict(json.loads(json.dumps(found)))


def _facts_of_one(model: mk.RegisteredModel, version: mk.ModelVersion) -> Facts:
    if version.number in model._line.releases.state.purged:  # of which bytes may lie there yet
        return {"purged": True, "label": version.label}
    parts = wrong(version.load(), version.params)
    variants = {kind: [one.digest, wrong(one.load())] for kind, one in version.variants.items()}
    said = [version.held, version.deleted, version.tags, version.measured, version.description]
    said.append(str(version.review.opinions()))
    return {"label": version.label, "params": version.params, "said": said, "wrong": parts, "variants": variants}


def template(operation: Operation, root: Path) -> None:
    """Make what lies at *root* before an operation."""
    registry = mk.Registry(root, durable=False, cache=False)
    operation.prepare(registry)


def states(operation: Operation, root: Path) -> list[Facts]:
    """What there is to see before an operation at *root*, and after each of its steps."""
    registry = mk.Registry(root, durable=False, cache=False)
    found = [facts_of(registry)]
    for step in operation.steps:
        step(registry)
        found.append(facts_of(mk.Registry(root, durable=False, cache=False)))
    return found


def chosen(names: str) -> dict[str, Operation]:
    """The operations of a list with commas; ``all`` for all of them.

    Raises:
        InvalidValueError: there is none of a name.
    """
    asked = list(OPERATIONS) if names == "all" else names.split(",")
    if unknown := set(asked) - set(OPERATIONS):
        raise InvalidValueError(f"{', '.join(unknown)}: no such operation; there are {', '.join(OPERATIONS)}")
    return {name: OPERATIONS[name] for name in asked}
