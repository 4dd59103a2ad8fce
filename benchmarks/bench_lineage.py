"""What came of one version, over 10,000 versions of 100 models: cold, with the index of this machine, and warm."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import numpy as np
from _measure import Row, folder_argument, in_turn, scratch, table, timed

import modelkeep as mk
from modelkeep.lineage import Lineage

_ROOT = "m000:1"


def fill(folder: Path, models: int, versions: int) -> None:
    """Models one made from another, each a chain of versions that one of four datasets was given to."""
    registry = mk.Registry(folder, durable=False)
    data = [registry.save_dataset(np.full((4, 2), float(n)), f"data{n}") for n in range(4)]
    model = {"w": np.arange(4.0)}
    for m in range(models):
        parent = registry.get(f"m{(m - 1) // 2:03d}:1") if m else None
        with registry.run(f"m{m:03d}") as run:
            for n in range(versions):
                parent = run.save(model, parent=parent, data={"train": data[(m + n) % 4]})
            run.version.promote("production")


def cold_once(folder: Path, cache: str) -> None:
    """In a process of its own: the seconds of the first question."""
    registry = mk.Registry(folder, durable=False, cache=cache or False)
    found: list[Lineage] = []
    seconds = timed(lambda: found.append(registry.lineage().descendants(_ROOT)))
    print(json.dumps([seconds, len(found[0].versions)]))


def cold(folder: Path, cache: str) -> tuple[float, int]:
    command = [sys.executable, __file__, "--cold", os.fspath(folder), "--cache", cache]
    seconds, versions = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return seconds, versions


def built(plain: dict[str, list[dict[str, str]]]) -> nx.MultiDiGraph:
    """The same graph in networkx, from plain values: nothing is read for it."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from((node["id"], node) for node in plain["nodes"])
    graph.add_edges_from((edge["source"], edge["target"], edge) for edge in plain["edges"])
    return graph


def warm(folder: Path, cache: str, times: int) -> None:
    registry = mk.Registry(folder, durable=False, cache=cache)
    whole = registry.lineage()
    plain, graph = whole.to_dict(), whole.to_networkx()
    works = [
        lambda: built(plain),
        lambda: nx.descendants(graph, _ROOT),
        lambda: registry.lineage().descendants(_ROOT),
        lambda: whole.descendants(_ROOT),
        lambda: whole.impact("data:data0:1"),
    ]
    print(f"\n{len(whole.versions):,} versions, {len(whole.nodes):,} nodes, {len(whole.edges):,} edges, all descend")
    for clock in (time.perf_counter, time.process_time):
        make, walk, asked, within, impact = in_turn(works, times, clock)
        said = "wall" if clock is time.perf_counter else "CPU, which does not tell how busy the machine was"
        table(f"warm, {said}", "networkx builds it", [
            Row("networkx: build from plain values", make),
            Row("networkx: descendants", walk, make),
            Row("registry.lineage().descendants(…)", asked, make, 1.0),
        ])  # fmt: skip
        table(f"of a lineage at hand, {said}", "networkx: descendants", [
            Row("networkx: descendants, a set", walk),
            Row("descendants(…), a lineage", within, walk),
            Row("impact(…), with a way for each", impact, walk),
        ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--versions", type=int, default=100, help="of each model")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--cold", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cold:
        cold_once(options.cold, options.cache)
        return
    with scratch(options.folder) as folder:
        fill(folder / "registry", options.models, options.versions)
        cache = os.fspath(folder / "cache")
        first = cold(folder / "registry", cache)
        again = [cold(folder / "registry", cache)[0] for _ in range(3)]
        table(f"{options.models * options.versions:,} versions, each in a fresh process, wall", "", [
            Row("no index yet: every manifest is read", [first[0]]),
            Row("with the index: journals are folded", again),
        ])  # fmt: skip
        warm(folder / "registry", cache, options.times)


if __name__ == "__main__":
    main()
