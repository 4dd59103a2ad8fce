"""What a live handle serves: a model with its preprocessing, loaded beside the one before and shown to work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep._origins import remember
from modelkeep._resolve import Found, Loaded
from modelkeep._trust import Trust
from modelkeep.errors import SerializerError, SignatureError, UnfitError
from modelkeep.golden import GOLDEN_INPUTS, GOLDEN_OUTPUTS, GoldenCheck
from modelkeep.modelversion import ModelVersion
from modelkeep.prediction import PREPROCESS, Pipeline
from modelkeep.usable import EXAMPLE
from modelkeep.version import Parent, Record, Tolerance

_PARTS = (PREPROCESS, EXAMPLE, GOLDEN_INPUTS, GOLDEN_OUTPUTS)


@attrs.frozen(eq=False)
class Served:
    """A version that may serve. Who holds this holds the model, and nothing else does.

    Args:
        version: its facts.
        pipeline: what predicts.
        example: inputs as callers give them, if it has some and was tried with them.
    """

    version: ModelVersion
    pipeline: Pipeline = attrs.field(repr=False)
    example: Loaded | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Loading:
    """How versions are loaded that may serve.

    Args:
        line: their model.
        as_: the class that the objects must be of.
        warm: whether each must show that it works.
        trust: as in `Registry.load`.
        lazy: whether what is mapped is left unchecked.
    """

    line: Line
    as_: type
    warm: bool
    trust: Trust
    lazy: bool

    def load(self, found: Found, before: Served | None) -> Served:
        """Load a version; one request and the data, one more for the record, and two GETs if it is new here.

        Args:
            found: the version.
            before: what serves now, if anything does.

        Raises:
            UnfitError: it failed on its example, missed its golden outputs, or does not take what callers give.
            SerializerError: it is not of the class that was asked for.
        """
        if found.number not in self.line.versions.state.lines:
            self.line.read()
        # apart from the version that users are given: what this one opens to read the record would stay in memory
        record = ModelVersion(self.line, found.number).record
        wanted = _PARTS if self.warm else _PARTS[:1]
        model, preprocess, *samples = _resolve.load_together(
            self.line, found, (None, *wanted), trust=self.trust, lazy=self.lazy
        )
        assert model is not None  # noqa: S101  for the type checker: every version has a model
        version = ModelVersion(self.line, found.number)
        self._check_class(version, model.obj)
        pipeline = Pipeline(model.serializer, model.obj, preprocess.obj if preprocess else None, record.signature)
        if samples:
            _try(version.ref, pipeline, record, samples)
            _check_callers(version.ref, record, before)
        remember(model.obj, Parent(self.line.name, found.number, found.identity))
        return Served(version, pipeline, samples[0] if samples else None)

    def _check_class(self, version: ModelVersion, obj: object) -> None:
        if not isinstance(obj, self.as_):
            raise SerializerError(
                f"{version.ref} holds a {type(obj).__module__}.{type(obj).__qualname__}, and no "
                f"{self.as_.__module__}.{self.as_.__qualname__}",
                type=type(obj).__qualname__,
            )


def _try(ref: str, pipeline: Pipeline, record: Record, samples: Sequence[Loaded | None]) -> None:
    """Let the model predict its example, and its golden inputs as the outputs were kept."""
    example, inputs, outputs = samples
    if example is not None:
        _predicted(ref, pipeline, example.obj, "example")
    if inputs is not None and outputs is not None:
        now = _predicted(ref, pipeline, inputs.obj, "golden inputs")
        check = GoldenCheck.of(outputs.obj, now, record.golden or Tolerance())
        if not check:
            raise UnfitError(f"{ref} misses its golden outputs here: {check}", ref=ref)


def _predicted(ref: str, pipeline: Pipeline, inputs: Any, what: str) -> Any:
    try:
        return pipeline(inputs)
    except Exception as error:
        raise UnfitError(
            f"{ref} fails on its own {what}: {type(error).__name__}: {error}; warm=False would serve it untried",
            ref=ref,
        ) from error


def _check_callers(ref: str, record: Record, before: Served | None) -> None:
    """What callers give now must do for the new one, too: the example of what serves stands for it."""
    if record.signature is None or before is None or before.example is None:
        return
    try:
        record.signature.check(before.example.obj)
    except SignatureError as error:
        raise UnfitError(
            f"{ref} does not take what {before.version.ref} takes, so callers would fail: {error}; "
            "start anew where they give the new inputs",
            ref=ref,
        ) from error
