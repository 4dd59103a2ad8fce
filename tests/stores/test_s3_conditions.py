"""Create-if-absent on S3: the shapes of conflict, what is tried again, and stores where it does not hold."""

from __future__ import annotations

import subprocess
import sys
import uuid

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.bucket import Bucket, Place
from modelkeep.stores.port import MAX_VALUE, Store
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from servers.answering import HANG_UP, STORED, Answering, Asked, Said, s3_error
from servers.doors import S3Doors
from servers.faults import Fault, fault_proxy
from servers.running import s3_server
from servers.sites import SOON, Site

TRIES = 3
FAST = Retries(attempts=TRIES, first=0.01, longest=0.02, answer=5)

SAYS = "At least one of the pre-conditions you specified did not hold"
CONFLICTS = {
    "AWS": s3_error(412, "PreconditionFailed", SAYS, "<Condition>If-None-Match</Condition><HostId>x</HostId>"),
    "AWS without its condition": s3_error(412, "PreconditionFailed", SAYS),
    "SeaweedFS": s3_error(412, "PreconditionFailed", f"{SAYS}.", "<Resource>/b/k</Resource><RequestId>1</RequestId>"),
    "Ceph": s3_error(412, "PreconditionFailed", "", "<BucketName>b</BucketName><RequestId>tx0</RequestId>"),
    "a code of its own": s3_error(412, "ConditionNotMet"),
    "no body at all": Said(412),
}
NOT_NOW = {
    "409": s3_error(409, "ConditionalRequestConflict", "A conflicting operation occurred."),
    "409 of another kind": s3_error(409, "OperationAborted", "A conflicting conditional operation is in progress."),
    "429": s3_error(429, "TooManyRequests", "Slow down."),
    "503": s3_error(503, "SlowDown", "Please reduce your request rate."),
}
OPEN = {
    "500": s3_error(500, "InternalError", "We encountered an internal error. Please try again."),
    "502": Said(502, b"<html>Bad Gateway</html>"),
    "503 of another kind": s3_error(503, "ServiceUnavailable", "Service is unable to handle request."),
    "a lost reply": HANG_UP,
}


@pytest.fixture(scope="module")
def client(server: Answering) -> Bucket:
    options = s3_server("answering", 1).at(server.endpoint).options
    found = open_store("s3://bucket", storage_options=options, retries=FAST)
    assert isinstance(found, RemoteStore)
    return found._opened()


@pytest.fixture
def store(client: Bucket) -> Store:
    return RemoteStore(Place.parse("s3://bucket/team"), lambda: client, FAST)


def anew(site: Site, endpoint: str = "", *, single_writer: bool = False) -> tuple[mk.Registry, str]:
    """A registry under a prefix of its own, and the prefix."""
    prefix = uuid.uuid4().hex
    at = site.server.at(endpoint) if endpoint else site.server
    found = mk.Registry(site.url(prefix), storage_options=at.options, retries=SOON, single_writer=single_writer)
    return found, f"{prefix}/"


# -- what the servers say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", CONFLICTS)
def test_a_conflict_is_known_by_every_servers_shape_of_it(server: Answering, store: Store, shape: str) -> None:
    server.says(CONFLICTS[shape])
    with pytest.raises(ObjectExistsError) as caught:
        store.create("d/a", b"1")
    assert caught.value.key == "d/a"
    assert len(server.asked) == 1


@pytest.mark.parametrize("shape", NOT_NOW)
def test_what_was_certainly_not_done_is_asked_again(server: Answering, store: Store, shape: str) -> None:
    server.says(NOT_NOW[shape], NOT_NOW[shape], STORED)
    store.create("d/a", b"1")
    assert server.methods() == ["PUT"] * 3
    assert {asked.headers["if-none-match"] for asked in server.asked} == {"*"}


@pytest.mark.parametrize("shape", NOT_NOW)
def test_after_all_tries_what_was_not_done_is_said_to_be_so(server: Answering, store: Store, shape: str) -> None:
    server.says(NOT_NOW[shape])
    with pytest.raises(StoreError, match=f"tried {TRIES} times") as caught:
        store.create("d/a", b"1")
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert caught.value.tries == len(server.asked) == TRIES


@pytest.mark.parametrize("shape", OPEN)
def test_after_all_tries_what_may_have_been_done_is_said_to_be_open(
    server: Answering, store: Store, shape: str
) -> None:
    server.says(OPEN[shape])
    with pytest.raises(OutcomeUnknownError, match=f"tried {TRIES} times") as caught:
        store.create("d/a", b"1")
    assert (caught.value.key, caught.value.tries) == ("d/a", TRIES)


@pytest.mark.parametrize("later", [NOT_NOW["503"], s3_error(403, "AccessDenied", "Access Denied")], ids=["503", "403"])
def test_one_open_try_makes_the_outcome_open_whatever_comes_after(server: Answering, store: Store, later: Said) -> None:
    server.says(OPEN["500"], later)
    with pytest.raises(OutcomeUnknownError):
        store.create("d/a", b"1")


@pytest.mark.parametrize("shape", OPEN)
def test_a_read_that_was_not_answered_is_never_open(server: Answering, store: Store, shape: str) -> None:
    server.says(OPEN[shape])
    with pytest.raises(StoreError, match=f"tried {TRIES} times") as caught:
        store.get("d/a")
    assert not isinstance(caught.value, OutcomeUnknownError)


def test_pauses_are_drawn_by_lot_and_grow_no_longer_than_said(server: Answering, client: Bucket) -> None:
    server.says(NOT_NOW["503"])
    store = RemoteStore(
        Place.parse("s3://bucket"), lambda: client, Retries(attempts=4, first=0.1, longest=0.1, answer=5)
    )
    took = []
    for _ in range(3):
        with pytest.raises(StoreError) as caught:
            store.create("d/a", b"1")
        took.append(caught.value.seconds)
    assert len({round(seconds, 3) for seconds in took}) > 1
    assert max(took) < 3


# -- what goes over the wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5 << 20, MAX_VALUE], ids=["empty", "1 byte", "5 MiB", "8 MiB"])
def test_a_create_is_one_single_put_of_any_size(server: Answering, store: Store, size: int) -> None:
    server.says(STORED)
    store.create("d/a", bytes(size))
    [asked] = server.asked
    assert (asked.method, asked.target, asked.size) == ("PUT", "/bucket/team/d/a", size)
    assert asked.headers["if-none-match"] == "*"
    assert asked.headers["cache-control"] == "no-store"


def test_entries_tiles_and_the_marker_are_never_cached_on_the_way(moto_site: Site) -> None:
    registry, prefix = anew(moto_site)
    v = registry.save({"w": np.arange(3)}, "churn")
    for number in range(101):
        v.tag(round=str(number))
    names = {name for name in moto_site.doors.names() if name.startswith(prefix)}
    assert any("/t1/" in name for name in names)
    assert isinstance(moto_site.doors, S3Doors)
    cached = {name for name in names if moto_site.doors.header(name) != "no-store"}
    assert {name for name in cached if "/texts/" not in name and not name.endswith(".pack")} == set()


@pytest.mark.parametrize("name", ["moto_site", "seaweedfs_site"])
def test_an_empty_value_is_created_and_conflicts(name: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(name)
    prefix = uuid.uuid4().hex
    store = site.store(prefix)
    store.create("d/empty", b"")
    for value in (b"", b"1"):
        with pytest.raises(ObjectExistsError):
            store.create("d/empty", value)
    assert site.doors.peek(f"{prefix}/d/empty") == b""


# -- lost replies over a real server -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["moto_site", "seaweedfs_site"])
def test_a_create_that_repeats_its_own_success_never_makes_a_second_object(
    name: str, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(name)
    prefix = uuid.uuid4().hex
    with fault_proxy(site.server.endpoint) as proxy:
        options = site.server.at(proxy.endpoint).options
        store = open_store(site.url(prefix), storage_options=options, retries=SOON)
        proxy.arm(Fault.REPLY_DROPPED, share=1.0, methods={"PUT"}, times=1)
        with pytest.raises(ObjectExistsError):
            store.create("d/a", b"mine")
        assert proxy.hits == 1
    assert site.doors.peek(f"{prefix}/d/a") == b"mine"
    assert [facts.key for facts in site.store(prefix).list("")] == ["d/a"]


@pytest.mark.parametrize("seed", range(4))
def test_a_save_whose_reply_is_lost_succeeds_exactly_once(moto_site: Site, seed: int) -> None:
    with fault_proxy(moto_site.server.endpoint) as proxy:
        registry, _ = anew(moto_site, proxy.endpoint)
        proxy.arm(Fault.REPLY_DROPPED, share=0.4, seed=seed, methods={"PUT"}, times=2)
        first = registry.save({"w": np.arange(3)}, "churn")
        second = registry.save({"w": np.arange(4)}, "churn")
        assert proxy.hits > 0
        proxy.disarm()
        assert (first.number, second.number) == (1, 2)
        other = mk.Registry(registry.url, storage_options=moto_site.server.options)
        assert sorted(v.number for v in other.model("churn").versions()) == [1, 2]
        assert other.load("churn")["w"].tolist() == [0, 1, 2, 3]


# -- where the condition does not hold ---------------------------------------------------------------------------------


def test_a_condition_that_is_lost_on_the_way_is_seen_before_anything_is_saved(moto_site: Site) -> None:
    with fault_proxy(moto_site.server.endpoint) as proxy:
        registry, prefix = anew(moto_site, proxy.endpoint)
        proxy.arm(Fault.DROP_CONDITION, share=1.0)
        with pytest.raises(StoreError, match="two writers could both win") as caught:
            registry.save({"w": np.arange(3)}, "churn")
        text = str(caught.value)
        assert registry.url in text
        assert "Use a store with create-if-absent" in text
        assert "single_writer=True" in text
        with pytest.raises(StoreError, match="two writers could both win"):  # also when asked again
            registry.save({"w": np.arange(3)}, "churn")
    assert not [name for name in moto_site.doors.names() if name.startswith(prefix)]


def test_a_condition_that_is_lost_on_the_way_is_no_matter_to_a_single_writer(moto_site: Site) -> None:
    with fault_proxy(moto_site.server.endpoint) as proxy:
        registry, _ = anew(moto_site, proxy.endpoint, single_writer=True)
        proxy.arm(Fault.DROP_CONDITION, share=1.0)
        for size in (3, 4):
            registry.save({"w": np.arange(size)}, "churn")
        assert len(registry.load("churn")["w"]) == 4


OLD = """
import sys
from botocore.loaders import Loader

loads = Loader.load_service_model
def without_condition(self, service_name, type_name, api_version=None):
    found = loads(self, service_name, type_name, api_version)
    if (service_name, type_name) == ("s3", "service-2"):
        del found["shapes"]["PutObjectRequest"]["members"]["IfNoneMatch"]
    return found
Loader.load_service_model = without_condition

from modelkeep.errors import OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
options = {"key": "test", "secret": "testtest", "endpoint_url": sys.argv[1]}
store = open_store("s3://bucket/team", storage_options=options)
try:
    store.create("d/a", b"1")
except OutcomeUnknownError:
    raise
except StoreError as error:
    print(error)
print(store.get("d/a"))
"""


def test_a_client_too_old_for_conditions_is_refused_before_anything_is_sent(server: Answering) -> None:
    def script(asked: Asked) -> Said:
        whole = Said(206, b"1", {"Content-Range": "bytes 0-0/1"})
        return whole if asked.method == "GET" else STORED

    server.says(script)
    run = subprocess.run(
        [sys.executable, "-c", OLD, server.endpoint], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "botocore is too old" in run.stdout
    assert "upgrade s3fs" in run.stdout
    assert run.stdout.splitlines()[-1] == "b'1'"  # reading needs no condition
    assert server.methods() == ["GET"]
