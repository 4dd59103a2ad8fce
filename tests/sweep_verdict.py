"""What is wrong with a registry that an operation left half done: `faults_after` of `test_crash_sweep`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs

import modelkeep as mk
from modelkeep.errors import ModelkeepError
from sweep_operations import SEED, Facts, Operation, facts_of
from sweep_victim import Ending
from test_saves_race import Place
from truth import NAME, Truth, facts, made, wrong

NEXT = 90  # what the save after the failure is made from

Tree = dict[str, tuple[int, int]]


def tree_of(root: Path) -> Tree:
    """Size and time of every file below *root*, and the folders; equal as long as nothing was written."""
    found: Tree = {}
    for folder, _, files in os.walk(root):
        found[folder] = (0, 0)  # temporary files change its time
        for path in (os.path.join(folder, name) for name in files):  # noqa: PTH118  it is called often
            facts = os.lstat(path)
            found[path] = (facts.st_size, facts.st_mtime_ns)
    return found


@attrs.frozen
class Verdict:
    """Judges what lies at a place after an operation failed there.

    Args:
        operation: what was done.
        states: what is to be seen before it, and after each step.
        place: where.
        ending: what the process told.
        killed: whether it was killed; else it had to tell how it ended.
    """

    operation: Operation
    states: Sequence[Facts]
    place: Path
    ending: Ending
    killed: bool

    def faults(self, *, unchanged: bool) -> list[str]:
        """All that is wrong; *unchanged* says that nothing was written, so that the state before stands."""
        found = self._of_ending()
        if unchanged:
            lost = self.ending.steps and self.states[0] != self.states[self.ending.steps]
            return [*found, "a step was acknowledged, and nothing was written"] if lost else found
        try:
            at, more = self._standing()
            found += [*more, *self._settled(at), *self._goes_on(at)]
            # of the marker for listings the documents say so
            return found + [one for one in Truth.of(self._place).faults_when_quiet() if "marker is missing" not in one]
        except Exception as error:  # noqa: BLE001  told, and the next is looked at
            return [*found, f"{type(error).__name__} of the next who came: {error}"]

    @property
    def _place(self) -> Place:
        return Place(str(self.place))

    def _open(self) -> mk.Registry:
        return mk.Registry(self.place, durable=False, cache=False)

    def _of_ending(self) -> list[str]:
        ending = self.ending
        if ending.error and not ending.own:
            return [f"a foreign error came out: {ending.error}"]
        if not self.killed and not ending.over:
            return ["the process ended without a word"]
        return []

    def _standing(self) -> tuple[int, list[str]]:
        """Which of the states stands, and what is wrong with it."""
        truth = Truth.of(self._place)
        now, done = facts_of(self._open()), self.ending.steps
        waits = self.operation.refused and "versions" not in now
        found = truth.damage() if truth.registry._home.id() is not None and not waits else []
        definite = self.ending.over and not self.ending.open
        allowed = [done] if definite else [done, done + 1]
        if self.operation.again:
            allowed = [0, 1] if not (self.ending.over and not self.ending.error) else [1]
        for at in allowed:
            if at < len(self.states) and self._same(now, self.states[at]):
                return at, found
        kept = self.states[min(done, len(self.states) - 1)]
        changed = {key: (now.get(key), kept.get(key)) for key in {*now, *kept} if now.get(key) != kept.get(key)}
        return done, [*found, f"after {done} steps ({self.ending.error or 'no error'}) stands, and should: {changed}"]

    def _same(self, one: Facts, other: Facts) -> bool:
        if not self.operation.again:
            return one == other
        # in how many entries it was done is its own business
        return {**one, "history": None} == {**other, "history": None}

    def _settled(self, at: int) -> list[str]:
        """What the token of an error gives to know must be what is seen."""
        if self.ending.token is None or self.operation.again:
            return []
        try:
            committed = self._open().settle(self.ending.token).committed
        except ModelkeepError as error:
            return [f"settling says {type(error).__name__}: {error}"]
        stands = at > self.ending.steps
        return [] if committed == stands else [f"settling says {committed}, and the entry stands: {stands}"]

    def _goes_on(self, at: int) -> list[str]:
        """What is left of the operation works, and so does the next save."""
        for step in self.operation.steps[0 if self.operation.again else at :]:
            step(self._open())
        now, wanted = facts_of(self._open()), self.states[-1]
        found = []
        if not self._same(now, wanted) and not (self.ending.token and self._only_entries_differ(now, wanted)):
            changed = {key: (now.get(key), wanted.get(key)) for key in wanted if now.get(key) != wanted.get(key)}
            found.append(f"done again, it gives {changed}")
        return found + self._next_save()

    @staticmethod
    def _only_entries_differ(one: Facts, other: Facts) -> bool:
        """Whether all but the numbers of entries is equal: a settled entry takes a number."""
        return {**one, "history": None, "policy": None} == {**other, "history": None, "policy": None}

    def _next_save(self) -> list[str]:
        registry = self._open()
        truth = Truth.of(self._place)
        numbers = truth.numbers()
        if numbers and not registry.model(NAME).is_open:
            registry.model(NAME).open()
        saved = registry.save(made(SEED, NEXT), NAME, params=facts(SEED, NEXT))
        found = [] if saved.number == len(numbers) + 1 else [f"the next save got {saved.number} after {[*numbers]}"]
        parts = wrong(self._open().load(saved.ref), saved.params)
        return [*found, f"the next save loads with other {parts}"] if parts else found
