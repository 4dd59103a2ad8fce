"""Tables and texts of a report, none of them longer than people read.

A record may hold megabytes: each table has a most of rows and each text one of characters, and what is left out is
said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelkeep import markup
from modelkeep.markup import Child, tag
from modelkeep.telling import in_words

MOST_ROWS = 300  # of a table
MOST_CELL, MOST_TEXT = 300, 20_000  # characters of a cell, and of a text


def cut(text: str, most: int = MOST_CELL) -> str:
    """The text, or its beginning and how much there is beside.

    Example:
        >>> cut("abcdef", 4)
        'abcd… (2 more)'
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more)"


def rows(head: Sequence[str], listed: Sequence[Sequence[Child]], *, caption: str | None = None) -> Child:
    """A table of at most `MOST_ROWS` rows; None of none."""
    if not listed:
        return None
    shown = [[cut(cell) if isinstance(cell, str) else cell for cell in row] for row in listed[:MOST_ROWS]]
    left_out = len(listed) - MOST_ROWS
    more = tag("p", f"and {left_out:,} more", class_="soft") if left_out > 0 else None
    return [markup.table(head, shown, caption=caption), more]


def named(head: str, values: Mapping[str, Any]) -> Child:
    """A table of values by name; numbers stand as such, and what is none is said in words."""
    return rows([head, "value"], [[name, number(value)] for name, value in values.items()])


def number(value: Any) -> Child:
    """A finite number as one, anything else in words."""
    return value if type(value) in (int, float) and in_words(value) == str(value) else in_words(value)


def coded(text: str | None) -> Child:
    """A digest and the like; None of none."""
    return None if text is None else tag("code", cut(text))


def notes(listed: Sequence[str]) -> Child:
    """Why something is not known; None of none."""
    return [tag("div", cut(note)) for note in listed] or None
