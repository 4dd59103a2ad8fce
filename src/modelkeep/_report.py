"""What a verification gives back: what is wrong, what is lost with it, what is whole, and what was repaired."""

from __future__ import annotations

import attrs

from modelkeep._lost import Loss
from modelkeep._repair import Repair
from modelkeep.reading import Finding

_HARMLESS = ("leftover", "unlisted")


@attrs.frozen
class Report:
    """What a verification found.

    Args:
        findings: what is wrong, or worth knowing, object by object; after a repair, what is left of it.
        models: how many models were read.
        versions: how many versions were read.
        bytes: how many bytes were read from packs.
        lost: the versions, variants and failed runs that cannot be read as things stand, or all of a model, and for
            which objects.
        whole: how many versions load, with their variants or without; if `quick`, as far as sizes and manifests tell.
        repairs: what a repair did, and tried to.
        quick: whether only the structure was looked at.
        datasets: how many datasets were read.
        drafts: how many failed runs were read.
    """

    findings: tuple[Finding, ...]
    models: int
    versions: int
    bytes: int
    lost: tuple[Loss, ...] = ()
    whole: int = 0
    repairs: tuple[Repair, ...] = ()
    quick: bool = False
    datasets: int = 0
    drafts: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; uploads that no entry names, probes, and an unlisted model are harmless."""
        return all(finding.kind in _HARMLESS for finding in self.findings)

    def __str__(self) -> str:
        lines = [*map(str, self.repairs), *map(str, self.findings)]
        lines += [f"lost: {loss}, for {', '.join(loss.objects)}" for loss in self.lost]
        wrong = sum(finding.kind not in _HARMLESS for finding in self.findings)
        verdict = f"not ok: {wrong} findings" if wrong else "ok"
        variants, drafts = sum(loss.is_variant for loss in self.lost), sum(loss.is_draft for loss in self.lost)
        lost = f"{len(self.lost) - variants - drafts} are lost" + (f", and {variants} variants" if variants else "")
        lost += f", and {drafts} failed runs" if drafts else ""
        return "\n".join([*lines, f"{verdict}; {self.whole} versions are whole, {lost}"])
