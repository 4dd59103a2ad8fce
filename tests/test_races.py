"""Sixteen processes race for 200 keys: each key has exactly one winner, on a disk and on every server.

``python tests/test_races.py --runs 10 --on moto`` races ten times; ``MODELKEEP_RACES=10`` does so within the suite.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

from modelkeep.stores import open_store
from modelkeep.stores.local import LocalStore
from modelkeep.stores.port import Store
from modelkeep.testing.stores import race, value_of
from servers import running
from servers.running import Server
from servers.sites import Site

PROCESSES = 16
KEYS = [f"models/churn/versions/{number:020d}.json" for number in range(1, 201)]
RUNS = int(os.environ.get("MODELKEEP_RACES", "1"))
SERVERS = {"moto": running.moto, "seaweedfs": running.seaweedfs, "gcs": running.gcs_fake}
AT_ONCE = {"seaweedfs": 25}  # it lets the losers of a key wait for seconds, one after another


def faults_of_race(
    reopen: Callable[[], Store], keys: list[str] = KEYS, *, processes: int = PROCESSES, at_once: int = 1
) -> list[str]:
    """Race once in an empty store and say what is wrong, a line for each fault."""
    winners = race(reopen, keys, processes=processes, at_once=at_once)
    store = reopen()
    faults = [f"{key}: won by {won}" for key, won in winners.items() if len(won) != 1]
    faults += [
        f"{key}: does not hold what its winner wrote"
        for key, won in winners.items()
        if store.get(key) not in [value_of(key, number) for number in won]
    ]
    if [facts.key for facts in store.list("")] != keys:
        faults.append("the listing is not exactly the keys")
    return faults


def remote(server: Server, bucket: str) -> Callable[[], Store]:
    """How other processes open a new prefix there."""
    url = f"{server.protocol}://{bucket}/race-{uuid.uuid4().hex}"
    return partial(open_store, url, storage_options=server.options)


@pytest.mark.parametrize("run", range(RUNS))
def test_of_16_processes_exactly_one_wins_each_of_200_keys(tmp_path: Path, run: int) -> None:
    root = tmp_path / str(run)
    assert faults_of_race(partial(LocalStore, root, durable=False)) == []
    assert [left.name for left in root.rglob(".*")] == []


@pytest.mark.parametrize("name", SERVERS)
def test_of_processes_exactly_one_wins_each_key_of_a_bucket(request: pytest.FixtureRequest, name: str) -> None:
    # fewer than the script has: each process takes a second to import the client
    site: Site = request.getfixturevalue(f"{name}_site")
    assert faults_of_race(remote(site.server, site.bucket), KEYS[:25], processes=4, at_once=AT_ONCE.get(name, 1)) == []


@contextmanager
def place(name: str, below: Path | None, *, durable: bool) -> Iterator[Callable[[], Callable[[], Store]]]:
    """Gives, for each race, how to open a new and empty store."""
    if name == "local":
        with tempfile.TemporaryDirectory(dir=below) as folder:
            yield lambda: partial(LocalStore, Path(folder) / uuid.uuid4().hex, durable=durable)
        return
    with SERVERS[name]() as server:
        server.bucket("races")
        yield partial(remote, server, "races")


def main() -> int:
    """Race as often as the command line says; the exit status is 1 if any key had not exactly one winner."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1, help="how often to race")
    options.add_argument("--on", choices=["local", *SERVERS], default="local", help="where to race")
    options.add_argument("--durable", action="store_true", help="wait for the disk, as registries do")
    options.add_argument("--below", type=Path, help="a folder on the disk to race on")
    chosen = options.parse_args()
    broken = 0
    with place(chosen.on, chosen.below, durable=chosen.durable) as fresh:
        for run in range(1, chosen.runs + 1):
            began = time.perf_counter()
            faults = faults_of_race(fresh(), at_once=AT_ONCE.get(chosen.on, 1))
            took = time.perf_counter() - began
            broken += bool(faults)
            verdict = "\n  ".join(["FAULTS", *faults]) if faults else "one winner for each key"
            sys.stdout.write(
                f"{chosen.on}, run {run}: {PROCESSES} processes, {len(KEYS)} keys, {took:.1f} s: {verdict}\n"
            )
            sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
