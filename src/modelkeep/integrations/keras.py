"""Keras 3: the configuration as ``config.json``, the weights as safetensors; exported as one native ``model.keras``.

A ``.keras`` file is a zip of a configuration, which names classes to be imported and built, and of weights as HDF5.
Neither is safe from strangers. Keras's own safe mode has been passed by before (CVE-2024-3660, CVE-2025-1550,
CVE-2025-8747, CVE-2025-9905, CVE-2025-9906), and of 4,000 damaged files HDF5 2.0 died of 11 by SIGSEGV. So a save takes
the file apart, and a load puts it together again from parts that were looked at:

- the weights are read as safetensors, and HDF5 reads only what was written here a moment ago;
- the form is ``keras``, data, if the configuration names layers, losses, metrics and optimizers of a closed list, and
  ``keras:code`` if there is more: a ``Lambda``, a class of a user, a layer that opens a path;
- ``load(ref, into=model)`` fills the weights of a model and does not look at the configuration.

A model with assets, such as a vocabulary, is kept as the one file that Keras writes, and is code.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.integrations.kerasfile import CONFIG, MODEL, put_together, take_apart
from modelkeep.integrations.keraslist import stranger
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading
from modelkeep.values import MAX_VALUES, values_in


class KerasSerializer(PlainSerializer):
    """Takes built ``keras.Model``s: sequential, functional, and classes of users."""

    name = "keras"
    packages = ("keras", "torch", "tensorflow", "jax", "numpy", "h5py")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        import keras

        return isinstance(obj, keras.Model)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        if not obj.built:
            raise SerializerError("the model has no weights yet; call it on some data, or build(…), before the save")
        with tempfile.TemporaryDirectory(prefix="modelkeep-") as folder:
            path = Path(folder, MODEL)
            try:
                obj.save(str(path))
            except Exception as error:  # get_config of a user's layer may raise anything
                raise SerializerError(f"keras cannot save the {type(obj).__name__}: {error}") from error
            if not take_apart(path, sink):
                sink.put(MODEL, path.read_bytes())

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`: by what the configuration names."""
        if MODEL in files.names():
            return "keras:code"
        if into is not None:
            return "keras:weights"
        return "keras:code" if _names_strangers(files) else "keras"

    def load(self, files: Files, form: str, into: Any) -> object:
        """See `Serializer.load`."""
        if into is not None and not callable(getattr(into, "load_weights", None)):
            raise SerializerError(f"into= is a {type(into).__name__}; give a keras model, or a folder for files")
        with tempfile.TemporaryDirectory(prefix="modelkeep-") as folder, reading(MODEL, "by keras"):
            self.export(files, Path(folder))
            path = str(Path(folder, MODEL))  # by its suffix keras tells what it is
            if into is not None:
                return _fill(into, path)
            import keras

            loaded: object = keras.saving.load_model(path, safe_mode=form == "keras")
            return loaded

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`: one ``model.keras``."""
        if MODEL in files.names():
            files.extract(folder)
        else:
            put_together(files, folder)


def _fill(model: Any, path: str) -> object:
    before = model.get_weights()
    try:
        model.load_weights(path)
    except Exception as error:
        if before:
            model.set_weights(before)
        kind = type(model).__name__
        raise SerializerError(f"the saved weights do not fit this {kind}: {error}", path=MODEL) from error
    return model


def _names_strangers(files: Files) -> bool:
    try:
        raw = bytes(files.read(CONFIG))
        return values_in(raw) > MAX_VALUES or stranger(json.loads(raw)) is not None
    except Exception:  # noqa: BLE001  json raises what it likes at what a stranger wrote
        return True


serializer = KerasSerializer()
