"""Save and load of each framework's models by modelkeep, against the framework alone, turn about; large and small.

Each save goes into a model line of its own, so that nothing is shared with the save before. A load is of a version that
was not touched meanwhile, checked, with trust where it takes some. ``choose`` is the time to find the serializer, warm.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from _measure import Row, folder_argument, in_turn, only_argument, scratch, shown, table

import modelkeep as mk
from modelkeep.serializers.discovery import for_object

os.environ.setdefault("KERAS_BACKEND", "torch")
LIMIT, EXTRA = 1.3, 0.005  # times the framework alone, where a model is large; seconds more, where it is small
CHOICE = 50e-6  # seconds
RNG = np.random.default_rng(0)
Step = Callable[..., Any]


@attrs.frozen
class Subject:
    """A framework: how to make a model of some size, and what it offers to save and load it."""

    make: Callable[[bool], Any]
    save: Callable[[Any, Path], object]
    load: Callable[[Path], object]


def rows(large: bool, features: int = 5) -> tuple[Any, Any]:
    count = 60_000 if large else 100
    return RNG.normal(size=(count, features)).astype("f4"), RNG.normal(size=count).astype("f4")


def neighbours(large: bool) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    x = RNG.normal(size=(14_000 if large else 100, 1000 if large else 5))
    return KNeighborsRegressor(algorithm="brute").fit(x, x[:, 0])


def dump(model: Any, path: Path) -> None:
    import joblib

    joblib.dump(model, path)


def undump(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def pickled(model: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(model, file, protocol=5)


def unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)


def xgboost_model(large: bool) -> Any:
    import xgboost

    depth, trees = (15, 60) if large else (3, 10)
    made = xgboost.XGBRegressor(n_estimators=trees, max_depth=depth, min_child_weight=0, reg_lambda=0, n_jobs=2)
    return made.fit(*rows(large))


def xgboost_load(path: Path) -> Any:
    import xgboost

    model = xgboost.XGBRegressor()
    model.load_model(path)
    return model


def lightgbm_model(large: bool) -> Any:
    import lightgbm

    leaves, trees = (20_000, 60) if large else (7, 10)
    made = lightgbm.LGBMRegressor(n_estimators=trees, num_leaves=leaves, min_child_samples=1, n_jobs=2, verbose=-1)
    return made.fit(*rows(large))


def lightgbm_load(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=path)


def catboost_model(large: bool) -> Any:
    import catboost

    x, _ = rows(large=False)
    settings = {"iterations": 20, "depth": 15} if large else {"iterations": 10, "depth": 3}
    made = catboost.CatBoostClassifier(**settings, verbose=0, allow_writing_files=False, thread_count=2)
    return made.fit(x, np.arange(100) % 20)


def catboost_load(path: Path) -> Any:
    import catboost

    return catboost.CatBoostClassifier().load_model(str(path))


def onnx_model(large: bool) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    size = 5200 if large else 10
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name in "ab"]
    node = helper.make_node("MatMul", ["a", "w"], ["b"])
    weights = numpy_helper.from_array(RNG.normal(size=(size, size)).astype("f4"), "w")
    return helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [weights]))


def onnx_save(model: Any, path: Path) -> None:
    import onnx

    onnx.save(model, path)


def onnx_load(path: Path) -> Any:
    import onnx

    return onnx.load(path)


def torch_module(large: bool) -> Any:
    import torch

    size = 3700 if large else 10
    return torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.ReLU(), torch.nn.Linear(size, size))


def torch_save(model: Any, path: Path) -> None:
    import torch

    torch.save(model, path)


def torch_load(path: Path) -> Any:
    import torch

    return torch.load(path, weights_only=False)


def lightning_module(large: bool) -> Any:
    import lightning

    module = lightning.LightningModule()
    module.layers = torch_module(large)
    return module


def skorch_net(large: bool) -> Any:
    from skorch import NeuralNetRegressor

    return NeuralNetRegressor(torch_module, module__large=large, verbose=0).initialize()


def keras_model(large: bool) -> Any:
    import keras

    size = 3700 if large else 10
    return keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, "relu"), keras.layers.Dense(size)])


def keras_load(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path)


SUBJECTS = {
    "sklearn": Subject(neighbours, dump, undump),
    "xgboost": Subject(xgboost_model, lambda model, path: model.save_model(path), xgboost_load),
    "lightgbm": Subject(lightgbm_model, lambda model, path: model.booster_.save_model(path), lightgbm_load),
    "catboost": Subject(catboost_model, lambda model, path: model.save_model(str(path)), catboost_load),
    "onnx": Subject(onnx_model, onnx_save, onnx_load),
    "torch": Subject(torch_module, torch_save, torch_load),
    "lightning": Subject(lightning_module, torch_save, torch_load),
    "skorch": Subject(skorch_net, pickled, unpickled),
    "keras": Subject(keras_model, lambda model, path: model.save(path), keras_load),
}
SUFFIXES = {"xgboost": ".ubj", "keras": ".keras", "onnx": ".onnx"}


def measure(name: str, folder: Path, times: int, *, large: bool) -> Iterator[Row]:
    """Save and load, each turn about with the framework alone."""
    subject, numbers = SUBJECTS[name], count()
    model = subject.make(large)
    registry = mk.Registry(folder / f"registry-{name}-{large}", durable=False)
    path = folder / f"own-{name}-{large}{SUFFIXES.get(name, '')}"

    def keep() -> object:
        return registry.save(model, f"{name}-{next(numbers)}")

    subject.save(model, path)
    keep()
    ref = f"{name}-0"
    registry.load(ref, trust=True)
    megabytes = path.stat().st_size / 2**20
    works: list[tuple[str, Step, Step]] = [
        ("save", lambda: subject.save(model, path), keep),
        ("load", lambda: subject.load(path), lambda: registry.load(ref, trust=True)),
    ]
    for what, alone, ours in works:
        base, seconds = in_turn([alone, ours], times)
        middle = statistics.median(base)
        limit = LIMIT * middle if large else middle + EXTRA
        yield Row(f"{what} {name}, alone, {megabytes:.2f} MiB", base)
        yield Row(f"{what} {name}, modelkeep", seconds, base, limit)
    if not large:
        yield Row(f"choose {name}", [choosing(model) for _ in range(5)], limit=CHOICE)


def choosing(model: Any, rounds: int = 200) -> float:
    start = time.perf_counter()
    for _ in range(rounds):
        for_object(model)
    return (time.perf_counter() - start) / rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_argument(parser)
    only_argument(parser, SUBJECTS)
    parser.add_argument(
        "--times", type=int, default=5, help="how often, where a model is large; ten times as often, where not"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # what frameworks say while they train
    for name in options.only:
        with scratch(options.folder) as folder:
            small = list(measure(name, folder, 10 * options.times, large=False))
            table(f"{name}, small: at most {shown(EXTRA)} more", f"{name} alone", small)
            table(
                f"{name}, large: at most {LIMIT} x",
                f"{name} alone",
                list(measure(name, folder, options.times, large=True)),
            )


if __name__ == "__main__":
    main()
