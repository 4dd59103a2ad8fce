"""Which distributions the modules of this process are of, and of which it runs another version than is installed.

The distribution of a module is told by its name where the two are alike, else by the lists of files (``RECORD``) of
those that could be it. `importlib.metadata.packages_distributions` reads the lists of all, which takes 100 ms and more.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from modelkeep.capture.distributions import Folder, Found, Site
from modelkeep.releasenumbers import is_version_text, normalized, release_of

_MAX_READ = 8 << 20  # bytes of RECORD files in one look
_MAX_RECORD = 4 << 20  # bytes of one
_AFTER = re.compile(rb"/|\.(?:[^/\n,]*\.)?(?:py|so|pyd)[,\r\n]|[\r\n]|\Z")
_NO_PART = frozenset({"sitecustomize", "usercustomize"})


class Root(NamedTuple):
    """A module whose package, if it has one, is a bare namespace: ``numpy``, ``google.protobuf``."""

    module: str
    base: str
    version: str


def roots() -> Iterator[Root]:
    """The outermost modules of this process that came from a file and are not of the standard library."""
    standard = sys.stdlib_module_names
    with_file: set[str] = set()
    for name, module in sorted(sys.modules.copy().items()):  # a parent comes before its children; threads may import
        top = name.partition(".")[0]
        if top in standard or top in _NO_PART or top.startswith("__") or _has_root(name, with_file):
            continue
        known = _known(module)
        path = known.get("__file__")
        if not isinstance(path, str):
            continue
        with_file.add(name)
        version = known.get("__version__")
        yield Root(name, _base(path, name), version if isinstance(version, str) else "")


def _has_root(name: str, seen: set[str]) -> bool:
    while "." in name:
        name = name.rpartition(".")[0]
        if name in seen:
            return True
    return False


def _known(module: object) -> dict[str, object]:
    try:  # a module that loads itself when it is first asked for something must not be asked
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _base(path: str, name: str) -> str:
    """The folder on the path from which the module *name* came."""
    base = os.path.dirname(path)  # noqa: PTH120
    if os.path.basename(path).startswith("__init__."):  # noqa: PTH119
        base = os.path.dirname(base)  # noqa: PTH120
    for _ in range(name.count(".")):
        base = os.path.dirname(base)  # noqa: PTH120
    return base


def loaded_from(site: Site, asked: Iterable[Root]) -> dict[str, Root | None]:
    """The distributions that *asked* are of, each with a root that bears its name, if there is one."""
    owned: dict[str, Root | None] = {}
    open_ones: dict[str, list[Root]] = {}
    for root in asked:
        name = normalized(root.module)
        one = site.found.get(name)
        if one is not None and _is_of(root, one, site):
            owned[name] = root
        elif root.base in site.folders:
            open_ones.setdefault(root.base, []).append(root)
        else:
            owned.update(dict.fromkeys(_around(root, site)))
    for folder, left in open_ones.items():
        for name in _by_record(folder, left, site, owned):
            owned.setdefault(name, None)
    return owned


def _is_of(root: Root, one: Found, site: Site) -> bool:
    return root.base == one.folder or one.name in _around(root, site)


def _around(root: Root, site: Site) -> Iterator[str]:
    """Distributions that are used from the folder of their source, and have the module there."""
    for name, direct in site.direct.items():
        if direct["kind"] == "editable":
            folder = _plain(direct["url"].removeprefix("file://")) if "url" in direct else site.found[name].folder
            if root.base == folder or root.base.startswith(folder.rstrip("/") + "/"):
                yield name


def _plain(path: str) -> str:
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), path)


def _by_record(folder: str, left: list[Root], site: Site, owned: Container[str]) -> Iterator[str]:
    """Search the lists of files: of distributions whose names resemble, then of those whose names no module has."""
    wanted = {root.module.replace(".", "/"): normalized(root.module).strip("-") for root in left}
    budget = _MAX_READ
    for rank, one in _ranked(site.folders[folder], wanted.values(), owned):
        # a module with an underscore is a part of something that was found by another name
        asked = [stem for stem in wanted if rank == 0 or not stem.startswith("_")]
        if not asked or budget <= 0:
            return
        raw = _files_of(one)
        budget -= len(raw)
        for stem in asked:
            if _lists(raw, stem):
                del wanted[stem]
                yield one.name


def _ranked(within: Folder, modules: Iterable[str], owned: Container[str]) -> list[tuple[int, Found]]:
    parts = {part for module in modules for part in module.split("-") if len(part) > 1}

    def rank(one: Found) -> int:
        if any(part in one.name or one.name in part for part in parts):
            return 0
        plain = one.name.replace("-", "_")
        if plain not in within.names and f"{plain}.py" not in within.names:
            return 1
        return 2 if one.name in owned else 3

    return sorted(((rank(one), one) for one in within.found.values()), key=lambda pair: pair[0])


def _files_of(one: Found) -> bytes:
    for name in ("RECORD", "installed-files.txt", "top_level.txt"):
        try:
            with open(os.path.join(one.folder, one.metadata, name), "rb") as file:  # noqa: PTH118, PTH123
                return b"\n" + file.read(_MAX_RECORD)
        except (OSError, ValueError):
            continue
    return b""


def _lists(raw: bytes, stem: str) -> bool:
    """Whether a list of files has the package or module *stem*; ``top_level.txt`` has its bare name."""
    line = b"\n" + stem.encode(errors="replace")
    at = raw.find(line)
    while at >= 0:
        if _AFTER.match(raw, at + len(line)):
            return True
        at = raw.find(line, at + 1)
    return False


def older_ones(site: Site, owned: dict[str, Root | None], start: Callable[[], float | None]) -> dict[str, str]:
    """Distributions of which this process runs another version than is installed: replaced since it loaded them.

    A module that says another version than its metadata may be careless; so the metadata must be newer than the
    process.
    """
    found = {}
    for name, root in owned.items():
        one = site.found[name]
        if root is None or not _differs(root.version, one.version) or (started := start()) is None:
            continue
        try:
            written = os.stat(os.path.join(one.folder, one.metadata)).st_mtime  # noqa: PTH116, PTH118
        except OSError:
            continue
        if written > started:
            found[name] = root.version
    return found


def _differs(said: str, installed: str) -> bool:
    if not is_version_text(said):
        return False
    here, there = release_of(said), release_of(installed)
    return here is not None and there is not None and here[:2] != there[:2]


def process_start() -> float | None:
    """When this process began, in seconds of the epoch; None where ``/proc`` does not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as file:  # noqa: PTH123
            booted = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
        return booted + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration, AttributeError):
        return None
