"""Lightning: a logger, so that it gets what ``self.log`` logs at the steps that Lightning has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkeep.errors import InvalidValueError, SecretError
from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.runs import Run

try:
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.utilities import rank_zero_only
except ModuleNotFoundError:  # its older package
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.utilities import rank_zero_only


class RunLogger(Logger):  # type: ignore[misc]  # lightning is not followed
    """Logs metrics by step; ``save_hyperparameters()`` become parameters, unless the run has one of that name.

    For ``Trainer(logger=RunLogger())``. How often a step is logged is up to ``Trainer(log_every_n_steps=…)``. A
    hyperparameter that no record keeps, such as a module, is left out. Only the process of rank 0 logs.

    Args:
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        NotFoundError: there is no run when the trainer begins.
        SecretError: a hyperparameter looks like a secret; before anything is trained.
    """

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        super().__init__()
        self._book = Logbook(run, prefix)

    @property
    def name(self) -> str:
        """The name of the model; checkpoints lie below it."""
        run = self._book.run
        return run.name if run else "modelkeep"

    @property
    def version(self) -> str:
        """The beginning of the id of the run; checkpoints lie below it."""
        run = self._book.run
        return run.id[:8] if run else "unknown"

    @property
    def experiment(self) -> Run | None:
        """The run, as in ``self.logger.experiment.log(…)``."""
        return self._book.run

    @rank_zero_only  # type: ignore[untyped-decorator]  # lightning is not followed
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Find the run: each fit, validation and test of a trainer begins by this call."""
        del model, input_array
        self._book.open()

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """See `Logger.log_hyperparams`."""
        del args, kwargs
        run = self._book.open()
        if run is None:
            return
        for name, value in (params if isinstance(params, Mapping) else vars(params)).items():
            if name not in run.params:
                _set(run, name, value)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """See `Logger.log_metrics`."""
        self._book.log(metrics, step)


def _set(run: Run, name: str, value: Any) -> None:
    try:
        run.params[name] = value
    except SecretError:
        raise
    except InvalidValueError:  # a loss function, say: no record keeps it
        return
