"""Eight processes save 25 versions each of one model: 1 to 200, none missing, none twice, no error.

``python tests/test_saves_race.py --runs 10`` races ten times.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import modelkeep as mk

PROCESSES = 8
SAVES = 25
RUNS = int(os.environ.get("MODELKEEP_RACES", "1"))

SAVER = """
import sys
import numpy as np
import modelkeep as mk
place, own, saves = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
registry = mk.Registry(place, durable=False)
print("ready", flush=True)
sys.stdin.readline()
for n in range(saves):
    version = registry.save({"w": np.array([own, n])}, "churn", params={"own": own, "n": n})
    print(version.number, own, n, flush=True)
"""


def race(place: Path) -> tuple[dict[int, tuple[int, int]], list[str], float]:
    """Let all processes save at once; what each number was given to, what went wrong, and how long it took."""
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, str(place), str(own), str(SAVES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for own in range(PROCESSES)
    ]
    for saver in savers:
        assert saver.stdout is not None
        saver.stdout.readline()
    began = time.perf_counter()
    for saver in savers:
        assert saver.stdin is not None
        saver.stdin.write("go\n")
        saver.stdin.flush()
    saved: dict[int, tuple[int, int]] = {}
    faults: list[str] = []
    for saver in savers:
        said, wrong = saver.communicate(timeout=300)
        if wrong or saver.returncode:
            faults.append(wrong.strip() or f"a process ended with {saver.returncode}")
        for line in said.splitlines():
            number, own, n = map(int, line.split())
            if number in saved:
                faults.append(f"version {number} was given to {saved[number]} and {(own, n)}")
            saved[number] = own, n
    return saved, faults, time.perf_counter() - began


def faults_of_race(place: Path) -> tuple[list[str], float]:
    """Race once in the new folder *place* and say what is wrong, a line for each fault."""
    saved, faults, took = race(place)
    if sorted(saved) != list(range(1, PROCESSES * SAVES + 1)):
        faults.append(f"the numbers are {sorted(saved)}")
    registry = mk.Registry(place)
    listed = {version.number: version for version in registry.model("churn").versions()}
    if set(listed) != set(saved):
        faults.append(f"acknowledged are {len(saved)} versions, and {len(listed)} are listed")
    faults += [
        f"version {number} is not what was saved"
        for number, (own, n) in saved.items()
        if number in listed
        and (listed[number].params != {"own": own, "n": n} or not np.array_equal(listed[number].load()["w"], [own, n]))
    ]
    faults += [str(finding) for finding in registry.storage.verify().findings]
    return faults, took


@pytest.mark.parametrize("run", range(RUNS))
def test_eight_processes_save_200_consecutive_versions(tmp_path: Path, run: int) -> None:
    faults, _ = faults_of_race(tmp_path / str(run))
    assert faults == []


def main() -> int:
    """Race as often as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1, help="how often to race")
    options.add_argument("--below", type=Path, help="a folder on the disk to race on")
    chosen = options.parse_args()
    broken = 0
    for run in range(1, chosen.runs + 1):
        with tempfile.TemporaryDirectory(dir=chosen.below) as folder:
            faults, took = faults_of_race(Path(folder) / "models")
        broken += bool(faults)
        verdict = "\n  ".join(["FAULTS", *faults]) if faults else f"1 to {PROCESSES * SAVES}, consecutive"
        sys.stdout.write(f"run {run}: {PROCESSES} processes, {SAVES} saves each, {took:.1f} s: {verdict}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
