"""A large model on a server, whole and one tensor of it.

``whole``: save against ``s3fs.put_file``, load against ``s3fs.get_file``, turn about; nothing is deduplicated, since
each save is of a new name, and nothing is cached on this machine. ``tensor``: the bytes that one tensor moves in a
process that knows nothing yet. ``--on seaweedfs`` writes to files, ``--on moto`` keeps objects in memory. The server,
the client and what else runs share the cores: look at the ratios.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
from _measure import Row, Size, only_argument, scratch, sizes, table, timed
from s3fs import S3FileSystem

import modelkeep as mk
from modelkeep.stores import open_store
from modelkeep.stores.wrappers import Wrapper
from servers import running
from servers.running import Server

TENSOR = 8 << 20  # bytes
RATE = 0.9  # of the plain transfer's, at least
OVER = 16 << 20  # bytes that a tensor may move beyond its own


def model_of(mebibytes: int) -> dict[str, Any]:
    """Tensors of random numbers, so that nothing can be compressed or found twice."""
    random = np.random.default_rng(0)
    count = mebibytes * (1 << 20) // TENSOR
    return {f"layer.{n}": random.random(TENSOR // 8) for n in range(count)}


@contextmanager
def server(name: str) -> Iterator[Server]:
    starts: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "seaweedfs": partial(running.seaweedfs, volumes=400),
        "moto": running.moto,
    }
    with starts[name]() as started:
        yield started


def compare(on: Server, model: dict[str, Any], folder: Path, times: int) -> list[Row]:
    """Save and load *model*, turn about with a file of the same bytes that s3fs puts and gets."""
    plain = folder / "plain"
    plain.write_bytes(b"".join(tensor.tobytes() for tensor in model.values()))
    files = S3FileSystem(**on.options, skip_instance_cache=True, use_listings_cache=False)
    bucket = new_bucket(on)
    registry = mk.Registry(f"s3://{bucket}/registry", storage_options=on.options, cache=False)
    registry.save({"w": np.zeros(1)}, "warm")
    files.put_file(plain, f"{bucket}/warm")
    columns: dict[str, list[float]] = {name: [] for name in ("put_file", "save", "get_file", "load")}
    for turn in range(times):
        works: dict[str, Callable[[], object]] = {
            "put_file": lambda: files.put_file(plain, f"{bucket}/plain"),
            "save": partial(registry.save, model, f"large-{turn}"),
            "get_file": lambda: files.get_file(f"{bucket}/plain", folder / "got"),
            "load": partial(registry.load, f"large-{turn}"),
        }
        # what was written last is still on its way to the disk: each goes first as often as the other
        for pair in (("put_file", "save"), ("get_file", "load")):
            for name in pair[:: 1 if turn % 2 else -1]:
                columns[name].append(timed(works[name]))
    return [
        Row("s3fs.put_file", columns["put_file"]),
        Row("save", columns["save"], columns["put_file"], median(columns["put_file"]) / RATE),
        Row("s3fs.get_file", columns["get_file"]),
        Row("load", columns["load"], columns["get_file"], median(columns["get_file"]) / RATE),
    ]


def new_bucket(on: Server) -> str:
    bucket = f"bench-{uuid.uuid4().hex[:8]}"
    on.bucket(bucket)
    return bucket


def whole(on: Server, model: dict[str, Any], folder: Path, times: int) -> None:
    """How long a model takes both ways, and how far the process grows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = compare(on, model, folder, times)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    size = sum(tensor.nbytes for tensor in model.values()) >> 20
    table(f"{size} MiB on {on.kind}; limit: the plain transfer / {RATE}", "the plain transfer", rows)
    print(f"\nthe process grew by {grown} MiB at most, the loaded model of {size} MiB included")


class Moved(Wrapper):
    """Sums the bytes that are read."""

    def __init__(self, within: Any) -> None:
        super().__init__(within)
        self._moved: list[int] = []  # appended to by several threads at once

    @property
    def moved(self) -> int:
        return sum(self._moved)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        value = super().get(key, span)
        self._moved.append(len(value))
        return value

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        count = self.within.get_into(key, offset, target)
        self._moved.append(count)
        return count

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        found = super().get_many(keys)
        self._moved.extend(map(len, found.values()))
        return found


def moved_for(url: str, storage_options: dict[str, Any], name: str) -> tuple[int, int]:
    """The bytes that tensor *name* moves, and its own; called in a fresh process."""
    os.environ["MODELKEEP_CACHE"] = "off"
    store = Moved(open_store(url, storage_options=storage_options))
    tensor: Any = mk.Registry(store).get("large").tensors[name]
    return store.moved, tensor.nbytes


def one_tensor(on: Server, model: dict[str, Any], _: Path, __: int) -> None:
    """What a tensor out of the middle moves; a count, and so the same each time."""
    url = f"s3://{new_bucket(on)}/registry"
    mk.Registry(url, storage_options=on.options).save(model, "large")
    name = list(model)[len(model) // 2]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        moved, own = pool.apply(moved_for, (url, on.options, name))
    assert own == model[name].nbytes
    size = sum(tensor.nbytes for tensor in model.values())
    rows = [Size("the tensor", own, own), Size("moved for it", moved, own, own + OVER), Size("the model", size, own)]
    sizes(f"one tensor of {len(model)} on {on.kind}, fresh process, no cache", "the tensor", rows)


PARTS: dict[str, Callable[[Server, dict[str, Any], Path, int], None]] = {"whole": whole, "tensor": one_tensor}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    only_argument(options, PARTS)
    options.add_argument("--on", choices=["seaweedfs", "moto"], default="seaweedfs", help="the server")
    options.add_argument("--mebibytes", type=int, default=1024, help="how large the model is")
    options.add_argument("--times", type=int, default=5, help="how often")
    options.add_argument(
        "--folder", type=Path, default=Path("/dev/shm"), help="where the server's and the plain files lie"
    )
    chosen = options.parse_args()
    tempfile.tempdir = str(chosen.folder)  # where the server keeps its objects
    model = model_of(chosen.mebibytes)
    for part in chosen.only:
        with scratch(chosen.folder) as folder, server(chosen.on) as started:
            PARTS[part](started, model, folder, chosen.times)


if __name__ == "__main__":
    main()
