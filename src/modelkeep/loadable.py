"""What a version and its variants have alike: what was kept loads, and is exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar, overload

from modelkeep import _resolve
from modelkeep._trust import Trust
from modelkeep.folds import versions
from modelkeep.kept import Kept
from modelkeep.targets import empty_folder

T = TypeVar("T")


class Loadable(Kept):
    """What a save appended to a line of versions: a model, in files that a serializer wrote."""

    _known: versions.Line | versions.VariantLine

    @property
    def serializer(self) -> str:
        """What wrote its files."""
        return self._known.made.serializer

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

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write the framework's native files below *folder*, parts in folders there; nothing in them is run.

        Args:
            folder: made if need be; no file that is there is touched.

        Raises:
            InvalidValueError: the folder is not empty, or cannot be one.
            IntegrityError: a stored byte is wrong.
        """
        return _resolve.export(self._line, self._found(), empty_folder(folder))
