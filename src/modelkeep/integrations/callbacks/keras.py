"""Keras 3, on any backend: what ``fit`` reports of each epoch becomes curves such as ``loss`` and ``val_loss``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras.callbacks import Callback

from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.runs import Run


class RunCallback(Callback):  # type: ignore[misc]  # keras is not followed
    """Logs what stands in ``history.history``, with the epoch as step.

    Args:
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        NotFoundError: there is no run when training begins.
    """

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        super().__init__()
        self._book = Logbook(run, prefix)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """See `Callback.on_train_begin`."""
        del logs
        self._book.open()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """See `Callback.on_epoch_end`."""
        self._book.log(logs or {}, epoch)
