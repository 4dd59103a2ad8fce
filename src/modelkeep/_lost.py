"""What damage takes away: the versions, variants and drafts that cannot be read any more, and the objects to blame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import attrs

from modelkeep._expected import Expected, Part, draft_of, parts_of
from modelkeep._line import Line
from modelkeep.errors import MissingObjectError, StoreError
from modelkeep.layout import own_name, pack_key
from modelkeep.manifest import ManifestError


@attrs.frozen
class Loss:
    """A version that cannot be loaded as long as objects are not as they were written.

    Args:
        ref: the version, ``churn:3``, or ``datasets/sales:3`` of a dataset; or a variant, ``churn:3/onnx-int8``, of one
            that may be whole itself; or a draft, ``churn~b3f1…``; where not even numbers can be told, all of the
            model, ``churn``.
        aliases: the aliases that stand on it.
        objects: the keys of the objects to blame; brought back as they were, the version loads again.
    """

    ref: str
    aliases: tuple[str, ...]
    objects: tuple[str, ...]

    @property
    def is_variant(self) -> bool:
        """Whether it is a variant, and no version."""
        return "/" in own_name(self.ref)  # no name has that

    @property
    def is_draft(self) -> bool:
        """Whether it is a draft, such as a failed run, and no version."""
        return "~" in own_name(self.ref)  # no name has that, either

    def __str__(self) -> str:
        return f"{self.ref} ({', '.join(self.aliases)})" if self.aliases else self.ref


def lost_with(line: Line, keys: tuple[str, ...]) -> Iterator[Loss]:
    """All versions of a model of which a journal cannot be read, as far as its entries still tell of them."""
    versions, releases = line.versions.state, line.releases.state
    known = versions.lines if line.versions.sealed else range(1, versions.highest + 1)  # a gap is one that is lost, too
    numbers = [number for number in known if number not in releases.purged]
    for number in numbers:
        yield Loss(f"{line.name}:{number}", releases.aliases_of(number), keys)
    if not numbers:
        yield Loss(line.name, tuple(sorted(releases.stacks)), keys)


def lost_in(line: Line, expected: Expected) -> Iterator[Loss]:
    """What *expected*, all of whose packs were looked at, shows to be harmed."""
    purged, aliases = line.releases.state.purged, line.releases.state.aliases_of
    for number, known in line.versions.state.lines.items():
        for part in () if number in purged else parts_of(known):
            yield from _lost(line, expected, part, () if part.is_apart else aliases(number))
    for draft in line.drafts().values():
        yield from _lost(line, expected, draft_of(draft), ())


def _lost(line: Line, expected: Expected, part: Part, aliases: tuple[str, ...]) -> Iterator[Loss]:
    with suppress(MissingObjectError, StoreError, ManifestError):  # it was moved, purged or dropped meanwhile
        if packs := expected.harm_to(part):
            yield Loss(f"{line.name}{part.ref}", aliases, tuple(sorted(pack_key(line.name, pack) for pack in packs)))
