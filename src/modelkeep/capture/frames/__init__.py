"""Fingerprints, schemas and profiles of datasets of any library, none of which is imported for it."""

from __future__ import annotations

from modelkeep.capture.frames.describing import can_describe, describe

__all__ = ["can_describe", "describe"]
