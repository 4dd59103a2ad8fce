"""A large model on a server: save against ``s3fs.put_file``, load against ``s3fs.get_file``; and 8 x 25 small saves.

Both sides speak to the same server in the same run, turn about. ``--on seaweedfs`` writes to files, ``--on moto``
keeps objects in memory. The server, the client and what else runs share the cores: look at the ratios.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
from _measure import Row, scratch, table, timed
from s3fs import S3FileSystem

import modelkeep as mk
from servers import running
from servers.running import Server

TENSOR = 8 << 20  # bytes
LIMIT = 0.9  # of the plain transfer's rate


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
    bucket = f"bench-{uuid.uuid4().hex[:8]}"
    on.bucket(bucket)
    registry = mk.Registry(f"s3://{bucket}/registry", storage_options=on.options)
    registry.save({"w": np.zeros(1)}, "warm")
    files.put_file(plain, f"{bucket}/warm")
    works: dict[str, Callable[[], object]] = {
        "put_file": lambda: files.put_file(plain, f"{bucket}/plain"),
        "save": lambda: registry.save(model, "large"),
        "get_file": lambda: files.get_file(f"{bucket}/plain", folder / "got"),
        "load": lambda: registry.load("large"),
    }
    columns: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(times):
        # what was written last is still on its way to the disk: each goes first as often as the other
        for pair in (("put_file", "save"), ("get_file", "load")):
            for name in pair[:: 1 if turn % 2 else -1]:
                columns[name].append(timed(works[name]))
    return [
        Row("s3fs.put_file", columns["put_file"]),
        Row("save", columns["save"], columns["put_file"]),
        Row("s3fs.get_file", columns["get_file"]),
        Row("load", columns["load"], columns["get_file"]),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--on", choices=["seaweedfs", "moto"], default="seaweedfs", help="the server")
    options.add_argument("--mebibytes", type=int, default=1024, help="how large the model is")
    options.add_argument("--times", type=int, default=5, help="how often")
    options.add_argument(
        "--folder", type=Path, default=Path("/dev/shm"), help="where the server's and the plain files lie"
    )
    chosen = options.parse_args()
    tempfile.tempdir = str(chosen.folder)  # where the server keeps its objects
    model = model_of(chosen.mebibytes)
    with scratch(chosen.folder) as folder, server(chosen.on) as started:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = compare(started, model, folder, chosen.times)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    table(f"{chosen.mebibytes} MiB on {chosen.on}; the limit is 1.11 x", "the plain transfer", rows)
    print(f"\nthe process grew by {grown} MiB at most, the loaded model of {chosen.mebibytes} MiB included")


if __name__ == "__main__":
    main()
