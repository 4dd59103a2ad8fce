"""A tracked function: what it returns is what it always returned, and a version; what it was given is in the record."""

# ruff: noqa: ARG001, ARG005, T201  what a tracked function takes and prints is in its record, used or not

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import pickle
import threading
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep import making
from modelkeep.calls import Reader, is_data
from modelkeep.choosing import improves, parse_keep
from modelkeep.errors import InvalidValueError, NotFoundError, StoreError
from modelkeep.registry import Registry
from modelkeep.runs import Run, current_run
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording, Wrapper
from modelkeep.track import last_run

registry = Registry(MemoryStore())
# no list: what a module-level list holds is part of the code that reads it
calls: deque[str] = deque()


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.setattr(registry, "_store", MemoryStore())
    monkeypatch.setitem(globals(), "registry", Registry(MemoryStore()))


def weights(seed: float = 0) -> dict[str, Any]:
    return {"w": np.arange(3.0) + seed}


def session(version: mk.ModelVersion) -> dict[str, Any]:
    found: dict[str, Any] = version.record.made["session"]
    return found


# -- what is returned, and what is recorded ------------------------------------------------------------------------


def test_the_function_returns_the_very_object_and_a_version_holds_it() -> None:
    model, metrics = weights(), {"auc": 0.9}

    @registry.track("churn", metric="auc")
    def train() -> Any:
        return model, metrics

    returned = train()
    assert returned[0] is model
    assert returned[1] is metrics
    version = last_run(train).version
    assert version == registry.get("churn:1")
    assert version.load()["w"].tolist() == [0, 1, 2]
    assert version.metrics == {"auc": 0.9}


@pytest.mark.parametrize(
    "returned",
    [
        weights(),
        [np.zeros(2)],
        (np.zeros(2), np.ones(2)),
        (weights(), {"w": np.zeros(3)}),  # two models: the second is no dict of numbers
        (weights(), {}, {}),
        np.zeros(3),
    ],
)
def test_what_is_no_model_with_metrics_is_a_model(returned: Any) -> None:
    train = registry.track("churn")(lambda: returned)
    assert train() is returned
    assert last_run(train).version.metrics == {}
    assert repr(last_run(train).version.load()) == repr(returned)


@pytest.mark.parametrize("wrong", [None, "high", [[1, 2], [3, 4]], {"auc": 0.9}])
def test_metrics_with_something_that_is_none_are_an_error_that_names_it_and_the_model_is_not_lost(wrong: Any) -> None:
    train = registry.track("churn")(lambda: (weights(), {"auc": 0.9, "confusion": wrong}))
    with pytest.raises(InvalidValueError, match=r"confusion.*last_run\(\)\.unsaved"):
        train()
    unsaved: Any = last_run(train).unsaved
    assert unsaved[0]["w"].tolist() == weights()["w"].tolist()
    with pytest.raises(NotFoundError):
        registry.get("churn")


def test_reuse_says_where_it_cannot_look() -> None:
    names: dict[str, Any] = {}
    exec("def made():\n    return {'w': 1.5}", names)
    with pytest.warns(UserWarning, match="looks for nothing"):
        registry.track("churn", reuse=True)(names["made"])()


def test_a_tracked_function_looks_as_it_did() -> None:
    def train(frame: list[int], *, depth: int = 6) -> dict[str, Any]:
        """Train."""
        return weights()

    tracked = registry.track("churn")(train)
    assert (tracked.__name__, tracked.__doc__, tracked.__module__) == ("train", "Train.", __name__)
    assert tracked.__qualname__ == train.__qualname__
    assert inspect.signature(tracked) == inspect.signature(train)
    assert inspect.isfunction(tracked)
    assert inspect.unwrap(tracked) is train


def test_arguments_and_defaults_become_parameters_and_data_becomes_datasets() -> None:
    pandas = pytest.importorskip("pandas")

    @registry.track("churn")
    def train(
        frame: Any,
        array: Any = None,
        *more: int,
        depth: int = 6,
        where: Path = Path("x"),
        model: Any = None,
        **rest: Any,
    ) -> Any:
        return weights()

    frame = pandas.DataFrame({"a": [1, 2, 3], "b": 0.5})
    train(frame, np.zeros((5, 2)), 1, 2, model=Reader, rate=0.1, splits={"a": np.zeros(1), "b": np.zeros(2)})
    version = last_run(train).version
    assert version.params == {"depth": 6, "rate": 0.1, "more": (1, 2)}
    data = {facts["role"]: (facts["kind"], facts.get("rows")) for facts in version.record.made["data"]}
    assert data == {
        "frame": ("frame", 3),
        "array": ("array", 5),
        "where": ("file", None),
        "splits.a": ("array", 1),
        "splits.b": ("array", 2),
    }
    assert session(version)["arguments"] == {"model": "builtins.type"}


def test_an_argument_that_is_named_is_a_dataset_whatever_it_is() -> None:
    @registry.track("churn", data=["url"])
    def train(url: str, rows: int) -> Any:
        return weights()

    train("s3://bucket/rows.parquet", 5)
    version = last_run(train).version
    assert version.params == {"rows": 5}
    assert [facts["role"] for facts in version.record.made["data"]] == ["url"]
    with pytest.raises(InvalidValueError, match=r"data names frame, rows, and .*lambda> takes url"):
        registry.track("churn", data=["frame", "rows"])(lambda url: url)


class Unreadable:
    """An object that answers nothing."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return object.__getattribute__(self, name)
        raise RuntimeError(name)


@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | st.text(max_size=5) | st.builds(object) | st.builds(Unreadable)
        | st.just(np.zeros(2)) | st.sampled_from([{1: 2}, "x" * 9_000, list(range(2_000)), int]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=5,
    )
)  # fmt: skip
def test_whatever_a_function_is_given_it_is_called_with_it_and_its_record_can_be_kept(value: Any) -> None:
    found = []
    there = Registry(MemoryStore())

    @there.track("churn")
    def train(given: Any) -> Any:
        found.append(given)
        return weights()

    train(value)
    assert found[0] is value
    record = last_run(train).version.record
    kept = {**record.params, **record.made["session"].get("arguments", {})}
    assert set(kept) | {facts["role"].partition("[")[0].partition(".")[0] for facts in record.made.get("data", [])} == {
        "given"
    }


def test_an_argument_that_contains_itself_is_told_by_its_class() -> None:
    endless: list[Any] = []
    endless.append(endless)
    train = registry.track("churn")(lambda given: weights())
    train(endless)
    assert session(last_run(train).version)["arguments"] == {"given": "builtins.list"}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "torch", "scipy"])
def test_frames_and_arrays_of_every_library_are_data(library: str) -> None:
    module = pytest.importorskip(library)
    if library == "scipy":
        import scipy.sparse

        made: list[Any] = [scipy.sparse.csr_matrix((2, 2)), scipy.sparse.coo_array((2, 2))]
    elif library == "pyarrow":
        made = [module.table({"a": [1]}), module.array([1])]
    elif library == "torch":
        made = [module.zeros(2), module.utils.data.TensorDataset(module.zeros(2))]
        assert not is_data(module.nn.Linear(1, 1))
    else:
        made = [module.DataFrame({"a": [1]}), module.DataFrame({"a": [1]})["a"]]
    assert [is_data(one) for one in made] == [True] * len(made)
    assert not is_data(module)


def test_wrong_arguments_are_the_error_of_the_function_itself() -> None:
    def train(a: int) -> Any:
        return weights()

    with pytest.raises(TypeError) as plain:
        train()  # type: ignore[call-arg]
    with pytest.raises(TypeError) as tracked:
        registry.track("churn")(train)()  # type: ignore[call-arg]
    assert str(tracked.value) == str(plain.value)
    assert list(registry.model("churn").versions()) == []


def test_a_parameter_that_looks_like_a_secret_is_an_error_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(params: Mapping[str, object], allowed: Any) -> None:
        if "token" in params and "token" not in allowed:
            raise InvalidValueError("token looks like a secret", key="token")

    monkeypatch.setattr(making, "check_secrets", refuses)
    with pytest.raises(InvalidValueError, match="token looks like a secret"):
        registry.track("churn")(lambda token: calls.append("ran"))("x")
    assert [*calls] == []
    allowed = registry.track("churn", allow_secret_like={"token"})(lambda token: weights())
    allowed("x")
    assert last_run(allowed).version.params == {"token": "x"}


def test_what_is_given_with_every_version_is_in_each() -> None:
    base = registry.save(weights(), "base")
    train = registry.track("churn", tags={"team": "growth"}, notes="wider", parent=base, bump="minor")(weights)
    train()
    version = last_run(train).version
    assert (version.tags, version.notes, version.label) == ({"team": "growth"}, "wider", "1.0.0")
    assert [str(parent) for parent in version.parents] == ["base:1"]
    with pytest.raises(InvalidValueError, match="takes no label"):
        registry.track("churn", label="1.0.0")  # type: ignore[call-arg]


class Net:
    """A model that takes a weak reference."""

    def __init__(self) -> None:
        self.w = 1


def test_a_model_that_was_loaded_and_given_is_the_parent() -> None:
    there = Registry(registry._store, trust=True)
    there.save(Net(), "churn", serializer="cloudpickle")
    base = there.load("churn")
    train = there.track("churn", serializer="cloudpickle")(lambda model: Net())
    train(base)
    assert [str(parent) for parent in last_run(train).version.parents] == ["churn:1"]
    assert last_run(train).version.params == {}


def test_the_function_logs_by_the_run_that_goes_on() -> None:
    @registry.track("churn", metric="loss")
    def train() -> Any:
        for loss in (0.7, 0.5):
            current_run().log(loss=loss)
        current_run().params["found"] = 3
        return weights()

    train()
    version = last_run(train).version
    assert version.history["loss"].value.tolist() == [0.7, 0.5]
    assert (version.metrics, version.params) == ({"loss": 0.5}, {"found": 3})


def test_what_is_printed_is_kept_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    def train() -> Any:
        print("epoch 1")
        return weights()

    loud, quiet = registry.track("churn", stdout=True)(train), registry.track("churn")(train)
    loud()
    quiet()
    assert session(last_run(loud).version)["output"] == {"stdout": "epoch 1\n", "stderr": ""}
    assert "output" not in session(last_run(quiet).version)
    assert capsys.readouterr().out == "epoch 1\n" * 2


# -- what cannot be tracked, and what fails ------------------------------------------------------------------------


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (generator, "generator is a generator"),
        (async_generator, "async_generator is a generator"),
        (functools.partial(generator), "is a generator"),
        (Net, "Net is a class"),
        (property(lambda self: self), "a property"),
        (functools.cached_property(lambda self: self), "a property"),
        (3, "3 is no function"),
        (staticmethod(generator), "generator is a generator"),
    ],
)
def test_what_cannot_be_tracked_is_refused_when_it_is_decorated(thing: Any, why: str) -> None:
    with pytest.raises(InvalidValueError, match=why):
        registry.track("churn")(thing)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": weights}, r'the name of the model is missing: write @registry.track\("churn"\)'),
        ({"keep": "best:3"}, "needs metric="),
        ({"keep": "best:0", "metric": "auc"}, "write 'best:3'"),
        ({"keep": 3, "metric": "auc"}, "write 'best:3'"),
        ({"mode": "up"}, "give 'max' or 'min'"),
        ({"save_if": "auc"}, "give improves"),
        ({"capture": ["env"]}, "capture names env"),
        ({"data": 3}, "data is 3"),
        ({"name": "a:b"}, "a:b"),
    ],
)
def test_an_option_that_is_wrong_is_refused_when_the_function_is_decorated(given: dict[str, Any], why: str) -> None:
    with pytest.raises((InvalidValueError, mk.InvalidError), match=why):
        registry.track(given.pop("name", "churn"), **given)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (weights(), r"returned a dict, and no metric 'auc'"),
        ((weights(), {"loss": 1, "f1": 2}), r"returned a dict with loss, f1, and no metric 'auc'"),
        ((weights(), {}), r"returned a dict with no metrics, and no metric 'auc'"),
        (None, "returned None; return the model"),
    ],
)
def test_a_metric_that_is_missing_is_told_with_what_was_returned_and_the_model_is_not_lost(
    returned: Any, said: str
) -> None:
    train = registry.track("churn", metric="auc")(lambda: returned)
    with pytest.raises(InvalidValueError, match=said):
        train()
    assert last_run(train).failed
    assert last_run(train).unsaved is returned
    assert list(registry.model("churn").versions()) == []


def test_an_exception_of_the_function_is_a_failed_run_and_never_a_version() -> None:
    error = ValueError("bad rows")

    @registry.track("churn")
    def train() -> Any:
        raise error

    with pytest.raises(ValueError, match="bad rows") as caught:
        train()
    assert caught.value is error
    assert (last_run(train).failed, last_run(train).error) == (True, "ValueError: bad rows")
    assert list(registry.model("churn").versions()) == []
    assert list(registry.model("churn").failed_runs()) == [last_run(train).kept]


def test_stop_iteration_is_an_exception_as_any_other() -> None:
    @registry.track("churn")
    def train() -> Any:
        raise StopIteration(3)

    with pytest.raises(StopIteration):
        train()
    assert last_run(train).failed


# -- methods, async, nested, threads -------------------------------------------------------------------------------


def test_methods_in_every_order_of_decorators() -> None:
    class Trainer:
        @registry.track("churn")
        def method(self, a: int) -> Any:
            return weights(a), {"kind": 1}

        @classmethod
        @registry.track("churn")
        def inner(cls, a: int) -> Any:
            return weights(a), {"kind": 2 if cls is Trainer else 0}

        @registry.track("churn")
        @classmethod
        def outer(cls, a: int) -> Any:
            return weights(a), {"kind": 3 if cls is Trainer else 0}

        @staticmethod
        @registry.track("churn")
        def static(a: int) -> Any:
            return weights(a), {"kind": 4}

        @registry.track("churn")
        @staticmethod
        def outer_static(a: int) -> Any:
            return weights(a), {"kind": 5}

    trainer = Trainer()
    for work in (trainer.method, Trainer.inner, Trainer.outer, Trainer.static, Trainer.outer_static):
        work(7)
        run: Run = work.last_run()  # type: ignore[attr-defined]
        assert run.version.params == {"a": 7}, work
        assert "arguments" not in session(run.version)
    assert [version.metrics["kind"] for version in registry.model("churn").versions()] == [5, 4, 3, 2, 1]


def test_an_argument_called_self_of_a_plain_function_is_an_argument() -> None:
    train = registry.track("churn")(eval("lambda self: dict(w=1)"))
    train(3)
    assert last_run(train).version.params == {"self": 3}


def test_partials_and_callable_objects_are_functions() -> None:
    class Trainer:
        def __call__(self, a: int) -> Any:
            return weights(a)

    for function in (functools.partial(weights, 3), Trainer()):
        train = registry.track("churn")(function)
        train(*[] if isinstance(function, functools.partial) else [1])
        assert last_run(train).version.number


def test_async_functions_stay_async_and_each_task_has_its_own_run() -> None:
    begun: list[int] = []
    together = asyncio.Event()

    @registry.track("churn")
    async def train(a: int) -> Any:
        begun.append(a)
        if len(begun) == 3:
            together.set()
        await together.wait()
        current_run().log(a=a)
        return weights(a)

    async def one(a: int) -> tuple[Any, Run]:
        return await train(a), last_run(train)

    async def main() -> list[tuple[Any, Run]]:
        return await asyncio.gather(*map(one, range(3)))

    assert inspect.iscoroutinefunction(train)
    results = asyncio.run(main())
    assert [model["w"][0] for model, _ in results] == [0, 1, 2]
    for a, (_, run) in enumerate(results):
        assert (run.version.params, run.version.metrics) == ({"a": a}, {"a": a})
        assert "within" not in session(run.version)


def test_a_task_that_is_cancelled_is_a_failed_run() -> None:
    runs: list[Run] = []

    @registry.track("churn")
    async def train() -> Any:
        runs.append(current_run())
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(train())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [(run.failed, run.error) for run in runs] == [(True, "CancelledError")]


def test_a_tracked_function_within_another_is_a_run_of_its_own() -> None:
    @registry.track("inner")
    def inner(a: int) -> Any:
        current_run().log(inner=a)
        return weights(a)

    @registry.track("outer")
    def outer(a: int) -> Any:
        model = inner(a + 1)
        current_run().log(outer=a)
        return model

    outer(1)
    first, second = last_run(inner).version, last_run(outer).version
    assert (first.params, first.metrics) == ({"a": 2}, {"inner": 2})
    assert (second.params, second.metrics) == ({"a": 1}, {"outer": 1})
    assert session(first)["within"] == session(second)["id"]
    assert "within" not in session(second)


def test_calls_of_many_threads_are_runs_of_their_own() -> None:
    @registry.track("churn")
    def train(a: int) -> Any:
        for _ in range(20):
            current_run().log(a=a)
        return weights(a)

    def work(a: int) -> tuple[int, mk.ModelVersion]:
        train(a)
        return a, last_run(train).version

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(24)))
    for a, version in done:
        assert version.params == {"a": a}
        assert set(version.history["a"].value) == {a}
        assert version.load()["w"][0] == a
    assert sorted(version.number for _, version in done) == list(range(1, 25))


def test_the_last_run_is_that_of_the_thread_that_asks() -> None:
    train = registry.track("churn")(weights)
    thread = threading.Thread(target=train, args=(1,))
    thread.start()
    thread.join()
    with pytest.raises(NotFoundError, match=r"registry.model\('churn'\).versions\(\)"):
        last_run(train)
    with pytest.raises(InvalidValueError, match="is not tracked"):
        last_run(weights)
    train(2)
    assert last_run(train).version.params == {"seed": 2}


# -- which versions there are --------------------------------------------------------------------------------------


def by_auc(**options: Any) -> Callable[[float], Any]:
    return registry.track("churn", metric="auc", **options)(lambda auc: (weights(auc), {"auc": auc}))


def alive() -> dict[int, float]:
    return {version.number: version.metrics["auc"] for version in registry.model("churn").versions()}


def test_only_the_best_are_kept_and_the_others_can_be_restored() -> None:
    train = by_auc(keep="best:3")
    for auc in (0.1, 0.5, 0.3, 0.4, 0.2, float("nan"), 0.6):
        train(auc)
    assert {number: auc for number, auc in alive().items() if not math.isnan(auc)} == {2: 0.5, 4: 0.4, 7: 0.6}
    assert "not among the best 3 by auc (max)" in [event.text for event in registry.model("churn").history()]
    assert registry.model("churn").version(1).restore().load()["w"][0] == 0.1


def test_the_lowest_are_the_best_where_that_was_said_and_of_equal_ones_the_newer() -> None:
    train = by_auc(keep="best:2", mode="min")
    for auc in (0.1, 0.5, 0.3, 0.3):
        train(auc)
    assert alive() == {1: 0.1, 4: 0.3}


def test_what_is_held_promoted_or_has_no_such_metric_stays() -> None:
    train = by_auc(keep="best:1")
    train(0.1)
    registry.get("churn:1").promote("production")
    registry.save(weights(), "churn", metrics={"auc": 0.0}).hold()
    registry.save(weights(), "churn", metrics={"loss": 0.0})
    registry.save(weights(), "churn", metrics={"auc": True})
    for auc in (0.5, 0.4):
        train(auc)
    assert {version.number for version in registry.model("churn").versions()} == {1, 2, 3, 4, 5}
    assert last_run(train).version.deleted  # the last one is a version, and was not among the best


def test_a_run_that_is_no_better_makes_no_version_and_returns_its_model() -> None:
    train = by_auc(save_if=improves("auc", by=0.05))
    kept = [(train(auc)[1]["auc"], len(last_run(train).versions)) for auc in (0.5, 0.5, 0.54, 0.56, float("nan"), 0.9)]
    assert [count for _, count in kept] == [1, 0, 0, 1, 0, 1]
    train(0.1)
    assert not last_run(train).failed
    assert last_run(train).skipped
    with pytest.raises(NotFoundError, match="not worth keeping"):
        _ = last_run(train).version
    registry.get("churn:3").delete()
    train(0.7)  # what was deleted no longer counts
    assert last_run(train).version.number == 4


def test_lower_may_be_better_and_any_function_may_decide() -> None:
    train = by_auc(save_if=improves("auc", mode="min"))
    for auc in (0.5, 0.6, 0.4, 0.4):
        train(auc)
    assert alive() == {1: 0.5, 2: 0.4}
    asked: list[tuple[str, Any]] = []
    never = by_auc(save_if=lambda model, metrics: asked.append((model.name, metrics)))
    never(0.3)
    assert asked == [("churn", {"auc": 0.3})]
    assert alive() == {1: 0.5, 2: 0.4}


def test_improving_on_a_metric_that_was_not_measured_is_an_error() -> None:
    train = by_auc(save_if=improves("f1"))
    with pytest.raises(InvalidValueError, match="asks for the metric 'f1', and there is auc"):
        train(0.5)
    wrong: Any
    for wrong in ({"by": -1}, {"by": float("nan")}, {"by": "x"}, {"mode": "up"}):
        with pytest.raises(InvalidValueError):
            improves("auc", **wrong)
    assert (parse_keep(None), parse_keep("best:12")) == (None, 12)


# -- the same run --------------------------------------------------------------------------------------------------


def fit(depth: int = 6) -> Any:
    """Fit."""
    calls.append(f"depth {depth}")
    return weights(depth), {"auc": depth / 10}


def refit(depth: int = 6) -> Any:
    calls.append(f"other {depth}")
    return weights(depth), {"auc": depth / 10}


def test_a_run_of_the_same_code_and_parameters_is_noted() -> None:
    train = registry.track("churn")(fit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train()
        train(7)
        registry.track("churn")(refit)()
    assert last_run(train).same_as is None
    with pytest.warns(UserWarning, match="churn:1 was made by the same code, data and parameters") as noted:
        train(depth=6)
    assert noted[0].filename == __file__
    assert last_run(train).same_as == registry.get("churn:1")
    assert last_run(train).version.number == 4
    assert session(last_run(train).version)["same_as"] == "churn:1"
    assert [*calls] == ["depth 6", "depth 7", "other 6", "depth 6"]


def test_a_note_does_not_keep_anybody_from_training_where_warnings_are_errors() -> None:
    train = registry.track("churn")(fit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train()
        train()
    assert last_run(train).version.number == 2


def test_reuse_gives_back_what_the_run_gave_and_runs_nothing() -> None:
    train = registry.track("churn", metric="auc", reuse=True)(fit)
    first = train()
    model, metrics = train()
    assert [*calls] == ["depth 6"]
    assert (model["w"].tolist(), metrics) == (first[0]["w"].tolist(), first[1])
    assert last_run(train).version == registry.get("churn:1")
    assert last_run(train).same_as == registry.get("churn:1")
    train(8)
    assert [*calls] == ["depth 6", "depth 8"]
    registry.get("churn:1").delete()
    train()
    assert [*calls] == ["depth 6", "depth 8", "depth 6"]


def test_reuse_gives_a_bare_model_where_one_was_returned() -> None:
    train = registry.track("churn", reuse=True)(weights)
    assert train(3)["w"].tolist() == train(3)["w"].tolist() == [3, 4, 5]
    assert len(registry.model("churn").versions()) == 1


def test_parameters_that_came_while_it_ran_do_not_hide_a_run() -> None:
    train = registry.track("churn", reuse=True)(_logging)
    train(1)
    train(1)
    assert [*calls] == ["ran"]


def _logging(a: int) -> Any:
    calls.append("ran")
    current_run().params["found"] = 3
    return weights(a)


def test_nothing_is_reused_where_something_unknown_went_in() -> None:
    unknown = object()

    def enclosing() -> Any:
        return weights(float(unknown is None))

    class Trainer:
        @registry.track("churn", reuse=True)
        def method(self) -> Any:
            return weights()

    functions: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (registry.track("churn", reuse=True)(_taking), (Path("nowhere"),)),  # a dataset without a fingerprint
        (registry.track("churn", reuse=True)(_taking), (object(),)),
        (registry.track("churn", reuse=True)(enclosing), ()),
        (Trainer().method, ()),
        (registry.track("churn", reuse=True)(functools.partial(weights, 1)), ()),
        (registry.track("churn", reuse=True)(eval("lambda: dict(w=1)")), ()),
    ]
    for number, (function, args) in enumerate(functions):
        for _ in range(2):
            function(*args)
        assert len(registry.model("churn").versions()) == 2 * (number + 1), number


def _taking(given: object) -> Any:
    return weights()


def test_what_a_function_encloses_is_part_of_what_it_is() -> None:
    def made(scale: float) -> Callable[[], Any]:
        return registry.track("churn", reuse=True)(lambda: weights(scale))

    first, second = made(1.0), made(2.0)
    assert [first()["w"][0], second()["w"][0], first()["w"][0], second()["w"][0]] == [1, 2, 1, 2]
    assert len(registry.model("churn").versions()) == 2


def test_data_with_a_fingerprint_is_known_again() -> None:
    train = registry.track("churn", reuse=True)(_mean)
    for x in (np.zeros(3), np.zeros(3), np.ones(3)):
        train(x)
    assert [*calls] == ["mean", "mean"]


def _mean(x: Any) -> Any:
    calls.append("mean")
    return {"w": x.mean()}


def test_comments_layout_and_docstrings_do_not_make_other_code_and_a_number_or_decorator_does() -> None:
    spaces: list[dict[str, Any]] = [{}, {}, {}, {}]
    texts = [
        "def f(a):\n    return {'w': a + 1}\n",
        "def f(a):\n    '''Says more.'''\n    # and why\n    return {'w': (a +\n        1)}\n",
        "def f(a):\n    return {'w': a + 2}\n",
        "@(lambda f: f)\ndef f(a):\n    return {'w': a + 1}\n",
    ]
    keys = []
    for number, (space, text) in enumerate(zip(spaces, texts, strict=True)):
        import linecache

        name = f"<text {number}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), space)
        keys.append(making.Making.begin(space["f"], kind="track").key({}))
    assert keys[0] == keys[1]
    assert len({keys[0], keys[2], keys[3], None}) == 4


class Broken(Wrapper):
    broken = False

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        if self.broken:
            raise StoreError("no network")
        return self.within.get(key, span)


def test_a_store_that_cannot_be_read_does_not_keep_anybody_from_training() -> None:
    store = Broken(MemoryStore())
    there = Registry(store)
    train = there.track("churn", reuse=True)(fit)
    train()
    store.broken = True
    train()
    assert [*calls] == ["depth 6", "depth 6"]
    assert last_run(train).same_as is None
    store.broken = False
    train()
    assert [*calls] == ["depth 6", "depth 6"]
    assert [version.number for version in there.model("churn").versions()] == [2, 1]


def test_a_module_that_loads_as_its_weights_alone_is_run_anew() -> None:
    torch = pytest.importorskip("torch")
    train = registry.track("churn", reuse=True)(_module)
    train()
    with pytest.warns(UserWarning, match=r"churn:1 .* run anew"):
        assert isinstance(train(), torch.nn.Module)
    assert [*calls] == ["module", "module"]


def test_what_needs_trust_is_reused_with_trust_and_run_anew_without() -> None:
    store = MemoryStore()
    for trust, ran in ((False, 1), (False, 2), (True, 2)):
        train = Registry(store, trust=trust).track("churn", reuse=True, serializer="cloudpickle")(_net)
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            assert isinstance(train(), Net)
        assert len(calls) == ran
        assert ["trust" in str(one.message) for one in noted] == ([True] if (trust, ran) == (False, 2) else [])


def _net() -> Any:
    calls.append("net")
    return Net()


def _module() -> Any:
    import torch

    calls.append("module")
    return torch.nn.Linear(2, 1)


def test_looking_for_the_same_run_costs_what_is_said() -> None:
    store = Recording(MemoryStore())
    there = Registry(store, cache=False)
    train = there.track("churn")(fit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train()
        train()
        store.forget()
        there.save(weights(), "churn")
        plain = store.counts()
        store.forget()
        train()
    seen = store.counts()
    assert seen["create"] == plain["create"]
    assert seen["put_pack"] == plain["put_pack"]
    assert seen["get"] - plain.get("get", 0) <= 2 + 3  # the heads of two journals, and records of versions unseen


# -- pickles -------------------------------------------------------------------------------------------------------


def test_a_tracked_function_of_a_module_pickles_by_reference() -> None:
    import tracked

    assert pickle.loads(pickle.dumps(tracked.train)) is tracked.train
