"""Markdown that holds text from anywhere: it is shown as that text, and makes no heading, link, image or element.

There are many readers of Markdown, and they agree on one thing: a character reference such as ``&#42;`` is a character
and never structure. So whatever could be structure is written as one, where it stands so that it could be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from modelkeep.markup import readable

# All ASCII punctuation but , ; / % ? ( ) and what is harmless where it stands: a.b a-b a_b a:1, as in names and
# numbers. GitHub makes links of www. and http:; "1." and "1)" at the beginning of a line begin a list.
_STRUCTURE = re.compile(
    r"""[!"#$&'*+<=>@\[\\\]^`{|}~]
    | (?<![^\W_])[-._:] | [-._](?![^\W_]) | (?<=www)\.
    | :(?![\d\s])""",
    re.VERBOSE | re.IGNORECASE,
)
_LISTED = re.compile(r"\A(\d{1,9})\)")


def escaped(text: str) -> str:
    """The text for a place within a line, on one line; it is read as it stands, and adds nothing to the page.

    Example:
        >>> escaped("churn:7, <b>*new*")
        'churn:7, &#60;b&#62;&#42;new&#42;'
        >>> escaped("churn:7 (1.3.0)"), escaped("1) first")
        ('churn:7 (1.3.0)', '1&#41; first')
    """
    found = _STRUCTURE.sub(lambda found: f"&#{ord(found[0])};", " ".join(readable(text).split()))
    return _LISTED.sub(r"\1&#41;", found)


def quoted(text: str) -> str:
    r"""The text as a block quote, line by line.

    Example:
        >>> print(quoted("It is good.\n# Really"))
        > It is good&#46;
        >
        > &#35; Really
    """
    return "\n>\n".join(f"> {line}" for line in map(escaped, readable(text).splitlines()) if line)


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts; each cell is escaped.

    Example:
        >>> print(table(["metric", "value"], [["a|b", "0.9"]]))
        | metric | value |
        | --- | --- |
        | a&#124;b | 0.9 |
    """
    lines = [list(map(escaped, head)), ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
