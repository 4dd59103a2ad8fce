"""Names and versions of distributions, as PEP 503 and PEP 440 write them.

Only what a comparison needs is read: the epoch, the release part, and the local part. ``packaging`` reads all of it,
and is not among our dependencies.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")
_PUBLIC = re.compile(
    r"v?(?:(?P<epoch>[0-9]{1,9})!)?(?P<release>[0-9]{1,18}(?:\.[0-9]{1,18}){0,19})"
    r"(?P<rest>(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?[0-9]*)?"
    r"(?:-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?"
    r"(?:[-_.]?dev[-_.]?[0-9]*)?)",
    re.IGNORECASE,
)
_LOCAL = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*", re.IGNORECASE)


def is_distribution_name(name: object) -> bool:
    """Whether a distribution can bear *name* (PEP 508)."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_version_text(version: object) -> bool:
    """Whether *version* consists of what versions consist of; so it can stand in a command."""
    return isinstance(version, str) and _VERSION.fullmatch(version) is not None


def normalized(name: str) -> str:
    """The one form of a distribution's name (PEP 503).

    Example:
        >>> normalized("Scikit_Learn")
        'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def release_of(version: str) -> tuple[int, tuple[int, ...], str] | None:
    """The epoch, the release without zeros at its end, and what follows it but for the local part; None: not PEP 440.

    Example:
        >>> release_of("2.1.0"), release_of("1!2.1rc1+cpu"), release_of("2004d")
        ((0, (2, 1), ''), (1, (2, 1), 'rc1'), None)
    """
    public, _, local = version.partition("+")
    found = _PUBLIC.fullmatch(public)
    if found is None or ("+" in version and not _LOCAL.fullmatch(local)):
        return None
    numbers = [int(part) for part in found["release"].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return int(found["epoch"] or 0), tuple(numbers), found["rest"].lower()


def local_of(version: str) -> str:
    """The local part, which tells builds of one release apart.

    Example:
        >>> local_of("2.13.0+cpu"), local_of("2.13.0")
        ('cpu', '')
    """
    return version.partition("+")[2]
