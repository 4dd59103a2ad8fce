"""Reading a journal: cold in three rounds, warm in one GET, its past, and the check of every entry.

`modelkeep.journal.Journal` adds the writing.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Generic

import attrs

from modelkeep import tiles
from modelkeep.birth import Birth
from modelkeep.digest import digest
from modelkeep.entry import DamagedError, Entry, Head, genesis, parse
from modelkeep.errors import FormatError, IntegrityError, MissingObjectError, StoreError
from modelkeep.fold import Fold
from modelkeep.folds.rules import Rules, S
from modelkeep.forks import renew_after_fork
from modelkeep.layout import FAN_OUT, entry_key
from modelkeep.stores.beside import beside
from modelkeep.stores.port import Store
from modelkeep.system import System

_FIRST_WINDOW = 16  # entries asked for beyond the tiles, in the same round as the tiles
_WINDOW = 100  # entries asked for at once after that
_LONGEST_GAP = 10_000  # lost entries in a row that verify looks for, one by one


Ahead = Callable[[], tuple[tiles.Tile, ...]]  # gives the tiles of a journal; they may be on their way already


@attrs.frozen
class Finding:
    """Something that a verification reports.

    Args:
        key: the object.
        problem: what is wrong with it.
        kind: ``damaged``, ``missing``, ``unreadable``, ``void``, ``tile``, ``tail`` (an entry that others have seen),
            ``sealed`` (an entry brought back after its loss was accepted), ``condemned`` (a pack that a version needs),
            ``unknown`` (an entry of a newer release), ``stray`` (no object of a registry), or, harmless, ``leftover``
            (a pack that no version needs, or a probe of a doctor) and ``unlisted``.
    """

    key: str
    problem: str
    kind: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"


class JournalReader(Generic[S]):
    """One journal: its state as far as this process has read, and how to read on.

    Args:
        store: where it lies.
        prefix: what its keys begin with.
        registry: the id of the registry, which entry 1 is bound to.
        rules: what its operations mean.
        system: the clock, pauses and the author.
        birth: where the line that it belongs to was born; None: here.

    Safe to use from several threads.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        registry: str,
        rules: Rules[S],
        system: System,
        *,
        birth: Birth | None = None,
    ) -> None:
        self.store = store
        self.prefix = prefix
        self.lock = threading.RLock()
        self._rules = rules
        self._system = system
        self._registry = registry
        self._birth = birth
        self._genesis = genesis(registry, prefix)
        self._cold = True
        self._fold = self._start()
        self._untiled: list[bytes] = []  # the bytes of the entries after the last tile
        self._kept: list[bytes] | None = None  # the bytes of all entries, for those who ask for the past
        self._since: dict[str, Entry] = {}  # entries read since the append under way began, by transaction

        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`: another thread may have held the lock, and half a fold."""
        self.lock = threading.RLock()
        self._cold = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.prefix!r}, head={self.head})"

    @property
    def state(self) -> S:
        """What the entries read so far add up to."""
        return self._fold.state

    @property
    def head(self) -> int:
        """The number of the last entry read so far; 0 before the first."""
        return self._fold.head

    @property
    def seen(self) -> Head:
        """The head as sister journals note it: number and digest."""
        return self._fold.seen

    @property
    def sealed(self) -> set[int]:
        """Damaged entries whose loss was accepted."""
        return self._fold.sealed

    @property
    def is_cold(self) -> bool:
        """Whether the next read begins at entry 1: nothing was read, or a fork or signal may have halved one."""
        return self._cold

    # -- reading ---------------------------------------------------------------------------------------------

    def look_ahead(self) -> Ahead | None:
        """Have a cold journal of a far store listed while the caller does something else; for `refresh`."""
        return beside(self.store, partial(tiles.plan, self.store, self.prefix)) if self._cold else None

    def refresh(self, ahead: Ahead | None = None) -> None:
        """Read up to the current head; one GET when nothing is new.

        Cold: one listing, then the tiles and first entries at once, then the other entries: three rounds. Of a far
        store the first entries are asked for beside the listing: where there are no tiles, that is all.

        Args:
            ahead: what `look_ahead` gave, if it was asked.

        Raises:
            IntegrityError: an entry is damaged and no seal says so.
            FormatError: an entry has an operation that only a newer release knows.
        """
        with self.lock:
            self._refresh(ahead)
            self._since.clear()

    def replay(self) -> Iterator[tuple[Entry, S, str | None]]:
        """Every entry again from the first, each with the state after it and why it is void, if it is.

        The state is the same object each time. Costs what a cold open costs.

        Raises:
            IntegrityError: an entry was damaged or lost since it was read.
        """
        fold = self._start()
        for raw in self.past():
            entry = fold.take(raw)
            if entry:
                yield entry, fold.state, fold.void.get(entry.number)

    def since(self, number: int) -> list[Entry]:
        """The entries after *number*, as far as read, that count: neither void nor lost.

        No request while they are at hand, which the last hundred are; else what a cold open costs.

        Raises:
            IntegrityError: an entry was damaged or lost since it was read.
        """
        with self.lock:
            void, sealed = self._fold.void, self._fold.sealed
            first = len(self._untiled) - (self.head - number)  # where they begin among those at hand
            numbered = enumerate(self._untiled[first:] if first >= 0 else self.past()[number:], number + 1)
            return [parse(raw, n) for n, raw in numbered if n not in void and n not in sealed]

    def at(self, moment: str) -> S:
        """The state at *moment*: after the last entry before which no entry bears a later time.

        Raises:
            IntegrityError: see `refresh`.
        """
        self.refresh()
        fold = self._start()
        for number, raw in enumerate(self.past(), 1):
            with suppress(DamagedError):
                if parse(raw, number).time > moment:
                    break
            fold.take(raw)
        return fold.state

    def _start(self) -> Fold[S]:
        return Fold(self._rules, (0, self._genesis), elsewhere=self._elsewhere if self._birth else None)

    def _elsewhere(self) -> str | None:
        return self._birth.genesis_elsewhere(self.prefix) if self._birth else None

    def _key(self, number: int) -> str:
        return entry_key(self.prefix, number)

    def _get(self, number: int) -> bytes | None:
        try:
            return self.store.get(self._key(number))
        except MissingObjectError:
            return None

    def _refresh(self, ahead: Ahead | None = None) -> None:
        self._read_new(ahead)
        self._check_readable()

    def _read_new(self, ahead: Ahead | None = None) -> None:
        if self._cold or self._fold.faults:  # a damaged entry may have been read half-written, or been brought back
            self._read_cold(ahead)
        elif (raw := self._get(self.head + 1)) is not None:
            self._take(raw)
            self._read_on(1)
            self._leave_tiles_to_others()

    def _read_cold(self, ahead: Ahead | None = None) -> None:
        """Read all of it anew, aside: other threads look at the state meanwhile, and a failure must not halve it."""
        anew: JournalReader[S] = self._aside(keep=self._kept is not None)
        with _collector.at_rest():
            anew._fold_cold(ahead)
            if anew._fold.doubted:  # a cache may have had them from before the damage, and has dropped them by now
                anew._fold_cold()
        self._cold = True
        self._fold, self._untiled, self._kept = anew._fold, anew._untiled, anew._kept
        self._since.update(anew._since)
        self._cold = False

    def _aside(self, *, keep: bool) -> JournalReader[S]:
        """Another reader of this journal, that has read nothing; to *keep* the bytes of all entries, or not."""
        anew: JournalReader[S] = JournalReader(
            self.store, self.prefix, self._registry, self._rules, self._system, birth=self._birth
        )
        anew._kept = [] if keep else None
        return anew

    def _fold_cold(self, ahead: Ahead | None = None) -> None:
        first = range(1, 1 + _FIRST_WINDOW)
        entries = beside(self.store, partial(self.store.get_many, [*map(self._key, first)])) if ahead is None else None
        known = set(ahead() if ahead else tiles.plan(self.store, self.prefix))
        while True:
            plan = tiles.cover(self.prefix, known)
            window = range(plan.covered + 1, plan.covered + 1 + _FIRST_WINDOW)
            last = [self._key(plan.covered)] if plan.covered else []
            if entries and not plan.covered:
                found = entries()
            else:
                found = self.store.get_many([*plan.keys(), *last, *map(self._key, window)])
            entries = None
            self._fold, self._untiled = self._start(), []
            self._kept = None if self._kept is None else []
            if not self._take_parts(plan, found):
                self._read_on(_WINDOW)
            elif self._take_window(window, found):
                self._read_on(_WINDOW - _FIRST_WINDOW)
            unsound = self._unsound(plan, found)
            if not unsound:
                return
            known -= unsound  # their entries are the truth: once more without them

    def _take_parts(self, plan: tiles.Plan, found: Mapping[str, bytes]) -> bool:
        """Take the entries that *plan* covers; whether all were there."""
        for part in plan.parts:
            for raw in self._raws_of(plan, part, found):
                if raw is None:
                    return False
                self._fold_in(raw)
        return True

    def _raws_of(self, plan: tiles.Plan, part: tiles.Tile, found: Mapping[str, bytes]) -> Iterable[bytes | None]:
        keys = plan.keys_of(part)
        if not part[0]:
            return map(found.get, keys)
        return tiles.split(found.get(keys[0]), tiles.SPAN[part[0]]) or [b""]  # b"" is a fault, seen below

    def _unsound(self, plan: tiles.Plan, found: Mapping[str, bytes]) -> set[tiles.Tile]:
        """The first tile in which, or right behind which, an entry does not fit, and all that cannot be read."""
        for number in self._fold.faults:
            tile = plan.tile_with(number) or plan.tile_with(number - 1)
            if tile is not None:
                return {tile, *plan.unreadable(found)}
        last = found.get(self._key(plan.covered))
        if last is None or self.head != plan.covered or digest(last) == self._fold.digest:
            return set()
        return {tile for tile in [plan.tile_with(plan.covered)] if tile}  # no entry behind it is there to prove it

    def _read_on(self, count: int) -> None:
        while True:
            window = range(self.head + 1, self.head + 1 + count)
            if not self._take_window(window, self.store.get_many(list(map(self._key, window)))):
                return
            count = min(2 * count, _WINDOW)

    def _take_window(self, window: range, found: Mapping[str, bytes]) -> bool:
        """Take the entries of *window*; whether all were there."""
        last = max((n for n in window if self._key(n) in found), default=0)
        for number in window:
            raw = found.get(self._key(number))
            if raw is None and number < last:
                raw = self._get(number)  # it may have come after it was asked for: entries are dense
                if raw is None:
                    raise self._missing(number, last)
            if raw is None:
                return False
            self._take(raw)
        return True

    def _fold_in(self, raw: bytes) -> Entry | None:
        if self._kept is not None:
            self._kept.append(raw)
        return self._fold.take(raw)

    def _take(self, raw: bytes) -> Entry | None:
        was, self._cold = self._cold, True  # a signal may strike between any two lines and leave half an entry
        entry = self._fold_in(raw)
        if entry is None:
            self._untiled = []  # a tile holds sound entries only
        else:
            self._untiled.append(raw)
            self._since[entry.tx] = entry
        self._cold = was
        return entry

    def raws(self) -> list[bytes]:
        """The bytes of every entry up to the current head, whatever they say; for those who compare.

        Costs what a cold open costs.
        """
        return self._read_all(checked=False)

    def past(self) -> list[bytes]:
        """The bytes of all entries read so far, again; damage that was not accepted is an error.

        Costs what a cold open costs.

        Raises:
            IntegrityError: an entry was damaged or lost since it was read.
        """
        raws = self._read_all(checked=True) if self.head else []
        if len(raws) < self.head:
            raise self._missing(len(raws) + 1, self.head)
        return raws[: self.head]

    def _read_all(self, *, checked: bool) -> list[bytes]:
        again: JournalReader[S] = self._aside(keep=True)
        again._read_new()
        if checked:
            again._check_readable()
        return again._kept or []

    def _missing(self, number: int, last: int) -> IntegrityError:
        return IntegrityError(
            f"{self._key(number)} is missing although entry {last} is there; bring the object back from a backup, and "
            "run `modelkeep verify`",
            key=self._key(number),
            number=number,
        )

    def _check_readable(self) -> None:
        for number, problem in self._fold.faults.items():
            remedy = (
                f"; else bring {self._birth.key} back from a backup"  # a seal would lose the line
                if self._fold.foreign and self._birth
                else "; bring the object back from a backup, or accept the loss with "
                f"registry.storage.seal({self._key(number)!r})"
            )
            raise IntegrityError(
                f"{self._key(number)} is damaged: {problem}{remedy}",
                key=self._key(number),
                number=number,
            )
        for number, op in self._fold.unknown.items():
            raise FormatError(
                f"{self._key(number)} has the operation {op!r}, which this release does not know; upgrade modelkeep",
                key=self._key(number),
            )

    def _leave_tiles_to_others(self) -> None:
        """Forget the bytes of hundreds that others passed, and tiled, while this process only read."""
        while len(self._untiled) > 2 * FAN_OUT:
            self._forget_to_boundary()

    def _forget_to_boundary(self) -> int:
        start = self.head - len(self._untiled)
        del self._untiled[: FAN_OUT - start % FAN_OUT]
        return start

    # -- verification ----------------------------------------------------------------------------------------

    def verify(self) -> list[Finding]:
        """Read every entry and tile and report what is wrong, the first bad entry first.

        An entry 1 that was born in another registry, of which nothing tells, is ``foreign``: it or the origin is bad.
        """
        listed = tiles.listed_entries(self.store, self.prefix)
        last = _last(listed)
        raws, unreadable = self._read_each(last)
        fold = self._start()
        entries = [fold.take(raw or b"") for raw in raws]
        findings = [
            Finding(self._key(n), unreadable[n], "unreadable")
            if n in unreadable
            else Finding(self._key(n), "it is missing", "missing")
            if raws[n - 1] is None
            else Finding(self._key(n), problem, "foreign" if fold.foreign and n == 1 else "damaged")
            for n, problem in fold.faults.items()
        ]
        findings += self._brought_back(fold, entries)
        findings += [Finding(self._key(n), f"it is void: {rule}", "void") for n, rule in fold.void.items()]
        findings += [
            Finding(self._key(n), f"this release does not know its operation {op!r}", "unknown")
            for n, op in fold.unknown.items()
        ]
        findings += [Finding(self._key(n), "it lies far beyond the end", "stray") for n in sorted(listed) if n > last]
        sound = [raw or b"" for raw in raws]
        return findings + [Finding(*row) for row in tiles.compare(self.store, self.prefix, sound)]

    def _brought_back(self, fold: Fold[S], entries: Iterable[Entry | None]) -> Iterator[Finding]:
        """What was appended after a seal was appended to a state without the sealed entry."""
        for entry in filter(None, entries):
            for op in [] if entry.number in fold.void else entry.ops:
                match op:
                    case {"op": "seal", "n": int(lost)} if 0 < lost < entry.number and lost not in fold.sealed:
                        problem = f"it was brought back although entry {entry.number} sealed it as lost"
                        yield Finding(self._key(lost), problem, "sealed")

    def _read_each(self, last: int) -> tuple[list[bytes | None], dict[int, str]]:
        """The bytes of every entry from 1 to *last*, from its own object, and why some cannot be read."""
        raws: list[bytes | None] = []
        unreadable: dict[int, str] = {}
        for first in range(1, last + 1, _WINDOW):
            numbers = range(first, min(first + _WINDOW, last + 1))
            try:
                found = self.store.get_many(map(self._key, numbers))
                raws.extend(found.get(self._key(number)) for number in numbers)
            except StoreError:
                raws.extend(self._read_one(number, unreadable) for number in numbers)
        return raws, unreadable

    def _read_one(self, number: int, unreadable: dict[int, str]) -> bytes | None:
        try:
            return self._get(number)
        except StoreError as error:
            unreadable[number] = str(error)
            return None


class _Collector:
    """Folding 100,000 entries makes a million objects that stay, and the collector would look through them all."""

    def __init__(self) -> None:
        self._rests = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`: the thread that would have woken it is not in the child."""
        if self._rests:
            self._wake()

    def _wake(self) -> None:
        gc.enable()
        self._rests = False

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        if not gc.isenabled():
            yield
            return
        self._rests = True
        gc.disable()
        try:
            yield
        finally:
            self._wake()


_collector = _Collector()


def _last(listed: Iterable[int]) -> int:
    """The last entry of a journal by what a listing shows, not counting strays far beyond the others."""
    last = 0
    for number in sorted(listed):
        if number - last > _LONGEST_GAP:
            break
        last = number
    return last
