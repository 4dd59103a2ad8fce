"""What the scan keeps of an object: its kind, what lies inside, and what may still be done with it.

Text, numbers, None and booleans stand for themselves; everything else is a `Node`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from modelkeep.pickles.names import Name

LIST, DICT, SET, FROZEN, ROW, NAME, MADE, OCTETS = range(8)
WORDS = ("a list", "a dictionary", "a set", "a frozenset", "a tuple", "a name", "an object", "bytes")


class Node:
    """One object of the pickle as far as the scan knows it."""

    __slots__ = ("build", "depth", "fact", "fits", "items", "kind", "late", "loose", "name", "placed", "work")

    def __init__(self, kind: int, items: Sequence[Any] = (), *, depth: int = 1, work: int = 0) -> None:
        self.kind = kind
        self.items: Any = items  # what lies inside; keys and values in turn for a dictionary
        self.depth = depth
        self.work = work  # what hashing it takes, in objects; 0: it cannot be hashed, or only by code of a class
        self.placed = False  # lies inside another one
        self.loose = False  # a name that is no value, or a tuple that holds one
        self.name: Name | None = None  # of which name it was made, or which it is
        self.build = ""  # the form of the state it may still be given; after that ""
        self.late = False  # it must be given its state
        self.fact: Any = None  # octets: their number; a dtype: the size of an item, or OBJECT
        self.fits: Any = None  # which check of the scan a state must pass, beyond its form


OBJECT = -1  # the size of an item of an array of objects


def described(value: object) -> str:
    """What a value is, for a message."""
    if type(value) is not Node:
        return f"a {type(value).__name__}"
    if value.name is not None:
        return f"{'' if value.kind == NAME else 'an object of '}{value.name}"
    return WORDS[value.kind]


def made(name: Name, *, build: str = "", work: int = 0, fact: Any = None, late: bool = False) -> Node:
    """An object that a listed name gives."""
    node = Node(MADE, work=work)
    node.name, node.build, node.fact, node.late = name, build, fact, late
    return node


def deepest(root: object, limit: int) -> int:
    """How deep objects lie inside each other, each visited once, or *limit* as soon as that is reached."""
    seen: set[int] = set()
    ways: list[Iterator[Any]] = [iter((root,))]
    found = 0
    while ways and found < limit:
        child = next((c for c in ways[-1] if type(c) is Node and id(c) not in seen), None)
        if child is None:
            ways.pop()
            continue
        seen.add(id(child))
        ways.append(iter(_inside(child)))
        found = max(found, len(ways))
    return found


def _inside(node: Node) -> Iterable[Any]:
    items: Iterable[Any] = node.items
    return items
