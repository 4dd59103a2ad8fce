"""The journals of a model or dataset, opened once per process: what `RegisteredModel`, versions and saves share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, overload

import attrs

from modelkeep._home import Home
from modelkeep.atrest import Recent
from modelkeep.birth import Birth
from modelkeep.digest import digest
from modelkeep.entry import Entry, Head
from modelkeep.errors import (
    DeletedError,
    IntegrityError,
    InUseError,
    MissingObjectError,
    ModelkeepError,
    ObjectExistsError,
    StoreError,
    UnknownDatasetError,
    UnknownModelError,
    UnknownVersionError,
    UnsettledError,
    shown,
)
from modelkeep.folds import notes as said
from modelkeep.folds import releases as used
from modelkeep.folds import versions as made
from modelkeep.folds.rules import Op
from modelkeep.journal import Journal
from modelkeep.layout import (
    catalog_key,
    entry_key,
    is_dataset,
    journal_prefix,
    own_name,
    text_key,
    word_for,
)
from modelkeep.values import check_text

JournalName = Literal["versions", "releases", "notes"]
RULES: dict[JournalName, Any] = {
    "versions": made.RULES,
    "releases": used.RULES,
    "notes": said.RULES,
}


@overload
def text_digest(text: str) -> str: ...
@overload
def text_digest(text: None) -> None: ...
@overload
def text_digest(text: str | None) -> str | None: ...
def text_digest(text: str | None) -> str | None:
    """The digest by which an entry refers to a text in `texts/`; None for none.

    Raises:
        InvalidValueError: it is no text.
    """
    return None if text is None else digest(check_text(text, "the text").encode())


def unknown_line(name: str, rest: str) -> UnknownModelError:
    """The error for a name under which nothing was saved; *rest* ends the sentence: where, and the way out."""
    error = UnknownDatasetError if is_dataset(name) else UnknownModelError
    return error(f"there is no {word_for(name)} {own_name(name)!r}{rest}", name=own_name(name))


@attrs.frozen
class Line:
    """A named line of versions in a registry that exists.

    Args:
        home: the registry.
        name: the model; of a dataset ``datasets/`` and its name.
        versions: what exists.
        releases: what is in use.
        notes: what people say.
        birth: where it was born, if it was pushed here.
        recent: the manifests of versions that this process saved or loaded last.
    """

    home: Home
    name: str
    versions: Journal[made.Versions] = attrs.field(repr=False)
    releases: Journal[used.Releases] = attrs.field(repr=False)
    notes: Journal[said.Notes] = attrs.field(repr=False)
    birth: Birth = attrs.field(repr=False)
    recent: Recent = attrs.field(factory=Recent, repr=False)

    @classmethod
    def open(cls, home: Home, name: str, registry: str, *, cached: bool = True) -> Line:
        """Make the journals of *name*; reads nothing. Not *cached*, they are what the storage itself has now."""
        store = home.journals(registry) if cached else home.store
        birth = Birth(home.store, name, registry)
        journals: dict[str, Any] = {
            journal: Journal(store, journal_prefix(name, journal), registry, rules, home.system, birth=birth)
            for journal, rules in RULES.items()
        }
        return cls(home, name, **journals, birth=birth)

    @property
    def journals(self) -> dict[str, Journal[Any]]:
        """The journals, by their names."""
        return {"versions": self.versions, "releases": self.releases, "notes": self.notes}

    # -- reading ---------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Fold `releases`, then `versions`: in this order an alias never names a version that is not known.

        Two GETs when warm. Cold and far away two rounds up to 16 versions, three or four up to 100,000: `versions` is
        listed meanwhile, and read after.

        Raises:
            UnknownModelError: nothing was ever saved under this name.
        """
        ahead = self.versions.look_ahead()
        self.releases.refresh()
        self.versions.refresh(ahead)
        if not self.versions.head:
            raise self.unknown()

    def unknown(self) -> UnknownModelError:
        """The error for a name under which nothing was saved."""
        listing = f"registry.{word_for(self.name)}s()"
        return unknown_line(self.name, f" in {self.home.store.url}; save one, or see {listing}")

    def opened_as(self, number: int) -> str:
        """The call that gives a version of this line, deleted or not; for messages."""
        if is_dataset(self.name):
            return f"registry.dataset('{own_name(self.name)}:{number}', deleted=True)"
        return f"registry.model({self.name!r}).version({number})"

    def line(self, number: int) -> made.Line:
        """The journal's line about a version, as far as read.

        Raises:
            UnknownVersionError: there is no such version.
        """
        found = self.versions.state.lines.get(number)
        if found is None:
            known = self.versions.state.highest
            raise UnknownVersionError(
                f"{self.name} has no version {shown(number)}; its latest is {known or 'none'}",
                name=self.name,
                number=number,
            )
        return found

    def drafts(self) -> dict[str, made.DraftLine]:
        """The drafts that are kept in this registry and were not dropped, by id, as far as read; pushes carry none."""
        here = self.birth.registry
        return {name: draft for name, draft in self.versions.state.kept_drafts().items() if draft.made.registry == here}

    def draft(self, name: str) -> made.DraftLine:
        """The journal's line about a draft, as far as read.

        Raises:
            DeletedError: it was dropped.
        """
        if name in self.versions.state.dropped:
            raise DeletedError(
                f"{self.name}~{name} was dropped and cannot be read any more", name=self.name, draft=name
            )
        return self.versions.state.drafts[name]

    def check_alive(self, number: int) -> None:
        """Raises `DeletedError` if the version is deleted or purged, as far as read."""
        state = self.releases.state
        if number in state.purged:
            raise DeletedError(
                f"{self.name}:{number} was purged and cannot be read any more", name=self.name, number=number
            )
        if number in state.deleted:
            raise DeletedError(
                f"{self.name}:{number} is deleted; bring it back with {self.opened_as(number)}.restore()",
                name=self.name,
                number=number,
            )

    def check_unused(self, number: int, state: used.Releases) -> None:
        """Raises `InUseError` if the version stands under an alias, so that it must not go."""
        if aliases := state.aliases_of(number):
            raise InUseError(
                f"{self.name}:{number} stands under {', '.join(aliases)}; promote another version or unset the alias "
                "first",
                aliases=list(aliases),
            )

    def text(self, ref: said.TextRef) -> str | None:
        """A text that an entry refers to; None if it was erased.

        Raises:
            IntegrityError: the text is not the one that was written.
        """
        key = text_key(self.name, ref.tx)
        try:
            raw = self.home.store.get(key)
        except MissingObjectError:
            return None
        if digest(raw) != ref.digest:
            raise IntegrityError(f"{key} is not the text that was written; bring it back from a backup", key=key)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise IntegrityError(f"{key} is no text; whoever wrote it was no modelkeep", key=key) from None

    def text_of(self, entry: Entry, named: str) -> str | None:
        """The text that *entry* refers to by the digest *named*, such as a reason; see `text`."""
        return self.text(said.TextRef(entry.tx, named, entry.time, entry.actor))

    # -- writing ---------------------------------------------------------------------------------------------

    def append(
        self,
        journal: JournalName,
        decide: Callable[[Any], Sequence[Op]],
        *,
        tx: str | None = None,
        text: str | None = None,
    ) -> Entry:
        """Append to one of the journals, noting the heads of the others. One write when warm, one more for *text*.

        Args:
            journal: which.
            decide: see `Journal.append`.
            tx: the transaction; without it a new one.
            text: goes to `texts/` under the transaction, before the entry that names its digest.
        """
        text_digest(text)
        self.home.prepare()
        transaction = tx or self.home.system.new_id()
        if text is not None:
            self.home.store.put_pack(text_key(self.name, transaction), [text.encode()])
        journals = self.journals
        target = journals.pop(journal)
        sisters: dict[str, Head] = {name: sister.seen for name, sister in journals.items()}
        if self.versions.head and not self.versions.sealed:
            self.birth.note_sound()
        try:
            entry = target.append(decide, tx=transaction, sisters=sisters)
        except ModelkeepError as error:
            if text is not None and not isinstance(error, UnsettledError):
                with suppress(StoreError):  # no entry names it
                    self.home.store.delete([text_key(self.name, transaction)])
            raise
        self.home.check_clock(entry_key(target.prefix, entry.number), committed=True)
        return entry

    def announce(self) -> None:
        """Put the marker that lists the model; a failure only warns, for nothing is resolved by it."""
        try:
            with suppress(ObjectExistsError):
                self.home.store.create(catalog_key(self.name), b"")
        except StoreError as error:
            with suppress(Warning):  # where warnings are errors, this one must not undo a save
                listing = f"registry.{word_for(self.name)}s()"
                warnings.warn(f"{listing} will not list {own_name(self.name)}: {error}", stacklevel=2)
