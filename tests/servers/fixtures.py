"""The servers as fixtures: each is started once in a test run, when the first test asks for it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from servers import running
from servers.running import NotInstalledError, Server


@contextlib.contextmanager
def or_skipped(start: Callable[[], AbstractContextManager[Server]], *clients: str) -> Iterator[Server]:
    """The server, or a skip that says what is missing."""
    with contextlib.ExitStack() as stack:
        try:
            running.needs(*clients)
            server = stack.enter_context(start())
        except NotInstalledError as missing:
            pytest.skip(str(missing))
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Server]:
    with or_skipped(running.moto, "s3fs") as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs_server() -> Iterator[Server]:
    with or_skipped(running.seaweedfs, "s3fs") as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("rclone")
    with or_skipped(lambda: running.rclone(folder), "s3fs") as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[Server]:
    with or_skipped(running.gcs_fake, "gcsfs") as server:
        yield server


@pytest.fixture(scope="session")
def gcp_emulator_server() -> Iterator[Server]:
    with or_skipped(running.gcp_storage_emulator, "gcsfs") as server:
        yield server


@pytest.fixture
def fresh_bucket() -> Callable[[Server], str]:
    """Makes an empty bucket on a server, under a name that no other test has."""

    def make(server: Server) -> str:
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        server.bucket(name)
        return name

    return make
