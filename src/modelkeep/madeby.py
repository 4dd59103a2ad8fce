"""What made a version, as it is asked for: its code, its environment, its session and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from modelkeep import _resolve
from modelkeep.curves import HISTORY, History
from modelkeep.errors import IntegrityError
from modelkeep.kept import Kept

if TYPE_CHECKING:
    from modelkeep.code import Code
    from modelkeep.dataset import DatasetFacts
    from modelkeep.restoring import VersionEnvironment
    from modelkeep.session import Session

T = TypeVar("T")


class Made(Kept):
    """What `ModelVersion` and `FailedRun` tell of their making; each is None, or empty, where nothing was recorded.

    Tracked functions and runs record all of it, and ``save(data=…)`` the data.
    """

    @property
    def code(self) -> Code | None:
        """The commit, the function and all of the project that it called. One request, once.

        Raises:
            IntegrityError: what was recorded is of another form.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://made-by")
            >>> @registry.track("churn")
            ... def train(depth=6):
            ...     return {"w": np.ones(depth)}
            >>> _ = train()
            >>> registry.get("churn").code.function.name.rpartition(":")[2]
            'train'
        """
        from modelkeep.code import Code

        return self._made("code", Code.from_json)

    @property
    def environment(self) -> VersionEnvironment | None:
        """Python, the distributions, what differs here, and how to have the same again. One request, once.

        Raises:
            IntegrityError: what was recorded is of another form.
        """
        from modelkeep.environment import Environment
        from modelkeep.restoring import VersionEnvironment

        made = self._made("environment", Environment.from_json)
        return None if made is None else VersionEnvironment(made)

    @property
    def session(self) -> Session | None:
        """When, how long, on what machine and from which seeds it was made. One request, once.

        Raises:
            IntegrityError: what was recorded is of another form.
        """
        from modelkeep.session import Session

        return self._made("session", Session.from_json)

    @property
    def data(self) -> Mapping[str, DatasetFacts]:
        """The data that it was made from, by role; of what has none, by its place in the list. One request, once.

        Raises:
            IntegrityError: what was recorded is of another form.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://made-from").save({"w": np.ones(3)}, "churn", data={"train": np.zeros((5, 2))})
            >>> v.data["train"].rows
            5
        """
        from modelkeep.dataset import DatasetFacts

        listed = self.record.made.get("data", [])
        named = {str(one.get("role", place)): one for place, one in enumerate(listed)}
        return {role: self._read("data", one, DatasetFacts.from_json) for role, one in named.items() if "kind" in one}

    @property
    def history(self) -> History:
        """The metrics by step that its run logged, by name; empty if none were. One request, once, and the data.

        Raises:
            IntegrityError: a stored byte is wrong; names the object.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> with mk.Registry("memory://history").run("churn") as run:
            ...     run.log(loss=0.7)
            ...     run.log(loss=0.5)
            ...     v = run.save({"w": np.ones(2)})
            >>> v.history["loss"].value.tolist()
            [0.7, 0.5]
        """
        if HISTORY not in self.record.parts:
            return History({})
        (found,) = _resolve.load_together(self._line, self._found(), [HISTORY], trust=False)
        assert found is not None  # noqa: S101  for the type checker: the record names it
        return History.of(found.obj, self.ref)

    def _made(self, name: str, read: Callable[[Any], T]) -> T | None:
        found = self.record.made.get(name)
        return None if found is None or found.keys() == {"unknown"} else self._read(name, found, read)

    def _read(self, name: str, found: Any, read: Callable[[Any], T]) -> T:
        try:
            return read(found)
        except (ValueError, TypeError, KeyError) as error:
            raise IntegrityError(
                f"what {self.ref} says of its {name} is of another form ({error}); whoever wrote it was no "
                "modelkeep, or one of a newer release",
                ref=self.ref,
            ) from error
