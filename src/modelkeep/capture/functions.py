"""A function, and the functions and classes of the project that it calls: source, and digests of what they say.

Names in the code are looked up in the closure and the globals of the function, and in modules, classes and objects from
there on, without running anything (no ``__getattr__``, no property, no import). What cannot be found so (a method of an
argument, a function taken from a dict) is not followed.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelkeep.capture.sources import (
    NoSourceError,
    Source,
    file_of,
    is_own,
    is_project,
    place_in,
    source_of,
    was_changed,
)
from modelkeep.capture.syntax import syntax_digest
from modelkeep.digest import digest, digest_of
from modelkeep.redaction import looks_secret, redacted

MAX_SOURCE = 64 * 1024  # characters of a function that are kept
_MAX_CALLS, _MAX_DEPTH = 200, 20
_MAX_CONSTANT, _MAX_PARTS = 4096, 100  # characters of a constant, and values in it
_MISSING = object()
Code = types.FunctionType | type


def function_facts(function: object, root: Path) -> dict[str, Any]:
    """What can be known of *function*, as plain values; never an error.

    Args:
        function: a function, method, class, partial, or any callable.
        root: the folder of the project.

    Example:
        >>> facts = function_facts(len, Path("/work"))
        >>> facts["name"], facts["notes"]
        ('builtins:len', ['function: unknown: it is not written in Python'])
    """
    notes: list[str] = []
    found, bound = _plain(function, notes)
    facts: dict[str, Any] = {"name": _name(found if found is not None else function)}
    if found is None:
        return facts | {"notes": [*notes, "function: unknown: it is not written in Python"]}
    if place := place_in(file_of(found), root):
        facts["file"] = redacted(place)
    try:
        source = source_of(found)
    except NoSourceError as error:
        return facts | {"notes": [*notes, f"function: unknown: {error}"]}
    if isinstance(found, types.FunctionType) and was_changed(found, source.node):
        notes.append("function: its file was changed after it was imported; this is what the file says now")
    facts |= _text_of(source, notes) | {"ast_digest": _digest_of(found, source)}
    facts["calls"] = dict(sorted(_called(found, source, bound, root, notes).items()))
    return facts | {"notes": notes}


def _text_of(source: Source, notes: list[str]) -> dict[str, str]:
    text = redacted(source.text)
    kept = text[:MAX_SOURCE]
    if kept != text:
        notes.append(f"function: the source was cut at {MAX_SOURCE} characters")
    return {"source": kept, "source_digest": digest(text.encode("utf-8", "surrogatepass"))}


def _plain(thing: object, notes: list[str]) -> tuple[Code | None, type | None]:
    """The Python function or class behind a callable, and the class that it is bound to."""
    bound: type | None = None
    for _ in range(_MAX_DEPTH):
        if isinstance(thing, functools.partial | functools.partialmethod):
            notes.append("function: a partial; what was filled in is not part of its digest")
            thing = thing.func
        elif isinstance(thing, types.MethodType):
            owner = thing.__self__
            bound, thing = (owner if isinstance(owner, type) else type(owner)), thing.__func__
        elif isinstance(thing, classmethod | staticmethod):
            thing = thing.__func__
        elif isinstance(thing, types.FunctionType) and "__wrapped__" in thing.__dict__:
            thing = thing.__dict__["__wrapped__"]
        elif isinstance(thing, types.FunctionType | type):
            return (None if isinstance(thing, type) and _is_built_in(thing) else thing), bound
        else:
            call = inspect.getattr_static(type(thing), "__call__", None)
            if not isinstance(call, types.FunctionType):
                return None, None
            bound, thing = type(thing), call
    return None, None


def _is_built_in(kind: type) -> bool:
    return not kind.__flags__ & (1 << 9)  # Py_TPFLAGS_HEAPTYPE


def _module(thing: object) -> str:
    """The module of a function; of a script what it is called when imported, so that its digest is the same everywhere.

    The script of a spawned process is ``__mp_main__``, of its parent ``__main__``, and of who imports it neither.
    """
    name = str(getattr(thing, "__module__", None) or type(thing).__module__)
    script = sys.modules.get(name) if name in ("__main__", "__mp_main__") else None
    file = getattr(script, "__file__", None) or ""  # none in a notebook
    return str(getattr(getattr(script, "__spec__", None), "name", "") or Path(file).stem or name)


def _name(thing: object) -> str:
    return redacted(f"{_module(thing)}:{getattr(thing, '__qualname__', None) or type(thing).__qualname__}"[:300])


def _digest_of(thing: Code, source: Source) -> str:
    """The digest of what the code says and of the plain constants that it reads."""
    names = _scope(thing, source.node)
    said = syntax_digest(source.node, functools.partial(_is_ours, names))
    constants = [f"{name}={text}" for name, text in sorted(_constants(thing, source.node, names))]
    return digest_of(said, *constants) if constants else said


def _is_ours(names: Mapping[str, Any], decorator: ast.expr) -> bool:
    """Whether a decorator is `track`, which changes nothing of what a function does."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    chain = _chain(target)
    if not chain or chain[-1] != "track":
        return False
    owner = names.get(chain[0], _MISSING)
    module = getattr(owner, "__name__", "") if isinstance(owner, types.ModuleType) else type(owner).__module__
    return owner is _MISSING or is_own(module)


# -- names ---------------------------------------------------------------------------------------------------------


def _scope(thing: Code, node: ast.AST) -> dict[str, Any]:
    """What the names in the code stand for: globals, closure, and modules that it imports within."""
    functions = [thing] if isinstance(thing, types.FunctionType) else list(_methods(thing))
    module = sys.modules.get(thing.__module__ or "")
    names: dict[str, Any] = dict(vars(module)) if module and not functions else {}
    for function in functions:
        names |= function.__globals__
    for function in functions:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # it is not filled yet
                continue
    names |= dict(_imported(node))
    return names


def _methods(kind: type) -> Iterator[types.FunctionType]:
    for value in vars(kind).values():
        inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        inner = inner.fget if isinstance(inner, property) else inner
        if isinstance(inner, types.FunctionType):
            yield inner


def _imported(node: ast.AST) -> Iterator[tuple[str, Any]]:
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            for alias in one.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                if name in sys.modules:
                    yield alias.asname or name, sys.modules[name]
        elif isinstance(one, ast.ImportFrom) and one.module in sys.modules and not one.level:
            module = vars(sys.modules[one.module])
            yield from ((alias.asname or alias.name, module[alias.name]) for alias in one.names if alias.name in module)


def _chain(node: ast.AST) -> list[str]:
    """``["features", "scale"]`` for ``features.scale``; empty for what does not begin with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [*reversed([*names, node.id])] if isinstance(node, ast.Name) else []


def _chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name | ast.Attribute) and (chain := _chain(one)):
            yield tuple(chain)


def _resolved(chain: tuple[str, ...], names: Mapping[str, Any]) -> object:
    """What a dotted name stands for, looked up without running anything."""
    value = names.get(chain[0], _MISSING)
    for name in chain[1:]:
        if isinstance(value, types.ModuleType):
            value = vars(value).get(name, _MISSING)
        elif value is not _MISSING:
            value = inspect.getattr_static(value, name, _MISSING)
    return value


def _locals(thing: Code) -> set[str]:
    code = thing.__code__ if isinstance(thing, types.FunctionType) else None
    return set(code.co_varnames) | set(code.co_cellvars) if code else set()


def _constants(thing: Code, node: ast.AST, names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    own = _locals(thing)
    for chain in sorted(set(_chains(node))):
        if chain[0] in own and chain[0] not in names:
            continue
        value = _resolved(chain, names)
        if isinstance(value, bool | int | float | complex | str | bytes | tuple | list | dict | set | frozenset):
            text = _constant(chain[-1], value)
            if text is not None:
                yield ".".join(chain), text


def _constant(name: str, value: object) -> str | None:
    """The text of a small plain value; None for others."""
    parts = [0]
    try:
        text = _spelled(name, value, parts)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= _MAX_CONSTANT else None


def _spelled(name: str, value: object, parts: list[int]) -> str:
    parts[0] += 1
    if parts[0] > _MAX_PARTS:
        raise ValueError
    kind = type(value)
    if kind in (str, bytes) or (kind is int and name):
        if looks_secret(name, value):
            return "[redacted]"
        return f"{value:x}" if isinstance(value, int) else repr(value)
    if value is None or kind in (bool, int, float, complex):
        return repr(value)
    if isinstance(value, dict) and kind is dict:
        rows = (f"{_spelled('', key, parts)}: {_spelled(str(key), part, parts)}" for key, part in value.items())
        return f"{{{', '.join(rows)}}}"
    if isinstance(value, list | tuple) and kind in (list, tuple):
        return f"{kind.__name__}({', '.join(_spelled(name, part, parts) for part in value)})"
    if isinstance(value, set | frozenset) and kind in (set, frozenset):
        return f"{kind.__name__}({', '.join(sorted(_spelled(name, part, parts) for part in value))})"
    raise ValueError


# -- what it calls -------------------------------------------------------------------------------------------------


def _called(first: Code, source: Source, bound: type | None, root: Path, notes: list[str]) -> dict[str, str]:
    """The digests of project functions and classes that are called, by name, breadth first."""
    digests: dict[str, str] = {}
    seen = {id(first)}
    waiting: deque[tuple[Code, Source, int]] = deque([(first, source, 0)])
    known: list[object] = [bound] if bound else []
    while waiting:
        thing, text, depth = waiting.popleft()
        found = [*known, *_references(thing, text)]
        known = []
        for one in found:
            if id(one) in seen or not isinstance(one, types.FunctionType | type) or not _is_of_project(one, root):
                continue
            if len(digests) == _MAX_CALLS or depth == _MAX_DEPTH:
                notes.append(f"calls: more than {_MAX_CALLS} functions, or {_MAX_DEPTH} deep; the others do not count")
                return digests
            seen.add(id(one))
            inner = _sourced(one, notes)
            if inner:
                digests[_free(_name(one), digests)] = _digest_of(one, inner)
                waiting.append((one, inner, depth + 1))
    return digests


def _sourced(thing: Code, notes: list[str]) -> Source | None:
    try:
        return source_of(thing)
    except NoSourceError as error:
        notes.append(f"calls: {_name(thing)} unknown: {error}")
        return None


def _free(name: str, taken: Mapping[str, str]) -> str:
    return next(one for one in (name, *(f"{name}#{i}" for i in range(2, _MAX_CALLS + 2))) if one not in taken)


def _is_of_project(thing: Code, root: Path) -> bool:
    return is_project(file_of(thing), thing.__module__, root)


def _references(thing: Code, source: Source) -> Iterator[object]:
    """Functions and classes that the code names, wrappers taken off."""
    names = _scope(thing, source.node)
    for chain in dict.fromkeys(_chains(source.node)):
        value = _resolved(chain, names)
        if value is _MISSING or isinstance(value, types.ModuleType):
            continue
        if isinstance(
            value, type | types.FunctionType | types.MethodType | functools.partial | classmethod | staticmethod
        ):
            yield _plain(value, [])[0]
        elif isinstance(type(value), type):
            yield type(value)  # an object of the project: its class is code
