"""URLs: which texts are one, and what may be kept of it."""

from __future__ import annotations

import re

from modelkeep.redaction import is_host, parted

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")


def is_url(text: str) -> bool:
    """Whether a text is a URL, plain or chained.

    Example:
        >>> is_url("s3://bucket/train.parquet"), is_url("simplecache::s3://bucket/x"), is_url("C:/x")
        (True, True, False)
    """
    return bool(_URL.match(text))


def redacted(url: str) -> str:
    """A URL without user, password, query and fragment; “…” where it cannot be told what is secret.

    Example:
        >>> redacted("https://me:secret@host:8080/a/b.csv?sig=abc#x")
        'https://host:8080/a/b.csv'
        >>> redacted("simplecache::s3://key:secret@bucket/x")
        'simplecache::s3://bucket/x'
    """
    return "::".join(_without(part) for part in url.split("::"))


def _without(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return scheme if re.fullmatch(r"[A-Za-z0-9+.-]*", scheme) else "…"
    _, host, path = parted(rest)
    return f"{scheme}://{host}{path}" if is_host(host) else f"{scheme}://…"
