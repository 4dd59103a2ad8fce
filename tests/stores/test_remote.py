"""The contract of stores, on real servers: S3 on moto and SeaweedFS, GCS on a fake of its JSON API."""

from __future__ import annotations

import gc
import tracemalloc
import uuid
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import pytest

from modelkeep.errors import MissingObjectError, ObjectExistsError
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.remote import FIRST
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

    def test_what_is_refused_leaves_no_buffers_for_the_collector_of_garbage(self, store: Store) -> None:
        store.create("there", b"1")
        value = bytes(FIRST)
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(8):
                with pytest.raises(MissingObjectError):
                    store.get("nowhere")
                with pytest.raises(ObjectExistsError):
                    store.create("there", value + b"2")
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
        assert held < 3 * FIRST, "each call held that much, and sixteen calls were made"


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
