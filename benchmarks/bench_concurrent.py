"""Processes that save one model at once: every save gets a number, and the numbers have no gap."""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import time
import traceback
from contextlib import suppress
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from _measure import Row, folder_argument, scratch, table

import modelkeep as mk

TINY = {"w": np.arange(16.0)}
Answer = tuple[str, int, float, float, list[int], str]  # kind, round, begun, ended, numbers, error


def worker(folder: Path, me: int, saves: int, rounds: int, barrier: Barrier, answers: Queue[Answer]) -> None:
    """Win *saves* numbers in each round, first with bare links, then with modelkeep; each round in a new folder."""
    mk.Registry("memory://warm").save(TINY, "warm")  # imports are not what is measured
    for turn in range(rounds):
        for kind in ("links", "modelkeep"):
            place = folder / f"{kind}-{turn}"
            barrier.wait()
            begun, numbers, error = time.perf_counter(), list[int](), ""
            try:
                if kind == "links":
                    numbers = linked(place, me, saves)
                else:
                    registry = mk.Registry(place, durable=False)
                    for _ in range(saves):
                        numbers.append(registry.save(TINY, "churn", metrics={"auc": 0.9}).number)
            except Exception:  # noqa: BLE001  counted, not hidden
                error = traceback.format_exc()
            answers.put((kind, turn, begun, time.perf_counter(), numbers, error))


def linked(place: Path, me: int, saves: int) -> list[int]:
    """The least that it takes: a finished file, and a link to the first number that is free."""
    place.mkdir(exist_ok=True)
    numbers: list[int] = []
    number = 0
    for save in range(saves):
        mine = place / f".{me}-{save}"
        mine.write_bytes(TINY["w"].tobytes())
        while len(numbers) == save:
            number += 1
            with suppress(FileExistsError):
                os.link(mine, place / f"{number:020d}")
                numbers.append(number)
        mine.unlink()
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--saves", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    context = mp.get_context("spawn")
    with scratch(options.folder) as folder:
        barrier, answers = context.Barrier(options.processes), context.Queue()
        shared = (options.saves, options.rounds, barrier, answers)
        started = [context.Process(target=worker, args=(folder, me, *shared)) for me in range(options.processes)]
        for process in started:
            process.start()
        got: list[Answer] = [answers.get() for _ in range(options.processes * options.rounds * 2)]
        for process in started:
            process.join()
        report(got, folder, options.processes * options.saves, options.rounds)


def report(got: list[Answer], folder: Path, wanted: int, rounds: int) -> None:
    walls: dict[str, list[float]] = {"links": [], "modelkeep": []}
    whole = 0
    for kind, seconds in walls.items():
        for turn in range(rounds):
            mine = [answer for answer in got if answer[:2] == (kind, turn)]
            seconds.append(max(answer[3] for answer in mine) - min(answer[2] for answer in mine))
            numbers = sorted(number for answer in mine for number in answer[4])
            if kind == "modelkeep":
                listed = mk.Registry(folder / f"{kind}-{turn}", durable=False).model("churn").versions()
                stored = sorted(version.number for version in listed)
                whole += numbers == stored == list(range(1, wanted + 1))
    table(f"{wanted} saves of one model by processes that wait at a barrier, durable=False, wall", "links", [
        Row("links to the first free number", walls["links"]),
        Row("modelkeep", walls["modelkeep"], walls["links"], 2.0, every=True),
    ])  # fmt: skip
    errors = [answer[5] for answer in got if answer[5]]
    print(f"rounds with every number from 1 to {wanted}, once: {whole} of {rounds}; errors: {len(errors)}")
    for error in errors[:3]:
        print(error)


if __name__ == "__main__":
    main()
