"""A view as a reader sees it: its text, the rows of its tables, and its badges."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from sights import html_of


class Read(HTMLParser):
    """Text, rows of tables, and badges of a view."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.badges: list[str] = []
        self.text = ""
        self._into: list[str] = []
        self.feed(re.sub("<style>.*?</style>", "", html, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if "badge" in (dict(attrs).get("class") or ""):
            self.badges.append("")
        self._into.append("badge" if "badge" in (dict(attrs).get("class") or "") else tag)

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._into.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self._into):
            self.rows[-1][-1] += data
        if "badge" in self._into:
            self.badges[-1] += data

    def row(self, first: str) -> list[str]:
        """The row that begins with *first*."""
        return next([cell.strip() for cell in row] for row in self.rows if row and row[0].strip() == first)


def read(shown: object) -> Read:
    return Read(html_of(shown))
