"""Erasure, for law: the bytes that one version alone has go at once, also those in packs that others share.

The entries of the journals stay, since nothing that was written there can ever go: what they say is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from modelkeep._compact import empty
from modelkeep._dead import NothingLeftError, condemn, needed, sweep, unerased
from modelkeep._expected import texts_of
from modelkeep._kin import forget
from modelkeep._line import Line, text_digest
from modelkeep.errors import (
    ConflictError,
    IntegrityError,
    InvalidValueError,
    MissingObjectError,
)
from modelkeep.folds.releases import ERASE, Delete, Purge, Releases
from modelkeep.folds.rules import Op
from modelkeep.folds.versions import Create, Move, Variant, Versions
from modelkeep.journal import Journal
from modelkeep.layout import text_key
from modelkeep.manifest import Manifest
from modelkeep.packs import read_manifest
from modelkeep.threads import answers
from modelkeep.values import check_text
from modelkeep.version import Place

_ROUNDS = 5  # others may move versions meanwhile


@attrs.frozen
class Erasure:
    """What an erasure did, and what it could not do.

    Args:
        ref: the version.
        packs: the packs that are gone.
        texts: the texts that are gone: descriptions, and reasons of promotes and the like.
        remains: what is still known of the version, and where copies may be, in sentences.
    """

    ref: str
    packs: tuple[str, ...]
    texts: tuple[str, ...]
    remains: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.ref} was erased. What remains: {' '.join(self.remains)}"


def erase(line: Line, number: int, reason: str) -> Erasure:
    """Purge a version and clear away what it alone had. See `ModelVersion.erase`."""
    if not check_text(reason, "the reason").strip():
        raise InvalidValueError("an erasure needs a reason; say on whose request and by which rule", key="reason")
    line.read()
    forget(line, number)
    if number not in line.releases.state.purged:
        with suppress(NothingLeftError):  # another purged it meanwhile
            _purge(line, number, reason)
    texts = clear_texts(line, {number})
    left = clear(line, number)
    packs = dict.fromkeys(pack for _, packs in _layouts(line, {number}) for pack in packs)
    gone = tuple(pack for pack in packs if pack in line.versions.state.condemned)
    return Erasure(f"{line.name}:{number}", gone, texts, tuple(_remains(line, number, left)))


def _purge(line: Line, number: int, reason: str) -> None:
    ref = f"{line.name}:{number}"

    def decide(state: Releases) -> Sequence[Op]:
        if number in state.held:
            raise ConflictError(f"{ref} is held and cannot be erased; unhold it first", number=number)
        line.check_unused(number, state)
        if number in state.purged:
            raise NothingLeftError(f"{ref} was purged already", number=number)
        hidden: list[Op] = [] if number in state.deleted else [Delete(number)]
        return [*hidden, Purge(number, reason=text_digest(reason), rule=ERASE)]

    line.append("releases", decide, text=reason)


def clear(line: Line, *also: int) -> tuple[tuple[int, str], ...]:
    """Clear away the bytes that versions which are being erased alone had; may be called again and again.

    Reads the manifest of every version: any of them may be stored by what it differs from one that goes.

    Args:
        line: the model.
        also: versions that were purged for another reason.

    Returns:
        Versions that share packs with them and could not be stored anew, and why: those packs stay.

    Raises:
        ConflictError: others moved versions all the while; call again.
    """
    left: tuple[tuple[int, str], ...] = ()
    packs: set[str] = set()
    before: set[str] = set()
    for _ in range(_ROUNDS):
        line.read()
        numbers = {*unerased(line.versions.state, line.releases.state), *also}
        layouts = list(_layouts(line, numbers))
        mixed = _mixed(line, layouts)
        packs.update(mixed, *(own for _, own in layouts))
        if mixed and (mixed != before or not left):  # else it is what damaged versions need, and stays
            before, left = mixed, empty(line, mixed)
            continue
        with suppress(_OvertakenError):
            condemn(line, packs, erased=numbers, check=_unchanged(line, numbers, packs))
            sweep(line, packs)
            return left
    raise ConflictError(f"others stored versions of {line.name!r} anew all the while; erase again", name=line.name)


class _OvertakenError(ConflictError):
    """What was looked at is no longer what is there."""


def _unchanged(line: Line, numbers: Collection[int], packs: set[str]) -> Callable[[Versions], None]:
    """A look at `versions` that refuses it once a version needs other packs than it does now.

    A save may have begun before the purge, and name packs of the version until they are condemned.
    """
    purged = line.releases.state.purged

    def needing(state: Versions) -> dict[int, tuple[Place, tuple[str, ...]]]:
        lines = [(n, own) for n, own in list(state.lines.items()) if n in numbers or n not in purged]  # others may fold
        return {n: (own.at, own.packs) for n, own in lines if n in numbers or not packs.isdisjoint(own.packs)}

    before = needing(line.versions.state)

    def check(state: Versions) -> None:
        if needing(state) != before:
            raise _OvertakenError(f"versions of {line.name!r} were saved or stored anew meanwhile; erase again")

    return check


def _layouts(line: Line, numbers: Collection[int]) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Where versions and their variants lay from first to last, and the packs that they needed: each may have bytes."""
    for entry, _, void in line.versions.replay():
        for op in [] if void else entry.ops:
            if op["op"] in (Create.op, Move.op, Variant.op) and op["number"] in numbers:
                yield Place.parse(op["at"]), tuple(op["packs"])


def _mixed(line: Line, layouts: Sequence[tuple[Place, tuple[str, ...]]]) -> set[str]:
    """The packs that others need and in which bytes of a version lie that no other has as its own."""
    lain = [(at, set(packs), _manifest(line, at)) for at, packs in layouts]
    own = [piece for _, _, manifest in lain if manifest for _, pieces in manifest.files for piece in pieces]
    private = {piece.digest for piece in own}
    elsewhere: dict[bytes, set[str]] = {}
    for other in _others(line):
        private.difference_update(piece.digest for _, pieces in other.files for piece in pieces)
        for piece in other.pieces():
            if piece.digest in private:  # it is stored by what it differs from that
                elsewhere.setdefault(piece.digest, set()).add(other.packs[piece.pack])
    mixed = set[str]().union(*(packs for digest, packs in elsewhere.items() if digest in private))
    for at, packs, manifest in lain:
        mixed |= packs if manifest is None else {at.pack, *_packs_of(manifest, private)}
    return mixed & needed(line.versions.state, line.releases.state)


def _packs_of(manifest: Manifest, digests: set[bytes]) -> set[str]:
    """The packs in which pieces of a version lie that have one of *digests*."""
    return {manifest.packs[piece.pack] for _, own in manifest.files for piece in own if piece.digest in digests}


def _others(line: Line) -> Iterator[Manifest]:
    """The manifests of all versions that were not purged; those that cannot be read are left out."""
    purged = line.releases.state.purged
    places = [known.at for number, known in list(line.versions.state.lines.items()) if number not in purged]
    yield from filter(None, answers(line.home.store, (partial(_manifest, line, at) for at in places)))


def _manifest(line: Line, at: Place) -> Manifest | None:
    with suppress(MissingObjectError, IntegrityError):
        return read_manifest(line.home.store, line.name, at)[0]
    return None


# -- texts -------------------------------------------------------------------------------------------------------


def clear_texts(line: Line, numbers: Collection[int]) -> tuple[str, ...]:
    """Delete what people wrote about versions, but for why they were erased."""
    journals: tuple[Journal[Any], ...] = (line.releases, line.notes)
    line.notes.refresh()
    keys = []
    for journal in journals:
        for entry, _, _ in journal.replay():
            about = [op for op in entry.ops if type(named := op.get("number")) is int and named in numbers]
            if texts_of(entry) and about and not any(op["op"] == Purge.op for op in about):
                keys.append(text_key(line.name, entry.tx))
    line.home.store.delete(keys)
    return tuple(keys)


def _remains(line: Line, number: int, left: Sequence[tuple[int, str]]) -> Iterator[str]:
    made = line.line(number).made
    facts = ["its number, digests, size, times and authors"]
    facts += [f"the label {label}"] if (label := line.line(number).label) else []
    facts += [
        f"{kind}s {', '.join(held)}" for kind, held in (("parameter", made.params), ("metric", made.metrics)) if held
    ]
    facts += [f"the variants {', '.join(kinds)}"] if (kinds := line.line(number).variants) else []
    said = line.notes.state
    facts += [f"metric {name}, measured later" for name in said.measured.get(number, ())]
    facts += [f"tags {', '.join(tags)}"] if (tags := said.tags.get(number)) else []
    yield f"The journals of {line.name!r} keep {'; '.join(facts)}, for entries cannot be erased."
    purged = line.releases.state.purged
    same = [
        n for n, known in line.versions.state.lines.items() if known.made.content == made.content and n not in purged
    ]
    if same:
        yield f"Versions {', '.join(map(str, same))} have the same files."
    yield "Tensors that other versions have too stay with these."
    if drafts := line.drafts():
        yield (
            f"{len(drafts)} failed runs of {line.name!r} have records of their own, with parameters, notes and errors; "
            f"drop them in registry.model({line.name!r}).failed_runs(), and collect."
        )
    for other, why in left:
        yield f"Packs with bytes of it stay, since version {other} needs them and could not be stored anew: {why}."
    yield "Uploads that were never finished may hold bytes of it until they are collected."
    yield (
        "Copies elsewhere are not touched: registries that it was pushed to, backups, old versions of objects that the "
        "bucket keeps, caches of other machines, and models that were made from it."
    )
