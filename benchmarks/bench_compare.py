"""Comparing the tensors of two large versions: how fast, and with how much memory, against loading both and NumPy.

Rates count the bytes of both models. ``all``: every number of the second moved; ``few``: those of one of 16 tensors,
and the others are known to be equal by their digests; ``stored``: every number moved, and the first was compacted, so
that nothing of it can be mapped. Memory is the peak of RssAnon of a fresh process, see ``bench_memory.py``. Give
``--folder`` a memory disk; it takes some eight times the model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import bench_memory
import numpy as np
import safetensors.numpy
from _measure import Rate, Size, folder_argument, in_turn, rates, scratch, sizes
from _models import tensors

import modelkeep as mk
from modelkeep.tensorchange import tensor_changes

RATE = 1e9  # bytes in a second, of both models
LIMIT = 64 << 20  # bytes

Work = Callable[[], object]


def versions(folder: Path) -> mk.RegisteredModel:
    return mk.Registry(folder / "registry", durable=False).model("large")


def ours(folder: Path, numbers: tuple[int, int]) -> Work:
    """Each time as a process that has just opened the registry."""
    return lambda: tensor_changes(*(versions(folder).version(number) for number in numbers))


def naive(folder: Path) -> Work:
    def compare() -> dict[str, float]:
        old, new = (safetensors.numpy.load_file(folder / name) for name in ("old", "new"))
        return {name: float(np.linalg.norm(new[name] - old[name]) / np.linalg.norm(old[name])) for name in old}

    return compare


WORKS: dict[str, Callable[[Path], Work]] = {
    "modelkeep, all": partial(ours, numbers=(1, 3)),
    "modelkeep, few": partial(ours, numbers=(1, 2)),
    "modelkeep, stored": lambda folder: ours(folder / "packed", (1, 3)),
    "safetensors and NumPy, all": naive,
}


def make(folder: Path, mebibytes: int) -> None:
    """The models: one, one of which all numbers moved, and one of which those of a tensor did."""
    whole, model = tensors(mebibytes, 16)
    registry = mk.Registry(folder / "registry", durable=False)
    registry.save(model, "large")
    safetensors.numpy.save_file(model, folder / "old")
    model["t3"] *= np.float32(1.01)
    registry.save(model, "large")
    whole *= np.float32(1.001)
    registry.save(model, "large")
    safetensors.numpy.save_file(model, folder / "new")
    del whole, model
    packed = mk.Registry(folder / "packed" / "registry", durable=False)
    packed.pull("large", source=registry)
    packed.get("large:3").promote("production")
    packed.storage.compact("large")  # by name: it was pulled


def warmed(what: str, folder: Path, _: int) -> Work:
    """Everything that is imported is there before memory is looked at."""
    registry: Any = mk.Registry("memory://warm")
    tensor_changes(registry.save({"w": np.zeros(4)}, "warm"), registry.save({"w": np.ones(4)}, "warm"))
    return WORKS[what](folder)


bench_memory.WORKS.update({name: partial(warmed, name) for name in WORKS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_argument(parser)
    parser.add_argument("--mebibytes", type=int, default=1024, help="how large each model is")
    parser.add_argument("--times", type=int, default=3, help="how often")
    parser.add_argument("--cpu", action="store_true", help="reckon by the CPU of all threads, not by the clock")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    with scratch(options.folder) as folder:
        make(folder, options.mebibytes)
        both = 2 * options.mebibytes << 20
        works = [prepare(folder) for prepare in WORKS.values()]
        times = dict(zip(WORKS, in_turn(works, options.times, clock), strict=True))
        base = [both / taken for taken in times["safetensors and NumPy, all"]]
        rows = [Rate(name, both, taken, base, RATE if "modelkeep" in name else None) for name, taken in times.items()]
        rates(f"two models of {options.mebibytes} MiB; bytes of both in a second", "naive", rows)
        peaks = {
            name: median(bench_memory.grown(name, folder, options.mebibytes) for _ in range(options.times))
            for name in WORKS
        }
        limits = [Size(name, peak, both / 2, LIMIT if "modelkeep" in name else None) for name, peak in peaks.items()]
        sizes(f"anonymous memory beyond what was there, median of {options.times}", "one model", limits)


if __name__ == "__main__":
    main()
