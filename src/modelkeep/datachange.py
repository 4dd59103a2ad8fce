"""The data of two versions, role by role, by what was recorded of it: fingerprints, schemas, profiles, sketches.

A version that names a dataset leaves schema and profile to that: they are read there, if it is in the same registry and
still the one that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelkeep._line import Line
from modelkeep.comparisonparts import DataChange
from modelkeep.dataset import DatasetFacts
from modelkeep.errors import IntegrityError, InvalidError, NotFoundError
from modelkeep.layout import dataset_line
from modelkeep.ref import ModelRef
from modelkeep.versionfacts import VersionFacts

_RECORD = "what was recorded of both: schema, profile, sketch of rows"


def data_changes(before: VersionFacts, after: VersionFacts) -> tuple[DataChange, ...]:
    """The roles whose data is other data, or of which nothing tells that.

    One read for each dataset that is named, and the journals of that.

    Raises:
        IntegrityError: what was recorded is of another form.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://datachange")
        >>> old = registry.save({"w": np.ones(1)}, "churn", data={"train": np.zeros((5, 2))})
        >>> new = registry.save({"w": np.ones(1)}, "churn", data={"train": np.zeros((9, 2))})
        >>> [found] = data_changes(old, new)
        >>> found.role, found.kind, found.diff.rows
        ('train', 'changed', (5, 9))
    """
    return tuple(_changes(before, after))


def _changes(before: VersionFacts, after: VersionFacts) -> Iterator[DataChange]:
    old, new = _by_role(before), _by_role(after)
    for role in [*new, *(role for role in old if role not in new)]:
        was, now = old.get(role), new.get(role)
        names = (_name(was), _name(now))
        if was is None or now is None:
            yield DataChange(role=role, kind="gone" if now is None else "new", names=names)
        elif not _is_one_dataset(was, now):
            found = _compared(role, names, _facts(before, was), _facts(after, now))
            if found is not None:
                yield found


def _by_role(version: VersionFacts) -> dict[str, Mapping[str, Any]]:
    listed = version.record.made.get("data", [])
    return {str(one.get("role", place)): one for place, one in enumerate(listed)}


def _name(one: Mapping[str, Any] | None) -> str | None:
    found = None if one is None else one.get("dataset")
    return found if isinstance(found, str) else None


def _is_one_dataset(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    equal = [name for name in ("identity", "fingerprint") if was.get(name) is not None and was[name] == now.get(name)]
    return bool(equal)


def _compared(
    role: str, names: tuple[str | None, str | None], was: DatasetFacts | None, now: DatasetFacts | None
) -> DataChange | None:
    """What differs; None if both are equal data."""
    from modelkeep.capture.frames import diff, overlap_of

    if was is None or now is None:  # something of which no more than its class is known
        return DataChange(role=role, kind="unknown", names=names)
    found = diff(was, now)
    if found.same:
        return None
    seen = found.rows[0] != found.rows[1] or found.columns_added or found.columns_removed or found.columns_retyped
    said = " and ".join(dict.fromkeys(name for name in names if name))
    return DataChange(
        role=role,
        kind="changed" if found.same is False or seen else "unknown",
        names=names,
        diff=found,
        shared=overlap_of(was, now),
        source=f"{_RECORD}; datasets {said}" if said else _RECORD,
    )


def _facts(version: VersionFacts, one: Mapping[str, Any]) -> DatasetFacts | None:
    if "kind" not in one:
        return None
    name = _name(one)
    there = None if name is None or "schema" in one else _of_dataset(version, name, one.get("identity"))
    try:
        return DatasetFacts.from_json({**(there or {}), **one})
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(
            f"what {version.ref} says of its data is of another form ({error}); whoever wrote it was no modelkeep, or "
            "one of a newer release",
            ref=version.ref,
        ) from error


def _of_dataset(version: VersionFacts, name: str, identity: object) -> Mapping[str, Any] | None:
    """What a dataset of the same registry tells; None if it is not here, or another."""
    home = version._line.home  # noqa: SLF001  a version too
    try:
        parsed = ModelRef.parse(name)
        line = Line.open(home, dataset_line(parsed.name), home.existing())
        line.read()
        found = VersionFacts(line, parsed.selector)  # type: ignore[arg-type]  # another selector is of no version
        listed = found.record.made.get("data") or [{}]
    except (NotFoundError, InvalidError):
        return None
    return listed[0] if found.digest == identity else None
