"""What can be done at a place, whether the promises of its store hold, and what to do if not.

A doctor writes probes under ``doctor/<a fresh id>-…`` and takes them away again. It never makes a place a registry,
and changes nothing of one.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from modelkeep._about import __version__
from modelkeep._home import REFUSE_APART, WARN_APART, Home
from modelkeep._visit import REPEATS, NotTriedError, Visit, optional
from modelkeep.diagnosis import Check, Diagnosis
from modelkeep.errors import AccessError, FormatError, MissingObjectError, ObjectExistsError, StoreError
from modelkeep.layout import MARKER
from modelkeep.races import Winners, race_apart, race_in_threads, value_of
from modelkeep.remedies import NOT_CACHED, UNSOUND, right_for
from modelkeep.stores.port import Store

RACERS = 16
RACED_KEYS = 50
_SLOW = 1.0  # seconds; a cold open takes three rounds
_CLIENTS = ("fsspec", "s3fs", "aiobotocore", "botocore", "gcsfs")
_PACK = bytes(range(256)) * 256
_SET_CLOCK = "set the clock of this machine, or of the machine that stores"


def examine(home: Home, *, race: int = 0, reopen: Callable[[], Store] | None = None) -> Diagnosis:
    """Try everything that a registry needs of its store. Some 35 requests, and nothing is left behind.

    Args:
        home: the place.
        race: how many processes race for 50 keys; 0: none do.
        reopen: opens the same store in another process; picklable. Without it threads race.

    Example:
        >>> from modelkeep.stores.memory import MemoryStore
        >>> from modelkeep.system import System
        >>> examine(Home(MemoryStore(), System())).ok
        True
    """
    visit = Visit(home, home.system.new_id())
    left: list[Check] = []
    with visit.leaving_nothing(left):
        checks = [visit.tell(name, check) for name, check in _CHECKS.items()]
        if race:
            checks.append(visit.tell("race", lambda visit: _race(visit, race, reopen)))
    return Diagnosis(visit.url, (*checks, *left))


def _sound(detail: str) -> Check:
    return Check("", True, detail)


def _note(detail: str, remedy: str = "") -> Check:
    return Check("", None, detail, remedy)


def _fault(detail: str, remedy: str) -> Check:
    return Check("", False, detail, remedy)


# -- reading -------------------------------------------------------------------------------------------------------


def _place(visit: Visit) -> Check:
    kind = type(visit.store).__name__
    try:
        visit.registry = visit.ask("get", Home(visit.store, visit.home.system).id)
    except FormatError as error:
        newer = "format" in error.facts
        visit.barred = "the registry is of a newer format" if newer else "this place is not a registry"
        raise
    if visit.registry is None:
        return _sound(f"{visit.url} ({kind}) holds no registry yet; the first save makes one")
    return _sound(f"{visit.url} ({kind}) is registry {visit.registry}")


def _list(visit: Visit) -> Check:
    seen = visit.ask_often("list", "list", lambda _: [item.key for item in visit.store.list(MARKER)])
    if visit.registry and MARKER not in seen:
        return _fault(f"the listing does not show {MARKER}, which is there", NOT_CACHED)
    return _sound("objects can be listed")


def _read(visit: Visit) -> Check:
    try:
        whole = {MARKER: visit.ask_often("get", "get", lambda _: visit.store.get(MARKER))}
    except MissingObjectError:
        whole = {}
    took = visit.took
    if visit.ask("get", lambda: visit.store.get_many([MARKER, visit.key("missing")])) != whole:
        return _fault("get_many does not give what get gives", "mend the store: its get and get_many disagree")
    visit.took, visit.may_read = took, True
    return _sound(f"{MARKER} can be read" if whole else "there is nothing to read yet, and the store says so")


# -- writing -------------------------------------------------------------------------------------------------------


def _create(visit: Visit) -> Check:
    if visit.is_silent:
        visit.barred = visit.barred or "the store does not answer"

    def create(turn: int) -> None:
        before = visit.home.system.now()
        visit.made.append(visit.write("create", f"create-{turn}", lambda key: visit.store.create(key, key.encode())))
        visit.moment = visit.moment or (before, visit.home.system.now())

    visit.ask_often("create", "create", create)
    return _sound("objects can be created")


def _create_if_absent(visit: Visit) -> Check:
    key = visit.probe()
    for value in (key.encode(), b"other bytes"):
        try:
            visit.ask("create", partial(visit.store.create, key, value))
        except ObjectExistsError:
            continue
        return _fault("an object that exists can be created again: two writers could both win a number", UNSOUND)
    if not visit.may_read:
        return _note("an object that exists is not created again; whether it keeps its bytes cannot be read")
    if visit.get(key) != key.encode():
        return _fault("an object that exists is not created again, but its bytes changed", UNSOUND)
    return _sound("an object that exists is not created again, and keeps its bytes")


def _delete(visit: Visit) -> Check:
    visit.probe()
    key = visit.made[-1]
    try:
        visit.ask("delete", lambda: visit.store.delete([key]))
    except AccessError as error:
        remedy = f"nothing, unless you are to collect, compact or erase: then ask for {right_for('delete', visit.url)}"
        return _note(f"you may not delete here, and saving does not need it: {visit.said(error)}", remedy)
    visit.made.remove(key)
    if not visit.may_read:
        return _sound("the store takes deletions")
    try:
        visit.get(key)
    except MissingObjectError:
        return _sound("objects can be deleted")
    return _fault("what was deleted can still be read", NOT_CACHED)


def _pack(visit: Visit) -> Check:
    source = (_PACK[:1000], _PACK[1000:])
    key = visit.write("put", "pack", lambda key: visit.store.put_pack(key, source))
    if not visit.may_read:
        return _note("a pack can be written; whether it is whole cannot be read")
    if visit.get(key, (999, 5000)) != _PACK[999:5999]:
        return _fault("a part of a pack is not the bytes that were written", "mend the store: it alters bytes")
    return _sound("a pack can be written, and a part of it read")


# -- facts ---------------------------------------------------------------------------------------------------------


def _clock(visit: Visit) -> Check:
    key = visit.probe()
    shown = visit.ask("list", lambda: [item for item in visit.store.list(key) if item.key == key])
    visit.took = None
    if not shown or not visit.moment:
        return _fault("a listing does not show what was just created, so its time is unknown", NOT_CACHED)
    before, after = visit.moment
    apart = max(before - shown[0].modified, shown[0].modified - after)
    way = "behind" if shown[0].modified < before else "ahead of"
    said = f"the store's clock is {_spelled(apart)} {way} this machine's"
    if apart > REFUSE_APART:
        return _fault(f"{said}; above a day nothing is written", _SET_CLOCK)
    if apart > WARN_APART:
        return _note(f"{said}; histories will tell odd times", _SET_CLOCK)
    return _sound(said if apart > timedelta(seconds=2) else "the store's clock agrees with this machine's")


def _spelled(apart: timedelta) -> str:
    for unit, length in (("days", timedelta(days=1)), ("hours", timedelta(hours=1)), ("minutes", timedelta(minutes=1))):
        if apart >= length:
            return f"{apart / length:.1f} {unit}"
    return f"{apart.total_seconds():.1f} seconds"


def _latency(visit: Visit) -> Check:
    if visit.is_silent:
        raise NotTriedError("the store does not answer")
    key = visit.key("missing")

    def get(_: int) -> None:
        try:
            visit.store.get(key)
        except MissingObjectError:
            return
        raise StoreError(f"the store has an object {key} that nobody wrote", key=key)

    if "get" not in visit.medians and visit.may_read and visit.made:
        visit.ask_often("get", "get", lambda _: visit.store.get(visit.made[0]))
    visit.ask_often("get", "missing get", get)
    told = ", ".join(f"{what} {took * 1000:,.2f} ms" for what, took in visit.medians.items())
    if max(visit.medians.values()) > _SLOW:
        return _note(f"slow; medians of {REPEATS}: {told}", "run nearer to the store, in its region")
    return _sound(f"medians of {REPEATS}: {told}")


def _libraries(visit: Visit) -> Check:
    from importlib.metadata import PackageNotFoundError, version

    told = [f"modelkeep {__version__}", f"Python {platform.python_version()}"]
    for name in optional(visit.store, "libraries", _CLIENTS):
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return _sound(", ".join(told))


# -- the race ------------------------------------------------------------------------------------------------------


def _race(visit: Visit, racers: int, reopen: Callable[[], Store] | None) -> Check:
    visit.probe()
    remedy = ""
    if visit.url.startswith("memory://"):
        why = "what is in memory is seen by one process only"
    elif reopen is None:
        why, remedy = "the store was given as an object", "give a URL, so that other processes can open the registry"
    else:
        try:
            return _run(visit, f"{racers} processes", partial(race_apart, reopen, processes=racers))
        except ChildProcessError as error:
            why, remedy = str(error), "run modelkeep doctor --race in a shell with room for that many processes"
    check = _run(visit, f"{racers} threads", partial(race_in_threads, visit.store, threads=racers))
    return _note(f"processes could not race, for {why}; {check.detail}", remedy) if check.ok else check


def _run(visit: Visit, who: str, race: Callable[[list[str]], Winners]) -> Check:
    kind = who.rpartition(" ")[2]
    keys = visit.expect([visit.key(f"race-{kind}-{number:02d}") for number in range(RACED_KEYS)])
    won = visit.ask("create", lambda: race(keys))
    stored = visit.ask("get", lambda: visit.store.get_many(keys)) if visit.may_read else None
    visit.took = None
    uneven = [key for key in keys if len(won[key]) != 1]
    if uneven:
        return _fault(f"{who} raced, and {len(uneven)} of {len(keys)} keys had not exactly one winner", UNSOUND)
    if stored is not None and any(stored.get(key) != value_of(key, won[key][0]) for key in keys):
        return _fault(f"{who} raced, and a key does not hold what its winner wrote", UNSOUND)
    return _sound(f"{who} raced for {len(keys)} keys, and each had one winner")


_CHECKS: dict[str, Callable[[Visit], Check]] = {
    "place": _place,
    "list": _list,
    "read": _read,
    "create": _create,
    "create-if-absent": _create_if_absent,
    "delete": _delete,
    "write a pack": _pack,
    "clock": _clock,
    "latency": _latency,
    "libraries": _libraries,
}
