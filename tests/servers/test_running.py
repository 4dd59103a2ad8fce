"""A server that was started is gone afterwards, with all that it left, however the test run ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from servers import running
from servers.running import Server

HOLD = """
import sys
from servers.running import gcs_fake
with gcs_fake() as server:
    print(server.endpoint, flush=True)
    sys.stdin.read()
"""


def answers_for(server: Server, seconds: float) -> bool:
    """Whether the server still answers after that many seconds, looked at often."""
    until = time.monotonic() + seconds
    while (there := running.answers(server.endpoint)) and time.monotonic() < until:
        time.sleep(0.05)
    return there


def test_a_server_is_gone_with_its_folder_and_its_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running.gcs_fake() as server:
        assert running.answers(server.endpoint)
        assert list(tmp_path.iterdir()) != []
    assert not running.answers(server.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_the_sockets_of_these_ports_go_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SOCKETS", tmp_path)
    for name in ("s3-12345", "filer-grpc-22345", "s3-12346"):
        (tmp_path / f"seaweedfs-{name}.sock").touch()
    with running.without_sockets([12345]):
        pass
    assert [found.name for found in tmp_path.iterdir()] == ["seaweedfs-s3-12346.sock"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end the children of a killed process")
def test_a_server_dies_with_a_test_run_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "PYTHONPATH": str(running.TESTS), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        server = running.gcs_server("gcs", int(run.stdout.readline().rsplit(":", 1)[1]))
        assert running.answers(server.endpoint)
        run.send_signal(signal.SIGKILL)
    assert not answers_for(server, 5)
    assert len(list(tmp_path.glob("servers-*"))) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with running.scratch() as folder:
        assert list(tmp_path.glob("servers-*")) == [folder]  # the next run cleans up behind it


def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such disk'); raise SystemExit(3)"]
    with (
        pytest.raises(running.NotReadyError, match=r"(?s)ended with 3.*no such disk"),
        running.child(command, tmp_path, lambda: False),
    ):
        pass


def test_the_counter_example_tells_two_writers_yes(rclone_server: Server) -> None:
    fs = rclone_server.filesystem()
    rclone_server.bucket("twice")
    fs.pipe_file("twice/a", b"first", mode="create")
    fs.pipe_file("twice/a", b"second", mode="create")
    assert fs.cat_file("twice/a") == b"second"


@pytest.mark.parametrize("name", ["moto_server", "seaweedfs_server"])
def test_of_the_conforming_servers_a_second_create_is_refused(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    fs = server.filesystem()
    server.bucket("only-once")
    fs.pipe_file("only-once/a", b"first", mode="create")
    with pytest.raises(OSError, match="pre-conditions"):
        fs.pipe_file("only-once/a", b"second", mode="create")
    assert fs.cat_file("only-once/a") == b"first"
