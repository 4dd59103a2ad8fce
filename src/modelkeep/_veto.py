"""A second opinion on what may run code: picklescan looks at the files, and may refuse and never admit.

It is asked for with ``Registry(scan="picklescan")``, because it refuses what people rightly load with trust: every
function of their own that cloudpickle kept. It knows names that did harm and lets pass what it has not heard of, so
that nothing it says opens the gate of `modelkeep._trust`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from modelkeep._trust import Scan, Tier, tier_of
from modelkeep.errors import InvalidValueError, TrustError, shown
from modelkeep.serializers.port import Files

PICKLESCAN = "picklescan"
_NPY = b"\x93NUMPY"


def scanner(name: object) -> Scan:
    """The scan that a caller asked for by name.

    Raises:
        InvalidValueError: there is none of this name, or its package is not installed.
    """
    if name != PICKLESCAN:
        raise InvalidValueError(f"scan is {shown(name)}; give 'picklescan', or leave it out", key="scan")
    try:
        from picklescan.scanner import SafetyLevel, scan_bytes
    except ImportError as error:
        raise InvalidValueError(
            f"scan='picklescan' needs a package that is not installed ({error}); pip install \"modelkeep[picklescan]\"",
            key="scan",
        ) from None
    # it warns of every file that is no pickle; whoever listens to its logger still hears it
    logging.getLogger(PICKLESCAN).addHandler(logging.NullHandler())

    def scan(stream: BinaryIO, path: str) -> list[str]:
        array = stream.read(len(_NPY)) == _NPY  # whatever it is called; its numbers are no opcodes
        stream.seek(0)
        found: Any = scan_bytes(stream, path, ".npy" if array else PurePosixPath(path).suffix).globals
        return sorted({f"{one.module}.{one.name}" for one in found if one.safety is SafetyLevel.Dangerous})

    return scan


def check_stored(scan: Scan, files: Files, form: str, ref: str) -> None:
    """Ask *scan* about the files of a version before they are loaded; plain data is let be.

    Raises:
        TrustError: it found what is dangerous, or failed.
    """
    if tier_of(form) is not Tier.DATA:
        _check(scan, ((path, files.open(path)) for path in files.names() if files.size(path)), f"to load {ref}")


def check_on_disk(scan: Scan, paths: Iterable[Path]) -> None:
    """Ask *scan* about files and folders before they are adopted.

    Raises:
        TrustError: it found what is dangerous, or failed.
    """
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        _check(scan, ((str(one), one.open("rb")) for one in inside if one.stat().st_size), f"to adopt {path}")


def _check(scan: Scan, files: Iterator[tuple[str, BinaryIO]], act: str) -> None:
    for path, stream in files:
        with stream:
            found = _asked(scan, stream, path)
        if found:
            raise TrustError(
                f"picklescan forbids {act}: {path} {found}; look at the files with load(ref, into=folder), and if you "
                "know that this is right, go on with a Registry opened without scan=",
                path=path,
                found=found,
            )


def _asked(scan: Scan, stream: BinaryIO, path: str) -> str:
    """What is wrong with a file; empty, if nothing is."""
    try:
        named = scan(stream, path)
    except Exception as error:  # noqa: BLE001  a stranger's parser on a stranger's bytes; who cannot look, forbids
        return f"cannot be scanned ({type(error).__name__}: {error})"
    return f"names {', '.join(named)}" if named else ""
