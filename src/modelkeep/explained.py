"""`ExplainedVersion`: how a version explains itself: cards and reports, lineage, comparison, the next label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelkeep._trust import Trust
from modelkeep.holdout import Holdout
from modelkeep.ref import ModelRef
from modelkeep.usable import UsableVersion

if TYPE_CHECKING:
    from modelkeep.card import Card
    from modelkeep.comparison import Comparison
    from modelkeep.lineage import Lineage
    from modelkeep.proposal import Proposal
    from modelkeep.report import Page


class ExplainedVersion(UsableVersion):
    """What `ModelVersion` answers where people decide about it; nothing here changes anything."""

    # -- pages -----------------------------------------------------------------------------------------------

    def card(self) -> Card:
        """A model card: Markdown with the front matter and the model-index that Hugging Face reads.

        Texts from outside are shown as they were typed, the description too. Five GETs when warm, one more for a
        description; where aliases moved, a cold read of `releases` and a GET for each reason.

        Returns:
            A value with ``text``, ``front_matter`` and ``to_dict()``; notebooks show it.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://card").save({"w": np.zeros(3)}, "churn", metrics={"auc": 0.91})
            >>> v.card().front_matter["model-index"][0]["results"][0]["metrics"]
            [{'type': 'auc', 'name': 'auc', 'value': 0.91}]
        """
        from modelkeep.card import card_of

        return card_of(self)

    def report(self, *, lineage: bool = True) -> Page:
        """One page of HTML that explains this version, runs nothing, and needs nothing else: it can be mailed.

        Costs what `card` does, two GETs, the parts `history` and `example`, the record of the first parent, and what
        `lineage` costs.

        Args:
            lineage: whether there is a picture of what it was made from and what came of it; that looks at the whole
                registry, once on this machine.

        Returns:
            A value with ``html`` and ``save(path)``; notebooks show it.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> page = mk.Registry("memory://report").save({"w": np.zeros(3)}, "churn").report()
            >>> page.title, "<script" in page.html
            ('churn:1', False)
        """
        from modelkeep.report import report_of

        return report_of(self, lineage=self.lineage if lineage else None)

    def to_cyclonedx(self) -> dict[str, Any]:
        """A bill of materials: CycloneDX ML-BOM 1.6, as plain values for `json.dumps`. Four GETs when warm.

        One version has one serial number; the number of the bill grows with what people say of the model's versions.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> bill = mk.Registry("memory://bill").save({"w": np.zeros(3)}, "churn").to_cyclonedx()
            >>> bill["specVersion"], bill["metadata"]["component"]["name"]
            ('1.6', 'churn')
        """
        from modelkeep.mlbom import bill_of

        return bill_of(self)

    def propose_bump(self, against: int | ExplainedVersion | None = None) -> Proposal:
        """Which part of a label this version should raise, and why; it sets none. Four requests when warm.

        A signature that callers do not fit any more, or another kind of object, raises the major part; other data,
        features or preprocessing the minor; weights or parameters alone the patch.

        Args:
            against: what it is compared with, by number or itself; None: the parent of the same model that was noted
                at the save, else the version before, of those that are not deleted.

        Raises:
            UnknownVersionError: there is no such version.
            DeletedError: one of the two was purged.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://propose")
            >>> for seed in (1, 2):
            ...     v = registry.save({"w": np.full(3, seed)}, "churn", data={"train": np.full((5, 2), seed)})
            >>> proposal = v.propose_bump()
            >>> proposal.part, proposal.label, proposal.reasons[0]
            ('minor', '1.0.0', "the data 'train' is other data than that of churn:1")
            >>> v.set_label(bump=proposal.part)
            ModelVersion churn:2 (1.0.0)
        """
        from modelkeep.proposal import propose

        return propose(self, against)

    # -- where it came from ----------------------------------------------------------------------------------

    def lineage(self) -> Lineage:
        """What it was made from and what came of it, over the bounds of models. Costs what `Registry.lineage` costs.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://version-lineage")
            >>> first = registry.save({"w": np.ones(3)}, "encoder", data={"train": np.ones((9, 2))})
            >>> second = registry.save({"w": np.zeros(3)}, "churn", parent=first).promote("production")
            >>> [node.kind for node in second.lineage().ancestors().nodes]
            ['version', 'version', 'dataset']
        """
        from modelkeep._kin import lineage_of

        return lineage_of(self._line, self.number)

    # -- beside another --------------------------------------------------------------------------------------

    def compare(
        self,
        other: str | int | ModelRef | ExplainedVersion,
        *,
        on: tuple[Any, Any] | None = None,
        predictions: tuple[Any, Any, Any] | None = None,
        metrics: Mapping[str, Callable[[Any, Any], float]] | None = None,
        tensors: bool = True,
        measure_load: bool = False,
        trust: Trust = False,
    ) -> Comparison:
        """What is otherwise in this version than in *other*, part by part; on a holdout, which one predicts better.

        Two GETs when warm, a read of the manifest of each, and what tensors that are not equal by digest take; one read
        for each dataset that either names, and the journals of that.

        Args:
            other: the version before: a number of this model, a reference to any model here, or a version.
            on: a holdout ``(X, y)``, which both predict, as `predict` does.
            predictions: instead, ``(y, what other predicts, what this one predicts)``.
            metrics: functions of (y, predicted), by name; without them accuracy for classes, RMSE and MAE for numbers.
            tensors: False: leave the tensors alone.
            measure_load: load both four times, and tell how long that takes on this machine.
            trust: as in `load`; asked by what loads.

        Raises:
            NotFoundError: there is no such version.
            InvalidValueError: what is given for the holdout does not fit together; says what does not.
            TrustError: predicting loads, which may run code, and no trust was granted.
            IntegrityError: a stored byte is wrong; names the object.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://compare")
            >>> old = registry.save({"w": np.array([3.0, 4.0])}, "churn", params={"depth": 3})
            >>> new = registry.save({"w": np.array([3.0, 4.5])}, "churn", params={"depth": 6})
            >>> found = new.compare("churn:1")
            >>> found.params, found.tensors["w"].relative
            ((Change(name='depth', kind='changed', before=3, after=6),), 0.1)
        """
        from modelkeep.comparison import Asked, compare, opened

        holdout = Holdout(on=on, predictions=predictions, metrics=metrics)
        asked = Asked(holdout=holdout, tensors=tensors, measure_load=measure_load, trust=trust)
        return compare(opened(self._line, type(self), other), self, asked)
