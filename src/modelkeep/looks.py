"""What one look at a reference comes to, and which references are worth a look: those that can move."""

from __future__ import annotations

from datetime import datetime

import attrs

from modelkeep.errors import InvalidRefError
from modelkeep.modelversion import ModelVersion
from modelkeep.ref import Alias, Caret, ModelRef

_RAREST = 32  # looks from one try of a version that was refused to the next


@attrs.frozen
class Check:
    """What came of one look; true if what the reference means serves.

    Args:
        time: when, by the clock of this machine.
        before: the version that served before.
        version: the version that serves now.
        error: why it is not the one that the reference means, or why nobody knows; None if it is.
    """

    time: datetime
    before: ModelVersion
    version: ModelVersion
    error: Exception | None = None

    def __bool__(self) -> bool:
        return self.error is None

    @property
    def changed(self) -> bool:
        """Whether another version serves now."""
        return self.before != self.version

    def __str__(self) -> str:
        moved = f"serves, after {self.before.ref}" if self.changed else "still serves"
        return f"{self.version.ref} {moved}" + (f": {type(self.error).__name__}: {self.error}" if self.error else "")


@attrs.define
class Refused:
    """A version that was tried and does not serve; each try may cost as much as a load, so they come more rarely."""

    identity: str
    error: Exception
    tries: int = 1
    left: int = 0

    def passes_over(self, identity: str) -> bool:
        """Whether this look is not to try it again."""
        if identity != self.identity or not self.left:
            return False
        self.left -= 1
        return True

    def again(self, identity: str, error: Exception) -> Refused:
        """After one more try, of this version or of another."""
        tries = self.tries + 1 if identity == self.identity else 1
        return Refused(identity, error, tries, min(2 ** (tries - 1), _RAREST) - 1)


def without_frames(error: Exception) -> Exception:
    """*error* and all that led to it, without the frames: these hold the model that was refused."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            left += [one.__cause__, one.__context__]
    return error


def check_moves(ref: object) -> ModelRef:
    """Return the reference, parsed, if what it means can change: an alias, the latest, or a range.

    Raises:
        InvalidRefError: it always means the same version, or a variant.
    """
    if isinstance(ref, ModelVersion):
        ref = ref.ref
    parsed = ref if isinstance(ref, ModelRef) else ModelRef.parse(ref)  # type: ignore[arg-type]  # it refuses the rest
    if parsed.variant is not None or parsed.branch is not None:
        raise InvalidRefError(
            f"{parsed} cannot be followed: give an alias, as in {parsed.name}@production, without a variant",
            text=str(parsed),
        )
    if not (parsed.selector is None or isinstance(parsed.selector, (Alias, Caret))):
        raise InvalidRefError(
            f"{parsed} never moves, so there is nothing to follow: load it, or give {parsed.name}@production, "
            f"{parsed.name} or {parsed.name}:^1",
            text=str(parsed),
        )
    return parsed
