from __future__ import annotations

import io
import json
import math
import re

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.serializers.safetensors import SIZES, Tensor, pack, read_header

BOTH = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
    "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8", "C64": "<c8",
}  # fmt: skip


@st.composite
def tensor_lists(draw: st.DrawFn) -> list[Tensor]:
    names = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=6))
    tensors = []
    for name in names:
        if name == "__metadata__":
            continue
        tag = draw(st.sampled_from(sorted(BOTH)))
        shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
        size = math.prod(shape) * SIZES[tag]
        data = draw(st.binary(min_size=size, max_size=size))
        tensors.append(Tensor(name, tag, shape, bytes(byte & 1 for byte in data) if tag == "BOOL" else data))
    return tensors


def unpack(file: bytes | bytearray | memoryview) -> tuple[list[Tensor], dict[str, str]]:
    view = memoryview(file).cast("B")
    rows, metadata = read_header(io.BytesIO(view), view.nbytes)
    return [Tensor(row.name, row.dtype, row.shape, view[row.start : row.stop]) for row in rows], metadata


def packed(tensors: list[Tensor], metadata: dict[str, str] | None = None) -> bytes:
    return b"".join(bytes(buffer) for buffer in pack(tensors, metadata or {}))


def facts(tensors: list[Tensor]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {tensor.name: (tensor.dtype, tensor.shape, bytes(tensor.data)) for tensor in tensors}


@given(tensor_lists(), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.just("text")))
def test_what_is_packed_is_unpacked(tensors: list[Tensor], metadata: dict[str, str]) -> None:
    found, texts = unpack(packed(tensors, metadata))
    assert facts(found) == facts(tensors)
    assert texts == metadata


@given(tensor_lists())
def test_the_reference_reads_what_we_write(tensors: list[Tensor]) -> None:
    read = dict(safetensors.deserialize(packed(tensors)))  # type: ignore[no-untyped-call]
    assert {name: (row["dtype"], tuple(row["shape"]), bytes(row["data"])) for name, row in read.items()} == facts(
        tensors
    )


@given(tensor_lists())
def test_we_read_what_the_reference_writes(tensors: list[Tensor]) -> None:
    arrays = {t.name: np.frombuffer(bytes(t.data), BOTH[t.dtype]).reshape(t.shape) for t in tensors}
    found, texts = unpack(safetensors.numpy.save(arrays, {"by": "reference"}))
    assert facts(found) == facts(tensors)
    assert texts == {"by": "reference"}


@pytest.mark.parametrize(("tag", "dtype"), [
    ("BF16", torch.bfloat16), ("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2),
    ("F8_E4M3FNUZ", torch.float8_e4m3fnuz), ("F8_E5M2FNUZ", torch.float8_e5m2fnuz),
])  # fmt: skip
def test_types_that_numpy_lacks_go_both_ways(tag: str, dtype: torch.dtype) -> None:
    size = 3 * SIZES[tag]
    ours = Tensor("w", tag, (3,), bytes(range(size)))
    theirs = safetensors.torch.load(packed([ours]))["w"]
    assert theirs.dtype == dtype
    assert bytes(theirs.view(torch.uint8).numpy()) == bytes(range(size))
    assert facts(unpack(safetensors.torch.save({"w": theirs}))[0]) == facts([ours])


@given(tensor_lists())
def test_every_tensor_is_aligned_to_its_elements_and_the_first_to_64_bytes(tensors: list[Tensor]) -> None:
    buffers = pack(tensors, {})
    assert len(buffers[0]) % 64 == 0
    header = json.loads(bytes(buffers[0][8:]))
    assert [name for name, row in header.items() if row["data_offsets"][0] % SIZES[row["dtype"]]] == []


def test_nothing_is_copied_in_either_direction() -> None:
    memory = bytearray(b"abcd")
    head, data = pack([Tensor("w", "U8", (4,), memory)], {})
    assert data is memory
    whole = bytearray(bytes(head) + bytes(data))
    (found,), _ = unpack(whole)
    whole[-4:] = b"wxyz"
    assert bytes(found.data) == b"wxyz"


@pytest.mark.parametrize(("tensors", "why"), [
    ([Tensor("w", "U8", (1,), b"1"), Tensor("w", "U8", (1,), b"2")], "'w' is there twice"),
    ([Tensor("__metadata__", "U8", (1,), b"1")], "reserved"),
    ([Tensor("w", "F3", (1,), b"1")], "unknown type 'F3'"),
    ([Tensor("w", "F32", (3,), b"1")], "'w' has 1 bytes"),
    ([Tensor("\ud800", "U8", (1,), b"1")], "no valid Unicode"),
])  # fmt: skip
def test_what_nobody_could_read_is_not_written(tensors: list[Tensor], why: str) -> None:
    with pytest.raises(SerializerError, match=re.escape(why)):
        pack(tensors, {})


def test_a_header_above_the_limit_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep.serializers.safetensors._MAX_HEADER", 100)
    with pytest.raises(SerializerError, match="safetensors allows 100"):
        pack([Tensor("w" * 100, "U8", (0,), b"")], {})


def row(at: int, end: int, shape: object = None, tag: object = "U8") -> str:
    return json.dumps({"dtype": tag, "shape": [end - at] if shape is None else shape, "data_offsets": [at, end]})


MALFORMED = {
    "hole": (f'{{"a":{row(0, 1)},"b":{row(2, 4)}}}', 4),
    "hole in front": (f'{{"a":{row(1, 4)}}}', 4),
    "overlap": (f'{{"a":{row(0, 3)},"b":{row(2, 4)}}}', 4),
    "left over": (f'{{"a":{row(0, 3)}}}', 4),
    "outside": (f'{{"a":{row(0, 5)}}}', 4),
    "size": (f'{{"a":{row(0, 4, [3])}}}', 4),
    "backwards": ('{"a":{"dtype":"U8","shape":[0],"data_offsets":[4,0]}}', 4),
    "negative": ('{"a":{"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]}}', 4),
    "fraction": ('{"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}', 4),
    "truth": ('{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', 1),
    "text as shape": ('{"a":{"dtype":"U8","shape":"4","data_offsets":[0,4]}}', 4),
    "unknown type": (f'{{"a":{row(0, 4, tag="F3")}}}', 4),
    "type is a list": (f'{{"a":{row(0, 4, tag=["U8"])}}}', 4),
    "no type": ('{"a":{"shape":[4],"data_offsets":[0,4]}}', 4),
    "three offsets": ('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,2,4]}}', 4),
    "no row": ('{"a":3}', 0),
    "a name twice": (f'{{"a":{row(0, 4)},"a":{row(0, 4)}}}', 4),
    "a number": ("3", 0),
    "nothing": ("null", 0),
    "a list": ("[]", 0),
    "space in front": (" {}", 0),
    "metadata is a list": ('{"__metadata__":[]}', 0),
    "metadata is a number": ('{"__metadata__":{"a":1}}', 0),
    "deep": ('{"a":' + "[" * 100_000, 0),
    "cut": ('{"a":', 0),
}


@pytest.mark.parametrize(("header", "data"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_an_integrity_error(header: str, data: int) -> None:
    raw = header.encode()
    with pytest.raises(IntegrityError, match="no safetensors file"):
        unpack(len(raw).to_bytes(8, "little") + raw + bytes(data))


@pytest.mark.parametrize("raw", [b"", b"abc", bytes(8), b"\xff" * 16, (3).to_bytes(8, "little") + b"{}"])
def test_a_file_without_its_whole_header_is_an_integrity_error(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match="no safetensors file"):
        unpack(raw)


def test_a_header_in_another_encoding_is_an_integrity_error() -> None:
    raw = "{}".encode("utf-16")
    with pytest.raises(IntegrityError, match="no safetensors file"):
        unpack(len(raw).to_bytes(8, "little") + raw)


@given(st.binary(max_size=200), st.integers(0, 220))
def test_no_bytes_at_all_crash_the_reader(noise: bytes, length: int) -> None:
    try:
        unpack(length.to_bytes(8, "little") + noise)
    except IntegrityError as error:
        assert "safetensors" in str(error)  # noqa: PT017  it may also be a file by chance


@given(tensor_lists(), st.integers(0, 1 << 16), st.integers(0, 255))
def test_a_changed_byte_gives_a_file_or_an_integrity_error(tensors: list[Tensor], at: int, byte: int) -> None:
    raw = bytearray(packed(tensors))
    raw[at % len(raw)] = byte
    try:
        found, _ = unpack(raw)
    except IntegrityError:
        return
    assert sum(memoryview(tensor.data).nbytes for tensor in found) <= len(raw)
