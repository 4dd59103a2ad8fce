"""Keeps a `Threshold` as one JSON file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelkeep.serializers.plain import PlainSerializer

if TYPE_CHECKING:
    from modelkeep.serializers.port import Files, Sink


class ThresholdSerializer(PlainSerializer):
    """See the module."""

    name = "thresholds"
    packages = ("thresholds",)

    def accepts(self, obj: object) -> bool:
        """Whether it is one."""
        return hasattr(obj, "cut")

    def save(self, obj: Any, sink: Sink) -> None:
        """Write ``threshold.json``."""
        sink.put("threshold.json", json.dumps({"cut": obj.cut}).encode())

    def load(self, files: Files, form: str, into: object | None) -> object:
        """Read it."""
        del form, into
        from thresholds import Threshold

        return Threshold(cut=float(json.loads(files.read("threshold.json"))["cut"]))


serializer = ThresholdSerializer()
