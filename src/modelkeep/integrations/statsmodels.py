"""statsmodels: results by pickle, without the training data where statsmodels can predict without; code tier.

The object is left as it is: the data are taken out of a copy. Its summary is made before, since none can be made
without them. Results of time series keep their data, from which they forecast; so does what cannot be copied, and a
formula's, which statsmodels evaluates again when it is loaded.
"""

from __future__ import annotations

import pickle
import warnings
from typing import Any

from modelkeep.serializers.port import Sink
from modelkeep.serializers.whole import WholeSerializer

_WITHOUT_DATA = ("statsmodels.regression.", "statsmodels.genmod.", "statsmodels.discrete.")


class StatsmodelsSerializer(WholeSerializer):
    """See the module."""

    name = "statsmodels"
    packages = ("statsmodels", "numpy", "scipy", "pandas")

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        super().save(_without_data(obj), sink)


def _without_data(obj: Any) -> Any:
    results = getattr(obj, "_results", obj)
    if not type(results).__module__.startswith(_WITHOUT_DATA) or not hasattr(obj, "remove_data"):
        return obj
    if getattr(getattr(results, "model", None), "formula", None) is not None:
        return obj
    try:
        copy = pickle.loads(pickle.dumps(obj, 5))  # noqa: S301  our own bytes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a summary that nobody asked for
            copy.summary()
        copy.remove_data()
    except Exception:  # noqa: BLE001  a kind that cannot go without; what cannot be pickled is told by the save
        return obj
    return copy


serializer = StatsmodelsSerializer()
