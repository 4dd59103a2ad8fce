"""The simulated world: one store, several actors, and a scheduler that picks who goes on at every storage call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import attrs
import greenlet

from modelkeep.digest import Buffer
from modelkeep.errors import ObjectExistsError, OutcomeUnknownError, StoreError
from modelkeep.stores.memory import MemoryStore, copied_into
from modelkeep.stores.port import StoredObject
from modelkeep.system import System

_EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
_FAULTS = 0.06  # share of storage calls that go wrong
# share of unanswered writes after which an actor's next ones go unanswered too, by whether a schedule is flaky
_OUTAGES = {False: 0.3, True: 0.9}
_OUTAGE = 6  # writes; more than the library tries
_UNANSWERED = ("lost request", "lost reply", "late", "late")
_MAX_STEPS = 20_000  # storage calls of one schedule; more means that an actor never ends

Effect = Callable[[], Any]


class Violation(AssertionError):  # noqa: N818  it is a finding, not a failure of the program
    """A promise was broken."""


@attrs.define
class Intent:
    """What an actor is about while it makes storage calls.

    Args:
        kind: the operation.
        name: the model.
        begun: the step at which it began.
        facts: what it was asked to do.
    """

    kind: str
    name: str
    begun: int
    facts: dict[str, Any] = attrs.Factory(dict)


@attrs.frozen(slots=True)
class Touch:
    """What a storage call reads or writes.

    Args:
        keys: the objects; of a listing what their keys begin with.
        writes: whether it changes them.
        lists: whether it is a listing.
    """

    keys: tuple[str, ...]
    writes: bool = False
    lists: bool = False

    def meets(self, other: Touch) -> bool:
        """Whether it matters which of the two calls is first."""
        if not (self.writes or other.writes):
            return False
        if self.lists:
            return any(key.startswith(self.keys) for key in other.keys)
        if other.lists:
            return other.meets(self)
        return not set(self.keys).isdisjoint(other.keys)


_NOTHING = Touch(())


@attrs.define
class Actor:
    """A process: its greenlet, what it is about, whether it was killed, and the call that it makes next."""

    index: int
    greenlet: Any = None
    intent: Intent = attrs.Factory(lambda: Intent("nothing", "", 0))
    dead: bool = False
    outage: int = 0
    next: Touch = _NOTHING


class World:
    """One schedule: everything in it follows from the seed.

    Args:
        seed: every fourth has no faults; a third is directed at releases, a third at outages, a third at storage.
        watch: told of every object that is created, with the intent of its actor.
        watch_delete: told of every object that is about to go, at the moment that it goes.
        attempt: told of every create that is asked for, before anything happens.
        overwrites: a store without create-if-absent, for a planted fault.
        silent: nothing is judged on the way.
    """

    def __init__(
        self,
        seed: int,
        watch: Callable[[str, bytes, Intent], None],
        watch_delete: Callable[[str, Intent], None],
        attempt: Callable[[str, Intent], None],
        *,
        overwrites: bool = False,
        silent: bool = False,
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  a simulation wants the same numbers again
        self.objects = MemoryStore("sim://", now=self.now)
        self.step = 0
        self.faults = 0
        self.violations: list[Violation] = []
        self.faulty = seed % 4 != 0
        self.directed = seed % 3 == 0
        self.flaky = seed % 3 == 1
        self.stores = seed % 3 == 2  # noqa: PLR2004  the third third
        self.variants = seed % 5 == 4  # noqa: PLR2004  a share apart from the others, which stay as they were
        self.runs = seed % 7 == 6  # noqa: PLR2004  as above: with runs that fail
        self.governed = seed % 11 == 10  # noqa: PLR2004  as above: with policies that ask something of a promotion
        self.silent = silent
        self.is_quiet = False  # nobody else is there, and nothing goes wrong
        self.attempt = attempt
        self._watch = watch
        self._watch_delete = watch_delete
        self._overwrites = overwrites
        self._late: list[Effect] = []
        self._ready: list[Actor] = []
        self._scheduler = greenlet.getcurrent()

    # -- time and ids ----------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time of the world: a millisecond for each storage call."""
        return _EPOCH + timedelta(milliseconds=self.step)

    def system(self, actor: Actor) -> System:
        """A machine for *actor*, its clock up to a minute off."""
        skew = timedelta(seconds=self.random.uniform(-60, 60))
        return System(
            now=lambda: self.now() + skew,
            new_id=lambda: f"{self.random.getrandbits(128):032x}",
            sleep=lambda _: None,
            jitter=self.random.random,
            actor=lambda: f"actor-{actor.index}",
            host=lambda: "simulated",
        )

    # -- scheduling ------------------------------------------------------------------------------------------

    def start(self, actor: Actor, work: Callable[[], None]) -> None:
        """Let *actor* do *work*, a storage call at a time."""
        actor.greenlet = greenlet.greenlet(work)
        self._ready.append(actor)

    def run(self) -> None:
        """Go on until every actor is done, then deliver some of what is still under way."""
        while self._ready and not self.violations:
            if self._late and self.random.random() < 0.1:  # noqa: PLR2004  requests arrive late, not never
                self._deliver()
                continue
            self.go_on(self.random.choice(self._ready))
        while self._late and not self.violations and self.random.random() < 0.9:  # noqa: PLR2004  some never arrive
            self._deliver()

    def waiting(self) -> list[Actor]:
        """The actors that are not done."""
        return list(self._ready)

    def go_on(self, actor: Actor) -> None:
        """Let *actor* make the call that it waits with, and go on until the next."""
        actor.greenlet.switch()
        if actor.greenlet.dead:
            self._ready.remove(actor)

    def _deliver(self) -> None:
        effect = self._late.pop(self.random.randrange(len(self._late)))
        try:
            effect()
        except (StoreError, ObjectExistsError):
            return  # nobody waits for the answer

    def pause(self, actor: Actor, touch: Touch) -> None:
        """A storage call begins: others may go first."""
        if actor.dead:
            raise greenlet.GreenletExit
        self.step += 1
        if self.is_quiet:
            return
        if self.step > _MAX_STEPS:
            self.violate("an actor never ends")
        actor.next = touch
        self._scheduler.switch()
        if self.violations:
            raise greenlet.GreenletExit

    def violate(self, message: str) -> None:
        """Note that a promise was broken; the schedule ends."""
        self.violations.append(Violation(message))

    # -- faults ----------------------------------------------------------------------------------------------

    def _fault(self, *kinds: str) -> str:
        if self.is_quiet or not self.faulty or self.random.random() >= _FAULTS:
            return ""
        self.faults += 1
        return self.random.choice(kinds)

    def _write_fault(self, actor: Actor, *more: str) -> str:
        if actor.outage:
            actor.outage -= 1
            return self.random.choice(_UNANSWERED)
        fault = self._fault(*_UNANSWERED, "duplicate", "crash before", "crash after", *more)
        if fault in _UNANSWERED and self.random.random() < _OUTAGES[self.flaky]:
            actor.outage = _OUTAGE
        return fault

    def write(self, actor: Actor, keys: list[str], effect: Effect, *, creates: bool = False) -> None:
        """Carry out a writing request, or do not, and answer, or do not."""
        self.pause(actor, Touch(tuple(keys), writes=True))
        fault = self._write_fault(actor, *(["own retry"] if creates else []))
        if fault == "crash before":
            self.crash(actor)
        if fault == "late":
            self._late.append(effect)
        if fault in ("lost request", "late"):
            raise OutcomeUnknownError("no answer (simulated)")
        effect()
        if fault == "duplicate":
            self._late.append(effect)
        if fault == "crash after":
            self.crash(actor)
        if fault == "lost reply":
            raise OutcomeUnknownError("no answer (simulated)")
        if fault == "own retry":
            effect()  # a client library that had no answer asks again, and is told that the key is taken

    def read(self, actor: Actor, touch: Touch, effect: Callable[[], Any]) -> Any:
        """Carry out a reading request, or time out."""
        self.pause(actor, touch)
        fault = self._fault("time-out", "time-out", "time-out", "crash")
        if fault == "crash":
            self.crash(actor)
        if fault:
            raise StoreError("read timed out (simulated)")
        return effect()

    def parts(self, keys: list[str]) -> Iterator[list[str]]:
        """How a request for several objects is carried out: in parts, in any order."""
        self.random.shuffle(keys)
        while keys:
            count = self.random.randint(1, len(keys))
            part, keys = keys[:count], keys[count:]
            yield part

    def crash(self, actor: Actor) -> None:
        """Kill the process at this very call."""
        actor.dead = True
        raise greenlet.GreenletExit

    def create(self, key: str, value: bytes, intent: Intent) -> None:
        """What the store does for a create; watched at the moment that it takes effect."""
        if self._overwrites:
            self.objects.put_pack(key, [value])
        else:
            self.objects.create(key, value)
        self._judge(self._watch, key, value, intent)

    def delete(self, keys: list[str], intent: Intent) -> None:
        """What the store does for a delete; watched as `create` is, however late the request arrives."""
        for key in filter(self.has, keys):
            self._judge(self._watch_delete, key, intent)
        self.objects.delete(keys)

    def has(self, key: str) -> bool:
        """Whether there is an object under *key*."""
        return bool(self.objects.get_many([key]))

    def _judge(self, judge: Callable[..., None], *about: Any) -> None:
        try:
            judge(*about)
        except Violation as violation:
            self.violations.append(violation)
        except LookupError:  # a truth that nobody judged need not hang together
            if not self.silent:
                raise


@attrs.frozen
class SimulatedStore:
    """The store as one actor sees it."""

    world: World
    actor: Actor
    url: str = "sim://"

    def create(self, key: str, value: bytes) -> None:
        """See `Store.create`."""
        intent = self.actor.intent
        self.world.attempt(key, intent)
        self.world.write(self.actor, [key], lambda: self.world.create(key, value, intent), creates=True)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Store.get`."""
        if self._decides_nothing([key]):
            return self.world.objects.get(key, span)
        found: bytes = self.world.read(self.actor, Touch((key,)), lambda: self.world.objects.get(key, span))
        return found

    def get_into(self, key: str, offset: int, target: memoryview) -> int:
        """See `Store.get_into`."""
        return copied_into(self, key, offset, target)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See `Store.get_many`: the requests are carried out in any order, with others' in between."""
        asked = list(keys)
        if self.world.is_quiet or self._decides_nothing(asked):
            return self.world.objects.get_many(asked)
        found: dict[str, bytes] = {}
        for part in self.world.parts(asked):
            found.update(self.world.read(self.actor, Touch(tuple(part)), partial(self.world.objects.get_many, part)))
        return found

    def _decides_nothing(self, keys: Iterable[str]) -> bool:
        """Whether a promote looks at a policy that asks nothing: no turn for others, as before there were gates."""
        looks = self.actor.intent.kind == "promote" and all(key.startswith("policy/") for key in keys)
        return looks and not self.world.governed

    def put_pack(self, key: str, source: Iterable[Buffer]) -> None:
        """See `Store.put_pack`."""
        value = b"".join(source)
        self.world.write(self.actor, [key], lambda: self.world.objects.put_pack(key, [value]))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        if self._decides_nothing([prefix]):
            return self.world.objects.list(prefix)
        touch = Touch((prefix,), lists=True)
        found: Iterator[StoredObject] = self.world.read(self.actor, touch, lambda: self.world.objects.list(prefix))
        return found

    def delete(self, keys: Iterable[str]) -> None:
        """See `Store.delete`."""
        asked, intent = list(keys), self.actor.intent
        self.world.write(self.actor, asked, lambda: self.world.delete(asked, intent))
