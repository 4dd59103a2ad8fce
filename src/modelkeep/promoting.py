"""Promotion: what the policy asks is looked at, then one entry moves the alias, or keeps the refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modelkeep._line import Line, text_digest
from modelkeep._trust import Trust
from modelkeep.arguments import ABSENT, Absent, stale
from modelkeep.checking import asked_of, measured, with_standing
from modelkeep.errors import ConflictError, GateError, ModelkeepError, UnsettledError
from modelkeep.evidence import Check
from modelkeep.folds import releases
from modelkeep.folds.rules import Op
from modelkeep.gatepolicy import Asked
from modelkeep.holdout import Holdout
from modelkeep.usable import UsableVersion

_MOST = 100  # checks that others overtook, before a promotion gives up


class _OvertakenError(ModelkeepError):
    """The policy, or the holder that the gates looked at, is another by now: check again."""


class Promotion:
    """One promotion, from the look at the policy to the entry.

    Args:
        version: what is promoted.
        alias: where to.
        expected: the holder that the caller expects: a number, None, or `ABSENT`.
        reason: why.
        trust: what may run code while gates load the version.
        sibling: gives another version of the same model.
        holdout: rows on which gates compare the version and the holder, if there are any.
    """

    def __init__(
        self,
        version: UsableVersion,
        alias: str,
        expected: int | Absent | None,
        *,
        reason: str | None,
        trust: Trust,
        sibling: Callable[[int], UsableVersion],
        holdout: Holdout,
    ) -> None:
        self.version = version
        self.alias = alias
        self.expected = expected
        self.reason = reason
        self.trust = trust
        self.sibling = sibling
        self.holdout = holdout
        self._asked: Asked | None = None
        self._measured: Check | None = None  # what gates found
        self._check: Check | None = None  # the same, with what the journal said on the last try
        self._tried = False

    def run(self) -> None:
        """Move the alias, or have the refusal kept.

        Raises:
            GateError: the policy refuses it.
            ConflictError: policy or holder changed a hundred times while gates were looking.
        """
        for _ in range(_MOST):
            self._look()
            try:
                self._append()
            except _OvertakenError:
                continue
            return
        raise ConflictError(
            f"the policy or the holder of {self.alias} changed {_MOST} times while {self.version.ref} was checked; "
            "try again",
            alias=self.alias,
        )

    def _look(self) -> None:
        """Read what the policy asks, and let the gates look; not where the alias cannot move anyway."""
        self._tried = False
        self._measured = self._check = None
        self._asked = asked_of(self.version, self.alias)
        if self._asked is not None:
            self._line.releases.refresh()
            self._check_moves(self._line.releases.state)
            self._measured = measured(self.version, self._asked, self.trust, self.sibling, self.holdout)

    def _append(self) -> None:
        try:
            entry = self._line.append("releases", self._decide, text=self.reason)
        except UnsettledError as error:
            if self._check is None or self._check.ok:
                raise
            raise _refusal(self._check) from error  # whether it is kept is open; that nothing moved is not
        if entry.ops[0]["op"] == releases.Refuse.op and self._check is not None:
            raise _refusal(self._check)

    def _decide(self, state: releases.Releases) -> Sequence[Op]:
        """The one operation: asked for anew on each try, so that what changed meanwhile counts."""
        self._check_moves(state)
        if self._tried or self._asked is not None:
            self._check_current(state)
        self._tried = True
        said, here = text_digest(self.reason), self.version._found()  # noqa: SLF001  its own
        evidence = None
        if self._asked is not None and self._measured is not None:
            self._check = with_standing(self._measured, self._asked, self.version, state)
            evidence = self._check.to_entry()
            if not self._check.ok:
                return [releases.Refuse(self.alias, here.number, here.identity, evidence, said)]
        return [releases.SetAlias(self.alias, here.number, here.identity, here.at, "promote", said, evidence)]

    def _check_moves(self, state: releases.Releases) -> None:
        """Refuse what could not be promoted by any policy."""
        self._line.check_alive(self.version.number)
        holder = state.holder(self.alias)
        found = holder.number if holder else None
        if self.expected is not ABSENT and found != self.expected:
            raise stale(self._line.name, self.alias, self.expected, found)

    def _check_current(self, state: releases.Releases) -> None:
        """Refuse evidence that is about another policy, or another holder, than those of now."""
        if asked_of(self.version, self.alias) != self._asked:
            raise _OvertakenError("the policy was changed while gates were looking")
        holder = state.holder(self.alias)
        if self._measured is not None and self._measured.holder != (holder.number if holder else None):
            raise _OvertakenError("the alias was moved while gates were looking")

    @property
    def _line(self) -> Line:
        return self.version._line  # noqa: SLF001  its own


def _refusal(check: Check) -> GateError:
    failed = "; ".join(one.told for one in check.failed)
    return GateError(
        f"{check.ref} may not stand under {check.alias}, says entry {check.policy} of the policy. Failed: {failed}. "
        "Mend these, or change the policy",
        ref=check.ref,
        alias=check.alias,
        failed=[one.asked for one in check.failed],
        check=check,
    )
