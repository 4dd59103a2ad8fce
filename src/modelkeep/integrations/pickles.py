"""Any Python object by cloudpickle, which takes code of notebooks along; only when asked for by name."""

from __future__ import annotations

from modelkeep.serializers import outofband
from modelkeep.serializers.port import Sink


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


serializer = CloudpickleSerializer()
