"""Verification: every byte of a registry read, and what is not as it was written said, object by object."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from modelkeep._crosscheck import Pasts, holders, tails, texts
from modelkeep._dead import needed
from modelkeep._expected import Expected
from modelkeep._home import Home
from modelkeep._line import Line
from modelkeep._lost import Loss, lost_in, lost_with
from modelkeep._repair import Repair, announced, dropped_entries, dropped_packs, tiled
from modelkeep._report import Report
from modelkeep.errors import (
    FormatError,
    IntegrityError,
    InvalidNameError,
    MissingObjectError,
    ModelkeepError,
    StoreError,
)
from modelkeep.journal import Journal
from modelkeep.layout import (
    CATALOGS,
    MARKER,
    PROBES,
    SHELVES,
    announced_line,
    catalog_key,
    data_prefix,
    entry_key,
    is_dataset,
    is_probe,
    line_of,
    model_prefix,
    number_of,
    pack_key,
)
from modelkeep.progress import Progress, reporter
from modelkeep.reading import Finding
from modelkeep.stores.port import StoredObject

_UNREAD = ("damaged", "missing", "unreadable", "foreign")


@attrs.define
class _Run:
    """One verification: of what, how, and what has come up so far."""

    home: Home
    registry: str
    advance: Callable[[int], None]
    quick: bool = False
    repair: bool = False
    announced: set[str] = attrs.Factory(set)
    blamed: dict[str, tuple[str, ...]] = attrs.Factory(dict)
    models: int = 0
    datasets: int = 0
    versions: int = 0
    drafts: int = 0
    bytes: int = 0
    lost: list[Loss] = attrs.Factory(list)
    whole: int = 0
    repairs: list[Repair] = attrs.Factory(list)

    def line(self, name: str) -> Line:
        """A model as the storage itself has it."""
        return Line.open(self.home, name, self.registry, cached=False)

    def mended(self, repairs: Iterable[Repair]) -> set[str]:
        """Note what was repaired; gives the keys of what was."""
        found = list(repairs)
        self.repairs += found
        return {one.key for one in found if not one.failed}

    def note_lost(self, losses: Iterable[Loss]) -> int:
        """Note what is lost; gives how many versions."""
        found = list(losses)
        self.lost += found
        return sum(not (one.is_variant or one.is_draft) for one in found)


def verify(
    home: Home, name: str | None = None, *, quick: bool = False, repair: bool = False, progress: Progress = None
) -> Report:
    """Read everything and check every byte. See `Storage.verify`."""
    fresh = Home(home.store, home.system)  # as it is now, not as it once was
    try:
        registry = fresh.existing()
    except IntegrityError as error:
        return _unreadable(home, Finding(MARKER, str(error), "damaged"), name)
    except FormatError as error:
        if "format" in error.facts or not _sizes(home):
            raise
        return _unreadable(home, Finding(MARKER, "it is missing although models or datasets lie here", "missing"), name)
    if repair:
        fresh.prepare()
    sizes = _sizes(home, name)
    if name is not None and name not in sizes:
        raise Line.open(home, name, registry).unknown()
    with reporter(progress, sum(sizes.values())) as advance:
        run = _Run(home, registry, advance, quick, repair)
        found = tuple(_findings(run, sorted(sizes), name))
    return Report(
        found,
        run.models,
        run.versions,
        run.bytes,
        tuple(run.lost),
        run.whole,
        tuple(run.repairs),
        quick=quick,
        datasets=run.datasets,
        drafts=run.drafts,
    )


def _unreadable(home: Home, finding: Finding, only: str | None) -> Report:
    """Without the marker nothing can be loaded, and nothing more be said."""
    return Report((finding,), 0, 0, 0, tuple(Loss(name, (), (MARKER,)) for name in sorted(_sizes(home, only))))


def all_journals(home: Home, registry: str) -> Iterator[Journal[Any]]:
    """Every journal of a registry, as the storage itself has it; none is read yet."""
    for name in sorted(_sizes(home)):
        yield from Line.open(home, name, registry, cached=False).journals.values()
    yield home.policy(registry, cached=False)


def _sizes(home: Home, name: str | None = None) -> dict[str, int]:
    """Every line, or the one of that name, with the bytes of its packs. One listing for each shelf."""
    found: dict[str, int] = {}
    for prefix in SHELVES if name is None else (model_prefix(name),):
        for item in home.store.list(prefix):
            with suppress(InvalidNameError):
                own = line_of(item.key)
                found[own] = found.get(own, 0) + (item.size if item.key.startswith(data_prefix(own)) else 0)
    return found


def _findings(run: _Run, names: Sequence[str], only: str | None) -> Iterator[Finding]:
    for name in names:
        found = list(_history(run, run.line(name)))
        run.blamed[name] = tuple(one.key for one in found if one.kind in _UNREAD and "/notes/" not in one.key)
        yield from found
    if only is None:
        yield from _journal(run, run.home.policy(run.registry, cached=False))
    catalogs = CATALOGS if only is None else (catalog_key(only),)
    markers = [item for catalog in catalogs for item in run.home.store.list(catalog)]
    run.announced = {own for item in markers if (own := _announced_name(item.key)) is not None}
    mine = [item for item in markers if only in (None, _announced_name(item.key))]
    for name in names:
        run.models += not is_dataset(name)
        run.datasets += is_dataset(name)
        yield from _model(run, run.line(name))
    for item in mine:
        yield from _marker(run, item, names)
    for item in [] if only else run.home.store.list(PROBES):
        if is_probe(item.key):
            yield Finding(item.key, "a doctor left it behind, or is at work; it may be deleted", "leftover")


def _marker(run: _Run, item: StoredObject, names: Collection[str]) -> Iterator[Finding]:
    name = _announced_name(item.key)
    if item.size or name is None:
        yield Finding(item.key, "it is no marker of a model or dataset", "stray")
    elif name not in names and not _sizes(run.home, name):  # a first save may have come since models were listed
        problem = f"nothing of {name} is there: its first save broke off, or all of it is lost: see your backup"
        yield Finding(item.key, problem, "leftover")


def _announced_name(key: str) -> str | None:
    with suppress(InvalidNameError):
        return announced_line(key)
    return None


def _history(run: _Run, line: Line) -> Iterator[Finding]:
    """Every entry and tile of a line, and what says where it was born."""
    try:
        line.birth.elsewhere()
    except IntegrityError as error:
        yield Finding(line.birth.key, str(error), "damaged")
        return  # every journal of the line hangs on it
    found = [finding for journal in line.journals.values() for finding in _journal(run, journal)]
    foreign = [finding for finding in found if finding.kind == "foreign"]
    if foreign:
        yield Finding(
            line.birth.key, f"it is missing, or {foreign[0].key} is another's: {foreign[0].problem}", "missing"
        )
    if len(foreign) == 1 or line.birth.elsewhere():  # else it is surely the origin that is not there
        yield from (attrs.evolve(finding, kind="damaged") for finding in foreign)
    yield from (finding for finding in found if finding.kind != "foreign")


def _journal(run: _Run, journal: Journal[Any]) -> Iterator[Finding]:
    """Every entry and tile of a journal.

    What breaks a rule behind an entry that cannot be read may well be legal with it, so nothing is said of that.
    """
    found = journal.verify()
    lost = [number_of(finding.key) or 0 for finding in found if finding.kind in _UNREAD]
    known = min(lost, default=sys.maxsize)
    found = [finding for finding in found if finding.kind != "void" or (number_of(finding.key) or 0) < known]
    mended: set[str] = set()
    if run.repair:
        mended = run.mended(tiled(journal, found))
        run.mended(dropped_entries(run.home, run.registry, journal, found))
    yield from (finding for finding in found if finding.key not in mended)


def _model(run: _Run, line: Line) -> Iterator[Finding]:
    """What the journals of a model say about each other, its packs and its texts."""
    sound: dict[str, Journal[Any]] = {}
    errors: dict[str, str] = {}
    for name in ("releases", "versions", "notes"):
        journal = line.journals[name]
        try:
            journal.refresh()
            sound[name] = journal
        except ModelkeepError as error:
            errors[name] = str(error.facts.get("key", journal.prefix))  # it was reported already
    needed_by_loads = errors.get("versions") or errors.get("releases")
    if needed_by_loads:
        run.note_lost(lost_with(line, run.blamed.get(line.name) or (needed_by_loads,)))
    yield from _contents(run, line, sound)
    if "versions" in sound and line.versions.state.is_open and line.name not in run.announced:
        yield from _unlisted(run, line)


def _unlisted(run: _Run, line: Line) -> Iterator[Finding]:
    key = catalog_key(line.name)
    shelf = "datasets" if is_dataset(line.name) else "models"
    if not (run.repair and key in run.mended([announced(line)])):
        yield Finding(key, f"{shelf}() does not list it: its marker is missing", "unlisted")


def _contents(run: _Run, line: Line, sound: Mapping[str, Journal[Any]]) -> Iterator[Finding]:
    """What can be said by those journals of a line that are *sound*."""
    pasts = Pasts()
    cut: set[str] = set()
    checks: list[Callable[[], Iterator[Finding]]] = [partial(tails, line, sound, pasts, cut)]
    if {"versions", "releases"} <= sound.keys():
        checks += [partial(holders, line, pasts, cut), partial(_packs, run, line, cut)]
    if not run.quick:
        checks.append(partial(texts, line, sound, pasts))
    for check in checks:
        try:
            yield from check()
        except StoreError as error:  # what it names is reported, where it can be read by itself
            yield Finding(str(error.facts.get("key", model_prefix(line.name))), str(error), "unreadable")


def _packs(run: _Run, line: Line, cut: Collection[str]) -> Iterator[Finding]:
    """Every pack of one model, each looked at once, and what is lost with those that are not as written."""
    expected, alive = Expected(line), 0
    for number in line.versions.state.lines:
        if number not in line.releases.state.purged:
            alive += 1
            yield from expected.add(number)
    run.versions += alive
    for draft in line.drafts().values():
        run.drafts += 1
        yield from expected.add_draft(draft)
    listed = {item.key: item.size for item in line.home.store.list(data_prefix(line.name))}
    for pack in expected.extents:
        key = pack_key(line.name, pack)
        size = listed.pop(key, None)
        yield from _sized(run, expected, pack, size) if run.quick else _read(run, expected, pack)
    unless = "a version does of which the entry was lost" if "versions" in cut else "it is being uploaded"
    for key in sorted(listed):
        yield Finding(key, f"no version needs it: a collection takes it away, unless {unless}", "leftover")
    yield from _condemned(line)
    run.whole += alive - run.note_lost(lost_in(line, expected))
    if "versions" in cut and not line.versions.head:
        run.note_lost([Loss(line.name, (), (entry_key(line.versions.prefix, 1),))])
    if run.repair:
        run.mended(dropped_packs(run.home, run.registry, expected))


def _sized(run: _Run, expected: Expected, pack: str, size: int | None) -> Iterator[Finding]:
    """What the listing says of a pack."""
    if size is None:
        yield from _missing(expected, pack)
        return
    run.advance(size)
    yield from expected.misfits(pack, size)


def _read(run: _Run, expected: Expected, pack: str) -> Iterator[Finding]:
    """What the bytes of a pack say."""
    key = pack_key(expected.line.name, pack)
    try:
        raw = expected.line.home.store.get(key)
    except MissingObjectError:
        yield from _missing(expected, pack)
        return
    except StoreError as error:
        expected.gone.add(pack)
        yield Finding(key, str(error), "unreadable")
        return
    run.bytes += len(raw)
    run.advance(len(raw))
    yield from expected.faults(pack, raw)


def _missing(expected: Expected, pack: str) -> Iterator[Finding]:
    line = expected.line
    line.read()  # it may have been collected since
    if pack in needed(line.versions.state, line.releases.state):
        expected.gone.add(pack)
        who = expected.apart.get(pack, "a version")
        yield Finding(pack_key(line.name, pack), f"it is missing although {who} needs it", "missing")


def _condemned(line: Line) -> Iterator[Finding]:
    if line.versions.state.condemned & needed(line.versions.state, line.releases.state):
        line.releases.refresh()  # it may have been purged since that was read
    for pack in sorted(line.versions.state.condemned & needed(line.versions.state, line.releases.state)):
        problem = "it is condemned, although a version that was not purged needs it; see who wrote that entry"
        yield Finding(pack_key(line.name, pack), problem, "condemned")
