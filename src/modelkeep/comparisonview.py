"""A comparison to be looked at: rows for a frame, Markdown, and what a notebook shows. Made of values alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from modelkeep.codechange import is_other
from modelkeep.comparedparts import ComparedParts
from modelkeep.comparisonparts import DataChange
from modelkeep.judging import Judgement
from modelkeep.markdown import escaped
from modelkeep.markdown import table as text_table
from modelkeep.markup import code, readable, table, tag, view
from modelkeep.views.shapes import counted

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ROW = ("part", "name", "change", "before", "after", "difference")
_SHOWN = 30  # rows of one table; the frame has all of them
_LONGEST = 200  # characters of a cell
Cell = str | int | float | None


@attrs.frozen
class Section:
    """A table under a title, and text in a frame."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    texts: Sequence[tuple[str, str]] = ()
    note: str = ""


def rows(found: ComparedParts) -> list[tuple[Any, ...]]:
    """A row for each thing that differs, as `ROW` names the columns."""
    listed: list[tuple[Any, ...]] = []
    for part in ("params", "metrics", "form", "seeds"):
        listed += [
            (part, one.name, one.kind, one.before, one.after, getattr(one, "difference", None))
            for one in getattr(found, part)
        ]
    for one in found.data:
        sides = one.diff.rows if one.diff else (None, None)
        listed.append(("data", one.role, one.kind, *sides, _less(*sides)))
    listed += _rows_of_code(found)
    listed += [("environment", one.what, str(one.severity), one.then, one.now, None) for one in found.environment]
    listed += [("files", one.path, one.kind, *one.sizes, _less(*one.sizes)) for one in found.files]
    for tensor in found.tensors or ():
        listed.append(("tensors", tensor.name, tensor.kind, *map(_shape, tensor.shapes), tensor.relative))
    return listed


def _rows_of_code(found: ComparedParts) -> list[tuple[Any, ...]]:
    change = found.code
    pairs = (("commit", change.commits), ("dirty", change.dirty), ("function", change.functions))
    listed: list[tuple[Any, ...]] = [("code", name, "changed", *pair, None) for name, pair in pairs if is_other(pair)]
    if change.says in ("other", "wording"):
        listed.append(("code", "what the function says", change.says, None, None, None))
    return listed + [("code", one.name, one.kind, one.before, one.after, None) for one in change.calls]


def _less(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _shape(shape: tuple[int, ...] | None) -> str | None:
    return None if shape is None else " x ".join(map(str, shape)) or "one number"


def _cell(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None if value is None else f"{value}"[:_LONGEST]
    return value if math.isfinite(value) else str(value)


# -- sections ----------------------------------------------------------------------------------------------------------


def sections(found: ComparedParts) -> Iterator[Section]:
    """The parts that differ, as tables."""
    by_part: dict[str, list[tuple[Any, ...]]] = {}
    for part, *row in rows(found):
        by_part.setdefault(part, []).append(tuple(row))
    if found.judgement is not None:
        yield from _of_judgement(found.judgement)
    for part in ("metrics", "params", "data", "code", "environment", "form", "seeds", "files", "tensors"):
        listed = by_part.get(part, [])
        if part == "data":
            yield from _of_data(found.data)
        elif listed or (part == "code" and found.code):
            yield _of_part(found, part, listed)
    yield Section("Size", ["", found.before, found.after], list(_of_size(found)))


def _of_part(found: ComparedParts, part: str, listed: Sequence[Sequence[Any]]) -> Section:
    title, last = _TITLES[part]
    count = 5 if last else 4
    shown = [[_cell(one) for one in _with_none(row)[:count]] for row in listed[:_SHOWN]]
    more = f"and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    texts = list(found.code.diffs.items()) if part == "code" else []
    if part == "tensors" and found.tensors is not None:
        more = "; ".join(filter(None, [more, f"{counted(found.tensors.equal, 'tensor')} unchanged"]))
    return Section(title, ["", "change", found.before, found.after, *([last] if last else [])], shown, texts, more)


def _with_none(row: Sequence[Any]) -> list[Any]:
    """A side that is there and None says so; one that is not there stays empty."""
    name, kind, *sides, last = row
    there = (kind in ("gone", "changed"), kind in ("new", "changed"))
    shown = [str(side) if side is None and is_there else side for side, is_there in zip(sides, there, strict=True)]
    return [name, kind, *shown, last]


_TITLES = {
    "metrics": ("Metrics", "difference"),
    "params": ("Parameters", ""),
    "code": ("Code", ""),
    "environment": ("Environment", ""),
    "form": ("Model", ""),
    "seeds": ("Seeds", ""),
    "files": ("Files, in bytes", "difference"),
    "tensors": ("Tensors", "norm of the change by norm before"),
}


def _of_data(changes: Sequence[DataChange]) -> Iterator[Section]:
    if changes:
        listed = [[one.role, one.kind, str(one)] for one in changes]
        yield Section("Data", ["role", "change", ""], listed)
    drifts = [(one, name, one.diff.drift[name]) for one in changes if one.diff for name, _ in one.most_drifted[:5]]
    if drifts:
        head = ["role", "column", "PSI", "KS", "missing before", "missing after"]
        moved = [[one.role, name, drift.psi, drift.ks, *drift.nulls] for one, name, drift in drifts]
        yield Section("Drift", head, moved, note=drifts[0][0].source)


def _of_judgement(judged: Judgement) -> Iterator[Section]:
    head = ["metric", "before", "after", "difference", "from", "to", "p", "p, corrected"]
    listed = [
        [one.metric, one.before, one.after, one.difference, one.low, one.high, one.p, one.adjusted]
        for one in judged.metrics
    ]
    note = f"{judged.rows} rows, bootstrap of {judged.resamples} resamples, seed {judged.seed}; corrected after Holm"
    yield Section("On the holdout", head, [[_cell(one) for one in row] for row in listed], note=note)
    if judged.flips is not None:
        flips = judged.flips
        flipped = [[flips.better, flips.worse, flips.p, flips.adjusted]]
        yield Section("Flips", ["wrong, now right", "right, now wrong", "p, McNemar", "p, corrected"], flipped)
    if judged.slices:
        head = ["rows with", "count", "before", "after", "difference", "from", "to", "p, corrected"]
        worst = [
            [str(one), one.rows, one.before, one.after, one.difference, one.low, one.high, one.adjusted]
            for one in judged.slices
        ]
        yield Section("Worst slices", head, [[_cell(one) for one in row] for row in worst])


def _of_size(found: ComparedParts) -> Iterator[Sequence[Cell]]:
    yield ["bytes", *found.sizes]
    if found.loads is not None:
        yield [f"seconds of a load on {found.loads.host}", found.loads.before, found.loads.after]


# -- forms -------------------------------------------------------------------------------------------------------------


def summary(found: ComparedParts) -> str:
    """One line: what was compared, and how much of each part differs."""
    counts = [(part, len(getattr(found, part) or ())) for part in ("params", "metrics", "data", "environment", "files")]
    counts.append(("tensors", len(found.tensors or ())))
    words = [f"{part} {count}" for part, count in counts if count] + (["code"] if found.code else [])
    return f"{found.before} -> {found.after}: {', '.join(words) or 'no difference'}"


def markdown(found: ComparedParts) -> str:
    """Tables under headings; sources that differ in fences that they cannot close."""
    lines = [f"# {escaped(found.before)} to {escaped(found.after)}", ""]
    for section in sections(found):
        lines += [f"## {section.title}", ""]
        lines += [text_table(section.head, [map(_text, row) for row in section.rows]), ""] if section.rows else []
        for name, text in section.texts:
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            lines += [escaped(name), "", f"{fence}diff", readable(text), fence, ""]
        lines += [escaped(section.note), ""] if section.note else []
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    return "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def html(found: ComparedParts) -> str:
    """What a notebook shows."""
    return view(tag("h2", f"{found.before} to {found.after}"), elements(found))


def elements(found: ComparedParts) -> list[Element]:
    """The parts that differ, each as a section."""
    return [_shown(section) for section in sections(found)]


def _shown(section: Section) -> Element:
    return tag(
        "div",
        tag("h3", section.title),
        table(section.head, section.rows) if section.rows else None,
        [tag("details", tag("summary", name), code(text)) for name, text in section.texts],
        tag("p", section.note, class_="soft") if section.note else None,
    )
