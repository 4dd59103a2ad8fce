"""What the text of a policy asks of promotions: every rule is read, and what is wrong is refused with its place."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.digest import digest
from modelkeep.errors import InvalidValueError
from modelkeep.gatepolicy import (
    FIELDS,
    PLAIN,
    Asked,
    Custom,
    Latency,
    Margin,
    Plain,
    Size,
    Threshold,
    parse,
)
from modelkeep.registry import Registry
from modelkeep.retention import parse as parse_retention

WHOLE = """
[retention]
last = 10

[models."churn*"]
risk = "high"
stages = ["staging", "shadow", "production"]

[models."churn*".aliases.production]
requires = ["dataset", "description", "golden", "signature"]
reviewers = ["ada", "ben", "cleo"]
approvals = 2
by_author = true
gates = [
  "golden", "signature", "environment", "no overlap",
  { metric = "auc", least = 0.9, most = 1 },
  { metric = "auc", margin = 0.002 },
  { metric = "loss", margin = 0, lowest = true },
  { metric = "f1", margin = 0.01, paired = true },
  { latency = "20 ms" },
  { latency = "1.5 s" },
  { size = "50 MB" },
  { custom = "fairness", groups = ["a", "b"], least = 0.8 },
]

[models."*".aliases.staging]
gates = ["golden"]
"""
ASKS = '[models."churn*".aliases.production]\n'


def test_every_rule_is_read() -> None:
    assert parse(WHOLE, entry=3).of("churn-eu", "production") == Asked(
        alias="production",
        gates=(
            *map(Plain, PLAIN),
            Threshold("auc", 0.9, 1.0),
            Margin("auc", 0.002),
            Margin("loss", 0.0, lowest=True),
            Margin("f1", 0.01, paired=True),
            Latency(timedelta(milliseconds=20)),
            Latency(timedelta(seconds=1.5)),
            Size(50_000_000),
            Custom("fairness", {"groups": ["a", "b"], "least": 0.8}),
        ),
        requires=("dataset", "description", "golden", "signature"),
        reviewers=("ada", "ben", "cleo"),
        approvals=2,
        by_author=True,
        after="shadow",
        risk="high",
        entry=3,
        digest=digest(WHOLE.encode()),
    )


def test_the_first_pattern_that_fits_counts_and_inherits_nothing() -> None:
    rules = parse(WHOLE)
    assert rules.of("churn", "staging") is None  # the first of its stages, and nothing else is said
    asked = rules.of("risk", "staging")
    assert asked is not None
    assert asked.gates == (Plain("golden"),)
    assert rules.of("risk", "production") is None


def test_a_stage_without_a_table_asks_for_the_one_before() -> None:
    asked = parse(WHOLE).of("churn", "shadow")
    assert asked is not None
    assert (asked.after, asked.gates, asked.approvals) == ("staging", (), 0)


def test_datasets_are_promoted_as_they_are() -> None:
    assert parse(ASKS.replace("churn*", "*")).of("datasets/sales", "production") is None
    with pytest.raises(InvalidValueError, match="about datasets"):
        parse('[models."datasets/*".aliases.golden]')


def test_reviewers_without_a_number_are_one_and_approvals_without_reviewers_anybodys() -> None:
    one = parse(f'{ASKS}reviewers = ["ada", "ben"]').of("churn", "production")
    anybody = parse(f"{ASKS}approvals = 2").of("churn", "production")
    assert one is not None
    assert anybody is not None
    assert (one.approvals, anybody.approvals, anybody.reviewers) == (1, 2, ())


def test_an_older_text_asks_nothing_and_each_part_is_read_for_itself() -> None:
    assert parse("[retention]\nlast = 3").models == ()
    assert parse("[retention]\nnonsense = 3").models == ()
    common = parse_retention(WHOLE).common
    assert common is not None
    assert common.last == 10
    assert parse_retention("[models]\nchurn = 3").common is None


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("[models\n", 1, 8, "no TOML"),
        ("models = [\n1,\n 2", 3, 3, r"no TOML: Unclosed array \(at line 3, column 3, the end\)"),
        ("a = 1", 1, 1, "the policy has 'a', which is unknown; known: retention, models"),
        ("models = 3", 1, 1, "models is 3; give a table"),
        ('[models."c"]\n risk = "High"', 2, 2, "risk is 'High'; give a word"),
        ('[models."c"]\ngates = []', 2, 1, r"\[models.\"c\"\] has 'gates', which is unknown; known: risk, stages"),
        ('[models."c"]\nstages = ["a",\n  "b", "a"]', 2, 1, "none twice"),
        ('[models."c"]\nstages = ["a",\n  "b/c"]', 3, 3, "alias"),
        ('[models."c"]\nstages = []', 2, 1, "from 1 to 100"),
        ('[models.""]', 1, 9, "a pattern of names"),
        ('[models."c".aliases.ok]\n[models."c".aliases."a/b"]', 2, 21, "alias"),
        (f"{ASKS}gate = []", 2, 1, "'gate', which is unknown; known: gates, requires, reviewers, approvals, by_author"),
        (f'{ASKS}gates = "golden"', 2, 1, "a list such as"),
        (f'{ASKS}gates = ["golden",\n"silver"]', 3, 1, "'silver'; give a list such as"),
        (f'{ASKS}gates = [{{ metric = "auc" }}]', 2, 10, "least, most or both; or margin"),
        (f'{ASKS}gates = [{{ metric = "auc", least = nan }}]', 2, 28, "least is nan; give a number"),
        (f'{ASKS}gates = [{{ metric = "auc", least = inf }}]', 2, 28, "least is inf; give a number"),
        (f'{ASKS}gates = [{{ metric = "auc", least = true }}]', 2, 28, "least is True; give a number"),
        (f'{ASKS}gates = [{{ metric = "auc", least = 2, most = 1 }}]', 2, 10, "not above the most"),
        (f'{ASKS}gates = [{{ metric = "auc", margin = -1 }}]', 2, 28, "margin is -1; give a number from 0 on"),
        (f'{ASKS}gates = [{{ metric = "auc", margin = 1, least = 2 }}]', 2, 10, "least, most or both; or margin"),
        (f'{ASKS}gates = [{{ metric = "auc", least = 1, lowest = true }}]', 2, 10, "least, most or both; or margin"),
        (f'{ASKS}gates = [{{ metric = "auc", least = 1, paired = true }}]', 2, 10, "least, most or both; or margin"),
        (f'{ASKS}gates = [{{ metric = "auc", margin = 1, paired = 1 }}]', 2, 40, "true or false"),
        (f'{ASKS}gates = [{{ metric = "", least = 1 }}]', 2, 12, "metric is ''; give a text"),
        (f'{ASKS}gates = [{{ metric = "a", size = "1 MB" }}]', 2, 10, "give a list such as"),
        (f'{ASKS}gates = ["golden", {{ latency = "20" }}]', 2, 22, "latency is '20'; give a number of ms or s"),
        (f"{ASKS}gates = [{{ size = 5 }}]", 2, 12, "size is 5; give a number of bytes"),
        (f"{ASKS}gates = [{{ custom = 5 }}]", 2, 12, "custom is 5; give a text"),
        (f'{ASKS}requires = ["dataset", "data"]', 2, 24, "'data'; give one of dataset, kept dataset"),
        (f'{ASKS}reviewers = ["ada"]\napprovals = 2', 3, 1, "approvals is 2; give at most 1"),
        (f"{ASKS}approvals = 0", 2, 1, "a whole number from 1 to 100"),
        (f'{ASKS}by_author = "yes"', 2, 1, "true or false"),
    ],
)
def test_what_is_wrong_is_refused_with_line_and_column_and_not_set(
    text: str, line: int, column: int, said: str
) -> None:
    registry = Registry("memory://gatepolicy")
    with pytest.raises(InvalidValueError, match=said) as caught:
        registry.policy.set(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert f"line {line}, column {column}" in str(caught.value)


def test_what_is_wrong_in_retention_has_its_place_too() -> None:
    with pytest.raises(InvalidValueError, match=r"^line 3, column 11: retention.best has 'low'") as caught:
        parse_retention('[retention]\nbest = [{ metric = "a", count = 1 },\n{ count=1,low = true, metric = "b" }]')
    assert caught.value.key == "low"


names = st.text("abc.*", min_size=1, max_size=5)
numbers = st.floats(0, 1e6) | st.integers(0, 1000)
gates = st.one_of(
    st.sampled_from(PLAIN),
    st.fixed_dictionaries({"metric": names, "least": numbers}),
    st.fixed_dictionaries(
        {"metric": names, "margin": numbers}, optional=dict.fromkeys(("lowest", "paired"), st.booleans())
    ),
    st.fixed_dictionaries({"size": st.integers(0, 999).map(lambda n: f"{n} MB")}),
    st.fixed_dictionaries({"latency": st.integers(0, 999).map(lambda n: f"{n} ms")}),
    st.fixed_dictionaries({"custom": names, "least": numbers}),
)
asks = st.fixed_dictionaries(
    {},
    optional={
        "gates": st.lists(gates, max_size=4),
        "requires": st.lists(st.sampled_from(FIELDS), min_size=1, unique=True),
        "reviewers": st.lists(names, min_size=1, max_size=4, unique=True),
        "by_author": st.booleans(),
    },
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


@given(asks)
def test_what_was_written_is_what_is_asked(told: dict[str, Any]) -> None:
    text = ASKS + "\n".join(f"{key} = {toml(value)}" for key, value in told.items())
    asked = parse(text).of("churn", "production")
    assert asked is not None
    assert len(asked.gates) == len(told.get("gates", []))
    assert list(asked.requires) == told.get("requires", [])
    assert list(asked.reviewers) == told.get("reviewers", [])
    assert asked.by_author is told.get("by_author", False)
    for gate, written in zip(asked.gates, told.get("gates", []), strict=True):
        words = (
            [written] if isinstance(written, str) else [written[key] for key in ("metric", "custom") if key in written]
        )
        assert all(word in str(gate) for word in words)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for start in ("", "[models.c]\n", ASKS, f"{ASKS}gates = ["):
        with suppress(InvalidValueError):
            parse(start + text)
