"""What to do about a store that refuses, fails or errs: one sentence for each way of doing so."""

from __future__ import annotations

import errno
from typing import Literal
from urllib.parse import urlsplit

from modelkeep.errors import (
    AccessError,
    FormatError,
    IntegrityError,
    MissingObjectError,
    ModelkeepError,
    ObjectExistsError,
    StoreError,
)

Verb = Literal["list", "get", "create", "put", "delete"]

UNSOUND = (
    "use a store with create-if-absent (on S3 an old botocore drops the condition: update it), or open it with "
    "single_writer=True if only one process ever writes"
)
NOT_CACHED = "reach the store without a cache or a proxy that caches: what is written must be seen at once"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_ON_S3: dict[Verb, str] = {
    "list": "s3:ListBucket on the bucket",
    "get": "s3:GetObject, and s3:ListBucket, without which what is missing looks denied,",
    "create": "s3:PutObject",
    "put": "s3:PutObject",
    "delete": "s3:DeleteObject",
}
_ON_GCS: dict[Verb, str] = {
    "list": "storage.objects.list",
    "get": "storage.objects.get, and storage.objects.list, without which what is missing looks denied,",
    "create": "storage.objects.create",
    "put": "storage.objects.create",
    "delete": "storage.objects.delete",
}
_ON_DISK: dict[Verb, str] = {
    "list": "the right to read and to enter the folder",
    "get": "the right to read the files",
    "create": "the right to write to the folder",
    "put": "the right to write to the folder",
    "delete": "the right to write to the folder",
}
_BY_KIND: dict[type[ModelkeepError], str] = {
    FormatError: "choose the registry's own place, or an empty one",
    IntegrityError: "bring the object back from a backup; modelkeep verify tells what else is wrong",
    MissingObjectError: NOT_CACHED,
    ObjectExistsError: "mend the store: it calls a key taken that nobody used",
}


def right_for(verb: Verb, url: str) -> str:
    """Name the permission that *verb* needs at *url*, in the words of its kind of storage.

    Example:
        >>> right_for("create", "s3://acme-ml/registry")
        's3:PutObject for s3://acme-ml/registry'
    """
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        return f"{_ON_S3[verb]} for {url}"
    if scheme in ("gs", "gcs"):
        return f"{_ON_GCS[verb]} for {url}"
    if scheme == "file":
        return f"{_ON_DISK[verb]} of {url}"
    return f"the right to {verb} at {url} ({_ON_S3[verb].split()[0].rstrip(',')} or {_ON_GCS[verb].split(',')[0]})"


def remedy_for(error: Exception, verb: Verb, url: str) -> str:
    """Say what to do about *error*, which *verb* raised at *url*.

    Example:
        >>> remedy_for(AccessError("denied"), "list", "gs://acme-ml/registry")
        'ask for storage.objects.list for gs://acme-ml/registry'
    """
    if isinstance(error, AccessError):
        return f"ask for {right_for(verb, url)}"
    if isinstance(error, FormatError) and "format" in error.facts:
        return "upgrade modelkeep"
    if isinstance(error, StoreError):
        return _for_failure(error, url)
    for kind, remedy in _BY_KIND.items():
        if isinstance(error, kind):
            return remedy
    return f"mend the store: only StoreErrors are to come out of it, and this is a {type(error).__name__}"


def _for_failure(error: StoreError, url: str) -> str:
    if error.facts.get("errno") in _NO_SPACE:
        return "make room on the disk"
    if urlsplit(url).scheme == "file":
        return "check that the disk is there, mounted and sound, and that the path leads through folders only"
    return "check endpoint, proxy, network and credentials, and run the doctor again"
