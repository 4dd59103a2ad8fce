"""What runs here beside what made a version: told at its first load in a process, where it matters."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from modelkeep.callers import level_above_us
from modelkeep.capture import environment as running
from modelkeep.environment import Environment, EnvironmentDiff, EnvironmentWarning

_SHOWN = 5  # findings in a warning

_told: set[str] = set()  # identities of versions of which this process was told


def here() -> Environment:
    """The environment of this process.

    Raises:
        ValueError: it is larger than any environment.
    """
    return Environment.from_json(running.captured())


def warn_of(found: EnvironmentDiff) -> None:
    """Warn, at the nearest line that is not ours, of the differences that matter, if there are any."""
    grave = found.that_matter
    if not grave:
        return
    lines = [f"- {one}" + (f"; {one.fix}" if one.fix else "") for one in grave[:_SHOWN]]
    if len(grave) > _SHOWN:
        lines.append(f"- and {len(grave) - _SHOWN} more")
    text = "\n".join(["what runs here is not what made this version:", *lines])
    warnings.warn(text, EnvironmentWarning, stacklevel=level_above_us())


def warn_once(identity: str, made: Mapping[str, Any], matters: Collection[str]) -> None:
    """The same for a version that is loaded, once in a process; nothing where the record does not tell.

    Args:
        identity: of the version.
        made: what its record says of its making.
        matters: distributions whose minor releases count as major ones.
    """
    if identity in _told or not made.get("environment"):
        return
    _told.add(identity)
    with suppress(ValueError, TypeError, KeyError):  # odd records are told of by who asks for the environment
        warn_of(Environment.from_json(made["environment"]).compare(here(), matters=matters))
