"""Which versions a policy lets go, and why: pure, over folded journals and one moment. See `reference/policy.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import attrs

from modelkeep.folds.releases import Releases
from modelkeep.folds.versions import Versions
from modelkeep.layout import is_dataset
from modelkeep.policytext import TOP, Said, read
from modelkeep.system import parse_time

Tags = Callable[[int], Mapping[str, str]]
Metrics = Callable[[int], Mapping[str, float]]
_Rule = Callable[[int], str | None]  # why it does not keep the version of that number; None: it does


@attrs.frozen
class Best:
    """Keep the *count* versions whose *metric* is highest, or *lowest*."""

    metric: str
    count: int
    lowest: bool = False

    def __str__(self) -> str:
        return f"{self.count} by {self.metric}{' (lowest)' if self.lowest else ''}"

    def among(self, measured: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """The numbers of the best; a version without the metric is not among them, and ties go to the newer one."""
        found = [(facts[self.metric], number) for number, facts in measured.items() if _is_number(facts, self.metric)]
        if self.lowest:
            found.sort(key=lambda row: (row[0], -row[1]))
        else:
            found.sort(reverse=True)
        return {number for _, number in found[: self.count]}


def _is_number(facts: Mapping[str, Any], metric: str) -> bool:
    value = facts.get(metric)
    return isinstance(value, (int, float)) and value == value  # noqa: PLR0124  NaN is the one that is not


@attrs.frozen
class Retention:
    """What keeps versions of a model from being purged. A version stays if any rule keeps it.

    Args:
        last: keep so many of the newest that are not deleted.
        newer: keep what was saved within this time.
        labelled: keep what has a label.
        aliased: keep what ever stood under an alias.
        best: keep the best by a metric, of those that are not deleted.
        tagged: keep what bears a tag (``audit``), or a tag with this text (``team=risk``).
        deleted: let versions go this long after they were deleted, and not before, whatever the other rules say.
        entry: the number of the policy's entry; 0: none.
    """

    last: int | None = None
    newer: timedelta | None = None
    labelled: bool = True
    aliased: bool = True
    best: tuple[Best, ...] = ()
    tagged: tuple[str, ...] = ()
    deleted: timedelta | None = None
    entry: int = 0

    @property
    def by_age(self) -> bool:
        """Whether a rule looks at the time."""
        return self.newer is not None or self.deleted is not None

    @property
    def needs_tags(self) -> bool:
        """Whether a rule looks at tags."""
        return bool(self.tagged)

    @property
    def selects(self) -> bool:
        """Whether a rule tells versions apart that are not deleted; without one these all stay."""
        return self.last is not None or self.newer is not None or bool(self.best or self.tagged)


@attrs.frozen
class Rules:
    """The retention rules of a policy.

    Args:
        common: those for models that no pattern fits, if there are any.
        models: those for some models, each with its pattern, in the order of the text.
    """

    common: Retention | None
    models: tuple[tuple[str, Retention], ...] = ()

    def of(self, name: str) -> Retention | None:
        """The rules for the line *name*; None if none cover it.

        A dataset is covered by a pattern that begins with ``datasets/`` alone: rules that were written for models, such
        as those for ``*``, must not take the data away that versions were made from.
        """
        patterns = [(pattern, found) for pattern, found in self.models if is_dataset(pattern) == is_dataset(name)]
        common = None if is_dataset(name) else self.common
        return next((found for pattern, found in patterns if fnmatchcase(name, pattern)), common)


# -- reading the text ----------------------------------------------------------------------------------------------


def parse(text: str, *, entry: int = 0) -> Rules:
    r"""Read what the TOML of a policy says of retention.

    Args:
        text: see `reference/policy.md`.
        entry: the number of the policy's entry that holds it.

    Raises:
        InvalidValueError: it cannot be read, or says something unknown; quotes it and says what belongs there, with
            line and column.

    Example:
        >>> rules = parse('[retention]\nlast = 10\n[retention.models."demo-*"]\nnewer = "2 days"')
        >>> rules.of("churn").last, rules.of("demo-1").last
        (10, None)
    """
    top = read(text).table(TOP).get("retention")
    if top is None:
        return Rules(None)
    table = top.table((*_READ, "models"))
    models = table.pop("models", None)
    found = [(own.pattern(), _retention(own.table(tuple(_READ)), entry)) for own in _each(models)]
    return Rules(_retention(table, entry) if table else None, tuple(found))


def _each(models: Said | None) -> Iterable[Said]:
    return () if models is None else models.table().values()


def _retention(table: Mapping[str, Said], entry: int) -> Retention:
    return Retention(**{key: _READ[key](said) for key, said in table.items()}, entry=entry)


def _tagged(said: Said) -> tuple[str, ...]:
    return tuple(tag.words() for tag in said.listed('a list of tags, such as ["audit", "team=risk"]'))


def _bests(said: Said) -> tuple[Best, ...]:
    wanted = 'a list such as [{ metric = "auc", count = 3 }]'
    listed = said.listed(wanted)
    if not all(isinstance(one.value, dict) for one in listed):
        raise said.wrong(wanted)
    return tuple(_best(one) for one in listed)


def _best(said: Said) -> Best:
    said.table(("metric", "count", "lowest"))
    lowest = said.key("lowest")
    return Best(said.key("metric").words(), said.key("count").count(), lowest.value is not None and lowest.truth())


_READ: dict[str, Callable[[Said], Any]] = {
    "last": Said.count,
    "newer": Said.span,
    "labelled": Said.truth,
    "aliased": Said.truth,
    "best": _bests,
    "tagged": _tagged,
    "deleted": Said.span,
}


# -- judging -------------------------------------------------------------------------------------------------------


def judge(
    retention: Retention, versions: Versions, releases: Releases, *, now: datetime, tags: Tags, metrics: Metrics
) -> dict[int, str]:
    """Which versions go, each with why, in words.

    Never: what is held, what stands on an alias stack, the newest version that is not deleted, what is purged already.

    Args:
        retention: the rules.
        versions: what exists, folded.
        releases: what is in use, folded.
        now: the moment by which ages are measured.
        tags: the tags of a version; asked only about versions that no other rule keeps.
        metrics: the metrics of a version; asked about all that are not deleted, if a rule needs them.
    """
    numbers = sorted(versions.lines)
    alive = [number for number in numbers if number not in releases.deleted and number not in releases.purged]
    safe = {*releases.held, *releases.stacked(), *releases.purged, *alive[-1:]}
    open_ = [number for number in numbers if number not in safe]
    gone = dict(_long_deleted(retention, releases, open_, now))
    if retention.selects:
        apart = releases.deleted if retention.deleted is not None else {}  # there is time to restore them
        rest = [number for number in open_ if number not in apart]
        gone.update(_unkept(_rules(retention, versions, releases, alive, now, tags, metrics), rest, releases))
    return {number: gone[number] for number in sorted(gone)}


def _long_deleted(
    retention: Retention, releases: Releases, numbers: Sequence[int], now: datetime
) -> Iterator[tuple[int, str]]:
    limit = retention.deleted
    if limit is None:
        return
    for number in releases.deleted.keys() & set(numbers):
        age = now - parse_time(releases.deleted[number])
        if age > limit:
            yield number, f"deleted {_age(age)} ago (longer than {_span_text(limit)})"


def _unkept(rules: Iterator[_Rule], numbers: Sequence[int], releases: Releases) -> dict[int, str]:
    """The versions that no rule keeps; a rule is asked only about what those before it leave."""
    whys: dict[int, list[str]] = {number: ["deleted"] if number in releases.deleted else [] for number in numbers}
    while whys and (rule := next(rules, None)):
        for number in tuple(whys):
            why = rule(number)
            if why is None:
                del whys[number]
            else:
                whys[number].append(why)
    return {number: ", ".join(why) for number, why in whys.items()}


def _rules(
    retention: Retention,
    versions: Versions,
    releases: Releases,
    alive: Sequence[int],
    now: datetime,
    tags: Tags,
    metrics: Metrics,
) -> Iterator[_Rule]:
    """The rules, those that cost nothing first: metrics may need a read, tags surely do."""
    if retention.last is not None:
        yield _unless(set(alive[-retention.last :]), f"not among the newest {retention.last}")
    if retention.newer is not None:
        yield _older(versions, retention.newer, now)
    if retention.labelled:
        yield _unless({number for number, line in versions.lines.items() if line.label is not None}, "no label")
    if retention.aliased:
        yield _unless(releases.aliased, "never under an alias")
    if retention.best:
        measured = {number: metrics(number) for number in alive}
        for best in retention.best:
            among = best.among(measured)
            # a slip of the pen, or a metric that nothing has yet, must not let all of them go
            yield _unless(among or set(versions.lines), f"not among the best {best}")
    if retention.tagged:
        wanted = " or ".join(retention.tagged)
        yield lambda number: None if _bears(retention.tagged, tags(number)) else f"not tagged {wanted}"


def _unless(kept: set[int], why: str) -> _Rule:
    return lambda number: None if number in kept else why


def _older(versions: Versions, limit: timedelta, now: datetime) -> _Rule:
    """Ages are those of the latest time so far: a slow clock does not make a version look old."""
    saved: dict[int, str] = {}
    latest = ""
    for number in sorted(versions.lines):
        saved[number] = latest = max(latest, versions.lines[number].time)

    def why(number: int) -> str | None:
        age = now - parse_time(saved[number])
        return f"saved {_age(age)} ago (older than {_span_text(limit)})" if age > limit else None

    return why


def _bears(wanted: Sequence[str], tags: Mapping[str, str]) -> bool:
    borne = {*tags, *(f"{name}={text}" for name, text in tags.items())}
    return not borne.isdisjoint(wanted)


def _age(span: timedelta) -> str:
    """A span in the largest unit that it has two of, rounded down."""
    minutes = span // timedelta(minutes=1)
    for size, unit in ((24 * 60, "days"), (60, "hours")):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _span_text(span: timedelta) -> str:
    """A span in the largest unit that measures it without a rest: a limit is told as it is, not rounded."""
    minutes = span // timedelta(minutes=1)
    size, unit = next((s, u) for s, u in ((24 * 60, "day"), (60, "hour"), (1, "minute")) if minutes % s == 0)
    return f"{minutes // size} {unit}{'' if minutes == size else 's'}"
