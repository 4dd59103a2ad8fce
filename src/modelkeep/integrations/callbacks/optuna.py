"""Optuna: each trial goes into the record of the run, its values into curves by the number of the trial."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.integrations.callbacks.trials import Sweep, thinned
from modelkeep.runs import Run


class RunCallback:
    """Logs each trial that ended: parameters, state, values, and what it reported by step.

    For ``study.optimize(objective, callbacks=[RunCallback()])``, also with ``n_jobs``. Trials stand in
    ``record.made["session"]["sweeps"]``, those of a study together. The curve ``value`` has the value of each that was
    completed; the metric ``value`` of the run is the best of the study, the parameter ``best_params`` what gave it. Of
    several objectives there are curves and no best.

    Args:
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        NotFoundError: there is no run; after the first trial, since Optuna says nothing before.

    Example:
        >>> import modelkeep as mk, optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study()
        >>> with mk.Registry("memory://optuna").run("churn") as run:
        ...     study.optimize(lambda trial: trial.suggest_int("x", 3, 3) ** 2, n_trials=2, callbacks=[RunCallback()])
        >>> run.metrics, run.params
        ({'value': 9.0}, {'best_params': {'x': 3}})
    """

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        self._book = Logbook(run, prefix)
        self._prefix = prefix
        self._sweeps: dict[tuple[str, str], Sweep] = {}
        self._lock = threading.Lock()

    def __call__(self, study: Any, trial: Any) -> None:
        """Log one trial; Optuna calls it."""
        run = self._book.open()
        if run is None:
            return
        with self._book.unharmed():
            with self._lock:
                key = run.id, study.study_name
                if key not in self._sweeps:
                    self._sweeps[key] = Sweep(self._book, run, "optuna", study.study_name)
                sweep = self._sweeps[key]
            sweep.add(trial.number, trial.params, **_facts(trial))
            names = study.metric_names or _names(len(study.directions))
            if trial.state.name == "COMPLETE":
                self._book.log(dict(zip(names, trial.values, strict=True)), trial.number)
            if len(names) == 1:
                with self._lock, suppress(ValueError):  # of threads that end at once; none is completed yet
                    best = study.best_trial
                    sweep.best(best.number, best.params, {f"{self._prefix}{names[0]}": best.value})


def _names(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"value_{i}" for i in range(count)]


def _facts(trial: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"state": trial.state.name.lower()}
    if trial.values is not None:
        facts["values"] = list(trial.values)
    if trial.duration is not None:
        facts["duration_s"] = trial.duration.total_seconds()
    if trial.intermediate_values:
        facts["steps"] = thinned(trial.intermediate_values)
    return facts
