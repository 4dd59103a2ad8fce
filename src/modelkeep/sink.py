"""Where serializers put files during a save; see `modelkeep.serializers.port.Sink`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self, cast

import attrs

from modelkeep.digest import Buffer
from modelkeep.errors import InvalidValueError, SerializerError
from modelkeep.packs import PIECE, Source, file_source
from modelkeep.version import check_path, check_paths

_LARGE = 1024 * 1024  # bytes; from here on numpy copies in huge pages, four times as fast as `bytes`


class SaveSink:
    """Gathers the files of one save; its temporary files are gone when the block ends.

    Example:
        >>> with SaveSink() as sink:
        ...     sink.put("a.bin", b"12", b"3")
        ...     [bytes(piece) for source in sink.sources() for piece in source.pieces()]
        [b'123']
    """

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._sizes: list[Callable[[], int]] = []
        self._held: list[list[Buffer]] = []
        self._added: dict[str, Path] = {}
        self._folder: Path | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        if self._folder is not None:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, path: str, *buffers: Buffer, opaque: bool = True) -> None:
        """See `Sink.put`."""
        held = list(buffers)
        self._take(Source(path, opaque, lambda: iter(held)), lambda: sum(memoryview(part).nbytes for part in held))
        self._held.append(held)

    @contextmanager
    def stream(self, path: str) -> Iterator[BinaryIO]:
        """See `Sink.stream`."""
        import tempfile

        spool = self._open.enter_context(tempfile.SpooledTemporaryFile(max_size=PIECE))  # noqa: SIM115  the stack does
        yield cast(BinaryIO, spool)

        def read() -> Iterator[Buffer]:
            spool.seek(0)
            while part := spool.read(PIECE):
                yield part

        self._take(Source(path, opaque=True, buffers=read), partial(spool.seek, 0, os.SEEK_END))

    def folder(self) -> Path:
        """See `Sink.folder`."""
        if self._folder is None:
            import tempfile

            self._folder = Path(tempfile.mkdtemp(prefix="modelkeep-"))
        return self._folder

    def add(self, path: str, source: Path) -> None:
        """See `Sink.add`."""
        self._take(file_source(path, source), lambda: source.stat().st_size)
        self._added[path] = source

    def sources(self) -> list[Source]:
        """All files of the save.

        Raises:
            SerializerError: there are none.
        """
        if self._folder is not None:
            for file in sorted(self._folder.rglob("*")):
                path = file.relative_to(self._folder).as_posix()
                if file.is_file() and path not in self._sources:
                    self.add(path, file)
        if not self._sources:
            raise SerializerError("the serializer wrote no files, so there is nothing to save")
        check_paths(self._sources)
        return list(self._sources.values())

    def size(self) -> int:
        """The bytes of all files that `sources` gave, as of now."""
        return sum(size() for size in self._sizes)

    def snapshot(self) -> None:
        """Copy what serializers put here without copying, so that the save can go on while arrays are changed.

        Files on disk that were added are not copied: if one is changed from here on, reading it is an error. Call it
        before `sources`.
        """
        for held in self._held:
            for index, buffer in enumerate(held):
                held[index] = _copied(buffer)  # one by one: what a serializer made for us alone goes at once
        for path, file in self._added.items():
            source = self._sources[path]
            self._sources[path] = attrs.evolve(source, buffers=partial(_unchanged, source, file, _stamp(file)))

    def _take(self, source: Source, size: Callable[[], int]) -> None:
        check_path(source.path)
        if source.path in self._sources:
            raise SerializerError(f"the serializer wrote {source.path!r} twice", path=source.path)
        self._sources[source.path] = source
        self._sizes.append(size)


def _copied(buffer: Buffer) -> Buffer:
    view = memoryview(buffer)
    if isinstance(view.obj, bytes):
        return buffer
    if view.nbytes < _LARGE:
        return bytes(view)
    import numpy as np

    return np.frombuffer(view, np.uint8).copy().data


def _stamp(file: Path) -> tuple[int, ...]:
    """What changes whenever a file does."""
    try:
        facts = file.stat()
    except OSError as error:
        raise InvalidValueError(f"{file} cannot be saved: {error}", path=str(file)) from error
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _unchanged(source: Source, file: Path, stamp: tuple[int, ...]) -> Iterator[Buffer]:
    """The bytes of a file that had this stamp when the save was begun, and must have it still when they were read."""
    _check_stamp(file, stamp)
    yield from source.buffers()
    _check_stamp(file, stamp)


def _check_stamp(file: Path, stamp: tuple[int, ...]) -> None:
    if _stamp(file) != stamp:
        raise InvalidValueError(
            f"{file} changed before its save was done; save it at rest, or without wait=False", path=str(file)
        )
