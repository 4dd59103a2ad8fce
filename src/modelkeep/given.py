"""What `Registry.save` takes, for type checkers; apart from `facts`, which variants need too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from modelkeep.arguments import Absent
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress
from modelkeep.ref import ModelRef
from modelkeep.signature import Signature
from modelkeep.version import Parent

Ref = str | ModelRef | ModelVersion
Parents = Ref | Parent | Iterable[Ref | Parent] | Absent | None


class Given(TypedDict, total=False):
    """The options of `Registry.save`, for type checkers; what they mean is said there."""

    params: Mapping[str, object] | None
    metrics: Mapping[str, object] | None
    tags: Mapping[str, str] | None
    notes: str
    parent: Parents
    label: str | None
    bump: Literal["major", "minor", "patch"] | None
    reuse: bool
    serializer: str | None
    progress: Progress
    preprocess: object
    example: object
    signature: Signature | Mapping[str, Any] | None
    golden: object


class Saved(TypedDict, total=False):
    """Those of them that go with every version of a tracked function."""

    tags: Mapping[str, str] | None
    notes: str
    parent: Parents
    bump: Literal["major", "minor", "patch"] | None
    serializer: str | None
