"""`Storage`: the bytes of a registry, and whether all of them are as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from modelkeep._expected import Expected, texts_of
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep.digest import digest
from modelkeep.errors import (
    FormatError,
    IntegrityError,
    InvalidNameError,
    InvalidValueError,
    MissingObjectError,
    ModelkeepError,
    StoreError,
)
from modelkeep.folds import policy
from modelkeep.journal import Journal
from modelkeep.layout import (
    CATALOG,
    MARKER,
    POLICY,
    PROBES,
    catalog_key,
    data_prefix,
    entry_key,
    is_probe,
    journal_prefix,
    model_prefix,
    number_of,
    pack_key,
    text_key,
)
from modelkeep.reading import Finding
from modelkeep.ref import decode_name
from modelkeep.usage import Usage, measure

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
class Storage:
    """The bytes of a registry. Made by `Registry.storage`."""

    _home: Home

    def verify(self) -> Report:
        """Read everything and check every byte: journals, chains, tiles, packs, padding, texts.

        Costs a few listings for each model, and a read of every object; entries are read some five times, since each
        check folds them by itself. A pack is held in memory as a whole.

        Returns:
            What was found; nothing is changed.

        Raises:
            FormatError: there is no registry, or one of a newer format.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://verify")
            >>> _ = registry.save({"w": np.zeros(3)}, "churn")
            >>> registry.storage.verify().ok
            True
        """
        count = _Count()
        try:
            registry = Home(self._home.store, self._home.system).id()  # as it is now, not as it once was
        except IntegrityError as error:
            return Report((Finding(MARKER, str(error), "damaged"),), 0, 0, 0)
        except FormatError as error:
            if "format" in error.facts or not self._names():
                raise
            return Report((Finding(MARKER, str(error), "missing"),), 0, 0, 0)
        if registry is None:
            raise FormatError(f"{self._home.store.url} holds no registry yet; save a model first")
        return Report(tuple(self._findings(registry, count)), count.models, count.versions, count.bytes)

    def usage(self) -> Usage:
        """Add up the bytes of all models and versions. Costs one listing of all models, and a read of their journals.

        No manifest and no pack is read. What is being saved meanwhile may count as left over.

        Raises:
            IntegrityError: a journal is damaged; names the object.
            FormatError: the place is no registry, or one of a newer format.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://usage")
            >>> for seed in (1, 2):
            ...     _ = registry.save({"w": np.full(1000, seed)}, "churn")
            >>> (churn,) = registry.storage.usage().models
            >>> churn.name, churn.logical, [version.logical for version in churn.versions]
            ('churn', 16256, [8128, 8128])
        """
        return measure(self._home)

    def seal(self, key: str) -> None:
        """Accept the loss of a damaged journal entry, so that its model can be read and written again.

        What the entry did is gone for good; a number that it gave is not given again.

        Args:
            key: the entry, as the `IntegrityError` or `verify` named it.

        Raises:
            InvalidValueError: *key* is no entry of a journal.
            ConflictError: the entry is sound.
        """
        if not isinstance(key, str):
            raise InvalidValueError(f"{key!r} is no key of an entry; `modelkeep verify` names them", key=key)
        number = number_of(key)
        prefix = key.rpartition("/")[0] + "/"
        registry = self._home.prepare()
        for journal in self._journals(registry):
            if journal.prefix == prefix and number is not None:
                journal.seal(number)
                return
        raise InvalidValueError(f"{key!r} is no entry of a journal; `modelkeep verify` names them", key=key)

    def _names(self) -> list[str]:
        names = set()
        for item in self._home.store.list("models/"):
            with suppress(InvalidNameError):
                names.add(decode_name(item.key.split("/")[1]))
        return sorted(names)

    def _journals(self, registry: str) -> Iterator[Journal[Any]]:
        for name in self._names():
            line = Line.open(self._home, name, registry, cached=False)
            yield from (line.versions, line.releases, line.notes)
        yield self._policy(registry)

    def _policy(self, registry: str) -> Journal[Any]:
        return Journal(self._home.store, POLICY, registry, policy.RULES, self._home.system)

    def _findings(self, registry: str, count: _Count) -> Iterator[Finding]:
        for name in self._names():
            yield from _history(Line.open(self._home, name, registry, cached=False))
        yield from self._policy(registry).verify()
        announced = set(self._announced())
        for name in self._names():
            line = Line.open(self._home, name, registry, cached=False)
            count.models += 1
            try:
                for journal in (line.releases, line.versions, line.notes):
                    journal.refresh()
            except ModelkeepError:
                continue  # reported already, and without it nothing more can be said
            yield from _contents(line, count)
            if line.versions.state.is_open and name not in announced:
                yield Finding(catalog_key(name), "models() does not list the model: its marker is missing", "unlisted")
        yield from self._strays()

    def _strays(self) -> Iterator[Finding]:
        for item in self._home.store.list(CATALOG):
            if item.size or _announced_name(item.key) is None:
                yield Finding(item.key, "it is no marker of a model", "stray")
        for item in self._home.store.list(PROBES):
            if is_probe(item.key):
                yield Finding(item.key, "a doctor left it behind, or is at work; it may be deleted", "leftover")

    def _announced(self) -> Iterator[str]:
        for item in self._home.store.list(CATALOG):
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
    for check in (_holders, _tails, partial(_packs, count=count), _texts):
        try:
            yield from check(line)
        except StoreError as error:  # what it names is reported, where it can be read by itself
            yield Finding(str(error.facts.get("key", model_prefix(line.name))), str(error), "unreadable")


def _holders(line: Line) -> Iterator[Finding]:
    """An alias tells number and identity by itself, so that readers need one journal; the other must agree."""
    held = {(h.number, h.identity) for stack in line.releases.state.stacks.values() for h in stack}
    for entry, _, void in line.releases.replay():
        for op in [] if void else entry.ops:
            if op["op"] != "alias" or (op["number"], op["identity"]) not in held:
                continue
            known = line.versions.state.lines.get(op["number"])
            if known is None and line.versions.sealed:
                continue  # its entry may be the one that was lost
            if known is None or known.made.identity != op["identity"]:
                problem = f"{op['alias']} stands on a version {op['number']} that the journal versions does not know so"
                yield Finding(entry_key(line.releases.prefix, entry.number), problem, "damaged")


def _tails(line: Line) -> Iterator[Finding]:
    """Entries carry the heads of their sisters, so a tail that was cut off shows; each lost entry is named once."""
    journals: dict[str, Journal[Any]] = {"versions": line.versions, "releases": line.releases, "notes": line.notes}
    digests = {name: _digests(journal) for name, journal in journals.items()}
    if not line.versions.head and (line.releases.head or line.notes.head):
        yield Finding(
            entry_key(line.versions.prefix, 1), "it is missing although other journals have entries", "missing"
        )
    lost: dict[str, str] = {}
    for name, journal in journals.items():
        for entry, _, _ in journal.replay():
            for sister, head in entry.seen.items():
                match head:
                    case [int(number), str(seen)] if sister in digests and digests[sister].get(number) != seen:
                        if number in journals[sister].sealed:
                            continue
                        if number > journals[sister].head:  # it may have come since that journal was read
                            journals[sister].refresh()
                            digests[sister] = _digests(journals[sister])
                            if digests[sister].get(number) == seen:
                                continue
                        key = entry_key(journal_prefix(line.name, sister), number)
                        lost.setdefault(
                            key, f"entry {entry.number} of {name} has seen it, and it is not as it was seen"
                        )
    yield from (Finding(key, problem, "tail") for key, problem in lost.items())


def _digests(journal: Journal[Any]) -> dict[int, str]:
    return {entry.number: entry.digest for entry, _, _ in journal.replay()}


def _texts(line: Line) -> Iterator[Finding]:
    journals: tuple[Journal[Any], ...] = (line.releases, line.notes)
    for journal in journals:
        for entry, _, _ in journal.replay():
            for said in texts_of(entry):
                key = text_key(line.name, entry.tx)
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
            yield Finding(key, "it is missing although a version needs it", "missing")
            continue
        except StoreError as error:
            yield Finding(key, str(error), "unreadable")
            continue
        count.bytes += len(raw)
        yield from expected.faults(pack, raw)
    for key in sorted(listed):
        yield Finding(key, "no entry names it: an upload that was not finished, or is under way", "leftover")
