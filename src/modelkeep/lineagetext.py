"""A lineage as text for others to draw: Mermaid and DOT. What comes from outside is a label there, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from modelkeep.lineagefold import folded
from modelkeep.lineagenodes import ALIAS, CODE, DATASET, HERE, RUN, STANDS_AT, VARIANT, VERSION, Edge, Node
from modelkeep.markup import readable

# By kind a shape, so that colour is never needed, and a colour of Okabe and Ito, told apart by the colour-blind.
_MERMAID = {
    VERSION: ('("', '")'),
    VARIANT: ('["', '"]'),
    DATASET: ('[("', '")]'),
    CODE: ('{{"', '"}}'),
    RUN: ('(["', '"])'),
    ALIAS: ('>"', '"]'),
}
_DOT = {
    VERSION: 'shape="box", style="rounded"',
    VARIANT: 'shape="component"',
    DATASET: 'shape="cylinder"',
    CODE: 'shape="note"',
    RUN: 'shape="ellipse"',
    ALIAS: 'shape="cds"',
}
_COLOURS = {
    VERSION: "#0072b2",
    VARIANT: "#56b4e9",
    DATASET: "#e69f00",
    CODE: "#cc79a7",
    RUN: "#7f7f7f",
    ALIAS: "#009e73",
}
_PLAIN = frozenset(" .,:@/_-…")  # what Mermaid takes as it stands, beside letters and digits


def shown_label(node: Node) -> str:
    """What a picture says of a node: its label, and its state if it is not simply there."""
    return node.label if node.state == HERE else f"{node.label} ({node.state})"


def mermaid(nodes: Sequence[Node], edges: Sequence[Edge], most: int | None) -> str:
    """A flow chart of Mermaid; see `Lineage.to_mermaid`."""
    drawn = folded(nodes, edges, most)
    ids = {node.id: f"n{at}" for at, node in enumerate(drawn.nodes)}
    lines = ["flowchart TD", *(f"  %% {sentence}" for sentence in drawn.said)]
    for node in drawn.nodes:
        begin, end = _MERMAID[node.kind]
        lines.append(f"  {ids[node.id]}{begin}{mermaid_text(shown_label(node))}{end}:::{node.kind}")
    for edge in drawn.edges:
        arrow = "-.->" if edge.relation == STANDS_AT else "-->"
        note = f'|"{mermaid_text(edge.note)}"|' if edge.note else ""
        lines.append(f"  {ids[edge.source]} {arrow}{note} {ids[edge.target]}")
    kinds = dict.fromkeys(node.kind for node in drawn.nodes)
    lines += [f"  classDef {kind} stroke:{_COLOURS[kind]},stroke-width:2px" for kind in kinds]
    return "\n".join(lines) + "\n"


def mermaid_text(text: str) -> str:
    """*text* for between quotes: all but letters, digits and a few signs as Mermaid's codes for characters.

    Example:
        >>> mermaid_text('a"b')
        'a#34;b'
    """
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in readable(text))


def dot(nodes: Sequence[Node], edges: Sequence[Edge], most: int | None) -> str:
    """A graph of Graphviz; see `Lineage.to_dot`."""
    drawn = folded(nodes, edges, most)
    ids = {node.id: f"n{at}" for at, node in enumerate(drawn.nodes)}
    lines = ["digraph lineage {", *(f"  // {sentence}" for sentence in drawn.said), '  node [fontname="sans-serif"];']
    for node in drawn.nodes:
        label, whole = dot_text(shown_label(node)), dot_text(node.id)
        look = f'{_DOT[node.kind]}, color="{_COLOURS[node.kind]}"'
        lines.append(f'  {ids[node.id]} [label="{label}", tooltip="{whole}", {look}];')
    for edge in drawn.edges:
        note = f', label="{dot_text(edge.note)}"' if edge.note else ""
        line = "dashed" if edge.relation == STANDS_AT else "solid"
        lines.append(f'  {ids[edge.source]} -> {ids[edge.target]} [style="{line}"{note}];')
    return "\n".join([*lines, "}"]) + "\n"


def dot_text(text: str) -> str:
    r"""*text* for between quotes: no backslash means a place or a name, and no ampersand a character.

    Example:
        >>> dot_text('a"b\\n')
        'a\\"b\\\\n'
    """
    plain = "".join(" " if c in "\t\n\r" else c for c in readable(text))
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
