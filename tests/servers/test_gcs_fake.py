"""The fake of Google Cloud Storage keeps Google's rules: asked by plain HTTP here, by gcsfs in the file next to it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
import pytest

from servers.running import Server

GRAIN = 256 * 1024


@attrs.frozen
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen
class Bucket:
    """A bucket, asked by plain HTTP over a new connection each time."""

    endpoint: str
    name: str

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(str(urlsplit(self.endpoint).netloc), timeout=20)
        try:
            said = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path.format(b=self.name), body, said)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def put(self, name: str, data: bytes, more: str = "", **headers: str) -> Answer:
        return self.ask(
            "POST", f"/upload/storage/v1/b/{{b}}/o?uploadType=media&name={quote(name, safe='')}{more}", data, **headers
        )

    def facts(self, name: str) -> Any:
        return self.ask("GET", f"/storage/v1/b/{{b}}/o/{quote(name, safe='')}").json

    def get(self, name: str, more: str = "", **headers: str) -> Answer:
        path = f"/download/storage/v1/b/{{b}}/o/{quote(name, safe='')}?alt=media{more}"
        return self.ask("GET", path, b"", **headers)

    def resumable(self, name: str, more: str = "", **facts: Any) -> str:
        """The address of a new upload session, without the host."""
        path = f"/upload/storage/v1/b/{{b}}/o?uploadType=resumable&name={name}{more}"
        answer = self.ask("POST", path, json.dumps(facts).encode(), X_Upload_Content_Type="text/x-model")
        assert answer.status == 200
        there = urlsplit(answer.headers["Location"])
        assert f"{there.scheme}://{there.netloc}" == self.endpoint
        return f"{there.path}?{there.query}"


@pytest.fixture
def bucket(gcs_server: Server, fresh_bucket: Callable[[Server], str]) -> Bucket:
    return Bucket(gcs_server.endpoint, fresh_bucket(gcs_server))


# -- conditions --------------------------------------------------------------------------------------------------------


def multipart(bucket: Bucket, more: str) -> Answer:
    body = b'--x\r\nContent-Type: application/json\r\n\r\n{"name": "a"}\r\n--x\r\nContent-Type: t/t\r\n\r\nnew\r\n--x--'
    path = f"/upload/storage/v1/b/{{b}}/o?uploadType=multipart{more}"
    return bucket.ask("POST", path, body, Content_Type="multipart/related; boundary=x")


def media(bucket: Bucket, more: str) -> Answer:
    return bucket.put("a", b"new", more)


def resumable(bucket: Bucket, more: str) -> Answer:
    return bucket.ask("PUT", bucket.resumable("a", more), b"new", Content_Range="bytes 0-2/3")


def copy(bucket: Bucket, more: str) -> Answer:
    bucket.put("source", b"new")
    return bucket.ask("POST", f"/storage/v1/b/{{b}}/o/source/copyTo/b/{{b}}/o/a?{more[1:]}")


def rewrite(bucket: Bucket, more: str) -> Answer:
    bucket.put("source", b"new")
    return bucket.ask("POST", f"/storage/v1/b/{{b}}/o/source/rewriteTo/b/{{b}}/o/a?{more[1:]}")


WAYS = [multipart, media, resumable, copy, rewrite]


@pytest.mark.parametrize("way", WAYS)
def test_create_if_absent_writes_once_and_then_refuses_with_googles_error(
    bucket: Bucket, way: Callable[[Bucket, str], Answer]
) -> None:
    assert way(bucket, "&ifGenerationMatch=0").status == 200
    bucket.put("a", b"old")
    refused = way(bucket, "&ifGenerationMatch=0")
    assert refused.status == 412
    assert refused.json["error"]["code"] == 412
    assert refused.json["error"]["errors"][0]["reason"] == "conditionNotMet"
    assert bucket.get("a").body == b"old"


@pytest.mark.parametrize("way", WAYS)
def test_a_write_on_a_generation_needs_that_generation(bucket: Bucket, way: Callable[[Bucket, str], Answer]) -> None:
    assert way(bucket, "&ifGenerationMatch=7").status == 412
    first = bucket.put("a", b"old").json["generation"]
    assert way(bucket, f"&ifGenerationMatch={first}").status == 200
    assert way(bucket, f"&ifGenerationMatch={first}").status == 412
    assert bucket.get("a").body == b"new"


def test_equal_bytes_still_lose(bucket: Bucket) -> None:
    assert bucket.put("a", b"", "&ifGenerationMatch=0").status == 200
    assert bucket.put("a", b"", "&ifGenerationMatch=0").status == 412


def test_of_many_creates_at_once_one_wins(bucket: Bucket) -> None:
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda i: (bucket.put("a", b"%d" % i, "&ifGenerationMatch=0").status, i), range(24)))
    [(_, winner)] = [answer for answer in answers if answer[0] == 200]
    assert bucket.get("a").body == b"%d" % winner


def test_a_condition_of_a_resumable_upload_is_looked_at_when_it_ends(bucket: Bucket) -> None:
    one, two = (bucket.resumable("a", "&ifGenerationMatch=0") for _ in range(2))
    assert "ifGenerationMatch=0" in one
    assert bucket.ask("PUT", one, b"one", Content_Range="bytes 0-2/3").status == 200
    assert bucket.ask("PUT", two, b"two", Content_Range="bytes 0-2/3").status == 412
    assert bucket.ask("DELETE", two).status == 499  # it is still there to be cancelled
    assert bucket.get("a").body == b"one"


def test_a_delete_holds_to_its_condition(bucket: Bucket) -> None:
    generation = bucket.put("a", b"x").json["generation"]
    assert bucket.ask("DELETE", "/storage/v1/b/{b}/o/a?ifGenerationMatch=1").status == 412
    assert bucket.ask("DELETE", f"/storage/v1/b/{{b}}/o/a?ifGenerationMatch={generation}").status == 204
    assert bucket.ask("DELETE", "/storage/v1/b/{b}/o/a").status == 404


def test_a_reader_that_has_the_generation_already_is_spared_the_bytes(bucket: Bucket) -> None:
    generation = bucket.put("a", b"x").json["generation"]
    assert bucket.get("a", f"&ifGenerationNotMatch={generation}").status == 304
    assert bucket.get("a", "&ifGenerationNotMatch=1").status == 200
    assert bucket.get("a", "&ifGenerationMatch=1").status == 412
    assert bucket.ask("GET", f"/storage/v1/b/{{b}}/o/a?ifGenerationNotMatch={generation}").status == 304


# -- facts and bytes ---------------------------------------------------------------------------------------------------


def test_generations_grow_even_over_a_delete_and_metagenerations_with_each_patch(bucket: Bucket) -> None:
    first = int(bucket.put("a", b"x").json["generation"])
    bucket.ask("DELETE", "/storage/v1/b/{b}/o/a")
    second = bucket.put("a", b"x").json
    assert int(second["generation"]) > first
    patched = bucket.ask("PATCH", "/storage/v1/b/{b}/o/a", b'{"metadata": {"k": "v"}}').json
    assert (patched["generation"], patched["metageneration"]) == (second["generation"], "2")


def test_facts_have_googles_shape(bucket: Bucket) -> None:
    bucket.put("a/ü+ b", b"123456789", Content_Type="text/x-model")
    facts = bucket.facts("a/ü+ b")
    assert (facts["kind"], facts["name"], facts["bucket"]) == ("storage#object", "a/ü+ b", bucket.name)
    assert (facts["size"], facts["metageneration"], facts["contentType"]) == ("9", "1", "text/x-model")
    assert facts["md5Hash"] == base64.b64encode(hashlib.md5(b"123456789").digest()).decode()
    assert facts["crc32c"] == base64.b64encode(bytes.fromhex("e3069283")).decode()  # the check value of CRC-32C
    assert facts["timeCreated"] == facts["updated"]
    assert facts["updated"].endswith("Z")


def test_what_a_writer_chose_comes_back_and_goes_out_as_headers(bucket: Bucket) -> None:
    facts: dict[str, Any] = {"cacheControl": "no-store", "metadata": {"k": "v"}, "contentType": "text/x-model"}
    bucket.ask("PUT", bucket.resumable("a", "", **facts), b"x")
    assert facts.items() <= bucket.facts("a").items()
    answer = bucket.get("a")
    assert (answer.headers["Cache-Control"], answer.headers["Content-Type"]) == ("no-store", "text/x-model")
    told = bucket.facts("a")
    assert answer.headers["X-Goog-Hash"] == f"crc32c={told['crc32c']},md5={told['md5Hash']}"
    assert answer.headers["X-Goog-Generation"] == told["generation"]


@pytest.mark.parametrize(
    ("wanted", "status", "body", "told"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_a_range_is_handed_out(bucket: Bucket, wanted: str, status: int, body: bytes | None, told: str | None) -> None:
    bucket.put("a", b"0123456789")
    for path in ("/download/storage/v1/b/{b}/o/a?alt=media", "/storage/v1/b/{b}/o/a?alt=media"):
        answer = bucket.ask("GET", path, Range=wanted)
        assert (answer.status, answer.headers["Content-Range"]) == (status, told)
        assert body in {None, answer.body}


def test_what_is_missing_is_missing_in_googles_words(bucket: Bucket) -> None:
    fact = bucket.facts("a")
    assert fact["error"]["message"] == f"No such object: {bucket.name}/a"
    assert fact["error"]["errors"][0]["reason"] == "notFound"
    media = bucket.get("a")
    assert (media.status, media.body.decode()) == (404, f"No such object: {bucket.name}/a")
    nowhere = Bucket(bucket.endpoint, "no-such-bucket")
    assert nowhere.facts("a")["error"]["message"] == "The specified bucket does not exist."
    assert nowhere.put("a", b"x").status == nowhere.ask("GET", "/storage/v1/b/{b}").status == 404
    assert bucket.ask("POST", "/storage/v1/b", json.dumps({"name": bucket.name}).encode()).status == 409


# -- multipart ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"\r\n", b"\n"])
@pytest.mark.parametrize("boundary", ["==0==", "plain"])
@pytest.mark.parametrize("data", [b"", b"x\r", b"\n", b"\r\n\r\n", b"x--==0==", b"a\n--==0==x\n--plainer\r\n"])
def test_bytes_survive_a_multipart_body(bucket: Bucket, line: bytes, boundary: str, data: bytes) -> None:
    mark = b"--" + boundary.encode()
    facts = b'{"name": "a", "cacheControl": "no-store"}'
    parts = [mark, b"Content-Type: application/json", b"", facts, mark, b"content-type: t/t", b"", data, mark + b"--"]
    path = "/upload/storage/v1/b/{b}/o?uploadType=multipart"
    answer = bucket.ask("POST", path, line.join(parts), Content_Type=f'multipart/related; boundary="{boundary}"')
    assert (answer.status, answer.json.get("contentType"), answer.json.get("cacheControl")) == (200, "t/t", "no-store")
    assert bucket.get("a").body == data


def test_bytes_that_hold_the_delimiter_or_belie_their_checksum_are_refused(bucket: Bucket) -> None:
    path, kind = "/upload/storage/v1/b/{b}/o?uploadType=multipart", "multipart/related; boundary=x"
    torn = b'--x\n\n{"name": "a"}\n--x\n\nhalf\n--x\n\nhalf\n--x--'
    assert bucket.ask("POST", path, torn, Content_Type=kind).status == 400
    belied = b'--x\n\n{"name": "a", "md5Hash": "AAAA"}\n--x\n\nwhole\n--x--'
    assert bucket.ask("POST", path, belied, Content_Type=kind).status == 400
    assert bucket.get("a").status == 404


# -- resumable ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("total", ["*", str(2 * GRAIN + 3)])
def test_chunks_are_answered_308_until_the_last_byte_is_there(bucket: Bucket, method: str, total: str) -> None:
    data = bytes(range(256)) * (2 * GRAIN // 256) + b"end"
    there = bucket.resumable("a")
    for start in (0, GRAIN):
        told = f"bytes {start}-{start + GRAIN - 1}/{total}"
        answer = bucket.ask(method, there, data[start : start + GRAIN], Content_Range=told)
        assert (answer.status, answer.headers["Range"]) == (308, f"bytes=0-{start + GRAIN - 1}")
        assert bucket.get("a").status == 404
    last = bucket.ask(method, there, b"end", Content_Range=f"bytes {2 * GRAIN}-{2 * GRAIN + 2}/{2 * GRAIN + 3}")
    assert (last.status, last.json["size"], last.json["contentType"]) == (200, str(2 * GRAIN + 3), "text/x-model")
    assert bucket.get("a").body == data


def test_an_upload_of_unknown_length_ends_with_an_empty_request(bucket: Bucket) -> None:
    there = bucket.resumable("a")
    assert bucket.ask("POST", there, Content_Range="bytes */*").headers["Range"] is None
    bucket.ask("POST", there, bytes(GRAIN), Content_Range=f"bytes 0-{GRAIN - 1}/*")
    assert bucket.ask("POST", there, Content_Range="bytes */*").headers["Range"] == f"bytes=0-{GRAIN - 1}"
    assert bucket.ask("POST", there, Content_Range=f"bytes */{GRAIN}").json["size"] == str(GRAIN)
    assert bucket.ask("POST", there, Content_Range="bytes */*").status == 200  # it is done


def test_a_chunk_that_is_not_the_last_is_kept_in_multiples_of_256_kib(bucket: Bucket) -> None:
    there = bucket.resumable("a")
    short = bucket.ask("PUT", there, bytes(GRAIN + 5), Content_Range=f"bytes 0-{GRAIN + 4}/*")
    assert (short.status, short.headers["Range"]) == (308, f"bytes=0-{GRAIN - 1}")
    gap = bucket.ask("PUT", there, b"x", Content_Range=f"bytes {GRAIN + 5}-{GRAIN + 5}/{GRAIN + 6}")
    assert gap.status == 503
    again = bucket.ask("PUT", there, bytes(GRAIN + 5), Content_Range=f"bytes 0-{GRAIN + 4}/{GRAIN + 5}")
    assert (again.status, again.json["size"]) == (200, str(GRAIN + 5))


def test_the_last_chunk_sent_again_writes_nothing_new(bucket: Bucket) -> None:
    there = bucket.resumable("a")
    one, two = (bucket.ask("PUT", there, b"abc", Content_Range="bytes 0-2/3").json["generation"] for _ in range(2))
    assert one == two


def test_a_cancelled_upload_is_gone_and_left_nothing(bucket: Bucket) -> None:
    there = bucket.resumable("a")
    assert bucket.ask("DELETE", there).status == 499
    assert bucket.ask("PUT", there, b"abc", Content_Range="bytes 0-2/3").status == 404
    assert bucket.get("a").status == 404
