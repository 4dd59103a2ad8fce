"""`Why`: what changed between two versions, ranked by how far it could explain a difference in their metrics.

The score of a change is a fixed weight, by what kind of thing changed, times its extent, from 0 to 1. The weights are
judgement, not measurement: they stand here and in the docs, and no data moves them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import attrs

from modelkeep.codechange import is_other
from modelkeep.comparedparts import ComparedParts
from modelkeep.comparisonparts import Change, DataChange
from modelkeep.environmentdiff import Finding, Severity

CAVEAT = "A ranking of what could explain a difference, not a cause."
# What changed, its weight, and what its extent is; the table in docs/explain/comparison.md has the same rows.
WEIGHTS = {
    "columns": 1.0,  # of the training data: a feature is new, gone, or of another type
    "rows": 1.0,  # of the training data
    "measured on": 0.95,  # data of another role: the metrics may not be of the same rows
    "function": 0.95,  # the code that trained
    "called code": 0.9,
    "class": 0.8,  # of the model
    "parameter": 0.7,
    "preprocessing": 0.7,
    "commit": 0.5,  # where no function was recorded
    "framework": 0.5,  # another major release of what the model was made with
    "unknown data": 0.4,
    "package": 0.2,  # another major release of what else was loaded
    "seed": 0.1,
    "aside": 0.03,  # a parameter that says how fast or how loudly; other packages; a commit that left the code alone
    "wording": 0.01,  # comments, docstrings and formatting of the code
}
_TRAIN = ("train", "training", "fit", "")
_SEEDS = re.compile(r"(^|[._])(seeds?|random_state|rng)$", re.IGNORECASE)
_ASIDE = re.compile(
    r"(^|[._])(n_jobs|n_workers|num_workers|nthreads?|device|verbose|verbosity|progress|log_level|thread_count)$",
    re.IGNORECASE,
)
_MAJOR = (Severity.ABI, Severity.MAJOR, Severity.MISSING)
_MOVED = 0.25  # of the population stability index: from here on a column is read as another


@attrs.frozen(order=False)
class Reason:
    """One change, and how far it could explain a difference.

    Args:
        what: the row of the table of weights.
        name: which: a role of data, a parameter, a function, a package.
        sentence: what changed.
        weight: by what kind of thing it is.
        extent: how far it changed, from 0 to 1.
    """

    what: str
    name: str
    sentence: str
    weight: float
    extent: float = 1.0

    def __str__(self) -> str:
        return self.sentence

    @property
    def score(self) -> float:
        """Weight times extent."""
        return self.weight * self.extent


@attrs.frozen
class Why:
    """What changed, that which could explain most first; as text it begins by saying what it is not.

    Args:
        before: the reference of the one version.
        after: of the other.
        reasons: the ranking.
        note: what could not be looked at.
    """

    before: str
    after: str
    reasons: tuple[Reason, ...]
    note: str = ""

    def __len__(self) -> int:
        return len(self.reasons)

    def __iter__(self) -> Iterator[Reason]:
        return iter(self.reasons)

    def __getitem__(self, place: int) -> Reason:
        return self.reasons[place]

    def __str__(self) -> str:
        lines = [f"{place}. {one} ({one.score:.2f})" for place, one in enumerate(self.reasons, 1)]
        return "\n".join([CAVEAT, *lines, *([self.note] if self.note else [])])

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        reasons = [attrs.asdict(one) | {"score": one.score} for one in self.reasons]
        return {"caveat": CAVEAT, "before": self.before, "after": self.after, "reasons": reasons, "note": self.note}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each reason.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        import pandas as pd

        return pd.DataFrame(self.to_dict()["reasons"])

    def to_markdown(self) -> str:
        """A list, with the caveat above."""
        from modelkeep.markdown import escaped

        lines = [f"{place}. {escaped(str(one))} ({one.score:.2f})" for place, one in enumerate(self.reasons, 1)]
        return "\n".join([CAVEAT, "", *lines, *(["", escaped(self.note)] if self.note else []), ""])

    def _repr_html_(self) -> str:
        from modelkeep.markup import Child, table, tag, view

        rows: list[list[Child]] = [[one.score, one.what, one.sentence] for one in self.reasons]
        return view(tag("p", CAVEAT), table(["score", "what", "change"], rows), tag("p", self.note, class_="soft"))


def why(found: ComparedParts) -> Why:
    """Rank the parts of a comparison; see `Comparison.why`."""
    reasons = [*_data(found), *_code(found), *_facts(found), *_params(found), *_environment(found), *_seeds(found)]
    ranked = sorted(reasons, key=lambda one: -one.score)  # of equal ones the order above stays
    note = ""
    if not ranked and (found.files or found.tensors):
        note = "The files differ, and nothing that was recorded of their making does: what made them is not known."
    return Why(found.before, found.after, tuple(ranked), note)


def _reason(what: str, name: str, sentence: str, extent: float = 1.0) -> Reason:
    return Reason(what, name, sentence, WEIGHTS[what], extent)


# -- data ------------------------------------------------------------------------------------------------------------


def _data(found: ComparedParts) -> Iterator[Reason]:
    for change in found.data:
        name = f"{change.role} data"
        trains = change.role.casefold().partition("_")[0] in _TRAIN or change.role.isdigit()
        if change.kind == "unknown":
            yield _reason("unknown data", change.role, f"the {name} may be other data: nothing tells")
        elif not trains:
            yield _reason("measured on", change.role, f"the {name}: {change}")
        elif change.is_reshaped or change.kind != "changed":
            yield _reason("columns", change.role, f"the {name}: {change}")
        else:
            yield _reason("rows", change.role, f"the {name}: {change}", _extent_of_rows(change))


def _extent_of_rows(change: DataChange) -> float:
    """Any other row may matter, so three quarters are there from the start."""
    others = 0.0 if change.shared is None else 1 - change.shared.share
    psi = change.most_drifted[0][1] if change.most_drifted else 0.0
    return 0.75 + 0.25 * max(others, min(1.0, psi / _MOVED))


# -- code and parameters ---------------------------------------------------------------------------------------------


def _code(found: ComparedParts) -> Iterator[Reason]:
    code = found.code
    old, new = code.functions
    if old and new and (code.says == "other" or (old != new and code.says is None)):
        which = f"{new} is other code" if old == new else f"{new} trained it, and {old} before"
        yield _reason("function", new, f"the function: {which}")
    elif code.says == "wording":
        yield _reason("wording", new or "", f"comments, docstrings or formatting of {new}")
    if code.calls:
        names = ", ".join(call.name for call in code.calls[:3])
        more = f" and {len(code.calls) - 3} more" if len(code.calls) > 3 else ""  # noqa: PLR2004  what fits on a line
        part = 0.5 if all(call.kind != "changed" for call in code.calls) and code.says == "other" else 1.0
        yield _reason("called code", names, f"code that the function calls: {names}{more}", part)
    if is_other(code.commits) or is_other(code.dirty):
        known = code.says is not None
        words = " to ".join(one[:10] if one else "none" for one in code.commits)
        yield _reason("aside" if known else "commit", words, f"the commit, from {words}")


def _facts(found: ComparedParts) -> Iterator[Reason]:
    for change in found.form:
        if change.name == "class":
            yield _reason("class", "class", f"the class of the model, from {change.before} to {change.after}")
    parts = sorted({one.path.partition("/")[0] for one in found.files if one.path.startswith("preprocess/")})
    if parts:
        yield _reason("preprocessing", "preprocess", "the preprocessing has other files")


def _params(found: ComparedParts) -> Iterator[Reason]:
    other = found.code.functions[0] != found.code.functions[1] and None not in found.code.functions
    for change in found.params:
        what = "seed" if _SEEDS.search(change.name) else "aside" if _ASIDE.search(change.name) else "parameter"
        half = 0.5 if other and change.kind != "changed" else 1.0  # another function has other arguments
        yield _reason(what, change.name, f"{what_of(change)}", half * _extent(change))


def what_of(change: Change) -> str:
    """A parameter that differs, in some words."""
    if change.kind == "changed":
        return f"the parameter {change.name}, from {change.before!r:.60} to {change.after!r:.60}"
    now = f"new, {change.after!r:.60}" if change.kind == "new" else f"gone, {change.before!r:.60}"
    return f"the parameter {change.name}: {now}"


def _extent(change: Change) -> float:
    """Of numbers, how far apart they are, from a half on; of all others, 1."""
    sides = (change.before, change.after)
    if change.kind != "changed" or any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in sides):
        return 1.0
    try:
        old, new = map(float, sides)
    except OverflowError:  # a whole number beyond any float
        return 1.0
    top = max(abs(old), abs(new))
    return 0.5 + 0.5 * min(1.0, abs(new / top - old / top)) if top and math.isfinite(top) else 1.0


# -- surroundings ----------------------------------------------------------------------------------------------------


def _environment(found: ComparedParts) -> Iterator[Reason]:
    grave = [one for one in found.environment if one.loaded and one.severity in _MAJOR]
    for one in grave:
        frame = one.what in found.frameworks
        yield _reason("framework" if frame else "package", one.what, f"{one.what}, {_moved(one)}")
    rest = len(found.environment) - len(grave)
    if rest:
        named = ", ".join(one.what for one in found.environment if one not in grave and one.loaded)
        loaded = f", of what was loaded: {named}" if named else ""
        yield _reason("aside", "environment", f"{rest} lesser differences of the environment{loaded}")


def _moved(finding: Finding) -> str:
    return f"from {finding.then or 'none'} to {finding.now or 'none'}"


def _seeds(found: ComparedParts) -> Iterator[Reason]:
    if found.seeds:
        names = ", ".join(change.name for change in found.seeds)
        yield _reason("seed", names, f"what randomness began with: {names}")
