"""What is made anew in a forked child: locks that an absent thread holds, and folds that it left half done."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Something that is set right in a forked child."""

    def after_fork(self) -> None:
        """Make locks anew and distrust what may be half done."""
        ...


_alive: weakref.WeakSet[Forked] = weakref.WeakSet()


def renew_after_fork(thing: Forked) -> None:
    """Have *thing* told in every forked child, as long as it lives."""
    _alive.add(thing)


def _renew() -> None:
    for thing in list(_alive):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew)
