"""The reader: the scan first, then the C machine of `pickle` with names from the same list, then the checks."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from modelkeep.digest import Buffer
from modelkeep.errors import SerializerError, TrustError
from modelkeep.pickles import modelchecks, treechecks  # they enter their checks
from modelkeep.pickles.checks import CHECKS, Broken, unshadowed
from modelkeep.pickles.guards import GUARDS
from modelkeep.pickles.names import Name, allowed
from modelkeep.pickles.rules import refuse
from modelkeep.pickles.scan import scan

__all__ = ["Reader", "loads", "modelchecks", "treechecks"]


def loads(raw: Buffer, *, buffers: Sequence[Buffer] = ()) -> Any:
    """The object that the pickle *raw* holds, if nothing in it needs trust; its large arrays lie in *buffers*.

    Everything is scanned before anything is built. What is built by native code is looked at once more before it is
    handed out: a tree whose nodes point outside of it, or a sparse matrix with such an index, is refused.

    Raises:
        TrustError: a rule refuses the pickle; ``what`` says what was found, and nothing of it has run.
        SerializerError: a listed name is of a package, or of a release of it, that is not installed here.

    Example:
        >>> loads(pickle.dumps({"threshold": 0.5}, 5))
        {'threshold': 0.5}
    """
    whole = raw if isinstance(raw, bytes) else bytes(raw)
    scan(whole, buffers)
    reader = Reader(whole, buffers)
    try:
        found = reader.load()
        reader.check()
    except (TrustError, SerializerError, Warning):
        raise
    except Broken as error:
        raise TrustError(f"what it builds is broken: {error}", rule="broken", what=str(error)) from error
    except Exception as error:  # a reviewed class refused its state, in whatever words it has
        what = f"{type(error).__name__}: {error}"
        raise TrustError(f"it cannot be built ({what})", rule="building", what=what) from error
    return found


class Reader(pickle.Unpickler):
    """The C machine, whose names come from the list and whose calls are guarded."""

    def __init__(self, raw: bytes, buffers: Sequence[Buffer]) -> None:
        super().__init__(io.BytesIO(raw), fix_imports=False, buffers=list(buffers))
        self.made: list[tuple[str, Any]] = []
        self.parts: dict[Any, Name] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The listed name, guarded; the scan has seen it already, and this holds even if it had not."""
        name = allowed().get((module_name, global_name))
        if name is None or "." in global_name:
            what = f"{module_name}.{global_name}"
            refuse("listed", f"the pickle names {what}, which is not on the list", what=what)
            raise TrustError(f"the pickle names {what}, which is not on the list", rule="listed", what=what)
        found = _member(name)
        if name.call:
            return GUARDS[name.call](self, name, found)
        if "part" in name.uses:
            self.parts[found] = name
        return self._watched(name, found) if name.check and "new" in name.uses else found

    def persistent_load(self, pid: Any) -> Any:
        """Refused, should the scan ever miss it."""
        raise TrustError("persistent ids are refused", rule="opcode", what=repr(pid))

    def watch(self, check: str, found: Any) -> Any:
        """Have *found* checked when all is built."""
        if check:
            self.made.append((check, found))
        return found

    def check(self) -> None:
        """Look at what native code will trust.

        Raises:
            Broken: something points where nothing is.
        """
        for check, found in self.made:
            unshadowed(found)
            CHECKS[check](found)

    def _watched(self, name: Name, cls: Any) -> Any:
        """What NEWOBJ is given in place of *cls*: it makes the same object, and remembers it."""

        def make(stand_in: Any) -> Any:
            del stand_in
            return self.watch(name.check, cls.__new__(cls))

        return type(name.name, (), {"__new__": make})


def _member(name: Name) -> Any:
    module = sys.modules.get(name.module)
    try:
        return getattr(module or import_module(name.module), name.name)
    except (ImportError, AttributeError) as error:
        raise SerializerError(
            f"the pickle needs {name}, which is not here ({error}); install the packages that its record names",
            name=str(name),
        ) from error
