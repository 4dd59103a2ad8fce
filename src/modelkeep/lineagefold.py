"""What a picture shows of a lineage that is too large for one: fewer nodes, and a sentence for what was folded.

First chains: versions of a model that follow one another, where nothing branches off and no alias stands. Then whole
models. Then all but the largest. After each, nodes of a kind that hang on the same others become one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import attrs

from modelkeep.lineagenodes import ALIAS, DATASET, KINDS, PARENT, VARIANT, VERSION, Edge, Node, counted


@attrs.frozen
class Drawn:
    """What is drawn: nodes, edges, and in sentences what was folded."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    said: tuple[str, ...] = ()


def folded(nodes: Sequence[Node], edges: Sequence[Edge], most: int | None) -> Drawn:
    """At most *most* nodes, where that can be had; None: all of them.

    Example:
        >>> runs = [Node("run", f"run:{n}", f"run {n}") for n in range(9)]
        >>> edges = [Edge(run.id, "churn:1", "made by run") for run in runs]
        >>> drawn = folded([Node("version", "churn:1", "churn:1"), *runs], edges, most=5)
        >>> [node.label for node in drawn.nodes], drawn.said
        (['churn:1', '9 runs'], ('9 runs are drawn as 1 node.',))
    """
    drawn = Drawn(tuple(nodes), tuple(edges))
    steps: tuple[Callable[[Drawn], dict[str, str]], ...] = (_alike, _chains, _alike, _names, _alike)
    for step in steps:
        if most is None or len(drawn.nodes) <= most:
            break
        drawn = _merged(drawn, step(drawn))
    if most is not None and len(drawn.nodes) > most:
        drawn = _merged(drawn, _rest(drawn, most))
    return attrs.evolve(drawn, said=_said(nodes, drawn))


def _merged(drawn: Drawn, group: Mapping[str, str]) -> Drawn:
    """The same, with one node for all of a group; *group* names the group of each node that is in one."""
    members: dict[str, list[Node]] = {}
    for node in drawn.nodes:
        members.setdefault(group.get(node.id, node.id), []).append(node)
    ids = {node.id: key for key, own in members.items() for node in own}
    nodes = tuple(own[0] if len(own) == 1 else _one(key, own) for key, own in members.items())
    ids |= {node.id: here.id for here, own in zip(nodes, members.values(), strict=True) for node in own}
    edges: dict[Edge, None] = {}
    for edge in drawn.edges:
        source, target = ids[edge.source], ids[edge.target]
        if source != target:
            edges[edge if (source, target) == (edge.source, edge.target) else Edge(source, target, edge.relation)] = (
                None
            )
    return Drawn(nodes, tuple(edges))


def _one(key: str, members: Sequence[Node]) -> Node:
    count = sum(_count(node) for node in members)
    kind = members[0].kind
    what = counted(count, kind)
    names = {str(node.facts["name"]) for node in members if node.facts.get("name")}
    numbers = [n for node in members for n in _numbers(node)]
    if kind in (VERSION, DATASET) and len(names) == 1:
        span = f" {min(numbers)}…{max(numbers)}" if numbers else ""
        what = f"{next(iter(names))}: {count:,} versions{span}"
    elif kind == ALIAS and len(members) < 4:  # noqa: PLR2004  few enough to be told
        what = ", ".join(node.label for node in members)
    facts = {"count": count, "numbers": [min(numbers), max(numbers)] if numbers else []}
    return Node(kind, key, what, facts | ({"name": next(iter(names))} if len(names) == 1 else {}))


def _count(node: Node) -> int:
    count = node.facts.get("count")
    return count if type(count) is int else 1


def _numbers(node: Node) -> list[int]:
    numbers = node.facts.get("numbers", [node.facts.get("number")])
    return [n for n in numbers if type(n) is int]


# -- the steps -------------------------------------------------------------------------------------------------


def _alike(drawn: Drawn) -> dict[str, str]:
    """Nodes of a kind, versions and aliases aside, that hang on the same others in the same way."""
    beside: dict[str, set[tuple[str, str]]] = {}
    for edge in drawn.edges:
        beside.setdefault(edge.source, set()).add((">", edge.target))
        beside.setdefault(edge.target, set()).add(("<", edge.source))
    keys: dict[tuple[str, frozenset[tuple[str, str]]], str] = {}
    group = {}
    for node in drawn.nodes:
        if node.kind not in (VERSION, ALIAS) and node.id in beside:
            group[node.id] = keys.setdefault((node.kind, frozenset(beside[node.id])), f"alike {node.id}")
    return group


def _chains(drawn: Drawn) -> dict[str, str]:
    """Versions of a model that follow one another, each with one parent and one child at most, and under no alias."""
    above: Counter[str] = Counter(edge.target for edge in drawn.edges if edge.relation == PARENT)
    below: Counter[str] = Counter(edge.source for edge in drawn.edges if edge.relation == PARENT)
    kinds = {node.id: node for node in drawn.nodes}
    fixed = {edge.source for edge in drawn.edges if kinds[edge.target].kind in (ALIAS, VARIANT)}
    free = {one for one, node in kinds.items() if node.kind == VERSION and one not in fixed}
    free = {one for one in free if above[one] <= 1 and below[one] <= 1 and kinds[one].facts.get("name")}
    group: dict[str, str] = {}
    joined: dict[str, str] = {}
    for edge in drawn.edges:
        alike = kinds[edge.source].facts.get("name") == kinds[edge.target].facts.get("name")
        if edge.relation == PARENT and alike and {edge.source, edge.target} <= free:
            joined[edge.target] = edge.source
    for one in joined.keys() | joined.values():
        group[one] = f"chain {_first(one, joined, group)}"
    return group


def _first(one: str, before: Mapping[str, str], group: Mapping[str, str]) -> str:
    """Where the chain of *one* begins; in a circle, where the walk comes back to."""
    seen = {one}
    while (other := before.get(one)) is not None and other not in seen:
        one = other
        if one in group:
            return group[one].removeprefix("chain ")
        seen.add(one)
    return min(seen) if one in before else one


def _names(drawn: Drawn) -> dict[str, str]:
    """All versions and variants of a model, all versions of a dataset, all aliases of one of them."""
    group = {}
    for node in drawn.nodes:
        if node.facts.get("name") and "#" not in node.id:
            shelf = "data" if node.id.startswith("data:") and node.kind in (DATASET, ALIAS) else ""
            what = VERSION if node.kind == VARIANT else node.kind
            group[node.id] = f"all {what} {shelf}:{node.facts['name']}"
    return group


def _rest(drawn: Drawn, most: int) -> dict[str, str]:
    """All but the largest, as one for each kind."""
    ranked = sorted(drawn.nodes, key=lambda node: (-_count(node), KINDS.index(node.kind), node.id))
    return {node.id: f"other {node.kind}" for node in ranked[max(0, most - len(KINDS)) :]}


def _said(nodes: Sequence[Node], drawn: Drawn) -> tuple[str, ...]:
    before, after = (Counter(node.kind for node in some) for some in (nodes, drawn.nodes))
    return tuple(
        f"{counted(before[kind], kind)} are drawn as {counted(after[kind], 'node')}."
        for kind in KINDS
        if after[kind] < before[kind]
    )
