"""Models whose arrays point outside: each is written by pickle, from a real one that was changed in one place."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

X = np.random.RandomState(0).rand(60, 3)
Y = np.arange(60) % 2


class Stand:
    """Pickles as what it is told to, in place of an object of native code."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def tree(change: Callable[[dict[str, Any]], object], *, features: int = 3) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y)
    cls, (_, *rest), state = model.tree_.__reduce__()
    change(state)
    model.tree_ = Stand(cls, (features, *rest), state)
    return model


def nodes(field: str, value: int) -> Any:
    def change(state: dict[str, Any]) -> None:
        state["nodes"] = state["nodes"].copy()
        state["nodes"][field][0] = value

    return tree(change)


def points(place: int, change: Callable[[Any], Any]) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(algorithm="kd_tree", leaf_size=5).fit(X, Y)
    make, arguments, state = model._tree.__reduce__()
    changed = [*state]
    changed[place] = change(changed[place].copy() if hasattr(changed[place], "copy") else changed[place])
    model._tree = Stand(make, arguments, tuple(changed))
    return model


def put(value: Any, at: Any = 0, field: str | None = None) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        target = array if field is None else array[field]
        target[at] = value
        return array

    return change


def changed(make: Callable[[], Any], path: str, change: Callable[[Any], Any]) -> Any:
    """A fitted model, one attribute of which (``a.0.b``) was changed."""
    model = make()
    owner, *steps = model, *path.split(".")
    for step in steps[:-1]:
        owner = owner[int(step)] if step.isdigit() else getattr(owner, step)
    value = getattr(owner, steps[-1], None)
    setattr(owner, steps[-1], change(value.copy() if isinstance(value, np.ndarray) else value))
    return model


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(2, random_state=0).fit(X, Y)


def isolation() -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(n_estimators=2, random_state=0).fit(X)


def boosting() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=2).fit(X, X[:, 0])


def histogram() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=2).fit(X, X[:, 0])


def vectors() -> Any:
    from sklearn.svm import SVC

    return SVC().fit(X, Y)


def centres() -> Any:
    from sklearn.cluster import KMeans

    return KMeans(2, n_init=1).fit(X)


def neighbours() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(algorithm="brute", n_neighbors=3).fit(X, Y)


def words() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer().fit(["a model", "came back"])


def hashing() -> Any:
    from sklearn.feature_extraction import FeatureHasher

    return FeatureHasher(8, input_type="string").fit([["a"]])


def encoder() -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(drop="first").fit(np.arange(12).reshape(6, 2) % 3)


def clusters() -> Any:
    from sklearn.cluster import HDBSCAN

    return HDBSCAN(copy=True).fit(X)


def spline() -> Any:
    from sklearn.preprocessing import SplineTransformer

    return SplineTransformer().fit(X)


def rows() -> Any:
    return import_module("scipy.sparse").csr_array(np.eye(3))


def random() -> Any:
    state = np.random.RandomState(0)
    make, arguments, given = state._bit_generator.__reduce__()
    given[0]["state"]["pos"] = 10**9
    return Stand(np.random.RandomState(0).__reduce__()[0], (Stand(make, arguments, given),))


def nothing(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


FORGED: dict[str, Callable[[], Any]] = {
    "a child outside of its tree": lambda: nodes("left_child", 10**9),
    "a child before its parent": lambda: nodes("left_child", 0),
    "a feature that the data does not have": lambda: nodes("feature", 10**9),
    "fewer nodes than there are": lambda: tree(lambda state: state.update(node_count=1)),
    "a tree of more features than its owner": lambda: tree(dict.keys, features=10**6),
    "a forest of trees with more features": lambda: changed(forest, "n_features_in_", nothing(2)),
    "a forest of something else": lambda: changed(forest, "estimators_", nothing([vectors()])),
    "a forest whose trees see other columns": lambda: changed(
        isolation, "estimators_features_", lambda f: [g + 7 for g in f]
    ),
    "boosting with something else for a tree": lambda: changed(boosting, "estimators_.0.0.tree_", nothing("a text")),
    "boosting whose stages are too wide": lambda: changed(boosting, "n_trees_per_iteration_", nothing(3)),
    "a child outside of a predictor": lambda: changed(histogram, "_predictors.0.0.nodes", put(2**31, 0, "left")),
    "a feature outside of a predictor": lambda: changed(
        histogram, "_predictors.0.0.nodes", put(2**31, 0, "feature_idx")
    ),
    "a predictor that leads round": lambda: changed(histogram, "_predictors.0.0.nodes", put(0, 0, "right")),
    "bins of fewer features": lambda: changed(histogram, "_bin_mapper.is_categorical_", lambda a: a[:1]),
    "support vectors with other factors": lambda: changed(vectors, "_dual_coef_", lambda a: a[:, :1].copy()),
    "support vectors of fewer features": lambda: changed(vectors, "support_vectors_", lambda a: a[:, :1].copy()),
    "support vectors that are miscounted": lambda: changed(vectors, "_n_support", put(10**6)),
    "support vectors without intercepts": lambda: changed(vectors, "_intercept_", lambda a: a[:0]),
    "centres of fewer features": lambda: changed(centres, "cluster_centers_", lambda a: a[:, :1].copy()),
    "centres with a million threads": lambda: changed(centres, "_n_threads", nothing(10**6)),
    "neighbours of a class that is not there": lambda: changed(neighbours, "_y", put(10**9)),
    "neighbours without classes": lambda: changed(neighbours, "_y", lambda a: a[:1]),
    "a point outside of a tree of points": lambda: points(1, put(10**9)),
    "a run of points that ends outside": lambda: points(2, put(10**9, 0, "idx_end")),
    "a tree of points without leaves": lambda: points(2, put(0, slice(None), "is_leaf")),
    "a tree of points with fewer bounds": lambda: points(3, lambda a: a[:, :1].copy()),
    "a tree of more points than there are": lambda: points(0, lambda a: a[:1].copy()),
    "neighbours of fewer features": lambda: changed(neighbours, "_fit_X", lambda a: a[:, :1].copy()),
    "an attribute that hides a method": lambda: changed(centres, "_check_test_data", nothing(np.asarray)),
    "boosting in the midst of its fit": lambda: changed(histogram, "_in_fit", nothing(True)),
    "boosting behind columns of another kind": lambda: changed(histogram, "_preprocessor", nothing(encoder())),
    "support vectors with a kernel of their own": lambda: changed(vectors, "kernel", nothing(np.mean)),
    "a word in a column that is not there": lambda: changed(words, "vocabulary_", nothing({"a": 10**6, "model": 0})),
    "no columns to hash into": lambda: changed(hashing, "n_features", nothing(0)),
    "an encoder that counts columns wrongly": lambda: changed(encoder, "_n_features_outs", nothing([1, 1])),
    "an encoder that drops what is not there": lambda: changed(
        encoder, "_drop_idx_after_grouping", nothing(np.array([0, -9]))
    ),
    "a link to a cluster that is not there": lambda: changed(
        clusters, "_single_linkage_tree_", put(10**9, 0, "left_node")
    ),
    "a spline with fewer coefficients": lambda: changed(spline, "bsplines_.0._c", lambda a: a[:2].copy()),
    "a sparse index outside of its matrix": lambda: changed(rows, "indices", put(10**6)),
    "sparse rows that end behind the values": lambda: changed(rows, "indptr", put(10**6, -1)),
    "a random state that stands outside": random,
}


def written(what: str) -> bytes:
    return pickle.dumps(FORGED[what](), 5)
