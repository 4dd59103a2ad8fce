"""What most serializers answer: one form, tensors found by their bytes, files exported as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import find
from modelkeep.serializers.port import Files


def predict(obj: Any, inputs: Any) -> Any:
    """Have an object predict: by its method ``predict``, or by calling it.

    Raises:
        SerializerError: it has no such method, and cannot be called.

    Example:
        >>> predict(lambda inputs: [2 * one for one in inputs], [1, 2])
        [2, 4]
    """
    method = getattr(obj, "predict", None)
    if callable(method):
        return method(inputs)
    if callable(obj):
        return obj(inputs)
    raise SerializerError(
        f"a {type(obj).__module__}.{type(obj).__qualname__} has no predict() and cannot be called; load it and predict "
        "with it yourself, and give golden=(inputs, outputs) where you want golden outputs"
    )


class PlainSerializer:
    """A base with the usual answers: one form, files exported as they are, and the object's own way to predict."""

    name = ""
    format = 1
    packages: tuple[str, ...] = ()

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`.

        Raises:
            SerializerError: there is an object to fill, and this serializer fills none.
        """
        del files
        if into is not None:
            raise SerializerError(
                f"what {self.name!r} wrote cannot be loaded into a {type(into).__name__}; leave out into=, or give a "
                "folder for the files"
            )
        return self.name

    def tensors(self, files: Files) -> Mapping[str, Callable[[], Any]]:
        """See `Serializer.tensors`: those of safetensors, npy and npz files."""
        return find(files)

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`."""
        files.extract(folder)

    def predict(self, obj: Any, inputs: Any) -> Any:
        """See `Predicts.predict`: by the object's method ``predict``, or by calling it."""
        return predict(obj, inputs)
