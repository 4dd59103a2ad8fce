"""Services in processes of their own, for tests that promote while somebody serves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs

from followed import PATIENCE

HERE = Path(__file__).parent


@contextlib.contextmanager
def _in_time(running: subprocess.Popen[str]) -> Iterator[None]:
    """A wait for a process, which is killed if that takes too long: then the wait ends, and the test fails."""
    guard = threading.Timer(PATIENCE, running.kill)
    guard.start()
    try:
        yield
    finally:
        guard.cancel()


@attrs.define
class Service:
    """A process that follows, and what it says; it is killed if it says nothing for too long."""

    running: subprocess.Popen[str]

    def line(self) -> str:
        assert self.running.stdout is not None
        with _in_time(self.running):
            return self.running.stdout.readline().strip()

    def answer(self) -> str:
        assert self.running.stdin is not None
        self.running.stdin.write("\n")
        self.running.stdin.flush()
        return self.line()


@contextlib.contextmanager
def service(script: str, *args: str, **environment: str) -> Iterator[Service]:
    """A script of this folder as a service; it ends when its input does, and then must have ended well."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, str(HERE / script), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment | {"PYTHONPATH": path},
        text=True,
    ) as running:
        try:
            yield Service(running)
        finally:
            assert running.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it may have ended already
                running.stdin.close()
            with _in_time(running):
                status = running.wait()
    assert status == 0
