"""Datasets in a registry: lines of versions by the machinery of models, and what versions of models say of their data.

The line of the dataset ``sales`` is called ``datasets/sales`` within the library and in what verification, usage and
collection tell; no model can bear such a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeGuard

import attrs
import orjson

from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep._publish import Draft, publish
from modelkeep.arguments import check_label
from modelkeep.capture import frames
from modelkeep.datafiles import FACTS, check_given, fill, place_of
from modelkeep.dataseeing import Seen, overlap, seen
from modelkeep.datasetversion import Dataset
from modelkeep.errors import (
    ConflictError,
    DeletedError,
    InvalidNameError,
    InvalidRefError,
    InvalidValueError,
    UnknownModelError,
    shown,
)
from modelkeep.facts import Facts
from modelkeep.layout import CATALOGS, DATASETS, announced_line, dataset_line, own_name
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress, reporter
from modelkeep.ref import ModelRef
from modelkeep.serializers.port import Serializer
from modelkeep.sink import SaveSink
from modelkeep.threads import answers
from modelkeep.version import Parent

_TOLD = ("kind", "fingerprint", "rows", "columns", "size")  # in the entry, so that looking for one reads no manifest
_TRAIN = ("train", "training", "fit")


@attrs.frozen
class Wanted:
    """What a caller of `Registry.save_dataset` says beside the data; the words are explained there."""

    keep: bool = False
    tags: Mapping[str, str] | None = None
    notes: str = ""
    parents: tuple[Parent, ...] = ()
    label: str | None = None
    bump: Literal["major", "minor", "patch"] | None = None
    profile: bool = True
    storage_options: Mapping[str, Any] | None = None
    progress: Progress = None


# -- saving ----------------------------------------------------------------------------------------------------


def save(home: Home, line: Callable[[], Line], data: object, wanted: Wanted) -> Dataset:
    """Save a version of a dataset, or give the newest that is equal; see `Registry.save_dataset`."""
    check_given(data, wanted.keep)
    label = check_label(wanted.label, wanted.bump)
    found = seen(data, profile=wanted.profile, storage_options=wanted.storage_options)
    told = {name: found[name] for name in _TOLD if name in found} | {"kept": wanted.keep}
    facts = Facts(
        params=told, tags=wanted.tags or {}, notes=wanted.notes, parents=wanted.parents, made={"data": [found]}
    )
    if (there := _newest(home, line, told)) is not None:
        return there
    with SaveSink() as sink:
        serializer = _fill(sink, data, found, wanted, home)
        _check_unchanged(data, found, wanted)
        record = facts.record(data, serializer, home.system, tier="data")
        sources = [attrs.evolve(source, alike=True) for source in sink.sources()]
        home.prepare()
        with reporter(wanted.progress, sink.size()) as advance:
            draft = Draft(sources=sources, record=record, label=label, bump=wanted.bump, progress=advance)
            return Dataset(line(), publish(line(), draft))


def parents_of(given: object, find: Callable[[str], Dataset]) -> tuple[Parent, ...]:
    """The versions that a caller says a dataset was made from, as the record names them.

    Args:
        given: a version, a reference, several, or None.
        find: opens a reference, such as `Registry.dataset`.

    Raises:
        InvalidValueError: it is none of these.
    """
    alone: list[object] = [] if given is None else [given]
    found = []
    for one in given if isinstance(given, Iterable) and not isinstance(given, str) else alone:
        if not isinstance(one, (str, Dataset)):
            raise InvalidValueError(
                f"parent is {shown(given)}; give a dataset, its reference, or several", key="parent"
            )
        found.append(find(one) if isinstance(one, str) else one)
    return tuple(Parent(dataset_line(one.name), one.number, one.digest) for one in found)


def _fill(sink: SaveSink, data: object, found: Seen, wanted: Wanted, home: Home) -> Serializer:
    if wanted.keep:
        return fill(sink, data, home.granted, wanted.storage_options)
    from modelkeep.serializers import discovery

    sink.put(FACTS, orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return discovery.by_name("files")


def _check_unchanged(data: object, found: Seen, wanted: Wanted) -> None:
    """Facts and bytes are read one after another: what changed between is told, and not saved.

    Raises:
        ConflictError: a file, or what lies behind a URL, is not what it was.
    """
    if not wanted.keep or place_of(data) is None:
        return
    again = seen(data, profile=False, storage_options=wanted.storage_options)
    if again.get("fingerprint") != found.get("fingerprint"):
        raise ConflictError("the data changed while it was read; save it again when nobody writes to it")


def _newest(home: Home, line: Callable[[], Line], told: Mapping[str, Any]) -> Dataset | None:
    """The newest living version that is kept likewise, if it is equal. Two GETs when warm."""
    if told.get("fingerprint") is None or home.id() is None:
        return None
    opened = line()
    try:
        opened.read()
    except UnknownModelError:
        return None
    gone = opened.releases.state.deleted
    for number in reversed(list(opened.versions.state.lines)):
        if number not in gone:
            known = Dataset(opened, number)
            if known.kept == told["kept"]:
                return known if known.fingerprint == told["fingerprint"] else None
    return None


# -- opening ---------------------------------------------------------------------------------------------------


def opened(line: Callable[[str], Line], ref: str | Dataset, *, deleted: bool = False) -> Dataset:
    """The version that a reference means; see `Registry.dataset`."""
    from modelkeep import _resolve

    if isinstance(ref, Dataset):
        return ref
    parsed = ModelRef.parse(ref.removeprefix(DATASETS) if isinstance(ref, str) else ref)
    if parsed.variant is not None:
        raise InvalidRefError(f"{parsed} is that of a variant, and datasets have none", text=str(parsed))
    own = line(dataset_line(parsed.name))
    if deleted:
        if not isinstance(parsed.selector, int):
            raise InvalidRefError(f"a version that may be deleted goes by number, such as '{parsed.name}:3'", text=ref)
        own.read()
        return Dataset(own, parsed.selector)
    found = _resolve.find(own, parsed)
    if found.number not in own.versions.state.lines:
        own.read()
    return Dataset(own, found.number)


def names(home: Home) -> list[str]:
    """The names of all datasets; see `Registry.datasets`."""
    if home.id() is None:
        return []
    found = []
    for item in home.store.list(CATALOGS[1]):
        with suppress(InvalidNameError):  # not ours; verify reports it
            found.append(own_name(announced_line(item.key)))
    return sorted(found)


# -- lineage ---------------------------------------------------------------------------------------------------


def using(home: Home, line: Callable[[str], Line], data: object, models: Iterable[str]) -> list[ModelVersion]:
    """The versions that say that they were made from *data*; see `Registry.models_using`."""
    if _is_ref(data):
        data = opened(line, data)
    wanted = _sought(data)
    versions = [version for name in models for version in _living(line(name))]
    said = answers(home.store, (partial(_data_of, version) for version in versions))
    found = [version for version, listed in zip(versions, said, strict=True) if any(map(wanted, listed))]
    return sorted(found, key=lambda version: (version.created, version.name, version.number), reverse=True)


def _is_ref(data: object) -> TypeGuard[str]:
    """Whether it is a text that is no place of data, so that it means a version."""
    return isinstance(data, str) and not frames.can_describe(data)


def _sought(data: object) -> Callable[[Mapping[str, Any]], bool]:
    if isinstance(data, Dataset):
        fingerprint, named = data.fingerprint, (data.ref, data.digest)
    else:
        fingerprint, named = seen(data, profile=False).get("fingerprint"), ("", "")

    def is_meant(one: Mapping[str, Any]) -> bool:
        is_equal = fingerprint is not None and one.get("fingerprint") == fingerprint
        return is_equal or (one.get("dataset"), one.get("identity")) == named

    return is_meant


def _living(line: Line) -> list[ModelVersion]:
    try:
        line.read()
    except UnknownModelError:  # announced, and its first save broke off
        return []
    gone = line.releases.state.deleted
    return [ModelVersion(line, number) for number in list(line.versions.state.lines) if number not in gone]


def _data_of(version: ModelVersion) -> list[Mapping[str, Any]]:
    try:
        return list(version.record.made.get("data", []))
    except DeletedError:  # purged meanwhile
        return []


def data_facts(data: object, find: Callable[[str], Dataset], *, profile: bool = True) -> list[dict[str, Any]]:
    """What a record says of the data that a version was made from: the list ``made["data"]``.

    Each is facts as `modelkeep.dataset.DatasetFacts` reads them; of a `Dataset` also ``dataset`` and ``identity``,
    without schema and profile, which that has. Rows that training and other data have in common stand as ``overlap``
    with the other.

    Args:
        data: a frame, an array, a path, a URL, a `Dataset` or its reference; or several of these by role. A dict counts
            as roles.
        find: opens a reference, such as `Registry.dataset`.
        profile: whether values are counted.

    Raises:
        InvalidValueError: something is no data.
        NotFoundError: a reference leads to nothing.

    Example:
        >>> import modelkeep as mk, pandas as pd
        >>> registry, frame = mk.Registry("memory://data-facts"), pd.DataFrame({"x": [1, 2, 3]})
        >>> sales = registry.save_dataset(frame, "sales")
        >>> [train] = data_facts({"train": "sales:1"}, registry.dataset)
        >>> train["role"], train["dataset"], train["identity"] == sales.digest
        ('train', 'sales:1', True)
    """
    roles: Sequence[tuple[str | None, object]]
    roles = [(str(role), one) for role, one in data.items()] if isinstance(data, Mapping) else [(None, data)]
    opened = [(role, find(one) if _is_ref(one) else one) for role, one in roles]
    listed = [_facts_of(one, role, profile=profile) for role, one in opened]
    return [
        entry_of(one, facts) if isinstance(one, Dataset) else facts
        for (_, one), facts in zip(opened, with_overlaps(listed), strict=True)
    ]


def entry_of(data: Dataset, facts: Seen) -> Seen:
    """What a record says of a version of a dataset: which one; its schema and profile lie there."""
    kept = {name: facts[name] for name in (*_TOLD, "role", "overlap") if name in facts}
    return kept | {"dataset": data.ref, "identity": data.digest}


def _facts_of(data: object, role: str | None, *, profile: bool) -> Seen:
    facts = data.described() if isinstance(data, Dataset) else seen(data, profile=profile)
    return facts if role is None else {**facts, "role": role}


def with_overlaps(listed: Sequence[Seen]) -> list[Seen]:
    """The same, where each that is no training data says how much of it is in the training data."""
    trained = [facts for facts in listed if _is_train(facts.get("role"))]
    return [_compared(facts, trained) for facts in listed]


def _compared(facts: Seen, trained: Sequence[Seen]) -> Seen:
    role = facts.get("role")
    if role is None or _is_train(role):
        return facts
    found = [(train["role"], overlap(train, facts)) for train in trained]
    shared = [{"with": name, **share} for name, share in found if share is not None]
    return {**facts, "overlap": shared} if shared else facts


def _is_train(role: str | None) -> bool:
    return role is not None and role.casefold().partition("_")[0] in _TRAIN
