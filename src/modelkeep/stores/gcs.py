"""The GCS store: Google Cloud Storage through gcsfs.

Create-if-absent is an upload with ``ifGenerationMatch=0``. gcsfs gives the session, the credentials and the addresses;
the requests of the JSON API are made here, once each, because gcsfs tries again by itself for up to a minute and loses
the status of an answer.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import attrs
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError

from modelkeep.errors import StoreError
from modelkeep.stores.bucket import (
    Kind,
    Page,
    Place,
    Trouble,
    TroubleError,
    Upload,
    copied,
    hidden,
    kind_of,
    received,
    without_ours,
)
from modelkeep.stores.port import StoredObject
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries

_KIND = "application/octet-stream"
_BOUNDARY = "modelkeep-5f9c7f2e"
_GO_ON = 308  # what Google answers while bytes of an upload are missing
_CANCELLED = 499  # what Google answers when an upload was thrown away


class GcsStore(RemoteStore):
    """Objects in a bucket of Google Cloud Storage.

    Args:
        url: ``gs://bucket/prefix``.
        options: what gcsfs takes: ``token``, ``project``, ``requester_pays``, ``endpoint_url``, ``session_kwargs``
            (proxies), … Kept in memory only, never shown.
        retries: how long and how often to try.
    """

    libraries = ("fsspec", "gcsfs", "aiohttp")

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, retries: Retries | None = None) -> None:
        place = Place.parse(url)
        chosen = retries or Retries()
        own = without_ours(options)
        super().__init__(place, lambda: GcsBucket(place.bucket, own, chosen), chosen)


@attrs.frozen
class Answer:
    """What the server said.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it; empty where it went into a target.
        received: how many bytes went into a target.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    received: int = 0

    def facts(self) -> dict[str, Any]:
        """The body as JSON; no sound answer if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TroubleError(Trouble(Kind.UNKNOWN, "the answer is no JSON"))
        return found


class GcsBucket:
    """Requests to a bucket through a client of its own. See `modelkeep.stores.bucket.Bucket`."""

    ordered = True
    width = 1  # a resumable upload takes its parts one after another

    def __init__(self, name: str, options: Mapping[str, Any], retries: Retries) -> None:
        self._name = quote(name, safe="")
        self._options = options
        self._retries = retries
        self._fs = _filesystem(options)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """See `Bucket.loop`."""
        loop: asyncio.AbstractEventLoop = self._fs.loop
        return loop

    async def create(self, key: str, value: bytes) -> None:
        """See `Bucket.create`."""
        await self._put({"name": key, "cacheControl": "no-store"}, value, ifGenerationMatch="0")

    async def put(self, key: str, value: bytes) -> None:
        """See `Bucket.put`."""
        await self._put({"name": key}, value)

    async def get(self, key: str, offset: int, target: memoryview) -> tuple[int, int]:
        """See `Bucket.get`."""
        path = f"/download{self._path(key)}"
        asked = {"Range": f"bytes={offset}-{offset + target.nbytes - 1}"}
        answer = await self.ask("GET", path, {"alt": "media"}, headers=asked, accept=(200, 206, 416), target=target)
        if answer.status == 416:  # noqa: PLR2004  the object ends before the span begins
            return 0, 0
        if answer.status == 200:  # noqa: PLR2004  the whole object all the same
            whole = memoryview(answer.body)[offset:]
            return copied(whole, target), offset + whole.nbytes
        return answer.received, int(answer.headers["content-range"].rpartition("/")[2])

    async def page(self, prefix: str, after: str | None) -> Page:
        """See `Bucket.page`."""
        more = {"pageToken": after} if after else {}
        wanted = "items(name,size,updated),nextPageToken"
        answer = await self.ask("GET", self._path(), {"prefix": prefix, "fields": wanted, **more}, of_bucket=True)
        facts = answer.facts()
        objects = [
            StoredObject(item["name"], int(item["size"]), datetime.fromisoformat(item["updated"]))
            for item in facts.get("items", ())
        ]
        return Page(objects, facts.get("nextPageToken"))

    async def delete(self, key: str) -> None:
        """See `Bucket.delete`."""
        await self.ask("DELETE", self._path(key))

    def upload(self, key: str) -> Upload:
        """See `Bucket.upload`."""
        return _Resumable(self, key)

    def sort(self, error: Exception) -> Trouble:
        """See `Bucket.sort`."""
        text = hidden(f"{type(error).__name__}: {error}", self._options)
        if isinstance(error, aiohttp.InvalidURL | TypeError | ValueError):
            return Trouble(Kind.REFUSED, f"{text}; mend the storage_options")
        if isinstance(error, aiohttp.ClientConnectorError):
            return Trouble(Kind.NOT_DONE, f"{text}; check endpoint, network and proxy")
        if isinstance(error, (RefreshError, TransportError)) and error.retryable:
            return Trouble(Kind.NOT_DONE, text)
        if isinstance(error, GoogleAuthError):
            return Trouble(Kind.DENIED, f"{text}; check the credentials")
        return Trouble(Kind.UNKNOWN, text)

    async def _put(self, facts: Mapping[str, str], value: bytes, **conditions: str) -> None:
        head = (
            f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(facts)}\r\n"
            f"--{_BOUNDARY}\r\nContent-Type: {_KIND}\r\n\r\n"
        )
        body = b"".join((head.encode(), value, f"\r\n--{_BOUNDARY}--\r\n".encode()))
        answer = await self.ask(
            "POST",
            f"/upload{self._path()}",
            {"uploadType": "multipart", **conditions},
            headers={"Content-Type": f"multipart/related; boundary={_BOUNDARY}"},
            data=body,
            of_bucket=True,
        )
        answer.facts()

    async def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | memoryview | None = None,
        accept: tuple[int, ...] = (200, 204),
        of_bucket: bool = False,
        target: memoryview | None = None,
    ) -> Answer:
        """Make one request.

        Args:
            method: the HTTP method.
            path: the path, or a whole URL.
            params: the query.
            headers: beside those of gcsfs, which carry the credentials.
            data: the body.
            accept: the statuses that are no trouble.
            of_bucket: whether "not found" can only mean the bucket.
            target: takes the body of a partial answer (status 206).
        """
        fs = self._fs
        session = await fs._set_session()  # noqa: SLF001  the seam where gcsfs makes its own requests
        async with session.request(
            method,
            path if path.startswith("http") else fs._location + path,  # noqa: SLF001
            params=fs._get_params(dict(params or {})),  # noqa: SLF001
            headers=fs._get_headers(dict(headers or {})),  # noqa: SLF001
            data=io.BytesIO(data) if data else None,  # aiohttp sends bytes in one go, and warns of it
            timeout=aiohttp.ClientTimeout(connect=self._retries.connect),
            allow_redirects=False,
        ) as reply:
            headers_of_reply = {name.lower(): value for name, value in reply.headers.items()}
            if target is not None and reply.status == 206:  # noqa: PLR2004
                return Answer(206, headers_of_reply, b"", await received(reply.content.read, target))
            answer = Answer(reply.status, headers_of_reply, await reply.read())
        if answer.status not in accept:
            raise TroubleError(_trouble(answer, of_bucket=of_bucket))
        return answer

    def _path(self, key: str = "") -> str:
        return f"/storage/v1/b/{self._name}/o" + (f"/{quote(key, safe='')}" if key else "")


@attrs.define
class _Resumable:
    """A resumable upload; parts go up in order, and after a lost answer the server is asked how far it got."""

    bucket: GcsBucket
    key: str
    _session: str = ""
    _doubtful: bool = False

    async def begin(self) -> None:
        """See `Upload.begin`."""
        path = f"/upload{self.bucket._path()}"  # noqa: SLF001  one adapter
        answer = await self.bucket.ask(
            "POST",
            path,
            {"uploadType": "resumable", "name": self.key},
            headers={"X-Upload-Content-Type": _KIND},
            of_bucket=True,
        )
        self._session = answer.headers["location"]

    async def part(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        """See `Upload.part`."""
        del number
        end = offset + len(data)
        if self._doubtful:
            answer = await self._ask("PUT", {"Content-Range": "bytes */*"})
            start = _reached(answer, end)
        else:
            answer, start = None, offset
        self._doubtful = True
        while start < end:
            headers = {"Content-Range": f"bytes {start}-{end - 1}/{end if last else '*'}"}
            answer = await self._ask("PUT", headers, memoryview(data)[start - offset :])
            start = _reached(answer, end)
            if start < offset:
                raise TroubleError(Trouble(Kind.REFUSED, f"the server lost what it had up to byte {offset}"))
        if last and answer is not None and answer.status == _GO_ON:
            await self._end(end)
        self._doubtful = False

    async def _end(self, end: int) -> None:
        """The server has every byte and waits for more: tell it that there is none."""
        answer = await self._ask("PUT", {"Content-Range": f"bytes */{end}"})
        if answer.status == _GO_ON:
            raise TroubleError(Trouble(Kind.UNKNOWN, "the server has every byte and makes no object of them"))

    async def finish(self) -> None:
        """The last part has ended it."""

    async def abort(self) -> None:
        """See `Upload.abort`."""
        await self._ask("DELETE", {}, accept=(200, 204, 404, 410, _CANCELLED))

    async def _ask(
        self,
        method: str,
        headers: Mapping[str, str],
        data: bytes | memoryview = b"",
        accept: tuple[int, ...] = (200, 201, _GO_ON),
    ) -> Answer:
        return await self.bucket.ask(method, self._session, headers=headers, data=data, accept=accept, of_bucket=True)


def _reached(answer: Answer, end: int) -> int:
    """How many bytes the server has."""
    if answer.status != _GO_ON:
        return end
    return int(answer.headers["range"].rpartition("-")[2]) + 1 if "range" in answer.headers else 0


def _trouble(answer: Answer, *, of_bucket: bool) -> Trouble:
    said = _message(answer)
    kind = kind_of(answer.status)
    if kind is Kind.DENIED and b"ateLimitExceeded" in answer.body:  # too many requests, says Google: wait and ask again
        kind = Kind.NOT_DONE
    if kind is Kind.MISSING and (of_bucket or "bucket does not exist" in said):
        return Trouble(Kind.REFUSED, f"{said}; create the bucket, or mend the URL")
    if kind is Kind.DENIED:
        return Trouble(kind, f"{said}; ask for the right to it (see docs/how-to/object-stores.md)")
    return Trouble(kind, f"{said} (status {answer.status})")


def _message(answer: Answer) -> str:
    try:
        error = json.loads(answer.body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return answer.body[:200].decode(errors="replace").strip() or "no reason given"


def _filesystem(options: Mapping[str, Any]) -> GCSFileSystem:
    """A client that shares nothing with other instances."""
    try:
        return GCSFileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
    except (TypeError, ValueError, KeyError, OSError, GoogleAuthError) as error:
        raise StoreError(hidden(f"gcsfs cannot be opened: {error}", options)) from None
