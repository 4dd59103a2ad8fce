"""Questions over the versions of a model: which is best, and how a metric went."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeGuard, TypeVar

import attrs

from modelkeep._line import Line
from modelkeep.errors import InvalidValueError, NotFoundError, shown
from modelkeep.system import format_time, parse_time
from modelkeep.usable import UsableVersion
from modelkeep.values import check_text, mapping_from_json
from modelkeep.versionfacts import VersionFacts

V = TypeVar("V", bound=UsableVersion)
Mode = Literal["max", "min"]
_NAMED = 20  # metrics that an error names


# -- the best ---------------------------------------------------------------------------------------------------------


def check_mode(mode: object) -> None:
    """Whether *mode* says which metric is better.

    Raises:
        InvalidValueError: it does not.
    """
    if mode not in ("max", "min"):
        raise InvalidValueError(f"mode is {shown(mode)}; give 'max' or 'min'", key="mode")


def rank(value: object, mode: Mode) -> float | None:
    """The higher, the better; None for NaN and for what is no number.

    Example:
        >>> rank(0.9, "min"), rank(float("nan"), "max"), rank(True, "max")
        (-0.9, None, None)
    """
    if not _is_number(value) or value != value:  # noqa: PLR0124  NaN
        return None
    return value if mode == "max" else -value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ranked(versions: Iterable[V], metric: str, mode: Mode) -> list[tuple[float, V]]:
    """The versions that have the metric, each with its rank, best first, of equal ones the newer first."""
    rows = ((rank(version.metrics.get(metric), mode), version) for version in versions)
    known = [(place, version) for place, version in rows if place is not None]
    return sorted(known, key=lambda row: (-row[0], -row[1].number))


def best(versions: Sequence[V], metric: str, mode: Mode, name: str) -> V:
    """See `RegisteredModel.best`."""
    check_mode(mode)
    check_text(metric, "metric")
    if not versions:
        raise NotFoundError(f"{name!r} has no version to choose from: where= fits none, or all are deleted", name=name)
    found = ranked(versions, metric, mode)
    if not found:
        raise _no_such(name, metric, (version.metrics for version in versions))
    return found[0][1]


def _no_such(name: str, metric: str, metrics: Iterable[Iterable[str]]) -> NotFoundError:
    known = sorted({one for own in metrics for one in own})
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return NotFoundError(
        f"no version of {name!r} has a number for the metric {metric!r}; there is "
        f"{', '.join(known[:_NAMED]) or 'none'}{more}. What measure() added later is in "
        "trend(…, measured=True) and in version.measured",
        name=name,
        metric=metric,
    )


# -- how a metric went ------------------------------------------------------------------------------------------------


@attrs.frozen
class Point:
    """The metric of one version; NaN and infinity are kept."""

    number: int
    created: datetime
    value: float


@attrs.frozen
class Stay:
    """A version under an alias, from when to when; *until* is None while it stands there."""

    alias: str
    number: int
    since: datetime
    until: datetime | None

    def __str__(self) -> str:
        end = f" to {self.until:%Y-%m-%d %H:%M}" if self.until else ""
        return f"{self.alias}: version {self.number} from {self.since:%Y-%m-%d %H:%M}{end}"


@attrs.frozen
class Trend:
    """A metric over the versions of a model, and what stood under its aliases when; from `RegisteredModel.trend`.

    Args:
        model: its name.
        metric: the name of the metric.
        mode: ``max`` or ``min``: which is better.
        measured: whether these are numbers that came after the save.
        points: of each version that has the number and is not deleted, oldest first.
        without: the other versions that are not deleted.
        stays: of all versions under all aliases, in the order in which they began, by the clocks of who moved them.
    """

    model: str
    metric: str
    mode: Mode
    measured: bool
    points: tuple[Point, ...] = attrs.field(repr=False)
    without: tuple[int, ...] = attrs.field(repr=False)
    stays: tuple[Stay, ...] = attrs.field(repr=False)

    def __str__(self) -> str:
        top, last = self.best, self.points[-1]
        said = f"{self.extreme} {top.value:.6g} in version {top.number}" if top else "never a number"
        return f"{self.metric} of {self.model}: {said}, newest {last.value:.6g} in version {last.number}"

    @property
    def extreme(self) -> str:
        """What is better, in a word: ``highest`` or ``lowest``; nobody has told whether that is good."""
        return "highest" if self.mode == "max" else "lowest"

    @property
    def best(self) -> Point | None:
        """The best point, of equal ones the newer; None if all are NaN."""
        rows = [(place, point) for point in self.points if (place := rank(point.value, self.mode)) is not None]
        return max(rows, key=lambda row: (row[0], row[1].number))[1] if rows else None

    @property
    def best_so_far(self) -> tuple[float, ...]:
        """For each point the best value up to there; NaN before the first number."""
        found, so_far = math.nan, []
        for point in self.points:
            place = rank(point.value, self.mode)
            if place is not None and (math.isnan(found) or place > (found if self.mode == "max" else -found)):
                found = point.value
            so_far.append(found)
        return tuple(so_far)

    def standing(self) -> dict[str, int]:
        """The version that stands under each alias."""
        return {stay.alias: stay.number for stay in self.stays if stay.until is None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values; times as text in UTC."""
        rows = zip(self.points, self.best_so_far, strict=True)
        return {
            "model": self.model,
            "metric": self.metric,
            "mode": self.mode,
            "measured": self.measured,
            "versions": [
                {"version": one.number, "created": format_time(one.created), "value": one.value, "best_so_far": top}
                for one, top in rows
            ],
            "without": list(self.without),
            "stays": [
                {
                    "alias": stay.alias,
                    "version": stay.number,
                    "since": format_time(stay.since),
                    "until": format_time(stay.until) if stay.until else None,
                }
                for stay in self.stays
            ],
        }

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each point: version, created, value, best_so_far, and the aliases now.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        columns: dict[str, Any] = {name: [] for name in ("version", "created", "value", "best_so_far", "aliases")}
        now = self.standing()
        for point, top in zip(self.points, self.best_so_far, strict=True):
            aliases = tuple(sorted(alias for alias, number in now.items() if number == point.number))
            row = (point.number, point.created, point.value, top, aliases)
            for column, one in zip(columns.values(), row, strict=True):
                column.append(one)
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        from modelkeep import trendline
        from modelkeep.markup import facts, tag, view

        top, now = self.best, sorted(self.standing().items())
        said = {
            self.extreme: f"{top.value:.6g} in version {top.number}" if top else "never a number",
            "newest": f"{self.points[-1].value:.6g} in version {self.points[-1].number}",
            "aliases": ", ".join(f"{alias}: version {number}" for alias, number in now) or None,
            "without it": f"{len(self.without)} versions" if self.without else None,
        }
        line = trendline.line(str(self), [(point.number, point.value) for point in self.points], self.standing())
        return view(tag("p", f"{self.metric} of {self.model}"), line, facts(said))


def trend(line: Line, metric: str, mode: Mode, *, measured: bool) -> Trend:
    """See `RegisteredModel.trend`. The line was read; of `notes` and `releases` this reads what it needs."""
    check_mode(mode)
    check_text(metric, "metric")
    if measured:
        line.notes.refresh()
    gone = line.releases.state.deleted
    alive = [VersionFacts(line, number) for number in line.versions.state.lines if number not in gone]
    points, without = [], []
    for version in alive:
        value = _metrics(line, version, measured=measured).get(metric)
        if _is_number(value):
            points.append(Point(version.number, version.created, float(value)))
        else:
            without.append(version.number)
    if not points:
        raise _no_such(line.name, metric, (_metrics(line, version, measured=measured) for version in alive))
    return Trend(line.name, metric, mode, measured, tuple(points), tuple(without), tuple(_stays(line)))


def _metrics(line: Line, version: VersionFacts, *, measured: bool) -> dict[str, Any]:
    return mapping_from_json(line.notes.state.measured.get(version.number, {})) if measured else version.metrics


def _stays(line: Line) -> Iterable[Stay]:
    """Who stood where from when to when; as in the history, a slow clock cannot turn the order around."""
    began: dict[str, int] = {}  # the place in *stays* of what stands under each alias
    stays: list[Stay] = []
    latest = ""
    for entry, state, _ in line.releases.replay():
        latest = max(latest, entry.time)
        holders = {alias: stack[-1].number for alias, stack in state.stacks.items()}
        for alias in [alias for alias, place in began.items() if holders.get(alias) != stays[place].number]:
            place = began.pop(alias)
            stays[place] = attrs.evolve(stays[place], until=parse_time(latest))
        for alias, number in holders.items():
            if alias not in began:
                began[alias] = len(stays)
                stays.append(Stay(alias, number, parse_time(latest), None))
    return stays
