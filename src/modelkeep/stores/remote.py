"""`RemoteStore`: the port over a bucket. What S3 and GCS have in common: tries, bounds, threads and forks.

Requests run on fsspec's own thread with its event loop, so that a store works from any thread and inside a running
loop. Answers sort into what was certainly not done, which is asked again, and what may have been done: asked again
too, and if no sound answer comes, said to be open.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from itertools import chain
from traceback import clear_frames
from typing import Any, TypeVar

from fsspec.asyn import sync
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from modelkeep.chunking import cut
from modelkeep.digest import Buffer
from modelkeep.errors import AccessError, MissingObjectError, ModelkeepError, OutcomeUnknownError, StoreError
from modelkeep.forks import renew_after_fork
from modelkeep.stores.bucket import Bucket, Kind, Place, Trouble, TroubleError, Upload
from modelkeep.stores.memory import check_key, check_prefix, check_span, check_value, missing_object, object_exists
from modelkeep.stores.port import StoredObject
from modelkeep.stores.retries import Retries

PART = 8 * 1024 * 1024  # bytes; S3 refuses parts below 5 MiB, GCS wants multiples of 256 KiB
FIRST = 1024 * 1024  # bytes of an object of unknown size that are asked for first; most are entries and small packs
UNDER_WAY = 32  # requests at once from one store

T = TypeVar("T")

# What a forked child found open belongs to its parent. Closing it here could end the parent's connections, and
# collecting it would close it.
_of_the_parent: list[Bucket] = []


class RemoteStore:
    """Objects in a bucket.

    Args:
        place: the bucket, and what all keys begin with.
        connect: makes a client; called on first use, and again in a forked child.
        retries: how long and how often to try.

    Safe to use from several threads, in a forked child, and inside a running event loop.
    """

    remote = True
    libraries: tuple[str, ...] = ()

    def __init__(self, place: Place, connect: Callable[[], Bucket], retries: Retries) -> None:
        self.place = place
        self.retries = retries
        self._connect = connect
        self._bucket: Bucket | None = None
        self._gate: asyncio.Semaphore | None = None
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`: the child makes connections of its own."""
        self._lock = threading.Lock()
        if self._bucket is not None:
            _of_the_parent.append(self._bucket)
            self._bucket = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self.place.url

    # -- the port --------------------------------------------------------------------------------------------

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`. One request; the object is never cached on the way."""
        check_key(key)
        check_value(key, value)
        self._run(lambda bucket: self._ask(bucket, key, lambda full: bucket.create(full, value), len(value), True))

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`. One request for each 8 MiB, many at once."""
        check_key(key)
        check_span(key, span)
        return self._run(lambda bucket: self._get(bucket, key, span))

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`. One request for each 8 MiB, many at once."""
        check_key(key)
        check_span(key, (offset, target.nbytes))
        if not target.nbytes:
            self.get(key, (offset, 0))  # it may be missing
        return self._run(lambda bucket: self._fill(bucket, key, offset, target))

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`."""
        asked = [check_key(key) for key in keys]

        async def found(bucket: Bucket) -> dict[str, bytes]:
            values = await gathered(self._get_if_there(bucket, key) for key in asked)
            return {key: value for key, value in zip(asked, values, strict=True) if value is not None}

        return self._run(found)

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`. One request up to 8 MiB; beyond, two and one for each 8 MiB, a few at once.

        Holds at most some 50 MiB. What was sent is thrown away when it fails.
        """
        check_key(key)
        parts = _parts(source)
        first, last = next(parts, (b"", True))
        if last:
            self._run(lambda bucket: self._ask(bucket, key, lambda full: bucket.put(full, first), len(first), True))
        else:
            self._put_in_parts(key, chain([(first, False)], parts))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`. One request for each 1,000 objects; lazily if the server lists in key order."""
        check_prefix(prefix)
        return self._listed(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`. One request for each key, many at once."""
        asked = [check_key(key) for key in keys]

        async def gone(bucket: Bucket) -> None:
            await gathered(self._delete(bucket, key) for key in asked)

        self._run(gone)

    # -- within ----------------------------------------------------------------------------------------------

    def _opened(self) -> Bucket:
        with self._lock:
            if self._bucket is None:
                try:
                    self._bucket = self._connect()
                except ModelkeepError:
                    raise
                except Exception as error:
                    name = type(error).__name__  # what it says may hold what storage_options hold
                    raise StoreError(f"{self.url} cannot be opened: {name}; check the storage_options") from error
                self._gate = asyncio.Semaphore(UNDER_WAY)
            return self._bucket

    def _run(self, work: Callable[[Bucket], Coroutine[Any, Any, T]]) -> T:
        bucket = self._opened()
        return _waited(bucket, work, bucket)

    async def _ask(
        self,
        bucket: Bucket,
        key: str,
        request: Callable[[str], Awaitable[T]],
        size: int = 0,
        writes: bool = False,
        attempts: int | None = None,
        may_miss: bool = False,
    ) -> T:
        """Make a request, again and again as `Retries` says; it *may_miss* the object, else "missing" is a refusal."""
        gate = self._gate
        if gate is None:  # cannot be: _opened() made it
            raise StoreError(f"{self.url} is not open")
        tries = _Tries(self, bucket, key, writes=writes, may_miss=may_miss)

        async def once() -> T:
            async with gate, asyncio.timeout(self.retries.limit(size)):
                return await request(self.place.prefix + key)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(attempts or self.retries.attempts),
            wait=wait_random_exponential(multiplier=self.retries.first, max=self.retries.longest),
            retry=retry_if_exception(tries.worth_another),
            reraise=True,
        )
        try:
            result: T = await retrying(once)
        except Exception as error:  # noqa: BLE001  clients raise what they like; it is sorted, and said in our words
            raise tries.said(error) from error.__cause__ or error  # the client's own error, not its translation
        return result

    async def _get(self, bucket: Bucket, key: str, span: tuple[int, int] | None) -> bytes:
        offset, length = span or (0, FIRST)
        first, size = await self._first(bucket, key, offset, min(length, PART))
        left = (size if span is None else min(size, offset + length)) - offset - len(first)
        if left <= 0:
            return first
        rest = bytearray(left)
        await self._fill(bucket, key, offset + len(first), memoryview(rest))
        return b"".join((first, rest))

    async def _first(self, bucket: Bucket, key: str, offset: int, length: int) -> tuple[bytes, int]:
        """The first bytes of a span, and the size of the object, which only an answer tells."""
        target = memoryview(bytearray(max(length, 1)))  # asked for nothing, a server would not say "missing"
        count, size = await self._span(bucket, key, offset, target)
        return bytes(target[: min(count, length)]), size

    async def _fill(self, bucket: Bucket, key: str, offset: int, target: memoryview) -> int:
        starts = range(0, target.nbytes, PART)
        counts = await gathered(
            self._span(bucket, key, offset + start, target[start : start + PART]) for start in starts
        )
        return sum(count for count, _ in counts)

    async def _span(self, bucket: Bucket, key: str, offset: int, target: memoryview) -> tuple[int, int]:
        async def request(full: str) -> tuple[int, int]:
            count, size = await bucket.get(full, offset, target)
            due = max(0, min(size - offset, target.nbytes))
            if count != due:
                raise TroubleError(Trouble(Kind.UNKNOWN, f"{due} bytes were announced and {count} came"))
            return count, size

        return await self._ask(bucket, key, request, target.nbytes, may_miss=True)

    async def _get_if_there(self, bucket: Bucket, key: str) -> bytes | None:
        try:
            return await self._get(bucket, key, None)
        except MissingObjectError:
            return None

    async def _delete(self, bucket: Bucket, key: str) -> None:
        with suppress(MissingObjectError):
            await self._ask(bucket, key, bucket.delete, writes=True, may_miss=True)

    def _listed(self, prefix: str) -> Iterator[StoredObject]:
        held: list[StoredObject] = []
        after: str | None = None
        while True:
            page = self._run(
                lambda bucket, mark=after: self._ask(bucket, prefix, lambda full: bucket.page(full, mark))  # type: ignore[misc]
            )
            held += self._relative(page.objects)
            after = page.after
            if after is None or self._opened().ordered:
                yield from sorted(held, key=lambda item: item.key)
                held = []
            if after is None:
                return

    def _relative(self, objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
        start = len(self.place.prefix)
        for item in objects:
            if not item.key.endswith("/"):  # what consoles show as a folder
                yield StoredObject(item.key[start:], item.size, item.modified)

    def _put_in_parts(self, key: str, parts: Iterator[tuple[bytes, bool]]) -> None:
        bucket = self._opened()
        upload = bucket.upload(self.place.prefix + key)
        under_way: deque[Future[None]] = deque()

        def ask(request: Callable[[], Awaitable[None]], size: int = 0) -> Coroutine[Any, Any, None]:
            return self._ask(bucket, key, lambda _: request(), size, True)

        _waited(bucket, ask, upload.begin)
        try:
            for request, size in _part_requests(upload, parts):
                if len(under_way) >= bucket.width:
                    under_way.popleft().result()
                under_way.append(asyncio.run_coroutine_threadsafe(ask(request, size), bucket.loop))
            while under_way:
                under_way.popleft().result()
            _waited(bucket, ask, upload.finish)
        except BaseException as error:
            if isinstance(error, Exception):
                wait(under_way)  # a part that came after the upload was thrown away could stay
            for future in under_way:
                future.cancel()
            with suppress(ModelkeepError):  # a rule of the bucket clears up what stays; see the docs
                _waited(bucket, self._ask, bucket, key, lambda _: upload.abort(), attempts=1)
            raise


def _waited(bucket: Bucket, work: Callable[..., Coroutine[Any, Any, T]], *args: Any, **options: Any) -> T:
    """What *work* gives on the bucket's own thread; an error leaves no buffers behind."""
    try:
        result: T = sync(bucket.loop, work, *args, **options)
    except BaseException as error:
        _let_go(error)
        raise
    return result


def _let_go(error: BaseException) -> None:
    """Empty the frames through which an error came, and those behind it.

    fsspec, tenacity and s3fs hold an error in a frame that the error holds. Such rings, with every buffer of a request,
    would lie there until garbage is looked for; beside a large framework Python hardly ever does that.
    """
    held, seen = [error], set[int]()
    while held:
        one = held.pop()
        if id(one) not in seen:
            seen.add(id(one))
            clear_frames(one.__traceback__)
            held += [other for other in (one.__cause__, one.__context__) if other is not None]


class _Tries:
    """What was learnt from the tries of one request."""

    def __init__(self, store: RemoteStore, bucket: Bucket, key: str, *, writes: bool, may_miss: bool) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._writes = writes
        self._may_miss = may_miss
        self._began = time.monotonic()
        self._count = 0
        self._open = False
        self._last = Trouble(Kind.UNKNOWN, "nothing was tried")

    def worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, Exception):  # an interrupt is none of ours
            return False
        self._count += 1
        self._last = self._sorted(error)
        self._open = self._open or self._last.kind is Kind.UNKNOWN
        return self._last.kind in (Kind.NOT_DONE, Kind.UNKNOWN)

    def _sorted(self, error: Exception) -> Trouble:
        if isinstance(error, TimeoutError):
            return Trouble(Kind.UNKNOWN, "no answer came in time")
        trouble = error.trouble if isinstance(error, TroubleError) else self._bucket.sort(error)
        if trouble.kind is Kind.MISSING and not self._may_miss:
            return Trouble(Kind.REFUSED, f"{trouble.text}; check the URL and the endpoint")
        return trouble

    def said(self, error: Exception) -> Exception:
        """The error of the port; an error of ours passes as it is."""
        if isinstance(error, ModelkeepError):
            return error
        kind, key, store = self._last.kind, self._key, self._store
        if kind is Kind.MISSING:
            return missing_object(store.url, key)
        if kind is Kind.EXISTS:
            return object_exists(store.url, key)
        seconds = time.monotonic() - self._began
        tried = f" (tried {self._count} times in {seconds:.1f} s)" if self._count > 1 else ""
        text = f"{store.url} {key}: {self._last.text}{tried}"
        facts: dict[str, Any] = {"key": key, "tries": self._count, "seconds": seconds}
        if self._writes and self._open:
            return OutcomeUnknownError(text, **facts)
        return (AccessError if kind is Kind.DENIED else StoreError)(text, **facts)


async def gathered(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them give; the first error ends the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _parts(source: Iterable[Buffer]) -> Iterator[tuple[bytes, bool]]:
    """The bytes of *source*, cut every 8 MiB, each part with whether it is the last."""
    held: bytes | None = None
    for part in map(b"".join, cut(source, PART)):
        if held is not None:
            yield held, False
        held = part
    if held is not None:
        yield held, True


def _part_requests(
    upload: Upload, parts: Iterator[tuple[bytes, bool]]
) -> Iterator[tuple[Callable[[], Awaitable[None]], int]]:
    offset = 0
    for number, (data, last) in enumerate(parts, 1):
        yield (lambda n=number, at=offset, d=data, end=last: upload.part(n, at, d, last=end)), len(data)  # type: ignore[misc]
        offset += len(data)
