"""A registry on a bucket at work: in a pool of threads, of spawned and of forked processes, and in a running loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat
from typing import Any

import numpy as np
import pytest

from modelkeep.registry import Registry
from servers.sites import SOON, Site

WORKERS = 4
EACH = 3


@pytest.fixture(params=["moto", "seaweedfs", "gcs"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


@pytest.fixture
def url(site: Site) -> str:
    return site.url(f"at-work/{uuid.uuid4().hex}")


def saved_and_loaded(registry: Registry, own: int) -> list[int]:
    """Save, load what was saved, and give the numbers."""
    numbers = []
    for n in range(EACH):
        version = registry.save({"w": np.array([own, n])}, "churn")
        assert registry.load(f"churn:{version.number}")["w"].tolist() == [own, n]
        numbers.append(version.number)
    return numbers


def work_anew(own: int, url: str, options: Mapping[str, Any]) -> list[int]:
    return saved_and_loaded(Registry(url, storage_options=options, retries=SOON), own)


def check(numbers: list[list[int]], url: str, options: Mapping[str, Any], *, first: int = 1) -> None:
    """Every number was given once, and everything verifies."""
    given = sorted(number for own in numbers for number in own)
    assert given == list(range(first, first + WORKERS * EACH))
    assert Registry(url, storage_options=options).storage.verify().ok


def test_a_pool_of_threads_shares_a_registry(site: Site, url: str) -> None:
    registry = Registry(url, storage_options=site.server.options, retries=SOON)
    with ThreadPoolExecutor(WORKERS) as pool:
        numbers = list(pool.map(saved_and_loaded, repeat(registry), range(WORKERS)))
    check(numbers, url, site.server.options)


def test_a_pool_of_spawned_processes(site: Site, url: str) -> None:
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        numbers = list(pool.map(work_anew, range(WORKERS), repeat(url), repeat(site.server.options)))
    check(numbers, url, site.server.options)


FORKED = """
import json, sys
import multiprocessing
import numpy as np
import modelkeep as mk
url, options, workers, each = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
registry = mk.Registry(url, storage_options=options)
registry.save({"w": np.array([0, 0])}, "churn")       # the parent has connections, a thread and folds

def work(own):
    numbers = []
    for n in range(each):
        version = registry.save({"w": np.array([own, n])}, "churn")
        assert registry.load(f"churn:{version.number}")["w"].tolist() == [own, n]
        numbers.append(version.number)
    return numbers

with multiprocessing.get_context("fork").Pool(workers) as pool:
    numbers = pool.map(work, range(workers), chunksize=1)
assert registry.load("churn:1")["w"].tolist() == [0, 0]  # the parent's connections still work
print(json.dumps(numbers))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_pool_of_forked_processes_shares_the_registry_of_its_parent(site: Site, url: str) -> None:
    import json

    options = json.dumps(site.server.options)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED, url, options, str(WORKERS), str(EACH)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    check(json.loads(done.stdout), url, site.server.options, first=2)


def test_inside_a_running_event_loop_as_in_a_notebook(site: Site, url: str) -> None:
    async def cell() -> list[list[int]]:
        registry = Registry(url, storage_options=site.server.options, retries=SOON)
        return [saved_and_loaded(registry, own) for own in range(WORKERS)]

    check(asyncio.run(cell()), url, site.server.options)


def test_in_the_threads_of_a_running_event_loop(site: Site, url: str) -> None:
    registry = Registry(url, storage_options=site.server.options, retries=SOON)

    async def cells() -> list[list[int]]:
        return await asyncio.gather(*(asyncio.to_thread(saved_and_loaded, registry, own) for own in range(WORKERS)))

    check(asyncio.run(cells()), url, site.server.options)
