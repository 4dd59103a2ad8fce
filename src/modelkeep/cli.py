"""The command ``modelkeep``: a demo, the check of every byte, histories, copies, the cache, and a doctor.

It exits with 0 when all is well, 1 when modelkeep raised an error (said in one sentence), 2 when the command was
called wrongly, 6 when ``verify`` found something wrong, and 7 when ``doctor`` found a fault.
"""

from __future__ import annotations

import io
import sys

import attrs

import modelkeep as mk
from modelkeep.pages import Page, count, json_option, print_json, printable, registry_option
from modelkeep.upkeep import UPKEEP
from modelkeep.verifying import verify

import click  # isort: skip  after what says how to get it

UNFIT = 7  # the exit status of a doctor that found a fault
DEMO_FOLDER = "modelkeep-demo"


class _Commands(click.Group):
    """Commands whose errors are said in a sentence."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except mk.ModelkeepError as error:
            raise click.ClickException("\n".join(map(printable, str(error).splitlines()))) from error


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(mk.__version__, prog_name="modelkeep", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Version machine-learning models with no server and no database."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command(short_help="Train, save, promote and roll back real models.")
@click.option(
    "--registry", metavar="URL", default=DEMO_FOLDER, help=f"Where to keep its models.  [default: ./{DEMO_FOLDER}]"
)
def demo(registry: str) -> None:
    """Train, save, promote, roll back and load real models, in a few seconds.

    Needs scikit-learn. Run again in the same place, it carries on: version numbers go on.
    """
    from modelkeep.demo import run

    run(registry, Page())


@cli.command(short_help="Show all that happened to the model NAME.")
@click.argument("name")
@registry_option
@json_option
def log(name: str, registry: str | None, as_json: bool) -> None:
    """Show all that happened to the model NAME, oldest first: when, who, what, and why."""
    events = mk.Registry(registry).model(name).history()
    if as_json:
        print_json([{**row, "time": row["time"].isoformat()} for row in events.to_dicts()])
    else:
        Page().history(events)


@cli.command(short_help="Copy the model NAME, or what is new of it, to another registry.")
@click.argument("name")
@click.option("--to", "target", metavar="URL", required=True, help="The registry to copy to; made if there is none.")
@registry_option
@json_option
def push(name: str, target: str, registry: str | None, as_json: bool) -> None:
    """Copy the model NAME, with its numbers and history, to another registry; or what is new of it.

    Every byte is checked on the way. If it is cut off, run it again: it goes on where it stopped.
    """
    _show_transfer(mk.Registry(registry).push(name, to=target), as_json=as_json)


@cli.command(short_help="Copy the model NAME, or what is new of it, from another registry.")
@click.argument("name")
@click.option("--from", "source", metavar="URL", required=True, help="The registry to copy from; it is only read.")
@registry_option
@json_option
def pull(name: str, source: str, registry: str | None, as_json: bool) -> None:
    """Copy the model NAME, with its numbers and history, from another registry; or what is new of it.

    Every byte is checked on the way. If it is cut off, run it again: it goes on where it stopped.
    """
    _show_transfer(mk.Registry(registry).pull(name, source=source), as_json=as_json)


def _show_transfer(done: mk.Transfer, *, as_json: bool) -> None:
    if as_json:
        print_json(attrs.asdict(done))
    else:
        Page().say(str(done))


@cli.command(short_help="Try what can be done at URL; say what to do.")
@click.argument("url", required=False)
@click.option("--race", is_flag=True, help="Let 16 processes race for 50 keys, too.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, url: str | None, race: bool, as_json: bool) -> None:
    """Try what can be done at URL, and say what to do about what cannot.

    URL is a folder, s3://bucket/prefix, gs://bucket/prefix or another place; without it $MODELKEEP_REGISTRY, else
    ./.modelkeep. Exits with 7 if there is a fault, with 0 if not. Its probes lie under doctor/ for a moment; nothing
    else is changed.
    """
    try:
        diagnosis = mk.Registry(url).doctor(race=race)
    except ImportError as error:  # the client library of the store is not there, or too old
        raise click.ClickException(printable(str(error))) from error
    if as_json:
        print_json({"ok": diagnosis.ok, **attrs.asdict(diagnosis)})
    else:
        _show_diagnosis(diagnosis, Page())
    ctx.exit(0 if diagnosis.ok else UNFIT)


def _show_diagnosis(diagnosis: mk.Diagnosis, page: Page) -> None:
    columns = ["", "check", "ms", "found", "to do"]
    rows = [[one.mark, one.name, one.milliseconds.rjust(8), one.detail, one.remedy] for one in diagnosis.checks]
    if not any(one.remedy for one in diagnosis.checks):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    page.table(columns, rows)
    faults = sum(one.ok is False for one in diagnosis.checks)
    page.say(f"not ok: {count(faults, 'fault')}" if faults else "ok: no fault")


@cli.group(short_help="What this machine keeps of remote registries.")
def cache() -> None:
    """Show or delete the copies of journals and packs that this machine keeps of remote registries.

    They lie in $MODELKEEP_CACHE, else in the folder for the user's caches. Deleting them is always safe.
    """


@cache.command("list", short_help="Show what is kept of each registry.")
@json_option
def list_cache(as_json: bool) -> None:
    """Show of which registries there are copies, how many objects, how many bytes, and when they were last used."""
    from modelkeep.cache import Cache
    from modelkeep.cachechoice import default_root

    found = Cache(default_root())
    kept = found.kept()
    if as_json:
        print_json({"folder": str(found.root), "registries": [attrs.asdict(one) for one in kept]})
    elif kept:
        rows = [(one.url or "unknown", one.id, one.objects, one.bytes, one.used[:16].replace("T", " ")) for one in kept]
        Page().table(("registry", "id", "objects", "bytes", "last used (UTC)"), rows)
    else:
        Page().say(f"nothing is kept in {found.root}")


@cache.command("clear", short_help="Delete what is kept, of all registries or of the one at URL.")
@click.argument("url", required=False)
def clear_cache(url: str | None) -> None:
    """Delete the copies of the registry at URL, or of all registries."""
    from modelkeep.cache import Cache
    from modelkeep.cachechoice import default_root

    found = Cache(default_root())
    Page().say(f"{count(found.clear(url), 'byte')} freed in {found.root}")


for command in (verify, *UPKEEP):
    cli.add_command(command)


def main() -> None:
    """Run the command; the entry point of the script ``modelkeep`` and of ``python -m modelkeep``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a reason in Greek must not end a log on an ASCII terminal
    cli()
