"""Commands that make versions: a registry for them, a file or folder as the next one, files as a whole history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, number, pairs, plain, registry_option
from modelkeep.commands.shapes import in_line
from modelkeep.pages import Page, bar, count, print_json, size, waiting

if TYPE_CHECKING:
    from modelkeep.given import Given


@click.command(short_help="Make the place at URL a registry.")
@click.argument("url", required=False)
@json_option
def init(url: str | None, as_json: bool) -> None:
    """Make the place at URL a registry: write modelkeep.json there, and try whether the storage will do.

    The first save does the same, so this is only for finding out now. URL is a folder, s3://bucket/prefix,
    gs://bucket/prefix or another place; without it $MODELKEEP_REGISTRY, else ./.modelkeep. Where there is a registry,
    nothing is changed.
    """
    registry = mk.Registry(url)
    is_new = registry.prepare()
    if as_json:
        print_json({"url": registry.url, "made": is_new})
        return
    page = Page()
    page.say(f"{registry.url} is a registry now" if is_new else f"{registry.url} is a registry already")
    if is_new and url is not None:
        page.say("commands find it with --registry, or with")
        page.command(f"export MODELKEEP_REGISTRY={registry.url}")


@click.command(short_help="Keep a file or folder as the next version of NAME.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@click.option(
    "--param", "params", metavar="K=V", multiple=True, callback=pairs(plain), help="A parameter; JSON, else text."
)
@click.option("--metric", "metrics", metavar="K=V", multiple=True, callback=pairs(number), help="A number measured.")
@click.option("--tag", "tags", metavar="K=V", multiple=True, callback=pairs(str), help="A short text.")
@click.option("--data", metavar="ROLE=PLACE", multiple=True, callback=pairs(str), help="A path, URL or dataset:number.")
@click.option("--notes", metavar="TEXT", default="", help="Any text.")
@click.option("--parent", "parents", metavar="REF", multiple=True, help="The version that it was made from.")
@click.option("--label", metavar="X.Y.Z", help="A semantic version.")
@click.option("--bump", type=click.Choice(["major", "minor", "patch"]), help="Instead: the part to raise.")
@click.option("--allow-secret-like", "allowed", metavar="K", multiple=True, help="A parameter that is no secret.")
@registry_option
@json_option
def save(path: Path, name: str, data: dict[str, str], registry: str | None, as_json: bool, **said: Any) -> None:
    """Keep the file or folder at PATH, byte by byte, as the next version of the model NAME.

    --param, --metric, --tag, --data and --parent may be given several times.
    """
    given: Given = {
        "params": said["params"],
        "metrics": said["metrics"],
        "tags": said["tags"],
        "notes": said["notes"],
        "label": said["label"],
        "bump": said["bump"],
        "parent": said["parents"] or None,
        "allow_secret_like": said["allowed"],
        "data": {role: _place(text) for role, text in data.items()} or None,
    }
    with bar("saving", in_bytes=True) as given["progress"]:
        version = mk.Registry(registry).save(path, name, **given)
    if as_json:
        print_json(in_line(version))
    else:
        Page().say(f"saved {version}: {size(version.size)}")


def _place(text: str) -> Path | str:
    path = Path(text)
    return path if path.exists() else text  # a URL, or a dataset such as sales:3


@click.command(short_help="Keep files or folders as the versions of NAME.")
@click.argument("pattern", nargs=-1, required=True)
@click.argument("name")
@registry_option
@json_option
def adopt(pattern: tuple[str, ...], name: str, registry: str | None, as_json: bool) -> None:
    """Keep the files or folders that PATTERN matches as versions of the model NAME, the oldest first.

    PATTERN may hold *, ? and [...]; put it in quotes, or the shell reads it first. Doing it again adds what is new.
    """
    if len(pattern) > 1:
        raise click.UsageError(f"give one pattern, in quotes: modelkeep adopt '{_common(pattern)}' {name}")
    with waiting("adopting"):
        versions = mk.Registry(registry).adopt(pattern[0], name)
    if as_json:
        print_json({"name": name, "versions": [in_line(version) for version in versions]})
        return
    page = Page()
    rows = [(one.number, one.record.origin.path if one.record.origin else None, size(one.size)) for one in versions]
    page.table(("version", "from", "size"), rows)
    page.say(f"{count(len(versions), 'version')} of {name}")


def _common(paths: tuple[str, ...]) -> str:
    return str(Path(paths[0]).with_name(f"*{Path(paths[0]).suffix}"))


SAVING = (init, save, adopt)
