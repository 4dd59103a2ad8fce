"""What listed callables may be called with: the forms that pickles of real objects have, checked by the scan.

The list gives each callable the name of its form. What a form cannot tell from the stream, a guard in `guards`
checks when the call is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from modelkeep.pickles.machine import Machine
from modelkeep.pickles.names import Name
from modelkeep.pickles.nodes import DICT, FROZEN, LIST, MADE, NAME, OBJECT, OCTETS, ROW, SET, Node, described, made
from modelkeep.pickles.rules import refuse

Form = Callable[[Machine, Name, Sequence[Any]], Node | None]
FORMS: dict[str, Form] = {}
_PLAIN = (int, float, bool, str, type(None))
_DTYPE = re.compile(r"[<>=|]?(?:(?P<kind>[biufcSUV])(?P<size>\d{1,6})|(?P<object>O8?)|(?P<time>[Mm]8))")
_WIDTHS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8, 12, 16), "c": (8, 16, 24, 32)}
_LONGEST_NUMBER = 400  # digits of a Decimal
_BIT_GENERATOR = 8192  # bytes: the state of a Mersenne twister, and its seed


def call(machine: Machine, callee: object, arguments: object) -> Node:
    """What REDUCE gives for *callee* and *arguments*."""
    if type(callee) is not Node or callee.kind != NAME or callee.name is None:
        refuse("callee", f"it calls {described(callee)}, which is no listed name")
        return Node(MADE)
    name = callee.name
    form = FORMS.get(name.call)
    if form is None:
        refuse("call", f"it calls {name}, which is listed, but not to be called", what=str(name))
        return made(name, build="fields")
    if type(arguments) is Node and arguments.kind == ROW:
        found = form(machine, name, arguments.items)
        if found is not None:
            if found.late:
                machine.unfilled[id(found)] = found
            return found
    refuse("arguments", f"it calls {name} with arguments of a form that is not reviewed", what=str(name))
    return made(name, build=name.build)


def _form(name: str) -> Callable[[Form], Form]:
    def enter(form: Form) -> Form:
        FORMS[name] = form
        return form

    return enter


def is_name(value: object, *names: str) -> bool:
    """Whether it is one of the listed names that are written so."""
    return type(value) is Node and value.kind == NAME and str(value.name) in names


def _is_made(value: object, *names: str) -> bool:
    return type(value) is Node and value.kind == MADE and str(value.name) in names


def _is(value: object, kind: int) -> bool:
    return type(value) is Node and value.kind == kind


def shape_of(value: object) -> tuple[int, ...] | None:
    """A tuple of at most 64 known sizes."""
    if type(value) is not Node or value.kind != ROW or len(value.items) > 64:  # noqa: PLR2004  numpy's own limit
        return None
    sizes = value.items
    return tuple(sizes) if all(type(size) is int and 0 <= size < 2**48 for size in sizes) else None


# -- numpy ----------------------------------------------------------------------------------------------------------

DTYPE = "numpy.dtype"
ARRAYS = ("numpy.ndarray",)


@_form("array")
def _array(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [cls, shape, letter] if is_name(cls, *ARRAYS) and shape_of(shape) == (0,) and _is(letter, OCTETS):
            return made(name, build="array", late=True)
    return None


@_form("masked")
def _masked(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [cls, base, shape, letter] if is_name(cls, "numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"):
            if is_name(base, *ARRAYS) and shape_of(shape) == (0,) and (type(letter) is str or _is(letter, OCTETS)):
                return made(name, build="masked", late=True)
    return None


@_form("dtype")
def _dtype(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [str(text), False | 0, True | 1]:
            found = _DTYPE.fullmatch(text)
            if found is None or (found["kind"] in _WIDTHS and int(found["size"]) not in _WIDTHS[found["kind"]]):
                return None
            node = made(name, build="dtype", work=1, fact=_item_size(found))
            node.fits = found["kind"] or ("O" if found["object"] else "M")
            return node
    return None


def _item_size(found: re.Match[str]) -> int:
    if found["object"]:
        return OBJECT
    size = int(found["size"] or 8)
    return 4 * size if found["kind"] == "U" else size


def item_size(value: object) -> int | None:
    """The size of an item of a dtype, `OBJECT`, or None where it is no dtype."""
    return value.fact if _is_made(value, DTYPE) else None  # type: ignore[attr-defined]


@_form("frombuffer")
def _frombuffer(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [memory, dtype, shape, "C" | "F"] if _is(memory, OCTETS):
            size, sizes = item_size(dtype), shape_of(shape)
            if size is None or size <= 0 or sizes is None:
                return None
            if memory.fact is not None and memory.fact != size * prod(sizes):
                return None
            return made(name)
    return None


@_form("scalar")
def _scalar(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [dtype, memory] if _is(memory, OCTETS):
            if dtype.fits != "V" and item_size(dtype) == memory.fact:
                return made(name, work=1)
    return None


# -- numpy.random ---------------------------------------------------------------------------------------------------

GENERATORS = ("_mt19937.MT19937", "_pcg64.PCG64", "_pcg64.PCG64DXSM", "_sfc64.SFC64")
_BIT_GENERATORS = tuple(f"numpy.random.{name}" for name in GENERATORS)


@_form("bits")
def _bits(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    machine.charge(_BIT_GENERATOR, "random number generators")
    match items:
        case [cls] if is_name(cls, *_BIT_GENERATORS):
            return made(name, build="any")
    return None


@_form("random")
def _random(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [bits] if _is_made(bits, "numpy.random._pickle.__bit_generator_ctor"):
            return made(name, build=name.build)
    return None


@_form("seed")
def _seed(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [cls, int(), None] if is_name(cls, "numpy.random.bit_generator.SeedSequence"):
            return made(name, build="any", late=True)
    return None


# -- scikit-learn's native classes ----------------------------------------------------------------------------------


@_form("tree")
def _tree(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [int(features), classes, int(outputs)] if 0 <= features < 2**31 and 0 < outputs < 2**31:
            return made(name, build="any", late=True) if _is(classes, MADE) else None
    return None


@_form("newobj")
def _newobj(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    """``newObj(cls)``, which Cython modules have beside their classes."""
    del machine
    match items:
        case [cls] if _is(cls, NAME) and cls.name.module == name.module and "part" in cls.name.uses:
            return made(cls.name, build="any", late=True)
    return None


@_form("plain")
def _plain(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    """A class that takes numbers."""
    del machine
    if all(type(item) in _PLAIN for item in items):
        return made(name, build=name.build)
    return None


# -- plain Python ---------------------------------------------------------------------------------------------------


@_form("bytearray")
def _bytearray(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    match items:
        case [] | [Node(kind=7)]:
            size = items[0].fact if items else 0
            machine.charge(size or 0, "bytearrays")
            node = Node(OCTETS)
            node.fact, node.name = size, name
            return node
    return None


@_form("members")
def _members(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    """``set([…])`` and ``frozenset([…])``, as protocol 3 writes them."""
    match items:
        case [members] if _is(members, LIST):
            machine.keys(members.items)
            machine.charge(64 * len(members.items), "sets")
            frozen = name.name == "frozenset"
            node = Node(FROZEN if frozen else SET, work=machine.work_of(members.items) if frozen else 0)
            machine.fill(node, members.items)
            node.items = list(members.items)
            return node
    return None


@_form("none")
def _none(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    return None if items else _filled(made(name))


def _filled(node: Node) -> Node:
    node.items = []
    return node


@_form("factory")
def _factory(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    factories = tuple(f"builtins.{kind}" for kind in ("list", "dict", "set", "int", "float", "str"))
    match items:
        case [] | [None]:
            return _filled(made(name))
        case [factory] if is_name(factory, *factories):
            return _filled(made(name))
    return None


@_form("counter")
def _counter(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    match items:
        case [counts] if _is(counts, DICT):
            machine.charge(100 * len(counts.items), "counters")
            node = made(name)
            machine.fill(node, counts.items)
            node.items = list(counts.items)
            return node
    return None


@_form("queue")
def _queue(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [] | [Node(items=[] | ())] | [Node(items=[] | ()), int() | None] if all(
            type(item) is not Node or item.kind in {LIST, ROW} for item in items
        ):
            return _filled(made(name))
    return None


@_form("octets")
def _dated(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    """``datetime(b"…")`` and its like, which check their bytes themselves; perhaps with a time zone."""
    del machine
    match items:
        case [memory] if _is(memory, OCTETS):
            return made(name, work=1)
        case [memory, zone] if _is(memory, OCTETS) and _is_made(zone, "datetime.timezone"):
            return made(name, work=1)
    return None


@_form("span")
def _span(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    """A slice, a range, a timedelta, a complex number: up to three numbers or None."""
    del machine
    if 1 <= len(items) <= 3 and all(type(item) in {int, float, bool, type(None)} for item in items):  # noqa: PLR2004
        return made(name, work=0 if name.name == "slice" else 1)
    return None


@_form("zone")
def _zone(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [offset] | [offset, str()] if _is_made(offset, "datetime.timedelta"):
            return made(name, work=1)
    return None


@_form("digits")
def _digits(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    del machine
    match items:
        case [str(text)] if len(text) <= _LONGEST_NUMBER:
            return made(name, work=1)
    return None


_CHECKER = "sklearn.utils.validation.check_array"


@_form("checker")
def _checker(machine: Machine, name: Name, items: Sequence[Any]) -> Node | None:
    """``partial(check_array, …)``, as histogram boosting keeps it; of nothing else is there a partial."""
    del machine
    return made(name, build="checker") if len(items) == 1 and is_name(items[0], _CHECKER) else None


def is_checker(value: object) -> bool:
    """Whether it is the one function of which there may be a partial."""
    return is_name(value, _CHECKER)
