"""Any Python object by cloudpickle, which takes code of notebooks along: what no serializer of its own takes.

The source text of a function or class stands beside it as ``source.py``, for people; it is never run.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from pathlib import Path

from modelkeep.serializers import outofband
from modelkeep.serializers.port import Files, Sink

SOURCE = "source.py"


class CloudpickleSerializer(outofband.PickleSerializer):
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
        source = _source_of(obj)
        if source:
            sink.put(SOURCE, source.encode(errors="backslashreplace"))

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`: one plain pickle, and the source."""
        super().export(files, folder)
        if SOURCE in files.names():
            (folder / SOURCE).write_bytes(files.read(SOURCE))


def _source_of(obj: object) -> str:
    with suppress(Exception):  # a file that is gone, a lambda of an odd shape: it is for people, and no promise
        if inspect.isroutine(obj) or inspect.isclass(obj):
            return inspect.cleandoc("\n" + inspect.getsource(obj)) + "\n"
    return ""


serializer = CloudpickleSerializer()
