"""`Variant`: a version in another form, such as ONNX in int8, and how one is appended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep._publish import Draft, VariantOf, publish
from modelkeep.facts import Facts, serializer_for
from modelkeep.folds import versions
from modelkeep.loadable import Loadable
from modelkeep.ref import check_kind
from modelkeep.sink import SaveSink
from modelkeep.version import Parent


class Variant(Loadable):
    """A version in another form. It has no number and never changes; it lives exactly as long as its version.

    Variants come from `ModelVersion.add_variant` and `ModelVersion.variants`; their records name the version as parent.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://variant")
        >>> v = registry.save({"w": np.linspace(0, 1, 3)}, "churn").promote("production")
        >>> int8 = v.add_variant({"w": np.array([0, 64, 127], np.int8)}, kind="int8", metrics={"auc": 0.9})
        >>> int8, int8.metrics, registry.load("churn@production/int8")["w"].tolist()
        (Variant churn:1/int8, {'auc': 0.9}, [0, 64, 127])
    """

    _known: versions.VariantLine

    def __init__(self, line: Line, number: int, kind: str) -> None:
        super().__init__(line, line.line(number).variants[kind])

    def __repr__(self) -> str:
        return f"Variant {self.ref}"

    @property
    def ref(self) -> str:
        """The reference that always means this variant: ``churn:7/onnx-int8``."""
        return f"{self._line.name}:{self._known.made.number}/{self.kind}"

    @property
    def kind(self) -> str:
        """What tells it from other variants of its version."""
        return self._known.made.kind

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics given when it was added. One request, once."""
        return dict(self.record.metrics)

    def _found(self) -> _resolve.Found:
        return _resolve.found_variant(self._line.line(self._known.made.number), self.kind)


def add_variant(
    line: Line,
    number: int,
    model: object,
    *,
    kind: str,
    metrics: Mapping[str, object] | None,
    serializer: str | None,
    notes: str,
) -> Variant:
    """Append a variant to a version; see `ModelVersion.add_variant`."""
    of = VariantOf(number, check_kind(kind))
    version = Parent(line.name, number, line.line(number).made.identity)
    facts = Facts(metrics={} if metrics is None else metrics, notes=notes, parents=(version,))
    chosen = serializer_for(model, serializer, line.home.granted)
    with SaveSink() as sink:
        chosen.save(model, sink)
        record = facts.record(model, chosen, line.home.system)
        publish(line, Draft(sources=sink.sources(), record=record, variant=of))
    return Variant(line, number, kind)


def variants_of(line: Line, number: int) -> dict[str, Variant]:
    """The variants of a version by kind, sorted; see `ModelVersion.variants`."""
    line.versions.refresh()
    return {kind: Variant(line, number, kind) for kind in sorted(line.line(number).variants)}
