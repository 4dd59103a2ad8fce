"""`Registry`: where models are saved and found. A prefix on a disk, S3 or GCS; no server, no database."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import attrs

from modelkeep import _resolve
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep._origins import origin
from modelkeep._publish import Draft, publish
from modelkeep._resolve import Verify
from modelkeep._trust import Grant, Trust
from modelkeep._veto import check_on_disk, scanner
from modelkeep.arguments import ABSENT, Absent, check_label
from modelkeep.beside import Beside, Gathered, gathered
from modelkeep.cachechoice import chosen
from modelkeep.errors import InvalidNameError, InvalidRefError, InvalidValueError, shown
from modelkeep.facts import Facts, Options, oldest_first, serializer_for
from modelkeep.forks import renew_after_fork
from modelkeep.given import Given, Parents, Ref
from modelkeep.layout import CATALOG
from modelkeep.model import RegisteredModel
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress, reporter
from modelkeep.ref import ModelRef, check_model_name, decode_name
from modelkeep.saving import PendingSave, SaveQueue
from modelkeep.serializers.port import Serializer
from modelkeep.settlement import Settlement, read_token, settle_model, settle_policy
from modelkeep.signature import Signature
from modelkeep.stores import open_store
from modelkeep.stores.port import Store
from modelkeep.stores.retries import Retries
from modelkeep.system import System
from modelkeep.version import Parent, check_parent

if TYPE_CHECKING:
    from modelkeep._transfer import Transfer
    from modelkeep.diagnosis import Diagnosis
    from modelkeep.policy import Policy
    from modelkeep.storage import Storage

T = TypeVar("T")
ENVIRONMENT = "MODELKEEP_REGISTRY"
DEFAULT = ".modelkeep"


class Registry:
    """A place where models are versioned. Opening one reads and writes nothing.

    Args:
        url: a folder, ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``file://…``, ``memory://name``, any other place
            that fsspec opens, or a `Store`; without it the environment variable ``MODELKEEP_REGISTRY``, else
            ``./.modelkeep``.
        storage_options: what the client of a remote place takes (endpoint, profile, keys, proxies); kept in memory
            only: never stored, logged or shown.
        durable: local disk only: wait for the disk before a write counts as done. Without it a save is some 10 ms
            faster, and a power cut may lose the last half minute; a crash of the process loses nothing.
        single_writer: you see to it that one process alone ever writes, so that a place without create-if-absent will
            do; without it such a place can be read only.
        retries: remote places only: how long and how often to try.
        cache: whether copies of journals and packs are kept on this machine; without it, where the store is remote. A
            path says in which folder. What is read stays right, see the page on the cache.
        trust: what may run code whenever something is loaded from here: serializers, of other distributions too, by
            name; versions by digest; True, everything. It holds in this process only, and is stored nowhere.
        scan: ``"picklescan"`` asks that package (an extra) about all that is loaded from here and is not plain data,
            whatever was granted, and about what is adopted. What it finds dangerous is refused.
        system: the clock, ids, pauses and the author; tests and simulations give their own.

    Safe to use from several threads, and in a forked child.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://registry")
        >>> registry.save({"w": np.arange(3)}, "churn", params={"depth": 6}, metrics={"auc": 0.91})
        ModelVersion churn:1
        >>> registry.load("churn")["w"].tolist()
        [0, 1, 2]
    """

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
        self._home = Home(self._store, self._system, chosen(cache, remote=remote), Grant.of(trust), scanner(scan))
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

    @property
    def url(self) -> str:
        """Where the registry lies."""
        return self._store.url

    # -- saving ----------------------------------------------------------------------------------------------

    @overload
    def save(self, model: object, name: str, *, wait: Literal[True] = True, **given: Unpack[Given]) -> ModelVersion: ...
    @overload
    def save(self, model: object, name: str, *, wait: Literal[False], **given: Unpack[Given]) -> PendingSave: ...
    @overload
    def save(self, model: object, name: str, *, wait: bool, **given: Unpack[Given]) -> ModelVersion | PendingSave: ...
    def save(
        self,
        model: object,
        name: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
        notes: str = "",
        parent: Parents = ABSENT,
        label: str | None = None,
        bump: Literal["major", "minor", "patch"] | None = None,
        reuse: bool = False,
        serializer: str | None = None,
        preprocess: object = None,
        example: object = None,
        signature: Signature | Mapping[str, Any] | None = None,
        golden: object = None,
        wait: bool = True,
        progress: Progress = None,
    ) -> ModelVersion | PendingSave:
        """Keep *model* as the next version of *name*.

        Two writes when warm, and one for each further 256 MiB; from 64 KiB on a read for each pack that it may share.

        Args:
            model: an object that an installed serializer knows, or a `pathlib.Path` of a file or folder.
            name: the model; made by its first save.
            params: what went into training: numbers, text, dates, and lists and dicts of these.
            metrics: what was measured: numbers; NaN and infinity are kept.
            tags: short texts by name.
            notes: any text.
            parent: the version, or versions, that this one was made from; not given: where *model* was loaded from,
                if it is such an object; None: none.
            label: a semantic version such as ``1.3.0``.
            bump: instead, the part of the highest label ever used to raise; the first is 1.0.0.
            reuse: give back the newest version with the same files, parameters and metrics, if there is one; label
                and bump are then left aside. Reads the files once more.
            serializer: the name of a serializer; without it the one that claims the object.
            preprocess: what inputs go through before the model gets them, kept as a part of its own: an object with
                ``transform``, or a function. One that no serializer claims is kept by cloudpickle, and needs trust.
            example: inputs as the model, or its preprocessing, takes them. The signature is inferred from all of them,
                and the first 5 rows are kept.
            signature: what inputs must look like, where it is not to be inferred; an example must fit it.
            golden: inputs of which the outputs are kept, too, so that `ModelVersion.verify_golden` can replay them. The
                model predicts them now; ``(inputs, outputs)`` gives both, `modelkeep.golden.Golden` a tolerance, too.
            wait: False: check and serialize the model, copy its arrays, and give a `PendingSave` at once; the rest is
                done in the background. Files on disk are not copied: they must not change before it is done.
            progress: a function of (done, total), in bytes of the files, called from one thread: this one, or that of
                the background; what it raises ends the save. None: a bar if tqdm is installed, stderr is a terminal
                and the files have 64 MiB or more; none in the background. True: the same at any size and in the
                background. False: nothing.

        Returns:
            The version; what it will be with ``wait=False``.

        Raises:
            SerializerError: no serializer takes the object; lists what is installed and the way out.
            InvalidValueError: a parameter, metric or tag cannot be kept; names its key. Or the model has files in the
                folder of a part.
            SignatureError: the example or the golden inputs do not fit the signature.
            ClosedError: the model was closed.
            TakenError: the label is in use.
            StoreError: the store refused, and nothing is visible.
            UnsettledError: no answer came to the last write; `settle` finds out.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://save")
            >>> v = registry.save({"w": np.ones(3)}, "churn", metrics={"auc": float("nan")}, notes="wider trees")
            >>> v.number, v.metrics, v.notes
            (1, {'auc': nan}, 'wider trees')
        """
        check_model_name(name)
        if not isinstance(wait, bool):
            raise InvalidValueError(f"wait is {shown(wait)}; give True or False", key="wait")
        facts = Facts(
            params={} if params is None else params,
            metrics={} if metrics is None else metrics,
            tags={} if tags is None else tags,
            notes=notes,
            parents=self._parents(model, parent),
        )
        options = Options(check_label(label, bump), bump, reuse)
        beside = Beside(preprocess=preprocess, example=example, signature=signature, golden=golden)
        writer = serializer_for(model, serializer, self._home.granted)
        save = self._save if wait else self._save_later
        return save(model, name, facts, options, writer, progress, beside)

    def _save(
        self,
        model: object,
        name: str,
        facts: Facts,
        options: Options,
        serializer: Serializer,
        progress: Progress = None,
        beside: Beside = Beside(),  # noqa: B008  a value that nobody can change
    ) -> ModelVersion:
        with gathered(model, serializer, beside, self._home.granted) as files:
            draft = self._draft(model, files, facts, options, serializer)
            shown = reporter(progress, files.size())
            self._saves.wait(name)  # numbers are given in the order of the calls
            return self._publish(name, draft, shown)

    def _save_later(
        self,
        model: object,
        name: str,
        facts: Facts,
        options: Options,
        serializer: Serializer,
        progress: Progress,
        beside: Beside,
    ) -> PendingSave:
        with ExitStack() as until:
            files = until.enter_context(gathered(model, serializer, beside, self._home.granted))
            files.snapshot()
            draft = self._draft(model, files, facts.copied(), options, serializer)
            # unasked, there is no bar among what the training prints meanwhile
            shown = reporter(False if progress is None else progress, files.size())
            return self._saves.add(name, partial(self._publish, name, draft, shown), until)

    def _draft(self, model: object, files: Gathered, facts: Facts, options: Options, serializer: Serializer) -> Draft:
        record = facts.record(model, serializer, self._system, **files.said)
        return Draft(sources=files.sources, record=record, **attrs.asdict(options))

    def _publish(self, name: str, draft: Draft, shown: AbstractContextManager[Callable[[int], None]]) -> ModelVersion:
        self._home.prepare()
        line = self._existing(name)
        with shown as advance:
            number = publish(line, attrs.evolve(draft, progress=advance))
        return ModelVersion(line, number)

    def adopt(self, pattern: str | os.PathLike[str], name: str) -> list[ModelVersion]:
        """Make existing files or folders the history of *name*: by time of change, then natural order of names.

        Doing it again adds only what is new. Nothing is run.

        Args:
            pattern: a path that may hold ``*``, ``?`` and ``[…]``.
            name: the model.

        Returns:
            A version for each match, old and new.

        Raises:
            NotFoundError: nothing matches.
            TrustError: the registry was opened with ``scan=``, and one of the files was found dangerous; none is taken.

        Example:
            >>> import modelkeep as mk
            >>> folder = getfixture("tmp_path")
            >>> for n in (1, 2):
            ...     _ = (folder / f"model_v{n}.bin").write_bytes(bytes([n]))
            >>> mk.Registry(folder / "registry").adopt(folder / "*.bin", "churn")
            [ModelVersion churn:1, ModelVersion churn:2]
        """
        check_model_name(name)
        files = oldest_first(pattern)
        check_on_disk(self._home.scan, (path for path, _ in files))
        serializer = serializer_for(files[0][0], None, self._home.granted)
        options = Options(reuse=True)
        return [self._save(path, name, Facts(origin=found), options, serializer) for path, found in files]

    # -- reading ---------------------------------------------------------------------------------------------

    @overload
    def load(
        self, ref: Ref, *, as_: type[T], into: object = None, trust: Trust = False, verify: Verify = "now"
    ) -> T: ...
    @overload
    def load(self, ref: Ref, *, into: object = None, trust: Trust = False, verify: Verify = "now") -> Any: ...
    def load(
        self,
        ref: Ref,
        *,
        as_: type[Any] = object,
        into: object = None,
        trust: Trust = False,
        verify: Verify = "now",
    ) -> Any:
        """Give back the object that a reference means. By alias one GET when warm, and the data.

        Args:
            ref: ``churn`` (latest), ``churn:7``, ``churn:1.3.0``, ``churn:^1.3``, ``churn@production``,
                ``churn#b3f1…``; of a variant ``churn:7/onnx-int8``, or with any of these before the stroke.
            as_: the class that it must be of, also for type checkers.
            into: an object to fill, such as a `torch.nn.Module` of the same shape; or a folder, which gets the files.
            trust: what may run code in this process, beside what was granted to the registry. True: you trust whoever
                could write here; the digest of a version: it alone; names of serializers: what they wrote.
            verify: ``now`` checks every byte; ``lazy`` leaves unchecked what is mapped from a local disk, until
                `ModelVersion.verify` is called.

        Raises:
            NotFoundError: there is no such model, version, variant, alias or label.
            TrustError: loading may run code, and no trust was granted.
            IntegrityError: a stored byte is wrong; names the object.
            SerializerError: the serializer that wrote it is not installed, or the object is not of the class *as_*.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://load")
            >>> _ = registry.save({"w": np.ones(2)}, "churn").promote("production")
            >>> registry.load("churn@production")
            {'w': array([1., 1.])}
        """
        if isinstance(ref, ModelVersion):
            return ref.load(as_=as_, into=into, trust=trust, verify=verify)
        parsed = ref if isinstance(ref, ModelRef) else ModelRef.parse(ref)
        line = self._existing(parsed.name)
        found = _resolve.find(line, parsed)
        return _resolve.load_found(line, found, into=into, trust=trust, verify=verify, as_=as_)

    def get(self, ref: Ref) -> ModelVersion:
        """The version that a reference means: its facts, and what one does with it. Two GETs when warm.

        Raises:
            NotFoundError: there is no such model, version, alias or label.
            InvalidRefError: it is that of a variant, which `ModelVersion.variants` has.
        """
        if isinstance(ref, ModelVersion):
            return ref
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

    def model(self, name: str) -> RegisteredModel:
        """The line of versions of *name*; reads nothing, and the model need not exist yet."""
        check_model_name(name)
        return RegisteredModel(lambda: self._line(name), name, self.url)

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

    # -- elsewhere -------------------------------------------------------------------------------------------

    def push(self, name: str, *, to: str | os.PathLike[str] | Store | Registry) -> Transfer:
        """Copy a model, with its numbers, history and digests, into another registry; or what is new of it.

        Every byte is checked on the way. A model that was not there appears there at once, or not at all. Costs a
        read of all of its journals, and a read and a write of each object that the other registry lacks.

        Args:
            name: the model.
            to: the other registry, or where it lies; made by this if there is none.

        Returns:
            What was copied; nothing if the other registry has all of it.

        Raises:
            UnknownModelError: nothing was ever saved under this name.
            ConflictError: the other registry has a history of its own under this name; nothing there was overwritten.
            IntegrityError: a byte is not as it was written; names the object.
            StoreError: a store refused, or gave no answer; push again, it goes on where it stopped.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> laptop, team = mk.Registry("memory://laptop"), mk.Registry("memory://team")
            >>> _ = laptop.save({"w": np.ones(2)}, "churn").promote("production")
            >>> print(laptop.push("churn", to=team))
            churn: 1 version, 2 entries and 1 pack (... bytes) copied to memory://team
            >>> team.load("churn@production")
            {'w': array([1., 1.])}
        """
        from modelkeep._transfer import transfer

        return transfer(self._existing(name), self._other(to)._home)  # noqa: SLF001  a registry too

    def pull(self, name: str, *, source: str | os.PathLike[str] | Store | Registry) -> Transfer:
        """Copy a model from another registry into this one; or what is new of it. See `push`.

        Args:
            name: the model.
            source: the other registry, or where it lies; it is only read.

        Raises:
            UnknownModelError: nothing was ever saved under this name there.
            ConflictError: this registry has a history of its own under this name; nothing was overwritten.
            IntegrityError: a byte is not as it was written; names the object.
            StoreError: a store refused, or gave no answer; pull again, it goes on where it stopped.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> here, team = mk.Registry("memory://here"), mk.Registry("memory://there")
            >>> _ = team.save({"w": np.ones(2)}, "churn")
            >>> here.pull("churn", source=team).versions, here.load("churn")
            (1, {'w': array([1., 1.])})
        """
        from modelkeep._transfer import transfer

        return transfer(self._other(source)._existing(name), self._home)  # noqa: SLF001  a registry too

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

    # -- within ----------------------------------------------------------------------------------------------

    def _line(self, name: str) -> Line | None:
        """The line of *name*, read or not; None while there is no registry here."""
        with self._lock:
            line = self._lines.get(name)
            if line is None and (registry := self._home.id()):
                line = self._lines[name] = Line.open(self._home, name, registry)
            return line

    def _other(self, place: str | os.PathLike[str] | Store | Registry) -> Registry:
        return place if isinstance(place, Registry) else Registry(place, system=self._system)

    def _existing(self, name: str) -> Line:
        return self.model(name)._line  # noqa: SLF001  the door that says what is missing

    def _parents(self, model: object, given: Parents) -> tuple[Parent, ...]:
        if isinstance(given, Absent):
            guessed = origin(model)
            return (guessed,) if guessed else ()
        if given is None:
            return ()
        if isinstance(given, (str, ModelRef, ModelVersion, Parent)):
            return (self._parent(given),)
        if not isinstance(given, Iterable):
            raise InvalidValueError(
                f"parent is {shown(given)}, a {type(given).__name__}; give a version, a reference, or several",
                key="parent",
            )
        return tuple(map(self._parent, given))

    def _parent(self, given: Ref | Parent) -> Parent:
        if isinstance(given, Parent):
            return check_parent(given)
        version = self.get(given)
        return Parent(version.name, version.number, version.digest)
