"""A run: what it logs, what its versions keep of it, and what becomes of one that fails."""

# ruff: noqa: T201  what is printed is what is tested

from __future__ import annotations

import io
import math
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import attrs
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep import making
from modelkeep._publish import Draft, publish
from modelkeep.curves import Curves, History
from modelkeep.errors import (
    ConflictError,
    IntegrityError,
    InvalidValueError,
    NotFoundError,
    SecretError,
    SerializerError,
    StoreError,
)
from modelkeep.registry import Registry
from modelkeep.runs import current_run
from modelkeep.serializers.discovery import by_name
from modelkeep.sink import SaveSink
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording, Wrapper
from modelkeep.tails import MAX_TAIL, Tail, printed
from modelkeep.version import Part

W = {"w": np.arange(3.0)}


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


def reopened(registry: Registry, ref: str = "churn") -> mk.ModelVersion:
    return Registry(registry._store).get(ref)


# -- curves --------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["loss", "auc", "val/loss", "step/x", "é", "", "__metadata__"])
POINTS = st.lists(
    st.tuples(
        st.dictionaries(NAMES, st.floats() | st.integers(-(2**60), 2**60) | st.booleans(), min_size=1, max_size=3),
        st.none() | st.integers(-(2**63), 2**63 - 2),
    ),
    max_size=12,
)


@given(POINTS)
def test_curves_come_back_from_a_version_as_they_were_logged(points: list[tuple[dict[str, Any], int | None]]) -> None:
    registry = Registry(MemoryStore())
    expected: dict[str, list[tuple[int, float]]] = {}
    with registry.run("churn") as run:
        for metrics, step in points:
            if step is None and any((curve := expected.get(name)) and curve[-1][0] >= 2**63 - 1 for name in metrics):
                continue
            run.log(metrics, step=step)
            for name, value in metrics.items():
                curve = expected.setdefault(name, [])
                at = step if step is not None else curve[-1][0] + 1 if curve else 0
                curve.append((at, float(value)))
        run.save(W)
    history = reopened(registry).history
    assert set(history) == set(expected)
    for name, curve in expected.items():
        assert history[name].step.tolist() == [step for step, _ in curve]
        np.testing.assert_array_equal(history[name].value, [value for _, value in curve])
        assert list(np.diff(history[name].time) >= 0) == [True] * (len(curve) - 1)
        assert len(history[name]) == len(curve)
    assert run.versions[0].metrics.keys() == expected.keys()


def test_a_point_without_a_step_is_one_further_than_the_last_of_its_curve(registry: Registry) -> None:
    with registry.run("churn") as run:
        run.log(loss=3)
        run.log(loss=2, auc=0.5)
        run.log(loss=1, step=100)
        run.log(loss=0)
        history = run.save(W).history
    assert history["loss"].step.tolist() == [0, 1, 100, 101]
    assert history["auc"].step.tolist() == [0]
    assert history["loss"].last == 0


def test_names_that_python_has_not_and_a_metric_called_step_can_be_logged(registry: Registry) -> None:
    with registry.run("churn") as run:
        run.log({"val/loss": 1, "step": 2}, auc=0.5, step=7)
        history = run.save(W).history
    assert {name: (curve.step.tolist(), curve.value.tolist()) for name, curve in history.items()} == {
        "val/loss": ([7], [1]),
        "step": ([7], [2]),
        "auc": ([7], [0.5]),
    }


def test_numbers_of_other_libraries_are_numbers(registry: Registry) -> None:
    torch = pytest.importorskip("torch")
    with registry.run("churn") as run:
        run.log(a=np.float32(0.5), b=torch.tensor(0.25), c=np.array(2), step=np.int64(3))
        assert dict(run.metrics) == {"a": 0.5, "b": 0.25, "c": 2.0}


@pytest.mark.parametrize("wrong", ["0.5", None, b"1", [1], 10**400, 1j, np.zeros(2)])
def test_what_is_no_number_is_refused_by_name_and_nothing_of_the_call_is_kept(registry: Registry, wrong: Any) -> None:
    with registry.run("churn") as run:
        with pytest.raises(InvalidValueError, match="metric auc is "):
            run.log(loss=0.5, auc=wrong)
        assert dict(run.metrics) == {}


@pytest.mark.parametrize("wrong", ["1", 1.5, math.nan, 2**63, -(2**63) - 1, [1]])
def test_a_step_that_is_no_whole_number_is_refused(registry: Registry, wrong: Any) -> None:
    with registry.run("churn") as run:
        with pytest.raises(InvalidValueError, match="step is "):
            run.log(loss=0.5, step=wrong)
        assert dict(run.metrics) == {}


@pytest.mark.parametrize("fails", [False, True])
def test_a_point_after_the_end_of_the_run_is_refused_and_none_is_lost_without_a_word(
    registry: Registry, fails: bool
) -> None:
    with suppress(ArithmeticError), registry.run("churn") as run:
        run.log(loss=0.5)
        run.save(W)
        if fails:
            raise ArithmeticError
    with pytest.raises(ConflictError, match=r"this run of 'churn' has ended, .* log within its block"):
        run.log(loss=0.4)
    assert dict(run.metrics) == {"loss": 0.5}


def test_points_of_many_threads_are_all_kept_and_each_is_whole(registry: Registry) -> None:
    threads, points = 8, 2_000
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with registry.run("churn") as run:

            def work(thread: int) -> None:
                for n in range(points):
                    run.log(a=thread * points + n, b=thread * points + n, step=thread * points + n)

            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
            history = run.save(W).history
    finally:
        sys.setswitchinterval(interval)
    for name in "ab":
        curve = history[name]
        assert np.array_equal(np.sort(curve.step), np.arange(threads * points))
        assert np.array_equal(curve.step, curve.value)
    assert np.array_equal(history["a"].step, history["b"].step)  # rows of a call stand together


class Slow(str):
    """A name that gives way to other threads where it is looked up."""

    __slots__ = ()
    pauses = 0

    def __hash__(self) -> int:
        Slow.pauses += 1
        if Slow.pauses == 3:  # the first is the dict's, the second before anything is kept
            time.sleep(0.2)
        return str.__hash__(self)

    __eq__ = str.__eq__


def test_a_call_within_which_another_thread_logs_is_whole_nevertheless() -> None:
    curves = Curves()
    curves.log({"a": 0.0, "b": 0.0})
    slow = {"a": 1.0, Slow("b"): 1.0}
    thread = threading.Thread(target=curves.log, args=(slow,))
    thread.start()
    while Slow.pauses < 3:
        time.sleep(0)
    curves.log({"a": 2.0, "b": 2.0})
    thread.join()
    columns = curves.columns()
    assert columns["value/a"].tolist() == columns["value/b"].tolist()


def test_steps_that_count_themselves_are_never_given_twice() -> None:
    curves = Curves()

    def work(_: int) -> None:
        for _ in range(1_000):
            curves.log({"loss": 1.0})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert np.array_equal(curves.columns()["step/loss"], np.arange(8_000))


def test_a_history_is_a_frame_with_a_row_for_each_point(registry: Registry) -> None:
    pytest.importorskip("pandas")
    with registry.run("churn") as run:
        run.log(loss=0.7, auc=0.5)
        run.log(loss=0.5)
        frame = run.save(W).history.to_pandas()
    assert frame.columns.tolist() == ["metric", "step", "time", "value"]
    assert frame.drop(columns="time").to_numpy().tolist() == [["loss", 0, 0.7], ["loss", 1, 0.5], ["auc", 0, 0.5]]
    assert History({}).to_pandas().shape == (0, 4)


def test_a_version_without_curves_has_no_history_and_no_part(registry: Registry) -> None:
    version = registry.save(W, "churn")
    assert dict(version.history) == {}
    assert "history" not in version.parts


def forged(registry: Registry, history: Any) -> mk.ModelVersion:
    """A version with a history that no run writes."""
    sound = registry.save(W, "churn")
    tree = by_name("tree")
    part = Part(serializer="tree", serializer_format=tree.format, packages={}, type="builtins.dict")
    with SaveSink() as model, SaveSink() as sink:
        tree.save(W, model)
        tree.save(history, sink)
        sources = [*model.sources(), *(attrs.evolve(one, path=f"history/{one.path}") for one in sink.sources())]
        record = attrs.evolve(sound.record, parts={"history": part})
        return registry.model("churn").version(publish(sound._line, Draft(sources=sources, record=record)))


I8, F8 = np.zeros(2, np.int64), np.zeros(2)


@pytest.mark.parametrize(
    "history",
    [
        [1, 2],
        {"a": F8},
        {"step/a": I8, "value/a": F8},
        {"step/a": I8, "value/a": F8, "time/a": np.zeros(3)},
        {"step/a": F8, "value/a": F8, "time/a": F8},
        {"step/a": I8, "value/a": F8.astype(np.float32), "time/a": F8},
        {"step/a": I8.reshape(1, 2), "value/a": F8.reshape(1, 2), "time/a": F8.reshape(1, 2)},
        {"step/a": 3, "value/a": F8, "time/a": F8},
    ],
)
def test_a_history_of_another_form_is_told_of_and_the_model_still_loads(registry: Registry, history: Any) -> None:
    version = forged(registry, history)
    with pytest.raises(IntegrityError, match="the part 'history' of churn:2 holds no curves"):
        _ = version.history
    assert version.load()["w"].tolist() == [0, 1, 2]


def test_a_forged_history_of_a_sound_form_is_read(registry: Registry) -> None:
    assert forged(registry, {"step/a": I8, "value/a": F8, "time/a": F8}).history["a"].last == 0  # what the above is not


# -- what a version keeps ------------------------------------------------------------------------------------------


def test_a_version_has_what_was_said_of_its_run(registry: Registry) -> None:
    base = registry.save(W, "churn")
    run = registry.run("churn", params={"depth": 6}, data={"train": np.zeros((5, 2))}, tags={"team": "growth"},
                       notes="wider", parent=base)  # fmt: skip
    with run:
        run.params["rate"] = 0.1
        run.log_params({"a b": 1}, layers=[64, 8])
        run.log(loss=0.5)
        run.metrics["auc"] = 0.9
        run.data("valid", np.zeros(3))
        version = run.save(W, params={"depth": 7}, metrics={"f1": 0.8}, tags={"x": "y"}, bump="minor")
    version = reopened(registry)
    assert version.params == {"depth": 7, "rate": 0.1, "a b": 1, "layers": [64, 8]}
    assert version.metrics == {"loss": 0.5, "auc": 0.9, "f1": 0.8}
    assert (version.tags, version.notes, version.label) == ({"team": "growth", "x": "y"}, "wider", "1.0.0")
    assert [str(parent) for parent in version.parents] == ["churn:1"]
    made = version.record.made
    assert [(facts["role"], facts["kind"], facts["rows"]) for facts in made["data"]] == [
        ("train", "array", 5),
        ("valid", "array", 3),
    ]
    session = made["session"]
    assert (session["id"], session["kind"]) == (run.id, "run")
    assert 0 < session["duration_s"] <= run.duration
    assert session["peak_memory"] > 1 << 20
    assert session["memory_growth"] >= 0
    assert mk.System().timestamp() > session["began"]


def test_a_metric_that_was_given_stands_before_the_last_point_of_its_curve(registry: Registry) -> None:
    with registry.run("churn") as run:
        run.log(auc=0.9)
        run.metrics["auc"] = 0.8
        run.log(auc=0.7)
        assert dict(run.metrics) == {"auc": 0.8}
        del run.metrics["auc"]
        assert run.save(W).metrics == {"auc": 0.7}


def test_each_save_of_a_run_is_a_version_with_what_was_logged_by_then(registry: Registry) -> None:
    with registry.run("churn") as run:
        for loss in (0.7, 0.5):
            run.log(loss=loss)
            run.save(W)
    assert [version.history["loss"].value.tolist() for version in run.versions] == [[0.7], [0.7, 0.5]]
    assert run.version == registry.get("churn:2")
    first, second = (version.record.made["session"] for version in run.versions)
    assert first["id"] == second["id"]
    assert first["duration_s"] < second["duration_s"]


@pytest.mark.parametrize("wrong", [object(), {1: 2}, [object()]])
def test_a_parameter_that_cannot_be_kept_is_refused_when_it_is_set(registry: Registry, wrong: Any) -> None:
    with registry.run("churn") as run:
        with pytest.raises(InvalidValueError, match=r"params\.model"):
            run.params["model"] = wrong
        with pytest.raises(InvalidValueError, match=r"params\.model"):
            run.log_params(depth=6, model=wrong)
        assert dict(run.params) == {}
        with pytest.raises(InvalidValueError, match=r"metrics\.auc"):
            run.metrics["auc"] = "high"


def test_every_way_in_for_parameters_refuses_a_secret(registry: Registry) -> None:
    secret = {"db_password": "maple-4711"}
    with pytest.raises(SecretError, match=r"params\.db_password looks like a secret"):
        registry.run("churn", params=secret)
    with registry.run("churn") as run:
        for way in (
            lambda: run.log_params(secret),
            lambda: run.log_params(db_password="maple-4711"),
            lambda: run.params.update(secret),
            lambda: run.save(W, params=secret),
        ):
            with pytest.raises(SecretError, match=r"params\.db_password looks like a secret"):
                way()
    assert run.versions == ()
    assert run.unsaved is W
    with registry.run("churn", params=secret, allow_secret_like="db_password") as run:
        assert run.save(W, params=secret).params == secret


def test_a_secret_that_came_into_a_parameter_after_it_was_set_is_not_saved(registry: Registry) -> None:
    settings = {"user": "ada"}
    with registry.run("churn", params={"db": settings}) as run:
        settings["password"] = "maple-4711"
        with pytest.raises(SecretError, match=r"params\.db\.password looks like a secret"):
            run.save(W)
    assert registry.models() == []


def test_a_run_costs_no_request_and_its_save_what_a_save_costs() -> None:
    store = Recording(MemoryStore())
    registry = Registry(store)
    registry.save(W, "churn")
    registry.save(W, "churn")
    store.forget()
    registry.save(W, "churn")
    plain = store.counts()
    store.forget()
    with registry.run("churn", params={"depth": 6}) as run:
        run.log(loss=0.5)
        assert sum(store.counts().values()) == 0
        run.save(W)
    assert store.counts() == plain


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"params": [1]}, "params"),
        ({"data": [1]}, "data"),
        ({"tags": {"a": 1}}, "tag a"),
        ({"notes": 3}, "notes"),
        ({"capture": ["everything"]}, "everything"),
        ({"allow_secret_like": 3}, "allow_secret_like"),
    ],
)
def test_an_option_that_is_wrong_is_refused_before_the_run_begins(
    registry: Registry, given: dict[str, Any], names: str
) -> None:
    with pytest.raises((InvalidValueError, TypeError), match=names):
        registry.run("churn", **given)


def test_a_run_goes_on_in_its_block_and_what_it_calls_finds_it(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="no run goes on here"):
        current_run()
    with registry.run("churn") as outer:
        assert current_run() is outer
        with registry.run("guest") as inner:
            assert current_run() is inner
            version = inner.save(W)
        assert current_run() is outer
        assert version.record.made["session"]["within"] == outer.id
    with pytest.raises(NotFoundError):
        current_run()
    with pytest.raises(ConflictError, match="was begun before"):
        outer.__enter__()


def test_a_look_that_fails_gives_the_reason_and_the_save_goes_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> dict[str, Any]:
        raise OSError("no git")

    monkeypatch.setitem(making.AT_THE_START, "code", broken)
    monkeypatch.setitem(making.AT_THE_END, "environment", lambda _: {"odd": object()})
    monkeypatch.setitem(making.SESSION, "hardware", broken)
    monkeypatch.setattr(making, "dataset_facts", lambda role, _: broken(role))
    with registry.run("churn", data={"train": 3}) as run:
        version = run.save(W)
    made = version.record.made
    assert made["code"] == {"unknown": ["OSError: no git"]}
    assert "cannot keep" in made["environment"]["unknown"][0]
    assert made["data"] == [{"role": "train", "unknown": ["OSError: no git"]}]
    assert (version.code, version.environment, dict(version.data)) == (None, None, {})
    assert version.session is not None
    assert version.session.hardware is not None
    assert version.session.hardware.unknown == ("OSError: no git",)


# -- a run that fails ----------------------------------------------------------------------------------------------


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("bad rows"), "ValueError: bad rows"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
        (OddError(), "OddError: (cannot be shown: RuntimeError)"),
        (ValueError("\ud800" + "x" * 10_000), "ValueError: ?xxx"),
    ],
)
def test_an_exception_is_a_failed_run_and_goes_on(registry: Registry, error: BaseException, told: str) -> None:
    run = registry.run("churn")
    run.log(loss=0.5)
    with pytest.raises(type(error)) as caught, run:
        raise error
    assert caught.value is error
    assert run.failed
    assert run.error is not None
    assert run.error.startswith(told)
    assert len(run.error) <= 4_000
    assert [(one.id, one.error) for one in registry.model("churn").failed_runs()] == [(run.id, run.error)]
    assert list(registry.model("churn").versions()) == []
    with pytest.raises(NotFoundError, match="it failed"):
        _ = run.version
    with pytest.raises(NotFoundError):
        current_run()


def test_the_error_of_a_failed_run_is_redacted(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "redacted", lambda text: text.replace("hunter2", "…"))
    with pytest.raises(ValueError, match="hunter2"), registry.run("churn") as run:
        raise ValueError("cannot log in with hunter2")
    assert run.error == "ValueError: cannot log in with …"


def test_what_a_run_saved_before_it_failed_stays(registry: Registry) -> None:
    run = registry.run("churn")
    run.save(W)
    with pytest.raises(ValueError, match="late"), run:
        raise ValueError("late")
    assert run.failed
    assert run.version == registry.get("churn:1")


class Refusing(Wrapper):
    refuses = True

    def put_pack(self, key: str, source: Any) -> None:
        if self.refuses:
            raise StoreError("disk full")
        self.within.put_pack(key, source)


def test_a_model_whose_save_fails_is_not_lost() -> None:
    store = Refusing(MemoryStore())
    registry = Registry(store)
    with pytest.raises(StoreError), registry.run("churn", params={"depth": 6}) as run:
        run.save(W)
    assert run.unsaved is W
    store.refuses = False
    assert run.save(run.unsaved).params == {"depth": 6}
    assert run.unsaved is None


def test_an_object_that_no_serializer_takes_is_refused_as_by_save(registry: Registry) -> None:
    with pytest.raises(SerializerError), registry.run("churn") as run:
        run.save("a path by mistake")
    assert run.failed


# -- what is printed -----------------------------------------------------------------------------------------------


def test_the_end_of_what_is_printed_is_kept_and_all_of_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with printed() as (stdout, stderr):
        for n in range(20_000):
            print(f"line {n}")
        print("alas", file=sys.stderr)
    print("after")
    assert sys.stdout is out
    assert sys.stderr is err
    assert out.getvalue().splitlines() == [*(f"line {n}" for n in range(20_000)), "after"]
    kept = stdout.text().splitlines()
    assert kept == [f"line {n}" for n in range(20_000 - len(kept), 20_000)]
    assert MAX_TAIL - 20 < len(stdout.text()) <= MAX_TAIL
    assert (stderr.text(), err.getvalue()) == ("alas\n", "alas\n")


def test_streams_are_put_back_after_an_exception_and_where_blocks_end_crosswise() -> None:
    before = sys.stdout, sys.stderr
    first, second = printed(), printed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.stdout is not before[0]
    second.__exit__(None, None, None)
    assert (sys.stdout, sys.stderr) == before
    with pytest.raises(ValueError, match="x"), printed():
        raise ValueError("x")
    assert (sys.stdout, sys.stderr) == before


def test_a_stream_that_somebody_else_put_there_stays() -> None:
    before, theirs = sys.stdout, io.StringIO()
    try:
        with printed() as (stdout, _):
            sys.stdout = theirs
            print("theirs")
        assert sys.stdout is theirs
        assert stdout.text() == ""
    finally:
        sys.stdout = before


def test_two_runs_at_once_keep_what_each_printed() -> None:
    both = threading.Barrier(2)
    said: dict[str, str] = {}

    def work(name: str) -> None:
        with printed() as (stdout, _):
            both.wait(30)
            for _ in range(200):
                print(name)
            both.wait(30)
        said[name] = stdout.text()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: set(text.split()) for name, text in said.items()} == {"a": {"a"}, "b": {"b"}}
    assert {len(text) for text in said.values()} == {400}


def test_a_thread_that_belongs_to_no_run_is_heard_by_all() -> None:
    with printed() as (stdout, _):
        thread = threading.Thread(target=print, args=("from afar",))
        thread.start()
        thread.join()
    assert stdout.text() == "from afar\n"


@given(st.lists(st.text(st.sampled_from("ab\r\né"), max_size=30), max_size=30), st.integers(1, 40))
def test_a_tail_is_the_end_of_what_was_written_from_a_whole_line_on(parts: list[str], most: int) -> None:
    tail, whole = Tail(most), "".join(parts)
    for part in parts:
        tail.add(part)
    shown = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in whole.split("\n"))
    text = tail.text()
    assert len(text.encode()) <= most
    if len(whole) <= most and len(shown.encode()) <= most:
        assert text == shown
    assert shown.endswith(text)


def test_half_a_secret_at_the_beginning_of_a_tail_is_left_out() -> None:
    tail = Tail(20)
    tail.add("token=abcdefghijklmnopqrstuvwxyz\nnext\n")
    assert tail.text() == "next\n"
    tail.add("x" * 100)
    assert tail.text() == ""


def test_what_was_printed_is_redacted() -> None:
    tail = Tail()
    tail.add("token=hunter2\n")
    assert tail.text(lambda text: text.replace("hunter2", "…")) == "token=…\n"


# -- pickling ------------------------------------------------------------------------------------------------------


def test_a_registry_in_a_folder_goes_to_another_process_and_others_say_why_not(tmp_path: Any) -> None:
    import pickle

    registry = Registry(tmp_path / "r", durable=False, trust=True)
    registry.save(W, "churn")
    again = pickle.loads(pickle.dumps(registry))
    assert again.load("churn")["w"].tolist() == [0, 1, 2]
    assert again._store.durable is False
    assert not again._home.granted.everything  # a grant is stored nowhere
    for alone in (Registry("memory://alone"), Registry(MemoryStore())):
        with pytest.raises(TypeError, match="lives in this process alone"):
            pickle.dumps(alone)
    secret = Registry("s3://bucket/x", storage_options={"secret": "hunter2"}) if _has("s3fs") else None
    if secret is not None:
        with pytest.raises(TypeError, match="has storage options") as refused:
            pickle.dumps(secret)
        assert "hunter2" not in str(refused.value)


def _has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def test_a_run_says_in_what_state_it_is(registry: Registry) -> None:
    with warnings.catch_warnings():
        with registry.run("churn") as run:
            assert repr(run) == "Run of churn (under way)"
            run.save(W)
        assert repr(run) == "Run of churn (churn:1)"
        with pytest.raises(ValueError, match="x"), registry.run("churn") as run:
            raise ValueError("x")
        assert repr(run) == "Run of churn (failed)"
        assert orjson.dumps(dict(run.params)) == b"{}"
