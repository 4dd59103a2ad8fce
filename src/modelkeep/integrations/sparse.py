"""Sparse matrices and arrays of scipy, as scipy's own npz.

Data tier: npz holds plain arrays (``allow_pickle=False``), and a matrix whose indices point outside of it, which
scipy's C++ would follow, is refused: every index is checked on load.
"""

from __future__ import annotations

import io
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

MATRIX, FORMAT = "matrix.npz", "format.txt"
_IN_PYTHON = {"lil": "csr", "dok": "coo"}  # built of Python objects, kept as one that is not


class SparseSerializer(PlainSerializer):
    """See the module."""

    name = "sparse"
    packages = ("scipy", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: what `scipy.sparse.issparse` says, but no subclass of others."""
        import scipy.sparse

        return scipy.sparse.issparse(obj) and type(obj).__module__.startswith("scipy.sparse.")

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        import scipy.sparse

        if obj.dtype.hasobject:
            raise SerializerError("the matrix holds objects; convert it, or save with serializer='cloudpickle'")
        if obj.format in _IN_PYTHON:
            sink.put(FORMAT, obj.format.encode())
            obj = obj.asformat(_IN_PYTHON[obj.format])
        stream = io.BytesIO()
        scipy.sparse.save_npz(stream, obj, compressed=False)
        sink.put(MATRIX, stream.getbuffer(), opaque=False)

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        import scipy.sparse

        del form, into
        with reading(MATRIX), files.open(MATRIX) as stream:
            matrix: Any = scipy.sparse.load_npz(stream)
            _check(matrix)
            if FORMAT not in files.names():
                return matrix
            wanted = files.read(FORMAT).decode()
            if _IN_PYTHON.get(wanted) != matrix.format:
                raise IntegrityError(f"{FORMAT} says {wanted!r}; run `modelkeep verify`", path=FORMAT)
            return matrix.asformat(wanted)


def _check(matrix: Any) -> None:
    if matrix.dtype.kind not in "biufc":
        raise ValueError(f"elements of type {matrix.dtype}")
    if matrix.format in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)
    elif matrix.format == "coo":
        for size, indices in zip(matrix.shape, matrix.coords, strict=True):
            if indices.dtype.kind != "i" or indices.shape != matrix.data.shape or matrix.data.ndim != 1:
                raise ValueError("coordinates and values differ in number")
            if indices.size and not 0 <= indices.min() <= indices.max() < size:
                raise ValueError("coordinates lie outside")
    elif matrix.offsets.size and abs(matrix.offsets.astype(object)).max() >= max(1, *matrix.shape):
        raise ValueError("diagonals lie outside")


serializer = SparseSerializer()
