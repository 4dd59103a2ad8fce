"""Bulk on S3: packs in parts, long listings, many requests at once; what they cost and what they leave."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import boto3
import pytest

from modelkeep.errors import AccessError, MissingObjectError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.retries import Retries
from servers.answering import HANG_UP, STORED, Answering, Asked, Said, Script, s3_error
from servers.doors import S3Doors
from servers.faults import Fault, FaultProxy, fault_proxy
from servers.running import s3_server
from servers.sites import SOON, Site

MEBIBYTE = 1 << 20
PART = 8 * MEBIBYTE
FAST = Retries(attempts=3, first=0.01, longest=0.02, answer=10)

BEGUN = Said(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
DONE = Said(200, b'<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')
LATE = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
NO_UPLOAD = s3_error(404, "NoSuchUpload", "The specified upload does not exist.")


def multipart(*, part: Said = STORED, complete: Script = lambda _: DONE, head: Said | None = None) -> Script:
    """S3's half of a multipart upload."""

    def script(asked: Asked) -> Said:
        match asked.method:
            case "POST":
                return BEGUN if asked.target.endswith("?uploads") else complete(asked)
            case "PUT":
                return part
            case "HEAD":
                return head or Said(404)
            case _:
                return Said(204)

    return script


@pytest.fixture
def store(server: Answering) -> Store:
    options = s3_server("answering", 1).at(server.endpoint).options
    return open_store("s3://bucket/team", storage_options=options, retries=FAST)


@pytest.fixture(params=["moto_site", "seaweedfs_site"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


@contextmanager
def behind(site: Site) -> Iterator[tuple[FaultProxy, Store, str]]:
    """A proxy in front of the site, a store behind the proxy, and the whole key of its object ``d/a``."""
    prefix = uuid.uuid4().hex
    with fault_proxy(site.server.endpoint) as proxy:
        options = site.server.at(proxy.endpoint).options
        yield proxy, open_store(site.url(prefix), storage_options=options, retries=SOON), f"{prefix}/d/a"


def pieces(count: int) -> Iterator[bytes]:
    return (bytes([number]) * MEBIBYTE for number in range(count))


def uploads(site: Site) -> int:
    assert isinstance(site.doors, S3Doors)
    return site.doors.uploads()


# -- packs -------------------------------------------------------------------------------------------------------------


def test_a_pack_of_40_mib_goes_up_in_parts_of_8(server: Answering, store: Store) -> None:
    server.says(multipart())
    store.put_pack("d/a", pieces(40))
    sizes = [asked.size for asked in server.asked if asked.method == "PUT"]
    assert sizes == [PART] * 5
    assert server.methods()[0] == server.methods()[-1] == "POST"
    assert 1 < server.most_at_once <= 4


def test_a_pack_of_one_part_is_one_request(server: Answering, store: Store) -> None:
    server.says(STORED)
    store.put_pack("d/a", pieces(8))
    assert [(asked.method, asked.target) for asked in server.asked] == [("PUT", "/bucket/team/d/a")]


def test_parts_that_are_turned_away_are_sent_again(site: Site) -> None:
    with behind(site) as (proxy, store, key):
        proxy.arm(Fault.BURST_503, share=0.3, seed=2, methods={"PUT"}, times=3)
        store.put_pack("d/a", pieces(40))
        assert proxy.hits > 0
    assert site.doors.peek(key) == b"".join(pieces(40))
    assert uploads(site) == 0


@pytest.mark.parametrize("fault", [Fault.REPLY_DROPPED, Fault.RESET_AFTER_BODY])
def test_parts_whose_reply_is_lost_are_sent_again(moto_site: Site, fault: Fault) -> None:
    with behind(moto_site) as (proxy, store, key):
        proxy.arm(fault, share=0.5, seed=1, methods={"PUT"}, times=2)
        store.put_pack("d/a", pieces(33))
        assert proxy.hits > 0
    assert moto_site.doors.peek(key) == b"".join(pieces(33))


def test_an_upload_that_was_completed_and_whose_reply_was_lost_is_a_success(site: Site) -> None:
    with behind(site) as (proxy, store, key):

        def source() -> Iterator[bytes]:
            yield from pieces(20)
            proxy.arm(Fault.REPLY_DROPPED, share=1.0, methods={"POST"}, times=1)

        store.put_pack("d/a", source())
        assert proxy.hits == 1
    assert site.doors.peek(key) == b"".join(pieces(20))
    assert uploads(site) == 0


def test_an_upload_that_vanished_and_left_its_object_is_a_success(server: Answering, store: Store) -> None:
    answers = iter([HANG_UP, NO_UPLOAD])  # as AWS says it; moto and SeaweedFS complete an upload twice
    server.says(multipart(complete=lambda _: next(answers), head=Said(200)))
    store.put_pack("d/a", pieces(9))
    assert server.methods()[-3:] == ["POST", "POST", "HEAD"]


def test_an_upload_that_vanished_and_left_no_object_is_no_success(server: Answering, store: Store) -> None:
    answers = iter([HANG_UP, NO_UPLOAD, NO_UPLOAD, NO_UPLOAD])
    server.says(multipart(complete=lambda _: next(answers)))
    with pytest.raises(StoreError):
        store.put_pack("d/a", pieces(9))
    assert "HEAD" in server.methods()


def test_a_failure_that_comes_with_status_200_is_seen(server: Answering, store: Store) -> None:
    server.says(multipart(complete=lambda _: Said(200, LATE)))
    with pytest.raises(OutcomeUnknownError, match=f"tried {FAST.attempts} times"):
        store.put_pack("d/a", pieces(9))


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_failing_source_leaves_no_upload_behind(site: Site, error: BaseException) -> None:
    prefix = uuid.uuid4().hex
    store = site.store(prefix)

    def source() -> Iterator[bytes]:
        yield from pieces(20)
        assert uploads(site) == 1
        raise error

    with pytest.raises(type(error)) as caught:
        store.put_pack("d/a", source())
    assert caught.value is error
    assert uploads(site) == 0
    assert site.doors.peek(f"{prefix}/d/a") is None


def test_a_server_that_turns_a_part_away_leaves_no_upload_behind(moto_site: Site) -> None:
    with behind(moto_site) as (proxy, store, key):
        proxy.arm(Fault.BURST_503, share=1.0, methods={"PUT"})
        with pytest.raises(StoreError, match="tried"):
            store.put_pack("d/a", pieces(40))
    assert uploads(moto_site) == 0
    assert moto_site.doors.peek(key) is None


def test_a_part_that_is_denied_ends_the_upload_and_says_so(server: Answering, store: Store) -> None:
    server.says(multipart(part=s3_error(403, "AccessDenied", "Access Denied")))
    with pytest.raises(AccessError):
        store.put_pack("d/a", pieces(40))
    assert "DELETE" in server.methods()


MEASURE = """
import resource, sys
from modelkeep.stores import open_store

def source(count):
    for number in range(count):
        yield bytes([number % 256]) * (1 << 20)

options = {"key": "test", "secret": "testtest", "endpoint_url": sys.argv[1]}
store = open_store("s3://bucket/team", storage_options=options)
store.put_pack("d/small", source(9))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put_pack("d/large", source(512))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count ru_maxrss in other units")
def test_half_a_gigabyte_goes_up_in_less_than_100_mib(server: Answering) -> None:
    server.says(multipart())
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, server.endpoint], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert sum(asked.size for asked in server.asked if asked.method == "PUT") == (9 + 512) * MEBIBYTE
    assert int(run.stdout) < 100


# -- listings ----------------------------------------------------------------------------------------------------------


def test_a_long_listing_comes_in_pages_and_in_key_order(site: Site) -> None:
    prefix = uuid.uuid4().hex
    half = 1250 if site.server.kind == "seaweedfs" else 550  # moto takes long to take them
    keys = [f"d/{name}{number:04d}" for name in ("a/b", "a-b") for number in range(half)]
    client = boto3.client(
        "s3",
        endpoint_url=site.server.endpoint,
        aws_access_key_id=site.server.options["key"],
        aws_secret_access_key=site.server.options["secret"],
        region_name="us-east-1",
    )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=site.bucket, Key=f"{prefix}/{key}", Body=b"1"), keys))
    found = [facts.key for facts in site.store(prefix).list("d/")]
    assert found == sorted(keys)
    assert found[0].startswith("d/a-b")
    assert len(list(site.store(prefix).list("d/a/"))) == half


# -- many at once ------------------------------------------------------------------------------------------------------


def slowly(asked: Asked) -> Said:
    del asked
    return Said(206, b"1", {"Content-Range": "bytes 0-0/1"}, after=0.02)


def test_never_more_than_32_requests_are_open_at_once(server: Answering, store: Store) -> None:
    server.says(slowly)
    keys = [f"d/{number}" for number in range(80)]
    assert len(store.get_many(keys)) == 80
    assert 8 < server.most_at_once <= 32
    assert server.connections <= 32
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(store.get_many, [keys] * 3))
    assert server.most_at_once <= 32


def test_fifty_reads_in_a_row_share_a_connection(server: Answering, store: Store) -> None:
    server.says(slowly)
    for number in range(50):
        store.get(f"d/{number}")
    assert len(server.asked) == 50
    assert server.connections <= 2


def test_a_large_read_is_whole_whatever_comes_first(server: Answering, store: Store) -> None:
    whole = bytes(range(256)) * (20 * MEBIBYTE // 256) + b"end"

    def script(asked: Asked) -> Said:
        start, end = map(int, asked.headers["range"].removeprefix("bytes=").split("-"))
        body = whole[start : end + 1]
        late = 0.1 if start < PART else 0.0  # the first answer comes last
        return Said(206, body, {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(whole)}"}, after=late)

    server.says(script)
    assert store.get("d/a") == whole
    assert store.get("d/a", (5, 9 * MEBIBYTE)) == whole[5 : 5 + 9 * MEBIBYTE]


def test_a_server_that_knows_no_ranges_is_read_all_the_same(server: Answering, store: Store) -> None:
    server.says(Said(200, b"0123456789"))
    assert store.get("d/a") == b"0123456789"
    assert store.get("d/a", (2, 3)) == b"234"
    assert store.get("d/a", (20, 3)) == b""


def test_one_missing_of_many_is_left_out_and_one_asked_alone_is_missing(server: Answering, store: Store) -> None:
    missing = s3_error(404, "NoSuchKey", "The specified key does not exist.")
    server.says(lambda asked: missing if asked.path.endswith("7") else slowly(asked))
    assert set(store.get_many(f"d/{number}" for number in range(10))) == {f"d/{n}" for n in range(10)} - {"d/7"}
    with pytest.raises(MissingObjectError, match="d/7"):
        store.get("d/7")
