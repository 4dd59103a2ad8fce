"""Sixteen processes race for 200 keys of a folder: each key has exactly one winner.

``python tests/test_races.py --runs 10`` races ten times; ``MODELKEEP_RACES=10`` does so within the suite.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from modelkeep.stores.local import LocalStore
from modelkeep.testing.stores import race, value_of

PROCESSES = 16
KEYS = [f"models/churn/versions/{number:020d}.json" for number in range(1, 201)]
RUNS = int(os.environ.get("MODELKEEP_RACES", "1"))


def faults_of_race(root: Path, *, durable: bool = False) -> list[str]:
    """Race once in the new folder *root* and say what is wrong, a line for each fault."""
    reopen = partial(LocalStore, root, durable=durable)
    winners = race(reopen, KEYS, processes=PROCESSES)
    store = reopen()
    faults = [f"{key}: won by {won}" for key, won in winners.items() if len(won) != 1]
    faults += [
        f"{key}: does not hold what its winner wrote"
        for key, won in winners.items()
        if store.get(key) not in [value_of(key, number) for number in won]
    ]
    if [facts.key for facts in store.list("")] != KEYS:
        faults.append("the listing is not exactly the keys")
    faults += [f"{left.name} was left behind" for left in root.rglob(".*")]
    return faults


@pytest.mark.parametrize("run", range(RUNS))
def test_of_16_processes_exactly_one_wins_each_of_200_keys(tmp_path: Path, run: int) -> None:
    assert faults_of_race(tmp_path / str(run)) == []


def main() -> int:
    """Race as often as the command line says; the exit status is 1 if any key had not exactly one winner."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1, help="how often to race")
    options.add_argument("--durable", action="store_true", help="wait for the disk, as registries do")
    options.add_argument("--below", type=Path, help="a folder on the disk to race on")
    chosen = options.parse_args()
    broken = 0
    for run in range(1, chosen.runs + 1):
        with tempfile.TemporaryDirectory(dir=chosen.below) as folder:
            began = time.perf_counter()
            faults = faults_of_race(Path(folder) / "models", durable=chosen.durable)
            took = time.perf_counter() - began
        broken += bool(faults)
        verdict = "\n  ".join(["FAULTS", *faults]) if faults else "one winner for each key"
        sys.stdout.write(f"run {run}: {PROCESSES} processes, {len(KEYS)} keys, {took:.1f} s: {verdict}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
