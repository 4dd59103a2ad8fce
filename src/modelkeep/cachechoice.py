"""Whether copies are kept on this machine, and where: what the caller says, else the environment, else the platform."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from modelkeep.cache import DEFAULT_SIZE, ENVIRONMENT, OFF, Cache
from modelkeep.errors import InvalidValueError, shown

SIZE = "MODELKEEP_CACHE_SIZE"


def chosen(cache: bool | str | os.PathLike[str] | None, *, remote: bool) -> Cache | None:
    """What the word ``cache=`` of a registry means; None for no cache.

    Args:
        cache: None: on where the store is *remote*, unless `MODELKEEP_CACHE` says ``off``. True or False: on or off.
            A path: on, in that folder.
        remote: whether the store is far away.

    Raises:
        InvalidValueError: *cache* is none of these, or `MODELKEEP_CACHE_SIZE` is no number of bytes.
    """
    if cache is False or (cache is None and (not remote or os.environ.get(ENVIRONMENT, "").lower() == OFF)):
        return None
    if cache is not None and not (cache is True or (isinstance(cache, (str, os.PathLike)) and os.fspath(cache))):
        raise InvalidValueError(f"cache={shown(cache)} is neither True, False nor a folder", cache=shown(cache))
    limit = _limit()
    if not limit:
        return None
    if isinstance(cache, (str, os.PathLike)):
        return Cache(_folder(cache), limit)
    try:
        return Cache(default_root(), limit)
    except InvalidValueError:
        if cache:
            raise
        return None  # nobody asked for one


def _folder(named: str | os.PathLike[str]) -> Path:
    try:
        folder = Path(named).expanduser().absolute()
        if b"\0" in os.fsencode(folder):
            raise ValueError("it holds a NUL")  # noqa: TRY301  one error for every fault
    except (RuntimeError, TypeError, ValueError) as error:  # nobody's home, bytes, or no valid Unicode
        raise InvalidValueError(
            f"cache={shown(named)} is no folder: {error}; name another", cache=shown(named)
        ) from None
    return folder


def default_root() -> Path:
    """The folder that `MODELKEEP_CACHE` names, else the one that this platform has for its user's caches.

    Raises:
        InvalidValueError: the user has no home folder.
    """
    named = os.environ.get(ENVIRONMENT, "")
    try:
        if named and named.lower() != OFF:
            return Path(named).expanduser().absolute()
        return _platform_root()
    except RuntimeError as error:
        raise InvalidValueError(f"there is no folder for the cache: {error}; name one in {ENVIRONMENT}") from None


def _platform_root() -> Path:
    if sys.platform == "win32":
        named = os.environ.get("LOCALAPPDATA", "")
        return (Path(named) if named else Path.home() / "AppData" / "Local") / "modelkeep" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "modelkeep"
    named = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(named) if named.startswith("/") else Path.home() / ".cache"  # the XDG rules ignore relative paths
    return base / "modelkeep"


def _limit() -> int:
    given = os.environ.get(SIZE, "").strip()
    if not given:
        return DEFAULT_SIZE
    if not re.fullmatch(r"[0-9]{1,18}", given):
        raise InvalidValueError(f"{SIZE}={given!r} is no number of bytes; write {DEFAULT_SIZE}, or 0 for no cache")
    return int(given)
