"""`Run`: one training while it goes on: its parameters, its metrics by step, and the versions that it makes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any, Protocol, Self, SupportsFloat, SupportsIndex, Unpack

from modelkeep.arguments import ABSENT, as_names, check_tags
from modelkeep.callers import warn_caller
from modelkeep.curves import Curves
from modelkeep.errors import (
    ClockError,
    ConflictError,
    FormatError,
    InvalidValueError,
    NotFoundError,
    StoreError,
    UnsettledError,
)
from modelkeep.failedrun import FailedRun
from modelkeep.given import Given, Parents
from modelkeep.making import Making, check_params, told, traced
from modelkeep.model import RegisteredModel
from modelkeep.modelversion import ModelVersion
from modelkeep.ref import check_model_name
from modelkeep.system import System
from modelkeep.termination import raised_here
from modelkeep.values import check_text, metrics_to_json

_OF_STORAGE = (StoreError, UnsettledError, ClockError, FormatError)  # who met one need not wait for it a second time

_current: ContextVar[Run | None] = ContextVar("modelkeep_run", default=None)


class Place(Protocol):
    """What a run needs of a registry."""

    _system: System

    def model(self, name: str) -> RegisteredModel:
        """See `Registry.model`."""
        ...

    def _save_made(
        self, model: object, name: str, given: Given, made: Mapping[str, Any], history: Mapping[str, Any]
    ) -> ModelVersion: ...

    def _keep_failed(
        self, name: str, draft: str, given: Given, made: Mapping[str, Any], history: Mapping[str, Any]
    ) -> FailedRun: ...


class Params(MutableMapping[str, Any]):
    """Parameters, each checked when it is set."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = allowed
        self._kept: dict[str, Any] = {}

    def __repr__(self) -> str:
        return repr(self._kept)

    def __getitem__(self, name: str) -> Any:
        return self._kept[name]

    def __setitem__(self, name: str, value: object) -> None:
        check_params({name: value}, self._allowed)
        self._kept[name] = value

    def __delitem__(self, name: str) -> None:
        del self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


class Finals(MutableMapping[str, Any]):
    """Metrics as a version gets them: what was given, else the last point of the curve."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        self._given: dict[str, Any] = {}

    def __repr__(self) -> str:
        return repr(self._all())

    def _all(self) -> dict[str, Any]:
        return {**self._curves.last(), **self._given}

    def __getitem__(self, name: str) -> Any:
        return self._given[name] if name in self._given else self._curves.last()[name]

    def __setitem__(self, name: str, value: object) -> None:
        metrics_to_json({name: value}, "metrics")
        self._given[name] = value

    def __delitem__(self, name: str) -> None:
        del self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Run:
    """One training while it goes on; made by `Registry.run`, and by each call of a tracked function.

    What it logs is kept with each version that it saves. A run that ends well and saved no version leaves nothing
    behind; one that fails is kept as a `FailedRun`. Safe to use from several threads.

    Attributes:
        id: 32 hexadecimal digits, unique.
        name: the model.
        params: parameters by name; each is checked when it is set.
        metrics: what versions get: what was given, else the last point of each curve.
        tags: short texts by name.
        notes: any text.
        parent: as in `Registry.save`.
        versions: what it saved, or gave back, oldest first.
        failed: whether an exception ended it.
        error: that exception in words, without what looks like a secret; None if there was none.
        kept: what is kept of it in the registry after it failed; None where that is not so.
        skipped: why there is no version although all went well; None where that is not so.
        same_as: the version of an earlier run of the same code, data and parameters, if one was found.
        unsaved: the object whose save failed, so that it is not lost; None where no save failed.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://run")
        >>> with registry.run("churn", params={"depth": 6}) as run:
        ...     for step, loss in enumerate((0.7, 0.5)):
        ...         run.log(loss=loss, step=step)
        ...     v = run.save({"w": np.ones(3)}, metrics={"auc": 0.91})
        >>> v.params, v.metrics, v.history["loss"].value.tolist()
        ({'depth': 6}, {'loss': 0.5, 'auc': 0.91}, [0.7, 0.5])
    """

    def __init__(self, registry: Place, name: str, making: Making, allowed: Collection[str] = frozenset()) -> None:
        outer = _current.get()
        self.id = registry._system.new_id()  # noqa: SLF001  a part of it
        self.name = check_model_name(name)
        self._registry = registry
        self._making = making
        making.session.update(id=self.id, began=registry._system.timestamp())  # noqa: SLF001  a part of it
        if outer is not None:
            making.session["within"] = outer.id
        self._curves = Curves()
        self._allowed = frozenset(allowed)
        self.params: MutableMapping[str, Any] = Params(allowed)
        self.metrics: MutableMapping[str, Any] = Finals(self._curves)
        self.tags: dict[str, str] = {}
        self.notes = ""
        self.parent: Parents = ABSENT
        self.versions: tuple[ModelVersion, ...] = ()
        self.failed = False
        self.error: str | None = None
        self.kept: FailedRun | None = None
        self.skipped: str | None = None
        self.same_as: ModelVersion | None = None
        self.unsaved: object = None
        self._until = ExitStack()
        self._entered = False
        self._ended: float | None = None

    def __repr__(self) -> str:
        if self._ended is None:
            state = "under way"
        else:
            state = "failed" if self.failed else ", ".join(version.ref for version in self.versions) or "no version"
        return f"Run of {self.name} ({state})"

    # -- what is recorded ------------------------------------------------------------------------------------

    def log(
        self,
        metrics: Mapping[str, SupportsFloat] | None = None,
        /,
        *,
        step: SupportsIndex | None = None,
        **named: SupportsFloat,
    ) -> None:
        """Add a point to the curve of each metric, with the time since the run began. No request.

        Args:
            metrics: numbers by name, where a name is none of Python's, such as ``val/loss``.
            step: where they lie; without it each is one further than the last point of its curve.
            named: numbers by name; NaN and infinity are kept.

        Raises:
            InvalidValueError: a value is no number, and nothing of the call is kept; names it.
            ConflictError: the run has ended, and its versions do not change any more.
        """
        if self._ended is not None:
            raise ConflictError(
                f"this run of {self.name!r} has ended, and what it kept does not change any more; log within its "
                "block, or `measure` the version",
                name=self.name,
            )
        self._curves.log({**metrics, **named} if metrics else named, step)

    def log_params(self, params: Mapping[str, object] | None = None, /, **named: object) -> None:
        """Set several parameters, or none where one is refused.

        Raises:
            InvalidValueError: one cannot be kept, or looks like a secret; names it.
        """
        for given in (params or {}, named):
            check_params(given, self._allowed)
        self.params.update(params or {}, **named)

    def data(self, role: str, obj: object) -> None:
        """Record a dataset as it is now.

        Args:
            role: what it is for, such as ``train``.
            obj: a frame, an array, a path.
        """
        self._making.add_data(check_text(role, "the role of a dataset"), obj)

    # -- what comes of it ------------------------------------------------------------------------------------

    def save(self, model: object, **given: Unpack[Given]) -> ModelVersion:
        """Keep *model* as the next version, with all that the run knows by now. Costs what `Registry.save` costs.

        A run may save several times; each is a version.

        Args:
            model: see `Registry.save`.
            given: options of `Registry.save`; parameters, metrics and tags are added to those of the run.

        Raises:
            ModelkeepError: see `Registry.save`.
        """
        whole = self._given(given)
        try:
            version = self._registry._save_made(  # noqa: SLF001  a part of it
                model, self.name, whole, self._making.finish(), self._curves.columns()
            )
        except BaseException:
            self.unsaved = model
            raise
        self.unsaved = None
        self.versions = (*self.versions, version)
        return version

    def _given(self, given: Given) -> Given:
        whole: Given = {"notes": self.notes, "parent": self.parent, **given}
        named = as_names(given.get("allow_secret_like", ()), "allow_secret_like")
        whole["allow_secret_like"] = self._allowed | named  # every save looks for secrets itself
        whole["params"] = {**self.params, **(given.get("params") or {})}
        whole["metrics"] = {**self.metrics, **(given.get("metrics") or {})}
        whole["tags"] = {**self.tags, **(given.get("tags") or {})}
        return whole

    @property
    def version(self) -> ModelVersion:
        """The last version that it saved, or gave back.

        Raises:
            NotFoundError: there is none; says why.
        """
        if not self.versions:
            why = self.skipped or (f"it failed: {self.error}" if self.failed else "it has saved none")
            raise NotFoundError(f"this run of {self.name!r} has no version: {why}", name=self.name)
        return self.versions[-1]

    @property
    def duration(self) -> float:
        """Seconds from its beginning to its end, or to now."""
        return self._making.duration if self._ended is None else self._ended

    # -- the block -------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._entered:
            raise ConflictError(f"this run of {self.name!r} was begun before; begin another", name=self.name)
        self._entered = True
        self._until.enter_context(raised_here())
        self._until.callback(_current.set, _current.get())  # no reset: cells of a notebook have contexts of their own
        _current.set(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended = self._making.duration
        with self._until:
            if error is not None and not _is_well(error):
                self.failed, self.error = True, told(error)
                _keep_failed(self, error)


def _is_well(error: BaseException) -> bool:
    """Whether an exception says that all went well: that of ``sys.exit()``."""
    return isinstance(error, SystemExit) and error.code in (None, 0)


def _keep_failed(run: Run, error: BaseException) -> None:
    """Keep a failed run, if that can be; whatever goes wrong is a warning, for *error* must go on."""
    if isinstance(error, _OF_STORAGE):
        return
    try:
        run.kept = keep_failed(run, error)
    except Exception as why:  # noqa: BLE001  it is about to be said
        token = f" (the token is {why.token!r})" if isinstance(why, UnsettledError) else ""
        warn_caller(f"the failed run of {run.name!r} is not kept: {told(why)}{token}")


def keep_failed(run: Run, error: BaseException) -> FailedRun:
    """Keep *run*, which *error* ended, in its registry. Two writes when warm.

    Raises:
        ModelkeepError: see `Registry.save`.
    """
    made = run._making.finish()  # noqa: SLF001  a part of it
    made["failure"] = {
        "error": told(error),
        "traceback": traced(error),
        "versions": [version.ref for version in run.versions],
    }
    given, history = run._given({}), run._curves.columns()  # noqa: SLF001  a part of it
    return run._registry._keep_failed(run.name, run.id, given, made, history)  # noqa: SLF001  a part of it


def begun(
    registry: Place,
    name: str,
    making: Making,
    *,
    params: Mapping[str, object] | None = None,
    data: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    notes: str = "",
    parent: Parents = ABSENT,
    allowed: Collection[str] = frozenset(),
) -> Run:
    """A run with what its caller says of it; see `Registry.run`."""
    run = Run(registry, name, making, allowed)
    run.log_params(params)
    if data is not None and not isinstance(data, Mapping):
        raise InvalidValueError(f"data is a {type(data).__name__}; give a dict such as {{'train': frame}}", key="data")
    check_tags(tags or {})
    run.tags.update(tags or {})
    run.notes = check_text(notes, "notes")
    run.parent = parent
    for role, obj in (data or {}).items():
        run.data(role, obj)
    return run


def current_run() -> Run:
    """The run that goes on here: in this thread, this task, or what called it.

    Raises:
        NotFoundError: none does.

    Example:
        >>> import modelkeep as mk
        >>> with mk.Registry("memory://current").run("churn") as run:
        ...     current_run() is run
        True
    """
    run = _current.get()
    if run is None:
        raise NotFoundError(
            "no run goes on here; use one in `with registry.run(name)`, or in a function with @registry.track(name). "
            "A thread that was started by hand does not know the run: hand it over"
        )
    return run
