"""What most serializers answer: one form, tensors found by their bytes, files exported as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import find
from modelkeep.serializers.port import Files


class PlainSerializer:
    """A base with the usual answers: one form, files exported as they are."""

    name = ""
    format = 1
    packages: tuple[str, ...] = ()

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`.

        Raises:
            SerializerError: there is an object to fill, and this serializer fills none.
        """
        del files
        if into is not None:
            raise SerializerError(
                f"what {self.name!r} wrote cannot be loaded into a {type(into).__name__}; leave out into=, or give a "
                "folder for the files"
            )
        return self.name

    def tensors(self, files: Files) -> Mapping[str, Callable[[], Any]]:
        """See `Serializer.tensors`: those of safetensors, npy and npz files."""
        return find(files)

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`."""
        files.extract(folder)
