"""What compaction saves, how fast it is, and how fast what it wrote is loaded.

Sizes, of ten versions, before and after, against Xet, which uploads the same files to a folder. ``tensors``: 5 % of the
tensors of random fp32 change each time. ``noise``, ``noise16``: all numbers change, by noise of a thousandth; fp32, and
the same as bf16. ``finetune``, ``finetune16``: a transformer that is trained on, by few steps from version to version
or by many. ``speed``: compacting, on one core and on two, against a plain zstd -3. ``load``: versions of each form that
pieces can have, against safetensors and zstd -3 of the same file.

Whatever is timed runs in a fresh process, with all of its threads on one core, or two (`os.sched_setaffinity`). What
a core does in a second is told by CPU time, in which other processes count little; wall time stands beside it.
Give ``--folder`` a memory disk, or the disk is what is measured; it takes some fifteen times the model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _chains import SETTINGS, Chain, changed, noisy, noisy_halves, tuned
from _measure import Rate, Size, folder_argument, in_turn, only_argument, rates, scratch, sizes, timed
from _models import Tensors, under
from _peers import xet

import modelkeep as mk

COMPACTED = 150e6  # plain bytes in a second, on one core
LOADED = 300e6
CHAINS: dict[str, tuple[Chain, str, float]] = {
    "tensors": (changed, "5 % of 100 tensors of random fp32 new in each", 0.125),
    "noise": (noisy, "random fp32, noise of 1e-3 added in each", 0.60),
    "noise16": (noisy_halves, "the same in bf16", 0.45),
}


def written(model: Tensors, path: Path) -> None:
    """The peers' file of a model."""
    import safetensors.numpy
    import safetensors.torch

    torch = any(type(value).__module__ == "torch" for value in model.values())
    (safetensors.torch if torch else safetensors.numpy).save_file(model, path)


# -- sizes -----------------------------------------------------------------------------------------------------------


def shrunk(folder: Path, chain: Iterator[Tensors], title: str, limit: float | None) -> None:
    """Save a chain, compact it, and print what it takes."""
    registry, peer = mk.Registry(folder / "registry", durable=False), xet(folder / "xet")
    raw = 0
    for model in chain:
        registry.save(model, "model")
        written(model, folder / "file")
        raw += (folder / "file").stat().st_size
        if peer:
            peer.save(folder / "file")
    before = under(folder / "registry")
    registry.storage.compact()
    rows = [
        Size("modelkeep, as saved", before, raw),
        Size("modelkeep, compacted", under(folder / "registry"), raw, None if limit is None else limit * raw),
        *([Size("hf_xet", peer.stored(), raw)] if peer else []),
    ]
    sizes(f"{title}; raw sum {raw / (1 << 20):.0f} MiB", "raw sum", rows)


def random_numbers(name: str, within: Path, options: Any) -> None:
    make, title, limit = CHAINS[name]
    with scratch(within) as folder:
        chain = make(options.mebibytes, options.versions)
        shrunk(folder, chain, f"{options.versions} versions, {title}", limit)


def fine_tunes(within: Path, options: Any, *, halves: bool) -> None:
    for setting, (steps, rate) in SETTINGS.items():
        with scratch(within) as folder:
            chain = tuned(setting, options.versions, halves=halves)
            title = f"{options.versions} versions of a fine-tune, {'bf16' if halves else 'fp32'}"
            shrunk(folder, chain, f"{title}, {steps} steps of AdamW at {rate} between", None)


# -- speeds ----------------------------------------------------------------------------------------------------------


def fill(folder: Path, name: str, options: Any) -> None:
    """A registry of the chain, and a file of its last version for the peers."""
    registry = mk.Registry(folder / "registry", durable=False)
    for model in CHAINS[name][0](options.large, options.versions):
        registry.save(model, "model")
    written(model, folder / "file")


def pinned(cores: int, *words: object) -> Any:
    """What this script answers in a process of its own, which has so many cores from its start on."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[-cores:])  # a child inherits it, and so do all of its threads
    try:
        answer = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, stdout=subprocess.PIPE)
    finally:
        os.sched_setaffinity(0, every)
    return json.loads(answer.stdout)


def speed(within: Path, options: Any) -> None:
    """Compact the same registry again and again, each time in a fresh process, turn about on one core and on two."""
    for name in CHAINS:
        with scratch(within) as folder:
            fill(folder, name, options)
            runs: dict[int, list[Any]] = {1: [], 2: []}
            for _ in range(options.times):
                for cores, found in runs.items():
                    shutil.copytree(folder / "registry", folder / "copy")
                    found.append(pinned(cores, "--once", "compact", folder))
                    shutil.rmtree(folder / "copy")
        one, two = runs[1], runs[2]
        plain, file = one[0]["plain"], one[0]["file"]
        peer = [file / run["zstd"] for run in one]
        rates(f"compact {options.versions} versions, {CHAINS[name][1]}: bytes that were packed", "zstd -3", [
            Rate("modelkeep, one core, CPU time", plain, [run["cpu"] for run in one], peer, COMPACTED),
            Rate("modelkeep, one core, wall", plain, [run["seconds"] for run in one]),
            Rate("modelkeep, two cores, wall", plain, [run["seconds"] for run in two]),
            Rate("zstd -3 of the last version's file, CPU time", file, [run["zstd"] for run in one], peer),
        ])  # fmt: skip


def load(within: Path, options: Any) -> None:
    """Load each version of a compacted chain, each next to its peers, on one core."""
    for name in CHAINS:
        with scratch(within) as folder:
            fill(folder, name, options)
            mk.Registry(folder / "registry", durable=False).storage.compact()
            found = pinned(1, "--once", "load", folder, "--times", options.times)
        plain, st = found["plain"], found["safetensors"]
        rows = [Rate(form, plain, seconds, [plain / s for s in st], LOADED) for form, seconds in found["forms"].items()]
        rows += [
            Rate("safetensors.load_file", plain, st, [plain / s for s in st]),
            Rate("zstd -3 of the file, unpacked", plain, found["zstd"], [plain / s for s in st]),
        ]
        rates(f"load a version, one core, CPU time: {CHAINS[name][1]}", "safetensors", rows)


def once_compact(folder: Path, _: int) -> dict[str, Any]:
    """The seconds, wall and CPU, and the bytes that were packed; and the same of zstd in the same process."""
    registry = mk.Registry(folder / "copy", durable=False)
    before = time.process_time()
    done: list[Any] = []
    seconds = timed(lambda: done.append(registry.storage.compact()))
    cpu = time.process_time() - before
    (model,) = done[0].models
    data = (folder / "file").read_bytes()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "plain": sum(form.logical for form in model.forms if form.form != "raw"),
        "file": len(data),
        "zstd": timed(lambda: packed(data), time.process_time),
    }


def once_load(folder: Path, times: int) -> dict[str, Any]:
    """The CPU seconds of loads, by the form of the versions, and of the peers beside each."""
    registry = mk.Registry(folder / "registry", durable=False)
    forms = deepest(registry)
    file, smaller = folder / "file", folder / "file.zst"
    smaller.write_bytes(packed(file.read_bytes()))
    read = peer_of(registry.load("model"))
    found: dict[str, list[float]] = {}
    peers: tuple[list[float], list[float]] = ([], [])
    for number in sorted(forms):
        works = [partial(registry.load, f"model:{number}"), partial(read, file), partial(unpacked, smaller)]
        own, *others = in_turn(works, times, time.process_time)
        found.setdefault(forms[number], []).append(median(own))
        for kept, seconds in zip(peers, others, strict=True):
            kept.append(median(seconds))
    return {
        "plain": file.stat().st_size,
        "forms": dict(sorted(found.items(), key=lambda row: (row[0] != "packed", row[0]))),
        "safetensors": peers[0],
        "zstd": peers[1],
    }


def peer_of(model: Tensors) -> Callable[[Path], object]:
    """What of safetensors gives arrays of the same library."""
    if any(type(value).__module__ == "torch" for value in model.values()):
        from safetensors.torch import load_file as of_torch

        return of_torch  # type: ignore[no-any-return] # it ships no types
    from safetensors.numpy import load_file

    return load_file  # type: ignore[no-any-return]


def deepest(registry: mk.Registry) -> dict[int, str]:
    """For each version the form of those of its pieces that take most to read."""
    from modelkeep._compact import FORMS
    from modelkeep._rewrite import form_of
    from modelkeep._survey import survey

    held = survey(registry._existing("model")).held  # noqa: SLF001  no public word tells of one version
    return {number: max(map(form_of, one.pieces()), key=FORMS.index) for number, one in held.items()}


def packed(data: bytes) -> bytes:
    """One frame of level 3."""
    zstd = _zstd()
    return zstd.compress(data, 3)  # type: ignore[no-any-return]


def unpacked(path: Path) -> object:
    return _zstd().decompress(path.read_bytes())


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


ONCE = {"compact": once_compact, "load": once_load}
PARTS: dict[str, Callable[[Path, Any], None]] = {
    **{name: partial(random_numbers, name) for name in CHAINS},
    "finetune": partial(fine_tunes, halves=False),
    "finetune16": partial(fine_tunes, halves=True),
    "speed": speed,
    "load": load,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_argument(parser)
    only_argument(parser, PARTS)
    parser.add_argument("--mebibytes", type=int, default=125, help="how large a version is of which sizes are taken")
    parser.add_argument("--large", type=int, default=128, help="how large one is that is timed, in mebibytes")
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--times", type=int, default=3, help="how often what is timed is done")
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        what, folder = options.once
        print(json.dumps(ONCE[what](Path(folder), options.times)))
        return
    for part in options.only:
        PARTS[part](options.folder, options)


if __name__ == "__main__":
    main()
