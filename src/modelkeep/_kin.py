"""The reverse index: what the manifests of all versions say of parents, data, code and runs, each read once.

An entry does not say who its parents are; the manifest does, and never changes. So what it says is kept by the digest
of the version, in memory and in one file for each model in the cache of this machine. What it is kept for is looked up
in the journals each time: of a version that was purged or erased, or whose number another past gave to other bytes,
nothing is found, and its line goes at once. A file that is missing, damaged or of another form is made anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import orjson

from modelkeep import _resolve
from modelkeep._home import Home
from modelkeep._kingraph import Model, drawn
from modelkeep._line import Line
from modelkeep.cache import CacheFolder
from modelkeep.errors import DeletedError, IntegrityError, InvalidNameError, UnknownModelError
from modelkeep.folds import versions
from modelkeep.forks import renew_after_fork
from modelkeep.kinship import Kinship
from modelkeep.layout import CATALOGS, announced_line, is_dataset
from modelkeep.lineage import Lineage
from modelkeep.ref import check_model_name
from modelkeep.threads import answers

_FORM = 1  # of the files; another one is read as none
_MOST_STRANGE = 100  # models that records name and nobody announces; each is a look for nothing, every time
Find = Callable[[str], Line]


class Index:
    """What this process knows of one registry: its lines, and what manifests say by the digest of the version."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self._said: dict[str, dict[str, Kinship]] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self._lock = threading.Lock()

    def line(self, name: str, find: Find) -> Line:
        """The line of *name*: as it was opened here before, else as *find* opens it."""
        found = self.lines.get(name)
        return self.lines.setdefault(name, find(name)) if found is None else found

    def said(self, line: Line) -> dict[int, Kinship | str]:
        """What the manifests of a line say by number, or why one cannot be read; purged versions are left out.

        A read of each manifest that was not read before.
        """
        purged = line.releases.state.purged
        wanted = {n: known for n, known in list(line.versions.state.lines.items()) if n not in purged}
        known = self._known(line)
        missing = {n: one for n, one in wanted.items() if one.made.identity not in known}
        found = answers(line.home.store, [partial(_read, line, one) for one in missing.values()])
        told = dict(zip(missing, found, strict=True))
        anew = {missing[n].made.identity: one for n, one in told.items() if isinstance(one, Kinship)}
        identities = {one.made.identity for one in wanted.values()}
        if anew or not known.keys() <= identities:
            known = {identity: one for identity, one in (known | anew).items() if identity in identities}
            self._keep(line, known)
        faults = {n: why for n, why in told.items() if isinstance(why, str)}
        return {n: known[one.made.identity] for n, one in wanted.items() if one.made.identity in known} | faults

    def drop(self, line: Line, identities: Collection[str]) -> None:
        """Forget what versions said that are gone now."""
        known = self._known(line)
        if not known.keys().isdisjoint(identities):
            self._keep(line, {identity: one for identity, one in known.items() if identity not in identities})

    def _known(self, line: Line) -> dict[str, Kinship]:
        with self._lock:
            known = self._said.get(line.name)
        if known is None:
            folder = _folder(line.home)
            known = {} if folder is None else parsed(folder.get(file_of(line.name)))
            with self._lock:
                known = self._said.setdefault(line.name, known)
        return known

    def _keep(self, line: Line, known: dict[str, Kinship]) -> None:
        with self._lock:
            self._said[line.name] = known
        if (folder := _folder(line.home)) is not None:
            folder.put(file_of(line.name), written(known))


def index_of(home: Home) -> Index:
    """The index of a registry as this process opened it."""
    with home.lock:
        found: Index = home.attached.setdefault("lineage", Index())
        return found


# -- the file --------------------------------------------------------------------------------------------------


def file_of(name: str) -> str:
    """The key under which the cache keeps what the versions of a model say."""
    return f"lineage/{name}"


def written(known: Mapping[str, Kinship]) -> bytes:
    """The bytes of a file: a line that says its form, and one for each version."""
    rows: list[Any] = [_FORM, *([identity, one.to_json()] for identity, one in known.items())]
    return b"\n".join(map(orjson.dumps, rows))


def parsed(raw: bytes | None) -> dict[str, Kinship]:
    """What a file says, by digest; nothing if there is none, or it is of another form."""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        first, *rows = map(orjson.loads, (raw or b"").split(b"\n"))
        if first == _FORM:
            return {identity: Kinship.from_json(one) for identity, one in rows}
    return {}


def _folder(home: Home) -> CacheFolder | None:
    registry = home.id()
    return home.index(registry) if registry else None


def _read(line: Line, known: versions.Line) -> Kinship | str | None:
    """What a manifest says; why it cannot be read; None if the version was purged meanwhile."""
    try:
        _, record = _resolve.open_files(line, _resolve.Found(known.made.number, known.made.identity, known.at))
    except DeletedError:
        return None
    except IntegrityError as error:
        return str(error)
    return Kinship.of(record)


# -- the graph -------------------------------------------------------------------------------------------------


def lineage(home: Home, find: Find | None = None, names: Iterable[str] | None = None) -> Lineage:
    """The lineage of models and datasets; see `Registry.lineage`.

    Args:
        home: the registry.
        find: opens a line; without it this process opens its own, once.
        names: of the models that are asked of; without them all that are announced.

    Raises:
        UnknownModelError: one of *names* was never saved.
    """
    if home.id() is None:
        return Lineage((), (), home.store.url)
    asked = None if names is None else {check_model_name(name) for name in names}
    whole = _whole(home, find or _own(home), only=asked)
    return whole if asked is None else whole.around(n for n in whole.versions if n.facts.get("name") in asked)


def lineage_of(line: Line, number: int) -> Lineage:
    """The lineage of one version; see `ModelVersion.lineage`."""
    own = _own(line.home)
    index_of(line.home).lines.setdefault(line.name, line)
    return _whole(line.home, own, also=line.name).around([f"model:{line.name}:{number}"])


def forget(line: Line, number: int) -> None:
    """Keep nothing of what a version said that is erased now, in memory and on this machine."""
    index_of(line.home).drop(line, {line.line(number).made.identity})


def _own(home: Home) -> Find:
    return lambda name: Line.open(home, name, home.existing())


def _whole(home: Home, find: Find, *, only: Collection[str] | None = None, also: str | None = None) -> Lineage:
    """All models that are announced, or *only* some; all datasets; and what their parents belong to."""
    index, announced = index_of(home), _announced(home)
    wanted = announced if only is None else {name for name in announced if is_dataset(name)} | {*only}
    wanted |= set() if also is None else {also}
    found = _read_all(index, home, find, wanted, needed=only or ())
    looked, strange = {*found}, _MOST_STRANGE
    while news := _parents(found) - looked:
        known = news & announced
        tried = known | {*sorted(news - known)[:strange]}
        strange -= len(tried - known)
        looked |= news
        found |= _read_all(index, home, find, tried)
    return drawn(found, home.store.url)


def _announced(home: Home) -> set[str]:
    found = set()
    for catalog in CATALOGS:
        for item in home.store.list(catalog):
            with suppress(InvalidNameError):  # not ours; verify reports it
                found.add(announced_line(item.key))
    return found


def _read_all(
    index: Index, home: Home, find: Find, names: Collection[str], needed: Collection[str] = ()
) -> dict[str, Model]:
    """The lines of *names*, folded up to now, and what their versions say; those never saved are left out.

    Raises:
        UnknownModelError: one of those that are *needed* was never saved.
    """
    lines = {name: index.line(name, find) for name in sorted(names)}
    read = answers(home.store, [partial(_refresh, line, needed) for line in lines.values()])
    there = [line for line, is_there in zip(lines.values(), list(read), strict=True) if is_there]
    return {line.name: Model(line, {} if is_dataset(line.name) else index.said(line)) for line in there}


def _refresh(line: Line, needed: Collection[str]) -> bool:
    try:
        line.read()
    except UnknownModelError:
        if line.name in needed:
            raise
        return False
    return True


def _parents(found: Mapping[str, Model]) -> set[str]:
    """The models that parents belong to."""
    said = [one for model in found.values() for one in model.said.values() if isinstance(one, Kinship)]
    return {parent.name for one in said for parent in one.parents}
