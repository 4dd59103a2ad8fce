"""The journal `versions`: what exists. The pack rule, which everything rests on, is `check_packs`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

import attrs

from modelkeep.entry import Entry
from modelkeep.folds import fields
from modelkeep.folds.rules import IllegalError, Op, require, rules_of
from modelkeep.ref import Label
from modelkeep.version import Place, transaction_of

MAX_SHARED = 32  # packs of other saves that one version may need; beyond, a save writes the least shared ones anew


M = TypeVar("M")


@attrs.frozen
class Apart(Generic[M]):
    """What has packs of its own and no number, a variant or a draft, as the journal tells it.

    Args:
        made: the operation that appended it.
        time: when, by its writer's clock.
        actor: by whom.
    """

    made: M
    time: str
    actor: str


VariantLine: TypeAlias = "Apart[Variant]"
DraftLine: TypeAlias = "Apart[Draft]"
_NO_VARIANTS: Final[Mapping[str, VariantLine]] = {}  # one for the many versions that have none


@attrs.define
class Line:
    """One version as the journal tells it.

    Args:
        made: the operation that created it.
        time: when, by its writer's clock.
        actor: by whom.
        at: where its manifest lies now.
        packs: all packs that it needs now, those of its variants too.
        label: its semantic version, if it has one.
        variants: its variants by kind; copies of the state share this, so it is never changed.
    """

    made: Create
    time: str
    actor: str
    at: Place
    packs: tuple[str, ...]
    label: str | None
    variants: Mapping[str, VariantLine] = _NO_VARIANTS

    @property
    def apart(self) -> tuple[str, ...]:
        """The packs of its variants: nothing else names them, and only a purge of the version lets them go."""
        return tuple(pack for variant in self.variants.values() for pack in variant.made.packs)

    @property
    def own(self) -> tuple[str, ...]:
        """The packs that the version itself needs: what its manifest names, and what a move replaces."""
        return tuple(pack for pack in self.packs if pack not in apart) if (apart := set(self.apart)) else self.packs


@attrs.define
class Versions:
    """What the entries of `versions` add up to.

    Args:
        is_open: whether the model takes saves.
        lines: the versions by number.
        labels: version numbers by label; labels are never reused.
        condemned: packs that no entry may name any more, for ever.
        purged: versions whose packs an entry condemned, as that entry says.
        left: packs in which versions lay before they were moved; bytes that nobody needs may lie there.
        apart: the transactions of variants and drafts, whose packs no other entry may name.
        began: whether the model ever took saves.
        drafts: what was kept without a number, by id, also what was dropped.
        dropped: the ids of drafts that are no more.
        highest: the highest number given.
        lost: sealed entries since then, each of which may hide a version.
        highest_label: the highest label ever used.
    """

    is_open: bool = False
    lines: dict[int, Line] = attrs.Factory(dict)
    labels: dict[str, int] = attrs.Factory(dict)
    condemned: set[str] = attrs.Factory(set)
    purged: set[int] = attrs.Factory(set)
    left: set[str] = attrs.Factory(set)
    highest: int = 0
    lost: int = 0
    highest_label: Label | None = None
    apart: set[str] = attrs.Factory(set)
    began: bool = False
    drafts: dict[str, DraftLine] = attrs.Factory(dict)
    dropped: set[str] = attrs.Factory(set)
    # transactions of all packs that were ever named; kept from the first variant or draft on: few models have one
    _named: set[str] | None = attrs.field(default=None, eq=False, repr=False, alias="named")

    def copy(self) -> Versions:
        """See `State.copy`."""
        return attrs.evolve(
            self,
            lines=dict(self.lines),
            drafts=dict(self.drafts),
            dropped=set(self.dropped),
            labels=dict(self.labels),
            condemned=set(self.condemned),
            purged=set(self.purged),
            left=set(self.left),
            apart=set(self.apart),
            named=None if self._named is None else set(self._named),
        )

    def note_loss(self) -> None:
        """See `State.note_loss`."""
        self.lost += 1

    def next_number(self) -> int:
        """The number that a save gets now."""
        return self.highest + self.lost + 1

    def next_label(self, part: str) -> str:
        """The label that a bump of *part* gives: counted from the highest ever used; the first is 1.0.0."""
        return str(self.highest_label.bump(part) if self.highest_label else Label(1, 0, 0))

    def kept_drafts(self) -> dict[str, DraftLine]:
        """The drafts that were not dropped, by id, in the order in which they came."""
        drafts, dropped = list(self.drafts.items()), self.dropped  # other threads may fold on
        return {name: draft for name, draft in drafts if name not in dropped}

    def is_named(self, transaction: str) -> bool:
        """Whether an entry named a pack of *transaction*."""
        if self._named is None:
            packs = (pack for line in self.lines.values() for pack in line.packs)
            drafted = (pack for draft in self.drafts.values() for pack in draft.made.packs)
            self._named = {transaction_of(pack) for pack in (*packs, *drafted, *self.left)}
        return transaction in self._named

    def note_named(self, packs: Iterable[str]) -> None:
        """Note that an entry named *packs*."""
        if self._named is not None:
            self._named.update(map(transaction_of, packs))

    def use_label(self, text: str, number: int) -> None:
        """Note that version *number* has the label *text*."""
        label = Label.parse(text)
        self.labels[text] = number
        if self.highest_label is None or self.highest_label < label:
            self.highest_label = label


def check_packs(
    state: Versions,
    *,
    named: Iterable[str] = (),
    condemned: Collection[str] = (),
    purged: Collection[int] = (),
) -> None:
    """The pack rule, checked on every try of every append to `versions`, and again by every reader.

    An entry may name a pack only if no earlier entry condemned it. It may condemn a pack only if, after it, no
    version needs it, but for those that it says were purged, and no draft that was not dropped. Condemned is for ever.

    Raises:
        IllegalError: the rule is broken; names the pack.
    """
    condemned_already = state.condemned.intersection(named) if state.condemned else ()
    for pack in condemned_already:
        raise IllegalError(f"pack {pack} was condemned")
    if not condemned:
        return
    dead = state.purged.union(purged)
    doomed = set(condemned)
    for number, line in state.lines.items():
        if number not in dead and not doomed.isdisjoint(line.packs):
            raise IllegalError(f"version {number} needs pack {min(doomed.intersection(line.packs))}")
    for name, draft in state.kept_drafts().items() if state.drafts else ():
        if not doomed.isdisjoint(draft.made.packs):
            raise IllegalError(f"draft {name} needs pack {min(doomed.intersection(draft.made.packs))}")


def _check_apart(state: Versions, packs: tuple[str, ...]) -> None:
    """Raises `IllegalError` if one of *packs* is that of a variant or draft: these share none, in neither direction."""
    if state.apart:
        for pack in packs:
            if transaction_of(pack) in state.apart:
                raise IllegalError(f"pack {pack} is that of a variant or draft")


def _check_own(state: Versions, at: Place, packs: tuple[str, ...], what: str) -> None:
    """Raises `IllegalError` unless *packs* are those of one transaction of which nobody named any."""
    _check_layout(at, packs)
    own = transaction_of(at.pack)
    require({transaction_of(pack) for pack in packs} == {own}, f"a {what} has packs of one transaction")
    require(not state.is_named(own), f"packs of transaction {own} were named before")
    check_packs(state, named=packs)


def _check_layout(at: Place, packs: tuple[str, ...]) -> None:
    if at.pack not in packs:
        raise IllegalError("the pack of the manifest is not among the packs")
    if len(packs) > MAX_SHARED:  # its own may be as many as it takes
        shared = sum(transaction_of(pack) != transaction_of(at.pack) for pack in packs)
        if shared > MAX_SHARED:
            raise IllegalError(f"{shared} packs of other saves are more than {MAX_SHARED}")


@attrs.frozen
class Open(Op):
    """The model takes saves from here on; the first save writes it together with version 1."""

    op: ClassVar[str] = "open"
    registry: str = attrs.field(converter=fields.text)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        require(not state.is_open, "the model is open already")

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.is_open = state.began = True


@attrs.frozen
class Close(Op):
    """The model takes no more saves and is not listed; what stands under an alias still loads."""

    op: ClassVar[str] = "close"

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        require(state.is_open, "the model is closed already")

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.is_open = False


@attrs.frozen
class Create(Op):
    """A version.

    Args:
        number: its number; the one after the highest.
        identity: the digest of content, record and number.
        content: the digest of its files.
        at: where its manifest lies.
        packs: all packs that it needs.
        size: the bytes of its files, uncompressed.
        label: its semantic version, if it has one from the start.
        params: its parameters, if they and the metrics take at most 16 KiB.
        metrics: its metrics, likewise.
        serializer: what wrote its files.
    """

    op: ClassVar[str] = "create"
    number: int = attrs.field(converter=fields.number)
    identity: str = attrs.field(converter=fields.digest)
    content: str = attrs.field(converter=fields.digest)
    at: Place = attrs.field(converter=fields.place)
    packs: tuple[str, ...] = attrs.field(converter=fields.packs)
    size: int = attrs.field(converter=fields.count)
    serializer: str = attrs.field(converter=fields.text)
    label: str | None = attrs.field(default=None, converter=fields.maybe_label)
    params: dict[str, Any] | None = attrs.field(default=None, converter=fields.maybe_object)
    metrics: dict[str, Any] | None = attrs.field(default=None, converter=fields.maybe_object)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        # not `require`: its messages would be made for each of 100,000 legal entries
        if not state.is_open:
            raise IllegalError("the model is closed")
        if not state.highest < self.number <= state.next_number():
            raise IllegalError(f"version {self.number} does not follow version {state.highest}")
        if self.label is not None and self.label in state.labels:
            raise IllegalError(f"label {self.label} is taken")
        _check_layout(self.at, self.packs)
        _check_apart(state, self.packs)
        check_packs(state, named=self.packs)

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        state.lines[self.number] = Line(self, entry.time, entry.actor, self.at, self.packs, self.label)
        state.note_named(self.packs)
        state.highest = self.number
        state.lost = 0
        if self.label is not None:
            state.use_label(self.label, self.number)


@attrs.frozen
class SetLabel(Op):
    """A label for a version that has none."""

    op: ClassVar[str] = "label"
    number: int = attrs.field(converter=fields.number)
    label: str = attrs.field(converter=fields.label)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        line = state.lines.get(self.number)
        require(line is not None, f"there is no version {self.number}")
        require(line is not None and line.label is None, f"version {self.number} has a label already")
        require(self.label not in state.labels, f"label {self.label} is taken")

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        # a new line: copies of the state share the old one
        state.lines[self.number] = attrs.evolve(state.lines[self.number], label=self.label)
        state.use_label(self.label, self.number)


@attrs.frozen
class Move(Op):
    """A version lies elsewhere; its digest stays. *was* is the place that the mover had read."""

    op: ClassVar[str] = "move"
    number: int = attrs.field(converter=fields.number)
    was: Place = attrs.field(converter=fields.place)
    at: Place = attrs.field(converter=fields.place)
    packs: tuple[str, ...] = attrs.field(converter=fields.packs)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        line = state.lines.get(self.number)
        require(line is not None and line.at == self.was, f"version {self.number} does not lie where it lay")
        _check_layout(self.at, self.packs)
        _check_apart(state, self.packs)
        check_packs(state, named=self.packs)

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        line = state.lines[self.number]
        state.left.update(line.own)
        state.note_named(self.packs)
        state.lines[self.number] = attrs.evolve(line, at=self.at, packs=(*self.packs, *line.apart))


@attrs.frozen
class Variant(Op):
    """A version in another form, with packs of its own; it lives as long as the version.

    Args:
        number: the version.
        kind: what tells it from other variants of that; given once.
        identity: the digest of content, record and the version's number.
        content: the digest of its files.
        at: where its manifest lies.
        packs: all packs that it needs.
        size: the bytes of its files, uncompressed.
        serializer: what wrote its files.
    """

    op: ClassVar[str] = "variant"
    number: int = attrs.field(converter=fields.number)
    kind: str = attrs.field(converter=fields.kind)
    identity: str = attrs.field(converter=fields.digest)
    content: str = attrs.field(converter=fields.digest)
    at: Place = attrs.field(converter=fields.place)
    packs: tuple[str, ...] = attrs.field(converter=fields.packs)
    size: int = attrs.field(converter=fields.count)
    serializer: str = attrs.field(converter=fields.text)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        line = state.lines.get(self.number)
        require(state.is_open, "the model is closed")
        require(line is not None, f"there is no version {self.number}")
        require(self.number not in state.purged, f"version {self.number} was purged")
        require(line is not None and self.kind not in line.variants, f"version {self.number} has a {self.kind} already")
        _check_own(state, self.at, self.packs, "variant")

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        line = state.lines[self.number]
        variants = {**line.variants, self.kind: Apart(self, entry.time, entry.actor)}
        state.lines[self.number] = attrs.evolve(line, packs=(*line.packs, *self.packs), variants=variants)
        state.apart.add(transaction_of(self.at.pack))
        state.note_named(self.packs)


@attrs.frozen
class Draft(Op):
    """What is kept without a number, such as a run that failed, with packs of its own; until it is dropped.

    Args:
        id: what names it, for ever.
        kind: what it is: ``run``.
        registry: the id of the registry in which it is kept: pushes do not carry its packs.
        identity: the digest of content, record and *id*.
        content: the digest of its files.
        at: where its manifest lies.
        packs: all packs that it needs.
        size: the bytes of its files, uncompressed.
        expires: from when on a collector may drop it.
    """

    op: ClassVar[str] = "draft"
    id: str = attrs.field(converter=fields.identifier)
    kind: str = attrs.field(converter=fields.kind)
    registry: str = attrs.field(converter=fields.text)
    identity: str = attrs.field(converter=fields.digest)
    content: str = attrs.field(converter=fields.digest)
    at: Place = attrs.field(converter=fields.place)
    packs: tuple[str, ...] = attrs.field(converter=fields.packs)
    size: int = attrs.field(converter=fields.count)
    expires: str = attrs.field(converter=fields.time)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        require(state.is_open, "the model is closed")
        require(self.id not in state.drafts, f"draft {self.id} is there already")
        _check_own(state, self.at, self.packs, "draft")

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        state.drafts[self.id] = Apart(self, entry.time, entry.actor)
        state.apart.add(transaction_of(self.at.pack))
        state.note_named(self.packs)


@attrs.frozen
class Drop(Op):
    """A draft is no more: nobody needs its packs."""

    op: ClassVar[str] = "drop"
    id: str = attrs.field(converter=fields.identifier)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        require(self.id in state.drafts, f"there is no draft {self.id}")
        require(self.id not in state.dropped, f"draft {self.id} was dropped already")

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.dropped.add(self.id)


@attrs.frozen
class Condemn(Op):
    """No later entry may name these packs, and their objects may be deleted at any time.

    *purged* lists the versions that need them and that `releases` has purged: a claim, which whoever deletes must
    check there.
    """

    op: ClassVar[str] = "condemn"
    packs: tuple[str, ...] = attrs.field(converter=fields.packs)
    purged: tuple[int, ...] = attrs.field(default=(), converter=fields.numbers)

    def check(self, state: Versions) -> None:
        """See `Op.check`."""
        for number in self.purged:
            require(number in state.lines, f"there is no version {number}")
        check_packs(state, condemned=self.packs, purged=self.purged)

    def apply(self, state: Versions, entry: Entry) -> None:
        """See `Op.apply`."""
        del entry
        state.condemned.update(self.packs)
        state.purged.update(self.purged)


RULES = rules_of(Versions, Open, Close, Create, SetLabel, Move, Variant, Draft, Drop, Condemn)
