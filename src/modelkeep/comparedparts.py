"""All parts of a comparison in one value, for what shows and what ranks them."""

from __future__ import annotations

import attrs

from modelkeep.codechange import CodeChange
from modelkeep.comparisonparts import Change, DataChange, FileChange, LoadTimes, MetricChange
from modelkeep.environmentdiff import EnvironmentDiff
from modelkeep.judging import Judgement
from modelkeep.tensorchange import TensorChanges


@attrs.frozen(kw_only=True)
class ComparedParts:
    """What is otherwise in one version than in another. It is true if anything is; each part is false if nothing is.

    Args:
        before: the reference of the version that was compared with.
        after: of the version that was asked.
        params: parameters.
        metrics: metrics given at the save, with their difference.
        data: by role: other rows, columns, drift.
        code: commit, the function and what it calls, with the difference of its source.
        environment: findings, the gravest first.
        files: new, gone, or of other bytes; but for the curves, whose points have times.
        tensors: how far each moved; None if it was not asked.
        form: class, serializer and signature of the model.
        seeds: what randomness began with, where it was recorded of both.
        sizes: bytes of the files, before and after.
        frameworks: the distributions that the models were made with.
        judgement: what both predict on a holdout; None without one.
        loads: how long a load takes on this machine; None if it was not measured.
    """

    before: str
    after: str
    params: tuple[Change, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    data: tuple[DataChange, ...] = ()
    code: CodeChange = CodeChange()  # noqa: RUF009  it is frozen
    environment: EnvironmentDiff = EnvironmentDiff(())  # noqa: RUF009  likewise
    files: tuple[FileChange, ...] = ()
    tensors: TensorChanges | None = None
    form: tuple[Change, ...] = ()
    seeds: tuple[Change, ...] = ()
    sizes: tuple[int, int] = (0, 0)
    frameworks: frozenset[str] = frozenset()
    judgement: Judgement | None = None
    loads: LoadTimes | None = None

    def __bool__(self) -> bool:
        parts = (self.params, self.metrics, self.data, self.code, self.environment, self.files, self.tensors)
        return any(map(bool, (*parts, self.form, self.seeds)))
