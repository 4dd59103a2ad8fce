"""What a card, a bill of materials and a report tell alike of a version: values in words, how to load it, its moves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import attrs

from modelkeep._trust import Tier, tier_of
from modelkeep.folds import releases
from modelkeep.system import parse_time
from modelkeep.usable import UsableVersion

_ODD = re.compile(r"[^\w .,:/@+~=-]|(?<![^\W_])_|_(?![^\W_])")  # \w has letters of all alphabets; _a_ may be emphasis
_TASKS = {"Classifier": "tabular-classification", "Regressor": "tabular-regression"}
_LIBRARIES = {"torch": "pytorch"}  # as Hugging Face calls them, where that differs from ours
AT_LOAD = "told at load"


@attrs.frozen
class Told:
    """A version, and what people say of it and use it for now: read once, for all that tells of it.

    Args:
        version: which.
        tags: given at the save and since.
        measured: metrics that came after the save.
        description: if there is one.
        aliases: under which it stands.
    """

    version: UsableVersion
    tags: Mapping[str, str]
    measured: Mapping[str, Any]
    description: str | None
    aliases: tuple[str, ...]

    @classmethod
    def of(cls, version: UsableVersion) -> Self:
        """Read it. Four GETs when warm, and one for a description."""
        return cls(version, version.tags, version.measured, version.description, version.aliases)

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured at the save and since; the later value where both name one."""
        return {**self.version.metrics, **self.measured}

    @property
    def task(self) -> str | None:
        """What the model is for: the tag ``task``, else what the name of its class says, else None."""
        ends = (task for end, task in _TASKS.items() if self.version.record.type.endswith(end))
        return self.tags.get("task") or next(ends, None)

    @property
    def sources(self) -> dict[str, str]:
        """Where each dataset came from, by its role: the registry's name for it, else an address, else a file's name.

        Empty for what was in memory.
        """
        listed = self.version.record.made.get("data", [])
        kept = {str(one.get("role", place)): one.get("dataset") for place, one in enumerate(listed)}
        return {
            role: str(kept.get(role) or facts.source.get("url") or facts.source.get("name", ""))
            for role, facts in self.version.data.items()
        }


def in_words(value: object) -> str:
    """A parameter or metric as people read it; what is no number is said in words.

    Example:
        >>> in_words(float("nan")), in_words(0.25), in_words(True), in_words("gini")
        ('NaN', '0.25', 'true', 'gini')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    return str(value)


def load_snippet(version: UsableVersion, *, then: str = "") -> str:
    """The lines of Python that load the version, elsewhere too; no text in them can be anything but text.

    A folder of this machine is nobody else's affair: of a registry on a disk the lines have no place.

    Args:
        version: which.
        then: instead of loading, what is done with ``registry``; ``{ref}`` in it is the reference.
    """
    store = version._line.home.store  # noqa: SLF001  where it lies is the line's affair
    place = literal(store.url) if getattr(store, "remote", False) else ""
    said = f", trust={literal(version.digest)}" if version.record.tier == Tier.CODE else ""
    lines = ["import modelkeep as mk", "", f"registry = mk.Registry({place})"]
    if then:
        return "\n".join([*lines, then.replace("{ref}", literal(version.ref))])
    if said:
        lines.append("# This may run code from its files: do it if you trust whoever could write to the registry.")
    return "\n".join([*lines, f"model = registry.load({literal(version.ref)}{said})"])


def literal(text: str) -> str:
    r"""A string of Python that is this text, and holds nothing that any page could take for something else.

    Example:
        >>> literal("a<b>:7")
        '"a\\x3cb\\x3e:7"'
    """
    return f'"{_ODD.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 1 << 8 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def library_of(version: UsableVersion) -> str:
    """The library that the model is of, as Hugging Face calls it."""
    return _LIBRARIES.get(version.serializer, version.serializer)


def written_by(version: UsableVersion, path: str) -> tuple[str, str]:
    """What wrote a file of the version, with the number of its layout, and the tier of that.

    A record does not say the tier of a part, and of some models it depends on the files: loading tells it.
    """
    record = version.record
    part = record.parts.get(path.partition("/")[0])
    if part is None:
        return f"{record.serializer} {record.serializer_format}", record.tier or AT_LOAD
    tier = tier_of(part.serializer)
    certain = tier is not Tier.CODE or part.serializer == "cloudpickle"
    return f"{part.serializer} {part.serializer_format}", tier.value if certain else AT_LOAD


@attrs.frozen
class Move:
    """An alias came to a version, or left it.

    Args:
        time: when, by the clock of who did it.
        alias: such as ``production``.
        what: ``promote`` or ``rollback`` to it; ``moved on``, ``rolled back`` or ``unset`` away from it.
        other: where it came from, or went to; None for nowhere.
        actor: who did it.
        reason: why, if that was said and not erased.
    """

    time: datetime
    alias: str
    what: str
    other: int | None
    actor: str
    reason: str | None


def alias_moves(version: UsableVersion) -> list[Move]:
    """The moves of aliases to the version and away from it, oldest first.

    Costs a cold read of `releases` and a request for each reason.
    """
    line = version._line  # noqa: SLF001  its journals
    line.releases.refresh()
    held: dict[str, int] = {}
    moves = []
    for entry, _, void in line.releases.replay():
        for alias, how, number in [] if void else releases.alias_moves(entry.ops):
            before = held.get(alias)
            if version.number in (before, number):
                there = number == version.number
                what = how if there else {"promote": "moved on", "rollback": "rolled back"}.get(how, how)
                said = next((op.get("reason") for op in entry.ops if op.get("alias") == alias), None)
                reason = line.text_of(entry, said) if said else None
                other = before if there else number
                moves.append(Move(parse_time(entry.time), alias, what, other, entry.actor, reason))
            held[alias] = number or 0
    return moves
