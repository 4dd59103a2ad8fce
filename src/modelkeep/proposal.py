"""Which part of a semantic version a change asks for: `Proposal`, with a sentence for each reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from modelkeep.arguments import OneVersion
from modelkeep.dataset import DatasetFacts
from modelkeep.errors import InvalidValueError, shown
from modelkeep.fitting import misfits
from modelkeep.prediction import PREPROCESS
from modelkeep.schema import Columns, Schema
from modelkeep.signature import Signature
from modelkeep.usable import UsableVersion
from modelkeep.version import content_digest

BumpPart = Literal["major", "minor", "patch"]
Reason = tuple[BumpPart, str]
_PARTS: tuple[BumpPart, ...] = ("major", "minor", "patch")  # the gravest first
_SHOWN = 10  # columns or parameters in one sentence
_LONGEST = 60  # characters of a value in one


@attrs.frozen
class Proposal:
    """What `ModelVersion.propose_bump` found. The first reasons are those that ask for the part.

    Args:
        version: what was looked at, as a reference.
        against: what it was compared with; None where nothing is there before it.
        part: of the label to raise; None if nothing changed that a label tells of.
        reasons: why, a sentence for each, the gravest first.
        label: what ``set_label(bump=part)`` would give now; None if *part* is, or the version has a label already.
    """

    version: str
    against: str | None
    part: BumpPart | None
    reasons: tuple[str, ...]
    label: str | None

    def __str__(self) -> str:
        return f"{self.part or 'no bump'}: {'; '.join(self.reasons)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return attrs.asdict(self) | {"reasons": list(self.reasons)}

    def _repr_html_(self) -> str:
        from modelkeep.markup import facts, tag, view

        head = {"version": self.version, "against": self.against, "bump": self.part or "none", "label": self.label}
        return view(facts(head), tag("ul", [tag("li", reason) for reason in self.reasons]))


def propose(version: UsableVersion, against: int | OneVersion | None) -> Proposal:
    """See `ModelVersion.propose_bump`."""
    line = version._line  # noqa: SLF001  its own
    line.read()
    before = _before(version, against)
    if before is None:
        reasons: list[Reason] = [("major", f"no version of {version.name} is there before it")]
    else:
        reasons = sorted(_reasons(before, version), key=lambda reason: _PARTS.index(reason[0]))
    part = reasons[0][0] if reasons else None
    said = tuple(text for _, text in reasons)
    if before is not None and not said:
        said = (f"nothing that a label tells of changed since {before.ref}",)
    label = line.versions.state.next_label(part) if part and version.label is None else None
    return Proposal(version.ref, before.ref if before else None, part, said, label)


def _before(version: UsableVersion, against: int | OneVersion | None) -> UsableVersion | None:
    if against is None:
        return version_before(version)
    if isinstance(against, UsableVersion):
        return against
    if type(against) is not int:
        raise InvalidValueError(f"against is {shown(against):.200}; give a number or a version", key="against")
    return UsableVersion(version._line, against)  # noqa: SLF001


def version_before(version: UsableVersion) -> UsableVersion | None:
    """The first parent of the same model, else the version before; of those that are not deleted, as far as read."""
    line = version._line  # noqa: SLF001
    state = line.versions.state
    earlier = [n for n in state.lines if n < version.number and n not in line.releases.state.deleted]
    parents = [one.number for one in version.parents if one.name == version.name and one.number in earlier]
    chosen = parents[:1] or earlier[-1:]
    return UsableVersion(line, chosen[0]) if chosen else None


def _reasons(before: UsableVersion, after: UsableVersion) -> Iterator[Reason]:
    old, new = before.record, after.record
    if old.serializer != new.serializer:
        yield "major", f"load gives what {new.serializer!r} reads, and gave what {old.serializer!r} reads"
    yield from _of_signature(before, after)
    yield from _of_data(before, after)
    if _digest_of(before, PREPROCESS) != _digest_of(after, PREPROCESS):
        yield "minor", f"the preprocessing is another than that of {before.ref}"
    if _weights(before) != _weights(after):
        yield "patch", f"the weights are other weights than those of {before.ref}"
    yield from _of_params(before, after)


def _digest_of(version: UsableVersion, part: str) -> str | None:
    found = version.parts.get(part)
    return None if found is None else found.digest


def _weights(version: UsableVersion) -> str:
    """The digest of the model's own files, without parts: a curve of the loss differs each time."""
    return content_digest(tuple(one for one in version.files if one.path.partition("/")[0] not in version.record.parts))


# -- the signature ----------------------------------------------------------------------------------------------------


def _of_signature(before: UsableVersion, after: UsableVersion) -> Iterator[Reason]:
    old, new = before.signature, after.signature
    if old == new:
        return
    if old is None or new is None:
        which = "there is a signature now" if old is None else "there is no signature any more"
        yield "minor", f"{which}, so what fits cannot be compared with {before.ref}"
        return
    broken = list(_broken(before.ref, old, new))
    yield from broken
    if not broken:
        yield "minor", f"the signature changed, and what fits that of {before.ref} still fits"


def _broken(ref: str, old: Signature, new: Signature) -> Iterator[Reason]:
    """Who called the old one: whether what it took is still taken, and what it gives now is what was given."""
    for fault in misfits(old.inputs, new.inputs):
        yield "major", f"inputs that fit {ref} do not fit: {fault.removeprefix('the inputs: ')}"
    if old.outputs is not None and new.outputs is not None:
        for fault in misfits(new.outputs, old.outputs):
            yield "major", f"outputs are not as those of {ref}: {fault.removeprefix('the inputs: ')}"


# -- the data ---------------------------------------------------------------------------------------------------------


def _of_data(before: UsableVersion, after: UsableVersion) -> Iterator[Reason]:
    old, new = before.data, after.data
    for role in sorted(old.keys() - new.keys()):
        yield "minor", f"the data {role!r} of {before.ref} is not there any more"
    for role in sorted(new.keys() - old.keys()):
        yield "minor", f"the data {role!r} is new"
    for role, now in new.items():
        if role in old:
            yield from _of_role(f"the data {role!r}", old[role], now, before.ref)


def _of_role(what: str, old: DatasetFacts, new: DatasetFacts, ref: str) -> Iterator[Reason]:
    same = old.same_as(new)
    features = list(_features(old.schema, new.schema))
    if features:
        yield "minor", f"the features of {what} changed: {_listed(features)}"
    elif same is None:
        yield "minor", f"whether {what} is that of {ref} cannot be told: a fingerprint is missing, or of another kind"
    elif not same:
        rows = "" if old.rows == new.rows else f" ({old.rows} rows before, {new.rows} now)"
        yield "minor", f"{what} is other data than that of {ref}{rows}"


def _features(old: Schema | None, new: Schema | None) -> Iterator[str]:
    if not isinstance(old, Columns) or not isinstance(new, Columns):
        if old is not None and new is not None and str(old) != str(new):
            yield f"{new} now, {old} before"
        return
    before, after = old.fields, new.fields
    yield from (f"{name!r:.{_LONGEST}} is new" for name in after if name not in before)
    yield from (f"{name!r:.{_LONGEST}} is gone" for name in before if name not in after)
    for name, column in after.items():
        if name in before and str(before[name]) != str(column):
            yield f"{name!r:.{_LONGEST}} is {column}, and was {before[name]}"


# -- the parameters ---------------------------------------------------------------------------------------------------


def _of_params(before: UsableVersion, after: UsableVersion) -> Iterator[Reason]:
    old, new = before.params, after.params
    changed = [_change(name, old, new) for name in {**old, **new} if repr(old.get(name)) != repr(new.get(name))]
    if changed:
        yield "patch", f"parameters changed: {_listed(changed)}"


def _change(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    was, now = (shown(side[name])[:_LONGEST] if name in side else "not given" for side in (old, new))
    return f"{name:.{_LONGEST}} from {was} to {now}"


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"{', '.join(parts[:_SHOWN])}{more}"
