"""Hears what a load does besides reading: imports, code that is run, files that are written, processes, sockets."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any

import attrs

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NEVER = (
    *("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "pty."),
    *(
        "socket.",
        "ctypes.",
        "webbrowser.",
        "urllib.",
        "ftplib.",
        "smtplib.",
        "sqlite3.",
        "mmap.",
        "code.",
        "builtins.input",
        "builtins.breakpoint",
    ),
    *("os.remove", "os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "os.putenv", "os.unsetenv", "os.kill", "shutil.", "tempfile.", "sys.setprofile", "sys.settrace"),
    *("sys.addaudithook", "gc.get_", "marshal.load", "function.__new__", "code.__new__", "pdb.", "syslog.", "signal."),
)
_FROZEN = "<frozen importlib._bootstrap"


@attrs.define
class Hearing:
    """Notes what an honest load never does.

    Args:
        inside: modelkeep may spool there while it takes a file in.
        packages: top-level modules that may be imported while it is on.
    """

    inside: Path
    packages: frozenset[str] = frozenset({"modelkeep"})
    heard: list[str] = attrs.Factory(list)
    on: bool = False
    unpickles: bool = False

    def install(self) -> None:
        """Hear of everything from here on; for good, so only in a process of its own."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # what is asked for here is not heard
        try:
            told = self._judged(event, args)
        finally:
            self.on = True
        if told:
            self.heard.append(told[:200])

    def _judged(self, event: str, args: tuple[Any, ...]) -> str:
        match event:
            case "import":
                foreign = args[0].partition(".")[0] not in self.packages
                return f"import {args[0]!a}" if foreign and args[0] not in sys.modules else ""
            case "exec":
                return self._of_code(args[0])
            case "compile":
                # literals, as in the head of an array, are parsed and not run
                return "" if sys._getframe(2).f_code.co_filename == ast.__file__ else f"compile {args!a}"
            case "open":
                return self._of_open(*args)
            case "pickle.find_class":
                return "" if self.unpickles else f"unpickled {args!a}"
        return f"{event} {args!a}" if event.startswith(_NEVER) and not _is_spool(event, args, self.inside) else ""

    def _of_code(self, code: Any) -> str:
        imported = sys._getframe(3).f_code.co_filename.startswith(_FROZEN)
        # the body of a module, whose import was judged; but a loader may be called past the import
        if imported and isinstance(code, CodeType) and any(f"/{one}/" in code.co_filename for one in self.packages):
            return ""
        return f"exec {code!a}"

    def _of_open(self, path: Any, mode: Any, flags: Any) -> str:
        writes = bool(flags & _WRITING) if isinstance(flags, int) else any(c in str(mode) for c in "wax+")
        if not writes or not isinstance(path, (str, bytes)):
            return ""
        return "" if _below(path, self.inside) else f"open {path!a} for writing"


def _below(path: Any, folder: Path) -> bool:
    return isinstance(path, (str, bytes)) and os.path.realpath(os.fsdecode(path)).startswith(f"{folder}/")


def _is_spool(event: str, args: tuple[Any, ...], inside: Path) -> bool:
    """Whether modelkeep makes or removes a file where it spools."""
    spools = event.startswith(("tempfile.", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"))
    return spools and all(_below(path, inside) for path in args[:1])
