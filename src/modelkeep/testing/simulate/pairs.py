"""Every two operations, from a registry that both actors have read, in all orders of their storage calls."""

from __future__ import annotations

import gc
import math
import pickle
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations_with_replacement, islice
from typing import Any

import attrs
import greenlet

from modelkeep.errors import ConflictError, GateError, ModelkeepError, NotFoundError
from modelkeep.failedrun import FailedRun
from modelkeep.modelversion import ModelVersion
from modelkeep.registry import Registry
from modelkeep.system import System
from modelkeep.testing.simulate.deeds import POLICIES
from modelkeep.testing.simulate.ending import check_end
from modelkeep.testing.simulate.history import Call, History
from modelkeep.testing.simulate.linearizable import judge
from modelkeep.testing.simulate.meetings import Choose, Reduction, bounded
from modelkeep.testing.simulate.operations import Operations
from modelkeep.testing.simulate.oracle import Oracle
from modelkeep.testing.simulate.small import parsed_once, small
from modelkeep.testing.simulate.world import Actor, Intent, SimulatedStore, Violation, World

_NAME = "a"
_VERSIONS = 5  # of the model at the start
# what a promotion to staging takes at the start; more approvals than anything has, which some operation asks for
_RULES, _HARDER = (
    f'{POLICIES[0]}[models."*".aliases.staging]\napprovals = {approvals}\nby_author = true\n'
    'gates = [{ metric = "m", margin = 0 }]\n'
    for approvals in (2, 3)
)
_CHANCE = 12 + 3  # times the number: one tensor is that of all versions, one differs a little from the one before
_ALL = 1 << 30  # interruptions, more than there are calls


class Stage(World):
    """A world without chance or faults: who goes on is chosen, and ids do not depend on it; policies ask something.

    Args:
        oracle: who judges.
    """

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(0, oracle.watch, oracle.watch_delete, oracle.attempt)
        self.faulty = self.directed = self.flaky = False
        self.stores = self.governed = True
        self.made: list[int] = []
        oracle.world = self

    def system(self, actor: Actor) -> System:
        """A machine for *actor*: its ids are its own."""
        # the same ids again, in whatever order; at another step the actor is another process
        ids = random.Random(f"actor {actor.index} from step {self.step} on")  # noqa: S311
        return System(
            now=self.now,
            new_id=lambda: f"{ids.getrandbits(128):032x}",
            sleep=lambda _: None,
            jitter=lambda: 0.5,
            actor=lambda: f"actor-{actor.index}",
            host=lambda: "simulated",
        )

    def parts(self, keys: list[str]) -> Iterator[list[str]]:
        """One object after the other, in the order in which they were asked for."""
        return ([key] for key in keys)

    def follow(self, choose: Choose) -> bool:
        """Go on as *choose* says until all are done; False if it says that this is not worth it."""
        for actor in self.waiting():
            self.go_on(actor)  # up to its first call
        while (waiting := {actor.index: actor for actor in self.waiting()}) and not self.violations:
            chosen = choose({index: actor.next for index, actor in waiting.items()})
            if chosen is None:
                return False
            self.made.append(chosen)
            self.go_on(waiting[chosen])
        return True


class Half(Operations):
    """One of the two actors: it has read everything, and does one operation.

    Args:
        world: where it plays.
        oracle: who judges.
        history: where it is noted.
        index: 0 or 1; 2 is who makes what they find.
    """

    def __init__(self, world: World, oracle: Oracle, history: History, index: int) -> None:
        super().__init__(world, oracle, history, index)
        self.actor = Actor(index, intent=Intent("nothing", _NAME, 0))
        self.registry = Registry(SimulatedStore(world, self.actor), system=world.system(self.actor))
        self.versions: dict[int, ModelVersion] = {}
        self.runs: tuple[FailedRun, ...] = ()

    def warm_up(self) -> None:
        """Read all journals, and two versions."""
        model = self.registry.model(_NAME)
        self.versions = {version.number: version for version in model.versions(deleted=True)}
        for version in (self.versions[1], self.versions[_VERSIONS]):
            version.load()
            _ = version.tags
        _ = self.registry.policy.text
        self.runs = tuple(model.failed_runs())

    def save(self, **options: Any) -> None:
        """Save a model whose bytes are partly those of the others."""
        payload = (self.index, 1, _CHANCE * (_VERSIONS + self.index))
        self.actor.intent.facts["payload"] = payload
        self.keep(_NAME, payload, options)

    def add_variant(self, number: int, form: str) -> None:
        """Add a variant with the bytes of its version to it."""
        payload = (self.index, _VERSIONS + number, _CHANCE * number)
        version = self.on(number)
        self.actor.intent.facts["payload"] = payload
        self.keep_variant(version, form, payload)

    def fail_run(self) -> None:
        """Have a run fail."""
        payload = (self.index, 2 * _VERSIONS + 1, _CHANCE)
        self.actor.intent.facts["payload"] = payload
        self.runs = (self.fail(_NAME, payload), *self.runs)

    def on(self, number: int) -> ModelVersion:
        """A version, for an operation on it."""
        self.actor.intent.facts["number"] = number
        return self.versions[number]

    def put_expecting(self, number: int, **said: Any) -> None:
        """Promote a version."""
        self.actor.intent.facts.update(said)
        self.put(self.on(number), "production", said)

    def put_by_rules(self, number: int) -> None:
        """Promote a version to the alias of which the policy asks something."""
        self.put(self.on(number), "staging", {})

    def go_back_expecting(self, **said: Any) -> None:
        """Roll back."""
        self.actor.intent.facts.update(said)
        self.go_back(_NAME, "production", said)


# The model has versions 1 to 5; 1, 2 and 3 are stacked under `production`, 4 is deleted, 2 is held; 1 and 4 have a
# variant; a run failed. Both actors approve of 3 and 5, and a third of 1 and 3. The policy keeps the newest two, so a
# collection purges version 4; under `staging`, where nothing stands, it wants two approvals, and nothing worse than
# what stands there: the higher number is the better one.
OPERATIONS: dict[str, Callable[[Half], object]] = {
    "save": lambda half: half.save(),
    "save labelled": lambda half: half.save(label="2.0.0"),
    "add variant": lambda half: half.add_variant(5, "int8"),
    "add variant again": lambda half: half.add_variant(1, "int8"),
    "load variant": lambda half: half.find_variant(_NAME, 1, "int8"),
    "fail run": lambda half: half.fail_run(),
    "read run": lambda half: half.read_run(half.runs[0]),
    "list runs": lambda half: half.read_runs(_NAME),
    "drop run": lambda half: half.end(half.runs[0]),
    "promote": lambda half: half.put_expecting(5),
    "promote expecting": lambda half: half.put_expecting(5, expect=3),
    "promote what is deleted": lambda half: half.put_expecting(4),
    "promote by rules": lambda half: half.put_by_rules(5),
    "promote worse by rules": lambda half: half.put_by_rules(3),
    "promote unapproved": lambda half: half.put_by_rules(1),
    "request": lambda half: half.review(half.on(5), "request"),
    "approve": lambda half: half.review(half.on(1), "approve"),
    "reject": lambda half: half.review(half.on(3), "reject"),
    "withdraw": lambda half: half.review(half.on(5), "withdraw"),
    "rollback": lambda half: half.go_back_expecting(),
    "rollback expecting": lambda half: half.go_back_expecting(expect=3),
    "unset": lambda half: half.take_away(_NAME, "production"),
    "delete": lambda half: half.change(half.on(5), "delete"),
    "delete below": lambda half: half.change(half.on(2), "delete"),
    "restore": lambda half: half.change(half.on(4), "restore"),
    "hold": lambda half: half.change(half.on(4), "hold"),
    "unhold": lambda half: half.change(half.on(2), "unhold"),
    "label": lambda half: half.give_label(half.on(5), {"label": "2.0.0"}),
    "label by bump": lambda half: half.give_label(half.on(3), {"bump": "minor"}),
    "tag": lambda half: half.say(half.on(5), "tag", f"by {half.index}"),
    "read tag": lambda half: half.hear(half.on(5), "tag"),
    "close": lambda half: half.turn(_NAME, "close"),
    "open": lambda half: half.turn(_NAME, "open"),
    "compact": lambda half: half.store_anew(_NAME),
    "collect": lambda half: half.take_out(_NAME),
    "erase": lambda half: half.forget(half.on(4)),
    "erase what is alive": lambda half: half.forget(half.on(5)),
    "load alias": lambda half: half.read_alias(_NAME, "production"),
    "load": lambda half: half.read(half.on(1)),
    "latest": lambda half: half.read_latest(_NAME),
    "list": lambda half: half.read_versions(_NAME),
    "aliases": lambda half: half.read_aliases(_NAME),
    "set policy": lambda half: half.set_policy(POLICIES[1]),
    "set rules": lambda half: half.set_policy(_HARDER),
}
PAIRS = tuple(combinations_with_replacement(OPERATIONS, 2))


@attrs.frozen
class Warm:
    """What every pair finds: objects, the truth about them, and what was said when they were made."""

    objects: dict[str, Any]
    oracle: bytes
    calls: tuple[Call, ...]
    step: int


def warm() -> Warm:
    """Make the registry that every pair finds."""
    with parsed_once(), small(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _made()


def _made() -> Warm:
    oracle, history = Oracle(), History()
    world = Stage(oracle)
    world.is_quiet = True
    maker = Half(world, oracle, history, 2)
    for number in range(1, _VERSIONS + 1):
        payload = (2, number, _CHANCE * number)
        maker.actor.intent = Intent("save", _NAME, world.step, {"payload": payload})
        version = maker.keep(_NAME, payload, {"label": "1.0.0"} if number == 1 else {})
        maker.actor.intent = Intent("promote", _NAME, world.step)
        if number <= 3:  # noqa: PLR2004  a stack of three
            maker.put(version, "production", {})
    maker.warm_up()
    for number in (1, 4):
        maker.actor.intent = Intent("add_variant", _NAME, world.step)
        maker.add_variant(number, "int8")
    maker.actor.intent = Intent("fail_run", _NAME, world.step)
    maker.fail_run()
    maker.change(maker.on(4), "delete")
    maker.change(maker.on(2), "hold")
    for number in (1, 3):
        maker.review(maker.on(number), "approve")
    for half in (Half(world, oracle, history, index) for index in (0, 1)):
        half.warm_up()
        for number in (3, 5):
            half.review(half.on(number), "approve")
    maker.set_policy(_RULES)
    oracle.world = None
    return Warm(dict(world.objects._objects), pickle.dumps(oracle), tuple(history.calls), world.step)  # noqa: SLF001


@attrs.frozen
class Execution:
    """One way in which two operations met.

    Args:
        violation: the promise that was broken, or None.
        calls: storage calls of each actor.
        state: what stood at the end, and what both were told.
    """

    violation: str | None
    calls: tuple[int, int]
    state: Any


def execute(
    found: Warm, pair: tuple[str, str], choose: Choose, firsts: Callable[[], Iterable[int]] = tuple
) -> Execution | None:
    """Let two operations meet as *choose* says; None if that is not worth going on.

    Args:
        found: what they find.
        pair: the operations.
        choose: who goes on.
        firsts: asked at the end: those that could have been answered before the other began.
    """
    oracle, history = pickle.loads(found.oracle), History()  # noqa: S301  its own
    history.calls[:] = map(attrs.evolve, found.calls)
    history.now = found.calls[-1].ended
    world = Stage(oracle)
    world.step = found.step
    world.objects._objects.update(found.objects)  # noqa: SLF001
    world.is_quiet = True
    halves = [Half(world, oracle, history, index) for index in (0, 1)]
    for half in halves:
        half.warm_up()
        half.registry.policy.set(_RULES)  # it is in force: nothing is written, but the store was tried
    world.is_quiet = False
    for half, kind in zip(halves, pair, strict=True):
        world.start(half.actor, _doing(world, half, kind))
    whole = world.follow(choose)
    for half in halves:
        if not half.actor.greenlet.dead:
            half.actor.greenlet.throw(greenlet.GreenletExit)
    if not whole:
        return None
    both = history.calls[len(found.calls) :]
    told = tuple((call.answer, type(call.error)) for call in both)
    broken = _broken(world, oracle, history, halves) or _disorder(history, both, firsts())
    counts = (world.made.count(0), world.made.count(1))
    return Execution(broken, counts, (_state(oracle), repr(told)))


def _doing(world: Stage, half: Half, kind: str) -> Callable[[], None]:
    def work() -> None:
        half.actor.intent = Intent(_KINDS.get(kind, kind), _NAME, world.step)
        try:
            OPERATIONS[kind](half)
        except Violation as violation:
            world.violations.append(violation)
        except (ConflictError, GateError, NotFoundError) as error:
            half.refused += [half.actor.intent.facts["payload"]] if "payload" in half.actor.intent.facts else []
            oracle_answers(half, error)
        except Exception as error:  # noqa: BLE001  whatever it is, no user should meet it
            world.violate(f"{kind} ended in {type(error).__name__}: {error}")

    return work


_KINDS = {"rollback expecting": "rollback"}  # which the oracle must know


def oracle_answers(half: Half, error: ModelkeepError) -> None:
    """Have a refusal judged."""
    try:
        half.oracle.answers.refused(_NAME, error, half.actor.intent)
    except Violation as violation:
        half.world.violations.append(violation)


def _broken(world: Stage, oracle: Oracle, history: History, halves: Iterable[Half]) -> str | None:
    """What the oracle found on the way, or finds at the end."""
    try:
        if not world.violations:
            check_end(world, oracle, history, halves)
    except Violation as found:
        world.violations.append(found)
    return str(world.violations[0]) if world.violations else None


def _disorder(history: History, both: list[Call], firsts: Iterable[int]) -> str | None:
    """What the search finds.

    Orders of calls that differ in nothing that matters may differ in whether one operation was answered before the
    other began. If any of them has it so, it is judged so, for that is the stricter reading.
    """
    begun = both[0].begun
    for first in tuple(firsts) or (None,):
        if first is not None:
            one, other = both[first], both[1 - first]
            one.begun, one.ended, other.begun, other.ended = begun, begun + 1, begun + 2, begun + 3
        found = judge(history)
        if found.broken or found.given_up:
            return found.broken or "the search was given up"
    return None


def _state(oracle: Oracle) -> str:
    truth = oracle.model(_NAME)
    facts = (
        truth.payloads,
        truth.labels,
        truth.stacks,
        truth.deleted,
        truth.purged.keys(),
        truth.erased,
        truth.held,
        truth.drafts.values(),
        truth.requests,
        truth.verdicts,
    )
    return repr((*facts, truth.is_open, len(truth.condemned), len(truth.journals["notes"].raws)))


# -- all of them -------------------------------------------------------------------------------------------------


@attrs.frozen
class Met:
    """What became of one pair.

    Args:
        pair: the operations.
        executions: those that were run to their end.
        blocked: those that were cut off, since they would have been like others.
        states: how many outcomes there were: what stood at the end, and what both were told.
        calls: storage calls of all executions.
        orders: how many orders of calls there are; exactly if *counted*, else estimated by the most calls that each of
            the two made.
        counted: whether all orders were run, too, and gave the same outcomes.
        interruptions: None: all orders are covered; else those with at most so many interruptions.
        complete: whether even these were run to the last.
        violation: the first that was found, or None.
    """

    pair: tuple[str, str]
    executions: int
    blocked: int
    states: int
    calls: int
    orders: int
    counted: bool
    interruptions: int | None
    complete: bool
    violation: str | None


MOST = 400  # executions of a pair; beyond, interruptions are bounded
COUNTED = 150  # orders that are all run to see whether the reduction left out anything


def meet(found: Warm, pair: tuple[str, str], *, most: int = MOST, counted: int = COUNTED) -> Met:
    """Go through the orders of the calls of two operations."""
    with parsed_once(), small(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reduction = Reduction()
        ways = (execute(found, pair, choose, reduction.firsts) for choose in islice(reduction.executions(), most))
        done, blocked = _run(ways)
        orders = math.comb(*_lengths(done))
        covered = reduction.is_done
        if covered and orders <= counted:
            return _counted(found, pair, done, blocked)
        if covered or _violation(done):
            return _met(pair, done, blocked, orders, interruptions=None, complete=covered)
        ways = (execute(found, pair, choose) for choose in islice(bounded(1), most))
        more, _ = _run(ways)
        return _met(pair, [*done, *more], blocked, orders, interruptions=1, complete=len(more) < most)


def _run(ways: Iterable[Execution | None]) -> tuple[list[Execution], int]:
    """Run executions until one breaks a promise; those that came to their end, and how many did not."""
    done: list[Execution] = []
    blocked = 0
    for one in ways:
        if one is None:
            blocked += 1
            continue
        done.append(one)
        if one.violation:
            break
        if len(done) % 200 == 0:
            gc.collect()  # nothing else looks for garbage meanwhile
    return done, blocked


def _counted(found: Warm, pair: tuple[str, str], done: list[Execution], blocked: int) -> Met:
    """Run all orders, too: they must give the same outcomes."""
    every, _ = _run(execute(found, pair, choose) for choose in bounded(_ALL))
    met = _met(pair, done, blocked, len(every), interruptions=None, complete=True, counted=True)
    if {one.state for one in every} != {one.state for one in done} and not met.violation:
        return attrs.evolve(met, violation="the reduction leaves out outcomes")
    return attrs.evolve(met, violation=met.violation or _violation(every))


def _met(
    pair: tuple[str, str],
    done: list[Execution],
    blocked: int,
    orders: int,
    *,
    interruptions: int | None,
    complete: bool,
    counted: bool = False,
) -> Met:
    states = len({one.state for one in done})
    calls = sum(sum(one.calls) for one in done)
    violation = _violation(done)
    return Met(pair, len(done), blocked, states, calls, orders, counted, interruptions, complete, violation)


def _violation(done: Iterable[Execution]) -> str | None:
    return next((one.violation for one in done if one.violation), None)


def _lengths(done: Iterable[Execution]) -> tuple[int, int]:
    """How many calls there are in the longest execution, and how many are those of the first actor."""
    one, other = max((one.calls for one in done), key=sum, default=(0, 0))
    return one + other, one
