"""`Registry.live` in other processes: one that serves while another promotes; forked; and one that ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from followed import ASK, ENTERED, GO_ON, PATIENCE, Numbered, Slow
from modelkeep.live import Live
from servers.sites import Site
from serving import service


@pytest.fixture(params=["local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    if request.param == "local":
        return str(tmp_path / "registry"), {}
    site: Site = request.getfixturevalue("moto_site")
    return site.url(uuid.uuid4().hex), dict(site.server.options)


def test_a_service_follows_a_promote_and_a_rollback_of_another_process(place: tuple[str, dict[str, Any]]) -> None:
    url, options = place
    registry = mk.Registry(url, storage_options=options or None, durable=False)
    first, second = (registry.save(Numbered(n), "churn", serializer="cloudpickle", example=np.zeros(2)) for n in (1, 2))
    first.promote("production")
    with service("follower.py", url, json.dumps(options)) as follower:
        assert follower.answer() == "answers 1 1000"
        second.promote("production")
        assert follower.line() == "serves 2"
        assert follower.answer() == "answers 2 2000"
        registry.model("churn").rollback("production", reason="calibration drift")
        assert follower.line() == "serves 1"
        assert follower.answer() == "answers 1 1000"


# -- fork ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live[Any]]:
    registry = mk.Registry(tmp_path, durable=False, trust="cloudpickle")
    registry.save(Numbered(1), "churn", serializer="cloudpickle").promote("production")
    with mk.Registry(tmp_path, trust="cloudpickle").live("churn@production", every=0.05) as handle:
        yield handle


def promoted(folder: Path, model: object, **given: Any) -> None:
    registry = mk.Registry(folder, durable=False, trust="cloudpickle")
    registry.save(model, "churn", serializer="cloudpickle", **given).promote("production")


def child(work: Callable[[], bool]) -> int:
    """A forked child that does *work*; the status with which it ends is 0 if that gave true."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    guard = threading.Timer(PATIENCE, os.kill, (pid, 9))
    guard.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        guard.cancel()


def serves(live: Live[Any], number: int) -> bool:
    """Whether calls come to be answered by that version, with nobody asking for a look."""
    until = time.monotonic() + PATIENCE
    while live.predict(ASK) != (number, 1000 * number):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_a_forked_child_looks_for_itself_from_its_first_use_on(tmp_path: Path, live: Live[Any]) -> None:
    def within() -> bool:
        before = live._timer
        return before is None and serves(live, 1) and live._timer is not None and serves(live, 2)

    pid = child(within)
    promoted(tmp_path, Numbered(2))
    assert status_of(pid) == 0
    assert serves(live, 2)


def test_a_child_that_is_forked_while_a_look_is_under_way_looks_as_ever(tmp_path: Path, live: Live[Any]) -> None:
    ENTERED.clear()
    GO_ON.clear()
    promoted(tmp_path, Slow(2), example=np.zeros(1))
    try:
        assert ENTERED.wait(PATIENCE)  # the timer holds the lock of looks

        def within() -> bool:
            GO_ON.set()  # of the child alone
            return live.check().version.number == 2

        assert status_of(child(within)) == 0
        assert live.predict(ASK) == (1, 1000)
    finally:
        GO_ON.set()


def test_a_closed_handle_stays_closed_in_a_child(live: Live[Any]) -> None:
    live.close()
    assert status_of(child(lambda: live.predict(ASK) == (1, 1000) and live._timer is None)) == 0


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_process_ends_although_a_handle_is_open(tmp_path: Path) -> None:
    script = f"""
import modelkeep as mk
registry = mk.Registry({str(tmp_path)!r}, durable=False, trust="cloudpickle")
registry.save(lambda x: x, "churn", serializer="cloudpickle").promote("production")
live = registry.live("churn@production", every=0.001)
print(live.predict("served"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served\n", "")
