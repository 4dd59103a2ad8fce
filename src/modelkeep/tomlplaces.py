"""Where each key of a TOML text stands: `tomllib` tells the place of a slip in the syntax alone."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import attrs

Path = tuple[str | int, ...]  # keys, and indices of arrays, from the top on

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+')
_TEXT = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|\'\'\'(?:[^\']|\'{1,2}(?!\'))*\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}\n#]*")  # a number, a truth value, a date


@attrs.frozen
class Place:
    """A line and a column of a text, both counted from 1.

    Example:
        >>> str(Place(3, 7))
        'line 3, column 7'
    """

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def places(text: str) -> dict[Path, Place]:
    r"""The place of each key, and of each item of an array, in a text that `tomllib` reads; the first place of each.

    Example:
        >>> found = places('[a]\nb = [1, { c = 2 }]')
        >>> str(found["a", "b", 1, "c"])
        'line 2, column 11'
    """
    return _Walk(text.replace("\r\n", "\n")).all()


def place_of(text: str, path: Path) -> Place | None:
    """The place of *path*, or of the nearest that holds it; None if nothing of it is there."""
    found = places(text)
    return next((found[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in found), None)


class _Walk:
    """One walk through a text that is sound TOML."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, Place] = {}
        self._items: dict[Path, int] = {}  # tables that an array of tables has so far

    def all(self) -> dict[Path, Place]:
        within: Path = ()
        while self._skip(_BETWEEN) < len(self._text):
            if self._text[self._at] == "[":
                within = self._header()
            else:
                self._pair(within)
        return self._found

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _note(self, path: Path, at: int) -> None:
        line = self._text.count("\n", 0, at)
        self._found.setdefault(path, Place(line + 1, at - self._text.rfind("\n", 0, at)))

    def _header(self) -> Path:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        path = self._keys((), last=brackets == 1)
        self._at += brackets
        if brackets == 1:
            return path
        index = self._items.get(path, 0)
        self._items[path] = index + 1
        self._note((*path, index), self._text.rfind("[[", 0, self._at))
        return (*path, index)

    def _keys(self, within: Path, *, last: bool) -> Path:
        """A dotted key; of an array of tables those before the last lead into its newest table."""
        path = within
        while True:
            at = self._skip(_BLANK)
            key = self._text[at : self._skip(_KEY)]
            path = (*path, _plain(key))
            self._note(path, at)
            more = self._text.startswith(".", self._skip(_BLANK))
            if (more or last) and path in self._items:
                path = (*path, self._items[path] - 1)
            if not more:
                return path
            self._at += 1

    def _pair(self, within: Path) -> None:
        path = self._keys(within, last=False)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        match self._text[self._at : self._at + 1]:
            case "[":
                self._array(path)
            case "{":
                self._table(path)
            case '"' | "'":
                self._skip(_TEXT)
            case _:
                self._skip(_PLAIN)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(_BETWEEN)] != "]":
            self._note((*path, index), self._at)
            self._value((*path, index))
            index += 1
            if self._text[self._skip(_BETWEEN)] == ",":
                self._at += 1
        self._at += 1

    def _table(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip(_BETWEEN)] != "}":
            self._pair(path)
            if self._text[self._skip(_BETWEEN)] == ",":
                self._at += 1
        self._at += 1


def _plain(key: str) -> str:
    if not key.startswith('"'):
        return key.strip("'")
    read: dict[str, Any] = tomllib.loads(f"{key} = 0")
    return next(iter(read))
