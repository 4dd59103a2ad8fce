"""A large model on a server: save against ``s3fs.put_file``, load against ``s3fs.get_file``; and 8 x 25 small saves.

Both sides speak to the same server in the same run, turn about. ``--on seaweedfs`` writes to a disk, ``--on moto`` to
memory. The server, the client and what else runs share the cores: look at the ratios.
"""

from __future__ import annotations

import argparse
import resource
import sys
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
    columns: dict[str, list[float]] = {"put_file": [], "save": [], "get_file": [], "load": []}
    for _ in range(times):
        bucket = f"bench-{uuid.uuid4().hex[:8]}"
        on.bucket(bucket)
        registry = mk.Registry(f"s3://{bucket}/registry", storage_options=on.options)
        registry.save({"w": np.zeros(1)}, "warm")
        columns["put_file"].append(timed(lambda at=f"{bucket}/plain": files.put_file(plain, at)))  # type: ignore[misc]
        columns["save"].append(timed(lambda to=registry: to.save(model, "large")))  # type: ignore[misc]
        columns["get_file"].append(timed(lambda at=f"{bucket}/plain": files.get_file(at, folder / "got")))  # type: ignore[misc]
        columns["load"].append(timed(lambda by=registry: by.load("large")))  # type: ignore[misc]
        files.rm(bucket, recursive=True)
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
    options.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the plain files lie")
    chosen = options.parse_args()
    model = model_of(chosen.mebibytes)
    with scratch(chosen.folder) as folder, server(chosen.on) as started:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows = compare(started, model, folder, chosen.times)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    table(f"{chosen.mebibytes} MiB on {chosen.on}; the limit is 1.11 x", "the plain transfer", rows)
    print(f"\nthe process grew by {grown} MiB at most, the loaded model of {chosen.mebibytes} MiB included")


if __name__ == "__main__":
    main()
