"""Predicting with a version: inputs are checked by the signature, preprocessed, and given to the model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep._trust import Trust
from modelkeep.errors import SerializerError
from modelkeep.forks import renew_after_fork
from modelkeep.serializers import plain
from modelkeep.serializers.port import Serializer
from modelkeep.signature import Signature

PREPROCESS = "preprocess"


@attrs.frozen
class Pipeline:
    """What turns inputs into outputs; the same at the save, for golden outputs, as in `ModelVersion.predict`.

    Args:
        serializer: of the model; it knows how such an object predicts.
        model: the object.
        preprocess: what the inputs go through first, or None.
        signature: what they are checked by, or None.
    """

    serializer: Serializer
    model: Any
    preprocess: Any = None
    signature: Signature | None = None

    def __call__(self, inputs: Any) -> Any:
        ready = inputs if self.signature is None else self.signature.check(inputs)
        if self.preprocess is not None:
            ready = transformed(self.preprocess, ready)
        own: Callable[[Any, Any], Any] = getattr(self.serializer, "predict", plain.predict)
        return own(self.model, ready)


def transformed(preprocess: Any, inputs: Any) -> Any:
    """Put *inputs* through a preprocessing: by its method ``transform``, or by calling it.

    Raises:
        SerializerError: it has no such method, and cannot be called.
    """
    method = getattr(preprocess, "transform", None)
    if callable(method):
        return method(inputs)
    if callable(preprocess):
        return preprocess(inputs)
    raise SerializerError(
        f"the preprocessing is a {type(preprocess).__module__}.{type(preprocess).__qualname__}, without transform() "
        f"and not to be called; take it with version.parts[{PREPROCESS!r}].load(), and load the model apart"
    )


class Predictor:
    """Loads the model of a version and its preprocessing when it first predicts, and keeps them.

    Safe to use from several threads: one loads, the others wait for it.
    """

    def __init__(self, line: Line, found: Callable[[], _resolve.Found], signature: Signature | None) -> None:
        self._line = line
        self._found = found
        self._signature = signature
        self._pipeline: Pipeline | None = None
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`; called in the child, not by users."""
        self._lock = threading.Lock()

    def predict(self, inputs: Any, trust: Trust) -> Any:
        """What the model makes of *inputs*; *trust* is asked for by a load alone."""
        return self._loaded(trust)(inputs)

    def _loaded(self, trust: Trust) -> Pipeline:
        if self._pipeline is None:
            with self._lock:
                if self._pipeline is None:
                    self._pipeline = self._load(trust)
        return self._pipeline

    def _load(self, trust: Trust) -> Pipeline:
        model, before = _resolve.load_together(self._line, self._found(), (None, PREPROCESS), trust=trust)
        assert model is not None  # noqa: S101  for the type checker: every version has a model
        return Pipeline(model.serializer, model.obj, before.obj if before else None, self._signature)
