"""`Dataset`: one version of a dataset, what is known of it, and what one does with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelkeep import _resolve
from modelkeep._erase import Erasure
from modelkeep._line import Line
from modelkeep._resolve import Verify
from modelkeep.arguments import ABSENT, Absent, number_of
from modelkeep.dataseeing import seen
from modelkeep.dataset import ColumnProfile, DatasetFacts, are_equal
from modelkeep.errors import InvalidValueError, NotFoundError
from modelkeep.layout import own_name
from modelkeep.listing import Listing
from modelkeep.modelversion import ModelVersion
from modelkeep.schema import Schema
from modelkeep.version import Parent

if TYPE_CHECKING:
    from modelkeep.capture.frames.differing import DatasetDiff


class Dataset:
    """One version of a dataset. Its facts never change; aliases and tags are read as they stand.

    Datasets come from `Registry.save_dataset` and `Registry.dataset`.

    Example:
        >>> import modelkeep as mk, pandas as pd
        >>> registry = mk.Registry("memory://dataset")
        >>> sales = registry.save_dataset(pd.DataFrame({"x": [1, 2, 3]}), "sales", tags={"source": "crm"})
        >>> sales, sales.kept, sales.tags
        (Dataset sales:1, False, {'source': 'crm'})
    """

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._version = ModelVersion(line, number)

    def __repr__(self) -> str:
        return f"Dataset {self}"

    def __str__(self) -> str:
        return f"{self.ref} ({self.label})" if self.label else self.ref

    def _repr_html_(self) -> str:
        """Schema and profile: one request, once, and one GET."""
        from modelkeep.views.dataset import dataset_html

        return dataset_html(str(self), self._version, lambda: self.facts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dataset) and self._version == other._version

    def __hash__(self) -> int:
        return hash(self._version)

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return own_name(self._line.name)

    @property
    def number(self) -> int:
        """The number within the dataset: 1, 2, 3 and so on."""
        return self._version.number

    @property
    def ref(self) -> str:
        """The reference that always means this version: ``sales:3``."""
        return f"{self.name}:{self.number}"

    @property
    def label(self) -> str | None:
        """The semantic version, if it has one."""
        return self._version.label

    @property
    def digest(self) -> str:
        """The identity: BLAKE3 of content, record and number."""
        return self._version.digest

    @property
    def created(self) -> datetime:
        """When it was saved, in UTC, by the clock of who saved it."""
        return self._version.created

    @property
    def author(self) -> str:
        """Who saved it."""
        return self._version.author

    @property
    def kept(self) -> bool:
        """Whether the data itself is stored, so that it loads."""
        return self._version.params.get("kept") is True

    @property
    def fingerprint(self) -> str | None:
        """What equal data has alike; None if it could not be told, and `facts` says why."""
        found = self._version.params.get("fingerprint")
        return found if isinstance(found, str) else None

    @property
    def rows(self) -> int | None:
        """How many rows, where there are rows."""
        found = self._version.params.get("rows")
        return found if type(found) is int else None

    @property
    def facts(self) -> DatasetFacts:
        """All that is known of the data: schema, profile, where it was. One request, once.

        Raises:
            InvalidValueError: whoever wrote it was no modelkeep.
        """
        return DatasetFacts.from_json(self.described())

    def described(self) -> dict[str, Any]:
        """The same as plain values of JSON, as they were recorded. One request, once."""
        listed = self._version.record.made.get("data") or [{}]
        return dict(listed[0])

    @property
    def schema(self) -> Schema | None:
        """Names and dtypes of its columns, or dtype and shape. One request, once."""
        return self.facts.schema

    @property
    def profile(self) -> Mapping[str, ColumnProfile] | None:
        """What was counted of the values of each column; None without. One request, once."""
        return self.facts.profile

    @property
    def notes(self) -> str:
        """The notes given at the save. One request, once."""
        return self._version.notes

    @property
    def parents(self) -> tuple[Parent, ...]:
        """The versions that it was made from, named with their shelf: ``datasets/sales``. One request, once."""
        return self._version.parents

    @property
    def tags(self) -> dict[str, str]:
        """Tags given at the save and since. One GET when warm."""
        return self._version.tags

    @property
    def description(self) -> str | None:
        """The description, if there is one and it was not erased. Two GETs when warm."""
        return self._version.description

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases under which it stands. One GET."""
        return self._version.aliases

    @property
    def versions(self) -> Listing[Dataset]:
        """All versions of the dataset that are not deleted, newest first. Two GETs when warm."""
        self._line.read()
        gone = self._line.releases.state.deleted
        numbers = [number for number in reversed(list(self._line.versions.state.lines)) if number not in gone]
        return Listing(numbers, lambda number: Dataset(self._line, number), Dataset.to_dict)

    def to_dict(self) -> dict[str, Any]:
        """The facts that the journal holds, as one flat row."""
        return {
            "version": self.number,
            "label": self.label,
            "created": self.created,
            "author": self.author,
            "rows": self.rows,
            "kept": self.kept,
            "fingerprint": self.fingerprint,
            "size": self._version.size,
        }

    # -- the data --------------------------------------------------------------------------------------------

    def load(self, *, into: str | os.PathLike[str] | None = None, verify: Verify = "now") -> Any:
        """Give back the data as it was saved: a frame as one of the same library, an array as an array.

        Args:
            into: a folder, which gets the files; needed for files that were kept as they were.
            verify: ``now`` checks every byte, ``lazy`` leaves unchecked what is mapped from a local disk.

        Raises:
            NotFoundError: only facts were kept; says where the data was.
            IntegrityError: a stored byte is wrong; names the object.
            DeletedError: it was purged.
        """
        if not self.kept:
            raise NotFoundError(self._not_kept(), name=self.name, number=self.number)
        return _resolve.load(self._line, self._version._found(), into=into, trust=False, verify=verify)  # noqa: SLF001  its own

    def _not_kept(self) -> str:
        source = self.described().get("source")
        where = ", ".join(map(str, source.values())) if isinstance(source, dict) else ""
        was = f"it was {where}" if where else f"it was in memory on {self._version.record.host}"
        return f"of {self.ref} only facts were kept, and no data: {was}; save it with keep=True to load it again"

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write the stored files below *folder*, which must be empty: ``table.parquet``, or ``dataset.json``.

        Raises:
            InvalidValueError: the folder is not empty, or cannot be one.
            IntegrityError: a stored byte is wrong.
        """
        return self._version.export(folder)

    def verify(self) -> int:
        """Read every stored byte and check it; gives how many. Whether other data equals this says `matches`.

        Raises:
            IntegrityError: a byte is not as it was written; names the object.
        """
        return self._version.verify()

    def matches(self, data: object) -> bool:
        """Whether *data* equals this version, by fingerprint. Reads *data* once, and nothing of the registry.

        Args:
            data: as for `Registry.save_dataset`; of whatever library.

        Raises:
            InvalidValueError: it cannot be told: one has no fingerprint, or one of another scheme, as files and frames.

        Example:
            >>> import modelkeep as mk, pandas as pd
            >>> frame = pd.DataFrame({"x": [1, 2, 3]})
            >>> sales = mk.Registry("memory://matches").save_dataset(frame, "sales")
            >>> sales.matches(frame), sales.matches(frame.head(2))
            (True, False)
        """
        given = data.fingerprint if isinstance(data, Dataset) else seen(data, profile=False).get("fingerprint")
        found = are_equal(self.fingerprint, given)
        if found is None:
            raise InvalidValueError(
                f"whether this is {self.ref} cannot be told: its fingerprint is {self.fingerprint}, not {given}; "
                "give the data in the form in which it was saved",
                key="data",
            )
        return found

    def diff(self, other: object, *, key: str | Sequence[str] | None = None) -> DatasetDiff:
        """What is otherwise in *other*: rows where both are frames that are at hand, else what facts tell.

        Costs a load of each version that is kept.

        Args:
            other: another `Dataset`, or data.
            key: the columns that name a row; needs the rows of both.

        Raises:
            InvalidValueError: a key, and the rows of one are not at hand; or a key is missing or names two rows.

        Example:
            >>> import modelkeep as mk, pandas as pd
            >>> registry = mk.Registry("memory://diff")
            >>> first = registry.save_dataset(pd.DataFrame({"id": [1, 2], "x": [1, 2]}), "sales", keep=True)
            >>> first.diff(pd.DataFrame({"id": [1, 2], "x": [1, 3]}), key="id").changed
            1
        """
        from modelkeep.capture.frames import diff

        there = other if isinstance(other, Dataset) else seen(other)
        rows = [one.kept if isinstance(one, Dataset) else True for one in (self, there)]
        kinds = {one.described().get("kind") if isinstance(one, Dataset) else one.get("kind") for one in (self, there)}
        if all(rows) and kinds == {"frame"}:
            return diff(self.load(), other.load() if isinstance(other, Dataset) else other, key=key)
        if key is not None:
            raise InvalidValueError("rows can be compared by key only where both are frames that were kept", key="key")
        return diff(self.facts, there.facts if isinstance(there, Dataset) else DatasetFacts.from_json(there))

    # -- what people do with it ------------------------------------------------------------------------------

    def promote(
        self, alias: str, *, expect: int | Dataset | Absent | None = ABSENT, reason: str | None = None
    ) -> Dataset:
        """Let *alias*, such as ``golden``, stand on this version; see `ModelVersion.promote`."""
        expected = number_of(expect, self.name)
        return self._after(lambda: self._version.promote(alias, expect=expected, reason=reason))

    def tag(self, **tags: str | None) -> Dataset:
        """Set tags; None takes one away. One write when warm."""
        return self._after(lambda: self._version.tag(**tags))

    def describe(self, text: str) -> Dataset:
        """Set the description, any text. Two writes."""
        return self._after(lambda: self._version.describe(text))

    def set_label(self, label: str | None = None, *, bump: Literal["major", "minor", "patch"] | None = None) -> Dataset:
        """Give it a label, once and for ever; see `ModelVersion.set_label`."""
        return self._after(lambda: self._version.set_label(label, bump=bump))

    def hold(self, *, reason: str | None = None) -> Dataset:
        """Keep it from being purged, whatever the policy says; see `ModelVersion.hold`."""
        return self._after(lambda: self._version.hold(reason=reason))

    def unhold(self, *, reason: str | None = None) -> Dataset:
        """Let the policy decide about it again."""
        return self._after(lambda: self._version.unhold(reason=reason))

    def delete(self, *, reason: str | None = None) -> None:
        """Hide it, until `restore`; see `ModelVersion.delete`."""
        self._version.delete(reason=reason)

    def restore(self, *, reason: str | None = None) -> Dataset:
        """Bring it back after a delete."""
        return self._after(lambda: self._version.restore(reason=reason))

    def erase(self, reason: str) -> Erasure:
        """Erase it for legal reasons: its bytes and its record, at once; see `ModelVersion.erase`."""
        return self._version.erase(reason)

    def _after(self, act: Callable[[], object]) -> Dataset:
        act()
        return self
