"""Model cards: what a version is as Markdown, with the front matter that Hugging Face reads.

A description may be Markdown, "if you like"; a card shows it, as every text from outside, as it was typed, in a block
quote: nobody who may describe a version decides what the page of its model looks like, or where it leads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from modelkeep.code import Code
from modelkeep.markdown import escaped, quoted, table
from modelkeep.telling import (
    Told,
    alias_moves,
    in_words,
    library_of,
    load_snippet,
    written_by,
)
from modelkeep.usable import UsableVersion

_MOST_ROWS, _MOST_TEXT = 200, 300  # of a table, and of a cell in characters; a card is for reading
_HELD_OUT = ("test", "holdout", "eval", "evaluation", "validation", "valid", "val", "dev")  # most telling first


@attrs.frozen
class Card:
    """A model card: front matter that machines read, and Markdown that people read.

    Args:
        front_matter: plain values: ``library_name``, ``license`` if the version has such a tag, ``tags``,
            ``metrics``, ``datasets`` and ``model-index``.
        body: the Markdown below it.

    Example:
        >>> print(Card({"library_name": "sklearn", "tags": ["modelkeep"]}, "# churn").text)
        ---
        library_name: "sklearn"
        tags: ["modelkeep"]
        ---
        <BLANKLINE>
        # churn
    """

    front_matter: Mapping[str, Any]
    body: str = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """The whole card, as a ``README.md`` holds it."""
        return f"---\n{to_yaml(self.front_matter)}---\n\n{self.body}"

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Front matter and body as plain values."""
        return {"front_matter": dict(self.front_matter), "body": self.body}

    def _repr_markdown_(self) -> str:
        return self.body


def card_of(version: UsableVersion) -> Card:
    """The card of a version; see `ModelVersion.card`."""
    told = Told.of(version)
    parts = [f"# {escaped(str(version))}", *(part for part in _parts(told) if part)]
    return Card(_front_matter(told), "\n\n".join(parts) + "\n")


# -- front matter ------------------------------------------------------------------------------------------------------


def to_yaml(values: Mapping[str, Any]) -> str:
    r"""Plain values as YAML, a line for each name: JSON, but for what YAML 1.1 reads otherwise.

    ``1e-05`` would be text there, and of characters beyond 16 bits JSON's escapes would make two.

    Example:
        >>> print(to_yaml({"license": "mit\n", "rate": 1e-05, "tags": ["é", True, None]}), end="")
        license: "mit\n"
        rate: 1.0e-05
        tags: ["é", true, null]
    """
    return "".join(f"{name}: {_flow(value)}\n" for name, value in values.items())


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_quote(name)}: {_flow(part)}' for name, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = repr(value)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _quote(text: str) -> str:
    return '"' + re.sub(r'["\\]|[^\x20-\x7e]', _escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char in '"\\':
        return f"\\{char}"
    code = ord(char)
    if char.isprintable():
        return char
    return "\\n" if char == "\n" else f"\\x{code:02x}" if code < 1 << 8 else f"\\U{code:08x}"


def _front_matter(told: Told) -> dict[str, Any]:
    tags = told.tags
    metrics = told.metrics
    found: dict[str, Any] = {"library_name": library_of(told.version)}
    if "license" in tags:
        found["license"] = tags["license"]
    found["tags"] = ["modelkeep", *(f"{name}:{text}" for name, text in tags.items() if name != "license")]
    named = dict.fromkeys(filter(None, told.sources.values()))
    if named:
        found["datasets"] = list(named)
    if metrics:
        found["metrics"] = list(metrics)
        found["model-index"] = [{"name": told.version.name, "results": [_result(told, metrics)]}]
    return found


def _result(told: Told, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """One result of a model-index; Hugging Face wants a task and a dataset, so what is not known is said so."""
    role = next((role for role in _HELD_OUT if role in told.version.data), None)
    dataset = {"type": "unknown", "name": "not recorded"}
    if role is not None:
        facts = told.version.data[role]
        dataset = {"type": facts.kind, "name": told.sources[role] or role, "split": role}
        dataset |= {"revision": facts.fingerprint} if facts.fingerprint else {}
    return {
        "task": {"type": told.task or "other"},
        "dataset": dataset,
        "metrics": [{"type": name, "name": name, "value": _plain(value)} for name, value in metrics.items()],
    }


def _plain(value: Any) -> Any:
    """A number that JSON and YAML know, or its word."""
    words = in_words(value)
    return value if type(value) in (int, float) and words == str(value) else words


# -- what people read --------------------------------------------------------------------------------------------------


def _parts(told: Told) -> Iterator[str]:
    yield _summary(told)
    yield f"## Load\n\n```python\n{load_snippet(told.version)}\n```"
    yield _section("Intended use", quoted(told.description or ""), quoted(told.version.notes))
    yield _section("Parameters", _named("parameter", told.version.params))
    yield _section("Metrics", _named("metric", told.metrics))
    yield _section("Data", _data(told))
    yield _section("Code", _code(told.version.code))
    yield _section("Environment", _environment(told))
    yield _section("Signature", _signature(told))
    yield _section("Made from", _listed(f"{one}, digest {one.identity[:12]}" for one in told.version.parents))
    yield _section("Aliases", _aliases(told))
    yield _section("Files", _files(told))


def _section(title: str, *parts: str) -> str:
    shown = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *shown]) if shown else ""


def _summary(told: Told) -> str:
    record = told.version.record
    facts = {
        "Version": str(told.version),
        "Kind": record.type,
        "Task": told.task,
        "Saved": f"{told.version.created:%Y-%m-%d %H:%M} UTC by {told.version.author}",
        "Stands under": ", ".join(told.aliases) or None,
        "Size": f"{told.version.size:,} bytes",
        "Digest": told.version.digest,
        **{f"Tag {name}": text for name, text in told.tags.items()},
    }
    return _listed(f"{name}: {value}" for name, value in facts.items() if value)


def _listed(lines: Iterator[str] | Sequence[str]) -> str:
    return "\n".join(f"- {escaped(_cut(line))}" for line in lines)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of at most so many rows, and how many there are beside."""
    if not rows:
        return ""
    shown = table(head, [[_cut(cell) for cell in row] for row in rows[:_MOST_ROWS]])
    return shown if len(rows) <= _MOST_ROWS else f"{shown}\n\nand {len(rows) - _MOST_ROWS:,} more"


def _named(what: str, values: Mapping[str, Any]) -> str:
    return _rows([what, "value"], [[name, in_words(value)] for name, value in values.items()])


def _data(told: Told) -> str:
    sources = told.sources
    rows = [
        [role, facts.kind, sources[role], _count(facts.rows),
         _count(facts.columns), facts.fingerprint or "unknown"]
        for role, facts in told.version.data.items()
    ]  # fmt: skip
    names = [f"{role}: {', '.join(facts.column_names())}" for role, facts in told.version.data.items() if facts.columns]
    table_ = _rows(["role", "kind", "source", "rows", "columns", "fingerprint"], rows)
    return "\n\n".join([table_, *([f"Columns:\n\n{_listed(names)}"] if names else [])])


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _code(code: Code | None) -> str:
    if code is None:
        return ""
    state = ", with changes that were not committed" if code.dirty else ""
    lines = {
        "Commit": f"{code.commit}{state}" if code.commit else None,
        "Branch": code.branch,
        "Repository": code.remote,
        "Function": code.function.name if code.function else None,
        "File": code.function.file if code.function else None,
    }
    return _listed([*(f"{name}: {text}" for name, text in lines.items() if text), *code.notes])


def _environment(told: Told) -> str:
    found = told.version.environment
    if found is None:
        own = [f"{name} {release}" for name, release in told.version.record.packages.items()]
        return _listed([f"Python {told.version.record.python}", *own])
    made = found.made
    place = ", ".join(text for text in (made.os or made.system, made.machine) if text)
    return "\n\n".join([
        _listed([f"{made.implementation} {made.python}", *([place] if place else [])]),
        _rows(["package", "version"], [[one.name, one.version] for one in made.loaded]),
    ])  # fmt: skip


def _signature(told: Told) -> str:
    signature = told.version.signature
    if signature is None:
        return ""
    takes = [f"takes {line}" for line in str(signature).splitlines()]
    gives = [] if signature.outputs is None else [f"gives {signature.outputs}"]
    return _listed([*takes[:_MOST_ROWS], *gives])


def _aliases(told: Told) -> str:
    rows = [
        [f"{move.time:%Y-%m-%d %H:%M}", move.alias, move.what, str(move.other or ""), move.actor, move.reason or ""]
        for move in alias_moves(told.version)
    ]
    return _rows(["when (UTC)", "alias", "what", "other version", "who", "why"], rows)


def _files(told: Told) -> str:
    rows = [[one.path, f"{one.size:,}", *written_by(told.version, one.path), one.digest] for one in told.version.files]
    return _rows(["file", "bytes", "format", "tier", "digest"], rows)
