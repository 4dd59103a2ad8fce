"""What a card, a bill of materials and a report cost.

Of the newest of 100 versions, with 100 parameters, 5 curves of 10,000 points, 200 packages and 50 columns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Row, Size, folder_argument, in_turn, scratch, sizes, table, timed

import modelkeep as mk

STEPS = 10_000


def fill(folder: Path, versions: int) -> None:
    """Versions of one model; the newest has all that a run records, and the one before as its parent."""
    registry = mk.Registry(folder, durable=False)
    draw = np.random.default_rng(0)
    parent = None
    for number in range(versions - 1):
        parent = registry.save({"w": np.full(100, number)}, "churn", metrics={"auc": float(draw.random())})
    data = {"train": {f"column {n}": draw.normal(size=1000) for n in range(50)}}
    given: Any = {
        "params": {f"parameter {n}": n for n in range(100)},
        "metrics": {"auc": 0.9},
        "data": data,
        "example": {name: column[:5] for name, column in data["train"].items()},
        "parent": parent,
    }
    packages = {f"package-{n}": f"1.{n}.0" for n in range(200)}
    loaded = [f"package-{n}" for n in range(40)]
    made = {"environment": {"python": "3.11.7", "distributions": packages, "loaded": loaded}}
    decay = np.exp(-np.arange(STEPS) / 2000)
    curves: dict[str, Any] = {
        f"value/{part}/loss": decay + 0.1 * draw.random(STEPS) for part in ("train", "val", "test", "a", "b")
    }
    steps = {name.replace("value", "step"): np.arange(STEPS) for name in curves}
    times = {name.replace("value", "time"): np.arange(STEPS) / 10 for name in curves}
    version = registry._save_made({"w": np.ones(100)}, "churn", given, made, curves | steps | times)  # noqa: SLF001  as a run does
    for _ in range(5):
        version.promote("production", reason="it is the best so far")


def once(folder: Path) -> None:
    """In a process of its own: print the seconds of a report, all that it imports included, and those of the CPU."""
    version = mk.Registry(folder).get("churn")
    busy = time.process_time()
    print(timed(version.report), time.process_time() - busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--versions", type=int, default=100)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        once(options.once)
        return
    with scratch(options.folder) as folder:
        fill(folder, options.versions)
        command = [sys.executable, __file__, "--once", os.fspath(folder)]
        printed = [subprocess.run(command, check=True, capture_output=True).stdout for _ in range(options.times)]
        cold, busy = zip(*(map(float, line.split()) for line in printed), strict=True)
        version = mk.Registry(folder).get("churn")
        report, card, bill = in_turn([version.report, version.card, version.to_cyclonedx], options.times)
        table(f"A version of {options.versions:,}, clock", "", [
            Row("report, in a fresh process, with its imports", cold, None, 1.0),
            Row("… CPU", busy, None, 1.0),
            Row("report, warm", report, None, 1.0),
            Row("card, warm", card),
            Row("bill of materials, warm", bill),
        ])  # fmt: skip
        sizes("The page", "", [Size("report", len(version.report().html.encode()), None, 1e6)])


if __name__ == "__main__":
    main()
