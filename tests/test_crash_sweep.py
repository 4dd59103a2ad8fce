"""Each call of each operation that touches the registry is killed (kill -9), or fails as on a full or broken disk.

``python tests/test_crash_sweep.py --operations all`` sweeps all calls and tells how many of them were met.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the script; the suite has it there already

from sweep_operations import Facts, Operation, chosen, states, template
from sweep_trace import FAULTS, Call, Fault, Nursery, Trace, is_below, unusable
from sweep_verdict import Tree, Verdict, tree_of
from sweep_victim import Ending

SHARE = int(os.environ.get("MODELKEEP_SWEEP", "6"))  # calls for each fault and operation
SWEPT = ["first save", "save", "promote", "collect", "compact"]
TRIES = 3  # to meet a call: a run may differ from the one that was traced
# what an acknowledgement does not stand on: the marker for listings, and tiles, which come after it
_ASIDE = ("/catalog", "/t1", "/t2")


@attrs.define
class Row:
    """What came of one fault at the calls of one operation."""

    operation: str
    durable: bool
    fault: Fault
    calls: Counter[str] = attrs.Factory(Counter)
    met: Counter[str] = attrs.Factory(Counter)
    acknowledged: int = 0

    @property
    def title(self) -> str:
        return f"{self.operation} ({'durable' if self.durable else 'not durable'}), {self.fault}"

    def __str__(self) -> str:
        met, calls = self.met.total(), self.calls.total()
        return f"{self.title}: {met} of {calls} calls met, {self.acknowledged} acknowledged"


@attrs.frozen
class Case:
    """An operation, what lies there before, and the calls that it makes."""

    name: str
    operation: Operation
    durable: bool
    before: Path
    tree: Tree
    states: Sequence[Facts]
    calls: Sequence[Call]
    names: frozenset[str]


@attrs.define
class Sweep:
    """Lets operations fail at one call after another; *below* is a folder on the disk."""

    below: Path
    nursery: Nursery
    share: int | None = None
    seed: int = 1
    tell: Callable[[str], None] = lambda _: None
    rows: list[Row] = attrs.Factory(list)
    faults: list[str] = attrs.Factory(list)
    missed: list[str] = attrs.Factory(list)
    _lies_there: bool = attrs.field(default=False, init=False)

    @property
    def place(self) -> Path:
        return self.below / "swept" / "registry"

    def run(self, name: str, operation: Operation, *, durable: bool) -> None:
        """Sweep one operation."""
        case = self._case(name, operation, durable=durable)
        for fault in FAULTS:
            row = Row(name, durable, fault)
            for call in self._share(case, fault):
                row.calls[call.name] += 1
                self._meet(case, fault, call, row)
            self.rows.append(row)
            self.tell(f"{row}, {len(self.faults)} faults so far{self.faults[-1:] or ''}\n")

    def _case(self, name: str, operation: Operation, *, durable: bool) -> Case:
        before = self.below / "before"
        shutil.rmtree(before, ignore_errors=True)
        template(operation, before / "registry")
        self._lies_there = False
        self._lay(before)
        tree = tree_of(self.place)
        seen = states(operation, self.place)
        self._lay(before)
        trace, ending = self.nursery.run(name, self.place, durable=durable)
        assert (ending.over, ending.error) == (True, "")
        assert trace.threads == 1, "strace counts the calls of each thread by itself"
        calls = trace.calls(str(self.place))
        names = frozenset(call.name for call in calls)
        return Case(name, operation, durable, before, tree, seen, calls, names)

    def _lay(self, before: Path) -> None:
        """Put at the place what lies there before the operation."""
        if self._lies_there:
            return
        shutil.rmtree(self.place.parent, ignore_errors=True)
        shutil.copytree(before, self.place.parent, symlinks=True) if before.exists() else self.place.parent.mkdir()

    def _share(self, case: Case, fault: Fault) -> list[Call]:
        """The calls to let fail: all; without fsync those that change something, since the others are the same.

        A share has as many of those that change something as of the others.
        """
        calls = [call for call in case.calls if fault.meets(call)]
        if self.share is None:
            return calls if case.durable else [call for call in calls if call.changes]
        chance = random.Random(f"{self.seed} {case.name} {case.durable} {fault}")
        kinds = [call for call in calls if call.changes], [call for call in calls if not call.changes]
        return [call for kind in kinds for call in chance.sample(kind, min(len(kind), self.share // 2))]

    def _meet(self, case: Case, fault: Fault, call: Call, row: Row) -> None:
        for _ in range(TRIES):
            self._lay(case.before)
            self._lies_there = False
            injections = fault.injections(call, case.names)
            trace, ending = self.nursery.run(case.name, self.place, injections, durable=case.durable)
            if self._is_met(fault, call, trace):
                row.met[call.name] += 1
                row.acknowledged += ending.over and not ending.error
                self._judge(case, row, call, trace, ending)
                return
        self.missed.append(f"{row.title}: {call.text}")

    def _is_met(self, fault: Fault, call: Call, trace: Trace) -> bool:
        """Whether a call of that name that touches the registry was met, by the trace of the run itself."""
        met = [trace.killed_at()] if fault.kind == "kill" else trace.injected()[:1]
        return any(f" {call.name}(" in line and is_below(line, str(self.place)) for line in met)

    def _judge(self, case: Case, row: Row, call: Call, trace: Trace, ending: Ending) -> None:
        verdict = Verdict(case.operation, case.states, self.place, ending, killed=row.fault.kind == "kill")
        found = list(self._unsynced(case.operation, trace, ending))
        if said := self.nursery.complaints():
            found.append(f"the process complained: {said}")
        self._lies_there = tree_of(self.place) == case.tree
        found += verdict.faults(unchanged=self._lies_there)
        self.faults += [f"{row.title} at {call.text.replace(str(self.place), '')}: {one}" for one in found]

    def _unsynced(self, operation: Operation, trace: Trace, ending: Ending) -> Iterator[str]:
        """An acknowledged operation must not have a failed fsync behind it."""
        made, moved = "", False
        lines = trace.text.splitlines() if ending.over and not ending.error else []
        for line in lines[: _last_that_counts(lines, removes=operation.removes)]:
            made = line if " mkdir(" in line else made
            moved = moved or (" link(" in line and "/versions/" in line)
            aside = any(part in line or (part in made and f"<{self.place}>" in line) for part in _ASIDE)
            for_aside = aside or (operation.repins and moved and "/releases" in line)
            if " fsync(" in line and "(INJECTED)" in line and not for_aside:
                yield f"it was acknowledged, and the disk had refused {line}"

    def __str__(self) -> str:
        met, calls = sum((row.met for row in self.rows), Counter[str]()), sum(row.calls.total() for row in self.rows)
        kinds = [f"{fault} {sum(row.met.total() for row in self.rows if row.fault == fault)}" for fault in FAULTS]
        names = ", ".join(f"{name} {count}" for name, count in met.most_common())
        missed = [f"not met: {one}" for one in self.missed]
        verdict = "\n  ".join(["FAULTS", *self.faults]) if self.faults else "all as it should be"
        return "\n".join([*missed, f"{met.total()} of {calls} met ({'; '.join(kinds)}) at {names}: {verdict}"])


def _last_that_counts(lines: Sequence[str], *, removes: bool) -> int:
    """Up to which line a refusal matters: until the last name that is no tile or marker was synced."""
    links = [at for at, line in enumerate(lines) if " link(" in line and not any(part in line for part in _ASIDE)]
    if not links or (removes and any(" unlink(" in line and "/data/" in line for line in lines[links[-1] :])):
        return len(lines)
    folder = lines[links[-1]].rpartition('"')[0].rpartition('"')[2].rpartition("/")[0]
    synced = (at for at in range(links[-1], len(lines)) if " fsync(" in lines[at] and f"<{folder}>) = 0" in lines[at])
    return next(synced, len(lines))


@pytest.mark.skipif(bool(unusable()), reason=unusable() or "strace can be used")
def test_whatever_call_fails_or_is_killed_an_operation_is_whole_or_absent_and_the_next_works(tmp_path: Path) -> None:
    with Nursery(tmp_path) as nursery:
        sweep = Sweep(tmp_path, nursery, share=SHARE)
        for number, (name, operation) in enumerate(chosen(",".join(SWEPT)).items()):
            sweep.run(name, operation, durable=number % 2 == 0)
    assert sweep.faults == []
    assert sweep.missed == []


def main() -> int:
    """Sweep what the command line says; the exit status is 1 if anything was wrong, or a call was not met."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--operations", default="all", help="which, with commas between; all: all of them")
    options.add_argument("--share", type=int, help="calls for each fault; without it all")
    options.add_argument("--seed", type=int, default=1, help="for the share")
    options.add_argument("--below", type=Path, help="a folder on the disk to use")
    asked = options.parse_args()
    if why := unusable():
        sys.stdout.write(f"nothing was swept: {why}\n")
        return 1
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=asked.below) as folder, Nursery(Path(folder)) as nursery:
        sweep = Sweep(Path(folder), nursery, share=asked.share, seed=asked.seed, tell=_tell)
        for name, operation in chosen(asked.operations).items():
            for durable in (True, False):
                sweep.run(name, operation, durable=durable)
    sys.stdout.write(f"{sweep}\n{time.perf_counter() - began:.0f} s\n")
    return 1 if sweep.faults or sweep.missed else 0


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
