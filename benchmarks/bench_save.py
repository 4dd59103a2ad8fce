"""What a save costs: a tiny model up to the 10,000th version, and a small forest against joblib and pins."""

from __future__ import annotations

import argparse
import io
import json
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Row, folder_argument, in_turn, scratch, table, timed

import modelkeep as mk

BANDS = ((1, 100), (100, 1000), (1000, 10_000))
TINY = {"w": np.arange(16.0)}
FORESTS = 17  # a prime, and more than a save looks back
SAVED: dict[str, Any] = {"params": {"depth": 6}, "metrics": {"auc": 0.91}}


class Prototype:
    """The least that two atomic files can cost: bytes by rename, a JSON entry by link, no digests, no fold."""

    def __init__(self, folder: Path) -> None:
        self.data, self.entries = folder / "data", folder / "entries"
        self.data.mkdir(parents=True)
        self.entries.mkdir()
        self.number = 0

    def save(self) -> None:
        self.number += 1
        name = uuid.uuid4().hex
        part, entry = f"{self.data}/.{name}", f"{self.entries}/.{name}"
        with open(part, "xb") as file:  # noqa: PTH123  as cheap as it gets
            file.write(TINY["w"].tobytes())
        os.rename(part, f"{self.data}/{name}")  # noqa: PTH104  see above
        with open(entry, "xb") as file:  # noqa: PTH123  see above
            file.write(json.dumps({"n": self.number, "tx": name, **SAVED}).encode())
        os.link(entry, f"{self.entries}/{self.number:020d}.json")
        os.unlink(entry)  # noqa: PTH108  see above


def tiny(folder: Path, versions: int) -> None:
    """CPU of each of *versions* saves, turn about with the prototype and with a store that is no disk."""
    local = mk.Registry(folder / "tiny", durable=False)
    memory = mk.Registry("memory://bench-save")
    prototype = Prototype(folder / "prototype")
    for warm in (mk.Registry("memory://bench-warm"), mk.Registry(folder / "warm", durable=False)):
        warm.save(TINY, "warm", **SAVED)
    saves = [
        prototype.save,
        lambda: local.save(TINY, "churn", **SAVED),
        lambda: memory.save(TINY, "churn", **SAVED),
    ]
    base, disk, none = in_turn(saves, versions, time.process_time)
    for first, last in BANDS:
        if first < versions:
            part = slice(first - 1, min(last, versions))
            table(f"CPU of a save, tiny model, versions {first} to {min(last, versions)}, durable=False", "prototype", [
                Row("prototype: two files, no digests", base[part]),
                Row("modelkeep", disk[part], base[part], 0.0005),
                Row("modelkeep, memory store", none[part], base[part]),
            ])  # fmt: skip


def forest(seed: int = 0) -> Any:
    """A random forest that joblib writes in some 150 KiB."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_breast_cancer(return_X_y=True)
    return RandomForestClassifier(n_estimators=40, random_state=seed).fit(x, y)


def pins_save(folder: Path, models: Iterator[Any]) -> Callable[[], object] | None:
    """Save with pins, or None if it is not installed."""
    try:
        from pins import board_folder
    except ImportError:
        return None
    board = board_folder(str(folder / "pins"), allow_pickle_read=True)

    def save() -> None:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # it announces each pin
            warnings.simplefilter("ignore")
            board.pin_write(next(models), f"forest-{uuid.uuid4().hex}", type="joblib")

    return save


def joblib_synced(joblib: Any, model: Any, path: Path) -> None:
    """joblib.dump, and the two fsyncs that keep it through a power cut."""
    joblib.dump(model, path)
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def small_forest(folder: Path, times: int) -> None:
    """Wall of a save of a forest, turn about with joblib and pins; each time another one, so that nothing is shared."""
    import joblib

    models = cycle([forest(seed) for seed in range(FORESTS)])
    plain = folder / "joblib"
    plain.mkdir()
    fast = mk.Registry(folder / "forest", durable=False)
    durable = mk.Registry(folder / "forest-durable")
    names = iter(range(10**9))
    works: dict[str, Callable[[], object]] = {
        "joblib.dump": lambda: joblib.dump(next(models), plain / f"{next(names)}.joblib"),
        "modelkeep, durable=False": lambda: fast.save(next(models), "forest"),
        "joblib.dump and 2 fsyncs": lambda: joblib_synced(joblib, next(models), plain / f"{next(names)}.joblib"),
        "modelkeep, durable": lambda: durable.save(next(models), "forest"),
    }
    if pins := pins_save(folder, models):
        works["pins, joblib"] = pins
    for work in works.values():
        timed(work)
    measured = dict(zip(works, in_turn(list(works.values()), times), strict=True))
    size = (plain / "0.joblib").stat().st_size
    limits = {"modelkeep, durable=False": 1.3 * sorted(measured["joblib.dump"])[times // 2]}
    rows = [Row(name, seconds, measured["joblib.dump"], limits.get(name)) for name, seconds in measured.items()]
    table(f"wall of a save, forest of {size / 1024:.0f} KiB", "joblib.dump", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=100)
    options = parser.parse_args()
    with scratch(options.folder) as folder:
        tiny(folder, options.versions)
        small_forest(folder, options.times)


if __name__ == "__main__":
    main()
