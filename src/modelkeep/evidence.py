"""What was asked of a promotion, and what was found: `Finding` and `Check`."""

from __future__ import annotations

import math
from typing import Any, Self, TypeVar

import attrs

from modelkeep import junit, markdown
from modelkeep.markup import table, tag, view

Measured = int | float | str | bool | None
T = TypeVar("T")
_NO_NUMBERS = ("nan", "inf", "-inf")  # words in entries, for JSON cannot hold them


@attrs.frozen(kw_only=True)
class Difference:
    """By how much a version differs from the holder on the same rows, and how sure that is.

    Args:
        difference: the metric of the version less that of the holder.
        low: it is at least this; NaN if nothing tells.
        high: and at most this.
        level: how often such an interval holds it.
        rows: how many both predicted.
        how: how that was found.

    Example:
        >>> print(Difference(difference=0.5, low=0.25, high=0.75, level=0.95, rows=40, how="paired bootstrap"))
        0.5, between 0.25 and 0.75 (95 %, 40 rows)
    """

    difference: float
    low: float
    high: float
    level: float
    rows: int
    how: str

    def __str__(self) -> str:
        sure = f"{100 * self.level:.4g} %, {self.rows:,} rows"
        return f"{self.difference:g}, between {self.low:g} and {self.high:g} ({sure})"

    @classmethod
    def from_entry(cls, kept: object) -> Self | None:
        """Read what `to_entry` gave; None of anything else."""
        match kept:
            case {"level": float(level), "rows": int(rows), "how": str(how), **rest}:
                ends = [_out_of_json(rest.get(name)) for name in ("difference", "low", "high")]
                numbers = [float(end) for end in ends if isinstance(end, (int, float))]
                if len(numbers) == len(ends):
                    difference, low, high = numbers
                    return cls(difference=difference, low=low, high=high, level=level, rows=rows, how=how)
        return None

    def to_entry(self) -> dict[str, Any]:
        """The form in entries: what JSON cannot hold is a word."""
        return {name: _in_json(value) for name, value in attrs.asdict(self).items()}


@attrs.frozen
class Finding:
    """What one gate found.

    Args:
        asked: what is asked, in words.
        passed: whether it is so.
        measured: what was measured, if it is one value.
        said: what was found, in words; not kept in entries, where nothing can be erased.
        seconds: how long it took to look; not kept either.
        paired: how far the version and the holder are apart on the same rows, where a gate compared what they predict.
    """

    asked: str
    passed: bool
    measured: Measured = None
    said: str = attrs.field(default="", kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True, eq=False)
    paired: Difference | None = attrs.field(default=None, kw_only=True)

    @property
    def verdict(self) -> str:
        """``passed`` or ``FAILED``."""
        return "passed" if self.passed else "FAILED"

    @property
    def found(self) -> str:
        """What was found: in words, else what was measured; empty if there is neither."""
        if self.said or self.measured is None:
            return self.said
        return f"{self.measured:.6g}" if isinstance(self.measured, float) else str(self.measured)

    @property
    def told(self) -> str:
        """What was asked, and what was found."""
        return f"{self.asked} ({self.found})" if self.found else self.asked

    def __str__(self) -> str:
        return f"{self.verdict}: {self.told}"

    @classmethod
    def from_entry(cls, kept: object) -> Self | None:
        """Read what `to_entry` gave; None of anything else."""
        match kept:
            case {"asked": str(asked), "passed": bool(passed), **rest}:
                paired = Difference.from_entry(rest.get("paired"))
                return cls(asked, passed, _out_of_json(rest.get("measured")), paired=paired)
        return None

    def to_entry(self) -> dict[str, Any]:
        """The form in entries: what JSON cannot hold is a word."""
        kept: dict[str, Any] = {"asked": self.asked, "passed": self.passed}
        if self.measured is not None:
            kept["measured"] = _in_json(self.measured)
        if self.paired is not None:
            kept["paired"] = self.paired.to_entry()
        return kept

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``paired`` only where predictions were compared."""
        return {name: value for name, value in attrs.asdict(self).items() if name != "paired" or value is not None}


def _in_json(value: Measured) -> Measured:
    lost = isinstance(value, float) and not math.isfinite(value)
    return str(value) if lost else value


def _out_of_json(kept: object) -> Measured:
    if not isinstance(kept, (int, float, str)):
        return None
    return float(kept) if kept in _NO_NUMBERS else kept


@attrs.frozen
class Check:
    """Whether a version may stand under an alias, by the policy; true if it may. From `ModelVersion.check`.

    Args:
        ref: the version.
        alias: the alias.
        findings: what each gate found, in the order in which they were asked; empty if the policy asks nothing.
        holder: the version that it was compared with: the one that stands there now, if one does.
        risk: the word of the policy for this model.
        policy: the number of the policy's entry; 0 if none asks anything.
        digest: of the policy's text.

    Example:
        >>> check = Check("churn:7", "production", (Finding("auc at least 0.9", False, 0.87, said="auc is 0.87"),))
        >>> bool(check)
        False
        >>> print(check)
        churn:7 may not stand under production
        - FAILED: auc at least 0.9 (auc is 0.87)
    """

    ref: str
    alias: str
    findings: tuple[Finding, ...] = ()
    holder: int | None = None
    risk: str | None = None
    policy: int = 0
    digest: str = ""

    @property
    def ok(self) -> bool:
        """Whether all gates passed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings of the gates that did not pass."""
        return tuple(one for one in self.findings if not one.passed)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def verdict(self) -> str:
        """Whether the version may stand there, in a sentence."""
        asked = "" if self.findings else ": no policy asks anything"
        return f"{self.ref} may {'' if self.ok else 'not '}stand under {self.alias}{asked}"

    @property
    def basis(self) -> str:
        """By which entry of the policy, with what risk, compared with which version; empty if none asks anything."""
        if not self.policy:
            return ""
        said = [f"policy {self.policy}", f"risk {self.risk}" if self.risk else ""]
        said.append(f"compared with {self._name}:{self.holder}" if self.holder else "")
        return ", ".join(filter(None, said))

    @property
    def summary(self) -> str:
        """On one line: which gates failed, how many passed, and by which entry of the policy."""
        passed = len(self.findings) - len(self.failed)
        counted = f"{passed} of {len(self.findings)} passed" if self.findings else "nothing was asked"
        failed = f"FAILED {', '.join(one.told for one in self.failed)}; " if self.failed else ""
        return f"{failed}{counted}, policy {self.policy}"

    @property
    def _name(self) -> str:
        return self.ref.partition(":")[0]

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"- {finding}" for finding in self.findings)])

    def _repr_html_(self) -> str:
        rows = [
            (
                tag("span", "passed" if one.passed else "failed", class_=None if one.passed else "bad"),
                one.asked,
                one.found,
            )
            for one in self.findings
        ]
        return view(tag("p", self.verdict), table(["", "asked", "found"], rows) if rows else None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; numbers stay numbers, also those that JSON cannot hold."""
        return {**attrs.asdict(self), "ok": self.ok, "findings": [one.to_dict() for one in self.findings]}

    def to_entry(self) -> dict[str, Any]:
        """The form in entries."""
        facts = {"policy": self.policy, "digest": self.digest, "holder": self.holder, "risk": self.risk}
        kept = {name: value for name, value in facts.items() if value is not None}
        return {**kept, "findings": [one.to_entry() for one in self.findings]}

    @classmethod
    def from_entry(cls, ref: str, alias: str, kept: object) -> Self | None:
        """Read what `to_entry` gave; None of anything else, which is no evidence, whoever wrote it.

        Args:
            ref: the version that the entry is about.
            alias: the alias that it is about.
            kept: from the entry.
        """
        match kept:
            case {"policy": int(policy), "findings": [*listed], **rest}:
                found = [Finding.from_entry(one) for one in listed]
                whole = tuple(one for one in found if one is not None)
                holder, risk = _of_kind(int, rest.get("holder")), _of_kind(str, rest.get("risk"))
                digest = _of_kind(str, rest.get("digest")) or ""
                if len(whole) == len(found):
                    return cls(ref, alias, whole, holder, risk, policy, digest)
        return None

    def to_markdown(self) -> str:
        """The verdict and a table with a row for each gate, for a comment on a merge request; all text stays text.

        Example:
            >>> found = Finding("golden", True, said="20 rows")
            >>> print(Check("churn:7", "production", (found,), policy=3).to_markdown())
            **churn:7 may stand under production**
            <BLANKLINE>
            |  | gate | found |
            | --- | --- | --- |
            | passed | golden | 20 rows |
            <BLANKLINE>
            policy 3
            <BLANKLINE>
        """
        rows = [(one.verdict, one.asked, one.found) for one in self.findings]
        parts = [f"**{markdown.escaped(self.verdict)}**"]
        parts += [markdown.table(("", "gate", "found"), rows)] if rows else []
        parts += [markdown.escaped(self.basis)] if self.basis else []
        return "\n\n".join(parts) + "\n"

    def to_junit(self) -> str:
        """A JUnit report, as CI servers read it: a case for each gate, a failure for each that did not pass.

        Example:
            >>> check = Check("churn:7", "production", (Finding("golden", True),))
            >>> 'testcase classname="churn@production" name="golden"' in check.to_junit()
            True
        """
        cases = [junit.Case(one.asked, one.found, failed=not one.passed, seconds=one.seconds) for one in self.findings]
        return junit.report(f"{self.ref} under {self.alias}", f"{self._name}@{self.alias}", cases)


def _of_kind(kind: type[T], value: object) -> T | None:
    return value if isinstance(value, kind) else None
