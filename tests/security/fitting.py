"""Every estimator of scikit-learn, fitted on a little data of the kind that it wants; and what it then answers."""

from __future__ import annotations

import unittest
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

# It has nothing to freeze in scikit-learn's own table, so that it is made here.
TEXTS = ["a stranger came", "a model came back", "the same model", "no stranger now"] * 10
ROWS = [{"a": n % 3, "b": f"w{n % 5}"} for n in range(40)]
ANSWERS = ("predict", "predict_proba", "decision_function", "transform", "score_samples", "kneighbors")


def data_for(estimator: Any) -> tuple[Any, Any]:
    from sklearn.utils import get_tags
    from sklearn.utils.estimator_checks import _enforce_estimator_tags_X, _enforce_estimator_tags_y

    random = np.random.RandomState(0)
    given = random.rand(40, 4)
    y: Any = np.arange(40) % 2
    if get_tags(estimator).estimator_type == "regressor":
        y = given[:, 0] + 0.1 * random.rand(40)
    given = _enforce_estimator_tags_X(estimator, given)
    return given, _enforce_estimator_tags_y(estimator, y)


SPECIAL: dict[str, Any] = {
    "CountVectorizer": TEXTS,
    "TfidfVectorizer": TEXTS,
    "DictVectorizer": ROWS,
    "LabelBinarizer": [n % 3 for n in range(40)],
    "LabelEncoder": [n % 3 for n in range(40)],
    "MultiLabelBinarizer": [(n % 3, 5) for n in range(40)],
}


def fitted(name: str, cls: Any) -> tuple[Any, Any]:
    """The fitted estimator, and what to ask it."""
    from sklearn.decomposition import SparseCoder
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils._test_common.instance_generator import _construct_instances

    if name in SPECIAL:
        return cls().fit(SPECIAL[name]), SPECIAL[name]
    given, y = data_for(LogisticRegression())
    if cls is FrozenEstimator:
        return cls(LogisticRegression().fit(given, y)), given
    if cls is SparseCoder:
        return cls(np.eye(4)).fit(given), given
    estimator = next(iter(_construct_instances(cls)))
    given, y = data_for(estimator)
    return estimator.fit(given, y), given


def answers(estimator: Any, given: Any) -> Iterator[tuple[str, Any]]:
    """What it says to *given*, by the name of the method; also that it refuses, and how."""
    for method in ANSWERS:
        if hasattr(estimator, method):
            np.random.seed(0)  # noqa: NPY002  what draws without a state of its own draws from here
            try:
                said = getattr(estimator, method)(given)
            except Exception as error:  # noqa: BLE001  the same refusal must come from what was loaded
                said = type(error).__name__
            yield method, said


def same(left: Any, right: Any) -> bool:
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if hasattr(left, "toarray"):
        left, right = left.toarray(), right.toarray()
    try:
        np.testing.assert_array_equal(left, right)
    except AssertionError:
        return False
    return True


def all_fitted() -> tuple[dict[str, tuple[Any, Any]], dict[str, str]]:
    """Each estimator that can be fitted, and why the others cannot."""
    from sklearn.utils import all_estimators

    found, lacking = {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, cls in all_estimators():
            try:
                found[name] = fitted(name, cls)
            except (Exception, unittest.SkipTest) as error:  # noqa: BLE001  whatever it says is the reason
                lacking[name] = repr(error)
    return found, lacking
