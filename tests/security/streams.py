"""For each rule of the scan, a stream that this rule alone refuses."""

from __future__ import annotations

from collections.abc import Callable

HEAD = b"\x80\x05"
MODEL = b"csklearn.linear_model._logistic\nLogisticRegression\n"


def frame(size: int) -> bytes:
    return b"\x95" + size.to_bytes(8, "little")


def name(module: str, member: str) -> bytes:
    return f"c{module}\n{member}\n".encode()


def text(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def doubled(levels: int) -> bytes:
    """``t = (1, 1)``, then ``t = (t, t)`` as often as that: a few bytes each, twice the work each."""
    return b"K\x01K\x01\x86" + b"".join(b"\x94h" + bytes([level]) + b"\x86" for level in range(levels))


def copied(times: int) -> bytes:
    """One MiB of bytes, and as many arrays of bytes made from it."""
    size = 2**20
    kept = name("builtins", "bytearray") + b"\x940" + b"B" + size.to_bytes(4, "little") + bytes(size) + b"\x940"
    return kept + b"(" + b"h\x00h\x01\x85R" * times + b"t"


STREAMS: dict[str, bytes] = {
    "protocol": b"\x80\x02N.",
    "second-protocol": HEAD + HEAD + b"N.",
    "opcode": HEAD + b"N\x82\x01.",
    "length": HEAD + b"\x8c\x05ab.",
    "line": HEAD + b"cos\nsystem",
    "text": HEAD + b"\x8c\x01\xff.",
    "stop": HEAD + b"N",
    "behind": HEAD + b"N.N.",
    "rest": HEAD + b"NN.",
    "frame-past-end": HEAD + frame(100) + b"N.",
    "frame-in-frame": HEAD + frame(11) + frame(2) + b"N.",
    "frame-cut": HEAD + frame(2) + b"\x8c\x01a.",
    "underflow": HEAD + b"\x85.",
    "mark": HEAD + b"t.",
    "memo-put": HEAD + b"Nr\xff\xff\xff\x7f.",
    "memo-get": HEAD + b"h\x00.",
    "buffers": HEAD + b"\x97.",
    "readonly": HEAD + b"N\x98.",
    "global-text": HEAD + b"K\x01K\x02\x93.",
    "dotted": HEAD + text("builtins") + text("str.format") + b"\x93.",
    "listed": HEAD + name("os", "system") + b".",
    "value": HEAD + name("sklearn.neighbors._kd_tree", "KDTree") + b".",
    "callee": HEAD + b"N)R.",
    "call": HEAD + name("builtins", "bytes") + b")R.",
    "arguments": HEAD + name("builtins", "bytearray") + b"J\xff\xff\xff\x7f\x85R.",
    "new": HEAD + name("builtins", "int") + b")\x81.",
    "new-arguments": HEAD + MODEL + b"K\x01\x85\x81.",
    "build": HEAD + b"]}b.",
    "build-twice": HEAD + MODEL + b")\x81}b}b.",
    "unfilled": HEAD + name("sklearn.neighbors._kd_tree", "newObj")
    + name("sklearn.neighbors._kd_tree", "KDTree") + b"\x85R.",
    "state": HEAD + MODEL + b")\x81]b.",
    "state-key": HEAD + MODEL + b")\x81}" + text("__class__") + b"Nsb.",
    "append": HEAD + b"}Na.",
    "setitem": HEAD + b"]NNs.",
    "additems": HEAD + b"](N\x90.",
    "key": HEAD + b"}]Ns.",
    "key-work": HEAD + b"}" + doubled(30) + b"Ns.",
    "wide": HEAD + b"](" + (b"\x8a\x09" + bytes(8) + b"\x01") * 2001 + b"e.",
    "depth": HEAD + b"]" * 1002 + b"a" * 1001 + b".",
    "memory": HEAD + copied(120) + b".",
}  # fmt: skip

# What stands behind a rule, should it be missing: for these another rule refuses the stream then.
BEHIND = {"length": "stop", "line": "stop", "global-text": "listed", "dotted": "listed"}
Scan = Callable[[bytes], object]
