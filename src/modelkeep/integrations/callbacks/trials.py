"""The trials of a sweep, grouped, as the record of a run keeps them: ``made["session"]["sweeps"]``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import orjson

from modelkeep.errors import InvalidValueError, SecretError
from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.making import check_params
from modelkeep.runs import Run
from modelkeep.values import to_json

MAX_TRIALS = 1000  # of one sweep; a record is read whole by each load
MAX_POINTS = 50  # of one trial by step
_LONGEST = 4096  # bytes of a parameter as JSON, as in a tracked function

_adding = threading.Lock()


class Sweep:
    """The trials of one search or study.

    Args:
        book: of the callback; what cannot be kept is a warning there.
        run: what they belong to.
        tool: whose trials they are, such as ``optuna``.
        name: of the search or study.
    """

    def __init__(self, book: Logbook, run: Run, tool: str, name: str) -> None:
        self._book = book
        self._run = run
        self._kept: dict[str, Any] = {"tool": tool, "name": name, "trials": []}
        with _adding:
            run._making.session.setdefault("sweeps", []).append(self._kept)  # noqa: SLF001  a part of it

    def add(self, number: int, params: Mapping[str, Any], **facts: Any) -> None:
        """Keep one trial: its number, its parameters, and what else is known. Beyond `MAX_TRIALS` they are counted."""
        trial = {"number": number, "params": self._plain(params), **facts}
        with _adding:
            if len(self._kept["trials"]) < MAX_TRIALS:
                self._kept["trials"].append(trial)
            else:
                self._kept["left_out"] = self._kept.get("left_out", 0) + 1

    def best(self, number: int, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Say which trial is the best: its metrics are those of the run, its parameters are ``best_params``."""
        self._kept["best"] = number
        for name, value in metrics.items():
            self._run.metrics[name] = value
        self._run.params["best_params"] = self._plain(params)

    def _plain(self, params: Mapping[str, Any]) -> dict[str, Any]:
        kept = {}
        for name, value in params.items():
            try:
                check_params({str(name): _small(value)}, self._run._allowed)  # noqa: SLF001  a part of it
            except SecretError as error:
                self._book.warn(f"{error}; it is left out of the trials")
            else:
                kept[str(name)] = _small(value)
        return kept


def _small(value: Any) -> Any:
    """*value*, or the name of its class where that is all that a record keeps."""
    try:
        if len(orjson.dumps(to_json(value, "a parameter"))) <= _LONGEST:
            return value
    except (InvalidValueError, RecursionError):
        pass
    return f"{type(value).__module__}.{type(value).__qualname__}"


def thinned(points: Mapping[int, float]) -> dict[str, list[Any]]:
    """Values by step, at most `MAX_POINTS` of them, evenly; the first and the last are among them.

    Example:
        >>> thinned({0: 0.7, 1: 0.5})
        {'step': [0, 1], 'value': [0.7, 0.5]}
    """
    rows = sorted(points.items())
    if len(rows) > MAX_POINTS:
        rows = [rows[i * (len(rows) - 1) // (MAX_POINTS - 1)] for i in range(MAX_POINTS)]
    return {"step": [step for step, _ in rows], "value": [value for _, value in rows]}
