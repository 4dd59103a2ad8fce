"""A very small framework: a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Threshold:
    """Says whether numbers are above *cut*."""

    cut: float

    def predict(self, numbers: Sequence[float]) -> list[bool]:
        """Whether each is above."""
        return [number > self.cut for number in numbers]
