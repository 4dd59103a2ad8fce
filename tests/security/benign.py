"""Files that honest people have, to see that the gate does not stand in their way."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import pickle
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import modelkeep as mk
from modelkeep.serializers.discovery import installed
from modelkeep.stores.memory import MemoryStore
from security.attack import Attack
from security.ways_in import stored

_ROWS = np.random.default_rng(3).random((40, 4))
_CLASSES = (_ROWS[:, 0] > 0.5).astype(int)
_PARAMS: dict[str, dict[str, Any]] = {  # enough to be fitted at all, or in no time
    "ColumnTransformer": {"transformers": [("a", "passthrough", [0, 1])]},
    "FeatureUnion": {"transformer_list": [("a", "passthrough")]},
}


def _estimators() -> Iterator[tuple[str, Any]]:
    """Every estimator of scikit-learn that can be fitted on four columns of numbers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils import all_estimators

    for name, cls in all_estimators():
        for made in (
            lambda cls=cls, name=name: cls(**_PARAMS.get(name, {})),
            lambda cls=cls: cls(LogisticRegression()),
            lambda cls=cls: cls([("a", LogisticRegression()), ("b", LogisticRegression())]),
        ):
            fitted = _fitted(made)
            if fitted is not None:
                yield name, fitted
                break


def _fitted(made: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = made()
            few = {"n_estimators": 3, "max_iter": 20, "n_jobs": 1} if hasattr(model, "get_params") else {}
            model.set_params(**{key: value for key, value in few.items() if key in model.get_params()})
            return model.fit(_ROWS, _CLASSES)
        except Exception:  # noqa: BLE001  it wants other data
            return None


def _pipelines() -> Iterator[tuple[str, Any]]:
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    yield "scaled", make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(_ROWS, _CLASSES)
    yield "a grid", GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(_ROWS, _CLASSES)
    yield "texts", make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a bc", "bc de"] * 4, [0, 1] * 4)
    parts = ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(handle_unknown="ignore"), [2])])
    yield "columns", make_pipeline(parts, RandomForestClassifier(3)).fit(_ROWS, _CLASSES)


def _plain() -> Iterator[tuple[str, Any]]:
    yield from {
        "a dict": {"coef": [0.5, 1.5], "names": ("a", "b"), "n": 3, "none": None, "yes": True},
        "arrays": {"w": np.arange(12.0).reshape(3, 4), "b": np.zeros(3, np.float32), "i": np.int64(3)},
        "bytes": {"raw": b"abc" * 99, "set": {1, 2}, "frozen": frozenset({"a"}), "complex": 2j},
        "texts": np.array(["a", "bcd"]),
        "dates": np.array(["2026-01-01"], "M8[D]"),
        "records": np.array([(1, 2.0)], [("a", "i8"), ("b", "f8")]),
        "objects": np.array(["a", None, 3], dtype=object),
        "fortran": np.asfortranarray(np.ones((3, 4))),
        "deep": [[[[[{"a": [1, 2, {"b": (3,)}]}]]]]],
        "long": list(range(5000)),
        "empty": {},
        "large": {"w": np.random.default_rng(1).random(50_000)},
    }.items()


def _arrays() -> Iterator[tuple[str, str, bytes]]:
    for kind in ("f4", "f8", "i1", "i8", "u2", "?", "c8", "U5", "S3", "M8[s]"):
        out = io.BytesIO()
        np.save(out, np.zeros((3, 2), kind))
        yield f"npy of {kind}", ".npy", out.getvalue()
    for compress in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        compress(out, a=np.arange(9), b=np.ones((2, 2)))
        yield f"npz by {compress.__name__}", ".npz", out.getvalue()
    for dtype, size in (("F32", 4), ("F16", 2), ("U8", 1), ("I64", 8)):
        header = json.dumps({"w": {"dtype": dtype, "shape": [3], "data_offsets": [0, 3 * size]}}).encode()
        yield f"safetensors of {dtype}", ".safetensors", len(header).to_bytes(8, "little") + header + bytes(3 * size)


def _objects(every: int) -> list[tuple[str, Any]]:
    made = [*_plain(), *_pipelines(), *(_estimators() if every == 1 else _some_estimators())]
    return made if every == 1 else random.Random(5).sample(made, min(len(made), 24))


def _some_estimators() -> Iterator[tuple[str, Any]]:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    chosen = (LinearRegression, LogisticRegression, SGDClassifier, SVC, KNeighborsClassifier)
    for cls in (*chosen, partial(RandomForestClassifier, 3), partial(GradientBoostingClassifier, n_estimators=3)):
        yield getattr(cls, "__name__", "a forest"), _fitted(cls)


def benign(every: int = 1) -> list[Attack]:
    """All of them; a share of them, without fitting all estimators, unless *every* is 1."""
    found = []
    for name, obj in _objects(every):
        for protocol in (3, 4, 5) if every == 1 else (4, 5):
            raw = pickle.dumps(obj, protocol)
            found.append(Attack("benign", f"{name} in protocol {protocol}", raw, unpickles=True))
    found += [Attack("file", name, raw, suffix, unpickles=True) for name, suffix, raw in _arrays()]
    return found


def warm(place: Path, frameworks: Iterable[str] = ()) -> None:
    """Import what loads import late, so that an import while a file is loaded is the file's doing."""
    for framework in sorted(frameworks):
        with contextlib.suppress(Exception):  # a serializer need not be called as its framework is
            importlib.import_module(framework)
            importlib.import_module(f"{framework}.serialize")  # what prophet imports late
    for one in installed():
        one.load()
    "\r".encode("unicode_escape")  # how an error quotes a name that has a control character
    import joblib
    import sklearn.linear_model

    model = sklearn.linear_model.LinearRegression().fit(_ROWS, _CLASSES)
    out = io.BytesIO()
    joblib.dump(model, out, compress=3)
    registry = mk.Registry(MemoryStore())
    kinds = [(".pkl", pickle.dumps(model)), (".joblib", out.getvalue()), (".pkl", b"no"), *(a[1:] for a in _arrays())]
    for number, (suffix, raw) in enumerate(kinds):
        path = place / "in" / f"warm-{number}{suffix}"
        path.write_bytes(raw)
        _try(registry, path, f"w{number}")
        path.unlink()
    for serializer in ("sklearn", "tree", "torch", "files", "cloudpickle", "unknown"):
        held = stored({"model.pkl": b"no", "module.pkl": b"no"}, serializer)
        for trust in (False, True):
            _quiet(partial(mk.Registry(held).load, "churn", trust=trust))
    registry.save(model, "m")
    registry.load("m", trust=True)


def _try(registry: mk.Registry, path: Path, name: str) -> None:
    registry.adopt(path, name)
    for trust in (False, True):
        _quiet(partial(registry.load, name, trust=trust))


def _quiet(act: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # what is trusted may raise anything
        act()
