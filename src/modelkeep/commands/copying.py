"""Commands that copy a model, with its history, from one registry to another."""

from __future__ import annotations

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, registry_option
from modelkeep.pages import Page, print_json, waiting


@click.command(short_help="Copy the model NAME, or what is new of it, elsewhere.")
@click.argument("name")
@click.option("--to", "target", metavar="URL", required=True, help="The registry to copy to; made if there is none.")
@registry_option
@json_option
def push(name: str, target: str, registry: str | None, as_json: bool) -> None:
    """Copy the model NAME, with its numbers and history, to another registry; or what is new of it.

    Every byte is checked on the way. If it is cut off, run it again: it goes on where it stopped.
    """
    with waiting("copying"):
        done = mk.Registry(registry).push(name, to=target)
    _show(done, as_json=as_json)


@click.command(short_help="Copy the model NAME, or what is new of it, from elsewhere.")
@click.argument("name")
@click.option("--from", "source", metavar="URL", required=True, help="The registry to copy from; it is only read.")
@registry_option
@json_option
def pull(name: str, source: str, registry: str | None, as_json: bool) -> None:
    """Copy the model NAME, with its numbers and history, from another registry; or what is new of it.

    Every byte is checked on the way. If it is cut off, run it again: it goes on where it stopped.
    """
    with waiting("copying"):
        done = mk.Registry(registry).pull(name, source=source)
    _show(done, as_json=as_json)


def _show(done: mk.Transfer, *, as_json: bool) -> None:
    if as_json:
        import attrs

        print_json(attrs.asdict(done))
    else:
        Page().say(str(done))


COPYING = (push, pull)
