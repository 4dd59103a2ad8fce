"""The end of a schedule: what was acknowledged is there, what is dead is gone after one quiet collection."""

from __future__ import annotations

from collections.abc import Iterable

from modelkeep._removed import Collection
from modelkeep.errors import DeletedError, ModelkeepError
from modelkeep.layout import data_prefix
from modelkeep.registry import Registry
from modelkeep.testing.simulate.history import History
from modelkeep.testing.simulate.operations import NOW, Operations, bytes_of
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.truth import ModelTruth, require
from modelkeep.testing.simulate.world import Actor, Intent, SimulatedStore, Violation, World


def check_end(world: World, oracle: Oracle, history: History, plays: Iterable[Operations]) -> None:
    """Collect once, without faults; then every version that was not purged loads bit for bit, and all verifies."""
    _check_saves(oracle, plays)
    world.is_quiet = True
    last = Operations(world, oracle, history, -1)
    last.actor = Actor(-1, intent=Intent("the last collector", "", world.step))
    last.registry = Registry(SimulatedStore(world, last.actor), system=world.system(last.actor))
    try:
        for name in sorted({item.key.split("/")[1] for item in world.objects.list("models/")}):
            _collect(last, name, oracle.model(name))  # that of uploads alone, too
        for name, truth in oracle.models.items():
            if truth.payloads or truth.drafts:
                _check_model(last, name, truth)
                _check_erased(world, name, truth)
        _ask_all(last)
        if oracle.registry:
            _verify(last.registry)
    except ModelkeepError as error:
        raise Violation(f"at the end: {type(error).__name__}: {error}") from None


def _check_saves(oracle: Oracle, plays: Iterable[Operations]) -> None:
    for play in plays:
        for name, payload in play.acknowledged:
            require(payload in oracle.model(name).saved(), f"acknowledged, and not there: {payload}")
        for refused in play.refused:
            there = any(refused in truth.saved() for truth in oracle.models.values())
            require(not there, f"refused, and there all the same: {refused}")


def _collect(last: Operations, name: str, truth: ModelTruth) -> None:
    objects = last.world.objects
    before = {item.key: item.size for item in objects.list(data_prefix(name))}
    rewrites = any(truth.packs[number][-1] not in truth.condemned for number in truth.erased)  # they were cut off
    living = set(truth.kept_drafts())
    planned = last.registry.storage.collect(name, dry_run=True, grace=NOW)
    done = last.take_out(name)
    there = {item.key for item in objects.list(data_prefix(name))}
    went = {key: size for key, size in before.items() if key not in there}
    would, did = _packs_of(planned), _packs_of(done)
    surprises = rewrites or {one.id for one in planned.dropped} != living.difference(truth.kept_drafts())
    foretold = would.items() <= went.items() if surprises else would == went
    require(foretold, f"collect said that it would remove {would}, and {went} went")
    require(did == went, f"collect said that it removed {did}, and {went} went")
    needs = [pack for number in truth.kept() for pack in truth.needs(number)]
    needs += [pack for draft in truth.kept_drafts() for pack in truth.drafted[draft]]
    needed = {f"{data_prefix(name)}{pack}.pack" for pack in needs}
    require(there == needed, f"after a collection {sorted(there - needed)} lie there, which nobody needs")


def _packs_of(told: Collection) -> dict[str, int]:
    return {one.key: one.bytes for one in told.removals if one.kind in ("pack", "upload")}


def _check_erased(world: World, name: str, truth: ModelTruth) -> None:
    """What a version alone had lies nowhere once it was erased; each has its payload alone."""
    packs = {item.key: world.objects.get(item.key) for item in world.objects.list(data_prefix(name))}
    for number in truth.erased:
        variants = (payload for of, payload in truth.variants.items() if of[0] == number)
        for own in map(bytes_of, (truth.payloads[number], *variants)):
            left = [key for key, raw in packs.items() if own in raw]
            require(not left, f"{name}:{number} was erased, and {left} still hold it")


def _check_model(last: Operations, name: str, truth: ModelTruth) -> None:
    listed = {version.number: version for version in last.read_all(name)}
    require(set(listed) == set(truth.payloads), f"{name} lists {sorted(listed)}, not {sorted(truth.payloads)}")
    for number in truth.payloads:
        version = listed[number]
        require(version.label == truth.own_label.get(number), f"{name}:{number} has another label")
        if number in truth.purged:
            _check_gone(last.registry, name, number)
            continue
        try:
            last.read(version)
            variants = last.read_variants(version)
            for variant in variants.values():
                last.read_variant(version, variant)
        except ModelkeepError as error:
            raise Violation(f"{name}:{number} does not load: {error}") from None
        kinds = {kind for of, kind in truth.variants if of == number}
        require(set(variants) == kinds, f"{name}:{number} has the variants {set(variants)}, not {kinds}")
    _check_runs(last, name, truth)
    last.read_versions(name)
    holders = last.read_aliases(name)
    expected = {alias: stack[-1] for alias, stack in truth.stacks.items() if stack}
    require(holders == expected, f"aliases of {name} read as {holders}, not {expected}")


def _check_runs(last: Operations, name: str, truth: ModelTruth) -> None:
    runs = last.read_runs(name)
    require([run.id for run in reversed(runs)] == truth.kept_drafts(), f"{name} lists the failed runs {runs}")
    for run in runs:
        last.read_run(run)


def _check_gone(registry: Registry, name: str, number: int) -> None:
    try:
        registry.load(f"{name}:{number}")
    except DeletedError:
        return
    require(False, f"{name}:{number} was purged, and loads")


def _ask_all(last: Operations) -> None:
    """Look at all that somebody wrote and nobody need have read, for the search to have the last word on."""
    written = {(c.kind, c.name, c.asked.get("number", 0)): None for c in last.history.calls if c.kind in _LOOKED_AT}
    kinds = {kind for kind, _, _ in written}
    if "set policy" in kinds and last.oracle.registry:
        last.read_policy()
    for kind, name, number in written:
        truth = last.oracle.model(name)
        if kind == "set title" and truth.payloads:
            last.read_title(name)
        elif number in truth.payloads and number not in truth.purged:
            version = last.registry.model(name).version(number)
            if kind == "hold":
                last.read_held(version)
            else:
                last.hear(version, kind.removeprefix("set "))


_LOOKED_AT = frozenset({"hold", "set tag", "set metric", "set text", "set title", "set policy"})


def _verify(registry: Registry) -> None:
    report = registry.storage.verify()
    require(report.ok, f"verify: {[str(finding) for finding in report.findings]}")
    left = [finding.key for finding in report.findings if finding.kind == "leftover" and "/data/" in finding.key]
    require(not left, f"after a collection verify finds {left} left over")
