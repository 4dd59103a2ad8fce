"""Make the lists under ``allowed/`` from the reviewed rules and the packages that are installed.

``python -m modelkeep.pickles.review`` writes them; ``--check`` only says whether they are as they would be made.
Modules are imported and classes looked at; no model is made, so that nothing gets onto a list by being used.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

from modelkeep.pickles import reviewed
from modelkeep.pickles.names import FOLDER

_RUN_WHEN_BUILT = (
    "__new__",
    "__setstate__",
    "__reduce__",
    "__reduce_ex__",
    "__del__",
    "__getattr__",
    "__getattribute__",
)
_HARMLESS = {"builtins", "typing", "abc", "sklearn.base"}  # whose own versions of these were read


def made() -> dict[str, str]:
    """The lists by file name, as they follow from the rules and from what is installed here."""
    warnings.simplefilter("ignore")
    lists = {
        "python.txt": ("python", reviewed.PLAIN.split("\n")),
        "numpy.txt": ("numpy", _numpy()),
        "scipy.txt": ("scipy", _scipy()),
        "scikit-learn.txt": ("scikit-learn", _scikit_learn()),
        "imbalanced-learn.txt": ("imbalanced-learn", _estimators("imblearn")),
        "category-encoders.txt": ("category-encoders", _estimators("category_encoders")),
    }
    return {file: _page(of, lines) for file, (of, lines) in lists.items()}


def _page(of: str, lines: Iterable[str]) -> str:
    made_for = "any" if of == "python" else version(of)
    head = f"# What a pickle may build without trust: {of}, made for version {made_for} by modelkeep.pickles.review\n"
    return head + "\n".join(sorted({line.strip() for line in lines if line.strip()})) + "\n"


def _numpy() -> Iterator[str]:
    import numpy as np

    yield from reviewed.NUMPY.split("\n")
    for core in reviewed.CORES:
        yield from reviewed.CORE.format(core=core).split("\n")
    for name in (*reviewed.NUMPY_TYPES, *reviewed.NUMPY_FUNCTIONS):
        if hasattr(np, name):
            yield f"numpy {name} value"
    yield from (f"numpy {name} value" for name in dir(np) if isinstance(getattr(np, name, None), np.ufunc))


def _scipy() -> Iterator[str]:
    import numpy as np

    special = import_module("scipy.special")

    yield from reviewed.SCIPY.split("\n")
    for module, names in reviewed.SPARSE.items():
        yield from (f"{module} {name} new build:fields check:sparse" for name in names)
    found = (name for name in dir(special) if isinstance(getattr(special, name), np.ufunc))
    yield from (f"scipy.special._ufuncs {name} value" for name in found)


def _scikit_learn() -> Iterator[str]:
    yield from _estimators("sklearn")
    yield from reviewed.NATIVE.split("\n")
    yield reviewed.BUNCH
    for module in reviewed.NUMBERS_ONLY:
        yield from (f"{module} {name} call:plain" for name, _ in _members(import_module(module), inspect.isclass))
    for metric in reviewed.METRICS:
        yield from (f"sklearn.metrics._dist_metrics {metric}Distance{bits} part" for bits in (32, 64))
    for module, names in reviewed.HELPERS.items():
        yield from _plain_classes(module, names)
    for module, names in reviewed.FUNCTIONS.items():
        found = _members(import_module(module), inspect.isfunction)
        yield from (f"{module} {name} value" for name, _ in found if _chosen(name, names))


def _chosen(name: str, names: Sequence[str]) -> bool:
    return not name.startswith("_") if names == "*" else name in names


def _members(module: ModuleType, kind: Any) -> list[tuple[str, Any]]:
    return [
        (name, found) for name, found in vars(module).items() if kind(found) and found.__module__ == module.__name__
    ]


def _estimators(package: str) -> Iterator[str]:
    from sklearn.base import BaseEstimator

    for module in _modules(package):
        for name, cls in _members(module, inspect.isclass):
            if issubclass(cls, BaseEstimator) and name == cls.__qualname__ and not inspect.isabstract(cls):
                yield from _plain_class(cls)


def _modules(package: str) -> Iterator[ModuleType]:
    root = import_module(package)
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not set(found.name.split(".")) & set(reviewed.SKIPPED_MODULES):
            try:
                yield import_module(found.name)
            except ImportError:  # it needs a package that is no part of the rules
                continue


def _plain_classes(module: str, names: Sequence[str]) -> Iterator[str]:
    for name, cls in _members(import_module(module), inspect.isclass):
        if _chosen(name, names) and not inspect.isabstract(cls):
            yield from _plain_class(cls)


def _plain_class(cls: type) -> Iterator[str]:
    """The line of a class that is built from its attributes alone; none where code of its own would run."""
    full = f"{cls.__module__}.{cls.__qualname__}"
    if full in reviewed.OWN_CODE or not _own_code(cls):
        check = _check_of(cls)
        yield f"{cls.__module__} {cls.__qualname__} new build:fields{f' check:{check}' if check else ''}"


def _own_code(cls: type) -> list[str]:
    return [
        f"{base.__module__}.{base.__qualname__}.{method}"
        for base in cls.__mro__
        if base.__module__ not in _HARMLESS
        for method in _RUN_WHEN_BUILT
        if method in vars(base)
    ]


def _check_of(cls: type) -> str:
    return next(
        (check for base in cls.__mro__ if (check := reviewed.CHECKED.get(f"{base.__module__}.{base.__qualname__}"))), ""
    )


def main(arguments: list[str]) -> int:
    """Write the lists, or with ``--check`` say which differ."""
    differ = 0
    for file, text in made().items():
        path = FOLDER / file
        same = path.exists() and path.read_text(encoding="utf-8") == text
        differ += not same
        sys.stdout.write(f"{file}: {len(text.splitlines()) - 1} names{'' if same else ', changed'}\n")
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    return 1 if differ and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
