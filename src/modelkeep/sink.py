"""Where serializers put files during a save; see `modelkeep.serializers.port.Sink`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Self, cast

from modelkeep.digest import Buffer
from modelkeep.errors import SerializerError
from modelkeep.packs import PIECE, Source, file_source
from modelkeep.version import check_path, check_paths


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
        self._take(Source(path, opaque, lambda: iter(buffers)))

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

        self._take(Source(path, opaque=True, buffers=read))

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

    def _take(self, source: Source) -> None:
        check_path(source.path)
        if source.path in self._sources:
            raise SerializerError(f"the serializer wrote {source.path!r} twice", path=source.path)
        self._sources[source.path] = source
