"""Which version is stored against which: always one that comes before it, never deep, and near wherever it can be."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelkeep.bases import choose
from modelkeep.manifest import MAX_DEPTH

Given = tuple[list[int], dict[int, int], dict[int, int | None]]


@st.composite
def histories(draw: st.DrawFn) -> Given:
    """Numbers with gaps, parents of which some are gone, and how deep each is stored, if it is."""
    numbers = sorted(draw(st.sets(st.integers(1, 60), max_size=30)))
    parents = {n: draw(st.integers(1, 60)) for n in numbers if draw(st.booleans())}
    return numbers, parents, {n: draw(st.none() | st.integers(0, MAX_DEPTH)) for n in numbers}


def edges(numbers: list[int], parents: Mapping[int, int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {n: set() for n in numbers}
    for before, number in pairwise(numbers):
        parent = parents.get(number, before)
        above = parent if parent in found and parent < number else before
        found[number].add(above)
        found[above].add(number)
    return found


def steps(tree: Mapping[int, set[int]], start: int, end: int) -> int:
    seen, ring, count = {start}, {start}, 0
    while end not in ring:
        ring = {other for one in ring for other in tree[one]} - seen
        seen |= ring
        count += 1
    return count


@given(histories())
def test_all_that_are_to_be_stored_get_a_place_and_no_other(history: Given) -> None:
    numbers, _, depths = history
    assert sorted(number for number, _ in choose(*history)) == [n for n in numbers if depths[n] is None]


@given(histories())
def test_a_base_comes_before_what_is_stored_against_it_and_nothing_is_more_than_four_deep(history: Given) -> None:
    _, _, depths = history
    known = {number: depth for number, depth in depths.items() if depth is not None}
    for number, base in choose(*history):
        known[number] = 0 if base is None else known[base] + 1
        assert known[number] <= MAX_DEPTH


@given(histories())
def test_a_base_is_at_most_three_steps_away_and_a_root_has_none_that_near(history: Given) -> None:
    numbers, parents, depths = history
    tree = edges(numbers, parents)
    known = {number: depth for number, depth in depths.items() if depth is not None}
    for number, base in choose(*history):
        if base is None:
            assert not any(depth < MAX_DEPTH and steps(tree, number, one) == 1 for one, depth in known.items())
            known[number] = 0
        else:
            assert steps(tree, number, base) <= 3
            known[number] = known[base] + 1


def test_a_chain_of_ten_hangs_on_its_fifth() -> None:
    found = choose(range(1, 11), {}, dict.fromkeys(range(1, 11)))
    assert found[0] == (5, None)
    assert (10, 8) in found
    assert sum(abs(number - base) for number, base in found if base is not None) == 10


def test_what_stays_raw_is_a_root_and_children_are_stored_against_parents_and_parents_against_children() -> None:
    assert choose([1, 2, 3], {}, {1: None, 2: 0, 3: None}) == [(1, 2), (3, 2)]


def test_a_version_hangs_on_its_parent_and_not_on_the_one_before() -> None:
    assert choose([1, 2, 3], {3: 1}, {1: 0, 2: 0, 3: None}) == [(3, 1)]


def test_a_parent_that_is_gone_gives_way_to_the_version_before() -> None:
    assert choose([1, 3, 4], {4: 2}, {1: 0, 3: 0, 4: None}) == [(4, 3)]


def test_what_is_four_deep_carries_nothing_but_lets_through() -> None:
    assert choose([1, 2, 3], {}, {1: 3, 2: 4, 3: None}) == [(3, 1)]
    assert choose([1, 2], {}, {1: 4, 2: None}) == [(2, None)]


def test_of_two_neighbours_the_one_less_deep_carries() -> None:
    assert choose([1, 2, 3], {}, {1: 3, 2: None, 3: 1}) == [(2, 3)]


def test_a_hundred_thousand_versions_are_no_work() -> None:
    numbers = range(1, 100_001)
    assert len(choose(numbers, {}, dict.fromkeys(numbers))) == 100_000
    assert len(choose(numbers, dict.fromkeys(numbers, 1), dict.fromkeys(numbers))) == 100_000
