"""Tensors of files as arrays of numpy, torch or jax, one by one, without reading the rest.

Nothing in the files is run.
"""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

from modelkeep.errors import IntegrityError, ModelkeepError, SerializerError
from modelkeep.serializers import safetensors
from modelkeep.serializers.port import Files
from modelkeep.serializers.safetensors import Row, Tensor

Reader = Callable[[], Any]  # gives one tensor as an array

NUMPY = {
    "|b1": "BOOL", "|u1": "U8", "|i1": "I8", "<u2": "U16", "<i2": "I16", "<f2": "F16", "<u4": "U32", "<i4": "I32",
    "<f4": "F32", "<u8": "U64", "<i8": "I64", "<f8": "F64", "<c8": "C64",
}  # fmt: skip
TORCH = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "float16": "F16",
    "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "float32": "F32", "int64": "I64", "uint64": "U64",
    "float64": "F64", "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2": "F8_E5M2", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
_FROM_NUMPY = {tag: dtype for dtype, tag in NUMPY.items()}
_FROM_TORCH = {tag: dtype for dtype, tag in TORCH.items()}
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


def as_numpy(tensor: Tensor, dtype: Any = None, shape: Sequence[int] | None = None) -> Any:
    """A tensor as a numpy array on its memory.

    Args:
        tensor: with its bytes.
        dtype: what numpy calls its elements, if its own type does not say it.
        shape: its dimensions, likewise.

    Raises:
        ValueError: the bytes are no such array.
    """
    import numpy as np

    kind = np.dtype(dtype or _FROM_NUMPY[tensor.dtype])
    if kind.hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(tensor.data, np.uint8).view(kind).reshape(tensor.shape if shape is None else shape)


def as_torch(tensor: Tensor) -> Any:
    """A tensor as a torch tensor on its memory."""
    import torch

    dtype = getattr(torch, _FROM_TORCH[tensor.dtype])
    data = memoryview(tensor.data)
    flat = torch.frombuffer(data, dtype=dtype) if data.nbytes else torch.empty(0, dtype=dtype)
    return flat.reshape(tensor.shape)


def as_jax(tensor: Tensor, dtype: str | None = None, shape: Sequence[int] | None = None) -> Any:
    """A tensor as a jax array; see `as_numpy`.

    Raises:
        SerializerError: jax would make another type of it.
    """
    import jax.numpy as jnp
    import ml_dtypes

    foreign = None if dtype or tensor.dtype in _FROM_NUMPY else getattr(ml_dtypes, _FROM_TORCH[tensor.dtype])
    array = as_numpy(tensor, foreign or dtype, shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is an error here
        found = jnp.asarray(array)
    if found.dtype != array.dtype:
        raise SerializerError(
            f"tensor {tensor.name!r} is of type {array.dtype}, and jax makes {found.dtype} of it; set "
            "jax.config.update('jax_enable_x64', True) first",
            name=tensor.name,
        )
    return found


def torch_names(tensors: Sequence[Tensor | Row], metadata: Mapping[str, str]) -> set[str]:
    """Which tensors of a safetensors file are torch's: all if it says so, else those that numpy does not know."""
    return {tensor.name for tensor in tensors if metadata.get("format") == "pt" or tensor.dtype not in _FROM_NUMPY}


def places(names: Sequence[str], metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """The keys of a dict of arrays in their order, each with the name of its tensor; two may share one.

    Others may keep an "order" of their own in their metadata: ours names every tensor there is.
    """
    try:
        tied, order = json.loads(metadata.get("tied", "{}")), json.loads(metadata["order"])
        found = [(key, tied.get(key, key)) for key in order]
        whole = len(dict(found)) == len(order) and {name for _, name in found} == set(names)
    except _FAULTS:
        whole = False
    return found if whole else [(name, name) for name in names]


def find(files: Files) -> dict[str, Reader]:
    """The tensors of all safetensors, npy and npz files among *files*, by name; only headers are read.

    A name that several files have is given as ``file:name``. A npy file has one tensor, named as the file.
    """
    found = [(path, name, reader) for path in files.names() for name, reader in _in_file(files, path).items()]
    count = Counter(name for _, name, _ in found)
    keys = [name if count[name] == 1 else f"{path}:{name}" for path, name, _ in found]
    if len(set(keys)) < len(keys):  # one is called as another is then
        keys = [f"{path}:{name}" for path, name, _ in found]
    return {key: partial(_read, path, reader) for key, (path, _, reader) in zip(keys, found, strict=True)}


def _read(path: str, reader: Reader) -> Any:
    try:
        return reader()
    except ModelkeepError:
        raise
    except Exception as error:
        raise SerializerError(f"{path} cannot be read as arrays: {type(error).__name__}: {error}", path=path) from error


def _in_file(files: Files, path: str) -> dict[str, Reader]:
    with files.open(path) as stream:
        head = stream.read(9)
        stream.seek(0)
        if head[:6] == b"\x93NUMPY":
            return {path: partial(read_npy, files, path)}
        if head[:4] == b"PK\x03\x04":
            return _in_zip(files, path)
        if head[8:9] != b"{":
            return {}
        try:
            rows, metadata = safetensors.read_header(stream, files.size(path))
        except IntegrityError:
            return {}  # it only looked like one
    by_name, torch = {row.name: row for row in rows}, torch_names(rows, metadata)
    return {
        key: partial(read_row, files, path, by_name[name], torch=name in torch)
        for key, name in places(list(by_name), metadata)
    }


def read_row(files: Files, path: str, row: Row, *, torch: bool, jax: bool = False, **forms: Any) -> Any:
    """One tensor of a safetensors file, as an array of numpy, torch or jax; *forms* as of `as_numpy`."""
    (view,) = files.views(path, [(row.start, row.stop)])
    tensor = Tensor(row.name, row.dtype, row.shape, view)
    try:
        return as_torch(tensor) if torch else as_jax(tensor, **forms) if jax else as_numpy(tensor, **forms)
    except ModelkeepError:
        raise
    except Exception as error:  # noqa: BLE001  numpy and torch raise what they like at what a stranger wrote
        raise IntegrityError(f"tensor {row.name!r} of {path} cannot be read: {error!r}", path=path) from None


def read_npy(files: Files, path: str) -> Any:
    """The array of a npy file (NEP 1), mapped where it can be.

    Raises:
        ValueError: it is none, or one of objects, which would run code.
    """
    import numpy as np

    with files.open(path) as stream:
        header = _npy_header(stream)
        if header is None:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False)
        shape, fortran, dtype = header
        start, count = stream.tell(), math.prod(shape)
    stop = start + count * dtype.itemsize
    if not start <= stop <= files.size(path):
        raise ValueError("it is cut short")
    (view,) = files.views(path, [(start, stop)])
    array = np.frombuffer(view, dtype, count)
    return array.reshape(shape[::-1]).transpose() if fortran else array.reshape(shape)


def _npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, Any] | None:
    """Shape, order and type; None for what is not worth a map, and is left to numpy as a whole."""
    from numpy.lib import format as npy

    read: Any = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(stream))
    if read is None:
        return None
    shape, fortran, dtype = read(stream)
    return (shape, fortran, dtype) if math.prod(shape) and dtype.itemsize and not dtype.hasobject else None


def _in_zip(files: Files, path: str) -> dict[str, Reader]:
    try:
        archive = zipfile.ZipFile(files.open(path))  # open as long as somebody may ask: reading 8,000 names takes long
        members = [name for name in archive.namelist() if name.endswith(".npy")]
    except Exception:  # noqa: BLE001  zipfile raises what it likes at what a stranger wrote
        return {}
    return {member.removesuffix(".npy"): partial(_read_member, archive, member) for member in members}


def _read_member(archive: zipfile.ZipFile, member: str) -> Any:
    import numpy as np

    with archive.open(member) as npy:
        return np.lib.format.read_array(npy, allow_pickle=False)
