"""The section of what changed against the parent, or the version before: what `compare` tells, but for tensors."""

from __future__ import annotations

from modelkeep._line import Line
from modelkeep.comparison import Asked, compare
from modelkeep.comparisonview import elements
from modelkeep.errors import NotFoundError
from modelkeep.markup import Child, tag
from modelkeep.proposal import version_before
from modelkeep.telling import Told
from modelkeep.usable import UsableVersion
from modelkeep.version import Parent


def against_parent(told: Told) -> Child:
    """What changed against the first parent, or where none was named the version before; None where there is neither.

    Tensors are left out: they would all be read.

    Raises:
        NotFoundError: there is no such version any more.
        IntegrityError, StoreError: it cannot be read.
    """
    version = told.version
    if version.parents:
        first = version.parents[0]
        return _against(_opened(version, first), version, "", f"{first}, which it was made from")
    before = version_before(version)
    if before is None:
        return None
    return _against(before, version, "No parent was named; ", f"{before.ref}, the version before")


def _against(before: UsableVersion, after: UsableVersion, lead: str, which: str) -> Child:
    found = compare(before, after, Asked(tensors=False))
    said = f"{lead}against {which}:" if found else f"{lead}nothing that is known changed against {which}."
    return [tag("p", said[0].upper() + said[1:]), elements(found) if found else None]


def _opened(version: UsableVersion, parent: Parent) -> UsableVersion:
    """The parent, whatever model it is a version of."""
    line = version._line  # noqa: SLF001  versions of other models lie beside it
    if parent.name != line.name:
        line = Line.open(line.home, parent.name, line.home.existing())
    line.read()
    found = type(version)(line, parent.number)
    if found.digest != parent.identity:
        raise NotFoundError(f"{parent} is another version here than the one that it was made from", ref=str(parent))
    return found
