"""Pickles written by hand, opcode by opcode: what a gadget does, apart from how it is spelled."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import attrs

STOP = b"."


@attrs.frozen
class Name:
    """A name that the pickle looks up."""

    module: str
    attr: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attr}"


@attrs.frozen
class Call:
    """A call of a part with others."""

    func: Any
    args: tuple[Any, ...] = ()


@attrs.frozen
class New:
    """An object made by ``__new__`` of its class, past ``__init__``."""

    cls: Any
    args: tuple[Any, ...] = ()


@attrs.frozen
class Build:
    """An object that is given a state."""

    obj: Any
    state: Any


@attrs.frozen
class Raw:
    """Opcodes as they are; they leave one object on the stack."""

    code: bytes


def names_in(part: Any) -> list[Name]:
    """All names in a part, those first that come first."""
    match part:
        case Name():
            return [part]
        case Call(func=first, args=rest) | New(cls=first, args=rest):
            return [*names_in(first), *(name for arg in rest for name in names_in(arg))]
        case Build(obj=obj, state=state):
            return [*names_in(obj), *names_in(state)]
        case list() | tuple():
            return [name for one in part for name in names_in(one)]
        case dict():
            return [name for pair in part.items() for name in names_in(pair)]
    return []


# -- texts -----------------------------------------------------------------------------------------------------------


def short_text(text: str) -> bytes:
    """SHORT_BINUNICODE, or a longer one where it must be."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(raw)]) + raw if len(raw) < 256 else long_text(text)


def long_text(text: str) -> bytes:
    """BINUNICODE."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def longest_text(text: str) -> bytes:
    """BINUNICODE8."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"\x8d" + struct.pack("<Q", len(raw)) + raw


def line_text(text: str) -> bytes:
    """UNICODE."""
    escaped = text.replace("\\", "\\u005c").replace("\0", "\\u0000").replace("\n", "\\u000a")
    return b"V" + escaped.encode("raw-unicode-escape", "surrogatepass") + b"\n"


def quoted_bytes(text: str) -> bytes:
    """STRING, which a reader of Python 3 takes as text."""
    return b"S" + repr(text).encode() + b"\n" if text.isascii() else line_text(text)


def escaped_text(text: str) -> bytes:
    """UNICODE, each letter by its number, so that a search for the name finds nothing."""
    return b"V" + b"".join(b"\\U%08x" % ord(letter) for letter in text) + b"\n"


def escaped_bytes(text: str) -> bytes:
    """STRING, each letter by its number."""
    letters = "".join(f"\\x{ord(letter):02x}" for letter in text)
    return f"S'{letters}'\n".encode() if text.isascii() else escaped_text(text)


def old_bytes(text: str) -> bytes:
    """BINSTRING."""
    return b"T" + struct.pack("<i", len(text)) + text.encode() if text.isascii() else long_text(text)


def short_old_bytes(text: str) -> bytes:
    """SHORT_BINSTRING."""
    fits = text.isascii() and len(text) < 256
    return b"U" + bytes([len(text)]) + text.encode() if fits else old_bytes(text)


# -- names and calls -------------------------------------------------------------------------------------------------

Parts = Callable[[Any], bytes]  # spells a part


def by_line(name: Name, spell: Parts) -> bytes:
    """GLOBAL."""
    del spell
    return b"c" + f"{name.module}\n{name.attr}\n".encode("utf-8", "surrogatepass")


def by_stack(name: Name, spell: Parts) -> bytes:
    """STACK_GLOBAL, behind two texts."""
    return spell(name.module) + spell(name.attr) + b"\x93"


def reduced(call: Call, spell: Parts) -> bytes:
    """REDUCE."""
    return spell(call.func) + spell(call.args) + b"R"


def as_obj(call: Call, spell: Parts) -> bytes:
    """OBJ."""
    return b"(" + spell(call.func) + b"".join(map(spell, call.args)) + b"o"


def as_inst(call: Call, spell: Parts) -> bytes:
    """INST, where the name is said in the opcode itself."""
    if not isinstance(call.func, Name):
        return as_obj(call, spell)
    return b"(" + b"".join(map(spell, call.args)) + b"i" + by_line(call.func, spell)[1:]


def as_new(call: Call, spell: Parts) -> bytes:
    """NEWOBJ; only classes can be made so."""
    return spell(call.func) + spell(call.args) + b"\x81"


def as_new_ex(call: Call, spell: Parts) -> bytes:
    """NEWOBJ_EX."""
    return spell(call.func) + spell(call.args) + b"}\x92"


@attrs.frozen
class Style:
    """How the parts of a pickle are spelled.

    Args:
        text: a text.
        name: a name, by the speller of its parts.
        call: a call, likewise.
    """

    text: Callable[[str], bytes] = short_text
    name: Callable[[Name, Parts], bytes] = by_stack
    call: Callable[[Call, Parts], bytes] = reduced

    def spell(self, part: Any) -> bytes:  # noqa: PLR0911  one line for each part
        """The opcodes that put a part on the stack."""
        match part:
            case Raw(code=code):
                return code
            case Name():
                return self.name(part, self.spell)
            case Call():
                return self.call(part, self.spell)
            case New(cls=cls, args=args):
                return as_new(Call(cls, args), self.spell)
            case Build(obj=obj, state=state):
                return self.spell(obj) + self.spell(state) + b"b"
            case str():
                return self.text(part)
        return _plain(part, self.spell)


_TUPLES = (b")", b"\x85", b"\x86", b"\x87")


def _plain(part: Any, spell: Parts) -> bytes:
    match part:
        case None | int() | float() | bytes():
            return _atom(part)
        case tuple():
            held = b"".join(map(spell, part))
            return held + _TUPLES[len(part)] if len(part) < len(_TUPLES) else b"(" + held + b"t"
        case list():
            return b"](" + b"".join(map(spell, part)) + b"e"
        case dict():
            return b"}(" + b"".join(spell(key) + spell(value) for key, value in part.items()) + b"u"
    raise TypeError(type(part))


def _atom(part: float | bytes | None) -> bytes:
    if part is None or isinstance(part, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[part]
    if isinstance(part, bytes):
        return b"C" + bytes([len(part)]) + part if len(part) < 256 else b"B" + struct.pack("<I", len(part)) + part
    if isinstance(part, float):
        return b"G" + struct.pack(">d", part)
    raw = part.to_bytes(part.bit_length() // 8 + 1, "little", signed=True)
    return b"K" + bytes([part]) if 0 <= part < 256 else b"\x8a" + bytes([len(raw)]) + raw


def proto(number: int) -> bytes:
    """PROTO, which a pickle has from protocol 2 on."""
    return b"\x80" + bytes([number]) if number > 1 else b""


def framed(body: bytes, length: int | None = None) -> bytes:
    """FRAME, with a length of its own if one is given."""
    return b"\x95" + struct.pack("<Q", len(body) if length is None else length) + body


def pickled(part: Any, protocol: int = 4, style: Style | None = None) -> bytes:
    """A whole pickle of a part, in the way in which `pickle` would write it unless *style* says another."""
    style = style or (Style() if protocol >= 4 else Style(text=long_text, name=by_line))
    body = style.spell(part) + STOP
    return proto(protocol) + (framed(body) if protocol >= 4 else body)
