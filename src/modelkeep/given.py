"""What `Registry.save` takes, and whom it names as parents; apart from `facts`, which variants need too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from modelkeep._origins import origin
from modelkeep.arguments import Absent
from modelkeep.errors import InvalidValueError, shown
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress
from modelkeep.ref import ModelRef
from modelkeep.signature import Signature
from modelkeep.version import Parent, check_parent

Ref = str | ModelRef | ModelVersion
Parents = Ref | Parent | Iterable[Ref | Parent] | Absent | None


class Given(TypedDict, total=False):
    """The options of `Registry.save`, for type checkers; what they mean is said there."""

    params: Mapping[str, object] | None
    metrics: Mapping[str, object] | None
    data: object
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
    allow_secret_like: Iterable[str]


class Saved(TypedDict, total=False):
    """Those of them that go with every version of a tracked function."""

    tags: Mapping[str, str] | None
    notes: str
    parent: Parents
    bump: Literal["major", "minor", "patch"] | None
    serializer: str | None


def parents_of(model: object, given: Parents, get: Callable[[Ref], ModelVersion]) -> tuple[Parent, ...]:
    """The parents that a caller gave; if none were, what *model* was loaded from.

    Args:
        model: what is saved.
        given: by the caller.
        get: the version that a reference means.
    """
    if isinstance(given, Absent):
        guessed = origin(model)
        return (guessed,) if guessed else ()
    if given is None:
        return ()
    if isinstance(given, (str, ModelRef, ModelVersion, Parent)):
        return (_parent(given, get),)
    if not isinstance(given, Iterable):
        raise InvalidValueError(
            f"parent is {shown(given)}, a {type(given).__name__}; give a version, a reference, or several",
            key="parent",
        )
    return tuple(_parent(each, get) for each in given)


def _parent(given: Ref | Parent, get: Callable[[Ref], ModelVersion]) -> Parent:
    if isinstance(given, Parent):
        return check_parent(given)
    version = get(given)
    return Parent(version.name, version.number, version.digest)
