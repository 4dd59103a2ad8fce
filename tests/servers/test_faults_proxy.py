"""Each fault of the proxy comes true, as a client sees it and as the server behind knows it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from servers.faults import Fault, FaultProxy, fault_proxy
from servers.running import Server, s3_client

# moto asks who is there, and then believes it
ANYONE = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
RESET = (ConnectionResetError, http.client.RemoteDisconnected)


@attrs.frozen
class Road:
    """A bucket, reached straight and through the proxy."""

    server: Server
    proxy: FaultProxy
    bucket: str

    @property
    def host(self) -> str:
        return str(urlsplit(self.proxy.endpoint).netloc)

    def path(self, key: str) -> str:
        if self.server.protocol == "s3":
            return f"/{self.bucket}/{key}"
        return f"/download/storage/v1/b/{self.bucket}/o/{key}?alt=media"

    def fact_path(self, key: str) -> str:
        return self.path(key) if self.server.protocol == "s3" else f"/storage/v1/b/{self.bucket}/o/{key}"

    def put(self, key: str, data: bytes, **headers: str) -> int:
        """Write through the proxy by plain HTTP."""
        if self.server.protocol == "s3":
            return self.ask("PUT", self.path(key), data, **headers)[0]
        path = f"/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={key}"
        return self.ask("POST", path, data, **headers)[0]

    def ask(
        self, method: str, path: str, data: Any = b"", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        try:
            said = {"Authorization": ANYONE} | {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, data, said, encode_chunked=not isinstance(data, bytes))
            with connection.getresponse() as answer:
                return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def there(self, key: str) -> bytes | None:
        """What the server has, asked past the proxy."""
        fs = self.server.filesystem()
        path = f"{self.bucket}/{key}"
        found: bytes | None = fs.cat_file(path) if fs.exists(path) else None
        return found


@pytest.fixture(scope="module", params=["moto_server", "gcs_server"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def road(server: Server, fresh_bucket: Callable[[Server], str]) -> Iterator[Road]:
    with fault_proxy(server.endpoint) as proxy:
        yield Road(server, proxy, fresh_bucket(server))


# -- nothing armed -----------------------------------------------------------------------------------------------------


def test_a_proxy_that_is_not_armed_changes_nothing(road: Road) -> None:
    fs = road.server.at(road.proxy.endpoint).filesystem()
    data = bytes(range(256)) * 1024
    fs.pipe_file(f"{road.bucket}/a/b", data)
    assert fs.cat_file(f"{road.bucket}/a/b") == data == road.there("a/b")
    assert fs.find(road.bucket) == [f"{road.bucket}/a/b"]
    fs.rm_file(f"{road.bucket}/a/b")
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{road.bucket}/a/b")
    assert road.proxy.hits == 0


def test_one_connection_carries_many_requests(road: Road) -> None:
    connection = http.client.HTTPConnection(road.host, timeout=10)
    connection.connect()
    ours = connection.sock.getsockname()
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, road.fact_path("missing"))
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, connection.sock.getsockname()) == (404, ours)
    connection.close()


def test_a_body_in_chunks_arrives_whole(road: Road) -> None:
    if road.server.protocol == "s3":
        road.ask("PUT", road.path("a"), iter([b"one", b"two"]), Transfer_Encoding="chunked")
    else:
        path = f"/upload/storage/v1/b/{road.bucket}/o?uploadType=media&name=a"
        road.ask("POST", path, iter([b"one", b"two"]), Transfer_Encoding="chunked")
    assert road.there("a") == b"onetwo"


def test_a_client_that_waits_to_be_told_to_go_on_is_told(road: Road) -> None:
    with socket.create_connection(("127.0.0.1", int(road.host.split(":")[1])), timeout=10) as client:
        client.sendall(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert client.recv(9) == b"HTTP/1.1 "


# -- each fault --------------------------------------------------------------------------------------------------------


def test_a_reset_after_the_body_means_that_nothing_was_written(road: Road) -> None:
    road.proxy.arm(Fault.RESET_AFTER_BODY, share=1)
    with pytest.raises(RESET):
        road.put("a", b"x")
    assert (road.there("a"), road.proxy.hits) == (None, 1)


def test_a_dropped_reply_means_that_it_was_written(road: Road) -> None:
    road.proxy.arm(Fault.REPLY_DROPPED, share=1)
    with pytest.raises(RESET):
        road.put("a", b"x")
    assert (road.there("a"), road.proxy.hits) == (b"x", 1)


def test_a_burst_of_503_speaks_the_services_language(road: Road) -> None:
    road.proxy.arm(Fault.BURST_503, share=1)
    status, _, body = road.ask("GET", road.fact_path("a"))
    assert status == 503
    if road.server.protocol == "s3":
        assert b"<Code>SlowDown</Code>" in body
    else:
        assert json.loads(body)["error"]["code"] == 503


def test_bursts_are_one_to_three_requests_long(road: Road) -> None:
    road.proxy.arm(Fault.BURST_503, share=0.05, seed=1)
    answers = "".join("x" if road.ask("GET", road.fact_path("a"))[0] == 503 else " " for _ in range(100))
    assert {len(burst) for burst in answers.split()} == {1, 2, 3}
    assert road.proxy.hits == answers.count("x")


def test_what_is_missing_is_forbidden(road: Road) -> None:
    road.put("there", b"x")
    road.proxy.arm(Fault.FORBIDDEN_FOR_MISSING, share=1)
    status, _, body = road.ask("GET", road.fact_path("missing"))
    assert (status, road.ask("GET", road.path("there"))[0], road.proxy.hits) == (403, 200, 1)
    assert b"AccessDenied" in body or json.loads(body)["error"]["code"] == 403
    fs = road.server.at(road.proxy.endpoint).filesystem()
    with pytest.raises(PermissionError if road.server.protocol == "s3" else OSError):
        fs.cat_file(f"{road.bucket}/missing")


def test_a_truncated_body_ends_before_its_length(road: Road) -> None:
    road.put("a", b"0123456789")
    road.proxy.arm(Fault.TRUNCATED_BODY, share=1)
    with pytest.raises(http.client.IncompleteRead) as caught:
        road.ask("GET", road.path("a"))
    assert (caught.value.partial, caught.value.expected) == (b"01234", 5)


def test_a_short_body_looks_whole_and_strikes_objects_alone(road: Road) -> None:
    road.put("a", b"0123456789")
    road.proxy.arm(Fault.SHORT_BODY, share=1)
    status, headers, body = road.ask("GET", road.path("a"))
    assert (status, headers["Content-Length"], body) == (200, "5", b"01234")
    listing = f"/{road.bucket}?list-type=2" if road.server.protocol == "s3" else f"/storage/v1/b/{road.bucket}/o"
    assert b"a" in road.ask("GET", listing)[2]
    assert road.proxy.hits == 1


def test_a_body_trickles_and_the_client_may_leave(road: Road) -> None:
    road.put("a", b"0123456789")
    road.proxy.arm(Fault.ONE_BYTE_PER_SECOND, share=1)
    connection = http.client.HTTPConnection(road.host, timeout=10)
    began = time.monotonic()
    connection.request("GET", road.path("a"), headers={"Authorization": ANYONE})
    with connection.getresponse() as answer:
        assert (answer.headers["Content-Length"], answer.read(2)) == ("10", b"01")
    assert 0.8 < time.monotonic() - began < 3
    connection.close()


def test_a_late_duplicate_undoes_what_came_after(road: Road) -> None:
    road.proxy.later = 0.5
    road.proxy.arm(Fault.LATE_DUPLICATE, share=1, times=1)
    assert (road.put("a", b"first"), road.put("a", b"second")) == (200, 200)
    road.proxy.settle()
    assert (road.there("a"), road.proxy.hits) == (b"first", 1)


def test_a_dropped_condition_lets_a_second_writer_win(road: Road) -> None:
    fs = road.server.at(road.proxy.endpoint).filesystem()
    fs.pipe_file(f"{road.bucket}/a", b"first", mode="create")
    with pytest.raises(FileExistsError):
        fs.pipe_file(f"{road.bucket}/a", b"second", mode="create")
    road.proxy.arm(Fault.DROP_CONDITION, share=1)
    fs.pipe_file(f"{road.bucket}/a", b"second", mode="create")
    assert (road.there("a"), road.proxy.hits) == (b"second", 1)


# -- arming ------------------------------------------------------------------------------------------------------------


def test_a_fault_strikes_its_share_of_its_methods_and_the_same_ones_for_the_same_seed(road: Road) -> None:
    struck = []
    for _ in range(2):
        road.proxy.arm(Fault.BURST_503, share=0.3, seed=5, methods={"GET"})
        struck.append(
            [road.ask(method, road.fact_path("a"))[0] == 503 for _ in range(20) for method in ("GET", "HEAD")]
        )
        assert 0 < road.proxy.hits == sum(struck[-1]) < 20
    assert struck[0] == struck[1]
    assert not any(struck[0][1::2])


def test_a_disarmed_proxy_strikes_no_more(road: Road) -> None:
    road.proxy.arm(Fault.RESET_AFTER_BODY, share=1, times=1)
    with pytest.raises(RESET):
        road.put("a", b"x")
    assert road.put("a", b"x") == 200
    road.proxy.arm(Fault.RESET_AFTER_BODY, share=1)
    road.proxy.disarm()
    assert (road.put("a", b"x"), road.proxy.hits) == (200, 0)


# -- signatures --------------------------------------------------------------------------------------------------------


def test_signatures_hold_through_the_proxy_with_and_without_conditions(
    seaweedfs_server: Server, fresh_bucket: Callable[[Server], str]
) -> None:
    bucket = fresh_bucket(seaweedfs_server)
    with fault_proxy(seaweedfs_server.endpoint) as proxy, s3_client(proxy.endpoint) as client:
        put = {"Bucket": bucket, "Key": "a/ü +&=", "IfNoneMatch": "*"}
        client.put_object(**put, Body=b"first")
        with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
            client.put_object(**put, Body=b"second")
        proxy.arm(Fault.DROP_CONDITION, share=1)
        client.put_object(**put, Body=b"second")
        assert client.get_object(Bucket=bucket, Key="a/ü +&=")["Body"].read() == b"second"
        assert proxy.hits == 1
