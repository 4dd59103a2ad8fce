"""What a caller may choose for S3: options that reach the wire, secrets that never show, how long to try."""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import AccessError, InvalidValueError, ModelkeepError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from servers.answering import SILENCE, STORED, Answering, Asked, Said, s3_error
from servers.running import free_ports, s3_server
from servers.sites import SOON, Site

MEBIBYTE = 1 << 20
ONCE = Retries(attempts=1, answer=5)
SECRETS = {
    "key": "AKIAQQ7SECRETKEYID",
    "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCY",
    "token": "FwoGZXIvYXdzEBYaD+token/==",
}
BEGUN = Said(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
DONE = Said(200, b'<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')
LISTED = Said(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
FOUND = Said(206, b"1", {"Content-Range": "bytes 0-0/1"})


def obliging(asked: Asked) -> Said:
    """S3 as far as a store asks it."""
    match asked.method:
        case "POST":
            return BEGUN if asked.target.endswith("?uploads") else DONE
        case "GET":
            return LISTED if "list-type" in asked.target else FOUND
        case "DELETE":
            return Said(204)
        case _:
            return STORED


def opened(server: Answering, **options: Any) -> Store:
    server.says(obliging)
    base = {} if "anon" in options else {"key": "test", "secret": "testtest"}
    chosen = {**base, "endpoint_url": server.endpoint, **options}
    return open_store("s3://bucket/team", storage_options=chosen, retries=ONCE)


def use_all(store: Store) -> None:
    store.create("d/a", b"1")
    store.get("d/a")
    store.put_pack("d/b", [b"1"])
    store.put_pack("d/c", [bytes(9 * MEBIBYTE)])
    list(store.list(""))
    store.delete(["d/a"])


def kind_of(asked: Asked) -> str:
    return f"{asked.method} {asked.target.partition('?')[2].partition('=')[0]}".strip()


# -- options -----------------------------------------------------------------------------------------------------------


def test_whoever_pays_is_told_with_every_request(server: Answering) -> None:
    use_all(opened(server, requester_pays=True))
    assert {asked.headers.get("x-amz-request-payer") for asked in server.asked} == {"requester"}
    assert len({kind_of(asked) for asked in server.asked}) >= 7


def test_a_key_of_ones_own_seals_every_object(server: Answering) -> None:
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-west-1:1:key/2"}
    use_all(opened(server, s3_additional_kwargs=sealed))
    seals = {
        kind_of(asked): asked.headers.get("x-amz-server-side-encryption-aws-kms-key-id")
        for asked in server.asked
        if asked.method in {"PUT", "POST"}
    }
    arn = sealed["SSEKMSKeyId"]
    assert seals == {"PUT": arn, "POST uploads": arn, "PUT uploadId": None, "POST uploadId": None}


def test_what_is_asked_of_every_object_does_not_undo_the_condition(server: Answering) -> None:
    store = opened(server, s3_additional_kwargs={"IfNoneMatch": "", "CacheControl": "max-age=60", "Key": "x"})
    store.create("d/a", b"1")
    [asked] = server.asked
    assert (asked.headers["if-none-match"], asked.headers["cache-control"]) == ("*", "no-store")
    assert asked.target == "/bucket/team/d/a"


def test_without_a_name_nothing_is_signed(server: Answering) -> None:
    use_all(opened(server, anon=True))
    assert not any("authorization" in asked.headers for asked in server.asked)


def test_a_session_token_goes_along(server: Answering) -> None:
    use_all(opened(server, **SECRETS))
    assert {asked.headers["x-amz-security-token"] for asked in server.asked} == {SECRETS["token"]}


def test_an_endpoint_may_be_named_as_s3fs_or_as_boto_names_it(server: Answering) -> None:
    server.says(obliging)
    keys = {"key": "test", "secret": "testtest"}
    for options in ({"endpoint_url": server.endpoint}, {"client_kwargs": {"endpoint_url": server.endpoint}}):
        open_store("s3://bucket/team", storage_options={**keys, **options}, retries=ONCE).create("d/a", b"1")
    assert len(server.asked) == 2


def test_what_the_client_is_told_beside_reaches_it(server: Answering) -> None:
    opened(server, config_kwargs={"user_agent_extra": "team-churn"}).get("d/a")
    assert "team-churn" in server.asked[0].headers["user-agent"]
    opened(server, client_kwargs={"region_name": "eu-west-1"}).get("d/a")
    assert "/eu-west-1/s3/" in server.asked[0].headers["authorization"]


def test_a_proxy_is_asked_in_place_of_the_endpoint(server: Answering) -> None:
    nobody = s3_server("nobody", free_ports(1)[0]).endpoint
    store = opened(server, endpoint_url=nobody, config_kwargs={"proxies": {"http": server.endpoint}})
    store.create("d/a", b"1")
    assert server.asked[0].target == f"{nobody}/bucket/team/d/a"


def test_the_client_does_not_try_again_beneath_the_store(server: Answering) -> None:
    store = opened(server, config_kwargs={"retries": {"max_attempts": 9, "mode": "standard"}})
    server.says(s3_error(500, "InternalError", "again"))
    with pytest.raises(OutcomeUnknownError):
        store.create("d/a", b"1")
    assert len(server.asked) == 1


def test_what_the_store_decides_cannot_be_chosen(server: Answering) -> None:
    ours = {"asynchronous": True, "loop": object(), "skip_instance_cache": False, "use_listings_cache": True}
    use_all(opened(server, **ours))
    listings = [asked for asked in server.asked if "list-type" in asked.target]
    assert len(listings) == 1


def test_two_stores_share_neither_client_nor_cache(server: Answering) -> None:
    one, two = opened(server), opened(server)
    assert isinstance(one, RemoteStore)
    assert isinstance(two, RemoteStore)
    for store in (one, two, one):
        assert list(store.list("")) == []
    assert len(server.asked) == 3
    ours: list[Any] = [one._opened(), two._opened()]
    assert ours[0]._fs is not ours[1]._fs
    assert ours[0]._fs._s3 is not ours[1]._fs._s3


def test_options_that_the_caller_changes_later_change_nothing(server: Answering) -> None:
    server.says(obliging)
    options: dict[str, Any] = {"key": "test", "secret": "testtest", "endpoint_url": server.endpoint}
    store = open_store("s3://bucket/team", storage_options=options, retries=ONCE)
    options["endpoint_url"] = "http://127.0.0.1:1"
    store.create("d/a", b"1")
    assert len(server.asked) == 1


# -- secrets -----------------------------------------------------------------------------------------------------------


def echo(code: str, status: int) -> Callable[[Asked], Said]:
    """A server that says all it knows of whoever asks."""

    def script(asked: Asked) -> Said:
        told = f"{SECRETS} {asked.headers.get('authorization', '')} {asked.headers.get('x-amz-security-token', '')}"
        return s3_error(status, code, told.replace("<", ""))

    return script


@pytest.mark.parametrize(
    ("code", "status"),
    [("InvalidAccessKeyId", 403), ("AccessDenied", 403), ("Unheard", 403), ("InvalidToken", 400), ("Odd", 400),
     ("InternalError", 500), ("NoSuchBucket", 404), ("SlowDown", 503)],
)  # fmt: skip
def test_secrets_show_in_no_error_whatever_a_server_says(
    server: Answering, caplog: pytest.LogCaptureFixture, code: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG, logger="modelkeep")
    store = opened(server, **SECRETS)
    server.says(echo(code, status))
    registry = mk.Registry(store)
    works: list[Callable[[], object]] = [
        lambda: store.get("d/a"),
        lambda: store.create("d/a", b"1"),
        lambda: store.put_pack("d/a", [bytes(9 * MEBIBYTE)]),
        lambda: list(store.list("")),
        lambda: registry.save({"w": np.ones(2)}, "churn"),
    ]
    for work in works:
        with pytest.raises(ModelkeepError) as caught:
            work()
        error = caught.value
        again = pickle.loads(pickle.dumps(error))
        told = [str(error), repr(error), repr(error.facts), str(again), repr(again.facts), repr(vars(error))]
        shown = "\n".join((*told, repr(store), repr(registry), caplog.text, store.url))
        assert [name for name, secret in SECRETS.items() if secret in shown] == []
        assert not any(secret.encode() in pickle.dumps(error) for secret in SECRETS.values())


def test_secrets_of_a_place_that_nobody_serves_show_nowhere() -> None:
    nobody = s3_server("nobody", free_ports(1)[0]).endpoint
    proxies = {"http": "http://joe:hunter2-secret@127.0.0.1:9"}
    for more in ({}, {"config_kwargs": {"proxies": proxies}}, {"config_kwargs": {"proxies": proxies}, "oops": 1}):
        options = {**SECRETS, "endpoint_url": nobody, **more}
        store = open_store("s3://bucket/team", storage_options=options, retries=ONCE)
        with pytest.raises(StoreError) as caught:
            store.get("d/a")
        shown = f"{caught.value} {caught.value.facts} {store!r}"
        assert [one for one in (*SECRETS.values(), "hunter2") if one in shown] == []


def test_secrets_are_nowhere_in_the_bucket(moto_site: Site) -> None:
    prefix = uuid.uuid4().hex
    options = {**moto_site.server.options, **SECRETS}  # moto takes any
    registry = mk.Registry(moto_site.url(prefix), storage_options=options, retries=SOON)
    v = registry.save({"w": np.arange(3)}, "churn", notes="wider trees")
    v.promote("production", reason="first")
    v.tag(team="growth")
    names = {name for name in moto_site.doors.names() if name.startswith(prefix)}
    assert len(names) >= 7
    stored = b"\n".join(name.encode() + (moto_site.doors.peek(name) or b"") for name in sorted(names))
    assert [name for name, secret in SECRETS.items() if secret.encode() in stored] == []


# -- how long, how often -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["attempts", "first", "longest", "connect", "answer", "rate"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_retries_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidValueError, match=rf"Retries\({name}={value!r}\) cannot be; give a number above 0"):
        Retries(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_it_is_tried_as_often_as_said(server: Answering, attempts: int) -> None:
    server.says(s3_error(503, "SlowDown", "Please reduce your request rate."))
    retries = Retries(attempts=attempts, first=0.01, longest=0.01, answer=5)
    options = {"key": "test", "secret": "testtest", "endpoint_url": server.endpoint}
    store = open_store("s3://bucket/team", storage_options=options, retries=retries)
    with pytest.raises(StoreError) as caught:
        store.get("d/a")
    assert len(server.asked) == caught.value.tries == attempts
    assert ("tried" in str(caught.value)) == (attempts > 1)


def test_a_server_that_never_answers_is_given_as_long_as_said(server: Answering) -> None:
    retries = Retries(attempts=2, first=0.01, longest=0.01, answer=1.0)
    options = {"key": "test", "secret": "testtest", "endpoint_url": server.endpoint}
    store = open_store("s3://bucket/team", storage_options=options, retries=retries)
    server.says(STORED)
    store.create("d/first", b"1")  # making the client takes some of the time
    server.says(SILENCE)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match="tried 2 times"):
        store.create("d/a", b"1")
    assert 1.9 < time.monotonic() - began < 10
    assert len(server.asked) == 2
    with pytest.raises(StoreError, match="tried 2 times") as caught:
        store.get("d/a")
    assert not isinstance(caught.value, OutcomeUnknownError)


def test_access_that_is_denied_is_not_tried_again(server: Answering) -> None:
    store = opened(server)
    server.says(s3_error(403, "AccessDenied", "Access Denied"))
    with pytest.raises(AccessError):
        store.get("d/a")
    assert len(server.asked) == 1
