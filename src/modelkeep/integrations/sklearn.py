"""scikit-learn: estimators by pickle, their large arrays apart; exported as one plain pickle.

The core reads the pickle by the list of `modelkeep.pickles`, so that fitted estimators load without trust.
"""

from __future__ import annotations

from modelkeep.serializers.whole import WholeSerializer


class SklearnSerializer(WholeSerializer):
    """Estimators, pipelines and whatever else has a class of scikit-learn among its bases."""

    name = "sklearn"
    packages = ("scikit-learn", "numpy", "scipy")


serializer = SklearnSerializer()
