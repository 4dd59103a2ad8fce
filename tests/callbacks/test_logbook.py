"""What holds for all callbacks: which run they write into, and that nothing of it ends a training."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

from callbacks.looking import curve
from modelkeep.errors import InvalidValueError, NotFoundError
from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.registry import Registry
from modelkeep.runs import Run
from modelkeep.stores.memory import MemoryStore


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


def opened(run: Run) -> Logbook:
    book = Logbook(run)
    book.open()
    return book


def log_twice(book: Logbook, metrics: dict[str, Any]) -> None:
    book.log(metrics, 0)
    book.log(metrics, 1)


def test_without_a_run_an_error_says_what_to_do() -> None:
    with pytest.raises(NotFoundError, match=r"with registry\.run\(name\)` or .*@registry\.track\(name\), or .* run="):
        Logbook().open()


def test_what_is_no_run_is_refused_at_once() -> None:
    with pytest.raises(InvalidValueError, match="run is 'churn'; give what"):
        Logbook("churn")  # type: ignore[arg-type]


def test_the_run_that_goes_on_when_training_begins_is_written_into_unless_one_is_given(registry: Registry) -> None:
    made_outside = Logbook()
    with registry.run("churn") as first:
        made_inside, given = Logbook(), Logbook(first)
        assert made_outside.open() is first
    with registry.run("churn") as second:
        assert [book.open() for book in (made_outside, made_inside, given)] == [second, second, first]


def test_a_thread_that_knows_no_run_writes_into_the_one_around_the_making(registry: Registry) -> None:
    with registry.run("churn") as run:
        book = Logbook()

        def train() -> None:
            book.open()
            book.log({"loss": 0.5}, 3)

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert curve(run, "loss") == [(3, 0.5)]


def test_a_run_that_is_over_is_not_written_into_unless_it_is_given(registry: Registry) -> None:
    with registry.run("churn") as run:
        book = Logbook()
    with pytest.raises(NotFoundError):
        book.open()
    assert Logbook(run).open() is run


def test_a_value_that_cannot_be_logged_is_a_warning_that_names_it_once_and_the_others_are_logged(
    registry: Registry,
) -> None:
    with registry.run("churn") as run:
        book = opened(run)
        with pytest.warns(
            UserWarning, match=r"not all of this training is logged: .*metric table is \[\[1\]\]"
        ) as seen:
            log_twice(book, {"loss": 0.5, "table": [[1]], "note": "text"})
    assert len(seen) == 1
    assert curve(run, "loss") == [(0, 0.5), (1, 0.5)]


@pytest.mark.parametrize("rule", ["error", "ignore"])
def test_nothing_that_goes_wrong_while_logging_ends_a_training(
    registry: Registry, rule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    with registry.run("churn") as run, warnings.catch_warnings():
        warnings.simplefilter(rule)  # where warnings are errors, too
        monkeypatch.setattr(run, "log", full)
        opened(run).log({"loss": 0.5}, 0)


def test_what_ends_a_process_is_not_held_up(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with registry.run("churn") as run:
        monkeypatch.setattr(run, "log", stop)
        with pytest.raises(KeyboardInterrupt):
            opened(run).log({"loss": 0.5}, 0)


def test_a_prefix_stands_before_the_names(registry: Registry) -> None:
    with registry.run("churn") as run:
        book = Logbook(prefix="fold1/")
        book.open()
        book.log({"loss": 0.5}, 0)
    assert list(run.metrics) == ["fold1/loss"]


def test_a_copy_writes_into_the_same_run(registry: Registry) -> None:
    with registry.run("churn") as run:
        for book in (copy.deepcopy(Logbook(run)), copy.copy(Logbook())):
            book.open()
            book.log({"loss": 0.5})
    assert len(curve(run, "loss")) == 2


def test_in_another_process_nothing_is_logged_and_a_warning_says_so(registry: Registry) -> None:
    with registry.run("churn") as run:
        sent = pickle.dumps(Logbook(run))
    there = pickle.loads(sent)
    with pytest.warns(UserWarning, match="another process"):
        assert there.open() is None
    there.log({"loss": 0.5}, 0)
    with registry.run("churn") as own:  # one that was begun there
        assert there.open() is own


def test_numbers_of_arrays_and_tensors_are_numbers(registry: Registry) -> None:
    with registry.run("churn") as run:
        opened(run).log({"loss": np.float32(0.5), "auc": np.array(0.25), "nan": float("nan")}, 0)
    assert dict(run.metrics)["loss"] == 0.5
    assert dict(run.metrics)["auc"] == 0.25
    assert np.isnan(run.metrics["nan"])


def test_callbacks_that_need_no_framework_import_none() -> None:
    code = (
        "import sys, modelkeep.integrations.callbacks.lightgbm, modelkeep.integrations.callbacks.optuna, "
        "modelkeep.integrations.callbacks.sklearn; "
        "assert not {'numpy', 'lightgbm', 'optuna', 'sklearn', 'xgboost', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
