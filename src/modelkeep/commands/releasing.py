"""Commands that say which version is in use, and what people say of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, pairs, reason_option, reference, registry_option, trust_option
from modelkeep.commands.shapes import placed
from modelkeep.pages import Page, print_json, shown, waiting


def _expected(ctx: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any]:
    """The option as an argument; none if it was not given."""
    if text is None:
        return {}
    if text == "none":
        return {"expect": None}
    if not text.isascii() or not text.isdigit():
        raise click.BadParameter(f"{text!r} is no version number, nor 'none'", ctx, param)
    return {"expect": int(text)}


expect_option = click.option(
    "--expect", metavar="N|none", callback=_expected, help="Only if the alias stands on version N, or is not set."
)


@click.command(short_help="Let ALIAS stand on the version REF.")
@click.argument("ref", type=reference)
@click.argument("alias")
@expect_option
@reason_option
@trust_option
@registry_option
@json_option
def promote(
    ref: str | Path,
    alias: str,
    expect: dict[str, Any],
    reason: str | None,
    trust: tuple[str, ...],
    registry: str | None,
    as_json: bool,
) -> None:
    """Let ALIAS, such as production, stand on the version REF, if the policy lets it.

    If a gate fails, the alias stays, the refusal is kept with the history, and the command exits with 1. With --expect,
    and the alias elsewhere, nothing is changed, and it exits with 4.
    """
    version = mk.Registry(registry).get(ref)
    with waiting("promoting"):
        version.promote(alias, reason=reason, trust=trust, **expect)
    _tell(alias, version, as_json=as_json)


@click.command(short_help="Let ALIAS of NAME go back to the version before.")
@click.argument("name")
@click.argument("alias")
@expect_option
@reason_option
@registry_option
@json_option
def rollback(
    name: str, alias: str, expect: dict[str, Any], reason: str | None, registry: str | None, as_json: bool
) -> None:
    """Let ALIAS of the model NAME go back to the version before, past those that are deleted.

    Of two people at once one goes back, and the other is told: the command exits with 4.
    """
    if "expect" in expect and expect["expect"] is None:
        raise click.UsageError("an alias that is not set cannot go back; give --expect a number")
    version = (
        mk.Registry(registry)
        .model(name)
        .rollback(alias, reason=reason, **{word: number for word, number in expect.items() if number is not None})
    )
    _tell(alias, version, as_json=as_json)


def _tell(alias: str, version: mk.ModelVersion, *, as_json: bool) -> None:
    if as_json:
        print_json(placed(alias, version))
    else:
        Page().say(f"{version.name}@{alias} stands on {version}")


@click.command(short_help="Take ALIAS of NAME away.")
@click.argument("name")
@click.argument("alias")
@reason_option
@registry_option
@json_option
def unset(name: str, alias: str, reason: str | None, registry: str | None, as_json: bool) -> None:
    """Take ALIAS of the model NAME away, and with it what a rollback would go back to. No version is touched."""
    mk.Registry(registry).model(name).unset(alias, reason=reason)
    if as_json:
        print_json({"alias": alias, "name": name})
    else:
        Page().say(f"{name}@{alias} is not set any more")


@click.command(short_help="Set tags of the version REF, or take them away.")
@click.argument("ref", type=reference)
@click.argument("tags", metavar="K=V...", nargs=-1, required=True, callback=pairs(str))
@registry_option
@json_option
def tag(ref: str | Path, tags: dict[str, str], registry: str | None, as_json: bool) -> None:
    """Set tags of the version REF; K= without a value takes the tag K away."""
    version = mk.Registry(registry).get(ref).tag(**{key: text or None for key, text in tags.items()})
    if as_json:
        print_json({"ref": version.ref, "tags": version.tags})
        return
    page = Page()
    standing = version.tags
    page.say(f"tags of {version}:" if standing else f"{version} has no tags")
    page.facts((key, shown(text)) for key, text in standing.items())


RELEASING = (promote, rollback, unset, tag)
