"""Which versions of a line the policy lets go: what the rules ask is looked up, the rules themselves are pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from modelkeep._line import Line
from modelkeep.folds.releases import Releases
from modelkeep.manifest import parse_record
from modelkeep.packs import read_manifest
from modelkeep.retention import Retention, judge
from modelkeep.values import mapping_from_json
from modelkeep.version import Record

_ANY_TIME = datetime.max.replace(tzinfo=UTC)


def let_go(line: Line, retention: Retention | None, state: Releases, now: Callable[[], datetime]) -> dict[int, str]:
    """The versions that go by *retention* as `releases` stands, each with why.

    A rule about tags, or about metrics that are too many for the entries, reads the manifests of the versions that no
    other rule keeps.

    Args:
        line: read.
        retention: the rules; None: nothing goes.
        state: of `releases`.
        now: the store's time, asked for only where a rule goes by age.
    """
    if retention is None or not line.versions.state.lines:
        return {}
    if retention.needs_tags:
        line.notes.refresh()
    return judge(
        retention,
        line.versions.state,
        state,
        now=now() if retention.by_age else _ANY_TIME,
        tags=partial(_tags, line),
        metrics=partial(_metrics, line),
    )


def _tags(line: Line, number: int) -> dict[str, str]:
    later = line.notes.state.tags.get(number, {})
    return {name: text for name, text in {**_record(line, number).tags, **later}.items() if text is not None}


def _metrics(line: Line, number: int) -> Mapping[str, Any]:
    kept = line.line(number).made.metrics
    found: Mapping[str, Any] = _record(line, number).metrics if kept is None else mapping_from_json(kept)
    return found


def _record(line: Line, number: int) -> Record:
    at = line.line(number).at
    manifest = line.recent.get(at) or read_manifest(line.home.store, line.name, at)[0]
    return parse_record(manifest.record)
