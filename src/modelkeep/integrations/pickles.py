"""Any Python object by cloudpickle, which takes code of notebooks along; only when asked for by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelkeep.serializers import outofband
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink


class CloudpickleSerializer(PlainSerializer):
    """Takes everything that cloudpickle takes; loading runs code."""

    name = "cloudpickle"
    packages = ("cloudpickle",)

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        del obj
        return True

    def save(self, obj: object, sink: Sink) -> None:
        """See `Serializer.save`."""
        import cloudpickle

        outofband.save(obj, sink, cloudpickle.dump, way_out="save its files with pathlib.Path(…) instead")

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        return outofband.load(files)

    def tensors(self, files: Files) -> dict[str, Callable[[], Any]]:
        """See `Serializer.tensors`."""
        return outofband.tensors(files)

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`."""
        outofband.export(files, folder)


serializer = CloudpickleSerializer()
