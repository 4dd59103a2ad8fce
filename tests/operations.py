"""Every operation of a registry, with what shows that it was done: the sweeps of faults go through its calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import attrs
import numpy as np

import modelkeep as mk
from modelkeep._compact import plan_compaction
from modelkeep.datasetversion import Dataset
from modelkeep.errors import DeletedError, GateError, IntegrityError, UnknownDatasetError, UnknownModelError
from modelkeep.failedrun import FailedRun
from modelkeep.modelvariant import Variant
from modelkeep.registry import Registry
from modelkeep.runs import keep_failed
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store

HARMLESS = ("leftover", "unlisted")
LARGE = 64  # seeds from here on are of models that share tensors, and that a compaction makes smaller
POLICY = "[retention]\nlast = 2\n"
ASKS = '[models.churn.aliases.production]\napprovals = 1\nby_author = true\ngates = [{ size = "1 MB" }]\n'
_FROM = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)  # a tensor of 80 KB


def weights(seed: int) -> dict[str, Any]:
    """The model that is saved with the parameter *seed*."""
    if seed < LARGE:
        return {"w": np.arange(3) + seed}
    noise = np.random.default_rng(seed).standard_normal(_FROM.size).astype(np.float32)
    return {"w": _FROM + noise * np.float32(1e-3), "frozen": np.arange(3_000), "own": np.array(seed)}


def save(registry: Registry, seed: int, **options: Any) -> mk.ModelVersion:
    version: mk.ModelVersion = registry.save(weights(seed), "churn", params={"seed": seed}, **options)
    return version


BESIDE = {"preprocess": {"mean": np.arange(3)}, "example": np.ones((7, 2)), "golden": (np.ones((2, 2)), np.zeros(2))}


def _parts_load(version: mk.ModelVersion) -> bool:
    """Whether all that lies beside a model is what `BESIDE` has; true where nothing does."""
    loaded = {name: part.load() for name, part in version.parts.items()}
    expected = {"example": np.ones((5, 2)), "golden-inputs": np.ones((2, 2)), "golden-outputs": np.zeros(2)}
    return not loaded or (
        loaded.keys() == {"preprocess", *expected}
        and np.array_equal(loaded["preprocess"]["mean"], np.arange(3))
        and all(np.array_equal(loaded[name], expected[name]) for name in expected)
    )


def _has_parts(registry: Registry) -> bool:
    return numbers(registry) == [1, 2, 3, 4] and bool(one(registry, 4).parts) and _parts_load(one(registry, 4))


def is_model(loaded: dict[str, Any], seed: int) -> bool:
    expected = weights(seed)
    return loaded.keys() == expected.keys() and all(np.array_equal(loaded[k], expected[k]) for k in expected)


# -- where operations begin --------------------------------------------------------------------------------------------


def _nothing(_: Registry) -> None:
    """The store is empty."""


def _in_use(registry: Registry) -> None:
    """Three versions, an alias with a past, and another model, which is closed."""
    for seed in range(1, 4):
        save(registry, seed)
    for number in (2, 3):
        registry.get(f"churn:{number}").promote("production")
    registry.save(weights(1), "shut")
    registry.model("shut").close()


def values(seed: int) -> Any:
    """The array that is saved as a dataset; all of them share a tensor of 80 KB."""
    return {"shared": _FROM, "own": np.arange(3_000) + seed}


def keep(registry: Registry, seed: int) -> Dataset:
    return registry.save_dataset(values(seed), "sales", keep=True, notes=str(seed))


def _with_data(registry: Registry) -> None:
    """Two versions of a dataset beside models."""
    _in_use(registry)
    for seed in (1, 2):
        keep(registry, seed)


def fail(registry: Registry) -> None:
    """Keep a run that failed, as leaving its block does, and raise what keeping it met."""
    run = registry.run("churn", params={"seed": 7})
    run.log(loss=0.5)
    keep_failed(run, ValueError("bad rows"))


def failed(registry: Registry) -> list[FailedRun]:
    try:
        return list(registry.model("churn").failed_runs())
    except UnknownModelError:
        return []


def _with_runs(registry: Registry) -> None:
    """A run that failed beside versions."""
    _in_use(registry)
    fail(registry)


def _deleted(registry: Registry) -> None:
    _in_use(registry)
    registry.get("churn:2").delete()


def _ruled(registry: Registry) -> None:
    """The policy asks for an approval, which a version has, and a gate."""
    _in_use(registry)
    registry.get("churn:1").review.approve()
    registry.policy.set(ASKS)


def refused(version: mk.ModelVersion, alias: str = "production") -> None:
    """Promote what lacks an approval; raise what keeping the refusal met."""
    try:
        version.promote(alias)
    except GateError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None


def _refusals(registry: Registry) -> int:
    return sum(event.action == "refuse" for event in registry.model("churn").history())


def _is_commented(registry: Registry) -> bool:
    return any(event.text == "fine" for event in registry.model("churn").history())


def _held(registry: Registry) -> None:
    _in_use(registry)
    registry.get("churn:1").hold()


def _grown(registry: Registry) -> None:
    """Four versions that share bytes, one of them in use, two with a variant; the policy keeps two of them."""
    for seed in range(LARGE, LARGE + 4):
        save(registry, seed)
    for number in (1, 4):
        one(registry, number).add_variant(weights(LARGE + number - 1), kind="int8")
    registry.get("churn:4").promote("production")
    registry.policy.set(POLICY)


# -- what shows that they were done ------------------------------------------------------------------------------------


def numbers(registry: Registry) -> list[int]:
    try:
        return sorted(version.number for version in registry.model("churn").versions(deleted=True))
    except UnknownModelError:
        return []


def kept(registry: Registry) -> list[int]:
    """The versions of the dataset, each of which is as it was saved."""
    try:
        versions = registry.dataset("sales").versions
    except UnknownDatasetError:
        return []
    for version in versions:
        loaded, expected = version.load(), values(int(version.notes))
        assert all(np.array_equal(loaded[name], expected[name]) for name in expected), f"{version} is not what was kept"
    return sorted(version.number for version in versions)


def holder(registry: Registry) -> int | None:
    found = registry.model("churn").aliases.get("production")
    return found.number if found else None


def one(registry: Registry, number: int = 1) -> mk.ModelVersion:
    return registry.model("churn").version(number)


def purged(registry: Registry) -> set[int]:
    line = registry.model("churn")._read()
    return set(line.releases.state.purged)


def _is_compact(registry: Registry) -> bool:
    line = registry.model("churn")._read()
    return not plan_compaction(line).order


def _is_clean(registry: Registry) -> bool:
    if registry.policy.text is None:
        return False
    plan = registry.storage.collect(dry_run=True, grace=timedelta(0))
    return not plan.purged and not [removal for removal in plan.removals if removal.kind == "pack"]


def _loads(registry: Registry) -> None:
    """An answer is right, or there is none."""
    for ref in ("churn", "churn@production", "churn:1"):
        version = registry.get(ref)
        assert is_model(registry.load(ref), version.params["seed"]), f"{ref} is not what was saved"


def _lists(registry: Registry) -> None:
    model = registry.model("churn")
    listed = [version.number for version in model.versions()], holder(registry), len(model.history()) >= 6
    assert listed == ([3, 2, 1], 3, True), f"listed were {listed}"


@cache
def _guest() -> Registry:
    """Always the same: a pull that was cut off goes on from where it stopped."""
    registry = Registry(MemoryStore())
    for seed in (LARGE, LARGE + 1):
        registry.save(weights(seed), "guest").promote("production")
    return registry


@cache
def _lender() -> Registry:
    registry = Registry(MemoryStore())
    for seed in (1, 2):
        keep(registry, seed)
    return registry


def _has_lent(registry: Registry) -> bool:
    try:
        return kept(registry) == [1, 2]
    except IntegrityError:
        return False


def _holds_guest(registry: Registry) -> bool:
    try:
        return is_model(registry.load("guest@production"), LARGE + 1)
    except (UnknownModelError, IntegrityError):  # an error that says: if it is being pushed, run that push again
        return False


@attrs.frozen
class Operation:
    """What is done, where, and how one sees whether it was done.

    Args:
        act: does it.
        done: whether it was done, as a new registry sees it.
        begun: prepares an empty registry for it.
        whole: it is done by one entry: if it was not done, all is as before. Else each of its steps is whole, and it
            goes on where it stopped.
    """

    act: Callable[[Registry], object]
    done: Callable[[Registry], bool]
    begun: Callable[[Registry], None] = _in_use
    whole: bool = True

    def prepared(self) -> MemoryStore:
        """A store where it can be done."""
        store = MemoryStore()
        self.begun(Registry(store))
        return store


OPERATIONS = {
    "save first": Operation(lambda r: save(r, 9), lambda r: numbers(r) == [1], _nothing),
    "save next": Operation(lambda r: save(r, 9, bump="minor"), lambda r: numbers(r) == [1, 2, 3, 4]),
    "save large": Operation(lambda r: save(r, LARGE + 9), lambda r: numbers(r) == [1, 2, 3, 4, 5], _grown),
    "save with parts": Operation(lambda r: save(r, 9, **BESIDE), _has_parts),
    "reuse": Operation(lambda r: save(r, 9, reuse=True), lambda r: numbers(r) == [1, 2, 3, 4]),
    "promote": Operation(lambda r: one(r).promote("production", reason="why"), lambda r: holder(r) == 1),
    "promote by rules": Operation(lambda r: one(r).promote("production"), lambda r: holder(r) == 1, _ruled),
    "refuse": Operation(lambda r: refused(one(r, 2)), lambda r: _refusals(r) > 0 and holder(r) == 3, _ruled),
    "request": Operation(
        lambda r: one(r).review.request(["ada"], reason="why"), lambda r: one(r).review.opinions().reviewers == ("ada",)
    ),
    "approve": Operation(lambda r: one(r).review.approve(), lambda r: bool(one(r).review.opinions().approved)),
    "reject": Operation(lambda r: one(r).review.reject(), lambda r: bool(one(r).review.opinions().rejected), _ruled),
    "withdraw": Operation(lambda r: one(r).review.withdraw(), lambda r: not one(r).review.opinions().approved, _ruled),
    "comment": Operation(lambda r: one(r).review.comment("fine"), _is_commented),
    "rollback": Operation(lambda r: r.model("churn").rollback("production"), lambda r: holder(r) == 2),
    "unset": Operation(lambda r: r.model("churn").unset("production"), lambda r: holder(r) is None),
    "delete": Operation(lambda r: one(r).delete(reason="old"), lambda r: one(r).deleted),
    "restore": Operation(lambda r: one(r, 2).restore(), lambda r: not one(r, 2).deleted, _deleted),
    "hold": Operation(lambda r: one(r).hold(reason="audit"), lambda r: one(r).held),
    "unhold": Operation(lambda r: one(r).unhold(), lambda r: not one(r).held, _held),
    "variant": Operation(lambda r: one(r).add_variant(weights(9), kind="int8"), lambda r: "int8" in one(r).variants),
    "variant large": Operation(
        lambda r: one(r).add_variant(weights(LARGE), kind="half"), lambda r: "half" in one(r).variants, _grown
    ),
    "fail first run": Operation(fail, lambda r: len(failed(r)) == 1, _nothing),
    "fail run": Operation(fail, lambda r: len(failed(r)) == 2, _with_runs),
    "drop run": Operation(lambda r: failed(r)[0].drop(), lambda r: not failed(r), _with_runs),
    "label": Operation(lambda r: one(r).set_label("2.0.0"), lambda r: one(r).label == "2.0.0"),
    "close": Operation(lambda r: r.model("churn").close(), lambda r: not r.model("churn").is_open),
    "open": Operation(lambda r: r.model("shut").open(), lambda r: r.model("shut").is_open),
    "tag": Operation(lambda r: one(r).tag(team="growth"), lambda r: one(r).tags.get("team") == "growth"),
    "measure": Operation(lambda r: one(r).measure(auc=0.5), lambda r: one(r).measured == {"auc": 0.5}),
    "describe": Operation(lambda r: one(r).describe("good"), lambda r: one(r).description == "good"),
    "title": Operation(lambda r: r.model("churn").set_title("C"), lambda r: r.model("churn").title == "C"),
    "policy": Operation(lambda r: r.policy.set(POLICY), lambda r: r.policy.text == POLICY),
    "load": Operation(_loads, lambda _: True),
    "list": Operation(_lists, lambda _: True),
    "pull": Operation(lambda r: r.pull("guest", source=_guest()._store), _holds_guest, whole=False),
    "keep first dataset": Operation(lambda r: keep(r, 9), lambda r: kept(r) == [1], _nothing),
    "keep dataset": Operation(lambda r: keep(r, 9), lambda r: kept(r) == [1, 2, 3], _with_data),
    "pull dataset": Operation(lambda r: r.pull("datasets/sales", source=_lender()._store), _has_lent, whole=False),
    "compact": Operation(lambda r: r.storage.compact("churn"), _is_compact, _grown, whole=False),
    "collect": Operation(lambda r: r.storage.collect(grace=timedelta(0)), _is_clean, _grown, whole=False),
    "erase": Operation(lambda r: one(r).erase("request 7"), lambda r: 1 in purged(r), _grown, whole=False),
}


# -- what a registry holds ---------------------------------------------------------------------------------------------


def _is_open(registry: Registry, name: str) -> bool | None:
    try:
        return registry.model(name).is_open
    except UnknownModelError:
        return None


def _said(version: mk.ModelVersion) -> str:
    return str(version.review.opinions())


def _seen_data(registry: Registry) -> list[int] | None:
    try:
        return kept(registry)
    except IntegrityError:  # it is being pulled, or was in part
        return None


def snapshot(store: Store) -> dict[str, Any]:
    """What a new registry sees."""
    registry = Registry(store)
    seen: dict[str, Any] = {"numbers": numbers(registry), "kept": _seen_data(registry)}
    seen["failed"] = [run.id for run in failed(registry)]
    if seen["numbers"]:
        model = registry.model("churn")
        seen["aliases"] = {alias: version.number for alias, version in model.aliases.items()}
        seen["facts"] = [
            (v.number, v.label, v.deleted, v.held, v.tags, v.measured, v.description, list(v.variants), _said(v))
            for v in model.versions(deleted=True)
        ]
        seen["model"] = (model.is_open, model.title)
        seen["shut"] = _is_open(registry, "shut")
        seen["policy"] = registry.policy.text
    return seen


def _is_variant(variant: Variant) -> bool:
    """Whether it is as some operation added it; the seeds are those of `_grown` and `OPERATIONS`."""
    loaded = variant.load()
    return any(is_model(loaded, seed) for seed in (9, *range(LARGE, LARGE + 4)))


def faults(store: Store) -> list[str]:
    """What is wrong: all of it verifies, and every version that was not purged loads as it was saved.

    Of a model that is being pushed here, or was in part, nobody sees anything before its origin is there.
    """
    registry, keys = Registry(store), {item.key for item in store.list("")}
    if "modelkeep.json" not in keys:
        return []
    hidden = tuple(prefix for prefix in ("models/guest/", "datasets/sales/") if f"{prefix}origin.json" not in keys)
    if _seen_data(registry) is not None:  # born here, or wholly here
        hidden = hidden[:1] if "models/guest/" in hidden else ()
    findings = [one for one in registry.storage.verify().findings if one.kind not in HARMLESS]
    found = [str(one) for one in findings if not one.key.startswith(hidden)]
    runs = failed(registry)
    found += [
        one.ref for one in runs if (one.params, one.history["loss"].last) != ({"seed": 7}, 0.5) or not one.verify()
    ]
    for number in numbers(registry):
        version = one(registry, number)
        try:
            loaded = version.load()
            found += [f"{v.ref} is not what was added" for v in version.variants.values() if not _is_variant(v)]
        except DeletedError:
            found += [] if number in purged(registry) else [f"version {number} does not load"]
        else:
            sound = is_model(loaded, version.params["seed"]) and _parts_load(version)
            found += [] if sound else [f"version {number} is not what was saved"]
    return found
