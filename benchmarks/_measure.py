"""What the benchmarks share: clocks, tables, a place to write, and a line about the machine."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

Clock = Callable[[], float]


@attrs.frozen
class Row:
    """Measurements of one thing, in seconds.

    Args:
        what: its name.
        seconds: one number for each repetition.
        base: those of the thing in the same run that it is compared with; None if it is compared with nothing.
        limit: what the median should not exceed.
        every: the limit holds for the worst, too.
    """

    what: str
    seconds: Sequence[float]
    base: Sequence[float] | None = None
    limit: float | None = None
    every: bool = False

    def cells(self) -> list[str]:
        median = statistics.median(self.seconds)
        judged = max(self.seconds) if self.every else median
        return [
            self.what,
            str(len(self.seconds)),
            shown(median),
            shown(percentile(self.seconds, 0.99)),
            shown(max(self.seconds)),
            f"{median / statistics.median(self.base):.2f}" if self.base else "",
            shown(self.limit) if self.limit else "",
            "" if self.limit is None else "met" if judged <= self.limit else f"short, {judged / self.limit:.2f} x",
        ]


def table(title: str, against: str, rows: Sequence[Row]) -> None:
    """Print *rows*; *against* names what the ratio divides by."""
    head = ["", "runs", "median", "p99", "worst", f"x {against}" if against else "ratio", "limit", ""]
    _print(title, [head, *(row.cells() for row in rows)])


@attrs.frozen
class Size:
    """Bytes of one thing.

    Args:
        what: its name.
        size: how many.
        of: those that it is compared with; None if it is compared with nothing.
        limit: what *size* should not exceed.
    """

    what: str
    size: float
    of: float | None = None
    limit: float | None = None

    def cells(self) -> list[str]:
        limit = "" if self.limit is None else mebibytes(self.limit)
        return [
            self.what,
            mebibytes(self.size),
            f"{self.size / self.of:.4f}" if self.of else "",
            f"{limit} ({self.limit / self.of:.4f})" if self.limit is not None and self.of else limit,
            ""
            if self.limit is None
            else "met"
            if self.size <= self.limit
            else f"short, {self.size / self.limit:.2f} x",
        ]


def sizes(title: str, against: str, rows: Sequence[Size]) -> None:
    """Print *rows*; *against* names what the ratio divides by."""
    _print(title, [["", "size", f"x {against}", "limit", ""], *(row.cells() for row in rows)])


@attrs.frozen
class Rate:
    """How many bytes of one thing in a second.

    Args:
        what: its name.
        size: bytes.
        seconds: that they took, one number for each repetition.
        base: rates of the thing in the same run that it is compared with, in bytes and seconds.
        limit: what the median should reach.
    """

    what: str
    size: float
    seconds: Sequence[float]
    base: Sequence[float] | None = None
    limit: float | None = None

    def cells(self) -> list[str]:
        rate = self.size / statistics.median(self.seconds)
        return [
            self.what,
            str(len(self.seconds)),
            megabytes(rate),
            megabytes(self.size / max(self.seconds)),
            f"{rate / statistics.median(self.base):.2f}" if self.base else "",
            megabytes(self.limit) if self.limit else "",
            "" if self.limit is None else "met" if rate >= self.limit else f"short, {rate / self.limit:.2f} x",
        ]


def rates(title: str, against: str, rows: Sequence[Rate]) -> None:
    """Print *rows*; *against* names what the ratio divides by."""
    _print(title, [["", "runs", "median", "worst", f"x {against}", "limit", ""], *(row.cells() for row in rows)])


def megabytes(rate: float) -> str:
    """A rate, in powers of ten, as disks are sold."""
    return f"{rate / 1e6:.0f} MB/s"


def _print(title: str, lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    print(f"\n{title}")
    for line in lines:
        print(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip(),
            flush=True,
        )


def mebibytes(count: float) -> str:
    """A number of bytes in a unit that fits."""
    return f"{count / (1 << 20):.1f} MiB" if abs(count) >= 1 << 20 else f"{count / 1024:.1f} KiB"


def shown(seconds: float) -> str:
    """A time in a unit that fits."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e3:.4f} ms"


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest number that *share* of the numbers do not exceed."""
    return sorted(seconds)[max(0, min(len(seconds) - 1, round(share * len(seconds)) - 1))]


def timed(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How long one call takes; to free what it gave back is no part of it."""
    start = clock()
    given = work()
    taken = clock() - start
    del given
    return taken


def in_turn(
    works: Sequence[Callable[[], object]],
    times: int,
    clock: Clock = time.perf_counter,
    after: Callable[[], object] = lambda: None,
) -> list[list[float]]:
    """Measure several things turn about, so that a slow moment of the machine hits all of them.

    Args:
        works: what to measure.
        times: how often each.
        clock: what to measure it with.
        after: called after each, and not measured.
    """

    def once(work: Callable[[], object]) -> float:
        taken = timed(work, clock)
        after()
        return taken

    rounds = [[once(work) for work in works] for _ in range(times)]
    return [list(column) for column in zip(*rounds, strict=True)]


def machine(folder: Path | None = None) -> str:
    """One line about where the numbers come from."""
    disk = f", {_file_system(folder)}" if folder else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {cores} cores{disk}"


def _file_system(folder: Path) -> str:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "file system unknown"
    around = {str(folder.resolve()), *map(str, folder.resolve().parents)}
    return max((len(point), kind) for point, kind in mounts if point in around)[1]


def folder_argument(parser: argparse.ArgumentParser) -> None:
    """Let the user say where to write."""
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to write (a disk)")


def only_argument(parser: argparse.ArgumentParser, parts: Iterable[str]) -> None:
    """Let the user choose *parts*: ``--only save,load``."""
    known = tuple(parts)

    def chosen(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(known)}")
        return names

    parser.add_argument("--only", type=chosen, default=known, metavar="PART,…", help=f"of {', '.join(known)}")


@contextmanager
def scratch(within: Path) -> Iterator[Path]:
    """A new folder that is gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="modelkeep-bench-", dir=within))
    print(machine(made))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
