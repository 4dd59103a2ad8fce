"""Dicts, lists and tuples of arrays: numpy arrays, torch tensors, jax arrays, numbers and text, nested as one likes.

A flat dict of arrays is one native ``model.safetensors``; anything else adds ``tree.json``, which tells the
structure and what safetensors cannot say, and stands alone where there is no array. Data tier: nothing in the files is
run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from modelkeep.digest import Buffer
from modelkeep.errors import IntegrityError, ModelkeepError, SerializerError
from modelkeep.serializers.arrays import (
    NUMPY,
    TORCH,
    Reader,
    as_jax,
    as_numpy,
    as_torch,
    find,
    places,
    read_row,
    torch_names,
)
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import Tensor, pack, read, read_header
from modelkeep.values import from_json, to_json

TENSORS, TREE = "model.safetensors", "tree.json"
_SCALARS = (bool, int, float, str, type(None))
_MAX_DEPTH = 50


def _family(obj: object) -> str | None:
    """Which library an array is of, told without importing one: what is not imported made no object."""
    numpy, torch, jax = (sys.modules.get(name) for name in ("numpy", "torch", "jax"))
    if numpy is not None and isinstance(obj, (numpy.ndarray, numpy.generic)):
        return "numpy"
    if torch is not None and isinstance(obj, torch.Tensor):
        return "torch"
    if jax is not None and isinstance(obj, getattr(jax, "Array", ())):  # half imported, it has none
        return "jax"
    return None


def _known(obj: object, depth: int = _MAX_DEPTH) -> bool:
    if depth == 0:
        return False
    if isinstance(obj, dict):
        return all(_known(part, depth - 1) for part in obj.values())
    if type(obj) in (list, tuple):
        return all(_known(part, depth - 1) for part in obj)  # type: ignore[attr-defined]
    return _family(obj) is not None or type(obj) in _SCALARS


class _Writer:
    """Takes a tree apart into tensors and a structure."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.tied: dict[tuple[Any, ...], str] = {}
        self.keep: list[Any] = []
        self._names: set[str] = {"__metadata__"}

    def node(self, obj: Any, path: str, depth: int = _MAX_DEPTH) -> Any:
        if depth == 0:
            raise SerializerError(f"{path[:80]}… is nested more than {_MAX_DEPTH} deep", path=path)
        if _family(obj) == "numpy":
            return self._numpy(obj, path)
        if _family(obj) == "torch":
            return self._torch(obj, path)
        if _family(obj) == "jax":
            return self._jax(obj, path)
        if isinstance(obj, dict):
            rows = [(_key(key, path), self.node(part, _join(path, key), depth - 1)) for key, part in obj.items()]
            return {"$dict": rows}
        if isinstance(obj, (list, tuple)):
            parts = [self.node(part, _join(path, index), depth - 1) for index, part in enumerate(obj)]
            return {"$tuple": parts} if isinstance(obj, tuple) else {"$list": parts}
        if type(obj) not in _SCALARS:
            raise _refused(path, obj, "is no array, number or text", "leave it out")
        return {"$value": to_json(obj, path)}

    def _numpy(self, obj: Any, path: str) -> Any:
        import numpy as np

        if not isinstance(obj, np.generic) and type(obj) not in (np.ndarray, np.memmap):
            raise _refused(path, obj, "would come back as a plain array", "keep its parts as arrays of their own")
        array = np.ascontiguousarray(obj).reshape(np.shape(obj))
        if array.dtype.itemsize == 0 or (isinstance(obj, (np.str_, np.bytes_)) and array[()] != obj):
            # numpy drops zeros at the end of texts, and cannot view what has no size
            raise _refused(path, obj, f"of dtype {array.dtype} has texts without bytes", "use str or bytes lists")
        if array.dtype.hasobject or array.dtype.names is not None:
            raise SerializerError(
                f"{path} is an array of dtype {array.dtype}, which has no fixed bytes; keep its columns as arrays of "
                "their own, or save with serializer='cloudpickle'",
                path=path,
            )
        if _is_foreign(array.dtype):
            raise SerializerError(
                f"{path} is an array of dtype {array.dtype}, which numpy alone does not know; save it as a torch "
                "tensor, as a view of bytes with .view('u1'), or with serializer='cloudpickle'",
                path=path,
            )
        name = self._name(path)
        node: dict[str, Any] = {"$array": name}
        if isinstance(obj, np.generic):
            node["scalar"] = True
        tag = NUMPY.get(array.dtype.str)
        if tag is None:  # kept as bytes, exactly
            node.update(dtype=array.dtype.str, shape=list(array.shape))
            array, tag = np.frombuffer(array.tobytes(), np.uint8), "U8"
        self._add(name, tag, array.shape, array.reshape(-1).view(np.uint8).data)
        return node

    def _torch(self, obj: Any, path: str) -> Any:
        import torch

        if type(obj) not in (torch.Tensor, torch.nn.Parameter) or obj.is_meta:
            raise _refused(path, obj, "has no values, or would come back as a plain tensor", "convert it to one first")
        tag = TORCH.get(str(obj.dtype).removeprefix("torch."))
        if tag is None or obj.layout != torch.strided or obj.is_quantized:
            raise SerializerError(
                f"{path} is a {obj.layout} tensor of {obj.dtype}, which safetensors cannot keep; make it dense, or "
                "save with serializer='cloudpickle'",
                path=path,
            )
        bits = (obj.is_conj(), obj.is_neg())  # views that read the same memory as other numbers
        identity = (obj.data_ptr(), obj.dtype, tuple(obj.shape), tuple(obj.stride()), str(obj.device), bits)
        first = self.tied.get(identity)
        if first is None:
            first = self._name(path)
            if obj.numel():
                self.tied[identity] = first
            flat = obj.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8)
            self.keep.append(flat)
            self._add(first, tag, tuple(obj.shape), flat.numpy().data if flat.numel() else b"")
        return {"$array": first, "torch": True}

    def _jax(self, obj: Any, path: str) -> Any:
        import numpy as np

        try:
            array = np.asarray(obj)
        except Exception as error:  # a tracer, a key of random numbers, an array that was given away
            raise _refused(path, obj, f"has no values here ({error})", "take jax.random.key_data of a key") from error
        node: dict[str, Any] = self._foreign(array, path) if _is_foreign(array.dtype) else self._numpy(array, path)
        return node | {"jax": True}

    def _foreign(self, array: Any, path: str) -> dict[str, Any]:
        """An array of one of the types that jax brings along, such as bfloat16."""
        import numpy as np

        tag = TORCH.get(array.dtype.name)
        if tag is None:
            raise _refused(path, array, f"of dtype {array.dtype} is none that safetensors can keep", "convert it first")
        name = self._name(path)
        flat = np.frombuffer(array.tobytes(), np.uint8)
        self._add(name, tag, array.shape, flat.data if flat.size else b"")
        return {"$array": name}

    def _name(self, path: str) -> str:
        """A name for the tensor at *path*: the path, but for reserved ones, and for keys such as 1 and "1"."""
        name = path.encode(errors="backslashreplace").decode()
        while name in self._names:
            name += "~"  # stands in no path alone
        self._names.add(name)
        return name

    def _add(self, name: str, tag: str, shape: tuple[int, ...], data: Buffer) -> None:
        self.tensors.append(Tensor(name, tag, tuple(shape), data))


def _is_foreign(dtype: Any) -> bool:
    """Whether a dtype is of another library, and would come back as another one: bfloat16 calls itself V2."""
    import numpy as np

    return bool(np.dtype(dtype.str) != dtype)


def _refused(path: str, obj: object, why: str, way_out: str) -> SerializerError:
    return SerializerError(
        f"{path or 'the model'}, a {type(obj).__module__}.{type(obj).__qualname__}, {why}; {way_out}, or save with "
        "serializer='cloudpickle'",
        path=path,
    )


def _key(key: object, path: str) -> object:
    if type(key) not in (str, int):
        raise SerializerError(f"{path or 'the dict'} has the key {key!r}; keys are text or whole numbers", path=path)
    return key


def _join(path: str, part: object) -> str:
    text = str(part).replace("~", "~0").replace("/", "~1")  # as in JSON Pointer, RFC 6901: paths stay apart
    return f"{path}/{text}" if path else text


class TreeSerializer(PlainSerializer):
    """See the module."""

    name = "tree"
    packages = ("numpy", "torch", "jax", "ml_dtypes")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: an array, or a container in which nothing is unknown.

        Bare text is none: it may be a path that was meant as one.
        """
        return type(obj) not in _SCALARS and _known(obj)

    def keeps(self, obj: object) -> bool:
        """Whether *obj* could be a part of a tree."""
        return _known(obj)

    def save(self, obj: object, sink: Sink) -> None:
        """See `Serializer.save`."""
        if not self._save_flat(obj, sink):
            writer = _Writer()
            node = writer.node(obj, "")
            if writer.tensors:
                sink.put(TENSORS, *pack(writer.tensors, {}))
            sink.put(TREE, json.dumps(node).encode())

    def _save_flat(self, obj: object, sink: Sink) -> bool:
        """Save a dict of arrays of one library as safetensors alone; False if that cannot say it all."""
        if (
            not isinstance(obj, dict)
            or not obj
            or not all(type(key) is str and key and _family(part) for key, part in obj.items())
        ):
            return False
        writer = _Writer()
        nodes = {key: writer.node(part, key) for key, part in obj.items()}
        torch = [node.pop("torch", False) for node in nodes.values()]
        if any(set(node) != {"$array"} for node in nodes.values()) or len(set(torch)) != 1:
            return False
        metadata = {"format": "pt" if torch[0] else "np", "order": json.dumps(list(obj))}
        tied = {key: node["$array"] for key, node in nodes.items() if node["$array"] != key}
        if tied:
            metadata["tied"] = json.dumps(tied)
        sink.put(TENSORS, *pack(writer.tensors, metadata))
        return True

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: by their paths in the tree, such as ``encoder/0/w``."""
        if TREE not in files.names():
            return find(files)
        if TENSORS not in files.names():
            return {}
        with files.open(TENSORS) as stream:
            rows = {row.name: row for row in read_header(stream, files.size(TENSORS))[0]}
        try:
            nodes = dict(_arrays(json.loads(files.read(TREE)), ""))
            return {
                path: partial(
                    read_row,
                    files,
                    TENSORS,
                    rows[node["$array"]],
                    torch=bool(node.get("torch")),
                    jax=bool(node.get("jax")),
                    **{key: node[key] for key in ("dtype", "shape") if key in node},
                )
                for path, node in nodes.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise IntegrityError(f"the structure of the tree cannot be read: {error!r}") from None

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form
        if into is not None:
            raise SerializerError("a tree of arrays cannot be loaded into an object; leave out into=")
        tensors, metadata = ([], {}) if TREE in files.names() and TENSORS not in files.names() else read(files, TENSORS)
        if TREE not in files.names():
            return read_flat(tensors, metadata)
        reader, structure = _Reader(tensors), bytes(files.read(TREE))
        try:
            return reader.node(json.loads(structure))
        except ModelkeepError:
            raise
        except Exception as error:  # noqa: BLE001  numpy and torch raise what they like at what a stranger wrote
            raise IntegrityError(f"the structure of the tree cannot be read: {error!r}") from None


def read_flat(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The dict of arrays that a safetensors file alone tells, ours or another's: torch if it says so, else numpy.

    Raises:
        IntegrityError: the metadata does not fit the tensors.
    """
    reader, torch = _Reader(tensors), torch_names(tensors, metadata)
    names = [tensor.name for tensor in tensors]
    try:
        return {key: reader.node({"$array": name, "torch": name in torch}) for key, name in places(names, metadata)}
    except Exception as error:  # noqa: BLE001  as above
        raise IntegrityError(f"the tensors cannot be read: {error!r}") from None


def _arrays(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes of a structure that stand for arrays, each with its path; two nodes may stand for one array."""
    if "$array" in node:
        yield path, node
    listed = enumerate(node.get("$list", []) + node.get("$tuple", []))
    for key, part in [*node.get("$dict", ()), *listed]:
        yield from _arrays(part, _join(path, key))


class _Reader:
    """Puts a tree together again."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self._made: dict[str, Any] = {}

    def node(self, node: dict[str, Any]) -> Any:
        if "$array" in node:
            if node.get("jax"):
                return as_jax(self._tensors[node["$array"]], node.get("dtype"), node.get("shape"))
            return self._torch(node["$array"]) if node.get("torch") else self._numpy(node)
        if "$dict" in node:
            return {key: self.node(part) for key, part in node["$dict"]}
        if "$tuple" in node:
            return tuple(self.node(part) for part in node["$tuple"])
        if "$list" in node:
            return [self.node(part) for part in node["$list"]]
        return from_json(node["$value"])

    def _numpy(self, node: dict[str, Any]) -> Any:
        array = as_numpy(self._tensors[node["$array"]], node.get("dtype"), node.get("shape"))
        return array[()] if node.get("scalar") else array

    def _torch(self, name: str) -> Any:
        if name not in self._made:  # tied tensors are one again
            self._made[name] = as_torch(self._tensors[name])
        return self._made[name]


serializer = TreeSerializer()
