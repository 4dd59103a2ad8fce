"""What the journals of a model say about each other and about its texts, and which of it is not so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from modelkeep._expected import texts_of
from modelkeep._line import Line
from modelkeep.digest import digest
from modelkeep.errors import MissingObjectError
from modelkeep.journal import Journal
from modelkeep.layout import entry_key, journal_prefix, text_key
from modelkeep.reading import Finding


@attrs.frozen
class Past:
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
    def of(cls, journal: Journal[Any]) -> Past:
        """Replay a journal as far as it was read."""
        past = cls()
        for entry, _, void in journal.replay():
            past.digests[entry.number] = entry.digest
            past.seen.extend((entry.number, sister, head) for sister, head in entry.seen.items())
            past.aliases.extend((entry.number, op) for op in ([] if void else entry.ops) if op["op"] == "alias")
            past.texts.extend((entry.tx, said) for said in texts_of(entry))
        return past


class Pasts:
    """The pasts of journals, each replayed once, and again only where it was read on since."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Past]] = {}

    def of(self, journal: Journal[Any]) -> Past:
        """That of a journal.

        Raises:
            IntegrityError: an entry was damaged or lost since it was read.
        """
        head, past = self._known.get(journal.prefix, (-1, Past()))
        if head != journal.head:
            head, past = journal.head, Past.of(journal)
            self._known[journal.prefix] = head, past
        return past


def holders(line: Line, pasts: Pasts, cut: Collection[str]) -> Iterator[Finding]:
    """An alias tells number and identity by itself, so that readers need one journal; the other must agree."""
    held = {(h.number, h.identity) for stack in line.releases.state.stacks.values() for h in stack}
    for number, op in pasts.of(line.releases).aliases:
        if (op["number"], op["identity"]) not in held:
            continue
        known = line.versions.state.lines.get(op["number"])
        if known is None and (line.versions.sealed or "versions" in cut):
            continue  # its entry may be the one that was lost
        if known is None or known.made.identity != op["identity"]:
            problem = f"{op['alias']} stands on a version {op['number']} that the journal versions does not know so"
            yield Finding(entry_key(line.releases.prefix, number), problem, "damaged")


def tails(line: Line, journals: Mapping[str, Journal[Any]], pasts: Pasts, cut: set[str]) -> Iterator[Finding]:
    """Entries carry the heads of their sisters, so a tail that was cut off shows; each lost entry is named once.

    The journals that were cut go to *cut*.
    """
    if "versions" in journals and not line.versions.head and (line.releases.head or line.notes.head):
        cut.add("versions")
        key = entry_key(line.versions.prefix, 1)
        yield Finding(key, "it is missing although other journals have entries", "missing")
    lost: dict[str, str] = {}
    for name, journal in journals.items():
        for writer, sister, head in pasts.of(journal).seen:
            match head:
                case [int(number), str(seen)] if sister in journals:
                    if not _is_there(journals[sister], number, seen, pasts):
                        cut.add(sister)
                        key = entry_key(journal_prefix(line.name, sister), number)
                        lost.setdefault(key, f"entry {writer} of {name} has seen it, and it is not as it was seen")
    yield from (Finding(key, problem, "tail") for key, problem in lost.items())


def _is_there(journal: Journal[Any], number: int, seen: str, pasts: Pasts) -> bool:
    """Whether an entry is as a sister has seen it; one whose loss was accepted need not be."""
    if pasts.of(journal).digests.get(number) == seen or number in journal.sealed:
        return True
    if number <= journal.head:
        return False
    journal.refresh()  # it may have come since that was read
    return pasts.of(journal).digests.get(number) == seen


def texts(line: Line, journals: Mapping[str, Journal[Any]], pasts: Pasts) -> Iterator[Finding]:
    """Texts that are not those to which entries refer; one that is not there was erased."""
    for name in ("releases", "notes"):
        for tx, said in pasts.of(journals[name]).texts if name in journals else ():
            key = text_key(line.name, tx)
            try:
                if digest(line.home.store.get(key)) != said:
                    yield Finding(key, "it is not the text that was written", "damaged")
            except MissingObjectError:
                continue  # erased
