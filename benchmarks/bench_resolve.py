"""What it costs to find the version under an alias, warm, on a local disk."""

from __future__ import annotations

import argparse
import io
import os
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from pathlib import Path

import numpy as np
from _measure import Row, folder_argument, in_turn, scratch, table

import modelkeep as mk
from modelkeep import _resolve
from modelkeep.stores import open_store
from modelkeep.stores.wrappers import Recording


def missing_file(path: str) -> None:
    """The least that proves that no newer entry is there: one open that fails."""
    with suppress(FileNotFoundError):
        os.open(path, os.O_RDONLY)


def pins_meta(folder: Path, versions: int) -> Callable[[], object] | None:
    """Find the latest version of a pin, or None if pins is not installed; it has no aliases."""
    try:
        from pins import board_folder
    except ImportError:
        return None
    board = board_folder(str(folder / "pins"), allow_pickle_read=True)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # it announces each pin
        warnings.simplefilter("ignore")
        for number in range(versions):
            board.pin_write({"w": number}, "churn", type="json")
    return lambda: board.pin_meta("churn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--times", type=int, default=3000)
    parser.add_argument("--versions", type=int, default=20)
    options = parser.parse_args()
    with scratch(options.folder) as folder:
        store = Recording(open_store(os.fspath(folder / "registry"), durable=False))
        writer = mk.Registry(store)
        for _ in range(options.versions):
            version = writer.save({"w": np.arange(16.0)}, "churn")
        version.promote("production")

        registry = mk.Registry(folder / "registry", durable=False)
        registry.get("churn@production")
        line, ref = registry._existing("churn"), mk.ModelRef.parse("churn@production")  # noqa: SLF001  the raw step
        absent = os.fspath(folder / "registry" / "models" / "churn" / "releases" / f"{2:020d}.json")
        works: dict[str, Callable[[], object]] = {
            "open of a missing file": lambda: missing_file(absent),
            "alias to number and place": lambda: _resolve.find(line, ref),
            'registry.get("churn@production")': lambda: registry.get("churn@production"),
            'registry.model("churn").aliases': lambda: registry.model("churn").aliases,
            'registry.load("churn@production")': lambda: registry.load("churn@production"),
        }
        if pins := pins_meta(folder, options.versions):
            works["pins: pin_meta of the latest"] = pins
        for work in works.values():
            work()
        measured = dict(zip(works, in_turn(list(works.values()), options.times), strict=True))
        base = measured["open of a missing file"]
        limited = ("alias to number and place", 'registry.get("churn@production")')
        rows = [Row(name, seconds, base, 0.00005 if name in limited else None) for name, seconds in measured.items()]
        table("wall, warm", "open", rows)

        store.forget()
        writer.get("churn@production")
        print(f"\nrequests of a warm get by alias: {dict(store.counts())}")


if __name__ == "__main__":
    main()
