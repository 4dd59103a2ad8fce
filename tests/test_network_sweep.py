"""Every HTTP request of every operation goes wrong, in every way: whole or not at all, and a retry works.

``python tests/test_network_sweep.py`` does so on the fake of GCS and on moto; ``--operation compact``, ``--kind
reply-dropped`` and ``--on seaweedfs`` choose; with ``--each 1`` each request goes wrong in one way, by chance. Requests
that are under way at once come in any order, so which one of those is struck changes from run to run; each place in the
order is struck.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import groupby

import attrs
import pytest

from modelkeep.errors import StoreError, UnsettledError
from modelkeep.registry import Registry
from modelkeep.stores import open_store
from modelkeep.stores.bucket import Bucket, Place
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from operations import OPERATIONS, faults, snapshot
from servers.faults import Fault, FaultProxy, fault_proxy
from servers.sites import Site
from test_network_faults import KINDS, SERVERS, UNLISTED, copied

IMPATIENT = Retries(first=0.01, longest=0.02, connect=1, answer=0.7, rate=1 << 24)
ONCE, ON = "once", "from there on"
TRIES = {ONCE: 1, ON: 2}  # of the client: with one, a request that goes wrong once is an error that the library meets
SHARE = 24  # cases of each server in the suite


@attrs.frozen
class Case:
    """One request of one operation that goes wrong."""

    name: str
    warm: bool
    index: int
    kind: str
    lasts: str

    @property
    def struck(self) -> range:
        return range(self.index, self.index + 1 if self.lasts == ONCE else 1 << 40)

    def __str__(self) -> str:
        return f"{self.name}, {'warm' if self.warm else 'cold'}, request {self.index} {self.lasts}, {self.kind}"


@cache
def _objects(name: str) -> dict[str, bytes]:
    store = OPERATIONS[name].prepared()
    return store.get_many([item.key for item in store.list("")])


@attrs.frozen
class Road:
    """A bucket, reached straight, and through a proxy by clients that try so often."""

    site: Site
    proxy: FaultProxy
    clients: dict[int, Bucket]

    @classmethod
    def to(cls, site: Site, proxy: FaultProxy) -> Road:
        options = site.server.at(proxy.endpoint).options
        clients = {}
        for tries in TRIES.values():
            retries = attrs.evolve(IMPATIENT, attempts=tries)
            found = open_store(f"{site.server.protocol}://{site.bucket}", storage_options=options, retries=retries)
            assert isinstance(found, RemoteStore)
            clients[tries] = found._opened()
        road = cls(site, proxy, clients)
        for tries in clients:  # the first request of a client connects, which may take a while
            _patiently(partial(road._list, tries))
        return road

    def _list(self, tries: int) -> None:
        list(self.broken("nothing", tries).list(""))

    def straight(self, prefix: str) -> RemoteStore:
        return RemoteStore(Place.parse(self.site.url(prefix)), lambda: self.site.client, Retries())

    def broken(self, prefix: str, tries: int) -> RemoteStore:
        retries = attrs.evolve(IMPATIENT, attempts=tries)
        return RemoteStore(Place.parse(self.site.url(prefix)), lambda: self.clients[tries], retries)

    def begun(self, name: str) -> str:
        """A prefix where an operation can be done."""
        prefix = uuid.uuid4().hex
        store = self.straight(prefix)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: store.put_pack(item[0], [item[1]]), _objects(name).items()))
        return prefix

    def requests(self, name: str, *, warm: bool) -> int:
        """How many requests an operation makes."""

        def once() -> None:
            registry = self._registry(self.begun(name), 1, warm=warm and not _is_first(name))
            self.proxy.arm(Fault.REPLY_DROPPED, among=range(0))
            OPERATIONS[name].act(registry)

        _patiently(once)
        self.proxy.disarm()
        return self.proxy.seen

    def _registry(self, prefix: str, tries: int, *, warm: bool) -> Registry:
        registry = Registry(self.broken(prefix, tries), cache=False)
        if warm:
            _patiently(registry.model("churn").versions)
            _patiently(lambda: registry.get("churn:1").tag(seen="yes"))
        return registry

    def strike(self, case: Case) -> Outcome:
        """Let one request go wrong, and look at what is left, past the proxy."""
        prefix, operation = self.begun(case.name), OPERATIONS[case.name]
        registry = self._registry(prefix, TRIES[case.lasts], warm=case.warm and not _is_first(case.name))
        before = snapshot(copied(self.straight(prefix)))
        self.proxy.arm(KINDS[case.kind], share=1, among=case.struck)
        end, said = _tried(registry, case)
        self.proxy.disarm()
        self.proxy.settle()
        left = copied(self.straight(prefix))
        found = list(_faults_left(left, case, before, end, said))
        if not operation.done(Registry(left)):
            end, said = f"{end}, done again", ""
            _patiently(lambda: operation.act(registry))
            left = copied(self.straight(prefix))
            found += [f"once more, and {fault}" for fault in faults(left)]
            found += [] if operation.done(Registry(left)) else ["done once more, and it was not done"]
        return Outcome(case, end, self.proxy.hits, found)


@attrs.frozen
class Outcome:
    """What came of one case."""

    case: Case
    end: str
    hits: int
    faults: list[str]


def _is_first(name: str) -> bool:
    """Whether nothing is there before the operation, so that no registry can be at work."""
    return " first" in name


def _patiently(act: Callable[[], object]) -> None:
    """Past a slow answer: clients wait for little here, and this machine may have much to do."""
    for _ in range(20):
        with contextlib.suppress(StoreError):
            act()
            return
    act()


def _tried(registry: Registry, case: Case) -> tuple[str, str]:
    try:
        OPERATIONS[case.name].act(registry)
    except UnsettledError as error:
        return "unsettled", error.token
    except StoreError:
        return "refused", ""
    except Exception as error:  # noqa: BLE001  whatever it is, it is the finding
        return "wrong", f"{type(error).__name__}: {error}"
    return "acknowledged", ""


def _faults_left(left: MemoryStore, case: Case, before: object, end: str, said: str) -> Iterator[str]:
    """What is wrong: it was done if it was acknowledged, settled as it stands, and else all is as before."""
    operation = OPERATIONS[case.name]
    yield from faults(left)
    done = operation.done(Registry(left))
    if end == "wrong":
        yield said
    if end == "acknowledged" and not done:
        yield "it was acknowledged and was not done"
    if end == "unsettled":
        committed = Registry(left).settle(said).committed  # writes into the copy alone
        if operation.whole and committed is not done:
            yield f"settle says {committed}, and it was {'' if done else 'not '}done"
    if end == "refused" and operation.whole and snapshot(left) != before:
        yield "it was refused, and not all is as before"


# -- which cases there are ---------------------------------------------------------------------------------------------


def all_cases(road: Road, names: list[str], kinds: list[str]) -> Iterator[Case]:
    """Each request of each operation; once for a process that has just begun, and as an outage for one at work."""
    for name in names:
        for warm, lasts in ((False, ONCE), (True, ONCE), (True, ON)):
            for index in range(1, road.requests(name, warm=warm) + 1):
                for kind in kinds:
                    yield Case(name, warm, index, kind, lasts)


@pytest.fixture(scope="module", params=["gcs", "moto"])
def road(request: pytest.FixtureRequest) -> Iterator[Road]:
    site = request.getfixturevalue(f"{request.param}_site")
    with fault_proxy(site.server.endpoint) as proxy:
        yield Road.to(site, proxy)


@pytest.mark.filterwarnings(f"ignore:{UNLISTED}")
def test_a_request_that_goes_wrong_anywhere_leaves_all_or_nothing_and_a_retry_works(road: Road) -> None:
    chance = random.Random(6)
    names = chance.sample(list(OPERATIONS), 8)
    cases = list(all_cases(road, names, list(KINDS)))
    outcomes = [road.strike(case) for case in chance.sample(cases, SHARE)]
    assert [f"{outcome.case}: {outcome.faults}" for outcome in outcomes if outcome.faults] == []
    assert sum(outcome.hits for outcome in outcomes) > SHARE // 4
    assert {outcome.end.split(",")[0] for outcome in outcomes} >= {"acknowledged", "refused"}


def sweep(road: Road, names: list[str], kinds: list[str], each: int) -> int:
    """Strike every request of every operation, tell about each operation, and return how many cases went wrong.

    Args:
        road: to the server.
        names: the operations.
        kinds: of fault, in an order left to chance.
        each: go on to the next request once so many faults came true.
    """
    total: Counter[str] = Counter()
    for name in names:
        began, ends = time.monotonic(), Counter[str]()
        chance = random.Random(name)
        for _, cases in groupby(all_cases(road, [name], kinds), lambda case: attrs.evolve(case, kind="")):
            came_true = 0
            for case in chance.sample(found := list(cases), len(found)):
                outcome = road.strike(case)
                came_true += outcome.hits > 0
                ends["cases"] += 1
                ends["struck"] += outcome.hits > 0
                ends["faulty"] += bool(outcome.faults)
                ends[outcome.end.split(",")[0]] += 1
                if outcome.faults:
                    sys.stdout.write(f"{case}: {outcome.faults}\n")
                if came_true == each:
                    break
            ends["requests"] += 1
            ends["met"] += came_true > 0
        total += ends
        sys.stdout.write(f"  {name}: {_spelled(ends)}; {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"{road.site.server.kind}: {len(names)} operations, {_spelled(total)}\n")
    return total["faulty"]


def _spelled(ends: Counter[str]) -> str:
    told = ", ".join(f"{ends[end]:,} {end}" for end in ("acknowledged", "unsettled", "refused", "wrong"))
    requests = f"{ends['met']:,} of {ends['requests']:,} requests went wrong"
    cases = f"{ends['cases']:,} cases, the fault came true in {ends['struck']:,}"
    return f"{requests}; {cases}: {told}; {ends['faulty']:,} faulty"


def main() -> int:
    """Sweep what the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--operation", choices=OPERATIONS, action="append", help="an operation; all without it")
    options.add_argument("--kind", choices=KINDS, action="append", help="a kind of fault; all without it")
    options.add_argument("--on", choices=SERVERS, action="append", help="a server; gcs and moto without it")
    options.add_argument("--each", type=int, default=len(KINDS), help="so many kinds at each request; all without it")
    chosen = options.parse_args()
    warnings.filterwarnings("ignore", UNLISTED)
    broken = 0
    for name in chosen.on or ("gcs", "moto"):
        with SERVERS[name]() as server, fault_proxy(server.endpoint) as proxy:
            road = Road.to(Site.on(server), proxy)
            broken += sweep(road, chosen.operation or list(OPERATIONS), chosen.kind or list(KINDS), chosen.each)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
