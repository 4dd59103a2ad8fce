"""What can differ between two versions, part by part: values that are empty, and false, where nothing does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from modelkeep.capture.frames.differing import DatasetDiff
from modelkeep.capture.frames.sketching import Overlap
from modelkeep.version import FileFacts

Kind = Literal["new", "gone", "changed"]


@attrs.frozen
class Change:
    """One thing by name that differs.

    Args:
        name: what it is called.
        kind: ``new``, ``gone`` or ``changed``.
        before: its value in the one; None where it is new.
        after: its value in the other; None where it is gone.
    """

    name: str
    kind: Kind
    before: Any = None
    after: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a side that is not there is left out."""
        sides = {"before": self.before} if self.kind != "new" else {}
        sides |= {"after": self.after} if self.kind != "gone" else {}
        return {"name": self.name, "kind": self.kind, **sides}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """What of *before* is otherwise in *after*, in the order of *after*.

    Example:
        >>> changes({"depth": None, "C": 1.0}, {"depth": 12, "C": 1})
        (Change(name='depth', kind='changed', before=None, after=12),)
    """
    now = [
        Change(name, "changed", before[name], value) if name in before else Change(name, "new", after=value)
        for name, value in after.items()
        if name not in before or not is_same(before[name], value)
    ]
    return (*now, *(Change(name, "gone", value) for name, value in before.items() if name not in after))


def is_same(first: Any, second: Any) -> bool:
    """Whether two recorded values are equal: NaN is NaN, 1 is 1.0, and True is not 1.

    Example:
        >>> is_same({"a": [float("nan"), 1]}, {"a": (float("nan"), 1.0)}), is_same(True, 1)
        (True, False)
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(is_same(first[name], second[name]) for name in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(is_same, first, second))
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    return bool(first == second or (first != first and second != second))  # noqa: PLR0124  not a number


@attrs.frozen
class MetricChange(Change):
    """One metric that differs; see `Change`."""

    @property
    def difference(self) -> float | None:
        """After less before; None where one is not there, or the difference is no number."""
        if self.kind != "changed":
            return None
        found = float(self.after) - float(self.before)
        return found if found == found else None  # noqa: PLR0124  not a number

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return super().to_dict() | {"difference": self.difference}


def metric_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[MetricChange, ...]:
    """The same as `changes`, of metrics.

    Example:
        >>> metric_changes({"auc": 0.5}, {"auc": 0.75})[0].difference
        0.25
    """
    return tuple(MetricChange(one.name, one.kind, one.before, one.after) for one in changes(before, after))


# -- data ------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class DataChange:
    """The data of one role, where it is other data.

    Args:
        role: such as ``train``.
        kind: ``new``, ``gone``, ``changed``, or ``unknown`` where nothing tells whether it is the same.
        names: the datasets, such as ``sales:3``, before and after; None for what was given as it is.
        diff: rows, columns and drift; None where there is nothing to compare.
        shared: how many of the rows of now were there before; None where that cannot be told.
        source: what tells it.
    """

    role: str
    kind: Literal["new", "gone", "changed", "unknown"]
    names: tuple[str | None, str | None] = (None, None)
    diff: DatasetDiff | None = None
    shared: Overlap | None = None
    source: str = ""

    def __str__(self) -> str:
        diff = self.diff
        if diff is None or self.kind != "changed":
            return {"new": "recorded now alone", "gone": "recorded before alone"}.get(self.kind, "other data")
        words = [
            _named("new column", diff.columns_added),
            _named("column gone", diff.columns_removed),
            _named("column of another type", tuple(diff.columns_retyped)),
        ]
        if diff.rows[0] != diff.rows[1]:
            words.append(f"rows from {diff.rows[0]} to {diff.rows[1]}")
        if self.shared is not None and self.shared.share < 1:
            words.append(f"{1 - self.shared.share:.0%} of the rows are new")
        if self.most_drifted and self.most_drifted[0][1] >= 0.1:  # noqa: PLR2004  below it is read as stable
            name, psi = self.most_drifted[0]
            words.append(f"{name!r} drifted most (PSI {psi:.2f})")
        return "; ".join(word for word in words if word) or "other values"

    @property
    def is_reshaped(self) -> bool:
        """Whether a column is new, gone, or of another type."""
        diff = self.diff
        return diff is not None and bool(diff.columns_added or diff.columns_removed or diff.columns_retyped)

    @property
    def most_drifted(self) -> list[tuple[str, float]]:
        """The columns that moved, by their population stability index, the most first."""
        moved = [(name, drift.psi) for name, drift in (self.diff.drift if self.diff else {}).items() if drift.psi > 0]
        return sorted(moved, key=lambda row: (-row[1], row[0]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = {"role": self.role, "kind": self.kind, "names": list(self.names), "source": self.source}
        shared = None if self.shared is None else attrs.asdict(self.shared)
        return plain | {"shared": shared, "diff": None if self.diff is None else _plain(attrs.asdict(self.diff))}


def _named(what: str, names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004  what fits on a line
    return f"{what} {', '.join(names[:3])}{more}"


def _plain(value: Any) -> Any:
    """Lists for tuples, so that it is what JSON gives back."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


# -- files and loads -------------------------------------------------------------------------------------------------


@attrs.frozen
class FileChange:
    """One file that differs: ``new``, ``gone`` or ``changed``, and its size in bytes, before and after."""

    path: str
    kind: Kind
    sizes: tuple[int | None, int | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return attrs.asdict(self) | {"sizes": list(self.sizes)}


def file_changes(before: tuple[FileFacts, ...], after: tuple[FileFacts, ...]) -> tuple[FileChange, ...]:
    """The files that have other bytes, or are in one alone.

    Example:
        >>> file_changes((), (FileFacts("w.npy", 8, "0" * 64),))
        (FileChange(path='w.npy', kind='new', sizes=(None, 8)),)
    """
    old, new = ({file.path: file for file in side} for side in (before, after))
    found = changes(
        {path: file.digest for path, file in old.items()}, {path: file.digest for path, file in new.items()}
    )

    def size(side: Mapping[str, FileFacts], path: str) -> int | None:
        return side[path].size if path in side else None

    return tuple(FileChange(one.name, one.kind, (size(old, one.name), size(new, one.name))) for one in found)


@attrs.frozen(kw_only=True)
class LoadTimes:
    """How long a load takes, of this machine alone.

    Args:
        before: seconds, the median of *loads*.
        after: likewise.
        loads: of each version, turn about, after one that was not counted.
        host: the machine.
    """

    before: float
    after: float
    loads: int
    host: str
