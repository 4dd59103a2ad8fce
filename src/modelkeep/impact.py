"""`Impact`: what something reached, by which way, and what stands on it now."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from modelkeep.lineagenodes import ALIAS, VERSION, Edge, Node

_TOLD = 3  # steps of a way that a sentence tells one by one


@attrs.frozen
class Reached:
    """A version that something reached.

    Args:
        version: the node.
        way: a shortest way there, edge by edge.
        aliases: those that stand on it now.
    """

    version: Node
    way: tuple[Edge, ...]
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        where = f"stands under {', '.join(self.aliases)}" if self.aliases else "stands under no alias"
        return f"{self.version} {where}. It was {_way(self.way)}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "version": self.version.id,
            "state": self.version.state,
            "aliases": list(self.aliases),
            "steps": len(self.way),
            "way": [edge.to_dict() for edge in self.way],
        }


@attrs.frozen
class Impact:
    """The versions that something reached: those under an alias first, then by how many steps away.

    Args:
        of: what it was asked of; several nodes only where their data is equal.
        reached: the versions; what it was asked of is not among them.

    Its text is a sentence for each.
    """

    of: tuple[Node, ...]
    reached: tuple[Reached, ...]

    @property
    def versions(self) -> tuple[Node, ...]:
        """The versions alone."""
        return tuple(one.version for one in self.reached)

    @property
    def in_use(self) -> tuple[Reached, ...]:
        """Those that stand under an alias now."""
        return tuple(one for one in self.reached if one.aliases)

    def __str__(self) -> str:
        return "\n".join([self._head(), *map(str, self.reached)])

    def _head(self) -> str:
        count, used = len(self.reached), len(self.in_use)
        what = " = ".join(map(str, self.of))
        if not count:
            return f"{what} reached no version."
        stand = "1 stands" if used == 1 else f"{used or 'none'} stand{'' if used else 's'}"
        return f"{what} reached {count} version{'s' if count > 1 else ''}; {stand} under an alias now."

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"of": [node.id for node in self.of], "reached": [one.to_dict() for one in self.reached]}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each version.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        columns = ["version", "state", "aliases", "steps", "by"]
        return pd.DataFrame([self._row(one) for one in self.reached], columns=columns)

    def _row(self, one: Reached) -> list[Any]:
        return [one.version.id, one.version.state, ", ".join(one.aliases), len(one.way), _way(one.way)]

    def _repr_html_(self) -> str:
        from modelkeep.markup import table, view

        return view(
            table(["version", "state", "aliases", "steps", "by"], map(self._row, self.reached), caption=self._head())
        )


def impact_of(of: tuple[Node, ...], below: Mapping[str, Sequence[Edge]], nodes: Mapping[str, Node]) -> Impact:
    """What *of* reached.

    Args:
        of: the nodes that are looked at.
        below: the edges that begin at each node.
        nodes: by id.
    """
    came = _came(of, below)
    found = [
        Reached(nodes[one], _back(one, came), _aliases(one, below, nodes))
        for one in came
        if nodes[one].kind == VERSION and came[one] is not None
    ]
    found.sort(key=lambda one: (not one.aliases, len(one.way), _natural(one.version)))
    return Impact(of, tuple(found))


def _came(of: Sequence[Node], below: Mapping[str, Sequence[Edge]]) -> dict[str, Edge | None]:
    """By which edge each node was reached first; None for where the walk began."""
    came: dict[str, Edge | None] = {node.id: None for node in of}
    waiting = deque(came)
    while waiting:
        for edge in below.get(waiting.popleft(), ()):
            if edge.target not in came:
                came[edge.target] = edge
                waiting.append(edge.target)
    return came


def _back(one: str, came: Mapping[str, Edge | None]) -> tuple[Edge, ...]:
    way = []
    edge = came[one]
    while edge is not None:
        way.append(edge)
        edge = came[edge.source]
    return tuple(reversed(way))


def _aliases(one: str, below: Mapping[str, Sequence[Edge]], nodes: Mapping[str, Node]) -> tuple[str, ...]:
    stood = (nodes[edge.target] for edge in below.get(one, ()))
    return tuple(sorted(str(node.facts.get("alias", node.label)) for node in stood if node.kind == ALIAS))


def _way(way: Sequence[Edge]) -> str:
    """The way in words, from the version back to where it began."""
    steps = [edge.said() for edge in reversed(way)]
    if len(steps) > _TOLD + 1:
        steps = [steps[0], f"made through {len(steps) - 2:,} more steps from what was {steps[-1]}"]
        return ", which was ".join(steps)
    return ", which was ".join(steps)


def _natural(node: Node) -> tuple[str, int]:
    number = node.facts.get("number")
    return str(node.facts.get("name", node.id)), number if type(number) is int else 0
