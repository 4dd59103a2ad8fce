"""A lineage as a tree of text: what a node was made from, and what came of it; each node once."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from modelkeep.lineagefold import folded
from modelkeep.lineagenodes import ALIAS, CODE, DATASET, HERE, RUN, Edge, Node
from modelkeep.markup import readable

DEEP = 8  # steps in; what lies deeper begins anew at the left, so that 80 columns hold a chain of any length

_FORK, _END, _ON, _BLANK = "├─ ", "└─ ", "│  ", "   "
_ASKED = {"data": DATASET, "commit": CODE, "run": RUN}  # what an id, and so a reference, begins with
PLAIN = str.maketrans("├└│─", "|`|-")  # for a terminal that has nothing but ASCII

Step = tuple[str, str]  # the id of a node, and what is said of it
Steps = Mapping[str, Sequence[Step]]  # those from each node


def tree(nodes: Sequence[Node], edges: Sequence[Edge], start: str | None, most: int | None) -> str:
    """Text of a line for each node; see `Lineage.to_text`."""
    drawn = folded(nodes, edges, most)
    names = {node.id: _name(node) for node in drawn.nodes}
    above: dict[str, list[Step]] = defaultdict(list)
    below: dict[str, list[Step]] = defaultdict(list)
    for edge in drawn.edges:
        above[edge.target].append((edge.source, _on_a_line(edge.said(names[edge.source]))))
        below[edge.source].append((edge.target, _on_a_line(f"{names[edge.target]} {edge.note}")))
    if start in names:
        lines = [*_grown([start], above, names)]
        if below[start]:
            lines += ["", *_grown([start], below, {**names, start: f"what came of {names[start]}"})]
    else:
        ends = [node for node in drawn.nodes if not below[node.id]]
        ends.sort(key=lambda node: node.kind != ALIAS)  # first what is in use
        lines = [*_grown([node.id for node in (*ends, *drawn.nodes)], above, names)]  # circles have no end
    return "".join(f"{line}\n" for line in (*lines, *drawn.said))


def _name(node: Node) -> str:
    """As it may be asked for, where that is short."""
    what = node.id.partition(":")[0]
    text = f"{what}:{node.label.removeprefix('run ')}" if _ASKED.get(what) == node.kind else node.label
    return _on_a_line(text if node.state == HERE else f"{text} ({node.state})")


def _on_a_line(text: str) -> str:
    return " ".join(readable(text).split())


def _grown(roots: Iterable[str], steps: Steps, names: Mapping[str, str]) -> Iterator[str]:
    """The lines below all roots. Each node is told in full once; where it comes again, it says where that is."""
    told: set[str] = set()
    waiting = deque(roots)
    while waiting:
        root = waiting.popleft()
        growing = [] if root in told else [(root, names[root], "", "")]
        while growing:
            one, said, before, inner = growing.pop()
            following = steps.get(one, [])
            if one not in told and following and len(inner) >= DEEP * len(_FORK):
                waiting.appendleft(one)
                yield f"{before}{said} (below)"
                continue
            yield f"{before}{said}{' (above)' if one in told and following else ''}"
            growing += [] if one in told else _inside(following, steps, inner)
            told.add(one)


def _inside(following: Sequence[Step], steps: Steps, inner: str) -> Iterator[tuple[str, str, str, str]]:
    """The steps from a node, last first: each with what is said, and what stands before it and before its own."""
    own_first = sorted(following, key=lambda step: step[0] in steps)  # what leads on comes after what ends there
    for place, (one, said) in enumerate(reversed(own_first)):
        yield (one, said, f"{inner}{_FORK if place else _END}", f"{inner}{_ON if place else _BLANK}")
