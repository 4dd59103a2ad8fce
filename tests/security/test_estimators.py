"""Fitted estimators come back without trust, and answer as before."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

from modelkeep.pickles import loads
from security.fitting import all_fitted, answers, same

pytest.importorskip("sklearn")
pytestmark = pytest.mark.filterwarnings("ignore")
ENOUGH = 0.99


def differences(estimator: Any, given: Any, *, protocol: int = 5) -> list[str]:
    raw = pickle.dumps(estimator, protocol=protocol)
    found = loads(raw)
    twin = pickle.loads(raw)  # random ones draw from the state that was kept
    asked = zip(answers(twin, given), answers(found, given), strict=True)
    return [method for (method, before), (_, after) in asked if not same(before, after)]


def failure(estimator: Any, given: Any) -> str:
    try:
        wrong = differences(estimator, given)
    except Exception as error:  # noqa: BLE001  the table says why
        return f"{type(error).__name__}: {error}"
    return f"answers differ: {wrong}" if wrong else ""


def test_of_all_estimators_that_can_be_fitted_99_of_100_come_back_and_answer_the_same() -> None:
    estimators, lacking = all_fitted()
    failures = {name: why for name, (estimator, given) in estimators.items() if (why := failure(estimator, given))}
    print(f"{len(estimators)} fitted, {len(estimators) - len(failures)} came back the same")  # noqa: T201  who looks for the table runs it with -s
    print(*(f"not fitted: {name}: {why}" for name, why in lacking.items()), sep="\n")  # noqa: T201  who looks for the table runs it with -s
    print(*(f"not back: {name}: {why}" for name, why in failures.items()), sep="\n")  # noqa: T201  who looks for the table runs it with -s
    assert len(estimators) >= 190
    assert len(lacking) <= 0.02 * len(estimators)
    assert len(failures) <= (1 - ENOUGH) * len(estimators)


ROWS = np.random.RandomState(1).rand(60, 3)
KINDS = (ROWS[:, 0] > 0.5).astype(int)
WORDS = np.array([["a", "x"], ["b", "y"], ["c", "x"]] * 20, dtype=object)


def composed() -> dict[str, tuple[Any, Any]]:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, StackingClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity, KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
    from sklearn.svm import SVC

    columns = ColumnTransformer([("words", OneHotEncoder(), [0]), ("order", OrdinalEncoder(), [1])])
    several = np.column_stack([KINDS, 1 - KINDS, ROWS[:, 1] > 0.5]).astype(int)
    categorical = HistGradientBoostingClassifier(max_iter=3, categorical_features=[1])
    mixed = np.column_stack([ROWS[:, 0], np.arange(60) % 4])
    texts = ["a model", "another model", "no model at all"] * 20
    made = {
        "pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), ROWS, KINDS),
        "columns": (make_pipeline(columns, LogisticRegression()), WORDS, KINDS),
        "grid": (GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, scoring="r2"), ROWS, ROWS[:, 0]),
        "function": (make_pipeline(FunctionTransformer(np.log1p), Ridge()), ROWS, ROWS[:, 0]),
        "stack": (StackingClassifier([("a", SVC(probability=False)), ("b", RandomForestClassifier(3))]), ROWS, KINDS),
        "several": (RandomForestClassifier(3), ROWS, several),
        "categorical": (categorical, mixed, KINDS),
        "texts": (make_pipeline(TfidfVectorizer(), LogisticRegression()), texts, KINDS),
        "processes": (GaussianProcessRegressor(RBF() + Matern() * 2.0 + WhiteKernel()), ROWS, ROWS[:, 0]),
        "minkowski": (KNeighborsClassifier(metric="minkowski", p=3, algorithm="ball_tree"), ROWS, KINDS),
        "density": (KernelDensity(), ROWS, None),
        "three": (SVC(probability=False), ROWS, np.arange(60) % 3),
        "rows": (LogisticRegression(), pytest.importorskip("scipy.sparse").csr_array(ROWS), KINDS),
    }
    return {name: (estimator.fit(given, wanted), given) for name, (estimator, given, wanted) in made.items()}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pipelines_searches_and_stacks_come_back_from_every_protocol(protocol: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = {name: differences(model, given, protocol=protocol) for name, (model, given) in composed().items()}
    assert {name: methods for name, methods in wrong.items() if methods} == {}


def test_large_arrays_that_lie_apart_come_back_as_views_of_their_memory() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    apart: list[pickle.PickleBuffer] = []
    model = KNeighborsClassifier(algorithm="brute").fit(ROWS, KINDS)
    raw = pickle.dumps(model, protocol=5, buffer_callback=apart.append)
    found = loads(raw, buffers=[buffer.raw() for buffer in apart])
    assert len(apart) > 1
    assert any(np.shares_memory(found._fit_X, np.frombuffer(buffer.raw(), np.uint8)) for buffer in apart)
    assert same(model.predict(ROWS), found.predict(ROWS))


def test_pipelines_of_imbalanced_learn_come_back() -> None:
    ensemble = pytest.importorskip("imblearn.ensemble")
    pipeline = pytest.importorskip("imblearn.pipeline")
    sampling = pytest.importorskip("imblearn.over_sampling")
    from sklearn.linear_model import LogisticRegression

    y = (np.arange(60) % 5 == 0).astype(int)
    for model in (
        pipeline.make_pipeline(sampling.SMOTE(k_neighbors=2), LogisticRegression()),
        ensemble.BalancedRandomForestClassifier(3, sampling_strategy="all", replacement=True, bootstrap=False),
    ):
        assert differences(model.fit(ROWS, y), ROWS) == []
