"""`Registry.track`: each call of a function is a run, and what it returns a version."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, Self, TypeVar, overload

import attrs

from modelkeep._origins import origin
from modelkeep.arguments import ABSENT, as_names
from modelkeep.callers import warn_caller
from modelkeep.calls import Call, Reader
from modelkeep.choosing import Judge, improves, keep_best, parse_keep, same_run
from modelkeep.errors import InvalidValueError, ModelkeepError, NotFoundError, shown
from modelkeep.given import Saved
from modelkeep.making import Making, check_captures
from modelkeep.modelversion import ModelVersion
from modelkeep.questions import Mode, check_mode
from modelkeep.ref import check_model_name
from modelkeep.runs import Place, Run, begun
from modelkeep.tails import STREAMS, printed
from modelkeep.values import metrics_to_json

__all__ = ["Terms", "Tracker", "improves", "last_run"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NOTED, _REUSED = 10, 100  # versions with the same parameters that are looked at; each may cost a request, once
_PAIR = 2
_last: ContextVar[Mapping[str, Run]] = ContextVar("modelkeep_last_runs", default={})  # noqa: B039  never changed


@attrs.frozen(kw_only=True)
class Terms:
    """How a tracked function is run; see `Registry.track`."""

    metric: str | None
    mode: Mode
    keep: int | None
    save_if: Judge | None
    reuse: bool
    data: frozenset[str]
    capture: frozenset[str]
    stdout: bool
    allowed: frozenset[str]
    given: Saved

    @classmethod
    def of(
        cls,
        *,
        metric: str | None,
        mode: Mode,
        keep: str | None,
        save_if: Judge | None,
        reuse: bool,
        data: Iterable[str],
        capture: Iterable[str],
        stdout: bool,
        allow_secret_like: Iterable[str],
        given: Saved,
    ) -> Self:
        """Check what a caller gave.

        Raises:
            InvalidValueError: an option is wrong; names it.
        """
        check_mode(mode)
        count = parse_keep(keep)
        if count and metric is None:
            raise InvalidValueError(f"keep={keep!r} needs metric=: best by what?", key="keep")
        if save_if is not None and not callable(save_if):
            raise InvalidValueError(f"save_if is {shown(save_if):.200}; give improves('auc')", key="save_if")
        if unknown := sorted(set(given) - set(Saved.__annotations__)):
            raise InvalidValueError(f"track() takes no {', '.join(unknown)}; give it to run.save()", key=unknown[0])
        return cls(
            metric=metric,
            mode=mode,
            keep=count,
            save_if=save_if,
            reuse=reuse,
            data=as_names(data, "data"),
            capture=check_captures(capture),
            stdout=stdout,
            allowed=as_names(allow_secret_like, "allow_secret_like"),
            given=given,
        )


@attrs.frozen(eq=False)
class Tracker:
    """Makes a function a tracked one; from `Registry.track`."""

    _registry: Place
    _name: str
    _terms: Terms

    def __attrs_post_init__(self) -> None:
        if callable(self._name):
            raise InvalidValueError('the name of the model is missing: write @registry.track("churn")', key="name")
        check_model_name(self._name)

    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        """The same function, whose calls are runs.

        Raises:
            InvalidValueError: it is a generator, a class, a property, or no function.
        """
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self(function.__func__))
        _check_trackable(function)
        reader = Reader.of(function, self._terms.data)
        new_id = self._registry._system.new_id  # noqa: SLF001  a part of it
        return _wrapped(_Calls(function, reader, self._registry, self._name, self._terms, new_id()))


def _check_trackable(function: Any) -> None:
    name = getattr(function, "__qualname__", shown(function))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidValueError(
            f"{name} is a generator, and what it yields is no one model: call it from a function that returns the "
            "model and track that, or use `with registry.run(…) as run` within it and run.save() each model",
            function=name,
        )
    if inspect.isclass(function):
        raise InvalidValueError(
            f"{name} is a class, and making one trains nothing: track the method that returns the model", function=name
        )
    if isinstance(function, (property, functools.cached_property)):
        raise InvalidValueError("a property takes no arguments: track a method", function=name)
    if not callable(function):
        raise InvalidValueError(f"{name:.200} is no function; track() stands above one", function=name)


def _wrapped(calls: _Calls) -> Callable[..., Any]:
    """A plain function, so that it pickles by reference, binds as a method, and is known for a coroutine function."""
    function = calls.function
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def tracked(*args: Any, **kwargs: Any) -> Any:
            with calls.begun(args, kwargs) as (run, found):
                return found[0] if found else calls.kept(run, await function(*args, **kwargs))
    else:

        @functools.wraps(function)
        def tracked(*args: Any, **kwargs: Any) -> Any:
            with calls.begun(args, kwargs) as (run, found):
                return found[0] if found else calls.kept(run, function(*args, **kwargs))

    vars(tracked)["last_run"] = calls.last_run
    return tracked


@attrs.frozen(eq=False)
class _Calls:
    """What is done around the calls of one function."""

    function: Callable[..., Any]
    reader: Reader
    registry: Place
    name: str
    terms: Terms
    id: str

    def last_run(self) -> Run:
        """The run of the last call that began in this thread or task.

        Raises:
            NotFoundError: there was none.
        """
        found = _last.get().get(self.id)
        if found is None:
            raise NotFoundError(
                f"{getattr(self.function, '__qualname__', 'the function')} was not called in this thread or task yet; "
                f"versions that were saved elsewhere are in registry.model({self.name!r}).versions()",
                name=self.name,
            )
        return found

    @contextmanager
    def begun(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[Run, tuple[Any] | None]]:
        """A run for one call, and what an earlier run of the same gave, where that will do."""
        with ExitStack() as until:
            run = until.enter_context(self._run(args, kwargs))
            _last.set({**_last.get(), self.id: run})
            found = self._before(run)
            if self.terms.stdout and not found:
                run._making.output = dict(zip(STREAMS, until.enter_context(printed()), strict=True))  # noqa: SLF001  its own
            yield run, found

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
        making = Making.begin(self.function, self.terms.capture, kind="track")
        try:
            call = self.reader.read(args, kwargs)
        except TypeError:  # the function says it better
            call = Call({}, {}, {}, ())
            making.unsure()
        if call.others:
            making.session["arguments"] = call.others
        if call.others or self.reader.skipped:
            making.unsure()
        run = begun(
            self.registry,
            self.name,
            making,
            params=call.params,
            data=call.data,
            tags=self.terms.given.get("tags"),
            notes=self.terms.given.get("notes", ""),
            parent=self.terms.given.get("parent", ABSENT),
            allowed=self.terms.allowed,
        )
        guessed = [parent for obj in call.objects if (parent := origin(obj))]
        if run.parent is ABSENT and guessed:
            run.parent = guessed  # what is trained on was loaded from there
        return run

    # -- before ----------------------------------------------------------------------------------------------

    def _before(self, run: Run) -> tuple[Any] | None:
        """Look whether the same was run; give what it gave if that will do."""
        key = run._making.key(run.params)  # noqa: SLF001  a part of it
        if key is None:
            if self.terms.reuse:
                warn_caller("reuse=True looks for nothing: the code, the data or an argument cannot be told; it is run")
            return None
        run._making.session["key"] = key  # noqa: SLF001  a part of it
        most = _REUSED if self.terms.reuse else _NOTED
        try:
            found = same_run(self.registry.model(self.name), key, run.params, most)
        except ModelkeepError:  # a store that cannot be read now must not keep anybody from training
            return None
        if found is None:
            return None
        run.same_as = found
        run._making.session["same_as"] = found.ref  # noqa: SLF001  a part of it
        if self.terms.reuse:
            return self._reused(run, found)
        warn_caller(f"{found.ref} was made by the same code, data and parameters; with reuse=True it is given back")
        return None

    def _reused(self, run: Run, found: ModelVersion) -> tuple[Any] | None:
        try:
            model, saved = found.load(), found.record.type
        except ModelkeepError as error:
            warn_caller(
                f"{found.ref} is of the same code, data and parameters, and cannot be loaded; run anew: {error}"
            )
            return None
        kind = type(model)
        if f"{kind.__module__}.{kind.__qualname__}" != saved:
            warn_caller(f"{found.ref} loads as a {kind.__qualname__}, not as the {saved} that was saved; run anew")
            return None
        run.versions = (found,)
        returned = found.record.made.get("session", {}).get("returned")
        if not isinstance(returned, list):
            return (model,)
        metrics = found.metrics
        return ((model, {name: metrics[name] for name in returned if name in metrics}),)

    # -- after -----------------------------------------------------------------------------------------------

    def kept(self, run: Run, returned: Any) -> Any:
        """Save what the function returned, as far as it is to be, and give it back as it is."""
        try:
            model = self._taken(run, returned)
            self._save(run, model)
        except BaseException:
            run.unsaved = returned if run.unsaved is None else run.unsaved
            raise
        return returned

    def _taken(self, run: Run, returned: Any) -> Any:
        """The model in what was returned; the metrics are noted."""
        model, metrics = _parted(returned)
        if metrics is not None:
            run.metrics.update(metrics)
            run._making.session["returned"] = list(metrics)  # noqa: SLF001  a part of it
        wanted = self.terms.metric
        name = getattr(self.function, "__qualname__", self.name)
        if model is None:
            raise InvalidValueError(f"{name} returned None; return the model, or (model, metrics)", function=name)
        if wanted is not None and wanted not in run.metrics:
            raise InvalidValueError(
                f"{name} returned {_described(returned)}, and no metric {wanted!r}; return (model, {{{wanted!r}: …}}) "
                f"or log it: modelkeep.runs.current_run().log({wanted}=…). The model is kept in last_run().unsaved",
                key=wanted,
            )
        return model

    def _save(self, run: Run, model: Any) -> None:
        terms, line = self.terms, self.registry.model(self.name)
        if terms.save_if is not None and not terms.save_if(line, dict(run.metrics)):
            run.skipped = f"{terms.save_if} says that it is not worth keeping"
            return
        run.save(model, bump=terms.given.get("bump"), serializer=terms.given.get("serializer"))
        if terms.keep is not None and terms.metric is not None:
            keep_best(line, terms.metric, terms.keep, terms.mode)


def _parted(returned: Any) -> tuple[Any, Mapping[str, Any] | None]:
    """Model and metrics of ``(model, metrics)``; anything else is a model.

    Raises:
        InvalidValueError: there are numbers among the metrics, and something that none can be; names it.
    """
    if type(returned) is tuple and len(returned) == _PAIR and isinstance(returned[1], Mapping):
        try:
            metrics_to_json(returned[1], "metrics")
        except InvalidValueError as error:
            if any(isinstance(value, (int, float)) for value in returned[1].values()):
                raise InvalidValueError(
                    f"{error}. Of (model, metrics) the metrics are numbers by name; the model is kept in "
                    "last_run().unsaved",
                    **error.facts,
                ) from None
            return returned, None
        return returned[0], returned[1]
    return returned, None


def _described(returned: Any) -> str:
    model, metrics = _parted(returned)
    kind = f"a {type(model).__qualname__}"
    return kind if metrics is None else f"{kind} with {', '.join(metrics) or 'no metrics'}"


def last_run(function: Callable[..., Any]) -> Run:
    """What ``function.last_run()`` gives, for type checkers, which do not know that functions have it.

    Raises:
        InvalidValueError: *function* is not tracked.
        NotFoundError: it was not called in this thread or task yet.
    """
    found = getattr(function, "last_run", None)
    if found is None:
        raise InvalidValueError(f"{shown(function):.200} is not tracked", function=shown(function))
    run: Run = found()
    return run
