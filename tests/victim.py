"""What a victim of `test_crash_storage` does until it is killed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import attrs

import modelkeep as mk
from truth import NAME, facts, made


@attrs.define
class Victim:
    """Saves, compacts and collects in turn.

    Marks lie outside the registry: "b" is written right before each step, "e" right after. A write to a file without
    a buffer is in the page cache when it returns, so a kill does not lose it.
    """

    registry: mk.Registry
    marks: int
    seed: int
    chance: random.Random
    n: int = 0

    def mark(self, text: str) -> None:
        os.write(self.marks, f"{text}\n".encode())

    def save(self) -> None:
        self.n += 1
        large = self.chance.random() < 0.1
        model, params = made(self.seed, self.n, large=large), facts(self.seed, self.n, large=large)
        bump: Any = {"bump": "patch"} if self.chance.random() < 0.3 else {}
        self.mark("b save")
        version = self.registry.save(model, NAME, params=params, **bump)
        self.mark(f"e save {version.number} {self.n}")
        if self.chance.random() < 0.15:
            version.promote("production", reason="newer")
        elif self.chance.random() < 0.05 and self.registry.model(NAME).aliases:
            self.registry.model(NAME).unset("production")

    def compact(self) -> None:
        self.mark("b compact")
        self.registry.storage.compact(rollbacks=self.chance.choice([None, 0, 1]), newest=self.chance.choice([0, 0, 1]))
        self.mark("e compact")

    def collect(self) -> None:
        self.mark("b collect")
        self.registry.storage.collect(grace=timedelta(0))
        self.mark("e collect")

    def work(self) -> NoReturn:
        save, compact, collect = self.save, self.compact, self.collect
        steps: list[Callable[[], None]] = [*[save] * 6, compact, *[save] * 4, collect, *[save] * 3, collect]
        at = self.chance.randrange(len(steps))
        while True:
            steps[at]()
            at = (at + 1) % len(steps)


def warm() -> None:
    """Import all that the work takes, so that forks need not; no thread is started."""
    registry = mk.Registry("memory://victim", durable=False)
    for n in range(3):
        registry.save(made(0, n), NAME)
    registry.storage.compact()
    registry.storage.collect()


def work(url: str, options: dict[str, Any], marks: str, seed: int) -> NoReturn:
    """Work at the registry at *url* until somebody kills this process."""
    registry = mk.Registry(url, storage_options=options, durable=bool(seed % 2))
    registry.models()  # connected: else most victims would die over it
    mark = os.open(marks, os.O_WRONLY | os.O_APPEND)
    Victim(registry, mark, seed, random.Random(seed)).work()
