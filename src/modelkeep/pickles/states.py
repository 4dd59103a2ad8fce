"""What BUILD may give to what was made: the states that reviewed classes write, checked by the scan.

A forged state of an array or a dtype is memory read and written at will, so for these every field is known before
numpy sees it: an array of objects is given a list, never bytes, and bytes only in the number that its shape takes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from modelkeep.pickles.calls import is_checker, item_size, shape_of
from modelkeep.pickles.machine import Machine, is_dict
from modelkeep.pickles.nodes import LIST, MADE, NAME, OBJECT, OCTETS, ROW, Node, described
from modelkeep.pickles.rules import refuse

Fits = Callable[[Machine, Node, Any], bool]
_FILLS = ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
_BUILT = "built"
_UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic")
_ALIGNMENTS = (-1, 1, 2, 4, 8, 16)
_STRUCT_FLAGS = (0, 16, 128, 144)  # plain, and NPY_ALIGNED_STRUCT as numpy 1 and 2 write it


def build(machine: Machine, node: object, state: Any) -> None:
    """Fill *node* with *state*, or refuse to."""
    if type(node) is not Node or node.kind != MADE or not node.build:
        refuse("build", f"a state is given to {described(node)}, which takes none")
        return
    if node.build == _BUILT:
        refuse("build-twice", f"{described(node)} is given a state twice")
    elif not STATES[node.build](machine, node, state):
        refuse("state", f"the state of {described(node)} is not of the form that it writes itself", what=str(node.name))
    machine.fill(node, [state])
    node.items = [*node.items, state]
    node.build = _BUILT
    machine.unfilled.pop(id(node), None)


def _any(machine: Machine, node: Node, state: Any) -> bool:
    del machine, node, state
    return True


def _fields(machine: Machine, node: Node, state: Any) -> bool:
    del machine
    if is_dict(state):
        return _plain_keys(node, state)
    match _row(state):
        case [fields, None]:  # the second would be slots: no listed class has any, and setting them may run a property
            return fields is None or (is_dict(fields) and _plain_keys(node, fields))
    return state is None


def _plain_keys(node: Node, state: Node) -> bool:
    keys = state.items[::2]
    if not all(type(key) is str for key in keys):
        return False
    bad = next((key for key in keys if key[:2] == "__" and key[-2:] == "__"), None)
    if bad is not None:
        refuse("state-key", f"the state of {described(node)} has the key {bad!r}", what=bad)
    return True


def _array(machine: Machine, node: Node, state: Any) -> bool:
    match _row(state):
        case [1, shape, dtype, bool() | 0 | 1, content]:
            return _holds(machine, node, shape, dtype, content)
    return False


def _row(value: object) -> list[Any] | None:
    return list(value.items) if type(value) is Node and value.kind == ROW else None


def _holds(machine: Machine, node: Node, shape: object, dtype: object, content: object) -> bool:
    size, sizes = item_size(dtype), shape_of(shape)
    if size is None or sizes is None or type(content) is not Node:
        return False
    if size == OBJECT:
        return content.kind == LIST and len(content.items) == prod(sizes)
    machine.charge(size * prod(sizes), described(node))
    return content.kind == OCTETS and content.fact == size * prod(sizes)


def _masked(machine: Machine, node: Node, state: Any) -> bool:
    match _row(state):
        case [1, shape, dtype, bool() | 0 | 1, content, mask, fill]:
            sizes = shape_of(shape)
            simple = type(dtype) is Node and dtype.fits != "V"
            fits = simple and sizes is not None and _holds(machine, node, shape, dtype, content)
            fill_fits = type(fill) is not Node or (fill.kind == MADE and str(fill.name).endswith(_FILLS))
            return fits and fill_fits and _octets(mask) == prod(sizes or ())
    return False


def _octets(value: object) -> int | None:
    return value.fact if type(value) is Node and value.kind == OCTETS else None


def _dtype(machine: Machine, node: Node, state: Any) -> bool:
    del machine
    match _row(state):
        case [3, "<" | ">" | "|" | "=", None, None, None, int(size), align, int(flags)] if node.fits != "V":
            return _simple(node, size, flags) and align in _ALIGNMENTS
        case [4, "<" | ">", None, None, None, -1, -1, 0, meta] if node.fits == "M":
            return _dated(meta)
        case [3, "|", None, names, fields, int(size), align, int(flags)] if node.fits == "V":
            return (
                size == node.fact and align in _ALIGNMENTS and flags in _STRUCT_FLAGS and _struct(size, names, fields)
            )
    return False


def _simple(node: Node, size: int, flags: int) -> bool:
    if node.fact == OBJECT:
        return (size, flags) == (-1, 63)  # as numpy writes it: without these flags it would not count references
    if node.fits in {"U", "S"}:
        return size == node.fact and flags in {0, 8}
    return node.fits != "M" and (size, flags) == (-1, 0)


def _dated(meta: object) -> bool:
    match _row(meta):
        case [None, unit] | [Node(kind=1, items=[]), unit]:
            row = _row(unit)
            return row is not None and len(row) == 4 and all(type(n) is int and 0 < n < 2**31 for n in row[1:])  # noqa: PLR2004
    return False


def _struct(size: int, names: object, fields: object) -> bool:
    """A record of plain fields, each inside of it."""
    listed = _row(names)
    if names is None and fields is None:
        return True
    if not listed or not is_dict(fields) or not all(type(name) is str for name in listed):
        return False
    given = fields.items  # type: ignore[attr-defined]
    if sorted(map(str, given[::2])) != sorted(listed) or len(set(listed)) != len(listed):
        return False
    return all(_inside(size, field) for field in given[1::2])


def _inside(size: int, field: object) -> bool:
    match _row(field):
        case [dtype, int(offset)]:
            width = item_size(dtype)
            plain = width is not None and width > 0 and dtype.fits != "V"
            return plain and offset >= 0 and offset + (width or 0) <= size
    return False


def _checker(machine: Machine, node: Node, state: Any) -> bool:
    del machine
    match _row(state):
        case [function, Node(kind=4, items=()), options, None] if is_checker(function) and is_dict(options):
            values = options.items[1::2]
            plain = all(type(value) is not Node or value.kind in {NAME, LIST} for value in values)
            return plain and _plain_keys(node, options)
    return False


STATES: dict[str, Fits] = {
    "any": _any,
    "fields": _fields,
    "array": _array,
    "masked": _masked,
    "dtype": _dtype,
    "checker": _checker,
}
