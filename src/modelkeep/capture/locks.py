"""What pins the distributions: the project's own lock file by its digest, or one that ``uv`` makes on request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelkeep.digest import digest

_OWN = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")
_MAX_LOCK = 16 << 20  # bytes of the project's own
_MAX_MADE = 8 << 20  # bytes of one made here
_MAX_NAMES = 5000  # entries of a folder that are looked at for requirements*.txt
_MAX_LEVELS = 40
_TIMEOUT = 60.0  # seconds
NAME = "requirements.lock"  # of a lock that was made here


def own_lock(where: Callable[[], str]) -> dict[str, str] | None:
    """The nearest lock file between the working folder and the root of its Git repository; without one, only there."""
    try:
        start = where()
    except OSError:  # the working folder is gone
        return None
    for folder in _upwards(start):
        for path in _candidates(folder):
            if (found := _digested(path)) is not None:
                return {"name": os.path.basename(path), "digest": found}  # noqa: PTH119
    return None


def _upwards(start: str) -> Iterator[str]:
    folders, folder = [start], start
    for _ in range(_MAX_LEVELS):
        if os.path.exists(f"{folder}/.git"):  # noqa: PTH110  a folder, or the file of a worktree
            yield from folders
            return
        parent = os.path.dirname(folder)  # noqa: PTH120
        if parent == folder:
            break
        folder = parent
        folders.append(folder)
    yield start


def _candidates(folder: str) -> Iterator[str]:
    yield from (f"{folder}/{name}" for name in _OWN)
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(_MAX_NAMES), strict=False))
    except OSError:
        return
    for name in names:
        if name.startswith("requirements") and name.endswith(".txt") and _has_hashes(f"{folder}/{name}"):
            yield f"{folder}/{name}"


def _has_hashes(path: str) -> bool:
    raw = _read(path)
    return raw is not None and b"--hash=sha256:" in raw


def _read(path: str) -> bytes | None:
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _MAX_LOCK:  # noqa: PTH113, PTH202
            return None
        return Path(path).read_bytes()
    except OSError:
        return None


def _digested(path: str) -> str | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return _digest_at(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_at(path: str, *_: int) -> str | None:
    raw = _read(path)
    return None if raw is None else digest(raw)


def made_lock(found: dict[str, Any]) -> tuple[dict[str, str] | None, str]:
    """Pin what is installed with hashes, by ``uv pip compile``; or say why not.

    What did not come from an index has no hash there, and is left out.
    """
    import shutil  # this and the next are only for who asks

    program = shutil.which("uv")
    if program is None:
        return None, "no lock was made: uv is not on the PATH"
    sources = found.get("sources", {})
    pins = [f"{name}=={version}" for name, version in found.get("distributions", {}).items() if name not in sources]
    text, reason = _compiled(program, "\n".join(pins), found["python"])
    if text is None:
        return None, f"no lock was made: {reason}"
    return {"name": NAME, "digest": digest(text.encode()), "text": text}, ""


def _compiled(program: str, pins: str, python: str) -> tuple[str | None, str]:
    import subprocess

    options = ["--generate-hashes", "--no-deps", "--no-header", "--no-annotate", "--quiet", "--python-version", python]
    try:
        done = subprocess.run(  # noqa: S603  a program of the user's, and names that were checked
            [program, "pip", "compile", *options, "-"],
            input=pins.encode(),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return None, f"uv took more than {_TIMEOUT:g} seconds"
    except OSError as error:
        return None, f"uv could not be run: {type(error).__name__}"
    if done.returncode:
        return None, f"uv ended with status {done.returncode}: the index may lack a version that is installed"
    if len(done.stdout) > _MAX_MADE:
        return None, f"it has more than {_MAX_MADE} bytes"
    return done.stdout.decode(errors="replace"), ""
