"""Memory that a save and a load of a large model take beyond the model: the peak of RssAnon.

Each is done in a process of its own, which this one watches: it reads ``RssAnon`` right before the work begins and
some thousand times a second until it is done. The model that is saved was there before. A load ends with one number
of each page read. Pages of mapped files count as RssFile or RssShmem, which the system takes back when it needs them,
and not as RssAnon; a peer that reads into memory of its own shows the model once, or twice.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import safetensors.numpy
from _measure import Size, folder_argument, only_argument, scratch, sizes
from _models import tensors, touch

import modelkeep as mk

LIMIT = 64 << 20  # bytes
PAUSE = 0.0005  # seconds between two looks

Work = Callable[[], object]
Prepare = Callable[[Path, int], Work]


def saving(write: Callable[[Path, Any, Any], Work], folder: Path, mebibytes: int) -> Work:
    """What saves a model that is in memory already."""
    whole, model = tensors(mebibytes, 16)
    return write(folder, whole, model)


def keep(folder: Path, _: Any, model: Any) -> Work:
    registry = warm(folder)
    return lambda: registry.save(model, "saved")


def loading(verify: str, folder: Path, _: int) -> Work:
    registry: Any = warm(folder)
    return lambda: touched(registry.load("large", verify=verify))


def warm(folder: Path) -> mk.Registry:
    """A registry that has saved and loaded in this process, so that all is imported."""
    registry = mk.Registry(folder / "registry", durable=False)
    registry.save({"w": np.zeros(4)}, "warm")
    touch(registry.load("warm"))
    return registry


def touched(model: Any) -> Any:
    """*model*, with one number of each page read."""
    touch(model)
    return model


WORKS: dict[str, Prepare] = {
    "save, modelkeep": partial(saving, keep),
    "save, np.save": partial(saving, lambda folder, whole, _: lambda: np.save(folder / "out", whole)),
    "save, safetensors": partial(
        saving, lambda folder, _, model: lambda: safetensors.numpy.save_file(model, folder / "out")
    ),
    "load, modelkeep, lazy": partial(loading, "lazy"),
    "load, modelkeep, checked": partial(loading, "now"),
    "load, np.load": lambda folder, _: lambda: touched(np.load(folder / "np.npy")),
    "load, np.load, mmap_mode='c'": lambda folder, _: lambda: touched(np.load(folder / "np.npy", mmap_mode="c")),
    "load, safetensors": lambda folder, _: lambda: touched(safetensors.numpy.load_file(folder / "st")),
}


def child(line: Connection, what: str, folder: Path, mebibytes: int) -> None:
    """Prepare, tell so, wait for the word, work, tell so, and hold the result until it was looked at."""
    work = WORKS[what](folder, mebibytes)
    line.send("ready")
    line.recv()
    held = work()
    line.send("done")
    line.recv()
    del held


def grown(what: str, folder: Path, mebibytes: int) -> int:
    """How far the anonymous memory of a fresh process rose, at its highest, during *what*."""
    context = multiprocessing.get_context("spawn")
    line, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs, what, folder, mebibytes))
    process.start()
    theirs.close()  # so that the line breaks if the child does
    status = Path(f"/proc/{process.pid}/status")
    line.recv()
    before = highest = anonymous(status)
    line.send("go")
    while not line.poll(PAUSE):
        highest = max(highest, anonymous(status))
    line.recv()
    highest = max(highest, anonymous(status))
    line.send("end")
    process.join()
    return highest - before


def anonymous(status: Path) -> int:
    """RssAnon of a process, in bytes."""
    lines = status.read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_argument(parser)
    only_argument(parser, ("save", "load"))
    parser.add_argument("--mebibytes", type=int, default=1024, help="how large the model is")
    parser.add_argument("--times", type=int, default=3, help="how often")
    options = parser.parse_args()
    names = [name for name in WORKS if name.startswith(options.only)]
    peaks: dict[str, list[int]] = {name: [] for name in names}
    with scratch(options.folder) as folder:
        whole, model = tensors(options.mebibytes, 16)
        mk.Registry(folder / "registry", durable=False).save(model, "large")
        np.save(folder / "np.npy", whole)
        safetensors.numpy.save_file(model, folder / "st")
        del whole, model
        for _ in range(options.times):
            for name in names:
                peaks[name].append(grown(name, folder, options.mebibytes))
                discard(folder)
    raw = options.mebibytes << 20
    rows = [Size(name, median(found), raw, LIMIT if "modelkeep" in name else None) for name, found in peaks.items()]
    sizes(f"anonymous memory beyond what was there, {options.mebibytes} MiB, median of {options.times}", "model", rows)
    print("mapped pages are RssFile or RssShmem, and not counted; a model that was read and not mapped is counted")


def discard(folder: Path) -> None:
    """Remove what a save left."""
    for path in [*folder.glob("out*"), *(folder / "registry" / "models" / "saved" / "data").glob("*")]:
        path.unlink()


if __name__ == "__main__":
    main()
