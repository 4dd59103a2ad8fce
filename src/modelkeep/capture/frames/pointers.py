"""Pointers of DVC: ``.dvc`` files and ``dvc.lock``. Their digests are read as names; the data itself is not looked for.

Both are written by machine, in a small part of YAML: mappings, lists and plain words, indented. That part is read here,
strictly; whatever else YAML has is refused, so no YAML library is needed and none can be misled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelkeep.capture.frames.columns import UnknownColumnError
from modelkeep.dataset import DatasetFacts
from modelkeep.digest import digest_of

_MAX_SIZE = 4 << 20  # bytes of a pointer
_MAX_DEPTH = 32
_LINE = re.compile(r"( *)((?:- )*)(.*)")
_PAIR = re.compile(
    r"""('(?:[^']|'')*'|"[^"\\]*"|[^\s'"#&*!|>%@`{}\[\],:-][^'"#]*?|[^\s'"#&*!|>%@`{}\[\],:-]):(?: +(.*))?"""
)
_DIGEST = re.compile(r"[0-9a-f]{32,128}(\.dir)?")


def is_pointer(path: str) -> bool:
    """Whether a path is one of DVC's, by its name.

    Example:
        >>> is_pointer("data/train.csv.dvc"), is_pointer("dvc.lock"), is_pointer("train.csv")
        (True, True, False)
    """
    name = Path(path).name
    return name == "dvc.lock" or (name.endswith(".dvc") and name != ".dvc" and not Path(path).is_dir())


def facts_of_pointer(path: str) -> DatasetFacts:
    """The facts of what a pointer points to.

    Raises:
        OSError: it cannot be read.
        UnknownColumnError: it is not written as DVC writes it, or points to nothing.
    """
    with Path(path).open("rb") as file:
        raw = file.read(_MAX_SIZE + 1)
    if len(raw) > _MAX_SIZE:
        raise UnknownColumnError(f"has more than {_MAX_SIZE} bytes")
    try:
        outs = list(_outs(parsed(raw.decode())))
    except (ValueError, RecursionError) as error:
        raise UnknownColumnError(f"is not written as DVC writes it: {error}") from None
    if not outs:
        raise UnknownColumnError("points to nothing")
    sizes = [out["size"] for out in outs]
    digests = sorted((out["path"], out["digest"]) for out in outs)
    lines = [digests[0][1]] if len(digests) == 1 else [text for row in digests for text in row]
    return DatasetFacts(
        kind="pointer",
        fingerprint=f"dvc-1:{digest_of('dvc-1', *lines)}",
        size=None if None in sizes else sum(size for size in sizes if size is not None),
        source={"name": Path(path).name, "path": digests[0][0], "digest": digests[0][1]}
        if len(digests) == 1
        else {"name": Path(path).name, "outs": str(len(digests))},
    )


def _outs(tree: Any) -> Iterator[dict[str, Any]]:
    """The outs of a ``.dvc`` file, or of all stages of a lock."""
    if not isinstance(tree, dict):
        raise ValueError("no mapping")  # noqa: TRY004  as all that is odd here
    stages = tree.get("stages")
    for part in [tree, *(stages.values() if isinstance(stages, dict) else ())]:
        outs = part.get("outs", []) if isinstance(part, dict) else []
        for out in outs if isinstance(outs, list) else []:
            yield _out(out)


def _out(out: Any) -> dict[str, Any]:
    if not isinstance(out, dict) or not isinstance(out.get("path"), str):
        raise ValueError("an out without a path")  # noqa: TRY004  as all that is odd here
    name = next((name for name in ("md5", "etag", "checksum") if name in out), None)
    value = "" if name is None else str(out[name])
    if name is None or (name == "md5" and not _DIGEST.fullmatch(value)) or not value or len(out["path"]) > 1000:  # noqa: PLR2004
        raise ValueError("an out without a digest")
    size = out.get("size")
    return {
        "path": out["path"],
        "digest": f"{name}:{value}",
        "size": int(size) if isinstance(size, str) and size.isdecimal() and len(size) < 16 else None,  # noqa: PLR2004
    }


# -- the part of YAML ------------------------------------------------------------------------------------------------


def parsed(text: str) -> Any:
    r"""Mappings, lists and words; each word stays text.

    Raises:
        ValueError: something else of YAML; names the line.

    Example:
        >>> parsed("outs:\n- md5: a1\n  path: 'x y.csv'\n")
        {'outs': [{'md5': 'a1', 'path': 'x y.csv'}]}
    """
    lines = [line for number, one in enumerate(text.splitlines(), 1) for line in _split(number, one)]
    if not lines:
        return None
    value, rest = _node(lines, 0, 0)
    if rest != len(lines):
        raise ValueError(f"line {lines[rest][0]}")
    return value


Line = tuple[int, int, str]  # its number, its indent, and what stands there; a dash is a line of its own


def _split(number: int, text: str) -> Iterator[Line]:
    if not text.strip() or text.lstrip().startswith("#"):
        return
    found = _LINE.fullmatch(text.rstrip())
    if found is None or "\t" in text:
        raise ValueError(f"line {number}")
    indent = len(found[1])
    for _ in range(len(found[2]) // 2):
        yield number, indent, "-"
        indent += 2
    if found[3] == "-":
        raise ValueError(f"line {number}")
    yield number, indent, found[3]


def _node(lines: list[Line], at: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested without end")
    number, indent, text = lines[at]
    if text == "-":
        return _sequence(lines, at, indent, depth)
    return _mapping(lines, at, indent, depth) if _PAIR.fullmatch(text) else (_word(text, number), at + 1)


def _sequence(lines: list[Line], at: int, indent: int, depth: int) -> tuple[list[Any], int]:
    found = []
    while at < len(lines) and lines[at][1:] == (indent, "-"):
        if at + 1 == len(lines) or lines[at + 1][1] <= indent:
            raise ValueError(f"line {lines[at][0]}")
        value, at = _node(lines, at + 1, depth + 1)
        found.append(value)
    return found, at


def _mapping(lines: list[Line], at: int, indent: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][1] == indent and lines[at][2] != "-":
        number, _, text = lines[at]
        pair = _PAIR.fullmatch(text)
        if pair is None:
            raise ValueError(f"line {number}")
        name, at = _word(pair[1], number), at + 1
        if name in found:
            raise ValueError(f"line {number}: {name!r} is there twice")
        if pair[2]:
            found[name] = _word(pair[2], number)
        elif at < len(lines) and (lines[at][1] > indent or lines[at][1:] == (indent, "-")):
            found[name], at = _node(lines, at, depth + 1)
        else:
            found[name] = None
    return found, at


def _word(text: str, number: int) -> str:
    text = text.strip()
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text[:1] == '"' and text[-1:] == '"' and len(text) > 1 and "\\" not in text and '"' not in text[1:-1]:
        return text[1:-1]
    if text[:1] in "'\"&*!|>%@`{[#?" or " #" in text:
        raise ValueError(f"line {number}")
    return text
