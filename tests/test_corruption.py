"""Every object of a small but complete registry is damaged in every way; verify names it and nothing wrong is told.

``python tests/test_corruption.py --flips 10000`` does all of it: each object in each systematic way, 200 random bits in
each, and 10,000 more over all objects by their size. ``--jobs 2`` shares it between two processes.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import attrs
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

import modelkeep as mk
from complete import Anatomy, answer, complete, kind_of, loads, model_of, put_in, questions, references
from modelkeep import zstd
from modelkeep.stores.memory import MemoryStore
from modelkeep.tiles import split

BITS = 200  # in each object
FLIPS = int(os.environ.get("MODELKEEP_FLIPS", "40"))  # under pytest
WAYS = 9  # to damage an object, but for random bits
SEED = 6
JOURNALS = ("versions", "releases", "notes", "policy")


@attrs.frozen
class Damage:
    """Objects that are not as they were written.

    Args:
        how: in which way.
        changed: what lies under their keys now; None for nothing.
        at: which byte was changed, if one was.
    """

    how: str
    changed: dict[str, bytes | None]
    at: int | None = None

    @property
    def key(self) -> str:
        """The first of the objects."""
        return min(self.changed)

    @property
    def kind(self) -> str:
        """What kind of object it is."""
        return kind_of(self.key)

    def __str__(self) -> str:
        return f"{self.how}: {', '.join(self.changed)}" + ("" if self.at is None else f", byte {self.at}")


def flipped(objects: dict[str, bytes], key: str, bit: int, how: str) -> Damage:
    value = bytearray(objects[key])
    value[bit // 8] ^= 1 << bit % 8
    return Damage(how, {key: bytes(value)}, bit // 8)


def systematic(objects: dict[str, bytes], key: str) -> Iterator[Damage]:
    """Each way to damage an object, but for random flips."""
    value = objects[key]
    chance = random.Random(key)
    if value:
        for how, at in (("first byte", 0), ("middle byte", len(value) // 2), ("last byte", len(value) - 1)):
            yield flipped(objects, key, 8 * at + chance.randrange(8), how)
        yield Damage("cut to nothing", {key: b""})
        yield Damage("cut in half", {key: value[: len(value) // 2]})
        yield Damage("one byte less", {key: value[:-1]})
    yield Damage("one byte more", {key: value + b"\0"})
    yield Damage("deleted", {key: None})
    alike = [other for other in objects if kind_of(other) == kind_of(key)]
    sibling = alike[(alike.index(key) + 1) % len(alike)]
    if sibling != key:
        yield Damage("swapped", {key: objects[sibling], sibling: value})


def flips(objects: dict[str, bytes], key: str, count: int) -> Iterator[Damage]:
    """Random bits of an object."""
    chance = random.Random(f"{SEED} {key}")
    bits = 8 * len(objects[key])
    for bit in chance.sample(range(bits), min(count, bits)):
        yield flipped(objects, key, bit, "random bit")


def weighted(objects: dict[str, bytes], count: int, seed: int) -> Iterator[Damage]:
    """Random bits over all objects, by size."""
    chance = random.Random(seed)
    keys = list(objects)
    for key in chance.choices(keys, [len(objects[key]) for key in keys], k=count):
        yield flipped(objects, key, chance.randrange(8 * len(objects[key])), "random bit of all")


# -- what need not be seen -------------------------------------------------------------------------------------


Change = tuple[str, bytes | None]  # a key, and what lies under it now


def _is_newest_unseen(registry: Anatomy, change: Change) -> bool:
    return change[1] is None and change[0] in registry.unseen


def _is_lost_tile(_: Anatomy, change: Change) -> bool:
    return change[1] is None and kind_of(change[0]) == "tile"


def _is_same_tile(registry: Anatomy, change: Change) -> bool:
    key, new = change
    return kind_of(key) == "tile" and new is not None and split(new, 100) == split(registry.objects[key], 100)


def _is_lost_text(_: Anatomy, change: Change) -> bool:
    return change[1] is None and kind_of(change[0]) == "text"


def _is_no_change(registry: Anatomy, change: Change) -> bool:
    return registry.objects[change[0]] == change[1]


def _is_of_no_use(registry: Anatomy, change: Change) -> bool:
    """Where a version lay that was moved or purged since, only bytes changed that no version needs."""
    key, new = change
    return key in registry.with_leavings and new is not None and not registry.harm(key, new)


EXCEPTIONS: dict[str, Callable[[Anatomy, Change], bool]] = {
    "the newest entry of a journal is gone, and no other journal has seen it": _is_newest_unseen,
    "a tile is gone": _is_lost_tile,
    "a tile unpacks to the same entries": _is_same_tile,
    "a text is gone": _is_lost_text,
    "two empty markers changed places": _is_no_change,
    "bytes changed that no version needs": _is_of_no_use,
}
"""What verify says nothing of, as designed; the list in docs/how-to/damage.md is the same."""


def quick_sees(registry: Anatomy, change: Change) -> bool:
    """Whether a quick verification must see it: journals, tiles, markers, manifests, and how long packs are."""
    key, new = change
    if kind_of(key) == "text":
        return False
    if kind_of(key) != "pack" or new is None:
        return True
    end = max(offset + length for offset, length in registry.living[key])
    size_tells = len(new) < end or (len(new) != end and key not in registry.with_leavings)
    return size_tells or any(span in registry.manifests[key] for span in registry.harm(key, new))


# -- the sweep -------------------------------------------------------------------------------------------------


@attrs.define
class Tally:
    """What was met: damages by way and kind of object, how answers ended, exceptions, and what was wrong."""

    met: Counter[tuple[str, str]] = attrs.Factory(Counter)
    ends: Counter[str] = attrs.Factory(Counter)
    excepted: Counter[str] = attrs.Factory(Counter)
    faults: list[str] = attrs.Factory(list)

    def add(self, other: Tally) -> None:
        """Count what another one met."""
        self.met.update(other.met)
        self.ends.update(other.ends)
        self.excepted.update(other.excepted)
        self.faults += other.faults

    def __str__(self) -> str:
        by_how, by_kind = Counter[str](), Counter[str]()
        for (how, kind), count in self.met.items():
            by_how[how] += count
            by_kind[kind] += count
        told = [", ".join(f"{count} {what}" for what, count in found.most_common()) for found in (by_how, by_kind)]
        verdict = "\n  ".join(["FAULTS", *self.faults[:100]]) if self.faults else "0 wrong, 0 unseen"
        return (
            f"{self.met.total()} damages ({told[0]}) to ({told[1]}); {self.excepted.total()} excepted "
            f"({', '.join(f'{count}: {what}' for what, count in self.excepted.items()) or 'none'}); answers: "
            f"{', '.join(f'{count} {end}' for end, count in self.ends.items())}: {verdict}"
        )


@attrs.define
class Sweep:
    """Damages one registry in one way after another, each time from what it was.

    Args:
        objects: the registry.
        whole: verify all of the registry each time, and not only the model in question.
    """

    objects: dict[str, bytes]
    whole: bool = False
    anatomy: Anatomy = attrs.field(init=False)
    store: MemoryStore = attrs.field(factory=MemoryStore, init=False)
    truths: dict[str, dict[str, Any]] = attrs.field(factory=dict, init=False)
    refs: dict[str, list[str]] = attrs.field(factory=dict, init=False)
    tally: Tally = attrs.field(factory=Tally, init=False)

    def __attrs_post_init__(self) -> None:
        self.anatomy = Anatomy(self.objects)
        put_in(self.store, self.objects)
        registry = self.opened()
        for name in sorted({name for key in self.objects if (name := model_of(key))}):
            self.refs[name] = answer(partial(references, registry, name))
            self.truths[name] = {what: answer(ask) for what, ask in self._asked(registry, name)}

    def opened(self) -> mk.Registry:
        """The registry as it lies there now, with nothing known yet."""
        return mk.Registry(self.store, cache=False)

    def _asked(self, registry: mk.Registry, name: str) -> Iterator[tuple[str, Callable[[], Any]]]:
        yield from questions(registry, name)
        yield from loads(registry, self.refs[name])

    def run(self, damages: Iterable[Damage]) -> None:
        """Try all *damages*."""
        for damage in damages:
            with self.damaged(damage):
                self.check(damage)

    @contextmanager
    def damaged(self, damage: Damage) -> Iterator[None]:
        """Have a damage lie there."""
        for key, value in damage.changed.items():
            if value is None:
                self.store.delete([key])
            else:
                self.store.put_pack(key, [value])
        try:
            yield
        finally:
            put_in(self.store, {key: self.objects[key] for key in damage.changed})

    def check(self, damage: Damage) -> None:
        """Note what is not as it should be about a damage that lies there."""
        self.tally.met[damage.how, damage.kind] += 1
        must, quick = set(), set()
        for change in damage.changed.items():
            if exceptions := [name for name, holds in EXCEPTIONS.items() if holds(self.anatomy, change)]:
                self.tally.excepted.update(exceptions)
                continue
            must.add(change[0])
            if quick_sees(self.anatomy, change):
                quick.add(change[0])
        self._check_report(damage, must, quick=False)
        if damage.at is None or damage.kind == "pack" or not damage.how.startswith("random"):  # else it reads the same
            self._check_report(damage, quick, quick=True)
        for name in {model_of(key) or "" for key in damage.changed} if model_of(damage.key) else self.truths:
            self._check_answers(damage, name)

    def _check_report(self, damage: Damage, must: set[str], *, quick: bool) -> None:
        try:
            named, ok = self._verified(damage, quick=quick)
            if must & named and not must <= named:  # what is damaged, too, shows when that is mended
                put_in(self.store, {key: self.objects[key] for key in must & named})
                named |= self._verified(damage, quick=quick)[0]
                put_in(self.store, {key: damage.changed[key] or b"" for key in must & named})
        except Exception as error:  # noqa: BLE001  told, and the next is tried
            self._note(damage, f"verify(quick={quick}) raised {type(error).__name__}: {error}")
            return
        harmless = damage.kind == "catalog" and damage.how == "deleted"
        if not must <= named or (must and ok is not harmless):
            self._note(damage, f"verify(quick={quick}) does not name it, but {sorted(named)}")
        if strangers := [key for key in named - damage.changed.keys() if not _is_beside(key, damage)]:
            self._note(damage, f"verify(quick={quick}) names what is as it was: {sorted(strangers)}")

    def _verified(self, damage: Damage, *, quick: bool) -> tuple[set[str], bool]:
        """The objects that are named, and whether they are said to be harmless."""
        names = {model_of(key) for key in damage.changed}
        one = None if self.whole or len(names) > 1 else names.pop()
        report = self.opened().storage.verify(one, quick=quick)
        return {finding.key for finding in report.findings}, report.ok

    def _check_answers(self, damage: Damage, name: str) -> None:
        registry = self.opened()
        truth = self.truths[name]
        for what, ask in self._asked(registry, name):
            try:
                told = answer(ask)
            except Exception as error:  # noqa: BLE001  told, and the next is tried
                self._note(damage, f"{what}: {type(error).__name__}: {error}")
                continue
            if isinstance(told, mk.ModelkeepError) and not isinstance(truth[what], mk.ModelkeepError):
                self.tally.ends["error"] += 1
                if not (_names(told, damage) or _is_shorter(damage)):
                    self._note(damage, f"{what}: the error names no object: {told!r}")
            elif told == truth[what] or repr(told) == repr(truth[what]):
                self.tally.ends["right"] += 1
            elif self._is_older(damage, what, told, truth, self.refs[name]):
                self.tally.ends["older"] += 1
            else:
                self._note(damage, f"{what}: WRONG: {told!r:.300}")

    def _is_older(self, damage: Damage, what: str, told: Any, truth: dict[str, Any], refs: list[str]) -> bool:
        """Whether an answer is right for a registry without what was deleted; a load gives what its version is."""
        if damage.how != "deleted":
            return False
        if what in refs:
            return ":" not in what and _is_shorter(damage) and told == truth[told[0]]
        lost = {"text": ("versions", "history"), "catalog": ("models",)}.get(damage.kind, ())
        return what in lost or _is_shorter(damage)

    def _note(self, damage: Damage, fault: str) -> None:
        self.tally.faults.append(f"{damage}: {fault}")


def _is_shorter(damage: Damage) -> bool:
    return damage.how == "deleted" and damage.kind in JOURNALS


def _names(error: mk.ModelkeepError, damage: Damage) -> bool:
    return error.facts.get("key") in damage.changed or any(key in str(error) for key in damage.changed)


def _is_beside(key: str, damage: Damage) -> bool:
    """Whether an object may be named beside those that were changed: without an entry a registry says other things."""
    if damage.how != "deleted":
        return damage.kind in JOURNALS and key == f"models/{model_of(key)}/origin.json"
    return damage.kind == "versions" and kind_of(key) in ("pack", "catalog")


@cache
def pristine() -> dict[str, bytes]:
    """The registry, made once in a process."""
    return complete()


Part = Callable[[dict[str, bytes]], Iterator[Damage]]


def parts(objects: dict[str, bytes], bits: int, of_all: int) -> list[Part]:
    """All damages, in parts: so many random bits in each object, and so many over all."""
    found: list[Part] = [partial(systematic, key=key) for key in objects]
    found += [partial(weighted, count=of_all // 40 or 1, seed=seed) for seed in range(40 if of_all else 0)]
    found += [partial(flips, key=key, count=bits) for key in objects if bits]
    return found


# -- the share of the suite ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return Sweep(pristine())


def sample(objects: dict[str, bytes]) -> list[str]:
    """Of each kind of object in each model one."""
    chance, kinds = random.Random(SEED), dict[tuple[str | None, str], list[str]]()
    for key in objects:
        kinds.setdefault((model_of(key), kind_of(key)), []).append(key)
    return [chance.choice(keys) for keys in kinds.values()]


def test_the_registry_has_everything_that_can_lie_in_one_and_is_sound(sweep: Sweep) -> None:
    kinds = {kind_of(key) for key in sweep.objects}
    assert kinds == {"marker", "catalog", "origin.json", "tile", "pack", "text", *JOURNALS}
    depths = {piece.depth() for manifest in sweep.anatomy.read_manifests() for piece in manifest.pieces()}
    assert max(depths) > 1, "chains of differences"
    assert max(len(set(manifest.packs)) for manifest in sweep.anatomy.read_manifests()) > 1
    report = sweep.opened().storage.verify()
    assert (report.findings, report.lost) == ((), ())
    assert report.whole == report.versions == sum(map(len, sweep.anatomy.manifests.values()))


def test_every_way_to_damage_an_object_is_seen_and_nothing_wrong_is_told(sweep: Sweep) -> None:
    sweep.tally = Tally()
    for key in sample(sweep.objects):
        sweep.run(systematic(sweep.objects, key))
    assert sweep.tally.faults == []
    assert len({how for how, _ in sweep.tally.met}) == WAYS
    assert sweep.tally.ends["error"] > 0 < sweep.tally.ends["right"]


def test_random_flips_are_seen_and_nothing_wrong_is_told(sweep: Sweep) -> None:
    sweep.tally = Tally()
    sweep.run(weighted(sweep.objects, FLIPS, SEED))
    for key in sample(sweep.objects)[::3]:
        sweep.run(flips(sweep.objects, key, 2))
    assert sweep.tally.faults == []


def _where(registry: Anatomy, name: str) -> dict[str, bytes | None]:
    """A change that an exception is about."""
    objects = registry.objects
    tile = next(key for key in objects if kind_of(key) == "tile")
    text = next(key for key in objects if kind_of(key) == "text")
    if name == "bytes changed that no version needs":
        key = min(key for key in registry.with_leavings & objects.keys() if registry.has_leavings(key))
        return {key: objects[key] + b"\0"}
    changes: dict[str, dict[str, bytes | None]] = {
        "the newest entry of a journal is gone, and no other journal has seen it": {max(registry.unseen): None},
        "a tile is gone": {tile: None},
        "a tile unpacks to the same entries": {tile: _packed_otherwise(objects[tile])},
        "a text is gone": {text: None},
        "two empty markers changed places": {"catalog/churn": b"", "catalog/guest": b""},
    }
    return changes[name]


def _packed_otherwise(tile: bytes) -> bytes:
    """The same entries in two frames."""
    plain = zstd.decompress(tile, 1 << 30)
    return zstd.compress(plain[:1000]) + zstd.compress(plain[1000:])


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_is_not_seen_and_tells_nothing_wrong(sweep: Sweep, name: str) -> None:
    changed = _where(sweep.anatomy, name)
    assert all(EXCEPTIONS[name](sweep.anatomy, change) for change in changed.items())
    sweep.tally = Tally()
    damage = Damage("deleted" if None in changed.values() else "changed", changed)
    sweep.run([damage])
    assert sweep.tally.faults == []
    with sweep.damaged(damage):
        assert sweep.opened().storage.verify().findings == ()


def test_the_list_of_exceptions_on_the_page_is_the_same() -> None:
    page = (Path(__file__).parent.parent / "docs/how-to/damage.md").read_text(encoding="utf-8")
    listed = page.partition("## What it cannot see")[2].partition("\n## ")[0]
    assert [line[2:].partition(":")[0] for line in listed.splitlines() if line.startswith("- ")] == list(EXCEPTIONS)


# -- the long run ----------------------------------------------------------------------------------------------


def main() -> int:
    """Damage as often as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--flips", type=int, default=10_000, help="random bits over all objects, by size")
    options.add_argument("--bits", type=int, default=BITS, help="random bits in each object")
    options.add_argument("--jobs", type=int, default=1, help="processes")
    chosen = options.parse_args()
    objects = pristine()
    todo = parts(objects, chosen.bits, chosen.flips)
    total, began = Tally(), time.monotonic()
    with ProcessPoolExecutor(chosen.jobs, initializer=_prepare, initargs=(objects,)) as pool:
        for number, tally in enumerate(pool.map(_swept, todo), 1):
            total.add(tally)
            if number % 20 == 0:
                done = f"{number} of {len(todo)} parts, {total.met.total()} damages, {len(total.faults)} faults"
                sys.stderr.write(f"{done}, {time.monotonic() - began:.0f} s\n")
    sys.stdout.write(f"{total}\n")
    return 1 if total.faults else 0


_sweeps: list[Sweep] = []  # of this process


def _prepare(objects: dict[str, bytes]) -> None:
    _sweeps.append(Sweep(objects))


def _swept(part: Part) -> Tally:
    sweep = _sweeps[0]
    sweep.tally = Tally()
    sweep.run(part(sweep.objects))
    return sweep.tally


if __name__ == "__main__":
    sys.exit(main())
