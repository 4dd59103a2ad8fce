"""Checks of single models of scikit-learn whose numbers reach native code: support vectors, centres, columns, links."""

from __future__ import annotations

from typing import Any

from modelkeep.pickles.checks import array, check, demand, fields, whole, within

_MOST_THREADS = 1024


@check("support")
def _support(found: Any) -> None:
    given = fields(found)
    if "support_" not in given:
        return
    demand(given.get("_sparse") is False, "support vectors fitted on sparse input are let in with trust only")
    vectors = array(given.get("support_vectors_"), "support vectors", kind="f", ndim=2)
    number = array(given["support_"], "the support", kind="i", ndim=1).size
    factors = array(given.get("_dual_coef_"), "the factors of support vectors", kind="f", ndim=2)
    counts = array(given.get("_n_support"), "the counts of support vectors", kind="i", ndim=1)
    demand(factors.shape[1] == number, "support vectors lack factors")
    trained, features = given.get("shape_fit_", (0, 0))
    _kernel(found, vectors, number, (trained, features))
    classes = _classes(found, counts, number)
    demand(factors.shape[0] == classes - 1, "support vectors lack factors")
    pairs = classes * (classes - 1) // 2
    demand(array(given.get("_intercept_"), "intercepts", kind="f", ndim=1).size == pairs, "a model lacks intercepts")
    for part in ("_probA", "_probB"):
        demand(
            array(given.get(part), "probabilities", kind="f", ndim=1).size in {0, pairs}, "a model lacks probabilities"
        )


def _kernel(found: Any, vectors: Any, number: int, shape: tuple[Any, Any]) -> None:
    demand(fields(found).get("n_features_in_") == shape[1], "support vectors take another number of features")
    demand(type(found.kernel) is str, "support vectors with a kernel of their own are let in with trust only")
    if found.kernel == "precomputed":
        within(found.support_, 0, shape[0], "a support vector")
        demand(shape[0] == shape[1], "a kernel is not square")
    else:
        demand(vectors.shape == (number, shape[1]), "support vectors have another number of features")


def _classes(found: Any, counts: Any, number: int) -> int:
    """How many classes native code will think there are: for regression it is told of two."""
    if found._impl not in {"c_svc", "nu_svc"}:  # noqa: SLF001
        demand(counts.size == 2, "a model lacks counts")  # noqa: PLR2004
        return 2
    within(counts, 0, number + 1, "a count of support vectors")
    demand(counts.sum() == number, "support vectors are counted wrongly")
    demand(counts.size == len(found.classes_) >= 2, "support vectors lack classes")  # noqa: PLR2004
    return int(counts.size)


@check("centres")
def _centres(found: Any) -> None:
    given = fields(found)
    if "cluster_centers_" not in given:
        return
    centres = array(given["cluster_centers_"], "the centres", kind="f", ndim=2)
    demand(centres.shape[1] == given.get("n_features_in_"), "the centres have another number of features")
    demand(centres.flags.c_contiguous and centres.shape[0] > 0, "the centres are not laid out as written")
    whole(given.get("_n_threads", 1), 1, _MOST_THREADS, "the number of threads")
    if "_bisecting_tree" in given:
        _bisecting(given["_bisecting_tree"], centres.shape)


def _bisecting(root: Any, shape: tuple[int, int]) -> None:
    nodes, seen = [root], 0
    while nodes:
        node, seen = nodes.pop(), seen + 1
        demand(seen <= 2 * shape[0], "a tree of centres leads round")
        demand(array(node.center, "a centre", kind="f", ndim=1).size == shape[1], "a centre has another size")
        nodes += [child for child in (node.left, node.right) if child is not None]


@check("columns")
def _columns(found: Any) -> None:
    """Words become columns of a sparse matrix, which native code trusts."""
    given = fields(found)
    if "vocabulary_" not in given:
        return
    words = given["vocabulary_"]
    demand(isinstance(words, dict), "a vocabulary is no dictionary")
    for column in words.values():
        whole(column, 0, len(words) - 1, "a column of a vocabulary")


@check("hashing")
def _hashing(found: Any) -> None:
    whole(fields(found).get("n_features"), 1, 2**31 - 1, "the number of columns to hash into")


@check("onehot")
def _one_hot(found: Any) -> None:
    given = fields(found)
    if "categories_" not in given:
        return
    demand(len(given["categories_"]) == given.get("n_features_in_"), "an encoder lacks categories")
    mappings = given.get("_default_to_infrequent_mappings", [])
    for categories, mapping in zip(given["categories_"], mappings, strict=False):
        if mapping is not None:
            demand(array(mapping, "a mapping", kind="i", ndim=1).size == len(categories), "a mapping has another size")
            within(mapping, 0, len(categories), "a mapping of categories")
    found._drop_idx_after_grouping = _dropped(found, given.get("_drop_idx_after_grouping"))  # noqa: SLF001
    columns = found._compute_n_features_outs()  # noqa: SLF001
    demand(list(given.get("_n_features_outs", [])) == columns, "an encoder counts columns wrongly")


def _dropped(found: Any, dropped: Any) -> Any:
    if dropped is not None:
        demand(array(dropped, "what is dropped", ndim=1).size == len(found.categories_), "what is dropped differs")
        for categories, index in zip(found.categories_, dropped, strict=True):
            demand(index is None or 0 <= index < len(categories), "what is dropped is no category")
    return dropped


@check("links")
def _links(found: Any) -> None:
    links = fields(found).get("_single_linkage_tree_")
    if links is None:
        return
    rows = array(links, "a tree of clusters", ndim=1)
    demand(
        rows.dtype.names == ("left_node", "right_node", "value", "cluster_size"), "a tree of clusters has another form"
    )
    for part in ("left_node", "right_node"):
        within(rows[part], 0, 2 * rows.size + 1, "a link of clusters")
        import numpy as np

        demand(bool((rows[part] <= rows.size + np.arange(rows.size)).all()), "a link of clusters leads forward")


@check("checker")
def _checker(found: Any) -> None:
    from sklearn.utils import check_array

    demand(found.func is check_array and found.args == (), "a partial is one of another function")
