"""What a planted fault is, and how it is put into the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest import mock

import attrs

from modelkeep import journal

Patch = AbstractContextManager[object]


@attrs.frozen
class Planted:
    """A fault: what was done wrong, and how to do it.

    Args:
        name: a short name.
        wrong: what the library does with it.
        patches: makes the patches that plant it.
        overwrites: whether the store lets two writers win.
    """

    name: str
    wrong: str
    patches: Callable[[], Sequence[Patch]]
    overwrites: bool = False

    def plant(self) -> AbstractContextManager[object]:
        """Put the fault in for the length of a block."""
        stack = ExitStack()
        for patch in self.patches():
            stack.enter_context(patch)
        return stack


def on(target: object, name: str, new: Any) -> Patch:
    """A part of the library, replaced."""
    patched: Patch = mock.patch.object(target, name, new)
    return patched


def nothing(*_: Any, **__: Any) -> None:
    """In place of a check."""


def checks_once(*kinds: type) -> list[Patch]:
    """Operations of these kinds are computed on the first try and sent again on the others, unchecked."""
    return [on(journal.Journal, "append", _decide_once(kinds)), on(journal.Journal, "_decided", _decided_unchecked)]


def _decide_once(kinds: tuple[type, ...]) -> Any:
    def append(self: Any, decide: Any, *, tx: str, sisters: Any = None) -> Any:
        kept: list[Any] = []

        def once(state: Any) -> Any:
            if not kept or not isinstance(kept[0][-1], kinds):
                kept[:] = [decide(state)]
            return kept[0]

        return _append(self, once, tx=tx, sisters=sisters)

    return append


_append = journal.Journal.append


def _decided_unchecked(self: Any, decide: Any) -> Any:
    return decide(self.state)
