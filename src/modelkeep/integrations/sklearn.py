"""scikit-learn: estimators by pickle, their large arrays apart; exported as one plain pickle."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from modelkeep.serializers import outofband
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink


class SklearnSerializer(PlainSerializer):
    """Estimators, pipelines and whatever else has a class of scikit-learn among its bases; loading runs code."""

    name = "sklearn"
    packages = ("scikit-learn", "numpy", "scipy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return any(cls.__module__.partition(".")[0] == "sklearn" for cls in type(obj).__mro__)

    def save(self, obj: object, sink: Sink) -> None:
        """See `Serializer.save`."""
        dump = cast(outofband.Dump, pickle.dump)
        outofband.save(obj, sink, dump, way_out="try save(…, serializer='cloudpickle')")

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


serializer = SklearnSerializer()
