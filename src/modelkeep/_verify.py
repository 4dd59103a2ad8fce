"""Verification: every byte of a registry read, and what is not as it was written said, object by object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from modelkeep._dead import needed
from modelkeep._expected import Expected, texts_of
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep.digest import digest
from modelkeep.errors import (
    FormatError,
    IntegrityError,
    InvalidNameError,
    MissingObjectError,
    ModelkeepError,
    StoreError,
)
from modelkeep.journal import Journal
from modelkeep.layout import (
    CATALOG,
    MARKER,
    PROBES,
    catalog_key,
    data_prefix,
    entry_key,
    is_probe,
    journal_prefix,
    model_prefix,
    pack_key,
    text_key,
)
from modelkeep.reading import Finding
from modelkeep.ref import decode_name

_HARMLESS = ("leftover", "unlisted")


@attrs.frozen
class Report:
    """What a verification found.

    Args:
        findings: what is wrong, or worth knowing, object by object.
        models: how many models were read.
        versions: how many versions were read.
        bytes: how many bytes were read from packs.
    """

    findings: tuple[Finding, ...]
    models: int
    versions: int
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; uploads that no entry names, probes, and an unlisted model are harmless."""
        return all(finding.kind in _HARMLESS for finding in self.findings)


@attrs.define
class _Count:
    models: int = 0
    versions: int = 0
    bytes: int = 0


@attrs.frozen
class _Past:
    """What the entries of a journal say about other objects, kept from one replay.

    Args:
        digests: of the entries, by number.
        seen: for each head of a sister that an entry notes: the number of the entry, the sister, the head.
        aliases: for each alias that an entry sets: the number of the entry, the operation.
        texts: for each text that an entry refers to: its transaction, the digest of the text.
    """

    digests: dict[int, str] = attrs.Factory(dict)
    seen: list[tuple[int, str, Any]] = attrs.Factory(list)
    aliases: list[tuple[int, dict[str, Any]]] = attrs.Factory(list)
    texts: list[tuple[str, str]] = attrs.Factory(list)

    @classmethod
    def of(cls, journal: Journal[Any]) -> _Past:
        """Replay a journal as far as it was read."""
        past = cls()
        for entry, _, void in journal.replay():
            past.digests[entry.number] = entry.digest
            past.seen.extend((entry.number, sister, head) for sister, head in entry.seen.items())
            past.aliases.extend((entry.number, op) for op in ([] if void else entry.ops) if op["op"] == "alias")
            past.texts.extend((entry.tx, said) for said in texts_of(entry))
        return past


class _Pasts:
    """The pasts of journals, each replayed once, and again only where it was read on since."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, _Past]] = {}

    def of(self, journal: Journal[Any]) -> _Past:
        """That of a journal.

        Raises:
            IntegrityError: an entry was damaged or lost since it was read.
        """
        head, past = self._known.get(journal.prefix, (-1, _Past()))
        if head != journal.head:
            head, past = journal.head, _Past.of(journal)
            self._known[journal.prefix] = head, past
        return past


def verify(home: Home) -> Report:
    """Read everything and check every byte. See `Storage.verify`."""
    count = _Count()
    try:
        registry = Home(home.store, home.system).existing()  # as it is now, not as it once was
    except IntegrityError as error:
        return Report((Finding(MARKER, str(error), "damaged"),), 0, 0, 0)
    except FormatError as error:
        if "format" in error.facts or not _names(home):
            raise
        return Report((Finding(MARKER, str(error), "missing"),), 0, 0, 0)
    return Report(tuple(_findings(home, registry, count)), count.models, count.versions, count.bytes)


def all_journals(home: Home, registry: str) -> Iterator[Journal[Any]]:
    """Every journal of a registry, as the storage itself has it; none is read yet."""
    for name in _names(home):
        line = Line.open(home, name, registry, cached=False)
        yield from (line.versions, line.releases, line.notes)
    yield home.policy(registry, cached=False)


def _names(home: Home) -> list[str]:
    names = set()
    for item in home.store.list("models/"):
        with suppress(InvalidNameError):
            names.add(decode_name(item.key.split("/")[1]))
    return sorted(names)


def _findings(home: Home, registry: str, count: _Count) -> Iterator[Finding]:
    for name in _names(home):
        yield from _history(Line.open(home, name, registry, cached=False))
    yield from home.policy(registry, cached=False).verify()
    announced = set(_announced(home))
    for name in _names(home):
        line = Line.open(home, name, registry, cached=False)
        count.models += 1
        try:
            for journal in (line.releases, line.versions, line.notes):
                journal.refresh()
        except ModelkeepError:
            continue  # reported already, and without it nothing more can be said
        yield from _contents(line, count)
        if line.versions.state.is_open and name not in announced:
            yield Finding(catalog_key(name), "models() does not list the model: its marker is missing", "unlisted")
    yield from _strays(home)


def _strays(home: Home) -> Iterator[Finding]:
    for item in home.store.list(CATALOG):
        if item.size or _announced_name(item.key) is None:
            yield Finding(item.key, "it is no marker of a model", "stray")
    for item in home.store.list(PROBES):
        if is_probe(item.key):
            yield Finding(item.key, "a doctor left it behind, or is at work; it may be deleted", "leftover")


def _announced(home: Home) -> Iterator[str]:
    for item in home.store.list(CATALOG):
        name = _announced_name(item.key)
        if name is not None:
            yield name


def _announced_name(key: str) -> str | None:
    with suppress(InvalidNameError):
        return decode_name(key[len(CATALOG) :])
    return None


def _history(line: Line) -> Iterator[Finding]:
    """Every entry and tile of a line, and what says where it was born."""
    try:
        line.birth.elsewhere()
    except IntegrityError as error:
        yield Finding(line.birth.key, str(error), "damaged")
        return  # every journal of the line hangs on it
    for journal in (line.versions, line.releases, line.notes):
        yield from journal.verify()


def _contents(line: Line, count: _Count) -> Iterator[Finding]:
    """What the journals of a line, which are sound, say about each other, its packs and its texts."""
    pasts = _Pasts()
    tails, texts = partial(_tails, pasts=pasts), partial(_texts, pasts=pasts)
    for check in (partial(_holders, pasts=pasts), tails, partial(_packs, count=count), texts):
        try:
            yield from check(line)
        except StoreError as error:  # what it names is reported, where it can be read by itself
            yield Finding(str(error.facts.get("key", model_prefix(line.name))), str(error), "unreadable")


def _holders(line: Line, *, pasts: _Pasts) -> Iterator[Finding]:
    """An alias tells number and identity by itself, so that readers need one journal; the other must agree."""
    held = {(h.number, h.identity) for stack in line.releases.state.stacks.values() for h in stack}
    for number, op in pasts.of(line.releases).aliases:
        if (op["number"], op["identity"]) not in held:
            continue
        known = line.versions.state.lines.get(op["number"])
        if known is None and line.versions.sealed:
            continue  # its entry may be the one that was lost
        if known is None or known.made.identity != op["identity"]:
            problem = f"{op['alias']} stands on a version {op['number']} that the journal versions does not know so"
            yield Finding(entry_key(line.releases.prefix, number), problem, "damaged")


def _tails(line: Line, *, pasts: _Pasts) -> Iterator[Finding]:
    """Entries carry the heads of their sisters, so a tail that was cut off shows; each lost entry is named once."""
    journals: dict[str, Journal[Any]] = {"versions": line.versions, "releases": line.releases, "notes": line.notes}
    if not line.versions.head and (line.releases.head or line.notes.head):
        yield Finding(
            entry_key(line.versions.prefix, 1), "it is missing although other journals have entries", "missing"
        )
    lost: dict[str, str] = {}
    for name, journal in journals.items():
        for writer, sister, head in pasts.of(journal).seen:
            match head:
                case [int(number), str(seen)] if sister in journals:
                    if not _is_there(journals[sister], number, seen, pasts):
                        key = entry_key(journal_prefix(line.name, sister), number)
                        lost.setdefault(key, f"entry {writer} of {name} has seen it, and it is not as it was seen")
    yield from (Finding(key, problem, "tail") for key, problem in lost.items())


def _is_there(journal: Journal[Any], number: int, seen: str, pasts: _Pasts) -> bool:
    """Whether an entry is as a sister has seen it; one whose loss was accepted need not be."""
    if pasts.of(journal).digests.get(number) == seen or number in journal.sealed:
        return True
    if number <= journal.head:
        return False
    journal.refresh()  # it may have come since that was read
    return pasts.of(journal).digests.get(number) == seen


def _texts(line: Line, *, pasts: _Pasts) -> Iterator[Finding]:
    journals: tuple[Journal[Any], ...] = (line.releases, line.notes)
    for journal in journals:
        for tx, said in pasts.of(journal).texts:
            key = text_key(line.name, tx)
            try:
                if digest(line.home.store.get(key)) != said:
                    yield Finding(key, "it is not the text that was written", "damaged")
            except MissingObjectError:
                continue  # erased


def _packs(line: Line, *, count: _Count) -> Iterator[Finding]:
    """Every pack of one model, each read once."""
    expected = Expected(line)
    for number in line.versions.state.lines:
        if number not in line.releases.state.purged:
            count.versions += 1
            yield from expected.add(number)
    listed = {item.key for item in line.home.store.list(data_prefix(line.name))}
    for pack in expected.extents:
        key = pack_key(line.name, pack)
        listed.discard(key)
        try:
            raw = line.home.store.get(key)
        except MissingObjectError:
            line.read()  # it may have been collected since
            if pack in needed(line.versions.state, line.releases.state):
                yield Finding(key, "it is missing although a version needs it", "missing")
            continue
        except StoreError as error:
            yield Finding(key, str(error), "unreadable")
            continue
        count.bytes += len(raw)
        yield from expected.faults(pack, raw)
    for key in sorted(listed):
        yield Finding(key, "no version needs it: a collection takes it away, unless it is being uploaded", "leftover")
    if line.versions.state.condemned & needed(line.versions.state, line.releases.state):
        line.releases.refresh()  # it may have been purged since that was read
    for pack in sorted(line.versions.state.condemned & needed(line.versions.state, line.releases.state)):
        problem = "it is condemned, although a version that was not purged needs it; see who wrote that entry"
        yield Finding(pack_key(line.name, pack), problem, "condemned")
