"""How many bytes a registry takes, model by model and version by version, from journals and a listing alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs

from modelkeep._dead import lying
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep.errors import UnknownModelError
from modelkeep.folds import versions
from modelkeep.stores.port import StoredObject


@attrs.frozen
class VersionUsage:
    """The bytes of one version with its variants. A purged version has none.

    Args:
        number: its number.
        logical: of its files and those of its variants, uncompressed: what loads of all of them give.
        stored: of the packs that it needs and no version of a lower number does: what it added. As a rule its own
            save, or a later compaction, wrote these.
        needed: of all packs that it needs, those of other saves and of its variants too.
        exclusive: of the packs that it alone needs: what purging it would free.
    """

    number: int
    logical: int
    stored: int
    needed: int
    exclusive: int


@attrs.frozen
class ModelUsage:
    """The bytes of one model, open or closed.

    Args:
        name: its name.
        versions: those of each version, by number.
        logical: the sum of what its versions are worth, uncompressed.
        stored: of all its packs: the sum of what each version added, of its failed runs, and of what is left over.
        leftover: of packs that nothing needs: uploads that were not finished, or are under way, and what was purged
            or written anew and is not deleted yet.
        drafts: of the packs of its failed runs.
    """

    name: str
    versions: tuple[VersionUsage, ...]
    logical: int
    stored: int
    leftover: int
    drafts: int = 0


@attrs.frozen
class Usage:
    """The bytes of a registry. Journals and texts are not counted, nor is what a file system rounds up.

    Args:
        models: those of each model, by name, closed ones too; and of each dataset, as ``datasets/sales``.
        logical: the sum over all models, uncompressed.
        stored: the sum over all models, as it lies there.
    """

    models: tuple[ModelUsage, ...]
    logical: int
    stored: int

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts and lists, for JSON or a table."""
        models = [
            {**attrs.asdict(model, recurse=False), "versions": [attrs.asdict(row) for row in model.versions]}
            for model in self.models
        ]
        return {"models": models, "logical": self.logical, "stored": self.stored}


def measure(home: Home) -> Usage:
    """Add up what a registry takes. See `Storage.usage`."""
    registry = home.id()
    listed = lying(home.store) if registry else {}
    lines = ((Line.open(home, name, registry), packs) for name, packs in listed.items() if registry)
    models = tuple(found for line, packs in lines if (found := _measure(line, packs)))
    return Usage(models, sum(model.logical for model in models), sum(model.stored for model in models))


def _measure(line: Line, lying_there: Mapping[str, StoredObject]) -> ModelUsage | None:
    """The usage of one model; None if there is neither a journal nor a pack."""
    with suppress(UnknownModelError):  # it has uploads only
        line.read()
    purged = line.releases.state.purged
    lines = list(line.versions.state.lines.items())
    needs = {number: known.packs for number, known in lines if number not in purged}
    users = Counter(pack for packs in needs.values() for pack in packs)
    drafted = {pack for draft in line.drafts().values() for pack in draft.made.packs}
    if not lying_there.keys() >= users.keys() | drafted:  # saved since the listing, unless it is missing
        lying_there = lying(line.home.store, line.name)[line.name]
    if not lying_there and not line.versions.head:
        return None
    listed = {pack: item.size for pack, item in lying_there.items()}
    seen: set[str] = set()
    rows = []
    for number, known in lines:
        packs = needs.get(number, ())
        sizes = {pack: listed.get(pack, 0) for pack in packs}  # what is missing is for verify to report
        stored = sum(size for pack, size in sizes.items() if pack not in seen)
        exclusive = sum(size for pack, size in sizes.items() if users[pack] == 1)
        logical = _logical(known) if number in needs else 0
        rows.append(VersionUsage(number, logical, stored, sum(sizes.values()), exclusive))
        seen.update(packs)
    drafts = sum(size for pack, size in listed.items() if pack in drafted)
    leftover = sum(size for pack, size in listed.items() if pack not in users) - drafts
    logical, stored = sum(row.logical for row in rows), sum(listed.values())
    return ModelUsage(line.name, tuple(rows), logical, stored, leftover, drafts)


def _logical(known: versions.Line) -> int:
    return known.made.size + sum(variant.made.size for variant in known.variants.values())
