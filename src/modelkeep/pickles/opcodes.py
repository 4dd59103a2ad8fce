"""The opcodes that protocols 3 to 5 use for plain objects, and what each does to the machine.

A handler gets the position behind its opcode and gives back the position of the next one. What is not in `HANDLERS`
is refused: extension codes and persistent ids hand the choice of an object to somebody else, INST and OBJ call.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from modelkeep.pickles.calls import call
from modelkeep.pickles.machine import Machine
from modelkeep.pickles.nodes import DICT, FROZEN, LIST, MADE, NAME, OCTETS, ROW, SET, Node, described, made
from modelkeep.pickles.rules import refuse
from modelkeep.pickles.states import build

OPCODES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
REFUSED = {
    "EXT1": "extension codes are refused",
    "EXT2": "extension codes are refused",
    "EXT4": "extension codes are refused",
    "PERSID": "persistent ids are refused",
    "BINPERSID": "persistent ids are refused",
    "INST": "it calls by an opcode of old protocols",
    "OBJ": "it calls by an opcode of old protocols",
    "NEWOBJ_EX": "no listed class takes arguments",
}
HANDLERS: dict[int, Callable[[Machine, int], int]] = {}
_WORD = 8  # bytes of an integer that fits into 64 bits
_SIZES = {"EMPTY_LIST": 56, "EMPTY_DICT": 64, "EMPTY_SET": 216, "row": 48, "object": 512}  # bytes, in CPython 3.11
_NO_TEXT = "its text at byte {} is not UTF-8"
_double = struct.Struct(">d").unpack_from

Handler = Callable[[Machine, int], int]


def _opcode(name: str) -> Callable[[Handler], Handler]:
    code = next(code for code, other in OPCODES.items() if other == name)

    def enter(handler: Handler) -> Handler:
        HANDLERS[code] = handler
        return handler

    return enter


# -- constants ------------------------------------------------------------------------------------------------------


def _constant(name: str, value: object) -> None:
    def handler(machine: Machine, at: int) -> int:
        machine.stack.append(value)
        return at

    _opcode(name)(handler)


for _name, _value in (("NONE", None), ("NEWTRUE", True), ("NEWFALSE", False)):
    _constant(_name, _value)


@_opcode("BININT1")
def _binint1(machine: Machine, at: int) -> int:
    machine.stack.append(machine.take(at, 1)[0] if at >= machine.end else machine.raw[at])
    return at + 1


@_opcode("BININT2")
def _binint2(machine: Machine, at: int) -> int:
    machine.stack.append(int.from_bytes(machine.take(at, 2), "little"))
    return at + 2


@_opcode("BININT")
def _binint(machine: Machine, at: int) -> int:
    machine.stack.append(int.from_bytes(machine.take(at, 4), "little", signed=True))
    return at + 4


@_opcode("BINFLOAT")
def _binfloat(machine: Machine, at: int) -> int:
    machine.stack.append(_double(machine.take(at, 8).ljust(8, b"\0"))[0])
    return at + 8


def _sized(name: str, width: int, read: Callable[[Machine, int, int], object]) -> None:
    """An opcode whose argument is a length of *width* bytes and as many bytes as that."""

    def handler(machine: Machine, at: int) -> int:
        start = at + width
        size = int.from_bytes(machine.take(at, width), "little")
        if start + size > machine.end:
            machine.take(start, size)
        machine.stack.append(read(machine, start, size))
        return start + size

    _opcode(name)(handler)


def _text(machine: Machine, at: int, size: int) -> object:
    try:
        return machine.raw[at : at + size].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        refuse("text", _NO_TEXT.format(at))
        return ""


def _integer(machine: Machine, at: int, size: int) -> object:
    if size > _WORD:
        machine.note_wide()
    return int.from_bytes(machine.raw[at : at + size], "little", signed=True)


def _octets(machine: Machine, at: int, size: int) -> object:
    del machine, at
    return octets(size)


def _mutable_octets(machine: Machine, at: int, size: int) -> object:
    del machine, at
    return octets(size, mutable=True)


def octets(size: int | None, *, mutable: bool = False) -> Node:
    """Bytes, of which the number is known."""
    node = Node(OCTETS, work=0 if mutable else 1)
    node.fact = size
    return node


for _name, _width, _read in (
    ("SHORT_BINUNICODE", 1, _text),
    ("BINUNICODE", 4, _text),
    ("BINUNICODE8", 8, _text),
    ("SHORT_BINBYTES", 1, _octets),
    ("BINBYTES", 4, _octets),
    ("BINBYTES8", 8, _octets),
    ("BYTEARRAY8", 8, _mutable_octets),
    ("LONG1", 1, _integer),
    ("LONG4", 4, _integer),
):
    _sized(_name, _width, _read)


@_opcode("NEXT_BUFFER")
def _next_buffer(machine: Machine, at: int) -> int:
    if machine.taken >= len(machine.buffers):
        refuse("buffers", f"it takes more buffers than the {len(machine.buffers)} that there are")
        machine.stack.append(octets(None))
        return at
    node = octets(machine.buffers[machine.taken], mutable=True)
    node.fits = "buffer"
    machine.stack.append(node)
    machine.taken += 1
    return at


@_opcode("READONLY_BUFFER")
def _readonly_buffer(machine: Machine, at: int) -> int:
    node = machine.top()
    if type(node) is not Node or node.fits != "buffer":
        refuse("readonly", f"READONLY_BUFFER is applied to {described(node)}")
    return at


# -- containers -----------------------------------------------------------------------------------------------------


@_opcode("MARK")
def _mark(machine: Machine, at: int) -> int:
    machine.marks.append(machine.stack)
    machine.stack = []
    return at


@_opcode("POP")
def _pop(machine: Machine, at: int) -> int:
    machine.pop()
    return at


@_opcode("POP_MARK")
def _pop_mark(machine: Machine, at: int) -> int:
    machine.pop_mark()
    return at


@_opcode("EMPTY_TUPLE")
def _empty_tuple(machine: Machine, at: int) -> int:
    machine.stack.append(Node(ROW, work=1))
    return at


@_opcode("TUPLE")
def _tuple(machine: Machine, at: int) -> int:
    items = machine.pop_mark()
    machine.stack.append(machine.row(items))
    machine.charge(_SIZES["row"] + 8 * len(items), "tuples")
    return at


def _short_tuple(name: str, size: int) -> None:
    def handler(machine: Machine, at: int) -> int:
        stack = machine.stack
        if len(stack) < size:
            refuse("underflow", f"a tuple of {size} is made where {len(stack)} values are")
        stack[-size:] = [machine.row(stack[-size:])]
        machine.memory += _SIZES["row"]
        return at

    _opcode(name)(handler)


for _size in (1, 2, 3):
    _short_tuple(f"TUPLE{_size}", _size)


def _empty(name: str, kind: int) -> None:
    size = _SIZES[name]

    def handler(machine: Machine, at: int) -> int:
        machine.stack.append(Node(kind, []))
        machine.memory += size
        return at

    _opcode(name)(handler)


for _name, _kind in (("EMPTY_LIST", LIST), ("EMPTY_DICT", DICT), ("EMPTY_SET", SET)):
    _empty(_name, _kind)


def _append(machine: Machine, items: list[Any]) -> None:
    node = machine.top()
    if type(node) is not Node or not (node.kind == LIST or (node.name and "appends" in node.name.uses)):
        refuse("append", f"items are appended to {described(node)}")
        return
    machine.fill(node, items)
    node.items.extend(items)


@_opcode("APPEND")
def _append_one(machine: Machine, at: int) -> int:
    _append(machine, [machine.pop()])
    return at


@_opcode("APPENDS")
def _append_many(machine: Machine, at: int) -> int:
    _append(machine, machine.pop_mark())
    return at


def _set_items(machine: Machine, items: list[Any]) -> None:
    node = machine.top()
    if len(items) % 2:
        refuse("underflow", "a key has no value")
    if type(node) is not Node or not (
        node.kind == DICT or (node.kind == MADE and node.name and "items" in node.name.uses)
    ):
        refuse("setitem", f"items are set in {described(node)}")
        return
    machine.keys(items[::2])
    machine.fill(node, items)
    node.items.extend(items)


@_opcode("SETITEM")
def _set_item(machine: Machine, at: int) -> int:
    value = machine.pop()
    _set_items(machine, [machine.pop(), value])
    return at


@_opcode("SETITEMS")
def _set_many(machine: Machine, at: int) -> int:
    _set_items(machine, machine.pop_mark())
    return at


@_opcode("ADDITEMS")
def _add_items(machine: Machine, at: int) -> int:
    items = machine.pop_mark()
    node = machine.top()
    if type(node) is not Node or node.kind != SET:
        refuse("additems", f"members are added to {described(node)}")
        return at
    machine.keys(items)
    machine.fill(node, items)
    node.items.extend(items)
    return at


@_opcode("FROZENSET")
def _frozenset(machine: Machine, at: int) -> int:
    items = machine.pop_mark()
    machine.keys(items)
    node = Node(FROZEN, items, work=machine.work_of(items))
    machine.fill(node, items)
    machine.charge(_SIZES["EMPTY_SET"], "frozensets")
    machine.stack.append(node)
    return at


# -- the memo -------------------------------------------------------------------------------------------------------


def _get(machine: Machine, index: int) -> None:
    if index < len(machine.memo):
        machine.stack.append(machine.memo[index])
        return
    refuse("memo-get", f"it takes number {index} from a memo of {len(machine.memo)}")
    machine.stack.append(None)


@_opcode("BINGET")
def _binget(machine: Machine, at: int) -> int:
    _get(machine, machine.take(at, 1)[0])
    return at + 1


@_opcode("LONG_BINGET")
def _long_binget(machine: Machine, at: int) -> int:
    _get(machine, int.from_bytes(machine.take(at, 4), "little"))
    return at + 4


def _put(machine: Machine, index: int) -> None:
    if index != len(machine.memo):
        refuse("memo-put", f"it puts number {index} into a memo of {len(machine.memo)}")
    machine.memo.append(machine.top())


@_opcode("MEMOIZE")
def _memoize(machine: Machine, at: int) -> int:
    if machine.stack:
        machine.memo.append(machine.stack[-1])
    else:
        machine.memo.append(machine.top())
    return at


@_opcode("BINPUT")
def _binput(machine: Machine, at: int) -> int:
    _put(machine, machine.take(at, 1)[0])
    return at + 1


@_opcode("LONG_BINPUT")
def _long_binput(machine: Machine, at: int) -> int:
    _put(machine, int.from_bytes(machine.take(at, 4), "little"))
    return at + 4


# -- names, calls, objects ------------------------------------------------------------------------------------------


@_opcode("GLOBAL")
def _global(machine: Machine, at: int) -> int:
    middle = machine.raw.find(b"\n", at)
    end = machine.raw.find(b"\n", middle + 1) if middle >= 0 else -1
    if end < 0:
        refuse("line", f"the name at byte {at} does not end")
        return machine.end
    module, member = _text(machine, at, middle - at), _text(machine, middle + 1, end - middle - 1)
    machine.stack.append(machine.name(module, member))
    return end + 1


@_opcode("STACK_GLOBAL")
def _stack_global(machine: Machine, at: int) -> int:
    member, module = machine.pop(), machine.pop()
    if type(member) is not str or type(module) is not str:
        of = f"{described(module)} and {described(member)}"
        refuse("global-text", f"STACK_GLOBAL makes a name of {of}, not of two texts")
        module, member = str(module), str(member)
    machine.stack.append(machine.name(module, member))
    return at


@_opcode("PROTO")
def _proto(machine: Machine, at: int) -> int:
    refuse("second-protocol", f"a second PROTO stands at byte {at - 1}")
    del machine
    return at + 1


@_opcode("REDUCE")
def _reduce(machine: Machine, at: int) -> int:
    arguments, callee = machine.pop(), machine.pop()
    machine.charge(_SIZES["object"], described(callee))
    machine.stack.append(call(machine, callee, arguments))
    return at


@_opcode("NEWOBJ")
def _newobj(machine: Machine, at: int) -> int:
    arguments, cls = machine.pop(), machine.pop()
    machine.charge(_SIZES["object"], described(cls))
    if type(cls) is not Node or cls.kind != NAME or cls.name is None or "new" not in cls.name.uses:
        refuse("new", f"it makes an object of {described(cls)}, which is not listed for that")
        machine.stack.append(Node(MADE))
        return at
    if type(arguments) is not Node or arguments.kind != ROW or arguments.items:
        refuse("new-arguments", f"it makes {cls.name} with arguments")
    node = made(cls.name, build=cls.name.build, late="late" in cls.name.uses)
    node.items = []
    if node.late:
        machine.unfilled[id(node)] = node
    machine.stack.append(node)
    return at


@_opcode("BUILD")
def _build(machine: Machine, at: int) -> int:
    state, node = machine.pop(), machine.top()
    build(machine, node, state)
    return at
