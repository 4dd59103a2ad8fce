"""The simulator finds nothing wrong with the library, and finds every fault that is planted in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modelkeep.testing.simulate import run
from modelkeep.testing.simulate.__main__ import hunt, main
from modelkeep.testing.simulate.planted import PLANTED, Planted

SCHEDULES = 1000  # a hundred times as many are run by hand: see docs/explain/promises.md
ENOUGH = 10_000  # schedules within which a planted fault must show


@pytest.mark.parametrize("first", range(0, SCHEDULES, 250))
def test_no_promise_is_broken_under_faults(first: int) -> None:
    broken = [outcome for outcome in map(run, range(first, first + 250)) if outcome.violation]
    assert broken == []


def test_schedules_do_what_they_are_for() -> None:
    outcomes = list(map(run, range(100)))
    assert sum(outcome.faults for outcome in outcomes) > 100
    assert sum(outcome.saves for outcome in outcomes) > 200
    assert sum(outcome.entries for outcome in outcomes) > 400
    assert sum(outcome.shared for outcome in outcomes) > 100
    assert sum(outcome.moved for outcome in outcomes) > 40
    assert sum(outcome.turned for outcome in outcomes) > 5
    assert sum(outcome.purged for outcome in outcomes) > 20
    assert sum(outcome.swept for outcome in outcomes) > 80


@pytest.mark.parametrize("seed", [16, 17, 18])
def test_a_seed_replays_its_schedule(seed: int) -> None:
    assert run(seed) == run(seed)


def test_a_seed_replays_its_schedule_in_another_process() -> None:
    code = "from modelkeep.testing.simulate import run; print(run(17))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == str(run(17))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_fault_is_caught_and_its_seed_replays_it(planted: Planted) -> None:
    caught = hunt(planted, ENOUGH)
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
