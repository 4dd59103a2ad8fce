"""What a serializer is: object ⇄ files. A new one is one module, in this package or in another distribution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from modelkeep.digest import Buffer


class Sink(Protocol):
    """Where a serializer puts the files of an object, in one of three ways; paths are relative, with ``/``."""

    def put(self, path: str, *buffers: Buffer, opaque: bool = True) -> None:
        """Make a file of *buffers*, one after another, without copying; do not change them until the save ends.

        Tensors are found by the bytes (`modelkeep.splitters`) and kept raw; whether compressing the rest is worth a
        try says *opaque*.
        """
        ...

    def stream(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Make a file of what is written to the stream; large ones are spooled to disk."""
        ...

    def folder(self) -> Path:
        """A temporary folder: every file below it becomes a file of the version; it is gone after the save."""
        ...

    def add(self, path: str, source: Path) -> None:
        """Take an existing file on disk as it is; it is read during the save."""
        ...


class Files(Protocol):
    """The files of a stored version; every byte is checked on the way in (`IntegrityError`)."""

    def names(self) -> tuple[str, ...]:
        """The paths of the files, sorted."""
        ...

    def size(self, path: str) -> int:
        """The size of a file in bytes."""
        ...

    def read(self, path: str) -> bytearray:
        """The whole file, in memory that is the caller's own."""
        ...

    def views(self, path: str, spans: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Runs of bytes of a file, each from a start to before an end, as writable memory that is the caller's own.

        What lies whole on this machine's disk is mapped, copy on write. Give all spans that are needed in one call, in
        order: neighbours are read together, and may share a piece of memory.
        """
        ...

    def open(self, path: str) -> BinaryIO:
        """The file as a stream that can be sought; pieces are fetched and checked as they are read."""
        ...

    def extract(self, folder: Path) -> None:
        """Write all files below *folder*, each complete or not at all."""
        ...

    def unpickle(self, path: str, buffers: Sequence[Buffer] = ()) -> Any:
        """What the pickle in a file holds; *buffers* are those of PEP 574.

        The core reads it: by `modelkeep.pickles`, or as any pickle where the caller granted trust. A serializer that
        reads its pickles by this alone can let nothing in.
        """
        ...


class Serializer(Protocol):
    """Turns objects into files and back.

    It is found through the entry-point group ``modelkeep.serializers``: the name of an entry point is the
    top-level module that it claims, as in ``type(obj).__mro__``, so that no framework is imported to choose. The
    gate of trust stands in the core: before `load`, the core asks for the `form` and looks up what that form may
    do; a serializer cannot let itself in.
    """

    @property
    def name(self) -> str:
        """What records call it; also the name of an entry point."""
        ...

    @property
    def format(self) -> int:
        """The number of its file layout, for records."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions a record keeps, such as ``("scikit-learn", "numpy")``."""
        ...

    def accepts(self, obj: object) -> bool:
        """Whether it can take *obj*, whose class lies in a module that it claims."""
        ...

    def save(self, obj: object, sink: Sink) -> None:
        """Write the files of *obj*. Raises `SerializerError` naming the part that it cannot keep."""
        ...

    def form(self, files: Files, into: object | None) -> str:
        """In which form `load` would read these files: its own name, or ``name:detail``. Runs nothing from them.

        The core refuses a form of another name.
        """
        ...

    def load(self, files: Files, form: str, into: object | None) -> object:
        """Give back the object; *into* is an object to fill, where the form knows how."""
        ...

    def tensors(self, files: Files) -> Mapping[str, Callable[[], Any]]:
        """What gives one tensor by its name, each for itself; runs nothing from the files, and reads no tensor yet."""
        ...

    def export(self, files: Files, folder: Path) -> None:
        """Write the framework's native files below *folder*, without running anything from them."""
        ...


class Predicts(Protocol):
    """What a serializer may offer beside: how its objects predict.

    Without it `ModelVersion.predict` uses the object's own method ``predict``, or calls it.
    """

    def predict(self, obj: Any, inputs: Any) -> Any:
        """What *obj* makes of *inputs*, as the framework gives it; leaves *obj* as it was.

        May be called from several threads at once.
        """
        ...
