"""What Git would commit, and what it leaves out: asked of Git itself, in whose hook this runs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelkeep.commands.outputs import write_text

_ORDINARY = "100"  # how the mode of a file begins; links and submodules are no bytes of a model
_SPECIAL = re.compile(r"([\\*?\[\]#! ])")  # what a line of .gitignore would read as more than itself


def sizes(paths: Sequence[Path]) -> dict[Path, int]:
    """The bytes of each file: those that are staged, and where none are, those on the disk; without what is neither.

    What is staged counts: Git LFS stages a few lines, and a file that was deleted since is still committed.
    """
    on_disk = {path: path.stat().st_size for path in paths if path.is_file() and not path.is_symlink()}
    return on_disk | _staged(paths)


def _staged(paths: Sequence[Path]) -> dict[Path, int]:
    listed = _git(["--literal-pathspecs", "ls-files", "--stage", "-z", "--", *map(str, paths)])
    entries = [entry.partition("\t") for entry in listed.split("\0") if entry.startswith(_ORDINARY)]
    digests = [facts.split()[1] for facts, _, _ in entries]
    counted = _git(["cat-file", "--batch-check=%(objectsize)"], "\n".join(digests)).splitlines() if digests else []
    given = {os.path.relpath(path): path for path in paths}  # as Git writes them
    found = ((given.get(os.path.normpath(name)), size) for (_, _, name), size in zip(entries, counted, strict=True))
    return {path: int(size) for path, size in found if path is not None and size.isdigit()}


def ignore(path: Path) -> Path | None:
    """See to it that Git ignores *path*: the file that was changed for it; None if Git did, or there is no Git."""
    if not _git(["rev-parse", "--git-dir"]) or _git(["check-ignore", "--no-index", "--", str(path)]):
        return None
    listed = path.with_name(".gitignore")
    before = listed.read_text(encoding="utf-8") if listed.exists() else ""
    line = "/" + _SPECIAL.sub(r"\\\1", path.name)
    write_text(listed, f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n")
    return listed


def _git(words: Iterable[str], given: str = "") -> str:
    """What Git answers; nothing where there is no Git, or it refuses."""
    try:
        done = subprocess.run(  # noqa: S603  no shell
            ["git", *words],  # noqa: S607  git is found on the PATH, as for the user
            input=os.fsencode(given),
            capture_output=True,
            check=False,
        )
    except OSError:
        return ""
    return os.fsdecode(done.stdout) if done.returncode == 0 else ""
