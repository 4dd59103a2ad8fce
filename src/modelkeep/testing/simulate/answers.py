"""What actors were told, and whether it was so at some moment of the call."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from modelkeep.errors import (
    ClosedError,
    ConflictError,
    DeletedError,
    InUseError,
    ModelkeepError,
    StaleError,
    TakenError,
    UnknownAliasError,
    UnknownModelError,
    UnknownVariantError,
    UnknownVersionError,
)
from modelkeep.testing.simulate.truth import ModelTruth, require
from modelkeep.testing.simulate.world import Intent


@attrs.frozen
class Answers:
    """Judges answers.

    Args:
        model: what is true of a model.
    """

    model: Callable[[str], ModelTruth]

    def refused(self, name: str, error: ModelkeepError, intent: Intent) -> None:
        """An actor was refused something; the reason must have been true during the call."""
        match error:
            case StaleError():
                self.saw_holder(name, error.alias, error.found, intent.begun)
            case UnknownAliasError():
                self.saw_holder(name, error.alias, None, intent.begun)
            case ClosedError():
                self.saw_closed(name, intent.begun)
            case DeletedError():
                self._saw_gone(name, error, intent.begun)
            case InUseError():
                self.saw_in_use(name, intent.facts["number"], error.aliases, intent.begun)
            case ConflictError() if "is held" in str(error):
                self.saw_held(name, error.number, intent.begun)
            case TakenError() | UnknownVariantError() if "variant" in error.facts:
                self._saw_variant(name, error, intent.begun)
            case TakenError() if "number" in error.facts:
                self.saw_taken(name, error.label)
            case UnknownModelError() | UnknownVersionError() if "alias" not in error.facts:
                self._saw_none(name, error.facts.get("number"), intent.begun)
            case _:
                return

    def _saw_none(self, name: str, number: int | None, begun: int) -> None:
        if number is None:
            self.saw_nothing(name, begun)
        else:
            self.saw_missing(name, number, begun)

    def saw_holder(self, name: str, alias: str, number: int | None, begun: int) -> None:
        """An actor was told who holds an alias; it must have been so during the call."""
        possible = self.model(name).holders_since(alias, begun)
        require(number in possible, f"read {name}@{alias} as {number}; during the call it was {possible}")

    def saw_latest(self, name: str, number: int, begun: int) -> None:
        """An actor was told which version is the latest."""
        truth = self.model(name)
        require(truth.ever_alive_since(number, begun), f"{name} read as version {number}, which was deleted all along")
        for later, made in truth.made.items():
            if later > number and made < begun:
                require(truth.ever_deleted_since(later, begun), f"{name} read as {number} although {later} was there")

    def saw_versions(self, name: str, numbers: set[int], begun: int) -> None:
        """An actor was given a list of the versions that are not deleted."""
        truth = self.model(name)
        for number, made in truth.made.items():
            if made < begun and number not in numbers:
                require(truth.ever_deleted_since(number, begun), f"{name}:{number} is missing from a listing")
        for number in numbers:
            require(truth.ever_alive_since(number, begun), f"{name}:{number} is listed though deleted all along")

    def saw_closed(self, name: str, begun: int) -> None:
        """An actor was told that a model is closed."""
        moves = self.model(name).openings
        before = [is_open for when, is_open in moves if when <= begun][-1:] or [False]
        during = [is_open for when, is_open in moves if when > begun]
        require(not all([*before, *during]), f"{name} was said to be closed, and it was open all along")

    def _saw_gone(self, name: str, error: DeletedError, begun: int) -> None:
        if "draft" in error.facts:
            self.saw_dropped(name, error.draft)
        else:
            self.saw_deleted(name, error.number, begun)

    def saw_deleted(self, name: str, number: int, begun: int) -> None:
        """An actor was told that a version is deleted, or purged, which is deleted for ever."""
        require(self.model(name).ever_deleted_since(number, begun), f"{name}:{number} was said to be deleted")

    def saw_held(self, name: str, number: int, begun: int) -> None:
        """An actor was told that a version is held and cannot be purged."""
        require(self.model(name).ever_held_since(number, begun), f"{name}:{number} was said to be held")

    def saw_in_use(self, name: str, number: int, aliases: list[str], begun: int) -> None:
        """An actor was told that a version stands under aliases."""
        truth = self.model(name)
        for alias in aliases:
            possible = truth.holders_since(alias, begun)
            require(number in possible, f"{name}:{number} was said to stand under {alias}")

    def saw_taken(self, name: str, label: str) -> None:
        """An actor was told that a label is in use."""
        require(label in self.model(name).labels, f"label {label} of {name} was said to be taken")

    def _saw_variant(self, name: str, error: ModelkeepError, begun: int) -> None:
        """An actor was told that a version has a variant of a kind, or that it has none."""
        of = (error.number, error.variant)
        added = self.model(name).added.get(of)
        if isinstance(error, TakenError):
            require(added is not None, f"{name} was said to have the variant {of}")
        else:
            require(added is None or added >= begun, f"{name} was said to have no variant {of}")

    def saw_runs(self, name: str, drafts: tuple[str, ...], begun: int) -> None:
        """An actor was given a list of the runs that failed."""
        truth = self.model(name)
        for draft, kept in truth.failed.items():
            if kept < begun and draft not in drafts:
                require(draft in truth.dropped, f"the run {name}~{draft} is missing from a listing")
        for draft in drafts:
            gone = truth.dropped.get(draft, begun)
            require(draft in truth.drafts and gone >= begun, f"the run {name}~{draft} is listed, and is not there")

    def saw_dropped(self, name: str, draft: str) -> None:
        """An actor was told that a run was dropped."""
        require(draft in self.model(name).dropped, f"the run {name}~{draft} was said to be dropped")

    def saw_nothing(self, name: str, begun: int) -> None:
        """An actor was told that a model or version does not exist."""
        truth = self.model(name)
        there = [
            number
            for number, made in truth.made.items()
            if made < begun and not truth.ever_deleted_since(number, begun)
        ]
        require(not there, f"{name} was said to be empty, and it has {there}")

    def saw_missing(self, name: str, number: int, begun: int) -> None:
        """An actor was told that there is no version of this number."""
        made = self.model(name).made.get(number)
        require(made is None or made >= begun, f"{name}:{number} was said not to exist")
