"""Progress: what a function hears, what ends a save, and when a bar is drawn; on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep import _publish, progress
from modelkeep.errors import InvalidValueError, ObjectExistsError
from modelkeep.progress import STEP, reporter
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Wrapper

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

MIB = 1024 * 1024


def heard(total: int, counts: list[int]) -> list[tuple[int, int]]:
    said: list[tuple[int, int]] = []
    with reporter(lambda done, of: said.append((done, of)), total) as advance:
        for count in counts:
            advance(count)
    return said


@given(counts=st.lists(st.integers(0, 3 * STEP), max_size=30), missing=st.integers(-STEP, STEP))
def test_a_function_hears_of_every_few_mebibytes_and_of_the_end_once(counts: list[int], missing: int) -> None:
    total = max(0, sum(counts) + missing)  # what is counted may be more or less than there was at first
    said = [done for done, _ in heard(total, counts)]
    assert said[0] == 0
    assert said[-1] == total
    assert said == sorted(set(said))
    steps = [after - before for before, after in pairwise(said[:-1])]
    assert all(step >= STEP for step in steps)


def test_nothing_is_said_twice_where_there_is_nothing() -> None:
    assert heard(0, [0, 0]) == [(0, 0)]


def test_a_block_that_fails_does_not_say_that_all_is_done() -> None:
    said: list[tuple[int, int]] = []

    def work() -> None:
        with reporter(lambda done, of: said.append((done, of)), 5) as advance:
            advance(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert said == [(0, 5)]


@pytest.mark.parametrize("odd", [3, "yes", object()])
def test_what_is_no_progress_is_refused(odd: Any) -> None:
    with pytest.raises(InvalidValueError, match="give a function of"):
        reporter(odd, 5)


# -- a save --------------------------------------------------------------------------------------------------------


def saved(registry: Registry, model: object, **given: Any) -> tuple[list[tuple[int, int]], set[int]]:
    said: list[tuple[int, int]] = []
    threads = set()

    def listen(done: int, total: int) -> None:
        threads.add(threading.get_ident())
        said.append((done, total))

    registry.save(model, "churn", progress=listen, **given)
    return said, threads


def test_a_save_tells_the_bytes_of_its_files(tmp_path: Path) -> None:
    registry = Registry(MemoryStore())
    (tmp_path / "a.bin").write_bytes(os.urandom(100))
    (tmp_path / "b.bin").write_bytes(bytes(20 * MIB))
    said, threads = saved(registry, tmp_path)
    total = registry.get("churn").size
    assert total == 20 * MIB + 100
    assert said[0] == (0, total)
    assert said[-1] == (total, total)
    assert len(said) >= 4
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize(
    ("model", "serializer"),
    [({"w": np.zeros(3_000_000)}, None), ({"w": np.zeros(0)}, None), ([np.zeros(9_000), {"a"}], "cloudpickle")],
)
def test_whatever_a_serializer_writes_the_end_is_the_size_of_the_version(model: object, serializer: str | None) -> None:
    registry = Registry(MemoryStore())
    said, _ = saved(registry, model, serializer=serializer)
    size = registry.get("churn").size
    assert said[-1] == (size, size)


def test_a_save_that_gives_back_an_equal_version_ends_too() -> None:
    registry = Registry(MemoryStore())
    registry.save({"w": np.zeros(3)}, "churn")
    said, _ = saved(registry, {"w": np.zeros(3)}, reuse=True)
    assert said[-1][0] == said[-1][1] > 0
    assert registry.get("churn").number == 1


def test_a_save_that_is_uploaded_again_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = _publish._Operations.__call__
    tries: list[int] = []

    def condemned_once(self: Any, state: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:  # the first try is made twice: at once, and when it has looked
            raise _publish._CondemnedError("condemned")
        return decide(self, state)

    monkeypatch.setattr(_publish._Operations, "__call__", condemned_once)
    said, _ = saved(Registry(MemoryStore()), {"w": np.zeros(3_000_000)})
    done = [each for each, _ in said]
    assert len(tries) == 3
    assert done == sorted(set(done))
    assert said[-1][0] == said[-1][1]


def test_what_a_function_raises_ends_the_save_and_nothing_is_visible(tmp_path: Path) -> None:
    for store in (MemoryStore(), None):
        registry = Registry(store if store is not None else tmp_path / "registry")
        for least in (0, 1, 24_000_000):

            def stop(done: int, total: int, least: int = least) -> None:
                if done >= least:
                    raise KeyboardInterrupt(f"{done} of {total}")

            with pytest.raises(KeyboardInterrupt):
                registry.save({"w": np.zeros(3_000_000)}, "churn", progress=stop)
            assert registry.models() == []
            assert [item.key for item in registry._store.list("models/")] == []


def test_in_the_background_one_other_thread_calls() -> None:
    threads = set()
    registry = Registry(MemoryStore())
    pending = [
        registry.save(
            {"w": np.zeros(3_000_000)}, "churn", wait=False, progress=lambda *_: threads.add(threading.current_thread())
        )
        for _ in range(2)
    ]
    assert [each.result(30).number for each in pending] == [1, 2]
    assert {thread.name for thread in threads} == {"modelkeep-saves"}


def test_a_function_hears_before_the_version_is_there() -> None:
    registry = Registry(MemoryStore())
    seen = []

    class Watched(Wrapper):
        def create(self, key: str, value: bytes) -> None:
            if "versions" in key:
                seen.append(said[-1])
            self.within.create(key, value)

    registry = Registry(Watched(MemoryStore()))
    said: list[tuple[int, int]] = []
    registry.save({"w": np.zeros(9)}, "churn", progress=lambda *both: said.append(both))
    assert seen == [(said[-1][1], said[-1][1])]
    with pytest.raises(ObjectExistsError):
        registry._store.create("models/churn/versions/00000000000000000001.json", b"")


# -- a bar ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
import modelkeep as mk
{before}
version = mk.Registry("memory://x").save({{"w": np.zeros({mib} << 17)}}, "churn", progress={progress}{more})
print("tqdm" in sys.modules, getattr(version, "result", lambda: version)())
import threading
print(*sorted(thread.name for thread in threading.enumerate()))
"""


def on_a_terminal(**what: Any) -> tuple[list[str], str]:
    """What a script writes to stdout, and to a terminal that is its stderr."""
    script = SCRIPT.format(**{"before": "", "mib": 1, "progress": "None", "more": "", **what})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # on no columns tqdm draws nothing
    drawn: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 65536):
                drawn.append(part)
        except OSError:  # so Linux says that nobody has the other end any more
            return

    reader = threading.Thread(target=read)
    with subprocess.Popen([sys.executable, "-W", "error", "-c", script], stdout=subprocess.PIPE, stderr=theirs) as done:
        os.close(theirs)
        reader.start()
        out, _ = done.communicate(timeout=120)
    reader.join()
    os.close(ours)
    assert done.returncode == 0, b"".join(drawn)
    return out.decode().splitlines(), b"".join(drawn).decode()


def bars(drawn: str) -> list[str]:
    return [line for line in drawn.split("\r") if line.startswith("saving:")]


@pytest.mark.parametrize("what", [{"progress": "True"}, {"mib": 64}, {"progress": "True", "more": ", wait=False"}])
def test_a_bar_is_drawn_on_a_terminal_and_taken_away(what: dict[str, Any]) -> None:
    pytest.importorskip("tqdm")
    out, drawn = on_a_terminal(**what)
    assert out == ["True churn:1", "MainThread"]
    assert "0%" in bars(drawn)[0]
    assert drawn.rsplit("\r", 2)[1].strip() == ""
    assert "\n" not in drawn


@pytest.mark.parametrize(
    "what", [{}, {"mib": 63}, {"mib": 64, "progress": "False"}, {"mib": 64, "more": ", wait=False"}]
)
def test_no_bar_is_drawn_unasked_for_what_is_small_or_goes_on_in_the_background(what: dict[str, Any]) -> None:
    out, drawn = on_a_terminal(**what)
    assert (out, drawn) == (["False churn:1", "MainThread"], "")


def test_without_tqdm_there_is_no_bar_and_no_complaint() -> None:
    out, drawn = on_a_terminal(progress="True", before="sys.modules['tqdm'] = None")
    assert (out, drawn) == (["True churn:1", "MainThread"], "")


CLOSING = """
from tqdm.auto import tqdm
def update(self, n, real=tqdm.update):
    sys.stderr.close()
    self.mininterval = 0
    return real(self, n)
tqdm.update = update
"""


def test_a_terminal_that_goes_away_does_not_end_a_save() -> None:
    out, drawn = on_a_terminal(progress="True", before="sys.stderr.close()")
    assert (out, drawn) == (["False churn:1", "MainThread"], "")
    out, _ = on_a_terminal(progress="True", before=CLOSING)
    assert out == ["True churn:1", "MainThread"]


def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())


@pytest.mark.parametrize("where", [closed, elsewhere])
def test_what_is_no_terminal_gets_no_bar(where: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_bar_class", lambda: pytest.fail("a bar"))
    with monkeypatch.context() as patch:
        where(patch)
        with reporter(True, 100 * MIB) as advance:
            advance(100 * MIB)
