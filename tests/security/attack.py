"""What is let in: the files, what they are called, and what must be said when they are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from security.assembling import Name, names_in

MARK = "marker-ran"  # a file in the folder where a load runs: nothing but a payload makes it
CANARY = "canary_module"  # a module that makes the marker when it is imported
TOUCH = f"echo > {MARK}"  # for a shell
MAKE = f"open({MARK!r}, 'w').close()"  # for Python


@attrs.frozen
class Gadget:
    """Something that harms when it is loaded, however it is spelled.

    Args:
        name: what it is called.
        part: what the pickle does.
    """

    name: str
    part: Any

    @property
    def says(self) -> tuple[str, ...]:
        """What a refusal may name: any of its names."""
        return tuple(dict.fromkeys(said for name in names_in(self.part) for said in _shown(name)))


def _shown(name: Name) -> tuple[str, ...]:
    """A name as a message spells it: what cannot be printed is escaped."""
    text = str(name)
    escaped = repr(text)[1:-1]
    lines = ".".join(f"{name.module}\n{name.attr}".split("\n")[:2])  # what a name of lines is, if it has more than two
    parts = (repr(name.module), repr(name.attr), text[:40])
    return tuple(dict.fromkeys((text, escaped, ascii(text)[1:-1], *parts, lines)))


@attrs.frozen
class Attack:
    """Files that would harm whoever loads them.

    Args:
        kind: the family.
        name: what it is called in its family.
        raw: the one file; or makes it, where it is large.
        suffix: how the one file is called behind its stem.
        says: one of these stands in the refusal; none: anything may.
        files: makes several files instead, by path.
        serializer: what the record says wrote them.
        format: and in which layout.
        needs: serializers that must be installed for it to be more than an unknown name.
        unpickles: whether the restricted reader may have begun to run it before it is refused.
    """

    kind: str
    name: str
    raw: bytes | Callable[[], bytes] = b""
    suffix: str = ".pkl"
    says: tuple[str, ...] = ()
    files: Callable[[], Mapping[str, bytes]] | None = None
    serializer: Any = ""
    format: Any = 1
    needs: tuple[str, ...] = ()
    unpickles: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"

    def bytes(self) -> bytes:
        """The one file."""
        return self.raw if isinstance(self.raw, bytes) else self.raw()
