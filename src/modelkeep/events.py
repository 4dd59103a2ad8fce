"""`Event`: what a journal tells, in the words of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from modelkeep._line import Line
from modelkeep.entry import Entry
from modelkeep.evidence import Check
from modelkeep.folds import releases
from modelkeep.journal import Journal
from modelkeep.system import parse_time

_SUBJECTS = ("alias", "label", "id", "kind", "title")


@attrs.frozen
class Event:
    """Something that happened to a model.

    Args:
        time: when, by the clock of who did it.
        actor: who did it.
        action: the operation, such as ``create``, ``promote``, ``rollback``.
        version: the version concerned, or None.
        subject: the alias, label, failed run or kind of variant concerned, the names of tags or metrics, or those who
            were asked for a review; or empty.
        text: the reason, description or comment, or by what rule a version was purged; None if there is none or it
            was erased.
        journal: the journal that tells it; the order within one journal is certain, between two it is by time.
        entry: the number of the entry there.
        evidence: of ``promote`` and ``refuse``, what the policy asked and what was found; None if it asked nothing.
    """

    time: datetime
    actor: str
    action: str
    version: int | None
    subject: str
    text: str | None
    journal: str
    entry: int
    evidence: Check | None = None

    def __str__(self) -> str:
        subject = f" {self.subject}" if self.subject else ""
        version = f" version {self.version}" if self.version else ""
        found = f": {self.evidence.summary}" if self.evidence is not None else ""
        return f"{self.time:%Y-%m-%d %H:%M} {self.actor}: {self.action}{version}{subject}{found}"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; of the evidence what is kept in the entry, and whether all gates passed."""
        return {
            **attrs.asdict(self, recurse=False),
            "evidence": None if self.evidence is None else _kept(self.evidence),
        }


def _kept(check: Check) -> dict[str, Any]:
    told = check.to_dict()
    words = ("said", "seconds")
    findings = [{key: value for key, value in one.items() if key not in words} for one in told["findings"]]
    return {**{key: told[key] for key in ("ok", "policy", "digest", "holder", "risk")}, "findings": findings}


def events_of(line: Line, name: str, journal: Journal[Any]) -> list[tuple[str, Event]]:
    """The events of a journal, each with the latest time so far: a slow clock cannot turn its order around.

    Costs a cold read of the journal, and one of each text.
    """
    events = []
    latest = ""
    for entry, _, void in journal.replay():
        latest = max(latest, entry.time)
        events += [(latest, event) for event in ([] if void else _told(line, name, entry))]
    return events


def _told(line: Line, name: str, entry: Entry) -> Iterator[Event]:
    for op in entry.ops:
        yield Event(
            parse_time(entry.time),
            entry.actor,
            op.get("how", op["op"]),
            op.get("number"),
            _subject(op, name),
            _text(line, entry, op),
            name,
            entry.number,
            Check.from_entry(f"{line.name}:{op.get('number')}", str(op.get("alias")), op.get("evidence")),
        )


def _subject(op: Mapping[str, Any], name: str) -> str:
    named = next((op[key] for key in _SUBJECTS if op.get(key)), None)
    if named:
        return str(named)
    listed = op.get("reviewers") or (name == "notes" and (op.get("tags") or op.get("metrics")))
    return ", ".join(map(str, listed)) if isinstance(listed, (dict, list)) else ""


def _text(line: Line, entry: Entry, op: Mapping[str, Any]) -> str | None:
    said = op.get("reason") or op.get("text")
    text = line.text_of(entry, said) if isinstance(said, str) else None
    return (op.get("rule") or None) if text is None and op["op"] == releases.Purge.op else text
