"""The safetensors format (github.com/huggingface/safetensors, format 0.3): written without copying, read with care.

Our own because the pieces of a pack are cut and aligned by us, and a reader must not copy; held against the
``safetensors`` library in the tests, both ways.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import attrs

from modelkeep.digest import Buffer
from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.serializers.port import Files
from modelkeep.streams import read_span
from modelkeep.values import MAX_VALUES, values_in

SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1,
    "F8_E4M3": 1, "F8_E4M3FNUZ": 1, "F8_E5M2": 1, "F8_E5M2FNUZ": 1, "F8_E8M0": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
LENGTH = 8  # bytes in front of the header: its length
_MAX_HEADER = 100_000_000  # bytes, as the reference has it
_ALIGNMENT = 64  # of the first tensor in the file
_MAX_DIMENSIONS = 64  # as numpy has it; the product of a million numbers takes hours


@attrs.frozen(eq=False)
class Tensor:
    """A tensor as bytes.

    Args:
        name: what it is called.
        dtype: one of `SIZES`.
        shape: its dimensions.
        data: its elements, row-major, little-endian.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Buffer


def pack(tensors: Iterable[Tensor], metadata: Mapping[str, str]) -> list[Buffer]:
    """The bytes of a file, as buffers to be written one after another; no tensor is copied.

    Raises:
        SerializerError: two tensors bear one name, a name is reserved or no Unicode, a type is unknown, a size does
            not fit its shape, or the header would pass 100 MB.

    Example:
        >>> [len(buffer) for buffer in pack([Tensor("w", "F32", (2,), bytes(8))], {})]
        [64, 8]
    """
    tensors = list(tensors)
    for tensor in tensors:
        _check(tensor)
    ordered = sorted(tensors, key=lambda tensor: (-SIZES[tensor.dtype], tensor.name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for tensor in ordered:
        if tensor.name in header or tensor.name == "__metadata__":
            raise SerializerError(f"the name {tensor.name!r} is there twice, or reserved", name=tensor.name)
        end = at + memoryview(tensor.data).nbytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    return [_head(header), *(tensor.data for tensor in ordered)]


def _check(tensor: Tensor) -> None:
    """A file that nobody could read must not be written."""
    if tensor.dtype not in SIZES:
        raise SerializerError(f"tensor {tensor.name!r} is of the unknown type {tensor.dtype!r}", name=tensor.name)
    size = memoryview(tensor.data).nbytes
    if size != _size(tensor.dtype, tensor.shape):
        raise SerializerError(
            f"tensor {tensor.name!r} has {size} bytes, which {tensor.dtype} of shape {tensor.shape} does not take",
            name=tensor.name,
        )


def _head(header: dict[str, Any]) -> bytes:
    try:
        raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise SerializerError(f"a name or text is no valid Unicode: {error}") from None
    raw += b" " * (-(LENGTH + len(raw)) % _ALIGNMENT)
    if len(raw) > _MAX_HEADER:
        raise SerializerError(f"the header takes {len(raw)} bytes; safetensors allows {_MAX_HEADER}")
    if values_in(raw) > MAX_VALUES:
        raise SerializerError(f"{len(header)} tensors are more than one file takes; save them as fewer, larger ones")
    return len(raw).to_bytes(LENGTH, "little") + raw


@attrs.frozen
class Row:
    """Where a tensor lies, as the header of a file tells it.

    Args:
        name: what it is called.
        dtype: one of `SIZES`.
        shape: its dimensions.
        start: its first byte, counted from the beginning of the file.
        stop: the byte behind its last.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(stream: BinaryIO, size: int) -> tuple[list[Row], dict[str, str]]:
    """Where the tensors of a file lie, in the order of their bytes, and its metadata; reads no tensor.

    Args:
        stream: the file; left anywhere.
        size: of the file, in bytes.

    Raises:
        IntegrityError: it is no safetensors file; says why.

    Example:
        >>> import io
        >>> raw = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        >>> read_header(io.BytesIO(len(raw).to_bytes(8, "little") + raw + bytes(8)), 70)
        ([Row(name='w', dtype='F32', shape=(2,), start=62, stop=70)], {})
    """
    head = read_span(stream, 0, LENGTH)
    length = int.from_bytes(head, "little")
    if len(head) != LENGTH or length > min(_MAX_HEADER, size - LENGTH):
        raise IntegrityError("no safetensors file: its header is longer than it is")
    data = LENGTH + length
    try:
        rows, metadata = _parse_header(read_span(stream, LENGTH, length), size - data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"no safetensors file: {error}") from None
    return [attrs.evolve(row, start=data + row.start, stop=data + row.stop) for row in rows], metadata


def read(files: Files, path: str) -> tuple[list[Tensor], dict[str, str]]:
    """The tensors of a file of a version, mapped where they can be, and its metadata.

    Raises:
        IntegrityError: it is no safetensors file; says why.
    """
    with files.open(path) as stream:
        rows, metadata = read_header(stream, files.size(path))
    views = files.views(path, [(row.start, row.stop) for row in rows])
    return [Tensor(row.name, row.dtype, row.shape, view) for row, view in zip(rows, views, strict=True)], metadata


def _parse_header(raw: bytes, size: int) -> tuple[list[Row], dict[str, str]]:
    text = str(raw, "utf-8")  # json would take other encodings too
    if values_in(raw) > MAX_VALUES:
        raise ValueError("its header has more values than the tensors of a model need")
    if not text.startswith("{"):
        raise ValueError("its header does not begin with a brace")
    header = json.loads(text, object_pairs_hook=_unique)
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata is no text")
    rows = sorted((_row(name, facts) for name, facts in header.items()), key=lambda row: (row.start, row.stop))
    at = 0
    for row in rows:
        if row.start != at or row.stop - row.start != _size(row.dtype, row.shape):
            raise ValueError(f"tensor {row.name!r} leaves a hole, overlaps, or has another size than its shape")
        at = row.stop
    if at != size:
        raise ValueError("bytes are left over")
    return rows, metadata


def _row(name: str, facts: Mapping[str, Any]) -> Row:
    start, stop = facts["data_offsets"]
    shape = tuple(facts["shape"])
    if len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has {len(shape)} dimensions, more than {_MAX_DIMENSIONS}")
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in (start, stop, *shape)):
        raise ValueError(f"tensor {name!r} has an offset or dimension that is no count")
    return Row(name, facts["dtype"], shape, start, stop)


def _size(dtype: str, shape: Sequence[int]) -> int:
    size = SIZES[dtype]
    for dimension in shape:
        size *= dimension
    return size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)
