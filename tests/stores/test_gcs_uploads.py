"""Resumable uploads to GCS: lost replies, chunks that are kept in part, sessions that vanish, and memory."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator

import attrs
import pytest

from modelkeep.errors import OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.retries import Retries
from servers import running
from servers.answering import HANG_UP, Answering, Asked, Said, gcs_error, gcs_json
from servers.faults import Fault, fault_proxy
from servers.sites import SOON, Site

MEBIBYTE = 1 << 20
PART = 8 * MEBIBYTE
FAST = Retries(attempts=3, first=0.01, longest=0.02, answer=10)


@attrs.define
class Session:
    """Google's half of an upload, as its documentation has it, with faults by the number of the PUT."""

    endpoint: str
    faults: dict[int, Said | float]
    """Said: answer so, the bytes are kept; a number: keep that share of the bytes and say 308."""
    have: int = 0
    puts: int = 0
    done: bool = False
    deleted: bool = False

    def __call__(self, asked: Asked) -> Said:
        match asked.method:
            case "POST":
                return gcs_json({}, Location=f"{self.endpoint}/upload/storage/v1/b/bucket/o?upload_id=u1")
            case "DELETE":
                self.deleted = True
                return Said(499)
            case _:
                return self._put(asked)

    def _put(self, asked: Asked) -> Said:
        said, total = asked.headers["content-range"].removeprefix("bytes ").split("/")
        self.puts += 1
        fault = self.faults.pop(self.puts, None)
        if said != "*":
            start, end = map(int, said.split("-"))
            assert asked.size == end + 1 - start
            assert start == self.have, f"bytes from {start} on were sent, and {self.have} are here"
            share = fault if isinstance(fault, float) else 1.0
            self.have = start + int(asked.size * share) // (256 * 1024) * (256 * 1024) if share < 1 else end + 1
        self.done = self.done or (total != "*" and int(total) == self.have)
        if isinstance(fault, Said):
            return fault
        if self.done:
            return gcs_json({"name": "team/d/a", "size": str(self.have)})
        return Said(308, headers={"Range": f"bytes=0-{self.have - 1}"} if self.have else {})


@pytest.fixture
def store(server: Answering) -> Store:
    options = running.gcs_server("gcs", 1).at(server.endpoint).options
    return open_store("gs://bucket/team", storage_options=options, retries=FAST)


def pieces(count: int) -> Iterator[bytes]:
    return (bytes([number]) * MEBIBYTE for number in range(count))


BROKEN = gcs_error(503, "backendError", "We encountered an internal error. Please try again.")


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {1: HANG_UP},
        {2: HANG_UP},
        {3: HANG_UP},
        {1: BROKEN, 3: BROKEN},
        {1: 0.5},
        {2: 0.25, 3: 0.5, 4: 0.5},
        {3: 0.5},
        {1: 0.0},
        {2: HANG_UP, 3: BROKEN},
    ],
    ids=str,
)
def test_an_upload_goes_on_from_where_the_server_is(
    server: Answering, store: Store, faults: dict[int, Said | float]
) -> None:
    session = Session(server.endpoint, dict(faults))
    server.says(session)
    store.put_pack("d/a", pieces(20))
    assert (session.have, session.done, session.deleted) == (20 * MEBIBYTE, True, False)


def test_chunks_go_up_one_after_another(server: Answering, store: Store) -> None:
    session = Session(server.endpoint, {})
    server.says(session)
    store.put_pack("d/a", pieces(20))
    ranges = [asked.headers.get("content-range") for asked in server.asked]
    whole = 20 * MEBIBYTE
    assert ranges == [
        None,
        f"bytes 0-{PART - 1}/*",
        f"bytes {PART}-{2 * PART - 1}/*",
        f"bytes {2 * PART}-{whole - 1}/{whole}",
    ]
    assert server.most_at_once == 1


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("status", [404, 410])
def test_a_session_that_vanished_is_an_error_and_no_object(
    server: Answering, store: Store, at: int, status: int
) -> None:
    session = Session(server.endpoint, {at: gcs_error(status, "notFound", "No such upload session.")})
    server.says(session)
    with pytest.raises(StoreError, match="No such upload session"):
        store.put_pack("d/a", pieces(20))
    assert session.deleted


def test_a_server_that_stays_broken_is_given_up_and_the_upload_thrown_away(server: Answering, store: Store) -> None:
    session = Session(server.endpoint, dict.fromkeys(range(2, 99), BROKEN))
    server.says(session)
    with pytest.raises(OutcomeUnknownError, match=f"tried {FAST.attempts} times"):
        store.put_pack("d/a", pieces(20))
    assert session.deleted


def test_a_failing_source_throws_the_upload_away(server: Answering, store: Store) -> None:
    session = Session(server.endpoint, {})
    server.says(session)

    def source() -> Iterator[bytes]:
        yield from pieces(17)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.put_pack("d/a", source())
    assert (session.deleted, session.done) == (True, False)


@pytest.mark.parametrize("fault", [Fault.REPLY_DROPPED, Fault.RESET_AFTER_BODY, Fault.BURST_503])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_upload_over_a_bad_line_is_whole(gcs_site: Site, fault: Fault, seed: int) -> None:
    prefix = uuid.uuid4().hex
    with fault_proxy(gcs_site.server.endpoint) as proxy:
        options = gcs_site.server.at(proxy.endpoint).options
        store = open_store(gcs_site.url(prefix), storage_options=options, retries=SOON)
        proxy.arm(fault, share=0.5, seed=seed, methods={"PUT"}, times=3)
        store.put_pack("d/a", pieces(33))
        assert proxy.hits > 0
    assert gcs_site.doors.peek(f"{prefix}/d/a") == b"".join(pieces(33))


MEASURE = """
import os, resource, sys
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
from modelkeep.stores import open_store

def source(count):
    for number in range(count):
        yield bytes([number % 256]) * (1 << 20)

store = open_store("gs://bucket/team", storage_options={"token": "anon", "endpoint_url": sys.argv[1]})
store.put_pack("d/small", source(9))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put_pack("d/large", source(512))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count ru_maxrss in other units")
def test_half_a_gigabyte_goes_up_in_less_than_100_mib(server: Answering) -> None:
    session = Session(server.endpoint, {})

    def two_uploads(asked: Asked) -> Said:
        if asked.method == "POST":
            session.have, session.done = 0, False
        return session(asked)

    server.says(two_uploads)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, server.endpoint], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert session.have == 512 * MEBIBYTE
    assert int(run.stdout) < 100
