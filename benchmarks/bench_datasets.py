"""How fast data is described: a mixed frame of a million rows and a file, beside what others hash them with."""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
from _measure import Row, folder_argument, in_turn, scratch, table

from modelkeep.capture.frames import describe
from modelkeep.capture.frames.files import DIGESTS
from modelkeep.digest import digest


def mixed(rows: int) -> Any:
    """Ten columns: numbers, whole numbers, text of many and of few values, a moment; some values are missing."""
    draw = np.random.default_rng(0)
    words = np.array([f"place {number}" for number in range(5000)])
    frame = pd.DataFrame(
        {f"number {place}": draw.normal(size=rows) for place in range(4)}
        | {f"whole {place}": draw.integers(0, 10**6, rows) for place in range(2)}
        | {"small": draw.integers(0, 5, rows).astype("i1")}
        | {"text": words[draw.integers(0, 5000, rows)], "side": words[draw.integers(0, 10, rows)]}
        | {"when": pd.Timestamp("2026-01-01") + pd.to_timedelta(draw.integers(0, 10**6, rows), unit="s")}
    )
    frame.loc[::11, ["number 0", "text"]] = None
    return frame


def frames(rows: int, times: int, clock: Any) -> None:
    frame = mixed(rows)
    other = pl.from_pandas(frame)
    facts = describe(frame)
    assert facts.size is not None
    assert facts.fingerprint == describe(other).fingerprint
    works = [
        lambda: pd.util.hash_pandas_object(frame),
        lambda: describe(frame),
        lambda: describe(other),
        lambda: describe(frame, sketch=False),
        lambda: describe(frame, profile=False, sketch=False),
        lambda: describe(other, profile=False, sketch=False),
        lambda: joblib.hash(frame),
    ]
    names = ["pandas.util.hash_pandas_object", "describe, pandas", "describe, polars", "… without sketch, pandas"]
    names += ["… fingerprint and schema alone, pandas", "… polars", "joblib.hash"]
    taken = in_turn(works, times, clock)
    limit = facts.size / 0.25e9
    rows_of = [
        Row(name, seconds, taken[0], limit if name.startswith(("describe", "…")) else None)
        for name, seconds in zip(names, taken, strict=True)
    ]
    table(f"A frame of {rows:,} rows, {facts.size / 1e6:.0f} MB; the limit is 0.25 GB/s", "hash_pandas_object", rows_of)
    for name, seconds in zip(names, taken, strict=True):
        print(f"{name:42} {facts.size / np.median(seconds) / 1e9:6.2f} GB/s")


def files(folder: Path, size: int, times: int, clock: Any) -> None:
    path = folder / "data.bin"
    raw = np.random.default_rng(1).bytes(size)
    path.write_bytes(raw)

    def anew() -> None:
        DIGESTS.forget()
        describe(path)

    def by_sha() -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    describe(path)
    time.sleep(2.1)  # what was changed so lately is read again
    describe(path)
    names = ["BLAKE3 in memory", "describe", "describe, unchanged", "hashlib sha256"]
    taken = in_turn([lambda: digest(raw), anew, lambda: describe(path), by_sha], times, clock)
    rows_of = [Row(name, seconds, taken[0]) for name, seconds in zip(names, taken, strict=True)]
    table(f"A file of {size / 1e6:.0f} MB", "BLAKE3 in memory", rows_of)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes of the file")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="CPU of all threads in place of the clock on the wall")
    folder_argument(parser)
    given = parser.parse_args()
    clock = time.process_time if given.cpu else time.perf_counter
    with scratch(given.folder) as folder:
        frames(given.rows, given.times, clock)
        files(folder, given.size, given.times, clock)


if __name__ == "__main__":
    main()
