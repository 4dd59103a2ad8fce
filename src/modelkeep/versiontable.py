"""`VersionTable`: several versions side by side; which is best is marked only where it was said what is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from modelkeep.errors import InvalidValueError, shown
from modelkeep.usable import UsableVersion

Better = Mapping[str, Literal["max", "min"]]


@attrs.frozen(kw_only=True)
class VersionRow:
    """One version of a table.

    Args:
        ref: its reference.
        label: its semantic version, if it has one.
        params: parameters.
        metrics: metrics given at the save.
        rows: of its data, by role, where they are known.
        size: of its files, in bytes.
    """

    ref: str
    label: str | None
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    rows: Mapping[str, int]
    size: int

    @classmethod
    def of(cls, version: UsableVersion) -> VersionRow:
        """What a version says of itself. One request, once."""
        listed = version.record.made.get("data", [])
        rows = {str(one.get("role", place)): one["rows"] for place, one in enumerate(listed) if "rows" in one}
        return cls(
            ref=version.ref,
            label=version.label,
            params=version.params,
            metrics=version.metrics,
            rows=rows,
            size=version.size,
        )

    def to_dict(self) -> dict[str, Any]:
        """One flat row, with names such as ``params.depth``."""
        named = {"params": self.params, "metrics": self.metrics, "rows": self.rows}
        flat = {f"{part}.{name}": value for part, values in named.items() for name, value in values.items()}
        return {"version": self.ref, "label": self.label, **flat, "size": self.size}


@attrs.frozen
class VersionTable:
    """Several versions, with what each says of itself.

    Args:
        versions: in the order in which they were asked for.
        better: of which metric the greatest is best, and of which the least.
    """

    versions: tuple[VersionRow, ...]
    better: Better = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.versions)

    def __iter__(self) -> Iterator[VersionRow]:
        return iter(self.versions)

    @property
    def best(self) -> dict[str, tuple[str, ...]]:
        """The references of the best by each metric of `better`; several if they are equal. NaN is never best."""
        found = {}
        for metric, which in self.better.items():
            known = {row.ref: row.metrics[metric] for row in self.versions if metric in row.metrics}
            known = {ref: value for ref, value in known.items() if not (isinstance(value, float) and math.isnan(value))}
            top = (max if which == "max" else min)(known.values(), default=None)
            found[metric] = tuple(ref for ref, value in known.items() if value == top)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        best = {metric: list(refs) for metric, refs in self.best.items()}
        return {"versions": [row.to_dict() for row in self.versions], "best": best}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each version.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame([row.to_dict() for row in self.versions])

    def to_markdown(self) -> str:
        """A table with a column for each version; the best of a metric stand in bold."""
        from modelkeep.markdown import escaped

        head, *lines = self._grid()
        texts = [["", *map(escaped, head[1:])], ["---"] * len(head)]
        for name, *cells in lines:
            best = self._is_best(name)
            said = [escaped(_text(cell)) for cell in cells]
            marked = [f"**{one}**" if is_best and one else one for one, is_best in zip(said, best, strict=True)]
            texts.append([escaped(name), *marked])
        return "".join("| " + " | ".join(line) + " |\n" for line in texts)

    def _repr_html_(self) -> str:
        from modelkeep.markup import table, tag, view

        head, *lines = self._grid()
        rows = []
        for name, *cells in lines:
            marks = zip(cells, self._is_best(name), strict=True)
            rows.append([name, *(tag("strong", _text(cell), class_="good") if best else cell for cell, best in marks)])
        return view(table(head, rows))

    def _grid(self) -> list[list[Any]]:
        """A head of references, and a line for each fact."""
        rows = [row.to_dict() for row in self.versions]
        names = dict.fromkeys(name for row in rows for name in row if name not in ("version", "size"))
        kept = [name for name in [*names, "size"] if any(row.get(name) is not None for row in rows)]
        head = ["", *(row["version"] for row in rows)]
        return [head, *([name, *(_cell(row.get(name)) for row in rows)] for name in kept)]

    def _is_best(self, name: str) -> list[bool]:
        refs = self.best.get(name.removeprefix("metrics."), ()) if name.startswith("metrics.") else ()
        return [row.ref in refs for row in self.versions]


def _cell(value: Any) -> Any:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return value
    return "" if value is None else value if isinstance(value, float) and math.isfinite(value) else str(value)


def _text(cell: Any) -> str:
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def table_of(versions: Iterable[UsableVersion], better: Better | None) -> VersionTable:
    """Versions side by side; see `modelkeep.RegisteredModel.compare`.

    Raises:
        InvalidValueError: there is none, or *better* is no mapping of metrics to ``max`` and ``min``.
    """
    rows = tuple(map(VersionRow.of, versions))
    said = dict(better or {}) if isinstance(better, (Mapping, type(None))) else {"": better}
    if wrong := {name: which for name, which in said.items() if which not in ("max", "min")}:
        raise InvalidValueError(f"better={shown(wrong):.200} says neither 'max' nor 'min'", key="better")
    known = {name for row in rows for name in row.metrics}
    if unknown := sorted(set(said) - known):
        raise InvalidValueError(
            f"better= names {', '.join(unknown)}, and these versions have {', '.join(sorted(known)) or 'no metrics'}",
            key="better",
        )
    if not rows:
        raise InvalidValueError("there is nothing to compare; name some versions, as in compare(6, 7)", key="refs")
    return VersionTable(rows, said)
