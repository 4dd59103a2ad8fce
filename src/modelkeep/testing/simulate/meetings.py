"""All ways in which the storage calls of two actors can meet, those left out that differ in nothing that matters.

Two calls are independent if both only read, or touch different objects; a listing touches all keys that begin with its
prefix. Orders that differ in independent neighbours alone lead to the same answers and the same objects, so one of each
kind is enough: dynamic partial-order reduction (C. Flanagan, P. Godefroid, 2005), with sleep sets (P. Godefroid, 1996).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from modelkeep.testing.simulate.world import Touch


@attrs.define
class Node:
    """A moment at which somebody goes on.

    Args:
        touches: what each actor that is not done would do next.
        chosen: who goes on.
        asleep: who need not go on here: that was tried before, and nothing since depends on it.
        wanted: who is to go on here, one after the other.
        tried: who went on here.
    """

    touches: dict[int, Touch]
    chosen: int
    asleep: frozenset[int] = frozenset()
    wanted: set[int] = attrs.Factory(set)
    tried: set[int] = attrs.Factory(set)


Choose = Callable[[dict[int, Touch]], int | None]
"""Who goes on, of those that are not done and what they would do next; None: this way is not worth going on."""


class Reduction:
    """Goes through the orders of calls, one execution after the other.

    Example::

        reduction = Reduction()
        for choose in reduction.executions():
            ...  # go on with choose({0: ..., 1: ...}) until both are done
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.clocks = _Clocks()
        self.is_done = False
        self._depth = 0

    def executions(self) -> Iterator[Choose]:
        """One function for each execution."""
        while True:
            self._depth, self.clocks = 0, _Clocks()
            yield self._choose
            while self.nodes and not self._turn(self.nodes[-1]):
                self.nodes.pop()
            if not self.nodes:
                self.is_done = True
                return

    def firsts(self) -> list[int]:
        """Those all of whose calls could come before all of the other, in orders like that of the last execution."""
        return [actor for actor in (0, 1) if self.clocks.may_precede(actor)]

    @staticmethod
    def _turn(node: Node) -> bool:
        """Choose another for this moment, if one is wanted."""
        node.tried.add(node.chosen)
        left = sorted(node.wanted - node.tried - node.asleep)
        if left:
            node.chosen = left[0]
        return bool(left)

    def _choose(self, touches: dict[int, Touch]) -> int | None:
        for actor, touch in touches.items():
            for race in self.clocks.races(actor, touch):
                self.nodes[race].wanted.add(actor)
        if self._depth == len(self.nodes):
            asleep = self._asleep()
            awake = [actor for actor in touches if actor not in asleep]
            if not awake:
                return None
            last = self.nodes[-1].chosen if self.nodes else awake[0]
            chosen = last if last in awake else awake[0]
            self.nodes.append(Node(touches, chosen, asleep, {chosen}))
        node = self.nodes[self._depth]
        self._depth += 1
        self.clocks.note(node.chosen, touches[node.chosen])
        return node.chosen

    def _asleep(self) -> frozenset[int]:
        if not self.nodes:
            return frozenset()
        node = self.nodes[-1]
        done = node.touches[node.chosen]
        return frozenset(actor for actor in node.asleep | node.tried if not node.touches[actor].meets(done))


class _Clocks:
    """Which calls of an execution happen before which: vector clocks of two actors."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Touch, tuple[int, int]]] = []
        self.now = [(0, 0), (0, 0)]

    def note(self, actor: int, touch: Touch) -> None:
        """A call was made."""
        known = self.now[actor]
        for other, before, clock in self.calls:
            if other != actor and before.meets(touch):
                known = (max(known[0], clock[0]), max(known[1], clock[1]))
        known = (known[0] + 1, known[1]) if actor == 0 else (known[0], known[1] + 1)
        self.now[actor] = known
        self.calls.append((actor, touch, known))

    def races(self, actor: int, touch: Touch) -> list[int]:
        """The last call of the other that *touch* meets, unless it happens before it anyhow; at most one."""
        for at in range(len(self.calls) - 1, -1, -1):
            other, before, clock = self.calls[at]
            if other != actor and before.meets(touch):
                return [at] if clock[other] > self.now[actor][other] else []
        return []

    def may_precede(self, actor: int) -> bool:
        """Whether all calls of *actor* may come before all of the other: none of them needs one of these."""
        return self.now[actor][1 - actor] == 0


def bounded(most: int) -> Iterator[Choose]:
    """All orders in which an actor that could go on is interrupted at most *most* times (Musuvathi, Qadeer, 2007).

    Args:
        most: interruptions; a large number gives all orders.
    """
    path: list[tuple[int, Sequence[int]]] = []  # who went on, and who may still, at each moment
    while True:
        yield _Bounded(path, most).choose
        while path and not path[-1][1]:
            path.pop()
        if not path:
            return
        _, (now, *rest) = path.pop()
        path.append((now, rest))


@attrs.define
class _Bounded:
    path: list[tuple[int, Sequence[int]]]
    left: int
    at: int = 0
    last: int | None = None

    def choose(self, touches: dict[int, Touch]) -> int:
        interrupts = self.last in touches
        if self.at == len(self.path):
            first = self.last if self.last is not None and interrupts else min(touches)
            others = [actor for actor in touches if actor != first] if self.left or not interrupts else []
            self.path.append((first, others))
        chosen = self.path[self.at][0]
        self.left -= interrupts and chosen != self.last
        self.at, self.last = self.at + 1, chosen
        return chosen
