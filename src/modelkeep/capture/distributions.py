"""Which distributions are installed, and which of them did not come from an index.

The names of metadata folders tell names and versions (the PyPA's "Recording installed projects"); to parse the
metadata of each, as `importlib.metadata` does, takes many times as long.
"""

from __future__ import annotations

import json  # here, not where it is needed: a fork would find the lock of an import that a thread had begun
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from modelkeep.capture.addresses import without_credentials
from modelkeep.releasenumbers import is_distribution_name, is_version_text, normalized

_MAX_ENTRIES = 50_000  # of one folder on the path; a folder of data beside a script may hold millions
_MAX_DISTRIBUTIONS = 20_000
_MAX_DIRECT = 64 << 10  # bytes of one direct_url.json
_MAX_DIRECTS = 500  # files of that kind
_MAX_UNKNOWN = 20  # sentences
_EGG = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(?:-py[0-9.]+(?:-.+)?)?")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
_HASH = re.compile(r"[0-9a-f]{32,128}")
_RACY = 2.0  # seconds: the coarsest clock of a file system; what changed within them may change again unseen


class Found(NamedTuple):
    """One distribution: its name (PEP 503), version, the folder on the path, and its metadata folder in that."""

    name: str
    version: str
    folder: str
    metadata: str


class Folder(NamedTuple):
    """One folder of the path as it was looked at: its names, its distributions, where those came from, what was odd."""

    changed: int
    taken: float
    names: set[str]
    found: dict[str, Found]
    direct: dict[str, dict[str, Any]]
    unknown: list[str]

    def fresh(self, changed: int) -> bool:
        """Whether nothing was installed or removed since."""
        return changed == self.changed and changed / 1e9 < self.taken - _RACY


class Site(NamedTuple):
    """What one look at the path found, by name; of two distributions of a name the first on the path counts."""

    folders: dict[str, Folder]
    found: dict[str, Found]
    direct: dict[str, dict[str, Any]]
    unknown: list[str]


def scan(path: Sequence[str], known: dict[str, Folder] | None = None) -> Site:
    """Look through the folders of *path*, but for those that *known* has and that have not changed since."""
    site = Site({}, {}, {}, [])
    for folder, changed in _changes(path):
        one = (known or {}).get(folder)
        if one is None or not one.fresh(changed):
            one = _look(folder, changed)
        site.folders[folder] = one
        for sentence in one.unknown:
            _note(site.unknown, sentence)
        for found in one.found.values():
            _add(site, found, one.direct.get(found.name))
    return site


def _add(site: Site, found: Found, direct: dict[str, Any] | None) -> None:
    before = site.found.get(found.name)
    # what ``pip install -e`` leaves beside the source says less than what it writes among the installed
    if before is None or (_is_egg(before) and not _is_egg(found) and before.version == found.version):
        if len(site.found) >= _MAX_DISTRIBUTIONS:
            _note(site.unknown, f"there are more than {_MAX_DISTRIBUTIONS} distributions")
            return
        site.found[found.name] = found
        site.direct.pop(found.name, None)
        if direct is not None:
            site.direct[found.name] = direct


def _changes(path: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The folders of *path* and when each was changed last; installing changes that."""
    for folder in dict.fromkeys(os.path.abspath(entry) for entry in path if isinstance(entry, str)):  # noqa: PTH100
        try:
            yield folder, os.stat(folder).st_mtime_ns  # noqa: PTH116  pathlib takes ten times as long
        except (OSError, ValueError):
            continue


def _look(folder: str, changed: int) -> Folder:
    one = Folder(changed, time.time(), set(), {}, {}, [])
    one.names.update(_names_in(folder, one.unknown))
    for found in _distributions(folder, one.names, one.unknown):
        one.found[found.name] = found
        if len(one.direct) < _MAX_DIRECTS and (direct := _direct(found)) is not None:
            one.direct[found.name] = direct
    return one


def _names_in(folder: str, unknown: list[str]) -> set[str]:
    names = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if len(names) >= _MAX_ENTRIES:
                    _note(unknown, f"a folder on the path has more than {_MAX_ENTRIES} entries; the rest was not seen")
                    break
    except OSError:
        return set()  # a zip, or a folder that is not there
    return names


def _distributions(folder: str, names: set[str], unknown: list[str]) -> Iterator[Found]:
    metadata = sorted(name for name in names if name.endswith((".dist-info", ".egg-info")))
    best: dict[str, Found] = {}
    for name in metadata:
        if name.startswith("~"):  # what pip left of an older one
            continue
        parsed = _parsed(folder, name)
        if parsed is None:
            _note(
                unknown, f"the metadata folder {name.encode(errors='replace').decode()[:80]!r} has no name and version"
            )
            continue
        before = best.setdefault(parsed.name, parsed)
        if before is not parsed:
            best[parsed.name] = _whole(before, parsed)
            _note(unknown, f"{parsed.name} has two metadata folders in one folder")
    yield from best.values()


def _parsed(folder: str, name: str) -> Found | None:
    stem, _, kind = name.rpartition(".")
    if kind == "dist-info":
        project, _, version = stem.rpartition("-")
    else:
        found = _EGG.fullmatch(stem)
        project, version = (found["name"], found["version"]) if found else (stem, _egg_version(folder, name))
    version = version.replace("_", "-") if "_" in version else version
    if not is_distribution_name(project) or not is_version_text(version):
        return None
    return Found(normalized(project), version, folder, name)


def _egg_version(folder: str, name: str) -> str:
    raw = _read(os.path.join(folder, name, "PKG-INFO"), 4096) or b""  # noqa: PTH118
    said = re.search(rb"^Version: *([!-~]+)\r?$", raw, re.MULTILINE)
    return said[1].decode() if said else ""


def _whole(one: Found, other: Found) -> Found:
    """Of two metadata folders the one that has its metadata, the newer where both have."""

    def rank(found: Found) -> tuple[int, int]:
        try:
            return 1, os.stat(os.path.join(found.folder, found.metadata, "METADATA")).st_mtime_ns  # noqa: PTH116, PTH118
        except OSError:
            return 0, 0

    return max(one, other, key=rank)


def _read(path: str, most: int) -> bytes | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(most)
    except (OSError, ValueError):
        return None


def _direct(one: Found) -> dict[str, Any] | None:
    """Where a distribution was installed from, if not from an index (PEP 610)."""
    path = f"{one.folder}/{one.metadata}/direct_url.json"
    if not os.path.exists(path):  # noqa: PTH110  most have none; an exception for each would cost more than the scan
        return {"kind": "editable"} if _is_developed(one) else None
    raw = _read(path, _MAX_DIRECT + 1) or b""
    try:
        said = json.loads(raw) if len(raw) <= _MAX_DIRECT else None
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        said = None
    if not isinstance(said, dict):
        return {"kind": "unknown"}
    return _kind(said)


def _is_developed(one: Found) -> bool:
    # ``setup.py develop`` leaves it beside the source, and without a version in its name, as Debian does elsewhere
    bare = _is_egg(one) and "-" not in one.metadata.removesuffix(".egg-info")
    return bare and os.path.basename(one.folder) not in ("site-packages", "dist-packages")  # noqa: PTH119


def _is_egg(one: Found) -> bool:
    return one.metadata.endswith(".egg-info")


def _kind(said: dict[str, Any]) -> dict[str, Any]:
    address = without_credentials(said.get("url"))
    kept: dict[str, Any] = {"kind": "unknown"} if address is None else {"kind": "unknown", "url": address}
    match said:
        case {"vcs_info": {"vcs": "git" | "hg" | "svn" | "bzr" as system, **more}}:
            kept |= {"kind": "vcs", "vcs": system}
            commit = more.get("commit_id")
            if isinstance(commit, str) and _COMMIT.fullmatch(commit):
                kept["commit"] = commit
        case {"archive_info": {**more}}:
            kept["kind"] = "archive"
            hashes = more.get("hashes")
            sha256 = hashes.get("sha256") if isinstance(hashes, dict) else None
            if isinstance(sha256, str) and _HASH.fullmatch(sha256):
                kept["sha256"] = sha256
        case {"dir_info": {**more}}:
            kept["kind"] = "editable" if more.get("editable") is True else "folder"
    return kept


def _note(unknown: list[str], sentence: str) -> None:
    if len(unknown) < _MAX_UNKNOWN and sentence not in unknown:
        unknown.append(sentence)
