"""`Retries`: how long and how often a remote store tries, said in one place."""

from __future__ import annotations

from typing import Any

import attrs

from modelkeep.errors import InvalidValueError


def _positive(_: object, attribute: Any, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidValueError(f"Retries({attribute.name}={value!r}) cannot be; give a number above 0")


@attrs.frozen(kw_only=True)
class Retries:
    """How long and how often a remote store tries one request; the client libraries do not try again beneath it.

    Args:
        attempts: tries in all, at least 1.
        first: seconds; the pause before the second try is drawn from [0, first), and the range doubles each time
            ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
        longest: seconds; no pause is longer.
        connect: seconds to wait for a connection.
        answer: seconds to wait for an answer; a body gets the time that *rate* gives it on top.
        rate: bytes per second; what is slower counts as no answer.

    Example:
        >>> Retries(attempts=2, answer=5).limit(1 << 20)
        21.0
    """

    attempts: int = attrs.field(default=6, validator=_positive)
    first: float = attrs.field(default=0.2, validator=_positive)
    longest: float = attrs.field(default=10.0, validator=_positive)
    connect: float = attrs.field(default=5.0, validator=_positive)
    answer: float = attrs.field(default=30.0, validator=_positive)
    rate: int = attrs.field(default=64 * 1024, validator=_positive)

    def limit(self, size: int) -> float:
        """Seconds that one try with a body of *size* bytes may take."""
        return self.answer + size / self.rate
