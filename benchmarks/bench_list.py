"""What it costs to list 10,000 versions warm and 100,000 cold."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import orjson
from _measure import Row, folder_argument, in_turn, scratch, table, timed

import modelkeep as mk
from modelkeep import zstd
from modelkeep.digest import digest
from modelkeep.folds.rules import Op
from modelkeep.folds.versions import Versions
from modelkeep.stores import open_store
from modelkeep.stores.wrappers import Recording
from modelkeep.version import Place


def fill(folder: Path, versions: int) -> None:
    """A registry of one model with so many versions, through the journal; all but the first name packs that no one put."""  # noqa: E501
    registry = mk.Registry(folder, durable=False)
    registry.save({"w": np.arange(16.0)}, "churn", params={"depth": 6}, metrics={"auc": 0.5})
    line = registry._existing("churn")  # noqa: SLF001  past the bytes, which a listing never reads
    first = line.versions.state.lines[1].made
    for number in range(2, versions + 1):
        transaction = line.home.system.new_id()
        pack = f"{transaction}-1"
        made = attrs.evolve(
            first,
            number=number,
            identity=digest(transaction.encode()),
            content=digest(pack.encode()),
            at=Place(pack, 1000, 400),
            packs=(pack,),
            metrics={"auc": number / versions},
        )

        def decide(_: Versions, made: Op = made) -> list[Op]:
            return [made]

        line.versions.append(decide, tx=transaction)


def touched(registry: mk.Registry) -> list[tuple[object, ...]]:
    """The facts of all versions."""
    return [
        (v.number, v.label, v.digest, v.created, v.author, v.params, v.metrics)
        for v in registry.model("churn").versions()
    ]


def scanned(folder: Path) -> list[str]:
    """The least that a listing can do: the names of the entries."""
    return sorted(entry.name for entry in os.scandir(folder / "models" / "churn" / "versions"))


def warm(folder: Path, versions: int, times: int) -> None:
    registry = mk.Registry(folder, durable=False)
    touched(registry)
    works = [
        lambda: scanned(folder),
        lambda: registry.model("churn").versions(),
        lambda: touched(registry),
        lambda: registry.model("churn").versions(where=lambda v: v.metrics["auc"] > 0.5),
    ]
    names, listed, facts, chosen = in_turn(works, times)
    table(f"{versions:,} versions, warm, wall", "scandir", [
        Row("scandir of the entries", names),
        Row("versions()", listed, names, 0.1),
        Row("versions() and seven facts of each", facts, names, 0.1),
        Row("versions(where=metric)", chosen, names, 0.1),
    ])  # fmt: skip


def unpacked(folder: Path) -> int:
    """The least that a cold read can do: unpack the tiles and parse each line, with no check at all."""
    tiles = sorted((folder / "models" / "churn" / "versions" / "t2").iterdir())
    lines = b"".join(zstd.decompress(tile.read_bytes(), 1 << 30) for tile in tiles).split(b"\n")
    return len([orjson.loads(line) for line in lines[0:-1:2]])


def cold_once(folder: Path) -> None:
    """In a process of its own: print the seconds of the floor and of a cold listing, and the requests."""
    store = Recording(open_store(os.fspath(folder), durable=False))
    floor = timed(lambda: unpacked(folder))
    gc.collect()
    found: list[int] = []
    seconds = timed(lambda: found.append(len(mk.Registry(store).model("churn").versions())))
    print(json.dumps([floor, seconds, found[0], store.counts()]))


def cold(folder: Path, versions: int, times: int) -> None:
    command = [sys.executable, __file__, "--cold", os.fspath(folder)]
    answers = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(times)]
    floor, seconds = [a[0] for a in answers], [a[1] for a in answers]
    assert all(a[2] == versions for a in answers)
    table(f"{versions:,} versions, cold, each in a fresh process, wall", "floor", [
        Row("floor: tiles unpacked, JSON parsed", floor),
        Row("versions()", seconds, floor, 2.0),
    ])  # fmt: skip
    print(f"requests: {answers[0][3]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--warm", type=int, default=10_000, help="versions listed warm")
    parser.add_argument("--versions", type=int, default=100_000, help="versions listed cold, at least 10,000")
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--cold", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cold:
        cold_once(options.cold)
        return
    with scratch(options.folder) as folder:
        fill(folder / "warm", options.warm)
        warm(folder / "warm", options.warm, options.times)
        fill(folder / "cold", options.versions)
        cold(folder / "cold", options.versions, options.times)


if __name__ == "__main__":
    main()
