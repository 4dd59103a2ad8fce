"""The command ``modelkeep review``: what people say of a version before it is promoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, reason_option, reference, registry_option
from modelkeep.pages import Page, print_json


@click.group(short_help="Ask for a review of a version, and give one.")
def review() -> None:
    """Ask for a review of a version, give one, and see what was said.

    Who says it is $MODELKEEP_ACTOR, else who Git or the system says. Of each person the last verdict stands.
    """


@review.command(short_help="Ask for a review of the version REF.")
@click.argument("ref", type=reference)
@click.option(
    "--reviewer", "reviewers", metavar="NAME", multiple=True, help="Who is asked; may be given several times."
)
@reason_option
@registry_option
@json_option
def request(
    ref: str | Path, reviewers: tuple[str, ...], reason: str | None, registry: str | None, as_json: bool
) -> None:
    """Ask for a review of the version REF, of some or of anybody; a request before is over."""
    version = mk.Registry(registry).get(ref)
    version.review.request(reviewers, reason=reason)
    _tell(version, as_json=as_json)


@review.command(short_help="Say that REF may be promoted.")
@click.argument("ref", type=reference)
@reason_option
@registry_option
@json_option
def approve(ref: str | Path, reason: str | None, registry: str | None, as_json: bool) -> None:
    """Say that the version REF may be promoted, instead of what you said before."""
    version = mk.Registry(registry).get(ref)
    version.review.approve(reason=reason)
    _tell(version, as_json=as_json)


@review.command(short_help="Say that REF must not be promoted.")
@click.argument("ref", type=reference)
@reason_option
@registry_option
@json_option
def reject(ref: str | Path, reason: str | None, registry: str | None, as_json: bool) -> None:
    """Say that the version REF must not be promoted, instead of what you said before."""
    version = mk.Registry(registry).get(ref)
    version.review.reject(reason=reason)
    _tell(version, as_json=as_json)


@review.command(short_help="Take back what you said of REF, or your request.")
@click.argument("ref", type=reference)
@reason_option
@registry_option
@json_option
def withdraw(ref: str | Path, reason: str | None, registry: str | None, as_json: bool) -> None:
    """Take back what you said of the version REF; if you said nothing, your request."""
    version = mk.Registry(registry).get(ref)
    version.review.withdraw(reason=reason)
    _tell(version, as_json=as_json)


@review.command(short_help="Say something else about REF.")
@click.argument("ref", type=reference)
@click.argument("text")
@registry_option
@json_option
def comment(ref: str | Path, text: str, registry: str | None, as_json: bool) -> None:
    """Say something else about the version REF; the text is kept with the history, and can be erased."""
    version = mk.Registry(registry).get(ref)
    version.review.comment(text)
    if as_json:
        print_json({"ref": version.ref, "text": text})
    else:
        Page().say(f"the comment is in the history of {version.name}")


@review.command(short_help="Show what is said of REF, and what it lacks.")
@click.argument("ref", type=reference)
@registry_option
@json_option
def show(ref: str | Path, registry: str | None, as_json: bool) -> None:
    """Show what is said of the version REF now, and what it lacks for each alias of which the policy asks reviews.

    Gates do not look; `modelkeep check` lets them.
    """
    version = mk.Registry(registry).get(ref)
    said, checks = _said(version), version.review.standing()
    if as_json:
        aliases = [{key: one.to_dict()[key] for key in ("alias", "ok", "policy", "findings")} for one in checks]
        print_json({**said, "aliases": aliases})
        return
    page = Page()
    page.facts(
        [
            ("version", said["ref"]),
            ("asked by", said["requested_by"]),
            ("asked", ", ".join(said["reviewers"])),
            ("approved by", ", ".join(said["approved"]) or "nobody"),
            ("rejected by", ", ".join(said["rejected"]) or "nobody"),
        ]
    )
    if checks:
        rows = [(check.alias, one.verdict, one.asked, one.found) for check in checks for one in check.findings]
        page.heading("what the policy asks")
        page.table(("alias", "", "asked", "found"), rows)


def _said(version: mk.ModelVersion) -> dict[str, Any]:
    import attrs

    return {"ref": version.ref, **attrs.asdict(version.review.opinions())}


def _tell(version: mk.ModelVersion, *, as_json: bool) -> None:
    if as_json:
        print_json(_said(version))
    else:
        Page().say(f"{version.ref}: {version.review.opinions()}")
