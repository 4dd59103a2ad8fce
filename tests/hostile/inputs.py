"""What a hostile input is, and the texts, values and JSON fragments that many kinds are made of."""

# ruff: noqa: RUF001  such characters are the point

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

DEEP = 100_000  # levels of nesting
DIGITS = 5_000  # more than Python turns into text


@attrs.frozen(eq=False)
class Hostile:
    """One input.

    Args:
        kind: what it poses as; also by what it is counted.
        name: what it is called in reports; unique within its kind.
        value: the input itself, as the doors of its kind take it.
    """

    kind: str
    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def named(kind: str, values: dict[str, Any]) -> list[Hostile]:
    """The inputs of a kind, from their names."""
    return [Hostile(kind, name, value) for name, value in values.items()]


def ascii_name(text: str) -> str:
    """A text as a report calls it: ASCII, and not longer than a line."""
    shown = ascii(text)
    return shown if len(shown) <= 60 else f"{shown[:40]}… of {len(text)}"


_FORMAT = [0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0xFFF9, 0xE0001]
_DEVICES = ["con", "prn", "aux", "nul", "conin$", "clock$", *(f"{d}{n}" for d in ("com", "lpt") for n in "0189¹²³")]
_TRAVERSAL = [
    "..",
    ".",
    "../x",
    "../../canary/bait",
    "..\\x",
    "a/../../x",
    "/etc/passwd",
    "//x",
    "\\\\server\\share",
    "C:\\x",
    "C:x",
    "\\\\?\\C:\\x",
    "%2e%2e",
    "%2e%2e%2fx",
    "..%2f..%2fx",
    "....//x",
    "a/./b",
    "a//b",
    "a/",
    "/",
    "~",
    "~root",
    "~nobody-of-this-name/x",
    "$HOME",
    "%APPDATA%",
    "file:///etc/passwd",
    "a\0../x",
    "x.json\0.png",
    ".tmp-x",
    ".hidden",
    "..;",
    "..%c0%af",
    "-rf",
    "--help",
    "*",
    "?",
    "[a-",
    "[!",
    "**",
    "{a,b}",
    "|id",
    "`id`",
    "$(id)",
    ";id",
    "a&b",
    "<x>",
]
_TWINS = [
    "Churn",
    "CHURN",
    "churN",
    "ｃhurn",
    "e\u0301t\u00e9",
    "\u00e9t\u00e9",
    "\u212b",
    "\u00c5",
    "A\u030a",
    "\u212a",
    "\ufb01le",
    "\u017f",
    "\u0130",
    "\u0131",
    "\u00df",
    "\u1e9e",
    "\u1100\u1161",
    "\uac00",
    "\u0958",
    "\u0915\u093c",
    "a\u0328\u0301",
    "a\u0301\u0328",
    "\u2126",
    "\u03a9",
    "\u1f71",
    "\u03ac",
    "\u037e",
    "\u0387",
    "x\u0338",
    "\u2215",
    "\uff0f",
    "\uff0e\uff0e",
    "\u2024\u2024",
    "\u29f5",
    "a" + "\u0301" * 1000,
    "\U0001d400",
    "\u0345",
]
_ODD = [
    "",
    " ",
    " a",
    "a ",
    "a.",
    "a..",
    "\u3000a",
    "a\u2003",
    "\u2028",
    "a\u2029b",
    "a\u0085b",
    "\ud800",
    "a\udc80b",
    "\udfff",
    "\udcff\udcfe",
    "\uffff",
    "a\ufffeb",
    "\U0010ffff",
    "\ue000",
    "\u0378",
    "\U000e0041",
    "٣",
    "१२३",
    "１２",
    "²",
    "½",
    "Ⅷ",
    "0",
    "-1",
    "00",
    "1.0",
    "1e999",
    "nan",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    "+7",
    "9" * DIGITS,
    "1" + "0" * 15,
    "1" + "0" * 16,
    "True",
    "None",
    "null",
    "latest",
    "{0.__class__}",
    "{}",
    "%s%s%n",
    "%(x)s",
    "${jndi:ldap://x}",
    "'",
    '"',
    "'; drop table x; --",
    "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;owned\x07",
    "\r\nSet-Cookie: x",
    "\b\b\b",
    "a" * 199,
    "a" * 200,
    "a" * 201,
    "a" * 255,
    "a" * 256,
    "a" * 5_000,
    "a" * 1_000_000,
    "é" * 100,
    "é" * 34,
    "\U0001f600" * 5_000,
    "[" * DEEP,
    "(" * 1000,
    "a" * 50_000 + "!",
    "a:" * 10_000,
    ":" * 5_000,
    "@" * 50,
    "/" * 5_000,
    "a/" * 2_500 + "a",
    "1." * 5_000,
    "1.0.0-" + "a." * 5_000 + "a",
    "1.0.0-" + "0" * 99,
    "^" * 500,
    "#" + "a" * 65,
    "0" * 63,
    "f" * 64,
]


@lru_cache(maxsize=1)
def texts() -> tuple[str, ...]:
    """Texts that somebody might choke on, each once."""
    controls = [f"a{chr(code)}b" for code in (*range(0x20), *range(0x7F, 0xA0))]
    formats = [f"a{chr(code)}b" for code in _FORMAT]
    marks = [f"a{mark}b" for mark in ":@#/~+^\\*"]
    devices = [f for d in _DEVICES for f in (d, d.upper(), f"{d}.txt", f"{d}.", f"{d} ", f"a{d}", f"{d}:x")]
    found = [*controls, *formats, *marks, *devices, *_TRAVERSAL, *_TWINS, *_ODD]
    return tuple(dict.fromkeys([*found, *(unicodedata.normalize("NFD", text) for text in _TWINS)]))


class LongName(str):
    """A text of another type."""

    __slots__ = ()


class Unprintable:
    """A thing that cannot be shown."""

    def __repr__(self) -> str:
        return "\x1b[2J\u202e" + "x" * 100_000


def deep_list(depth: int = DEEP) -> list[Any]:
    """A list in a list in a list …; not shown by `repr`, and let go of without trouble."""
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def looped() -> list[Any]:
    """A list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


def values() -> dict[str, Any]:
    """Python values of types that do not belong there, or too large."""
    return {
        "None": None,
        "True": True,
        "zero": 0,
        "minus one": -1,
        "seven": 7,
        "2^63": 1 << 63,
        "2^64": 1 << 64,
        "5,000 digits": 10**DIGITS,
        "-5,000 digits": -(10**DIGITS),
        "half": 0.5,
        "nan": float("nan"),
        "inf": float("inf"),
        "complex": 1j,
        "bytes": b"churn",
        "no UTF-8": b"\xff\xfe",
        "bytearray": bytearray(b"churn"),
        "list": ["churn"],
        "tuple": ("churn", 7),
        "dict": {"churn": 7},
        "set": {1},
        "object": Unprintable(),
        "type": int,
        "function": print,
        "deep": deep_list(),
        "looped": looped(),
        "text of another type": LongName("churn\x00"),
        "path": Path("../churn"),
        "path with NUL": Path("a\0b"),
        "ellipsis": ...,
        "slice": slice(1),
        "range": range(3),
        "huge range": range(10**12),
        "exception": ValueError("x"),
        "list of deep": [deep_list()],
        "dict of deep": {"a": deep_list()},
        "key of 5,000 digits": {10**DIGITS: 1},
        "value of 5,000 digits": {"a": 10**DIGITS},
        "surrogate key": {"\ud800": 1},
        "surrogate value": {"a": "\ud800"},
        "control key": {"a\x1b[2J\u202e": object()},
        "empty key": {"": 1},
        "long key": {"a" * 100_000: object()},
        "nan value": {"a": float("nan")},
        "list with 5,000 digits": [10**DIGITS],
        "long text value": {"a": "x" * 1_000_000},
        "dollar key": {"$float": "nan"},
        "twins": {"é": 1, "e\u0301": 2},
    }


JSON: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "minus one": b"-1",
    "minus zero": b"-0",
    "one": b"1",
    "one and a half": b"1.5",
    "one as a float": b"1.0",
    "2^53": b"9007199254740992",
    "2^53+1": b"9007199254740993",
    "2^63": b"9223372036854775808",
    "2^64-1": b"18446744073709551615",
    "2^64": b"18446744073709551616",
    "1e999": b"1e999",
    "1e308": b"1e308",
    "NaN": b"NaN",
    "-Infinity": b"-Infinity",
    "5,000 digits": b"9" * DIGITS,
    "-5,000 digits": b"-" + b"9" * DIGITS,
    "empty text": b'""',
    "NUL": rb'"a\u0000b"',
    "newline": rb'"a\nb"',
    "escape": rb'"\u001b[2J"',
    "bidi": '"a\u202eb"'.encode(),
    "lone surrogate": rb'"\ud800"',
    "no UTF-8": b'"\xff\xfe"',
    "overlong": b'"\xc0\xaf"',
    "traversal": b'"../../canary/bait"',
    "absolute": b'"/etc/passwd"',
    "100,000 characters": b'"' + b"x" * DEEP + b'"',
    "64 digits": b'"' + b"0" * 64 + b'"',
    "wide digits": '"１２"'.encode(),
    "empty list": b"[]",
    "list of null": b"[null]",
    "list of lists": b"[[],[]]",
    "list of text": b'["x"]',
    "list of numbers": b"[1,2]",
    "empty object": b"{}",
    "object": b'{"a":1}',
    "object of null": b'{"a":null}',
    "word": b'{"$float":"nan"}',
    "word of a list": b'{"$float":[]}',
    "int word": b'{"$int":"zz"}',
    "huge int word": b'{"$int":"0x' + b"f" * DIGITS + b'"}',
    "decimal word": b'{"$int":"' + b"9" * DIGITS + b'"}',
    "time word": b'{"$time":"9999-99-99"}',
    "time word of a number": b'{"$time":5}',
    "tuple word": b'{"$tuple":[1]}',
    "key twice": b'{"a":1,"a":2}',
    "900 deep": b"[" * 900 + b"]" * 900,
    "900 objects deep": b'{"a":' * 900 + b"1" + b"}" * 900,
    "100,000 deep": b"[" * DEEP + b"]" * DEEP,
    "100,000 open": b"[" * DEEP,
    "100,000 objects": b'{"a":' * DEEP,
    "50,000 lists": b"[" + b"[]," * 50_000 + b"[]]",
    "trailing comma": b"[1,]",
    "comment": b"1//x",
    "nothing": b"",
    "BOM": b"\xef\xbb\xbf1",
    "two values": b"1 2",
    "hexadecimal": b"0x1",
    "leading zero": b"01",
    "quote": b'"',
}
"""Fragments that stand where a JSON value belongs; some are none."""


def fragments(turn: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many fragments; another *turn* gives others, and turns in a row give all."""
    listed = list(JSON.items())
    for index in range(count):
        yield listed[(turn * count + index) % len(listed)]


def spelled(facts: dict[str, Any], **raw: bytes) -> bytes:
    """A JSON object of *facts*, those in *raw* spelled as given; a name that *facts* lacks is added."""
    import orjson

    parts = {key: raw[key] if key in raw else orjson.dumps(value) for key, value in {**facts, **raw}.items()}
    return b"{" + b",".join(orjson.dumps(key) + b":" + part for key, part in parts.items()) + b"}"
