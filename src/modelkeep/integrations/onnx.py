"""ONNX: a ``ModelProto`` as ``model.onnx``; from 16 MiB on with its tensors in a file beside it, as ONNX knows it.

That file is laid out as safetensors, so it is cut, shared and mapped by tensors, and ONNX finds each by its offset.

Data tier: a ModelProto is parsed by protobuf and nothing of it is run. Tensors that lie in other files are taken from
the files of the version, by name, and never from a path: no ``..``, no link and no absolute path can lead out, since no
folder is looked at. What comes back holds all its tensors itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError, shown
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import Tensor, pack
from modelkeep.serializers.strangers import reading

MODEL, TENSORS = "model.onnx", "model.onnx.safetensors"
_APART = 16 << 20  # bytes of tensors; one message of 100 MiB takes thrice as long, one of 2 GiB protobuf cannot write
_SMALL = 1024  # bytes; a smaller tensor stays inside
_MESSAGE = 11  # FieldDescriptor.TYPE_MESSAGE


class OnnxSerializer(PlainSerializer):
    """See the module."""

    name = "onnx"
    packages = ("onnx",)

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return type(obj).__name__ == "ModelProto"

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        tensors = list(_tensors(obj))
        for tensor in tensors:
            if tensor.data_location == tensor.EXTERNAL:
                raise SerializerError(
                    f"tensor {tensor.name!r} lies in a file that is not part of the model; load it whole with "
                    "onnx.load(path), or save its folder with pathlib.Path(…)",
                    name=tensor.name,
                )
        large = [tensor for tensor in tensors if tensor.HasField("raw_data") and tensor.ByteSize() >= _SMALL]
        if sum(tensor.ByteSize() for tensor in large) < _APART:  # each look at raw_data is a copy
            large = []
        sink.put(MODEL, _serialized(obj, large, sink))

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        import onnx

        model = onnx.ModelProto()
        with reading(MODEL, "by onnx"):
            model.ParseFromString(memoryview(files.read(MODEL)))
        if not model.HasField("graph"):
            raise IntegrityError(f"{MODEL} holds no graph", path=MODEL)
        for tensor in _tensors(model):
            if tensor.data_location == tensor.EXTERNAL:
                _take_in(tensor, files)
        return model


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor at any depth: of graphs, nodes, functions, sparse tensors and training."""
    for field, value in message.ListFields():
        if field.type != _MESSAGE:
            continue
        for part in value if field.is_repeated else [value]:
            if part.DESCRIPTOR.name == "TensorProto":
                yield part
            else:
                yield from _tensors(part)


def _serialized(model: Any, large: list[Any], sink: Sink) -> bytes:
    """The bytes of a model without its *large* tensors, which become a file of their own; the model stays as it was."""
    kept = [tensor.raw_data for tensor in large]
    if not large:
        return bytes(model.SerializeToString())
    parts = pack([Tensor(f"{number:08d}", "U8", (len(raw),), raw) for number, raw in enumerate(kept)], {})
    sink.put(TENSORS, *parts, opaque=False)
    at = memoryview(parts[0]).nbytes
    try:
        for tensor, raw in zip(large, kept, strict=True):
            tensor.ClearField("raw_data")
            tensor.data_location = tensor.EXTERNAL
            for key, value in (("location", TENSORS), ("offset", at), ("length", len(raw))):
                tensor.external_data.add(key=key, value=str(value))
            at += len(raw)
        return bytes(model.SerializeToString())
    finally:
        for tensor, raw in zip(large, kept, strict=True):
            tensor.raw_data = raw
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")


def _take_in(tensor: Any, files: Files) -> None:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    path = facts.get("location", "")
    if odd := facts.keys() - {"location", "offset", "length", "checksum"}:
        raise IntegrityError(
            f"tensor {shown(tensor.name)} of {MODEL} says {shown(min(odd))} of where it lies, which is not looked at",
            path=MODEL,
        )
    if path not in files.names():
        raise IntegrityError(
            f"tensor {shown(tensor.name)} of {MODEL} lies in {shown(path)}, which is no file of this version; nothing "
            "else is read",
            path=MODEL,
        )
    try:
        start, size = int(facts.get("offset", "0")), files.size(path)
        length = int(facts.get("length", size - start))
    except ValueError:
        start, length, size = -1, 0, 0
    if not 0 <= start <= start + length <= size:
        raise IntegrityError(f"tensor {shown(tensor.name)} of {MODEL} lies outside of {path}", path=path)
    (view,) = files.views(path, [(start, start + length)])
    tensor.raw_data = bytes(view)
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


serializer = OnnxSerializer()
