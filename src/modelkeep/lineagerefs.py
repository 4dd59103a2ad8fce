"""Which nodes of a lineage a reference means: one, or several of equal data, or none.

Every reading of a text is tried. That which finds a node counts; where two find different ones, the text is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from modelkeep.dataset import FINGERPRINT
from modelkeep.errors import InvalidRefError, NotFoundError, shown
from modelkeep.lineagenodes import CODE, DATASET, RUN, VERSION, Node

_DIGITS = re.compile(r"[0-9a-f]{7,64}")
_BEGUN = re.compile(r"(?:commit|function|run):[0-9a-f]{4,64}")
_MEANT = (
    "give churn:7, churn:1.3.0, churn:7/onnx or churn@production of a model, data:sales:3 or data:sales@golden of a "
    "dataset, a fingerprint, or a commit or its first 7 digits"
)


def find(ref: object, nodes: Mapping[str, Node]) -> tuple[Node, ...]:
    """The nodes that *ref* means.

    Args:
        ref: a `Node`; what has a ``ref`` and a ``digest``, such as a version or a dataset; or text.
        nodes: by id.

    Raises:
        NotFoundError: it means none of *nodes*.
        InvalidRefError: it means several that are not equal data, or is no reference.

    Example:
        >>> nodes = {"churn:7": Node("version", "churn:7", "churn:7")}
        >>> [str(node) for node in find("churn:7", nodes)]
        ['churn:7']
    """
    if isinstance(ref, Node):
        found = [nodes[ref.id]] if ref.id in nodes else []
    elif isinstance(ref, str):
        found = [nodes[one] for one in dict.fromkeys(node.id for node in _read(ref, nodes))]
    else:
        found = list(_of_object(ref, nodes.values()))
    if not found:
        raise NotFoundError(f"this lineage has no {_told(ref)}; {_MEANT}", ref=_told(ref))
    if len(found) > 1 and not _are_equal_data(found):
        raise InvalidRefError(
            f"{_told(ref)} may be {', '.join(node.id for node in found[:10])}; give one of these, or "
            f"model:{_told(ref)} for a model's",
            text=_told(ref),
        )
    return tuple(found)


def _told(ref: object) -> str:
    return ref if isinstance(ref, str) else ref.id if isinstance(ref, Node) else str(getattr(ref, "ref", shown(ref)))


def _of_object(ref: object, nodes: Iterable[Node]) -> Iterator[Node]:
    name, digest = getattr(ref, "ref", None), getattr(ref, "digest", None)
    if not isinstance(name, str) or not isinstance(digest, str):
        raise InvalidRefError(f"{shown(ref):.80} is no reference; {_MEANT}", text=shown(ref))
    for node in nodes:
        if node.facts.get("digest") == digest and node.id in (name, f"data:{name}"):
            yield node


def _read(text: str, nodes: Mapping[str, Node]) -> Iterator[Node]:
    of_data = f"data:{text}" if ":" in text or "@" in text else ""  # else it might be version 3 of a model "data"
    yield from (nodes[one] for one in (text, of_data, text.removeprefix("model:")) if one in nodes)
    name, mark, label = text.removeprefix("model:").rpartition(":")
    if mark and "." in label:
        yield from (n for n in nodes.values() if n.kind == VERSION and _has(n, name=name, semantic_version=label))
    if FINGERPRINT.fullmatch(text):
        yield from (n for n in nodes.values() if n.kind == DATASET and _has(n, fingerprint=text))
    if _BEGUN.fullmatch(text):
        yield from (n for n in nodes.values() if n.kind in (CODE, RUN) and n.id.startswith(text))
    elif _DIGITS.fullmatch(text):
        yield from (n for n in nodes.values() if n.kind in (CODE, RUN) and n.id.partition(":")[2].startswith(text))


def _has(node: Node, **facts: str) -> bool:
    return all(node.facts.get(name) == value for name, value in facts.items())


def _are_equal_data(nodes: Iterable[Node]) -> bool:
    prints = {node.facts.get("fingerprint") if node.kind == DATASET else None for node in nodes}
    return len(prints) == 1 and None not in prints
