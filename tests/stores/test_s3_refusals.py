"""What S3 refuses, and what is said of it: rights, credentials, regions, clocks. Denied is never missing."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import boto3
import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import AccessError, MissingObjectError, OutcomeUnknownError, StoreError
from modelkeep.stores import open_store
from modelkeep.stores.bucket import Bucket, Place
from modelkeep.stores.port import Store
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from servers import running
from servers.answering import Answering, Said, s3_error
from servers.faults import Fault, FaultProxy, fault_proxy
from servers.fixtures import or_skipped
from servers.running import REGION, Server, s3_server
from servers.sites import SOON, Site

ONCE = Retries(attempts=2, first=0.01, longest=0.02, answer=5, connect=2)
ELSEWHERE = {"x-amz-bucket-region": "eu-west-1"}
ANSWERS = {
    "no bucket": (
        s3_error(404, "NoSuchBucket", "The specified bucket does not exist"),
        StoreError, "no such bucket; create it, or mend the URL",
    ),
    "another region": (
        s3_error(301, "PermanentRedirect", "Use the specified endpoint.", **ELSEWHERE),
        StoreError, "another region; give client_kwargs={'region_name'",
    ),
    "another region of the signature": (
        s3_error(400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'"),
        StoreError, "another region; give client_kwargs={'region_name'",
    ),
    "a clock that is off": (
        s3_error(403, "RequestTimeTooSkewed", "The difference is too large."),
        StoreError, "this machine's clock is off; set it",
    ),
    "an unknown key": (
        s3_error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        AccessError, "check the credentials and the endpoint",
    ),
    "a wrong secret": (
        s3_error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match."),
        AccessError, "check the credentials",
    ),
    "a session that expired": (
        s3_error(400, "ExpiredToken", "The provided token has expired."), AccessError, "log in again",
    ),
    "no right": (s3_error(403, "AccessDenied", "Access Denied"), AccessError, "ask for the right to it"),
    "a head without a word": (Said(403), AccessError, "403"),
}  # fmt: skip


@pytest.fixture(scope="module")
def client(server: Answering) -> Bucket:
    options = s3_server("answering", 1).at(server.endpoint).options
    found = open_store("s3://bucket", storage_options=options, retries=ONCE)
    assert isinstance(found, RemoteStore)
    return found._opened()


@pytest.mark.parametrize("what", ANSWERS)
def test_a_refusal_says_what_to_do_and_nothing_was_done(server: Answering, client: Bucket, what: str) -> None:
    said, kind, remedy = ANSWERS[what]
    server.says(said)
    store = RemoteStore(Place.parse("s3://bucket/team"), lambda: client, ONCE)
    requests: list[Callable[[], object]] = [
        lambda: store.get("d/a"),
        lambda: store.get_many(["d/a"]),
        lambda: store.create("d/a", b"1"),
        lambda: store.put_pack("d/a", [b"1"]),
        lambda: store.put_pack("d/a", [bytes(9 << 20)]),
        lambda: store.delete(["d/a"]),
        lambda: list(store.list("")),
    ]
    for request in requests:
        with pytest.raises(kind) as caught:
            request()
        assert remedy in str(caught.value)
        assert not isinstance(caught.value, OutcomeUnknownError)
        assert isinstance(caught.value, AccessError) == (kind is AccessError)


@pytest.mark.parametrize("name", ["moto_server", "seaweedfs_server"])
def test_a_bucket_that_is_not_there_is_said_to_be_so(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    registry = mk.Registry("s3://never-made/models", storage_options=server.options, retries=ONCE)
    for work in (registry.models, lambda: registry.load("churn"), lambda: registry.save({"w": np.ones(2)}, "churn")):
        with pytest.raises(StoreError, match="no such bucket; create it"):
            work()


def test_a_wrong_secret_is_denied(seaweedfs_site: Site) -> None:
    options = {**seaweedfs_site.server.options, "secret": "quite-another-secret"}
    registry = mk.Registry(seaweedfs_site.url("models"), storage_options=options, retries=ONCE)
    for work in (registry.models, lambda: registry.load("churn"), lambda: registry.save({"w": np.ones(2)}, "churn")):
        with pytest.raises(AccessError, match="check the credentials") as caught:
            work()
        assert "quite-another-secret" not in str(caught.value)


def test_nobody_answers_at_an_endpoint_and_its_address_is_named(server: Answering) -> None:
    del server
    options = s3_server("nobody", running.free_ports(1)[0]).options
    store = open_store("s3://bucket/team", storage_options=options, retries=ONCE)
    for request in (lambda: store.get("d/a"), lambda: store.create("d/a", b"1")):
        with pytest.raises(StoreError, match="Could not connect to the endpoint") as caught:
            request()
        assert not isinstance(caught.value, OutcomeUnknownError)  # nothing was ever sent
        assert options["endpoint_url"] in str(caught.value)
        assert "tried 2 times" in str(caught.value)


ALONE = """
import sys
from modelkeep.errors import ModelkeepError
from modelkeep.stores import open_store
for options in ({}, {"profile": "nobody"}, {"key": "only-half-of-it"}):
    store = open_store("s3://bucket/team", storage_options={**options, "endpoint_url": sys.argv[1]})
    for request in (lambda: store.get("d/a"), lambda: store.create("d/a", b"1"), lambda: list(store.list(""))):
        try:
            request()
        except ModelkeepError as error:
            print(type(error).__name__, error)
"""


def test_without_credentials_or_with_half_of_them_nothing_is_sent(server: Answering, tmp_path: Path) -> None:
    server.says(Said(200))
    environment = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", ALONE, server.endpoint],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("StoreError s3://bucket/team") for line in lines)
    assert ["credentials" in line.lower() or "nobody" in line for line in lines] == [True] * 9
    assert server.asked == []


# -- rights ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Guarded:
    """A moto that asks for rights, a bucket on it with a registry, and a way to make users."""

    server: Server
    bucket: str
    admin: Server

    def user(self, *statements: Mapping[str, Any]) -> Server:
        name = f"user-{uuid.uuid4().hex[:8]}"
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]}
        with_key = made(self.admin, name, document)
        return attrs.evolve(self.server, options={**self.server.options, **with_key})

    def arn(self, *patterns: str) -> list[str]:
        return [f"arn:aws:s3:::{self.bucket}{pattern}" for pattern in patterns]

    def registry(self, user: Server, endpoint: str = "") -> mk.Registry:
        at = user.at(endpoint) if endpoint else user
        return mk.Registry(f"s3://{self.bucket}/models", storage_options=at.options, retries=SOON)


def made(admin: Server, name: str, document: Mapping[str, Any]) -> dict[str, str]:
    """A user with a policy, and the keys to be it."""
    iam = boto3.client(
        "iam",
        endpoint_url=admin.endpoint,
        region_name=REGION,
        aws_access_key_id=admin.options["key"],
        aws_secret_access_key=admin.options["secret"],
    )
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(document))
    made_key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"key": made_key["AccessKeyId"], "secret": made_key["SecretAccessKey"]}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A moto of its own: its rights are for all buckets on it."""
    with or_skipped(running.moto, "s3fs") as server:
        server.bucket("guarded")
        everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}], "Version": "2012-10-17"}
        admin = attrs.evolve(server, options={**server.options, **made(server, "admin", everything)})
        ask = urllib.request.Request(
            f"{server.endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(ask, timeout=10).close()
        found = Guarded(server, "guarded", admin)
        registry = found.registry(admin)
        registry.save({"w": np.arange(3)}, "churn").promote("production")
        yield found


def test_without_any_right_everything_is_denied_and_nothing_missing(guarded: Guarded) -> None:
    nobody = guarded.user({"Action": "s3:ListAllMyBuckets", "Resource": "*"})
    registry = guarded.registry(nobody)
    store = open_store(registry.url, storage_options=nobody.options, retries=ONCE)
    works = (
        registry.models,
        lambda: registry.load("churn"),
        lambda: registry.load("churn@production"),
        lambda: registry.save({"w": np.ones(2)}, "churn"),
        lambda: store.get("modelkeep.json"),
        lambda: store.get_many(["d/missing"]),
        lambda: store.delete(["d/missing"]),
    )
    for work in works:
        with pytest.raises(AccessError, match="ask for the right to it"):
            work()


def test_a_contributor_saves_and_does_not_promote(guarded: Guarded) -> None:
    writes = guarded.arn("/models/modelkeep.json", "/models/catalog/*", "/models/models/*/versions/*",
                         "/models/models/*/data/*")  # fmt: skip
    contributor = guarded.user(
        {"Action": "s3:ListBucket", "Resource": guarded.arn("")},
        {"Action": "s3:GetObject", "Resource": guarded.arn("/*")},
        {"Action": "s3:PutObject", "Resource": writes},
    )
    registry = guarded.registry(contributor)
    before = registry.get("churn").number
    v = registry.save({"w": np.arange(5)}, "churn")
    assert v.number == before + 1
    with pytest.raises(AccessError, match="releases"):
        v.promote("production")
    with pytest.raises(AccessError, match="notes"):
        v.tag(team="growth")
    fresh = guarded.registry(guarded.admin)
    assert fresh.get("churn@production").number == 1
    assert len(fresh.load("churn")["w"]) == 5


def test_a_reader_reads_and_saves_nothing(guarded: Guarded) -> None:
    reader = guarded.user(
        {"Action": "s3:ListBucket", "Resource": guarded.arn("")},
        {"Action": "s3:GetObject", "Resource": guarded.arn("/*")},
    )
    registry = guarded.registry(reader)
    assert registry.load("churn@production")["w"].tolist() == [0, 1, 2]
    with pytest.raises(AccessError, match="ask for the right to it"):
        registry.save({"w": np.arange(5)}, "churn")


@pytest.fixture
def hiding(moto_site: Site) -> Iterator[FaultProxy]:
    """S3 as it answers those who may not list: what is missing is forbidden."""
    with fault_proxy(moto_site.server.endpoint) as proxy:
        yield proxy


def test_what_is_forbidden_in_place_of_missing_is_denied(moto_site: Site, hiding: FaultProxy) -> None:
    prefix = uuid.uuid4().hex
    options = moto_site.server.at(hiding.endpoint).options
    store: Store = open_store(moto_site.url(prefix), storage_options=options, retries=ONCE)
    store.create("d/a", b"1")
    with pytest.raises(MissingObjectError):
        store.get("d/b")
    hiding.arm(Fault.FORBIDDEN_FOR_MISSING, share=1.0)
    works = (
        lambda: store.get("d/b"),
        lambda: store.get("d/b", (0, 5)),
        lambda: store.get_into("d/b", 0, memoryview(bytearray(3))),
        lambda: store.get_many(["d/a", "d/b"]),
    )
    for work in works:
        with pytest.raises(AccessError, match="d/b"):
            work()
    assert store.get_many(["d/a"]) == {"d/a": b"1"}


def test_a_journal_whose_end_is_forbidden_is_denied_and_never_short(moto_site: Site, hiding: FaultProxy) -> None:
    url = moto_site.url(uuid.uuid4().hex)
    options = moto_site.server.at(hiding.endpoint).options
    registry = mk.Registry(url, storage_options=options, retries=ONCE)
    hiding.arm(Fault.FORBIDDEN_FOR_MISSING, share=1.0)
    with pytest.raises(AccessError):  # an empty place is no empty registry
        registry.save({"w": np.arange(3)}, "churn")
    hiding.disarm()
    registry.save({"w": np.arange(3)}, "churn").promote("production")
    hiding.arm(Fault.FORBIDDEN_FOR_MISSING, share=1.0)
    other = mk.Registry(url, storage_options=options, retries=ONCE)
    for work in (
        lambda: other.load("churn"),
        lambda: other.load("churn@production"),
        lambda: other.load("unknown"),
        lambda: other.model("churn").versions(),
        lambda: other.save({"w": np.arange(4)}, "churn"),
    ):
        with pytest.raises(AccessError):
            work()
