"""`Registry`: where models are saved and found. A prefix on a disk, S3 or GCS; no server, no database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from modelkeep import _resolve
from modelkeep._resolve import Verify
from modelkeep._trust import Trust
from modelkeep.arguments import ABSENT, as_names
from modelkeep.facts import Facts, Options, oldest_first, serializer_for
from modelkeep.given import Given, Parents, Ref, Saved
from modelkeep.model import RegisteredModel
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress
from modelkeep.ref import ModelRef, check_model_name
from modelkeep.registrydatasets import RegistryDatasets
from modelkeep.saving import PendingSave
from modelkeep.signature import Signature
from modelkeep.stores.port import Store

if TYPE_CHECKING:
    from modelkeep._transfer import Transfer
    from modelkeep.lineage import Lineage
    from modelkeep.runs import Run
    from modelkeep.track import Tracker

T = TypeVar("T")


class Registry(RegistryDatasets):
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
        data: object = None,
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
        allow_secret_like: Iterable[str] = (),
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
            data: what it was trained on: a frame, an array, a path, a URL, a `Dataset` or its reference; or several by
                role, as in ``{"train": frame, "test": "sales:3"}``. Its facts are recorded, and none of its rows.
            tags: short texts by name.
            notes: any text; what looks like a secret in it is left out, and ``[redacted: …]`` says so.
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
            allow_secret_like: names of parameters that look like secrets and are none; others are refused.
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
            SecretError: a parameter looks like a secret; names it, and not its value.
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
        given: Given = {
            "params": params,
            "metrics": metrics,
            "data": data,
            "tags": tags,
            "notes": notes,
            "parent": parent,
            "label": label,
            "bump": bump,
            "reuse": reuse,
            "serializer": serializer,
            "preprocess": preprocess,
            "example": example,
            "signature": signature,
            "golden": golden,
            "allow_secret_like": allow_secret_like,
            "progress": progress,
        }
        return self._save_given(model, name, given, wait)

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
        if self._home.scan is not None:
            from modelkeep._veto import check_on_disk

            check_on_disk(self._home.scan, (path for path, _ in files))
        serializer = serializer_for(files[0][0], None, self._home.granted)
        options = Options(reuse=True)
        return [self._save(path, name, Facts(origin=found), options, serializer) for path, found in files]

    # -- training --------------------------------------------------------------------------------------------

    def run(
        self,
        name: str,
        *,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
        notes: str = "",
        parent: Parents = ABSENT,
        capture: Iterable[str] = (),
        allow_secret_like: Iterable[str] = (),
    ) -> Run:
        """Begin a run: one training, for a `with` block. No request; each of its saves costs what `save` costs.

        An exception that leaves the block makes it a failed run, and goes on; the registry keeps it for 30 days, see
        `RegisteredModel.failed_runs`, with two writes when warm. So does SIGTERM, where nobody else handles it: the
        process ends by it afterwards.

        Args:
            name: the model.
            params: what goes into training; more may follow.
            data: datasets by role: frames, arrays, paths.
            tags: short texts by name.
            notes: any text.
            parent: as in `save`.
            capture: what is looked at only on request: ``diff``, ``notebook``, ``sources``, ``lock``.
            allow_secret_like: names of parameters that look like secrets and are none.

        Raises:
            InvalidValueError: a parameter, tag or option cannot be kept, or a parameter looks like a secret; names it.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://begin-run")
            >>> with registry.run("churn", params={"depth": 6}) as run:
            ...     run.log(loss=0.5)
            ...     run.save({"w": np.ones(3)})
            ModelVersion churn:1
        """
        from modelkeep.making import Making, check_captures
        from modelkeep.runs import begun

        allowed = as_names(allow_secret_like, "allow_secret_like")
        making = Making.begin(None, check_captures(capture), kind="run")
        return begun(
            self, name, making, params=params, data=data, tags=tags, notes=notes, parent=parent, allowed=allowed
        )

    def track(
        self,
        name: str,
        *,
        metric: str | None = None,
        mode: Literal["max", "min"] = "max",
        keep: str | None = None,
        save_if: Callable[[RegisteredModel, Mapping[str, Any]], bool] | None = None,
        reuse: bool = False,
        data: Iterable[str] = (),
        capture: Iterable[str] = (),
        stdout: bool = False,
        allow_secret_like: Iterable[str] = (),
        **given: Unpack[Saved],
    ) -> Tracker:
        """Make each call of a function a run, and what it returns a version; a decorator.

        The function returns what it always returned: a model, or ``(model, metrics)``. Its arguments become parameters;
        frames, arrays and paths become datasets; of other objects the class is recorded. ``train.last_run()`` is the
        run of the last call in this thread or task, and `modelkeep.runs.current_run` the one that goes on.

        Costs what `save` costs, and two GETs when warm to see whether the same was run before; one more for each of the
        newest 10 versions with these parameters (with *reuse* 100), once in a process.

        Args:
            name: the model.
            metric: a metric that there must be in the end.
            mode: ``max`` or ``min``: which *metric* is better.
            keep: ``best:3``: after a save, delete the versions of the model beyond the best 3 by *metric*; not those
                that are held or stand under an alias.
            save_if: `improves`, or any function of the model and the metrics: false makes no version of the run.
            reuse: give back the model of a version that the same code, data and parameters made, and run nothing.
            data: names of arguments that are datasets, whatever they are.
            capture: as in `run`.
            stdout: keep the end of what is printed meanwhile, up to 64 KiB of each stream.
            allow_secret_like: as in `run`.
            given: tags, notes, parent, bump and serializer, as in `save`.

        Raises:
            InvalidValueError: an option is wrong, or the function is a generator, a class, or none.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://track")
            >>> @registry.track("churn", metric="auc")
            ... def train(x, *, depth=6):
            ...     return {"w": x * depth}, {"auc": 0.91}
            >>> model, metrics = train(np.ones(3))
            >>> version = train.last_run().version
            >>> version, version.params, version.metrics, version.record.made["data"][0]["role"]
            (ModelVersion churn:1, {'depth': 6}, {'auc': 0.91}, 'x')
        """
        from modelkeep.track import Terms, Tracker

        terms = Terms.of(
            metric=metric,
            mode=mode,
            keep=keep,
            save_if=save_if,
            reuse=reuse,
            data=data,
            capture=capture,
            stdout=stdout,
            allow_secret_like=allow_secret_like,
            given=given,
        )
        return Tracker(self, name, terms)

    # -- reading ---------------------------------------------------------------------------------------------

    @overload
    def load(
        self,
        ref: Ref | os.PathLike[str],
        *,
        as_: type[T],
        into: object = None,
        trust: Trust = False,
        verify: Verify = "now",
    ) -> T: ...
    @overload
    def load(
        self, ref: Ref | os.PathLike[str], *, into: object = None, trust: Trust = False, verify: Verify = "now"
    ) -> Any: ...
    def load(
        self,
        ref: Ref | os.PathLike[str],
        *,
        as_: type[Any] = object,
        into: object = None,
        trust: Trust = False,
        verify: Verify = "now",
    ) -> Any:
        """Give back the object that a reference means. By alias one GET when warm, and the data.

        Args:
            ref: ``churn`` (latest), ``churn:7``, ``churn:1.3.0``, ``churn:^1.3``, ``churn@production``,
                ``churn#b3f1…``; of a variant ``churn:7/onnx-int8``, or with any of these before the stroke. A path,
                ``Path("churn.pkl.mk")``, is that of a pointer, see `get`; the place that it names is not opened.
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
        if isinstance(ref, (ModelVersion, os.PathLike)):
            return self.get(ref).load(as_=as_, into=into, trust=trust, verify=verify)
        parsed = ref if isinstance(ref, ModelRef) else ModelRef.parse(ref)
        line = self._existing(parsed.name)
        found = _resolve.find(line, parsed)
        return _resolve.load_found(line, found, into=into, trust=trust, verify=verify, as_=as_)

    # -- where it came from ----------------------------------------------------------------------------------

    def lineage(self, names: Iterable[str] | None = None) -> Lineage:
        """What versions were made from, and what came of them: parents, datasets, code, runs, variants, aliases.

        Warm two GETs for each model and dataset, and two listings. Cold the fold of each, and one read for each version
        of a model that this machine has not read before: what its manifest says is kept in the cache, or, with
        ``cache=False``, in memory.

        Args:
            names: of the models that are asked of, with what they were made from; without them all that take saves. A
                model that was closed is read if it is named, or a parent lies in it.

        Raises:
            UnknownModelError: one of *names* was never saved.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://registry-lineage")
            >>> first = registry.save({"w": np.ones(3)}, "encoder")
            >>> second = registry.save({"w": np.zeros(3)}, "churn", parent=first).promote("production")
            >>> [str(edge) for edge in registry.lineage().edges]
            ['churn@production is standing on churn:1', 'churn:1 was made from encoder:1']
        """
        from modelkeep._kin import lineage

        return lineage(self._home, self._existing, [names] if isinstance(names, str) else names)

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

    def _other(self, place: str | os.PathLike[str] | Store | Registry) -> Registry:
        return place if isinstance(place, Registry) else Registry(place, system=self._system)
