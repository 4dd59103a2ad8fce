"""The S3 store: Amazon S3 and servers that speak its protocol, through s3fs and its client, aiobotocore.

Create-if-absent is one PUT with ``If-None-Match: *``. fsspec's own (``open("xb")``) is not sound: with zero bytes it
overwrites. Errors are told apart by the response that the server gave: their Python types differ between servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socket import gaierror
from typing import Any

import attrs
import botocore.exceptions as botocore
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ClientConnectorError
from botocore.config import Config
from s3fs import S3FileSystem

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
from modelkeep.stores.multipart import PAGE, Mark, MultipartStore, Parts, Uploads
from modelkeep.stores.port import StoredObject
from modelkeep.stores.remote import UNDER_WAY
from modelkeep.stores.retries import Retries

_NO_STORE = "no-store"  # a cached "not found" would hide an entry that is there
_LISTS_IN_ORDER = ("AmazonS3", "MinIO", "cloudflare")  # SeaweedFS lists d/a/b before d/a-b
_PARTS_UNDER_WAY = 4

_KINDS = {
    "NoSuchKey": Kind.MISSING,
    "PreconditionFailed": Kind.EXISTS,
    "ExpiredToken": Kind.DENIED,
    "InvalidToken": Kind.DENIED,
    "NoSuchBucket": Kind.REFUSED,
    "NoSuchUpload": Kind.REFUSED,
    "RequestTimeTooSkewed": Kind.REFUSED,
    "SlowDown": Kind.NOT_DONE,
    "BadDigest": Kind.NOT_DONE,
    "IncompleteBody": Kind.NOT_DONE,
    "XAmzContentSHA256Mismatch": Kind.NOT_DONE,
    "XAmzContentChecksumMismatch": Kind.NOT_DONE,
    "RequestTimeout": Kind.UNKNOWN,
    "NotImplemented": Kind.REFUSED,
}
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; create it, or mend the URL",
    "NoSuchUpload": "a collector, or a rule of the bucket, took the upload away; nothing was stored, call again",
    "RequestTimeTooSkewed": "this machine's clock is off; set it",
    "InvalidAccessKeyId": "the access key is unknown there; check the credentials and the endpoint",
    "SignatureDoesNotMatch": "the secret key does not fit; check the credentials",
    "ExpiredToken": "the session has expired; log in again",
    "AccessDenied": "access is denied; ask for the right to it (see docs/how-to/object-stores.md)",
    "PermanentRedirect": "the bucket lies in another region; give client_kwargs={'region_name': …}",
    "AuthorizationHeaderMalformed": "the bucket lies in another region; give client_kwargs={'region_name': …}",
}
_NEVER_SENT = (
    botocore.ConnectTimeoutError,
    botocore.ProxyConnectionError,
)
_NO_USE = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.ProfileNotFound,
    botocore.ParamValidationError,
    botocore.NoRegionError,
    botocore.TokenRetrievalError,
    botocore.SSOError,
    botocore.SSLError,
    botocore.UnknownSignatureVersionError,
)


class S3Store(MultipartStore):
    """Objects in a bucket of S3, or of a server that speaks its protocol.

    Args:
        url: ``s3://bucket/prefix``.
        options: what s3fs takes: ``key``, ``secret``, ``profile``, ``anon``, ``endpoint_url``, ``requester_pays``,
            ``s3_additional_kwargs`` (a KMS key), ``config_kwargs`` (proxies), … Kept in memory only, never shown.
        retries: how long and how often to try.
    """

    libraries = ("fsspec", "s3fs", "aiobotocore", "botocore")

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, retries: Retries | None = None) -> None:
        place = Place.parse(url)
        chosen = retries or Retries()
        own = without_ours(options)
        super().__init__(place, lambda: S3Bucket(place.bucket, own, chosen), chosen)


class S3Bucket:
    """Requests to a bucket through a client of its own. See `modelkeep.stores.multipart.MultipartBucket`."""

    width = _PARTS_UNDER_WAY

    def __init__(self, name: str, options: Mapping[str, Any], retries: Retries) -> None:
        self.name = name
        self.ordered = False
        self._options = options
        self._fs = _filesystem(options, retries)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """See `Bucket.loop`."""
        loop: asyncio.AbstractEventLoop = self._fs.loop
        return loop

    async def create(self, key: str, value: bytes) -> None:
        """See `Bucket.create`."""
        await self._check_client()
        self._check_answer(
            "ETag", await self._call("put_object", Key=key, Body=value, IfNoneMatch="*", CacheControl=_NO_STORE)
        )

    async def put(self, key: str, value: bytes) -> None:
        """See `Bucket.put`."""
        self._check_answer("ETag", await self._call("put_object", Key=key, Body=value))

    async def get(self, key: str, offset: int, target: memoryview) -> tuple[int, int]:
        """See `Bucket.get`."""
        try:
            answer = await self._call("get_object", Key=key, Range=f"bytes={offset}-{offset + target.nbytes - 1}")
        except OSError as error:
            if _response(error)[0] == 416:  # noqa: PLR2004  the object ends before the span begins
                return 0, 0
            raise
        async with answer["Body"] as body:
            if "ContentRange" not in answer:  # a server that gives the whole object all the same
                whole = memoryview(await body.read())[offset:]
                return copied(whole, target), offset + whole.nbytes
            return await received(body.read, target), int(answer["ContentRange"].rpartition("/")[2])

    async def page(self, prefix: str, after: str | None) -> Page:
        """See `Bucket.page`."""
        more = {"ContinuationToken": after} if after else {}
        answer = await self._call("list_objects_v2", Prefix=prefix, **more)
        self._check_answer("IsTruncated", answer)
        server = answer["ResponseMetadata"]["HTTPHeaders"].get("server", "")
        self.ordered = server.startswith(_LISTS_IN_ORDER)
        objects = [StoredObject(item["Key"], item["Size"], item["LastModified"]) for item in answer.get("Contents", ())]
        return Page(objects, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)

    async def delete(self, key: str) -> None:
        """See `Bucket.delete`."""
        await self._call("delete_object", Key=key)

    def upload(self, key: str) -> Upload:
        """See `Bucket.upload`."""
        return _Parts(self, key)

    async def uploads(self, prefix: str, after: Mark | None) -> Uploads:
        """See `MultipartBucket.uploads`."""
        answer = await self._call("list_multipart_uploads", Prefix=prefix, MaxUploads=PAGE, **(after or {}))
        self._check_answer("IsTruncated", answer)
        return Uploads.read(answer)

    async def parts(self, key: str, name: str, after: Mark | None) -> Parts | None:
        """See `MultipartBucket.parts`."""
        with _but_gone():
            answer = await self._call("list_parts", Key=key, UploadId=name, MaxParts=PAGE, **(after or {}))
            self._check_answer("IsTruncated", answer)
            return Parts.read(answer)
        return None

    async def abort(self, key: str, name: str) -> None:
        """See `MultipartBucket.abort`."""
        with _but_gone():
            await self._call("abort_multipart_upload", Key=key, UploadId=name)

    def sort(self, error: Exception) -> Trouble:
        """See `Bucket.sort`."""
        status, code, message = _response(error)
        if status:
            kind = _KINDS.get(code) or kind_of(status)
            said = _REMEDIES.get(code) or f"{message or code} (status {status})"
            return Trouble(kind, hidden(said, self._options))
        kind = _kind_without_response(error)
        refused = "give key and secret, profile, or anon=True as storage_options"
        remedy = refused if kind is Kind.REFUSED else "check endpoint, network and proxy"
        return Trouble(kind, hidden(f"{type(error).__name__}: {error}; {remedy}", self._options))

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        await self._client()
        answer: dict[str, Any] = await self._fs._call_s3(method, Bucket=self.name, **arguments)  # noqa: SLF001  see below
        return answer

    async def _client(self) -> Any:
        try:
            return await self._fs.set_session()
        except (TypeError, ValueError, botocore.BotoCoreError) as error:  # nothing was sent
            text = hidden(f"{type(error).__name__}: {error}", self._options)
            raise TroubleError(Trouble(Kind.REFUSED, f"{text}; mend the storage_options")) from error

    def _check_answer(self, name: str, answer: Mapping[str, Any]) -> None:
        """A portal that wants a login answers everything with a page and status 200."""
        if name not in answer:
            raise TroubleError(Trouble(Kind.UNKNOWN, "what answered is no S3 server; check endpoint and proxy"))

    async def _check_client(self) -> None:
        """A client that does not know the condition would leave it out without a word, and overwrite."""
        client = await self._client()
        if "IfNoneMatch" not in client.meta.service_model.operation_model("PutObject").input_shape.members:
            raise TroubleError(
                Trouble(Kind.REFUSED, "the installed botocore is too old to create only what is absent; upgrade s3fs")
            )


# s3fs has a public call_s3, which blocks; _call_s3 is the same for callers that are on the loop already.


@attrs.define
class _Parts:
    """A multipart upload; parts may go up in any order."""

    bucket: S3Bucket
    key: str
    _id: str = ""
    _tags: dict[int, str] = attrs.Factory(dict)
    _finishing: bool = False

    async def begin(self) -> None:
        """See `Upload.begin`."""
        self._id = (await self._call("create_multipart_upload", upload=False))["UploadId"]

    async def part(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        """See `Upload.part`."""
        del offset, last
        self._tags[number] = (await self._call("upload_part", PartNumber=number, Body=data))["ETag"]

    async def finish(self) -> None:
        """See `Upload.finish`."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(self._tags.items())]
        again, self._finishing = self._finishing, True
        try:
            await self._call("complete_multipart_upload", MultipartUpload={"Parts": parts})
        except OSError as error:
            if not (again and _response(error)[1] == "NoSuchUpload" and await self._is_there()):
                raise  # else an earlier try was carried out and its answer lost

    async def _is_there(self) -> bool:
        try:
            await self._call("head_object", upload=False)
        except OSError as error:
            if _response(error)[0] == 404:  # noqa: PLR2004
                return False
            raise
        return True

    async def abort(self) -> None:
        """See `Upload.abort`."""
        await self._call("abort_multipart_upload")

    async def _call(self, method: str, *, upload: bool = True, **arguments: Any) -> dict[str, Any]:
        which = {"UploadId": self._id} if upload else {}
        return await self.bucket._call(method, Key=self.key, **which, **arguments)  # noqa: SLF001  one adapter


class _OneTry(AIOHTTPSession):  # type: ignore[misc]  # it ships no types
    """Without aiohttp's own second try of a PUT over a connection that was kept: it would hide a lost answer."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False  # noqa: SLF001  aiohttp has no option for it
        return session


def _filesystem(options: Mapping[str, Any], retries: Retries) -> S3FileSystem:
    """A client that tries once, waits as *retries* says, and shares nothing with other instances."""
    config: dict[str, Any] = {
        "connect_timeout": retries.connect,
        "read_timeout": retries.answer,
        "max_pool_connections": UNDER_WAY,
        "http_session_cls": _OneTry,
        **options.get("config_kwargs", {}),
        "retries": {"total_max_attempts": 1},
    }
    if "response_checksum_validation" in Config.OPTION_DEFAULTS:
        # every byte is checked by BLAKE3 above; some servers give the checksum of the whole object with a part of it
        config.setdefault("response_checksum_validation", "when_required")
    try:
        found = S3FileSystem(**{**options, "config_kwargs": config}, skip_instance_cache=True, use_listings_cache=False)
    except (TypeError, ValueError, KeyError) as error:
        raise StoreError(hidden(f"s3fs does not take these storage_options: {error}", options)) from None
    found.retries = 1
    return found


def _response(error: BaseException | None) -> tuple[int, str, str]:
    """Status, code and message of what the server answered; 0 if it did not."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict) and "ResponseMetadata" in response:
            said = response.get("Error", {})
            status = int(response["ResponseMetadata"].get("HTTPStatusCode", 0))
            return status, str(said.get("Code", "")), str(said.get("Message", ""))
        error = error.__cause__
    return 0, "", ""


@contextmanager
def _but_gone() -> Iterator[None]:
    """That an upload is gone is no error here."""
    try:
        yield
    except OSError as error:
        if _response(error)[1] != "NoSuchUpload":
            raise


def _kind_without_response(error: Exception) -> Kind:
    if isinstance(error, _NO_USE):
        return Kind.REFUSED
    if isinstance(error, _NEVER_SENT):
        return Kind.NOT_DONE
    # aiobotocore says "could not connect" of every lost connection, also of one that was lost after the request
    if isinstance(error, botocore.EndpointConnectionError):
        within = error.kwargs.get("error")
        return Kind.NOT_DONE if isinstance(within, ClientConnectorError | gaierror) else Kind.UNKNOWN
    return Kind.UNKNOWN
