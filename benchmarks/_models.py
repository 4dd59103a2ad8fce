"""Models to measure with: tensors of random numbers, and forests as large as asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, Any]


def tensors(mebibytes: int, count: int) -> tuple[Any, Tensors]:
    """One array of normal fp32 numbers, and its *count* rows by name: as a whole and as a model, without a copy."""
    numbers = mebibytes * (1 << 20) // 4 // count
    whole = np.random.default_rng(0).standard_normal((count, numbers), dtype=np.float32)
    return whole, {f"t{n}": whole[n] for n in range(count)}


def renew(model: Tensors, random: np.random.Generator, share: float) -> None:
    """Fill *share* of the tensors, chosen at random, with new numbers, in place."""
    names = list(model)
    for n in random.choice(len(names), max(1, round(share * len(names))), replace=False):
        random.standard_normal(out=model[names[n]], dtype=np.float32)


def touch(model: Any) -> float:
    """Read one number of each page of an array, or of all arrays of a dict."""
    arrays = model.values() if isinstance(model, dict) else [model]
    return float(sum(array.ravel()[::1024].sum() for array in arrays))


def growing_forest(*sizes: int) -> Iterator[Any]:
    """One forest, of some 80 KiB a tree, as it grows in place to each number of trees."""
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    x, y = make_classification(4000, 20, n_informative=10, flip_y=0.2, random_state=0)
    forest = RandomForestClassifier(warm_start=True, random_state=0, n_jobs=-1)
    for trees in sizes:
        yield forest.set_params(n_estimators=trees).fit(x, y)


def under(folder: Path) -> int:
    """The bytes of all files below *folder*."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
