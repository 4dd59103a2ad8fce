"""The power is cut before every call that an operation makes to the disk; what was acknowledged is there afterwards.

The disk is a model of one (`tests/powercut/disk.py`): a file system in memory that keeps what was synced and may drop,
each for itself, all that was not. It is no real power cut, and no real disk.

``python tests/test_power_cut.py`` looks at every state that every cut may leave; ``--relays 200`` also kills a process
before a call, lets another one go on, and cuts the power then.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

from powercut.disk import Call, Entered
from powercut.mount import mounted, why_not
from powercut.relay import SECOND, Relay, kills, relay
from powercut.scenario import STEPS, Cut, Step, cuts, promote, record, save
from powercut.survivors import EVERY
from powercut.sweep import Case, Cases, Sweep

STATES = int(os.environ.get("MODELKEEP_CUTS", "30"))
OF_A_RELAY = 8  # states that are looked at of what two processes left
SHOWN = 20  # faults; one cause has many
SHORT = [save(1), save(2), promote(1)]

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")


def recorded(below: Path, steps: Sequence[Step] = STEPS, *, durable: bool = True) -> list[Call]:
    """All that *steps* do to a disk that is mounted below a new folder."""
    with tempfile.TemporaryDirectory(dir=below) as folder, mounted(Path(folder)) as mount:
        return record(mount, steps, durable=durable)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    return recorded(tmp_path_factory.mktemp("recorded"))


def test_a_cut_before_any_call_loses_nothing_acknowledged_and_leaves_nothing_half(
    calls: list[Call], tmp_path: Path
) -> None:
    cases = Cases.of(calls, cuts(calls), seed=1)
    assert cases.cuts == len(calls) + 1
    assert cases.exhausted == cases.cuts, "of some cuts not every state was made"
    sweep = Sweep(tmp_path)
    sweep.run(cases.some(STATES, seed=7))
    assert sweep.faults == []


def kill_after(calls: Sequence[Call], step: str, verb: str, last: str) -> Cut:
    """A kill right after the last such call of some step that names *last*."""
    found = [one for one in kills(calls) if one.name == step and _is(calls[one.at - 1], verb, last)]
    return found[-1]


def _is(call: Call, verb: str, name: str) -> bool:
    return isinstance(call, Entered) and call.verb == verb and call.changes[0][1].endswith(name)


@pytest.mark.parametrize(
    ("step", "verb", "name", "second"),
    [
        ("save", "link", ".json", "promote"),  # it stands on a version that nobody was told of
        ("save", "mkdir", "team", "save"),  # a folder that the first one made
        ("save", "mkdir", "models", "save"),
        ("compact", "link", ".json", "collect"),  # packs go because of an entry that was only just written
        ("collect", "link", "05.json", "compact"),
        ("erase", "link", ".json", "tag"),  # an entry that others say they have seen
    ],
)
def test_what_a_process_builds_on_the_unsynced_work_of_a_killed_one_stands_after_a_cut(
    calls: list[Call], tmp_path: Path, step: str, verb: str, name: str, second: str
) -> None:
    relayed = relay(calls, kill_after(calls, step, verb, name), second, tmp_path)
    sweep = Sweep(tmp_path)
    sweep.run(of_relay(relayed)[-OF_A_RELAY:])  # the last ones: then the second process builds on it, or was told
    assert sweep.faults == []


def of_relay(relayed: Relay) -> list[Case]:
    return Cases.of(relayed.calls, relayed.cuts, seed=1).different


@pytest.mark.parametrize("deaf", ["file", "folder"])
def test_a_disk_that_ignores_an_fsync_is_seen_to_lose_what_was_acknowledged(
    calls: list[Call], tmp_path: Path, deaf: str
) -> None:
    cases = Cases.of(calls, list(cuts(calls))[:60], seed=1, deaf=frozenset({deaf}))
    assert first_fault(cases.some(STATES, seed=7), tmp_path)


def test_a_registry_that_does_not_wait_for_the_disk_is_seen_to_lose_what_was_acknowledged(tmp_path: Path) -> None:
    calls = recorded(tmp_path, SHORT, durable=False)
    cases = Cases.of(calls, cuts(calls, SHORT), seed=1)
    assert first_fault(cases.some(STATES, seed=7), tmp_path)


def first_fault(cases: Sequence[Case], below: Path) -> list[str]:
    for case in cases:
        sweep = Sweep(below)
        sweep.run([case])
        if sweep.faults:
            return sweep.faults
    return []


# -- the long run ------------------------------------------------------------------------------------------------


def relays(calls: Sequence[Call], count: int, seed: int, below: Path) -> Iterator[list[Case]]:
    """So many pairs of processes, by chance; some states of each."""
    pairs = [(kill, second) for kill in kills(calls) for second in SECOND]
    for kill, second in random.Random(seed).sample(pairs, min(count, len(pairs))):
        with tempfile.TemporaryDirectory(dir=below) as folder:
            found = relay(calls, kill, second, Path(folder))
        cases = Cases.of(found.calls, found.cuts, seed)
        yield cases.some(OF_A_RELAY, seed)


def _tell(text: str) -> None:
    sys.stderr.write(f"\r{text}\033[K")


def _summary(
    calls: Sequence[Call], steps: Sequence[Step], cases: Cases, sweep: Sweep, pairs: int, seconds: float
) -> str:
    within = ", ".join(f"{count} {name}" for name, count in sorted(sweep.looked.items()) if "killed" not in name)
    second = sum(count for name, count in sweep.looked.items() if "killed" in name)
    verdict = "\n  ".join([f"{len(sweep.faults)} FAULTS, the first of them:", *sweep.faults[:SHOWN]])
    return (
        f"{len(steps)} operations made {len(calls)} calls; {cases.cuts} cuts, of {cases.exhausted} of them every state "
        f"(up to {EVERY}): {cases.made} states of {cases.possible}, {len(cases.different)} different; "
        f"looked at {within}; "
        f"{pairs} kills before a cut, {second} states; {seconds:.0f} s: "
        f"{verdict if sweep.faults else 'nothing acknowledged was lost, nothing is half, the next save works'}\n"
    )


def main() -> int:
    """Cut as the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--states", type=int, default=None, help="look at so many states; without it at all of them")
    options.add_argument("--relays", type=int, default=0, help="so many kills before a cut")
    options.add_argument("--seed", type=int, default=1, help="for what is left to chance")
    options.add_argument("--jobs", type=int, default=1, help="so many processes look at states")
    options.add_argument("--scratch", action="store_true", help="do not wait for the disk")
    options.add_argument("--deaf", action="append", choices=["file", "folder"], default=[], help="ignore such syncs")
    chosen = options.parse_args()
    if why_not():
        sys.stderr.write(f"{why_not()}\n")
        return 2
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        below = Path(name)
        os.environ["MODELKEEP_CACHE"] = str(below / "cache")
        sweep = Sweep(below)
        calls = recorded(below, durable=not chosen.scratch)
        cases = Cases.of(calls, cuts(calls), chosen.seed, frozenset(chosen.deaf))
        todo = cases.some(chosen.states or len(cases.different), chosen.seed)
        sweep.run(todo, jobs=chosen.jobs, tell=lambda done: _tell(f"{done} of {len(todo)} states"))
        pairs = 0
        for found in relays(calls, chosen.relays, chosen.seed, below):
            pairs += 1
            sweep.run(found, jobs=chosen.jobs)
            _tell(f"{pairs} of {chosen.relays} relays")
    sys.stdout.write("\n" + _summary(calls, STEPS, cases, sweep, pairs, time.monotonic() - begin))
    return 1 if sweep.faults else 0


if __name__ == "__main__":
    sys.exit(main())
