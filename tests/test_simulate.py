"""The simulator finds nothing wrong with the library, and finds every fault that is planted in it."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from modelkeep.errors import (
    ClosedError,
    DeletedError,
    InUseError,
    ModelkeepError,
    OutcomeUnknownError,
    StaleError,
    TakenError,
    UnsettledError,
)
from modelkeep.testing.simulate import Outcome, run
from modelkeep.testing.simulate.__main__ import hunt, main
from modelkeep.testing.simulate.history import NEVER, UNSAID, Call, History
from modelkeep.testing.simulate.linearizable import judge
from modelkeep.testing.simulate.meetings import Reduction, bounded
from modelkeep.testing.simulate.pairs import PAIRS, meet, warm
from modelkeep.testing.simulate.planted import PLANTED, Planted
from modelkeep.testing.simulate.world import Touch

SCHEDULES = 500  # hundreds of times as many are run by hand: see docs/explain/promises.md
FOUND = (29_561, 225_908, 425_183)  # schedules that found faults of the library; mended, each with a test of its own
ENOUGH = 10_000  # schedules within which a planted fault must show
SEEN = {  # first seeds of faults that take long to find; where one no longer shows its fault, all seeds are tried
    "approvals-check-once": 3970,
    "holder-check-once": 5455,
    "label-check-once": 220,
    "policy-from-memory": 912,
    "rejection-not-heard": 4047,
    "reuses-uncommitted": 1813,
    "rewriter-cleans-up": 1994,
    "same-key-again": 1820,
    "settle-by-looking": 593,
    "withdrawal-forgotten": 2562,
}


@pytest.mark.parametrize("first", range(0, SCHEDULES, 250))
def test_no_promise_is_broken_under_faults(first: int) -> None:
    broken = [outcome for outcome in map(run, range(first, first + 250)) if outcome.violation]
    assert broken == []


@pytest.mark.parametrize("seed", FOUND)
def test_a_schedule_that_once_found_a_fault_finds_none(seed: int) -> None:
    assert run(seed).violation is None


def test_schedules_do_what_they_are_for() -> None:
    outcomes = list(map(run, range(100)))
    assert sum(outcome.faults for outcome in outcomes) > 100
    assert sum(outcome.saves for outcome in outcomes) > 200
    assert sum(outcome.entries for outcome in outcomes) > 400
    assert sum(outcome.shared for outcome in outcomes) > 100
    assert sum(outcome.variants for outcome in outcomes) > 10
    assert sum(outcome.drafts for outcome in outcomes) > 10
    assert sum(outcome.moved for outcome in outcomes) > 40
    assert sum(outcome.turned for outcome in outcomes) > 5
    assert sum(outcome.purged for outcome in outcomes) > 20
    assert sum(outcome.swept for outcome in outcomes) > 80


def test_policies_ask_something_of_promotions_in_a_share_of_schedules() -> None:
    outcomes = list(map(run, range(10, 11 * 100, 11)))
    assert [outcome for outcome in outcomes if outcome.violation] == []
    assert sum(outcome.gated for outcome in outcomes) > 10
    assert sum(outcome.refused for outcome in outcomes) > 10
    assert sum(outcome.gated + outcome.refused for outcome in map(run, range(10))) == 0


@pytest.mark.parametrize("seed", [16, 17, 18])
def test_a_seed_replays_its_schedule(seed: int) -> None:
    assert run(seed) == run(seed)


def test_a_seed_replays_its_schedule_in_another_process() -> None:
    code = "from modelkeep.testing.simulate import run; print(run(17))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == str(run(17))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_fault_is_caught_and_its_seed_replays_it(planted: Planted) -> None:
    seed = SEEN.get(planted.name, 0)
    known: Outcome = run(seed, planted.plant, overwrites=planted.overwrites)
    caught = known if known.violation else hunt(planted, ENOUGH)
    assert caught is not None, f"{planted.name} was not caught in {ENOUGH} schedules"
    broke_down = ("AttributeError", "TypeError", "NameError")
    assert not any(name in str(caught.violation) for name in broke_down), "the plant itself broke down"
    assert run(caught.seed, planted.plant, overwrites=planted.overwrites) == caught
    assert run(caught.seed).violation is None, "without the fault the same schedule is sound"


def test_the_command_prints_totals_and_replays_one_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schedules", "40"]) == 0
    assert "40 schedules from seed 0" in capsys.readouterr().out
    assert main(["--seed", "7"]) == 0
    assert "seed=7" in capsys.readouterr().out


def test_the_command_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkeep.testing.simulate.__main__._TELL", 10)
    monkeypatch.setattr("modelkeep.testing.simulate.__main__._BATCH", 5)
    assert main(["--schedules", "25"]) == 0
    assert capsys.readouterr().err == "10 of 25 schedules, 0 violations\n20 of 25 schedules, 0 violations\n"


# -- the search over histories -----------------------------------------------------------------------------------

FOUND_BY_SEARCH = (
    "no-own-scan",
    "time-out-is-success",
    "time-out-moves-on",
    "tile-miss-is-head",
    "cache-without-look",
    "stale-refusal",
    "store-overwrites",
    "promote-check-once",
    "delete-check-once",
    "rollback-without-expect",
    "rollback-pushes",
    "rollback-to-deleted",
    "deletes-aliased",
    "number-fixed-at-start",
)


@pytest.mark.parametrize("name", FOUND_BY_SEARCH)
def test_a_planted_fault_is_found_by_the_search_alone(name: str) -> None:
    planted = next(one for one in PLANTED if one.name == name)
    outcomes = (
        run(seed, planted.plant, overwrites=planted.overwrites, search_alone=True) for seed in range(ENOUGH // 20)
    )
    found = next((outcome for outcome in outcomes if outcome.violation), None)
    assert found is not None, f"the search did not find {name}"
    assert "no order explains what users were told" in str(found.violation)
    assert run(found.seed, search_alone=True).violation is None, "without the fault there is an order"


def test_all_searches_come_to_an_end_and_order_most_of_what_is_asked() -> None:
    outcomes = list(map(run, range(50)))
    assert sum(outcome.given_up for outcome in outcomes) == 0
    assert sum(outcome.ordered for outcome in outcomes) > 1500


def told(kind: str, begun: int, ended: int, answer: Any = None, **asked: Any) -> Call:
    """An operation that was answered."""
    return Call(kind, "churn", asked, begun, ended, answer, None, True)


def refused(kind: str, begun: int, ended: int, error: ModelkeepError, **asked: Any) -> Call:
    """An operation that was refused."""
    return Call(kind, "churn", asked, begun, ended, UNSAID, error, True)


def unanswered(kind: str, begun: int, **asked: Any) -> Call:
    """An operation of a process that was killed."""
    return Call(kind, "churn", asked, begun)


def save(number: int, begun: int, ended: int) -> Call:
    return told("save", begun, ended, (number, None), payload=f"model {number}")


def promote(number: int, begun: int, ended: int, **said: Any) -> Call:
    return told("promote", begun, ended, number=number, alias="production", **said)


def holder(number: int, begun: int, ended: int) -> Call:
    return told("aliases", begun, ended, {"production": number})


def has_order(*calls: Call) -> bool:
    history = History()
    history.calls[:] = sorted(calls, key=lambda call: call.begun)
    found = judge(history)
    assert not found.given_up
    return found.broken is None


MADE = (save(1, 1, 2), save(2, 3, 4), save(3, 5, 6))


def test_what_is_told_one_after_the_other_must_be_right_at_its_moment() -> None:
    assert has_order(*MADE, promote(1, 10, 11), holder(1, 12, 13), promote(2, 14, 15), holder(2, 16, 17))
    assert not has_order(*MADE, promote(1, 10, 11), promote(2, 12, 13), holder(1, 14, 15))


def test_a_read_beside_a_write_may_see_it_or_not_but_not_go_back() -> None:
    writes = (*MADE, promote(1, 10, 11), promote(2, 12, 20))
    assert has_order(*writes, holder(1, 13, 14), holder(2, 15, 16))
    assert has_order(*writes, holder(2, 13, 14), holder(2, 15, 16))
    assert not has_order(*writes, holder(2, 13, 14), holder(1, 15, 16))


def test_a_promote_of_the_holder_may_come_before_or_after_another() -> None:
    first = (*MADE, promote(2, 10, 11))
    beside = (promote(3, 12, 20), promote(2, 13, 21))
    assert has_order(*first, *beside, holder(2, 22, 23))
    assert has_order(*first, *beside, holder(3, 22, 23))
    assert not has_order(*first, *beside, holder(1, 22, 23))


def test_of_two_who_expect_the_same_holder_one_is_told() -> None:
    first = (*MADE, promote(1, 10, 11))
    assert not has_order(*first, promote(2, 12, 20, expect=1), promote(3, 13, 21, expect=1))
    stale = StaleError("moved", alias="production", expected=1, found=2)
    late = refused("promote", 13, 21, stale, number=3, alias="production", expect=1)
    assert has_order(*first, promote(2, 12, 20, expect=1), late)
    assert not has_order(*first, promote(2, 22, 23, expect=1), late)


def test_what_was_not_answered_may_have_happened_or_not_and_at_any_time_after_it_began() -> None:
    lost = unanswered("promote", 12, number=2, alias="production")
    first = (*MADE, promote(1, 10, 11))
    assert has_order(*first, lost, holder(1, 13, 14))
    assert has_order(*first, lost, holder(2, 13, 14))
    assert has_order(*first, lost, holder(1, 13, 14), holder(2, 15, 16))
    assert not has_order(*first, lost, holder(2, 13, 14), holder(1, 15, 16))
    assert not has_order(*first, holder(2, 8, 9), lost)


def test_a_save_without_an_answer_is_there_if_a_number_is_taken() -> None:
    assert has_order(save(1, 1, 2), unanswered("save", 3, payload="lost"), save(3, 5, 6))
    assert has_order(save(1, 1, 2), unanswered("save", 3, payload="lost"), save(2, 5, 6))
    assert not has_order(save(1, 1, 2), save(3, 5, 6))
    assert not has_order(save(1, 1, 2), unanswered("save", 7, payload="lost"), save(3, 5, 6))


def test_a_save_that_was_settled_must_be_there_or_must_not() -> None:
    listed = told("all versions", 9, 10, ((1, None),))
    settled = Call("save", "churn", {"payload": "settled"}, 3, 8, UNSAID, None, True)
    never = Call("save", "churn", {"payload": "never"}, 3, 8, UNSAID, None, False)
    assert not has_order(save(1, 1, 2), settled, listed)
    assert has_order(save(1, 1, 2), never, listed)
    assert not has_order(save(1, 1, 2), never, told("all versions", 9, 10, ((1, None), (2, None))))


def test_refusals_are_answers_too() -> None:
    in_use = refused("delete", 14, 15, InUseError("in use", aliases=["production"]), number=1)
    assert has_order(*MADE, promote(1, 10, 11), in_use)
    assert not has_order(*MADE, in_use)
    closed = refused("save", 20, 21, ClosedError("closed"), payload="x")
    assert not has_order(*MADE, closed)
    assert has_order(*MADE, told("close", 10, 11), closed)
    taken = refused("save", 20, 21, TakenError("taken", label="1.0.0", number=1), payload="x", label="1.0.0")
    assert not has_order(*MADE, taken)
    assert has_order(told("save", 1, 2, (1, "1.0.0"), payload="y", label="1.0.0"), taken)


def test_a_version_that_was_purged_is_not_loaded_and_not_restored() -> None:
    gone = (*MADE, told("delete", 10, 11, number=1), told("collect", 12, 13, (1,)))
    rules = Call("set policy", "", {"value": "rules"}, 7, 8, None, None, True)
    purged = refused("load", 14, 15, DeletedError("purged", number=1), number=1)
    assert has_order(rules, *gone, purged)
    assert not has_order(*MADE, told("delete", 10, 11, number=1), purged)
    assert not has_order(rules, *gone, told("restore", 14, 15, number=1))
    assert not has_order(rules, *gone[:-1], told("hold", 12, 13, number=1), told("collect", 14, 15, (1,)))


def test_what_was_said_last_is_read() -> None:
    said = (told("set tag", 10, 11, number=1, value="a"), told("set tag", 12, 13, number=1, value="b"))
    assert has_order(*said, told("tag", 14, 15, "b", number=1), told("tag", 14, 15, "", number=2))
    assert not has_order(*said, told("tag", 14, 15, "a", number=1))


def test_the_search_agrees_with_one_that_tries_all_orders() -> None:
    """Registers of two values, written and read by several at once, some of them unanswered."""
    chance = random.Random(5)
    found = [_agrees(_history(chance)) for _ in range(2000)]
    assert 200 < sum(found) < 1800, "both kinds are there"


def _history(chance: random.Random) -> list[Call]:
    moments = chance.sample(range(40), 14)
    calls = []
    for n in range(7):
        begun, ended = sorted(moments[2 * n : 2 * n + 2])
        value = chance.choice("ab")
        if chance.random() < 0.5:
            calls.append(told("title", begun, ended, value))
        elif chance.random() < 0.3:
            calls.append(unanswered("set title", begun, value=value))
        else:
            calls.append(told("set title", begun, ended, value=value))
    return sorted(calls, key=lambda call: call.begun)


def _agrees(calls: list[Call]) -> bool:
    expected = _any_order(calls, "")
    assert has_order(*calls) is expected
    return expected


def _any_order(left: list[Call], value: str) -> bool:
    if all(call.ended == NEVER for call in left):
        return True
    limit = min(call.ended for call in left)
    for call in left:
        rest = [one for one in left if one is not call]
        reads = call.kind == "title"
        if (
            call.begun < limit
            and (not reads or call.answer == value)
            and _any_order(rest, value if reads else call.asked["value"])
        ):
            return True
    return False


def test_a_history_notes_what_an_error_says_of_what_was_done() -> None:
    history = History()

    def ask(error: ModelkeepError, kind: str = "promote") -> Call:
        def fails() -> None:
            raise error

        with pytest.raises(type(error)):
            history.ask(kind, "churn", {}, fails, lambda _: None)
        return history.calls[-1]

    assert ask(OutcomeUnknownError("no answer")).happened is False, "the error is about what no entry names"
    assert ask(OutcomeUnknownError("no answer"), "rollback").happened is None, "it reads on after its entry"
    assert ask(StaleError("moved")).happened is True
    open_ = ask(UnsettledError("no answer", token="t"))
    assert (open_.happened, open_.ended) == (None, NEVER)
    history.settled("t", True)
    assert open_.happened is True
    assert open_.begun < open_.ended < NEVER


# -- all orders of two operations --------------------------------------------------------------------------------


def test_reduction_leaves_out_only_orders_that_differ_in_nothing() -> None:
    """Two actors of few calls on few objects: the values read are the same as in all orders."""
    chance = random.Random(3)
    fewer = 0
    for _ in range(200):
        plays = [
            [Touch((chance.choice("abc"),), writes=chance.random() < 0.5) for _ in range(chance.randint(1, 4))]
            for _ in range(2)
        ]
        reduction = Reduction()
        reduced = [_values(plays, choose) for choose in reduction.executions()]
        every = [_values(plays, choose) for choose in bounded(100)]
        assert {str(one) for one in reduced if one} == {str(one) for one in every}
        fewer += len(every) - len(reduced)
    assert fewer > 1000


def _values(plays: list[list[Touch]], choose: Any) -> Any:
    at, objects, read = [0, 0], dict[str, Any](), []
    while touches := {actor: play[at[actor]] for actor, play in enumerate(plays) if at[actor] < len(play)}:
        actor = choose(touches)
        if actor is None:
            return None
        (key,) = touches[actor].keys
        read.append((actor, at[actor], objects.get(key)))
        if touches[actor].writes:
            objects[key] = (actor, at[actor])
        at[actor] += 1
    reads = [row for row in read if not plays[row[0]][row[1]].writes]
    return sorted(reads, key=str), sorted(objects.items())


def test_a_listing_meets_what_is_written_below_it() -> None:
    listing = Touch(("models/a/",), lists=True)
    assert listing.meets(Touch(("models/a/data/1",), writes=True))
    assert Touch(("x", "models/a/data/1"), writes=True).meets(listing)
    assert not listing.meets(Touch(("models/b/data/1",), writes=True))
    assert not listing.meets(Touch(("models/a/data/1",)))


def test_at_most_so_many_interruptions_are_made() -> None:
    plays = [[Touch(("a",), writes=True)] * 3, [Touch(("a",), writes=True)] * 3]
    assert [sum(1 for choose in bounded(most) if _values(plays, choose)) for most in (0, 1, 100)] == [2, 6, 20]


SOME_PAIRS = [pair for pair in random.Random(6).sample(PAIRS, 40) if "erase" not in " ".join(pair)]


def test_two_operations_keep_all_promises_in_all_orders_of_their_calls() -> None:
    found = warm()
    met = [meet(found, pair, counted=40) for pair in SOME_PAIRS]
    assert [one for one in met if one.violation] == []
    assert all(one.complete for one in met)
    assert sum(one.executions for one in met) > len(met)
    assert sum(one.counted for one in met) > 5


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("promote-check-once", ("promote expecting", "promote expecting")),
        ("rollback-without-expect", ("rollback", "rollback")),
        ("delete-check-once", ("promote", "delete")),
        ("number-fixed-at-start", ("save", "save")),
        ("purge-check-once", ("restore", "collect")),
        ("move-check-once", ("compact", "compact")),
        ("variant-check-once", ("add variant", "add variant")),
        ("drafts-not-counted", ("fail run", "collect")),
        ("holder-check-once", ("promote by rules", "promote worse by rules")),
        ("approvals-check-once", ("promote by rules", "withdraw")),
        ("rejection-not-heard", ("promote worse by rules", "reject")),
    ],
)
def test_a_planted_fault_is_found_where_two_operations_meet(name: str, pair: tuple[str, str]) -> None:
    planted = next(one for one in PLANTED if one.name == name)
    found = warm()
    with planted.plant():
        assert meet(found, pair).violation is not None
    assert meet(found, pair).violation is None


def test_the_command_tells_what_pairs_came_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelkeep.testing.simulate.__main__.PAIRS", [("promote", "delete"), ("erase", "tag")])
    assert main(["--pairs", "--most", "3"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("2 pairs, ")
    assert told[-1].endswith("0 violations")
