"""Writers, readers, a compactor and collectors at work on one registry: nobody ever reads a wrong byte, or is stuck.

``python tests/test_traffic.py --minutes 10 --on seaweedfs`` lets 4 writers, 4 readers, 1 compactor and 2 collectors
work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

import modelkeep as mk
from servers.sites import Site
from test_saves_race import SERVERS, Place, places, remote
from truth import NAME, Truth, facts, made, same

ALL = {"writer": 4, "reader": 4, "compactor": 1, "collector": 2}
FEW = {"writer": 2, "reader": 2, "compactor": 1, "collector": 1}
SECONDS = float(os.environ.get("MODELKEEP_TRAFFIC", "2"))
STUCK = 60  # seconds; no save may take so long
POLICY = "[retention]\nlast = 6\naliased = false\nlabelled = false"
RULE = "not among the newest 6"


@attrs.define
class Traffic:
    """What all workers did, and what was wrong."""

    counts: Counter[str] = attrs.Factory(Counter)
    errors: Counter[str] = attrs.Factory(Counter)
    faults: list[str] = attrs.Factory(list)
    saved: dict[int, tuple[int, int]] = attrs.Factory(dict)
    gone: dict[int, set[str]] = attrs.Factory(dict)
    longest: list[float] = attrs.Factory(list)

    def hear(self, role: str, own: int, report: dict[str, Any]) -> None:
        """Add up what one worker reports."""
        self.counts.update(report["counts"])
        self.errors.update(report["errors"])
        self.faults += [f"{role} {own}: {fault}" for fault in report["faults"]]
        for number, n in report["saved"]:
            if number in self.saved:
                self.faults.append(f"version {number} was given twice")
            self.saved[number] = own, n
        for number, how in report["gone"]:
            self.gone.setdefault(number, set()).add(how)
        if role == "writer":
            self.longest.append(report["longest"])
            if report["longest"] > STUCK or not report["saved"]:
                self.faults.append(f"writer {own} was stuck: {len(report['saved'])} saves, {report['longest']:.0f} s")

    def look(self, truth: Truth) -> None:
        """What is wrong with what lies there when all have ended, and after one more compaction and collection."""
        (done,) = truth.registry.storage.compact(NAME, rollbacks=0).models
        self.counts["versions moved"] += len(done.moved)
        self.faults += [f"a quiet compaction left version {number}: {why}" for number, why in done.left]
        truth = truth.anew()
        self.faults += truth.faults_when_quiet()
        truth = truth.anew()
        self.faults += truth.faults(self.saved, RULE)
        self.counts["purged"] = len(truth.purged())
        events = {(event.version, event.action) for event in truth.registry.model(NAME).history()}
        for number, hows in self.gone.items():
            self.faults += [f"version {number}: no {how} was ever done" for how in hows if (number, how) not in events]
        found, wanted = truth.kept(last=6)
        if found != wanted:
            self.faults.append(f"versions {sorted(found)} are left, and {sorted(wanted)} should be")

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        errors = ", ".join(f"{name} {count}" for name, count in sorted(self.errors.items())) or "none"
        longest = ", ".join(f"{seconds:.2f}" for seconds in self.longest)
        verdict = "\n  ".join(["FAULTS", *self.faults]) if self.faults else "all as it should be"
        return f"{counts}; longest save of each writer: {longest} s; errors: {errors}: {verdict}"


def busy(place: Place, seconds: float, workers: dict[str, int]) -> Traffic:
    """Let all work for so many seconds, then look."""
    truth = Truth.of(place)
    truth.registry.policy.set(POLICY)
    first = truth.registry.save(made(0, 0), NAME, params=facts(0, 0))
    started: list[tuple[str, int, Any]] = []
    for role, count in workers.items():
        for _ in range(count):
            own = len(started) + 1
            script = str(Path(__file__).with_name("traffic.py"))
            command = [sys.executable, script, role, str(own), place.url, json.dumps(place.options)]
            pipe = subprocess.PIPE
            started.append((role, own, subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe)))
    for _, _, worker in started:
        worker.stdout.readline()
    for _, _, worker in started:
        worker.stdin.write(f"{seconds}\n")
        worker.stdin.flush()
    traffic = Traffic(saved={first.number: (0, 0)})
    for role, own, worker in started:
        said, wrong = worker.communicate(timeout=seconds + 300)
        if wrong or worker.returncode:
            traffic.faults.append(f"{role} {own} ended with {worker.returncode} and said: {wrong}")
        if said:
            traffic.hear(role, own, json.loads(said))
    traffic.look(truth.anew())
    return traffic


def check(traffic: Traffic) -> None:
    assert traffic.faults == []
    for what in ("saves", "loads", "compactions", "versions moved", "collections", "purged"):
        assert traffic.counts[what], f"no {what} in {traffic}"


def test_nobody_reads_a_wrong_byte_while_others_save_compact_and_collect(tmp_path: Path) -> None:
    check(busy(Place(str(tmp_path / "registry")), SECONDS, FEW))


def test_nobody_reads_a_wrong_byte_from_a_bucket_while_others_work(moto_site: Site) -> None:
    check(busy(remote(moto_site.server, moto_site.bucket), SECONDS, FEW))


def test_what_was_opened_before_a_move_reads_on_after_its_registry_heard_of_the_move() -> None:
    registry = mk.Registry("memory://opened-before")
    versions = [registry.save(made(0, n), NAME, params=facts(0, n)) for n in range(3)]
    assert [len(version.files) for version in versions] == [2, 2, 2]  # opened
    assert registry.storage.compact(NAME).models[0].moved == (1, 2, 3)
    registry.load(NAME)  # the registry reads where they lie now
    for n, version in enumerate(versions):
        assert same(version.tensors["moving"], made(0, n)["moving"])
        with version.open("tree.json") as file:
            assert made(0, n)["words"] in file.read().decode()


def main() -> int:
    """Let them work as long as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=1, help="how long to work")
    options.add_argument("--on", choices=["local", *SERVERS], default="local", help="where the registry lies")
    options.add_argument("--below", type=Path, help="a folder on the disk to use")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.below) as folder, places(chosen.on, chosen.below) as fresh:
        os.environ["MODELKEEP_CACHE"] = folder
        traffic = busy(fresh(), chosen.minutes * 60, ALL)
    sys.stdout.write(f"{chosen.on}, {chosen.minutes:g} minutes: {traffic}\n")
    return 1 if traffic.faults else 0


if __name__ == "__main__":
    sys.exit(main())
