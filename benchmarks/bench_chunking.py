"""What cutting by content costs, and what it finds again, against FastCDC (pyfastcdc, C) with pieces as long."""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from _measure import Row, in_turn, machine, table
from pyfastcdc import FastCDC

from modelkeep.chunking import BATCH, content_pieces, half_window, local_maxima
from modelkeep.digest import raw_digest

GB = 1e9
MIB = 1 << 20


def ours(data: bytes, h: int) -> Iterator[memoryview]:
    """The pieces of *data*, copied as a save copies them."""
    view = memoryview(data)

    def fill(start: int, target: memoryview) -> None:
        target[:] = view[start : start + len(target)]

    for pieces in content_pieces(fill, len(data), h):
        yield from pieces


def fastcdc(data: bytes, h: int) -> Iterator[memoryview]:
    """The same, copied nowhere; its pieces are a quarter longer than what it is asked for."""
    for chunk in FastCDC(avg_size=int(1.6 * h)).cut_buf(data):
        yield memoryview(data)[chunk.offset : chunk.offset + chunk.length]


Chunker = Callable[[bytes, int], Iterator[memoryview]]
CHUNKERS: dict[str, Chunker] = {"modelkeep": ours, "pyfastcdc": fastcdc}


def exhaust(pieces: Iterable[object]) -> None:
    for _ in pieces:
        pass


def cost(name: str, data: bytes, h: int, times: int) -> None:
    """CPU for each GB, turn about."""
    rounds = -(-64 * MIB // len(data))  # small files several times, so that the clock sees them

    def again(work: Callable[[], object]) -> Callable[[], None]:
        return lambda: exhaust(work() for _ in range(rounds))

    view = memoryview(data)
    works = [
        again(lambda: exhaust(ours(data, h))),
        again(lambda: local_maxima(data, h)),
        again(lambda: exhaust(fastcdc(data, h))),
        again(lambda: exhaust(bytearray(view[at : at + BATCH]) for at in range(0, len(data), BATCH))),
    ]
    scale = GB / (len(data) * rounds)
    mine, search, theirs, copy = ([s * scale for s in row] for row in in_turn(works, times, time.process_time))
    table(f"CPU for each GB, {name} of {len(data) / MIB:.1f} MiB, half window {h >> 10} KiB", "pyfastcdc", [
        Row("content_pieces, with a copy", mine, theirs),
        Row("local_maxima alone", search, theirs, 1 / 1.8),
        Row("pyfastcdc, cut_buf", theirs),
        Row("one copy of the bytes", copy, theirs),
    ])  # fmt: skip
    for who, chunker in CHUNKERS.items():
        lengths = [len(piece) for piece in chunker(data, h)]
        mean, most = sum(lengths) / len(lengths) / 1024, max(lengths) / 1024
        print(f"  {who}: {len(lengths)} pieces, {mean:.0f} KiB on average, {most:.0f} at most")


def found_again(name: str, versions: list[bytes]) -> None:
    """What versions that are kept together take, as a share of their sum; pieces are kept as they are."""
    total = sum(map(len, versions))
    first = len(versions[0])
    print(f"\n{name}: {len(versions)} versions, {total / MIB:.1f} MiB")
    for who, chunker in CHUNKERS.items():
        known: dict[bytes, int] = {}
        for version in versions:
            known |= {raw_digest(piece): len(piece) for piece in chunker(version, half_window(len(version)))}
        kept = sum(known.values())
        rest = (kept - first) / (total - first)
        print(f"  {who:10} {kept / total:.4f} of the sum; versions but the first {rest:.4f} of theirs")


def forest(trees: int, rows: int) -> Any:
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_classification(rows, 20, random_state=0)
    return RandomForestClassifier(trees, random_state=0, warm_start=True).fit(x, y), x, y


def grown(trees: int, rows: int, by: int) -> list[bytes]:
    """Pickles of a forest, and of what it is after it has grown."""
    model, x, y = forest(trees, rows)
    before = pickle.dumps(model, protocol=5)
    model.n_estimators += by
    return [before, pickle.dumps(model.fit(x, y), protocol=5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="MiB of noise")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--rows", type=int, default=20_000, help="that the forest is grown on")
    options = parser.parse_args()
    print(machine())

    rng = np.random.default_rng(0)
    noise = rng.bytes(options.size * MIB)
    before, after = grown(options.trees, options.rows, 10)
    for h in (32 * 1024, 128 * 1024):
        cost("noise", noise, h, options.times)
    cost("the pickle of a forest", before, 32 * 1024, options.times)
    found_again("a pickle, some bytes more in front of each version", [rng.bytes(37 * n) + before for n in range(10)])
    found_again(f"a forest of {options.trees} trees and of 10 more", [before, after])


if __name__ == "__main__":
    main()
