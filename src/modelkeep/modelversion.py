"""`ModelVersion`: one point of a model's line, its facts, and what one does with one version."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar

from modelkeep import _resolve
from modelkeep._line import Line, text_digest
from modelkeep.arguments import ABSENT, Absent, check_label, check_tags, number_of, stale
from modelkeep.errors import (
    ConflictError,
    InvalidRefError,
    InvalidValueError,
    MissingObjectError,
    TakenError,
)
from modelkeep.folds import notes, releases, versions
from modelkeep.folds.rules import Op
from modelkeep.packfiles import PackFiles
from modelkeep.ref import check_alias
from modelkeep.system import parse_time
from modelkeep.targets import make_folder, path_of
from modelkeep.tensors import Readers, Tensors
from modelkeep.values import check_text, mapping_from_json, metrics_to_json
from modelkeep.version import Parent, Record, StoredFile

if TYPE_CHECKING:
    from modelkeep._erase import Erasure

T = TypeVar("T")


class ModelVersion:
    """One version of a model. Its facts never change; aliases, tags and later metrics are read as they stand.

    Versions come from `Registry.save`, `Registry.get` and `RegisteredModel.versions`.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://modelversion")
        >>> v = registry.save({"w": np.zeros(3)}, "churn", metrics={"auc": 0.91}, bump="minor")
        >>> v, v.metrics["auc"]
        (ModelVersion churn:1 (1.0.0), 0.91)
        >>> v.promote("production").aliases
        ('production',)
    """

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._known = line.line(number)
        self._by_name: Tensors | None = None

    def __repr__(self) -> str:
        return f"ModelVersion {self}"

    def __str__(self) -> str:
        return f"{self.ref} ({self.label})" if self.label else self.ref

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelVersion) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        return hash((self.name, self.digest))

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._line.name

    @property
    def number(self) -> int:
        """The number within the model: 1, 2, 3 and so on."""
        return self._known.made.number

    @property
    def ref(self) -> str:
        """The reference that always means this version: ``churn:7``."""
        return f"{self.name}:{self.number}"

    @property
    def label(self) -> str | None:
        """The semantic version, if it has one."""
        return self._line.versions.state.lines[self.number].label

    @property
    def digest(self) -> str:
        """The identity: BLAKE3 of content, record and number."""
        return self._known.made.identity

    @property
    def content(self) -> str:
        """The digest of the files alone; equal files have equal content."""
        return self._known.made.content

    @property
    def created(self) -> datetime:
        """When it was saved, in UTC, by the clock of who saved it."""
        return parse_time(self._known.time)

    @property
    def author(self) -> str:
        """Who saved it."""
        return self._known.actor

    @property
    def size(self) -> int:
        """The bytes of its files, uncompressed."""
        return self._known.made.size

    @property
    def serializer(self) -> str:
        """What wrote its files."""
        return self._known.made.serializer

    @property
    def params(self) -> dict[str, Any]:
        """The parameters given at the save. A read of the manifest if they and the metrics are over 16 KiB."""
        kept = self._known.made.params
        return dict(self.record.params) if kept is None else mapping_from_json(kept)

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics given at the save; `measured` has what came later.

        A read of the manifest if they and the parameters are over 16 KiB.
        """
        kept = self._known.made.metrics
        return dict(self.record.metrics) if kept is None else mapping_from_json(kept)

    @property
    def record(self) -> Record:
        """All that was recorded at the save. One request, once."""
        return self._opened[1]

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Path, size and digest of each file, and what it takes in storage. One request, once.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://files").save({"w": np.zeros(3)}, "churn")
            >>> [(file.path, file.size, file.shared) for file in v.files]
            [('model.safetensors', 152, 0)]
        """
        return self._opened[0].manifest.stored()

    @property
    def tensors(self) -> Tensors:
        """The tensors, by name, each read by itself. One request, once, and one for each file with tensors."""
        if self._by_name is None:
            self._by_name = Tensors(self.ref, self._with_opened(self._readers), self._readers_again)
        return self._by_name

    def _readers(self, files: PackFiles) -> Readers:
        from modelkeep.serializers.discovery import by_name

        return by_name(self.record.serializer).tensors(files)

    def _readers_again(self, error: MissingObjectError) -> Readers:
        return self._readers(self._files_again(error))

    def _with_opened(self, use: Callable[[PackFiles], T]) -> T:
        """*use* the files, again from the start where they were moved meanwhile."""
        try:
            return use(self._opened[0])
        except MissingObjectError as error:
            return use(self._files_again(error))

    def _files_again(self, error: MissingObjectError) -> PackFiles:
        """The files where they lie now, after an object of them was missing."""
        _resolve.look_again(self._line, self._found(), error)
        self.__dict__.pop("_opened", None)
        return self._opened[0]

    @property
    def mapped(self) -> bool:
        """Whether `load` maps the tensors (of 64 KiB and more) from the disk, and copies none of them.

        False also where there are none. Reads the headers of the files.
        """
        return self._with_opened(_resolve.is_mapped)

    @property
    def notes(self) -> str:
        """The notes given at the save. One request, once."""
        return self.record.notes

    @property
    def parents(self) -> tuple[Parent, ...]:
        """The versions that it was made from. One request, once."""
        return self.record.parents

    @property
    def deleted(self) -> bool:
        """Whether it is deleted. One GET."""
        self._line.releases.refresh()
        return self.number in self._line.releases.state.deleted

    @property
    def held(self) -> bool:
        """Whether it is held, so that nothing purges it. One GET."""
        self._line.releases.refresh()
        return self.number in self._line.releases.state.held

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases under which it stands. One GET."""
        self._line.releases.refresh()
        return self._line.releases.state.aliases_of(self.number)

    @property
    def tags(self) -> dict[str, str]:
        """Tags given at the save and since. One GET when warm."""
        self._line.notes.refresh()
        later = self._line.notes.state.tags.get(self.number, {})
        return {name: text for name, text in {**self.record.tags, **later}.items() if text is not None}

    @property
    def measured(self) -> dict[str, Any]:
        """Metrics that came after the save. One GET when warm."""
        self._line.notes.refresh()
        return mapping_from_json(self._line.notes.state.measured.get(self.number, {}))

    @property
    def description(self) -> str | None:
        """The description, if there is one and it was not erased. Two GETs when warm."""
        self._line.notes.refresh()
        said = self._line.notes.state.descriptions.get(self.number)
        return self._line.text(said) if said else None

    @cached_property
    def _opened(self) -> tuple[PackFiles, Record]:
        return _resolve.open_files(self._line, self._found())

    def _found(self) -> _resolve.Found:
        return _resolve.Found(self.number, self.digest, self._line.versions.state.lines[self.number].at)

    # -- the object ------------------------------------------------------------------------------------------

    def load(self, *, into: object = None, trust: bool = False, verify: _resolve.Verify = "now") -> Any:
        """Give back the object that was saved; see `Registry.load`."""
        return _resolve.load_found(self._line, self._found(), into=into, trust=trust, verify=verify)

    def open(self, path: str) -> BinaryIO:
        """A file as a stream that can be sought; what is read is fetched and checked piece by piece.

        One request, once, and one for each piece (up to 8 MiB) that is read; who reads on and on is read ahead for.

        Args:
            path: of the file, as in `files`.

        Raises:
            InvalidValueError: there is no such file; lists those that there are.
            IntegrityError: later, when a byte that is read is wrong.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://open").save({"w": np.zeros(3)}, "churn")
            >>> with v.open("model.safetensors") as file:
            ...     file.seek(-24, 2), len(file.read())
            (128, 24)
        """
        return self._opened[0].open(path, again=self._files_again)

    def verify(self) -> int:
        """Read every byte of this version from the store and check it; also what was loaded with ``verify="lazy"``.

        One request for each 16 MiB of neighbouring pieces, several at once.

        Returns:
            The bytes that were read.

        Raises:
            IntegrityError: a byte is not as it was written; names the object.
            DeletedError: the version was purged.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> mk.Registry("memory://verify-version").save({"w": np.zeros(3)}, "churn").verify()
            152
        """
        return _resolve.with_files(self._line, self._found(), lambda files, _: files.check())

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write the framework's native files below *folder*, without running anything from them.

        Args:
            folder: made if need be; no file that is there is touched.

        Raises:
            InvalidValueError: the folder is not empty, or cannot be one.
            IntegrityError: a stored byte is wrong.
        """
        target = path_of(folder)
        make_folder(target)
        if any(target.iterdir()):
            raise InvalidValueError(f"{target} is not empty; choose an empty folder", path=str(target))
        return _resolve.export(self._line, self._found(), target)

    # -- what is in use --------------------------------------------------------------------------------------

    def promote(
        self, alias: str, *, expect: int | ModelVersion | Absent | None = ABSENT, reason: str | None = None
    ) -> ModelVersion:
        """Let *alias* stand on this version. One write when warm; a reason is one more.

        Args:
            alias: such as ``production``.
            expect: not given: whoever holds it; None: it must not be set; a number or version: it must hold that.
            reason: why, kept with the history; can be erased.

        Returns:
            This version.

        Raises:
            StaleError: *expect* does not hold.
            DeletedError: this version is deleted.
            InvalidNameError: *alias* cannot be one.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://promote")
            >>> v = registry.save({"w": np.zeros(3)}, "churn")
            >>> v.promote("production", expect=None, reason="first").aliases
            ('production',)
        """
        check_alias(alias)
        expected = number_of(expect, self.name)

        def decide(state: releases.Releases) -> Sequence[Op]:
            self._line.check_alive(self.number)
            holder = state.holder(alias)
            found = holder.number if holder else None
            if expected is not ABSENT and found != expected:
                raise stale(self.name, alias, expected, found)
            here = self._found()
            said = text_digest(reason)
            return [releases.SetAlias(alias, here.number, here.identity, here.at, "promote", said)]

        self._line.append("releases", decide, text=reason)
        return self

    def delete(self, *, reason: str | None = None) -> None:
        """Hide this version; its bytes stay and `restore` brings it back. One write when warm.

        Raises:
            InUseError: it stands under an alias.
            DeletedError: it is deleted already.
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            self._line.check_alive(self.number)
            self._line.check_unused(self.number, state)
            return [releases.Delete(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)

    def restore(self, *, reason: str | None = None) -> ModelVersion:
        """Bring this version back after a delete. One write when warm.

        Raises:
            ConflictError: it is not deleted.
            DeletedError: it was purged.
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            if self.number not in state.deleted:
                raise ConflictError(f"{self.ref} is not deleted", number=self.number)
            if self.number in state.purged:
                self._line.check_alive(self.number)
            return [releases.Restore(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)
        return self

    def hold(self, *, reason: str | None = None) -> ModelVersion:
        """Keep this version from being purged, whatever the policy says, until `unhold`. One write when warm.

        Raises:
            ConflictError: it is held already.
            DeletedError: it was purged.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://hold").save({"w": np.zeros(3)}, "churn")
            >>> v.hold(reason="audit of 2026").held, v.unhold().held
            (True, False)
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            if self.number in state.purged:
                self._line.check_alive(self.number)
            if self.number in state.held:
                raise ConflictError(f"{self.ref} is held already", number=self.number)
            return [releases.Hold(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)
        return self

    def unhold(self, *, reason: str | None = None) -> ModelVersion:
        """Let the policy decide about this version again. One write when warm.

        Raises:
            ConflictError: it is not held.
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            if self.number not in state.held:
                raise ConflictError(f"{self.ref} is not held", number=self.number)
            return [releases.Unhold(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)
        return self

    def erase(self, reason: str) -> Erasure:
        """Erase this version for legal reasons: its bytes, its record and what people wrote about it, at once.

        Versions that share a pack with it are stored anew without it. Costs a read of the manifest of each version, and
        a read and a write of what those need.

        Args:
            reason: on whose request, and by which rule; kept with the history, unless it was purged before.

        Returns:
            What went, and what remains: entries cannot be erased.

        Raises:
            ConflictError: it is held, or stands under an alias now (`InUseError`); a rollback passes over it.
            StoreError: the store refused; erase again, or let a collection finish it.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://erase").save({"w": np.zeros(3)}, "churn", notes="Ada's data")
            >>> print(v.erase("request 17").remains[0])
            The journals of 'churn' keep its number, digests, size, times and authors, for entries cannot be erased.
        """
        from modelkeep._erase import erase

        return erase(self._line, self.number, reason)

    def set_label(
        self, label: str | None = None, *, bump: Literal["major", "minor", "patch"] | None = None
    ) -> ModelVersion:
        """Give this version a label, once and for ever. One write when warm.

        Args:
            label: such as ``1.3.0``.
            bump: instead, the part of the highest label ever used to raise; the first is 1.0.0.

        Raises:
            TakenError: the label is in use, or this version has one.
            InvalidRefError: *label* is not a semantic version.
        """
        if check_label(label, bump) is None and bump is None:
            raise InvalidRefError(f"give {self.ref} a label such as '1.3.0', or bump='minor'", text="")

        def decide(state: versions.Versions) -> Sequence[Op]:
            chosen = label or state.next_label(str(bump))
            own = state.lines[self.number].label
            if own is not None:
                raise TakenError(f"{self.ref} has the label {own} already, and labels stay", label=own)
            if chosen in state.labels:
                raise TakenError(
                    f"label {chosen} is taken by {self.name}:{state.labels[chosen]}, and labels are never reused",
                    label=chosen,
                    number=state.labels[chosen],
                )
            return [versions.SetLabel(self.number, chosen)]

        self._line.append("versions", decide)
        return self

    # -- what people say -------------------------------------------------------------------------------------

    def tag(self, **tags: str | None) -> ModelVersion:
        """Set tags; None takes one away. One write when warm.

        Raises:
            InvalidValueError: a tag is no text of at most 1,000 characters.
        """
        checked = check_tags(tags, removing=True)
        self._line.append("notes", lambda _: [notes.Tag(checked, self.number)])
        return self

    def describe(self, text: str) -> ModelVersion:
        """Set the description, any text, Markdown if you like; the one before stays in the history. Two writes."""
        said = text_digest(check_text(text, "the description"))
        self._line.append("notes", lambda _: [notes.Describe(said, self.number)], text=text)
        return self

    def measure(self, **metrics: float) -> ModelVersion:
        """Add metrics that came after the save; read them as `measured`. One write when warm.

        Raises:
            InvalidValueError: a value is no number; names its key.
        """
        kept = metrics_to_json(metrics, "metrics")
        self._line.append("notes", lambda _: [notes.Measure(self.number, kept)])
        return self

    def to_dict(self) -> dict[str, Any]:
        """The facts that the journal holds, as one flat row: parameters and metrics under dotted names."""
        row: dict[str, Any] = {
            "version": self.number,
            "label": self.label,
            "created": self.created,
            "author": self.author,
            "size": self.size,
            "serializer": self.serializer,
            "digest": self.digest,
        }
        row.update({f"params.{name}": value for name, value in self.params.items()})
        row.update({f"metrics.{name}": value for name, value in self.metrics.items()})
        return row
