"""Reviews: what people say of a version, and what a promotion makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modelkeep.errors import ConflictError, DeletedError, GateError, InvalidValueError
from modelkeep.folds.releases import Approve
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.reviews import Opinions
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from modelkeep.system import System

TWO = """
[models.churn.aliases.production]
reviewers = ["ada", "ben", "cleo"]
approvals = 2
"""


@pytest.fixture
def place() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def as_(place: MemoryStore) -> Callable[[str], ModelVersion]:
    """The first version of churn, which dan saved, as somebody sees it."""
    by("dan", place).save({"w": np.zeros(3)}, "churn")
    return lambda who: by(who, place).model("churn").version(1)


def by(who: str, place: Any) -> Registry:
    return Registry(place, system=System(actor=lambda: who, sleep=lambda _: None))


def test_what_is_said_stands_until_it_is_said_otherwise_or_withdrawn(as_: Callable[[str], ModelVersion]) -> None:
    assert as_("ada").review.opinions() == Opinions()
    as_("dan").review.request(["ada", "ben"])
    as_("ada").review.approve()
    as_("ben").review.reject()
    assert as_("eve").review.opinions() == Opinions("dan", ("ada", "ben"), ("ada",), ("ben",))
    as_("ben").review.approve()
    as_("ada").review.withdraw()
    assert as_("eve").review.opinions() == Opinions("dan", ("ada", "ben"), ("ben",))
    as_("dan").review.withdraw()
    as_("ben").review.withdraw()
    assert as_("eve").review.opinions() == Opinions()


def test_the_history_tells_who_said_what_and_why_and_the_reason_can_be_erased(
    as_: Callable[[str], ModelVersion], place: MemoryStore
) -> None:
    as_("dan").review.request(["ada"], reason="for Monday")
    as_("ada").review.reject(reason="not calibrated")
    as_("ada").review.comment("see the plot")
    as_("ada").review.withdraw(reason="it is")
    told = [
        (event.actor, event.action, event.version, event.text) for event in by("eve", place).model("churn").history()
    ]
    assert told[2:] == [
        ("dan", "request", 1, "for Monday"),
        ("ada", "reject", 1, "not calibrated"),
        ("ada", "comment", 1, "see the plot"),
        ("ada", "withdraw", 1, "it is"),
    ]


def test_who_said_nothing_has_nothing_to_withdraw(as_: Callable[[str], ModelVersion], place: MemoryStore) -> None:
    as_("ada").review.approve()
    before = len(list(place.list("")))
    with pytest.raises(ConflictError, match="ben said nothing about churn:1"):
        as_("ben").review.withdraw(reason="oh")
    assert len(list(place.list(""))) == before


def test_nothing_is_said_of_a_deleted_version(as_: Callable[[str], ModelVersion]) -> None:
    as_("ada").review.approve()
    version = as_("dan")
    version.delete()
    for act in (version.review.approve, version.review.reject, version.review.request, version.review.withdraw):
        with pytest.raises(DeletedError):
            act()
    version.restore()
    assert version.review.opinions().approved == ("ada",)


@pytest.mark.parametrize("names", [7, None, "ada", [""], [7], ["x" * 201], ["a"] * 101, ["\ud800"]])
def test_names_of_reviewers_are_short_texts(as_: Callable[[str], ModelVersion], names: Any) -> None:
    with pytest.raises(InvalidValueError):
        as_("dan").review.request(names)
    assert as_("dan").review.opinions() == Opinions()


def test_each_word_is_one_write_and_a_reason_or_comment_one_more(place: MemoryStore) -> None:
    store = Recording(place)
    version = by("dan", store).save({"w": np.zeros(3)}, "churn").promote("staging")
    version.review.comment("first")
    review = version.review
    acts: dict[str, Callable[..., None]] = {
        "request": review.request,
        "approve": review.approve,
        "reject": review.reject,
        "withdraw": review.withdraw,
    }
    for act in acts.values():
        store.forget()
        act()
        assert [verb for verb, _ in store.requests] == ["create"]
        review.approve()
        store.forget()
        act(reason="why")
        assert [verb for verb, _ in store.requests] == ["put_pack", "create"]
        review.approve()
    store.forget()
    review.comment("second")
    assert [verb for verb, _ in store.requests] == ["put_pack", "create"]
    store.forget()
    review.opinions()
    assert [verb for verb, _ in store.requests] == ["get"]


def test_opinions_are_told_in_words_and_in_a_notebook_as_text() -> None:
    assert str(Opinions()) == "nobody says anything"
    assert str(Opinions("dan", (), ("ada",), ("ben",))) == "dan asks for a review; approved by ada; rejected by ben"
    assert "<b>" not in Opinions("<b>", ("<b>",), ("<b>",))._repr_html_()


# -- promotions --------------------------------------------------------------------------------------------------------


def refused(version: ModelVersion) -> str:
    with pytest.raises(GateError) as caught:
        version.promote("production")
    return str(caught.value)


def test_a_promotion_that_lacks_approvals_names_who_may_give_them(
    as_: Callable[[str], ModelVersion], place: MemoryStore
) -> None:
    by("dan", place).policy.set(TWO)
    assert "2 approvals (nobody approved; 2 more may come from ada, ben, cleo)" in refused(as_("dan"))
    as_("ada").review.approve()
    as_("eve").review.approve()  # who is no reviewer
    assert "2 approvals (ada approved; 1 more may come from ben, cleo)" in refused(as_("dan"))
    as_("ben").review.approve()
    assert as_("dan").promote("production").aliases == ("production",)


def test_who_saved_it_does_not_count_unless_the_policy_says_so(
    as_: Callable[[str], ModelVersion], place: MemoryStore
) -> None:
    registry = by("dan", place)
    registry.policy.set("[models.churn.aliases.production]\napprovals = 1")
    as_("dan").review.approve()
    assert "1 approval (nobody approved; 1 more may come from anybody but dan)" in refused(as_("dan"))
    registry.policy.set("[models.churn.aliases.production]\napprovals = 1\nby_author = true")
    as_("dan").promote("production")


def test_where_only_the_author_may_approve_and_does_not_count_the_policy_is_named(
    as_: Callable[[str], ModelVersion], place: MemoryStore
) -> None:
    by("dan", place).policy.set('[models.churn.aliases.production]\nreviewers = ["dan"]')
    assert "1 more may come from nobody: change the policy" in refused(as_("dan"))


def test_one_rejection_outweighs_approvals_until_it_is_withdrawn(
    as_: Callable[[str], ModelVersion], place: MemoryStore
) -> None:
    by("dan", place).policy.set(TWO)
    for who in ("ada", "ben"):
        as_(who).review.approve()
    as_("eve").review.reject()  # who is no reviewer
    assert as_("dan").check("production").ok
    as_("cleo").review.reject()
    assert "ada, ben approved; cleo rejected it, and may withdraw that" in refused(as_("dan"))
    as_("cleo").review.withdraw()
    as_("dan").promote("production")


def test_an_approval_is_of_the_very_version_that_was_looked_at(
    as_: Callable[[str], ModelVersion], place: MemoryStore
) -> None:
    registry = by("ada", place)
    registry.policy.set('[models.churn.aliases.production]\nreviewers = ["ada"]')
    registry.model("churn")._read().append("releases", lambda _: [Approve(1, "0" * 64)])
    assert as_("dan").review.opinions().approved == ()
    assert "nobody approved" in refused(as_("dan"))


def test_an_approval_of_one_version_is_none_of_another(as_: Callable[[str], ModelVersion], place: MemoryStore) -> None:
    registry = by("dan", place)
    registry.policy.set('[models.churn.aliases.production]\nreviewers = ["ada"]')
    as_("ada").review.approve()
    assert "nobody approved" in refused(registry.save({"w": np.ones(3)}, "churn"))
