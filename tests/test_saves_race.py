"""Eight processes save 25 versions each of one model: 1 to 200, none missing, none twice, no error.

``python tests/test_saves_race.py --runs 10 --on moto`` races ten times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

import modelkeep as mk
from servers import running
from servers.running import Server
from servers.sites import Site

PROCESSES = 8
SAVES = 25
SERVERS = {"moto": running.moto, "seaweedfs": running.seaweedfs, "gcs": running.gcs_fake}
RUNS = int(os.environ.get("MODELKEEP_RACES", "1"))

SAVER = """
import json, sys
import numpy as np
import modelkeep as mk
place, options, own, saves = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
registry = mk.Registry(place, storage_options=options, durable=False)
registry.models()  # connected
print("ready", flush=True)
sys.stdin.readline()
for n in range(saves):
    version = registry.save({"w": np.array([own, n])}, "churn", params={"own": own, "n": n})
    print(version.number, own, n, flush=True)
"""


@attrs.frozen
class Place:
    """Where a registry is to be, and how to get there."""

    url: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def open(self) -> mk.Registry:
        return mk.Registry(self.url, storage_options=self.options)


def remote(server: Server, bucket: str) -> Place:
    return Place(f"{server.protocol}://{bucket}/saves-{uuid.uuid4().hex}", server.options)


def race(place: Place, saves: int) -> tuple[dict[int, tuple[int, int]], list[str], float]:
    """Let all processes save at once; what each number was given to, what went wrong, and how long it took."""
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, place.url, json.dumps(place.options), str(own), str(saves)],
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
        said, wrong = saver.communicate(timeout=1800)
        if wrong or saver.returncode:
            faults.append(wrong.strip() or f"a process ended with {saver.returncode}")
        for line in said.splitlines():
            number, own, n = map(int, line.split())
            if number in saved:
                faults.append(f"version {number} was given to {saved[number]} and {(own, n)}")
            saved[number] = own, n
    return saved, faults, time.perf_counter() - began


def faults_of_race(place: Place, saves: int = SAVES) -> tuple[list[str], float]:
    """Race once at the new *place* and say what is wrong, a line for each fault."""
    saved, faults, took = race(place, saves)
    if sorted(saved) != list(range(1, PROCESSES * saves + 1)):
        faults.append(f"the numbers are {sorted(saved)}")
    registry = place.open()
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
    faults, _ = faults_of_race(Place(str(tmp_path / str(run))))
    assert faults == []


@pytest.mark.parametrize("name", SERVERS)
def test_eight_processes_save_consecutive_versions_in_a_bucket(request: pytest.FixtureRequest, name: str) -> None:
    # fewer than the script has
    site: Site = request.getfixturevalue(f"{name}_site")
    faults, _ = faults_of_race(remote(site.server, site.bucket), saves=3)
    assert faults == []


@contextmanager
def places(name: str, below: Path | None) -> Iterator[Callable[[], Place]]:
    """Gives a new and empty place for each race."""
    if name == "local":
        with tempfile.TemporaryDirectory(dir=below) as folder:
            yield lambda: Place(str(Path(folder) / uuid.uuid4().hex))
        return
    with SERVERS[name]() as server:
        server.bucket("saves")
        yield partial(remote, server, "saves")


def main() -> int:
    """Race as often as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1, help="how often to race")
    options.add_argument("--on", choices=["local", *SERVERS], default="local", help="where to race")
    options.add_argument("--below", type=Path, help="a folder on the disk to race on")
    chosen = options.parse_args()
    broken = 0
    with places(chosen.on, chosen.below) as fresh:
        for run in range(1, chosen.runs + 1):
            faults, took = faults_of_race(fresh())
            broken += bool(faults)
            verdict = "\n  ".join(["FAULTS", *faults]) if faults else f"1 to {PROCESSES * SAVES}, consecutive"
            sys.stdout.write(f"{chosen.on}, run {run}: {PROCESSES} x {SAVES} saves, {took:.1f} s: {verdict}\n")
            sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
