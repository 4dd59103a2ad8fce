"""How the fake hands out the bytes of an object: whole, or a range of them, with Google's headers."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus

from servers.gcs_objects import Blob, Reply, ServiceError

HEADER_OF = {  # what an object's writer chose comes back as these
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
    "contentType": "Content-Type",
}


def headers_of(blob: Blob) -> dict[str, str]:
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": blob.etag,
        "Last-Modified": format_datetime(datetime.fromisoformat(blob.updated), usegmt=True),
        "X-Goog-Generation": str(blob.generation),
        "X-Goog-Metageneration": str(blob.metageneration),
        "X-Goog-Hash": f"crc32c={blob.crc32c},md5={blob.md5}",
        "X-Goog-Storage-Class": "STANDARD",
        "X-Goog-Stored-Content-Length": str(len(blob.data)),
    }
    return headers | {header: blob.chosen[field] for field, header in HEADER_OF.items() if field in blob.chosen}


def asked_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Start and end of a ``Range`` header in *size* bytes; None where it asks for everything, or is no single range."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", (text or "").replace(" ", ""))
    if found is None or found[1] == found[2] == "" or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return None
    if not found[1]:
        return max(size - int(found[2]), 0), size
    return int(found[1]), min(int(found[2]) + 1, size) if found[2] else size


def download(blob: Blob, wanted: str | None) -> Reply:
    """The bytes of *blob*, or the part of them that the ``Range`` header *wanted* names."""
    size = len(blob.data)
    span = asked_range(wanted, size)
    if span is None:
        return Reply(HTTPStatus.OK, blob.data, headers_of(blob))
    start, end = span
    if start >= end:
        return out_of_range(wanted, size)
    there = headers_of(blob) | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}
    return Reply(HTTPStatus.PARTIAL_CONTENT, blob.data[start:end], there)


def out_of_range(wanted: str | None, size: int) -> Reply:
    message = f"Request range not satisfiable: {wanted}"
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    refusal = ServiceError(status, "requestedRangeNotSatisfiable", message, locationType="header", location="range")
    told = refusal.reply()
    return Reply(status, told.body, {**told.headers, "Content-Range": f"bytes */{size}"})
