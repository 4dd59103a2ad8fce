"""Objects that only their own framework's pickle can keep: one `model.pkl`, in the code tier."""

from __future__ import annotations

import pickle
from typing import cast

from modelkeep.serializers import outofband
from modelkeep.serializers.port import Sink


class WholeSerializer(outofband.PickleSerializer):
    """A base: takes what has a class of the framework among its bases, and pickles it; loading runs code.

    Attributes:
        module: the framework's top-level module.
    """

    module = ""

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return any(str(cls.__module__).partition(".")[0] == self.module for cls in type(obj).__mro__)

    def save(self, obj: object, sink: Sink) -> None:
        """See `Serializer.save`."""
        dump = cast(outofband.Dump, pickle.dump)
        outofband.save(obj, sink, dump, way_out="try save(…, serializer='cloudpickle')")
