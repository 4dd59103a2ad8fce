"""A process that saves is killed (kill -9) at random moments; what it leaves is complete, and takes the next save.

``python tests/test_crash.py --kills 200`` kills 200 times and tells how many kills fell into a save.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import UnknownModelError

KILLS = int(os.environ.get("MODELKEEP_KILLS", "15"))
LONGEST = 0.05  # seconds that the victim lives after its first mark; some ten saves
SIZE = 400_000  # numbers of 8 bytes: writing and syncing them is most of a save, and most of the victim's life

# Marks lie outside the registry: "b" is written right before a save, "e" right after. A write to a file without a
# buffer is in the page cache when it returns, so a kill does not lose it.
VICTIM = """
import os, sys
import numpy as np
import modelkeep as mk
place, marks, size, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
registry = mk.Registry(place, durable=sys.argv[5] == "durable")
mark = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
print("ready", flush=True)
n = 0
while True:
    n += 1
    model = {"big": np.full(size, seed + n, dtype=np.int64), "own": np.array([seed, n])}
    model["frozen"] = np.arange(20_000)  # 160 KB that all versions share
    os.write(mark, b"b%d\\n" % n)
    version = registry.save(model, "churn", params={"seed": seed, "n": n}, bump="patch")
    os.write(mark, b"e%d %d\\n" % (n, version.number))
    if n % 3 == 0:
        version.promote("production", reason="newer")
"""


@attrs.frozen
class Kill:
    """What a kill met: the saves that were acknowledged before it, and whether one was under way."""

    acknowledged: dict[int, int]
    within: bool


def kill_once(place: Path, marks: Path, seed: int, delay: float, *, durable: bool) -> Kill:
    """Let a victim save to *place* and kill it *delay* seconds after it began."""
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(place), str(marks), str(SIZE), str(seed), "durable" if durable else "not"],
        stdout=subprocess.PIPE,
    )
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n", "the victim died by itself"
        time.sleep(delay)
        assert victim.poll() is None, "the victim died by itself"
    finally:
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
    lines = marks.read_text().splitlines() if marks.exists() else []
    marks.unlink(missing_ok=True)
    acknowledged = {int(number): int(n) for n, number in (line[1:].split() for line in lines if line[0] == "e")}
    return Kill(acknowledged, bool(lines) and lines[-1][0] == "b")


def listed(registry: mk.Registry) -> dict[int, mk.ModelVersion]:
    """The versions by number; none if the first save was never acknowledged."""
    try:
        return {version.number: version for version in registry.model("churn").versions()}
    except UnknownModelError:
        return {}


def faults_after(place: Path, seed: int, kill: Kill, known: dict[int, tuple[int, int]]) -> list[str]:
    """What is wrong with what a kill left; *known* tells which versions stood before, and is brought up to date."""
    if not (place / "modelkeep.json").exists():
        return [] if not kill.acknowledged else ["an acknowledged registry is gone"]
    faults = []
    registry = mk.Registry(place, durable=False)
    before = dict(known)
    known.update({number: (seed, n) for number, n in kill.acknowledged.items()})
    versions = listed(registry)
    if sorted(versions) != list(range(1, len(versions) + 1)):
        faults.append(f"the numbers are {sorted(versions)}")
    faults += [f"version {number} was acknowledged and is gone" for number in known if number not in versions]
    for number, version in versions.items():
        if number in before:
            continue  # it was loaded after an earlier kill; verify reads its bytes again
        loaded = version.load()
        own = tuple(int(part) for part in loaded["own"])
        if known.setdefault(number, (own[0], own[1])) != own or not (loaded["big"] == sum(own)).all():
            faults.append(f"version {number} is not what was saved")
        if version.params != {"seed": own[0], "n": own[1]}:
            faults.append(f"version {number} has other parameters")
        if not np.array_equal(loaded["frozen"], np.arange(20_000)):
            faults.append(f"version {number} has other shared bytes")
    faults += [
        str(finding) for finding in registry.storage.verify().findings if finding.kind not in ("leftover", "unlisted")
    ]
    model = {"big": np.full(3, seed), "own": np.array([seed, 0]), "frozen": np.arange(20_000)}
    following = registry.save(model, "churn", params={"seed": seed, "n": 0})
    if versions and following.files[0].shared == 0:
        faults.append(f"version {following.number} shares nothing")
    if following.number != len(versions) + 1:
        faults.append(f"the next save got number {following.number} after {len(versions)} versions")
    known[following.number] = (seed, 0)
    return faults


@attrs.define
class Campaign:
    """Many kills, one after another, in registries that are begun anew now and then."""

    below: Path
    seed: int
    durable: bool
    kills: int = 0
    within: int = 0
    faults: list[str] = attrs.Factory(list)

    def run(self, count: int) -> None:
        """Kill *count* times."""
        chance = random.Random(self.seed)
        known: dict[int, tuple[int, int]] = {}
        place = self.below / "registry-0"
        for kill in range(count):
            if kill % 5 == 0:  # so that first saves are killed too, and verifying stays short
                place, known = self.below / f"registry-{kill}", {}
            delay = chance.uniform(0, LONGEST) if kill % 5 else chance.uniform(0, LONGEST / 3)
            met = kill_once(place, self.below / "marks", 1000 * (kill + 1), delay, durable=self.durable)
            self.kills += 1
            self.within += met.within
            self.faults += [f"kill {kill}: {f}" for f in faults_after(place, 1000 * (kill + 1), met, known)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "not durable"])
def test_a_save_that_is_killed_leaves_complete_versions_only_and_the_next_save_works(
    tmp_path: Path, durable: bool
) -> None:
    campaign = Campaign(tmp_path, seed=7, durable=durable)
    campaign.run(KILLS)
    assert campaign.faults == []
    assert campaign.within >= KILLS // 3, f"only {campaign.within} of {KILLS} kills fell into a save"


def main() -> int:
    """Kill as often as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200, help="how often to kill")
    options.add_argument("--seed", type=int, default=1, help="for the random moments")
    options.add_argument("--scratch", action="store_true", help="do not wait for the disk")
    options.add_argument("--below", type=Path, help="a folder on the disk to use")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.below) as folder:
        campaign = Campaign(Path(folder), chosen.seed, durable=not chosen.scratch)
        campaign.run(chosen.kills)
    verdict = "\n  ".join(["FAULTS", *campaign.faults]) if campaign.faults else "all versions complete"
    sys.stdout.write(f"{campaign.kills} kills, {campaign.within} of them within a save: {verdict}\n")
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
