"""Objects that only pickle can keep: their framework's own, in one ``model.pkl``, with large arrays apart."""

from __future__ import annotations

import pickle
from typing import cast

from modelkeep.serializers import outofband
from modelkeep.serializers.port import Sink


class WholeSerializer(outofband.PickleSerializer):
    """A base: takes what has a class of the framework that it is named after among its bases, and pickles it."""

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return any(str(cls.__module__).partition(".")[0] == self.name for cls in type(obj).__mro__)

    def save(self, obj: object, sink: Sink) -> None:
        """See `Serializer.save`."""
        dump = cast(outofband.Dump, pickle.dump)
        outofband.save(obj, sink, dump, way_out="try save(…, serializer='cloudpickle')")
