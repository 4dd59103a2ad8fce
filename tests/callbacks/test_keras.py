from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import pytest

from callbacks.looking import LABELS, X, curve, points
from modelkeep.errors import NotFoundError
from modelkeep.integrations.callbacks.keras import RunCallback
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore

# numpy 2 says so of torch's tensors, for keras's sake; nothing of ours converts
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


def model() -> Any:
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    made.compile("sgd", loss="binary_crossentropy", metrics=["accuracy"])
    return made


def fit(callbacks: list[Any], **options: Any) -> Any:
    return model().fit(X, LABELS, validation_split=0.5, epochs=3, verbose=0, callbacks=callbacks, **options)


def test_each_epoch_is_logged_as_history_has_it(registry: Registry) -> None:
    with registry.run("churn") as run:
        history = fit([RunCallback()]).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"} == set(run.metrics)
    assert {name: curve(run, name) for name in history} == {name: points(values) for name, values in history.items()}


def test_epochs_count_from_where_training_goes_on(registry: Registry) -> None:
    with registry.run("churn") as run:
        fit([RunCallback(prefix="b/")], initial_epoch=1)
    assert [step for step, _ in curve(run, "b/loss")] == [1, 2]


def test_training_is_the_same_with_the_callback_and_without(registry: Registry) -> None:
    with registry.run("churn"):
        assert fit([RunCallback()]).history == fit([]).history


def test_without_a_run_training_does_not_begin() -> None:
    epochs: list[int] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: epochs.append(epoch))
    with pytest.raises(NotFoundError, match="there is no run to log into"):
        fit([RunCallback(), watch])
    assert epochs == []
