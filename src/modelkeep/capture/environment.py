"""The environment of the running process: Python, platform, distributions, lock. Looked up when it changed."""

from __future__ import annotations

import os
import platform
import re
import sys
from functools import lru_cache
from typing import Any

from modelkeep.capture import distributions, loaded, locks

_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*(?:(None)|'([0-9][0-9.]{0,20})')", re.MULTILINE)
_HIP = re.compile(r"^hip\b[^=\n]*=\s*'([0-9][0-9.]{0,20})", re.MULTILINE)

# What was looked up; replaced whole, so that threads need no lock, which a fork could find taken.
_seen: dict[str, Any] = {"folders": {}, "owned": (None, {})}


def captured(*, lock: bool = False) -> dict[str, Any]:
    """The environment of this process, for `modelkeep.environment.Environment`.

    The folders on ``sys.path`` are looked through once, and when they have changed: what a notebook installs shows.

    Args:
        lock: also ask ``uv`` to pin what is installed with hashes. That takes seconds, and the index.

    Example:
        >>> found = captured()
        >>> "attrs" in found["loaded"], found["implementation"]
        (True, 'CPython')
    """
    try:
        found = {**_python(), **_installed()}
    except Exception as error:  # noqa: BLE001  whatever is odd here, no training may fail of it
        found = {**_python(), "unknown": [f"distributions: {type(error).__name__}"]}
    kept = locks.own_lock(os.getcwd) if not lock else None
    if lock:
        kept, reason = locks.made_lock(found)
        if reason:
            found.setdefault("unknown", []).append(reason)
    return {**found, "lock": kept} if kept else found


@lru_cache(maxsize=1)
def _once() -> tuple[tuple[str, str], ...]:
    found = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "abi": f"{sys.implementation.cache_tag or ''}{getattr(sys, 'abiflags', '')}",
        "system": platform.system(),
        "machine": platform.machine(),
        "os": _os_name(),
        "libc": _libc(),
    }
    return tuple((key, value[:200]) for key, value in found.items() if value)


def _python() -> dict[str, Any]:
    return dict(_once())


def _os_name() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            said = re.search(r'^PRETTY_NAME="?([^"\n]+)', file.read(16 << 10), re.MULTILINE)
        return said[1] if said else platform.release()
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return "musl" if os.path.exists(f"/lib/ld-musl-{platform.machine()}.so.1") else ""  # noqa: PTH110


def _installed() -> dict[str, Any]:
    site = distributions.scan(sys.path, _seen["folders"])
    _seen["folders"] = site.folders
    owned = _loaded(site)
    versions = {name: one.version for name, one in sorted(site.found.items())}
    unknown = list(site.unknown)
    for name, version in loaded.older_ones(site, owned, loaded.process_start).items():
        unknown.append(f"{name} {versions[name]} was installed after {version} was loaded")
        versions[name] = version
    found: dict[str, Any] = {
        "distributions": versions,
        "loaded": sorted(owned),
        "sources": {name: dict(source) for name, source in site.direct.items()},
        "unknown": unknown,
        "cuda": _torch_build(site),
    }
    return {key: value for key, value in found.items() if value or key in ("distributions", "loaded")}


def _loaded(site: distributions.Site) -> dict[str, loaded.Root | None]:
    # of thousands of modules it costs a millisecond to look at each; one more shows in their number or at their end
    modules = len(sys.modules), next(reversed(sys.modules), None)
    key = (modules, tuple((path, one.taken) for path, one in site.folders.items()))
    before, found = _seen["owned"]
    if before != key:
        found = loaded.loaded_from(site, loaded.roots())
        _seen["owned"] = key, found
    return dict(found)


def _torch_build(site: distributions.Site) -> str:
    """What torch was built for, read from its file ``version.py``: it need not be loaded."""
    if (one := site.found.get("torch")) is None:
        return ""
    try:
        with open(f"{one.folder}/torch/version.py", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            said = file.read(16 << 10)
    except OSError:
        return ""
    if hip := _HIP.search(said):
        return f"rocm{hip[1]}"
    found = _CUDA.search(said)
    return (found[2] or "none") if found else ""
