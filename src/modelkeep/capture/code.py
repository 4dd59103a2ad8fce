"""All about code that a version records: Git, the function, the cells and files that were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelkeep.capture.functions import function_facts
from modelkeep.capture.git import checkout, is_untracked, root_of
from modelkeep.capture.notebook import executed_cells
from modelkeep.capture.sourcefiles import imported_files
from modelkeep.capture.sources import file_of


def code_facts(
    function: object = None, *, folder: Path | None = None, diff: bool = False, cells: bool = False, files: bool = False
) -> dict[str, Any]:
    """What made a version, as plain values that `modelkeep.code.Code` reads back; never an error.

    Args:
        function: what trained, if it is known.
        folder: where to look for Git; the one that the function's file lies in, else the working folder.
        diff: take the difference from the commit along.
        cells: take the cells of the notebook along.
        files: take the project's imported files along, where there is no commit.

    Example:
        >>> sorted(code_facts(len, folder=Path("/nonexistent")))
        ['function', 'notes']
    """
    here = folder or _folder_of(function)
    found = checkout(here, diff=diff)
    facts, notes = found.to_json(), list(found.notes)
    root = root_of(here) or _around(here)
    if function is not None:
        said = _guarded("function", notes, function_facts, function, root) or {}
        notes += said.pop("notes", [])
        facts["function"] = said
        if found.commit is not None and said.get("file") and is_untracked(root, said["file"]):
            facts |= {"dirty": True, "changed": [*facts.get("changed", []), said["file"]]}
            notes.append("git: the file of the function is in no commit, for Git does not track it")
    if cells:
        _listed(facts, "cells", notes, _guarded("cells", notes, executed_cells))
    if files and found.commit is None:
        _listed(facts, "files", notes, _guarded("files", notes, imported_files, root))
    return {key: value for key, value in facts.items() if value not in ({}, [])} | ({"notes": notes} if notes else {})


def _around(folder: Path) -> Path:
    """The working folder if *folder* lies in it, else *folder*: without Git one of them is the project."""
    try:
        return Path.cwd() if folder.resolve().is_relative_to(Path.cwd()) else folder
    except (OSError, ValueError, RuntimeError):
        return folder


def _listed(facts: dict[str, Any], name: str, notes: list[str], found: Any) -> None:
    if found:
        facts[name] = found[0]
        notes += found[1]


def _guarded(what: str, notes: list[str], look: Any, *arguments: Any) -> Any:
    try:
        return look(*arguments)
    except Exception as error:  # noqa: BLE001  what it looks at is anybody's; training must not fail of it
        notes.append(f"{what}: unknown: {type(error).__name__}")
        return None


def _folder_of(function: object) -> Path:
    try:
        inner = getattr(function, "__wrapped__", function)
        file = file_of(inner) if callable(inner) and hasattr(inner, "__code__") else None  # type: ignore[arg-type]
        if file and Path(file).is_file():
            return Path(file).resolve().parent
        return Path.cwd()
    except (OSError, ValueError, RuntimeError):
        return Path("/")
