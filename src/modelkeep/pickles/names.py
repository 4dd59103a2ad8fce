"""The list of names that a pickle may use without trust, and for what: read from ``allowed/``, without an import."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import attrs

FOLDER = Path(__file__).parent / "allowed"


@attrs.frozen
class Name:
    """A member of a module, and what a pickle may do with it.

    Uses are ``value`` (it may stand as a value), ``part`` (an argument of a call that checks it), ``new`` (NEWOBJ),
    ``items`` (SETITEMS on what was made). *call*, *build* and *check* name the reviewed form of its arguments, of its
    state, and what is looked at when all is built.
    """

    module: str
    name: str
    uses: frozenset[str] = frozenset()
    call: str = ""
    build: str = ""
    check: str = ""

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def parse(line: str) -> Name:
    """One line of a list.

    Example:
        >>> name = parse("numpy dtype call:dtype value")
        >>> str(name), name.call, sorted(name.uses)
        ('numpy.dtype', 'dtype', ['value'])
    """
    module, name, *words = line.split()
    parts = dict(word.split(":") for word in words if ":" in word)
    return Name(module, name, frozenset(word for word in words if ":" not in word), **parts)


@cache
def allowed() -> dict[tuple[str, str], Name]:
    """Every name on the lists that ship."""
    lines = [line for path in sorted(FOLDER.glob("*.txt")) for line in path.read_text(encoding="utf-8").splitlines()]
    names = [parse(line) for line in lines if line and not line.startswith("#")]
    return {(name.module, name.name): name for name in names}
