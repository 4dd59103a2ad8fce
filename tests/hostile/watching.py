"""Watches what an input does: errors, time, memory, and every file and socket that is touched."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

from hostile.inputs import Hostile
from modelkeep.errors import ModelkeepError

HANG = 20  # seconds; a guard, no measurement
LONGEST = 6_000  # characters of a message
MIB = 1 << 20
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.utime": 1,
    "shutil.rmtree": 1,
    "shutil.move": 2,
}
_OF_LINKS = (
    "os.remove",
    "os.rename",
    "os.symlink",
    "os.link",
    "os.rmdir",
    "os.mkdir",
    "os.utime",
    "shutil.rmtree",
    "shutil.move",
)
_NEVER = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.startfile",
    "socket.connect",
    "socket.getaddrinfo",
    "ctypes.dlopen",
    "webbrowser.open",
)


class HangError(BaseException):
    """An input took far too long; no error that a library would catch."""


@attrs.define
class Worst:
    """The highest of what was measured, and where."""

    value: float = 0.0
    where: str = ""

    def note(self, value: float, where: str) -> None:
        """Keep it if it is higher."""
        if value > self.value:
            self.value, self.where = value, where


@attrs.define
class Watch:
    """Lets inputs through doors and gathers what was wrong.

    Args:
        inside: the one folder below which files may be made and changed.
        readable: folders that may be read besides.
    """

    inside: Path
    readable: tuple[Path, ...] = ()
    tried: int = 0
    refused: int = 0
    foreign: list[str] = attrs.Factory(list)
    escapes: list[str] = attrs.Factory(list)
    unclear: list[str] = attrs.Factory(list)
    slowest: Worst = attrs.Factory(Worst)
    largest: Worst = attrs.Factory(Worst)
    times: dict[str, float] = attrs.Factory(dict)
    _at: str = attrs.field(default="", init=False)
    _opening: dict[Any, str] = attrs.field(factory=dict, init=False)  # what was told of each
    _on: bool = attrs.field(default=False, init=False)

    def install(self) -> None:
        """Hear of every file and socket from here on; for good, so only in a process of its own."""
        sys.addaudithook(self._heard)

    def let(self, hostile: Hostile, door: str, act: Callable[[], object]) -> None:
        """Let an input through a door."""
        self._at = f"{hostile} | {door}"
        self.tried += 1
        base = _restart_peak()
        began = time.perf_counter()
        try:
            with _patience(HANG), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._on = True
                act()
        except ModelkeepError as error:
            self.refused += 1
            self._on = False
            self._read(error)
        except HangError:
            self.foreign.append(f"{self._at}: took more than {HANG} s")
        except BaseException as error:  # noqa: BLE001  whatever it is, it is not ours
            self.foreign.append(f"{self._at}: {_short(error)}")
        finally:
            self._on = False
        spent = time.perf_counter() - began
        self.times[door] = self.times.get(door, 0.0) + spent
        self.slowest.note(spent, self._at)
        self.largest.note(_peak() - base, self._at)

    def _read(self, error: ModelkeepError) -> None:
        """What an error says can be shown, and is not longer than anybody reads."""
        said = str(error)
        odd = sorted({ascii(char) for char in said if not char.isprintable() and char != "\n"})
        if not said or len(said) > LONGEST or odd:
            self.unclear.append(f"{self._at}: {len(said)} characters, raw {odd[:4]}: {said[:160]!a}")

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "ctypes.dlopen" and args[0] is not None:
            self._check(event, args[0], writing=False)  # torch is imported for a torch tree, with libraries of its own
        elif event.startswith(_NEVER) and event != "ctypes.dlopen":
            self.escapes.append(f"{self._at}: {event} {args[:2]!r:.200}")
        elif event in _CHANGES:
            for path in args[: _CHANGES[event]]:
                self._check(event, path, writing=True)
        elif event == "open":
            path, mode, flags = args
            writing = bool(flags & _WRITING) if isinstance(flags, int) else any(c in str(mode) for c in "wax+")
            no_link = isinstance(flags, int) and bool(flags & os.O_NOFOLLOW)
            if no_link:  # FileIO with an opener is heard before it asks the opener, as if it opened the path itself
                self.escapes = [said for said in self.escapes if said is not self._opening.get(path)]
            told = len(self.escapes)
            self._check(event, path, writing=writing, linked=not no_link)
            self._opening.update((path, said) for said in self.escapes[told:])

    def _check(self, event: str, path: Any, *, writing: bool, linked: bool = True) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor: it was opened by path before
        try:
            whole = _led_to(os.fsdecode(path), linked=linked and event not in _OF_LINKS)
        except ValueError:
            return  # no system call takes it
        allowed = (self.inside,) if writing else (self.inside, *self.readable)
        if whole not in (os.devnull, "/dev/urandom") and not any(_below(whole, str(place)) for place in allowed):
            self.escapes.append(f"{self._at}: {event} {whole!r:.200}")


def _led_to(path: str, *, linked: bool) -> str:
    """Where a path leads, past all links; its last part is one itself unless *linked*."""
    if linked:
        return os.path.realpath(path)
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100  not past links
    return f"{os.path.realpath(folder)}/{name}"


def _below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _short(error: BaseException) -> str:
    """The type, the place in the library, and the beginning of what it says."""
    places = [f for f in traceback.extract_tb(error.__traceback__) if "/modelkeep/" in f.filename]
    place = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "outside"
    try:
        said = ascii(str(error)[:200])
    except Exception as unsaid:  # noqa: BLE001  one that cannot even be shown
        said = type(unsaid).__name__
    return f"{type(error).__name__} at {place}: {said}"


@contextlib.contextmanager
def _patience(seconds: int) -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise HangError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _restart_peak() -> int:
    """Begin to measure memory anew; gives what is in use now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(field: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
