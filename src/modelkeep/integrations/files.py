"""Files and folders as they are. Loaded without a folder to put them in, one file is sniffed by its content.

What it holds decides what loading may do: safetensors and numpy arrays are data; pickles are read by the core's list;
joblib files and torch archives run code and need trust.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from modelkeep.errors import InvalidValueError, SerializerError
from modelkeep.serializers.arrays import read_npy
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import read
from modelkeep.serializers.strangers import reading

_WAY_OUT = "take the files with load(ref, into=folder) or version.export(folder)"
_HEAD = 1 << 16  # bytes looked at
_BLOCK = 1 << 20  # bytes looked at together
_JOBLIB = b"joblib.numpy_pickle"  # the module of what joblib puts in the place of an array
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before the zip archives of torch 1.6


class FileSerializer(PlainSerializer):
    """See the module."""

    name = "files"

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `pathlib.Path`."""
        return isinstance(obj, PurePath)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        path = Path(obj)
        if _is_there(path, path.is_file):
            sink.add(path.name, path)
            return
        if not _is_there(path, path.is_dir):
            raise InvalidValueError(f"{path} is neither a file nor a folder", path=str(path))
        listed = _files_below(path)
        if not listed:
            raise InvalidValueError(f"{path} holds no files", path=str(path))
        for file in listed:
            _check_ordinary(path, file)
            sink.add(file.relative_to(path).as_posix(), file)

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`: what the one file holds, by its content, whatever its name."""
        del into
        names = files.names()
        if len(names) != 1:
            raise SerializerError(f"the version holds {len(names)} files, and no one object; {_WAY_OUT}")
        with files.open(names[0]) as stream:
            kind = _sniff(stream, files.size(names[0]))
        if kind is None:
            raise SerializerError(f"{names[0]} holds nothing that can be told by its content; {_WAY_OUT}")
        return f"files:{kind}"

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        if into is not None:
            raise SerializerError("files cannot be loaded into an object; give a folder, or leave out into=")
        (name,) = files.names()
        with reading(name, f"as {form}"):
            return _LOADERS[form](files, name)


def _is_there(path: Path, look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise InvalidValueError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error


def _files_below(root: Path) -> list[Path]:
    """All but folders; `Path.rglob` would leave out what lies in a folder that may not be read, without a word."""

    def refuse(error: OSError) -> None:
        raise InvalidValueError(f"{error.filename} cannot be read: {error.strerror}", path=str(root)) from error

    found = []
    for folder, folders, files in os.walk(root, onerror=refuse):
        found += [Path(folder, name) for name in files]
        found += [link for name in folders if (link := Path(folder, name)).is_symlink()]
    return sorted(found)


def _check_ordinary(root: Path, file: Path) -> None:
    try:
        target = file.resolve()
    except (OSError, RuntimeError) as error:  # links that lead round in a ring
        raise InvalidValueError(f"{file} leads nowhere: {error}", path=str(file)) from None
    if not target.is_relative_to(root.resolve()):
        raise InvalidValueError(f"{file} points outside {root}; put a copy there", path=str(file))
    if not target.exists() or not stat.S_ISREG(target.stat().st_mode):
        raise InvalidValueError(f"{file} is no ordinary file", path=str(file))


def _sniff(stream: BinaryIO, size: int) -> str | None:
    head = stream.read(_HEAD)
    if head[:6] == b"\x93NUMPY":
        return "numpy"
    if head[:4] == b"PK\x03\x04":
        return _sniff_zip(stream)
    if head.startswith(_OLD_TORCH):
        return "torch"
    length = int.from_bytes(head[:8], "little")
    if len(head) > 8 and length <= size - 8 and head[8:9] == b"{":  # noqa: PLR2004  the length itself
        return "safetensors"
    if _is_pickle(head):
        return "joblib" if _JOBLIB in head or _has_joblib(stream, head[-len(_JOBLIB) :]) else "pickle"
    return "joblib" if _is_pickle(_inflated(head)) else None


def _has_joblib(stream: BinaryIO, before: bytes) -> bool:
    """Whether joblib put an array into the rest of a pickle, which is then none: the array lies among the opcodes."""
    while block := stream.read(_BLOCK):
        if _JOBLIB in before + block:
            return True
        before = block[-len(_JOBLIB) :]
    return False


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5  # noqa: PLR2004  pickle protocols


def _inflated(head: bytes) -> bytes:
    """The first bytes of what was compressed; ``joblib.dump(…, compress=3)`` writes such files."""
    try:
        if head[:1] == b"\x78" or head[:2] == b"\x1f\x8b":
            return zlib.decompressobj(wbits=47).decompress(head, 64)  # 47: zlib or gzip, as its first bytes say
        if head[:6] == b"\xfd7zXZ\x00":
            return lzma.LZMADecompressor().decompress(head, 64)
    except (zlib.error, lzma.LZMAError):
        pass
    return b""


def _sniff_zip(stream: BinaryIO) -> str | None:
    try:
        names = zipfile.ZipFile(stream).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, IndexError, OverflowError, struct.error):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "numpy"
    return "torch" if any(name.endswith("/data.pkl") for name in names) else None


def _load_safetensors(files: Files, name: str) -> object:
    from modelkeep.integrations.tree import read_flat

    return read_flat(*read(files, name))


def _load_numpy(files: Files, name: str) -> object:
    import numpy as np

    with files.open(name) as stream:
        if stream.read(1) == b"\x93":
            return read_npy(files, name)
        stream.seek(0)
        arrays = dict(np.load(stream, allow_pickle=False))
    if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise SerializerError(f"{name} has the member {odd[0]!r}, which is no array; {_WAY_OUT}")
    return arrays


def _load_pickle(files: Files, name: str) -> object:
    return files.unpickle(name)


def _load_joblib(files: Files, name: str) -> object:
    import joblib

    return joblib.load(io.BytesIO(files.read(name)))


def _load_torch(files: Files, name: str) -> object:
    import torch

    return torch.load(io.BytesIO(files.read(name)), map_location="cpu", weights_only=False)


_LOADERS = {
    "files:safetensors": _load_safetensors,
    "files:numpy": _load_numpy,
    "files:pickle": _load_pickle,
    "files:joblib": _load_joblib,
    "files:torch": _load_torch,
}

serializer = FileSerializer()
