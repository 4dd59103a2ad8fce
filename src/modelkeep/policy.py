"""`Policy`: the rules of a registry, one TOML text that is kept with its history."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from modelkeep import retention as rules
from modelkeep._home import Home
from modelkeep.errors import InvalidValueError, ModelkeepError
from modelkeep.folds import policy
from modelkeep.folds.rules import Op
from modelkeep.layout import check_line, entry_key
from modelkeep.retention import Retention
from modelkeep.values import check_text

MAX_TEXT = 64 * 1024  # bytes; a thousand patterns fit, and an entry stays far below the 8 MiB that stores must take


class _InForceError(ModelkeepError):
    """The very same text is in force: nothing is to be written."""


@attrs.frozen
class Policy:
    r"""The policy of a registry: the rules by which versions may be purged. Made by `Registry.policy`.

    Example:
        >>> import modelkeep as mk
        >>> policy = mk.Registry("memory://policy").policy
        >>> policy.set('[retention]\nlast = 10\ndeleted = "30 days"')
        >>> policy.number, policy.retention("churn").last
        (1, 10)
    """

    _home: Home

    @property
    def text(self) -> str:
        """The TOML in force; empty if none was ever set. One GET when warm."""
        return self._state().text

    @property
    def number(self) -> int:
        """The number of the journal entry that set it; 0 if none was ever set. One GET when warm."""
        return self._state().number

    def retention(self, name: str) -> Retention | None:
        """The rules for a model, or a dataset as ``datasets/sales``; None if none cover it. One GET when warm.

        What no rules cover is never purged.

        Raises:
            InvalidValueError: the policy in force cannot be read by this release; names its entry.

        Example:
            >>> import modelkeep as mk
            >>> mk.Registry("memory://no-policy").policy.retention("churn") is None
            True
        """
        check_line(name)
        state = self._state()
        try:
            return rules.parse(state.text, entry=state.number).of(name)
        except InvalidValueError as error:
            raise InvalidValueError(
                f"entry {state.number} of the policy cannot be read by this release: {error}; upgrade modelkeep, or "
                "set another policy",
                **{**error.facts, "entry": state.number},
            ) from None

    def set(self, text: str) -> None:
        """Put *text* in force, instead of all that was said before. One write when warm; none if it is in force.

        Args:
            text: TOML of at most 64 KiB; see the page on the policy. Empty: no rules, so nothing is purged.

        Raises:
            InvalidValueError: it cannot be read, says something unknown, or is too long.
            UnsettledError: no answer came to the write; `Registry.settle` finds out.
        """
        size = len(check_text(text, "the policy").encode())
        if size > MAX_TEXT:
            raise InvalidValueError(
                f'the policy has {size} bytes, and {MAX_TEXT} are allowed; let patterns such as "churn-*" say it for '
                "several models",
                size=size,
            )
        rules.parse(text)

        def decide(state: policy.Policy) -> Sequence[Op]:
            if state.text == text:
                raise _InForceError(f"entry {state.number} says the same")
            return [policy.SetPolicy(text)]

        journal = self._home.policy(self._home.prepare())
        try:
            entry = journal.append(decide, tx=self._home.system.new_id())
        except _InForceError:
            return
        self._home.check_clock(entry_key(journal.prefix, entry.number), committed=True)

    def _state(self) -> policy.Policy:
        """Text and number as of one moment, whatever other threads read meanwhile."""
        registry = self._home.id()
        if registry is None:
            return policy.Policy()
        journal = self._home.policy(registry)
        with journal.lock:
            journal.refresh()
            return journal.state.copy()
