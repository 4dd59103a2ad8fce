"""Without a rule, what it refuses is let in: so its test goes red when the rule is taken away."""

from __future__ import annotations

import pytest

from modelkeep.errors import TrustError
from modelkeep.pickles import rules, scan
from security.streams import BEHIND, STREAMS


def test_there_is_a_stream_for_every_rule_and_a_rule_for_every_stream() -> None:
    assert set(STREAMS) == set(rules.RULES)


@pytest.mark.parametrize("rule", rules.RULES)
def test_without_its_rule_a_stream_is_let_in(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_waived", frozenset({rule}))
    if rule not in BEHIND:
        scan(STREAMS[rule])
        return
    with pytest.raises(TrustError) as refused:
        scan(STREAMS[rule])
    assert refused.value.rule == BEHIND[rule]


@pytest.mark.parametrize("rule", rules.RULES)
def test_without_any_other_rule_a_stream_is_refused_all_the_same(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_waived", frozenset(rules.RULES) - {rule})
    with pytest.raises(TrustError) as refused:
        scan(STREAMS[rule])
    assert refused.value.rule == rule


def test_no_rule_is_waived_outside_of_these_tests() -> None:
    assert rules._waived == frozenset()
