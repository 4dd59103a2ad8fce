"""`ModelVersion.check`: whether a version may stand under an alias, by the policy, with the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from modelkeep._trust import Trust
from modelkeep.evidence import Check, Finding
from modelkeep.folds.releases import Releases
from modelkeep.gatepolicy import Asked
from modelkeep.holdout import Holdout
from modelkeep.layout import is_dataset
from modelkeep.policy import Policy
from modelkeep.usable import UsableVersion

_ALL = 10  # names of reviewers in a message


def asked_of(version: UsableVersion, alias: str) -> Asked | None:
    """What the policy asks now of a promotion to *alias*; None: nothing. One GET when warm; of a dataset none.

    Raises:
        InvalidValueError: the policy cannot be read by this release.
    """
    line = version._line  # noqa: SLF001  its own
    return None if is_dataset(line.name) else Policy(line.home).promotion(line.name, alias)


def measured(
    version: UsableVersion,
    asked: Asked,
    trust: Trust,
    sibling: Callable[[int], UsableVersion],
    holdout: Holdout,
) -> Check:
    """Let every gate look, at what was read of the journals; what these tell themselves is for `with_standing`.

    Costs what the gates read and compute.

    Args:
        version: the one that is to be promoted.
        asked: by the policy.
        trust: what may run code while the version is loaded.
        sibling: gives another version of the same model.
        holdout: rows on which the version and the holder are compared, if there are any.
    """
    from modelkeep.gates import Scene, findings

    line = version._line  # noqa: SLF001  its own
    held = line.releases.state.holder(asked.alias)
    if held is not None and held.number not in line.versions.state.lines:
        line.versions.refresh()
    holder = None if held is None else sibling(held.number)
    found = tuple(findings(asked, Scene(version, holder, trust, holdout)))
    return Check(
        version.ref,
        asked.alias,
        found,
        holder=held.number if held else None,
        risk=asked.risk,
        policy=asked.entry,
        digest=asked.digest,
    )


def standing(version: UsableVersion) -> tuple[Check, ...]:
    """What the journal itself tells, for each alias of which the policy asks that; no gate looks. Two GETs when warm.

    Raises:
        InvalidValueError: the policy cannot be read by this release.
    """
    line = version._line  # noqa: SLF001  its own
    promotions = Policy(line.home).promotions(line.name)
    line.releases.refresh()
    checks = (
        with_standing(
            Check(version.ref, asked.alias, risk=asked.risk, policy=asked.entry, digest=asked.digest),
            asked,
            version,
            line.releases.state,
        )
        for asked in promotions
    )
    return tuple(check for check in checks if check.findings)


def with_standing(check: Check, asked: Asked, version: UsableVersion, state: Releases) -> Check:
    """*check* with what the journal itself tells in *state*: the stage before, and reviews; computes nothing."""
    return attrs.evolve(check, findings=(*_standing(asked, version, state), *check.findings))


def _standing(asked: Asked, version: UsableVersion, state: Releases) -> Iterator[Finding]:
    if asked.after is not None:
        stood = state.stands(asked.after, version.number)
        said = "" if stood else f"promote it to {asked.after} first"
        yield Finding(f"stood under {asked.after}", stood, said=said)
    if asked.approvals:
        yield _approvals(asked, version, state)


def _approvals(asked: Asked, version: UsableVersion, state: Releases) -> Finding:
    """Those that stand now, of this very version, by who may give them; a rejection by one of these outweighs them."""
    review = state.review(version.number)
    barred = () if asked.by_author else (version.author,)
    heard = [
        verdict
        for verdict in review.verdicts
        if verdict.identity == version.digest and (not asked.reviewers or verdict.actor in asked.reviewers)
    ]
    against = [verdict.actor for verdict in heard if not verdict.approves]
    given = [verdict.actor for verdict in heard if verdict.approves and verdict.actor not in barred]
    passed = len(given) >= asked.approvals and not against
    left = [name for name in asked.reviewers if name not in (*given, *barred)]
    may = _names(left) if asked.reviewers else f"anybody but {version.author}" if barred else "anybody"
    said = f"{_names(given) or 'nobody'} approved"
    if against:
        said += f"; {_names(against)} rejected it, and may withdraw that"
    if len(given) < asked.approvals:
        said += f"; {asked.approvals - len(given)} more may come from {may or 'nobody: change the policy'}"
    count = f"{asked.approvals} approval{'s' * (asked.approvals > 1)}"
    return Finding(count, passed, len(given), said=said)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _ALL} more" if len(names) > _ALL else ""
    return f"{', '.join(names[:_ALL])}{more}"
