"""A proxy that breaks the connection between a client and a real server in the ways that networks and clouds do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs

from servers.faults_replies import has_condition, refusal, without_condition
from servers.faults_wire import HEAD_LIMIT, Reply, Request, read_reply, read_request, with_body

DRIP = 1.0  # seconds for each byte of a reply that trickles
AT_ONCE = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset
PATIENCE = 60  # seconds for the proxy's own thread to do what it is told

T = TypeVar("T")


class Fault(StrEnum):
    """The ways to break."""

    RESET_AFTER_BODY = "the request is read and lost, and the connection reset"
    REPLY_DROPPED = "the server did it, the answer is lost, and the connection reset"
    BURST_503 = "one to three requests in a row are told to slow down"
    FORBIDDEN_FOR_MISSING = "what is not there is forbidden"
    TRUNCATED_BODY = "half of the body comes, then the connection closes"
    SHORT_BODY = "half of an object comes, with a Content-Length that fits"
    ONE_BYTE_PER_SECOND = "the body trickles"
    LATE_DUPLICATE = "the request reaches the server again, later"
    DROP_CONDITION = "the server never sees the condition"


class ConnectionResetNowError(Exception):
    """The client's connection is to be reset."""


@attrs.define
class Plan:
    """What is armed: which requests it strikes, and how many it did."""

    kind: Fault
    share: float
    dice: random.Random
    methods: frozenset[str] | None
    times: int | None
    among: range | None
    armed: bool = True
    hits: int = 0
    seen: int = 0
    burst: int = 0

    def covers(self, request: Request) -> bool:
        if not self.armed or not (self.methods is None or request.method in self.methods):
            return False
        self.seen += 1
        return self.among is None or self.seen in self.among

    def strikes(self) -> bool:
        """Throw the dice for one request that the fault applies to."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.burst:
            self.burst -= 1
        elif self.dice.random() >= self.share:
            return False
        elif self.kind is Fault.BURST_503:
            self.burst = self.dice.randint(0, 2)
        self.hits += 1
        return True


def applies(kind: Fault, request: Request, reply: Reply) -> bool:
    """Whether a reply can be broken in this way."""
    match kind:
        case Fault.FORBIDDEN_FOR_MISSING:
            return reply.status == 404
        case Fault.SHORT_BODY:
            return request.reads_object and reply.status in {200, 206} and len(reply.body) > 0
        case Fault.TRUNCATED_BODY | Fault.ONE_BYTE_PER_SECOND:
            return len(reply.body) > 0
        case _:
            return kind in {Fault.REPLY_DROPPED, Fault.LATE_DUPLICATE}


class FaultProxy:
    """A server's stand-in at `endpoint`: it hands everything on unchanged until it is armed."""

    later = 0.05  # seconds after which a duplicate is sent

    def __init__(self, upstream: str) -> None:
        there = urlsplit(upstream)
        self._upstream = (there.hostname or "127.0.0.1", there.port or 80)
        self._plan: Plan | None = None
        self._loop = asyncio.new_event_loop()
        self._talks: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._server = self._tell(self._listen())
        self.endpoint = "http://{}:{}".format(*self._server.sockets[0].getsockname())

    def arm(
        self,
        kind: Fault,
        *,
        share: float = 0.2,
        seed: int = 0,
        methods: set[str] | None = None,
        times: int | None = None,
        among: range | None = None,
    ) -> None:
        """Break *share* of the requests that *kind* applies to: of *methods* alone, and no more than *times*.

        With *among* only those requests, counted from 1 as they come from now on.
        """
        chosen = None if methods is None else frozenset(methods)
        self._plan = Plan(kind, share, random.Random(seed), chosen, times, among)

    def disarm(self) -> None:
        """Break nothing more; `hits` keeps what was counted."""
        if self._plan:
            self._plan.armed = False

    @property
    def hits(self) -> int:
        """How many faults came true since the proxy was armed."""
        return self._plan.hits if self._plan else 0

    @property
    def seen(self) -> int:
        """How many requests, of the methods that it was armed for, came since."""
        return self._plan.seen if self._plan else 0

    def settle(self) -> None:
        """Wait until the server has answered every late duplicate."""
        self._tell(self._all_late())

    def close(self) -> None:
        self._tell(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _tell(self, order: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(order, self._loop).result(PATIENCE)

    # -- on the proxy's own thread

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._welcome, "127.0.0.1", 0, limit=HEAD_LIMIT)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._start(self._talks, self._converse(reader, writer))

    def _start(self, group: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)

    async def _hang_up(self) -> None:
        self._server.close()
        tasks = [*self._talks, *self._late]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _all_late(self) -> None:
        while self._late:
            await asyncio.gather(*self._late)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, request after request."""
        try:
            while (request := await read_request(reader, writer)) and await self._exchange(request, reader, writer):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError, ConnectionResetNowError):
            with contextlib.suppress(OSError):  # it may be closed already
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; says whether the connection lives on."""
        plan = self._plan if self._plan and self._plan.covers(request) else None
        if plan and plan.kind is Fault.RESET_AFTER_BODY and plan.strikes():
            raise ConnectionResetNowError
        if plan and plan.kind is Fault.BURST_503 and plan.strikes():
            return await send(writer, refusal(request, 503), stays=request.stays)
        if plan and plan.kind is Fault.DROP_CONDITION and has_condition(request) and plan.strikes():
            request = without_condition(request)
        reply = await self._forward(request)
        if plan and applies(plan.kind, request, reply) and plan.strikes():
            return await self._spoil(plan.kind, request, reply, reader, writer)
        return await send(writer, reply, stays=request.stays)

    async def _forward(self, request: Request) -> Reply:
        """Ask the server over a connection of its own, so that no stale one adds faults that nobody armed."""
        reader, writer = await asyncio.open_connection(*self._upstream, limit=HEAD_LIMIT)
        try:
            writer.write(request.wire())
            return await read_reply(reader, request.method)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _spoil(
        self,
        kind: Fault,
        request: Request,
        reply: Reply,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        half = reply.body[: len(reply.body) // 2]
        match kind:
            case Fault.REPLY_DROPPED:
                raise ConnectionResetNowError
            case Fault.FORBIDDEN_FOR_MISSING:
                reply = refusal(request, 403)
            case Fault.SHORT_BODY:
                reply = with_body(reply, half)
            case Fault.TRUNCATED_BODY:
                return await send(writer, attrs.evolve(reply, body=half), stays=False)
            case Fault.ONE_BYTE_PER_SECOND:
                return await trickle(reader, writer, reply)
            case Fault.LATE_DUPLICATE:
                self._start(self._late, self._again(request))
        return await send(writer, reply, stays=request.stays)

    async def _again(self, request: Request) -> None:
        await asyncio.sleep(self.later)
        with contextlib.suppress(OSError, EOFError):
            await self._forward(request)


async def send(writer: asyncio.StreamWriter, reply: Reply, *, stays: bool) -> bool:
    writer.write(reply.replacing("Connection", "keep-alive" if stays else "close").wire())
    await writer.drain()
    return stays


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> bool:
    """The head at once and the body byte by byte, until it is out or the client has gone."""
    await send(writer, attrs.evolve(reply, body=b""), stays=False)
    for at in range(len(reply.body)):
        if reader.at_eof():
            break
        writer.write(reply.body[at : at + 1])
        await writer.drain()
        await asyncio.sleep(DRIP)
    return False


@contextlib.contextmanager
def fault_proxy(upstream_endpoint: str) -> Iterator[FaultProxy]:
    """A proxy in front of a server, for as long as the block lasts."""
    proxy = FaultProxy(upstream_endpoint)
    try:
        yield proxy
    finally:
        proxy.close()
