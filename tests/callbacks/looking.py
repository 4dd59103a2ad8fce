"""How tests of callbacks look at what was logged: in the version that was saved, read past the process that logged."""

from __future__ import annotations

from typing import Any

import numpy as np

import modelkeep as mk
from modelkeep.runs import Run

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 3)).astype("float32")
TARGET = X @ np.array([1.0, -2.0, 0.5], "float32")
LABELS = (TARGET > 0).astype(int)


def saved(run: Run) -> mk.ModelVersion:
    """A version of the run as another process would read it."""
    place: Any = run._registry
    return mk.Registry(place._store).get(run.save({"w": np.ones(2)}).ref)


def curve(run: Run, name: str) -> list[tuple[int, float]]:
    """Step and value of each point."""
    found = saved(run).history[name]
    return list(zip(found.step.tolist(), found.value.tolist(), strict=True))


def sweeps(run: Run) -> Any:
    return saved(run).record.made["session"]["sweeps"]


def points(values: Any) -> list[tuple[int, float]]:
    """What a curve has where the framework has these, one a step."""
    return [(step, float(value)) for step, value in enumerate(values)]
