"""Hostile input, of every kind through every door: an error of ours or a value, and nothing outside the target.

``python tests/test_hostile.py`` lets the whole corpus in, and tells what it took; ``--kind`` picks kinds.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path

import modelkeep as mk
from hostile.corpus import corpus, share
from hostile.doors import Scene, doors
from hostile.inputs import Hostile
from hostile.watching import MIB, Watch

SHARE = 600  # one in so many inputs runs with the other tests
MOST = 256  # MiB of memory
SHOWN = 60  # faults


def snapshot(folder: Path) -> dict[str, object]:
    """What lies below a folder, and when it was last changed."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def run(inputs: list[Hostile], below: Path) -> Watch:
    """Let them all in, in this process, which hears of every file that it opens from here on."""
    scene = Scene(below / "inside", below / "canary")
    scene.inside.mkdir()
    (scene.canary / "deep").mkdir(parents=True)
    (scene.canary / "bait").write_text("nobody's business")
    os.environ.update(MODELKEEP_CACHE=str(scene.inside / "cache"), TMPDIR=str(scene.inside), HOME=str(scene.inside))
    tempfile.tempdir = str(scene.inside)
    os.chdir(scene.inside)
    before, surrounding = snapshot(scene.canary), sorted(path.name for path in below.iterdir())
    places = (*sysconfig.get_paths().values(), *filter(None, sys.path), sys.base_prefix, sys.pycache_prefix)
    code = [Path(path).resolve() for path in places if path]
    readable = (*code, Path(mk.__file__).parent, Path("/proc"), Path("/sys"), Path("/etc/mime.types"), Path("/usr"))
    watch = Watch(scene.inside, tuple(dict.fromkeys(readable)))
    if any(hostile.kind == "tree" for hostile in inputs):
        importlib.import_module("torch")  # broken off in its middle, the import crashes the process
    watch.install()
    told = time.monotonic()
    for number, hostile in enumerate(inputs, 1):
        for door, act in doors(hostile, scene):
            watch.let(hostile, door, act)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            sys.stderr.write(f"{number} of {len(inputs)} inputs, {watch.tried} doors, {len(watch.foreign)} foreign\n")
    if snapshot(scene.canary) != before or sorted(path.name for path in below.iterdir()) != surrounding:
        watch.escapes.append("something beside the target was changed")
    return watch


def tell(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def report(inputs: list[Hostile], watch: Watch) -> int:
    """Say what was found; gives the exit status."""
    kinds = Counter(hostile.kind for hostile in inputs)
    tell(f"{len(inputs)} inputs: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    tell(f"{watch.tried} ways in, {watch.refused} refused with an error of ours")
    slow = sorted(watch.times.items(), key=lambda row: -row[1])[:8]
    tell("longest in all: " + ", ".join(f"{door} {seconds:.1f} s" for door, seconds in slow))
    tell(f"longest: {watch.slowest.value:.2f} s ({watch.slowest.where})")
    tell(f"most memory: {watch.largest.value / MIB:.0f} MiB ({watch.largest.where})")
    for what, found in (
        ("foreign exceptions", watch.foreign),
        ("escapes", watch.escapes),
        ("unclear messages", watch.unclear),
    ):
        tell(f"{what}: {len(found)}")
        for line in found[:SHOWN]:
            tell(f"  {line}")
    too_much = watch.largest.value > MOST * MIB
    tell("FAULTS" if watch.foreign or watch.escapes or watch.unclear or too_much else "ok")
    return 1 if watch.foreign or watch.escapes or watch.unclear or too_much else 0


def test_the_corpus_has_two_thousand_inputs_and_each_is_another() -> None:
    inputs = corpus()
    assert len({(one.kind, one.name) for one in inputs}) == len(inputs) >= 2_000


def test_hostile_input_ends_in_an_error_of_ours_or_a_value_and_touches_nothing_outside(tmp_path: Path) -> None:
    script = str(Path(__file__).resolve())
    done = subprocess.run(
        [sys.executable, script, "--every", str(SHARE), "--below", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def main() -> int:
    """Run as the command line says; the exit status is 1 if anything was wrong."""
    sys.dont_write_bytecode = True  # what Python keeps of an import would be taken for an escape
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--every", type=int, default=1, help="take one in so many inputs of each kind")
    options.add_argument("--kind", action="append", help="only these kinds")
    options.add_argument("--below", type=Path, help="a folder on the disk to use")
    chosen = options.parse_args()
    inputs = corpus() if chosen.every == 1 else share(chosen.every)
    inputs = [one for one in inputs if not chosen.kind or one.kind in chosen.kind]
    with tempfile.TemporaryDirectory(dir=chosen.below) as folder:
        watch = run(inputs, Path(folder).resolve())
        os.chdir("/")
        return report(inputs, watch)


if __name__ == "__main__":
    sys.exit(main())
