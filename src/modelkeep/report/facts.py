"""The sections of a report that tell what a version is, holds and is used for; each is None where there is nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from modelkeep import markup
from modelkeep.errors import ModelkeepError
from modelkeep.markup import Child, tag
from modelkeep.report.tables import MOST_ROWS, MOST_TEXT, cut, named, rows
from modelkeep.samples import family
from modelkeep.schema import Columns
from modelkeep.telling import Told, alias_moves, in_words, library_of, load_snippet, written_by
from modelkeep.usable import EXAMPLE

_MOST_VALUES = 5  # of a row of an example


def summary(told: Told) -> Child:
    """What the version is, and what people say of it."""
    record = told.version.record
    said = [told.description, told.version.notes]
    return [
        markup.facts({
            "kind": record.type,
            "library": library_of(told.version),
            "task": told.task,
            "saved": f"{told.version.created:%Y-%m-%d %H:%M} UTC by {told.version.author} on {record.host}",
            "took": _took(told),
            "stands under": [tag("span", alias, class_="badge") for alias in told.aliases] or None,
            "size": f"{told.version.size:,} bytes",
            "digest": tag("code", told.version.digest),
            **{f"tag {cut(name)}": cut(text) for name, text in told.tags.items()},
        }),
        [tag("blockquote", cut(text, MOST_TEXT)) for text in said if text],
    ]  # fmt: skip


def _took(told: Told) -> str | None:
    try:
        session = told.version.session
    except ModelkeepError:  # what it says is of another form: nothing hangs on it
        return None
    if session is None or session.duration_s is None:
        return None
    hardware = session.hardware
    place = f" on {hardware.usable or hardware.cpus or '?'} of {hardware.cpu or 'a processor'}" if hardware else ""
    gpus = "".join(f", {gpu.name}" for gpu in hardware.gpus[:_MOST_VALUES]) if hardware else ""
    return f"{session.duration_s:,.1f} s{place}{gpus}"


def loading(told: Told) -> Child:
    """How to load it."""
    return markup.code(load_snippet(told.version))


def parameters(told: Told) -> Child:
    """What went into training."""
    return named("parameter", told.version.params)


def signature(told: Told) -> Child:
    """What the model takes and gives, and the first rows of an example."""
    found = told.version.signature
    takes = found.inputs.fields.items() if found and isinstance(found.inputs, Columns) else ()
    table = rows(["takes", "of"], [[name, str(field)] for name, field in takes])
    whole = markup.facts({"takes": str(found.inputs)}) if found and not takes else None
    gives = markup.facts({"gives": str(found.outputs)}) if found and found.outputs else None
    shown = [part for part in (table, whole, gives, _example(told)) if part is not None]
    return shown or None


def _example(told: Told) -> Child:
    if EXAMPLE not in told.version.parts:
        return None
    try:
        columns = dict(islice(_columns(told.version.example()), MOST_ROWS))
    except (ModelkeepError, ImportError) as error:  # it may need trust, or a library that is not here
        return tag("p", f"There is an example, which is not shown: {error}", class_="soft")
    most = max((len(values) for values in columns.values()), default=0)
    listed = [[name, *(cut(in_words(value)) for value in values)] for name, values in columns.items()]
    return rows(["example", *(f"row {n + 1}" for n in range(most))], listed)


def _columns(example: Any) -> Iterator[tuple[str, list[Any]]]:
    """The columns of an example by name, and their first values."""
    library = family(example)
    if library == "pyarrow":
        yield from example.slice(0, _MOST_VALUES).to_pydict().items()
    elif library in ("pandas", "polars") and hasattr(example, "columns"):
        for place, name in enumerate(example.columns):
            column = example.iloc[:, place] if library == "pandas" else example[name]
            yield str(name), list(column)[:_MOST_VALUES]
    elif isinstance(example, Mapping):
        for name, column in example.items():
            yield str(name), list(column)[:_MOST_VALUES] if hasattr(column, "__getitem__") else [column]
    elif library == "numpy" and example.ndim == 2:  # noqa: PLR2004  rows and columns
        for place in range(min(example.shape[1], MOST_ROWS)):
            yield f"[{place}]", example[:_MOST_VALUES, place].tolist()
    else:
        yield "all of it", [cut(str(example), MOST_TEXT)]


def parents(told: Told) -> Child:
    """The versions that it was made from."""
    return rows(["made from", "digest"], [[str(one), one.identity] for one in told.version.parents])


def files(told: Told) -> Child:
    """The files: what wrote each, and what loading it may do."""
    head = ["file", "bytes", "stored", "format", "tier", "digest"]
    listed: list[list[Child]] = [
        [one.path, one.size, one.stored, *written_by(told.version, one.path), tag("code", one.digest[:16])]
        for one in told.version.files[: MOST_ROWS + 1]
    ]
    return rows(head, listed, caption=f"{len(told.version.files):,} files, {told.version.size:,} bytes")


def aliases(told: Told) -> Child:
    """The moves of aliases to it and away from it."""
    head = ["when (UTC)", "alias", "what", "other version", "who", "why"]
    listed: list[list[Child]] = [
        [f"{move.time:%Y-%m-%d %H:%M}", move.alias, move.what, move.other or "", move.actor, move.reason or ""]
        for move in alias_moves(told.version)
    ]
    return rows(head, listed)
