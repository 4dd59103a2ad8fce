"""The command ``modelkeep check``: what gates find of a version, for people, pipelines and merge requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, reference, registry_option, trust_option
from modelkeep.commands.outputs import write_text
from modelkeep.exits import Exit
from modelkeep.pages import Page, count, print_json, waiting

if TYPE_CHECKING:
    from modelkeep.evidence import Check

_STDOUT = "-"
_FILE = click.Path(dir_okay=False, allow_dash=True)


@click.command(short_help="Say whether the version REF may stand under ALIAS.")
@click.argument("ref", type=reference)
@click.argument("alias")
@click.option("--junit", metavar="FILE", type=_FILE, help="Write a JUnit report, too; - is standard output.")
@click.option("--markdown", metavar="FILE", type=_FILE, help="Write a table in Markdown, too; - is standard output.")
@trust_option
@registry_option
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    ref: str | Path,
    alias: str,
    junit: str | None,
    markdown: str | None,
    trust: tuple[str, ...],
    registry: str | None,
    as_json: bool,
) -> None:
    """Say whether the version REF may stand under ALIAS by the policy, and what each gate found.

    Exits with 0 if it may, and with 1 if a gate failed. In the registry nothing is written. What --junit and --markdown
    name is written whole or not at all, in place of what lay there.
    """
    if as_json + (junit == _STDOUT) + (markdown == _STDOUT) > 1:
        raise click.UsageError("only one of --json, --junit - and --markdown - fits on standard output")
    version = mk.Registry(registry).get(ref)
    with waiting("checking"):
        found = version.check(alias, trust=trust)
    printed = ""
    for file, text in ((junit, found.to_junit()), (markdown, found.to_markdown())):
        if file == _STDOUT:
            printed = text
        elif file is not None:
            write_text(Path(file), text)
    if as_json:
        print_json(found.to_dict())
    elif printed:
        click.echo(printed, nl=False)
    else:
        _show(found, Page())
    ctx.exit(Exit.OK if found.ok else Exit.GATE)


def _show(found: Check, page: Page) -> None:
    if found.findings:
        page.table(("", "gate", "found"), [(one.verdict, one.asked, one.found) for one in found.findings])
    failed = f": {len(found.failed)} of {count(len(found.findings), 'gate')} failed" if found.failed else ""
    page.say(f"{found.verdict}{failed}{f' ({found.basis})' if found.basis else ''}")
