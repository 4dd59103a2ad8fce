"""The journal `notes`: what people say later. Read only when asked for."""

from __future__ import annotations

from reprlib import repr as shown  # short, and safe however deep a value is nested
from typing import Any, ClassVar

import attrs

from modelkeep.entry import Entry
from modelkeep.folds import fields
from modelkeep.folds.rules import Op, rules_of

MAX_TAG = 1000  # characters of a tag; longer text is a description, which can be erased
MAX_TITLE = 200  # characters


@attrs.frozen
class TextRef:
    """A text that lies in `texts/`: the transaction that wrote it, its digest, who and when."""

    tx: str
    digest: str
    time: str
    actor: str


@attrs.define
class Notes:
    """What the entries of `notes` add up to; the key None stands for the model as a whole.

    Args:
        title: the display title, or None.
        descriptions: the last description.
        comments: all comments, in order.
        tags: tags as they stand.
        measured: metrics that came after the save, the last of each name.
    """

    title: str | None = None
    descriptions: dict[int | None, TextRef] = attrs.Factory(dict)
    comments: dict[int | None, tuple[TextRef, ...]] = attrs.Factory(dict)
    tags: dict[int | None, dict[str, str | None]] = attrs.Factory(dict)
    measured: dict[int | None, dict[str, Any]] = attrs.Factory(dict)

    def copy(self) -> Notes:
        """See `State.copy`."""
        return Notes(self.title, dict(self.descriptions), dict(self.comments), dict(self.tags), dict(self.measured))

    def note_loss(self) -> None:
        """See `State.note_loss`: a lost note leaves the others as they are."""


def _title(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > MAX_TITLE):
        raise ValueError(f"{shown(value)} is no title of at most {MAX_TITLE} characters")
    return value


def _tags(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not all(
        0 < len(k) <= MAX_TAG and (v is None or (isinstance(v, str) and len(v) <= MAX_TAG)) for k, v in value.items()
    ):
        raise ValueError(f"{shown(value)} are no tags")
    return value


def _metrics(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} are no metrics")  # noqa: TRY004  one error for every fault
    return value


@attrs.frozen
class Title(Op):
    """The title that people see; None takes it away. Names do not move, titles do."""

    op: ClassVar[str] = "title"
    title: str | None = attrs.field(default=None, converter=_title)

    def apply(self, state: Notes, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.title = self.title


@attrs.frozen
class Tag(Op):
    """Tags set, or with None taken away."""

    op: ClassVar[str] = "tag"
    tags: dict[str, str | None] = attrs.field(converter=_tags)
    number: int | None = attrs.field(default=None, converter=fields.maybe_number)

    def apply(self, state: Notes, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        # None stays: it also hides a tag that was given at the save
        state.tags[self.number] = {**state.tags.get(self.number, {}), **self.tags}


@attrs.frozen
class Measure(Op):
    """Metrics that came after the save."""

    op: ClassVar[str] = "measure"
    number: int = attrs.field(converter=fields.number)
    metrics: dict[str, Any] = attrs.field(converter=_metrics)

    def apply(self, state: Notes, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.measured[self.number] = {**state.measured.get(self.number, {}), **self.metrics}


@attrs.frozen
class Describe(Op):
    """A description, which replaces the one before; the text itself lies in `texts/`."""

    op: ClassVar[str] = "describe"
    text: str = attrs.field(converter=fields.digest)
    number: int | None = attrs.field(default=None, converter=fields.maybe_number)

    def apply(self, state: Notes, entry: Entry) -> None:
        """See `Op.apply`."""
        state.descriptions[self.number] = TextRef(entry.tx, self.text, entry.time, entry.actor)


@attrs.frozen
class Comment(Op):
    """A comment; the text itself lies in `texts/`."""

    op: ClassVar[str] = "comment"
    text: str = attrs.field(converter=fields.digest)
    number: int | None = attrs.field(default=None, converter=fields.maybe_number)

    def apply(self, state: Notes, entry: Entry) -> None:
        """See `Op.apply`."""
        said = TextRef(entry.tx, self.text, entry.time, entry.actor)
        state.comments[self.number] = (*state.comments.get(self.number, ()), said)


RULES = rules_of(Notes, Title, Tag, Measure, Describe, Comment)
