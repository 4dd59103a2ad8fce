"""Pickles inside other files: compressed, in archives, in arrays, behind the head of another format."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hostile.archives import npy, zipped
from modelkeep import zstd
from security.assembling import Call, Name, pickled
from security.attack import MAKE, TOUCH, Attack

_PAYLOADS = {
    "os.system": Call(Name("os", "system"), (TOUCH,)),
    "builtins.exec": Call(Name("builtins", "exec"), (MAKE,)),
    "numpy.testing._private.utils.runstring": Call(Name("numpy.testing._private.utils", "runstring"), (MAKE, {})),
    "torch.storage._load_from_bytes": Call(
        Name("torch.storage", "_load_from_bytes"), (pickled(Call(Name("os", "system"), (TOUCH,)), 2),)
    ),
}
_TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TORCH_PROTOCOL = b"\x80\x02M\xe9\x03."


def _lz4(raw: bytes) -> bytes:
    """One frame of one block that is not compressed."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + (len(raw) | 1 << 31).to_bytes(4, "little") + raw + bytes(4)


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "xz": lzma.compress,
    "lzma": lambda raw: lzma.compress(raw, lzma.FORMAT_ALONE),
    "bz2": bz2.compress,
    "lz4": _lz4,
    "zstd": zstd.compress,
    "gzip in gzip": lambda raw: gzip.compress(gzip.compress(raw)),
    "xz in zlib": lambda raw: zlib.compress(lzma.compress(raw)),
    "two members of gzip": lambda raw: gzip.compress(raw[:9]) + gzip.compress(raw[9:]),
    "gzip with noise behind": lambda raw: gzip.compress(raw) + b"\0" * 99,
    "gzip with a bad CRC": lambda raw: gzip.compress(raw)[:-8] + bytes(8),
    "gzip cut": lambda raw: gzip.compress(raw)[:-9],
    "joblib's old compression": lambda raw: b"ZF" + hex(len(raw)).encode().ljust(19) + zlib.compress(raw),
}


class Reduced:
    """Pickled as the call that it is given."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _packed(raw: bytes) -> Iterator[tuple[str, str, bytes]]:
    for name, pack in _PACKERS.items():
        for suffix in (".pkl", ".joblib"):
            yield f"{name} as {suffix}", suffix, pack(raw)
    for suffix in (".safetensors", ".npy", ".npz", ".json", ".txt", "", ".pt", ".bin", ".onnx", ".ubj", ".parquet"):
        yield f"a pickle as {suffix!r}", suffix, raw
    length = len(raw).to_bytes(8, "little")
    yield "the length of a header", ".safetensors", length + raw
    yield "a header that is a pickle", ".safetensors", (len(raw) + 1).to_bytes(8, "little") + b"{" + raw
    yield "a pickle with a zip behind", ".pkl", raw + zipped(("a.npy", _sound_array()))
    yield "a pickle with an archive of torch behind", ".pt", raw + _torch(raw)


def _sound_array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(3))
    return out.getvalue()


def _arrays(raw: bytes) -> Iterator[tuple[str, str, bytes]]:
    shape = "'fortran_order': False, 'shape': (1,)"
    for told, kind in (("O", "'|O'"), ("a field of O", "[('a', '|O')]"), ("O in a subarray", "('|O', (2,))")):
        made = npy("{'descr': " + kind + ", " + shape + "}\n", data=raw)
        yield f"npy of {told}", ".npy", made
        yield f"npz of {told}", ".npz", zipped(("a.npy", made))
        yield f"npz with {told} second", ".npz", zipped(("a.npy", _sound_array()), ("b.npy", made))
        yield f"npz with {told} packed", ".npz", zipped(("b.npy", made), packed=True)
        for version in (b"\x02\x00", b"\x03\x00"):
            header = "{'descr': " + kind + ", " + shape + "}\n"
            yield f"npy {version[0]} of {told}", ".npy", npy(header, version, data=raw)
    yield "npz of an array and a pickle", ".npz", zipped(("a.npy", _sound_array()), ("b.pkl", raw))
    yield "npy with code in its header", ".npy", npy("{'descr': __import__('os').system('" + TOUCH + "')}\n")


def _torch(raw: bytes, prefix: str = "archive/", *, more: bool = True) -> bytes:
    members = [(f"{prefix}data.pkl", raw), (f"{prefix}byteorder", b"little"), (f"{prefix}version", b"3\n")]
    return zipped(*members, *([(f"{prefix}data/0", bytes(64))] if more else []))


def _archives(raw: bytes) -> Iterator[tuple[str, str, bytes]]:
    for suffix in (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz", ".keras"):
        yield f"torch as {suffix}", suffix, _torch(raw)
    yield "torch with no folder", ".pt", _torch(raw, "")
    yield (
        "torch with code",
        ".pt",
        zipped(("a/data.pkl", raw), ("a/code/__torch__.py", MAKE.encode()), ("a/version", b"3")),
    )
    yield "torch of constants", ".pt", zipped(("a/constants.pkl", raw), ("a/data.pkl", pickle.dumps({}, 2)))
    yield "torch with two pickles", ".pt", zipped(("a/data.pkl", pickle.dumps({}, 2)), ("a/data.pkl", raw))
    yield "torch with two folders", ".pt", zipped(("a/data.pkl", pickle.dumps({}, 2)), ("b/data.pkl", raw))
    for told, (magic, at, value) in {
        "said to be encrypted inside": (b"PK\x01\x02", 8, b"\x01\x00"),
        "said to be encrypted outside": (b"PK\x03\x04", 6, b"\x01\x00"),
        "of an unknown method": (b"PK\x01\x02", 10, b"\x63\x00"),
        "of a wrong CRC": (b"PK\x01\x02", 16, b"\0\0\0\0"),
        "of a wrong local CRC": (b"PK\x03\x04", 14, b"\0\0\0\0"),
        "of a wrong size": (b"PK\x01\x02", 24, b"\xff\xff\xff\x7f"),
        "said to be of another disk": (b"PK\x01\x02", 34, b"\x09\x00"),
        "at another offset": (b"PK\x01\x02", 42, b"\x05\x00\x00\x00"),
        "of a wrong count": (b"PK\x05\x06", 10, b"\x01\x00"),
        "with NUL in its name": (b"PK\x01\x02", 46, b"arch\0ve"),
        "with another name inside": (b"PK\x03\x04", 30, b"ARCHIVE"),
    }.items():
        whole = _torch(raw, more=False)
        place = whole.index(magic) + at
        yield f"torch {told}", ".pt", whole[:place] + value + whole[place + len(value) :]
    yield "torch behind junk", ".pt", b"#!/bin/sh\n" + _torch(raw)
    yield "torch with junk behind", ".pt", _torch(raw) + b"\0" * 70_000
    yield "two archives in a row", ".pt", _torch(pickle.dumps({}, 2)) + _torch(raw)
    yield "two central directories", ".pt", _two_directories(raw)
    yield "torch before 1.6", ".pt", _TORCH_MAGIC + _TORCH_PROTOCOL + pickled({"little_endian": True}, 2) + raw
    yield "torch before 1.6, in its third pickle", ".pt", _TORCH_MAGIC + _TORCH_PROTOCOL + raw
    yield "torch of its first days", ".pt", _tar(raw)
    yield (
        "keras with a pickle",
        ".keras",
        zipped(("config.json", b"{}"), ("metadata.json", b"{}"), ("m.weights.h5", raw)),
    )
    yield "skops", ".skops", zipped(("schema.json", _skops()), ("1.npy", _sound_array()))
    yield "a wheel", ".whl", zipped(("a.py", MAKE.encode()), ("a.dist-info/METADATA", b"Name: a"))


def _two_directories(raw: bytes) -> bytes:
    """A directory that shows a harmless member, and one that shows the other; readers take the first or the last."""
    harmless, harmful = _torch(pickle.dumps({}, 2), more=False), _torch(raw, more=False)
    return harmless[: harmless.index(b"PK\x05\x06")] + harmful


def _tar(raw: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, held in (("sys_info", raw), ("pickle", raw), ("storages", raw), ("tensors", raw)):
            facts = tarfile.TarInfo(name)
            facts.size = len(held)
            archive.addfile(facts, io.BytesIO(held))
    return out.getvalue()


def _skops() -> bytes:
    node = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1}
    call = {"__class__": "partial", "__module__": "functools", "__loader__": "PartialNode", "content": {"func": node}}
    return json.dumps({**call, "__id__": 2, "protocol": 2, "_skops_version": "0.14"}).encode()


def _joblib() -> Iterator[tuple[str, str, bytes]]:
    """What joblib writes: an array of objects is a pickle of its own in the middle of the pickle."""
    import os

    import joblib

    for told, payload in {
        "alone": Reduced(os.system, (TOUCH,)),
        "in an array of objects": np.array([Reduced(os.system, (TOUCH,))], dtype=object),
        "behind an array": {"w": np.ones(9), "x": Reduced(os.system, (TOUCH,))},
        "in an array in a list": [np.ones(9), {"x": np.array([Reduced(os.system, (TOUCH,)), None], dtype=object)}],
    }.items():
        for compress in (0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
            out = io.BytesIO()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                joblib.dump(payload, out, compress=compress)
            yield (
                f"joblib, {told}, {compress[0] if isinstance(compress, tuple) else 'plain'}",
                ".joblib",
                out.getvalue(),
            )


def _inert() -> Iterator[tuple[str, str, bytes]]:
    """Archives in which a pickle lies where no reader of arrays looks: they may load, as arrays."""
    raw = pickled(_PAYLOADS["os.system"])
    sound = zipped(("a.npy", _sound_array()))
    local = zipped(("x.pkl", raw))
    at = sound.index(b"PK\x01\x02")
    hidden = local[: local.index(b"PK\x01\x02")]
    yield "a hidden member before the archive", ".npz", hidden + sound
    yield "a hidden member", ".npz", _shifted(sound, at, hidden)
    yield "a member that numpy gives as bytes", ".npz", zipped(("a.npy", raw))
    out = io.BytesIO(sound)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = raw
    yield "a comment that is a pickle", ".npz", out.getvalue()
    yield "an array with a pickle behind", ".npy", _sound_array() + raw
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(raw)], "data_offsets": [0, len(raw)]}}).encode()
    yield "a tensor of these bytes", ".safetensors", len(header).to_bytes(8, "little") + header + raw


def _shifted(sound: bytes, at: int, hidden: bytes) -> bytes:
    end = sound.index(b"PK\x05\x06")
    start = (at + len(hidden)).to_bytes(4, "little")
    return sound[:at] + hidden + sound[at:end] + sound[end : end + 16] + start + sound[end + 20 :]


def containers() -> Iterator[Attack]:
    """All of them, with several payloads."""
    for said, payload in _PAYLOADS.items():
        for protocol in (2, 4):
            raw = pickled(payload, protocol)
            for made in (_packed, _arrays, _archives):
                for name, suffix, whole in made(raw):
                    yield Attack("container", f"{name} of {said} in protocol {protocol}", whole, suffix)
    for name, suffix, whole in _joblib():
        yield Attack("container", name, whole, suffix)
    for name, suffix, whole in _inert():
        yield Attack("inert", name, whole, suffix)
