"""What Git says of the folder: commit, branch, remote, whether files were changed, and on request how.

The folder may be a stranger's, and a repository may name programs in its own configuration. So Git is called with all
of them off that it would run for these questions: monitors of the file system, hooks, external diffs, text conversions,
pagers, credential helpers, remote helpers, and the filters that stand in the repository's own configuration. Filters of
the user's configuration (Git LFS) run. Nothing is locked or written, and after two seconds Git is ended.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from functools import lru_cache
from pathlib import Path

import attrs

from modelkeep.code import Code
from modelkeep.redaction import redacted, remote_without_credentials

TIME_OUT = 2.0  # seconds, for all calls together
_FOR_STATUS = 1.5  # seconds of these; the commit alone takes a moment
_FRESH = 2.0  # seconds that an answer is kept: a run and its save, but no two edits of a file
_SETTLED = 60.0  # seconds that the settings of a repository are kept
MAX_DIFF = 256 * 1024  # characters
_MAX_OUTPUT = 8 << 20  # bytes read from Git
_MAX_CHANGED = 100  # names of files
_LONGEST_NAME = 300  # characters

_OFF = (
    *(
        "core.fsmonitor=false",
        f"core.hooksPath={os.devnull}",
        "core.pager=cat",
        "core.editor=true",
        "core.safecrlf=false",
    ),
    *("diff.external=", "credential.helper=", "core.sshCommand=false", "core.gitProxy=", "core.askPass=true"),
    *("submodule.recurse=false", "safe.bareRepository=explicit", "core.quotePath=false", "color.ui=false"),
    "diff.autoRefreshIndex=false",  # `git diff` writes the index whatever GIT_OPTIONAL_LOCKS says
)
_EMPTY = re.compile(
    r"^diff --git [^\n]*\n(?=diff --git |\Z)", re.MULTILINE
)  # a file with another time and nothing else
_KEPT = {"GIT_CEILING_DIRECTORIES", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT"}
_SET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_PAGER": "cat",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "LC_ALL": "C",
}


class _UnansweredError(Exception):
    """Git gave no answer; the text says why."""


_known: dict[Path, tuple[float, Code]] = {}
_settings_of: dict[Path, tuple[float, list[tuple[str, str, str]]]] = {}
_tracked: set[tuple[Path, str]] = set()


def checkout(folder: Path, *, diff: bool = False) -> Code:
    """What Git says of the working tree that *folder* lies in; never an error.

    Args:
        folder: a folder in a working tree, or anywhere.
        diff: whether to take the diff against the commit along.

    Example:
        >>> checkout(Path("/nonexistent")).notes
        ('git: unknown: not in a Git repository',)
    """
    root = root_of(folder)
    if root is None:
        return Code(notes=("git: unknown: not in a Git repository",))
    deadline = time.monotonic() + TIME_OUT
    kept = _known.get(root)
    if kept and time.monotonic() - kept[0] < _FRESH:
        found = kept[1]
    else:
        found = _asked(root, deadline)
        _known[root] = (time.monotonic(), found)
    return _with_diff(found, root, deadline) if diff else found


def is_untracked(root: Path, place: str) -> bool:
    """Whether Git says that it does not know a file, so that no commit holds it; never an error.

    Args:
        root: of the working tree.
        place: of the file in it, with ``/``.
    """
    if (root, place) in _tracked:
        return False
    try:
        known = _git(root, ["ls-files", "-z", "--", f":(literal){place}"], time.monotonic() + TIME_OUT)
    except _UnansweredError:
        return False
    if known:
        _tracked.add((root, place))
    return not known


def root_of(folder: Path) -> Path | None:
    """The nearest folder from *folder* upwards that has a ``.git``, found without a process."""
    try:
        here = folder.resolve()
        return next((one for one in (here, *here.parents) if (one / ".git").exists()), None)
    except (OSError, RuntimeError):
        return None


def _asked(root: Path, deadline: float) -> Code:
    try:
        settings = _settings(root, deadline)
    except _UnansweredError as error:
        return Code(notes=(f"git: unknown: {error}",))
    remote, filters = _remote(settings), _own_filters(settings)
    note = ("git: filters in the repository's own configuration were not run",) if filters else ()
    options = [part for name in filters for part in _without_filter(name)]
    try:
        return _status(root, options, remote, note, deadline)
    except _UnansweredError as error:
        return _commit_alone(root, remote, (*note, f"git: changed files unknown: {error}"), deadline)


def _settings(root: Path, deadline: float) -> list[tuple[str, str, str]]:
    """Scope, name and value of the settings that matter here."""
    kept = _settings_of.get(root)
    if kept and time.monotonic() - kept[0] < _SETTLED:
        return kept[1]
    wanted = r"^(filter\..*|remote\..*\.url)$"
    out = _git(root, ["config", "--show-scope", "-z", "--get-regexp", wanted], deadline, fine=(0, 1))
    fields = out.split("\0")
    pairs = zip(fields[::2], fields[1::2], strict=False)
    found = [(scope, *_halves(line)) for scope, line in pairs]
    _settings_of[root] = (time.monotonic(), found)
    return found


def _halves(line: str) -> tuple[str, str]:
    name, _, value = line.partition("\n")
    return name, value


def _remote(settings: list[tuple[str, str, str]]) -> str | None:
    urls = {name[len("remote.") : -len(".url")]: value for _, name, value in settings if name.startswith("remote.")}
    url = urls.get("origin") or next(iter(urls.values()), "")
    return remote_without_credentials(url) or None


def _own_filters(settings: list[tuple[str, str, str]]) -> list[str]:
    own = [name for scope, name, _ in settings if scope in ("local", "worktree") and name.startswith("filter.")]
    return sorted({name.removeprefix("filter.").rpartition(".")[0] for name in own})


def _without_filter(name: str) -> list[str]:
    empty = (f"filter.{name}.{verb}=" for verb in ("clean", "smudge", "process"))
    return [part for setting in (*empty, f"filter.{name}.required=false") for part in ("-c", setting)]


def _status(root: Path, options: list[str], remote: str | None, notes: tuple[str, ...], deadline: float) -> Code:
    command = [
        *options,
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=no",
        "--ignore-submodules=dirty",
    ]
    lines = iter(_git(root, command, min(deadline, time.monotonic() + _FOR_STATUS)).split("\0"))
    heads, changed = {}, []
    for line in lines:
        if line.startswith("# branch."):
            name, _, value = line.removeprefix("# branch.").partition(" ")
            heads[name] = value
        elif line[:2] in ("1 ", "2 ", "u "):
            changed.append(line.split(" ", {"1": 8, "2": 9, "u": 10}[line[0]])[-1][:_LONGEST_NAME])
            if line[0] == "2":
                next(lines, None)  # what it was called before
    if heads.get("oid") == "(initial)":
        notes = (*notes, "git: there is no commit yet")
    if heads.get("head") == "(detached)":
        notes = (*notes, "git: no branch is checked out")
    return Code(
        commit=_unless(heads.get("oid"), "(initial)"),
        branch=_unless(heads.get("head"), "(detached)"),
        remote=remote,
        dirty=bool(changed),
        changed=tuple(redacted(name) for name in changed[:_MAX_CHANGED]),
        notes=notes,
    )


def _unless(value: str | None, word: str) -> str | None:
    return None if value is None or value == word else redacted(value[:_LONGEST_NAME])


def _commit_alone(root: Path, remote: str | None, notes: tuple[str, ...], deadline: float) -> Code:
    try:
        commit, branch = _git(root, ["rev-parse", "HEAD", "--abbrev-ref", "HEAD"], deadline).split()
    except (_UnansweredError, ValueError):
        return Code(remote=remote, notes=notes)
    return Code(commit=commit, branch=_unless(branch, "HEAD"), remote=remote, notes=notes)


def _with_diff(found: Code, root: Path, deadline: float) -> Code:
    if found.commit is None:
        return attrs.evolve(found, notes=(*found.notes, "diff: unknown: there is no commit to compare with"))
    try:
        options = [part for name in _own_filters(_settings(root, deadline)) for part in _without_filter(name)]
        command = [*options, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short"]
        text = redacted(_EMPTY.sub("", _git(root, [*command, "--ignore-submodules=dirty"], deadline)))
    except _UnansweredError as error:
        return attrs.evolve(found, notes=(*found.notes, f"diff: unknown: {error}"))
    if len(text) > MAX_DIFF:
        text = f"{text[:MAX_DIFF]}\n[cut: {len(text) - MAX_DIFF} more characters]"
    return attrs.evolve(found, diff=text)


@lru_cache(maxsize=1)
def _program() -> str | None:
    found = shutil.which("git")
    return found if found and os.path.isabs(found) else None  # noqa: PTH117  one in this folder is no Git of ours


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _KEPT or name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }
    return kept | _SET


def _git(root: Path, arguments: list[str], deadline: float, *, fine: tuple[int, ...] = (0,)) -> str:
    program, left = _program(), deadline - time.monotonic()
    if program is None:
        raise _UnansweredError("git is not installed")
    if left <= 0:
        raise _UnansweredError(f"git took longer than {TIME_OUT:g} s")
    command = [program, "--no-pager", "-C", str(root), *(part for one in _OFF for part in ("-c", one)), *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603  no shell; what the repository could add was turned off above
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise _UnansweredError(f"git cannot be run: {type(error).__name__}") from error
    return _answer(process, left, fine)


def _answer(process: subprocess.Popen[bytes], left: float, fine: tuple[int, ...]) -> str:
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(left, end)
    timer.daemon = True
    timer.start()
    try:
        with process:
            assert process.stdout is not None  # noqa: S101  as asked for
            assert process.stderr is not None  # noqa: S101
            out = process.stdout.read(_MAX_OUTPUT)
            if len(out) == _MAX_OUTPUT:
                _kill(process)
            said = process.stderr.read(_MAX_OUTPUT)
    finally:
        timer.cancel()
    if late.is_set():
        raise _UnansweredError(f"git took longer than {TIME_OUT:g} s")
    if process.returncode not in fine and len(out) < _MAX_OUTPUT:
        raise _UnansweredError(_why(said.decode(errors="replace")))
    return out.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End Git and what it started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (OSError, ProcessLookupError):
        pass


def _why(said: str) -> str:
    if "dubious ownership" in said:
        return "the folder belongs to somebody else; Git wants it in safe.directory"
    first = said.strip().splitlines()[0] if said.strip() else "it failed without a word"
    return redacted(
        re.sub(r"'?/[^\s'\"]{1,1000}'?", "a folder", first[:_LONGEST_NAME])
    )  # where it lies is nobody's affair
