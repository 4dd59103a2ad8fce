"""Files of every format that is told apart, and of some that are not, for the tests of this folder."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from modelkeep.serializers.safetensors import Tensor, pack
from modelkeep.splitters import SMALL, Extent, extents

RNG = np.random.default_rng(3)
BIG = RNG.normal(size=(90, 60))  # 43,200 bytes
OTHER = RNG.normal(size=SMALL // 8)  # as small as a tensor of its own may be
TINY = RNG.normal(size=SMALL // 8 - 1)
RECORDS = np.zeros(2000, [("a", "f8"), ("b", "i4", (3,)), ("c", "U2")])


def found_in(file: bytes) -> list[Extent]:
    """The extents of a file, held to what all of them must be."""
    found = extents(io.BytesIO(file), len(file))
    check_cover(found, len(file))
    return found


def check_cover(found: list[Extent], size: int) -> None:
    """All bytes, in order, none twice; nothing empty, and nothing cut that belongs together."""
    at = 0
    for extent in found:
        assert extent.start == at
        assert extent.stop > at
        assert not extent.tensor or extent.stop - extent.start >= SMALL
        at = extent.stop
    assert at == size
    assert all(one.tensor or other.tensor for one, other in pairwise(found))


def tensors_in(file: bytes) -> list[bytes]:
    """The bytes of what is found to be a tensor."""
    return [file[extent.start : extent.stop] for extent in found_in(file) if extent.tensor]


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stored array in format")
        np.save(file, array)
    return file.getvalue()


def npz(save: Callable[..., None] = np.savez, **arrays: Any) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def torch_file(obj: Any) -> bytes:
    file = io.BytesIO()
    torch.save(obj, file)
    return file.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return file.getvalue()


def ours(*tensors: Tensor) -> bytes:
    return b"".join(bytes(part) for part in pack(tensors, {"by": "us"}))


def with_header(header: object, data: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


class Counting(io.BytesIO):
    """A file that counts what is read of it, and can break, and give less than is asked for."""

    def __init__(self, file: bytes, after: int = 1 << 62, most: int = 1 << 62) -> None:
        super().__init__(file)
        self.bytes = self.reads = 0
        self.after, self.most = after, most

    def read(self, size: int | None = -1, /) -> bytes:
        if self.reads == self.after:
            raise OSError("the disk")
        part = super().read(self.most if size is None or size < 0 else min(self.most, size))
        self.bytes += len(part)
        self.reads += 1
        return part


FILES = {
    "empty": b"",
    "one byte": b"P",
    "text": b"a line of text\n" * 3000,
    "noise": RNG.bytes(50_000),
    "pickle": pickle.dumps({"w": BIG, "b": TINY, "names": list(range(999))}, protocol=5),
    "npy": npy(BIG),
    "npy, Fortran": npy(np.asfortranarray(BIG)),
    "npy, structured": npy(RECORDS),
    "npy, objects": npy(np.array([None, "text"] * 4000, object)),
    "npy, nothing": npy(np.zeros((0, 3))),
    "npy, one number": npy(np.array(3.0)),
    "npy, two in a row": npy(BIG) + npy(OTHER),
    "npz": npz(big=BIG, other=OTHER, tiny=TINY, objects=np.array([None] * 9000, object)),
    "npz, compressed": npz(np.savez_compressed, big=np.zeros(99_999), other=BIG),
    "torch": torch_file({"w": torch.from_numpy(BIG), "b": torch.from_numpy(TINY), "n": torch.zeros(9000)}),
    "torch, old": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + RNG.bytes(40_000),
    "zip": zipped({"a.txt": b"text" * 9000, "b.npy": npy(OTHER), "c/data/0": bytes(40_000)}),
    "zip, deflated": zipped({"a": npy(BIG)}, zipfile.ZIP_DEFLATED),
    "zip, nothing": zipped({}),
    "safetensors": safetensors.numpy.save({"big": BIG, "other": OTHER, "tiny": TINY}),
    "safetensors, ours": ours(Tensor("a", "F64", (90, 60), BIG.tobytes()), Tensor("b", "U8", (3,), b"123")),
    "safetensors, nothing": ours(),
}
W, V = BIG.tobytes(), OTHER.tobytes()
HELD = {
    "npy": [W],
    "npy, Fortran": [BIG.tobytes("F")],
    "npy, structured": [RECORDS.tobytes()],
    "npy, two in a row": [W],
    "npz": [W, V],
    "torch": [W, bytes(36_000)],
    "zip": [V],
    "safetensors": [W, V],
    "safetensors, ours": [W],
}
