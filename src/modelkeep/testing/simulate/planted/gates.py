"""Faults in promotions by a policy, and in reviews: what is looked at once, or from memory, is of some time ago."""

from __future__ import annotations

from typing import Any

from modelkeep import checking, gatepolicy, promoting
from modelkeep.folds import releases
from modelkeep.testing.simulate.planted.planting import Planted, nothing, on


def _asked_from_memory(version: Any, alias: str) -> Any:
    home = version._line.home
    journal = home.policy(home.existing())
    if not journal.head:
        journal.refresh()
    return gatepolicy.parse(journal.state.text, entry=journal.state.number).of(version.name, alias)


def _measured_with_standing(version: Any, asked: Any, *given: Any) -> Any:
    found = checking.measured(version, asked, *given)
    return checking.with_standing(found, asked, version, version._line.releases.state)


def _rejections_not_heard(check: Any, asked: Any, version: Any, state: Any) -> Any:
    heard = state.copy()
    for number, review in state.reviews.items():
        approving = tuple(verdict for verdict in review.verdicts if verdict.approves)
        heard.reviews[number] = releases.Review(review.requested_by, review.reviewers, approving)
    return checking.with_standing(check, asked, version, heard)


GATES = (
    Planted(
        "policy-from-memory",
        "a promotion goes by the policy that this process read some time ago",
        lambda: [on(promoting, "asked_of", _asked_from_memory)],
    ),
    Planted(
        "approvals-check-once",
        "a promotion counts approvals while gates look, and not again at the entry",
        lambda: [
            on(promoting, "measured", _measured_with_standing),
            on(promoting, "with_standing", lambda check, *_: check),
        ],
    ),
    Planted(
        "holder-check-once",
        "a promotion is compared with the holder that its first look saw",
        lambda: [on(promoting.Promotion, "_check_current", nothing)],
    ),
    Planted(
        "withdrawal-forgotten",
        "an approval that was withdrawn counts on",
        lambda: [on(releases.Withdraw, "apply", nothing)],
    ),
    Planted(
        "rejection-not-heard",
        "a promotion counts approvals alone",
        lambda: [on(promoting, "with_standing", _rejections_not_heard)],
    ),
)
