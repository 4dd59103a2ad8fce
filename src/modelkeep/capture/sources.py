"""Where the source of a function or a class stands, and which code is the project's own."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import sys
import sysconfig
import textwrap
import types
from functools import lru_cache
from pathlib import Path

import attrs

_INSTALLED = {"site-packages", "dist-packages"}
_MAX_SOURCE = 1 << 20  # characters of a file; longer ones are generated, and parsing them takes seconds
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


class NoSourceError(Exception):
    """The source is not to be had; the text says why."""


@attrs.frozen(eq=False)
class Source:
    """The text of a definition, and its tree."""

    text: str
    node: Definition


def source_of(thing: types.FunctionType | type) -> Source:
    """The source of a function, a lambda or a class, without indentation.

    Raises:
        NoSourceError: it was made by ``exec``, or its file is gone or too long.
    """
    if isinstance(thing, types.FunctionType) and thing.__name__ == "<lambda>":
        return _lambda(thing)
    try:
        text = textwrap.dedent(inspect.getsource(thing))
        node = _parsed(text).body[0]
    except (OSError, TypeError, SyntaxError, ValueError, IndexError, RecursionError, MemoryError) as error:
        raise NoSourceError(f"no source of it is to be had ({type(error).__name__})") from error
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name != thing.__name__:
        raise NoSourceError("what stands at its place is something else")
    return Source(text, node)


def _lambda(thing: types.FunctionType) -> Source:
    """A lambda, found in the tree of its file by the place of its code."""
    code = thing.__code__
    text = "".join(linecache.getlines(code.co_filename, thing.__globals__))
    if not text or len(text) > _MAX_SOURCE:
        raise NoSourceError("no source of it is to be had")
    try:
        tree = _parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoSourceError("its file cannot be read") from error
    places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
    first = min(places, default=(code.co_firstlineno, 0))
    found = [one for one in ast.walk(tree) if isinstance(one, ast.Lambda) and _holds(one, first)]
    if not found:
        raise NoSourceError("what stands at its place is something else")
    node = max(found, key=lambda one: (one.lineno, one.col_offset))  # the innermost
    return Source(ast.get_source_segment(text, node) or "", node)


def _holds(node: ast.Lambda, place: tuple[int, int]) -> bool:
    body = node.body
    end = (body.end_lineno or 0, body.end_col_offset or 0)
    return (body.lineno, body.col_offset) <= place < end


@lru_cache(maxsize=64)
def _parsed(text: str) -> ast.Module:
    if len(text) > _MAX_SOURCE:
        raise ValueError("too long")
    return ast.parse(text)


def was_changed(thing: types.FunctionType, node: Definition) -> bool:
    """Whether the source is not that of the code that runs, since the file was edited after it was imported."""
    code = thing.__code__
    if code.co_freevars or isinstance(node, ast.ClassDef | ast.Lambda):
        return False  # code that reads names around it cannot be made without them
    body = ast.Module([node], [])
    flags = code.co_flags & 0x1FF0000  # `from __future__ import …`
    try:
        made = compile(body, "<source>", "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, TypeError):
        return True
    inner = next(
        (one for one in made.co_consts if isinstance(one, types.CodeType) and one.co_name == code.co_name), None
    )
    return inner is None or (inner.co_varnames, inner.co_names) != (code.co_varnames, _plain(code, inner))


def _plain(code: types.CodeType, inner: types.CodeType) -> tuple[str, ...]:
    """The names of *code*, but for those that a test runner or a meter wrote into it (``@py_assert1``)."""
    odd = any(name.startswith("@") for name in (*code.co_names, *code.co_varnames))
    return inner.co_names if odd else code.co_names


@lru_cache(maxsize=1)
def _library() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.realpath(paths[name]) + os.sep for name in ("stdlib", "platstdlib")})


def file_of(thing: types.FunctionType | type) -> str | None:
    """The file that a function or a class was defined in, or None."""
    if isinstance(thing, types.FunctionType):
        return thing.__code__.co_filename
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    return getattr(module, "__file__", None) or ("<cell>" if getattr(module, "__name__", "") == "__main__" else None)


def is_own(module: str | None) -> bool:
    """Whether a module is one of modelkeep: a checkout of it may lie within a project, and is no code of a training."""
    return (module or "").partition(".")[0] == "modelkeep"


def is_project(file: str | None, module: str | None, root: Path) -> bool:
    """Whether code in *file* belongs to the project below *root*; cells and consoles do."""
    if is_own(module):
        return False
    return place_in(file, root) is not None or (module == "__main__" and not os.path.exists(file or ""))  # noqa: PTH110


@lru_cache(maxsize=4096)
def place_in(file: str | None, root: Path) -> str | None:
    """The path of *file* relative to *root*, with ``/``; None if it is installed, of Python itself, or elsewhere.

    Example:
        >>> place_in("/work/churn/train.py", Path("/work/churn"))
        'train.py'
        >>> print(place_in("/work/churn/.venv/lib/python3.12/site-packages/six.py", Path("/work/churn")))
        None
    """
    if not file or file.startswith("<"):
        return None
    real = os.path.realpath(file)
    try:
        inside = Path(real).relative_to(root.resolve())
    except (ValueError, OSError):
        return None
    if real.startswith(_library()) or _INSTALLED & set(inside.parts):
        return None
    return inside.as_posix()
