"""scikit-learn: estimators by pickle, their large arrays apart; exported as one plain pickle.

The core reads the pickle by the list of `modelkeep.pickles`, so that fitted estimators load without trust.
"""

from __future__ import annotations

import pickle
from typing import cast

from modelkeep.serializers import outofband
from modelkeep.serializers.port import Sink


class SklearnSerializer(outofband.PickleSerializer):
    """Estimators, pipelines and whatever else has a class of scikit-learn among its bases."""

    name = "sklearn"
    packages = ("scikit-learn", "numpy", "scipy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return any(cls.__module__.partition(".")[0] == "sklearn" for cls in type(obj).__mro__)

    def save(self, obj: object, sink: Sink) -> None:
        """See `Serializer.save`."""
        dump = cast(outofband.Dump, pickle.dump)
        outofband.save(obj, sink, dump, way_out="try save(…, serializer='cloudpickle')")


serializer = SklearnSerializer()
