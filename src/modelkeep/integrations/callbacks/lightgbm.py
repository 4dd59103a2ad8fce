"""LightGBM: what is evaluated in each iteration becomes curves such as ``valid_0/binary_logloss``."""

from __future__ import annotations

from typing import Any

from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.runs import Run


class RunCallback:
    """Logs each evaluation, for ``lightgbm.train``, ``lightgbm.cv`` and the wrappers; of ``cv`` mean and deviation.

    Args:
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        NotFoundError: there is no run; after the first iteration, since LightGBM says nothing before.

    Example:
        >>> import lightgbm, modelkeep as mk, numpy as np
        >>> rows = lightgbm.Dataset(np.arange(90.0).reshape(90, 1), np.arange(90.0))
        >>> with mk.Registry("memory://lightgbm").run("churn") as run:
        ...     booster = lightgbm.train(
        ...         {"num_threads": 1, "verbose": -1}, rows, 3, valid_sets=[rows], callbacks=[RunCallback()]
        ...     )
        >>> list(run.metrics)
        ['training/l2']
    """

    before_iteration = False

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        self._book = Logbook(run, prefix)
        # as LightGBM's own; early stopping is 30, and what stands behind it does not hear of the last iteration
        self.order = 20

    def __call__(self, env: Any) -> None:
        """Log one iteration; LightGBM calls it."""
        if env.iteration == env.begin_iteration:
            self._book.open()
        with self._book.unharmed():
            found = {}
            for rows, metric, value, _, *deviation in env.evaluation_result_list or ():
                if deviation:  # of cv
                    found.update({f"{rows}/{metric}-mean": value, f"{rows}/{metric}-stdv": deviation[0]})
                else:
                    found[f"{rows}/{metric}"] = value
            self._book.log(found, env.iteration)
