"""What a save or a run left: the facts of its entry, its record, its files, and the check of every byte of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from functools import cached_property

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep.folds import versions
from modelkeep.packfiles import PackFiles
from modelkeep.system import parse_time
from modelkeep.version import Record, StoredFile


class Kept(ABC):
    """What was appended to a line of versions, with packs; it never changes.

    Args:
        line: of the model.
        known: what the journal tells of it.
    """

    def __init__(self, line: Line, known: versions.Line | versions.VariantLine | versions.DraftLine) -> None:
        self._line = line
        self._known = known

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and (self.ref, self.digest) == (other.ref, other.digest)

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
        """The identity: BLAKE3 of content, record and the number of the version; of a failed run, its id."""
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
