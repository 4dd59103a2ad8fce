"""The command ``modelkeep verify``: what is wrong, what is lost with it, what is whole, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, registry_option
from modelkeep.exits import Exit
from modelkeep.pages import Page, bar, count, print_json

_NEXT = {
    "damaged": "bring it back from a backup, under the same key",
    "missing": "bring it back from a backup, under the same key",
    "unreadable": "mend the storage and verify again",
    "tail": "bring the newest entries back from a backup, before anybody writes; what they made is lost till then",
    "tile": "modelkeep verify --repair",
    "unlisted": "modelkeep verify --repair",
    "void": "nothing; find out who wrote it",
    "stray": "delete it",
    "sealed": "take it away again: put the damaged bytes, or an empty object, in its place",
    "condemned": "find out who wrote that entry",
    "unknown": "upgrade modelkeep",
    "leftover": "nothing",
}
_SEAL = "an entry without a backup: accept the loss with registry.storage.seal(KEY); what it did is gone for good then"
_EMPTY = "an entry that is missing, without a backup: put an empty object in its place, then the same"
_MARKER = "modelkeep.json without a backup: it can be written again, see the how-to Recover"


@click.command(short_help="Read every byte; say what is lost, and what is not.")
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help="Check the structure, and read no bytes of models.")
@click.option("--repair", is_flag=True, help="Write tiles and markers anew, and drop copies here that are wrong.")
@registry_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context, name: str | None, quick: bool, repair: bool, registry: str | None, as_json: bool
) -> None:
    """Read every byte, of all models or of NAME, and say what is not as it was written and what is lost with it.

    Exits with 6 if something is wrong, with 0 if not. Changes nothing but what --repair makes anew, which is never an
    entry, a pack, a text or modelkeep.json.
    """
    opened = mk.Registry(registry)
    with bar("verifying", in_bytes=True) as tell:
        report = opened.storage.verify(name, quick=quick, repair=repair, progress=tell)
    if as_json:
        import attrs

        print_json({"url": opened.url, "ok": report.ok, **attrs.asdict(report)})
    else:
        _show(report, Page())
    ctx.exit(Exit.OK if report.ok else Exit.INTEGRITY)


def _show(report: mk.Report, page: Page) -> None:
    for repair in report.repairs:
        page.say(str(repair) if repair.failed else f"repaired: {repair}")
    if report.findings:
        found = sorted(report.findings, key=lambda finding: finding.key)
        page.table(("object", "kind", "finding"), [(one.key, one.kind, one.problem) for one in found])
    if report.lost:
        rows = [(one.ref, ", ".join(one.aliases), ", ".join(one.objects)) for one in report.lost]
        page.table(("lost", "under", "unless these are brought back"), rows)
    if not report.ok:
        _show_next(report, page)
    page.say(_verdict(report))


def _verdict(report: mk.Report) -> str:
    lines = count(report.models, "model") + (f", {count(report.datasets, 'dataset')}" if report.datasets else "")
    read = f"{lines}, {count(report.versions, 'version')} "
    read += "by structure alone" if report.quick else f"and {count(report.bytes, 'byte')} of packs read"
    objects = count(len({finding.key for finding in report.findings}), "object")
    if not report.findings:
        return f"ok: {read}, all as written"
    if report.ok:
        return f"ok: {read}, all as written, but see above ({objects})"
    found = count(len(report.findings), "finding")
    return f"not ok: {found} in {objects}; {_lost(report)}, {report.whole} whole; {read}"


def _lost(report: mk.Report) -> str:
    variants = sum(loss.is_variant for loss in report.lost)
    drafts = sum(loss.is_draft for loss in report.lost)
    numbered = sum(":" in loss.ref for loss in report.lost) - variants
    whole = len(report.lost) - numbered - variants - drafts
    counted = ((numbered, "version"), (variants, "variant"), (drafts, "failed run"))
    told = [count(number, word) for number, word in counted if number]
    told += [f"all of {count(whole, 'model')}"] if whole else []
    cut = any(finding.kind == "tail" for finding in report.findings)
    return f"{' and '.join(told)} lost" if told else f"no version is {'known to be ' if cut else ''}lost"


def _show_next(report: mk.Report, page: Page) -> None:
    from modelkeep.layout import MARKER, number_of

    page.say("what to do:")
    kinds = {finding.kind for finding in report.findings}
    for kind in sorted(kinds - {"leftover"}):
        page.say(f"{kind}: {_NEXT[kind]}", indent=2)
    entries = {one.kind for one in report.findings if number_of(one.key) is not None}
    for line in _without_backup(entries, is_marked=MARKER in {one.key for one in report.findings}):
        page.say(line, indent=2)


def _without_backup(entries: set[str], *, is_marked: bool) -> Iterator[str]:
    if entries & {"damaged", "missing"}:
        yield _SEAL
    if "missing" in entries:
        yield _EMPTY
    if is_marked:
        yield _MARKER
