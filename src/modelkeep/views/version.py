"""What a notebook shows of a version: facts, what was measured, what made it, and how to load it."""

from __future__ import annotations

from typing import Any

from modelkeep._line import Line
from modelkeep.madeby import Made
from modelkeep.markup import Child, code, facts, tag
from modelkeep.usable import UsableVersion
from modelkeep.values import mapping_from_json
from modelkeep.version import Record
from modelkeep.views.shapes import (
    MAX_ROWS,
    attempted,
    badges,
    bounded,
    clipped,
    folded,
    named,
    quoted,
    safely,
    size,
    spelled,
    unread,
    when,
)

MAX_TEXT = 20_000  # characters of notes or of a function
_MAX_LOADED = 40  # distributions that are named


def version_html(version: UsableVersion, line: Line) -> str:
    """A version. One request for its record, once, and two GETs for what was moved and said since.

    Args:
        version: what it is.
        line: of its model.
    """
    return safely(version.ref, lambda: _version(version, line))


def _version(version: UsableVersion, line: Line) -> Child:
    stale = [attempted("what is in use", line.releases.refresh), attempted("what was said", line.notes.refresh)]
    try:
        record: Record | None = version.record
        missing = None
    except Exception as error:  # noqa: BLE001  of what is purged or out of reach, the journal still tells some
        record, missing = None, unread("what was recorded", error)
    return [
        tag("h3", str(version), " ", _state(version, line)),
        stale,
        missing,
        facts(_facts(version) | ({} if record is None else _recorded(record, line, version.number))),
        attempted("the metrics", lambda: _metrics(version, line)),
        attempted("the parameters", lambda: _params(version)),
        None if record is None else made(version),
        code(f"registry.load({quoted(version.ref)})"),
    ]


def _state(version: UsableVersion, line: Line) -> Child:
    used, number = line.releases.state, version.number
    bad = [word for word, numbers in (("purged", used.purged), ("deleted", used.deleted)) if number in numbers]
    held = ["held"] if number in used.held else []
    return [badges(used.aliases_of(number), "good"), badges(bad, "bad"), badges(held)]


def _facts(version: UsableVersion) -> dict[str, Child]:
    """What the journal tells."""
    return {
        "digest": version.digest,
        "saved": f"{when(version.created)} UTC by {clipped(version.author)}",
        "size": size(version.size),
    }


def _recorded(record: Record, line: Line, number: int) -> dict[str, Child]:
    """What the record tells, and the tags since."""
    tags = {**record.tags, **line.notes.state.tags.get(number, {})}
    there = [clipped(f"{name}: {text}") for name, text in tags.items() if text is not None]
    return {
        "type": f"{clipped(record.type)}, {record.serializer}" + (f", {record.tier} tier" if record.tier else ""),
        "from": badges(str(parent) for parent in record.parents) or None,
        "tags": badges(there) or None,
        "notes": clipped(record.notes, MAX_TEXT) or None,
    }


def _params(version: UsableVersion) -> Child:
    return folded("Parameters", named(version.params, ("parameter", "value")), unfolded=True)


def _metrics(version: UsableVersion, line: Line) -> Child:
    saved = version.metrics
    since = mapping_from_json(line.notes.state.measured.get(version.number, {}))
    names = list(dict.fromkeys([*saved, *since]))
    rows = [[clipped(name), spelled(saved.get(name)), spelled(since.get(name))] for name in names[:MAX_ROWS]]
    if not since:
        rows = [row[:2] for row in rows]
    head = ("metric", "at the save", "since")[: 3 if since else 2]
    return folded("Metrics", bounded(head, rows, len(names)), unfolded=True) if rows else None


# -- what made it ------------------------------------------------------------------------------------------------------


def made(version: Made) -> Child:
    """The data, the code and the environment, each folded, or with the reason why it cannot be read."""
    return [
        attempted("the data", lambda: folded("Data", _data(version))),
        attempted("the code", lambda: folded("Code", _code(version))),
        attempted("the environment", lambda: folded("Environment", _environment(version))),
    ]


def _data(version: Made) -> Child:
    known = version.data
    if not known:
        return None
    sources = _references(version.record.made.get("data", []))
    rows = [
        [clipped(role), sources.get(role), one.kind, one.rows, one.columns, one.fingerprint]
        for role, one in list(known.items())[:MAX_ROWS]
    ]
    return bounded(("role", "dataset", "kind", "rows", "columns", "fingerprint"), rows, len(known))


def _references(listed: Any) -> dict[str, str]:
    """The dataset of the registry that each role names."""
    named_by = {str(one.get("role", place)): one.get("dataset") for place, one in enumerate(listed)}
    return {role: clipped(text) for role, text in named_by.items() if isinstance(text, str)}


def _code(version: Made) -> Child:
    found = version.code
    if found is None:
        return None
    dirty = ", with changes that were not committed" if found.dirty else ""
    function = found.function
    known = {
        "function": None if function is None else clipped(function.name),
        "file": None if function is None or function.file is None else clipped(function.file),
        "commit": None if found.commit is None else f"{found.commit}{dirty}",
        "branch": None if found.branch is None else clipped(found.branch),
        "repository": None if found.remote is None else clipped(found.remote),
    }
    source = None if function is None or function.source is None else code(clipped(function.source, MAX_TEXT))
    return [facts(known), source]


def _environment(version: Made) -> Child:
    found = version.environment
    if found is None:
        return None
    made = found.made
    loaded = [f"{one.name} {one.version}" for one in made.loaded]
    more = f" and {len(loaded) - _MAX_LOADED} more" if len(loaded) > _MAX_LOADED else ""
    known = {
        "Python": f"{made.python} ({made.implementation})",
        "platform": " ".join(word for word in (made.system, made.machine) if word) or None,
        "loaded": (", ".join(loaded[:_MAX_LOADED]) + more) or None,
        "installed": f"{len(made.distributions):,} distributions",
    }
    return facts(known)
