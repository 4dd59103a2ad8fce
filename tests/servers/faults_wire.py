"""HTTP/1.1 as it goes over the wire: requests and replies read whole, and sent on as they came."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Self

import attrs

HEAD_LIMIT = 1 << 20  # bytes of a request's or reply's head
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GCS_PATHS = ("/storage/", "/upload/storage/", "/download/storage/", "/batch")
SUBRESOURCES = {"uploads", "uploadId", "acl", "tagging", "attributes", "retention", "legal-hold", "torrent"}


@attrs.frozen
class Message:
    """A request or a reply: its first line, its headers in their order, and its body as it was framed."""

    first: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for own, value in self.headers if own.lower() == name), None)

    def without(self, *names: str) -> Self:
        return attrs.evolve(self, headers=tuple(pair for pair in self.headers if pair[0].lower() not in names))

    def replacing(self, name: str, value: str) -> Self:
        kept = self.without(name.lower())
        return attrs.evolve(kept, headers=(*kept.headers, (name, value)))

    def head(self) -> bytes:
        rows = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{self.first}\r\n{rows}\r\n".encode("latin-1")

    def wire(self) -> bytes:
        return self.head() + self.body


@attrs.frozen
class Request(Message):
    """What a client asked; the proxy never decodes its body."""

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    @property
    def target(self) -> str:
        return self.first.split(" ")[1]

    @property
    def is_gcs(self) -> bool:
        return self.target.startswith(GCS_PATHS)

    @property
    def reads_object(self) -> bool:
        """Whether it asks for the bytes of an object, not for a listing or for facts."""
        path, _, query = self.target.partition("?")
        names = {part.partition("=")[0] for part in query.split("&")}
        if self.method != "GET":
            return False
        if self.is_gcs:
            return path.startswith("/download/") or "alt=media" in query.split("&")
        return path.strip("/").count("/") > 0 and not names & SUBRESOURCES

    @property
    def stays(self) -> bool:
        """Whether the client keeps its connection."""
        said = (self.header("connection") or "").lower()
        return said == "keep-alive" if self.first.endswith("1.0") else said != "close"


@attrs.frozen
class Reply(Message):
    """What the server answered; its body is whole and without chunks."""

    bodiless: ClassVar[set[int]] = {204, 304}

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])


async def read_head(reader: asyncio.StreamReader) -> tuple[str, tuple[tuple[str, str], ...]]:
    first, *rows = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lstrip("\r\n").split("\r\n")[:-2]
    pairs = (row.partition(":") for row in rows)
    return first, tuple((name, value.strip()) for name, _, value in pairs)


async def read_chunked(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A chunked body: as it came, and what is in it."""
    raw, data = bytearray(), bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        raw += line
        if size == 0:
            break
        chunk = await reader.readexactly(size + 2)
        raw += chunk
        data += chunk[:-2]
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
        raw += line
    return bytes(raw + line), bytes(data)


def is_chunked(message: Message) -> bool:
    return "chunked" in (message.header("transfer-encoding") or "").lower()


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request, whole; None when the client has gone. One that waits to be told to go on is told."""
    try:
        request = Request(*await read_head(reader))
    except asyncio.IncompleteReadError:
        return None
    if (request.header("expect") or "").lower() == "100-continue":
        writer.write(CONTINUE)
        request = request.without("expect")
    if is_chunked(request):
        return attrs.evolve(request, body=(await read_chunked(reader))[0])
    return attrs.evolve(request, body=await reader.readexactly(int(request.header("content-length") or 0)))


async def read_reply(reader: asyncio.StreamReader, method: str) -> Reply:
    """The answer to a request, whole, with a plain Content-Length whatever the framing was."""
    reply = Reply(*await read_head(reader))
    while reply.status < 200:
        reply = Reply(*await read_head(reader))
    reply = attrs.evolve(reply, first=reply.first.replace("HTTP/1.0", "HTTP/1.1"))
    if method == "HEAD" or reply.status in Reply.bodiless:
        return reply.without("connection", "keep-alive", "transfer-encoding")
    if is_chunked(reply):
        body = (await read_chunked(reader))[1]
    elif (length := reply.header("content-length")) is not None:
        body = await reader.readexactly(int(length))
    else:
        body = await reader.read()
    return with_body(reply.without("connection", "keep-alive", "transfer-encoding"), body)


def with_body(reply: Reply, body: bytes) -> Reply:
    return attrs.evolve(reply.replacing("Content-Length", str(len(body))), body=body)
