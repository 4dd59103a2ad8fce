"""Whether what users were told can be told by one operation after the other: the search of Wing, Gong and Lowe.

J. M. Wing, C. Gong: Testing and verifying concurrent objects, 1993; G. Lowe: Testing for linearizability, 2017. An
order is looked for in which each operation takes effect between its beginning and its answer, and every answer is
right. What was tried is kept as a pair, of the operations that are in order and the state that they lead to, and never
tried again.

An operation without an answer may have taken effect at any time after it began, or never.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from modelkeep.testing.simulate.history import NEVER, UNSAID, Call, History
from modelkeep.testing.simulate.sequential import (
    WRITES,
    Releases,
    Step,
    Versions,
    field_step,
    purge,
    releases_step,
    versions_step,
)

MOST = 20_000  # configurations, beyond which a search gives up


@attrs.frozen(slots=True)
class Operation:
    """What one call says of one journal.

    Args:
        begun: when it began.
        ended: when it was answered.
        step: what it does to a state; see `sequential`.
        surely: whether it took effect; else it may have.
        writes: whether it changes some states; a read changes none.
        about: the call, for messages.
    """

    begun: int
    ended: int
    step: Step
    surely: bool = True
    writes: bool = True
    about: Any = None


@attrs.frozen
class Search:
    """What a search came to.

    Args:
        explained: whether there is an order; None: not found, and not all was tried.
        configurations: how many branches were looked at.
        stuck: operations of which none fits after the longest order that was found.
    """

    explained: bool | None
    configurations: int
    stuck: tuple[Any, ...] = ()


def search(operations: Iterable[Operation], start: Any, most: int = MOST) -> Search:
    """Look for an order that explains *operations* from the state *start* on."""
    ordered = sorted(operations, key=lambda operation: operation.begun)
    return _Searching(
        [operation for operation in ordered if operation.surely],
        [operation for operation in ordered if not operation.surely],
        most,
    ).run(start)


_Config = tuple[int, int, int, Any]  # those that are in order: all before the first, bits of others, bits of the open


@attrs.define
class _Searching:
    sure: Sequence[Operation]
    open_: Sequence[Operation]
    most: int
    tried: set[tuple[int, int, int, Any]] = attrs.Factory(set)
    furthest: int = -1
    stuck: tuple[Any, ...] = ()

    def run(self, start: Any) -> Search:
        branches: list[_Config] = [(0, 0, 0, start)]
        looked_at = 0
        while branches:
            looked_at += 1
            if looked_at > self.most:
                return Search(None, looked_at, self.stuck)
            first, bits, used, state = branches.pop()
            first, bits, next_ones, limit = self._settle(first, bits, state)
            if first == len(self.sure):
                return Search(True, looked_at)
            config = (first, bits, used, state)
            if config in self.tried:
                continue
            self.tried.add(config)
            self._note(first, bits, limit)
            branches += self._perhaps(config, limit)
            branches += [(first, bits | 1 << n - first, used, new) for n, new in next_ones]
        return Search(False, looked_at, self.stuck)

    def _settle(self, first: int, bits: int, state: Any) -> tuple[int, int, list[tuple[int, Any]], int]:
        """Put in order all reads that fit here, for that can never be wrong; then look what may come next."""
        sure, count = self.sure, len(self.sure)
        while True:
            while bits & 1:
                first, bits = first + 1, bits >> 1
            next_ones: list[tuple[int, Any]] = []
            limit, n, before = NEVER + 1, first, bits
            while n < count and sure[n].begun < limit:
                if not bits >> n - first & 1:
                    operation = sure[n]
                    new = operation.step(state)
                    if new is state and not operation.writes:
                        bits |= 1 << n - first
                    else:
                        limit = min(limit, operation.ended)
                        if new is not None:
                            next_ones.append((n, new))
                n += 1
            if bits == before:  # the one that was answered first is tried first
                next_ones.sort(key=lambda row: -sure[row[0]].ended)
                return first, bits, next_ones, limit

    def _perhaps(self, config: _Config, limit: int) -> list[_Config]:
        """What may have happened unsaid; it is of use only if it changes something."""
        first, bits, used, state = config
        found: list[_Config] = []
        for n, operation in enumerate(self.open_):
            if operation.begun < limit and not used >> n & 1:
                new = operation.step(state)
                if new is not None and new is not state:
                    found.append((first, bits, used | 1 << n, new))
        return found

    def _note(self, first: int, bits: int, limit: int) -> None:
        done = first + bits.bit_count()
        if done > self.furthest:
            self.furthest = done
            waiting = (n for n in range(first, len(self.sure)) if not bits >> n - first & 1)
            self.stuck = tuple(self.sure[n].about for n in waiting if self.sure[n].begun < limit)


# -- the journals of a history -----------------------------------------------------------------------------------

_FIELDS = frozenset(f"{how}{field}" for how in ("", "set ") for field in ("tag", "metric", "text", "title", "policy"))
_NUMBERED = ("save", "latest", "find", "by label", "load")  # what tells users of a version that it is there


@attrs.frozen
class Judgement:
    """What came of the journals of a history.

    Args:
        broken: what no order explains, in words; None: nothing.
        operations: how many were put in order, each counted once for each journal.
        given_up: searches that were given up.
    """

    broken: str | None
    operations: int
    given_up: int


def judge(history: History) -> Judgement:
    """Look for an order of the operations on each journal."""
    operations = given_up = 0
    for where, found, start in _journals(history.calls):
        operations += len(found)
        if len(found) == 1 and not found[0].surely:
            continue
        result = search(found, start)
        given_up += result.explained is None
        if result.explained is False:
            stuck = "; ".join(map(str, result.stuck))
            return Judgement(f"{where}: no order explains what users were told; stuck at {stuck}", operations, given_up)
    return Judgement(None, operations, given_up)


def _journals(calls: Sequence[Call]) -> Iterable[tuple[str, list[Operation], Any]]:
    fields: dict[tuple[Any, ...], list[Operation]] = {}
    models: dict[str, list[Call]] = {}
    erased = {(call.name, call.asked["number"]) for call in calls if call.kind == "erase"}  # their texts go
    for call in calls:
        if call.happened is False:
            continue  # it was never done, and nothing was told
        if call.kind in _FIELDS:
            step = field_step(call)
            if step is not None and not (call.answer == "" and (call.name, call.asked.get("number")) in erased):
                key = (call.name, call.kind.removeprefix("set "), call.asked.get("number"))
                fields.setdefault(key, []).append(_operation(call, step))
        else:
            models.setdefault(call.name, []).append(call)
    for key, found in fields.items():
        yield " ".join(str(part) for part in key if part), found, ""
    ruled = any(call.kind == "set policy" for call in calls)
    for name, own in models.items():
        yield (
            f"versions of {name}",
            [_operation(call, step) for call in own if (step := versions_step(call))],
            Versions(),
        )
        yield f"releases of {name}", list(_releases(own, ruled=ruled)), Releases()


def _operation(call: Call, step: Step) -> Operation:
    writes = call.error is None and (call.kind in WRITES or call.kind.startswith("set "))
    return Operation(call.begun, call.ended, step, call.happened is True, writes, call)


def _releases(calls: Sequence[Call], *, ruled: bool) -> Iterable[Operation]:
    numbers, seen = _told(calls)
    there = 0
    waiting = sorted(seen, reverse=True)
    for call in calls:  # in the order in which they began
        while waiting and waiting[-1][0] < call.begun:
            there = max(there, waiting.pop()[1])
        if call.kind == "collect":
            if ruled:
                yield from _purges(call, calls, max((number for _, number in seen), default=0))
        elif (step := releases_step(call, there, numbers)) is not None:
            yield _operation(call, step)


def _told(calls: Sequence[Call]) -> tuple[dict[Any, int], list[tuple[int, int]]]:
    """The number of each payload, and when users were told of which version that it is there."""
    numbers: dict[Any, int] = {}
    seen: list[tuple[int, int]] = []
    for call in calls:
        if call.kind not in _NUMBERED or call.answer is UNSAID:
            continue
        if call.kind == "save":
            numbers[call.asked["payload"]] = number = call.answer[0]
        elif call.kind == "load":
            numbers[call.answer] = number = call.asked["number"]
        else:
            number = call.asked["number"] if call.kind == "find" else call.answer
        seen.append((call.ended, number))
    return numbers, seen


def _purges(call: Call, calls: Sequence[Call], highest: int) -> Iterable[Operation]:
    """Each version that a collection purged by itself; without an answer any that is not listed at the end."""
    if call.answer is not UNSAID:
        for number in call.answer:
            yield Operation(call.begun, call.ended, _purge_of(number), about=call)
    elif call.happened is None:
        listed = next(
            (one.answer for one in reversed(calls) if one.kind == "versions" and one.answer is not UNSAID), ()
        )
        for number in set(range(1, highest + 1)).difference(listed):
            yield Operation(call.begun, NEVER, _purge_of(number), surely=False, about=call)


def _purge_of(number: int) -> Step:
    return lambda state: purge(number, state)
