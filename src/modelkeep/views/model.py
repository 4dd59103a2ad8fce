"""What a notebook shows of a model: its versions over time, and where its aliases stood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelkeep._line import Line
from modelkeep.folds import versions
from modelkeep.folds.releases import alias_moves
from modelkeep.markup import Child, tag
from modelkeep.values import mapping_from_json
from modelkeep.views.shapes import attempted, badges, bounded, clipped, counted, moment, quoted, safely, size, spelled
from modelkeep.views.timeline import Step, timeline

MAX_VERSIONS = 20
MAX_MOVES = 10
MAX_METRICS = 5  # columns; `versions().to_pandas()` has all


def model_html(name: str, find: Callable[[], Line]) -> str:
    """The versions of a model, newest first, the moves of its aliases, and both as a timeline. No manifest is read.

    Three GETs when warm, and a cold read of `releases`.

    Args:
        name: of the model.
        find: gives its line.
    """
    return safely(f"the model {name}", lambda: _model(find()))


def _model(line: Line) -> Child:
    line.read()
    return [
        tag("h3", f"Model {line.name}"),
        attempted("the title", lambda: _title(line)),
        tag("p", _said(line), class_="soft"),
        attempted("the moves of aliases", lambda: _moved(line)),
        _versions(line),
    ]


def _title(line: Line) -> Child:
    line.notes.refresh()
    title = line.notes.state.title
    return tag("p", clipped(title)) if title else None


def _said(line: Line) -> str:
    made, deleted = line.versions.state, len(line.releases.state.deleted)
    gone = f", {deleted:,} of them deleted" if deleted else ""
    return f"{counted(len(made.lines), 'version')}{gone}{'' if made.is_open else '; closed: it takes no saves'}"


# -- versions ----------------------------------------------------------------------------------------------------------


def _versions(line: Line) -> Child:
    made, used = line.versions.state, line.releases.state
    alive = [number for number in reversed(made.lines) if number not in used.deleted]
    known = {number: made.lines[number] for number in alive[:MAX_VERSIONS]}
    metrics = {number: _metrics(one) for number, one in known.items()}
    chosen = _chosen(metrics.values())
    rows = [
        [
            number,
            one.label,
            *(spelled(metrics[number].get(name)) for name in chosen),
            size(one.made.size),
            clipped(one.actor),
            moment(one.time),
            badges(used.aliases_of(number)),
        ]
        for number, one in known.items()
    ]
    head = ("version", "label", *chosen, "size", "author", "saved (UTC)", "aliases")
    rest = f"registry.model({quoted(line.name)}).versions()"
    return bounded(head, rows, len(alive), rest=rest) if rows else None


def _metrics(known: versions.Line) -> Mapping[str, Any]:
    """The metrics that the journal tells; those of more than 16 KiB lie in the record, which is not read for this."""
    return mapping_from_json(known.made.metrics or {})


def _chosen(told: Iterable[Mapping[str, Any]]) -> list[str]:
    """The metrics that most versions have."""
    return [name for name, _ in Counter(name for metrics in told for name in metrics).most_common(MAX_METRICS)]


# -- aliases -----------------------------------------------------------------------------------------------------------


def _moved(line: Line) -> Child:
    moves = moves_of(line)
    saves = [Step(one.time, number) for number, one in line.versions.state.lines.items()]
    newest = moves[: -MAX_MOVES - 1 : -1]
    rows = [[moment(move.time), move.alias, move.how, move.number, clipped(move.actor)] for move in newest]
    head = ("moved (UTC)", "alias", "how", "to version", "by")
    rest = f"registry.model({quoted(line.name)}).history()"
    table = bounded(head, rows, len(moves), rest=rest) if rows else None
    return [timeline(saves, moves), table]


def moves_of(line: Line) -> list[Step]:
    """Every move of every alias, oldest first. Costs a cold read of `releases`."""
    return [
        Step(entry.time, number, alias, how, entry.actor)
        for entry, _, void in line.releases.replay()
        if not void
        for alias, how, number in alias_moves(entry.ops)
    ]
