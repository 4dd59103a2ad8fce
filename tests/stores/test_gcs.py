"""Create-if-absent, refusals and options on GCS: what Google's servers say and fakes do not."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import AccessError, MissingObjectError, ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.bucket import Bucket, Place
from modelkeep.stores.port import MAX_VALUE, Store
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from servers import running
from servers.answering import HANG_UP, SILENCE, Answering, Said, gcs_error, gcs_json
from servers.doors import GcsDoors
from servers.faults import Fault, fault_proxy
from servers.fixtures import or_skipped
from servers.running import Server
from servers.sites import SOON, Site

TRIES = 3
FAST = Retries(attempts=TRIES, first=0.01, longest=0.02, answer=5, connect=2)
STORED = gcs_json({"name": "team/d/a", "generation": "1"})
NOT_NOW = {
    "429": gcs_error(429, "rateLimitExceeded", "The object exceeded the rate limit for object mutation operations."),
    "409": gcs_error(409, "conflict", "A conflicting operation is in progress."),
}
OPEN = {
    "503": gcs_error(503, "backendError", "We encountered an internal error. Please try again."),
    "500": Said(500, b"<html>Internal Server Error</html>"),
    "408": gcs_error(408, "uploadBrokenConnection", "The request timed out."),
    "a lost reply": HANG_UP,
    "a page of a proxy": Said(200, b"<html>Please log in</html>", {"Content-Type": "text/html"}),
}


def options_at(endpoint: str, **more: Any) -> dict[str, Any]:
    return {**running.gcs_server("gcs", 1).at(endpoint).options, **more}


@pytest.fixture(scope="module")
def client(server: Answering) -> Bucket:
    found = open_store("gs://bucket", storage_options=options_at(server.endpoint), retries=FAST)
    assert isinstance(found, RemoteStore)
    return found._opened()


@pytest.fixture
def store(client: Bucket) -> Store:
    return RemoteStore(Place.parse("gs://bucket/team"), lambda: client, FAST)


# -- create-if-absent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [gcs_error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."), Said(412)],
    ids=["Google", "no body at all"],
)
def test_a_conflict_is_known_by_its_status(server: Answering, store: Store, said: Said) -> None:
    server.says(said)
    with pytest.raises(ObjectExistsError) as caught:
        store.create("d/a", b"1")
    assert caught.value.key == "d/a"
    assert len(server.asked) == 1


@pytest.mark.parametrize("shape", [*NOT_NOW, *OPEN])
def test_what_may_work_when_asked_again_is_asked_again(server: Answering, store: Store, shape: str) -> None:
    said = {**NOT_NOW, **OPEN}[shape]
    server.says(said, said, STORED)
    store.create("d/a", b"1")
    assert server.methods() == ["POST"] * 3
    assert all("ifGenerationMatch=0" in asked.target for asked in server.asked)


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
    with pytest.raises(OutcomeUnknownError, match=f"tried {TRIES} times"):
        store.create("d/a", b"1")
    assert len(server.asked) == TRIES


def test_one_lost_reply_makes_the_outcome_open_whatever_comes_after(server: Answering, store: Store) -> None:
    server.says(HANG_UP, NOT_NOW["429"])
    with pytest.raises(OutcomeUnknownError):
        store.create("d/a", b"1")
    assert len(server.asked) == TRIES


@pytest.mark.parametrize("size", [0, 1, MAX_VALUE], ids=["empty", "1 byte", "8 MiB"])
def test_a_create_is_one_request_of_any_size(server: Answering, store: Store, size: int) -> None:
    server.says(STORED)
    store.create("d/a", bytes(size))
    [asked] = server.asked
    assert "uploadType=multipart" in asked.target
    assert b'"cacheControl": "no-store"' in asked.body


def test_an_empty_value_is_created_and_conflicts_and_is_never_cached(gcs_site: Site) -> None:
    prefix = uuid.uuid4().hex
    store = gcs_site.store(prefix)
    store.create("d/empty", b"")
    for value in (b"", b"1"):
        with pytest.raises(ObjectExistsError):
            store.create("d/empty", value)
    assert isinstance(gcs_site.doors, GcsDoors)
    assert gcs_site.doors.header(f"{prefix}/d/empty") == "no-store"
    assert gcs_site.doors.peek(f"{prefix}/d/empty") == b""


@pytest.mark.parametrize("seed", range(3))
def test_a_save_whose_reply_is_lost_succeeds_exactly_once(gcs_site: Site, seed: int) -> None:
    with fault_proxy(gcs_site.server.endpoint) as proxy:
        options = gcs_site.server.at(proxy.endpoint).options
        registry = mk.Registry(gcs_site.url(uuid.uuid4().hex), storage_options=options, retries=SOON)
        proxy.arm(Fault.REPLY_DROPPED, share=0.5, seed=seed, methods={"POST"}, times=2)
        first = registry.save({"w": np.arange(3)}, "churn")
        second = registry.save({"w": np.arange(4)}, "churn")
        assert proxy.hits > 0
        assert (first.number, second.number) == (1, 2)
    other = mk.Registry(registry.url, storage_options=gcs_site.server.options)
    assert sorted(v.number for v in other.model("churn").versions()) == [1, 2]


def refused(registry: mk.Registry) -> str:
    with pytest.raises(StoreError, match="two writers could both win") as caught:
        registry.save({"w": np.arange(3)}, "churn")
    return str(caught.value)


def test_a_condition_that_is_lost_on_the_way_is_seen_before_anything_is_saved(gcs_site: Site) -> None:
    prefix = uuid.uuid4().hex
    with fault_proxy(gcs_site.server.endpoint) as proxy:
        proxy.arm(Fault.DROP_CONDITION, share=1.0)
        options = gcs_site.server.at(proxy.endpoint).options
        text = refused(mk.Registry(gcs_site.url(prefix), storage_options=options, retries=SOON))
    assert "Use a store with create-if-absent" in text
    assert "single_writer=True" in text
    assert [name for name in gcs_site.doors.names() if name.startswith(prefix)] == []


def test_an_emulator_that_ignores_conditions_is_for_a_single_writer(gcp_emulator_server: Server) -> None:
    gcp_emulator_server.bucket("emulated")
    registry = mk.Registry("gs://emulated/models", storage_options=gcp_emulator_server.options, retries=SOON)
    assert "single_writer=True" in refused(registry)
    assert list(open_store("gs://emulated", storage_options=gcp_emulator_server.options).list("")) == []


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_no_missing_object(gcs_server: Server) -> None:
    store = open_store("gs://never-made/team", storage_options=gcs_server.options, retries=FAST)
    for request in (
        lambda: store.get("d/a"),
        lambda: store.get_many(["d/a"]),
        lambda: store.create("d/a", b"1"),
        lambda: store.put_pack("d/a", [bytes(9 << 20)]),
        lambda: list(store.list("")),
    ):
        with pytest.raises(StoreError, match="create the bucket, or mend the URL"):
            request()


def test_an_object_that_is_not_there_is_missing(server: Answering, store: Store) -> None:
    for said in (Said(404, b"No such object: bucket/team/d/a"), Said(404)):
        server.says(said)
        with pytest.raises(MissingObjectError):
            store.get("d/a")
        assert store.get_many(["d/a"]) == {}
        store.delete(["d/a"])


@pytest.mark.parametrize(("status", "reason"), [(401, "authError"), (403, "forbidden")])
def test_denied_is_never_missing(server: Answering, store: Store, status: int, reason: str) -> None:
    server.says(gcs_error(status, reason, "joe does not have storage.objects.get access (or it may not exist)."))
    requests: list[Callable[[], object]] = [
        lambda: store.get("d/a"),
        lambda: store.get_many(["d/a"]),
        lambda: store.create("d/a", b"1"),
        lambda: store.put_pack("d/a", [bytes(9 << 20)]),
        lambda: store.delete(["d/a"]),
        lambda: list(store.list("")),
        lambda: mk.Registry(store).load("churn"),
    ]
    for request in requests:
        with pytest.raises(AccessError, match="ask for the right to it"):
            request()


def test_what_is_forbidden_in_place_of_missing_ends_no_journal(gcs_site: Site) -> None:
    with fault_proxy(gcs_site.server.endpoint) as proxy:
        options = gcs_site.server.at(proxy.endpoint).options
        registry = mk.Registry(gcs_site.url(uuid.uuid4().hex), storage_options=options, retries=FAST)
        registry.save({"w": np.arange(3)}, "churn")
        proxy.arm(Fault.FORBIDDEN_FOR_MISSING, share=1.0)
        other = mk.Registry(registry.url, storage_options=options, retries=FAST)
        for name in ("churn", "unknown"):
            with pytest.raises(AccessError):
                other.load(name)


def test_nobody_answers_and_nothing_was_sent() -> None:
    nobody = f"http://127.0.0.1:{running.free_ports(1)[0]}"
    store = open_store("gs://bucket/team", storage_options=options_at(nobody), retries=FAST)
    with pytest.raises(StoreError, match="Cannot connect to host") as caught:
        store.create("d/a", b"1")
    assert not isinstance(caught.value, OutcomeUnknownError)


def test_a_server_that_never_answers_is_given_as_long_as_said(server: Answering) -> None:
    server.says(SILENCE)
    brief = Retries(attempts=2, first=0.01, longest=0.01, answer=0.3)
    store = open_store("gs://bucket/team", storage_options=options_at(server.endpoint), retries=brief)
    with pytest.raises(OutcomeUnknownError, match=r"no answer came in time \(tried 2 times"):
        store.create("d/a", b"1")
    assert len(server.asked) == 2


# -- listings and options ----------------------------------------------------------------------------------------------


def test_a_listing_of_many_pages_is_whole_and_in_order() -> None:
    with or_skipped(lambda: running.gcs_fake(page_size=7), "gcsfs") as small:
        site = Site.on(small)
        keys = [f"d/a/b{number:02d}" for number in range(20)] + [f"d/a-b{number:02d}" for number in range(20)]
        for key in keys:
            site.doors.plant(f"team/{key}", b"1")
        site.doors.plant("team", b"not ours")
        site.doors.plant("teams/d/a", b"not ours")
        store = site.store("team")
        assert [facts.key for facts in store.list("")] == sorted(keys)
        assert [facts.key for facts in store.list("d/a/")] == sorted(keys)[20:]


def test_whoever_pays_is_told_with_every_request(server: Answering) -> None:
    chosen = options_at(server.endpoint, requester_pays="payer-project", project="payer-project")
    store = open_store("gs://bucket/team", storage_options=chosen, retries=FAST)
    server.says(STORED)
    store.create("d/a", b"1")
    store.put_pack("d/a", [b"1"])
    list(store.list(""))
    store.delete(["d/a"])
    store.get("d/a")
    assert len(server.asked) == 5
    assert all("userProject=payer-project" in asked.target for asked in server.asked)


def test_two_stores_share_neither_client_nor_cache(server: Answering) -> None:
    server.says(gcs_json({}))
    ours = {"asynchronous": True, "use_listings_cache": True, "skip_instance_cache": False}
    stores = [
        open_store("gs://bucket/team", storage_options=options_at(server.endpoint, **ours), retries=FAST)
        for _ in range(2)
    ]
    for store in (*stores, *stores):
        assert list(store.list("")) == []
    assert len(server.asked) == 4
    one, two = (store._opened() for store in stores if isinstance(store, RemoteStore))
    assert one._fs is not two._fs  # type: ignore[attr-defined]
