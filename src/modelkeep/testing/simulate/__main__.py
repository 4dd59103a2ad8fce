"""``python -m modelkeep.testing.simulate``: run schedules, replay one, check planted faults, go through all pairs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice

from modelkeep.testing.simulate import Outcome, run
from modelkeep.testing.simulate.pairs import MOST, PAIRS, Met, Warm, meet, warm
from modelkeep.testing.simulate.planted import PLANTED, Planted

_BATCH = 250  # schedules that a worker runs at a time
_TELL = 20_000  # schedules after which a word is said


def _batch(seeds: range) -> tuple[int, int, int, int, int, int, list[Outcome]]:
    steps = faults = entries = saves = given_up = 0
    broken = []
    for seed in seeds:
        outcome = run(seed)
        steps, faults = steps + outcome.steps, faults + outcome.faults
        entries, saves = entries + outcome.entries, saves + outcome.saves
        given_up += outcome.given_up
        if outcome.violation:
            broken.append(outcome)
    return len(seeds), steps, faults, entries, saves, given_up, broken


def _batches(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, _BATCH):
        yield range(start, min(start + _BATCH, first + count))


def sweep(first: int, count: int, jobs: int) -> int:
    """Run *count* schedules from seed *first* on and print what came of them; the number of violations."""
    totals = [0, 0, 0, 0, 0, 0]
    broken: list[Outcome] = []
    with ProcessPoolExecutor(jobs) as pool:
        for *numbers, failed in pool.map(_batch, _batches(first, count)):
            totals = [total + int(number) for total, number in zip(totals, numbers, strict=True)]
            broken += failed
            for outcome in failed:
                print(f"seed {outcome.seed}: {outcome.violation}")
            if totals[0] % _TELL == 0 and totals[0] < count:
                print(f"{totals[0]:,} of {count:,} schedules, {len(broken)} violations", file=sys.stderr, flush=True)
    schedules, steps, faults, entries, saves, given_up = totals
    if given_up:
        print(f"{given_up} searches over histories were given up; these were judged answer by answer alone")
    print(
        f"{schedules:,} schedules from seed {first}: {steps:,} storage calls, {faults:,} faults, {entries:,} entries, "
        f"{saves:,} saves acknowledged, {len(broken)} violations"
    )
    return len(broken)


def hunt(planted: Planted, limit: int) -> Outcome | None:
    """The first schedule that catches a planted fault, of at most *limit*."""
    outcomes: Iterable[Outcome] = (run(seed, planted.plant, overwrites=planted.overwrites) for seed in range(limit))
    return next((outcome for outcome in islice(outcomes, limit) if outcome.violation), None)


def _hunt_all(limit: int) -> int:
    missed = 0
    for planted in PLANTED:
        outcome = hunt(planted, limit)
        missed += outcome is None
        found = f"seed {outcome.seed}: {outcome.violation}" if outcome else f"NOT caught in {limit:,} schedules"
        print(f"{planted.name} ({planted.wrong}): {found}")
    print(f"{len(PLANTED) - missed} of {len(PLANTED)} planted faults caught")
    return missed


def meet_all(pairs: Sequence[tuple[str, str]], jobs: int, most: int) -> int:
    """Let every pair of operations meet in all orders and print what came of it; the number of violations."""
    found: list[Met] = []
    with ProcessPoolExecutor(jobs, initializer=_make) as pool:
        for met in pool.map(partial(_meet, most), pairs):
            found.append(met)
            if met.violation:
                print(f"{' x '.join(met.pair)}: {met.violation}")
            if met.interruptions is not None or not met.complete:
                print(_cut(met))
            if len(found) % 20 == 0 and len(found) < len(pairs):
                print(f"{len(found)} of {len(pairs)} pairs", file=sys.stderr, flush=True)
    print(_summed(found))
    return sum(met.violation is not None for met in found)


_ready: list[Warm] = []


def _make() -> None:
    _ready[:] = [warm()]


def _meet(most: int, pair: tuple[str, str]) -> Met:
    return meet(_ready[0], pair, most=most)


def _cut(met: Met) -> str:
    within = (
        f"all orders with at most {met.interruptions} interruption" if met.complete else "no kind of order as a whole"
    )
    return f"{' x '.join(met.pair)}: cut after {met.executions} executions of some {met.orders:.1e} orders; {within}"


def _summed(found: Sequence[Met]) -> str:
    whole = [met for met in found if met.interruptions is None and met.complete]
    counted = [met for met in found if met.counted]
    guessed = [met for met in whole if not met.counted]
    return (
        f"{len(found)} pairs, {sum(met.executions for met in found):,} executions, "
        f"{sum(met.calls for met in found):,} storage calls, {sum(met.states for met in found):,} outcomes; "
        f"{len(whole)} pairs in all orders, {len(found) - len(whole)} cut; reduced: "
        f"{sum(met.executions for met in counted):,} for {sum(met.orders for met in counted):,} orders, all of them "
        f"run and with the same outcomes, in {len(counted)} pairs, and {sum(met.executions for met in guessed):,} "
        f"for an estimated {sum(met.orders for met in guessed):.0e} in {len(guessed)}; "
        f"{sum(met.violation is not None for met in found)} violations"
    )


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m modelkeep.testing.simulate", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes to use")
    parser.add_argument("--seed", type=int, help="replay this schedule alone")
    parser.add_argument("--planted", action="store_true", help="check that the planted faults are caught")
    parser.add_argument("--pairs", action="store_true", help="let each two operations meet in all orders")
    parser.add_argument("--most", type=int, default=MOST, help="executions of a pair, before it is cut")
    options = parser.parse_args(arguments)
    if options.pairs:
        return 1 if meet_all(PAIRS, options.jobs, options.most) else 0
    if options.planted:
        return 1 if _hunt_all(max(options.schedules, 10_000)) else 0
    if options.seed is not None:
        print(outcome := run(options.seed))
        return 1 if outcome.violation else 0
    return 1 if sweep(options.first, options.schedules, options.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
