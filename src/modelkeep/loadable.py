"""What a version and its variants have alike: the facts of an entry, and files that load, verify and export."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep._trust import Trust
from modelkeep.folds import versions
from modelkeep.packfiles import PackFiles
from modelkeep.system import parse_time
from modelkeep.targets import empty_folder
from modelkeep.version import Record, StoredFile

T = TypeVar("T")


class Loadable(ABC):
    """What a save appended to a line of versions; it never changes.

    Args:
        line: of the model.
        known: what the journal tells of it.
    """

    def __init__(self, line: Line, known: versions.Line | versions.VariantLine) -> None:
        self._line = line
        self._known = known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loadable) and (self.ref, self.digest) == (other.ref, other.digest)

    def __hash__(self) -> int:
        return hash((self.ref, self.digest))

    @property
    @abstractmethod
    def ref(self) -> str:
        """The reference that always means this."""

    @abstractmethod
    def _found(self) -> _resolve.Found:
        """Where it lies now."""

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """The identity: BLAKE3 of content, record and the number of the version."""
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
        """The bytes of its files, uncompressed; of its parts, too."""
        return self._known.made.size

    @property
    def serializer(self) -> str:
        """What wrote its files."""
        return self._known.made.serializer

    @property
    def record(self) -> Record:
        """All that was recorded at the save. One request, once."""
        return self._opened[1]

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Path, size and digest of each file, and what it takes in storage; parts lie in folders. One request, once.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://files").save({"w": np.zeros(3)}, "churn")
            >>> [(file.path, file.size, file.shared) for file in v.files]
            [('model.safetensors', 152, 0)]
        """
        return self._opened[0].manifest.stored()

    @cached_property
    def _opened(self) -> tuple[PackFiles, Record]:
        return _resolve.open_files(self._line, self._found())

    # -- the object ------------------------------------------------------------------------------------------

    @overload
    def load(
        self, *, as_: type[T], into: object = None, trust: Trust = False, verify: _resolve.Verify = "now"
    ) -> T: ...
    @overload
    def load(self, *, into: object = None, trust: Trust = False, verify: _resolve.Verify = "now") -> Any: ...
    def load(
        self,
        *,
        as_: type[Any] = object,
        into: object = None,
        trust: Trust = False,
        verify: _resolve.Verify = "now",
    ) -> Any:
        """Give back the object that was saved; see `Registry.load`.

        Raises:
            DeletedError: the version was purged.
        """
        return _resolve.load_found(self._line, self._found(), into=into, trust=trust, verify=verify, as_=as_)

    def verify(self) -> int:
        """Read every byte of it from the store and check it; also what was loaded with ``verify="lazy"``.

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
        """Write the framework's native files below *folder*, parts in folders there; nothing in them is run.

        Args:
            folder: made if need be; no file that is there is touched.

        Raises:
            InvalidValueError: the folder is not empty, or cannot be one.
            IntegrityError: a stored byte is wrong.
        """
        return _resolve.export(self._line, self._found(), empty_folder(folder))
