"""`RegisteredModel`, and what datasets have of it: one line of versions over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Generic, Protocol, TypeVar

from modelkeep._line import Line, text_digest, unknown_line
from modelkeep.arguments import ABSENT, Absent, OneVersion, number_of, stale
from modelkeep.errors import (
    ClosedError,
    ConflictError,
    InvalidValueError,
    StoreError,
    UnknownAliasError,
    UnknownVersionError,
    shown,
)
from modelkeep.events import Event, events_of
from modelkeep.folds import notes, releases, versions
from modelkeep.folds.rules import Op
from modelkeep.layout import catalog_key, own_name
from modelkeep.listing import Listing
from modelkeep.ref import check_alias
from modelkeep.system import format_time, parse_time
from modelkeep.values import check_text


class Placed(OneVersion, Protocol):
    """One version of whatever line."""

    def to_dict(self) -> dict[str, Any]:
        """The facts that the journal holds, as one flat row."""
        ...


V = TypeVar("V", bound=Placed)


class NamedLine(Generic[V]):
    """A named line of versions: what models and datasets have alike."""

    def __init__(self, line: Callable[[], Line | None], name: str, place: str) -> None:
        self._find = line
        self._place = place
        self._called = name  # with the shelf
        self.name = own_name(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.name}"

    def _repr_html_(self) -> str:
        """Versions, alias moves and a timeline: three GETs when warm, and a cold read of `releases`."""
        from modelkeep.views.model import model_html

        return model_html(self.name, lambda: self._line)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and (self._called, self._place) == (other._called, other._place)

    def __hash__(self) -> int:
        return hash((self._called, self._place))

    def _version(self, line: Line, number: int) -> V:
        raise NotImplementedError

    @property
    def _line(self) -> Line:
        line = self._find()
        if line is None:
            raise unknown_line(self._called, f": {self._place} holds no registry yet; save one first")
        return line

    def _read(self) -> Line:
        line = self._line
        line.read()
        return line

    def _known(self) -> Line:
        """The line, read at least once: a model that was there once is there for ever."""
        line = self._line
        if not line.versions.head:
            line.read()
        return line

    # -- reading ---------------------------------------------------------------------------------------------

    def version(self, number: int) -> V:
        """The version of that number, deleted or not. Two GETs when warm.

        Raises:
            UnknownVersionError: there is none.
            InvalidValueError: *number* is no number.
        """
        if type(number) is not int:
            raise InvalidValueError(
                f"version {shown(number)} is a {type(number).__name__}; give a number, or registry.get() a reference",
                key="number",
            )
        return self._version(self._read(), number)

    def versions(self, where: Callable[[V], bool] | None = None, *, deleted: bool = False) -> Listing[V]:
        """The versions, newest first. Two GETs when warm.

        Args:
            where: keep those for which this is true; a metric or parameter that is missing counts as false.
            deleted: also those that are deleted.

        Returns:
            A sequence with `to_pandas()`.
        """
        line = self._read()
        gone = set() if deleted else line.releases.state.deleted
        numbers = [number for number in reversed(list(line.versions.state.lines)) if number not in gone]
        if where is not None:
            numbers = [number for number in numbers if _holds(where, self._version(line, number))]
        return Listing(numbers, lambda number: self._version(line, number), lambda found: found.to_dict())

    @property
    def aliases(self) -> dict[str, V]:
        """The version under each alias. Two GETs when warm."""
        line = self._read()
        return {
            alias: self._version(line, stack[-1].number) for alias, stack in sorted(line.releases.state.stacks.items())
        }

    @property
    def is_open(self) -> bool:
        """Whether it takes saves. Two GETs when warm."""
        return self._read().versions.state.is_open

    @property
    def title(self) -> str:
        """The title that people see; the name if none was set. One GET when warm."""
        line = self._known()
        line.notes.refresh()
        return line.notes.state.title or self.name

    def at(self, alias: str, when: str | date | datetime) -> V:
        """The version that stood under *alias* at a time. Costs a cold read of `releases`.

        Args:
            alias: such as ``production``.
            when: a date (its beginning) or time; without a zone it is UTC. Clocks of writers tell the time, so
                moves that lie closer together than these agree may count to either side.

        Raises:
            UnknownAliasError: it was not set then.
            InvalidValueError: *when* cannot be read.
        """
        check_alias(alias)
        line = self._read()
        moment = _moment(when)
        holder = line.releases.at(moment).holder(alias)
        if holder is None:
            raise UnknownAliasError(f"{self.name}@{alias} was not set at {moment}", name=self.name, alias=alias)
        return self._version(line, holder.number)

    def history(self) -> Listing[Event]:
        """All that happened, oldest first. Costs a cold read of all three journals and one read for each text."""
        line = self._read()
        line.notes.refresh()
        placed = [row for name, journal in line.journals.items() for row in events_of(line, name, journal)]
        placed.sort(key=lambda row: row[0])
        return Listing([event for _, event in placed], lambda event: event, Event.to_dict)

    # -- writing ---------------------------------------------------------------------------------------------

    def rollback(self, alias: str, *, expect: int | V | Absent = ABSENT, reason: str | None = None) -> V:
        """Let *alias* go back to the version before, past those that are deleted. One GET and one write.

        It expects the holder that it sees when called: of two operators at once one goes back, the other is told.

        Args:
            alias: such as ``production``.
            expect: the holder to go back from, where the caller has seen it earlier.
            reason: why, kept with the history; can be erased.

        Returns:
            The version that stands there now.

        Raises:
            UnknownAliasError: the alias is not set.
            UnknownVersionError: there is no version to go back to.
            StaleError: somebody moved the alias meanwhile.
        """
        check_alias(alias)
        line = self._known()
        line.releases.refresh()
        before = line.releases.state.holder(alias)
        if before is None:
            raise UnknownAliasError(
                f"{self.name}@{alias} is not set, so it cannot go back", name=self.name, alias=alias
            )
        given = number_of(expect, self.name)
        expected = before.number if given is ABSENT else given

        def decide(state: releases.Releases) -> Sequence[Op]:
            holder = state.holder(alias)
            if holder is None or holder.number != expected:
                raise stale(self.name, alias, expected, holder.number if holder else None)
            below = state.rolled_back(alias)
            if not below:
                raise UnknownVersionError(
                    f"{self.name}@{alias} has no earlier version to go back to; promote one",
                    name=self.name,
                    alias=alias,
                )
            to = below[-1]
            said = text_digest(reason)
            return [releases.SetAlias(alias, to.number, to.identity, to.at, "rollback", said)]

        number = line.append("releases", decide, text=reason).ops[0]["number"]
        if number not in line.versions.state.lines:
            line.versions.refresh()
        return self._version(line, number)

    def unset(self, alias: str, *, reason: str | None = None) -> None:
        """Take *alias* away, and with it what rollback would go back to. One write when warm.

        Raises:
            UnknownAliasError: it is not set.
        """
        check_alias(alias)

        def decide(state: releases.Releases) -> Sequence[Op]:
            if alias not in state.stacks:
                raise UnknownAliasError(f"{self.name}@{alias} is not set", name=self.name, alias=alias)
            return [releases.Unalias(alias, text_digest(reason))]

        self._known().append("releases", decide, text=reason)

    def set_title(self, title: str | None) -> None:
        """Set the title that people see; None takes it away. The name stays for ever. One write when warm.

        Raises:
            InvalidValueError: it is longer than 200 characters.
        """
        if title is not None and len(check_text(title, "title")) > notes.MAX_TITLE:
            raise InvalidValueError(
                f"the title has {len(title)} characters, and {notes.MAX_TITLE} are allowed", length=len(title)
            )
        self._known().append("notes", lambda _: [notes.Title(title)])

    def describe(self, text: str) -> None:
        """Set the description of the line as a whole. Two writes."""
        said = text_digest(check_text(text, "the description"))
        self._known().append("notes", lambda _: [notes.Describe(said)], text=text)

    def close(self) -> None:
        """Take no more saves and leave the listing; what stands under an alias still loads. One write and one delete.

        Raises:
            ClosedError: it is closed already.
        """

        def decide(state: versions.Versions) -> Sequence[Op]:
            if not state.is_open:
                raise ClosedError(f"{self.name!r} is closed already", name=self.name)
            return [versions.Close()]

        line = self._known()
        line.append("versions", decide)
        with suppress(StoreError):  # a listing only
            line.home.store.delete([catalog_key(line.name)])

    def open(self) -> None:
        """Take saves again after a close; numbers go on. Two writes when warm.

        Raises:
            ConflictError: it is open.
        """

        def decide(state: versions.Versions) -> Sequence[Op]:
            if state.is_open:
                raise ConflictError(f"{self.name!r} is open", name=self.name)
            return [versions.Open(line.home.prepare())]

        line = self._known()
        line.append("versions", decide)
        line.announce()


def _holds(where: Callable[[V], bool], version: V) -> bool:
    try:
        return bool(where(version))
    except KeyError:
        return False


def _moment(when: str | date | datetime) -> str:
    try:
        if isinstance(when, datetime):
            return format_time(when)
        return format_time(parse_time(when if isinstance(when, str) else when.isoformat()))
    except (ValueError, AttributeError, OverflowError) as error:
        raise InvalidValueError(
            f"{shown(when)} is no date or time: {error}; write 2026-03-01 or 2026-03-01T12:00Z"
        ) from None
