"""Commands that tell what there is: models, versions, histories, two versions beside each other, and lineage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import modelkeep as mk
from modelkeep.commands.options import json_option, reference, registry_option
from modelkeep.commands.outputs import write_text
from modelkeep.commands.shapes import in_full, in_line, traced
from modelkeep.pages import Page, count, named, print_json, shown, size, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkeep.comparison import Comparison
    from modelkeep.lineage import Lineage
    from modelkeep.pages import Cell


@click.command(short_help="Show all that happened to the model NAME.")
@click.argument("name")
@registry_option
@json_option
def log(name: str, registry: str | None, as_json: bool) -> None:
    """Show all that happened to the model NAME, oldest first: when, who, what, and why."""
    events = mk.Registry(registry).model(name).history()
    if as_json:
        print_json(events.to_dicts())
    else:
        Page().history(events)


@click.command(short_help="Show the models, the versions of one, or a version.")
@click.argument("what", metavar="[NAME|REF]", type=reference, required=False)
@click.option("--newest", type=click.IntRange(1), metavar="N", help="Of a model, only so many of its versions.")
@click.option("--deleted", is_flag=True, help="Of a model, also the versions that are deleted.")
@registry_option
@json_option
def show(what: str | Path | None, newest: int | None, deleted: bool, registry: str | None, as_json: bool) -> None:
    """Show the models of the registry; the versions of the model NAME; or all that is known of the version REF.

    REF is name:7, name:1.3.0, name:^1.3, name@alias, name#digest, or a pointer file, whose name ends in .mk.
    """
    opened = mk.Registry(registry)
    if what is None:
        _show_models(opened, as_json=as_json)
    elif isinstance(what, str) and (ref := mk.ModelRef.parse(what)) == mk.ModelRef(ref.name):
        _show_versions(opened.model(what), newest, deleted=deleted, as_json=as_json)
    else:
        told = in_full(_version(opened, what))
        print_json(told) if as_json else _show_version(told, Page())


def _version(registry: mk.Registry, what: str | Path) -> mk.ModelVersion:
    if isinstance(what, str):
        ref = mk.ModelRef.parse(what)
        if type(ref.selector) is int and ref.variant is None:
            return registry.model(ref.name).version(ref.selector)  # also one that is deleted
    return registry.get(what)


def _show_models(registry: mk.Registry, *, as_json: bool) -> None:
    models: list[dict[str, Any]] = [
        {
            "name": model.name,
            "title": model.title,
            "newest": next((one.number for one in model.versions()[:1]), None),
            "aliases": {alias: one.number for alias, one in model.aliases.items()},
        }
        for model in registry.models()
    ]
    if as_json:
        print_json({"url": registry.url, "models": models})
        return
    page = Page()
    if models:
        rows = [(one["name"], one["newest"], _aliases(one["aliases"])) for one in models]
        page.table(("model", "newest", "aliases"), rows)
    page.say(f"{count(len(models), 'model')} in {registry.url}")


def _aliases(standing: dict[str, int]) -> str:
    return ", ".join(f"{alias} {number}" for alias, number in standing.items())


def _show_versions(model: mk.RegisteredModel, newest: int | None, *, deleted: bool, as_json: bool) -> None:
    listed = model.versions(deleted=deleted)
    versions = [*listed[:newest]]
    aliases = {alias: one.number for alias, one in model.aliases.items()}
    if as_json:
        facts = {"name": model.name, "title": model.title, "open": model.is_open, "aliases": aliases}
        print_json({**facts, "total": len(listed), "versions": [in_line(one) for one in versions]})
        return
    page = Page()
    if versions:
        columns = ("version", "label", "saved (UTC)", "under", "size", "metrics")
        page.table(columns, [_row(one, aliases) for one in versions])
    older = f", and {len(listed) - len(versions)} older" if len(listed) > len(versions) else ""
    page.say(f"{count(len(versions), 'version')} of {model.name}{older}{'' if model.is_open else '; it is closed'}")


def _row(version: mk.ModelVersion, aliases: dict[str, int]) -> tuple[Cell, ...]:
    under = ", ".join(alias for alias, number in aliases.items() if number == version.number)
    saved = f"{version.created:%Y-%m-%d %H:%M}"
    return version.number, version.label, saved, under, size(version.size), named(version.metrics)


def _show_version(told: dict[str, Any], page: Page) -> None:
    state = [word for word in ("deleted", "held") if told[word]]
    page.facts(
        [
            ("version", told["ref"]),
            ("label", told["label"]),
            ("state", ", ".join(state)),
            ("under", ", ".join(told["aliases"])),
            ("saved (UTC)", f"{told['created']:%Y-%m-%d %H:%M:%S} by {told['author']}"),
            ("parents", ", ".join(parent["ref"] for parent in told["parents"])),
            ("variants", ", ".join(told["variants"])),
            ("description", told["description"]),
            ("notes", told["notes"]),
            ("class", None if told["serializer"] == "files" else told["type"]),  # a path, which says nothing
            ("form", told["serializer"]),
            ("signature", told["signature"]),
            ("data", "; ".join(_data(one) for one in told["data"])),
            ("made with", f"Python {told['python']}, {named(told['packages'])}".rstrip(", ")),
            ("host", told["host"]),
            ("digest", told["digest"]),
        ]
    )
    for title in ("metrics", "measured", "params", "tags"):
        if told[title]:
            page.heading("measured later" if title == "measured" else title)
            page.facts((name, shown(value)) for name, value in told[title].items())
    page.heading("files")
    page.table(("path", "size", "BLAKE3"), list(_files(told)))


def _data(one: dict[str, Any]) -> str:
    source = one["source"] or {}
    which = one["dataset"] or source.get("name") or source.get("url") or one["kind"]
    return f"{one['role'] or 'data'}: {which}" + (f", {one['rows']:,} rows" if isinstance(one["rows"], int) else "")


def _files(told: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    return ((one["path"], size(one["size"]), f"{one['digest'][:16]}...") for one in told["files"])


@click.command(short_help="Show what is otherwise in AFTER than in BEFORE.")
@click.argument("before", type=reference)
@click.argument("after", type=reference)
@click.option("--no-tensors", is_flag=True, help="Leave the tensors alone: nothing of the models is read.")
@click.option("--markdown", is_flag=True, help="Print Markdown, to be pasted.")
@registry_option
@json_option
def diff(
    before: str | Path, after: str | Path, no_tensors: bool, markdown: bool, registry: str | None, as_json: bool
) -> None:
    """Show what is otherwise in the version AFTER than in the version BEFORE, part by part.

    Parameters, metrics, data, code, environment, files and tensors. Both may be of different models.
    """
    opened = mk.Registry(registry)
    with waiting("comparing"):
        found = opened.get(after).compare(opened.get(before), tensors=not no_tensors)
    if as_json:
        print_json(found.to_dict())
    elif markdown:
        click.echo(found.to_markdown(), nl=False)
    else:
        _show_difference(found, Page())


@click.command(short_help="Show what versions were made from, and what of them.")
@click.argument("what", metavar="[NAME|REF]", required=False, type=reference)
@click.option("--mermaid", is_flag=True, help="Print a flow chart for Markdown.")
@click.option("--dot", is_flag=True, help="Print a graph for Graphviz.")
@click.option("--svg", metavar="FILE", type=click.Path(path_type=Path), help="Write a picture to FILE.")
@registry_option
@json_option
def lineage(
    what: str | Path | None, mermaid: bool, dot: bool, svg: Path | None, registry: str | None, as_json: bool
) -> None:
    """Show what the version REF, or the versions of NAME, were made from, and what came of REF, as a tree.

    Parents, datasets, code, runs, variants and aliases, over the bounds of models; of the whole registry without
    NAME. REF may also be data:sales:1, commit:0f3a or another that the page on lineage has.
    """
    if mermaid + dot + (svg is not None) + as_json > 1:
        raise click.UsageError("give one of --mermaid, --dot, --svg and --json")
    with waiting("reading"):
        found = _lineage(mk.Registry(registry), what)
    if as_json:
        print_json(traced(found))
    elif svg is not None:
        write_text(svg, found.to_svg())
        Page().say(f"the lineage of {found.start or what or found.place} is drawn in {svg}")
    elif mermaid or dot:
        click.echo(found.to_mermaid() if mermaid else found.to_dot(), nl=False)
    else:
        Page().tree(found.to_text())


def _lineage(registry: mk.Registry, what: str | Path | None) -> Lineage:
    if what is None:
        return registry.lineage()
    if isinstance(what, Path):
        return registry.get(what).lineage()
    try:
        ref = mk.ModelRef.parse(what)
    except mk.InvalidError:
        return registry.lineage().around([what])
    if ref == mk.ModelRef(ref.name):
        return registry.lineage([ref.name])
    return registry.lineage().around([what]) if ref.variant else _version(registry, what).lineage()


def _show_difference(found: Comparison, page: Page) -> None:
    from modelkeep.comparisonview import sections

    page.say(f"{found.before} -> {found.after}")
    for section in sections(found):
        page.heading(section.title)
        if section.rows:
            page.table(
                section.head,
                [[None if cell is None else shown(cell) for cell in row] for row in section.rows],
            )
        for name, text in section.texts:
            page.say(name)
            page.text(text)
        if section.note:
            page.say(section.note)


LOOKING = (show, log, diff, lineage)
