"""A process is killed before a call, another one goes on at the same disk, and then the power is cut.

A kill takes nothing from the disk: what the first process wrote and did not sync is seen by the second one, which
builds on it. The cut may take it then, but not what the second process was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

import modelkeep as mk
from powercut.aftermath import told
from powercut.disk import Call, Entered, replayed
from powercut.mount import mounted
from powercut.scenario import REGISTRY, STEPS, Cut, Facts, Step, collect, compact, cuts, promote, save, tag
from powercut.survivors import left_open

SECOND: dict[str, Callable[[int], Step]] = {
    "save": lambda _: save(50),
    "promote": promote,
    "tag": tag,
    "compact": lambda _: compact(),
    "collect": lambda _: collect(),
}


def kills(calls: Sequence[Call], steps: Sequence[Step] = STEPS) -> list[Cut]:
    """Where kills leave names on the disk that are not synced: elsewhere the next process sees what a cut left too."""
    return [
        one
        for one in cuts(calls, steps)
        if one.at and isinstance(calls[one.at - 1], Entered) and left_open(replayed(calls[: one.at])).choices
    ]


@attrs.frozen
class Relay:
    """What two processes did, one after the other, and the cuts during what the second one did."""

    calls: Sequence[Call]
    cuts: Sequence[Cut]


def relay(calls: Sequence[Call], kill: Cut, second: str, below: Path) -> Relay:
    """Kill the first process before a call, and let the second one do a step on the disk as it is then."""
    with mounted(below, before=calls[: kill.at]) as mount:
        registry = mk.Registry(mount.root / REGISTRY, cache=False)
        met = told(registry) if (mount.root / REGISTRY / "modelkeep.json").exists() else Facts()
        if met.saved or second == "save":
            SECOND[second](max(set(met.saved) - met.purged - met.deleted, default=0)).act(registry)
        mount.mark("end []")
        ended = told(mk.Registry(mount.root / REGISTRY, cache=False)) if met.saved or second == "save" else met
        both = mount.calls()
    end = max(at for at, call in enumerate(both) if str(call) == "mark end []")
    return Relay(
        both, list(_cuts(both, kill, f"{kill.name}, killed before call {kill.at}, then {second}", met, ended, end))
    )


def _cuts(calls: Sequence[Call], kill: Cut, name: str, met: Facts, ended: Facts, end: int) -> Iterator[Cut]:
    alone = list(_without(kill.may_be[0], met, ended))
    for at in range(kill.at, end + 2):
        before = (kill.may_be[0], met, ended, *alone)
        call = str(calls[at]) if at < end else "the end"
        # who only looked was told nothing: then what nobody was told of may still be taken
        yield Cut(at, call, name, before if at <= end else (*alone, ended), kill.gone)


def _without(acknowledged: Facts, met: Facts, ended: Facts) -> Iterator[Facts]:
    """What the registry may say if the cut took what the first process was not told; not if the second built on it."""
    old = {
        field.name: getattr(acknowledged, field.name)
        for field in attrs.fields(Facts)
        if getattr(ended, field.name) == getattr(met, field.name)
    }
    found = attrs.evolve(ended, **old)
    if {*found.aliases.values(), *found.tags, *found.words, *found.purged, *found.reviews} <= {*found.saved}:
        yield found
