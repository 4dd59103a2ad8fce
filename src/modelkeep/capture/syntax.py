"""A digest of what code says: comments, docstrings, formatting and places in the file do not count; names do.

`ast.dump` differs between releases of Python, as fields come and go. So the tree is written here, node by node: the
name of the node, and each field that is neither None nor an empty list. Fields that Python 3.12 and 3.13 added
(``type_params``) are empty for code that older releases can read, and so it has one digest from Python 3.11 on.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from modelkeep.digest import digest
from modelkeep.redaction import looks_secret, redacted

Drops = Callable[[ast.expr], bool]
_SECRET = "[redacted]"  # noqa: S105  it stands for one
_UNSEEN = {"kind", "type_comment", "ctx", "type_ignores"}  # u"…"; comments; load and store, which follow from the place
_MAX_DEPTH = 400  # of the tree; beyond, only the kind of a node counts
_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)


def syntax_digest(node: ast.AST, drops: Drops = lambda _: False) -> str:
    r"""The digest of a tree; what looks like a secret in it counts as one word, so that none can be guessed from it.

    Args:
        node: what to digest.
        drops: tells of a decorator whether to leave it out.

    Example:
        >>> one = ast.parse("def f(x):  # doubles\n    return x*2")
        >>> other = ast.parse('def f( x ):\n  "Doubles."\n  return (x * 2)')
        >>> syntax_digest(one) == syntax_digest(other)
        True
    """
    return digest("".join(_written(node, drops, "", 0)).encode("utf-8", "surrogatepass"))


def _written(node: ast.AST, drops: Drops, name: str, depth: int) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield _constant(node.value, name)
        return
    yield f"({type(node).__name__}"
    for field, value in _fields(node, drops) if depth < _MAX_DEPTH else ():
        yield f" {field}="
        yield from _value(value, drops, _name_of(node, field), depth)
    yield ")"


def _value(value: Any, drops: Drops, name: str, depth: int) -> Iterator[str]:
    if isinstance(value, ast.AST):
        yield from _written(value, drops, name, depth + 1)
    elif isinstance(value, list):
        yield "["
        for i, part in enumerate(value):
            yield from _value(part, drops, name if i == 0 else "", depth)
            yield ","
        yield "]"
    elif isinstance(value, _Named):
        yield from _value(value.value, drops, value.name, depth)
    else:
        yield _constant(value, "")


class _Named:
    """A value in a row of values, and the name that it is given by."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value


def _fields(node: ast.AST, drops: Drops) -> Iterator[tuple[str, Any]]:
    for field in node._fields:
        value: Any = getattr(node, field, None)
        if field == "body" and isinstance(node, _DOCUMENTED):
            value = _without_docstring(value)
        elif field == "decorator_list":
            value = [one for one in value if not drops(one)]
        elif field == "values" and isinstance(node, ast.JoinedStr):
            value = _joined(value)
        elif field == "values" and isinstance(node, ast.Dict):
            value = [_Named(_text(key), part) for key, part in zip(node.keys, node.values, strict=True)]
        elif field in ("defaults", "kw_defaults") and isinstance(node, ast.arguments):
            value = _defaults(node, field)
        if field not in _UNSEEN and value is not None and value != []:
            yield field, value


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:] or [ast.Pass()]
    return body


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """Texts beside each other in an f-string as one, and none that is empty: Python 3.12.1 cuts them otherwise."""
    joined: list[ast.expr] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, ast.Constant) and part.value == "":
            continue
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(part.value))
        else:
            joined.append(part)
    return joined


def _defaults(node: ast.arguments, field: str) -> list[_Named]:
    values: list[Any] = list(getattr(node, field))
    names = node.kwonlyargs if field == "kw_defaults" else [*node.posonlyargs, *node.args][-len(values) :]
    return [_Named(one.arg, value) for one, value in zip(names, values, strict=False)]


def _name_of(node: ast.AST, field: str) -> str:
    """What the value in a field is called, where that can say that it is a secret."""
    if field == "value":
        if isinstance(node, ast.keyword):
            return node.arg or ""
        if isinstance(node, ast.Assign):
            return _text(node.targets[0])
        if isinstance(node, ast.AnnAssign):
            return _text(node.target)
    return ""


def _text(node: ast.AST | None) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Constant(value=str(name)) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    return ""


def _constant(value: object, name: str) -> str:
    if isinstance(value, str):
        value = redacted(value)
    if isinstance(value, (str, bytes, int)) and name and looks_secret(name, value):
        return _SECRET
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int {value:x}"  # decimal digits beyond 4,300 are refused
    return f"{type(value).__name__} {value!r}"
