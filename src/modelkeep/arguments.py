"""Arguments that several doors take: what was not given, and what is checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from modelkeep.errors import InvalidRefError, InvalidValueError, StaleError, shown
from modelkeep.folds import notes
from modelkeep.ref import Label
from modelkeep.values import check_text


class Absent(Enum):
    """Stands for an argument that was not given, where None means something."""

    ABSENT = "not given"


ABSENT: Final = Absent.ABSENT


@runtime_checkable
class OneVersion(Protocol):
    """A version of a model, as `ModelVersion` is one; a `ModelRef` has no number of its own."""

    @property
    def name(self) -> str:
        """The name of the model."""
        ...

    @property
    def number(self) -> int:
        """The number within the model."""
        ...

    @property
    def ref(self) -> str:
        """The reference that always means it."""
        ...


def number_of(expect: int | OneVersion | Absent | None, name: str) -> int | Absent | None:
    """The number that a caller expects to find.

    Raises:
        InvalidValueError: it is a version of another model, or neither a version nor a number.
    """
    if expect is None or isinstance(expect, Absent) or type(expect) is int:
        return expect
    if not isinstance(expect, OneVersion):
        raise InvalidValueError(
            f"expect is {shown(expect)}, a {type(expect).__name__}; give a number or version, or None for no holder",
            key="expect",
        )
    if expect.name != name:
        raise InvalidValueError(f"expect={expect.ref} is no version of {name!r}", key="expect")
    return expect.number


def stale(name: str, alias: str, expected: int | None, found: int | None) -> StaleError:
    """The error for an alias that does not stand where the caller expected it."""
    return StaleError(
        f"{name}@{alias} stands on {'nothing' if found is None else f'version {found}'}, not on "
        f"{'nothing' if expected is None else f'version {shown(expected)}'}; look again and decide anew",
        alias=alias,
        expected=expected,
        found=found,
    )


def check_label(label: str | None, bump: str | None) -> str | None:
    """Return *label* if it and *bump* can be used together.

    Raises:
        InvalidRefError: both are given, or one cannot be read.
    """
    if label is not None and bump is not None:
        raise InvalidRefError(f"give a label ({shown(label)}) or bump ({shown(bump)}), not both", text=label)
    if bump is not None:
        Label(0, 0, 0).bump(bump)
    return None if label is None else str(Label.parse(label))


def check_tags(tags: Mapping[str, str | None], *, removing: bool = False) -> dict[str, str | None]:
    """Return *tags* if they can be kept.

    Raises:
        InvalidValueError: one cannot; names it and tells what came in.
    """
    if not isinstance(tags, Mapping):
        raise InvalidValueError(
            f"tags are a {type(tags).__name__}; give a dict such as {{'team': 'growth'}}", key="tags"
        )
    return {
        _tag_name(name): None if text is None and removing else _tag_text(text, f"tag {name}", name)
        for name, text in tags.items()
    }


def _tag_name(name: object) -> str:
    text = check_text(name, "the name of a tag")
    if not 0 < len(text) <= notes.MAX_TAG:
        raise InvalidValueError(f"tag name {text!r} must have 1 to {notes.MAX_TAG} characters", key=text)
    return text


def _tag_text(given: object, what: str, name: str) -> str:
    text = check_text(given, what)
    if len(text) > notes.MAX_TAG:
        raise InvalidValueError(
            f"{what} has {len(text)} characters, and {notes.MAX_TAG} are allowed; use describe()",
            key=name,
            length=len(text),
        )
    return text


def as_names(given: str | Iterable[str], key: str) -> frozenset[str]:
    """A set of names, of which one may come alone.

    Raises:
        InvalidValueError: it is something else.
    """
    names = [given] if isinstance(given, str) else given
    try:
        found = frozenset(names)
    except TypeError:
        found = frozenset([None])  # type: ignore[list-item]
    if not all(isinstance(name, str) for name in found):
        raise InvalidValueError(f"{key} is {shown(given):.200}; give names", key=key)
    return found
