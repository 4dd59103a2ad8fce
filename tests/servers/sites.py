"""Buckets on real servers, each with one client for all tests: making a client takes a fifth of a second."""

from __future__ import annotations

import uuid

import attrs
import pytest

from modelkeep.stores import open_store
from modelkeep.stores.bucket import Bucket
from modelkeep.stores.port import Store
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from servers.doors import Doors, doors
from servers.running import Server

SOON = Retries(attempts=4, first=0.05, longest=0.2, answer=20)


@attrs.frozen
class Site:
    """A bucket on a server; tests that share it take prefixes of their own."""

    server: Server
    bucket: str
    doors: Doors
    client: Bucket

    @classmethod
    def on(cls, server: Server) -> Site:
        bucket = f"b{uuid.uuid4().hex[:20]}"
        server.bucket(bucket)
        found = open_store(f"{server.protocol}://{bucket}", storage_options=server.options, retries=SOON)
        assert isinstance(found, RemoteStore)
        return cls(server, bucket, doors(server, bucket), found._opened())

    def url(self, prefix: str) -> str:
        return f"{self.server.protocol}://{self.bucket}/{prefix}"

    def store(self, prefix: str) -> Store:
        found = open_store(self.url(prefix), storage_options=self.server.options, retries=SOON)
        assert isinstance(found, RemoteStore)
        found._connect = lambda: self.client
        return found


@pytest.fixture(scope="session")
def moto_site(moto_server: Server) -> Site:
    return Site.on(moto_server)


@pytest.fixture(scope="session")
def seaweedfs_site(seaweedfs_server: Server) -> Site:
    return Site.on(seaweedfs_server)


@pytest.fixture(scope="session")
def gcs_site(gcs_server: Server) -> Site:
    return Site.on(gcs_server)
