"""Back doors past a store, and what it lacks: what the parts of its contract share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, NoReturn

import pytest

from modelkeep.stores.port import Store


class Doors:
    """How the suite goes past a store. A store is never tested with itself."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = (
        "writing",
        "peek",
        "plant",
        "names",
        "processes",
        "whole",
        "clock",
        "unfinished",
    )

    lacks: ClassVar[Mapping[str, str]] = {}
    """Capability to the reason why it is missing."""

    races: ClassVar[int] = 20
    """How many keys writers race for in each of the tests that race; fewer where a request takes long."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store. Override it."""
        raise NotImplementedError("give the suite a fixture 'store' that returns an empty store")

    def peek(self, store: Store, key: str) -> bytes | None:
        """Read what lies under *key*, past the store; None where nothing does."""
        del store, key
        self._skip("peek")

    def plant(self, store: Store, key: str, value: bytes) -> None:
        """Put *value* under *key*, past the store."""
        del store, key, value
        self._skip("plant")

    def names(self, store: Store) -> set[str]:
        """Name everything that lies there, past the store, with what the store itself would hide."""
        del store
        self._skip("names")

    def recipe(self, store: Store) -> Callable[[], Store]:
        """Give a picklable callable that opens the same store in another process."""
        del store
        self._skip("processes")

    def _skip(self, capability: str) -> NoReturn:
        pytest.skip(f"lacks {capability}: {self.lacks.get(capability, 'the suite of this store gives none')}")

    def need(self, *capabilities: str) -> None:
        """Skip the running test if the store lacks one of *capabilities*."""
        for capability in capabilities:
            if capability in self.lacks:
                self._skip(capability)
