"""river: models, pipelines and transformers by pickle, which is all that river offers; code tier."""

from __future__ import annotations

from modelkeep.serializers.whole import WholeSerializer


class RiverSerializer(WholeSerializer):
    """Whatever has a class of river among its bases."""

    name = "river"
    packages = ("river", "numpy")


serializer = RiverSerializer()
