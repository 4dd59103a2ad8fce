"""The command ``modelkeep doctor``: what can be done at a place, and what to do about what cannot."""

from __future__ import annotations

import click

import modelkeep as mk
from modelkeep.commands.options import json_option
from modelkeep.exits import Exit
from modelkeep.pages import Page, count, print_json


@click.command(short_help="Try what can be done at URL; say what to do.")
@click.argument("url", required=False)
@click.option("--race", is_flag=True, help="Let 16 processes race for 50 keys, too.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, url: str | None, race: bool, as_json: bool) -> None:
    """Try what can be done at URL, and say what to do about what cannot.

    URL is a folder, s3://bucket/prefix, gs://bucket/prefix or another place; without it $MODELKEEP_REGISTRY, else
    ./.modelkeep. Exits with 5 if there is a fault, with 0 if not. Its probes lie under doctor/ for a moment; nothing
    else is changed.
    """
    diagnosis = mk.Registry(url).doctor(race=race)
    if as_json:
        import attrs

        print_json({"ok": diagnosis.ok, **attrs.asdict(diagnosis)})
    else:
        _show(diagnosis, Page())
    ctx.exit(Exit.OK if diagnosis.ok else Exit.STORAGE)


def _show(diagnosis: mk.Diagnosis, page: Page) -> None:
    columns = ["", "check", "ms", "found", "to do"]
    rows = [[one.mark, one.name, one.milliseconds.rjust(8), one.detail, one.remedy] for one in diagnosis.checks]
    if not any(one.remedy for one in diagnosis.checks):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    page.table(columns, rows)
    faults = sum(one.ok is False for one in diagnosis.checks)
    page.say(f"not ok: {count(faults, 'fault')}" if faults else "ok: no fault")
