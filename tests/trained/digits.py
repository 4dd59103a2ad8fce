"""Ten versions of a classifier of digits, each with one change that the table `STORY` names.

Versions 7 and 8 were trained on a dataset with two columns swapped for noise and half of the labels moved: the bad one.
Version 6 is under `staging`, version 8 under `production`, and version 9 was trained on sound data again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import modelkeep as mk

NAME, DATA = "digits", "digits-rows"
BAD = f"{DATA}:4"  # the dataset version that versions 7 and 8 were trained on
# number: (what is new against the version before, the dataset version, the function that trained it)
STORY = {
    1: ("the first", 1, "train_linear"),
    2: ("params: C from 0.001 to 0.1", 1, "train_linear"),
    3: ("data: more rows", 2, "train_linear"),
    4: ("data: one more column, ink", 3, "train_linear"),
    5: ("code: another function", 3, "train_forest"),
    6: ("params: trees from 20 to 60", 3, "train_forest"),
    7: ("data: the bad rows", 4, "train_forest"),
    8: ("params: depth from None to 12, on the bad rows", 4, "train_forest"),
    9: ("data: sound rows again", 3, "train_forest"),
    10: ("nothing: the same code, data and parameters as 9 but for the seed", 3, "train_forest"),
}
BEST, FIRST_BAD, LAST_GOOD = (6, 9, 10), 7, 6  # the best are close together


def rows(count: int, *, ink: bool = False) -> pd.DataFrame:
    """The first *count* digits: a column for each pixel, the label, and on request the sum of the pixels."""
    digits = load_digits()
    frame = pd.DataFrame(digits.data[:count], columns=[f"p{n:02d}" for n in range(64)])
    if ink:
        frame["ink"] = frame.sum(axis=1)
    frame["label"] = digits.target[:count]
    return frame


def bad_rows(count: int) -> pd.DataFrame:
    """Rows of which half of the labels are wrong."""
    frame = rows(count, ink=True)
    random = np.random.default_rng(4)
    moved = random.random(count) < 0.5
    frame.loc[moved, "label"] = (frame.loc[moved, "label"] + 3) % 10
    return frame


def holdout(*, ink: bool = True) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """397 digits that no version has seen, and their labels."""
    frame = rows(1797, ink=ink).iloc[1400:]
    return frame.drop(columns="label"), frame["label"].to_numpy()


def train_linear(train: pd.DataFrame, *, C: float) -> tuple[Pipeline, dict[str, float]]:  # noqa: N803  its name there
    """Train a linear classifier."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    return _fitted(model, train)


def train_forest(
    train: pd.DataFrame, *, trees: int, depth: int | None = None, seed: int = 0
) -> tuple[RandomForestClassifier, dict[str, float]]:
    """Train a forest."""
    model = RandomForestClassifier(n_estimators=trees, max_depth=depth, random_state=seed)
    return _fitted(model, train)


def _fitted(model: Any, train: pd.DataFrame) -> tuple[Any, dict[str, float]]:
    model.fit(train.drop(columns="label"), train["label"])
    inputs, labels = holdout(ink="ink" in train)
    return model, {"accuracy": float((model.predict(inputs) == labels).mean())}


def fill(registry: mk.Registry) -> None:
    """Train the ten versions, with parents, datasets and aliases, into an empty registry."""
    frames = [rows(500), rows(1000), rows(1000, ink=True), bad_rows(1000)]
    for frame in frames:
        registry.save_dataset(frame, DATA)
    linear = registry.track(NAME, parent=None)(train_linear)
    linear(frames[0], C=0.001)
    _next(registry, train_linear, frames[0], C=0.1)
    _next(registry, train_linear, frames[1], C=0.1)
    _next(registry, train_linear, frames[2], C=0.1)
    _next(registry, train_forest, frames[2], trees=20)
    _next(registry, train_forest, frames[2], trees=60)
    _next(registry, train_forest, frames[3], trees=60)
    _next(registry, train_forest, frames[3], trees=60, depth=12)
    _next(registry, train_forest, frames[2], trees=60)
    _next(registry, train_forest, frames[2], trees=60, seed=1)
    registry.get(f"{NAME}:6").promote("staging")
    registry.get(f"{NAME}:8").promote("production")


def _next(registry: mk.Registry, function: Any, frame: pd.DataFrame, **params: Any) -> None:
    """Train the next version from the newest."""
    registry.track(NAME, parent=registry.get(NAME))(function)(frame, **params)
