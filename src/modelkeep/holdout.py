"""`Holdout`: rows on which two versions are compared, as `compare`, `check` and `promote` take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from modelkeep._trust import Trust
from modelkeep.errors import InvalidValueError, shown
from modelkeep.usable import UsableVersion

if TYPE_CHECKING:
    from modelkeep.judging import Judgement


@attrs.frozen(kw_only=True, eq=False)
class Holdout:
    """Rows, or what two versions predict for them; true if there are any. See `modelkeep.ModelVersion.compare`.

    Args:
        on: ``(X, y)``, which both predict.
        predictions: instead, ``(y, what the version before predicts, what the other does)``.
        metrics: functions of (y, predicted), by name; without them accuracy for classes, RMSE and MAE for numbers.

    Raises:
        InvalidValueError: they are given both, are no pair, or there are metrics without rows.
    """

    on: Any = None
    predictions: Any = None
    metrics: Mapping[str, Callable[[Any, Any], float]] | None = None

    def __attrs_post_init__(self) -> None:
        if self.on is not None and self.predictions is not None:
            raise InvalidValueError("give on=(X, y) or predictions=(y, before, after), not both", key="on")
        if self.metrics and not self:
            raise InvalidValueError("metrics are reckoned on rows; give on=(X, y) or predictions=", key="metrics")
        if self.on is not None and (not isinstance(self.on, tuple) or len(self.on) != 2):  # noqa: PLR2004  a pair
            raise InvalidValueError(f"on={shown(self.on):.80} is no holdout; give on=(X, y)", key="on")

    def __bool__(self) -> bool:
        return self.on is not None or self.predictions is not None

    def check_predictions(self, names: Sequence[str]) -> None:
        """Refuse predictions that do not fit together, before anything is asked of them.

        Args:
            names: of the two versions.

        Raises:
            InvalidValueError: see `modelkeep.judging.checked`.
        """
        if self.predictions is not None:
            from modelkeep.judging import checked

            checked(self.predictions, names)

    def judge(self, before: UsableVersion, after: UsableVersion, trust: Trust) -> Judgement | None:
        """The two versions on these rows; None if there are none.

        Raises:
            InvalidValueError: what is given, or predicted, does not fit together; says what does not.
            TrustError: predicting loads, which may run code, and no trust was granted.
        """
        if not self:
            return None
        from modelkeep.judging import judged, judged_on

        if self.on is not None:
            return judged_on(before, after, self.on, self.metrics, trust)
        return judged(self.predictions, self.metrics, names=(before.ref, after.ref))
