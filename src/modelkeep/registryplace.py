"""Where a registry lies: how it is opened, what is in it by name, and its upkeep."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import attrs

from modelkeep import _resolve
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep._trust import Grant, Scan, Trust
from modelkeep.cachechoice import chosen
from modelkeep.errors import InvalidNameError, InvalidRefError, InvalidValueError, shown
from modelkeep.forks import renew_after_fork
from modelkeep.given import Ref
from modelkeep.layout import CATALOG, check_line
from modelkeep.model import RegisteredModel
from modelkeep.modelversion import ModelVersion
from modelkeep.ref import ModelRef, check_model_name, decode_name
from modelkeep.saving import SaveQueue
from modelkeep.settlement import Settlement, read_token, settle_model, settle_policy
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.retries import Retries
from modelkeep.system import System

if TYPE_CHECKING:
    from modelkeep.diagnosis import Diagnosis
    from modelkeep.live import Live
    from modelkeep.looks import Check
    from modelkeep.policy import Policy
    from modelkeep.storage import Storage

T = TypeVar("T")
ENVIRONMENT = "MODELKEEP_REGISTRY"
DEFAULT = ".modelkeep"


def _scan(name: object) -> Scan | None:
    if name is None:
        return None
    from modelkeep._veto import scanner

    return scanner(name)


class RegistryPlace:
    """What `Registry` has beside saving and loading."""

    def __init__(
        self,
        url: str | os.PathLike[str] | Store | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        durable: bool = True,
        single_writer: bool = False,
        retries: Retries | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        trust: Trust = False,
        scan: Literal["picklescan"] | None = None,
        system: System | None = None,
    ) -> None:
        self._reopen: Callable[[], Store] | None = None
        self._scan = scan
        if url is None:
            url = os.environ.get(ENVIRONMENT) or DEFAULT
        if isinstance(url, (str, os.PathLike)):
            opened = partial(
                open_store,
                storage_options=storage_options,
                durable=durable,
                single_writer=single_writer,
                retries=retries,
            )
            text = os.fspath(url)
            if not isinstance(text, str):  # a path may be one of bytes
                raise InvalidValueError(f"{shown(text)} is no place for a registry; give it as text", url=shown(text))
            self._store = opened(text)
            # for other processes, which may stand in another folder
            self._reopen = partial(opened, text if "://" in text else self._store.url)
        elif not callable(getattr(url, "put_pack", None)):
            raise InvalidValueError(f"{shown(url)} is no place for a registry; give a folder as text or path, or a URL")
        else:
            self._store = url
        self._system = system or System()
        remote = bool(getattr(self._store, "remote", False))
        near = self._store.url.startswith("file:")  # copies are of no use there, but what took a look at all of it is
        self._home = Home(
            self._store,
            self._system,
            chosen(cache, remote=remote),
            Grant.of(trust),
            _scan(scan),
            indexed=partial(chosen, cache, remote=remote or near),
        )
        self._lines: dict[str, Line] = {}
        self._lock = threading.RLock()
        self._saves = SaveQueue()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`; called in the child, not by users."""
        self._lock = threading.RLock()
        self._saves = SaveQueue()  # those under way go on in the parent

    def __repr__(self) -> str:
        return f"Registry({self.url!r})"

    def _repr_html_(self) -> str:
        """The first 50 models as a table: one listing, and three GETs for each when warm. No manifest is read."""
        from modelkeep.views.registry import registry_html

        return registry_html(self.url, lambda: [model.name for model in self.models()], self._line)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same place anew, without what was granted here; not where that needs secrets.

        Workers of joblib get a function that was defined in a notebook by value, and with it the registry it uses.
        """
        again = self._reopen
        if not isinstance(again, partial) or self._store.url.startswith("memory:"):
            raise TypeError(f"{self!r} lives in this process alone: open a registry by URL where it is needed")
        if again.keywords.get("storage_options"):
            raise TypeError(
                f"{self!r} has storage options, and they are never written anywhere: open it where it is needed, "
                "in a module that every process imports"
            )
        kept = {name: value for name, value in again.keywords.items() if name != "storage_options"}
        return partial(type(self), *again.args, scan=self._scan, **kept), ()

    @property
    def url(self) -> str:
        """Where the registry lies."""
        return self._store.url

    def prepare(self) -> bool:
        """Make the place a registry now, and not by the first save: write ``modelkeep.json``, and try the store.

        Four requests; in a registry that is there three.

        Returns:
            Whether there was none before.

        Raises:
            StoreError: the store refused, or lets two writers win; then the place is as it was.
            FormatError: the place holds something else, or a registry of a newer format.

        Example:
            >>> import modelkeep as mk
            >>> registry = mk.Registry("memory://prepare")
            >>> registry.prepare(), registry.prepare()
            (True, False)
        """
        is_new = self._home.id() is None
        self._home.prepare()
        return is_new

    # -- models ----------------------------------------------------------------------------------------------

    def model(self, name: str) -> RegisteredModel:
        """The line of versions of *name*; reads nothing, and the model need not exist yet."""
        check_model_name(name)
        return RegisteredModel(lambda: self._line(name), name, self.url)

    def get(self, ref: Ref | os.PathLike[str]) -> ModelVersion:
        """The version that a reference means: its facts, and what one does with it. Two GETs when warm.

        Args:
            ref: as in `load`. A path is that of a pointer; a third GET then holds the version against it.

        Raises:
            NotFoundError: there is no such model, version, alias, label or pointer.
            InvalidRefError: it is that of a variant, which `ModelVersion.variants` has.
            InvalidValueError: the file at the path is no pointer.
            IntegrityError: the version is not the one that the pointer names.
        """
        if isinstance(ref, ModelVersion):
            return ref
        if isinstance(ref, os.PathLike):
            from modelkeep.pointer import followed

            return followed(Path(ref), self.get, self.url)
        parsed = ref if isinstance(ref, ModelRef) else ModelRef.parse(ref)
        if parsed.variant is not None:
            plain = attrs.evolve(parsed, variant=None)
            raise InvalidRefError(
                f"{parsed} is a variant and no version; take get('{plain}').variants['{parsed.variant}'], or load it",
                text=str(parsed),
            )
        line = self._existing(parsed.name)
        found = _resolve.find(line, parsed)
        if found.number not in line.versions.state.lines:
            line.read()
        return ModelVersion(line, found.number)

    def models(self) -> list[RegisteredModel]:
        """All open models, by name. One listing.

        Raises:
            FormatError: the place is no registry, or one of a newer format.
        """
        if self._home.id() is None:
            return []
        names = []
        for item in self._store.list(CATALOG):
            try:
                names.append(decode_name(item.key[len(CATALOG) :]))
            except InvalidNameError:  # not ours; verify reports it
                continue
        return [self.model(name) for name in sorted(names)]

    def _line(self, name: str) -> Line | None:
        """The line of *name*, read or not; None while there is no registry here."""
        with self._lock:
            line = self._lines.get(name)
            if line is None and (registry := self._home.id()):
                line = self._lines[name] = Line.open(self._home, name, registry)
            return line

    def _existing(self, name: str) -> Line:
        check_line(name)  # of a model, or of a dataset with its shelf
        return RegisteredModel(lambda: self._line(name), name, self.url)._line  # noqa: SLF001  it says what is missing

    # -- following -------------------------------------------------------------------------------------------

    @overload
    def live(
        self,
        ref: Ref,
        *,
        as_: type[T],
        every: float = 30.0,
        warm: bool = True,
        trust: Trust = False,
        verify: _resolve.Verify = "now",
        on_change: Callable[[Check], object] | None = None,
        start: bool = True,
    ) -> Live[T]: ...
    @overload
    def live(
        self,
        ref: Ref,
        *,
        every: float = 30.0,
        warm: bool = True,
        trust: Trust = False,
        verify: _resolve.Verify = "now",
        on_change: Callable[[Check], object] | None = None,
        start: bool = True,
    ) -> Live[Any]: ...
    def live(
        self,
        ref: Ref,
        *,
        as_: type[Any] = object,
        every: float = 30.0,
        warm: bool = True,
        trust: Trust = False,
        verify: _resolve.Verify = "now",
        on_change: Callable[[Check], object] | None = None,
        start: bool = True,
    ) -> Live[Any]:
        """A handle on a model that follows its alias: what is promoted serves here soon, with no failed call.

        The first load is done now, and raises. Later a thread looks from time to time, by alias with one GET when warm;
        another version is loaded beside the one that serves, tried, and takes over at once. Where anything of this
        fails, what serves goes on serving, and the handle says why.

        Args:
            ref: ``churn@production``, ``churn`` (latest) or ``churn:^1.3``; the last two cost two GETs a look.
            as_: the class that each model must be of, also for type checkers.
            every: seconds; a look comes after half of it to all of it. While looks fail it doubles, up to five minutes.
            warm: let each version show that it works before it serves: it predicts its example, makes its golden
                outputs of its golden inputs, and its signature takes the example of the version before.
            trust: as in `load`; it holds for all that is loaded later, too.
            verify: as in `load`.
            on_change: called with a `Check` when another version serves, and when an error comes, changes or goes; in
                the thread that looked.
            start: False: no thread; `Live.check` looks.

        Raises:
            InvalidRefError: what *ref* means never changes, or it is of a variant.
            InvalidValueError: an option is wrong.
            UnfitError: the version that it means now fails when it is tried.
            ModelkeepError: whatever a load raises.

        Example:
            >>> import modelkeep as mk
            >>> registry = mk.Registry("memory://live", trust="cloudpickle")
            >>> _ = registry.save(lambda x: 2 * x, "double", serializer="cloudpickle").promote("production")
            >>> with registry.live("double@production") as live:
            ...     live.version, live.predict(21)
            (ModelVersion double:1, 42)
        """
        from modelkeep.live import Live, check_callable
        from modelkeep.looks import check_moves
        from modelkeep.pacing import Pace
        from modelkeep.served import Loading

        parsed, pace = check_moves(ref), Pace(every, self._system)
        check_callable(on_change)
        lazy, granted = _resolve.is_lazy(verify), Grant.of(trust)
        kept = granted.everything or [*granted.digests, *granted.serializers]  # an iterator would last for one load
        loading = Loading(self._existing(parsed.name), as_, warm, kept, lazy)
        return Live(parsed, loading, pace, on_change=on_change, start=start)

    # -- upkeep ----------------------------------------------------------------------------------------------

    @property
    def storage(self) -> Storage:
        """The bytes: verification and repair."""
        from modelkeep.storage import Storage

        return Storage(self._home)

    @property
    def policy(self) -> Policy:
        """The rules by which versions may be purged; none until they are set."""
        from modelkeep.policy import Policy

        return Policy(self._home)

    def doctor(self, *, race: bool = False) -> Diagnosis:
        """What can be done here, whether the store's promises hold, and what to do if not. Some 35 requests.

        Writes probes under ``doctor/`` if it may, and takes them away again; changes nothing else.

        Args:
            race: let 16 processes race for 50 keys, too; takes some seconds.

        Raises:
            Nothing: whatever the store raises is a finding.

        Example:
            >>> import modelkeep as mk
            >>> diagnosis = mk.Registry("memory://doctor").doctor()
            >>> diagnosis.ok, diagnosis.check("create-if-absent").detail
            (True, 'an object that exists is not created again, and keeps its bytes')
        """
        from modelkeep.doctor import RACERS, examine

        return examine(self._home, race=RACERS if race else 0, reopen=self._reopen)

    def settle(self, token: str) -> Settlement:
        """Find out what became of a write whose answer was lost, and see to it that it stays so.

        Args:
            token: from `UnsettledError.token`.

        Raises:
            InvalidValueError: *token* is none of this registry.
            UnsettledError: again no answer.
        """
        asked = read_token(token)
        if asked.name is None:
            return settle_policy(self._home, asked)
        return settle_model(self._existing(asked.name), asked)
