"""Pickles whose large arrays lie in a file of their own (PEP 574), and back to one plain pickle without running it.

``model.pkl`` is the pickle; ``buffers.safetensors`` holds the memory of its arrays, raw, by the numbers under which the
pickle asks for them. Where no array is large, ``model.pkl`` stands alone. Before files were cut by their content, the
memory lay in ``buffers.bin``, and ``buffers.json`` said where; such versions are read as ever.
"""

from __future__ import annotations

import json
import pickle
import pickletools
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, BinaryIO, NoReturn, Protocol

from modelkeep.digest import Buffer
from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.safetensors import Tensor, pack, read
from modelkeep.serializers.strangers import reading

PICKLE, BUFFERS = "model.pkl", "buffers.safetensors"
_OLD_BUFFERS, _OLD_INDEX = "buffers.bin", "buffers.json"
_READONLY = "readonly"  # in the metadata: the numbers of buffers that may not be changed
_INLINE = 1024 * 1024  # bytes; smaller arrays stay inside, where they are compressed: a forest takes half as much
_PROTOCOL = 5


class Dump(Protocol):
    """What pickles: `pickle.dump`, `cloudpickle.dump`."""

    def __call__(
        self, obj: object, file: BinaryIO, *, protocol: int, buffer_callback: Callable[[PickleBuffer], bool]
    ) -> None:
        """Write *obj* to *file*; buffers for which the callback says no are left out."""
        ...


def save(obj: object, sink: Sink, dump: Dump, *, way_out: str) -> None:
    """Write the files of *obj*.

    Raises:
        SerializerError: it cannot be pickled; *way_out* ends the message.
    """
    apart: list[memoryview] = []

    def keep_inside(buffer: PickleBuffer) -> bool:
        memory = buffer.raw()
        if memory.nbytes < _INLINE:
            return True
        apart.append(memory)
        return False

    with sink.stream(PICKLE) as file:
        try:
            dump(obj, file, protocol=_PROTOCOL, buffer_callback=keep_inside)
        except Exception as error:  # anything at all: pickling calls the object's own methods
            kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
            raise SerializerError(f"a {kind} cannot be pickled ({error}); {way_out}", type=kind) from error
    if apart:
        _put_apart(apart, sink)


def _put_apart(apart: list[memoryview], sink: Sink) -> None:
    tensors = [Tensor(_name(number), "U8", (memory.nbytes,), memory) for number, memory in enumerate(apart)]
    readonly = [number for number, memory in enumerate(apart) if memory.readonly]
    sink.put(BUFFERS, *pack(tensors, {_READONLY: json.dumps(readonly)} if readonly else {}))


def _name(number: int) -> str:
    return f"{number:08d}"  # so wide that their order by name is that by number


def load(files: Files) -> Any:
    """Give back the object of the pickle; its large arrays are mapped where they can be.

    Raises:
        TrustError: it may run code, and no trust was granted.
        IntegrityError: the files do not fit each other.
        SerializerError: a class or function of it is not there, or has changed.
    """
    buffers = read_buffers(files)
    with reading(PICKLE):
        try:
            return files.unpickle(PICKLE, buffers)
        except (ImportError, AttributeError) as error:
            raise SerializerError(
                f"the model needs code that is not here ({error}); install the packages that its record names",
            ) from error


def read_buffers(files: Files) -> list[memoryview]:
    """The memory of the arrays that lie apart, in the order in which the pickle asks for it.

    Raises:
        IntegrityError: the index is damaged or does not fit.
    """
    if BUFFERS not in files.names():
        return _read_old_buffers(files)
    tensors, metadata = read(files, BUFFERS)
    try:
        readonly = set(json.loads(metadata.get(_READONLY, "[]")))
        numbered = {int(tensor.name): memoryview(tensor.data) for tensor in tensors}
        return [numbered[n].toreadonly() if n in readonly else numbered[n] for n in range(len(numbered))]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError(f"{BUFFERS} is damaged ({error!r}); run `modelkeep verify`", path=BUFFERS) from error


def _read_old_buffers(files: Files) -> list[memoryview]:
    if _OLD_INDEX not in files.names():
        return []
    memory = memoryview(files.read(_OLD_BUFFERS))
    try:
        rows = json.loads(files.read(_OLD_INDEX))["buffers"]
        return [_slice(memory, *row) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError(f"{_OLD_INDEX} is damaged ({error!r}); run `modelkeep verify`", path=_OLD_INDEX) from error


def _slice(memory: memoryview, at: int, size: int, readonly: bool) -> memoryview:
    if not (type(at) is type(size) is int and 0 <= at <= at + size <= memory.nbytes):
        raise ValueError(f"{at} and {size} lie outside of {memory.nbytes} bytes")
    found = memory[at : at + size]
    return found.toreadonly() if readonly else found


def export(files: Files, folder: Path) -> None:
    """Write one ``model.pkl`` below *folder* that plain `pickle.load` reads; nothing of it is run.

    Raises:
        IntegrityError: the pickle is damaged, or does not fit its buffers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / PICKLE).open("wb") as out:
        for part in rewrite(bytes(files.read(PICKLE)), read_buffers(files)):
            out.write(part)


def rewrite(stream: bytes, buffers: list[memoryview]) -> Iterator[Buffer]:
    """Put *buffers* back into a pickle that was written without them, by its opcodes alone.

    Frames are left out, since their lengths would be wrong and a reader needs none.

    Raises:
        IntegrityError: the pickle is damaged, or asks for more or fewer buffers.

    Example:
        >>> apart = []
        >>> stream = pickle.dumps(PickleBuffer(bytearray(b"abc")), 5, buffer_callback=apart.append)
        >>> whole = b"".join(rewrite(stream, [buffer.raw() for buffer in apart]))
        >>> pickle.loads(whole)
        bytearray(b'abc')
    """
    left = iter(buffers)
    steps = _steps(stream)
    name, code = next(steps)
    end: tuple[str, memoryview] = ("", code[:0])
    while name:
        following, next_code = next(steps, end)
        if name == "NEXT_BUFFER":
            readonly = following == "READONLY_BUFFER"
            yield from _inside(next(left, None), readonly=readonly)
            if readonly:
                following, next_code = next(steps, end)
        elif name != "FRAME":
            yield code
        name, code = following, next_code
    if next(left, None) is not None:
        _fail("it asks for fewer buffers than there are")


def _inside(memory: Buffer | None, *, readonly: bool) -> Iterator[Buffer]:
    if memory is None:
        _fail("it asks for more buffers than there are")
    view = memoryview(memory)
    yield (pickle.BINBYTES8 if readonly else pickle.BYTEARRAY8) + view.nbytes.to_bytes(8, "little")
    yield view


def _steps(stream: bytes) -> Iterator[tuple[str, memoryview]]:
    """The name and the bytes of each opcode."""
    view = memoryview(stream)
    name, start = "", 0
    try:
        for opcode, _, at in pickletools.genops(BytesIO(stream)):
            position = at or 0
            if name:
                yield name, view[start:position]
            name, start = opcode.name, position
    except (ValueError, UnicodeDecodeError) as error:
        _fail(str(error), error)
    if start + 1 != len(stream):
        _fail("bytes follow its end")
    yield name, view[start:]


def _fail(why: str, cause: Exception | None = None) -> NoReturn:
    raise IntegrityError(f"{PICKLE} is damaged: {why}; run `modelkeep verify`", path=PICKLE) from cause


class PickleSerializer(PlainSerializer):
    """A base for what `save` of this module writes: loaded by running it, exported without."""

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        return load(files)

    def tensors(self, files: Files) -> dict[str, Callable[[], Any]]:
        """See `Serializer.tensors`: none, since the arrays of a pickle have no names."""
        del files
        return {}

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`: one plain pickle."""
        export(files, folder)
