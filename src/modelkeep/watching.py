"""The moves of an alias as they come: what `RegisteredModel.watch` yields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from modelkeep._line import Line
from modelkeep.entry import Entry
from modelkeep.errors import AccessError, StoreError
from modelkeep.folds.releases import SetAlias, Unalias
from modelkeep.modelversion import ModelVersion
from modelkeep.pacing import LOG, Pace
from modelkeep.system import parse_time


@attrs.frozen
class Change:
    """A move of an alias, as the journal tells it.

    Args:
        before: the version that stood there; None if it was not set.
        after: the version that stands there then; None if it was taken away.
        time: when, by the clock of who did it.
        actor: who did it.
        action: ``promote``, ``rollback`` or ``unalias``.
        reason: why; None if nobody said, or it was erased.
    """

    before: ModelVersion | None
    after: ModelVersion | None
    time: datetime
    actor: str
    action: str
    reason: str | None = None

    def __str__(self) -> str:
        before, after = (version.ref if version else "nothing" for version in (self.before, self.after))
        return f"{self.time:%Y-%m-%d %H:%M} {self.actor}: {self.action} {before} -> {after}"


@attrs.define
class Watch:
    """One alias, and how far its moves were told.

    Args:
        line: of the model.
        alias: the alias.
        head: the last entry that was looked at.
        holder: the version that stood there then.
    """

    line: Line
    alias: str
    head: int
    holder: int | None

    @classmethod
    def begin(cls, line: Line, alias: str) -> Watch:
        """From how the alias stands now on. One GET when warm."""
        if line.releases.is_cold:
            line.read()  # which says so if there is no such model
        line.releases.refresh()
        with line.releases.lock:
            holder = line.releases.state.holder(alias)
            return cls(line, alias, line.releases.head, holder.number if holder else None)

    def changes(self, pace: Pace, timeout: float | None) -> Iterator[Change]:
        """Look, tell what moved, pause, and again; until *timeout* seconds have passed."""
        system, failures = pace.system, 0
        until = None if timeout is None else system.now() + timedelta(seconds=timeout)
        while True:
            try:
                moved = self._look()
                failures = 0
            except AccessError:
                raise
            except StoreError as error:
                moved, failures = [], failures + 1
                LOG.warning("%s@%s: look %d in a row failed: %s", self.line.name, self.alias, failures, error)
            yield from moved
            left = float("inf") if until is None else (until - system.now()).total_seconds()
            if left <= 0:
                return
            system.sleep(min(pace.pause(failures), left))

    def _look(self) -> Sequence[Change]:
        """What moved since the last look, in order. Where this fails, the next one tells it."""
        releases = self.line.releases
        releases.refresh()
        with releases.lock:
            head, entries = releases.head, releases.since(self.head)
        found, holder = [], self.holder
        for entry in entries:
            for op in filter(self._is_move, entry.ops):
                found.append(self._change(entry, op, holder))
                holder = op.get("number")
        self.head, self.holder = head, holder
        return found

    def _change(self, entry: Entry, op: dict[str, Any], holder: int | None) -> Change:
        before, after = (None if number is None else self._version(number) for number in (holder, op.get("number")))
        moment, how = parse_time(entry.time), op.get("how", op["op"])
        return Change(before, after, moment, entry.actor, how, self._reason(entry, op))

    def _is_move(self, op: dict[str, Any]) -> bool:
        return op["op"] in (SetAlias.op, Unalias.op) and op["alias"] == self.alias

    def _version(self, number: int) -> ModelVersion:
        if number not in self.line.versions.state.lines:
            self.line.versions.refresh()
        return ModelVersion(self.line, number)

    def _reason(self, entry: Entry, op: dict[str, Any]) -> str | None:
        said = op.get("reason")
        return None if said is None else self.line.text_of(entry, said)
