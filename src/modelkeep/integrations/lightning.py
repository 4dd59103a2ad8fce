"""Lightning modules, as torch modules are kept; their hyperparameters stand in ``hparams.json`` too, to be read.

``load(ref, into=module)`` fills one with the weights alone; rebuilding its class runs code from the file.
"""

from __future__ import annotations

import json
from typing import Any

from modelkeep.errors import InvalidValueError
from modelkeep.integrations.torch import TorchSerializer
from modelkeep.serializers.native import keep
from modelkeep.serializers.port import Sink

HPARAMS = "hparams.json"


class LightningSerializer(TorchSerializer):
    """Takes ``LightningModule``, of the packages lightning and pytorch-lightning; no trainer goes in."""

    name = "lightning"
    packages = ("lightning", "pytorch-lightning", "torch", "numpy", "cloudpickle")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return any(cls.__name__ == "LightningModule" for cls in type(obj).__mro__)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        super().save(obj, sink)
        try:
            kept = keep(dict(obj.hparams), "hparams")
        except InvalidValueError:  # a loss function, say; it is in the pickle
            return
        if kept:
            sink.put(HPARAMS, json.dumps(kept, indent=1).encode())


serializer = LightningSerializer()
