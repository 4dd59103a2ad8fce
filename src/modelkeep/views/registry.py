"""What a notebook shows of a registry: its models, with what is newest and what is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from modelkeep._line import Line
from modelkeep.markup import Child, tag
from modelkeep.threads import answers
from modelkeep.views.shapes import badges, bounded, clipped, counted, moment, safely, unread

MAX_MODELS = 50  # each costs three requests; whoever has more asks for names
_HEAD = ("model", "versions", "latest", "aliases", "last save or move (UTC)")


def registry_html(url: str, names: Callable[[], Sequence[str]], find: Callable[[str], Line | None]) -> str:
    """The models of a registry, at most 50, by name. No manifest is read.

    One listing, and three GETs for each model when warm; several models at once in a far store.

    Args:
        url: where it lies.
        names: lists the models.
        find: gives the line of one.
    """
    return safely(f"the registry {url}", lambda: _registry(url, names(), find))


def _registry(url: str, names: Sequence[str], find: Callable[[str], Line | None]) -> Child:
    said = counted(len(names), "model") if names else "no model yet; the first save makes one"
    lines = [line for name in names[:MAX_MODELS] if (line := find(name)) is not None]
    store = lines[0].home.store if lines else None
    rows = list(answers(store, (partial(_row, line) for line in lines)))
    shown = bounded(_HEAD, rows, len(names), rest="registry.models()") if rows else None
    return [tag("h3", "Registry ", tag("span", url, class_="soft")), tag("p", said, class_="soft"), shown]


def _row(line: Line) -> Sequence[Child]:
    try:
        line.read()
        line.notes.refresh()
    except Exception as error:  # noqa: BLE001  the other models are still worth a look
        return [line.name, unread("it", error)]
    return list(_cells(line))


def _cells(line: Line) -> Iterator[Child]:
    made, used = line.versions.state, line.releases.state
    alive = [number for number in made.lines if number not in used.deleted]
    title = line.notes.state.title
    yield [line.name, [" ", tag("span", clipped(title), class_="soft")] if title else None]
    yield len(alive)
    latest = made.lines[alive[-1]] if alive else None
    yield None if latest is None else f"{alive[-1]}{f' ({latest.label})' if latest.label else ''}"
    yield badges(f"{alias} → {stack[-1].number}" for alias, stack in sorted(used.stacks.items()))
    moments = [known.time for known in made.lines.values()]
    moments += [holder.time for stack in used.stacks.values() for holder in stack]
    yield moment(max([*moments, used.latest])) if moments else None
