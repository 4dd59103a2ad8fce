"""transformers: what the trainer logs becomes curves such as ``loss`` and ``eval_loss``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.runs import Run


class RunCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Logs what stands in ``state.log_history``, at the global step; how often is up to ``logging_steps``.

    Only the first of several processes logs. The arguments of the trainer are not captured: they hold paths and tokens.

    Args:
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        NotFoundError: there is no run when training begins.
    """

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        self._book = Logbook(run, prefix)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """See `TrainerCallback.on_train_begin`."""
        del args, control, kwargs
        if state.is_world_process_zero:
            self._book.open()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """See `TrainerCallback.on_log`."""
        del args, control, kwargs
        if state.is_world_process_zero:
            self._book.log(logs or {}, state.global_step)
