"""XGBoost: what is evaluated in each round becomes curves such as ``validation_0/logloss``."""

from __future__ import annotations

from typing import Any

from xgboost.callback import TrainingCallback

from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.runs import Run


class RunCallback(TrainingCallback):  # type: ignore[misc]  # xgboost is not followed
    """Logs each evaluation, for ``xgboost.train``, ``xgboost.cv`` and the wrappers; of ``cv`` mean and deviation.

    It is no part of a model: a wrapper is saved without it.

    Args:
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        NotFoundError: there is no run when training begins.

    Example:
        >>> import modelkeep as mk, numpy as np, xgboost
        >>> rows = xgboost.DMatrix(np.arange(8.0).reshape(8, 1), np.arange(8.0), nthread=1)
        >>> with mk.Registry("memory://xgboost").run("churn") as run:
        ...     booster = xgboost.train(
        ...         {"nthread": 1}, rows, 3, evals=[(rows, "train")], verbose_eval=False, callbacks=[RunCallback()]
        ...     )
        >>> list(run.metrics)
        ['train/rmse']
    """

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        super().__init__()
        self._book = Logbook(run, prefix)
        self._evals: Any = {}
        self._rounds = 0

    def before_training(self, model: Any) -> Any:
        """See `TrainingCallback.before_training`."""
        self._book.open()
        self._evals, self._rounds = {}, 0
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """See `TrainingCallback.after_iteration`."""
        del model, epoch
        self._evals = evals_log
        self._catch_up()
        return False

    def after_training(self, model: Any) -> Any:
        """See `TrainingCallback.after_training`."""
        self._catch_up()  # the last round is not told to callbacks behind one that stops training
        self._evals = {}  # else it is pickled with the wrapper
        return model

    def _catch_up(self) -> None:
        with self._book.unharmed():
            curves = [
                (f"{rows}/{metric}", values)
                for rows, by_name in self._evals.items()
                for metric, values in by_name.items()
            ]
            done = max((len(values) for _, values in curves), default=0)
            for step in range(self._rounds, done):
                self._book.log(_at(curves, step), step)
            self._rounds = done


def _at(curves: list[tuple[str, Any]], step: int) -> dict[str, Any]:
    found = {}
    for name, values in curves:
        if step < len(values):
            if isinstance(values[step], tuple):  # of cv
                found[f"{name}-mean"], found[f"{name}-std"] = values[step]
            else:
                found[name] = values[step]
    return found
