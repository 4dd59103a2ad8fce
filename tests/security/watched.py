"""Loads many files, each where it can do no harm to the others, and tells for each how it ended."""

from __future__ import annotations

import contextlib
import copyreg
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import attrs

from modelkeep.errors import ModelkeepError
from security.attack import CANARY, MARK, Attack
from security.hearing import Hearing
from security.spellings import EXTENSIONS
from security.ways_in import ways_in

MEMORY = 3 << 29  # bytes above what there is at the start
PATIENCE = 20  # seconds of processor time for one way in; a guard, no measurement
WAIT = 60  # seconds without a word before a child is ended
SHORT = 15  # the same where payloads run, of which some wait for a network
BATCH = 200  # attacks that one child loads, unless it ends before


@attrs.frozen
class Outcome:
    """How one way in ended.

    Args:
        attack: its place in the list.
        way: how it came in.
        end: ``refused``, ``loaded``, ``foreign`` (an error that is not ours), ``crash`` or ``timeout``.
        error: the class of the error.
        said: what it says.
        heard: what an honest load never does.
        marked: whether the payload ran.
    """

    attack: int
    way: str
    end: str
    error: str = ""
    said: str = ""
    heard: tuple[str, ...] = ()
    marked: bool = False


def ready(place: Path) -> None:
    """Make the folder in which everything happens, and go there."""
    for name in ("work", "in", "spool", "home"):
        (place / name).mkdir()
    spool = str(place / "spool")
    os.environ.update(HOME=str(place / "home"), TMPDIR=spool, MODELKEEP_CACHE=f"{place}/home/cache")
    tempfile.tempdir = spool
    sys.dont_write_bytecode = True
    sys.path.append(str(place / "work"))
    os.chdir(place / "work")
    for number, (module, name) in EXTENSIONS.items():
        with contextlib.suppress(ValueError):  # one name, several numbers
            copyreg.add_extension(module, name, number)
            copyreg._extension_registry.pop((module, name))  # type: ignore[attr-defined]
    _tidy(place)


def _tidy(place: Path) -> bool:
    """Put everything back; tells whether the payload had run."""
    mark, canary = place / "work" / MARK, place / "work" / f"{CANARY}.py"
    ran = os.path.lexists(mark)
    if mark.is_dir() and not mark.is_symlink():
        import shutil

        shutil.rmtree(mark)
    elif ran:
        mark.unlink()
    if not canary.is_file():
        canary.write_text(f"open({str(mark)!r}, 'w').close()\n")
    return ran


@attrs.define
class Watched:
    """Loads attacks in children of this process.

    Args:
        attacks: all there are.
        place: a folder that `ready` made.
        trust: whether trust is granted, which only shows that an attack is one, and that it would be seen.
        batch: how many of them one child loads, unless it ends before.
    """

    attacks: list[Attack]
    place: Path
    trust: bool = False
    batch: int = BATCH
    outcomes: list[Outcome] = attrs.Factory(list)

    def run(self) -> list[Outcome]:
        """Load them all, and give how each ended."""
        at, told = 0, time.monotonic()
        while at < len(self.attacks):
            at = self._child(at)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                marks = sum(one.marked for one in self.outcomes)
                sys.stderr.write(
                    f"{at} of {len(self.attacks)} attacks, {len(self.outcomes)} ways in, {marks} markers\n"
                )
        return self.outcomes

    def _child(self, first: int) -> int:
        """Load from that one on in a child; gives the place of the one to go on with."""
        sys.stdout.flush()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._be_child(first, writing)
        os.close(writing)
        at, way, done = self._listen(reading, first)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and whatever a payload has left running
        _, status = os.waitpid(child, 0)
        marked = _tidy(self.place)
        if done and not marked:
            return at
        if done:  # by what a payload had started
            self.outcomes.append(attrs.evolve(self.outcomes[-1], marked=True))
            return at
        self.outcomes.append(Outcome(at, way, *_fate(status), marked=marked))
        return at + 1

    def _listen(self, pipe: int, first: int) -> tuple[int, str, bool]:
        """Take in what a child tells: where it is, and whether it has come to its end."""
        at, way = first, ""
        with os.fdopen(pipe, "rb", buffering=0):
            for line in _lines(pipe, SHORT if self.trust else WAIT):
                facts = json.loads(line)
                if "done" in facts:
                    return facts["done"], way, True
                if "end" in facts:
                    self.outcomes.append(Outcome(**{**facts, "heard": tuple(facts["heard"])}))
                at, way = facts["attack"], facts["way"]
        return at, way, False

    def _be_child(self, first: int, pipe: int) -> NoReturn:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
            hearing = Hearing(self.place / "spool")
            hearing.install()
            _limit_memory()
            last = min(first + self.batch, len(self.attacks))
            for number in range(first, last):
                if self._let(number, hearing, lambda facts: _tell(pipe, facts)):
                    last = number + 1  # what went wrong here shall not be told of the next one
                    break
            _tell(pipe, {"done": last})
        except BaseException:  # noqa: BLE001  whatever a payload left behind
            with contextlib.suppress(BaseException):
                (self.place / "broken").write_text(traceback.format_exc())
            os._exit(3)
        os._exit(0)

    def _let(self, number: int, hearing: Hearing, tell: Callable[[dict[str, Any]], None]) -> bool:
        """Load one by every way in; tells whether anything went wrong."""
        attack, wrong = self.attacks[number], False
        hearing.packages = frozenset({"modelkeep", *attack.needs})
        hearing.unpickles = attack.unpickles or attack.kind == "inert"
        tell({"attack": number, "way": "made"})
        for way, act in ways_in(attack, self.place / "in", trust=self.trust):
            tell({"attack": number, "way": way})
            hearing.heard = []
            _limit_time()
            end = _ended(act, hearing)
            heard = list(dict.fromkeys(hearing.heard))[:8]
            marked = _tidy(self.place)
            tell({"attack": number, "way": way, **end, "heard": heard, "marked": marked})
            wrong = wrong or marked or bool(heard) or end["end"] == "foreign"
        return wrong


def _ended(act: Callable[[], object], hearing: Hearing) -> dict[str, str]:
    """Load, and look at what came, which must not end the process either."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hearing.on = True
            found = act()
            hearing.on = False
            said = repr(found)[:80]
            del found
    except ModelkeepError as error:
        hearing.on = False
        return {"end": "refused", "error": type(error).__name__, "said": str(error)}
    except BaseException as error:  # noqa: BLE001  whatever it is, it is not ours
        hearing.on = False
        places = [f for f in traceback.extract_tb(error.__traceback__) if "/modelkeep/" in f.filename]
        where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
        with contextlib.suppress(Exception):
            return {"end": "foreign", "error": f"{type(error).__name__}{where}", "said": ascii(error)[:300]}
        return {"end": "foreign", "error": type(error).__name__, "said": "?"}
    return {"end": "loaded", "error": "", "said": said}


def _tell(pipe: int, facts: dict[str, Any]) -> None:
    left = json.dumps(facts).encode() + b"\n"
    while left:
        left = left[os.write(pipe, left) :]


def _fate(status: int) -> tuple[str, str]:
    """How a child ended that did not come to its end."""
    code = os.waitstatus_to_exitcode(status)
    late = code in (-signal.SIGXCPU, -signal.SIGKILL)  # the second one, if it said nothing for too long
    return "timeout" if late else "crash", f"signal {-code}" if code < 0 else f"status {code}"


def _lines(pipe: int, patience: int) -> Iterator[bytes]:
    """What a child tells, line by line, until it ends or says nothing for too long."""
    held = b""
    while True:
        if not select.select([pipe], [], [], patience)[0]:
            return
        more = os.read(pipe, 1 << 16)
        if not more:
            return
        *whole, held = (held + more).split(b"\n")
        yield from whole


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + PATIENCE, resource.getrlimit(resource.RLIMIT_CPU)[1])
    )
