"""The machine that the scan runs: stack, marks, memo, and the account of what would be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelkeep.pickles.names import Name, allowed
from modelkeep.pickles.nodes import DICT, NAME, ROW, Node, deepest, described
from modelkeep.pickles.rules import refuse

_DEEPEST = 1000  # levels; the recursion limit keeps `pickle` from writing more, and a million crash whoever frees them
_FREE = 64 * 2**20  # bytes
_FACTOR = 32  # bytes made for each byte read: a small set in a list comes near
_WIDE = 2000  # integers; as keys of one hash they take a tenth of a second, and thirty times as many take minutes
_HASHES = 4  # members of tuples hashed for each byte read: real keys take less than one


class Machine:
    """Where the scan of one pickle stands."""

    def __init__(self, raw: bytes, buffers: Sequence[int | None]) -> None:
        self.raw = raw
        self.end = len(raw)
        self.buffers = buffers
        self.taken = 0  # buffers
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: list[Any] = []
        self.used: dict[tuple[str, str], Name] = {}
        self.memory = 0  # bytes that building takes beyond what stands in the pickle
        self.hashed = 0
        self.wide = 0
        self.tangled = False  # something was filled after it was placed: depth is counted anew at the end
        self.unfilled: dict[int, Node] = {}
        self.names = allowed()
        self.limit = _FREE + _FACTOR * (self.end + sum(size or 0 for size in buffers))

    def take(self, at: int, size: int) -> bytes:
        """The *size* bytes at *at*, all of which must be there."""
        if at + size > self.end:
            refuse("length", f"at byte {at} it claims {size} bytes, of which {max(0, self.end - at)} are there")
        return self.raw[at : at + size]

    def note_wide(self) -> None:
        """An integer that does not fit into 64 bits stands here; as keys, any number of such may have one hash."""
        self.wide += 1
        if self.wide > _WIDE:
            refuse("wide", f"it holds more than {_WIDE} integers of over 64 bits, and as keys they may all be alike")

    def pop(self) -> Any:
        """Take the topmost value."""
        if self.stack:
            return self.stack.pop()
        refuse("underflow", "an opcode takes a value where there is none")
        return None

    def top(self) -> Any:
        """The topmost value, which stays."""
        if self.stack:
            return self.stack[-1]
        refuse("underflow", "an opcode looks at a value where there is none")
        return None

    def pop_mark(self) -> list[Any]:
        """Take all values above the last MARK."""
        values = self.stack
        if self.marks:
            self.stack = self.marks.pop()
        else:
            refuse("mark", "an opcode closes a MARK that was not set")
            self.stack = []
        return values

    def charge(self, size: int, what: object) -> None:
        """Count *size* bytes that making *what* takes beyond the pickle's own."""
        self.memory += size
        if self.memory > self.limit:
            given = self.end + sum(size or 0 for size in self.buffers)
            refuse("memory", f"it makes {_amount(self.memory)} and more out of {given} bytes (with {what})")

    def row(self, items: Sequence[Any]) -> Node:
        """A tuple of *items*."""
        depth, work, loose = 0, 1, False
        for item in items:
            if type(item) is Node:
                item.placed = True
                depth = max(depth, item.depth)
                work = 0 if not (work and item.work) else work + item.work
                loose = loose or item.loose
            else:
                work += 1 if work else 0
        node = Node(ROW, tuple(items), depth=depth + 1, work=work)
        node.loose = loose
        self._deep(node)
        return node

    def fill(self, node: Node, items: Sequence[Any]) -> None:
        """Put *items* into *node*, which is no tuple."""
        depth = 0
        for item in items:
            if type(item) is Node:
                item.placed = True
                depth = max(depth, item.depth)
                if item.loose:
                    self.no_value(item)
        if depth >= node.depth:
            self.tangled = self.tangled or node.placed
            node.depth = depth + 1
            self._deep(node)

    def keys(self, keys: Sequence[Any]) -> None:
        """Count what hashing *keys* takes, and refuse what cannot be hashed safely."""
        for key in keys:
            if type(key) is Node:
                if not key.work:
                    refuse("key", f"{described(key)} is a key or a member of a set")
                self.hashed += key.work
        if self.hashed > _FREE // 64 + _HASHES * self.end:
            refuse("key-work", f"its keys are tuples that hold {self.hashed} objects and more, in {self.end} bytes")

    def work_of(self, members: Sequence[Any]) -> int:
        """What hashing a frozenset takes, as if nothing were kept: comparing it with its twin goes all the way."""
        return 1 + sum(member.work if type(member) is Node else 1 for member in members)

    def no_value(self, node: Node) -> None:
        """Refuse a name that may be used, but not as a value."""
        while node.kind == ROW:
            node = next(item for item in node.items if type(item) is Node and item.loose)
        refuse("value", f"{node.name} stands where a value is expected; without trust it may only be used otherwise")

    def _deep(self, node: Node) -> None:
        if node.depth > _DEEPEST:
            refuse("depth", f"it nests more than {_DEEPEST} levels deep")

    def name(self, module: Any, member: Any) -> Node:
        """The listed name."""
        if "." in member:
            refuse("dotted", f"the pickle names {module}.{member}, which is not a module's own member", name=member)
        found = self.names.get((module, member))
        if found is None:
            what = f"{module}.{member}"
            refuse(
                "listed",
                f"the pickle names {what}, which is not on the list of what may be built without trust",
                what=what,
            )
            found = Name(str(module), str(member), frozenset({"new", "value"}), build="fields")
        self.used[found.module, found.name] = found
        node = Node(NAME, work=1)
        node.name, node.loose = found, "value" not in found.uses
        return node

    def finish(self) -> None:
        """What can be told only at the end."""
        if len(self.stack) != 1 or self.marks:
            refuse("rest", f"its end leaves {len(self.stack) + sum(map(len, self.marks))} objects, not one")
        root = self.stack[-1] if self.stack else None
        if type(root) is Node and root.loose:
            self.no_value(root)
        for node in self.unfilled.values():
            refuse("unfilled", f"{described(node)} is made, but not given its state")
        if self.taken != len(self.buffers):
            refuse("buffers", f"it takes {self.taken} of {len(self.buffers)} buffers")
        if self.tangled and deepest(root, 4 * _DEEPEST) >= 4 * _DEEPEST:
            refuse("depth", f"it nests more than {4 * _DEEPEST} levels deep")


def _amount(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def is_dict(value: object) -> bool:
    """Whether it is a plain dictionary."""
    return type(value) is Node and value.kind == DICT
