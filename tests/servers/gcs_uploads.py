"""The three ways to write an object of the fake: media, multipart, and resumable sessions."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import attrs

from servers.gcs_objects import Blob, Bucket, Conditions, Reply, ServiceError, in_json, invalid

GRAIN = 256 * 1024  # bytes; what is not the last chunk is kept in multiples of this
RESUME = HTTPStatus.PERMANENT_REDIRECT  # 308, "Resume Incomplete" here
CANCELLED = 499
RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


def read_json(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text or b"{}")
    except ValueError:
        raise ServiceError(HTTPStatus.BAD_REQUEST, "parseError", "Parse Error") from None
    if not isinstance(value, dict):
        raise ServiceError(HTTPStatus.BAD_REQUEST, "parseError", "Parse Error")
    return value


# -- multipart ---------------------------------------------------------------------------------------------------------


def boundary_of(content_type: str) -> bytes:
    found = re.search(r'boundary=(?:"([^"]+)"|([^\s;]+))', content_type)
    if found is None:
        raise invalid("Missing boundary in the Content-Type of a multipart body.")
    return (found[1] or found[2]).encode()


def parts_of(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    """The headers and the bytes of each part.

    Lines end as the first delimiter's does: with CRLF as in the standard, or with the bare newline that gcsfs sends.
    Bytes that end in a carriage return survive both.
    """
    mark = b"--" + boundary_of(content_type)
    start = re.compile(rb"(?:\A|\n)" + re.escape(mark) + rb"[ \t]*(\r?\n)").search(body)
    if start is None:
        raise invalid("Missing first delimiter in a multipart body.")
    line = start[1]
    cut = re.compile(re.escape(line + mark) + rb"(--|[ \t]*" + line + rb")")
    parts, at = [], start.end()
    for end in cut.finditer(body, start.end() - len(line)):
        parts.append(part_of(body[at : max(at, end.start())], line))
        at = end.end()
        if end[1] == b"--":
            return parts
    raise invalid("Missing end delimiter in a multipart body.")


def part_of(text: bytes, line: bytes) -> tuple[dict[str, str], bytes]:
    if text.startswith(line):
        return {}, text[len(line) :]
    head, gap, data = text.partition(line + line)
    if not gap:
        raise invalid("A part of a multipart body lacks the empty line after its headers.")
    fields = (row.partition(b":") for row in head.split(line))
    return {name.decode().strip().lower(): value.decode().strip() for name, _, value in fields}, data


def from_multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The metadata and the bytes of a ``multipart/related`` body."""
    parts = parts_of(content_type, body)
    if len(parts) != 2:
        raise ServiceError(HTTPStatus.BAD_REQUEST, "badContent", f"A multipart body has two parts, not {len(parts)}.")
    (_, text), (headers, data) = parts
    chosen = read_json(text)
    chosen.setdefault("contentType", headers.get("content-type"))
    return chosen, data


# -- resumable ---------------------------------------------------------------------------------------------------------


@attrs.define
class Session:
    """One resumable upload: what came in so far, and what it will become."""

    bucket: Bucket
    name: str
    chosen: Mapping[str, Any]
    conditions: Conditions
    data: bytearray = attrs.field(factory=bytearray)
    blob: Blob | None = None

    def take(self, content_range: str | None, body: bytes) -> Reply:
        """A chunk, the question how far the upload is, or the end of it."""
        if self.blob is not None:
            return in_json(self.blob.resource())
        start, total = read_range(content_range, body)
        if start is not None:
            self._append(start, body, last=total == start + len(body))
        if total is None or total > len(self.data):
            return self._so_far()
        if total < len(self.data):
            raise invalid(f"The upload holds {len(self.data)} bytes already, more than its {total}.")
        self.blob = self.bucket.write(self.name, bytes(self.data), self.chosen, self.conditions)
        self.data.clear()
        return in_json(self.blob.resource())

    def _append(self, start: int, body: bytes, *, last: bool) -> None:
        have = len(self.data)
        if start > have:
            message = f"According to the Content-Range header, the upload offset is {start} byte(s), "
            message += f"which exceeds already uploaded size of {have} byte(s)."
            raise ServiceError(HTTPStatus.SERVICE_UNAVAILABLE, "backendError", message)
        end = start + len(body)
        if not last:
            end -= end % GRAIN
        self.data += body[have - start : max(have, end) - start]

    def _so_far(self) -> Reply:
        return Reply(RESUME, headers={"Range": f"bytes=0-{len(self.data) - 1}"} if self.data else {})


def read_range(content_range: str | None, body: bytes) -> tuple[int | None, int | None]:
    """Where the body begins (None: it carries nothing) and how long the whole is (None: not known yet)."""
    if content_range is None:
        return 0, len(body)
    found = RANGE.fullmatch(content_range.strip())
    if found is None:
        raise invalid(f"Failed to parse Content-Range header: {content_range!r}")
    total = None if found[3] == "*" else int(found[3])
    if found[1] is None:
        return None, total
    start, end = int(found[1]), int(found[2]) + 1
    if end - start != len(body) or (total is not None and end > total):
        raise invalid(f"Content-Range {content_range!r} does not fit a body of {len(body)} bytes.")
    return start, total


@attrs.frozen
class Sessions:
    """The resumable uploads that are under way, or done: a question about a finished one is answered too."""

    open: dict[str, Session] = attrs.field(factory=dict, init=False)

    def start(self, session: Session, address: str, query: Mapping[str, str]) -> Reply:
        """Conditions are looked at when the upload ends, not here, and travel in the Location, as Google's do."""
        upload_id = secrets.token_urlsafe(24)
        self.open[upload_id] = session
        kept = {**query, "uploadType": "resumable", "name": session.name, "upload_id": upload_id}
        headers = {"Location": f"{address}?{urlencode(kept)}", "X-GUploader-UploadID": upload_id}
        return Reply(HTTPStatus.OK, headers=headers)

    def find(self, upload_id: str) -> Session:
        if upload_id not in self.open:
            raise ServiceError(HTTPStatus.NOT_FOUND, "notFound", "No such upload session.")
        return self.open[upload_id]

    def cancel(self, upload_id: str) -> Reply:
        self.find(upload_id)
        del self.open[upload_id]
        return Reply(CANCELLED)
