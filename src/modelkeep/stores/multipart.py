"""Multipart uploads that nobody finished, for stores whose bucket can list them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import attrs

from modelkeep.errors import StoreError
from modelkeep.stores.bucket import Bucket
from modelkeep.stores.memory import check_key, check_prefix
from modelkeep.stores.port import UnfinishedWrite, not_unfinished
from modelkeep.stores.remote import RemoteStore, gathered

PAGE = 1000  # uploads, or parts of one, in an answer; no server gives more
Mark = Mapping[str, Any]
"""What to ask the next page with."""


@attrs.frozen
class Begun:
    """An upload that was begun and not finished.

    Args:
        key: the key as the server gives it.
        name: the id of the upload.
        at: when it was begun; None if the server does not say.
    """

    key: str
    name: str
    at: datetime | None


@attrs.frozen
class Uploads:
    """Some uploads of a bucket; *after* is None on the last page."""

    begun: list[Begun]
    after: Mark | None

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Uploads:
        """Read an answer of ListMultipartUploads."""
        begun = [Begun(item["Key"], item["UploadId"], item.get("Initiated")) for item in answer.get("Uploads", ())]
        # SeaweedFS marks the next page by the id alone
        return cls(begun, _mark(answer, "KeyMarker", "UploadIdMarker"))


@attrs.frozen
class Parts:
    """Some parts of an upload: their bytes, and when each was written; *after* is None on the last page."""

    size: int
    written: list[datetime]
    after: Mark | None

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Parts:
        """Read an answer of ListParts."""
        parts = answer.get("Parts", ())
        written = [part["LastModified"] for part in parts if "LastModified" in part]
        return cls(sum(part.get("Size", 0) for part in parts), written, _mark(answer, "PartNumberMarker"))


def _mark(answer: Mapping[str, Any], *names: str) -> Mark | None:
    """What a page that is not the last says of the next; nothing is no mark: it would be the first page again."""
    marks = {name: answer[f"Next{name}"] for name in names if answer.get(f"Next{name}")}
    return (marks or None) if answer.get("IsTruncated") else None


class MultipartBucket(Bucket, Protocol):
    """A bucket that can say which uploads were not finished."""

    async def uploads(self, prefix: str, after: Mark | None) -> Uploads:
        """A page of the uploads under keys that begin with *prefix*."""
        ...

    async def parts(self, key: str, name: str, after: Mark | None) -> Parts | None:
        """A page of the parts of an upload; None if it is gone."""
        ...

    async def abort(self, key: str, name: str) -> None:
        """Throw an upload away; one that is gone is no error."""
        ...


class MultipartStore(RemoteStore):
    """A `RemoteStore` over a `MultipartBucket`, with the capability `Unfinished`."""

    def unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        """See `Unfinished.unfinished`. One request for each 1,000 uploads, and for each upload one for 1,000 parts.

        An upload is as old as the part that came last, so that a slow one does not look old. Of which the server tells
        no time, and what no store could have begun, is left out.
        """
        check_prefix(prefix)
        return self._unfinished(prefix)

    def abandon(self, writes: Iterable[UnfinishedWrite]) -> None:
        """See `Unfinished.abandon`. One request for each upload, many at once."""
        asked = [_checked(write) for write in writes]

        async def gone(bucket: Bucket) -> None:
            await gathered(self._abort(cast("MultipartBucket", bucket), write) for write in asked)

        self._run(gone)

    def _unfinished(self, prefix: str) -> Iterator[UnfinishedWrite]:
        after: Mark | None = None
        while True:
            found, after = self._run(lambda bucket, mark=after: self._page(bucket, prefix, mark))  # type: ignore[misc]
            yield from found
            if after is None:
                return

    async def _page(self, bucket: Bucket, prefix: str, after: Mark | None) -> tuple[list[UnfinishedWrite], Mark | None]:
        asked = cast("MultipartBucket", bucket)
        page = await self._ask(bucket, prefix, lambda full: asked.uploads(full, after))
        found = await gathered(self._weighed(asked, begun) for begun in page.begun if self._is_ours(begun, prefix))
        return [write for write in found if write is not None], page.after

    def _is_ours(self, begun: Begun, prefix: str) -> bool:
        """Whether a store may have begun an upload; the bucket may be somebody else's too."""
        with suppress(StoreError):
            check_key(self._key(begun))
            return begun.key.startswith(self.place.prefix + prefix)
        return False

    def _key(self, begun: Begun) -> str:
        return begun.key[len(self.place.prefix) :]

    async def _weighed(self, bucket: MultipartBucket, begun: Begun) -> UnfinishedWrite | None:
        size, moments = 0, [begun.at] if begun.at else []
        after: Mark | None = None
        while True:
            parts = await self._ask(
                bucket,
                self._key(begun),
                lambda full, mark=after: bucket.parts(full, begun.name, mark),  # type: ignore[misc]
            )
            if parts is None:
                return None
            size, after = size + parts.size, parts.after
            moments += parts.written
            if after is None:
                break
        return UnfinishedWrite(self._key(begun), begun.name, size, max(moments).astimezone(UTC)) if moments else None

    async def _abort(self, bucket: MultipartBucket, write: UnfinishedWrite) -> None:
        await self._ask(bucket, write.key, lambda full: bucket.abort(full, write.name), writes=True)


def _checked(write: UnfinishedWrite) -> UnfinishedWrite:
    """Without an id the request to throw away an upload would be one to delete the object."""
    if not write.name.isascii() or not write.name.isprintable() or not write.name.strip() or " " in write.name:
        raise not_unfinished(write)
    check_key(write.key)
    return write
