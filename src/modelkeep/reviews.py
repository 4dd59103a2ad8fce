"""`VersionReview`: what people say of a version before it is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from modelkeep._line import text_digest
from modelkeep.checking import standing
from modelkeep.errors import ConflictError, InvalidValueError, shown
from modelkeep.evidence import Check
from modelkeep.folds import notes, releases
from modelkeep.folds.rules import Op
from modelkeep.markup import facts, view
from modelkeep.values import check_text

if TYPE_CHECKING:
    from modelkeep.usable import UsableVersion

_MOST, _LONGEST = 100, 200  # reviewers, and characters of the name of one


@attrs.frozen
class Opinions:
    """What is said of a version now. From `VersionReview.opinions`.

    Args:
        requested_by: who asked for a review; None: nobody.
        reviewers: who was asked, if anybody was named.
        approved: who approves, in the order in which they said so.
        rejected: who rejects.

    Example:
        >>> print(Opinions("ada", ("ben", "cleo"), approved=("ben",)))
        ada asks ben, cleo; approved by ben
    """

    requested_by: str | None = None
    reviewers: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()

    def __str__(self) -> str:
        asked = f"{self.requested_by} asks {', '.join(self.reviewers) or 'for a review'}" if self.requested_by else ""
        said = [asked] if asked else []
        said += [f"approved by {', '.join(self.approved)}"] if self.approved else []
        said += [f"rejected by {', '.join(self.rejected)}"] if self.rejected else []
        return "; ".join(said) or "nobody says anything"

    def _repr_html_(self) -> str:
        names = {"asked by": self.requested_by, "asked": ", ".join(self.reviewers) or None}
        told = {"approved": ", ".join(self.approved) or "nobody", "rejected": ", ".join(self.rejected) or "nobody"}
        return view(facts({**names, **told}))


@attrs.frozen
class VersionReview:
    """What people say of a version before it is promoted. From `ModelVersion.review`.

    It is bound to the identity of the version. Who says something is who the entry names: until entries are signed that
    is what they say of themselves, so that reviews are advice to people who could also write around them.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> v = mk.Registry("memory://review").save({"w": np.zeros(3)}, "churn")
        >>> v.review.request(["ada", "ben"], reason="for the release on Monday")
        >>> v.review.approve(reason="calibrated, too")
        >>> len(v.review.opinions().approved)
        1
    """

    _version: UsableVersion = attrs.field(repr=str)

    def opinions(self) -> Opinions:
        """What is said now. One GET when warm."""
        line = self._version._line  # noqa: SLF001  its own
        line.releases.refresh()
        found = line.releases.state.review(self._version.number)
        said = [verdict for verdict in found.verdicts if verdict.identity == self._version.digest]
        return Opinions(
            found.requested_by,
            found.reviewers,
            tuple(verdict.actor for verdict in said if verdict.approves),
            tuple(verdict.actor for verdict in said if not verdict.approves),
        )

    def standing(self) -> tuple[Check, ...]:
        r"""For each alias of which the policy asks approvals, or a stage before, whether it has them.

        Gates do not look: `ModelVersion.check` lets them. Two GETs when warm.

        Raises:
            InvalidValueError: the policy in force cannot be read by this release.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://review-standing")
            >>> registry.policy.set('[models.churn.aliases.production]\napprovals = 1\nby_author = true')
            >>> (check,) = registry.save({"w": np.zeros(3)}, "churn").review.standing()
            >>> print(check)
            churn:1 may not stand under production
            - FAILED: 1 approval (nobody approved; 1 more may come from anybody)
        """
        return standing(self._version)

    def request(self, reviewers: Iterable[str] = (), *, reason: str | None = None) -> None:
        """Ask for a review, of some or of anybody; a request before is over. One write when warm; a reason is one more.

        Args:
            reviewers: who is asked. Whose approval counts, says the policy.
            reason: what for; can be erased.

        Raises:
            InvalidValueError: a name is none, or there are more than a hundred.
            DeletedError: the version is deleted.
        """
        names = _check_names(reviewers)
        self._say(reason, lambda number, digest, said: releases.Request(number, digest, said, names))

    def approve(self, *, reason: str | None = None) -> None:
        """Say that it may be promoted, instead of what you said before. One write when warm; a reason is one more.

        Raises:
            DeletedError: the version is deleted.
        """
        self._say(reason, releases.Approve)

    def reject(self, *, reason: str | None = None) -> None:
        """Say that it must not be promoted, instead of what you said before. One write when warm; a reason is one more.

        Raises:
            DeletedError: the version is deleted.
        """
        self._say(reason, releases.Reject)

    def withdraw(self, *, reason: str | None = None) -> None:
        """Take back what you said; if you said nothing, your request. One write when warm; a reason is one more.

        Raises:
            ConflictError: you neither said nor requested anything.
            DeletedError: the version is deleted.
        """
        self._say(reason, releases.Withdraw, check=self._check_said)

    def comment(self, text: str) -> None:
        """Say something else about it; the text is kept with the history and can be erased. Two writes when warm.

        Raises:
            InvalidValueError: it is no text.
        """
        said = text_digest(check_text(text, "the comment"))
        version = self._version
        version._line.append("notes", lambda _: [notes.Comment(said, version.number)], text=text)  # noqa: SLF001

    def _check_said(self, state: releases.Releases) -> None:
        version = self._version
        actor = version._line.home.system.actor()  # noqa: SLF001  its own
        known = state.review(version.number)
        if known.verdict_of(actor) is None and known.requested_by != actor:
            raise ConflictError(
                f"{actor} said nothing about {version.ref} that could be withdrawn; see version.review.opinions()",
                number=version.number,
            )

    def _say(
        self,
        reason: str | None,
        make: Callable[[int, str, str | None], Op],
        *,
        check: Callable[[releases.Releases], None] = lambda _: None,
    ) -> None:
        version, line = self._version, self._version._line  # noqa: SLF001  its own

        def decide(state: releases.Releases) -> Sequence[Op]:
            line.check_alive(version.number)
            check(state)
            return [make(version.number, version.digest, text_digest(reason))]

        line.append("releases", decide, text=reason)


def _check_names(names: Iterable[str]) -> tuple[str, ...]:
    is_list = isinstance(names, Iterable) and not isinstance(names, str)
    found = tuple(names) if is_list else ()
    wrong = [name for name in found if not isinstance(name, str) or not 0 < len(name) <= _LONGEST]
    if not is_list or wrong or len(found) > _MOST:
        raise InvalidValueError(
            f"reviewers is {shown(names):.200}; give a list of at most {_MOST} names such as ['ada', 'ben']",
            key="reviewers",
        )
    return tuple(check_text(name, "reviewers") for name in found)
