"""What is known about a version: its files, its record, its place. Facts only; every value parses or refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from modelkeep.digest import digest, digest_of, is_digest
from modelkeep.errors import InvalidValueError, shown
from modelkeep.ref import check_model_name
from modelkeep.signature import Signature

_PACK = re.compile(r"[0-9a-f]{32}-[0-9]{1,6}")
_MAX_PATH = 4096  # characters; without a limit a path of 300 stored bytes could take hours to look at
_PART = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_PARTS, _MAX_PART_NAME = 100, 40
_MAX = 1 << 53  # what JSON readers in any language keep exactly


def is_pack(value: object) -> bool:
    """Whether *value* is the id of a pack: ``<transaction>-<n>``; anything else never becomes a key."""
    return isinstance(value, str) and _PACK.fullmatch(value) is not None


def transaction_of(pack: str) -> str:
    """The transaction that wrote a pack."""
    return pack.partition("-")[0]


def is_count(value: object) -> bool:
    """Whether *value* is a whole number from 0 on that JSON keeps exactly."""
    return type(value) is int and 0 <= value <= _MAX


@attrs.frozen
class Place:
    """Where the manifest of a version lies: a pack, and the offset and length in bytes within it."""

    pack: str
    offset: int
    length: int

    @classmethod
    def parse(cls, value: object) -> Place:
        """Read ``[pack, offset, length]``.

        Raises:
            ValueError: it is something else.
        """
        if type(value) is list and len(value) == 3:  # noqa: PLR2004  as the docstring says
            pack, offset, length = value
            if is_pack(pack) and is_count(offset) and is_count(length):
                return cls(pack, offset, length)
        raise ValueError("a place is [pack, offset, length]")

    def to_json(self) -> list[str | int]:
        """The form in entries."""
        return [self.pack, self.offset, self.length]


def check_path(path: str) -> str:
    """Return *path* if a file of a version can bear it: relative, with ``/``, no ``.`` or ``..``, nothing odd.

    Raises:
        InvalidValueError: it cannot; the message quotes it.

    Example:
        >>> check_path("weights/model.safetensors")
        'weights/model.safetensors'
    """
    if isinstance(path, str) and len(path) > _MAX_PATH:
        raise InvalidValueError(
            f"file path {path[:80]!r}… has {len(path)} characters, and {_MAX_PATH} are allowed", path=path[:80]
        )
    parts = path.split("/") if isinstance(path, str) else [""]
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\x00-\x1f\x7f\\:\ud800-\udfff]", path):
        raise InvalidValueError(
            f"file path {path!r} must be relative, with '/' between names and none of . .. : \\ or control characters, "
            "and valid Unicode",
            path=path,
        )
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Whether files of these paths can lie in one folder together.

    Raises:
        InvalidValueError: one cannot be a path, is there twice, or is a folder of another.
    """
    seen: set[str] = set()
    for path in paths:
        if check_path(path) in seen:
            raise InvalidValueError(f"file path {path!r} is there twice", path=path)
        seen.add(path)
    for path in seen:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in seen:
                raise InvalidValueError(f"file path {parent!r} is also the folder of {path!r}", path=parent)
            parent = parent.rpartition("/")[0]


@attrs.frozen
class FileFacts:
    """One file of a version: path, size in bytes, digest.

    The digest is the BLAKE3 of the bytes (what ``b3sum`` prints) for a file of one piece, and of the list of piece
    digests and lengths for one of several; a file with a tensor of 16 KiB often has several.
    """

    path: str
    size: int
    digest: str


@attrs.frozen
class StoredFile(FileFacts):
    """One file of a version, and what it takes in storage.

    Args:
        path: its name in the version.
        size: in bytes; what loading it gives.
        digest: see `FileFacts`.
        stored: the bytes of its pieces as they are stored, each piece counted once.
        shared: those of them that earlier versions had written already.
    """

    stored: int
    shared: int


def content_digest(files: tuple[FileFacts, ...]) -> str:
    """The digest of files alone: equal bytes under equal paths have equal content."""
    lines = (f"{file.size} {file.digest} {file.path}" for file in sorted(files, key=lambda file: file.path))
    return digest_of("modelkeep content 1", *lines)


def identity_digest(content: str, record: bytes, named: int | str) -> str:
    """The digest that is a version: its content, the bytes of its record, and its number; of a draft, its id."""
    return digest_of("modelkeep version 1", content, digest(record), str(named))


@attrs.frozen
class Parent:
    """A version that this one was made from, by name, number and identity; it may lie in another model.

    Example:
        >>> str(Parent("churn", 6, "0" * 64))
        'churn:6'
    """

    name: str
    number: int
    identity: str = attrs.field()

    @identity.validator
    def _check(self, _: object, value: object) -> None:
        if not is_digest(value):
            raise InvalidValueError(f"{shown(value)} is no digest", key="identity")

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"


def check_parent(parent: Parent) -> Parent:
    """Return *parent* if a version can have it.

    Raises:
        InvalidNameError: no model can bear its name.
        InvalidValueError: its number is none.
    """
    check_model_name(parent.name)
    if not is_count(parent.number) or not parent.number:
        raise InvalidValueError(f"the parent's number is {shown(parent.number)}; give a version's", key="parent")
    return parent


@attrs.frozen
class Origin:
    """Where an adopted file came from: its name, and when it was last changed."""

    path: str
    modified: str


def check_part(name: object) -> str:
    """Return *name* if a part of a version can bear it, and so a folder: small letters, digits and single hyphens.

    Raises:
        InvalidValueError: it cannot; the message quotes it.

    Example:
        >>> check_part("golden-inputs")
        'golden-inputs'
    """
    if not isinstance(name, str) or len(name) > _MAX_PART_NAME or not _PART.fullmatch(name):
        raise InvalidValueError(
            f"{shown(name):.80} is no name of a part; one has at most {_MAX_PART_NAME} of a-z, 0-9 and '-'", key="parts"
        )
    return name


@attrs.frozen(kw_only=True)
class Part:
    """What a version holds beside the model, in a folder of its own: what wrote that, and of what class it is.

    Args:
        serializer: what wrote its files.
        serializer_format: the number of that serializer's file layout.
        packages: versions of the distributions that the serializer names.
        type: the class of the object that was saved.
    """

    serializer: str
    serializer_format: int
    packages: dict[str, str]
    type: str


@attrs.frozen
class Tolerance:
    """How far outputs may lie from those that were kept: ``|now - then| <= atol + rtol * |then|``, as in NumPy.

    Example:
        >>> Tolerance(rtol=0.01)
        Tolerance(rtol=0.01, atol=1e-08)
    """

    rtol: float = attrs.field(default=1e-5)
    atol: float = attrs.field(default=1e-8)

    @rtol.validator
    @atol.validator
    def _check(self, attribute: attrs.Attribute[float], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise InvalidValueError(
                f"{attribute.name} is {shown(value)}; give a number from 0 on, such as 1e-5", key=attribute.name
            )

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        return cls(value["rtol"], value["atol"])


def check_made(_: object, __: object, value: object) -> None:
    """Refuse what a record cannot say of what made a version; keys of a newer release stay.

    Raises:
        InvalidValueError: `code`, `environment` or `session` is no object, or `data` no list of objects.
    """
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"made is a {type(value).__name__}; it is an object", key="made")
    for name in ("code", "environment", "session"):
        if not isinstance(value.get(name, {}), Mapping):
            raise InvalidValueError(f"made.{name} is a {type(value[name]).__name__}; it is an object", key="made")
    listed = value.get("data", [])
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise InvalidValueError("made.data is no list of objects", key="made")


@attrs.frozen(kw_only=True)
class Record:
    """What a version knows about itself from its save; it never changes.

    Args:
        params: what went into training.
        metrics: what was measured.
        tags: short texts by name, given at the save.
        notes: free text.
        parents: versions that it was made from.
        serializer: what wrote its files.
        serializer_format: the number of that serializer's file layout.
        packages: versions of the distributions that the serializer names.
        type: the class of the object that was saved.
        python: the version of Python.
        host: the machine that saved it.
        origin: for an adopted file or folder, where it came from.
        parts: what lies beside the model, by the name of its folder.
        signature: what the model takes and gives.
        golden: how far a replay of the golden inputs may lie from the golden outputs.
        tier: what the gate of trust said of the model's form at the save, for people to read; None where that takes a
            look into the files. The gate itself never asks a record.
        made: what made it: `code`, `environment` and `session` as objects, `data` as a list; see design note 11.
    """

    params: dict[str, Any]
    metrics: dict[str, Any]
    tags: dict[str, str]
    notes: str
    parents: tuple[Parent, ...]
    serializer: str
    serializer_format: int
    packages: dict[str, str]
    type: str
    python: str
    host: str
    origin: Origin | None = None
    parts: dict[str, Part] = attrs.field(factory=dict)
    signature: Signature | None = None
    golden: Tolerance | None = None
    tier: str | None = None
    made: dict[str, Any] = attrs.field(factory=dict, validator=check_made)

    @parts.validator
    def _check_parts(self, _: object, value: Mapping[object, object]) -> None:
        if len(value) > _MAX_PARTS:
            raise InvalidValueError(f"a version has {len(value)} parts, and {_MAX_PARTS} are allowed", key="parts")
        for name in value:
            check_part(name)
