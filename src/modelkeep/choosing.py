"""Which runs become versions, and which of these stay: by a metric, and by what was run before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

import attrs

from modelkeep.errors import ConflictError, InvalidValueError, NotFoundError, UnknownModelError, shown
from modelkeep.model import RegisteredModel
from modelkeep.modelversion import ModelVersion
from modelkeep.questions import Mode, check_mode, rank, ranked
from modelkeep.values import Json, mapping_to_json

Judge = Callable[[RegisteredModel, Mapping[str, Any]], bool]
_KEEP = re.compile(r"best:([1-9][0-9]{0,5})")
_keys: dict[str, str | None] = {}  # of versions, by digest: they never change


def _ranked(model: RegisteredModel, metric: str, mode: Mode) -> list[tuple[float, ModelVersion]]:
    """The versions that have the metric, best first, of equal ones the newer first. Two GETs when warm."""
    try:
        return ranked(model.versions(), metric, mode)
    except UnknownModelError:
        return []


@attrs.frozen
class Improves:
    """Whether a run is better than every version so far; made by `improves`."""

    metric: str
    by: float = 0.0
    mode: Mode = "max"

    def __call__(self, model: RegisteredModel, metrics: Mapping[str, Any]) -> bool:
        """Compare with the best version that is not deleted. Two GETs when warm.

        Raises:
            InvalidValueError: the metric was not measured.
        """
        if self.metric not in metrics:
            raise InvalidValueError(
                f"save_if asks for the metric {self.metric!r}, and there is {', '.join(metrics) or 'none'}",
                key=self.metric,
            )
        now = rank(_plain(metrics[self.metric]), self.mode)
        if now is None:
            return False
        best = _ranked(model, self.metric, self.mode)
        return not best or now > best[0][0] + self.by


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def improves(metric: str, *, by: float = 0.0, mode: Mode = "max") -> Improves:
    """For ``save_if=``: keep a run only if its metric is better than that of every version that is not deleted.

    Not decided in one step with the save: of two runs that end at once, both may be kept.

    Args:
        metric: its name; NaN is never better.
        by: how much better it must at least be, and more.
        mode: ``max`` or ``min``: which is better.

    Raises:
        InvalidValueError: *mode* is neither, or *by* no number from 0 on.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://improves")
        >>> @registry.track("churn", save_if=improves("auc", by=0.01))
        ... def train(auc):
        ...     return {"w": np.ones(2)}, {"auc": auc}
        >>> for auc in (0.8, 0.805, 0.9):
        ...     _ = train(auc)
        >>> registry.model("churn").versions()
        [churn:2, churn:1]
    """
    check_mode(mode)
    if isinstance(by, bool) or not isinstance(by, (int, float)) or not 0 <= by < float("inf"):
        raise InvalidValueError(f"by is {shown(by)}; give a number from 0 on", key="by")
    return Improves(metric, by, mode)


def parse_keep(keep: str | None) -> int | None:
    """How many versions stay: 3 of ``best:3``.

    Raises:
        InvalidValueError: it says something else.

    Example:
        >>> parse_keep("best:3")
        3
    """
    if keep is None:
        return None
    found = _KEEP.fullmatch(keep) if isinstance(keep, str) else None
    if not found:
        raise InvalidValueError(f"keep is {shown(keep):.200}; write 'best:3'", key="keep")
    return int(found[1])


def keep_best(model: RegisteredModel, metric: str, count: int, mode: Mode) -> list[ModelVersion]:
    """Delete the versions beyond the best; those that have no such metric, are held or stand under an alias stay.

    Two GETs when warm, and two writes for each that goes. `restore` brings it back.
    """
    gone = []
    for _, version in _ranked(model, metric, mode)[count:]:
        used = version._line.releases.state  # noqa: SLF001  read just now; a GET for each would be many
        if version.number in used.held or used.aliases_of(version.number):
            continue
        with suppress(ConflictError, NotFoundError):  # somebody else promotes or deletes it at this moment
            version.delete(reason=f"not among the best {count} by {metric} ({mode})")
            gone.append(version)
    return gone


def same_run(model: RegisteredModel, key: str, params: Mapping[str, object], most: int) -> ModelVersion | None:
    """The newest version that a run of this key made, of the *most* newest with these parameters, if there is one.

    Two GETs when warm, and one for each version with these parameters, once in this process.
    """
    asked = mapping_to_json(params, "params")
    try:
        found = model.versions()
    except UnknownModelError:
        return None
    alike = (version for version in found if _holds(version, asked))
    return next((version for version in islice(alike, most) if _key_of(version) == key), None)


def _holds(version: ModelVersion, asked: Mapping[str, Json]) -> bool:
    """Whether it has these parameters; more may have come while it ran."""
    kept = mapping_to_json(version.params, "params")
    return all(name in kept and kept[name] == value for name, value in asked.items())


def _key_of(version: ModelVersion) -> str | None:
    if version.digest not in _keys:
        try:
            found = version.record.made.get("session", {}).get("key")
        except NotFoundError:  # purged meanwhile
            return None
        _keys[version.digest] = found if isinstance(found, str) else None
    return _keys[version.digest]
