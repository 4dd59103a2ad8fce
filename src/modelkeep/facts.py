"""What the caller of a save says about a model, and what the files of an adopted history say for themselves."""

from __future__ import annotations

import glob
import os
import platform
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from modelkeep._trust import Grant
from modelkeep.arguments import check_tags
from modelkeep.errors import InvalidValueError, NotFoundError, shown
from modelkeep.serializers.packages import installed_versions
from modelkeep.serializers.port import Serializer
from modelkeep.system import System, format_time
from modelkeep.values import check_text, mapping_from_json, mapping_to_json, metrics_to_json
from modelkeep.version import Origin, Parent, Record

_MAX_PATTERN = 4096  # characters, more than a path has; brackets are looked at once for each of the others


@attrs.frozen
class Options:
    """How a save picks its label, and whether an equal version will do."""

    label: str | None = None
    bump: str | None = None
    reuse: bool = False


@attrs.frozen(kw_only=True)
class Facts:
    """What the caller of a save says about the model; refused where it cannot be kept."""

    params: Mapping[str, Any] = attrs.field(factory=dict)
    metrics: Mapping[str, Any] = attrs.field(factory=dict)
    tags: Mapping[str, str] = attrs.field(factory=dict)
    notes: str = ""
    parents: tuple[Parent, ...] = ()
    origin: Origin | None = None
    made: Mapping[str, Any] = attrs.field(factory=dict)
    allowed: Collection[str] = ()  # parameters that look like secrets and are none

    def __attrs_post_init__(self) -> None:
        mapping_to_json(self.made, "made")
        mapping_to_json(self.params, "params")
        if self.params:
            from modelkeep.redaction import check_params

            check_params(self.params, self.allowed)
        metrics_to_json(self.metrics, "metrics")
        check_tags(self.tags)
        check_text(self.notes, "notes")

    def copied(self) -> Facts:
        """The same in dicts of its own, so that what the caller changes later stays out of it."""
        params, metrics = mapping_to_json(self.params, "params"), metrics_to_json(self.metrics, "metrics")
        return attrs.evolve(self, params=mapping_from_json(params), metrics=mapping_from_json(metrics))

    def record(self, model: object, serializer: Serializer, system: System, **beside: Any) -> Record:
        """All that a version will know about itself; *beside* are the fields that tell of its parts."""
        kind = type(model)
        wrote = {
            "serializer": serializer.name,
            "serializer_format": serializer.format,
            "packages": installed_versions(serializer.packages),
            "type": f"{kind.__module__}.{kind.__qualname__}",
        }
        return self._recorded(system, **wrote, **beside)

    def record_alone(self, system: System, **beside: Any) -> Record:
        """The same of what has no model, such as a run that failed."""
        return self._recorded(system, serializer="", serializer_format=0, packages={}, type="", **beside)

    def _recorded(self, system: System, **more: Any) -> Record:
        return Record(
            params=dict(self.params),
            metrics=dict(self.metrics),
            tags={str.__str__(name): str.__str__(text) for name, text in self.tags.items()},  # no enum's own text
            notes=_without_secrets(self.notes) if self.notes else "",
            parents=self.parents,
            origin=self.origin,
            made=dict(self.made),
            python=platform.python_version(),
            host=system.host(),
            **more,
        )


def _without_secrets(notes: str) -> str:
    """The same, redacted; in pieces, as what is longer than one would be cut."""
    from modelkeep.redaction import MAX_TEXT, redacted

    return "".join(redacted(notes[start : start + MAX_TEXT]) for start in range(0, len(notes), MAX_TEXT))


def serializer_for(model: object, name: str | None, granted: Grant) -> Serializer:
    """The serializer of that name, which allows it; without one, the one that claims *model*.

    Raises:
        SerializerError: there is none; lists what is installed and the way out.
        TrustError: it is of another distribution, and was not granted.
    """
    from modelkeep.serializers import discovery

    return discovery.by_name(name, lambda _: True) if name else discovery.for_object(model, granted.allows)


def oldest_first(pattern: str | os.PathLike[str]) -> list[tuple[Path, Origin]]:
    """Files and folders that match, and where each came from: by time of change, then natural order of names.

    Raises:
        NotFoundError: nothing matches.
        InvalidValueError: one cannot be read.
    """
    if not isinstance(pattern, (str, os.PathLike)):
        raise InvalidValueError(f"{shown(pattern)} is no path; give text that may hold *, ? and […]", key="pattern")
    if len(os.fspath(pattern)) > _MAX_PATTERN:
        raise InvalidValueError(
            f"pattern {os.fspath(pattern)!r:.200} has more than {_MAX_PATTERN} characters", key="pattern"
        )
    found = [Path(match) for match in glob.glob(os.path.expanduser(os.fspath(pattern)))]  # noqa: PTH207, PTH111
    if not found:
        raise NotFoundError(f"no file or folder matches {os.fspath(pattern)!r}", pattern=os.fspath(pattern))
    dated = sorted(((_changed(path), _natural(path.name), path) for path in found), key=lambda row: row[:2])
    named = [(path, check_text(path.name, "the name of a file"), changed) for changed, _, path in dated]
    return [(path, Origin(name, format_time(_as_time(changed)))) for path, name, changed in named]


def _changed(path: Path) -> int:
    """When a file, or the newest file of a folder, was last changed, in nanoseconds."""
    if path.is_dir():
        return max((file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()), default=0)
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise InvalidValueError(f"{path} cannot be adopted: {error}", path=str(path)) from error


def _as_time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers in names count as numbers: v2 before v10."""
    return [(int(digits), "") if digits else (-1, text) for digits, text in re.findall(r"([0-9]+)|([^0-9]+)", name)]
