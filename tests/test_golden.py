"""Golden outputs: kept at the save, replayed anywhere; a difference is an answer, and never an error."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

import modelkeep as mk
from modelkeep.errors import InvalidValueError, NotFoundError, SerializerError, SignatureError, TrustError
from modelkeep.golden import Golden, GoldenCheck, moved_packages
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.version import Tolerance

sparse = pytest.importorskip("scipy.sparse")
DATA = np.random.default_rng(0).standard_normal((20, 3)) * 5 + 2
LABELS = np.array(["leaves", "stays"] * 10, dtype=object)
DEFAULT = Tolerance()


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore(), trust=["cloudpickle", "sklearn", "torch"])


def anew(version: mk.ModelVersion) -> mk.ModelVersion:
    return Registry(version._line.home.store, trust=True).get(version.ref)


def compared(then: Any, now: Any, **tolerance: float) -> GoldenCheck:
    return GoldenCheck.of(then, now, Tolerance(**tolerance))


# -- with a version ------------------------------------------------------------------------------------------------


def test_outputs_are_computed_at_the_save_as_predict_computes_them(registry: Registry) -> None:
    scaler = StandardScaler().fit(DATA)
    model = LogisticRegression().fit(scaler.transform(DATA), LABELS)
    version = anew(registry.save(model, "churn", preprocess=scaler, example=DATA, golden=DATA[:7]))
    assert version.parts["golden-outputs"].load().tolist() == model.predict(scaler.transform(DATA[:7])).tolist()
    assert np.array_equal(version.parts["golden-inputs"].load(), DATA[:7])
    check = version.verify_golden()
    assert check
    assert attrs.asdict(check) == attrs.asdict(
        GoldenCheck(ok=True, compared=7, differing=0, worst_absolute=0, worst_relative=0)
    )
    assert str(version.signature.outputs if version.signature else None) == "string"


def test_outputs_can_be_given_and_are_what_counts(registry: Registry) -> None:
    model = LinearRegression().fit(DATA, DATA @ [1.0, 2.0, 3.0])
    right = model.predict(DATA)
    assert registry.save(model, "churn", golden=(DATA, right)).verify_golden()
    wrong = right.copy()
    wrong[4] += 0.5
    check = registry.save(model, "churn", golden=(DATA, wrong)).verify_golden()
    assert not check
    assert (check.compared, check.differing, check.where) == (20, 1, "[4]")
    assert check.worst_absolute == pytest.approx(0.5)
    assert check.worst_relative == pytest.approx(0.5 / abs(wrong[4]))
    assert str(check).startswith("1 of 20 values differ, first at [4]: ")


def test_the_tolerance_of_the_save_holds_until_another_is_asked_for(registry: Registry) -> None:
    off = (DATA, DATA.sum(axis=1) * 1.001)
    plain = registry.save(lambda x: x.sum(axis=1), "own", serializer="cloudpickle", golden=off)
    assert plain.record.golden == Tolerance(1e-5, 1e-8)
    assert not plain.verify_golden()
    assert plain.verify_golden(rtol=0.01)
    wide = registry.save(
        lambda x: x.sum(axis=1), "own", serializer="cloudpickle", golden=Golden(*off, rtol=0.01, atol=0)
    )
    assert anew(wide).record.golden == Tolerance(0.01, 0)
    assert anew(wide).verify_golden()
    assert not anew(wide).verify_golden(rtol=0.0)


@pytest.mark.parametrize("odd", [-1, math.inf, math.nan, "1", True, None])
def test_odd_tolerances_are_refused_before_anything_is_written(registry: Registry, odd: Any) -> None:
    with pytest.raises(InvalidValueError, match="rtol is"):
        registry.save(lambda x: x, "own", serializer="cloudpickle", golden=Golden(DATA, rtol=odd))
    assert list(registry._store.list("")) == []


def test_outputs_of_any_shape_are_kept(registry: Registry) -> None:
    outputs: list[Any] = [3, "yes", [1, 2.5], ["a", "b"], {"p": np.ones(2), "n": 3}, (np.ones(1), "x"), torch.ones(2)]
    for output in outputs:
        version = registry.save(lambda _, o=output: o, "own", serializer="cloudpickle", golden=np.ones(1))
        check = anew(version).verify_golden()
        assert check.ok, f"{output!r}: {check}"
        assert check.compared >= 1


def test_outputs_that_are_frames_are_kept(registry: Registry) -> None:
    pd = pytest.importorskip("pandas")
    try:
        version = registry.save(LinearRegression().fit(DATA, DATA[:, 0]), "own", golden=pd.DataFrame(DATA))
    except SerializerError:
        pytest.skip("there is no serializer for frames (Parquet) in this release")
    assert version.verify_golden()


def test_a_module_is_replayed_in_evaluation_mode(registry: Registry) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4))
    version = registry.save(net, "net", golden=DATA)
    assert net.training
    assert anew(version).verify_golden()


def test_what_cannot_predict_needs_outputs(registry: Registry) -> None:
    with pytest.raises(SerializerError, match=r"give golden=\(inputs, outputs\)"):
        registry.save({"w": np.ones(3)}, "weights", golden=DATA)
    assert list(registry._store.list("")) == []


def test_golden_inputs_must_fit_the_signature(registry: Registry) -> None:
    for golden in (DATA[:, :2], (DATA[:, :2], np.ones(20))):
        with pytest.raises(SignatureError, match="2"):
            registry.save(lambda x: x, "own", serializer="cloudpickle", example=DATA, golden=golden)
    assert list(registry._store.list("")) == []


def test_without_golden_inputs_there_is_nothing_to_replay(registry: Registry) -> None:
    version = registry.save({"w": np.ones(3)}, "churn", preprocess={"m": np.ones(1)})
    with pytest.raises(
        NotFoundError, match=r"churn:1 has no golden-inputs; it has preprocess.*save\(…, golden=inputs\)"
    ):
        version.verify_golden()


def test_trust_is_needed_as_for_a_load(registry: Registry) -> None:
    registry.save(lambda x: x, "own", serializer="cloudpickle", golden=DATA)
    version = Registry(registry._store).get("own")
    with pytest.raises(TrustError):
        version.verify_golden()
    assert version.verify_golden(trust=True)


def test_packages_of_other_versions_than_at_the_save_are_told(registry: Registry) -> None:
    version = registry.save(lambda x: x, "own", serializer="cloudpickle", golden=DATA)
    assert version.verify_golden().packages == {}
    then = attrs.evolve(version.record, packages={"numpy": "1.0", "no-such-package": "2.1"}, parts={})
    assert moved_packages(then) == {"numpy": ("1.0", np.__version__), "no-such-package": ("2.1", None)}
    check = GoldenCheck.of(1.0, 1.0, DEFAULT, {"numpy": ("1.0", "2.0"), "gone": ("2.1", None)})
    assert str(check) == "1 values are as expected; numpy was 1.0, and is 2.0; gone was 2.1, and is not here"


# -- what counts as equal ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (np.array([1.0, math.nan]), np.array([1.0 + 1e-7, math.nan])),
        (np.array([math.inf, -math.inf]), np.array([math.inf, -math.inf])),
        (np.array([1, 2]), np.array([1, 2], np.int8)),
        (np.array([1, 2]), np.array([1.0, 2.0])),
        (np.array(["a", "b"]), np.array(["a", "b"], dtype=object)),
        (np.array(["a", None], dtype=object), np.array(["a", None], dtype=object)),
        (np.array([0.5, "a"], dtype=object), np.array([0.5 + 1e-9, "a"], dtype=object)),
        (torch.ones(2, dtype=torch.bfloat16), np.ones(2, np.float32)),
        (sparse.csr_array(np.eye(2)), np.eye(2)),
        (np.array(["2026-03-01", "NaT"], "M8[D]"), np.array(["2026-03-01", "NaT"], "M8[s]")),
        ([[1], [2, 3]], [[1], [2, 3]]),
        ({"a": [1.0, {"b": "x"}]}, {"a": [1.0, {"b": "x"}]}),
        (np.array([1 + 2j]), np.array([1 + 2j + 1e-9])),
        ([], []),
        (None, None),
    ],
)
def test_equal_outputs(then: Any, now: Any) -> None:
    check = compared(then, now)
    assert check, str(check)
    assert (check.differing, check.where) == (0, None)


@pytest.mark.parametrize(
    ("then", "now", "where"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.001]), "[1]"),
        (np.array([1.0, 2.0]), np.array([1.0, math.nan]), "[1]"),
        (np.array([1.0, math.nan]), np.array([1.0, 2.0]), "[1]"),
        (np.array([math.inf]), np.array([1e308]), "[0]"),
        (np.array([math.inf]), np.array([-math.inf]), "[0]"),
        (np.array([1e308]), np.array([math.inf]), "[0]"),
        (np.array([10**9]), np.array([10**9 + 1]), "[0]"),
        (np.array([True]), np.array([False]), "[0]"),
        (np.array(["a", "b"]), np.array(["a", "c"]), "[1]"),
        (np.array(["1"]), np.array([1]), "[0]"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [9.0, 4.0]]), "[1, 0]"),
        (np.ones((2, 1)), np.ones(2), "the outputs"),
        (np.ones(2), np.ones(3), "the outputs"),
        ({"p": np.ones(2)}, {"p": np.array([1.0, 0.0])}, "['p'][1]"),
        ({"p": np.ones(2)}, {}, "['p']"),
        ({}, {"p": np.ones(2)}, "['p']"),
        ([np.ones(1), np.ones(1)], [np.ones(1)], "[1]"),
        (np.array([1.0]), None, "the outputs"),
        (3, "3", "the outputs"),
        ([[1], [2, 3]], [[1], [2, 4]], "[1][1]"),
        (np.array(["a", None], dtype=object), np.array(["a", math.inf], dtype=object), "[1]"),
        (np.array(["2026-03-01"], "M8[D]"), np.array(["2026-03-02"], "M8[D]"), "[0]"),
    ],
)
def test_outputs_that_differ_are_told_by_the_first(then: Any, now: Any, where: str) -> None:
    check = compared(then, now)
    assert not check
    assert check.where == where
    assert check.differing >= 1
    assert check.why


def test_frames_are_compared_by_column() -> None:
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    columns = {"p": [0.5, 0.25], "label": ["a", "b"]}
    for make in (pd.DataFrame, pl.DataFrame, pa.table):
        assert compared(make(columns), make(columns)), make
        check = compared(make(columns), make(columns | {"p": [0.5, 0.5], "label": ["a", "c"]}))
        assert (check.differing, check.where) == (2, "column 'p'[1]")
        assert compared(make(columns), make({"p": [0.5, 0.25]})).where == "column 'label'"


def test_the_worst_distances_are_told() -> None:
    check = compared(np.array([1.0, 100.0]), np.array([1.5, 101.0]), rtol=10.0)
    assert check
    assert (check.worst_absolute, check.worst_relative) == (1.0, 0.5)
    assert compared(np.array([0.0]), np.array([1.0])).worst_relative == math.inf
    assert compared(np.array([1.0]), np.array([math.nan])).worst_absolute == math.inf
