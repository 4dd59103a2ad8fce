"""`Variant`: a version in another form, such as ONNX in int8, and how one is appended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep._publish import Draft, VariantOf, publish
from modelkeep._trust import Trust
from modelkeep.facts import Facts, serializer_for
from modelkeep.packfiles import PackFiles
from modelkeep.ref import check_kind
from modelkeep.sink import SaveSink
from modelkeep.system import parse_time
from modelkeep.targets import empty_folder
from modelkeep.version import Parent, Record, StoredFile

T = TypeVar("T")


class Variant:
    """A version in another form. It has no number and never changes; it lives exactly as long as its version.

    Variants come from `ModelVersion.add_variant` and `ModelVersion.variants`.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://variant")
        >>> v = registry.save({"w": np.linspace(0, 1, 3)}, "churn").promote("production")
        >>> int8 = v.add_variant({"w": np.array([0, 64, 127], np.int8)}, kind="int8", metrics={"auc": 0.9})
        >>> int8, int8.metrics, registry.load("churn@production/int8")["w"].tolist()
        (Variant churn:1/int8, {'auc': 0.9}, [0, 64, 127])
    """

    def __init__(self, line: Line, number: int, kind: str) -> None:
        self._line = line
        self._known = line.line(number).variants[kind]

    def __repr__(self) -> str:
        return f"Variant {self.ref}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variant) and (self.ref, self.digest) == (other.ref, other.digest)

    def __hash__(self) -> int:
        return hash((self.ref, self.digest))

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def ref(self) -> str:
        """The reference that always means this variant: ``churn:7/onnx-int8``."""
        return f"{self._line.name}:{self._known.made.number}/{self.kind}"

    @property
    def kind(self) -> str:
        """What tells it from other variants of its version."""
        return self._known.made.kind

    @property
    def digest(self) -> str:
        """The identity: BLAKE3 of content, record and the version's number."""
        return self._known.made.identity

    @property
    def content(self) -> str:
        """The digest of the files alone; equal files have equal content."""
        return self._known.made.content

    @property
    def size(self) -> int:
        """The bytes of its files, uncompressed."""
        return self._known.made.size

    @property
    def created(self) -> datetime:
        """When it was added, in UTC, by the clock of who added it."""
        return parse_time(self._known.time)

    @property
    def author(self) -> str:
        """Who added it."""
        return self._known.actor

    @property
    def serializer(self) -> str:
        """What wrote its files."""
        return self._known.made.serializer

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics given when it was added. One request, once."""
        return dict(self.record.metrics)

    @property
    def record(self) -> Record:
        """All that was recorded when it was added; its parent is the version. One request, once."""
        return self._opened[1]

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Path, size and digest of each file, and what it takes in storage. One request, once."""
        return self._opened[0].manifest.stored()

    @cached_property
    def _opened(self) -> tuple[PackFiles, Record]:
        return _resolve.open_files(self._line, self._found())

    def _found(self) -> _resolve.Found:
        return _resolve.found_variant(self._line.line(self._known.made.number), self.kind)

    # -- the object ------------------------------------------------------------------------------------------

    @overload
    def load(
        self, *, as_: type[T], into: object = None, trust: Trust = False, verify: _resolve.Verify = "now"
    ) -> T: ...
    @overload
    def load(self, *, into: object = None, trust: Trust = False, verify: _resolve.Verify = "now") -> Any: ...
    def load(
        self,
        *,
        as_: type[Any] = object,
        into: object = None,
        trust: Trust = False,
        verify: _resolve.Verify = "now",
    ) -> Any:
        """Give back the object that was added; see `Registry.load`.

        Raises:
            DeletedError: its version was purged.
        """
        return _resolve.load_found(self._line, self._found(), into=into, trust=trust, verify=verify, as_=as_)

    def verify(self) -> int:
        """Read every byte of this variant from the store and check it; gives how many. See `ModelVersion.verify`.

        Raises:
            IntegrityError: a byte is not as it was written; names the object.
            DeletedError: its version was purged.
        """
        return _resolve.with_files(self._line, self._found(), lambda files, _: files.check())

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write the framework's native files below *folder*; see `ModelVersion.export`."""
        return _resolve.export(self._line, self._found(), empty_folder(folder))


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
