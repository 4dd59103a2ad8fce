"""Tracked functions in a module of their own, as users have them: other processes import it."""

# ruff: noqa: ARG001, T201  it talks to the test that started it

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import modelkeep as mk
from modelkeep.runs import current_run

registry = mk.Registry(os.environ.get("MODELKEEP_REGISTRY", "unset"), durable=False)


@registry.track("churn", metric="auc")
def train(seed: int, *, depth: int = 6) -> tuple[dict[str, Any], dict[str, float]]:
    """Train nothing much."""
    for step in range(3):
        current_run().log(loss=1 / (1 + step))
    return {"w": np.arange(3) + seed}, {"auc": seed / 100}


@registry.track("slow", stdout=True)
def wait(marker: str, *, swallow: bool = False) -> dict[str, Any]:
    """Go on until somebody ends it."""
    print("waiting")
    Path(marker).write_text("begun")
    try:
        time.sleep(60)
    except BaseException:
        if not swallow:
            raise
    return {"w": np.zeros(2)}


def forking(marker: str) -> int:
    """A run whose forked child is ended by SIGTERM, as pools end their workers; gives the child's status."""
    with registry.run("slow"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(3)
        time.sleep(0.2)
        os.kill(child, signal.SIGTERM)
        Path(marker).write_text("begun")
        return os.waitpid(child, 0)[1]


def main() -> None:
    """Do what the command line names, and put a marker when it has begun."""
    how, marker = sys.argv[1:]
    if how == "own":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    if how == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "outside":
        with registry.run("slow"):
            pass
        Path(marker).write_text("begun")
        time.sleep(60)
    if how == "fork":
        print(os.WTERMSIG(forking(marker)))
        return
    try:
        if how == "nested":
            with registry.run("outer"):
                wait(marker)
        else:
            wait(marker, swallow=how in ("swallow", "ignore"))
    finally:
        run = wait.last_run()  # type: ignore[attr-defined]
        print(run.failed, run.error, flush=True)


if __name__ == "__main__":
    main()
