"""What a version of a kept dataset costs after 1 % of its rows changed: at the save, and after a compaction.

A table of 1,000,000 rows and 9 columns; 10,000 rows are replaced in one place, inserted, put in front, appended,
deleted, or replaced or deleted at random places. ``parquet`` is what `save_dataset(frame, keep=True)` writes. ``plain
parquet`` is a file that pyarrow wrote by its own defaults, and ``tensors`` a dict of arrays, kept as tensors: how each
fares says why Parquet is cut by content. A size is in bytes of packs, in parts of those of the first version.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _measure import Size, folder_argument, scratch, sizes
from pyarrow import parquet

import modelkeep as mk

LIMIT = 0.10


def made(rows: int, chance: np.random.Generator) -> pa.Table:
    """Rows such as a shop has."""
    start, steps = np.datetime64("2026-01-01", "us"), chance.integers(0, 5_000_000, rows).cumsum()
    regions = np.array(["north", "south", "east", "west", "overseas"])
    return pa.table(
        {
            "id": np.arange(rows),
            "when": start + steps.astype("timedelta64[us]"),
            "amount": np.round(chance.gamma(2, 50, rows), 2),
            "score": chance.normal(size=rows),
            "weight": chance.normal(size=rows).astype(np.float32),
            "count": chance.poisson(3, rows).astype(np.int32),
            "flag": chance.random(rows) < 0.3,
            "region": regions[chance.integers(0, 5, rows)],
            "customer": [f"c{number:07d}" for number in chance.integers(0, rows // 3 + 1, rows)],
        }
    )


def changes(old: pa.Table, new: pa.Table, chance: np.random.Generator) -> dict[str, Callable[[], pa.Table]]:
    """The ways in which rows change."""
    rows, few, half = len(old), len(new), len(old) // 2

    def joined(*parts: pa.Table) -> pa.Table:
        return pa.concat_tables(parts).combine_chunks()

    def at_random() -> pa.Table:
        take = np.arange(rows)
        take[np.sort(chance.choice(rows, few, replace=False))] = rows + np.arange(few)
        return joined(old, new).take(pa.array(take)).combine_chunks()

    def deleted() -> pa.Table:
        return old.take(pa.array(np.sort(chance.choice(rows, rows - few, replace=False)))).combine_chunks()

    return {
        "replaced in one place": lambda: joined(old.slice(0, half), new, old.slice(half + few)),
        "inserted": lambda: joined(old.slice(0, half), new, old.slice(half)),
        "put in front": lambda: joined(new, old),
        "appended": lambda: joined(old, new),
        "deleted": lambda: joined(old.slice(0, half), old.slice(half + few)),
        "replaced at random": at_random,
        "deleted at random": deleted,
        "replaced at random, 1 % appended": lambda: joined(at_random(), new),
    }


def as_table(table: pa.Table) -> Any:
    return table


def as_file(folder: Path, table: pa.Table) -> Any:
    """A file that pyarrow writes by itself."""
    folder.mkdir(exist_ok=True)
    parquet.write_table(table, folder / "table.parquet")
    return folder / "table.parquet"


def as_tensors(table: pa.Table) -> Any:
    """The columns as arrays; text as the numbers of its different values, which is the least that it can be."""

    def column(one: Any) -> Any:
        whole = one.combine_chunks()
        whole = whole.dictionary_encode().indices if pa.types.is_string(whole.type) else whole
        found = whole.to_numpy(zero_copy_only=False)
        return found.view("i8") if found.dtype.kind == "M" else found

    return {name: column(table.column(name)) for name in table.column_names}


def packs(registry: mk.Registry) -> int:
    return registry.storage.usage().stored


def measured(folder: Path, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[int, int, int]:
    """The bytes of one version, what the next adds at the save, and both after a compaction, which packs both."""
    registry = mk.Registry(folder, durable=False)
    registry.save_dataset(first(), "sales", keep=True, profile=False)
    one = packs(registry)
    registry.save_dataset(second(), "sales", keep=True, profile=False)
    both = packs(registry)
    registry.storage.compact()
    return one, both - one, packs(registry)


def report(folder: Path, title: str, form: Callable[[pa.Table], Any], old: pa.Table, ways: dict[str, Any]) -> None:
    rows = []
    for number, (how, change) in enumerate(ways.items()):
        one, added, compacted = measured(folder / f"{title}-{number}", partial(form, old), partial(form, change()))
        rows += [Size(f"{how}: added", added, one, LIMIT * one), Size("… both, compacted", compacted, one)]
    sizes(f"{title}: the first version takes {one / 2**20:.1f} MiB", "first", rows)


def speed(folder: Path, old: pa.Table) -> None:
    registry = mk.Registry(folder / "speed", durable=False)
    began = time.process_time()
    version = registry.save_dataset(old, "sales", keep=True, profile=False)
    saved = time.process_time()
    assert version.load().equals(old)
    loaded = time.process_time()
    print(f"\nof {old.nbytes / 1e6:.0f} MB in memory: save {saved - began:.2f} s, load {loaded - saved:.2f} s of CPU")


def in_a_row(folder: Path, table: pa.Table, chance: np.random.Generator, count: int = 10) -> None:
    """Versions of which each has 1 % of its rows replaced at random places: what each adds, and what the loads take."""
    registry = mk.Registry(folder / "row", durable=False)
    stored, saves, loads, few = [0], list[float](), list[float](), len(table) // 100
    for number in range(1, count + 1):
        began = time.process_time()
        version = registry.save_dataset(table, "sales", keep=True, profile=False)
        saves.append(time.process_time() - began)
        stored.append(packs(registry))
        began = time.process_time()
        assert version.load().equals(table), number
        loads.append(time.process_time() - began)
        table = changes(table, made(few, chance), chance)["replaced at random"]()
    added = [(new - old) / stored[1] for old, new in pairwise(stored)]
    print(f"\n{count} versions in a row, 1 % replaced at random in each; in parts of the first, and seconds of CPU")
    for title, listed in (("added", added), ("save", saves), ("load", loads)):
        print(f"{title:6}" + "".join(f"{value:7.3f}" for value in listed))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    folder_argument(options)
    chosen = options.parse_args()
    chance = np.random.default_rng(0)
    old, new = made(chosen.rows, chance), made(chosen.rows // 100, chance)
    ways = changes(old, new, chance)
    with scratch(chosen.folder) as folder:
        report(folder, "parquet", as_table, old, ways)
        report(folder, "plain parquet", partial(as_file, folder / "files"), old, ways)
        report(folder, "tensors", as_tensors, old, ways)
        speed(folder, old)
        in_a_row(folder, old, chance)


if __name__ == "__main__":
    main()
