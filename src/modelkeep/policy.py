"""`Policy`: the rules of a registry, one TOML text that is kept with its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from modelkeep import gatepolicy
from modelkeep import retention as rules
from modelkeep._home import Home
from modelkeep.errors import InvalidValueError, ModelkeepError
from modelkeep.folds import policy
from modelkeep.folds.rules import Op
from modelkeep.gatepolicy import Asked
from modelkeep.layout import check_line, entry_key
from modelkeep.ref import check_alias
from modelkeep.retention import Retention
from modelkeep.values import check_text

MAX_TEXT = 64 * 1024  # bytes; a thousand patterns fit, and an entry stays far below the 8 MiB that stores must take

T = TypeVar("T")


class _InForceError(ModelkeepError):
    """The very same text is in force: nothing is to be written."""


@attrs.frozen
class Policy:
    r"""The policy of a registry: what may be purged, and what a promotion takes. Made by `Registry.policy`.

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
        return _read(state, lambda: rules.parse(state.text, entry=state.number)).of(name)

    def promotion(self, name: str, alias: str) -> Asked | None:
        r"""What is asked of a promotion of the model *name* to *alias*; None: nothing. One GET when warm.

        Raises:
            InvalidValueError: the policy in force cannot be read by this release; names its entry.

        Example:
            >>> import modelkeep as mk
            >>> policy = mk.Registry("memory://policy-promotion").policy
            >>> policy.set('[models.churn.aliases.production]\nreviewers = ["ada", "ben"]')
            >>> policy.promotion("churn", "production").approvals
            1
        """
        check_line(name)
        check_alias(alias)
        return self._gates().of(name, alias)

    def promotions(self, name: str) -> tuple[Asked, ...]:
        r"""What is asked of promotions of the model *name*, alias by alias; empty: nothing. One GET when warm.

        Raises:
            InvalidValueError: the policy in force cannot be read by this release; names its entry.

        Example:
            >>> import modelkeep as mk
            >>> policy = mk.Registry("memory://policy-promotions").policy
            >>> policy.set('[models.churn]\nstages = ["staging", "production"]')
            >>> [(asked.alias, asked.after) for asked in policy.promotions("churn")]
            [('production', 'staging')]
        """
        check_line(name)
        return self._gates().all_of(name)

    def set(self, text: str) -> None:
        """Put *text* in force, instead of all that was said before. One write when warm; none if it is in force.

        Args:
            text: TOML of at most 64 KiB; see the page on the policy. Empty: no rules, so nothing is purged and nothing
                is asked of a promotion.

        Raises:
            InvalidValueError: it cannot be read, says something unknown, or is too long; has `line` and `column`.
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
        gatepolicy.parse(text)

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

    def _gates(self) -> gatepolicy.Gates:
        state = self._state()
        return _read(state, lambda: gatepolicy.parse(state.text, entry=state.number))

    def _state(self) -> policy.Policy:
        """Text and number as of one moment, whatever other threads read meanwhile."""
        registry = self._home.id()
        if registry is None:
            return policy.Policy()
        journal = self._home.policy(registry)
        with journal.lock:
            journal.refresh()
            return journal.state.copy()


def _read(state: policy.Policy, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except InvalidValueError as error:
        raise InvalidValueError(
            f"entry {state.number} of the policy cannot be read by this release: {error}; upgrade modelkeep, or "
            "set another policy",
            **{**error.facts, "entry": state.number},
        ) from None
