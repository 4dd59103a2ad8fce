"""What a lineage consists of: nodes, and edges from what was there first to what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

VERSION, VARIANT, DATASET, CODE, RUN, ALIAS = KINDS = ("version", "variant", "dataset", "code", "run", "alias")
PARENT, VARIANT_OF, TRAINED_ON, BY_CODE, BY_RUN, STANDS_AT = RELATIONS = (
    "parent of",
    "variant of",
    "trained on",
    "made by code",
    "made by run",
    "stands at",
)
HERE, DELETED, PURGED, ELSEWHERE, UNREADABLE = STATES = ("here", "deleted", "purged", "elsewhere", "unreadable")
_SAID = {
    PARENT: "made from",
    VARIANT_OF: "a variant of",
    TRAINED_ON: "trained on",
    BY_CODE: "made by",
    BY_RUN: "made by",
    STANDS_AT: "standing on",
}


def counted(count: int, kind: str) -> str:
    """So many of a kind, in words.

    Example:
        >>> counted(1, "alias"), counted(1200, "alias"), counted(2, "code")
        ('1 alias', '1,200 aliases', '2 commits or functions')
    """
    if kind == CODE:
        kind = "commit or function" if count == 1 else "commits or functions"
    elif count != 1:
        kind += "es" if kind.endswith("s") else "s"
    return f"{count:,} {kind}"


@attrs.frozen
class Node:
    """A thing of which a lineage tells.

    Args:
        kind: ``version``, ``variant``, ``dataset``, ``code``, ``run`` or ``alias``.
        id: unlike that of any other node: ``churn:7``, ``churn:7/onnx``, ``churn@production``, ``data:sales:3``, a bare
            fingerprint, ``commit:…``, ``function:…``, ``run:…``; with ``#`` and a digest where it lies elsewhere.
        label: a shorter form of it, for pictures.
        facts: what else is known, plain values by name.

    Example:
        >>> Node("version", "churn:7", "churn:7").state
        'here'
    """

    kind: str
    id: str
    label: str
    facts: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    @property
    def state(self) -> str:
        """``here``, ``deleted``, ``purged``, ``elsewhere`` (not in this registry) or ``unreadable``."""
        return str(self.facts.get("state", HERE))

    def __str__(self) -> str:
        return self.id if self.state == HERE else f"{self.id} ({self.state})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": self.kind, "id": self.id, "label": self.label, **self.facts}


@attrs.frozen
class Edge:
    """What came of what.

    Args:
        source: the id of what was there first.
        target: the id of what came of it.
        relation: ``parent of``, ``variant of``, ``trained on``, ``made by code``, ``made by run`` or ``stands at``.
        note: what it was for, such as ``as test``, or ``with uncommitted changes``; mostly empty.

    Example:
        >>> str(Edge("data:sales:3", "churn:7", "trained on"))
        'churn:7 was trained on data:sales:3'
    """

    source: str
    target: str
    relation: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.target} {'is' if self.relation in (STANDS_AT, VARIANT_OF) else 'was'} {self.said()}"

    def said(self, source: str | None = None) -> str:
        """What is said of the target: ``made from churn:6``; *source* is another name for what was there first."""
        note = f" {self.note}" if self.note else ""
        return f"{_SAID.get(self.relation, self.relation)} {self.source if source is None else source}{note}"

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return {name: text for name, text in attrs.asdict(self).items() if text}
