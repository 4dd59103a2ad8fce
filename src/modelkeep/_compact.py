"""Compaction of a model, and emptying packs: what is to be done, done, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from modelkeep._dead import NothingLeftError, condemn, lying, sizes, sweep
from modelkeep._fates import Plan, candidates, plan, plan_to_empty
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep._rewrite import Rewriting, form_of
from modelkeep._survey import Survey, survey
from modelkeep.codecs import Form, plain_form, sample_span
from modelkeep.errors import (
    IntegrityError,
    InvalidValueError,
    MissingObjectError,
    StoreError,
    UnknownModelError,
    UnsettledError,
    shown,
)
from modelkeep.folds import releases
from modelkeep.folds.rules import Op
from modelkeep.layout import pack_key
from modelkeep.manifest import MAX_DEPTH, Piece
from modelkeep.progress import Progress, nothing, reporter
from modelkeep.threads import answers

FORMS = ("raw", "packed", *(f"difference {depth}" for depth in range(1, MAX_DEPTH + 1)))


@attrs.frozen
class FormCost:
    """What pieces of one form take, to store and to read.

    Args:
        form: ``raw``, ``packed``, or ``difference 1`` to ``difference 4``: by so many bases below one another.
        pieces: how many there are, each counted once.
        logical: their bytes, as a load gives them.
        stored: their bytes, as they are stored.
        reads: how many pieces are read to read one.
        bytes_read: the stored bytes that it takes to read all of them, each by itself.
        rate: plain bytes that this machine unpacked in a second when it read them back, their bases at hand; None if
            none was written.
    """

    form: str
    pieces: int
    logical: int
    stored: int
    reads: int
    bytes_read: int
    rate: float | None


@attrs.frozen
class ModelCompaction:
    """What a compaction did to one model.

    Args:
        name: its name.
        before: the bytes of its packs before.
        after: the bytes of its packs now, with those that are condemned and could not be deleted.
        moved: the versions that were written anew.
        left: versions that could not be, and why; None for the model as a whole.
        forms: how what its versions hold is stored now, and what that costs.
    """

    name: str
    before: int
    after: int
    moved: tuple[int, ...]
    left: tuple[tuple[int | None, str], ...]
    forms: tuple[FormCost, ...]


@attrs.frozen
class Compaction:
    """What a compaction did.

    Args:
        models: to each model.
    """

    models: tuple[ModelCompaction, ...]

    @property
    def before(self) -> int:
        """The bytes of all packs before."""
        return sum(model.before for model in self.models)

    @property
    def after(self) -> int:
        """The bytes of all packs now."""
        return sum(model.after for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts and lists, for JSON or a table.

        Example:
            >>> Compaction(()).to_dict()
            {'models': [], 'before': 0, 'after': 0}
        """
        return {
            "models": [attrs.asdict(model) for model in self.models],
            "before": self.before,
            "after": self.after,
        }


def plan_compaction(line: Line, *, rollbacks: int | None = None, newest: int = 0) -> Plan:
    """What compacting a model takes; its `total` bytes are to be written anew. Writes nothing.

    A listing, a request or more for each version, and one for each raw tensor of 16 KiB and more.

    Args:
        line: the model.
        rollbacks: how many versions below the holder of an alias stay raw; None for all that a rollback may come to.
        newest: how many of the newest versions stay raw.

    Raises:
        UnknownModelError: there is none of this name.
    """
    found = survey(line, rollbacks=rollbacks, newest=newest)
    return plan(found, dict(_sampled(found, candidates(found).values())))


def run_compaction(planned: Plan, *, progress: Callable[[int], None] = nothing) -> ModelCompaction:
    """Do what was planned. See `compact`."""
    found = planned.survey
    run = Rewriting(planned, progress)
    run.run()
    _repin(found.line)
    before = sum(found.sizes.values())
    after = sum(sizes(found.line).values()) if planned.order else before
    left = {**found.damaged(), **run.left}
    return ModelCompaction(
        found.line.name, before, after, tuple(sorted(run.moved)), tuple(sorted(left.items())), tuple(_forms(run))
    )


def compact(home: Home, name: str | None, *, rollbacks: int | None, newest: int, progress: Progress) -> Compaction:
    """Make the old versions of a model, or of all, smaller. See `Storage.compact`."""
    for key, value in (("newest", newest), ("rollbacks", 0 if rollbacks is None else rollbacks)):
        if type(value) is not int or value < 0:
            raise InvalidValueError(f"{key} is {shown(value)}; give a number from 0 on", key=key)
    registry = home.existing()
    done = []
    for model in [name] if name is not None else lying(home.store):
        line = Line.open(home, model, registry)
        if name is None and line.birth.elsewhere() is not None:
            why = (
                "it was pushed here, and a push would be refused after a move; compact it where it was born, or by name"
            )
            done.append(ModelCompaction(model, 0, 0, (), ((None, why),), ()))
            continue
        try:
            planned = plan_compaction(line, rollbacks=rollbacks, newest=newest)
        except (UnknownModelError, IntegrityError) as error:
            if name is not None:
                raise
            if isinstance(error, IntegrityError):  # else it has uploads only
                done.append(ModelCompaction(model, 0, 0, (), ((None, str(error)),), ()))
            continue
        with reporter(progress, planned.total) as advance:
            done.append(run_compaction(planned, progress=advance))
    return Compaction(tuple(done))


def empty(
    line: Line, packs: Collection[str], *, progress: Callable[[int], None] = nothing
) -> tuple[tuple[int, str], ...]:
    """Write every living version anew that needs one of *packs*, without them; then condemn and delete these.

    Args:
        line: the model.
        packs: ids of packs.
        progress: hears how many bytes were done since the last call.

    Returns:
        Versions that cannot be written anew, and why: they are damaged. What these need is still there, and what
        versions need that others moved meanwhile.
    """
    found = survey(line)
    run = Rewriting(plan_to_empty(found, packs), progress, doomed=packs)
    run.run()
    _repin(line)
    condemn(line, packs)
    with suppress(StoreError):  # a collector deletes what is left
        sweep(line, packs)
    broken = {number: why for number, why in run.left.items() if number not in run.overtaken}
    return tuple(sorted({**_needing(found, packs), **broken}.items()))


def _needing(found: Survey, packs: Collection[str]) -> dict[int, str]:
    damaged, lines = found.damaged(), found.line.versions.state.lines
    return {number: why for number, why in damaged.items() if not set(packs).isdisjoint(lines[number].packs)}


def _sampled(found: Survey, pieces: Iterable[Piece]) -> Iterator[tuple[bytes, Form]]:
    """How raw pieces would be packed, told by a part of each; those that cannot be read now are left out."""
    store = found.line.home.store

    def look(piece: Piece) -> Form | None:
        start, size = sample_span(piece.length)
        try:
            sample = store.get(pack_key(found.line.name, found.packs[piece.pack]), (piece.offset + start, size))
        except MissingObjectError:
            return None
        return plain_form(sample)

    listed = list(pieces)
    forms = answers(store, (partial(look, piece) for piece in listed))
    yield from ((piece.digest, form) for piece, form in zip(listed, forms, strict=True) if form)


def _repin(line: Line) -> None:
    """Tell readers of aliases where versions lie now, also those that a run moved which was cut off before.

    Without it they read one journal more, so a failure is none.
    """

    def decide(state: releases.Releases) -> list[Op]:
        lines = line.versions.state.lines
        old = {
            h.number
            for stack in state.stacks.values()
            for h in stack
            if h.number in lines and h.at != lines[h.number].at
        }
        ops = [releases.Repin(number, lines[number].at) for number in sorted(old - state.purged.keys())]
        if not ops:
            raise NothingLeftError("every alias knows where its versions lie")
        return [*ops]

    with suppress(NothingLeftError, StoreError, UnsettledError):
        decide(line.releases.state)  # before anything is asked for
        line.append("releases", decide)


def _forms(run: Rewriting) -> Iterator[FormCost]:
    """How all that living versions hold is stored, form by form."""
    places: dict[tuple[int, int], Piece] = {}
    for number, held in run.plan.survey.held.items():
        files = run.moved[number][1] if number in run.moved else held.files
        places.update({(piece.pack, piece.offset): piece for _, pieces in files for piece in pieces})
    for reads, form in zip((1, 1, *range(2, MAX_DEPTH + 2)), FORMS, strict=True):
        own = [piece for piece in places.values() if form_of(piece) == form]
        count, seconds = run.rates.get(form, (0, 0.0))
        if own:
            yield FormCost(
                form,
                len(own),
                sum(piece.length for piece in own),
                sum(piece.stored for piece in own),
                reads,
                sum(one.stored for piece in own for one in piece.chain()),
                count / seconds if seconds else None,
            )
