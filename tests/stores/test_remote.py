"""The contract of stores, on real servers: S3 on moto and SeaweedFS, GCS on a fake of its JSON API."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pytest

from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.testing.stores import StoreContract
from servers.sites import SOON, Site


class OnAServer(StoreContract):
    """Back doors past the store, for every server; every test has a prefix of its own."""

    races: ClassVar[int] = 5

    @pytest.fixture
    def site(self) -> Site:
        raise NotImplementedError

    @pytest.fixture
    def store(self, site: Site) -> Store:
        self.at, self.prefix = site, f"team/{uuid.uuid4().hex}"
        return site.store(self.prefix)

    def peek(self, store: Store, key: str) -> bytes | None:
        del store
        return self.at.doors.peek(f"{self.prefix}/{key}")

    def plant(self, store: Store, key: str, value: bytes) -> None:
        del store
        self.at.doors.plant(f"{self.prefix}/{key}", value)

    def names(self, store: Store) -> set[str]:
        del store
        beginning = f"{self.prefix}/"
        return {name[len(beginning) :] for name in self.at.doors.names() if name.startswith(beginning)}

    def recipe(self, store: Store) -> Callable[[], Store]:
        del store
        url = self.at.url(self.prefix)
        return partial(open_store, url, storage_options=self.at.server.options, retries=SOON)


class TestS3OnMoto(OnAServer):
    @pytest.fixture
    def site(self, moto_site: Site) -> Site:
        return moto_site


class TestS3OnSeaweedFS(OnAServer):
    @pytest.fixture
    def site(self, seaweedfs_site: Site) -> Site:
        return seaweedfs_site


class TestGcs(OnAServer):
    lacks: ClassVar[dict[str, str]] = {
        "unfinished": "Google Cloud Storage lists no resumable uploads; it drops them after a week",
    }

    @pytest.fixture
    def site(self, gcs_site: Site) -> Site:
        return gcs_site
