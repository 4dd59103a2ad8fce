"""Many requests in one ``multipart/mixed`` body, as gcsfs deletes many objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus

from servers.gcs_objects import Reply, invalid
from servers.gcs_uploads import parts_of

MOST = 100  # requests in one batch
BOUNDARY = "batch_of_replies"
Request = tuple[str, str, dict[str, str], bytes]


def requests_of(content_type: str, body: bytes) -> Iterator[tuple[str, Request]]:
    """The content id of each part, and the method, target, headers and body in it."""
    parts = parts_of(content_type, body)
    if len(parts) > MOST:
        raise invalid(f"The batch request holds {len(parts)} requests, more than {MOST}.")
    for headers, text in parts:
        yield headers.get("content-id", ""), request_in(text)


def request_in(text: bytes) -> Request:
    head, _, body = text.partition(b"\r\n\r\n" if b"\r\n\r\n" in text else b"\n\n")
    first, *rows = head.decode().splitlines()
    found = re.fullmatch(r"(\S+) (\S+)(?: HTTP/1\.1)?", first)
    if found is None:
        raise invalid(f"Not a request line: {first!r}")
    fields = (row.partition(":") for row in rows if row)
    return found[1], found[2], {name.strip().lower(): value.strip() for name, _, value in fields}, body.strip()


def in_parts(answers: list[tuple[str, Reply]]) -> Reply:
    lines = []
    for content_id, reply in answers:
        lines += [f"--{BOUNDARY}", "Content-Type: application/http"]
        lines += [f"Content-ID: <response-{content_id.strip('<>')}>", "", status_line(reply.status)]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += [f"Content-Length: {len(reply.body)}", "", reply.body.decode()]
    body = "\r\n".join([*lines, f"--{BOUNDARY}--", ""]).encode()
    return Reply(HTTPStatus.OK, body, {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"})


def status_line(status: int) -> str:
    return f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}"
