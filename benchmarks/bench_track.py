"""What recording costs: a tracked function that does nothing, cold and warm, and a point of a curve."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _measure import Row, folder_argument, in_turn, scratch, table

import modelkeep as mk
from modelkeep.choosing import Improves

COLD, WARM, POINT = 0.060, 0.010, 5e-6  # seconds, of the CPU
CHUNK = 20_000  # points at a time
_SCRIPT = """
import time, modelkeep as mk
registry = mk.Registry({folder!r}, durable=False)
started = time.process_time()
@registry.track("churn", save_if=lambda model, metrics: False)
def nothing(depth=6):
    return {{}}
nothing()
print(time.process_time() - started)
"""


def cold(folder: Path) -> float:
    """Decorate and call in a process of its own, after the registry was opened."""
    script = _SCRIPT.format(folder=str(folder))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return float(done.stdout)


def warm(folder: Path, times: int) -> list[Row]:
    """Calls in this process; the function alone beside them."""
    registry = mk.Registry(folder, durable=False)
    for _ in range(3):
        registry.save({"w": np.zeros(3)}, "churn", params={"depth": 7})

    def nothing(depth: int = 6) -> dict[str, int]:
        return {"depth": depth}

    without = registry.track("churn", save_if=lambda _, __: False)(nothing)
    improves = Improves("depth", mode="min")
    never = registry.track("churn", save_if=improves)(lambda: ({"w": 1}, {"depth": float("nan")}))
    works: list[Callable[[], object]] = [nothing, without, never]
    works += [lambda: registry.save({"depth": 6}, "churn"), registry.track("churn")(nothing)]
    for work in works:
        work()
    columns = in_turn(works, times, time.process_time)
    names = ["the function alone", "tracked, no save", "tracked, no better than before", "a save alone", "tracked"]
    limits = [None, WARM, WARM, None, None]
    return [Row(name, seconds, None, limit) for name, seconds, limit in zip(names, columns, limits, strict=True)]


def points(folder: Path, chunks: int) -> list[Row]:
    """One point, of one metric and of three; the least that keeps a number beside it."""
    registry = mk.Registry(folder, durable=False)
    rows = []
    with registry.run("churn") as run:
        kept: list[float] = []

        def least() -> None:
            for n in range(CHUNK):
                kept.append(n * 0.5)  # noqa: PERF401  a point at a time, as training has them

        def one() -> None:
            for n in range(CHUNK):
                run.log(loss=n * 0.5, step=n)

        def three() -> None:
            for n in range(CHUNK):
                run.log(loss=n * 0.5, auc=0.5, rate=0.1)

        columns = in_turn([least, one, three], chunks, time.process_time)
    for name, seconds, limit in zip(
        ("list.append", "run.log(loss=…, step=…)", "run.log of three metrics"),
        columns,
        (None, POINT, POINT),
        strict=True,
    ):
        rows.append(Row(name, [one / CHUNK for one in seconds], None, limit))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--cold", type=int, default=10)
    parser.add_argument("--chunks", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # that the same was run before is no news here
    with scratch(options.folder) as folder:
        first = Row("cold", [cold(folder / "cold") for _ in range(options.cold)], None, COLD)
        table("a function that does nothing, CPU", "", [first, *warm(folder / "warm", options.times)])
        table("a point, CPU", "", points(folder / "points", options.chunks))


if __name__ == "__main__":
    main()
