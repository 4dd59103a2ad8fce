"""How often somebody looks who follows an alias: evenly spread, and more and more rarely while looks fail."""

from __future__ import annotations

import logging
import math

import attrs

from modelkeep.errors import InvalidValueError, shown
from modelkeep.system import System

LOG = logging.getLogger("modelkeep.live")
_LONGEST = 300.0  # seconds between two looks that fail, unless the caller wants them rarer still
_SHORTEST = 0.001  # seconds; what a look takes on a local disk, so that none is a loop without a pause
_LATEST = 10.0**8  # seconds, three years: what every clock and wait of Python takes


def check_seconds(given: object, key: str, *, least: float = 0.0) -> float:
    """Return *given* as seconds, if it is a number from *least* to three years.

    Raises:
        InvalidValueError: it is not; the message quotes it.

    Example:
        >>> check_seconds(30, "every")
        30.0
    """
    number = float(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else math.nan
    if not least <= number <= _LATEST:
        raise InvalidValueError(f"{key}={shown(given)}: give seconds, {least:g} or more", key=key)
    return number


def _check_every(given: object) -> float:
    return check_seconds(given, "every", least=_SHORTEST)


@attrs.frozen
class Pace:
    """The pauses between looks.

    Args:
        every: seconds; none is longer while all is well.
        system: spreads them, so that a hundred processes which were started together do not ask together.

    Example:
        >>> pace = Pace(30, System(jitter=lambda: 0.5))
        >>> pace.pause(), [pace.pause(failures) for failures in (1, 2, 9)]
        (22.5, [45.0, 90.0, 225.0])
    """

    every: float = attrs.field(converter=_check_every)
    system: System

    def pause(self, failures: int = 0) -> float:
        """Seconds until the next look, after so many in a row that failed: from half of the range to all of it."""
        longest = max(self.every, _LONGEST)
        whole = min(longest, self.every * 2.0 ** min(failures, 60))
        return whole * (1 - self.system.jitter() / 2)
