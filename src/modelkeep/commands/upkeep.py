"""Commands that keep a registry small: what it takes, compaction, collection, and the policy that says what may go."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, registry_option
from modelkeep.pages import Page, bar, count, print_json, size

if TYPE_CHECKING:
    from modelkeep.usage import ModelUsage, Usage


@click.command(short_help="Show what models take, or the versions of NAME.")
@click.argument("name", required=False)
@registry_option
@json_option
def usage(name: str | None, registry: str | None, as_json: bool) -> None:
    """Show how many bytes each model takes; with NAME, each version of it.

    "logical" is what loads give, "stored" what lies there; "added" is what a version added, and "exclusive" what would
    be free if it alone were gone.
    """
    found = mk.Registry(registry).storage.usage()
    if name is not None:
        found = _of_one(found, name)
    if as_json:
        print_json(found.to_dict())
    elif name is not None:
        _show_versions(found.models[0], Page())
    else:
        _show_models(found, Page())


def _of_one(found: Usage, name: str) -> Usage:
    from modelkeep.errors import UnknownModelError

    chosen = next((model for model in found.models if model.name == name), None)
    if chosen is None:
        raise UnknownModelError(f"there is no model {name!r}; `modelkeep show` lists those that there are", name=name)
    return type(found)((chosen,), chosen.logical, chosen.stored)


def _show_models(found: Usage, page: Page) -> None:
    rows = [
        (
            model.name,
            len(model.versions),
            size(model.logical),
            size(model.stored),
            size(model.drafts),
            size(model.leftover),
        )
        for model in found.models
    ]
    if rows:
        page.table(("model", "versions", "logical", "stored", "failed runs", "left over"), rows)
    page.say(f"{count(len(rows), 'model')}: {size(found.stored)} stored for {size(found.logical)}")


def _show_versions(model: ModelUsage, page: Page) -> None:
    rows = [
        (row.number, size(row.logical), size(row.stored), size(row.needed), size(row.exclusive))
        for row in model.versions
    ]
    page.table(("version", "logical", "added", "needed", "exclusive"), rows)
    page.say(
        f"{count(len(rows), 'version')}: {size(model.stored)} stored for {size(model.logical)}; "
        f"{size(model.drafts)} of failed runs, {size(model.leftover)} left over"
    )


@click.command(short_help="Store old versions smaller, of all models or of NAME.")
@click.argument("name", required=False)
@click.option("--newest", type=click.IntRange(0), default=0, help="Leave so many of the newest versions as they are.")
@click.option(
    "--rollbacks", type=click.IntRange(0), help="How many versions below an alias's holder stay raw.  [default: all]"
)
@registry_option
@json_option
def compact(name: str | None, newest: int, rollbacks: int | None, registry: str | None, as_json: bool) -> None:
    """Store old versions smaller; what is promoted stays as it is. May be stopped at any moment."""
    with bar("compacting", in_bytes=True) as tell:
        done = mk.Registry(registry).storage.compact(name, newest=newest, rollbacks=rollbacks, progress=tell)
    if as_json:
        print_json(done.to_dict())
        return
    page = Page()
    for model in done.models:
        if model.forms and (model.moved or model.left):
            page.heading(f"{model.name}: {size(model.before)} -> {size(model.after)}")
            columns = ("form", "pieces", "logical", "stored", "reads for one", "bytes for one", "MB/s")
            page.table(
                columns,
                [
                    (
                        one.form,
                        one.pieces,
                        size(one.logical),
                        size(one.stored),
                        one.reads,
                        size(one.bytes_read // one.pieces),
                        f"{one.rate / 1e6:,.0f}" if one.rate else None,
                    )
                    for one in model.forms
                ],
            )
        for number, why in model.left:
            which = model.name if number is None else f"{model.name}:{number}"
            page.say(f"{which} was left as it is: {why}")
    moved = sum(len(model.moved) for model in done.models)
    page.say(f"{count(moved, 'version')} stored anew: {size(done.before)} before, {size(done.after)} now")


@click.command(short_help="Remove what nobody needs, of all models or of NAME.")
@click.argument("name", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would go, and why.")
@click.option(
    "--grace",
    type=click.FloatRange(0, 1_000_000),
    default=24.0,
    metavar="HOURS",
    help="How old an upload without a version, or a write that was not finished, must be.  [default: 24]",
)
@registry_option
@json_option
def collect(name: str | None, dry_run: bool, grace: float, registry: str | None, as_json: bool) -> None:
    """Remove versions that the policy lets go, failed runs that expired, and what nobody needs or crashed saves left.

    What was being written within the last 10 minutes is left, whatever the grace.
    """
    if not math.isfinite(grace):
        raise click.BadParameter(f"{grace} is no number of hours", param_hint="--grace")
    with bar("looking" if dry_run else "deleting", in_bytes=False) as tell:
        done = mk.Registry(registry).storage.collect(name, dry_run=dry_run, grace=timedelta(hours=grace), progress=tell)
    if as_json:
        print_json(done.to_dict())
        return
    page = Page()
    if done.purged:
        page.table(("version", "why it goes"), [(f"{one.name}:{one.number}", one.reason) for one in done.purged])
    if done.dropped:
        page.table(("failed run", "why it goes"), [(f"{one.name}~{one.id}", one.reason) for one in done.dropped])
    if done.removals:
        rows = [(one.key, one.kind, size(one.bytes), one.reason) for one in done.removals]
        page.table(("object", "kind", "size", "why it goes"), rows)
    if done.left:
        page.table(("left", "kind", "why"), [(one.key, one.kind, one.reason) for one in done.left])
    goes = "would go" if dry_run else "went"
    versions, objects = count(len(done.purged), "version"), count(len(done.removals), "object")
    runs = f", {count(len(done.dropped), 'failed run')}" if done.dropped else ""
    page.say(f"{versions}{runs} and {objects} ({size(done.bytes)}) {goes}")


@click.group(short_help="What the registry lets go, and what a promotion takes.")
def policy() -> None:
    """Show or set the policy of a registry: a TOML text, kept with its history.

    It says which versions may be purged, and what a promotion takes: gates, stages and approvals.
    """


@policy.command("show", short_help="Show the policy in force.")
@registry_option
@json_option
def show_policy(registry: str | None, as_json: bool) -> None:
    """Show the policy in force, as it was set."""
    found = mk.Registry(registry).policy
    if as_json:
        print_json({"number": found.number, "text": found.text})
        return
    text = found.text
    click.echo(
        text or "# no policy was set: nothing that was saved is ever removed, and nothing is asked of a promotion",
        nl=not text.endswith("\n"),
    )


@policy.command("set", short_help="Set the policy from FILE.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@registry_option
@json_option
def set_policy(file: Path, registry: str | None, as_json: bool) -> None:
    """Check the TOML text in FILE and put it in force, instead of the one before.

    What it does not know is refused with line and column, and the command exits with 2.
    """
    found = mk.Registry(registry).policy
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise mk.InvalidError(f"{file} is no UTF-8 text; save it as one") from None
    found.set(text)
    if as_json:
        print_json({"number": found.number, "text": found.text})
    else:
        Page().say(
            f"policy {found.number} is in force; `modelkeep collect --dry-run` shows what it would let go, and "
            "`modelkeep check REF ALIAS` whether a version may be promoted"
        )


UPKEEP = (usage, compact, collect)
