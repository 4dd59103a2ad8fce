"""What is otherwise in the code of two versions: commit, function, what it calls, and the difference of its source."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from modelkeep.code import Code, TrainingFunction
from modelkeep.comparisonparts import Change, changes

_LONGEST = 5000  # lines of a text; comparing two of more takes minutes


@attrs.frozen(kw_only=True)
class CodeChange:
    """What is otherwise in the code; true if anything is.

    Args:
        commits: before and after.
        dirty: whether files differed from the commit, before and after.
        functions: the names of what trained, before and after.
        says: ``same``, ``other``, or ``wording`` where only comments, docstrings or formatting differ; None where
            nothing was recorded to tell it.
        calls: functions and classes that it calls, by name, with the digests of what they say.
        diffs: the difference of sources that were recorded, by the name of the function or file.
        notes: what is not known, and why.
    """

    commits: tuple[str | None, str | None] = (None, None)
    dirty: tuple[bool | None, bool | None] = (None, None)
    functions: tuple[str | None, str | None] = (None, None)
    says: Literal["same", "other", "wording"] | None = None
    calls: tuple[Change, ...] = ()
    diffs: Mapping[str, str] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        pairs = (self.commits, self.dirty, self.functions)
        return any(map(is_other, pairs)) or self.says in ("other", "wording") or bool(self.calls or self.diffs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        pairs = {name: list(getattr(self, name)) for name in ("commits", "dirty", "functions")}
        calls = [one.to_dict() for one in self.calls]
        return {**pairs, "says": self.says, "calls": calls, "diffs": dict(self.diffs), "notes": list(self.notes)}


def is_other(pair: tuple[object, object]) -> bool:
    """Whether both are known, and differ.

    Example:
        >>> is_other((True, False)), is_other((None, True))
        (True, False)
    """
    return None not in pair and pair[0] != pair[1]


def code_change(before: Code | None, after: Code | None) -> CodeChange:
    """What is otherwise in the code of *after*; one of which nothing was recorded says so in the notes.

    Example:
        >>> found = code_change(Code(commit="0" * 40), Code(commit="1" * 40))
        >>> bool(found), found.commits[1][:3], found.says
        (True, '111', None)
    """
    if before is None and after is None:
        return CodeChange()
    sides = [one or Code() for one in (before, after)]
    old, new = (one.function or TrainingFunction(name="") for one in sides)
    missing = [side for side, one in (("before", before), ("after", after)) if one is None]
    notes = [f"no code was recorded for the version {side}" for side in missing]
    notes += [note for one in sides for note in one.notes]
    return CodeChange(
        commits=(sides[0].commit, sides[1].commit),
        dirty=(sides[0].dirty, sides[1].dirty),
        functions=(old.name or None, new.name or None),
        says=_says(old, new),
        calls=changes(old.calls, new.calls) if old.name and new.name else (),
        diffs=dict(_diffs(*sides)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _says(old: TrainingFunction, new: TrainingFunction) -> Literal["same", "other", "wording"] | None:
    if old.ast_digest is None or new.ast_digest is None:
        return None
    if old.ast_digest != new.ast_digest:
        return "other"
    return "same" if old.source_digest == new.source_digest else "wording"


def _diffs(before: Code, after: Code) -> Iterator[tuple[str, str]]:
    """The difference of every text that both have, and of files that one has where files of both were recorded."""
    old, new = _texts(before), _texts(after)
    if not (before.files and after.files):
        old, new = ({name: side[name] for name in old if name in new} for side in (old, new))
    for name in [*new, *(name for name in old if name not in new)]:
        texts = [side.get(name, "") for side in (old, new)]
        if texts[0] != texts[1]:
            yield name, unified(*texts)


def _texts(code: Code) -> dict[str, str]:
    found = {file.path: file.text for file in code.files}
    if code.cells:
        found["cells"] = "\n".join(f"# In [{cell.number}]\n{cell.text}" for cell in code.cells)
    if code.function is not None and code.function.source is not None:
        found["the function"] = code.function.source  # the two may have other names
    return found


def unified(before: str, after: str) -> str:
    r"""The lines that differ, as `diff -u` shows them, without a head.

    Example:
        >>> print(unified("a\nb\n", "a\nc\n"))
        @@ -1,2 +1,2 @@
         a
        -b
        +c
    """
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _LONGEST:
        return f"of {len(old)} and {len(new)} lines, too long to be compared"
    return "\n".join(list(difflib.unified_diff(old, new, lineterm=""))[2:])
