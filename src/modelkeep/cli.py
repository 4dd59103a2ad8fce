"""The command ``modelkeep``: its commands by what they are for, and how it ends; `modelkeep.exits` has the statuses.

Whatever is raised is said in one sentence. ``--debug``, anywhere on the line, shows the traceback, too.
"""

from __future__ import annotations

import io
import sys
import traceback
import warnings

import modelkeep as mk
from modelkeep.commands.caching import cache
from modelkeep.commands.checking import check
from modelkeep.commands.copying import COPYING
from modelkeep.commands.diagnosing import doctor
from modelkeep.commands.explaining import EXPLAINING
from modelkeep.commands.looking import LOOKING
from modelkeep.commands.options import json_option
from modelkeep.commands.pointing import pointer
from modelkeep.commands.releasing import RELEASING
from modelkeep.commands.reviewing import review
from modelkeep.commands.saving import SAVING
from modelkeep.commands.shapes import shown_by_demo
from modelkeep.commands.upkeep import UPKEEP, policy
from modelkeep.commands.verifying import verify
from modelkeep.exits import Exit, status_of
from modelkeep.pages import Blank, Page, print_json, printable, wrapped

import click  # isort: skip  after what says how to get it

DEMO_FOLDER = "modelkeep-demo"
_DEBUG = "--debug"


class _Commands(click.Group):
    """Commands by sections, whose errors are sentences."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[_DEBUG] = _DEBUG in args[:end]
        return super().parse_args(ctx, [word for word in args[:end] if word != _DEBUG] + args[end:])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):  # click knows these
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        except Exception as error:
            if ctx.meta[_DEBUG]:
                traceback.print_exception(error)
            click.echo(wrapped(f"Error: {_said(error, traced=ctx.meta[_DEBUG])}"), err=True)
            raise click.exceptions.Exit(status_of(error)) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        width = max(map(len, self.commands))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(one.name).ljust(width), one.short_help or "") for one in commands])


def _said(error: Exception, *, traced: bool) -> str:
    said = str(error)
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == "rich":
        said = 'the command modelkeep needs rich: pip install "modelkeep[cli]"'
    elif status_of(error) is Exit.UNEXPECTED:
        said = f"{type(error).__name__}: {said}" + ("" if traced else f"; run again with {_DEBUG}")
    return "\n".join(map(printable, said.splitlines()))


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(mk.__version__, prog_name="modelkeep", message="%(prog)s %(version)s")
@click.option(_DEBUG, is_flag=True, expose_value=False, help="Show the traceback of an error; also after a command.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Version machine-learning models with no server and no database."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@click.command(short_help="Train, save, promote and roll back real models.")
@click.option(
    "--registry", metavar="URL", default=DEMO_FOLDER, help=f"Where to keep its models.  [default: ./{DEMO_FOLDER}]"
)
@json_option
def demo(registry: str, as_json: bool) -> None:
    """Train, save, promote, roll back and load real models, in a few seconds.

    Needs scikit-learn. Run again in the same place, it carries on: version numbers go on.
    """
    from modelkeep.demo import run

    if as_json:
        print_json(shown_by_demo(run(registry, Blank())))
    else:
        run(registry, Page())


SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Begin": (demo, doctor),
    "Save": SAVING,
    "Look": LOOKING,
    "Release": (check, review, *RELEASING, policy),
    "Take along": (*EXPLAINING, pointer, *COPYING),
    "Keep in order": (verify, *UPKEEP, cache),
}
for _section in SECTIONS.values():
    for _command in _section:
        cli.add_command(_command)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(wrapped(f"Warning: {printable(str(message))}"), err=True)


def main() -> None:
    """Run the command; the entry point of the script ``modelkeep`` and of ``python -m modelkeep``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a reason in Greek must not end a log on an ASCII terminal
    warnings.showwarning = _warn  # a line of our source says nothing to who types commands
    cli()
