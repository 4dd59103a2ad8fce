"""A process that saves, compacts and collects in turn is killed (kill -9) at random moments; the next one goes on.

``python tests/test_crash_storage.py --kills 250 --on moto`` kills 250 times and tells into what the kills fell.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import attrs
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

from modelkeep.stores.port import unfinished
from servers.sites import Site
from test_saves_race import SERVERS, Place, places, remote
from truth import Truth

KILLS = {"local": int(os.environ.get("MODELKEEP_KILLS", "10")), "moto": int(os.environ.get("MODELKEEP_KILLS", "6"))}
LONGEST = {"local": 0.4, "moto": 2.0}  # seconds that a victim lives after its first mark
ANEW = 25  # kills in one registry
LOOK = {"local": 1, "moto": 5}  # kills from one look to the next; a look takes longer than a victim lives
POLICY = "[retention]\nlast = 4\naliased = false\nlabelled = false"
RULE = "not among the newest 4"

# Has imported all that a victim needs, and forks one for each line: starting Python takes longer than a victim lives.
NURSERY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from victim import warm, work
warm()
if sys.argv[2] == "remote":
    import s3fs
for line in sys.stdin:
    child = os.fork()
    if not child:
        work(**json.loads(line))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@attrs.frozen
class Kill:
    """What a kill met: the saves that were acknowledged before it, and the step that was under way, if one was."""

    saved: dict[int, tuple[int, int]]
    within: str
    said: str


@attrs.define
class Nursery:
    """Where victims come from."""

    below: Path
    remote: bool
    _forks: subprocess.Popen[str] = attrs.field(init=False)

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", NURSERY, str(Path(__file__).parent), "remote" if self.remote else "local"]
        with (self.below / "said").open("ab") as said:
            self._forks = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, process_group=0
            )
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._forks.pid, signal.SIGKILL)
        self._forks.communicate()

    def kill_once(self, place: Place, seed: int, delay: float) -> Kill:
        """Let a victim work and kill it *delay* seconds after it began."""
        marks = self.below / "marks"
        marks.write_text("")
        arguments = {"url": place.url, "options": dict(place.options), "marks": str(marks), "seed": seed}
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        self._forks.stdin.write(json.dumps(arguments) + "\n")
        self._forks.stdin.flush()
        victim = int(self._forks.stdout.readline())
        while not marks.stat().st_size and not self._said():
            time.sleep(0.005)
        time.sleep(delay)
        os.kill(victim, signal.SIGKILL)
        self._forks.stdout.readline()
        lines = marks.read_text().splitlines()
        saved = {int(line.split()[2]): (seed, int(line.split()[3])) for line in lines if line.startswith("e save")}
        return Kill(saved, lines[-1][2:] if lines and lines[-1][0] == "b" else "", self._said(forget=True))

    def _said(self, *, forget: bool = False) -> str:
        """What victims complained of; one that complains has died of it."""
        said = (self.below / "said").read_text(errors="replace")
        if forget and said:
            os.truncate(self.below / "said", 0)
        return said[-3000:]


@attrs.define
class Campaign:
    """Many kills, one after another, in registries that are begun anew now and then."""

    fresh: Callable[[], Place]
    below: Path
    longest: float
    look: int
    seed: int = 1
    kills: int = 0
    versions: int = 0
    purged: int = 0
    unfinished: set[str] = attrs.Factory(set)
    met: Counter[str] = attrs.Factory(Counter)
    faults: list[str] = attrs.Factory(list)

    def run(self, count: int) -> None:
        """Kill *count* times."""
        chance = random.Random(self.seed)
        while self.kills < count:
            place = self.fresh()
            with Nursery(self.below, remote=bool(place.options)) as nursery:
                self._registry(Truth.of(place), nursery, chance, min(ANEW, count - self.kills))

    def _registry(self, truth: Truth, nursery: Nursery, chance: random.Random, count: int) -> None:
        truth.registry.policy.set(POLICY)
        saved: dict[int, tuple[int, int]] = {}
        for _ in range(count):
            self.kills += 1
            seed = 10_000 * self.seed + self.kills
            kill = nursery.kill_once(truth.place, seed, chance.uniform(0, self.longest))
            saved |= kill.saved
            self.met[kill.within or "between"] += 1
            if kill.said:
                self._note([f"the victim died by itself and said: {kill.said}"])
            self.unfinished |= {one.name for one in unfinished(truth.registry._store, "")}
            truth = truth.anew()
            if self.kills % self.look == 0 and truth.numbers():
                self._note(truth.faults(saved, RULE) + truth.damage())
        self._at_the_end(truth.anew(), saved)

    def _at_the_end(self, truth: Truth, saved: dict[int, tuple[int, int]]) -> None:
        if not truth.numbers():
            self._note(truth.faults(saved, RULE))
            return
        self._note(truth.faults_when_quiet())
        truth = truth.anew()
        self._note(truth.faults(saved, RULE))
        found, wanted = truth.kept(last=4)
        if found != wanted:
            self._note([f"versions {sorted(found)} are left, and {sorted(wanted)} should be"])
        self.versions += len(truth.numbers())
        self.purged += len(truth.purged())

    def _note(self, faults: list[str]) -> None:
        self.faults += [f"kill {self.kills}: {fault}" for fault in faults]

    def __str__(self) -> str:
        into = ", ".join(f"{self.met[step]} {step}" for step in ("save", "compact", "collect", "between"))
        text = f"{self.kills} kills ({into}), {self.versions} versions, {self.purged} of them purged, "
        verdict = "\n  ".join(["FAULTS", *self.faults]) if self.faults else "all as it should be"
        return f"{text}{len(self.unfinished)} unfinished writes met: {verdict}"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_whatever_step_is_killed_versions_stay_whole_and_a_quiet_collection_leaves_nothing_else(tmp_path: Path) -> None:
    places = (Place(str(tmp_path / str(n))) for n in range(KILLS["local"]))
    campaign = Campaign(lambda: next(places), tmp_path, LONGEST["local"], look=1, seed=7)
    campaign.run(KILLS["local"])
    assert campaign.faults == []
    assert campaign.met["between"] < campaign.kills, "no kill fell into a step"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_whatever_step_is_killed_in_a_bucket_versions_stay_whole(tmp_path: Path, moto_site: Site) -> None:
    campaign = Campaign(lambda: remote(moto_site.server, moto_site.bucket), tmp_path, LONGEST["moto"], look=3, seed=8)
    campaign.run(KILLS["moto"])
    assert campaign.faults == []
    assert campaign.met["between"] < campaign.kills, "no kill fell into a step"


def main() -> int:
    """Kill as often as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=250, help="how often to kill")
    options.add_argument("--on", choices=["local", *SERVERS], default="local", help="where the registries lie")
    options.add_argument("--seed", type=int, default=1, help="for the random moments")
    options.add_argument("--below", type=Path, help="a folder on the disk to use")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.below) as folder, places(chosen.on, chosen.below) as fresh:
        os.environ["MODELKEEP_CACHE"] = str(Path(folder) / "cache")
        kind = "local" if chosen.on == "local" else "moto"
        campaign = Campaign(fresh, Path(folder), LONGEST[kind], LOOK[kind], chosen.seed)
        campaign.run(chosen.kills)
    sys.stdout.write(f"{chosen.on}: {campaign}\n")
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
