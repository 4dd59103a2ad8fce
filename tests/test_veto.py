"""A registry opened with ``scan="picklescan"``: what that package finds is refused, and nothing is let in for it."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import InvalidValueError, TrustError
from modelkeep.stores.memory import MemoryStore


class Runs:
    """Makes a folder while it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)

    def transform(self, rows: Any) -> Any:
        return rows


class Own:
    """A class that no list has heard of, of ours or of picklescan's."""

    def __init__(self) -> None:
        self.rows = np.ones(2)  # so that a joblib file needs joblib


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "made"


@pytest.fixture
def bad(tmp_path: Path, mark: Path) -> Path:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": Runs(mark)}))
    return path


GRANTS: dict[str, Callable[[mk.ModelVersion], Any]] = {
    "everything": lambda _: True,
    "a serializer": lambda version: version.serializer,
    "a digest": lambda version: version.digest,
}


@pytest.mark.parametrize("grant", GRANTS.values(), ids=GRANTS)
@pytest.mark.parametrize("way", ["a registry's", "a call's"])
def test_what_picklescan_finds_is_refused_whatever_was_granted(
    grant: Callable[[mk.ModelVersion], Any], way: str, bad: Path, mark: Path
) -> None:
    store = MemoryStore()
    (version,) = mk.Registry(store).adopt(bad, "churn")
    granted, given = (grant(version), False) if way == "a registry's" else (False, grant(version))
    with pytest.raises(TrustError, match=r"forbids to load churn:1: model\.pkl names posix\.mkdir; .* without scan="):
        mk.Registry(store, trust=granted, scan="picklescan").load("churn", trust=given)
    assert not mark.exists()
    mk.Registry(store, trust=granted).load("churn", trust=given)
    assert mark.exists()  # so it would have run


def test_a_part_is_asked_about_as_the_model_is(mark: Path) -> None:
    store = MemoryStore()
    mk.Registry(store).save({"w": np.ones(2)}, "churn", preprocess=Runs(mark))
    version = mk.Registry(store, trust=True, scan="picklescan").get("churn")
    assert version.load()["w"].tolist() == [1.0, 1.0]
    with pytest.raises(TrustError, match=r"forbids to load 'preprocess' of churn:1: .* names posix\.mkdir"):
        version.parts["preprocess"].load()
    assert not mark.exists()


@pytest.mark.parametrize("folder", [False, True], ids=["a file", "a folder"])
def test_what_picklescan_finds_is_not_adopted_and_nothing_beside_it(bad: Path, *, folder: bool) -> None:
    if folder:
        inside = bad.parent / "old" / "deep"
        inside.mkdir(parents=True)
        bad = bad.rename(inside / bad.name).parent.parent
    (bad.parent / "model.json").write_bytes(b"{}")
    store = MemoryStore()
    with pytest.raises(TrustError, match=r"forbids to adopt .*model\.pkl names posix\.mkdir"):
        mk.Registry(store, trust=True, scan="picklescan").adopt(bad.parent / "*", "churn")
    assert mk.Registry(store).models() == []


def test_what_picklescan_cannot_read_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x93.")
    with pytest.raises(TrustError, match=r"model\.pkl cannot be scanned \(ValueError: "):
        mk.Registry(MemoryStore(), scan="picklescan").adopt(tmp_path / "model.pkl", "churn")


@pytest.mark.parametrize("kind", ["cloudpickle", "pickle", "joblib"])
def test_what_picklescan_does_not_mind_still_needs_trust(kind: str, tmp_path: Path) -> None:
    store, path = MemoryStore(), tmp_path / ("model.joblib" if kind == "joblib" else "model.pkl")
    if kind == "cloudpickle":
        mk.Registry(store).save(Own(), "churn", serializer=kind)
    else:
        with path.open("wb") as stream:
            importlib.import_module(kind).dump(Own(), stream)
        mk.Registry(store, scan="picklescan").adopt(path, "churn")
    registry = mk.Registry(store, scan="picklescan")
    with pytest.raises(TrustError, match="loading churn:1 may run code"):
        registry.load("churn")
    assert type(registry.load("churn", trust=True)) is Own


def test_honest_models_load_as_they_do_without_it() -> None:
    from sklearn.linear_model import LinearRegression

    registry = mk.Registry(MemoryStore(), scan="picklescan")
    registry.save(LinearRegression().fit([[0.0], [1.0]], [0, 1]), "line")
    registry.save({"w": np.ones(2), "names": ["a"]}, "tree")
    assert registry.load("line").predict([[2.0]]).tolist() == pytest.approx([2.0])
    assert registry.load("tree")["names"] == ["a"]


def test_a_function_that_cloudpickle_kept_is_refused_which_is_why_it_must_be_asked_for() -> None:
    store, shift = MemoryStore(), 2
    mk.Registry(store).save(lambda x: x + shift, "churn", serializer="cloudpickle")
    with pytest.raises(TrustError, match=r"cloudpickle\._make_function"):
        mk.Registry(store, scan="picklescan").load("churn", trust=True)
    assert mk.Registry(store).load("churn", trust=True)(1) == 3


def test_an_array_under_any_name_is_no_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.frombuffer(b"\x93" * 80, "u1"))  # an opcode, again and again
    path = (tmp_path / "vectors.npy").rename(tmp_path / "vectors")
    assert mk.Registry(MemoryStore(), scan="picklescan").adopt(path, "churn")


def test_without_the_package_it_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picklescan.scanner", None)
    with pytest.raises(InvalidValueError, match=r'not installed \(.*\); pip install "modelkeep\[picklescan\]"'):
        mk.Registry(MemoryStore(), scan="picklescan")


@pytest.mark.parametrize("odd", [True, "", "clamav", 3])
def test_any_other_scan_is_refused(odd: Any) -> None:
    with pytest.raises(InvalidValueError, match="give 'picklescan', or leave it out"):
        mk.Registry(MemoryStore(), scan=odd)
