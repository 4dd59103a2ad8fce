"""Tracked functions in other processes: forked, spawned, of joblib; and what ends a process within a run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.runs import current_run
from modelkeep.track import last_run

HERE = Path(__file__).parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the registry of `tracked`, in this process and in those that it starts."""
    folder = tmp_path / "registry"
    monkeypatch.setenv("MODELKEEP_REGISTRY", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.delitem(sys.modules, "tracked", raising=False)
    return folder


def whole(folder: Path, seeds: range) -> None:
    """Each seed has a version with its own parameters, metrics and curves, and numbers have no gap."""
    registry = mk.Registry(folder)
    versions = registry.model("churn").versions()
    assert sorted(version.number for version in versions) == list(range(1, len(seeds) + 1))
    assert sorted(version.params["seed"] for version in versions) == list(seeds)
    for version in versions:
        seed = version.params["seed"]
        assert version.metrics == {"auc": seed / 100, "loss": 1 / 3}
        assert version.history["loss"].step.tolist() == [0, 1, 2]
        assert version.load()["w"].tolist() == [seed, seed + 1, seed + 2]
    assert len({version.record.made["session"]["id"] for version in versions}) == len(seeds)
    assert registry.storage.verify().ok


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_pool_save_what_they_return(place: Path, method: str) -> None:
    import tracked

    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map(tracked.train, range(6))
    assert [model["w"][0] for model, _ in results] == list(range(6))
    whole(place, range(6))


def test_workers_that_are_forked_within_a_run_belong_to_it(place: Path) -> None:
    import tracked

    with tracked.registry.run("outer") as run, multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(tracked.train, range(4))
    whole(place, range(4))
    for version in mk.Registry(place).model("churn").versions():
        assert version.record.made["session"]["within"] == run.id


def test_workers_of_joblib_save_what_they_return(place: Path) -> None:
    joblib = pytest.importorskip("joblib")
    import tracked

    joblib.Parallel(2)(joblib.delayed(tracked.train)(seed) for seed in range(6))
    whole(place, range(6))


def test_workers_of_joblib_take_a_function_that_they_cannot_import(place: Path) -> None:
    # as in a notebook: the function is defined in a module that no file holds, and goes to the worker by value
    script = """
import joblib, numpy as np, sys
import modelkeep as mk
from modelkeep.runs import current_run
registry = mk.Registry(durable=False)

@registry.track("churn", metric="auc")
def train(seed):
    for step in range(3):
        current_run().log(loss=1 / (1 + step))
    return {"w": np.arange(3) + seed}, {"auc": seed / 100}

def work(seed):
    train(seed)
    return train.last_run().version.params["seed"]

print(joblib.Parallel(2)(joblib.delayed(work)(seed) for seed in range(4)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0, 1, 2, 3]"
    whole(place, range(4))


def test_a_function_goes_by_value_and_comes_back_tracked(tmp_path: Path) -> None:
    import cloudpickle

    def made() -> Callable[[int], Any]:
        registry = mk.Registry(tmp_path, durable=False)

        @registry.track("churn")
        def local(seed: int) -> Any:
            """Local."""
            current_run().log(loss=seed)
            return {"w": np.zeros(seed)}

        return local

    first = made()
    second = cloudpickle.loads(cloudpickle.dumps(first))
    first(1)
    second(2)
    assert second.__doc__ == "Local."
    assert last_run(second).version.params == {"seed": 2}
    assert len(mk.Registry(tmp_path).model("churn").versions()) == 2


# -- what ends a process -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(place: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has come to where it waits."""
    marker = place.with_name("marker")
    with subprocess.Popen(
        [sys.executable, str(HERE / "tracked.py"), how, str(marker)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 60
        while not marker.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)  # from the marker to the pause
        try:
            yield process
        finally:
            process.kill()


def ended(place: Path, how: str, number: signal.Signals) -> tuple[int, str, str]:
    with started(place, how) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def saved(place: Path) -> int:
    return len(mk.Registry(place).model("slow").versions()) if place.exists() else 0


def failed(place: Path) -> dict[str, str]:
    """The errors of the runs that are kept as failed, by model."""
    models = mk.Registry(place).models() if place.exists() else []
    return {model.name: kept.error for model in models for kept in model.failed_runs()}


@pytest.mark.parametrize(("how", "names"), [("wait", ["slow"]), ("nested", ["outer", "slow"])])
def test_sigterm_is_a_failed_run_and_ends_the_process_as_it_does_without_us(
    place: Path, how: str, names: list[str]
) -> None:
    status, _, err = ended(place, how, signal.SIGTERM)
    assert err == ""
    assert failed(place) == dict.fromkeys(names, "TerminatedError: SIGTERM")
    assert status == -signal.SIGTERM
    assert saved(place) == 0


def test_sigterm_ends_a_process_whose_function_swallows_everything(place: Path) -> None:
    status, _, _ = ended(place, "swallow", signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert saved(place) == 1  # it went on and returned a model, which is a version


def test_a_handler_of_the_users_own_is_called_as_ever(place: Path) -> None:
    status, out, _ = ended(place, "own", signal.SIGTERM)
    assert (status, out.splitlines()) == (7, ["waiting", "True SystemExit: 7"])
    assert (saved(place), failed(place)) == (0, {"slow": "SystemExit: 7"})


def test_a_process_that_ignores_sigterm_goes_on_doing_so(place: Path) -> None:
    with started(place, "ignore") as process:
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)  # swallowed, too: the function returns
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1]) == (0, "False None")
    assert saved(place) == 1


def test_after_a_run_sigterm_does_what_it_did_before(place: Path) -> None:
    status, out, err = ended(place, "outside", signal.SIGTERM)
    assert (status, out, err) == (-signal.SIGTERM, "", "")


def test_a_child_that_was_forked_within_a_run_is_ended_by_sigterm_at_once(place: Path) -> None:
    with started(place, "fork") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, str(int(signal.SIGTERM)), "")


def test_keyboard_interrupt_is_a_failed_run_and_ends_the_process_as_it_does_without_us(place: Path) -> None:
    status, out, err = ended(place, "wait", signal.SIGINT)
    assert status == -signal.SIGINT
    assert out.splitlines() == ["waiting", "True KeyboardInterrupt"]
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert (saved(place), failed(place)) == (0, {"slow": "KeyboardInterrupt"})


def test_a_run_in_another_thread_leaves_signals_alone(place: Path) -> None:
    import threading

    found: list[Any] = []
    registry = mk.Registry(place, durable=False)
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with registry.run("slow"):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
    with registry.run("slow"):
        pass
    assert signal.getsignal(signal.SIGTERM) == before
