"""Commands that take a version elsewhere: its files, its environment, and a page, a card or a bill about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, pairs, reference, registry_option, version_or_variant
from modelkeep.commands.outputs import write_text
from modelkeep.pages import Page, count, print_json, size, waiting

if TYPE_CHECKING:
    from modelkeep.restoring import VersionEnvironment

_FOUND = ("severity", "what", "then", "now", "loaded", "sentence", "fix")


@click.command(short_help="Write the files of the version REF to FOLDER.")
@click.argument("ref", type=reference)
@click.argument("folder", type=click.Path(path_type=Path))
@registry_option
@json_option
def export(ref: str | Path, folder: Path, registry: str | None, as_json: bool) -> None:
    """Write the files of the version REF, or of the variant REF/KIND, below FOLDER; nothing in them is run.

    FOLDER is made if need be, and must be empty. Every byte is checked.
    """
    version = version_or_variant(mk.Registry(registry), ref)
    with waiting("exporting"):
        folder = version.export(folder)
    if as_json:
        files = [file.path for file in version.files]
        print_json({"ref": version.ref, "folder": str(folder), "files": files, "size": version.size})
    else:
        Page().say(f"{version.ref}: {count(len(version.files), 'file')} ({size(version.size)}) in {folder}")


def _instead(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str | None]:
    return {name: text or None for name, text in pairs(str)(ctx, param, given).items()}


@click.command(short_help="Show or make anew what the version REF ran in.")
@click.argument("ref", type=reference)
@click.option("--diff", "as_diff", is_flag=True, help="Show what differs here, the gravest first.")
@click.option("--dockerfile", is_flag=True, help="Print a Dockerfile.")
@click.option("--create", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Make a virtual environment.")
@click.option("--loaded-only", is_flag=True, help="Leave out what was installed and not imported.")
@click.option(
    "--instead",
    metavar="NAME=WHAT",
    multiple=True,
    callback=_instead,
    help="With --create: a path or requirement for what cannot be restored; NAME= leaves it out.",
)
@click.option("--build", is_flag=True, help="With --create: also build from source; that runs its code.")
@registry_option
@json_option
def env(ref: str | Path, registry: str | None, as_json: bool, folder: Path | None, **asked: Any) -> None:
    """Print the requirements of the version REF: the Python and the exact packages that made it.

    --create makes a virtual environment with just these. Do that for versions of people whom you trust.
    """
    if asked["as_diff"] + asked["dockerfile"] + (folder is not None) > 1:
        raise click.UsageError("give one of --diff, --dockerfile and --create")
    if folder is None and (asked["instead"] or asked["build"]):
        raise click.UsageError("--instead and --build go with --create")
    version = mk.Registry(registry).get(ref)
    found = _environment(version)
    if folder is not None:
        told = _create(found, folder, asked, as_json=as_json)
    elif asked["as_diff"]:
        told = _differences(found, as_json=as_json)
    else:
        told = _text(found, as_json=as_json, **{key: asked[key] for key in ("dockerfile", "loaded_only")})
    if as_json:
        print_json({"ref": version.ref, **told})


def _environment(version: mk.ModelVersion) -> VersionEnvironment:
    found = version.environment
    if found is None:
        raise mk.NotFoundError(f"the environment of {version.ref} is not known: it was saved outside of a run")
    return found


def _create(found: VersionEnvironment, folder: Path, asked: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    with waiting("installing"):
        made = found.create(
            folder, loaded_only=asked["loaded_only"], instead=asked["instead"] or None, build=asked["build"]
        )
    if not as_json:
        Page().say(f"made {made}")
    return {"folder": str(made)}


def _differences(found: VersionEnvironment, *, as_json: bool) -> dict[str, Any]:
    findings = list(found.compare(matters=()))
    if not as_json:
        page = Page()
        if findings:
            rows = [(str(one.severity), one.what, one.then, one.now) for one in findings]
            page.table(("how grave", "what", "then", "here"), rows)
        page.say(f"{count(len(findings), 'difference')}, {sum(one.matters for one in findings)} of them grave")
    return {"differences": [{key: getattr(one, key) for key in _FOUND} for one in findings]}


def _text(found: VersionEnvironment, *, dockerfile: bool, loaded_only: bool, as_json: bool) -> dict[str, Any]:
    text = found.dockerfile(loaded_only=loaded_only) if dockerfile else found.requirements(loaded_only=loaded_only)
    if not as_json:
        click.echo(text, nl=False)
    return {"python": found.made.python, "dockerfile" if dockerfile else "requirements": text}


@click.command(short_help="Explain the version REF in a page, card or bill.")
@click.argument("ref", type=reference)
@click.option("-o", "--output", "file", metavar="FILE", type=click.Path(path_type=Path), help="Write to FILE.")
@click.option("--card", is_flag=True, help="A model card: Markdown, with the front matter of Hugging Face.")
@click.option("--mlbom", is_flag=True, help="A bill of materials: CycloneDX ML-BOM 1.6, as JSON.")
@registry_option
@json_option
def report(ref: str | Path, file: Path | None, card: bool, mlbom: bool, registry: str | None, as_json: bool) -> None:
    """Explain the version REF on one page of HTML that needs nothing else, and print it or write it to FILE.

    With --json what is printed is JSON that holds the text, or says where it lies.
    """
    if card and mlbom:
        raise click.UsageError("give one of --card and --mlbom")
    form = "card" if card else "mlbom" if mlbom else "html"
    if form == "html" and file is None and not as_json and sys.stdout.isatty():
        raise click.UsageError("a page of HTML is nothing for a terminal; give -o FILE")
    version = mk.Registry(registry).get(ref)
    text = _explained(version, form)
    if file is not None:
        write_text(file, text)
    if as_json:
        where = None if file is None else str(file)
        print_json({"ref": version.ref, "form": form, "file": where, "text": None if file else text})
    elif file is not None:
        Page().say(f"{version.ref} is explained in {file}")
    else:
        click.echo(text, nl=not text.endswith("\n"))


def _explained(version: mk.ModelVersion, form: str) -> str:
    if form == "card":
        return version.card().text
    if form == "mlbom":
        return json.dumps(version.to_cyclonedx(), indent=2, allow_nan=False) + "\n"
    return version.report().html


EXPLAINING = (export, env, report)
