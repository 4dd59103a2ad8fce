"""A bucket that keeps versions gives back what was deleted or overwritten, as docs/how-to/recover.md says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest

import modelkeep as mk
from servers.running import Server, s3_client


@attrs.frozen
class Kept:
    """A bucket that keeps versions of its objects, a registry in it, and a client of the bucket."""

    name: str
    registry: mk.Registry
    client: Any

    def keys(self, part: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name)["Contents"]
        return [item["Key"] for item in found if part in item["Key"]]

    def faults(self) -> list[str]:
        return [finding.key for finding in self.registry.storage.verify().findings]

    def versions(self, key: str, kind: str) -> list[dict[str, Any]]:
        """Of an object, the newest first, as the bucket lists them."""
        found: list[dict[str, Any]] = self.client.list_object_versions(Bucket=self.name, Prefix=key).get(kind, [])
        return found


@pytest.fixture
def kept(moto_server: Server) -> Iterator[Kept]:
    name = f"kept-{uuid.uuid4().hex[:12]}"
    with s3_client(moto_server.endpoint) as client:
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        registry = mk.Registry(f"s3://{name}/registry", storage_options=moto_server.options, cache=False)
        for n in range(2):
            registry.save({"w": np.full(3, n)}, "churn").promote("production")
        yield Kept(name, registry, client)


@pytest.mark.parametrize("part", ["/data/", "/versions/", "/releases/", "modelkeep.json"])
def test_a_deleted_object_comes_back_when_its_marker_is_taken_away(kept: Kept, part: str) -> None:
    key = kept.keys(part)[0]
    kept.client.delete_object(Bucket=kept.name, Key=key)
    assert key.removeprefix("registry/") in kept.faults()
    (marker,) = kept.versions(key, "DeleteMarkers")
    kept.client.delete_object(Bucket=kept.name, Key=key, VersionId=marker["VersionId"])
    assert kept.faults() == []
    assert kept.registry.load("churn@production")["w"][0] == 1


@pytest.mark.parametrize("part", ["/data/", "/versions/", "/releases/", "modelkeep.json"])
def test_an_overwritten_object_comes_back_as_its_oldest_version(kept: Kept, part: str) -> None:
    key = kept.keys(part)[0]
    kept.client.put_object(Bucket=kept.name, Key=key, Body=b"something else")
    assert key.removeprefix("registry/") in kept.faults()
    _, oldest = kept.versions(key, "Versions")
    source = {"Bucket": kept.name, "Key": key, "VersionId": oldest["VersionId"]}
    kept.client.copy_object(Bucket=kept.name, Key=key, CopySource=source)
    assert kept.faults() == []
    assert kept.registry.load("churn@production")["w"][0] == 1
