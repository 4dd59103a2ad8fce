"""The ways to spell one and the same gadget as a pickle, sound or broken."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from security.assembling import (
    STOP,
    Call,
    Name,
    Parts,
    Style,
    as_inst,
    as_new,
    as_new_ex,
    as_obj,
    by_line,
    by_stack,
    escaped_bytes,
    escaped_text,
    framed,
    line_text,
    long_text,
    longest_text,
    old_bytes,
    pickled,
    proto,
    quoted_bytes,
    short_old_bytes,
    short_text,
)

EXTENSIONS = {0x71: ("posix", "system"), 0x7171: ("posix", "system"), 0x71717171: ("posix", "system")}


@attrs.frozen
class Spelling:
    """A way to spell a gadget.

    Args:
        name: what it is called.
        write: the pickle of a part.
        says: what a refusal may name besides the gadget: an opcode, or what is wrong with the stream.
    """

    name: str
    write: Callable[[Any], bytes]
    says: tuple[str, ...] = ()


_OLD = ("protocol",)
_TEXTS = {
    "UNICODE": line_text,
    "SHORT_BINUNICODE": short_text,
    "BINUNICODE": long_text,
    "BINUNICODE8": longest_text,
    "UNICODE of numbers": escaped_text,
    "STRING": quoted_bytes,
    "STRING of numbers": escaped_bytes,
    "BINSTRING": old_bytes,
    "SHORT_BINSTRING": short_old_bytes,
}
_CALLS = {"INST": as_inst, "OBJ": as_obj, "NEWOBJ": as_new, "NEWOBJ_EX": as_new_ex}


def _protocols() -> Iterator[Spelling]:
    for number in range(6):
        said = _OLD if number < 3 else ()
        yield Spelling(f"protocol {number}", partial(pickled, protocol=number), said)
    for number in (0, 2, 3, 4, 5):
        said = _OLD if number < 3 else ()
        for named, name in (("GLOBAL", by_line), ("STACK_GLOBAL", by_stack)):
            style = Style(text=long_text, name=name)
            write = _writer(style, number)
            yield Spelling(f"{named} in protocol {number}", write, (*said, named))
    for called, call in _CALLS.items():
        for number in (0, 4):
            style = Style(name=by_line if number < 4 else by_stack, call=call)
            yield Spelling(f"{called} in protocol {number}", _writer(style, number), (called, *_OLD))
    for texted, text in _TEXTS.items():
        yield Spelling(f"names as {texted}", _writer(Style(text=text), 4), (texted.split()[0],))


def _writer(style: Style, number: int) -> Callable[[Any], bytes]:
    return lambda part: pickled(part, number, style)


# -- the memo --------------------------------------------------------------------------------------------------------


def _put(kind: str, index: int) -> bytes:
    match kind:
        case "PUT":
            return b"p%d\n" % index
        case "BINPUT":
            return b"q" + bytes([index])
        case "LONG_BINPUT":
            return b"r" + struct.pack("<I", index)
    return b"\x94"


def _get(kind: str, index: int) -> bytes:
    match kind:
        case "PUT":
            return b"g%d\n" % index
        case "BINPUT":
            return b"h" + bytes([index])
    return b"j" + struct.pack("<I", index)


def _through_memo(kind: str) -> Callable[[Any], bytes]:
    """Each name is made of texts that were put away before."""

    def name(one: Name, spell: Parts) -> bytes:
        # MEMOIZE counts, so all names of a gadget are put at the same two numbers only by the others
        if kind == "MEMOIZE":
            return spell(one.module) + b"\x94" + spell(one.attr) + b"\x94\x93"
        kept = spell(one.module) + _put(kind, 0) + b"0" + spell(one.attr) + _put(kind, 1) + b"0"
        return kept + _get(kind, 0) + _get(kind, 1) + b"\x93"

    return _writer(Style(name=name), 4)


def _collided(one: Name, spell: Parts) -> bytes:
    """Harmless texts are memoized where the real ones were put: a scanner that counts only MEMOIZE is misled."""
    real = spell(one.module) + b"q\x00" + b"0" + spell(one.attr) + b"q\x01" + b"0"
    shown = spell("collections") + b"\x940" + spell("OrderedDict") + b"\x940"
    return real + shown + b"h\x00h\x01\x93"


def _put_again(one: Name, spell: Parts) -> bytes:
    """A number is put twice: a scanner that keeps the first takes the name for a harmless one."""
    harmless = spell("collections") + b"q\x050" + spell("OrderedDict") + b"q\x060"
    real = spell(one.module) + b"q\x050" + spell(one.attr) + b"q\x060"
    return harmless + real + b"h\x05h\x06\x93"


def _put_back(one: Name, spell: Parts) -> bytes:
    """A number is put again behind its use."""
    return _put_again(one, spell) + spell("collections") + b"q\x050"


def _dup(one: Name, spell: Parts) -> bytes:
    """The texts are doubled, and both first ones popped."""
    return spell("x") + b"20" + b"0" + spell(one.module) + b"2" + b"0" + spell(one.attr) + b"\x93"


def _odd_digits(one: Name, spell: Parts) -> bytes:
    """A number of the memo in a spelling that a reader of text takes for another, or for none."""
    kept = spell(one.module) + b"p 07\n0" + spell(one.attr) + b"p+8\n0"
    return kept + b"g7\ng08 \n\x93"


def _carriage(one: Name, spell: Parts) -> bytes:
    """GLOBAL with lines of Windows."""
    del spell
    return b"c" + f"{one.module}\r\n{one.attr}\r\n".encode("utf-8", "surrogatepass")


def _kept_function(call: Call, spell: Parts) -> bytes:
    """The function is put away, and called from there."""
    return spell(call.func) + b"q\x090" + spell(call.args) + b"q\x0a0" + b"h\x09h\x0aR"


def _memos() -> Iterator[Spelling]:
    for kind in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        yield Spelling(f"names through {kind}", _through_memo(kind), ("memo", kind))
    for told, name in (("collides", _collided), ("is put again", _put_again), ("is put back", _put_back)):
        yield Spelling(f"a memo that {told}", _writer(Style(name=name), 4), ("memo",))
    yield Spelling("names through DUP", _writer(Style(name=_dup), 4), ("DUP",))
    yield Spelling("a memo of odd digits", _writer(Style(name=_odd_digits), 4), ("memo", "PUT", "digit", "number"))
    yield Spelling("lines of Windows", _writer(Style(name=_carriage), 4), ("\\r", "name"))
    yield Spelling("the function through the memo", _writer(Style(call=_kept_function), 4), ("memo",))
    for index in (1 << 20, (1 << 31) - 1, (1 << 32) - 1):
        put = b"r" + struct.pack("<I", index)
        yield Spelling(f"a memo of {index}", _around(b"N" + put + b"0"), ("memo", "PUT"))
    yield Spelling("a memo of 20 digits", _around(b"Np%d\n0" % 10**19), ("memo", "PUT"))
    yield Spelling("a memo below zero", _around(b"Np-1\n0"), ("memo", "PUT"))
    yield Spelling("a memo that was never put", _around(b"h\xfe0"), ("memo", "GET"))


# -- names in pieces -------------------------------------------------------------------------------------------------


def _joined(one: Name, spell: Parts) -> bytes:
    """The module's name is added up from letters while the pickle runs."""
    plus = Name("operator", "concat")
    middle = len(one.module) // 2
    first = by_stack(plus, spell) + spell((one.module[:middle], one.module[middle:])) + b"R"
    return first + spell(one.attr) + b"\x93"


def _decoded(one: Name, spell: Parts) -> bytes:
    """The name comes out of a codec."""
    codec = by_stack(Name("_codecs", "decode"), spell)
    return codec + spell((one.module.encode("utf-8", "replace"), "utf-8")) + b"R" + spell(one.attr) + b"\x93"


def _of_str(one: Name, spell: Parts) -> bytes:
    """The name is made by `str`, which looks harmless."""
    made = by_stack(Name("builtins", "str"), spell) + spell((one.module,)) + b"R"
    return made + spell(one.attr) + b"\x93"


def _of_scalar(one: Name, spell: Parts) -> bytes:
    """The name is a text of numpy, which is no `str` by type."""
    made = by_stack(Name("numpy", "str_"), spell) + spell((one.module,)) + b"R"
    return made + spell(one.attr) + b"\x93"


def _of_bytes(one: Name, spell: Parts) -> bytes:
    """The name is bytes."""
    return spell(one.module.encode("utf-8", "replace")) + spell(one.attr.encode("utf-8", "replace")) + b"\x93"


def _pieces() -> Iterator[Spelling]:
    told = ("STACK_GLOBAL",)
    yield Spelling("names added up", _writer(Style(name=_joined), 4), ("operator.concat", *told))
    yield Spelling("names decoded", _writer(Style(name=_decoded), 4), ("_codecs.decode", *told))
    yield Spelling("names by str", _writer(Style(name=_of_str), 4), ("builtins.str", *told))
    yield Spelling("names by numpy.str_", _writer(Style(name=_of_scalar), 4), ("numpy.str_", *told))
    yield Spelling("names of bytes", _writer(Style(name=_of_bytes), 4), told)


# -- the stream ------------------------------------------------------------------------------------------------------


def _around(before: bytes, after: bytes = b"", head: bytes = b"\x80\x04") -> Callable[[Any], bytes]:
    return lambda part: head + before + Style().spell(part) + after + STOP


def _opened(write: Callable[[bytes], bytes]) -> Callable[[Any], bytes]:
    """A pickle whose body, with its STOP, is written by *write*."""
    return lambda part: b"\x80\x04" + write(Style().spell(part) + STOP)


def _tailed(tail: bytes) -> Callable[[Any], bytes]:
    return lambda part: proto(4) + Style().spell(part) + tail


def _longer(more: int) -> Callable[[bytes], bytes]:
    return lambda body: framed(body, len(body) + more)


def _within(length: int) -> Callable[[Any], bytes]:
    """Frames of that many bytes, wherever they cut an opcode."""

    def write(body: bytes) -> bytes:
        return b"".join(framed(body[at : at + length]) for at in range(0, len(body), length))

    return _opened(write)


_DECOY = pickle.dumps({"coef": [1.0, 2.0], "classes": ("a", "b")}, 4)
_BROKEN = {
    "an opcode that is none": b"0\xff",
    "an empty stack": b"0" * 9,
    "a text cut short": b"0\x8c\xf0ab",
    "a memo that is empty": b"0h\xee",
    "UTF-8 that is none": b"0\x8c\x01\xff",
    "the end of the file": b"0",
    "a MARK left over": b"0(",
}


def _streams() -> Iterator[Spelling]:
    second = ("behind", "after", "follow", "STOP", "trail", "stream", "end")
    yield Spelling("the second stream", lambda part: _DECOY + pickled(part), second)
    yield Spelling("the third stream", lambda part: _DECOY * 2 + pickled(part, 2), second)
    yield Spelling("a decoy behind it", lambda part: pickled(part) + _DECOY, second)
    yield Spelling("noise behind it", lambda part: pickled(part) + b"\0" * 64, second)
    yield Spelling("no STOP", lambda part: pickled(part)[:-1], ("STOP", "end", "cut", "frame"))
    yield Spelling("no STOP and no frame", lambda part: b"\x80\x04" + Style().spell(part), ("STOP", "end", "cut"))
    for told, tail in _BROKEN.items():
        broken = ("opcode", "stack", "end", "cut", "memo", "damaged", "MARK", "STOP", "short", "decode", "read")
        yield Spelling(f"and then {told}", _tailed(tail), broken)
    yield Spelling("hidden in a dict", _around(b"}\x8c\x01a", b"s"))
    yield Spelling("hidden in a list of 10,000", _around(b"](" + b"N" * 10_000, b"e"))
    yield Spelling("popped again", _around(b"N", b"0"), ("POP",))
    yield Spelling("popped by its MARK", _around(b"N(", b"1"), ("POP",))
    yield Spelling("built on None", _around(b"N", b"b"), ("BUILD",))
    yield Spelling("as a persistent id", _around(b"", b"Q"), ("BINPERSID", "persistent"))
    yield Spelling("behind a persistent id", _around(b"Pabc\n0"), ("PERSID", "persistent"))
    yield Spelling("behind a buffer", _around(b"\x970"), ("NEXT_BUFFER", "buffer"))
    yield Spelling("as a read-only buffer", _around(b"", b"\x98"), ("READONLY_BUFFER", "buffer"))
    for told, code in (("EXT1", b"\x82\x71"), ("EXT2", b"\x83\x71\x71"), ("EXT4", b"\x84qqqq"), ("EXT1 ", b"\x82\x01")):
        after = b"(" + short_text("true") + b"tR0"
        yield Spelling(f"behind {told}{'unregistered' * told.endswith(' ')}", _around(code + after), (told.strip(),))


def _frames() -> Iterator[Spelling]:
    said = ("frame",)
    for told, length in (("0 bytes", 0), ("1 byte", 1), ("2^40 bytes", 1 << 40), ("2^63 bytes", 1 << 63)):
        yield Spelling(f"a frame of {told}", _opened(partial(framed, length=length)), (*said, "end", "cut"))
    for more in (-1, -5, 1, 5):
        yield Spelling(f"a frame by {more}", _opened(_longer(more)), (*said, "end"))
    yield Spelling("frames in a frame", _opened(lambda body: framed(framed(framed(body)))), said)
    yield Spelling("empty frames", _opened(lambda body: framed(b"") * 50 + framed(body)), said)
    for length in (1, 3, 7):
        yield Spelling(f"frames of {length} bytes", _within(length), (*said, "is not UTF-8"))
    yield Spelling("no frame", _opened(lambda body: body))
    yield Spelling("a frame for PROTO", lambda part: framed(pickled(part, 4)), (*said, "PROTO", "protocol"))


def _heads() -> Iterator[Spelling]:
    said = ("PROTO", "protocol")
    yield Spelling("no PROTO", _around(b"", head=b""), said)
    yield Spelling("PROTO twice", _around(b"\x80\x04"), said)
    yield Spelling("PROTO in the middle", _around(b"N0\x80\x02"), said)
    yield Spelling("PROTO at the end", _around(b"", b"\x80\x05"), said)
    for number in (0, 1, 2, 6, 255):
        yield Spelling(f"PROTO {number}", _around(b"", head=b"\x80" + bytes([number])), said)
    for told, junk in {
        "a newline": b"\n",
        "a BOM": b"\xef\xbb\xbf",
        "NUL": b"\0" * 8,
        "a comment": b"# a model\n",
        "the length of a header": struct.pack("<Q", 2) + b"{}",
        "a header and no end of it": struct.pack("<Q", 60) + b'{"w":',
        "the magic of numpy": b"\x93NUMPY",
        "the magic of zip": b"PK\x03\x04",
        "the magic of gzip": b"\x1f\x8b",
    }.items():
        head = junk + proto(4)
        yield Spelling(f"behind {told}", _around(b"", head=head), ("damaged", "content", "read", "told", "PROTO"))


def spellings() -> tuple[Spelling, ...]:
    """All of them."""
    made = (_protocols, _memos, _pieces, _streams, _frames, _heads)
    return tuple(one for part in made for one in part())
