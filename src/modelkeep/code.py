"""Which code made a version: what Git said of it, the function, and the cells and files that were asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

import attrs

from modelkeep.bounds import digest_in, object_of, text_of
from modelkeep.digest import digest_of

_T = TypeVar("_T")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_TEXT = 2 << 20  # characters; more than is ever captured
_MAX_WORD = 4096
_MAX_LIST = 2000
_WILD = re.compile(r"(^|/)\.\.?(/|$)|^/|^[A-Za-z]:|[\x00-\x1f\x7f\\]|//|^$")


def _text(value: object) -> str:
    return text_of(value, "a text of code", _MAX_TEXT)


def _word(value: object) -> str:
    return text_of(value, "a name in code", _MAX_WORD)


def _digest(value: object) -> str:
    return digest_in(value, "a digest of code")


def _maybe(value: object, read: Callable[[object], _T]) -> _T | None:
    return None if value is None else read(value)


def _list(value: object, read: Callable[[Any], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list) or len(value) > _MAX_LIST:
        raise ValueError(f"a list of at most {_MAX_LIST} is wanted")
    return tuple(read(one) for one in value)


def _relative(value: object) -> str:
    text = _word(value)
    if _WILD.search(text):
        raise ValueError("a path is relative, with '/' between names, and stays below its folder")
    return text


def _without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if part is not None and part not in ([], {})}


@attrs.frozen(kw_only=True)
class TrainingFunction:
    """The function that made a version.

    Args:
        name: its module and qualified name, ``churn.train:fit``; never imported.
        file: relative to the repository or the working folder; None for a cell of a notebook.
        source: its text, redacted and cut where it is very long.
        source_digest: of the redacted text.
        ast_digest: of what the text says; comments, docstrings and formatting do not count.
        calls: digests of the functions and classes of the project that it calls, by name.
    """

    name: str
    file: str | None = None
    source: str | None = None
    source_digest: str | None = None
    ast_digest: str | None = None
    calls: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def digest(self) -> str | None:
        """One digest of what the function says and all that it calls; equal for equal code. None if unknown.

        Example:
            >>> TrainingFunction(name="m:f").digest is None
            True
        """
        if self.ast_digest is None:
            return None
        return digest_of("modelkeep code 1", self.ast_digest, *(f"{d} {n}" for n, d in sorted(self.calls.items())))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "a function")
        calls = object_of(given.get("calls", {}), "calls")
        if len(calls) > _MAX_LIST:
            raise ValueError(f"calls are an object of at most {_MAX_LIST}")
        return cls(
            name=_word(given["name"]),
            file=_maybe(given.get("file"), _relative),
            source=_maybe(given.get("source"), _text),
            source_digest=_maybe(given.get("source_digest"), _digest),
            ast_digest=_maybe(given.get("ast_digest"), _digest),
            calls={_word(name): _digest(one) for name, one in calls.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """The form in a record; what is unknown is left out."""
        return _without_none(attrs.asdict(self, recurse=False) | {"calls": dict(self.calls)})


@attrs.frozen
class Cell:
    """One executed cell: its number, as in ``In [3]``, and its text, redacted."""

    number: int
    text: str

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        number = value["number"]
        if type(number) is not int or not 0 <= number < 1 << 53:
            raise ValueError("the number of a cell is a whole one")
        return cls(number, _text(value["text"]))

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        return attrs.asdict(self)


@attrs.frozen
class SourceFile:
    """One file of the project: its path relative to the project, and its text, redacted, with the digest of that."""

    path: str
    digest: str
    text: str

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        return cls(_relative(value["path"]), _digest(value["digest"]), _text(value["text"]))

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class Code:
    """The code that made a version; None and empty mean unknown or not asked for, and `notes` say why.

    Args:
        commit: hexadecimal.
        branch: as it was called then.
        remote: where the repository lies, without credentials.
        dirty: whether tracked files differed from the commit.
        changed: the names of those files, at most a hundred.
        diff: how they differed, if that was asked for; redacted, and cut where it is very long.
        function: what trained.
        cells: of the notebook, in the order in which they ran, if they were asked for.
        files: of the project, if they were asked for and there was no commit.
        notes: why something is unknown.

    Example:
        >>> code = Code(commit="0f" * 20, branch="main", dirty=False)
        >>> Code.from_json(code.to_json()) == code
        True
    """

    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    dirty: bool | None = None
    changed: tuple[str, ...] = ()
    diff: str | None = None
    function: TrainingFunction | None = None
    cells: tuple[Cell, ...] = ()
    files: tuple[SourceFile, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds; words of a newer release are left out.

        Raises:
            ValueError, TypeError, KeyError: it is something else, or longer than anything captured.
        """
        given = object_of(value, "code")
        commit, dirty = given.get("commit"), given.get("dirty")
        if commit is not None and not _COMMIT.fullmatch(_word(commit)):
            raise ValueError("a commit has 40 or 64 hexadecimal digits")
        if dirty is not None and type(dirty) is not bool:
            raise ValueError("dirty is true or false")
        return cls(
            commit=commit,
            branch=_maybe(given.get("branch"), _word),
            remote=_maybe(given.get("remote"), _word),
            dirty=dirty,
            changed=_list(given.get("changed", []), _word),
            diff=_maybe(given.get("diff"), _text),
            function=_maybe(given.get("function"), TrainingFunction.from_json),
            cells=_list(given.get("cells", []), Cell.from_json),
            files=_list(given.get("files", []), SourceFile.from_json),
            notes=_list(given.get("notes", []), _word),
        )

    def to_json(self) -> dict[str, Any]:
        """The form in a record; what is unknown is left out."""
        plain = attrs.asdict(self, recurse=False)
        listed = {name: [*plain[name]] for name in ("changed", "notes")}
        listed |= {name: [one.to_json() for one in plain[name]] for name in ("cells", "files")}
        function = {"function": self.function.to_json() if self.function else None}
        return _without_none(plain | listed | function)
