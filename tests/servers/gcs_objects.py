"""What the fake of Google Cloud Storage keeps, and when it may change: blobs, buckets, generations, conditions."""

from __future__ import annotations

import base64
import bisect
import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any

import attrs
import google_crc32c

MUTABLE = (  # the fields of an object's metadata that its writer chooses
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "metadata",
    "storageClass",
)


@attrs.frozen
class Reply:
    """One answer of the service, before it becomes HTTP."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)


def in_json(value: object, status: int = HTTPStatus.OK) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})


class ServiceError(Exception):
    """A refusal, in the shape that Google gives it."""

    def __init__(self, status: int, reason: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.more = more

    def reply(self) -> Reply:
        first = {"message": self.message, "domain": "global", "reason": self.reason, **self.more}
        return in_json({"error": {"code": int(self.status), "message": self.message, "errors": [first]}}, self.status)


def no_object(bucket: str, name: str) -> ServiceError:
    return ServiceError(HTTPStatus.NOT_FOUND, "notFound", f"No such object: {bucket}/{name}")


def no_bucket() -> ServiceError:
    return ServiceError(HTTPStatus.NOT_FOUND, "notFound", "The specified bucket does not exist.")


def invalid(message: str) -> ServiceError:
    return ServiceError(HTTPStatus.BAD_REQUEST, "invalid", message)


def condition_failed() -> ServiceError:
    message = "At least one of the pre-conditions you specified did not hold."
    where = {"locationType": "header", "location": "If-Match"}
    return ServiceError(HTTPStatus.PRECONDITION_FAILED, "conditionNotMet", message, **where)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@attrs.frozen
class Blob:
    """One generation of one object."""

    bucket: str
    name: str
    data: bytes
    generation: int
    chosen: Mapping[str, Any]  # what the writer chose, of MUTABLE
    metageneration: int = 1
    created: str = attrs.field(factory=now)
    updated: str = attrs.field(factory=now)

    @cached_property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4, "big")).decode()

    @cached_property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.data, usedforsecurity=False).digest()).decode()

    @property
    def etag(self) -> str:
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()

    def resource(self) -> dict[str, Any]:
        facts = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "storageClass": "STANDARD",
            "size": str(len(self.data)),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": self.created,
            "updated": self.updated,
        }
        return facts | dict(self.chosen)


@attrs.frozen
class Conditions:
    """The ``if…Match`` parameters of a request; what is None asks for nothing."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str], of: str = "if") -> Conditions:
        """Those that start with *of*: ``if``, or ``ifSource`` for the object that a copy reads."""
        names = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        try:
            return cls(*(int(query[of + name]) if of + name in query else None for name in names))
        except ValueError:
            raise invalid("Invalid value for a generation: a number is needed.") from None

    def allow_change(self, blob: Blob | None) -> None:
        """Refuse with 412 unless they hold for *blob*, the live object (None: there is none, generation 0)."""
        generation, metageneration = (blob.generation, blob.metageneration) if blob else (0, 0)
        if (self.generation not in {None, generation}) or (self.metageneration not in {None, metageneration}):
            raise condition_failed()
        if self.not_generation == generation or self.not_metageneration == metageneration:
            raise condition_failed()

    def spare_reading(self, blob: Blob) -> bool:
        """Whether a reader has *blob* already (304); 412 if it asked for another one."""
        attrs.evolve(self, not_generation=None, not_metageneration=None).allow_change(blob)
        return self.not_generation == blob.generation or self.not_metageneration == blob.metageneration


@attrs.frozen
class Page:
    """One page of a listing."""

    blobs: list[Blob]
    prefixes: list[str]
    token: str | None


@attrs.frozen
class Span:
    """The part of a bucket that a listing asks for."""

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str | None = None
    after: str | None = None  # the last name or prefix of the page before

    def folder(self, name: str) -> str | None:
        """The prefix that *name* hides behind, if the listing rolls it up."""
        if not self.delimiter:
            return None
        at = name.find(self.delimiter, len(self.prefix))
        return name[: at + len(self.delimiter)] if at >= 0 else None

    def first(self) -> str:
        return max(self.prefix, self.start, self.after or "")

    def past(self, name: str) -> bool:
        return (self.end is not None and name >= self.end) or not name.startswith(self.prefix)


@attrs.frozen
class Bucket:
    """The live objects of one bucket, and their names in order (code points order as UTF-8 bytes do)."""

    name: str
    blobs: dict[str, Blob] = attrs.field(factory=dict, init=False)
    names: list[str] = attrs.field(factory=list, init=False)
    created: str = attrs.field(factory=now, init=False)
    last: list[int] = attrs.field(factory=lambda: [0], init=False)

    def resource(self) -> dict[str, Any]:
        facts = {"kind": "storage#bucket", "id": self.name, "name": self.name, "location": "US", "etag": "CAE="}
        return facts | {"storageClass": "STANDARD", "timeCreated": self.created, "metageneration": "1"}

    def find(self, name: str, generation: str | None = None) -> Blob:
        blob = self.blobs.get(name)
        if blob is None or (generation is not None and generation != str(blob.generation)):
            raise no_object(self.name, name)
        return blob

    def write(self, name: str, data: bytes, chosen: Mapping[str, Any], conditions: Conditions) -> Blob:
        """A new generation, in one step with the check of its *conditions*."""
        check_name(name)
        conditions.allow_change(self.blobs.get(name))
        self.last[0] = max(self.last[0] + 1, time.time_ns() // 1000)
        fields = {field: chosen[field] for field in MUTABLE if chosen.get(field) is not None}
        blob = Blob(self.name, name, bytes(data), self.last[0], fields)
        check_sums(blob, chosen)
        return self._keep(blob)

    def change(self, blob: Blob, chosen: Mapping[str, Any]) -> Blob:
        """A new metageneration of *blob*; None takes a field away."""
        fields = dict(blob.chosen) | {field: chosen[field] for field in MUTABLE if field in chosen}
        if isinstance(chosen.get("metadata"), dict):
            both = {**blob.chosen.get("metadata", {}), **chosen["metadata"]}
            fields["metadata"] = {key: value for key, value in both.items() if value is not None}
        kept = {field: value for field, value in fields.items() if value is not None}
        return self._keep(attrs.evolve(blob, chosen=kept, metageneration=blob.metageneration + 1, updated=now()))

    def _keep(self, blob: Blob) -> Blob:
        if blob.name not in self.blobs:
            bisect.insort(self.names, blob.name)
        self.blobs[blob.name] = blob
        return blob

    def remove(self, name: str) -> None:
        del self.blobs[name]
        del self.names[bisect.bisect_left(self.names, name)]

    def page(self, span: Span, at_most: int) -> Page:
        found = Page([], [], None)
        last, at = span.after, bisect.bisect_left(self.names, span.first())
        while at < len(self.names) and not span.past(self.names[at]):
            name = self.names[at]
            folder = span.folder(name)
            at += 1
            if (folder or name) == last:  # the last of the page before, or rolled up with it
                continue
            if len(found.blobs) + len(found.prefixes) == at_most:
                return attrs.evolve(found, token=last)
            last = folder or name
            if folder:
                found.prefixes.append(folder)
            else:
                found.blobs.append(self.blobs[name])
        return found


def check_name(name: str) -> None:
    if not name or name in {".", ".."} or "\r" in name or "\n" in name or len(name.encode()) > 1024:
        raise invalid(f"Invalid object name: {name!r}")


def check_sums(blob: Blob, said: Mapping[str, Any]) -> None:
    """Refuse bytes that are not those which their sender announced."""
    for field, found in (("md5Hash", blob.md5), ("crc32c", blob.crc32c)):
        if said.get(field) not in {None, found}:
            raise invalid(f"Provided {field} {said[field]!r} doesn't match calculated {field} {found!r}.")
