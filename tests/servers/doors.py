"""Back doors into a bucket that share no code with the stores under test: boto3 for S3, plain HTTP for GCS."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Protocol
from urllib.parse import quote

import attrs
import boto3
from botocore.exceptions import ClientError

from servers.running import Server


class Doors(Protocol):
    """Reads, writes and names objects of a bucket, past the store."""

    def peek(self, key: str) -> bytes | None: ...
    def plant(self, key: str, value: bytes) -> None: ...
    def names(self) -> set[str]: ...


def doors(server: Server, bucket: str) -> Doors:
    return GcsDoors(server.endpoint, bucket) if server.kind.startswith("gc") else S3Doors.of(server, bucket)


@attrs.frozen
class S3Doors:
    client: Any
    bucket: str

    @classmethod
    def of(cls, server: Server, bucket: str) -> S3Doors:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            aws_access_key_id=server.options["key"],
            aws_secret_access_key=server.options["secret"],
            region_name="us-east-1",
        )
        return cls(client, bucket)

    def peek(self, key: str) -> bytes | None:
        try:
            found: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None
        return found

    def plant(self, key: str, value: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=value)

    def names(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    def uploads(self) -> int:
        """How many multipart uploads are under way, or were left."""
        return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()))

    def header(self, key: str) -> str:
        """What caches on the way are told."""
        return str(self.client.head_object(Bucket=self.bucket, Key=key).get("CacheControl", ""))


@attrs.frozen
class GcsDoors:
    endpoint: str
    bucket: str

    def _ask(self, path: str, data: bytes | None = None) -> bytes | None:
        request = urllib.request.Request(
            f"{self.endpoint}{path}", data=data, method="POST" if data is not None else "GET"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: bytes = answer.read()
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None
        return found

    def peek(self, key: str) -> bytes | None:
        return self._ask(f"/download/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}?alt=media")

    def plant(self, key: str, value: bytes) -> None:
        self._ask(f"/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={quote(key, safe='')}", value)

    def names(self) -> set[str]:
        names: set[str] = set()
        token = ""
        while True:
            page = json.loads(self._ask(f"/storage/v1/b/{self.bucket}/o?pageToken={token}") or b"{}")
            names |= {item["name"] for item in page.get("items", ())}
            token = page.get("nextPageToken", "")
            if not token:
                return names

    def header(self, key: str) -> str:
        """What caches on the way are told."""
        facts = json.loads(self._ask(f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}") or b"{}")
        return str(facts.get("cacheControl", ""))
