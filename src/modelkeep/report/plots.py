"""The section of metrics: values, their way over the versions of the model, and the curves of the run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from modelkeep.curves import Curve
from modelkeep.errors import ModelkeepError
from modelkeep.markup import Child, tag
from modelkeep.report.tables import named, number, rows
from modelkeep.sketches import MOST, Series, line_chart
from modelkeep.telling import Told, in_words
from modelkeep.values import mapping_from_json

_MOST_CHARTS = 8  # of one kind
_MOST_VERSIONS = 1000  # the newest, in a chart


def metrics(told: Told) -> Child:
    """Metrics as a table, over the versions of the model, and by step."""
    at_save, later = told.version.metrics, told.measured
    charts = list(_over_versions(told, [*at_save, *(name for name in later if name not in at_save)]))
    curves = _by_step(told)
    shown = [
        named("metric", at_save),
        rows(["measured since", "value"], [[name, number(value)] for name, value in later.items()]),
        tag("div", charts, class_="sketches") if charts else None,
        curves,
    ]
    return shown if any(part is not None for part in shown) else None


def _over_versions(told: Told, names: Iterable[str]) -> Iterator[Element]:
    """A chart for each metric that other versions have, too."""
    line = told.version._line  # noqa: SLF001  the versions beside it
    line.read()
    hidden = line.releases.state.deleted.keys() - {told.version.number}
    kept = [known.made for n, known in line.versions.state.lines.items() if n not in hidden][-_MOST_VERSIONS:]
    by_version = {made.number: mapping_from_json(made.metrics or {}) for made in kept}
    by_version[told.version.number] = {**told.version.metrics, **told.measured}
    for name in list(names)[:_MOST_CHARTS]:
        points = {n: float(found[name]) for n, found in by_version.items() if _is_number(found.get(name))}
        if len(points) > 1:
            chart = line_chart(
                [Series(name, list(points), list(points.values()))],
                x="version",
                y=name,
                marks={told.version.number: f"version {told.version.number}"},
            )
            yield from () if chart is None else (chart,)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 1 << 1000)  # what floats can hold


def _by_step(told: Told) -> Child:
    try:
        history = told.version.history
    except ModelkeepError as error:
        return tag("p", f"There are curves, which cannot be read: {error}", class_="bad")
    charts = [chart for name, curves in _together(history).items() if (chart := _chart(name, curves)) is not None]
    if not charts:
        return None
    left_out = len(charts) - _MOST_CHARTS
    more = tag("p", f"and {left_out:,} charts more", class_="soft") if left_out > 0 else None
    return [tag("h3", "By step"), tag("div", charts[:_MOST_CHARTS], class_="sketches"), more, _ends(history)]


def _together(history: Mapping[str, Curve]) -> dict[str, list[tuple[str, Curve]]]:
    """The curves by what they measure: what follows the last of / . _ - in the name, as in ``val_loss``."""
    found: dict[str, list[tuple[str, Curve]]] = {}
    for name, curve in history.items():
        found.setdefault(re.split(r"[/._-]", name)[-1] or name, []).append((name, curve))
    return found


def _chart(name: str, curves: list[tuple[str, Curve]]) -> Element | None:
    series = [Series(own, curve.step.tolist(), curve.value.tolist()) for own, curve in curves[: MOST + 1]]
    return line_chart(series, x="step", y=name)


def _ends(history: Mapping[str, Curve]) -> Child:
    """What a line cannot show: how many points there are, and what the last one is, a number or not."""
    listed: list[list[Child]] = [[name, len(curve), in_words(curve.last)] for name, curve in history.items()]
    return rows(["curve", "points", "last value"], listed)
