"""Names and references such as ``churn``, ``churn:7``, ``churn:1.3.0``, ``churn:^1.3``, ``churn@production``.

Every value here parses or refuses, quoting what came in; ``str(parse(text)) == text`` for what parses.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from functools import lru_cache, total_ordering
from typing import Self

import attrs

from modelkeep.errors import InvalidNameError, InvalidRefError, shown

MAX_NAME_BYTES = 200  # encoded; a disk takes 255, and suffixes and temporary names need room
MAX_ALIAS_CHARACTERS = 100

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_FORBIDDEN = ":@#/~+^\\*"
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_ENCODED = re.compile(r"(?:[a-z0-9_.-]|%[0-9a-f]{2})+")


def encode_name(name: str) -> str:
    """Encode *name* as the folder that holds it: lower-case ASCII, for ever the same, safe on any disk.

    Raises:
        InvalidNameError: the name cannot be used; the message quotes it and, for length, tells the count.

    Example:
        >>> encode_name("churn"), encode_name("Churn"), encode_name("taux d'été")
        ('churn', '%43hurn', 'taux%20d%27%c3%a9t%c3%a9')
    """
    if not isinstance(name, str):
        raise InvalidNameError(f"model name {shown(name)} is a {type(name).__name__}; give text", name=name)
    return _encode(name)


@lru_cache(maxsize=1024)  # every key of a model is made of it
def _encode(name: str) -> str:
    fault = _fault_of(name)
    if fault:
        raise InvalidNameError(f"model name {name!r} {fault}", name=name)
    encoded = "".join(chr(byte) if byte in _SAFE else f"%{byte:02x}" for byte in name.encode())
    if encoded.endswith("."):  # Windows drops a trailing dot
        encoded = encoded[:-1] + "%2e"
    if encoded.startswith("."):  # a hidden file on Unix
        encoded = "%2e" + encoded[1:]
    if len(encoded) > MAX_NAME_BYTES:
        raise InvalidNameError(
            f"model name {name!r} takes {len(encoded)} bytes when encoded, and {MAX_NAME_BYTES} are allowed; "
            "shorten it, and keep the long form as the model's title",
            name=name,
            length=len(encoded),
        )
    return encoded


def decode_name(encoded: str) -> str:
    """Read back what `encode_name` wrote.

    Raises:
        InvalidNameError: *encoded* was not written by `encode_name`.

    Example:
        >>> decode_name("%43hurn")
        'Churn'
    """
    if isinstance(encoded, str) and _ENCODED.fullmatch(encoded):
        raw = re.sub(rb"%(..)", lambda found: bytes([int(found[1], 16)]), encoded.encode())
        with suppress(UnicodeDecodeError, InvalidNameError):
            name = raw.decode()
            if encode_name(name) == encoded:
                return name
    raise InvalidNameError(f"{shown(encoded)} is not an encoded name", name=encoded)


def _fault_of(name: str) -> str | None:  # noqa: PLR0911  one line for each rule reads best
    if not name:
        return "is empty; give at least one character"
    bad = sorted({c for c in name if c in _FORBIDDEN})
    if bad:
        return f"contains {' '.join(bad)}, which references use; leave it out"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Cn", "Zl", "Zp") for c in name):
        return "contains a control or unassigned character; leave it out"
    if name.strip() != name:
        return "begins or ends with a space; strip it"
    if name in (".", ".."):
        return "means a folder; choose another"
    if unicodedata.normalize("NFC", name) != name:
        return "is not in Unicode normal form C; pass it through unicodedata.normalize('NFC', name)"
    if _DEVICES.fullmatch(name):
        return "is a device on Windows; choose another"
    return None


def check_model_name(name: str) -> str:
    """Return *name* if a model can bear it.

    Raises:
        InvalidNameError: it cannot; the message quotes it and says why.
    """
    encode_name(name)
    return name


def check_dataset_name(name: str) -> str:
    """Return *name* if a dataset can bear it: the rules are those of models.

    Raises:
        InvalidNameError: it cannot; the message quotes it and says why.

    Example:
        >>> check_dataset_name("a/b")
        Traceback (most recent call last):
        modelkeep.errors.InvalidNameError: dataset name 'a/b' contains /, which references use; leave it out
    """
    try:
        return check_model_name(name)
    except InvalidNameError as error:
        raise InvalidNameError(str(error).replace("model", "dataset", 1), **error.facts) from None


_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def check_alias(alias: str) -> str:
    """Return *alias* if it can be one: a letter or underscore, then letters, digits and ``_ - .``.

    Raises:
        InvalidNameError: it cannot. Numbers are versions, ``latest`` is what the bare name means.

    Example:
        >>> check_alias("production")
        'production'
    """
    if not isinstance(alias, str):
        raise InvalidNameError(f"alias {shown(alias)} is a {type(alias).__name__}; give text", name=alias)
    if len(alias) > MAX_ALIAS_CHARACTERS:
        raise InvalidNameError(
            f"alias {alias!r} has {len(alias)} characters, and {MAX_ALIAS_CHARACTERS} are allowed; shorten it",
            name=alias,
            length=len(alias),
        )
    if re.fullmatch(r"[0-9]+", alias):
        raise InvalidNameError(
            f"alias {alias!r} is a number, and numbers name versions; write ':{alias}' for that version "
            "or choose a word",
            name=alias,
        )
    if alias == "latest":
        raise InvalidNameError(
            "alias 'latest' is reserved: the bare name of a model already means its latest version",
            name=alias,
        )
    if not _ALIAS.fullmatch(alias):
        raise InvalidNameError(
            f"alias {alias!r} must begin with a letter or underscore and go on with letters, digits, _ - .",
            name=alias,
        )
    return alias


_NUMBER = r"(0|[1-9][0-9]*)"
_PRE_PART = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PRE_PART}(?:\.{_PRE_PART})*))?", re.ASCII)
_CARET = re.compile(rf"\^{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?", re.ASCII)
_MAX_CHARACTERS = 100  # of a label, range, variant or branch


@total_ordering
@attrs.frozen(eq=True, order=False)
class Label:
    """A semantic version (Semantic Versioning 2.0.0, without build metadata) that names a model version.

    Example:
        >>> Label.parse("1.3.0") < Label.parse("1.10.0")
        True
        >>> str(Label.parse("1.3.0").bump("minor"))
        '1.4.0'
    """

    major: int
    minor: int
    patch: int
    pre: str = ""

    def __attrs_post_init__(self) -> None:
        text = str(self)
        if not (all(map(_is_count, self.numbers)) and isinstance(self.pre, str) and _SEMVER.fullmatch(text)):
            raise InvalidRefError(_not_semantic(text), text=text)
        _check_length("label", text)

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Major, minor and patch."""
        return self.major, self.minor, self.patch

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``1.3.0`` or ``2.0.0-rc.1``.

        Raises:
            InvalidRefError: *text* is not a semantic version.
        """
        found = _SEMVER.fullmatch(_check_length("label", text))
        if not found:
            raise InvalidRefError(_not_semantic(text), text=text)
        return cls(int(found[1]), int(found[2]), int(found[3]), found[4] or "")

    def bump(self, part: str) -> Label:
        """The next label: ``major``, ``minor`` or ``patch``; a pre-release is followed by its own release.

        Source: the increments of npm's semver.

        Raises:
            InvalidRefError: *part* is another word.
        """
        if part == "major":
            ahead = self.pre and not self.minor and not self.patch  # 2.0.0-rc.1 is followed by 2.0.0 itself
            return Label(self.major if ahead else self.major + 1, 0, 0)
        if part == "minor":
            return Label(self.major, self.minor if self.pre and not self.patch else self.minor + 1, 0)
        if part == "patch":
            return Label(self.major, self.minor, self.patch if self.pre else self.patch + 1)
        raise InvalidRefError(f"bump {shown(part)} is not known; choose 'major', 'minor' or 'patch'", text=part)

    def _key(self) -> tuple[object, ...]:
        # SemVer 2.0.0, rule 11: a pre-release comes before its release; numbers before words
        parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split(".")] if self.pre else []
        return (*self.numbers, not self.pre, parts)

    def __lt__(self, other: Label) -> bool:
        return self._key() < other._key() if isinstance(other, Label) else NotImplemented

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        return f"{core}-{self.pre}" if self.pre else core


def _not_semantic(text: str) -> str:
    return f"label {text!r} is not a semantic version; write three numbers, such as 1.3.0 or 2.0.0-rc.1"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 10**_MAX_CHARACTERS  # True is an int, too


def _check_length(what: str, text: str) -> str:
    if not isinstance(text, str):
        raise InvalidRefError(f"{what} {shown(text)} is a {type(text).__name__}; give text", text=text)
    if len(text) > _MAX_CHARACTERS:
        raise InvalidRefError(
            f"{what} {text!r} has {len(text)} characters, and {_MAX_CHARACTERS} are allowed; shorten it",
            text=text,
            length=len(text),
        )
    return text


@attrs.frozen
class Caret:
    """A range such as ``^1.3``: from 1.3.0 up to 2.0.0, which is outside; ``^0.3`` ends before 0.4.0.

    Pre-releases lie in no range.

    Source: the caret ranges of npm's semver.

    Example:
        >>> Label.parse("1.9.0") in Caret.parse("^1.3"), Label.parse("2.0.0") in Caret.parse("^1.3")
        (True, False)
    """

    numbers: tuple[int, ...]

    def __attrs_post_init__(self) -> None:
        if not (isinstance(self.numbers, tuple) and all(map(_is_count, self.numbers)) and _CARET.fullmatch(str(self))):
            raise InvalidRefError(
                f"range {shown(self.numbers)} must be one to three numbers from 0 on", text=self.numbers
            )
        _check_length("range", str(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``^1``, ``^1.3`` or ``^1.3.2``.

        Raises:
            InvalidRefError: *text* is no such range.
        """
        found = _CARET.fullmatch(_check_length("range", text))
        if not found:
            raise InvalidRefError(f"range {text!r} cannot be read; write ^1, ^1.3 or ^1.3.2", text=text)
        return cls(tuple(int(part) for part in found.groups() if part is not None))

    def __contains__(self, label: Label) -> bool:
        if label.pre:
            return False
        fixed = 1 + next((i for i, n in enumerate(self.numbers) if n), len(self.numbers) - 1)
        return label.numbers[:fixed] == self.numbers[:fixed] and label.numbers >= self.numbers

    def __str__(self) -> str:
        return "^" + ".".join(map(str, self.numbers))


@attrs.frozen
class Alias:
    """The selector of ``churn@production``."""

    name: str = attrs.field(converter=check_alias)


def _check_digest(prefix: str) -> str:
    if not isinstance(prefix, str):
        raise InvalidRefError(f"digest {shown(prefix)} is a {type(prefix).__name__}; give text", text=prefix)
    if not _DIGEST.fullmatch(prefix):
        raise InvalidRefError(
            f"digest {prefix!r} of {len(prefix)} characters must be 4 to 64 of the digits 0-9 a-f",
            text=prefix,
        )
    return prefix


@attrs.frozen
class Digest:
    """The selector of ``churn#b3f1…``: an identity or content digest, or its first digits, at least four."""

    prefix: str = attrs.field(converter=_check_digest)


Selector = None | int | Label | Caret | Alias | Digest

_DIGEST = re.compile(r"[0-9a-f]{4,64}")
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]*")
_MAX_NUMBER = 10**15  # what JSON readers in any language keep exactly


def _check_selector(selector: Selector) -> Selector:
    if selector is None or isinstance(selector, (Label, Caret, Alias, Digest)):
        return selector
    if type(selector) is not int:  # True is an int, too
        raise InvalidRefError(
            f"selector {shown(selector)} is a {type(selector).__name__}; "
            "give None, a number, Label, Caret, Alias or Digest, or parse a reference",
            text=selector,
        )
    if not 1 <= selector <= _MAX_NUMBER:
        raise InvalidRefError(f"version number {shown(selector)} must lie between 1 and 10^15", text=selector)
    return selector


def _check_word(word: str | None) -> str | None:
    if word is not None and not _WORD.fullmatch(_check_length("variant or branch", word)):
        raise InvalidRefError(
            f"variant or branch {word!r} must be lower-case letters, digits and . _ -, not first . _ -",
            text=word,
        )
    return word


def check_kind(kind: str) -> str:
    """Return *kind* if variants can be of it: lower-case letters, digits and ``. _ -``, the first none of these three.

    Raises:
        InvalidRefError: it cannot; the message quotes it.

    Example:
        >>> check_kind("onnx-int8")
        'onnx-int8'
    """
    if not isinstance(kind, str) or not _WORD.fullmatch(_check_length("kind", kind)):
        raise InvalidRefError(
            f"kind {shown(kind)} must be lower-case letters, digits and . _ -, not first . _ -, such as 'onnx-int8'",
            text=kind,
        )
    return kind


_REFERENCE = re.compile(r"([^:@#/~]*)(?:~([^:@#/~]+))?(?:([:@#])([^:@#/~]*))?(?:/([^:@#/~]+))?")


@attrs.frozen
class ModelRef:
    """A reference to a version of a model.

    Args:
        name: the model.
        selector: None (the latest), a number, a `Label`, a `Caret` range, an `Alias` or a `Digest`.
        variant: the kind of one of its variants (``churn:7/onnx-int8``).
        branch: reserved (``churn~branch:3``).

    Example:
        >>> ModelRef.parse("churn@production").selector
        Alias(name='production')
        >>> str(ModelRef("churn", 7))
        'churn:7'
    """

    name: str = attrs.field(converter=check_model_name)
    selector: Selector = attrs.field(default=None, converter=_check_selector)
    variant: str | None = attrs.field(default=None, converter=_check_word)
    branch: str | None = attrs.field(default=None, converter=_check_word)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Raises:
            InvalidRefError: *text* cannot be read; the message quotes it.
            InvalidNameError: the model name or alias in it cannot be one.
        """
        if not isinstance(text, str):
            raise InvalidRefError(f"reference {shown(text)} is a {type(text).__name__}; give text", text=text)
        found = _REFERENCE.fullmatch(text)
        if not found:
            raise _unreadable(text)
        name, branch, mark, rest, variant = found.groups()
        return cls(name, _selector(text, mark, rest), variant, branch)

    def __str__(self) -> str:
        chosen = self.selector
        match chosen:
            case None:
                tail = ""
            case Alias(name=alias):
                tail = f"@{alias}"
            case Digest(prefix=prefix):
                tail = f"#{prefix}"
            case _:
                tail = f":{chosen}"
        branch = f"~{self.branch}" if self.branch else ""
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.name}{branch}{tail}{variant}"


def _unreadable(text: str) -> InvalidRefError:
    return InvalidRefError(
        f"reference {text!r} cannot be read; write name, name:7, name:1.3.0, name:^1.3, name@alias or name#digest",
        text=text,
    )


def _selector(text: str, mark: str | None, rest: str | None) -> Selector:
    if mark is None:
        return None
    if not rest:
        raise _unreadable(text)
    if mark == "@":
        return Alias(rest)
    if mark == "#":
        return Digest(rest)
    if re.fullmatch(r"[0-9]+", rest, re.ASCII):
        if rest.startswith("0") or int(rest[:20]) > _MAX_NUMBER:
            raise InvalidRefError(
                f"version number {rest!r} in {text!r} must lie between 1 and 10^15 and begin with 1-9",
                text=text,
            )
        return int(rest)
    return Caret.parse(rest) if rest.startswith("^") else Label.parse(rest)
