"""spaCy: pipelines as `to_disk` writes them; code tier.

``config.cfg`` names functions of spaCy's registries with their arguments, which are called when the folder is loaded:
some read files (``spacy.read_labels.v1``), load other pipelines (``spacy.copy_from_base_model.v1``) or import what
entry points of other packages offer. No closed list of ours stands before that yet.
"""

from __future__ import annotations

from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import on_disk, reading


class SpacySerializer(PlainSerializer):
    """See the module."""

    name = "spacy"
    packages = ("spacy", "thinc", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `spacy.Language`."""
        import spacy

        return isinstance(obj, spacy.language.Language)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        try:
            obj.to_disk(sink.folder())
        except Exception as error:  # any component of the user's own may raise anything
            raise SerializerError(f"the pipeline cannot be written with to_disk: {error}") from error

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        import spacy

        del form, into
        with reading("the folder of spaCy"), on_disk(files) as folder:
            pipeline: object = spacy.load(folder)
        return pipeline

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: none; they lie in msgpack."""
        del files
        return {}


serializer = SpacySerializer()
