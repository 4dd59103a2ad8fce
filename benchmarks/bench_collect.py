"""What it costs to collect a model of 10,000 versions of which a policy keeps 100: the dry run, the work, the deletes.

Cold, each in a fresh process, on a copy of the same registry. Nothing else collects like this, so the sizes of the same
files stand beside it: by `os.scandir` of the packs, and by `du` of the whole registry.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from _measure import Row, folder_argument, scratch, table, timed

import modelkeep as mk
from modelkeep.layout import data_prefix
from modelkeep.storage import Collection
from modelkeep.stores import open_store
from modelkeep.stores.port import UnfinishedWrite, abandon, unfinished
from modelkeep.stores.wrappers import Recording

KEPT = 100
LIMIT = 10.0  # seconds, without the deletes


class Deletes(Recording):
    """Takes the time that deletes take."""

    spent = 0.0

    def delete(self, keys: Iterable[str]) -> None:
        start = time.perf_counter()
        super().delete(keys)
        self.spent += time.perf_counter() - start

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        return unfinished(self.within, prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        abandon(self.within, writes)


def fill(folder: Path, versions: int) -> None:
    """A registry of one model with so many small versions, saved one by one, and the policy."""
    registry = mk.Registry(folder, durable=False)
    for number in range(versions):
        registry.save({"w": np.arange(16.0) + number}, "churn", params={"depth": 6}, metrics={"auc": 0.5})
    registry.policy.set(f"[retention]\nlast = {KEPT}")


def once(folder: Path) -> None:
    """In a process of its own: print what each step took, and what it found."""

    def collected(*, dry_run: bool = False) -> tuple[float, float, Collection, dict[str, int]]:
        store = Deletes(open_store(os.fspath(folder), durable=False))
        found: list[Collection] = []
        seconds = timed(lambda: found.append(mk.Registry(store).storage.collect(dry_run=dry_run)))
        return seconds - store.spent, store.spent, found[0], store.counts()

    def listed() -> int:
        with os.scandir(folder / data_prefix("churn")) as entries:
            return sum(entry.stat().st_size for entry in entries)

    floor = timed(listed)
    du = timed(lambda: subprocess.run(["du", "-s", folder], check=True, stdout=subprocess.DEVNULL))
    dry, work, again = collected(dry_run=True), collected(), collected()
    answer = {
        "seconds": [floor, du, dry[0], work[0], work[1], again[0] + again[1]],
        "purged": [len(found[2].purged) for found in (dry, work, again)],
        "removed": [len(found[2].removals) for found in (dry, work, again)],
        "requests": [found[3] for found in (dry, work, again)],
    }
    print(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        once(options.once)
        return
    answers = []
    with scratch(options.folder) as folder:
        fill(folder / "registry", options.versions)
        for _ in range(options.times):
            shutil.copytree(folder / "registry", folder / "copy")
            command = [sys.executable, __file__, "--once", os.fspath(folder / "copy")]
            answers.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
            shutil.rmtree(folder / "copy")
    gone = options.versions - KEPT
    assert all(answer["purged"] == answer["removed"] == [gone, gone, 0] for answer in answers), answers[0]
    floor, du, dry, work, deletes, again = zip(*(answer["seconds"] for answer in answers), strict=True)
    table(f"collect {options.versions:,} versions, keep {KEPT}; cold, wall", "floor", [
        Row("floor: sizes of the packs by scandir", floor),
        Row("du of the registry", du, floor),
        Row("dry run", dry, floor),
        Row("collect, without the deletes", work, floor, LIMIT),
        Row(f"… the {gone:,} deletes", deletes, floor),
        Row("a second collect, which finds nothing", again, floor),
    ])  # fmt: skip
    for what, requests in zip(("dry run", "collect", "again"), answers[0]["requests"], strict=True):
        print(f"requests of {what}: {requests}")


if __name__ == "__main__":
    main()
