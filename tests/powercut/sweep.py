"""Cuts the power before each call of a log, and looks at what may lie on the disk then."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import attrs

from powercut.aftermath import Aftermath
from powercut.disk import Call, Disk
from powercut.scenario import Cut
from powercut.survivors import EVERY, Tree, left_open, tree


@attrs.frozen
class Case:
    """One thing that a cut may leave."""

    cut: Cut
    tree: Tree


@attrs.define
class Cases:
    """All that the cuts of a log may leave, each once.

    Args:
        cuts: how many there are: one before each call, one at the end.
        exhausted: of how many of them all states are among the cases.
        possible: how many states the cuts may leave, as far as the model tells them apart.
        made: how many of them were made; many are equal.
        different: those that differ in what lies there, or in what must.
    """

    cuts: int = 0
    exhausted: int = 0
    possible: int = 0
    made: int = 0
    different: list[Case] = attrs.Factory(list)

    @classmethod
    def of(cls, calls: Sequence[Call], cuts: Iterable[Cut], seed: int, deaf: frozenset[str] = frozenset()) -> Self:
        """The cases of *cuts* in a log; *deaf* as for `Disk`."""
        cases, disk, chance, met = cls(), Disk(deaf), random.Random(seed), set[object]()
        for cut in cuts:
            while len(disk.calls) < cut.at:
                disk.do(calls[len(disk.calls)])
            cases._add(cut, disk, chance, met)
        return cases

    def _add(self, cut: Cut, disk: Disk, chance: random.Random, met: set[object]) -> None:
        still_open = left_open(disk)
        self.cuts += 1
        self.exhausted += still_open.count() <= EVERY
        self.possible += still_open.count()
        for pick in still_open.picks(chance):
            found = tree(disk, pick)
            self.made += 1
            key = cut.name, repr(cut.may_be), cut.gone, frozenset(found.items())
            if key not in met:
                met.add(key)
                self.different.append(Case(cut, found))

    def some(self, count: int, seed: int) -> list[Case]:
        """So many cases, of as many cuts as can be."""
        chance = random.Random(seed)
        rounds: Counter[int] = Counter()
        ranked: list[tuple[int, int, Case]] = []
        for case in chance.sample(self.different, len(self.different)):
            rounds[case.cut.at] += 1
            ranked.append((rounds[case.cut.at], len(ranked), case))
        return [case for _, _, case in sorted(ranked, key=lambda row: row[:2])[:count]]


def faults(case: Case, below: Path | None = None) -> list[str]:
    """What is wrong after a cut; *below* is a folder to work in."""
    folder = Path(tempfile.mkdtemp(dir=below))
    try:
        return Aftermath(case.cut, folder).faults(case.tree)
    finally:
        shutil.rmtree(folder)


@attrs.define
class Sweep:
    """Looks at cases, and keeps count."""

    below: Path | None = None
    looked: Counter[str] = attrs.Factory(Counter)
    faults: list[str] = attrs.Factory(list)

    def run(self, cases: Sequence[Case], *, jobs: int = 1, tell: Callable[[int], None] = lambda _: None) -> None:
        """Look at *cases* by so many processes; calls *tell* after each with how many are done."""
        for done, (case, found) in enumerate(zip(cases, self._found(cases, jobs), strict=True), 1):
            self.looked[case.cut.name] += 1
            self.faults += [f"cut before call {case.cut.at} ({case.cut.call}), {case.cut.name}: {one}" for one in found]
            tell(done)

    def _found(self, cases: Sequence[Case], jobs: int) -> Iterator[list[str]]:
        if jobs == 1:
            yield from map(partial(faults, below=self.below), cases)
            return
        _CASES[:] = cases  # cases hold functions, which do not travel: the processes inherit them
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            yield from pool.map(partial(_faults_of, below=self.below), range(len(cases)), chunksize=8)


_CASES: list[Case] = []


def _faults_of(number: int, below: Path | None) -> list[str]:
    return faults(_CASES[number], below)
