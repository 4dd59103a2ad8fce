"""sentence-transformers: models as their own folder; code tier, since ``modules.json`` names the classes to import."""

from __future__ import annotations

from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import on_disk, reading


class SentenceTransformersSerializer(PlainSerializer):
    """See the module."""

    name = "sentence_transformers"
    packages = ("sentence-transformers", "transformers", "torch", "safetensors")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `SentenceTransformer`, but no subclass."""
        import sentence_transformers

        return type(obj) is sentence_transformers.SentenceTransformer

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        try:
            obj.save(str(sink.folder()), create_model_card=False, safe_serialization=True)
        except Exception as error:
            raise SerializerError(f"the model cannot be saved as a folder: {error}") from error

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        from sentence_transformers import SentenceTransformer

        del form, into
        with reading("the folder of sentence-transformers"), on_disk(files) as folder:
            model: object = SentenceTransformer(str(folder), local_files_only=True, device="cpu")
        return model


serializer = SentenceTransformersSerializer()
