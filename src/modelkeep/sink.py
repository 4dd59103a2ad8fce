"""Where serializers put files during a save; see `modelkeep.serializers.port.Sink`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Self, cast

from modelkeep.digest import Buffer
from modelkeep.errors import SerializerError
from modelkeep.sources import InMemory, Open, Source, file_source, memory_source
from modelkeep.version import check_path, check_paths

_SPOOL = 8 * 1024 * 1024  # bytes; a longer stream goes to a temporary file


class SaveSink:
    """Gathers the files of one save; its temporary files are gone when the block ends.

    Example:
        >>> with SaveSink() as sink:
        ...     sink.put("a.bin", b"12", b"3")
        ...     [(source.path, source.size) for source in sink.sources()]
        [('a.bin', 3)]
    """

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._memory: list[InMemory] = []
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
        content = InMemory(buffers)
        self._take(Source(path, content.size, opaque, content))
        self._memory.append(content)

    @contextmanager
    def stream(self, path: str) -> Iterator[BinaryIO]:
        """See `Sink.stream`."""
        import tempfile

        spool = self._open.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL))  # noqa: SIM115  the stack does
        yield cast(BinaryIO, spool)
        spool.seek(0, io.SEEK_END)
        size = spool.tell()
        spool.flush()
        if size > _SPOOL:
            self._take(Source(path, size, opaque=True, content=Open(io.FileIO(spool.fileno(), closefd=False))))
        else:
            spool.seek(0)
            self._take(memory_source(path, [spool.read()]))

    def folder(self) -> Path:
        """See `Sink.folder`."""
        if self._folder is None:
            import tempfile

            self._folder = Path(tempfile.mkdtemp(prefix="modelkeep-"))
        return self._folder

    def add(self, path: str, source: Path) -> None:
        """See `Sink.add`."""
        self._take(file_source(path, source))

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
        """The bytes of all files that `sources` gave."""
        return sum(source.size for source in self._sources.values())

    def snapshot(self) -> None:
        """Copy what serializers put here without copying, so that the save can go on while arrays are changed.

        Files on disk are not copied; if one is changed from here on, reading it is an error.
        """
        for content in self._memory:
            content.snapshot()

    def _take(self, source: Source) -> None:
        check_path(source.path)
        if source.path in self._sources:
            raise SerializerError(f"the serializer wrote {source.path!r} twice", path=source.path)
        self._sources[source.path] = source
