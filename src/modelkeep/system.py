"""What modelkeep asks of the machine it runs on: the time, fresh ids, a pause, and who is at work.

All of it comes in through ``Registry(..., system=...)``, so that tests and the simulator can say otherwise.
"""

from __future__ import annotations

import os
import platform
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

import attrs


@lru_cache(maxsize=1)
def _git_email() -> str | None:
    import subprocess  # these imports cost 10 ms, and only a writer needs them

    try:
        answer = subprocess.run(
            ["git", "config", "--get", "user.email"],  # noqa: S607  git is found on the PATH, as for the user
            capture_output=True,
            check=False,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


@lru_cache(maxsize=1)
def _user_at_host() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def find_actor() -> str:
    """Who is at work: ``MODELKEEP_ACTOR``, else the e-mail address that Git knows, else ``user@host``."""
    named = os.environ.get("MODELKEEP_ACTOR", "").strip() or _git_email()
    return _text(named or _user_at_host())


def _text(name: str) -> str:
    # the environment may hold bytes that are no text
    return name[:200].encode(errors="replace").decode()


@attrs.frozen(kw_only=True)
class System:
    """The clock, ids, pauses and author that a registry works with.

    Args:
        now: the time of day, timezone-aware, in UTC.
        new_id: a fresh id of 32 hexadecimal digits that nobody used before.
        sleep: pause for so many seconds.
        jitter: a number in [0, 1) that spreads retries.
        actor: who is at work.
        host: the name of this machine.

    Example:
        >>> from datetime import UTC, datetime
        >>> System(now=lambda: datetime(2026, 3, 1, tzinfo=UTC)).timestamp()
        '2026-03-01T00:00:00.000000Z'
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    actor: Callable[[], str] = find_actor
    host: Callable[[], str] = platform.node

    def timestamp(self) -> str:
        """The time as entries write it: ISO 8601, UTC, always with six digits of a second."""
        return format_time(self.now())


def format_time(moment: datetime) -> str:
    """Write *moment* as entries do; a naive one is taken for UTC.

    Example:
        >>> format_time(datetime(2026, 3, 1, 12))
        '2026-03-01T12:00:00.000000Z'
    """
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{aware.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def parse_time(text: str) -> datetime:
    """Read what `format_time` wrote, or any ISO 8601 date or time; a naive one is taken for UTC.

    Raises:
        ValueError: *text* is no date or time.

    Example:
        >>> parse_time("2026-03-01").isoformat()
        '2026-03-01T00:00:00+00:00'
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
