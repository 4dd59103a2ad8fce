"""A lineage as a tree of text: each node is told once in full, 80 columns hold any depth, and circles end."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelkeep.lineage import Lineage
from modelkeep.lineagenodes import (
    ALIAS,
    BY_CODE,
    BY_RUN,
    CODE,
    DATASET,
    PARENT,
    RUN,
    STANDS_AT,
    TRAINED_ON,
    VERSION,
    Edge,
    Node,
)


def version(number: int) -> Node:
    return Node(VERSION, f"m:{number}", f"m:{number}", {"name": "m", "number": number})


def of(nodes: list[Node], edges: list[Edge], start: str | None = None) -> list[str]:
    return Lineage.of(nodes, edges, "memory://", start).to_text(most=None).splitlines()


FAMILY = [
    *map(version, (1, 2, 3)),
    Node(DATASET, "data:sales:1", "sales:1"),
    Node(CODE, f"commit:{'0f' * 20}", "0f0f0f0f"),
    Node(RUN, f"run:{'ab' * 16}", "run abababab"),
    Node(ALIAS, "m@production", "m@production"),
    Node(VERSION, "other:4#12345678", "other:4", {"state": "elsewhere"}),
]
DESCENT = [
    Edge("other:4#12345678", "m:1", PARENT),
    Edge("data:sales:1", "m:1", TRAINED_ON),
    Edge("m:1", "m:2", PARENT),
    Edge("data:sales:1", "m:2", TRAINED_ON, "as test"),
    Edge(f"commit:{'0f' * 20}", "m:2", BY_CODE, "with uncommitted changes"),
    Edge(f"run:{'ab' * 16}", "m:2", BY_RUN),
    Edge("m:1", "m:3", PARENT),
    Edge("m:2", "m@production", STANDS_AT),
]


def test_many_are_told_from_what_is_in_use_back_to_what_it_was_made_from() -> None:
    assert of(FAMILY, DESCENT) == [
        "m@production",
        "└─ standing on m:2",
        "   ├─ trained on data:sales:1 as test",
        "   ├─ made by commit:0f0f0f0f with uncommitted changes",
        "   ├─ made by run:abababab",
        "   └─ made from m:1",
        "      ├─ made from other:4 (elsewhere)",
        "      └─ trained on data:sales:1",
        "m:3",
        "└─ made from m:1 (above)",
    ]


def test_of_one_it_is_told_what_it_was_made_from_and_what_came_of_it() -> None:
    assert of(FAMILY, DESCENT, "m:1") == [
        "m:1",
        "├─ made from other:4 (elsewhere)",
        "└─ trained on data:sales:1",
        "",
        "what came of m:1",
        "├─ m:3",
        "└─ m:2",
        "   └─ m@production",
    ]
    assert of(FAMILY, DESCENT, "m@production")[0] == "m@production"
    assert of([version(1)], [], "m:1") == ["m:1"]
    assert of([], []) == []


def test_a_chain_of_any_length_fits_80_columns_and_is_told_whole() -> None:
    nodes = [version(number) for number in range(1000)]
    edges = [Edge(f"m:{number}", f"m:{number + 1}", PARENT) for number in range(999)]
    for start in (None, "m:0", "m:999"):
        lines = of(nodes, edges, start)
        assert max(map(len, lines)) <= 60
        assert set(re.findall(r"m:\d+", " ".join(lines))) == {node.id for node in nodes}
        later = {re.findall(r"m:\d+", line)[0] for line in lines if line.endswith("(below)")}
        assert later
        assert later <= set(lines)


def test_what_is_folded_is_said() -> None:
    nodes = [version(number) for number in range(300)]
    edges = [Edge(f"m:{number}", f"m:{number + 1}", PARENT) for number in range(299)]
    assert Lineage.of(nodes, edges).to_text().splitlines() == [
        "m: 300 versions 0…299",
        "300 versions are drawn as 1 node.",
    ]


arcs = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=60)


@given(arcs, st.none() | st.integers(1, 20))
def test_of_any_graph_with_circles_too_each_node_is_told_in_full_once(
    pairs: list[tuple[int, int]], start: int | None
) -> None:
    edges = list(dict.fromkeys(Edge(f"m:{a}", f"m:{b}", PARENT) for a, b in pairs))
    lines = of([version(number) for number in range(1, 21)], edges, None if start is None else f"m:{start}")
    above = lines[: lines.index("")] if "" in lines else lines
    full = [re.findall(r"m:\d+", line)[0] for line in above if not line.endswith(("(above)", "(below)"))]
    leads = {edge.target for edge in edges}
    assert sorted({one for one in full if one in leads}) == sorted(one for one in full if one in leads)
    assert len(lines) <= 2 * (len(edges) + 20) + 2
    if start is None:
        assert set(full) == {f"m:{number}" for number in range(1, 21)}


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_any_text_stays_on_its_line(labels: list[str]) -> None:
    nodes = [Node(VERSION, f"{at} {label}", label) for at, label in enumerate(labels)]
    edges = [Edge(one.id, two.id, PARENT, one.label) for one, two in pairwise(nodes)]
    lines = of(nodes, edges)
    assert len(lines) == len(nodes) + sum("(below)" in line for line in lines)
