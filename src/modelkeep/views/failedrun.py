"""What a notebook shows of a failed run: why it failed, what was known by then, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping

from modelkeep.madeby import Made
from modelkeep.markup import Child, code, facts, tag
from modelkeep.views.shapes import attempted, badges, clipped, folded, named, safely, when
from modelkeep.views.version import MAX_TEXT, made


def failed_run_html(run: Made, name: str, known: Mapping[str, Child]) -> str:
    """A failed run. One request for its record, once; its curves are not read.

    Args:
        run: what it is.
        name: of its model.
        known: what the journal alone tells of failed runs.
    """
    return safely(run.ref, lambda: _failed_run(run, name, known))


def _failed_run(run: Made, name: str, known: Mapping[str, Child]) -> Child:
    return [
        tag("h3", f"Failed run of {name}"),
        facts({"failed": f"{when(run.created)} UTC by {clipped(run.author)}", **known}),
        attempted("what was recorded", lambda: _recorded(run)),
    ]


def _recorded(run: Made) -> Child:
    record = run.record
    failure = record.made.get("failure", {})
    trace = str(failure.get("traceback", ""))
    tags = [clipped(f"{key}: {text}") for key, text in record.tags.items()]
    said = {
        "versions before": badges(map(str, failure.get("versions", ()))) or None,
        "tags": badges(tags) or None,
        "notes": clipped(record.notes, MAX_TEXT) or None,
    }
    return [
        tag("p", clipped(str(failure.get("error", ""))), class_="bad"),
        facts(said),
        folded("Traceback", code(clipped(trace, MAX_TEXT)) if trace else None, unfolded=True),
        folded("Metrics", named(record.metrics, ("metric", "by then")), unfolded=True),
        folded("Parameters", named(record.params, ("parameter", "value")), unfolded=True),
        made(run),
    ]
