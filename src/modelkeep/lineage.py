"""`Lineage`: versions, what they were made from, what came of them, and what stands on them now.

A value: made once from what journals and manifests say, and the same from then on. Whoever wrote those may have been a
stranger, so edges may lead in circles; every walk here visits a node once, and none recurses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element

import attrs

from modelkeep.errors import InvalidValueError
from modelkeep.impact import Impact, impact_of
from modelkeep.lineagenodes import ALIAS, DATASET, KINDS, VERSION, Edge, Node, counted
from modelkeep.lineagerefs import find

MOST = 200  # nodes that a picture shows; beyond, it folds


@attrs.frozen(slots=False, repr=False)
class Lineage:
    """Nodes and edges. Made by `Registry.lineage` and `ModelVersion.lineage`; asking it costs no request.

    Args:
        nodes: what there is, by kind and name.
        edges: what came of what.
        place: where the registry lies, without credentials.
        start: the id of the node that it was asked of, if it was.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://lineage")
        >>> first = registry.save({"w": np.ones(3)}, "encoder")
        >>> _ = registry.save({"w": np.zeros(3)}, "churn", parent=first, data=np.ones((9, 2))).promote("production")
        >>> print(registry.lineage().impact("encoder:1"))
        encoder:1 reached 1 version; 1 stands under an alias now.
        churn:1 stands under production. It was made from encoder:1.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    place: str = ""
    start: str | None = None

    @classmethod
    def of(cls, nodes: Iterable[Node], edges: Iterable[Edge], place: str = "", start: str | None = None) -> Lineage:
        """The same in order: by kind, then name and number; no edge twice, and none that leads nowhere."""
        known = {node.id: node for node in sorted(nodes, key=_order)}
        kept = {edge: None for edge in edges if edge.source in known and edge.target in known}
        return cls(tuple(known.values()), tuple(kept), place, start)

    def __repr__(self) -> str:
        return f"<Lineage of {self.start or self.place or 'nothing'}: {len(self.nodes)} nodes, {len(self.edges)} edges>"

    def __str__(self) -> str:
        return "\n".join(map(str, self.edges)) or repr(self)

    def __len__(self) -> int:
        return len(self.nodes)

    # -- asking ----------------------------------------------------------------------------------------------

    def node(self, ref: object) -> Node:
        """The node that a reference means.

        Args:
            ref: ``churn:7``, ``churn:1.3.0``, ``churn:7/onnx``, ``churn@production``; ``data:sales:3`` or, where no
                model has it, ``sales:3``; ``data:sales@golden``; a fingerprint; a commit, a run or the digest of a
                function, or at least 7 digits of it; a version, a dataset, a `Node`.

        Raises:
            NotFoundError: there is none.
            InvalidRefError: it may mean several; names them.
        """
        return find(ref, self._by_id)[0]

    def ancestors(self, ref: object = None) -> Lineage:
        """What *ref* was made from, and all that those were made from; *ref* too.

        Args:
            ref: see `node`; without it, what this lineage was asked of.

        Raises:
            NotFoundError, InvalidRefError: see `node`.
        """
        return self._within(self._up(meant := self._meant(ref)), meant[0].id)

    def descendants(self, ref: object = None) -> Lineage:
        """What came of *ref*, and of that, down to the aliases that stand on it now; *ref* too.

        Args:
            ref: see `node`; without it, what this lineage was asked of.

        Raises:
            NotFoundError, InvalidRefError: see `node`.
        """
        return self._within(self._down(meant := self._meant(ref)), meant[0].id)

    def around(self, refs: Iterable[object]) -> Lineage:
        """The ancestors and descendants of all *refs* together; one alone is what the result was asked of."""
        meant = [node for ref in refs for node in find(ref, self._by_id)]
        return self._within(self._up(meant) | self._down(meant), meant[0].id if len(meant) == 1 else None)

    def impact(self, of: object) -> Impact:
        """The versions that something reached, by which way, and the aliases that stand on them now.

        Args:
            of: see `node`: a dataset that turned out bad, a commit, a version.

        Raises:
            NotFoundError, InvalidRefError: see `node`.
        """
        return impact_of(find(of, self._by_id), self._below, self._by_id)

    @property
    def versions(self) -> tuple[Node, ...]:
        """The versions of models, by name and number."""
        return self._of_kind(VERSION)

    @property
    def datasets(self) -> tuple[Node, ...]:
        """The versions of datasets, and data that is known by its fingerprint alone."""
        return self._of_kind(DATASET)

    @property
    def aliases(self) -> tuple[Node, ...]:
        """The aliases, by name."""
        return self._of_kind(ALIAS)

    # -- handing on ------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``nodes`` and ``edges``."""
        return {
            "place": self.place,
            "start": self.start,
            "nodes": [node.to_dict() for node in self.nodes],
            "edges": [edge.to_dict() for edge in self.edges],
        }

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each edge.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame([attrs.asdict(edge) for edge in self.edges], columns=[a.name for a in attrs.fields(Edge)])

    def to_networkx(self) -> Any:
        """A `networkx.MultiDiGraph`; nodes have ``kind``, ``label`` and their facts, edges ``relation`` and ``note``.

        Raises:
            ModuleNotFoundError: networkx is not installed; says how to install it.
        """
        try:
            import networkx as nx
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"to_networkx() needs networkx, which is not installed ({error}); pip install networkx", name=error.name
            ) from error
        graph = nx.MultiDiGraph()
        graph.add_nodes_from((node.id, {"kind": node.kind, "label": node.label, **node.facts}) for node in self.nodes)
        graph.add_edges_from((e.source, e.target, {"relation": e.relation, "note": e.note}) for e in self.edges)
        return graph

    def to_text(self, *, most: int | None = MOST) -> str:
        """A tree for a terminal: of what it was asked of, origins and what came of it; else of each end its origins.

        Args:
            most: of more nodes some are folded into one, with a sentence that says so; None: never.

        Example:
            >>> nodes = [Node("dataset", "data:sales:1", "sales:1"), Node("version", "churn:1", "churn:1")]
            >>> print(Lineage.of(nodes, [Edge("data:sales:1", "churn:1", "trained on")]).to_text(), end="")
            churn:1
            └─ trained on data:sales:1
        """
        from modelkeep.lineagetree import tree

        return tree(self.nodes, self.edges, self.start, most)

    def to_mermaid(self, *, most: int | None = MOST) -> str:
        """A flow chart for Markdown; of more than *most* nodes folded, None: never.

        Example:
            >>> print(Lineage((Node("version", "churn:1", "churn:1"),), ()).to_mermaid().splitlines()[1])
              n0("churn:1"):::version
        """
        from modelkeep.lineagetext import mermaid

        return mermaid(self.nodes, self.edges, most)

    def to_dot(self, *, most: int | None = MOST) -> str:
        """A graph for Graphviz; of more than *most* nodes folded, None: never."""
        from modelkeep.lineagetext import dot

        return dot(self.nodes, self.edges, most)

    def to_svg(self, *, most: int | None = MOST) -> str:
        """A picture of its own, in black and the reader's colour; of more than *most* nodes folded, None: never."""
        from modelkeep.lineagesvg import picture
        from modelkeep.markup import render

        return render(picture(self.nodes, self.edges, most)[0])

    def to_openlineage(self) -> list[dict[str, Any]]:
        """Events of runs as OpenLineage 2-0-2 has them, a START and a COMPLETE for each version, oldest first.

        Versions that lie elsewhere, were purged or cannot be read made no event.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> v = mk.Registry("memory://openlineage").save({"w": np.ones(3)}, "churn")
            >>> [event["eventType"] for event in v.lineage().to_openlineage()]
            ['START', 'COMPLETE']
        """
        from modelkeep.openlineage import events

        return events(self.nodes, self.edges, self.place)

    def _repr_html_(self) -> str:
        from modelkeep.markup import view

        return view(self.element())

    def element(self) -> Element:
        """A picture with a line of what is in it, as a part of a page; of more than 200 nodes folded."""
        from modelkeep.lineagesvg import picture
        from modelkeep.markup import tag

        drawn, said = picture(self.nodes, self.edges, MOST)
        counts = {kind: len(self._of_kind(kind)) for kind in KINDS}
        told = ", ".join(counted(count, kind) for kind, count in counts.items() if count)
        return tag(
            "div",
            tag("p", f"Lineage of {self.start or self.place}: {told or 'nothing'}"),
            [tag("p", sentence, class_="soft") for sentence in said],
            tag("div", drawn, class_="wide"),
        )

    # -- walking ---------------------------------------------------------------------------------------------

    @cached_property
    def _by_id(self) -> Mapping[str, Node]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def _below(self) -> Mapping[str, list[Edge]]:
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.source, []).append(edge)
        return found

    @cached_property
    def _above(self) -> Mapping[str, list[Edge]]:
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.target, []).append(edge)
        return found

    def _of_kind(self, kind: str) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.kind == kind)

    def _meant(self, ref: object) -> tuple[Node, ...]:
        if ref is None and self.start is None:
            raise InvalidValueError("this lineage was asked of no version; say of what, such as 'churn:7'", key="ref")
        return find(self.start if ref is None else ref, self._by_id)

    def _up(self, starts: Iterable[Node]) -> set[str]:
        return _reached(starts, lambda one: [edge.source for edge in self._above.get(one, ())])

    def _down(self, starts: Iterable[Node]) -> set[str]:
        return _reached(starts, lambda one: [edge.target for edge in self._below.get(one, ())])

    def _within(self, kept: set[str], start: str | None) -> Lineage:
        nodes = tuple(node for node in self.nodes if node.id in kept)
        edges = tuple(edge for edge in self.edges if edge.source in kept and edge.target in kept)
        return Lineage(nodes, edges, self.place, start)


def _reached(starts: Iterable[Node], beside: Callable[[str], list[str]]) -> set[str]:
    seen = {node.id for node in starts}
    waiting = deque(seen)
    while waiting:
        news = [other for other in beside(waiting.popleft()) if other not in seen]
        seen.update(news)
        waiting += news
    return seen


def _order(node: Node) -> tuple[int, str, int, str]:
    number = node.facts.get("number")
    return KINDS.index(node.kind), str(node.facts.get("name", "")), number if type(number) is int else 0, node.id
