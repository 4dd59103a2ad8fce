"""Writing versions anew and moving them: new packs first, invisible; then the one entry that says where they lie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Any

import attrs

from modelkeep._dead import condemnation, sweep
from modelkeep._fates import Fate, Plan
from modelkeep._places import Places, Rewritten, settled
from modelkeep._repack import BrokenError, Made, Maker
from modelkeep.codecs import RAW
from modelkeep.digest import Buffer
from modelkeep.entry import Entry
from modelkeep.errors import ConflictError, IntegrityError, ModelkeepError, StoreError, UnsettledError
from modelkeep.folds import versions
from modelkeep.folds.rules import Op
from modelkeep.layout import pack_key
from modelkeep.manifest import Manifest, Piece
from modelkeep.packs import MAGIC, MAX_PACK, alignment
from modelkeep.version import Place

GATHERED = 64 * 1024 * 1024  # bytes to be written; what a crash undoes, and what lies there twice for a while
_TOGETHER = 1000  # versions in one entry, at most: it stays far below what a store creates at once

Files = tuple[tuple[str, tuple[Piece, ...]], ...]


@attrs.frozen(eq=False)
class _Moved:
    """A version that lies in new packs, before the journal says so."""

    rewritten: Rewritten
    files: Files
    manifest: Manifest
    at: Place

    @property
    def number(self) -> int:
        return self.rewritten.held.number

    def lacks(self, state: versions.Versions) -> str | None:
        """Whether a pack that it would need was condemned."""
        fits = state.condemned.isdisjoint(self.manifest.packs)
        return None if fits else "a pack that it needs was emptied meanwhile; compact again"

    def operation(self) -> versions.Move:
        """The move."""
        return versions.Move(self.number, self.rewritten.held.known.at, self.at, self.manifest.packs)


class _OvertakenError(ConflictError):
    """Versions of a batch were moved or purged meanwhile, or need what was condemned; the fact *why* names them.

    The others are written again without them: bytes of which no entry tells have no place in a pack that is needed.
    """


@attrs.define(eq=False)
class Rewriting:
    """One run over a plan.

    Args:
        plan: what is to be written anew.
        progress: hears how many bytes of these versions were done since the last call.
        doomed: packs that are to go once nobody needs them.
        moved: versions that were moved: where they lie now, and their pieces.
        left: versions that stay as they are after all, and why.
        overtaken: those of them that others were about meanwhile: another run may do better.
        rates: for each form bytes that were read back, and the seconds that took.
    """

    plan: Plan
    progress: Callable[[int], None]
    doomed: Collection[str] = ()
    moved: dict[int, tuple[Place, Files]] = attrs.Factory(dict)
    left: dict[int, str] = attrs.Factory(dict)
    overtaken: set[int] = attrs.Factory(set)
    rates: dict[str, tuple[int, float]] = attrs.Factory(dict)
    places: Places = attrs.field(init=False)
    _count: int = 0
    _raw: dict[bytes, Piece] = attrs.Factory(dict)  # where pieces lay raw, while that is still there
    _emptied: dict[str, set[int]] = attrs.Factory(dict)  # condemned packs, with the versions that lay there

    @places.default
    def _begin(self) -> Places:
        return Places(self.plan, self.plan.survey.line.home.system.new_id())

    def run(self) -> None:
        """Write all of it.

        Raises:
            StoreError: the store refused; what was moved before stays moved.
            UnsettledError: no answer came about an entry.
        """
        if self.plan.order:
            self.plan.survey.line.home.prepare()
        todo = list(self.plan.order)
        try:
            self._write_all(todo)
        finally:
            self._sweep([])

    def _write_all(self, todo: list[tuple[int, int | None]]) -> None:
        while todo:
            batch = self._gathered(todo)
            if not batch:
                return
            try:
                self._carry_out(batch)
            except BrokenError as error:
                self._leave(error.number, error.reason)
                continue  # the others again, without it
            except _OvertakenError as error:
                self.left.update(error.why)
                self.overtaken.update(error.why)
                self.places.left.update(error.why)
                continue
            del todo[: 1 + next(i for i, (number, _) in enumerate(todo) if number == batch[-1].held.number)]
            self._sweep(todo)

    def _gathered(self, todo: Sequence[tuple[int, int | None]]) -> list[Rewritten]:
        """New places for the next versions, so many that they make up a pack."""
        self.places.planned.clear()
        found: list[Rewritten] = []
        size = 0
        for number, base in todo:
            if number in self.left:
                continue
            found.append(self.places.of(self.plan.survey.held[number], base))
            self.places.planned.update(found[-1].new)
            size += sum(write.old.length for write in found[-1].writes)
            if size >= GATHERED or len(found) >= _TOGETHER:
                break
        return found

    def _leave(self, number: int, reason: str) -> None:
        line = self.plan.survey.line
        line.read()
        gone = self._gone(line.versions.state, number)
        if gone:
            self.overtaken.add(number)
        self.left[number] = gone or reason
        self.places.left.add(number)

    def _gone(self, state: versions.Versions, number: int) -> str | None:
        """Why a version is no longer to be moved, if it is not."""
        survey = self.plan.survey
        # an erasure that came after `releases` was read shows in `versions`: its bytes must not come back
        if number in survey.line.releases.state.purged or number in state.purged:
            return "it was purged meanwhile"
        return None if state.lines[number].at == survey.held[number].known.at else "it was moved meanwhile"

    # -- one batch -------------------------------------------------------------------------------------------

    def _carry_out(self, batch: Sequence[Rewritten]) -> None:
        line = self.plan.survey.line
        own: list[str] = []
        try:
            moved = self._write(batch, own)  # 1 invisible until named
            line.releases.refresh()
        except BaseException:
            self._discard(own)
            raise
        try:
            entry = line.append("versions", partial(self._decide, moved))  # 2 the only moment that matters
        except ModelkeepError as error:
            if not isinstance(error, UnsettledError):  # else the entry may stand, and need them
                self._discard(own)
            raise
        self._note(entry, moved)

    def _discard(self, own: Sequence[str]) -> None:
        line = self.plan.survey.line
        if own:
            with suppress(StoreError):  # no entry names them
                line.home.store.delete([pack_key(line.name, pack) for pack in own])

    def _write(self, batch: Sequence[Rewritten], own: list[str]) -> list[_Moved]:
        """The packs of a batch; the last one ends with the manifests of all its versions."""
        survey = self.plan.survey
        maker = Maker(survey.opened(), self.plan.fates.forms, self._raw)
        writes = ((one.held.number, write) for one in batch for write in one.writes)
        with closing(_Packs(self, batch, maker.all(writes))) as packs:
            while packs.moved is None:
                self._count += 1
                own.append(f"{self.places.transaction}-{self._count}")
                survey.line.home.store.put_pack(pack_key(survey.line.name, own[-1]), packs.pack(own[-1]))
        return packs.moved

    def _decide(self, moved: Sequence[_Moved], state: versions.Versions) -> list[Op]:
        why = {one.number: reason for one in moved if (reason := self._gone(state, one.number) or one.lacks(state))}
        if why:
            raise _OvertakenError("versions were moved or purged meanwhile; compact again", why=why)
        moves = [one.operation() for one in moved]
        lain = {pack for move in moves for pack in state.lines[move.number].own}
        releases = self.plan.survey.line.releases.state
        condemn = condemnation(state, releases, lain | state.left | set(self.doomed), moves)
        return [*moves, *([condemn] if condemn else [])]

    def _note(self, entry: Entry, moved: Sequence[_Moved]) -> None:
        """Remember what the entry did."""
        for one in moved:
            self.moved[one.number] = (one.at, one.files)
            self.places.new.update({digest: settled(slot) for digest, slot in one.rewritten.new.items()})
        condemned = [pack for op in entry.ops if op["op"] == "condemn" for pack in op["packs"]]
        numbers = {one.number for one in moved}
        self._emptied.update(dict.fromkeys(condemned, numbers))
        self._raw.update({w.digest: w.old for one in moved for w in one.rewritten.writes if w.old.codec == RAW})

    def _sweep(self, todo: Sequence[tuple[int, int | None]]) -> None:
        """Take away what was condemned, but for what versions of *todo* are turned by: there it can be read raw."""
        bases = {base for _, base in todo if base is not None}
        dead = [pack for pack, numbers in self._emptied.items() if numbers.isdisjoint(bases)]
        for pack in dead:
            del self._emptied[pack]
        gone = {self.plan.survey.pack(pack) for pack in dead}
        self._raw = {digest: piece for digest, piece in self._raw.items() if piece.pack not in gone}
        with suppress(StoreError):  # a collector deletes what is left
            sweep(self.plan.survey.line, dead)


class _Packs:
    """Deals what was made out to packs, one after the other."""

    def __init__(self, run: Rewriting, batch: Sequence[Rewritten], made: Iterator[Made]) -> None:
        self.moved: list[_Moved] | None = None
        self._run = run
        self._batch = batch
        self._made: Any = made
        self._told = 0
        self._next = next(made, None)

    def close(self) -> None:
        self._made.close()

    def pack(self, pack: str) -> Iterator[Buffer]:
        """The bytes of the next pack, with the manifests if it is the last."""
        index = self._run.plan.survey.pack(pack)
        yield MAGIC
        offset = len(MAGIC)
        begun: object = None  # the raw tensor whose bytes end the pack so far
        while self._next is not None:
            made = self._next
            mark, left = _whole(made)
            if offset + left > MAX_PACK and offset > len(MAGIC) and (mark is None or begun != mark):
                return
            begun = mark
            if made.write.fate is Fate.REBASE:
                self._place(made, made.write.old.pack, made.write.old.offset)
            else:
                padding = -offset % alignment(made.codec, made.write.old.length)
                if padding:
                    yield bytes(padding)
                self._place(made, index, offset + padding)
                yield made.stored
                offset += padding + memoryview(made.stored).nbytes
            self._told += made.write.old.length
            self._run.progress(made.write.old.length)
            self._next = next(self._made, None)
        yield from self._end(pack, offset)

    def _place(self, made: Made, pack: int, offset: int) -> None:
        write = made.write
        stored = write.old.stored if write.fate is Fate.REBASE else memoryview(made.stored).nbytes
        if not made.turned:
            write.base = None
        base = None if write.base is None else settled(write.base)
        write.placed = Piece(
            write.digest, made.stored_digest, pack, made.codec, stored, offset, write.old.length, made.width, base
        )
        if made.seconds:
            name = form_of(write.placed)
            count, seconds = self._run.rates.get(name, (0, 0.0))
            self._run.rates[name] = (count + write.old.length, seconds + made.seconds)

    def _end(self, pack: str, offset: int) -> Iterator[Buffer]:
        moved = []
        for one in self._batch:
            files = tuple(
                (path, tuple(map(settled, slots))) for (path, _), slots in zip(one.held.files, one.slots, strict=True)
            )
            manifest = self._manifest(one, files, pack)
            raw = manifest.encode()
            moved.append(_Moved(one, files, manifest, Place(pack, offset, len(raw))))
            yield raw
            offset += len(raw)
        self.moved = moved
        whole = sum(one.held.known.made.size for one in self._batch)
        self._run.progress(max(0, whole - self._told))

    def _manifest(self, one: Rewritten, files: Files, pack: str) -> Manifest:
        """That of a version: it names the packs that are used, its own last."""
        survey = self._run.plan.survey
        own = survey.pack(pack)
        used = {piece.pack for _, pieces in files for whole in pieces for piece in whole.chain()} - {own}
        order = [*sorted(used), own]
        at = {index: place for place, index in enumerate(order)}
        mapped = tuple((path, tuple(piece.repacked(at) for piece in pieces)) for path, pieces in files)
        manifest = Manifest(tuple(survey.packs[index] for index in order), mapped, one.held.record)
        if manifest.identity(one.held.number) != one.held.known.made.identity:
            raise IntegrityError(
                f"version {one.held.number} of {survey.line.name} would become another, so it was left; report it"
            )
        return manifest


def _whole(made: Made) -> tuple[object, int]:
    """What a piece must not be parted from, and the bytes from it to the end of that."""
    tensor = made.write.tensor
    if made.codec == RAW and made.write.fate in (Fate.STAY, Fate.COPY) and tensor is not None:
        return tensor
    return None, memoryview(made.stored).nbytes


def form_of(piece: Piece) -> str:
    """How a piece is stored, in a word or two."""
    if below := piece.depth():
        return f"difference {below}"
    return "raw" if piece.codec == RAW else "packed"
