"""Retention: what the text of a policy means, and which versions go for which reason."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import InvalidValueError
from modelkeep.folds.releases import Holder, Releases
from modelkeep.folds.versions import Create, Line, Versions
from modelkeep.retention import Best, Retention, judge, parse
from modelkeep.system import format_time
from modelkeep.version import Place

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AT = Place(f"{'0' * 32}-0", 0, 1)
DAY = timedelta(days=1)


def days_ago(days: float) -> str:
    return format_time(NOW - days * DAY)


@attrs.define
class World:
    """A model, its versions by their ages in days, and all that rules look at."""

    ages: dict[int, float]
    labelled: set[int] = attrs.Factory(set)
    deleted: dict[int, float] = attrs.Factory(dict)
    purged: set[int] = attrs.Factory(set)
    held: set[int] = attrs.Factory(set)
    stacks: dict[str, list[int]] = attrs.Factory(dict)
    aliased: set[int] = attrs.Factory(set)
    tags: dict[int, dict[str, str]] = attrs.Factory(dict)
    metrics: dict[int, dict[str, Any]] = attrs.Factory(dict)
    asked: list[tuple[str, int]] = attrs.Factory(list)

    def versions(self, order: list[int] | None = None) -> Versions:
        lines = {}
        for number in order or self.ages:
            made = Create(number, "0" * 64, "0" * 64, AT, (AT.pack,), 1, "plain")
            label = f"1.0.{number}" if number in self.labelled else None
            lines[number] = Line(made, days_ago(self.ages[number]), "ada", AT, (AT.pack,), label)
        return Versions(True, lines, highest=max(self.ages, default=0))

    def releases(self) -> Releases:
        stacks = {
            alias: tuple(Holder(number, "0" * 64, AT, days_ago(0), "ada") for number in stack)
            for alias, stack in self.stacks.items()
        }
        deleted = {number: days_ago(age) for number, age in self.deleted.items()}
        return Releases(stacks, deleted, dict.fromkeys(self.purged, "rule"), set(self.held), set(self.aliased))

    def tags_of(self, number: int) -> Mapping[str, str]:
        self.asked.append(("tags", number))
        return self.tags.get(number, {})

    def metrics_of(self, number: int) -> Mapping[str, float]:
        self.asked.append(("metrics", number))
        return self.metrics.get(number, {})

    def gone(self, retention: Retention, order: list[int] | None = None) -> dict[int, str]:
        return judge(
            retention,
            self.versions(order),
            self.releases(),
            now=NOW,
            tags=self.tags_of,
            metrics=self.metrics_of,
        )


def world(count: int = 5, **facts: Any) -> World:
    """Versions 1 to *count*, the newest saved today, each a day older than the next."""
    return World({number: count - number for number in range(1, count + 1)}, **facts)


# -- the text ------------------------------------------------------------------------------------------------------

WHOLE = """
[retention]
last = 10
newer = "90 days"
labelled = false
aliased = false
best = [{ metric = "auc", count = 3 }, { metric = "loss", count = 1, lowest = true }]
tagged = ["audit", "team=risk"]
deleted = "30 days"
"""


def test_every_rule_is_read() -> None:
    assert parse(WHOLE, entry=7).of("churn") == Retention(
        last=10,
        newer=90 * DAY,
        labelled=False,
        aliased=False,
        best=(Best("auc", 3), Best("loss", 1, lowest=True)),
        tagged=("audit", "team=risk"),
        deleted=30 * DAY,
        entry=7,
    )


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1 minute", timedelta(minutes=1)),
        ("90 minutes", timedelta(minutes=90)),
        ("36 hours", timedelta(hours=36)),
        ("1 day", DAY),
        ("2 weeks", 14 * DAY),
        ("0 days", timedelta(0)),
        ("999999 weeks", timedelta(weeks=999_999)),
    ],
)
def test_times_are_minutes_hours_days_or_weeks(text: str, span: timedelta) -> None:
    found = parse(f'[retention]\nnewer = "{text}"\ndeleted = "{text}"').of("churn")
    assert found is not None
    assert (found.newer, found.deleted) == (span, span)


def test_a_text_without_rules_covers_no_model() -> None:
    for text in ("", "# nothing yet", "[retention]", '[retention.models."a"]\nlast = 1'):
        assert parse(text).of("churn") is None


def test_the_first_pattern_that_fits_counts_and_inherits_nothing() -> None:
    rules = parse(
        '[retention]\nlast = 1\ndeleted = "1 day"\n[retention.models."b*"]\nlast = 2\n'
        '[retention.models."bc"]\nlast = 3\n'
        '[retention.models."?"]\n[retention.models."A*"]\nlast = 4\n'
    )
    assert rules.of("bc") == Retention(last=2)
    assert rules.of("x") == Retention()
    assert rules.of("AB") == Retention(last=4)
    assert rules.of("ab") == Retention(last=1, deleted=DAY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("last = 10", r"the policy has 'last', which is unknown; known: retention"),
        ("[retain]\nlast = 10", r"'retain', which is unknown; known: retention"),
        ("[retention]\nlst = 10", r"\[retention\] has 'lst', .*known: last, newer, .*deleted, models"),
        ('[retention."churn-*"]\nlast = 1', r"\[retention\] has 'churn-\*', .*models"),
        ('[retention.models."a"]\nlst = 1', r'\[retention.models."a"\] has \'lst\', which is unknown; known: last'),
        ('[retention.models."a".models."b"]\nlast = 1', r"has 'models', which is unknown"),
        ('[retention.models.""]\nlast = 1', r"give a pattern of names"),
        ("retention = 7", r"retention is 7; give a table \[retention\]"),
        ("[retention]\nmodels = []", r"retention.models is \[\]; give a table"),
        ("[retention.models]\nchurn = 3", r'retention.models."churn" is 3; give a table'),
        ("[retention]\nlast = 0", "retention.last is 0; give a whole number from 1 to"),
        ("[retention]\nlast = true", "retention.last is True"),
        ("[retention]\nlast = 2.0", "retention.last is 2.0"),
        ('[retention]\nnewer = "90"', "retention.newer is '90'; give a number of minutes, hours, days or weeks"),
        ('[retention]\nnewer = "90 dayss"', "retention.newer is '90 dayss'"),
        ('[retention]\nnewer = "-1 days"', "retention.newer is '-1 days'"),
        ('[retention]\nnewer = "1000000 weeks"', "retention.newer"),
        ('[retention]\nnewer = "٣ days"', "retention.newer"),
        ("[retention]\ndeleted = 30", "retention.deleted is 30"),
        ('[retention]\nlabelled = "yes"', "retention.labelled is 'yes'; give true or false"),
        ("[retention]\naliased = 1", "retention.aliased is 1; give true or false"),
        ('[retention]\ntagged = "audit"', "retention.tagged is 'audit'; give a list of tags"),
        ('[retention]\ntagged = [""]', "retention.tagged is ''; give a text that is not empty"),
        ('[retention]\nbest = "auc"', "retention.best is 'auc'; give a list such as"),
        ('[retention]\nbest = ["auc"]', "retention.best is"),
        ("[retention]\nbest = [{ count = 3 }]", "retention.best.metric is None; give a text"),
        ('[retention]\nbest = [{ metric = "auc" }]', "retention.best.count is None; give a whole number"),
        ('[retention]\nbest = [{ metric = "auc", count = 0 }]', "retention.best.count is 0"),
        ('[retention]\nbest = [{ metric = "auc", count = 1, lowest = 1 }]', "retention.best.lowest is 1; give true"),
        ('[retention]\nbest = [{ metric = "auc", count = 1, low = true }]', "retention.best has 'low'.* lowest"),
        ("[retention]\nlast = 1\n\nlast 2", "the policy is no TOML: .*line 4"),
        ("[retention]\nlast = 1\nlast = 2", "the policy is no TOML: .*overwrite"),
        ("[retention", "the policy is no TOML"),
        (f"[retention]\nlast = 0x{'f' * 5000}", "retention.last is too long to show; give a whole number"),
        ("[retention]\nlast = 1000001", "retention.last is 1000001; give a whole number from 1 to 1,000,000"),
        (f"[retention]\nlast = {'9' * 5000}", "the policy is no TOML"),
        ("a = " + "[" * 60_000, "the policy is no TOML"),
        ("[retention]\nlast = 1 # \ud800", "not valid Unicode"),
    ],
)
def test_a_text_that_says_something_else_is_refused_with_what_belongs_there(text: str, said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(f"[retention]\n{text}")
    except InvalidValueError as error:
        wrong = str(error)
        assert "retention" in wrong or "the policy" in wrong
    else:
        assert (found.common is None) == all(line.strip()[:1] in ("", "#") for line in text.splitlines())


# -- each rule -----------------------------------------------------------------------------------------------------


def test_the_newest_are_kept() -> None:
    why = "not among the newest 2, no label, never under an alias"
    assert world().gone(Retention(last=2)) == {1: why, 2: why, 3: why}


def test_deleted_versions_do_not_count_among_the_newest() -> None:
    found = world(deleted={5: 0, 4: 0}).gone(Retention(last=2))
    assert set(found) == {1, 4, 5}
    assert found[5] == "deleted, not among the newest 2, no label, never under an alias"


def test_what_was_saved_within_the_time_is_kept_to_the_very_moment() -> None:
    found = World({1: 120, 2: 90.001, 3: 90, 4: 1}).gone(Retention(newer=90 * DAY))
    assert found == {
        1: "saved 120 days ago (older than 90 days), no label, never under an alias",
        2: "saved 90 days ago (older than 90 days), no label, never under an alias",
    }


def test_a_slow_clock_does_not_make_a_version_look_old() -> None:
    assert set(World({1: 5, 2: 400, 3: 5, 4: 0}).gone(Retention(newer=30 * DAY))) == set()


def test_a_version_from_the_future_is_young() -> None:
    assert World({1: -400, 2: 0, 3: 0}).gone(Retention(newer=DAY)) == {}


def test_what_has_a_label_is_kept_unless_the_rule_is_off() -> None:
    labels = {1, 2}
    assert set(world(labelled=labels).gone(Retention(last=1))) == {3, 4}
    assert world(labelled=labels).gone(Retention(last=1, labelled=False, aliased=False))[1] == "not among the newest 1"


def test_what_ever_stood_under_an_alias_is_kept_unless_the_rule_is_off() -> None:
    assert set(world(aliased={2}).gone(Retention(last=1))) == {1, 3, 4}
    assert set(world(aliased={2}).gone(Retention(last=1, aliased=False))) == {1, 2, 3, 4}


def test_the_best_are_kept_and_of_equals_the_newer() -> None:
    metrics = {1: {"auc": 0.9}, 2: {"auc": 0.8}, 3: {"auc": 0.8}, 4: {"auc": 0.7}}
    found = world(metrics=metrics).gone(Retention(best=(Best("auc", 2),)))
    assert found == dict.fromkeys((2, 4), "no label, never under an alias, not among the best 2 by auc")


def test_the_lowest_are_kept_where_lower_is_better_and_of_equals_the_newer() -> None:
    metrics = {1: {"loss": 3}, 2: {"loss": 1}, 3: {"loss": 1}, 4: {"loss": 2.5}}
    found = world(metrics=metrics).gone(Retention(best=(Best("loss", 1, lowest=True),), labelled=False, aliased=False))
    assert found == dict.fromkeys((1, 2, 4), "not among the best 1 by loss (lowest)")


def test_a_version_is_kept_that_is_among_the_best_by_any_metric() -> None:
    metrics = {1: {"auc": 1, "loss": 9}, 2: {"auc": 0, "loss": 0}, 3: {"auc": 0.5, "loss": 5}}
    best = (Best("auc", 1), Best("loss", 1, lowest=True))
    assert world(metrics=metrics).gone(Retention(best=best, labelled=False, aliased=False)) == dict.fromkeys(
        (3, 4), "not among the best 1 by auc, not among the best 1 by loss (lowest)"
    )


def test_what_lacks_the_metric_or_has_nan_or_no_number_is_not_among_the_best() -> None:
    metrics: dict[int, dict[str, Any]] = {
        1: {"auc": float("nan")},
        2: {},
        3: {"auc": "high"},
        4: {"auc": -float("inf")},
    }
    for lowest in (False, True):
        best = (Best("auc", 4, lowest),)
        assert set(world(metrics=metrics).gone(Retention(best=best))) == {1, 2, 3}


def test_a_metric_that_no_version_has_lets_nothing_go() -> None:
    metrics = {1: {"auc": 0.9}, 2: {"auc": 0.8}}
    assert world(metrics=metrics).gone(Retention(best=(Best("acu", 1),), labelled=False, aliased=False)) == {}
    assert set(world(metrics=metrics).gone(Retention(best=(Best("auc", 1),)))) == {2, 3, 4}


def test_deleted_versions_are_not_among_the_best() -> None:
    metrics = {1: {"auc": 1.0}, 2: {"auc": 0.9}, 3: {"auc": 0.8}}
    found = world(metrics=metrics, deleted={1: 0}).gone(Retention(best=(Best("auc", 1),)))
    assert set(found) == {1, 3, 4}


def test_what_bears_a_tag_or_a_tag_with_that_text_is_kept() -> None:
    tags = {1: {"audit": "2025"}, 2: {"team": "risk"}, 3: {"team": "growth"}, 4: {"a=b": "c"}}
    found = world(6, tags=tags).gone(Retention(tagged=("audit", "team=risk", "a=b=c"), labelled=False, aliased=False))
    assert found == dict.fromkeys((3, 5), "not tagged audit or team=risk or a=b=c")


def test_a_deleted_version_goes_after_its_time_whatever_other_rules_say() -> None:
    facts: dict[str, Any] = {"deleted": {1: 45, 2: 31, 3: 30}, "labelled": {1, 3}, "aliased": {1, 2, 3}}
    assert world(**facts).gone(Retention(last=9, newer=999 * DAY, deleted=30 * DAY)) == {
        1: "deleted 45 days ago (longer than 30 days)",
        2: "deleted 31 days ago (longer than 30 days)",
    }


def test_before_its_time_a_deleted_version_stays_whatever_other_rules_say() -> None:
    facts: dict[str, Any] = {"deleted": {1: 1, 2: 1}, "labelled": {1}}
    assert world(**facts).gone(Retention(last=5, deleted=30 * DAY)) == {}
    assert world(**facts).gone(Retention(last=5)) == {
        2: "deleted, not among the newest 5, no label, never under an alias"
    }


def test_without_a_rule_that_selects_only_deleted_versions_go() -> None:
    facts: dict[str, Any] = {"deleted": {1: 45, 2: 1}}
    for labelled in (True, False):
        keeping = Retention(labelled=labelled, aliased=labelled)
        assert world(**facts).gone(keeping) == {}
        assert set(world(**facts).gone(attrs.evolve(keeping, deleted=30 * DAY))) == {1}


def test_all_keeping_rules_are_named_in_the_order_in_which_they_were_tried() -> None:
    metrics = {5: {"auc": 1.0}, 4: {"auc": 1.0}, 3: {"auc": 1.0}}
    ages: dict[int, float] = {1: 120, 2: 2, 3: 1, 4: 1, 5: 1}
    retention = Retention(last=1, newer=90 * DAY, best=(Best("auc", 3),), tagged=("audit",))
    assert World(ages, metrics=metrics).gone(retention) == {
        1: "not among the newest 1, saved 120 days ago (older than 90 days), no label, never under an alias, "
        "not among the best 3 by auc, not tagged audit"
    }


@pytest.mark.parametrize(
    ("age", "limit", "said"),
    [
        (timedelta(minutes=1, seconds=59), timedelta(0), "1 minute ago (older than 0 days)"),
        (timedelta(minutes=119), timedelta(minutes=90), "119 minutes ago (older than 90 minutes)"),
        (timedelta(hours=47), DAY, "47 hours ago (older than 1 day)"),
        (timedelta(hours=48), timedelta(hours=1), "2 days ago (older than 1 hour)"),
        (timedelta(days=15), timedelta(weeks=2), "15 days ago (older than 14 days)"),
        (timedelta(hours=101), timedelta(hours=100), "4 days ago (older than 100 hours)"),
    ],
)
def test_ages_are_rounded_down_and_limits_are_told_as_they_are(age: timedelta, limit: timedelta, said: str) -> None:
    found = World({1: age / DAY, 2: 0}).gone(Retention(newer=limit, labelled=False, aliased=False))
    assert found == {1: f"saved {said}"}


# -- what never goes -----------------------------------------------------------------------------------------------


def test_what_is_held_stands_on_a_stack_is_newest_or_purged_never_goes() -> None:
    everything = world(8, held={1}, stacks={"production": [2, 3]}, deleted={5: 99, 8: 99, 6: 99}, purged={5})
    strict = Retention(last=1, newer=timedelta(0), labelled=False, aliased=False, deleted=timedelta(0))
    assert set(everything.gone(strict)) == {4, 6, 8}  # 7 is the newest that is not deleted


def test_a_held_version_stays_although_it_was_deleted_long_ago() -> None:
    assert world(held={1}, deleted={1: 99}).gone(Retention(deleted=DAY)) == {}


def test_of_a_model_without_versions_nothing_goes() -> None:
    assert World({}).gone(Retention(last=1, best=(Best("auc", 1),))) == {}


# -- what is asked for ---------------------------------------------------------------------------------------------


def test_tags_are_asked_only_about_what_no_other_rule_keeps() -> None:
    some = world(8, labelled={1}, held={2}, aliased={3}, metrics={4: {"auc": 1.0}}, deleted={5: 1, 6: 99})
    retention = Retention(last=1, tagged=("audit",), best=(Best("auc", 1),), deleted=30 * DAY)
    some.gone(retention)
    assert [number for what, number in some.asked if what == "tags"] == [7]


def test_metrics_are_asked_once_about_all_that_are_not_deleted() -> None:
    some = world(deleted={2: 1, 3: 1}, purged={3})
    some.gone(Retention(best=(Best("auc", 1), Best("loss", 1))))
    assert some.asked == [("metrics", 1), ("metrics", 4), ("metrics", 5)]


def test_nothing_is_asked_where_other_rules_keep_everything() -> None:
    some = world()
    assert some.gone(Retention(last=5, best=(Best("auc", 1),), tagged=("audit",))) == {}
    assert some.asked == []


def test_a_retention_tells_what_it_will_look_at() -> None:
    assert not Retention(last=1, best=(Best("auc", 1),)).by_age
    assert Retention(newer=DAY).by_age
    assert Retention(deleted=DAY).by_age
    assert Retention(tagged=("audit",)).needs_tags
    assert not Retention(newer=DAY).needs_tags
    assert not Retention(deleted=DAY).selects


# -- for all worlds ------------------------------------------------------------------------------------------------

NUMBERS = st.sets(st.integers(1, 12))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(0, 12))
    some = NUMBERS.map(lambda found: {number for number in found if number <= count})
    deleted = draw(some)
    purged = {number for number in draw(some) if number in deleted}
    auc = st.one_of(st.integers(0, 3), st.floats())
    return World(
        {number: draw(st.floats(-1, 100)) for number in range(1, count + 1)},
        labelled=draw(some),
        deleted={number: draw(st.floats(-1, 100)) for number in deleted},
        purged=purged,
        held=draw(some) - purged,
        stacks={"production": sorted(draw(some) - deleted)},
        aliased=draw(some),
        tags={number: {"audit": "x"} for number in draw(some)},
        metrics={number: {"auc": draw(auc)} for number in draw(some)},
    )


SPANS = st.floats(0, 100).map(lambda days: days * DAY)
BESTS = st.builds(Best, st.just("auc"), st.integers(1, 5), st.booleans())
KEEPING: dict[str, st.SearchStrategy[Any]] = {
    "last": st.integers(1, 12),
    "newer": SPANS,
    "labelled": st.just(value=True),
    "aliased": st.just(value=True),
    "best": st.lists(BESTS, min_size=1, max_size=2).map(tuple),
    "tagged": st.just(("audit",)),
}


@st.composite
def retentions(draw: st.DrawFn) -> Retention:
    given_rules = {key: draw(values) for key, values in KEEPING.items() if draw(st.booleans())}
    deleted = draw(st.none() | SPANS)
    return Retention(**{"labelled": False, "aliased": False, **given_rules}, deleted=deleted)


@given(worlds(), retentions())
def test_whatever_the_rules_say_what_must_stay_stays(some: World, retention: Retention) -> None:
    gone = set(some.gone(retention))
    alive = set(some.ages) - set(some.deleted)
    assert gone <= set(some.ages)
    assert not gone & (some.held | some.purged | set(some.stacks["production"]) | {max(alive, default=0)})
    if not retention.selects:
        assert gone <= set(some.deleted)


@given(worlds(), retentions(), st.sampled_from(sorted(KEEPING)), st.data())
def test_one_more_keeping_rule_never_makes_more_go(
    some: World, retention: Retention, key: str, data: st.DataObject
) -> None:
    before = some.gone(retention)
    added = data.draw(KEEPING[key])
    if key in ("best", "tagged"):
        added = getattr(retention, key) + added
    elif key in ("last", "newer") and getattr(retention, key) is not None:
        added = max(added, getattr(retention, key))
    more = attrs.evolve(retention, **{key: added})
    if retention.selects:  # the first that selects lets go what nothing told apart before
        assert set(some.gone(more)) <= set(before)


@given(worlds(), retentions(), st.integers(1, 5))
def test_raising_what_a_rule_keeps_never_makes_more_go(some: World, retention: Retention, by: int) -> None:
    raised = attrs.evolve(
        retention,
        last=retention.last and retention.last + by,
        newer=None if retention.newer is None else retention.newer + by * DAY,
        best=tuple(attrs.evolve(best, count=best.count + by) for best in retention.best),
        deleted=None if retention.deleted is None else retention.deleted + by * DAY,
    )
    assert set(some.gone(raised)) <= set(some.gone(retention))


@given(worlds(), retentions(), st.randoms(use_true_random=False))
def test_the_judgement_is_the_same_in_whatever_order_the_versions_lie(
    some: World, retention: Retention, chance: random.Random
) -> None:
    order = list(some.ages)
    chance.shuffle(order)
    found = some.gone(retention, order)
    assert list(found.items()) == list(some.gone(retention).items())
    assert list(found) == sorted(found)


@given(worlds(), retentions())
def test_what_goes_has_a_reason(some: World, retention: Retention) -> None:
    assert all(some.gone(retention).values())
