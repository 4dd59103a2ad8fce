"""Reports: one version as one page that explains it, needs nothing else, and can be mailed to whoever decides."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from modelkeep.errors import ModelkeepError
from modelkeep.lineage import Lineage
from modelkeep.markup import Child, tag
from modelkeep.report import changes, facts, origins, plots
from modelkeep.report.page import Page
from modelkeep.telling import Told
from modelkeep.usable import UsableVersion

__all__ = ["Page", "report_of"]

_SECTIONS: dict[str, Callable[[Told], Child]] = {
    "Load": facts.loading,
    "Metrics": plots.metrics,
    "Parameters": facts.parameters,
    "Signature and example": facts.signature,
    "What changed": changes.against_parent,
    "Lineage": facts.parents,
    "Data": origins.data,
    "Code": origins.code,
    "Environment": origins.environment,
    "Files": facts.files,
    "Aliases": facts.aliases,
}


def report_of(version: UsableVersion, *, lineage: Callable[[], Lineage] | None = None) -> Page:
    """The report of a version; see `ModelVersion.report`.

    Args:
        version: which.
        lineage: gives what it was made from and what came of it, for a picture; None: there is none.
    """
    title = f"{version}"
    told = Told.of(version)
    sections = [_section(name, told, lineage) for name in _SECTIONS]
    links = [tag("a", name, href=f"#{_place(name)}") for name in _SECTIONS]
    summary = (tag("h1", title), facts.summary(told), tag("nav", links))
    return Page(title, tag("article", summary, sections))


def _section(name: str, told: Told, lineage: Callable[[], Lineage] | None) -> Element:
    """A section; one that cannot be told says why, for the others still can."""
    try:
        found = _SECTIONS[name](told)
        drawn = lineage().element() if name == "Lineage" and lineage is not None else None
    except ModelkeepError as error:
        found, drawn = tag("p", f"This cannot be told: {error}", class_="bad"), None
    if found is None and drawn is None:
        found = tag("p", "Nothing was recorded.", class_="soft")
    return tag("section", tag("h2", name), drawn, found, id=_place(name))


def _place(name: str) -> str:
    return name.lower().replace(" ", "-")
