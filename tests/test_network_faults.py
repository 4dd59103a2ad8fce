"""Saves, promotions and loads over a network that breaks: each succeeds or says what is known, and nothing is double.

``python tests/test_network_faults.py --saves 1000`` makes so many saves under each kind of fault, on moto and on the
fake of GCS; ``--kind truncated-body`` and ``--on seaweedfs`` choose.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import numpy as np
import pytest

import modelkeep as mk
from modelkeep.stores import open_store
from modelkeep.stores.bucket import Place
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.port import Store
from modelkeep.stores.remote import RemoteStore
from modelkeep.stores.retries import Retries
from servers import running
from servers.faults import Fault, FaultProxy
from servers.running import Server
from servers.sites import Site

PATIENCES = (2, 6, 3)  # tries of one request, writer by writer
PATIENT = 1  # the writer that opens the registry anew now and then: a hundred requests, each of which must come through
SHIFT = 0.15  # seconds until the weather changes; every fourth time it is a storm
STORMS = 4
UNLISTED = r"registry.models\(\) will not list"  # a warning that a lost marker may bring


@attrs.frozen
class Weather:
    """What share of the requests that it can strike a fault does strike, mostly and in storms."""

    calm: float
    storm: float
    answer: float = 5.0  # seconds that a client waits


WEATHER = {
    Fault.RESET_AFTER_BODY: Weather(0.2, 0.9),
    Fault.REPLY_DROPPED: Weather(0.2, 0.9),
    Fault.BURST_503: Weather(0.1, 0.7),
    Fault.FORBIDDEN_FOR_MISSING: Weather(0.03, 0.9),  # not asked again, and a first save asks for 16 missing entries
    Fault.TRUNCATED_BODY: Weather(0.2, 0.9),
    Fault.SHORT_BODY: Weather(0.2, 0.9),
    Fault.ONE_BYTE_PER_SECOND: Weather(0.05, 0.4, answer=0.3),
    Fault.LATE_DUPLICATE: Weather(0.4, 0.9),
}
KINDS = {kind.name.lower().replace("_", "-"): kind for kind in WEATHER}
SERVERS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "moto": running.moto,
    "seaweedfs": running.seaweedfs,
    "gcs": running.gcs_fake,
}


# -- writing under faults ----------------------------------------------------------------------------------------------


@attrs.frozen
class Call:
    """A save, a promote or a load, and how it ended.

    Args:
        what: which of them.
        mark: what it alone wrote: a parameter, or an alias.
        end: ``acknowledged``, ``unsettled``, ``refused``; or ``wrong``, which no call may be.
        number: the version that it was told, or asked for.
        reason: of a promote.
        said: the token, or the error.
    """

    what: str
    mark: str
    end: str
    number: int = 0
    reason: str | None = None
    said: str = ""


@attrs.define
class Writer:
    """One of several that write to the same model, each with a registry of its own; some keep copies, in one folder."""

    own: int
    store: Store
    cache: Path | bool
    saves: int
    calls: list[Call] = attrs.Factory(list)
    registry: mk.Registry = attrs.field(init=False)

    def work(self) -> None:
        self.registry = mk.Registry(self.store, cache=self.cache)
        last: mk.ModelVersion | None = None
        for n in range(1, self.saves + 1):
            if self.own == PATIENT and n % max(5, self.saves // 4) == 0:
                self.registry = mk.Registry(self.store, cache=self.cache)
            last = self.save(f"{self.own}-{n}") or last
            if last and n % 3 == 2:
                self.promote(last, f"alias-{self.own}-{n}", f"because of {n}" if n % 2 else None)
            if last and n % 6 == 5:
                self.load(last.number)

    def save(self, mark: str) -> mk.ModelVersion | None:
        made: list[mk.ModelVersion] = []

        def act() -> int:
            made.append(self.registry.save(values(mark), "churn", params={"mark": mark}))
            return made[0].number

        self.call("save", mark, act)
        return made[0] if made else None

    def promote(self, version: mk.ModelVersion, alias: str, reason: str | None) -> None:
        def act() -> int:
            known = self.registry.get(version.ref) if reason else version  # what was read may be old
            return known.promote(alias, expect=None, reason=reason).number

        self.call("promote", alias, act, version.number, reason)

    def load(self, number: int) -> None:
        mark = next(call.mark for call in self.calls if call.end == "acknowledged" and call.number == number)

        def act() -> int:
            check(self.registry.load(f"churn:{number}"), mark)
            return number

        self.call("load", "", act, number)

    def call(self, what: str, mark: str, act: Callable[[], int], number: int = 0, reason: str | None = None) -> None:
        said = ""
        try:
            number = act()
            end = "acknowledged"
        except mk.UnsettledError as error:
            end, said = "unsettled", error.token
        except mk.StoreError as error:
            end, said = "refused", f"{type(error).__name__}: {error}"
        except BaseException as error:  # noqa: BLE001  whatever it is, it is the finding
            end, said = "wrong", f"{type(error).__name__}: {error}"
        self.calls.append(Call(what, mark, end, number, reason, said))


def values(mark: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    return {"w": np.frombuffer(mark.encode() * 64, np.uint8).astype(np.int64)}


def check(found: object, mark: str) -> None:
    assert isinstance(found, dict)
    assert np.array_equal(found["w"], values(mark)["w"]), f"these are not the values of {mark}"


def suffer(proxy: FaultProxy, kind: Fault, writers: list[Writer], seed: int) -> tuple[int, list[str]]:
    """Let all writers work while the weather changes; how many requests were struck, and who never came back."""
    threads = [threading.Thread(target=writer.work, daemon=True) for writer in writers]
    give_up = time.monotonic() + 120 + 2 * sum(writer.saves for writer in writers)
    hits = shifts = 0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and time.monotonic() < give_up:
        weather = WEATHER[kind]
        proxy.arm(kind, share=weather.calm if shifts % STORMS else weather.storm, seed=seed + shifts)
        threads[shifts % len(threads)].join(SHIFT)
        hits += proxy.hits
        shifts += 1
    proxy.disarm()
    proxy.settle()
    return hits, [f"writer {i} never came back" for i, thread in enumerate(threads) if thread.is_alive()]


# -- what is left ------------------------------------------------------------------------------------------------------


def settled(registry: mk.Registry, calls: list[Call]) -> tuple[list[Call], list[str]]:
    """The calls that stand, each with its number, and what is wrong with the answers to the open ones."""
    stand = [call for call in calls if call.end == "acknowledged" and call.what != "load"]
    faults: list[str] = []
    for call in calls:
        if call.end == "unsettled":
            try:
                found = registry.settle(call.said)
            except mk.ModelkeepError as error:
                faults.append(f"{call} cannot be settled: {error}")
                continue
            if found.committed is None or registry.settle(call.said) != found:
                faults.append(f"{call} is not settled by {found}")
            elif found.committed and call.what == "save":
                faults += [] if found.ref else [f"{call} stands, but settle names no version"]
                stand.append(attrs.evolve(call, number=int((found.ref or "churn:0").rpartition(":")[2])))
            elif found.committed:
                stand.append(call)
    return stand, faults


def copied(store: Store) -> MemoryStore:
    """All objects as they lie there; what follows reads each of them several times."""
    copy = MemoryStore()
    for key, value in store.get_many([item.key for item in store.list("")]).items():
        copy.put_pack(key, [value])
    return copy


def faults_of_saves(registry: mk.Registry, stand: list[Call]) -> Iterator[str]:
    """What is lost, double, or not what was saved; a save that was refused stands nowhere."""
    listed = {version.number: version for version in registry.model("churn").versions()}
    due = {call.number: call.mark for call in stand if call.what == "save"}
    if len(due) != sum(call.what == "save" for call in stand):
        yield "a number was told twice"
    if sorted(listed) != list(range(1, len(listed) + 1)):
        yield f"the numbers are {sorted(listed)}"
    for number in sorted(due.keys() | listed.keys()):
        found = listed[number].params["mark"] if number in listed else None
        if due.get(number) != found:
            yield f"version {number} should be {due.get(number)} and is {found}"
    for mark, times in Counter(version.params["mark"] for version in listed.values()).items():
        if times > 1:
            yield f"{mark} stands {times} times"
    for version in listed.values():
        check(version.load(), version.params["mark"])


def faults_of_bytes(registry: mk.Registry, _: list[Call]) -> Iterator[str]:
    report = registry.storage.verify()
    if not report.ok:
        yield from (f"verify: {finding}" for finding in report.findings)


def faults_of_promotes(registry: mk.Registry, stand: list[Call]) -> Iterator[str]:
    """Each alias was moved once and no more, to the version and for the reason that its promote had."""
    told = [event for event in registry.model("churn").history() if event.action == "promote"]
    found = Counter(f"{event.subject} to {event.version}, {event.text}" for event in told)
    due = Counter(f"{call.mark} to {call.number}, {call.reason}" for call in stand if call.what == "promote")
    for row in sorted(found.keys() | due.keys()):
        if (found[row], due[row]) != (1, 1):
            yield f"the promote of {row}, should be there {due[row]} times and is {found[row]} times"


def faults_left(registry: mk.Registry, stand: list[Call]) -> Iterator[str]:
    for look in (faults_of_saves, faults_of_promotes, faults_of_bytes):
        try:
            yield from look(registry, stand)
        except (mk.ModelkeepError, AssertionError) as error:
            yield f"{type(error).__name__}: {error}"


@attrs.frozen
class Outcome:
    """What came of many calls under one kind of fault."""

    calls: list[Call]
    stood: int
    hits: int
    seconds: float
    faults: list[str]

    def __str__(self) -> str:
        whats, ends = Counter(call.what for call in self.calls), Counter(call.end for call in self.calls)
        made = " ".join(f"{whats[what]} {what}s" for what in ("save", "promote", "load"))
        return (
            f"{len(self.calls)} calls ({made}): {ends['acknowledged']} acknowledged, {ends['unsettled']} unsettled "
            f"(of which {self.stood} stood), {ends['refused']} refused, {ends['wrong']} foreign; "
            f"{self.hits} faults injected; {self.seconds:.0f} s; "
        ) + ("\n  ".join(["FAULTS", *self.faults]) if self.faults else "0 doubles, 0 losses")


def trial(site: Site, kind: Fault, *, saves: int, writers: int, seed: int = 0) -> Outcome:
    """Save, promote and load under faults, then look at what is left, past the proxy."""
    prefix = uuid.uuid4().hex
    began = time.perf_counter()
    with contextlib.closing(FaultProxy(site.server.endpoint)) as proxy, tempfile.TemporaryDirectory() as folder:
        at_work = [
            Writer(own, through(proxy, site, prefix, kind, PATIENCES[own]), Path(folder) if own else False, share)
            for own, share in enumerate(shares(saves, writers))
        ]
        hits, faults = suffer(proxy, kind, at_work, seed)
    calls = [call for writer in at_work for call in writer.calls]
    faults += [f"{call.what} {call.mark}: {call.said}" for call in calls if call.end == "wrong"]
    if kind is Fault.FORBIDDEN_FOR_MISSING and not any(call.said.startswith("AccessError") for call in calls):
        faults.append("what was forbidden was taken to be missing")
    direct = RemoteStore(Place.parse(site.url(prefix)), lambda: site.client, Retries())
    stand, unsound = settled(mk.Registry(direct, cache=False), calls)
    faults += [*unsound, *faults_left(mk.Registry(copied(direct)), stand)]
    stood = len(stand) - sum(call.end == "acknowledged" and call.what != "load" for call in calls)
    return Outcome(calls, stood, hits, time.perf_counter() - began, faults)


def through(proxy: FaultProxy, site: Site, prefix: str, kind: Fault, attempts: int) -> Store:
    """The place as a user opens it, behind the proxy, with little patience."""
    answer = WEATHER[kind].answer
    patience = Retries(attempts=attempts, first=0.01, longest=0.05, connect=1, answer=answer, rate=1 << 24)
    return open_store(site.url(prefix), storage_options=site.server.at(proxy.endpoint).options, retries=patience)


def shares(saves: int, writers: int) -> list[int]:
    """The saves of each writer; together as many as were asked for."""
    return [(saves + own) // writers for own in range(writers)]


# -- in the suite, and as a script -------------------------------------------------------------------------------------


@pytest.fixture(params=list(SERVERS))
def site(request: pytest.FixtureRequest) -> Site:
    found = request.getfixturevalue(f"{request.param}_site")
    assert isinstance(found, Site)
    return found


@pytest.mark.filterwarnings(f"ignore:{UNLISTED}")
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_succeeds_or_says_what_is_known(site: Site, kind: str) -> None:
    outcome = trial(site, KINDS[kind], saves=30, writers=2)
    assert outcome.faults == []
    assert outcome.hits > 0
    assert any(call.end == "acknowledged" for call in outcome.calls)


def main() -> int:
    """Try what the command line says; the exit status is 1 if anything was wrong."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--saves", type=int, default=1000, help="how many, under each kind of fault on each server")
    options.add_argument("--kind", choices=KINDS, action="append", help="a kind of fault; all without it")
    options.add_argument("--on", choices=SERVERS, action="append", help="a server; moto and gcs without it")
    options.add_argument("--seed", type=int, default=0, help="which requests are struck")
    chosen = options.parse_args()
    warnings.filterwarnings("ignore", UNLISTED)
    broken = 0
    for name in chosen.on or ("moto", "gcs"):
        with contextlib.ExitStack() as stack:
            there = Site.on(stack.enter_context(SERVERS[name]()))
            for kind in chosen.kind or KINDS:
                outcome = trial(there, KINDS[kind], saves=chosen.saves, writers=3, seed=chosen.seed)
                broken += bool(outcome.faults) or not outcome.hits
                sys.stdout.write(f"{name} {kind}: {outcome}\n")
                sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
