"""What one version says of where it came from: the little of its record that lineage needs, and nothing else.

It may be kept on this machine after the version was loaded, so it holds names, numbers and digests, and no parameter,
metric, note or text of code. Records may come from a stranger: what is of another form is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import attrs

from modelkeep.code import TrainingFunction
from modelkeep.dataset import FINGERPRINT
from modelkeep.digest import is_digest
from modelkeep.errors import InvalidError
from modelkeep.version import Parent, Record, check_parent

_MOST, _LONGEST = 1000, 500  # parents, or datasets; characters of a text
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RUN = re.compile(r"[0-9a-f]{32}")


def _text(value: object, form: re.Pattern[str] | None = None) -> str | None:
    """*value* if it is text of the form, else None."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or (form and not form.fullmatch(value)):
        return None
    return value


@attrs.frozen
class Used:
    """A dataset that a version says it was made from.

    Args:
        role: what it was for; empty if nothing was said.
        fingerprint: of the data, if it has one.
        dataset: the saved version that it is, ``sales:3``, if it was given as such.
        identity: the digest of that version.
    """

    role: str = ""
    fingerprint: str | None = None
    dataset: str | None = None
    identity: str | None = None


@attrs.frozen(kw_only=True)
class Kinship:
    """What one version says of where it came from.

    Args:
        parents: versions that it was made from.
        data: datasets that it was made from.
        commit: of the code.
        remote: where the repository lies, as it was recorded: without credentials.
        dirty: whether the code differed from the commit.
        function: the name of what trained it.
        file: in which that lies, relative to the repository.
        code: one digest of that function and all that it calls.
        run: the id of the run.
        began: when that began.

    Example:
        >>> kin = Kinship(commit="0f" * 20, data=(Used("train", f"frame-1:{'0' * 64}"),))
        >>> Kinship.from_json(kin.to_json()) == kin
        True
    """

    parents: tuple[Parent, ...] = ()
    data: tuple[Used, ...] = ()
    commit: str | None = None
    remote: str | None = None
    dirty: bool = False
    function: str | None = None
    file: str | None = None
    code: str | None = None
    run: str | None = None
    began: str | None = None

    @classmethod
    def of(cls, record: Record) -> Self:
        """What a record says; what is of another form is left out."""
        made = record.made
        code, session = made.get("code", {}), made.get("session", {})
        return cls(
            parents=tuple(filter(_can_be, record.parents[:_MOST])),
            data=tuple(_used(made.get("data", []))),
            commit=_text(code.get("commit"), _COMMIT),
            remote=_text(code.get("remote")),
            dirty=code.get("dirty") is True,
            run=_text(session.get("id"), _RUN),
            began=_text(session.get("began")),
            **_function(code.get("function")),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values of JSON, without what is not known."""
        kept: dict[str, Any] = {name: value for name, value in _plain(self) if value}
        kept |= {"parents": [attrs.astuple(one) for one in self.parents]} if self.parents else {}
        return kept | ({"data": [attrs.astuple(one) for one in self.data]} if self.data else {})

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError: it is something else.
        """
        if not isinstance(value, dict):
            raise TypeError("what a version says is an object")
        given = dict(value)
        parents = tuple(check_parent(Parent(*one)) for one in given.pop("parents", ()))
        data = tuple(Used(*one) for one in given.pop("data", ()))
        dirty = given.pop("dirty", False)
        texts = [*given.values(), *(text for one in data for text in attrs.astuple(one) if text is not None)]
        if dirty is not (dirty is True) or not all(isinstance(text, str) for text in texts):
            raise ValueError("a text is none")
        return cls(parents=parents, data=data, dirty=dirty, **given)


_PLAIN = tuple(field.name for field in attrs.fields(Kinship) if field.name not in ("parents", "data"))


def _plain(kinship: Kinship) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(kinship, name)) for name in _PLAIN)


def _can_be(parent: Parent) -> bool:
    with suppress(InvalidError):
        return check_parent(parent) is parent
    return False


def _used(listed: list[Mapping[str, Any]]) -> Iterator[Used]:
    for one in listed[:_MOST]:
        identity = one.get("identity")
        named = _text(one.get("dataset")) if is_digest(identity) else None
        fingerprint = _text(one.get("fingerprint"), FINGERPRINT)
        if named or fingerprint:
            yield Used(_text(one.get("role")) or "", fingerprint, named, str(identity) if named else None)


def _function(found: Any) -> dict[str, Any]:
    with suppress(ValueError, TypeError, KeyError):
        function = TrainingFunction.from_json(found)
        return {"function": _text(function.name), "file": _text(function.file), "code": function.digest}
    return {}
