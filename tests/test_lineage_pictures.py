"""Pictures of a lineage: any text is a label there and nothing else, and what is too large folds and says so."""

from __future__ import annotations

import html
import random
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelkeep as mk
from modelkeep.layered import layered
from modelkeep.lineage import Lineage
from modelkeep.lineagefold import folded
from modelkeep.lineagenodes import ALIAS, KINDS, PARENT, STANDS_AT, TRAINED_ON, VARIANT_OF, Edge, Node
from modelkeep.lineagetext import dot_text
from modelkeep.markup import readable

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    '"];evil["', '"]:::x\n  click n0 href "javascript:alert(1)"', "end", "<script>alert(1)</script>", "#quot;",
    "&lt;b&gt;", "\\N\\G\\n", 'a\\"', "%%{init: {}}%%", "`**bold**`", "a\u2028b", "\x00", "\u202etxt", "TD; A-->B",
    "</svg>", "]]>", "日本語", "|x|", "<img src=x onerror=alert(1)>", "{{", "é" * 50, "",
]  # fmt: skip


def version(number: int, name: str = "m", **facts: object) -> Node:
    return Node("version", f"{name}:{number}", f"{name}:{number}", {"name": name, "number": number, **facts})


def labelled(*labels: str) -> Lineage:
    """A node of each kind in turn with these labels, each made from the one before; notes are as the labels."""
    nodes = [Node(KINDS[at % len(KINDS)], f"{at} {label}", label) for at, label in enumerate(labels)]
    edges = [Edge(a.id, b.id, TRAINED_ON, b.label) for a, b in pairwise(nodes)]
    return Lineage(tuple(nodes), tuple(edges))


def chain(count: int, name: str = "m") -> tuple[list[Node], list[Edge]]:
    nodes = [version(n, name) for n in range(1, count + 1)]
    return nodes, [Edge(a.id, b.id, PARENT) for a, b in pairwise(nodes)]


# -- Mermaid -------------------------------------------------------------------------------------------------------

SHAPES = {
    "version": '("%s")',
    "variant": '["%s"]',
    "dataset": '[("%s")]',
    "code": '{{"%s"}}',
    "run": '(["%s"])',
    "alias": '>"%s"]',
}
TEXT = r"(?:[^\W]|[ .,:@/\-…]|#\d+;)*"
LINES = [
    *(r"  (n\d+)" + re.escape(shape).replace("%s", f"({TEXT})") + f":::{kind}" for kind, shape in SHAPES.items()),
    rf'  (n\d+) (?:-->|-\.->)(?:\|"({TEXT})"\|)? n\d+',
    r"  classDef [a-z]+ stroke:#[0-9a-f]{6},stroke-width:2px",
]


def read_mermaid(chart: str) -> list[str]:
    """The labels and notes in order; each line must be one that we mean to write."""
    head, *lines = chart.removesuffix("\n").split("\n")
    assert head == "flowchart TD"
    found = []
    for line in lines:
        whole = next((match for form in LINES if (match := re.fullmatch(form, line))), None)
        assert whole, line
        if whole.re.groups and whole[2] is not None:
            found.append(re.sub(r"#(\d+);", lambda code: chr(int(code[1])), whole[2]))
    return found


def said(lineage: Lineage) -> list[str]:
    return [readable(node.label) for node in lineage.nodes] + [
        readable(edge.note) for edge in lineage.edges if edge.note
    ]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_any_text_is_a_label_of_mermaid_and_nothing_else(labels: list[str]) -> None:
    lineage = labelled(*labels)
    assert read_mermaid(lineage.to_mermaid()) == said(lineage)


def test_hostile_texts_are_labels_of_mermaid() -> None:
    lineage = labelled(*HOSTILE)
    assert read_mermaid(lineage.to_mermaid()) == said(lineage)


def test_mermaid_has_a_shape_for_each_kind_and_a_dotted_line_to_an_alias() -> None:
    lineage = Lineage((version(1), Node("alias", "m@live", "m@live")), (Edge("m:1", "m@live", STANDS_AT),))
    assert lineage.to_mermaid().splitlines() == [
        "flowchart TD",
        '  n0("m:1"):::version',
        '  n1>"m@live"]:::alias',
        "  n0 -.-> n1",
        "  classDef version stroke:#0072b2,stroke-width:2px",
        "  classDef alias stroke:#009e73,stroke-width:2px",
    ]


# -- DOT -----------------------------------------------------------------------------------------------------------


def read_dot(text: str) -> dict[str, list[str]]:
    """The texts that Graphviz draws, of nodes and of edges."""
    drawn = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=True, timeout=60)
    assert drawn.stderr == b""
    found: dict[str, list[str]] = {"node": [], "edge": []}
    for group in ET.fromstring(drawn.stdout).iter(f"{SVG}g"):
        if group.get("class") in found:
            found[str(group.get("class"))].append(spaces("".join(one.text or "" for one in group.iter(f"{SVG}text"))))
    return found


def spaces(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\xa0", " ")).strip()


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs dot of Graphviz")
@settings(max_examples=25)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_any_text_is_a_label_of_graphviz_and_nothing_else(labels: list[str]) -> None:
    check_dot(labels)


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs dot of Graphviz")
def test_hostile_texts_are_labels_of_graphviz() -> None:
    check_dot(HOSTILE)


def check_dot(labels: list[str]) -> None:
    lineage = labelled(*labels)
    found = read_dot(lineage.to_dot())
    assert sorted(found["node"]) == sorted(spaces(readable(node.label)) for node in lineage.nodes)
    wanted = [spaces(readable(edge.note)) for edge in lineage.edges]
    assert sorted(found["edge"]) == sorted(wanted)


@given(st.text())
def test_a_text_of_dot_ends_where_its_quote_ends(text: str) -> None:
    quoted = f'"{dot_text(text)}"'
    assert re.fullmatch(r'"(?:[^"\\\n]|\\["\\])*"', quoted)
    back = html.unescape(re.sub(r"\\(.)", r"\1", quoted[1:-1]).replace("&amp;", "&amp;amp;"))
    assert back == re.sub(r"[\t\n\r]", " ", readable(text)).replace("&", "&amp;")


# -- SVG -----------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.keys: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.keys.update(key for key, _ in attrs)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8))
def test_any_text_is_text_in_a_picture_that_is_sound_xml(labels: list[str]) -> None:
    lineage = labelled(*labels)
    root = ET.fromstring(lineage.to_svg())
    wanted = [re.sub("\r\n?", "\n", readable(node.label)) for node in lineage.nodes]  # as XML is read
    assert [one.text or "" for one in root.iter(f"{SVG}text")] == wanted


def test_hostile_texts_are_text_in_a_picture_and_in_a_notebook() -> None:
    lineage = labelled(*HOSTILE)
    whole = "".join(HOSTILE)
    for found in (
        Elements(lineage.to_svg()),
        Elements(lineage._repr_html_()),
        Elements(lineage.impact(lineage.nodes[0])._repr_html_()),
    ):
        assert "<script>" in whole
        assert not {"script", "img", "b", "foreignobject", "a"} & set(found.names)
        assert not any(key.startswith("on") or key in ("style", "href") for key in found.keys)


def test_a_picture_has_the_readers_colour_and_a_class_and_outline_for_each_kind() -> None:
    lineage = labelled("a", "b", "c", "d", "e", "f")
    root = ET.fromstring(lineage.to_svg())
    boxes = {
        one.get("class"): one.find(f"{SVG}path") for one in root.iter(f"{SVG}g") if "node" in str(one.get("class"))
    }
    assert set(boxes) == {f"node kind-{kind}" for kind in KINDS}
    outlines = [re.sub(r"[-0-9.]+", "", str(path.get("d"))) for path in boxes.values() if path is not None]
    assert len(outlines) == len(KINDS) == len(set(outlines)) + 1  # version and run differ by how round they are
    colours = {one.get(key) for one in root.iter() for key in ("stroke", "fill") if one.get(key)}
    assert colours == {"currentColor", "none"}


def test_the_label_of_a_dataset_stands_clear_of_the_rim_and_the_foot_of_its_cylinder() -> None:
    root = ET.fromstring(Lineage((Node("dataset", "data:sales:1", "sales:1"),), ()).to_svg())
    font = float(root.attrib["font-size"])
    (baseline,) = [float(one.attrib["y"]) for one in root.iter(f"{SVG}text")]
    outline = next(one.attrib["d"] for one in root.iter(f"{SVG}path"))
    found = re.match(r"M\S+ (\S+?)a\S+ (\S+) .*?v([0-9.]+)a", outline)
    assert found is not None
    shoulder, rim, side = map(float, found.groups())
    assert shoulder + rim < baseline - font, "the lowest point of the rim is above the highest letters"
    assert baseline + 0.25 * font < shoulder + side, "and the foot below the lowest"


def test_what_is_not_simply_there_is_dashed_and_says_so() -> None:
    gone = version(1, state="purged")
    root = ET.fromstring(Lineage((gone,), ()).to_svg())
    (box,) = [one for one in root.iter(f"{SVG}g") if "node" in str(one.get("class"))]
    assert [one.text for one in box.iter(f"{SVG}text")] == ["m:1 (purged)"]
    assert box.find(f"{SVG}path").get("stroke-dasharray") == "4 3"  # type: ignore[union-attr]


def test_an_empty_lineage_has_pictures_too() -> None:
    empty = Lineage((), (), "memory://empty")
    assert ET.fromstring(empty.to_svg()).get("viewBox") == "0 0 12 12"
    assert empty.to_mermaid() == "flowchart TD\n"
    assert "memory://empty: nothing" in empty._repr_html_()


# -- layout --------------------------------------------------------------------------------------------------------

graphs = st.integers(1, 14).flatmap(
    lambda count: st.tuples(
        st.lists(st.tuples(st.floats(5, 90), st.just(20.0)), min_size=count, max_size=count),
        st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=30),
    )
)


@given(graphs)
def test_boxes_never_overlap_and_lie_within_the_picture(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    layout = layered(sizes, edges, apart=7, between=11)
    for at, ((x, y), (width, height)) in enumerate(zip(layout.places, sizes, strict=True)):
        assert -1e-6 <= x - width / 2 <= x + width / 2 <= layout.width + 1e-6
        assert 0 <= y - height / 2 <= y + height / 2 <= layout.height
        for (x2, y2), (other, _) in zip(layout.places[:at], sizes, strict=False):
            assert y2 != y or abs(x - x2) >= (width + other) / 2 + 7 - 1e-6


@given(graphs)
def test_each_line_runs_from_its_source_to_its_target_in_one_direction(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = graph
    layout = layered(sizes, edges)
    for (source, target), way in zip(edges, layout.ways, strict=True):
        assert (way[0], way[-1]) == (layout.places[source], layout.places[target])
        heights = [y for _, y in way]
        assert source == target or heights in (sorted(set(heights)), sorted(set(heights), reverse=True))


@given(graphs)
def test_without_circles_every_line_leads_down(graph: tuple[list[tuple[float, float]], list[tuple[int, int]]]) -> None:
    sizes, edges = graph
    down = [(a, b) for a, b in edges if a < b]
    for source, target in down:
        places = layered(sizes, down).places
        assert places[source][1] < places[target][1]


def test_lines_of_a_tree_that_was_shuffled_do_not_cross() -> None:
    order = list(range(1, 63))
    random.Random(0).shuffle(order)
    names = [0, *order]
    edges = [(names[(n - 1) // 2], names[n]) for n in range(1, 63)]
    layout = layered([(10.0, 10.0)] * 63, edges)
    drawn = [(layout.places[a], layout.places[b]) for a, b in edges]
    crossing = [(p, q) for p in drawn for q in drawn if p[0][1] == q[0][1] and p[0][0] < q[0][0] and p[1][0] > q[1][0]]
    assert crossing == []


def test_a_layout_of_the_largest_picture_with_the_longest_lines_is_bounded() -> None:
    edges = [(n, n + 1) for n in range(1, 199)] + [(0, n) for n in range(1, 200)]
    layout = layered([(60.0, 28.0)] * 200, edges)
    assert sum(map(len, layout.ways)) < 40_000
    assert layout.width < 400


# -- folding -------------------------------------------------------------------------------------------------------


def test_two_hundred_nodes_are_drawn_as_they_are() -> None:
    nodes, edges = chain(200)
    drawn = folded(nodes, edges, 200)
    assert (drawn.nodes, drawn.edges, drawn.said) == (tuple(nodes), tuple(edges), ())


def test_a_chain_becomes_one_node_that_names_its_numbers_and_an_alias_keeps_its_version() -> None:
    nodes, edges = chain(30)
    nodes.append(Node(ALIAS, "m@live", "m@live", {"name": "m", "alias": "live"}))
    edges.append(Edge("m:14", "m@live", STANDS_AT))
    drawn = folded(nodes, edges, 10)
    assert [node.label for node in drawn.nodes] == ["m: 13 versions 1…13", "m:14", "m: 16 versions 15…30", "m@live"]
    ids = {node.id: node.label for node in drawn.nodes}
    assert {(ids[e.source], ids[e.target]) for e in drawn.edges} == {
        ("m: 13 versions 1…13", "m:14"), ("m:14", "m: 16 versions 15…30"), ("m:14", "m@live")
    }  # fmt: skip
    assert drawn.said == ("30 versions are drawn as 3 nodes.",)


def test_a_branch_ends_a_chain() -> None:
    nodes, edges = chain(9)
    nodes.append(version(10))
    edges.append(Edge("m:4", "m:10", PARENT))
    labels = [node.label for node in folded(nodes, edges, 5).nodes]
    assert labels == ["m: 3 versions 1…3", "m:4", "m: 5 versions 5…9", "m:10"]


def test_beyond_chains_models_and_then_all_but_the_largest_become_one() -> None:
    nodes: list[Node] = []
    edges: list[Edge] = []
    for m in range(40):
        own, between = chain(5, f"m{m:02d}")
        nodes += [*own, Node("variant", f"m{m:02d}:1/x", "1/x", {"name": f"m{m:02d}", "number": 1})]
        edges += [*between, Edge(own[0].id, f"m{m:02d}:1/x", VARIANT_OF)]
    drawn = folded(nodes, edges, 45)
    assert [node.label for node in drawn.nodes[:2]] == ["m00: 6 versions 1…5", "m01: 6 versions 1…5"]
    assert len(drawn.nodes) == 40
    few = folded(nodes, edges, 10)
    assert [node.facts["count"] for node in few.nodes] == [6] * 4 + [216]
    assert few.nodes[-1].label == "216 versions"


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=60), st.integers(8, 30))
def test_folding_any_graph_keeps_each_node_in_one_and_is_small_enough(arcs: list[tuple[int, int]], most: int) -> None:
    nodes = [version(n, f"m{n % 7}") for n in range(1, 41)]
    edges = [Edge(nodes[a - 1].id, nodes[b - 1].id, PARENT) for a, b in arcs]
    drawn = folded(nodes, edges, most)
    assert len(drawn.nodes) <= most
    assert sum(int(node.facts.get("count", 1)) for node in drawn.nodes) == 40
    ids = {node.id for node in drawn.nodes}
    assert all(edge.source in ids and edge.target in ids and edge.source != edge.target for edge in drawn.edges)
    assert len(ids) == len(drawn.nodes)


def test_what_was_folded_is_told_in_each_picture_and_none_folds_when_asked_not_to() -> None:
    nodes, edges = chain(300)
    lineage = Lineage.of(nodes, edges)
    sentence = "300 versions are drawn as 1 node."
    assert f"%% {sentence}" in lineage.to_mermaid()
    assert f"// {sentence}" in lineage.to_dot()
    assert sentence in lineage._repr_html_()
    assert lineage.to_mermaid(most=None).count(":::version") == 300
    assert lineage.to_svg(most=None).count('class="node kind-version"') == 300


def test_the_picture_of_the_ten_versions_has_every_node_once(digits_registry: mk.Registry) -> None:
    lineage = digits_registry.lineage()
    root = ET.fromstring(lineage.to_svg())
    assert sorted(str(one.text) for one in root.iter(f"{SVG}text")) == sorted(node.label for node in lineage.nodes)
    assert sum(one.get("class") == "edge" for one in root.iter(f"{SVG}g")) == len(lineage.edges)
