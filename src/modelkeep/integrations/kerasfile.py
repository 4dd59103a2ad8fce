"""A ``.keras`` file taken apart, into JSON and safetensors, and put together again."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from modelkeep.serializers.arrays import NUMPY, as_numpy
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import Tensor, pack, read
from modelkeep.serializers.strangers import reading

MODEL, CONFIG, METADATA, WEIGHTS = "model.keras", "config.json", "metadata.json", "model.weights.safetensors"
_HDF5 = "model.weights.h5"


def take_apart(path: Path, sink: Sink) -> bool:
    """Write the parts of the file that keras made at *path*; False, and nothing, if there are more than usual."""
    with zipfile.ZipFile(path) as archive:
        if set(archive.namelist()) != {CONFIG, METADATA, _HDF5}:
            return False
        taken = _arrays(archive.read(_HDF5))
        if taken is None:
            return False
        arrays, attributes = taken
        for name in (CONFIG, METADATA):
            sink.put(name, archive.read(name))
    tensors = [
        Tensor(name, NUMPY[array.dtype.str], array.shape, array.reshape(-1).view("u1").data)
        for name, array in arrays.items()
    ]
    sink.put(WEIGHTS, *pack(tensors, {"attributes": json.dumps(attributes)}), opaque=False)
    return True


def _arrays(raw: bytes) -> tuple[dict[str, Any], dict[str, dict[str, Any]]] | None:
    """The datasets of an HDF5 file by their paths, and the attributes of all that is in it; None if one is odd."""
    import h5py
    import numpy as np

    arrays: dict[str, Any] = {}
    attributes: dict[str, dict[str, Any]] = {}
    with h5py.File(io.BytesIO(raw), "r") as file:

        def visit(name: str, part: Any) -> bool | None:
            attributes[name] = dict(part.attrs)
            if isinstance(part, h5py.Dataset):
                if part.dtype.str not in NUMPY:
                    return True
                arrays[name] = np.ascontiguousarray(part[()]).reshape(part.shape)
            return None if all(type(value) is str for value in attributes[name].values()) else True

        return None if file.visititems(visit) else (arrays, attributes)


def put_together(files: Files, folder: Path) -> None:
    """Write ``model.keras`` below *folder* as keras would.

    Raises:
        IntegrityError: a part is damaged.
        SerializerError: the parts do not fit each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors, metadata = read(files, WEIGHTS)
    with (
        reading(WEIGHTS, "by h5py"),
        zipfile.ZipFile(folder / MODEL, "w") as archive,
        archive.open(_HDF5, "w", force_zip64=True) as member,
    ):
        member.write(_hdf5(tensors, json.loads(metadata.get("attributes", "{}"))))
    with zipfile.ZipFile(folder / MODEL, "a") as archive:
        for name in (CONFIG, METADATA):
            archive.writestr(name, bytes(files.read(name)))


def _hdf5(tensors: list[Tensor], attributes: dict[str, dict[str, str]]) -> memoryview:
    import h5py

    stream, arrays = io.BytesIO(), {tensor.name: as_numpy(tensor) for tensor in tensors}
    with h5py.File(stream, "w") as file:
        for name, texts in attributes.items():  # in the order of keras
            part = file.create_dataset(name, data=arrays[name]) if name in arrays else file.require_group(name)
            part.attrs.update({str(key): str(value) for key, value in texts.items()})
    return stream.getbuffer()
