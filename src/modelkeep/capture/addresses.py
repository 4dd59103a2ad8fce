"""Addresses without what is secret in them: no user, no password, no query, no fragment."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_LONGEST = 2000  # characters
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[A-Za-z0-9%/._~!$&'()*+,;=:\-]*")  # no "@": what stands before one may be a password
_FILE = re.compile(r"[A-Za-z0-9%/._~!$&'()*+,;=:@\-]*")
_SCHEMES = frozenset({"http", "https", "ssh", "git", "svn", "ftp"})


def without_credentials(address: object) -> str | None:
    """*address* as it can be shown: scheme, host, port and path; None where that cannot be told for certain.

    The user ``git`` of an SSH address stays, since everybody has that one. Nothing is guessed, as `redaction.parted`
    does: this is for addresses that programs wrote.

    Example:
        >>> without_credentials("https://ada:s3cret@git.example.org/a/b.git?token=x#y")
        'https://git.example.org/a/b.git'
        >>> without_credentials("https://ada:s3/cret@git.example.org/a") is None
        True
    """
    if not isinstance(address, str) or len(address) > _LONGEST or not address.isascii() or not address.isprintable():
        return None
    try:
        parts = urlsplit(address.removeprefix("git+"))
    except ValueError:
        return None
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme == "file":
        return f"file://{parts.path}" if not parts.netloc and _FILE.fullmatch(parts.path) else None
    if parts.scheme not in _SCHEMES or not _HOST.fullmatch(host) or not _PATH.fullmatch(parts.path):
        return None
    if "@" in parts.query + parts.fragment:  # "?" and "#" may stand in a password, too
        return None
    kept = "git@" if at and user == "git" and parts.scheme == "ssh" else ""
    return f"{parts.scheme}://{kept}{host}{parts.path}"
