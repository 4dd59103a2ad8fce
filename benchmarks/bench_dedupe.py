"""What versions that share bytes take on disk, against Xet, which uploads the same files to a folder.

``tensors``: ten versions, of which 5 % of the tensors change each time. ``front``: ten versions of a pickled forest,
each with some more bytes put in front. ``forest``: a forest, and the same with ten more trees. Sizes depend little on
the machine, so each is taken once. Of Xet only what a server would keep is counted, xorbs and shards: neither its
index nor its caches.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from _measure import Size, folder_argument, only_argument, scratch, sizes
from _models import growing_forest, renew, tensors, under
from _peers import xet

import modelkeep as mk

INSERTED = (37, 1, 1000, 4096, 3, 100, 65_537, 12, 500)  # bytes, each in front of all that was there before


def stored(folder: Path, versions: Iterable[tuple[object, Path]]) -> tuple[list[int], list[int]]:
    """The bytes that modelkeep, and Xet if it is there, hold after each version: an object, and a file of it.

    The file may be gone once the next version is asked for.
    """
    registry, peer = mk.Registry(folder / "registry", durable=False), xet(folder / "xet")
    kept: list[int] = []
    theirs: list[int] = []
    for model, file in versions:
        registry.save(model, "model")
        kept.append(under(folder / "registry"))
        if peer:
            peer.save(file)
            theirs.append(peer.stored())
    return kept, theirs


def compared(title: str, raw: int, share: float, kept: list[int], theirs: list[int]) -> None:
    """Print what all versions take."""
    rows = [Size("modelkeep", kept[-1], raw, share * raw)]
    rows += [Size("hf_xet", theirs[-1], raw)] if theirs else []
    rows += [Size("modelkeep, the first alone", kept[0], raw)]
    rows += [Size("hf_xet, the first alone", theirs[0], raw)] if theirs else []
    sizes(f"{title}; limit: {share} of the raw sum, {raw / (1 << 20):.0f} MiB", "raw sum", rows)


def changed_tensors(folder: Path, mebibytes: int, versions: int) -> None:
    """Normal fp32 numbers, 100 tensors, 5 of which are new in each version."""
    whole, model = tensors(mebibytes, 100)
    random = np.random.default_rng(1)

    def made() -> Iterator[tuple[object, Path]]:
        for n in range(versions):
            if n:
                renew(model, random, 0.05)
            safetensors.numpy.save_file(model, folder / "model.safetensors")
            yield model, folder / "model.safetensors"

    kept, theirs = stored(folder, made())
    compared(f"{versions} versions, 5 % of 100 tensors new in each", whole.nbytes * versions, 0.145, kept, theirs)


def put_in_front(folder: Path, trees: int, versions: int) -> None:
    """A pickle of a forest, and the same with more and more bytes in front, saved as files."""
    pickled = pickle.dumps(next(growing_forest(trees)), protocol=5)
    random = np.random.default_rng(1)
    lengths: list[int] = []

    def made() -> Iterator[tuple[object, Path]]:
        data, path = pickled, folder / "forest.pkl"
        for n in range(versions):
            if n:
                data = random.bytes(INSERTED[(n - 1) % len(INSERTED)]) + data
            path.write_bytes(data)
            lengths.append(len(data))
            yield path, path

    kept, theirs = stored(folder, made())
    compared(f"{versions} versions of a pickle, bytes put in front", sum(lengths), 0.10, kept, theirs)


def grown(folder: Path, trees: int, _: int) -> None:
    """What the second of two forests adds, the one with ten trees more."""

    def made() -> Iterator[tuple[object, Path]]:
        for model in growing_forest(trees, trees + 10):
            (folder / "forest.pkl").write_bytes(pickle.dumps(model, protocol=5))
            yield model, folder / "forest.pkl"

    kept, theirs = stored(folder, made())
    rows = [Size(f"modelkeep, {trees} trees", kept[0])]
    rows += [Size("modelkeep, what 10 more add", kept[1] - kept[0], kept[0], 0.05 * kept[0])]
    if theirs:
        rows += [Size(f"hf_xet, {trees} trees, pickled", theirs[0])]
        rows += [Size("hf_xet, what 10 more add", theirs[1] - theirs[0], theirs[0])]
    sizes("a forest grown by ten trees; limit: 5 % of the first", "the first", rows)


PARTS: dict[str, tuple[Callable[[Path, int, int], None], str]] = {
    "tensors": (changed_tensors, "mebibytes"),
    "front": (put_in_front, "trees"),
    "forest": (grown, "trees"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_argument(parser)
    only_argument(parser, PARTS)
    parser.add_argument("--mebibytes", type=int, default=125, help="how large the model of tensors is")
    parser.add_argument("--trees", type=int, default=400, help="how large the forest is; some 80 KiB each")
    parser.add_argument("--versions", type=int, default=10)
    options: Any = parser.parse_args()
    for part in options.only:
        work, size = PARTS[part]
        with scratch(options.folder) as folder:
            work(folder, getattr(options, size), options.versions)


if __name__ == "__main__":
    main()
