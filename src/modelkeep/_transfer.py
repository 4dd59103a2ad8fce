"""Copying a line into another registry, byte for byte: order is the protocol, and the line appears there at once.

Entry 1 of a journal is bound to the registry in which it was born, so elsewhere every reader refuses it, until
`origin.json` says where that was. It is written last. Each object before it is invisible or refused. Each is created
if absent or put under a unique key: so a transfer that was cut off is run again, and none removes or overwrites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from modelkeep import tiles
from modelkeep._dead import sizes as sizes_of
from modelkeep._expected import Expected, texts_of
from modelkeep._home import Home
from modelkeep._line import RULES, JournalName, Line
from modelkeep.birth import Birth, encode_origin
from modelkeep.digest import digest
from modelkeep.entry import DamagedError, parse
from modelkeep.errors import (
    ConflictError,
    IntegrityError,
    InvalidValueError,
    MissingObjectError,
    ObjectExistsError,
    OutcomeUnknownError,
    StoreError,
)
from modelkeep.journal import Journal, tries_of
from modelkeep.layout import FAN_OUT, catalog_key, entry_key, journal_prefix, pack_key, text_key
from modelkeep.packs import missing_pack
from modelkeep.reading import Finding

_PATIENCE = 5  # tries to get an answer about one object
_ROUNDS = 20  # reads of a source that does not come to rest
_PAUSE = 0.01  # seconds, doubled with each try


@attrs.frozen
class Transfer:
    """What a push or a pull did.

    Args:
        name: the model.
        source: the URL that it was copied from.
        target: the URL that it was copied to.
        versions: how many versions became visible at the target.
        entries: how many entries of its journals were new there.
        packs: how many packs were copied.
        bytes: how many bytes were copied, of entries, texts and packs.
        ahead: whether the target has entries that the source lacks; a transfer the other way brings them.
    """

    name: str
    source: str
    target: str
    versions: int
    entries: int
    packs: int
    bytes: int
    ahead: bool

    def __str__(self) -> str:
        ahead = f"; {self.target} has entries that {self.source} lacks" if self.ahead else ""
        if not self.entries and not self.versions and not self.packs:
            return f"{self.name}: nothing is new to {self.target}{ahead}"
        counts = f"{_count(self.versions, 'version')}, {_count(self.entries, 'entry')} and {_count(self.packs, 'pack')}"
        return f"{self.name}: {counts} ({_count(self.bytes, 'byte')}) copied to {self.target}{ahead}"


def _count(number: int, word: str) -> str:
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"


def transfer(line: Line, target: Home) -> Transfer:
    """Copy *line* with its history into the registry *target*, or what is new of it.

    Raises:
        UnknownModelError: nothing was ever saved under this name.
        InvalidValueError: *target* is the registry that the line lies in.
        ConflictError: the target has a history of its own under this name.
        IntegrityError: a byte of the source is wrong.
        StoreError: a store refused; run again, it goes on where it stopped.
    """
    for _ in range(_ROUNDS):
        try:
            return _once(line, target)
        except _StoredAnewError as error:
            moved = error
    raise moved


def _once(line: Line, target: Home) -> Transfer:
    whole = _Whole.read(line)  # 1 what is to be there
    there = _There.read(target, whole)  # 2 what is there: the beginning of that, or a refusal
    copy = _Copy(whole, there)
    with _resumable(whole.line.name):
        packs = copy.packs()  # 3 invisible until an entry names them
        copy.texts()
        for name in RULES:  # versions first: its entry 1 is what savers would create, too
            copy.entries(name)  # 4 in order, so that what was copied is a legal journal at all times
        copy.origin()  # 5 the only moment that matters to a line that was not there
    copy.marker()  # 6 for listing, and for speed
    copy.tiles()
    return copy.report(packs)


class _StoredAnewError(ConflictError):
    """Versions were compacted or collected while they were copied."""


@contextmanager
def _resumable(name: str) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        message = f"{error}; the copy of {name!r} is not finished: run it again, and it goes on where it stopped"
        raise type(error)(message, **error.facts) from error


@attrs.frozen
class _Whole:
    """The line as it is at the source: read to its heads, checked, and at rest while it was read.

    Args:
        line: opened for this copy alone.
        born: the id of the registry in which it was born.
        raws: the bytes of all entries.
    """

    line: Line
    born: str
    raws: dict[JournalName, list[bytes]]

    @classmethod
    def read(cls, line: Line) -> _Whole:
        own = Line.open(line.home, line.name, line.birth.registry, cached=False)
        for _ in range(_ROUNDS):
            heads = [own.releases.seen, own.versions.seen, own.notes.seen]
            own.read()
            own.notes.refresh()
            # an entry may have seen a sister's entry that came after that sister was read
            if heads == [own.releases.seen, own.versions.seen, own.notes.seen]:
                break
        else:
            raise ConflictError(f"{line.name!r} was written to all the while; try again at a calmer time")
        if not own.versions.sealed:
            own.birth.note_sound()
        return cls(own, own.birth.place(), {name: getattr(own, name).past() for name in RULES})

    def needed(self) -> dict[str, set[int]]:
        """The packs that versions need that were not purged, with the numbers of these versions."""
        needed: dict[str, set[int]] = {}
        for number, known in self.line.versions.state.lines.items():
            for pack in known.packs if number not in self.line.releases.state.purged else ():
                needed.setdefault(pack, set()).add(number)
        return needed

    def origin(self) -> bytes:
        """What says where the line was born; that of the source if it has one."""
        birth = self.line.birth
        return encode_origin(self.born) if self.born == birth.registry else birth.store.get(birth.key)


@attrs.frozen
class _There:
    """The same line at the target.

    Args:
        line: for its marker.
        raws: the bytes of all entries; each journal is the beginning of the source's, or goes on where that ends.
        versions: how many versions readers see.
        is_visible: whether readers accept it; else it is new, or a transfer was cut off.
    """

    line: Line
    raws: dict[JournalName, list[bytes]]
    versions: int
    is_visible: bool

    @classmethod
    def read(cls, target: Home, whole: _Whole) -> _There:
        """Raises `ConflictError` if the target has a history of its own."""
        here, name = whole.line.home, whole.line.name
        registry = target.prepare()
        if (here.store.url, whole.line.birth.registry) == (target.store.url, registry):
            raise InvalidValueError(f"{name!r} lies in {target.store.url} already; name another registry")
        journals = {  # opened as where the line was born, so that one which is not visible yet can be read
            journal: Journal[Any](target.store, journal_prefix(name, journal), whole.born, rules, target.system)
            for journal, rules in RULES.items()
        }
        raws = {journal: opened.raws() for journal, opened in journals.items()}
        line = Line.open(target, name, registry, cached=False)
        for journal in RULES:
            _check_same(line, journal, whole.raws[journal], raws[journal])
        is_visible = _is_visible(line.birth, whole, raws)
        if is_visible:
            journals["versions"].refresh()
        return cls(line, raws, len(journals["versions"].state.lines), is_visible)


def _is_visible(birth: Birth, whole: _Whole, raws: dict[JournalName, list[bytes]]) -> bool:
    if whole.born == birth.registry:
        return True
    found = birth.elsewhere()
    if found not in (None, whole.born):
        raise ConflictError(f"{birth.key} in {birth.store.url} says that the model was born in another registry")
    if found is None and any(len(raws[journal]) > len(whole.raws[journal]) for journal in RULES):
        raise ConflictError(
            f"another copy of {birth.name!r}, with more entries, is under way to {birth.store.url} or was cut off; let "
            "it finish, or run it again"
        )
    return found is not None


def _check_same(line: Line, journal: JournalName, ours: list[bytes], theirs: list[bytes]) -> None:
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), 1):
        if our != their:
            raise _differs(line, journal, number, their)


def _differs(line: Line, journal: JournalName, number: int, theirs: bytes) -> ConflictError | IntegrityError:
    """The error for an entry that is not that of the source."""
    key = entry_key(journal_prefix(line.name, journal), number)
    url = line.home.store.url
    try:
        parse(theirs, number)
    except DamagedError as error:
        return IntegrityError(
            f"{key} in {url} is damaged: {error}; bring the object back from a backup, or from the source", key=key
        )
    return ConflictError(
        f"{line.name!r} has a history of its own in {url}: its {journal} differ from entry {number} on, and nothing "
        "there was overwritten; save what should be in both to that registry, or keep this line under another name",
        name=line.name,
        journal=journal,
        number=number,
    )


@attrs.define
class _Copy:
    """The steps of a transfer, and how many bytes they moved."""

    whole: _Whole
    there: _There
    moved: int = 0

    def packs(self) -> int:
        """Copy the packs that new entries need and that are not there in full; each is read and checked whole."""
        if not self._new("versions"):
            return 0
        needed, expected, line = self.whole.needed(), Expected(self.whole.line), self.whole.line
        sizes, found = sizes_of(line), sizes_of(self.there.line)
        todo = [pack for pack in needed if pack not in found or sizes.get(pack, found[pack]) != found[pack]]
        for number in sorted(set[int]().union(*(needed[pack] for pack in todo))):
            _refuse(line, expected.add(number))
        for pack in todo:
            self._pack(pack, expected)
        found = sizes_of(self.there.line) if todo else found
        for pack in todo:
            if found.get(pack) != sizes[pack]:
                raise StoreError(f"{self.there.line.home.store.url} did not keep pack {pack} as it was given")
        return len(todo)

    def _pack(self, pack: str, expected: Expected) -> None:
        line = self.whole.line
        key = pack_key(line.name, pack)
        try:
            raw = line.home.store.get(key)
        except MissingObjectError:
            line.read()
            if pack not in self.whole.needed():
                raise _StoredAnewError(
                    f"versions of {line.name!r} were compacted or collected while they were copied; run it again"
                ) from None
            raise missing_pack(key) from None
        _refuse(line, expected.faults(pack, raw))
        self._put(key, raw)

    def texts(self) -> None:
        """Copy the texts of new entries, but for those that were erased."""
        journals: tuple[JournalName, ...] = ("releases", "notes")
        for journal in journals:
            for number, raw in enumerate(self._new(journal), len(self.there.raws[journal]) + 1):
                with suppress(DamagedError):  # a sealed entry says nothing
                    entry = parse(raw, number)
                    for said in texts_of(entry):
                        self._text(text_key(self.whole.line.name, entry.tx), said)

    def _text(self, key: str, said: str) -> None:
        line = self.whole.line
        try:
            raw = line.home.store.get(key)
        except MissingObjectError:
            return
        if digest(raw) != said:
            _refuse(line, iter([Finding(key, "it is not the text that was written", "damaged")]))
        self._put(key, raw)

    def entries(self, journal: JournalName) -> None:
        """Create the entries that the target lacks, one after another."""
        line = self.there.line
        for number, raw in enumerate(self._new(journal), len(self.there.raws[journal]) + 1):
            theirs = self._create(entry_key(journal_prefix(line.name, journal), number), raw)
            if theirs != raw:
                raise _differs(line, journal, number, theirs)

    def origin(self) -> None:
        """Say where the line was born; with this it is there."""
        if self.there.is_visible:
            return
        raw = self.whole.origin()
        if self._create(self.there.line.birth.key, raw) != raw:
            _is_visible(self.there.line.birth, self.whole, self.there.raws)

    def marker(self) -> None:
        """Have the target list the model, or not, as the source does."""
        line = self.there.line
        if len(self.there.raws["versions"]) > len(self.whole.raws["versions"]):
            return
        if self.whole.line.versions.state.is_open:
            line.announce()
        else:
            with suppress(StoreError):  # a listing only
                line.home.store.delete([catalog_key(line.name)])

    def tiles(self) -> None:
        """Write the tiles that the target lacks; without them it is only slower to read."""
        store = self.there.line.home.store
        for journal, raws in self.whole.raws.items():
            prefix = journal_prefix(self.there.line.name, journal)
            sealed = self.whole.line.journals[journal].sealed
            with suppress(StoreError):
                there = tiles.plan(store, prefix) if len(raws) >= FAN_OUT else ()
                for index in range(len(raws) // FAN_OUT):
                    span = range(index * FAN_OUT, (index + 1) * FAN_OUT)
                    if (1, index) not in there and not any(number + 1 in sealed for number in span):
                        tiles.write(store, prefix, index, raws[span.start : span.stop])

    def report(self, packs: int) -> Transfer:
        """What was done."""
        versions = len(self.whole.line.versions.state.lines) - self.there.versions
        return Transfer(
            name=self.whole.line.name,
            source=self.whole.line.home.store.url,
            target=self.there.line.home.store.url,
            versions=max(0, versions),
            entries=sum(len(self._new(journal)) for journal in RULES),
            packs=packs,
            bytes=self.moved,
            ahead=any(len(self.there.raws[journal]) > len(self.whole.raws[journal]) for journal in RULES),
        )

    def _new(self, journal: JournalName) -> list[bytes]:
        return self.whole.raws[journal][len(self.there.raws[journal]) :]

    def _put(self, key: str, raw: bytes) -> None:
        self._surely(lambda: self.there.line.home.store.put_pack(key, [raw]))
        self.moved += len(raw)

    def _create(self, key: str, raw: bytes) -> bytes:
        """Create an object unless it exists; gives what is there then."""
        store = self.there.line.home.store
        try:
            self._surely(lambda: store.create(key, raw))
        except ObjectExistsError:
            return store.get(key)
        self.moved += len(raw)
        return raw

    def _surely(self, write: Callable[[], None]) -> None:
        """Send the same bytes again until an answer comes; a request that arrives late does no harm."""
        system = self.there.line.home.system
        tried = 0
        while True:
            try:
                return write()
            except OutcomeUnknownError as error:
                tried += tries_of(error)
                if tried >= _PATIENCE:
                    raise
            system.sleep(_PAUSE * 2 ** (tried - 1) * system.jitter())


def _refuse(line: Line, findings: Iterator[Finding]) -> None:
    """Raises `IntegrityError` for the first of *findings*, if there is one."""
    for finding in findings:
        raise IntegrityError(
            f"{finding}, in {line.home.store.url}; bring the object back from a backup", key=finding.key
        )
