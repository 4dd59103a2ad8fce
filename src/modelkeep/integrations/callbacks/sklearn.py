"""scikit-learn's searches: they call nobody while they run, so a function reads their results afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkeep.errors import InvalidValueError, shown
from modelkeep.integrations.callbacks.logbook import Logbook
from modelkeep.integrations.callbacks.trials import Sweep
from modelkeep.runs import Run


def log_search(search: Any, run: Run | None = None, *, prefix: str = "") -> None:
    """Log what a fitted search tried, candidate by candidate.

    Candidates stand in ``record.made["session"]["sweeps"]``, those of a search together. Each ``mean_…`` and ``std_…``
    of ``cv_results_`` is a curve with a point for each candidate; the metric of the run is that of the best, the
    parameter ``best_params`` what gave it. Of several metrics with ``refit=False`` the first says which is best.

    Args:
        search: a fitted ``GridSearchCV``, ``RandomizedSearchCV``, or halving search.
        run: the run to log into, if it is not the one that goes on.
        prefix: stands before the name of each metric.

    Raises:
        InvalidValueError: *search* has no results.
        NotFoundError: there is no run.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> from sklearn.linear_model import Ridge
        >>> from sklearn.model_selection import GridSearchCV
        >>> rows = np.arange(12.0).reshape(12, 1)
        >>> with mk.Registry("memory://search").run("churn") as run:
        ...     search = GridSearchCV(Ridge(), {"alpha": [100.0, 0.1]}, cv=2).fit(rows, rows[:, 0])
        ...     log_search(search)
        >>> run.params, bool(run.metrics["mean_test_score"] == search.best_score_)
        ({'best_params': {'alpha': 0.1}}, True)
    """
    results = getattr(search, "cv_results_", None)
    if not isinstance(results, Mapping) or "params" not in results:
        raise InvalidValueError(f"{shown(search):.200} has no cv_results_; give a search after its fit", key="search")
    book = Logbook(run, prefix)
    run = book.open()
    if run is None:  # never here: only what was sent to another process has none
        return
    with book.unharmed():
        columns = {name: column for name, column in results.items() if name.startswith(("mean_", "std_"))}
        sweep = Sweep(book, run, "scikit-learn", type(search).__name__)
        for number, params in enumerate(results["params"]):
            found = {name: float(column[number]) for name, column in columns.items()}
            sweep.add(number, params, values=found, **_stage(results, number))
            book.log(found, number)
        best = _best(search, results)
        final = {f"{prefix}{name}": float(column[best]) for name, column in columns.items()}
        sweep.best(best, results["params"][best], final)


def _best(search: Any, results: Mapping[str, Any]) -> int:
    found = getattr(search, "best_index_", None)
    if found is None:
        found = min(range(len(results["params"])), key=_ranks(results).__getitem__)
    return int(found)


def _ranks(results: Mapping[str, Any]) -> Any:
    return next(column for name, column in results.items() if name.startswith("rank_test_"))


def _stage(results: Mapping[str, Any], number: int) -> dict[str, int]:
    """Where a halving search was."""
    return {name: int(results[name][number]) for name in ("iter", "n_resources") if name in results}
