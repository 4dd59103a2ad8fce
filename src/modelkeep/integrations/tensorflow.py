"""TensorFlow: modules as SavedModel folders; code tier. Models of Keras are Keras's, also where they run on TensorFlow.

A SavedModel is a program: its graph may hold operations that read and write files (``ReadFile``, ``WriteFile``), and
TensorFlow says itself that one must be trusted as code is (SECURITY.md of TensorFlow).
"""

from __future__ import annotations

from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import on_disk, reading


class TensorFlowSerializer(PlainSerializer):
    """See the module."""

    name = "tensorflow"
    packages = ("tensorflow", "tensorflow-cpu", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `tf.Module`, or what `tf.saved_model.load` gave."""
        import tensorflow as tf

        return isinstance(obj, tf.Module) or type(obj).__module__ == "tensorflow.python.saved_model.load"

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        import tensorflow as tf

        try:
            tf.saved_model.save(obj, str(sink.folder()))
        except Exception as error:  # functions of the user's own are traced, and may raise anything
            raise SerializerError(f"the module cannot be written as a SavedModel: {error}") from error

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`: what has the functions and variables of the module, and not its class."""
        import tensorflow as tf

        del form, into
        with reading("the SavedModel"), on_disk(files) as folder:
            loaded: object = tf.saved_model.load(str(folder))
        return loaded

    def predict(self, obj: Any, inputs: Any) -> Any:
        """See `Predicts.predict`: the object's own call, or the function of its signature ``serving_default``."""
        import tensorflow as tf

        given = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        if callable(obj):
            return obj(given)
        serving = obj.signatures["serving_default"]
        return serving(**given) if isinstance(given, dict) else serving(given)

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: none; they lie in a checkpoint of TensorFlow."""
        del files
        return {}


serializer = TensorFlowSerializer()
