"""`Bucket`: what `RemoteStore` asks of a client library, request by request; and the sorts of trouble it can meet.

An adapter makes requests, once each, and sorts the client's errors. Trying again, bounds on what is under way,
threads, forks and the port are `RemoteStore`'s.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import attrs

from modelkeep.errors import InvalidValueError
from modelkeep.redaction import redacted
from modelkeep.stores.port import StoredObject

_OURS = ("asynchronous", "loop", "skip_instance_cache", "use_listings_cache")  # what the store itself decides
_CHUNK = 1 << 20  # bytes taken over at once
_SECRET = 8  # characters; what is shorter is no secret, and would blank half a sentence
_NO_SECRETS = ("url", "region_name", "profile", "project")  # options that an error may name


class Kind(enum.Enum):
    """What a request that failed leaves behind, and so what comes next."""

    MISSING = "the object is not there"
    EXISTS = "the object is there, and the request said: only if it is not"
    DENIED = "no right to it"
    REFUSED = "nothing was done, and nothing would be if it were asked again"
    NOT_DONE = "nothing was done; asked again, it may be"
    UNKNOWN = "no sound answer came: it may have been done"


_KINDS = {
    401: Kind.DENIED,
    403: Kind.DENIED,
    404: Kind.MISSING,
    408: Kind.UNKNOWN,
    409: Kind.NOT_DONE,  # a conflicting request is under way; AWS says: try again
    412: Kind.EXISTS,
    429: Kind.NOT_DONE,
}
_SERVER = 500  # from here on a status tells of the server's trouble, not of the request's


def kind_of(status: int) -> Kind:
    """What an HTTP status leaves behind, where the server says nothing more.

    Example:
        >>> kind_of(412), kind_of(400), kind_of(503)
        (<Kind.EXISTS: ...>, <Kind.REFUSED: ...>, <Kind.UNKNOWN: ...>)
    """
    return _KINDS.get(status) or (Kind.UNKNOWN if status >= _SERVER else Kind.REFUSED)


@attrs.frozen
class Trouble:
    """A client's error, sorted.

    Args:
        kind: what comes next.
        text: what went wrong, and what to do if that is known; no secrets.
    """

    kind: Kind
    text: str


class TroubleError(Exception):
    """Raised by adapters where no error of the client says it.

    Args:
        trouble: what is wrong.
    """

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


@attrs.frozen
class Page:
    """Some lines of a listing, with keys as the server gives them.

    Args:
        objects: the lines.
        after: what to ask the next page with; None after the last.
    """

    objects: list[StoredObject]
    after: str | None


class Upload(Protocol):
    """A large object on its way up, in parts."""

    async def begin(self) -> None:
        """Ask for an upload."""
        ...

    async def part(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        """Send one part; asked again, it takes the place of what came before."""
        ...

    async def finish(self) -> None:
        """Make one object of the parts."""
        ...

    async def abort(self) -> None:
        """Throw away what was sent."""
        ...


class Bucket(Protocol):
    """Requests to one bucket; keys are whole keys of the bucket. Errors are the client's own; `sort` sorts them."""

    ordered: bool
    """Whether listings come in key order, as far as is known."""

    width: int
    """How many parts of an upload may be under way at once."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where requests run."""
        ...

    async def create(self, key: str, value: bytes) -> None:
        """Put an object unless it is there."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Put an object."""
        ...

    async def get(self, key: str, offset: int, target: memoryview) -> tuple[int, int]:
        """Read from *offset* on into *target*; how many bytes came, and the size of the whole object.

        The size is 0 where the object ends before *offset*.
        """
        ...

    async def page(self, prefix: str, after: str | None) -> Page:
        """A page of a listing."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object."""
        ...

    def upload(self, key: str) -> Upload:
        """Begin to put a large object."""
        ...

    def sort(self, error: Exception) -> Trouble:
        """Say what an error of the client means."""
        ...


@attrs.frozen
class Place:
    """A bucket and the beginning of all keys in it, as a URL says.

    Example:
        >>> place = Place.parse("s3://acme-ml/registry/")
        >>> place.bucket, place.prefix, place.url
        ('acme-ml', 'registry/', 's3://acme-ml/registry')
    """

    scheme: str
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The place as it is shown."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")

    @classmethod
    def parse(cls, url: str) -> Place:
        """Read ``scheme://bucket/prefix``.

        Raises:
            InvalidValueError: it names no bucket, or holds what belongs into *storage_options*; shows no secret.
        """
        parts = urlsplit(url)
        scheme = parts.scheme
        if "@" in parts.netloc or ":" in parts.netloc:
            raise InvalidValueError(
                f"a {scheme}:// URL holds no credentials and no port; write {scheme}://bucket/prefix and give the rest "
                "as storage_options"
            )
        if "?" in url or "#" in url:
            raise InvalidValueError(
                f"a {scheme}:// URL ends with the prefix; write {scheme}://{parts.netloc}{parts.path} and give options "
                "as storage_options"
            )
        prefix = parts.path.strip("/")
        if not parts.netloc or "//" in prefix or {".", ".."} & set(prefix.split("/")):
            raise InvalidValueError(f"{url!r} names no bucket and prefix; write {scheme}://bucket/prefix", url=url)
        return cls(scheme, parts.netloc, f"{prefix}/" if prefix else "")


def without_ours(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a caller may choose of a client; the rest the store itself decides.

    Example:
        >>> without_ours({"anon": True, "loop": None})
        {'anon': True}
    """
    return {name: value for name, value in (options or {}).items() if name not in _OURS}


async def received(read: Callable[[int], Awaitable[bytes]], target: memoryview) -> int:
    """Read a body into *target*, as it comes; how many bytes came, one more than fit if there were too many."""
    count = 0
    while chunk := await read(_CHUNK):
        if count + len(chunk) > target.nbytes:
            return target.nbytes + 1
        target[count : count + len(chunk)] = chunk
        count += len(chunk)
    return count


def copied(found: memoryview, target: memoryview) -> int:
    """Copy as much of *found* as fits; how many bytes that is."""
    count = min(found.nbytes, target.nbytes)
    target[:count] = found[:count]
    return count


def hidden(text: str, options: Mapping[str, Any]) -> str:
    """Take out of *text* whatever *options* hold that is long enough to be a secret, and what looks like one.

    Example:
        >>> hidden("key AKIA12345678 is unknown", {"key": "AKIA12345678"})
        'key … is unknown'
        >>> hidden("cannot reach http://ada:maple-7@host", {"endpoint_url": "http://ada:maple-7@host"})
        'cannot reach http://…@host'
    """
    return redacted(_without(text, options))


def _without(text: str, options: Mapping[str, Any]) -> str:
    for name, value in options.items():
        if isinstance(value, Mapping):
            text = _without(text, value)
        elif isinstance(value, str):
            # of an address that may be shown, what stands before the host may not
            secret = value.rpartition("@")[0].rpartition("//")[2] if name.endswith(_NO_SECRETS) else value
            if len(secret) >= _SECRET:
                text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
    return text
