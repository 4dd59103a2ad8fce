"""Plots of what training gave: a metric over versions, the curves of runs, and how far tensors moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol

from modelkeep.curves import Curve
from modelkeep.errors import InvalidValueError, NotFoundError, shown
from modelkeep.plots.canvas import GREY, axes, plain, reference, style, whole_numbers, with_unit
from modelkeep.questions import Mode, Trend
from modelkeep.usable import UsableVersion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RING = 11  # points, the marker of the first alias; each further one is larger, so that both can be seen
_RINGS = ("o", "s", "D", "^", "v", "p", "h")


class _HasTrend(Protocol):
    def trend(self, metric: str, *, measured: bool = False, mode: Mode = "max") -> Trend: ...


def metric(
    model: _HasTrend,
    name: str,
    *,
    measured: bool = False,
    mode: Mode = "max",
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A metric over the versions of a model, and the moves of its aliases; `trend` of `RegisteredModel.trend`.

    Args:
        model: a `RegisteredModel`.
        name: of the metric.
        measured: as in `RegisteredModel.trend`.
        mode: as there.
        unit: of the metric, for the label; None where it has none.
        ax: where to draw; None: a new figure.

    Raises:
        NotFoundError: no version has the metric.
        ModuleNotFoundError: matplotlib is not installed.
    """
    return trend(model.trend(name, measured=measured, mode=mode), unit=unit, ax=ax)


def trend(found: Trend, *, unit: str | None = None, ax: Axes | None = None) -> Axes:
    """A trend over the numbers of the versions: NaN and infinity are marks at the foot, aliases rings.

    The rings of an alias are joined in the order in which it moved; the legend says where it stands now.

    Args:
        found: from `RegisteredModel.trend`.
        unit: of the metric, for the label; None where it has none.
        ax: where to draw; None: a new figure.
    """
    ax = axes(ax)
    numbers = [point.number for point in found.points]
    values = [point.value for point in found.points]
    ax.plot(numbers, values, label=plain(found.metric), **style(0, points=len(numbers)))
    ax.plot(numbers, found.best_so_far, drawstyle="steps-post", **reference(f"{found.extreme} so far"))
    lost = [number for number, value in zip(numbers, values, strict=True) if not math.isfinite(value)]
    if lost:
        foot = ax.get_xaxis_transform()  # its y is 0 at the foot, and 1 at the top
        ax.plot(lost, [0.03] * len(lost), "x", color=GREY, transform=foot, label="no finite number")
    _mark_aliases(found, ax)
    whole_numbers(ax)
    ax.set_xlabel(f"version of {plain(found.model)} (number)")
    ax.set_ylabel(with_unit(found.metric, unit))
    ax.legend()
    return ax


def _mark_aliases(found: Trend, ax: Axes) -> None:
    values = {point.number: point.value for point in found.points if math.isfinite(point.value)}
    now = found.standing()
    for index, alias in enumerate(dict.fromkeys(stay.alias for stay in found.stays)):
        way = [stay.number for stay in found.stays if stay.alias == alias and stay.number in values]
        ring = {
            "marker": _RINGS[index % len(_RINGS)],
            "markersize": _RING + 3 * index,
            "markerfacecolor": "none",
            "linewidth": 0.8,
        }
        stands = f"version {now[alias]}" if alias in now else "unset"
        ax.plot(
            way,
            [values[number] for number in way],
            label=f"{plain(alias)} (now {stands})",
            **style(index + 1) | ring,
        )


def curves(
    *versions: UsableVersion,
    metric: str = "loss",
    by: Literal["step", "time"] = "step",
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The curves of one metric that the runs of several versions logged. One request for each version, and the data.

    Args:
        versions: one or more.
        metric: its name in `ModelVersion.history`.
        by: ``step``, or ``time`` since the run began, in seconds.
        unit: of the metric, for the label; None where it has none.
        ax: where to draw; None: a new figure.

    Raises:
        NotFoundError: a version has no such curve; names those that it has.
        InvalidValueError: no version is given, or *by* is neither.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if by not in ("step", "time"):
        raise InvalidValueError(f"by is {shown(by):.80}; give 'step' or 'time'", key="by")
    if not versions:
        raise InvalidValueError("there is no version to draw; give one or more", key="versions")
    found = [(version, _curve(version, metric)) for version in versions]
    ax = axes(ax)
    for index, (version, curve) in enumerate(found):
        x = curve.step if by == "step" else curve.time
        ax.plot(x, curve.value, label=plain(version), **style(index, points=len(curve)))
    if by == "step":
        whole_numbers(ax)
    ax.set_xlabel("step (number)" if by == "step" else "time since the run began (s)")
    ax.set_ylabel(with_unit(metric, unit))
    ax.legend()
    return ax


def _curve(version: UsableVersion, metric: str) -> Curve:
    history = version.history
    if metric not in history:
        raise NotFoundError(
            f"{version.ref} has no curve of {metric!r}; it has {', '.join(history) or 'none'}. Log one in a run, with "
            "run.log(loss=…)",
            ref=version.ref,
            metric=metric,
        )
    return history[metric]


def tensor_change(changes: Mapping[str, float], *, most: int = 30, ax: Axes | None = None) -> Axes:
    """How far each tensor moved between two versions: a bar for each, the farthest on top.

    Args:
        changes: by the name of the tensor, the norm of its change by the norm that it had; a tensor without a finite
            one, as of a new tensor, has no bar, and the label says so.
        most: draw so many of the farthest; the label of the axis says of how many.
        ax: where to draw; None: a new figure.

    Raises:
        InvalidValueError: there is nothing to draw.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if not changes:
        raise InvalidValueError(
            "there is no tensor to draw: none changed, or models of this kind have none", key="changes"
        )
    if type(most) is not int or most < 1:
        raise InvalidValueError(f"most is {shown(most):.80}; give one or more", key="most")
    far = sorted(changes.items(), key=lambda row: -row[1] if math.isfinite(row[1]) else -math.inf)[:most][::-1]
    ax = axes(ax)
    widths = [change if math.isfinite(change) else 0.0 for _, change in far]
    names = [plain(name) if math.isfinite(change) else f"{plain(name)} (no ratio)" for name, change in far]
    ax.barh(range(len(far)), widths, color=style(0)["color"])
    ax.set_yticks(range(len(far)), names)
    ax.set_xlabel("norm of the change / norm before (ratio)")
    ax.set_ylabel("tensor" if len(far) == len(changes) else f"tensor ({len(far)} of {len(changes)}, the farthest)")
    return ax
