"""A large model on a disk: save, load, and a second save of which a twentieth is new, against the bare bytes.

``save``: 16 tensors against `numpy.save`, safetensors, joblib and a bare write of the same bytes. ``load``: mapped
unchecked, mapped and checked, against BLAKE3 of the packs and of the same bytes in memory, and against the peers.
``again``: the second save, against BLAKE3 of the model in memory. ``forest``: a small one, see ``bench_save.py``.
Give ``--folder`` a memory disk, or the disk is what is measured; it takes some four times the model.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import bench_save
import joblib
import numpy as np
import safetensors.numpy
from _measure import Row, folder_argument, in_turn, only_argument, scratch, table
from _models import Tensors, renew, tensors
from blake3 import blake3

import modelkeep as mk

PART = 8 << 20  # bytes
OF_NUMPY = 0.8  # of the rate of np.save
OF_HASH = 0.9  # of the rate of BLAKE3, for a checked load
OF_HASH_AGAIN = 0.8  # the same, for a save that finds nearly all of its bytes stored
LAZY = 0.005  # seconds

Works = dict[str, Callable[[], object]]


def written(path: Path, whole: Any) -> None:
    """The bare bytes, in parts."""
    view = memoryview(whole).cast("B")
    with path.open("xb", buffering=0) as file:
        for start in range(0, len(view), PART):
            file.write(view[start : start + PART])


def read(path: Path, size: int) -> Any:
    """The bare bytes, into fresh memory."""
    target: Any = np.empty(size, np.uint8)
    view = memoryview(target)
    with path.open("rb", buffering=0) as file:
        for start in range(0, size, PART):
            file.readinto(view[start : start + PART])
    return target


def in_memory(whole: Any, threads: int) -> bytes:
    """BLAKE3 of an array."""
    return blake3(whole.reshape(-1).view(np.uint8), max_threads=threads).digest()


def hashed(paths: list[Path]) -> None:
    """BLAKE3 of files, mapped, on all cores."""
    for path in paths:
        blake3(max_threads=blake3.AUTO).update_mmap(path).digest()


def measured(works: Works, times: int, after: Callable[[], object] = lambda: None) -> dict[str, list[float]]:
    """The times of *works*, turn about, after each was tried once."""
    for work in works.values():
        work()
        after()
    return dict(zip(works, in_turn(list(works.values()), times, after=after), strict=True))


def save(folder: Path, mebibytes: int, times: int) -> None:
    """Every save is of a new model, and gone before the next one begins."""
    whole, model = tensors(mebibytes, 16)
    registry = mk.Registry(folder / "registry", durable=False)
    registry.save({"w": np.zeros(4)}, "warm")
    place = folder / "files"
    place.mkdir()
    new: Iterator[int] = count()

    def clear() -> None:
        for path in place.iterdir():
            path.unlink()
        for path in (folder / "registry" / "models").glob("large-*"):
            shutil.rmtree(path)

    columns = measured(
        {
            "np.save, one array": lambda: np.save(place / "np.npy", whole),
            "modelkeep": lambda: registry.save(model, f"large-{next(new)}"),
            "safetensors.save_file": lambda: safetensors.numpy.save_file(model, place / "st"),
            "bare write, 8 MiB parts": lambda: written(place / "bare", whole),
            "joblib.dump": lambda: joblib.dump(model, place / "joblib"),
        },
        times,
        clear,
    )
    base = columns["np.save, one array"]
    limits = {"modelkeep": median(base) / OF_NUMPY}
    rows = [Row(name, seconds, base, limits.get(name)) for name, seconds in columns.items()]
    table(f"save {mebibytes} MiB, 16 tensors, durable=False; limit: np.save / {OF_NUMPY}", "np.save", rows)


def load(folder: Path, mebibytes: int, times: int) -> None:
    """Everything lies in the page cache, or on the memory disk."""
    whole, model = tensors(mebibytes, 16)
    registry = mk.Registry(folder / "registry", durable=False)
    registry.save(model, "large")
    packs = sorted((folder / "registry" / "models" / "large" / "data").iterdir())
    npy, st, dump = folder / "np.npy", folder / "st", folder / "joblib"
    np.save(npy, whole)
    safetensors.numpy.save_file(model, st)
    joblib.dump(model, dump)
    columns = measured(
        {
            "blake3 of the packs, mapped": lambda: hashed(packs),
            "modelkeep, checked": lambda: registry.load("large", verify="now"),
            "modelkeep, lazy": lambda: registry.load("large", verify="lazy"),
            "modelkeep, lazy, just opened": lambda: mk.Registry(folder / "registry").load("large", verify="lazy"),
            "blake3 in memory, one thread": lambda: in_memory(whole, 1),
            "blake3 in memory, all threads": lambda: in_memory(whole, blake3.AUTO),
            "np.load, one array": lambda: np.load(npy),
            "np.load, mmap_mode='c'": lambda: np.load(npy, mmap_mode="c"),
            "safetensors.load_file": lambda: safetensors.numpy.load_file(st),
            "joblib.load": lambda: joblib.load(dump),
            "bare read, fresh memory": lambda: read(npy, whole.nbytes),
        },
        times,
    )
    base = columns["blake3 of the packs, mapped"]
    limits = {
        "modelkeep, checked": median(base) / OF_HASH,
        "modelkeep, lazy": LAZY,
        "modelkeep, lazy, just opened": LAZY,
    }
    rows = [Row(name, seconds, base, limits.get(name)) for name, seconds in columns.items()]
    table(f"load {mebibytes} MiB; limit of checked: blake3 of the packs / {OF_HASH}", "blake3 of the packs", rows)


def again(folder: Path, mebibytes: int, times: int) -> None:
    """Each save is the next version of one model, and 5 % of its tensors are new."""
    whole, model = tensors(mebibytes, 100)
    registry = mk.Registry(folder / "registry", durable=False)
    registry.save(model, "large")
    random = np.random.default_rng(1)
    columns = measured(
        {
            "blake3 in memory, all threads": lambda: in_memory(whole, blake3.AUTO),
            "modelkeep, second save": lambda: registry.save(model, "large"),
            "blake3 in memory, one thread": lambda: in_memory(whole, 1),
        },
        times,
        changing(model, random, works=3),
    )
    base = columns["blake3 in memory, all threads"]
    limits = {"modelkeep, second save": median(base) / OF_HASH_AGAIN}
    rows = [Row(name, seconds, base, limits.get(name)) for name, seconds in columns.items()]
    title = f"save {mebibytes} MiB again, 5 of 100 tensors new; limit: blake3 on all threads / {OF_HASH_AGAIN}"
    table(title, "blake3, all threads", rows)


def changing(model: Tensors, random: np.random.Generator, works: int) -> Callable[[], None]:
    """Change 5 % of *model* at each call of *works*, so that each round sees one change."""
    calls = count(1)

    def change() -> None:
        if next(calls) % works == 0:
            renew(model, random, 0.05)

    return change


PARTS: dict[str, Callable[[Path, int, int], None]] = {
    "save": save,
    "load": load,
    "again": again,
    "forest": lambda folder, _, times: bench_save.small_forest(folder, 10 * times),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_argument(parser)
    only_argument(parser, PARTS)
    parser.add_argument("--mebibytes", type=int, default=1024, help="how large the model is; a power of two")
    parser.add_argument("--times", type=int, default=7, help="how often")
    options = parser.parse_args()
    for part in options.only:
        with scratch(options.folder) as folder:
            PARTS[part](folder, options.mebibytes, options.times)


if __name__ == "__main__":
    main()
