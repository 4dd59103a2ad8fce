"""`ModelVersion`: one point of a model's line, its facts, and what one does with one version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from modelkeep._line import text_digest
from modelkeep._trust import Trust
from modelkeep.arguments import ABSENT, Absent, check_label, check_tags, number_of
from modelkeep.checking import asked_of, measured, with_standing
from modelkeep.errors import (
    ConflictError,
    InvalidRefError,
    InvalidValueError,
    TakenError,
)
from modelkeep.evidence import Check
from modelkeep.explained import ExplainedVersion
from modelkeep.folds import notes, releases, versions
from modelkeep.folds.rules import Op
from modelkeep.holdout import Holdout
from modelkeep.modelvariant import Variant, add_variant, variants_of
from modelkeep.promoting import Promotion
from modelkeep.ref import check_alias
from modelkeep.values import check_text, metrics_to_json

if TYPE_CHECKING:
    from modelkeep._erase import Erasure
    from modelkeep.reviews import VersionReview


class ModelVersion(ExplainedVersion):
    """One version of a model. Its facts never change; aliases, tags and later metrics are read as they stand.

    Versions come from `Registry.save`, `Registry.get` and `RegisteredModel.versions`.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://modelversion")
        >>> v = registry.save({"w": np.zeros(3)}, "churn", metrics={"auc": 0.91}, bump="minor")
        >>> v, v.metrics["auc"]
        (ModelVersion churn:1 (1.0.0), 0.91)
        >>> v.promote("production").aliases
        ('production',)
    """

    def _repr_html_(self) -> str:
        """Facts, metrics, parameters and what made it: one request, once, and two GETs."""
        from modelkeep.views.version import version_html

        return version_html(self, self._line)

    # -- the object ------------------------------------------------------------------------------------------

    def open(self, path: str) -> BinaryIO:
        """A file as a stream that can be sought; what is read is fetched and checked piece by piece.

        One request, once, and one for each piece (up to 8 MiB) that is read; who reads on and on is read ahead for.

        Args:
            path: of the file, as in `files`.

        Raises:
            InvalidValueError: there is no such file; lists those that there are.
            IntegrityError: later, when a byte that is read is wrong.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://open").save({"w": np.zeros(3)}, "churn")
            >>> with v.open("model.safetensors") as file:
            ...     file.seek(-24, 2), len(file.read())
            (128, 24)
        """
        return self._opened[0].open(path, again=self._files_again)

    # -- variants --------------------------------------------------------------------------------------------

    @property
    def variants(self) -> dict[str, Variant]:
        """Its variants by kind, such as ``onnx-int8``. One GET when warm."""
        return variants_of(self._line, self.number)

    def add_variant(
        self,
        model: object,
        *,
        kind: str,
        metrics: Mapping[str, object] | None = None,
        serializer: str | None = None,
        notes: str = "",
    ) -> Variant:
        """Keep this version in another form, too. It loads as ``churn:7/onnx-int8``, and goes when this version goes.

        It shares no stored bytes with anything. Two GETs and two writes when warm, one more for each 256 MiB.

        Args:
            model: the converted model: an object that an installed serializer knows, or a `pathlib.Path`.
            kind: what tells it from other variants of this version; given once, and it never changes.
            metrics: what was measured on it; kept in its record.
            serializer: the name of a serializer; without it the one that claims the object.
            notes: any text, kept in its record.

        Raises:
            TakenError: this version has a variant of this kind.
            DeletedError: this version was deleted or purged.
            ClosedError: the model was closed.
            SerializerError, InvalidValueError, StoreError, UnsettledError: see `Registry.save`.
            InvalidRefError: *kind* cannot be one.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://add-variant").save({"w": np.zeros(3)}, "churn")
            >>> v.add_variant({"w": np.zeros(3, np.float16)}, kind="half").ref, list(v.variants)
            ('churn:1/half', ['half'])
        """
        return add_variant(
            self._line, self.number, model, kind=kind, metrics=metrics, serializer=serializer, notes=notes
        )

    # -- what is in use --------------------------------------------------------------------------------------

    @property
    def review(self) -> VersionReview:
        """What people say of it before it is promoted: ask for a review, approve, reject, withdraw. Reads nothing."""
        from modelkeep.reviews import VersionReview

        return VersionReview(self)

    def check(
        self,
        alias: str,
        *,
        on: tuple[Any, Any] | None = None,
        predictions: tuple[Any, Any, Any] | None = None,
        metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
        trust: Trust = False,
    ) -> Check:
        r"""Whether this version may stand under *alias*, by the policy, with what each gate found. Writes nothing.

        Two GETs when warm, and what the gates take: the record is one request, once; metrics and size are known; a
        replay of golden outputs and a latency load the model; a comparison with the holder reads its record, too, and
        with *on* loads both.

        Args:
            alias: such as ``production``.
            on: a holdout ``(X, y)``: a margin is one of what both predict, in a paired test, as `compare` makes it.
            predictions: instead, ``(y, what the present holder predicts, what this one predicts)``.
            metrics: functions of (y, predicted), by name; without them accuracy for classes, RMSE and MAE for numbers.
            trust: as in `load`, for gates that load.

        Raises:
            InvalidValueError: the policy in force cannot be read by this release; or *predictions* do not fit together.
            InvalidNameError: *alias* cannot be one.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://check")
            >>> registry.policy.set('[models.churn.aliases.production]\ngates = [{ metric = "auc", least = 0.9 }]')
            >>> print(registry.save({"w": np.zeros(3)}, "churn", metrics={"auc": 0.87}).check("production"))
            churn:1 may not stand under production
            - FAILED: auc at least 0.9 (auc is 0.87)
        """
        check_alias(alias)
        holdout = Holdout(on=on, predictions=predictions, metrics=metrics)
        holdout.check_predictions(("the holder", self.ref))
        asked = asked_of(self, alias)
        self._line.releases.refresh()
        if asked is None:
            return Check(self.ref, alias)
        found = measured(self, asked, trust, self._sibling, holdout)
        return with_standing(found, asked, self, self._line.releases.state)

    def promote(
        self,
        alias: str,
        *,
        expect: int | ModelVersion | Absent | None = ABSENT,
        reason: str | None = None,
        on: tuple[Any, Any] | None = None,
        predictions: tuple[Any, Any, Any] | None = None,
        metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
        trust: Trust = False,
    ) -> ModelVersion:
        """Let *alias* stand on this version, if the policy lets it. One write and one GET when warm.

        A reason is one write more. Where the policy asks something, the gates cost what `check` says, and two GETs
        more. What they found is kept with the promotion, or with the refusal. A rollback asks no gate.

        Args:
            alias: such as ``production``.
            expect: not given: whoever holds it; None: it must not be set; a number or version: it must hold that.
            reason: why, kept with the history; can be erased.
            on: as in `check`; if the alias is moved meanwhile, the new holder predicts the same rows.
            predictions: as in `check`; say with *expect* of which holder they are.
            metrics: as in `check`.
            trust: as in `load`, for gates that load.

        Returns:
            This version.

        Raises:
            GateError: the policy refuses it; names each gate that failed, and has all findings as `check`.
            StaleError: *expect* does not hold.
            DeletedError: this version is deleted.
            InvalidNameError: *alias* cannot be one.
            InvalidValueError: the policy in force cannot be read by this release; or *predictions* do not fit together,
                or are of nobody knows whom.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://promote")
            >>> v = registry.save({"w": np.zeros(3)}, "churn")
            >>> v.promote("production", expect=None, reason="first").aliases
            ('production',)
        """
        check_alias(alias)
        expected = number_of(expect, self.name)
        holdout = Holdout(on=on, predictions=predictions, metrics=metrics)
        holdout.check_predictions(("the holder", self.ref))
        if predictions is not None and expected is ABSENT:
            raise InvalidValueError(
                f"predictions= tell what one holder of {alias} predicts, and by now another may stand there; say which "
                "it is, such as expect=3",
                key="expect",
            )
        Promotion(self, alias, expected, reason=reason, trust=trust, sibling=self._sibling, holdout=holdout).run()
        return self

    def _sibling(self, number: int) -> ModelVersion:
        return ModelVersion(self._line, number)

    def delete(self, *, reason: str | None = None) -> None:
        """Hide this version; its bytes stay and `restore` brings it back. One write when warm.

        Raises:
            InUseError: it stands under an alias.
            DeletedError: it is deleted already.
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            self._line.check_alive(self.number)
            self._line.check_unused(self.number, state)
            return [releases.Delete(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)

    def restore(self, *, reason: str | None = None) -> ModelVersion:
        """Bring this version back after a delete. One write when warm.

        Raises:
            ConflictError: it is not deleted.
            DeletedError: it was purged.
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            if self.number not in state.deleted:
                raise ConflictError(f"{self.ref} is not deleted", number=self.number)
            if self.number in state.purged:
                self._line.check_alive(self.number)
            return [releases.Restore(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)
        return self

    def hold(self, *, reason: str | None = None) -> ModelVersion:
        """Keep this version from being purged, whatever the policy says, until `unhold`. One write when warm.

        Raises:
            ConflictError: it is held already.
            DeletedError: it was purged.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://hold").save({"w": np.zeros(3)}, "churn")
            >>> v.hold(reason="audit of 2026").held, v.unhold().held
            (True, False)
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            if self.number in state.purged:
                self._line.check_alive(self.number)
            if self.number in state.held:
                raise ConflictError(f"{self.ref} is held already", number=self.number)
            return [releases.Hold(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)
        return self

    def unhold(self, *, reason: str | None = None) -> ModelVersion:
        """Let the policy decide about this version again. One write when warm.

        Raises:
            ConflictError: it is not held.
        """

        def decide(state: releases.Releases) -> Sequence[Op]:
            if self.number not in state.held:
                raise ConflictError(f"{self.ref} is not held", number=self.number)
            return [releases.Unhold(self.number, text_digest(reason))]

        self._line.append("releases", decide, text=reason)
        return self

    def erase(self, reason: str) -> Erasure:
        """Erase this version for legal reasons: its bytes, its record and what people wrote about it, at once.

        Versions that share a pack with it are stored anew without it. Costs a read of the manifest of each version, and
        a read and a write of what those need.

        Args:
            reason: on whose request, and by which rule; kept with the history, unless it was purged before.

        Returns:
            What went, and what remains: entries cannot be erased.

        Raises:
            ConflictError: it is held, or stands under an alias now (`InUseError`); a rollback passes over it.
            StoreError: the store refused; erase again, or let a collection finish it.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://erase").save({"w": np.zeros(3)}, "churn", notes="Ada's data")
            >>> print(v.erase("request 17").remains[0])
            The journals of 'churn' keep its number, digests, size, times and authors, for entries cannot be erased.
        """
        from modelkeep._erase import erase

        return erase(self._line, self.number, reason)

    def set_label(
        self, label: str | None = None, *, bump: Literal["major", "minor", "patch"] | None = None
    ) -> ModelVersion:
        """Give this version a label, once and for ever. One write when warm.

        Args:
            label: such as ``1.3.0``.
            bump: instead, the part of the highest label ever used to raise; the first is 1.0.0.

        Raises:
            TakenError: the label is in use, or this version has one.
            InvalidRefError: *label* is not a semantic version.
        """
        if check_label(label, bump) is None and bump is None:
            raise InvalidRefError(f"give {self.ref} a label such as '1.3.0', or bump='minor'", text="")

        def decide(state: versions.Versions) -> Sequence[Op]:
            chosen = label or state.next_label(str(bump))
            own = state.lines[self.number].label
            if own is not None:
                raise TakenError(f"{self.ref} has the label {own} already, and labels stay", label=own)
            if chosen in state.labels:
                raise TakenError(
                    f"label {chosen} is taken by {self.name}:{state.labels[chosen]}, and labels are never reused",
                    label=chosen,
                    number=state.labels[chosen],
                )
            return [versions.SetLabel(self.number, chosen)]

        self._line.append("versions", decide)
        return self

    # -- what people say -------------------------------------------------------------------------------------

    def tag(self, /, **tags: str | None) -> ModelVersion:
        """Set tags; None takes one away. One write when warm.

        Raises:
            InvalidValueError: a tag is no text of at most 1,000 characters.
        """
        checked = check_tags(tags, removing=True)
        self._line.append("notes", lambda _: [notes.Tag(checked, self.number)])
        return self

    def describe(self, text: str) -> ModelVersion:
        """Set the description, any text, Markdown if you like; the one before stays in the history. Two writes."""
        said = text_digest(check_text(text, "the description"))
        self._line.append("notes", lambda _: [notes.Describe(said, self.number)], text=text)
        return self

    def measure(self, /, **metrics: float) -> ModelVersion:
        """Add metrics that came after the save; read them as `measured`. One write when warm.

        Raises:
            InvalidValueError: a value is no number; names its key.
        """
        kept = metrics_to_json(metrics, "metrics")
        self._line.append("notes", lambda _: [notes.Measure(self.number, kept)])
        return self

    def to_dict(self) -> dict[str, Any]:
        """The facts that the journal holds, as one flat row: parameters and metrics under dotted names."""
        row: dict[str, Any] = {
            "version": self.number,
            "label": self.label,
            "created": self.created,
            "author": self.author,
            "size": self.size,
            "serializer": self.serializer,
            "digest": self.digest,
        }
        row.update({f"params.{name}": value for name, value in self.params.items()})
        row.update({f"metrics.{name}": value for name, value in self.metrics.items()})
        return row
