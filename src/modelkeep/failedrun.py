"""`FailedRun`: a run that an exception ended, as the registry keeps it for some weeks: all but a model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelkeep import _resolve
from modelkeep._dead import drop
from modelkeep._line import Line
from modelkeep.errors import DeletedError, IntegrityError
from modelkeep.folds import versions
from modelkeep.madeby import Made
from modelkeep.system import parse_time


class FailedRun(Made):
    """A run that failed. It has no number, never changes, and goes some weeks after it failed.

    Failed runs come from `RegisteredModel.failed_runs` and `Run.kept`.

    Example:
        >>> import modelkeep as mk
        >>> registry = mk.Registry("memory://failedrun")
        >>> try:
        ...     with registry.run("churn", params={"depth": 6}) as run:
        ...         run.log(loss=0.7)
        ...         raise ValueError("bad rows")
        ... except ValueError:
        ...     pass
        >>> (failed,) = registry.model("churn").failed_runs()
        >>> failed.error, failed.params, failed.history["loss"].last, failed.expires > failed.created
        ('ValueError: bad rows', {'depth': 6}, 0.7, True)
    """

    _known: versions.DraftLine

    def __init__(self, line: Line, draft: str) -> None:
        super().__init__(line, line.versions.state.drafts[draft])

    def __repr__(self) -> str:
        return f"FailedRun {self.ref}"

    def __str__(self) -> str:
        return self.ref

    def _repr_html_(self) -> str:
        """Facts, the error with its traceback, metrics, parameters and what made it: one request, once."""
        from modelkeep.views.failedrun import failed_run_html

        return failed_run_html(self, self.name, {"expires": f"{self.expires:%Y-%m-%d %H:%M} UTC", "id": self.id})

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._line.name

    @property
    def id(self) -> str:
        """The id that the run had: 32 hexadecimal digits."""
        return self._known.made.id

    @property
    def ref(self) -> str:
        """The name of the model and the id, as messages have it; nothing is loaded by it."""
        return f"{self.name}~{self.id}"

    @property
    def expires(self) -> datetime:
        """From when on a collection takes it away, in UTC."""
        return parse_time(self._known.made.expires)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters. One request, once."""
        return dict(self.record.params)

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics that it had by then. One request, once."""
        return dict(self.record.metrics)

    @property
    def tags(self) -> dict[str, str]:
        """The tags. One request, once."""
        return dict(self.record.tags)

    @property
    def notes(self) -> str:
        """The notes. One request, once."""
        return self.record.notes

    @property
    def error(self) -> str:
        """The exception in words, without what looks like a secret. One request, once."""
        return str(self._failure.get("error", ""))

    @property
    def traceback(self) -> str:
        """The end of its traceback, without what looks like a secret. One request, once."""
        return str(self._failure.get("traceback", ""))

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that it saved before, as references. One request, once."""
        return tuple(map(str, self._failure.get("versions", ())))

    @property
    def _failure(self) -> dict[str, Any]:
        return self._made("failure", dict) or {}

    def to_dict(self) -> dict[str, Any]:
        """One flat row: parameters and metrics under dotted names. One request, once.

        Of a run that is damaged, or was collected meanwhile, ``unread`` says why there is no more than the journal has.
        """
        row: dict[str, Any] = {"id": self.id, "created": self.created}
        try:
            row |= {"error": self.error}
            row |= {f"params.{name}": value for name, value in self.params.items()}
            row |= {f"metrics.{name}": value for name, value in self.metrics.items()}
        except (IntegrityError, DeletedError) as why:
            row |= {"unread": str(why)}
        return row | {"author": self.author, "expires": self.expires, "size": self.size, "digest": self.digest}

    def _found(self) -> _resolve.Found:
        return _resolve.found_draft(self._line.draft(self.id))

    # -- its end ---------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """End it now; the next collection deletes its bytes. One write when warm.

        Raises:
            DeletedError: it was dropped before, or expired and was collected.
        """
        if not drop(self._line, [self.id]):
            raise DeletedError(f"{self.ref} was dropped already", name=self.name, draft=self.id)
