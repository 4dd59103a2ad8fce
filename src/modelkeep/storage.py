"""`Storage`: the bytes of a registry, and whether all of them are as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import attrs

from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep.digest import digest, raw_digest
from modelkeep.errors import (
    FormatError,
    IntegrityError,
    InvalidNameError,
    InvalidValueError,
    MissingObjectError,
    ModelkeepError,
)
from modelkeep.folds import policy
from modelkeep.journal import Journal
from modelkeep.layout import (
    CATALOG,
    MARKER,
    POLICY,
    catalog_key,
    data_prefix,
    entry_key,
    journal_prefix,
    number_of,
    pack_key,
    text_key,
)
from modelkeep.manifest import Manifest, ManifestError
from modelkeep.packs import padding_faults
from modelkeep.reading import Finding
from modelkeep.ref import decode_name
from modelkeep.version import Place, identity_digest

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
        """Whether nothing is wrong; uploads that no entry names, and a model that is not listed, are harmless."""
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

        Costs a listing, and a read of every object.

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
            registry = self._home.id()
        except IntegrityError as error:
            return Report((Finding(MARKER, str(error), "damaged"),), 0, 0, 0)
        except FormatError as error:
            if "format" in error.facts or not self._names():
                raise
            return Report((Finding(MARKER, str(error), "missing"),), 0, 0, 0)
        if registry is None:
            raise FormatError(f"{self._home.store.url} holds no registry yet; save a model first")
        return Report(tuple(self._findings(registry, count)), count.models, count.versions, count.bytes)

    def seal(self, key: str) -> None:
        """Accept the loss of a damaged journal entry, so that its model can be read and written again.

        What the entry did is gone for good; a number that it gave is not given again.

        Args:
            key: the entry, as the `IntegrityError` or `verify` named it.

        Raises:
            InvalidValueError: *key* is no entry of a journal.
            ConflictError: the entry is sound.
        """
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
        yield Journal(self._home.store, POLICY, registry, policy.RULES, self._home.system)

    def _findings(self, registry: str, count: _Count) -> Iterator[Finding]:
        for journal in self._journals(registry):
            yield from journal.verify()
        announced = set(self._announced())
        for name in self._names():
            line = Line.open(self._home, name, registry, cached=False)
            count.models += 1
            try:
                for journal in (line.releases, line.versions, line.notes):
                    journal.refresh()
            except ModelkeepError:
                continue  # reported already, and without it nothing more can be said
            yield from _tails(line)
            yield from _Packs(line).findings(count)
            yield from _texts(line)
            if line.versions.state.is_open and name not in announced:
                yield Finding(catalog_key(name), "models() does not list the model: its marker is missing", "unlisted")
        for item in self._home.store.list(CATALOG):
            if item.size or _announced_name(item.key) is None:
                yield Finding(item.key, "it is no marker of a model", "stray")

    def _announced(self) -> Iterator[str]:
        for item in self._home.store.list(CATALOG):
            name = _announced_name(item.key)
            if name is not None:
                yield name


def _announced_name(key: str) -> str | None:
    with suppress(InvalidNameError):
        return decode_name(key[len(CATALOG) :])
    return None


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
            for said in [op.get("reason") or op.get("text") for op in entry.ops]:
                key = text_key(line.name, entry.tx)
                try:
                    if isinstance(said, str) and digest(line.home.store.get(key)) != said:
                        yield Finding(key, "it is not the text that was written", "damaged")
                except MissingObjectError:
                    continue  # erased


@attrs.define
class _Packs:
    """The packs of one model, each read once, with all that versions say about them."""

    line: Line
    extents: dict[str, list[tuple[int, int]]] = attrs.Factory(dict)
    wanted: dict[str, list[tuple[int, int, bytes, str]]] = attrs.Factory(dict)

    def findings(self, count: _Count) -> Iterator[Finding]:
        for number in self.line.versions.state.lines:
            if number in self.line.releases.state.purged:
                continue
            count.versions += 1
            yield from self._manifest(number)
        listed = {item.key for item in self.line.home.store.list(data_prefix(self.line.name))}
        for pack, extents in self.extents.items():
            key = pack_key(self.line.name, pack)
            listed.discard(key)
            try:
                raw = self.line.home.store.get(key)
            except MissingObjectError:
                yield Finding(key, "it is missing although a version needs it", "missing")
                continue
            count.bytes += len(raw)
            yield from self._pieces(key, raw, self.wanted.get(pack, []))
            yield from (Finding(key, problem, "damaged") for problem in padding_faults(raw, extents))
        for key in sorted(listed):
            yield Finding(key, "no entry names it: an upload that was not finished, or is under way", "leftover")

    def _manifest(self, number: int) -> Iterator[Finding]:
        known = self.line.versions.state.lines[number]
        place: Place = known.at
        key = pack_key(self.line.name, place.pack)
        self.extents.setdefault(place.pack, []).append((place.offset, place.length))
        try:
            manifest = Manifest.parse(self.line.home.store.get(key, (place.offset, place.length)))
        except MissingObjectError:
            return  # reported with its pack
        except ManifestError as error:
            yield Finding(key, f"the manifest of version {number} is damaged: {error}", "damaged")
            return
        if identity_digest(manifest.content(), manifest.record, number) != known.made.identity:
            yield Finding(key, f"the manifest is not that of version {number}", "damaged")
        for path, pieces in manifest.files:
            for piece in pieces:
                pack = manifest.packs[piece.pack]
                self.extents.setdefault(pack, []).append((piece.offset, piece.stored))
                what = f"{path!r} of version {number}"
                self.wanted.setdefault(pack, []).append((piece.offset, piece.stored, piece.stored_digest, what))

    def _pieces(self, key: str, raw: bytes, wanted: list[tuple[int, int, bytes, str]]) -> Iterator[Finding]:
        view = memoryview(raw)
        for offset, stored, expected, what in wanted:
            if raw_digest(view[offset : offset + stored]) != expected:
                yield Finding(key, f"bytes {offset} to {offset + stored}, of {what}, are not as written", "damaged")
