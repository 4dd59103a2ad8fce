"""``python -m modelkeep.testing.simulate``: run schedules, replay one, or check that planted faults are caught."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from modelkeep.testing.simulate import Outcome, run
from modelkeep.testing.simulate.planted import PLANTED, Planted

_BATCH = 250  # schedules that a worker runs at a time


def _batch(seeds: range) -> tuple[int, int, int, int, int, list[Outcome]]:
    steps = faults = entries = saves = 0
    broken = []
    for seed in seeds:
        outcome = run(seed)
        steps, faults = steps + outcome.steps, faults + outcome.faults
        entries, saves = entries + outcome.entries, saves + outcome.saves
        if outcome.violation:
            broken.append(outcome)
    return len(seeds), steps, faults, entries, saves, broken


def _batches(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, _BATCH):
        yield range(start, min(start + _BATCH, first + count))


def sweep(first: int, count: int, jobs: int) -> int:
    """Run *count* schedules from seed *first* on and print what came of them; the number of violations."""
    totals = [0, 0, 0, 0, 0]
    broken: list[Outcome] = []
    with ProcessPoolExecutor(jobs) as pool:
        for *numbers, failed in pool.map(_batch, _batches(first, count)):
            totals = [total + int(number) for total, number in zip(totals, numbers, strict=True)]
            broken += failed
            for outcome in failed:
                print(f"seed {outcome.seed}: {outcome.violation}")
    schedules, steps, faults, entries, saves = totals
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


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m modelkeep.testing.simulate", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes to use")
    parser.add_argument("--seed", type=int, help="replay this schedule alone")
    parser.add_argument("--planted", action="store_true", help="check that the planted faults are caught")
    options = parser.parse_args(arguments)
    if options.planted:
        return 1 if _hunt_all(max(options.schedules, 10_000)) else 0
    if options.seed is not None:
        print(outcome := run(options.seed))
        return 1 if outcome.violation else 0
    return 1 if sweep(options.first, options.schedules, options.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
