"""Saves in the background: a copy of the arrays, the order of the calls, the end of a process, forks, and errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest

import modelkeep as mk
from modelkeep import registrysaves
from modelkeep.errors import ConflictError, InvalidValueError, SerializerError, StoreError, UnsettledError
from modelkeep.registry import Registry
from modelkeep.saving import PendingSave, SaveQueue
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Sink
from modelkeep.sink import SaveSink
from modelkeep.sources import Source
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper
from servers.sites import Site


class Gated(Wrapper):
    """Packs wait until the gate opens; *begun* tells that one has come."""

    def __init__(self, within: Any) -> None:
        super().__init__(within)
        self.begun = threading.Event()
        self.gate = threading.Event()

    def put_pack(self, key: str, source: Any) -> None:
        self.begun.set()
        assert self.gate.wait(30)
        self.within.put_pack(key, source)


@pytest.fixture
def store() -> Iterator[Gated]:
    found = Gated(MemoryStore())
    yield found
    found.gate.set()


def loaded(registry: Registry, number: int = 1) -> Any:
    return registry.load(f"churn:{number}", trust=True)


# -- a copy --------------------------------------------------------------------------------------------------------


class Pickled:
    """An object that only cloudpickle takes, with an array that lies apart from the pickle."""

    def __init__(self, weights: np.ndarray[Any, Any]) -> None:
        self.weights = weights


def test_what_is_trained_on_meanwhile_is_saved_as_it_was_when_save_was_called(store: Gated) -> None:
    registry = Registry(store)
    arrays = [np.zeros(n, np.float32) for n in (3, 5000, 3_000_000)]
    pending = registry.save(arrays, "churn", wait=False)
    assert not pending.done()
    for array in arrays:
        np.add(array, 1, out=array)
    store.gate.set()
    assert pending.result(30).number == 1
    assert [float(array.max()) for array in loaded(registry)] == [0, 0, 0]
    assert registry.storage.verify().ok


def test_a_pickle_and_its_arrays_are_saved_as_they_were(store: Gated) -> None:
    registry = Registry(store)
    model = Pickled(np.zeros(100_000))
    pending = registry.save(model, "churn", serializer="cloudpickle", wait=False)
    model.weights += 1
    store.gate.set()
    pending.result(30)
    assert loaded(registry).weights.max() == 0


def test_parameters_metrics_and_tags_are_those_of_the_call(store: Gated) -> None:
    registry = Registry(store)
    params: dict[str, Any] = {"layers": [64, 8], "schedule": {"rate": [0.1]}}
    metrics: dict[str, Any] = {"auc": np.array(0.5)}
    tags = {"team": "growth"}
    pending = registry.save({"w": np.zeros(3)}, "churn", params=params, metrics=metrics, tags=tags, wait=False)
    params["layers"].append(1)
    params["schedule"]["rate"][0] = 9
    metrics["auc"][()] = 0.9
    tags["team"] = "other"
    store.gate.set()
    version = pending.result(30)
    assert version.params == version.record.params == {"layers": [64, 8], "schedule": {"rate": [0.1]}}
    assert (version.metrics, version.tags) == ({"auc": 0.5}, {"team": "growth"})
    assert registry.storage.verify().ok


def test_the_record_of_a_save_in_the_background_is_that_of_any_save() -> None:
    registry = Registry(MemoryStore())
    facts: dict[str, Any] = {"params": {"shape": (1, 2), "rate": float("inf"), "n": np.int64(3)}, "metrics": {"a": 1}}
    here = registry.save({"w": np.zeros(3)}, "churn", **facts)
    there = registry.save({"w": np.zeros(3)}, "churn", wait=False, **facts).result()
    assert here.record == there.record


def test_a_snapshot_copies_memory_but_no_bytes() -> None:
    array, fixed = np.arange(6, dtype=np.uint8).reshape(2, 3), b"fixed"
    with SaveSink() as sink:
        empty = np.zeros((0, 3))
        sink.put("a", array.data, bytearray(b"x"), fixed, memoryview(fixed), empty.data)
        sink.snapshot()
        (source,) = sink.sources()
        array[:] = 9
        assert bytes_of(source) == bytes(range(6)) + b"x" + fixed + fixed
        for start in (7, 12):
            view = source.content.view(start, start + 5)
            assert view is not None
            assert view.obj is fixed


def bytes_of(source: Source) -> bytes:
    target = bytearray(source.size)
    source.content.read_into(0, memoryview(target))
    return bytes(target)


@pytest.mark.parametrize("shape", [(3, 0), (7,), (2, 1 << 19), (1 << 20,)])
def test_a_copy_has_the_bytes_of_any_array(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    with SaveSink() as sink:
        sink.put("a", array.data)
        sink.snapshot()
        (source,) = sink.sources()
        before = array.tobytes()
        array[:] = 9
        assert bytes_of(source) == before
        assert sink.size() == len(before)


def test_the_copy_is_let_go_when_the_save_is_done() -> None:
    alive: list[weakref.ref[Any]] = []
    failing = Registry(Refusing(MemoryStore()))
    for registry in (Registry(MemoryStore()), failing):
        with pytest.MonkeyPatch.context() as patch:

            def remembered(size: int) -> Any:
                made = np.empty(size, np.uint8)
                alive.append(weakref.ref(made))
                return made.data

            patch.setattr("modelkeep.sources._memory", remembered)
            pending = registry.save({"w": np.ones(1000)}, "churn", wait=False)
        assert pending.wait(30)
        pending.exception()
        deadline = time.monotonic() + 10
        while any(ref() is not None for ref in alive) and time.monotonic() < deadline:
            time.sleep(0.01)  # the thread lets go of its last names a moment later
        assert alive
        assert [ref() for ref in alive if ref() is not None] == []
        del pending


# -- files on disk -------------------------------------------------------------------------------------------------


def test_a_file_on_disk_is_read_later(store: Gated, tmp_path: Path) -> None:
    registry = Registry(store)
    (tmp_path / "model.bin").write_bytes(b"123")
    pending = registry.save(tmp_path / "model.bin", "churn", wait=False)
    store.gate.set()
    assert pending.result(30).export(tmp_path / "out").joinpath("model.bin").read_bytes() == b"123"


def _append(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b"4")


def _overwrite(file: Path) -> None:
    file.write_bytes(b"321")
    os.utime(file, ns=(0, 0))


def _replace(file: Path) -> None:
    facts = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"321")
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("change", [_append, _overwrite, _replace, Path.unlink])
def test_a_file_that_changes_before_its_save_is_done_is_an_error(
    change: Callable[[Path], object], store: Gated, tmp_path: Path
) -> None:
    registry = Registry(store)
    file = tmp_path / "model.bin"
    file.write_bytes(b"123")
    registry.save({"w": np.ones(2)}, "other", wait=False)
    pending = registry.save(file, "churn", wait=False)
    assert not pending.done()
    change(file)
    store.gate.set()
    with pytest.raises(InvalidValueError, match=r"model\.bin (changed while it was saved|cannot be read)"):
        pending.result(30)
    assert [model.name for model in registry.models()] == ["other"]


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"123")
    with SaveSink() as sink:
        sink.add("model.bin", file)
        sink.snapshot()
        (source,) = sink.sources()
        assert bytes_of(source) == b"123"
        _overwrite(file)
        with pytest.raises(InvalidValueError, match="changed while it was saved"):
            bytes_of(source)


class Spooling(PlainSerializer):
    """Writes through a folder and a stream; remembers the folder."""

    name = "spooling"
    seen: Path

    def accepts(self, obj: object) -> bool:
        return isinstance(obj, Pickled)

    def save(self, obj: Any, sink: Sink) -> None:
        Spooling.seen = sink.folder()
        (Spooling.seen / "in-a-folder").write_bytes(bytes(obj.weights))
        with sink.stream("streamed") as stream:
            stream.write(b"streamed")


def spooling(model: object, name: str | None, granted: object) -> Spooling:
    del model, name, granted
    return Spooling()


def test_temporary_files_live_until_the_save_is_done(store: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrysaves, "serializer_for", spooling)
    registry = Registry(store)
    pending = registry.save(Pickled(np.zeros(3)), "churn", wait=False)
    assert store.begun.wait(30)
    assert Spooling.seen.is_dir()
    store.gate.set()
    version = pending.result(30)
    assert [file.path for file in version.files] == ["in-a-folder", "streamed"]
    assert not Spooling.seen.exists()


def test_what_is_wrong_with_the_arguments_is_said_at_once_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    registry = Registry(MemoryStore())
    model = {"w": np.zeros(3)}
    with pytest.raises(InvalidValueError, match="metrics"):
        registry.save(model, "churn", metrics={"auc": "high"}, wait=False)
    with pytest.raises(SerializerError):
        registry.save(3, "churn", wait=False)
    with pytest.raises(InvalidValueError, match="wait is 'no'"):
        registry.save(model, "churn", wait="no")  # type: ignore[call-overload]
    with pytest.raises(InvalidValueError, match="progress is 3, of type int"):
        registry.save(model, "churn", progress=3, wait=False)  # type: ignore[call-overload]
    with pytest.raises(InvalidValueError, match="neither a file nor a folder"):
        registry.save(tmp_path / "missing", "churn", wait=False)

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(registrysaves, "serializer_for", spooling)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="new thread"):
            registry.save(Pickled(np.zeros(3)), "churn", wait=False)
    assert list(tmp_path.iterdir()) == []
    assert registry.save(Pickled(np.zeros(3)), "churn", wait=False).result(30).number == 1


# -- the order of the calls ----------------------------------------------------------------------------------------


def test_numbers_are_given_in_the_order_of_the_calls(store: Gated) -> None:
    registry = Registry(store)
    pending = [registry.save({"w": np.full(9, n)}, "churn", wait=False) for n in range(6)]
    other = registry.save({"w": np.ones(9)}, "other", wait=False)
    store.gate.set()
    last = registry.save({"w": np.full(9, 6)}, "churn")
    assert [each.result(0).number for each in pending] == [1, 2, 3, 4, 5, 6]
    assert last.number == 7
    assert [int(loaded(registry, n)["w"][0]) for n in range(1, 8)] == list(range(7))
    assert other.result(30).ref == "other:1"


def test_a_save_waits_for_earlier_ones_of_its_model_and_for_no_others(store: Gated) -> None:
    registry = Registry(store)
    pending = registry.save({"w": np.ones(9)}, "churn", wait=False)
    assert store.begun.wait(30)
    quick = Registry(store.within)
    quick._saves = registry._saves  # the same queue, past the gate
    assert quick.save({"w": np.ones(9)}, "other").number == 1
    threading.Timer(0.2, store.gate.set).start()
    assert quick.save({"w": np.ones(9)}, "churn").number == 2
    assert pending.result(0).number == 1


def test_a_save_within_a_save_in_the_background_does_not_wait_for_itself() -> None:
    registry = Registry(MemoryStore())
    inner: list[mk.ModelVersion] = []

    def progress(done: int, total: int) -> None:
        if done == total and not inner:
            inner.append(registry.save({"w": np.zeros(2)}, "churn"))

    assert registry.save({"w": np.ones(2)}, "churn", wait=False, progress=progress).result(30).number == 2
    assert inner[0].number == 1


def test_the_thread_ends_with_its_work_and_comes_back() -> None:
    registry = Registry(MemoryStore())
    for number in (1, 2):
        assert registry.save({"w": np.ones(2)}, "churn", wait=False).result(30).number == number
        deadline = time.monotonic() + 10
        while any(thread.name == "modelkeep-saves" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.001)


def test_many_threads_may_add_at_once() -> None:
    registry = Registry(MemoryStore())
    found: list[PendingSave] = []

    def work() -> None:
        found.extend(registry.save({"w": np.ones(2)}, "churn", wait=False) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pending.result(60).number for pending in found) == list(range(1, 81))


# -- the handle ----------------------------------------------------------------------------------------------------


def test_a_handle_tells_how_far_it_is(store: Gated) -> None:
    pending = Registry(store).save({"w": np.ones(2)}, "churn", wait=False)
    assert repr(pending) == "PendingSave churn (under way)"
    assert not pending.done()
    assert not pending.wait(0.01)
    with pytest.raises(TimeoutError, match=r"'churn' is not over after 0\.01 seconds"):
        pending.result(0.01)
    with pytest.raises(TimeoutError):
        pending.exception(0)
    store.gate.set()
    assert pending.wait(30)
    assert pending.done()
    assert pending.exception() is None
    assert pending.result(0) is pending.result()
    assert repr(pending) == "PendingSave churn:1 (done)"
    assert pending.name == "churn"


def test_type_checkers_know_what_a_save_gives() -> None:
    registry = Registry(MemoryStore())
    model: dict[str, Any] = {"w": np.ones(2)}
    flag = bool(registry)
    assert_type(registry.save(model, "churn"), mk.ModelVersion)
    assert_type(registry.save(model, "churn", wait=True, params={"depth": 6}), mk.ModelVersion)
    assert_type(registry.save(model, "churn", wait=False, bump="minor"), mk.PendingSave).result()
    assert_type(registry.save(model, "churn", wait=flag), mk.ModelVersion | mk.PendingSave)
    with pytest.raises(TypeError):
        registry.save(model, "churn", parms={})  # type: ignore[call-overload]


def test_ctrl_c_while_waiting_leaves_the_save_going(tmp_path: Path) -> None:
    code = """
import signal, sys, threading, numpy as np, modelkeep as mk
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts in the background ignores it
registry = mk.Registry(sys.argv[1])
gate = threading.Event()
pending = registry.save({"w": np.ones(2)}, "churn", wait=False, progress=lambda done, total: gate.wait())
print("waiting", flush=True)
try:
    pending.result()
except KeyboardInterrupt:
    print(pending, flush=True)
gate.set()
print(pending.result())
"""
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "r"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines() == ["PendingSave churn (under way)", "churn:1"]
    assert process.returncode == 0


# -- errors --------------------------------------------------------------------------------------------------------


class Refusing(Wrapper):
    def put_pack(self, key: str, source: Any) -> None:
        for _ in source:
            pass
        raise StoreError(f"{key}: no space left", key=key)


def test_what_the_save_raised_is_raised_by_result_as_often_as_asked() -> None:
    registry = Registry(Refusing(MemoryStore()))
    pending = registry.save({"w": np.ones(2)}, "churn", wait=False)
    error = pending.exception(30)
    assert isinstance(error, StoreError)
    for _ in range(2):
        with pytest.raises(StoreError, match="no space left") as raised:
            pending.result()
        assert raised.value is error
    assert repr(pending).startswith("PendingSave churn (failed: StoreError: models/churn/data/")
    assert registry.models() == []


def test_a_save_that_fails_does_not_stop_those_after_it() -> None:
    registry = Registry(MemoryStore())

    def fail(done: int, total: int) -> None:
        raise SystemExit(f"{done} of {total}")

    first = registry.save({"w": np.ones(2)}, "churn", wait=False, progress=fail)
    second = registry.save({"w": np.ones(2)}, "churn", wait=False)
    assert second.result(30).number == 1
    assert isinstance(first.exception(), SystemExit)


def let_go(handles: list[PendingSave], gate: threading.Event | None = None) -> None:
    """Forget the handles, let the saves go on, and wait for them."""
    handles.clear()
    if gate:
        gate.set()
    while any(thread.name == "modelkeep-saves" for thread in threading.enumerate()):
        time.sleep(0.001)


def failing(**given: Any) -> list[PendingSave]:
    return [Registry(Refusing(MemoryStore())).save({"w": np.ones(2)}, "churn", wait=False, **given)]


def test_an_error_that_nobody_asked_for_is_a_warning_when_the_handle_goes() -> None:
    handles = failing()
    assert handles[0].wait(30)
    with pytest.warns(UserWarning, match=r"save of 'churn' in the background failed.*StoreError: .*no space left"):
        let_go(handles)


def test_a_handle_that_nobody_keeps_warns_too() -> None:
    gate = threading.Event()

    def wait(done: int, total: int) -> None:
        del done, total
        assert gate.wait(30)

    handles = failing(progress=wait)
    with pytest.warns(UserWarning, match="nobody asked"):
        let_go(handles, gate)


@pytest.mark.parametrize("ask", [PendingSave.exception, PendingSave.result])
def test_an_error_that_was_asked_for_is_no_warning(ask: Callable[[PendingSave], object]) -> None:
    handles = failing()
    with suppress(StoreError):
        ask(handles[0])
    let_go(handles)  # warnings are errors here


def test_the_warning_of_an_open_save_has_its_token() -> None:
    def lost() -> Any:
        raise UnsettledError("no answer", token="models/churn/versions/1/" + "a" * 32)

    handles = [SaveQueue().add("churn", lost, ExitStack())]
    with pytest.warns(UserWarning, match="the token is 'models/churn/versions/1/aaaa"):
        let_go(handles)


# -- the end of a process ------------------------------------------------------------------------------------------

ENDS = {
    "its last line": "",
    "an exception": "raise ZeroDivisionError",
    "sys.exit": "sys.exit(3)",
}
SCRIPT = """
import json, sys, time
import numpy as np
import modelkeep as mk
registry = mk.Registry(sys.argv[1], storage_options=json.loads(sys.argv[2]))
def slowly(done, total):
    if not done:
        time.sleep(0.5)  # so that the interpreter is on its way out
pending = [registry.save({"w": np.full(4_000_000, n)}, "churn", wait=False, progress=slowly) for n in range(2)]
assert not pending[0].done()
"""


@pytest.fixture(params=["local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    if request.param == "local":
        return os.fspath(tmp_path / "registry"), {}
    site: Site = request.getfixturevalue(f"{request.param}_site")
    return site.url(f"saving/{uuid.uuid4().hex}"), dict(site.server.options)


def ended(script: str, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", script, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("end", ENDS)
def test_a_process_that_ends_waits_for_its_saves(end: str, place: tuple[str, dict[str, Any]]) -> None:
    url, options = place
    done = ended(SCRIPT + ENDS[end], url, json.dumps(options))
    assert "shutdown" not in done.stderr
    assert done.returncode == {"its last line": 0, "an exception": 1, "sys.exit": 3}[end]
    assert (done.stderr == "") == (end != "an exception")
    registry = Registry(url, storage_options=options)
    assert [version.number for version in registry.model("churn").versions()] == [2, 1]
    assert int(registry.load("churn")["w"][-1]) == 1


def test_a_process_that_has_nothing_under_way_ends() -> None:
    script = """
import numpy as np, modelkeep as mk
registry = mk.Registry("memory://x")
print(registry.save({"w": np.zeros(3)}, "churn", wait=False).result())
"""
    done = ended(script)
    assert (done.stdout, done.stderr) == ("churn:1\n", "")


FAILS = """
import sys, time
import numpy as np
import modelkeep as mk
def fail(done, total):
    time.sleep(0.3)
    raise RuntimeError("it went wrong")
pending = mk.Registry("memory://x").save({"w": np.zeros(3)}, "churn", wait=False, progress=fail)
"""


@pytest.mark.parametrize("flags", [(), ("-W", "error")])
def test_an_error_that_nobody_asked_for_is_told_when_the_process_ends(flags: tuple[str, ...]) -> None:
    done = ended(FAILS, flags=flags)
    told = (
        "the save of 'churn' in the background failed, and nobody asked for its result(): RuntimeError: it went wrong"
    )
    assert done.stderr.count(told) == 1
    assert "Exception ignored" not in done.stderr  # not as late as that: while all of Python still works
    assert done.returncode == 0


def test_without_the_private_hook_of_python_a_save_on_a_disk_is_waited_for_all_the_same(tmp_path: Path) -> None:
    script = "import concurrent.futures.thread, threading; del threading._register_atexit" + SCRIPT
    done = ended(script, os.fspath(tmp_path / "registry"), "{}")
    assert done.stderr == ""
    assert Registry(tmp_path / "registry").get("churn").number == 2


# -- forks ---------------------------------------------------------------------------------------------------------

FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
import numpy as np
import modelkeep as mk
registry = mk.Registry(sys.argv[1], durable=False)
registry.save({"w": np.zeros(2)}, "churn")
gate, begun = threading.Event(), threading.Event()
def progress(done, total):
    begun.set()
    gate.wait()
done = registry.save({"w": np.ones(2)}, "other", wait=False)
done.result()
first = registry.save({"w": np.ones(2)}, "churn", wait=False, progress=progress)
second = registry.save({"w": np.ones(2)}, "churn", wait=False)
begun.wait()
child = os.fork()
if child == 0:
    assert done.result().number == 1 and done.done()
    for pending in (first, second):
        assert pending.done() and pending.wait(0)
        try:
            pending.result()
        except mk.ConflictError as error:
            assert "forked child" in str(error), error
    own = registry.save({"w": np.full(2, 7)}, "churn", wait=False)
    registry.save({"w": np.full(2, 8)}, "churn")
    assert own.result().number == 2
    registry.save({"w": np.full(2, 9)}, "churn", wait=False)
    sys.exit(0)
_, status = os.waitpid(child, 0)
gate.set()
assert status == 0, status
print(first.result(), second.result())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_leaves_the_saves_of_its_parent_and_makes_its_own(tmp_path: Path) -> None:
    done = ended(FORK, os.fspath(tmp_path / "registry"))
    assert (done.stdout, done.stderr) == ("churn:5 churn:6\n", "")
    registry = Registry(tmp_path / "registry")
    assert [int(loaded(registry, n)["w"][0]) for n in range(1, 7)] == [0, 7, 8, 9, 1, 1]
    assert registry.storage.verify().ok


def test_the_error_in_a_child_names_the_model() -> None:
    pending = Registry(MemoryStore()).save({"w": np.ones(2)}, "churn", wait=False)
    assert pending.wait(30)
    pending.after_fork()
    assert pending.result(0).number == 1
    unfinished = PendingSave("churn", pending.result, ExitStack())
    unfinished.after_fork()
    with pytest.raises(
        ConflictError, match=r"'churn' belongs to the process that began it.*registry\.model\('churn'\)"
    ):
        unfinished.result()
