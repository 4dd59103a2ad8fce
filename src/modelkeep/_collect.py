"""Collection: what nobody needs any more goes, in steps that any other collector can finish.

Judge, `purge`, `condemn`, delete. Everything follows from the journals, the policy, one listing and one moment of the
store's clock, so a dry run is the same work without its three writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property

import attrs

from modelkeep import _erase
from modelkeep._crosscheck import Pasts, tails
from modelkeep._dead import NothingLeftError, condemn, drop, lying, needed, sweep, unerased
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep._removed import Collection, Dropped, Purged, Removal
from modelkeep._rulings import let_go
from modelkeep.errors import (
    AccessError,
    ClockError,
    ConflictError,
    FormatError,
    IntegrityError,
    InvalidValueError,
    StoreError,
    UnknownModelError,
    shown,
)
from modelkeep.folds.releases import Delete, Purge, Releases
from modelkeep.folds.rules import Op
from modelkeep.layout import PROBES, is_probe, model_prefix, pack_key, probe_key
from modelkeep.retention import Retention, parse
from modelkeep.stores.clock import clock_of
from modelkeep.stores.port import StoredObject, UnfinishedWrite, abandon, unfinished
from modelkeep.system import format_time
from modelkeep.version import transaction_of

GRACE = timedelta(hours=24)  # kindness to slow savers, no safety: they find out, and upload again
BUSY = timedelta(minutes=10)  # a write that goes on writes something within that; what is younger is left alone
APART = timedelta(hours=1)  # of this machine's clock and the store's, from where no rule by age is applied
_PURGES = 1000  # versions that one entry purges

Tell = Callable[[int, int], None]


@attrs.define
class _Moment:
    """The store's time, asked for where it is needed first."""

    home: Home

    @cached_property
    def now(self) -> datetime:
        """The store's time; this machine's where nothing may be written, and so nothing will be removed."""
        probe = probe_key(self.home.system.new_id(), "clock")
        try:
            return clock_of(self.home.store, probe)
        except AccessError:
            return self.home.system.now()

    @property
    def is_agreed(self) -> bool:
        """Whether this machine's clock is near enough to the store's to go by age."""
        return abs(self.home.system.now() - self.now) <= APART

    def check(self) -> None:
        """Raises `ClockError` if this machine's clock is too far off for rules by age."""
        here = self.home.system.now()
        if not self.is_agreed:
            raise ClockError(
                f"this machine's clock says {format_time(here)} and the store's {format_time(self.now)}; nothing was "
                "removed, since the policy has rules by age: set the clock",
                here=format_time(here),
                store=format_time(self.now),
            )


@attrs.define
class _Told:
    """Tells how many packs are deleted, of those that are known to go."""

    tell: Tell | None
    done: int = 0
    total: int = 0

    def expect(self, count: int) -> None:
        self.total += count
        self.advance(0)

    def advance(self, count: int) -> None:
        self.done += count
        if self.tell is not None and self.total:
            self.tell(self.done, self.total)


@attrs.define
class _Found:
    purged: list[Purged] = attrs.Factory(list)
    dropped: list[Dropped] = attrs.Factory(list)
    removals: list[Removal] = attrs.Factory(list)
    left: list[Removal] = attrs.Factory(list)


def collect(home: Home, name: str | None, *, dry_run: bool, grace: timedelta, progress: Tell | None) -> Collection:
    """Remove what nobody needs. See `Storage.collect`."""
    if not isinstance(grace, timedelta) or grace < timedelta(0):
        raise InvalidValueError(f"grace is {shown(grace)}; give a timedelta of 0 or more", key="grace")
    registry = home.existing()
    if not dry_run:
        home.prepare()
    moment, found, told = _Moment(home), _Found(), _Told(progress)
    journal = home.policy(registry)
    journal.refresh()
    rules = parse(journal.state.text, entry=journal.state.number)
    models = lying(home.store, name)
    if any(r.by_age for r in map(rules.of, models) if r is not None):
        moment.check()  # before anything is done
    for model, packs in models.items():
        line = Line.open(home, model, registry)
        try:
            retention = _retention(line, rules.of(model), found, named=name is not None)
            _Collector(line, packs, retention, moment, grace, found, dry_run, told).run()
        except IntegrityError as error:
            found.left.append(Removal(str(error.facts.get("key", model_prefix(model))), "model", str(error), 0))
    _others(home, name, moment, grace, found, dry_run=dry_run)
    removals = tuple(found.removals)
    return Collection(
        dry_run,
        tuple(found.purged),
        removals,
        tuple(found.left),
        sum(one.bytes for one in removals),
        tuple(found.dropped),
    )


def _retention(line: Line, rules: Retention | None, found: _Found, *, named: bool) -> Retention | None:
    """The rules for a line; unless it is *named*, none for one that was pushed here: it would go another way."""
    if rules is None or named or line.birth.elsewhere() is None:
        return rules
    why = "it was pushed here, and a push would be refused after a purge; collect it where it was born, or by its name"
    found.left.append(Removal(model_prefix(line.name), "model", why, 0))
    return None


@attrs.frozen
class _Collector:
    """The collection of one model."""

    line: Line
    packs: Mapping[str, StoredObject]
    retention: Retention | None
    moment: _Moment
    grace: timedelta
    found: _Found
    dry_run: bool
    told: _Told

    def run(self) -> None:
        try:
            self.line.read()
        except UnknownModelError:
            if not self.packs:
                raise
        gone = self._judged(self.line.releases.state)
        if not self.dry_run:
            gone = self._purge() if gone else {}  # 1 in `releases`, where aliases and holds are
        self._finish_erasures()
        self.found.purged += [Purged(self.line.name, number, why) for number, why in gone.items()]
        over = self._expired()
        if not self.dry_run:
            over = {name: over[name] for name in drop(self.line, over)}  # and condemned, in the same entry
        self.found.dropped += [Dropped(self.line.name, name, why) for name, why in over.items()]
        doomed = self._doomed(gone, over)
        if not self.dry_run:
            condemn(self.line, doomed)  # 2 from here on no entry can name them
            self.told.expect(len(doomed))
            went = set(sweep(self.line, doomed, self.told.advance))  # 3 by the newest state, whatever was planned
            doomed = {pack: removal for pack, removal in doomed.items() if pack in went}
        self.found.removals += doomed.values()

    # -- versions --------------------------------------------------------------------------------------------

    def _judged(self, state: Releases) -> dict[int, str]:
        return let_go(self.line, self.retention, state, lambda: self.moment.now)

    def _purge(self) -> dict[int, str]:
        """Purge what the rules let go, judged anew on each try; gives what was purged, and by which rule."""
        gone: dict[int, str] = {}

        def decide(state: Releases) -> Sequence[Op]:
            ops: list[Op] = []
            for number, why in sorted(self._judged(state).items())[:_PURGES]:
                ops += [] if number in state.deleted else [Delete(number)]
                ops.append(Purge(number, rule=why, policy=self.retention.entry if self.retention else None))
            if not ops:
                raise NothingLeftError(f"the rules let nothing of {self.line.name!r} go", name=self.line.name)
            return ops

        with suppress(NothingLeftError):
            while True:
                entry = self.line.append("releases", decide)
                gone |= {op["number"]: op["rule"] for op in entry.ops if op["op"] == Purge.op}
        return gone

    def _finish_erasures(self) -> None:
        """What another process began to erase; what that will free is not known before."""
        erased = unerased(self.line.versions.state, self.line.releases.state)
        for number in erased if self.dry_run else ():
            why = f"the erasure of {self.line.name}:{number} was cut off; a collection that is no dry run finishes it"
            self.found.left.append(Removal(model_prefix(self.line.name), "erasure", why, 0))
        if erased and not self.dry_run:
            _erase.clear_texts(self.line, erased)
            with suppress(ConflictError):  # others move versions all the while; the next collection
                _erase.clear(self.line)

    # -- failed runs -----------------------------------------------------------------------------------------

    def _expired(self) -> dict[str, str]:
        """The drafts of this registry that expired by the store's clock, and why they go.

        The store is asked only where one may have. Where this machine's clock is too far off none goes, and all else is
        collected: unlike rules by age, which somebody set, drafts are in every registry.
        """
        soon = format_time(self.line.home.system.now() + APART)
        due = {name: draft.made for name, draft in self.line.drafts().items() if draft.made.expires <= soon}
        if due and not self.moment.is_agreed:
            why = "the failed run may have expired; this machine's clock is over an hour off the store's: set the clock"
            for made in due.values():
                self.found.left.append(Removal(pack_key(self.line.name, made.at.pack), "draft", why, 0))
            return {}
        now = format_time(self.moment.now) if due else ""
        return {name: f"it expired on {made.expires[:10]}" for name, made in due.items() if made.expires <= now}

    # -- packs -----------------------------------------------------------------------------------------------

    def _doomed(self, gone: Mapping[int, str], over: Mapping[str, str]) -> dict[str, Removal]:
        """The packs that may go, and why."""
        versions = self.line.versions.state
        needs = needed(versions, self.line.releases.state, but=gone, dropping=over)
        reasons = self._reasons(gone, over)
        doomed: dict[str, Removal] = {}
        for pack, item in self.packs.items():
            if pack in needs:
                if pack in versions.condemned:
                    self._leave(item, "pack", "it is condemned, although a version that was not purged needs it")
            elif pack in reasons:
                doomed[pack] = Removal(item.key, "pack", reasons[pack], item.size)
            elif why := self._left_over(pack):
                doomed[pack] = Removal(item.key, "upload", why, item.size)
        return doomed

    def _reasons(self, gone: Mapping[int, str], over: Mapping[str, str]) -> dict[str, str]:
        """For each pack that versions or drafts needed once, why none does now."""
        versions, name = self.line.versions.state, self.line.name
        purged = {**self.line.releases.state.purged, **gone}
        reasons = dict.fromkeys(versions.left, "its versions were stored anew elsewhere")
        for number, why in purged.items():
            if (known := versions.lines.get(number)) is not None:
                reasons |= dict.fromkeys(known.packs, f"{name}:{number} was purged: {why}" if why else "")
        for draft in versions.dropped.union(over):
            why = f"{name}~{draft} was dropped" + (f": {over[draft]}" if draft in over else "")
            reasons |= dict.fromkeys(versions.drafts[draft].made.packs, why)
        return reasons

    def _left_over(self, pack: str) -> str:
        """Why an upload that no version ever named may go; empty if it is left."""
        item = self.packs[pack]
        if pack in self.line.versions.state.condemned:
            return "it was condemned as left over, and came late or was not deleted"
        age = self._age(pack)
        if age <= self.grace:
            self._leave(item, "upload", f"no version names it, but it is only {_spelled(age)} old")
        elif self._is_pushed:
            self._leave(item, "upload", "no version names it yet; the push that brought it may be run again")
        elif self.line.versions.sealed:
            self._leave(item, "upload", "no version names it, but an entry that was lost may have")
        elif self._is_cut:
            why = "no version names it, but an entry that others have seen is gone; bring it back, as verify says"
            self._leave(item, "upload", why)
        else:
            return f"no version names it: a save that was not finished, {_spelled(age)} ago"
        return ""

    def _age(self, pack: str) -> timedelta:
        """The age of the newest object of a transaction: a save that goes on is not left over."""
        return self.moment.now - self._newest[transaction_of(pack)]

    @cached_property
    def _newest(self) -> dict[str, datetime]:
        newest: dict[str, datetime] = {}
        for pack, item in self.packs.items():
            tx = transaction_of(pack)
            newest[tx] = max(newest.get(tx, item.modified), item.modified)
        return newest

    @cached_property
    def _is_pushed(self) -> bool:
        return self.line.birth.elsewhere() is not None

    @cached_property
    def _is_cut(self) -> bool:
        """Whether a newest entry of `versions` is gone, as a sister tells; costs a read of `notes`."""
        journals = self.line.journals
        try:
            self.line.notes.refresh()
        except (IntegrityError, FormatError, AccessError):
            del journals["notes"]  # then it tells nothing
        cut: set[str] = set()
        for _ in tails(self.line, journals, Pasts(), cut):
            pass
        return "versions" in cut

    def _leave(self, item: StoredObject, kind: str, why: str) -> None:
        self.found.left.append(Removal(item.key, kind, why, item.size))


# -- what no journal speaks of -----------------------------------------------------------------------------------


def _others(home: Home, name: str | None, moment: _Moment, grace: timedelta, found: _Found, *, dry_run: bool) -> None:
    """Unfinished writes, and probes of doctors that were killed."""
    for written in _unfinished(home, name, found):
        age = moment.now - written.modified
        removal = Removal(
            written.key, "unfinished", f"a write that was not finished, {_spelled(age)} ago", written.size
        )
        if age <= max(grace, BUSY):
            found.left.append(attrs.evolve(removal, reason=f"it is being written, or was {_spelled(age)} ago"))
            continue
        if not dry_run:
            abandon(home.store, [written])
        found.removals.append(removal)
    for item in home.store.list(PROBES) if name is None else ():
        if is_probe(item.key) and moment.now - item.modified > max(grace, BUSY):
            if not dry_run:
                home.store.delete([item.key])
            found.removals.append(Removal(item.key, "probe", "a doctor was killed and left it", item.size))


def _unfinished(home: Home, name: str | None, found: _Found) -> Iterator[UnfinishedWrite]:
    prefix = "" if name is None else model_prefix(name)
    try:
        yield from unfinished(home.store, prefix)
    except StoreError as error:  # a right of its own on some stores
        found.left.append(Removal(prefix, "unfinished", f"unfinished writes cannot be listed: {error}", 0))


def _spelled(age: timedelta) -> str:
    """An age in words.

    Example:
        >>> _spelled(timedelta(days=3, hours=5)), _spelled(timedelta(hours=1)), _spelled(timedelta(seconds=5))
        ('3 days', '1 hour', 'less than a minute')
    """
    for unit in ("days", "hours", "minutes"):
        count = age // timedelta(**{unit: 1})
        if count > 0:
            return f"{count} {unit if count > 1 else unit[:-1]}"
    return "less than a minute"
