"""What a collection tells: which versions and objects go, why, and what was left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from modelkeep.markup import Child, table, tag, view

_MAX_SHOWN = 50  # rows of each table in a notebook


@attrs.frozen
class Purged:
    """A version that a rule lets go.

    Args:
        name: the model.
        number: the version.
        reason: by what rule, in words.
    """

    name: str
    number: int
    reason: str


@attrs.frozen
class Dropped:
    """A draft, such as a failed run, that expired.

    Args:
        name: the model.
        id: of the draft.
        reason: why it goes, in words.
    """

    name: str
    id: str
    reason: str


@attrs.frozen
class Removal:
    """An object that goes, or that was left although no version needs it.

    Args:
        key: the object; of an unfinished write, what it would have become.
        kind: ``pack`` (of versions that were purged or moved, and of failed runs that were dropped), ``upload`` (that
            no version names), ``unfinished`` (a temporary file, or a multipart upload) or ``probe``; of what was left
            also ``model``, ``erasure`` and ``draft``.
        reason: why it goes, or why it was left.
        bytes: its size.
    """

    key: str
    kind: str
    reason: str
    bytes: int


@attrs.frozen
class Collection:
    """What a collection removed, or would remove.

    Args:
        dry_run: whether nothing was done.
        purged: the versions that were let go.
        removals: the objects that went.
        left: what no version needs and was left all the same; a later collection takes it.
        bytes: of all removals.
        dropped: the failed runs that expired and were let go.
    """

    dry_run: bool
    purged: tuple[Purged, ...]
    removals: tuple[Removal, ...]
    left: tuple[Removal, ...]
    bytes: int
    dropped: tuple[Dropped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts and lists, for JSON or a table."""
        return attrs.asdict(self)

    def _repr_html_(self) -> str:
        goes = "would go" if self.dry_run else "went"
        runs = f", {len(self.dropped):,} failed runs" if self.dropped else ""
        count = f"{len(self.purged):,} versions{runs} and {len(self.removals):,} objects ({self.bytes:,} bytes) {goes}"
        purged = [(f"{one.name}:{one.number}", one.reason) for one in self.purged]
        dropped = [(f"{one.name}~{one.id}", one.reason) for one in self.dropped]
        removed = [(one.key, one.kind, one.bytes, one.reason) for one in self.removals]
        left = [(one.key, one.kind, one.bytes, one.reason) for one in self.left]
        columns = ("object", "kind", "bytes", "why")
        return view(
            tag("p", count),
            _shown(("version", "why"), purged, "versions"),
            _shown(("failed run", "why"), dropped, "failed runs"),
            _shown(columns, removed, "objects"),
            _shown(columns, left, "left, though no version needs it"),
        )


def _shown(head: Sequence[str], rows: Sequence[Sequence[Child]], caption: str) -> Child:
    more = f"and {len(rows) - _MAX_SHOWN:,} more: to_dict()"
    left = tag("p", more, class_="soft") if len(rows) > _MAX_SHOWN else None
    return [table(head, rows[:_MAX_SHOWN], caption=caption), left] if rows else None
