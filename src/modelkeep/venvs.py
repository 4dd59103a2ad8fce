"""Makes virtual environments: beside where they belong, and renamed when they are whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

from modelkeep.errors import RestoreError

_TIMEOUT = 3600  # seconds for one command
_SAID = 3000  # characters of what a program said, from its end
_SCRIPT = 1 << 20  # bytes of the largest script that may name the folder
_BIN = "Scripts" if sys.platform == "win32" else "bin"


@attrs.frozen(kw_only=True)
class Plan:
    """What goes into an environment.

    Args:
        python: the release of Python, such as ``3.11``.
        pins: requirements, exact.
        others: what the caller wants besides: requirements or paths; they bring what they need.
        constraints: the versions of what *pins* need besides; None: they need nothing besides.
        build: whether anything may be built from source.
    """

    python: str
    pins: tuple[str, ...]
    others: tuple[str, ...] = ()
    constraints: tuple[str, ...] | None = None
    build: bool = False


def make(target: Path, plan: Plan) -> Path:
    """Make the environment *target*, which is not there yet.

    Raises:
        RestoreError: it could not be made; nothing is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    made = beside / target.name  # its last name, by which it calls itself in the prompt
    try:
        program = shutil.which("uv")
        _create(made, plan, program)
        _install(made, plan, program, beside)
        _point(made, target)
        made.rename(target)
    except OSError as error:
        raise RestoreError(f"{target} could not be made: {error}", path=str(target)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _create(made: Path, plan: Plan, uv: str | None) -> None:
    python = _python(plan.python)
    if uv is not None:
        _run([uv, "venv", "--quiet", "--python", python or plan.python, str(made)], f"Python {plan.python}")
    elif python is not None:
        _run([python, "-m", "venv", str(made)], f"Python {plan.python}")
    else:
        raise RestoreError(
            f"Python {plan.python} is not on this machine, nor is uv, which would fetch it; install one of them",
            python=plan.python,
        )


def _python(release: str) -> str | None:
    """An interpreter of that release: what runs here, else the one on the PATH."""
    running = ".".join(map(str, sys.version_info[:2])) + getattr(sys, "abiflags", "").replace("d", "")
    if running == release:
        return getattr(sys, "_base_executable", None) or sys.executable
    return shutil.which(f"python{release}")


def _install(made: Path, plan: Plan, uv: str | None, beside: Path) -> None:
    python = str(made / _BIN / "python")
    install = (
        [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "--quiet"]
    )
    options = [] if plan.build else ["--only-binary", ":all:"]
    if plan.pins:
        wanted = _file(beside / "requirements.txt", plan.pins)
        if plan.constraints is None:
            options.append("--no-deps")
        else:
            options += ["-c", _file(beside / "constraints.txt", plan.constraints)]
        _run([*install, *options, "-r", wanted], "the distributions")
    if plan.others:  # the caller's own: they may be folders, which are built; what they need fits what is there
        limits = _file(beside / "limits.txt", (*(pin for pin in plan.pins if "==" in pin), *(plan.constraints or ())))
        _run([*install, "-c", limits, "--", *plan.others], "what was given instead")


def _file(path: Path, lines: tuple[str, ...]) -> str:
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    return str(path)


def _run(command: list[str], what: str) -> None:
    surroundings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(  # noqa: S603  uv or Python, and names that were checked
            command, capture_output=True, check=False, timeout=_TIMEOUT, stdin=subprocess.DEVNULL, env=surroundings
        )
    except subprocess.TimeoutExpired as error:
        raise RestoreError(f"{what} took more than {_TIMEOUT} seconds to install; is the index there?") from error
    if done.returncode:
        said = without_passwords(done.stderr.decode(errors="replace").strip()[-_SAID:])
        raise RestoreError(
            f"{what} could not be installed; nothing was left behind. {Path(command[0]).name} said:\n{said}\n"
            "Where a version has no wheel for this machine, build=True builds it from source; where the index lacks "
            "it, say what to take: instead={'name': 'name==version'}",
            said=said,
        )


def without_passwords(text: str) -> str:
    """*text* without what stands before the host in addresses.

    Example:
        >>> without_passwords("no answer from https://ada:s3cret@example.org/simple")
        'no answer from https://example.org/simple'
    """
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def _point(made: Path, target: Path) -> None:
    """Put the final folder where scripts and ``pyvenv.cfg`` name the one that they were made in."""
    old, new = os.fsencode(made), os.fsencode(target)
    for path in [made / "pyvenv.cfg", *(made / _BIN).iterdir()]:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _SCRIPT:
            continue
        raw = path.read_bytes()
        if old in raw and b"\x00" not in raw:  # a program, as on Windows, cannot be told another place so
            path.write_bytes(raw.replace(old, new))
