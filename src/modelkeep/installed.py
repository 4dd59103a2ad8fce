"""What is installed: `Distribution`, where it is from, and the lock that pins it. As a record holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

import attrs

from modelkeep.bounds import object_of, one_of, text_of
from modelkeep.digest import is_digest
from modelkeep.errors import shown
from modelkeep.releasenumbers import is_distribution_name, is_version_text, normalized

_MAX_DISTRIBUTIONS = 20_000
_MAX_LOCK = 8 << 20  # characters
_WORD = re.compile(r"[A-Za-z0-9._-]{1,60}")
_SYSTEM = re.compile(r"git|hg|svn|bzr")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The start is a list of what only fetches: ``ext::`` makes Git run a command.
_ADDRESS = re.compile(r"(?:https?|ssh|git|svn|ftp|file)://[A-Za-z0-9%/._~!$&'()*+,;=:@\[\]-]{1,1990}")
_PATTERNS = {"url": _ADDRESS, "vcs": _SYSTEM, "commit": _COMMIT, "sha256": _SHA256}
_KINDS = frozenset({"editable", "folder", "vcs", "archive", "unknown"})


@attrs.frozen(kw_only=True)
class Source:
    """Where a distribution was installed from, if not from an index (PEP 610).

    Args:
        kind: ``editable``, ``folder``, ``vcs``, ``archive``, or ``unknown`` where its note could not be read.
        url: the address without user, password and query; None where it could not be told what is secret in it.
        vcs: ``git``, ``hg``, ``svn`` or ``bzr``.
        commit: what was checked out.
        sha256: of the archive.
    """

    kind: str
    url: str | None = None
    vcs: str | None = None
    commit: str | None = None
    sha256: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"a distribution is not from {shown(self.kind):.80}")
        for key, pattern in _PATTERNS.items():
            if getattr(self, key) is not None:
                one_of(pattern, getattr(self, key), key)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "where a distribution is from")
        return cls(kind=text_of(given["kind"], "kind"), **{key: given.get(key) for key in _PATTERNS})

    def to_json(self) -> dict[str, str]:
        """The form in a record."""
        return {key: value for key, value in attrs.asdict(self).items() if value is not None}


@attrs.frozen
class Distribution:
    """An installed distribution.

    Args:
        name: as PEP 503 writes it.
        version: as its metadata says; of a loaded one, what was loaded.
        loaded: whether the process had imported it.
        source: where it was installed from, if not from an index.

    Example:
        >>> print(Distribution("numpy", "2.1.0"))
        numpy 2.1.0
    """

    name: str = attrs.field()
    version: str = attrs.field()
    loaded: bool = False
    source: Source | None = None

    @name.validator
    def _check_name(self, _: object, value: object) -> None:
        if not is_distribution_name(value) or normalized(str(value)) != value:
            raise ValueError(f"{shown(value):.80} is no distribution as PEP 503 writes it")

    @version.validator
    def _check_version(self, _: object, value: object) -> None:
        if not is_version_text(value):
            raise ValueError(f"{self.name} cannot have the version {shown(value):.80}")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@attrs.frozen
class Lock:
    """What pins the distributions: the project's own lock file, or one made on request.

    Args:
        name: of the file.
        digest: of its bytes.
        text: what it says, of one made on request; else None.
    """

    name: str
    digest: str
    text: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "a lock")
        if not is_digest(given["digest"]):
            raise ValueError(f"{shown(given['digest']):.80} is no digest")
        text = given.get("text")
        kept = None if text is None else text_of(text, "the text of a lock", _MAX_LOCK)
        return cls(one_of(_WORD, given["name"], "the name of a lock"), given["digest"], kept)

    def to_json(self) -> dict[str, str]:
        """The form in a record."""
        return {key: value for key, value in attrs.asdict(self).items() if value is not None}


def read_distributions(given: Mapping[str, Any]) -> Iterator[Distribution]:
    """Read the keys ``distributions``, ``loaded`` and ``sources`` of an environment; in the order of their names.

    Raises:
        ValueError, TypeError, KeyError: they hold something else.
    """
    versions = object_of(given.get("distributions", {}), "distributions")
    loaded = given.get("loaded", [])
    sources = object_of(given.get("sources", {}), "sources")
    if not isinstance(loaded, list) or max(len(versions), len(loaded), len(sources)) > _MAX_DISTRIBUTIONS:
        raise ValueError(f"an environment has at most {_MAX_DISTRIBUTIONS} distributions, and a list of loaded ones")
    imported = {text_of(name, "a loaded distribution") for name in loaded}
    if (imported | sources.keys()) - versions.keys():
        raise ValueError("a distribution is loaded, or from somewhere, that is not among the distributions")
    for name, version in sorted(versions.items()):
        source = Source.from_json(sources[name]) if name in sources else None
        yield Distribution(name, version, name in imported, source)
