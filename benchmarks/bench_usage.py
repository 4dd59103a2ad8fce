"""What it costs to add up the bytes of 10,000 versions, cold."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
from _measure import Row, folder_argument, scratch, table, timed

import modelkeep as mk
from modelkeep.digest import digest
from modelkeep.folds.rules import Op
from modelkeep.folds.versions import Versions
from modelkeep.layout import data_prefix, pack_key
from modelkeep.stores import open_store
from modelkeep.stores.wrappers import Recording
from modelkeep.version import Place

SHARED = 8  # packs of earlier saves that a version needs besides its own


def fill(folder: Path, versions: int) -> None:
    """A registry of one model with so many versions, through the journal; their packs hold zeros."""
    registry = mk.Registry(folder, durable=False)
    registry.save({"w": np.arange(16.0)}, "churn", params={"depth": 6}, metrics={"auc": 0.5})
    line = registry._existing("churn")  # noqa: SLF001  past the bytes, which are not looked at
    first = line.versions.state.lines[1].made
    packs = [first.at.pack]
    for number in range(2, versions + 1):
        transaction = line.home.system.new_id()
        pack = f"{transaction}-1"
        line.home.store.put_pack(pack_key("churn", pack), [bytes(1400)])
        made = attrs.evolve(
            first,
            number=number,
            identity=digest(transaction.encode()),
            content=digest(pack.encode()),
            at=Place(pack, 1000, 400),
            packs=(*packs[-SHARED:], pack),
        )
        packs.append(pack)

        def decide(_: Versions, made: Op = made) -> list[Op]:
            return [made]

        line.versions.append(decide, tx=transaction)


def once(folder: Path) -> None:
    """In a process of its own: print the seconds of the floor and of a usage, and the requests."""
    store = Recording(open_store(os.fspath(folder), durable=False))
    with os.scandir(folder / data_prefix("churn")) as entries:
        floor = timed(lambda: sum(entry.stat().st_size for entry in entries))
    usages = []
    seconds = timed(lambda: usages.append(mk.Registry(store).storage.usage()))
    (model,) = usages[0].models
    print(json.dumps([floor, seconds, len(model.versions), model.stored, store.counts()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        once(options.once)
        return
    with scratch(options.folder) as folder:
        fill(folder, options.versions)
        command = [sys.executable, __file__, "--once", os.fspath(folder)]
        answers = [
            json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(options.times)
        ]
    assert all(answer[2] == options.versions for answer in answers)
    floor, seconds = [answer[0] for answer in answers], [answer[1] for answer in answers]
    table(f"{options.versions:,} versions, cold, each in a fresh process, wall", "floor", [
        Row("floor: sizes of the packs by scandir", floor),
        Row("storage.usage()", seconds, floor, 2.0),
    ])  # fmt: skip
    print(f"requests: {answers[0][4]}")


if __name__ == "__main__":
    main()
