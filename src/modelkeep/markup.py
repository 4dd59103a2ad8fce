"""HTML and SVG as trees: what comes from outside is text or an attribute's value, and can never be anything else.

`xml.etree.ElementTree` keeps the trees and writes them out; this adds what it leaves open: which elements, attributes
and addresses there may be, and what becomes of characters that no page can hold.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TypeAlias
from xml.etree.ElementTree import Element, tostring

from modelkeep.errors import InvalidValueError

Child: TypeAlias = "Element | str | int | float | Iterable[Child] | None"

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,30}")
_RUNS = {"script", "style", "iframe", "object", "embed", "base", "meta", "link", "form", "foreignobject", "use"}
_ADDRESS = re.compile(r"https?://|#|data:image/(?:png|svg\+xml);base64,")
# what XML cannot hold, and the characters that turn the direction of text around them, so that it reads as another
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@cache
def _style() -> str:
    """The one style of views and pages; it touches nothing outside of them."""
    return resources.files("modelkeep").joinpath("markup.css").read_text(encoding="utf-8")


def readable(text: str) -> str:
    r"""*text* with a mark in place of each character that no page can hold, or that turns the direction of others.

    Example:
        >>> readable("a\x00b\u202ec")
        'a\ufffdb\ufffdc'
    """
    return _UNREADABLE.sub("\ufffd", text)


def tag(name: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element. Text among the children stays text, whatever is in it; None is left out.

    Args:
        name: of the element; those that run, load or style are refused.
        children: elements, texts, numbers, or several of these.
        attributes: by name; ``class_`` is ``class``, other underscores become hyphens; None is left out.

    Raises:
        InvalidValueError: the element or an attribute could run something, or an address leads to something else than
            a page, a place in this one, or an image that comes along.

    Example:
        >>> render(tag("td", "<b>", tag("em", 3), class_="number"))
        '<td class="number">&lt;b&gt;<em>3</em></td>'
    """
    if not _NAME.fullmatch(name) or name.lower() in _RUNS:
        raise InvalidValueError(f"an element {name:.40} has no place in a view", key=name)
    element = Element(name)
    for key, value in attributes.items():
        if value is not None:
            _set(element, key.rstrip("_").replace("_", "-"), value)
    _fill(element, children)
    return element


def _set(element: Element, key: str, value: str | float) -> None:
    text = readable(_text(value))
    if not _NAME.fullmatch(key) or key.lower().startswith("on") or key.lower() in ("style", "srcdoc", "action"):
        raise InvalidValueError(f"an attribute {key:.40} has no place in a view", key=key)
    if key in ("href", "src") and not _ADDRESS.match(text):
        raise InvalidValueError(f"{text:.80} is no address of a page or image", key=key)
    element.set(key, text)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)


def _fill(element: Element, children: Iterable[Child]) -> None:
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif isinstance(child, (str, int, float)):
            _add_text(element, readable(_text(child)))
        elif child is not None:
            _fill(element, child)


def _add_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def render(element: Element) -> str:
    """The element as HTML."""
    return tostring(element, encoding="unicode", method="html")


# -- shapes that views share ------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[Child]], *, caption: str | None = None) -> Element:
    """A table that scrolls sideways where it is too wide; numbers stand to the right.

    Args:
        head: the names of the columns; none, no head.
        rows: the cells of each row.
        caption: above it.

    Example:
        >>> '<td class="number">3</td>' in render(table(["rows"], [[3]]))
        True
    """
    top = tag("thead", tag("tr", [tag("th", name, scope="col") for name in head])) if head else None
    body = tag("tbody", [tag("tr", [_cell(one) for one in row]) for row in rows])
    return tag("div", tag("table", None if caption is None else tag("caption", caption), top, body), class_="wide")


def _cell(child: Child) -> Element:
    return tag("td", child, class_="number" if isinstance(child, (int, float)) else None)


def facts(named: Mapping[str, Child]) -> Element:
    """Names with what is said of each, as a list of definitions; what is None is left out."""
    return tag("dl", [(tag("dt", name), tag("dd", one)) for name, one in named.items() if one is not None])


def code(text: str) -> Element:
    """Text as it stands, in a frame."""
    return tag("pre", tag("code", text))


def view(*children: Child) -> str:
    """What a notebook shows: the children in a box with a style of its own, which touches nothing around it."""
    return f'<div class="mk"><style>{_style()}</style>{render(tag("div", children))}</div>'


def page(title: str, *children: Child) -> str:
    """One page that needs nothing else: no script, no request, and a policy that allows none."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"{render(tag('title', title))}<style>{style}</style></head>"
        f"<body>{render(tag('main', children, class_='mk'))}</body></html>\n"
    )
