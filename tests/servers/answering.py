"""A tiny HTTP server that answers as a test says, in the shapes of services that do not run here: AWS, Ceph, Google.

It counts what clients cost: requests, connections, and how many requests were open at once.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

KEPT = 1 << 16  # bytes of a request's body that are kept; the rest is read and dropped
CHUNK = 1 << 20
PATIENCE = 30  # seconds that a request without an answer is held at most


@attrs.frozen
class Asked:
    """A request as it came; header names are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str]
    size: int
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@attrs.frozen
class Said:
    """An answer; status 0 hangs up without one, and -1 says nothing until the client goes."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    after: float = 0.0
    """Seconds to wait first."""


Script = Callable[[Asked], Said]

HANG_UP = Said(0)
SILENCE = Said(-1)
STORED = Said(headers={"ETag": '"0123456789abcdef0123456789abcdef"'})  # what S3 says of a PUT


def in_turn(*answers: Said) -> Script:
    """One answer after another; the last one from then on."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def s3_error(status: int, code: str, message: str = "", more: str = "", **headers: str) -> Said:
    """A refusal as S3 says it; *more* goes into the XML."""
    told = f"<Message>{message}</Message>" if message else ""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>{told}{more}</Error>'
    return Said(status, text.encode(), {"Content-Type": "application/xml", **headers})


def gcs_error(status: int, reason: str, message: str) -> Said:
    """A refusal as Google says it."""
    first = {"message": message, "domain": "global", "reason": reason}
    return gcs_json({"error": {"code": status, "message": message, "errors": [first]}}, status)


def gcs_json(facts: Mapping[str, Any], status: int = 200, **headers: str) -> Said:
    kind = {"Content-Type": "application/json; charset=UTF-8"}
    return Said(status, json.dumps(facts).encode(), {**kind, **headers})


@attrs.define
class Answering:
    """The server: tell it what to say, then look at what it was asked."""

    endpoint: str = ""
    script: Script = attrs.field(default=in_turn(STORED))
    asked: list[Asked] = attrs.field(factory=list)
    connections: int = 0
    open_now: int = 0
    most_at_once: int = 0
    closing: threading.Event = attrs.field(factory=threading.Event)
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def says(self, *answers: Said | Script) -> None:
        """Answer so from now on, and begin to count anew."""
        first = answers[0]
        with self.lock:
            self.script = first if callable(first) else in_turn(*(said for said in answers if isinstance(said, Said)))
            self.asked = []
            self.connections = self.most_at_once = 0

    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    def answer(self, asked: Asked) -> Said:
        with self.lock:
            self.asked.append(asked)
            said = self.script(asked)
        if said.after:
            time.sleep(said.after)
        return said

    @contextlib.contextmanager
    def open_one(self) -> Iterator[None]:
        with self.lock:
            self.open_now += 1
            self.most_at_once = max(self.most_at_once, self.open_now)
        try:
            yield
        finally:
            with self.lock:
                self.open_now -= 1


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, told: Answering) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told = told

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.told.lock:
            self.told.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one piece
    server: Listener

    def log_message(self, *_: object) -> None:
        """Tests look at what was asked."""

    def handle_expect_100(self) -> bool:
        """Tell the client to go on, at once."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _answer(self) -> None:
        told = self.server.told
        with told.open_one():
            headers = {name.lower(): value for name, value in self.headers.items()}
            size = int(headers.get("content-length", 0))
            said = told.answer(Asked(self.command, self.path, headers, size, self._body(size)))
            if said.status > 0:
                self._send(said)
                return
            if said.status < 0:
                told.closing.wait(PATIENCE)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self, size: int) -> bytes:
        kept = b""
        while size > 0:
            chunk = self.rfile.read(min(size, CHUNK))
            if not chunk:
                break
            kept += chunk[: KEPT - len(kept)]
            size -= len(chunk)
        return kept

    def _send(self, said: Said) -> None:
        self.send_response(said.status)
        for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said.body)
        self.wfile.flush()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815  http.server looks for these names


@contextlib.contextmanager
def answering() -> Iterator[Answering]:
    """The server, for as long as the block lasts."""
    told = Answering()
    listener = Listener(told)
    told.endpoint = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=lambda: listener.serve_forever(0.05), name="answering", daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.closing.set()
        listener.shutdown()
        listener.server_close()
        thread.join()
