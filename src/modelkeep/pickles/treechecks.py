"""Checks of decision trees, and of what reads their nodes in native code: forests, boosting, neighbours."""

from __future__ import annotations

from functools import partial
from typing import Any

from modelkeep.pickles.checks import Broken, array, check, demand, fields, unshadowed, whole, within

_BITSET = 8  # words of 32 bits: categories of a split


@check("nodes")
def _nodes(found: Any) -> None:
    """The nodes of one `Tree`: children come after their parent, as they are grown, so no way leads round."""
    import numpy as np

    count = found.node_count
    demand(0 < count == found.capacity, "a tree has not as many nodes as it says")  # or the next line reads past them
    nodes = found.__getstate__()["nodes"]
    left, right = nodes["left_child"], nodes["right_child"]
    inner = left != -1
    within(left[inner], 0, count, "a child in a tree")
    within(right[inner], 0, count, "a child in a tree")
    within(nodes["feature"][inner], 0, found.n_features, "a feature in a tree")
    _forward(np.flatnonzero(inner), left[inner], right[inner])


def _forward(parents: Any, left: Any, right: Any) -> None:
    import numpy as np

    demand(bool((left > parents).all() and (right > parents).all()), "a node of a tree lies before its parent")
    children = np.concatenate([left, right])  # each once, or small trees would take forever to walk
    demand(not children.size or np.bincount(children).max() == 1, "a node of a tree has two parents")


def _tree_of(owner: Any, features: int) -> Any:
    from sklearn.tree._tree import Tree

    tree: Any = fields(owner).get("tree_")
    demand(type(tree) is Tree, "a decision tree has no tree")
    demand(tree.n_features == features, "a tree takes another number of features than its owner")
    return tree


def _features(owner: Any) -> int:
    return whole(fields(owner).get("n_features_in_"), 0, 2**31, "the number of features")


@check("tree")
def _decision_tree(found: Any) -> None:
    if "tree_" in fields(found):
        _tree_of(found, _features(found))


@check("forest")
def _forest(found: Any) -> None:
    for member in _members(found):
        demand(_features(member) == _features(found), "a tree takes another number of features than its forest")
        _tree_of(member, _features(found))


def _members(found: Any) -> list[Any]:
    from sklearn.tree import BaseDecisionTree

    members = fields(found).get("estimators_", [])
    demand(type(members) is list, "the trees of a forest are no list")
    demand(all(isinstance(member, BaseDecisionTree) for member in members), "a member of a forest is no tree")
    return members  # type: ignore[no-any-return]


@check("isolation")
def _isolation_forest(found: Any) -> None:
    members = _members(found)
    if not members:
        return
    chosen: Any = fields(found).get("estimators_features_")
    demand(type(chosen) is list and len(chosen) == len(members), "a forest lacks the features of its trees")
    most = whole(fields(found).get("_max_features"), 1, _features(found), "the features of a forest")
    for member, columns in zip(members, chosen, strict=True):
        demand(
            array(columns, "features of a tree", kind="i", ndim=1).size == most, "a forest mixes numbers of features"
        )
        within(columns, 0, _features(found), "a feature of a forest")
        _tree_of(member, most)


@check("boosting")
def _boosting(found: Any) -> None:
    from sklearn.tree import DecisionTreeRegressor

    if "estimators_" not in fields(found):
        return
    stages = array(found.estimators_, "the trees of boosting", kind="O", ndim=2)
    per_stage = whole(fields(found).get("n_trees_per_iteration_"), 1, 2**31, "the trees of a stage")
    demand(stages.shape[1] == per_stage, "boosting lacks trees")
    for member in stages.flat:
        demand(type(member) is DecisionTreeRegressor, "a member of boosting is no tree")
        tree = _tree_of(member, _features(found))
        demand((tree.n_outputs, tree.max_n_classes) == (1, 1), "a tree of boosting has several outputs")


@check("predictor")
def _predictor(found: Any) -> None:
    import numpy as np
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes = array(fields(found).get("nodes"), "nodes", ndim=1)
    demand(nodes.dtype == PREDICTOR_RECORD_DTYPE and nodes.size > 0, "the nodes of a predictor have another form")
    inner = nodes["is_leaf"] == 0
    left, right = nodes["left"][inner], nodes["right"][inner]
    within(left, 0, nodes.size, "a child in a predictor")
    within(right, 0, nodes.size, "a child in a predictor")
    _forward(np.flatnonzero(inner), left, right)
    categorical = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    for part in ("binned_left_cat_bitsets", "raw_left_cat_bitsets"):
        bits = array(fields(found).get(part), part, kind="u", ndim=2)
        demand(bits.dtype == np.uint32 and bits.shape[1] == _BITSET, f"{part} has another form")
        within(categorical, 0, bits.shape[0], "a set of categories")


@check("histogram")
def _histogram(found: Any) -> None:
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    stages = fields(found).get("_predictors", [])
    if not stages:
        return
    features = whole(fields(found).get("_n_features", _features(found)), 0, 2**31, "the number of features")
    demand(features == _features(found), "boosting takes two numbers of features")
    mapper: Any = fields(found).get("_bin_mapper")
    demand(type(mapper) is _BinMapper, "boosting has no bins")
    demand(not fields(found).get("_in_fit", False), "boosting is in the midst of its fit")
    _preprocessed(fields(found).get("_preprocessor"), features)
    categorical = array(mapper.is_categorical_, "the categorical features", kind="u", ndim=1)
    demand(categorical.size == features and len(mapper.bin_thresholds_) == features, "boosting lacks bins")
    _categories(mapper, categorical)
    for stage in stages:
        demand(len(stage) == found.n_trees_per_iteration_, "boosting lacks trees")
        for member in stage:
            demand(type(member) is TreePredictor, "a member of boosting is no predictor")
            inner = member.nodes["is_leaf"] == 0
            within(member.nodes["feature_idx"][inner], 0, features, "a feature of boosting")
            split = inner & (member.nodes["is_categorical"] != 0)
            demand(
                bool(categorical[member.nodes["feature_idx"][split]].all()),
                "a split is of another kind than its feature",
            )


def _preprocessed(columns: Any, features: int) -> None:
    """What stands before boosting gives back each feature once: its trees read as many, unasked."""
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    if columns is None:
        return
    demand(type(columns) is ColumnTransformer, "boosting has columns of another kind")
    unshadowed(columns)
    first, second, *rest = columns.transformers_
    demand(all(type(part[1]) is str and part[1] == "drop" for part in rest), "boosting has columns of another kind")
    (_, encoder, words), (_, plain, numbers) = first, second
    demand(
        type(encoder) is OrdinalEncoder and type(plain) is FunctionTransformer, "boosting has columns of another kind"
    )
    unshadowed(encoder)
    unshadowed(plain)
    demand(isinstance(plain.func, partial), "boosting changes its numbers")
    masks = [array(mask, "columns", kind="b", ndim=1) for mask in (words, numbers)]
    demand(all(mask.size == features for mask in masks) and bool((masks[0] ^ masks[1]).all()), "boosting lacks columns")
    demand(len(encoder.categories_) == np.count_nonzero(masks[0]), "boosting lacks columns")


def _categories(mapper: Any, categorical: Any) -> None:
    for feature, thresholds in enumerate(mapper.bin_thresholds_):
        values = array(thresholds, "bins", kind="fiu", ndim=1)
        if categorical[feature]:
            demand(bool(((values >= 0) & (values < 32 * _BITSET)).all()), "a category is too large")


@check("ball")
def _ball(found: Any) -> None:
    """A ball tree or k-d tree: its nodes are numbered as in a heap, and each holds a run of the points."""
    from sklearn.metrics import DistanceMetric

    data, order, nodes, bounds, *_, metric, weights = found.__getstate__()
    leaf_size, levels, count = found.__getstate__()[4:7]
    points, size = data.shape
    demand(order.size == points and nodes.size == count == bounds.shape[1], "a tree of points lacks nodes")
    demand(0 < levels < 63 and count == 2**levels - 1 and leaf_size > 0, "a tree of points has another number of nodes")  # noqa: PLR2004
    demand(
        bounds.shape[2] == size and bounds.shape[0] == (2 if "KDTree" in type(found).__name__ else 1), "bounds differ"
    )
    within(order, 0, points, "a point of a tree")
    runs = nodes["idx_start"], nodes["idx_end"]
    demand(bool(((runs[0] >= 0) & (runs[0] <= runs[1]) & (runs[1] <= points)).all()), "a run of points is outside")
    demand(bool(nodes["is_leaf"][count // 2 :].all()), "a node of a tree of points has no children")
    demand(weights is None or weights.shape == (points,), "a tree of points lacks weights")
    demand(isinstance(metric, DistanceMetric), "a tree of points has no metric")
    _metric(metric, size)


def _metric(metric: Any, size: int) -> None:
    kind, (_, vector, matrix) = type(metric).__name__, metric.__getstate__()
    if kind.startswith(("SEuclidean", "Minkowski")):
        demand(
            vector.shape[0] == size or (vector.shape[0] == 0 and kind[0] == "M"), "a metric has weights of another size"
        )
    elif kind.startswith("Mahalanobis"):
        demand(matrix.shape == (size, size), "a metric has a matrix of another size")
    elif kind.startswith("Haversine"):
        demand(size == 2, "only pairs have a distance on a sphere")  # noqa: PLR2004


@check("neighbours")
def _neighbours(found: Any) -> None:
    """Points of as many features as new ones will have: native code measures as far as these reach."""
    given = fields(found)
    if "_fit_X" in given:
        demand(given["_fit_X"].shape[1] == _features(found), "the neighbours have another number of features")


@check("classes")
def _classes(found: Any) -> None:
    """Neighbours vote with the numbers of their classes, and native code counts the votes."""
    _neighbours(found)
    given = fields(found)
    if "_y" not in given:
        return
    points = given["_fit_X"].shape[0]
    answers = array(given["_y"], "the classes of neighbours", kind="iu")
    demand(answers.shape[0] == points, "the neighbours lack classes")
    lists = given["classes_"] if answers.ndim > 1 else [given["classes_"]]
    columns = answers.T if answers.ndim > 1 else [answers]
    demand(len(lists) == len(columns), "the neighbours lack classes")
    for column, classes in zip(columns, lists, strict=True):
        within(column, 0, len(classes), "a class of a neighbour")
    if (points_seen := given.get("n_samples_fit_")) is not None and points_seen != points:
        raise Broken("the neighbours are not as many as they say")
