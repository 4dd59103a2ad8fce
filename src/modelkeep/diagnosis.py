"""What a doctor tells: checks with a verdict, and what to do about each."""

from __future__ import annotations

import attrs

_ROLES = {True: "good", False: "bad", None: "soft"}
_MARKS = {True: "ok", False: "fault", None: "note"}


@attrs.frozen
class Check:
    """One thing that was looked at.

    Args:
        name: what.
        ok: True: sound. False: mend it. None: it could not be tried, or it does not keep anybody from working.
        detail: what was found.
        remedy: what to do; empty if there is nothing to do.
        seconds: how long its request took, the median of five where that is possible; None if there was none.
    """

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""
    seconds: float | None = None

    @property
    def mark(self) -> str:
        """`ok` in a word: ``ok``, ``fault`` or ``note``."""
        return _MARKS[self.ok]

    @property
    def milliseconds(self) -> str:
        """`seconds` as people read it; empty if there are none."""
        return "" if self.seconds is None else f"{self.seconds * 1000:,.2f}"


@attrs.frozen
class Diagnosis:
    """What a doctor found.

    Args:
        url: the place.
        checks: what was looked at, in order.
    """

    url: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no fault; notes are none."""
        return all(check.ok is not False for check in self.checks)

    def check(self, name: str) -> Check:
        """The check of that name.

        Raises:
            KeyError: it was not made.
        """
        return {check.name: check for check in self.checks}[name]

    def __str__(self) -> str:
        lines = [f"{self.url}: {'ok' if self.ok else 'not ok'}"]
        for check in self.checks:
            took = f" ({check.milliseconds} ms)" if check.seconds is not None else ""
            lines.append(f"{check.mark:<5}  {check.name}: {check.detail}{took}")
            lines += [f"       to do: {check.remedy}"] if check.remedy else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from modelkeep.markup import table, tag, view

        rows = [
            (tag("span", one.mark, class_=_ROLES[one.ok]), one.name, one.milliseconds, one.detail, one.remedy)
            for one in self.checks
        ]
        caption = f"{self.url}: {'ok' if self.ok else 'not ok'}"
        return view(table(("", "check", "ms", "found", "to do"), rows, caption=caption))
