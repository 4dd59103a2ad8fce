"""The sections of a report that tell what made a version: data, code and environment; None where nothing was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelkeep import markup
from modelkeep.code import Code
from modelkeep.dataset import DatasetFacts
from modelkeep.environment import Environment
from modelkeep.markup import Child, tag
from modelkeep.report.tables import MOST_TEXT, coded, cut, notes, rows
from modelkeep.telling import Told, load_snippet
from modelkeep.views.dataset import columns
from modelkeep.views.shapes import folded

_MOST_SOURCES = 100_000  # characters of all texts of code
_COMMITTED = {True: "something", False: "nothing", None: None}


def data(told: Told) -> Child:
    """The data that it was made from: schema and profile of each."""
    sources = told.sources
    return [_dataset(role, sources[role], facts) for role, facts in told.version.data.items()] or None


def _dataset(role: str, source: str, facts: DatasetFacts) -> Child:
    known: dict[str, Child] = {
        "kind": facts.kind,
        "from": cut(source) or None,
        "rows": None if facts.rows is None else f"{facts.rows:,}",
        "columns": None if facts.columns is None else f"{facts.columns:,}",
        "bytes": None if facts.size is None else f"{facts.size:,}",
        "fingerprint": "unknown" if facts.fingerprint is None else coded(facts.fingerprint),
        "notes": notes(facts.notes),
    }
    return [tag("h3", cut(role)), markup.facts(known), columns(facts)]


def code(told: Told) -> Child:
    """The code that made it."""
    found = told.version.code
    if found is None:
        return None
    texts = {"source of the function": found.function.source if found.function else None}
    texts |= {"not committed, as a diff": found.diff}
    texts |= {f"cell {cell.number}": cell.text for cell in found.cells}
    texts |= {file.path: file.text for file in found.files}
    return [markup.facts(_code(found)), _texts(texts)]


def _code(found: Code) -> dict[str, Child]:
    function = found.function
    return {
        "commit": coded(found.commit),
        "branch": _maybe_cut(found.branch),
        "repository": _maybe_cut(found.remote),
        "not committed": cut(", ".join(found.changed)) or _COMMITTED[found.dirty],
        "function": _maybe_cut(function.name) if function else None,
        "file": _maybe_cut(function.file) if function else None,
        "digest of what it says": coded(function.digest) if function else None,
        "not known": notes(found.notes),
    }


def _maybe_cut(text: str | None) -> str | None:
    return None if text is None else cut(text)


def _texts(named_texts: Mapping[str, str | None]) -> Iterator[Child]:
    left = _MOST_SOURCES
    for name, text in named_texts.items():
        if text and left > 0:
            yield folded(cut(name), markup.code(cut(text, min(MOST_TEXT, left))))
            left -= len(text)
        elif text:
            yield tag("p", f"{cut(name)}: {len(text):,} characters, not shown", class_="soft")
            return


def environment(told: Told) -> Child:
    """Python, the distributions, and how to have them again."""
    found = told.version.environment
    if found is None:
        own = [("python", told.version.record.python), *told.version.record.packages.items()]
        return rows(["of the serializer", "version"], own)
    made = found.made
    others = [[one.name, one.version] for one in made.distributions.values() if not one.loaded]
    return [
        markup.facts(_platform(made)),
        tag("p", "The same again, in a folder of its own:"),
        markup.code(load_snippet(told.version, then='registry.get({ref}).environment.create(".venv")')),
        rows(["loaded", "version"], [[one.name, one.version] for one in made.loaded]),
        folded(f"{len(others):,} installed and not loaded", rows(["installed", "version"], others)) if others else None,
        folded("requirements.txt", markup.code(cut(found.requirements(), MOST_TEXT))),
    ]


def _platform(made: Environment) -> dict[str, Child]:
    return {
        "python": f"{made.implementation} {made.python}",
        "system": " ".join(text for text in (made.os or made.system, made.machine) if text) or None,
        "C library": made.libc,
        "CUDA": made.cuda,
        "lock": f"{made.lock.name} {made.lock.digest}" if made.lock else None,
        "not known": notes(made.unknown),
    }
