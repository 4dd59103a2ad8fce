"""Lineage as a value: what a reference means, walks in both directions, and what something reached."""

from __future__ import annotations

import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.errors import InvalidRefError, InvalidValueError, NotFoundError
from modelkeep.impact import Impact
from modelkeep.lineage import Lineage
from modelkeep.lineagenodes import BY_CODE, KINDS, PARENT, RELATIONS, STANDS_AT, TRAINED_ON, Edge, Node

PRINT, OTHER = f"frame-1:{'1' * 64}", f"frame-1:{'2' * 64}"
COMMIT, COMMITS = "0f" * 20, "0f" * 19 + "aa"


def version(ref: str, **facts: object) -> Node:
    name, _, number = ref.rpartition(":")
    return Node("version", ref, ref, {"name": name, "number": int(number), **facts})


def data(ref: str, **facts: object) -> Node:
    name, _, number = ref.rpartition(":")
    return Node("dataset", f"data:{ref}", ref, {"name": name, "number": int(number), **facts})


def alias(name: str) -> Node:
    return Node("alias", name, name, {"name": name.partition("@")[0], "alias": name.partition("@")[2]})


def commit(digits: str) -> Node:
    return Node("code", f"commit:{digits}", digits[:8], {"commit": digits})


def known() -> Lineage:
    nodes = [
        version("churn:1", semantic_version="1.3.0"),
        version("churn:2", digest="b" * 64),
        version("sales:3"),
        version("data:3"),
        data("sales:3", fingerprint=PRINT),
        data("rows:7", fingerprint=OTHER, digest="d" * 64),
        data("copy:1", fingerprint=PRINT),
        Node("dataset", f"array-1:{'3' * 64}", "array", {"fingerprint": f"array-1:{'3' * 64}"}),
        alias("churn@production"),
        Node("alias", "data:rows@golden", "data:rows@golden", {"name": "rows", "alias": "golden"}),
        commit(COMMIT),
        commit(COMMITS),
        Node("run", f"run:{'c' * 32}", "run", {"run": "c" * 32}),
    ]
    edges = [
        Edge("churn:1", "churn:2", PARENT),
        Edge("data:sales:3", "churn:1", TRAINED_ON),
        Edge("data:copy:1", "churn:2", TRAINED_ON, "as test"),
        Edge(f"commit:{COMMIT}", "churn:1", BY_CODE),
        Edge("churn:2", "churn@production", STANDS_AT),
    ]
    return Lineage.of(nodes, edges, "memory://known")


# -- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "means"),
    [
        ("churn:1", "churn:1"),
        ("churn:1.3.0", "churn:1"),
        ("model:churn:1", "churn:1"),
        ("model:churn:1.3.0", "churn:1"),
        ("churn@production", "churn@production"),
        ("data:rows:7", "data:rows:7"),
        ("rows:7", "data:rows:7"),
        ("rows@golden", "data:rows@golden"),
        ("data:rows@golden", "data:rows@golden"),
        ("data:3", "data:3"),
        ("model:sales:3", "sales:3"),
        ("data:sales:3", "data:sales:3"),
        (OTHER, "data:rows:7"),
        (f"array-1:{'3' * 64}", f"array-1:{'3' * 64}"),
        (COMMIT, f"commit:{COMMIT}"),
        ("0f" * 19 + "a", f"commit:{COMMITS}"),
        ("commit:" + "0f" * 19 + "aa", f"commit:{COMMITS}"),
        ("c" * 7, f"run:{'c' * 32}"),
        ("run:cccc", f"run:{'c' * 32}"),
    ],
)
def test_a_reference_means_the_one_node_that_any_reading_of_it_finds(ref: str, means: str) -> None:
    assert known().node(ref).id == means


@pytest.mark.parametrize(
    ("ref", "candidates"),
    [("sales:3", ["sales:3", "data:sales:3"]), ("0f" * 4, [f"commit:{COMMIT}", f"commit:{COMMITS}"])],
)
def test_a_reference_with_two_readings_is_refused_and_names_both(ref: str, candidates: list[str]) -> None:
    with pytest.raises(InvalidRefError, match=f"{ref} may be") as caught:
        known().node(ref)
    assert all(one in str(caught.value) for one in candidates)


@pytest.mark.parametrize(
    "ref", ["churn:3", "churn", "3", "nobody@production", "0f0f0f", "", "frame-1:ff", "run:cc", "a:b:c:d"]
)
def test_a_reference_to_nothing_here_is_told_with_what_may_be_given(ref: str) -> None:
    with pytest.raises(NotFoundError, match="give churn:7"):
        known().node(ref)


def test_a_fingerprint_means_all_versions_of_equal_data() -> None:
    impact = known().impact(PRINT)
    assert [node.id for node in impact.of] == ["data:copy:1", "data:sales:3"]
    assert [node.id for node in impact.versions] == ["churn:2", "churn:1"]


@pytest.mark.parametrize("ref", [3, object(), None, ["churn:1"]])
def test_what_is_no_reference_is_refused(ref: object) -> None:
    with pytest.raises((InvalidRefError, InvalidValueError)):
        known().descendants(ref)


def test_a_version_and_a_dataset_are_told_apart_by_their_digests() -> None:
    registry = mk.Registry("memory://same-name")
    saved = registry.save({"w": [1, 2]}, "sales")
    rows = registry.save_dataset(np.ones((2, 2)), "sales")
    lineage = registry.lineage()
    assert lineage.node(saved).id == "sales:1"
    assert lineage.node(rows).id == "data:sales:1"
    with pytest.raises(InvalidRefError, match="may be sales:1, data:sales:1"):
        lineage.node("sales:1")
    with pytest.raises(NotFoundError):
        lineage.node(mk.Registry("memory://other-name").save({"w": [1]}, "sales"))


# -- walks ---------------------------------------------------------------------------------------------------------


def test_descendants_lead_down_to_the_alias_and_ancestors_up_to_data_and_code() -> None:
    lineage = known()
    assert {node.id for node in lineage.descendants("data:sales:3").nodes} == {
        *("data:sales:3", "churn:1", "churn:2", "churn@production")
    }
    assert {node.id for node in lineage.ancestors("churn@production").nodes} == {
        *("churn@production", "churn:2", "churn:1", "data:sales:3", "data:copy:1", f"commit:{COMMIT}")
    }
    assert [str(edge) for edge in lineage.ancestors("churn:2").edges] == [
        "churn:2 was made from churn:1",
        "churn:1 was trained on data:sales:3",
        "churn:2 was trained on data:copy:1 as test",
        f"churn:1 was made by commit:{COMMIT}",
    ]


def test_a_lineage_of_a_version_knows_what_it_was_asked_of_and_one_of_a_registry_asks() -> None:
    below = known().descendants("churn:1")
    assert below.start == "churn:1"
    assert below.descendants() == below
    with pytest.raises(InvalidValueError, match="say of what"):
        known().ancestors()


graphs = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.sampled_from(RELATIONS)), max_size=24)


@given(graphs, st.integers(0, 7))
def test_walks_agree_with_networkx_on_any_graph_circles_included(arcs: list[tuple[int, int, str]], at: int) -> None:
    nodes = [version(f"m:{n + 1}") for n in range(8)]
    lineage = Lineage.of(nodes, [Edge(f"m:{a + 1}", f"m:{b + 1}", relation) for a, b, relation in arcs])
    graph, start = lineage.to_networkx(), f"m:{at + 1}"
    below, above = nx.descendants(graph, start), nx.ancestors(graph, start)
    assert {node.id for node in lineage.descendants(start).nodes} == below | {start}
    assert {node.id for node in lineage.ancestors(start).nodes} == above | {start}
    impact = lineage.impact(start)
    assert {node.id for node in impact.versions} == below - {start}
    for one in impact.reached:
        assert len(one.way) == nx.shortest_path_length(graph, start, one.version.id)
        assert [edge.target for edge in one.way[:-1]] == [edge.source for edge in one.way[1:]]
        assert (one.way[0].source, one.way[-1].target) == (start, one.version.id)


def test_a_chain_of_a_hundred_thousand_is_walked_without_recursion() -> None:
    count = 100_000
    nodes = [version(f"m:{n}") for n in range(1, count + 1)]
    lineage = Lineage.of(nodes, [Edge(f"m:{n}", f"m:{n + 1}", PARENT) for n in range(1, count)])
    assert len(lineage.descendants("m:1")) == count
    assert len(lineage.ancestors(f"m:{count}")) == count


def test_edges_that_lead_nowhere_and_edges_given_twice_are_left_out() -> None:
    edge = Edge("m:1", "m:2", PARENT)
    lineage = Lineage.of([version("m:2"), version("m:1")], [edge, edge, Edge("m:1", "m:3", PARENT)])
    assert (lineage.edges, [node.id for node in lineage.nodes]) == ((edge,), ["m:1", "m:2"])


# -- impact --------------------------------------------------------------------------------------------------------


def test_an_impact_reads_as_sentences_those_in_use_first() -> None:
    assert str(known().impact("data:sales:3")).splitlines() == [
        "data:sales:3 reached 2 versions; 1 stands under an alias now.",
        "churn:2 stands under production. It was made from churn:1, which was trained on data:sales:3.",
        "churn:1 stands under no alias. It was trained on data:sales:3.",
    ]
    assert str(known().impact("data:rows:7")) == "data:rows:7 reached no version."


def test_a_long_way_is_told_by_its_ends() -> None:
    nodes = [version(f"m:{n}") for n in range(1, 9)]
    lineage = Lineage.of(nodes, [Edge(f"m:{n}", f"m:{n + 1}", PARENT) for n in range(1, 8)])
    assert str(lineage.impact("m:1").reached[-1]) == (
        "m:8 stands under no alias. It was made from m:7, which was made through 5 more steps from what was made from "
        "m:1."
    )


def test_an_impact_is_a_table_and_plain_values() -> None:
    impact = known().impact("data:sales:3")
    rows = impact.to_pandas()
    assert rows["version"].tolist() == ["churn:2", "churn:1"]
    assert rows["aliases"].tolist() == ["production", ""]
    assert rows["steps"].tolist() == [2, 1]
    assert impact.to_dict()["reached"][1] == {
        "version": "churn:1",
        "state": "here",
        "aliases": [],
        "steps": 1,
        "way": [{"source": "data:sales:3", "target": "churn:1", "relation": "trained on"}],
    }
    assert list(Impact(impact.of, ()).to_pandas().columns) == ["version", "state", "aliases", "steps", "by"]
    assert "<td>churn:2</td>" in impact._repr_html_()


def test_a_lineage_is_plain_values_and_a_table_of_edges() -> None:
    lineage = known()
    plain = lineage.to_dict()
    assert [one["id"] for one in plain["nodes"]] == [node.id for node in lineage.nodes]
    assert plain["edges"][2] == {
        "source": "data:copy:1", "target": "churn:2", "relation": "trained on", "note": "as test"
    }  # fmt: skip
    assert list(lineage.to_pandas().columns) == ["source", "target", "relation", "note"]
    assert lineage.to_networkx().nodes["churn:1"]["semantic_version"] == "1.3.0"
    assert {node.kind for node in lineage.nodes} == set(KINDS) - {"variant"}


def test_without_networkx_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install networkx$") as caught:
        known().to_networkx()
    assert caught.value.name == "networkx"


# -- what is known beforehand --------------------------------------------------------------------------------------


def test_the_bad_rows_reached_production_and_what_was_trained_from_it(digits_registry: mk.Registry) -> None:
    impact = digits_registry.lineage().impact("digits-rows:4")
    assert [(one.version.id, one.aliases, len(one.way)) for one in impact.reached] == [
        ("digits:8", ("production",), 1),
        ("digits:7", (), 1),
        ("digits:9", (), 2),
        ("digits:10", (), 3),
    ]
    assert impact == digits_registry.lineage().impact(digits_registry.dataset("digits-rows:4"))


def test_each_of_the_ten_versions_has_the_data_and_the_function_of_the_story(digits_registry: mk.Registry) -> None:
    from trained import digits

    for number, (_, rows, function) in digits.STORY.items():
        lineage = digits_registry.get(f"{digits.NAME}:{number}").lineage()
        direct = [edge.source for edge in lineage.edges if edge.target == f"{digits.NAME}:{number}"]
        assert f"data:{digits.DATA}:{rows}" in direct
        functions = [lineage.node(one).facts["function"] for one in direct if one.startswith("function:")]
        assert [name.rpartition(":")[2] for name in functions] == [function]
        assert sum(one.startswith("run:") for one in direct) == 1
        assert [one for one in direct if one.startswith("digits:")] == ([f"digits:{number - 1}"] if number > 1 else [])


def test_the_function_that_trained_the_forests_reached_six_versions(digits_registry: mk.Registry) -> None:
    lineage = digits_registry.lineage()
    (forest,) = [node for node in lineage.nodes if str(node.facts.get("function", "")).endswith("train_forest")]
    assert [node.facts["number"] for node in lineage.impact(forest).versions] == [6, 8, 5, 7, 9, 10]
    assert [one.aliases for one in lineage.impact(forest.id[:20]).in_use] == [("staging",), ("production",)]


def test_what_was_tuned_from_the_encoder_is_found_in_another_model(nets_registry: mk.Registry) -> None:
    below = nets_registry.get("encoder:1").lineage().descendants()
    assert [node.id for node in below.versions] == ["encoder:1", *(f"net:{n}" for n in range(1, 6))]
    assert [node.id for node in nets_registry.get("net:3").lineage().versions] == [
        "encoder:1",
        *(f"net:{n}" for n in range(1, 6)),
    ]
    assert [node.id for node in nets_registry.get("net:3").lineage().ancestors().versions] == [
        "encoder:1",
        *(f"net:{n}" for n in range(1, 4)),
    ]
