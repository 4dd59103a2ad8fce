"""Files that would take all memory or time, or make compiled code read what is not there; all by harmless names."""

from __future__ import annotations

import gzip
import lzma
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from security.assembling import STOP, Build, Call, Name, New, Raw, pickled, proto
from security.attack import Attack
from security.containers import Reduced

N = Name
MIB = 1 << 20
_ARRAY = N("numpy", "ndarray")
_U1 = Build(Call(N("numpy", "dtype"), ("u1", False, True)), (3, "|", None, None, None, -1, -1, 0))
_RECONSTRUCT = N("numpy._core.multiarray", "_reconstruct")


def _sized(code: bytes, shape: str, length: int, data: bytes = b"") -> bytes:
    return proto(5) + code + struct.pack(shape, length) + data + STOP


def _lengths() -> Iterator[tuple[str, Any]]:
    """Opcodes that say how long what follows is, and lie."""
    for told, code, shape in (
        ("BYTEARRAY8", b"\x96", "<Q"),
        ("BINBYTES8", b"\x8e", "<Q"),
        ("BINUNICODE8", b"\x8d", "<Q"),
        ("FRAME", b"\x95", "<Q"),
    ):
        for length in (1 << 31, 1 << 34, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
            yield f"{told} of {length}", _sized(code, shape, length)
    for told, code, shape in (("BINBYTES", b"B", "<I"), ("BINUNICODE", b"X", "<I"), ("LONG_BINPUT", b"Nr", "<I")):
        for length in (1 << 30, (1 << 32) - 1):
            yield f"{told} of {length}", _sized(code, shape, length)
    for told, code in (("LONG4", b"\x8b"), ("BINSTRING", b"T")):
        for length in ((1 << 31) - 1, -1, -(1 << 31)):
            yield f"{told} of {length}", _sized(code, "<i", length)
    yield "INT of 1,000,000 digits", proto(4) + b"I" + b"9" * MIB + b"\n."
    yield "LONG of 1,000,000 digits", proto(4) + b"L" + b"9" * MIB + b"L\n."
    yield "PUT of 2^31", proto(4) + b"Np2147483647\n."
    yield "10,000,000 MARKs", proto(4) + b"(" * 10_000_000 + b"N."


def _sizes() -> Iterator[tuple[str, Any]]:
    """Names that take a size."""
    for name in ("bytearray", "bytes"):
        for size in (1 << 31, 1 << 40, (1 << 63) - 1):
            yield f"{name}({size})", pickled(Call(N("builtins", name), (size,)))
            yield f"{name}({size}) by NEWOBJ", pickled(New(N("builtins", name), (size,)))
    for name in ("list", "tuple", "set", "frozenset"):
        yield f"{name}(range(2^33))", pickled(Call(N("builtins", name), (Call(N("builtins", "range"), (1 << 33,)),)))
        yield (
            f"{name} of a large bytearray",
            pickled(Call(N("builtins", name), (Call(N("builtins", "bytearray"), (1 << 29,)),))),
        )
    for shape in ((1 << 33,), (1 << 20, 1 << 20), (1 << 62, 2), (-1,), (1 << 31,) * 2, (1,) * 65):
        yield f"_reconstruct of {shape}", pickled(Call(_RECONSTRUCT, (_ARRAY, shape, b"b")))
        yield f"ndarray of {shape}", pickled(New(_ARRAY, (shape,)))
        made = Call(_RECONSTRUCT, (_ARRAY, (0,), b"b"))
        yield f"an array with a state of {shape}", pickled(Build(made, (1, shape, _U1, False, b"x")))
        if shape != (-1,):  # which numpy works out by itself
            frombuffer = N("numpy._core.numeric", "_frombuffer")
            yield f"_frombuffer of {shape}", pickled(Call(frombuffer, (b"x", _U1, shape, "C")))
    for kind in ("V2147483647", "U536870911", "(1000000,1000000)f8", "S2147483647"):
        dtype = Call(N("numpy", "dtype"), (kind, False, True))
        yield f"dtype {kind[:20]}", pickled(New(_ARRAY, ((4,), dtype)))
        yield f"scalar of {kind[:20]}", pickled(Call(N("numpy._core.multiarray", "scalar"), (dtype, b"")))
    yield "numpy.zeros", pickled(Call(N("numpy", "zeros"), (1 << 33,)))
    yield "int of 10^6 digits", pickled(Call(N("builtins", "int"), ("9" * MIB,)))
    yield "2 ** (10^9)", pickled(Call(N("operator", "pow"), (2, 10**9)))
    yield "a text 10^9 times", pickled(Call(N("operator", "mul"), ("x", 10**9)))
    yield "a list 10^9 times", pickled(Call(N("operator", "mul"), ([None], 10**9)))


def _nested() -> Iterator[tuple[str, Any]]:
    """Objects that hold one another, deeper or more often than anybody follows."""
    count = 1_000_000
    yield "10^6 tuples in one another", proto(4) + b"N" + b"\x85" * count + STOP
    yield "10^6 lists in one another", proto(4) + b"]" * count + b"a" * (count - 1) + STOP
    yield "10^6 dicts in one another", proto(4) + b"}" + b"N}" * (count - 1) + b"s" * (count - 1) + STOP
    yield "10^6 sets in one another", proto(4) + b"(" * count + b"\x91" * count + STOP
    doubled = b")" + b"\x94" + b"".join(b"h" + bytes([n, 104, n]) + b"\x86\x94" for n in range(60))
    yield "a key of 2^60 tuples", proto(4) + b"}" + doubled + b"Ns" + STOP
    yield "a member of 2^60 tuples", proto(4) + b"\x8f(" + doubled + b"\x90" + STOP
    yield "a frozenset of 2^60 tuples", proto(4) + b"(" + doubled + b"\x91" + STOP
    laughs = b"]\x94(" + b"N" * 10 + b"e" + b"".join(b"]\x94(" + (b"h" + bytes([n])) * 10 + b"e" for n in range(30))
    yield "10^30 laughs", proto(4) + laughs + STOP
    yield "a list in itself as a state", pickled(Build(New(N("collections", "OrderedDict")), Raw(b"]q\x00h\x00a")))
    yield "a key that is a list", proto(4) + b"}]Ns" + STOP
    same = [b"\x8a" + bytes([len(raw)]) + raw for raw in map(_long, range(1, 60_000))]
    yield "60,000 keys of one hash", proto(4) + b"}(" + b"".join(key + b"N" for key in same) + b"u" + STOP
    yield "60,000 members of one hash", proto(4) + b"\x8f(" + b"".join(same) + b"\x90" + STOP
    yield "60,000 of one hash, frozen", proto(4) + b"(" + b"".join(same) + b"\x91" + STOP


def _long(number: int) -> bytes:
    """An integer of hash 0."""
    whole = number * _modulus()
    return whole.to_bytes(whole.bit_length() // 8 + 1, "little", signed=True)


def _modulus() -> int:
    """What hashes of integers are taken by."""
    return sys.hash_info.modulus


def _compressed() -> Iterator[tuple[str, Any]]:
    zeros = partial(bytes, 64 * MIB)
    head = proto(4) + b"\x8e" + struct.pack("<Q", 64 * 64 * MIB)
    yield "4 GiB in gzip", lambda: gzip.compress(head) + gzip.compress(zeros(), 9) * 64
    yield "4 GiB in xz", lambda: lzma.compress(head, preset=0) + lzma.compress(zeros(), preset=0) * 64
    yield "1 GiB of POPs in gzip", lambda: gzip.compress(proto(4)) + gzip.compress(b"N0" * (32 * MIB)) * 16


# -- compiled code ---------------------------------------------------------------------------------------------------


def _lying() -> Iterator[tuple[str, Callable[[], Any]]]:
    """States that compiled code takes on trust: lengths, indices, flags."""
    yield "a tree of 2^30 outputs", partial(_tree, n_outputs=1 << 30)
    yield "a tree of fewer classes than outputs", partial(_tree, n_outputs=4096)
    yield "a tree of more nodes than it has", partial(_tree, node_count=1 << 40)
    yield "a tree of no nodes", partial(_tree, node_count=-1)
    yield "a tree of other values", partial(_tree, values=np.zeros((1, 1, 1)))
    yield "a tree of nodes of bytes", partial(_tree, nodes=np.zeros(64, np.uint8))
    yield "a tree of nodes far away", partial(_tree, children=1 << 40)
    yield "an array of wild pointers", _wild
    yield "an array of pointers as a void", _wild_void
    yield "a dtype with a field outside", _outside
    yield "a generator that stands outside", partial(_generator, 1 << 40)
    yield "a generator that stands before", partial(_generator, -5)
    yield "a sparse matrix of lying indices", _sparse
    yield "a k-d tree of lying indices", _kd_tree


def _tree(
    *,
    n_outputs: int = 1,
    node_count: int | None = None,
    values: Any = None,
    nodes: Any = None,
    children: int | None = None,
) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    fitted = DecisionTreeClassifier(max_depth=2).fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    made, (features, classes, _), state = fitted.tree_.__reduce__()
    if node_count is not None:
        state["node_count"] = node_count
    if values is not None:
        state["values"] = values
    if nodes is not None:
        state["nodes"] = nodes
    if children is not None:
        state["nodes"]["left_child"] = children
    fitted.tree_ = Reduced(made, (features, classes, n_outputs), state)
    return fitted


def _wild() -> Any:
    dtype = Build(
        Call(N("numpy", "dtype"), ("V8", False, True)),
        (4, "|", None, ("a",), {"a": (Call(N("numpy", "dtype"), ("O8", False, True)), 0)}, 8, 8, 0),
    )
    return Build(Call(_RECONSTRUCT, (_ARRAY, (0,), b"b")), (1, (1,), dtype, False, b"\x41" * 8))


def _wild_void() -> Any:
    dtype = Call(N("numpy", "dtype"), ("O8", False, True))
    return Call(N("numpy._core.multiarray", "scalar"), (dtype, b"\x41" * 8))


def _outside() -> Any:
    field = (Call(N("numpy", "dtype"), ("f8", False, True)), 1 << 30)
    dtype = Build(Call(N("numpy", "dtype"), ("V8", False, True)), (3, "|", None, ("a",), {"a": field}, 8, 1, 0))
    return Build(Call(_RECONSTRUCT, (_ARRAY, (0,), b"b")), (1, (1,), dtype, False, b"\x41" * 8))


def _generator(place: int) -> Any:
    state = {
        "bit_generator": "MT19937",
        "state": {"key": np.arange(624, dtype=np.uint32), "pos": place},
        "has_gauss": 0,
        "gauss": 0.0,
    }
    made, args, _ = np.random.RandomState(0).__reduce__()
    return Reduced(made, args, state)


def _sparse() -> Any:
    made = import_module("scipy.sparse").csr_matrix(np.eye(3))  # it ships no types
    made.indices = np.array([1 << 30, -5, 7], np.int32)
    made.indptr = np.array([0, 1 << 20, 2, 3], np.int32)
    return made


def _kd_tree() -> Any:
    from sklearn.neighbors import KDTree

    made, args, state = KDTree(np.arange(40.0).reshape(20, 2), leaf_size=2).__reduce__()
    altered = list(state)
    altered[1] = np.full_like(np.asarray(state[1]), 1 << 40)
    return Reduced(made, args, tuple(altered))


def _write(make: Callable[[], Any]) -> bytes:
    made = make()
    return pickled(made) if isinstance(made, (Build, Call)) else pickle.dumps(made, 5)


def bombs() -> Iterator[Attack]:
    """All of them."""
    for made in (_lengths, _sizes, _nested, _compressed):
        for name, raw in made():
            yield Attack("bomb", name, raw, unpickles=True)
    for name, make in _lying():
        yield Attack("lie", name, partial(_write, make), unpickles=True)
