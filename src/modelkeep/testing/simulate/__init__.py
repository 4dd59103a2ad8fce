"""A simulator for registries: several actors, one store, faults at every call, and an oracle that reads along.

It drives the shipped code through the store port. Everything in a schedule follows from its seed, so a failure is
replayed by its number. At the end a search looks for an order of all operations on each journal that explains what
users were told. Apart from chance, all ways in which two operations can meet are gone through, pair by pair::

    python -m modelkeep.testing.simulate --schedules 10000 --jobs 2
    python -m modelkeep.testing.simulate --seed 4711
    python -m modelkeep.testing.simulate --planted
    python -m modelkeep.testing.simulate --pairs

Needs the extra ``simulate`` (greenlet).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import attrs
import greenlet

from modelkeep.testing.simulate.actors import Play
from modelkeep.testing.simulate.ending import check_end
from modelkeep.testing.simulate.history import History
from modelkeep.testing.simulate.linearizable import Judgement, judge
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.small import parsed_once, small
from modelkeep.testing.simulate.truth import silent
from modelkeep.testing.simulate.world import Violation, World


@attrs.frozen
class Outcome:
    """What one schedule came to.

    Args:
        seed: replays it.
        violation: the promise that was broken, or None.
        steps: storage calls made.
        faults: calls that went wrong.
        entries: journal entries written.
        saves: saves that were acknowledged, variants and runs that failed too.
        shared: versions that need packs of other saves.
        variants: variants that were added.
        drafts: runs that failed and were kept.
        gated: promotions that a policy asked something of.
        refused: those that it refused.
        moved: versions that were stored anew elsewhere.
        turned: those of them that were stored by what they differ by from others.
        purged: versions that were purged.
        swept: condemned packs that were deleted.
        ordered: operations for which the search found an order.
        given_up: searches that were given up.
    """

    seed: int
    violation: str | None
    steps: int
    faults: int
    entries: int
    saves: int
    shared: int
    variants: int
    drafts: int
    gated: int
    refused: int
    moved: int
    turned: int
    purged: int
    swept: int
    ordered: int
    given_up: int


def run(
    seed: int,
    plant: Callable[[], AbstractContextManager[object]] = nullcontext,
    *,
    overwrites: bool = False,
    search_alone: bool = False,
) -> Outcome:
    """Run the schedule of *seed*.

    Args:
        seed: any number from 0 on; every fourth schedule has no faults.
        plant: puts a fault into the library while the schedule runs.
        overwrites: use a store without create-if-absent.
        search_alone: have nothing judged but by the search over the history.
    """
    oracle, history = Oracle(), History()
    world = World(seed, oracle.watch, oracle.watch_delete, oracle.attempt, overwrites=overwrites, silent=search_alone)
    oracle.world = world
    with parsed_once(), small(many_packs=world.stores and seed % 2 == 1), plant(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with silent() if search_alone else nullcontext():
            plays, steps = _play(world, oracle, history)
    found = judge(history) if search_alone or not world.violations else Judgement(None, 0, 0)
    broken = found.broken if search_alone else str(world.violations[0]) if world.violations else found.broken
    saves = sum(len(play.acknowledged) for play in plays)
    told = (oracle.entries, saves, oracle.shared, oracle.variants, oracle.drafts)
    ruled = (oracle.gated, oracle.refused, oracle.moved, oracle.turned)
    gone = (oracle.purges, oracle.swept)
    return Outcome(seed, broken, steps, world.faults, *told, *ruled, *gone, found.operations, found.given_up)


def _play(world: World, oracle: Oracle, history: History) -> tuple[list[Play], int]:
    """Let actors play and look at the end; the actors, and how many storage calls they made."""
    names = ["a", "b"][: 1 if world.directed else world.random.choice([1, 1, 2])]
    plays = [Play(world, oracle, history, index, names) for index in range(world.random.randint(2, 6))]
    world.run()
    steps = world.step
    if not world.violations:
        try:
            check_end(world, oracle, history, plays)
        except Violation as found:
            world.violations.append(found)
        except Exception:
            if not world.silent:
                raise
    for play in plays:
        if play.actor.greenlet and not play.actor.greenlet.dead:
            play.actor.greenlet.throw(greenlet.GreenletExit)
    return plays, steps
