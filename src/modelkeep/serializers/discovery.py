"""Finding the serializer for an object or a record, through entry points, without importing any framework."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from modelkeep.errors import SerializerError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from modelkeep.serializers.port import Serializer

GROUP = "modelkeep.serializers"
_OURS = "modelkeep"


@attrs.frozen
class Installed:
    """An entry point: the module or name that it claims, and the distribution that brings it."""

    name: str
    distribution: str
    _entry: EntryPoint = attrs.field(repr=False, eq=False)

    def load(self) -> Serializer:
        """Import the serializer.

        Raises:
            SerializerError: it cannot be imported.
        """
        try:
            found: Serializer = self._entry.load()
        except Exception as error:  # another distribution's module may fail in any way
            raise SerializerError(
                f"the serializer {self.name!r} of {self.distribution} ({self._entry.value}) cannot be imported: "
                f"{error!r}; mend or uninstall {self.distribution}",
                name=self.name,
                distribution=self.distribution,
            ) from error
        return found


@lru_cache(maxsize=1)
def installed() -> tuple[Installed, ...]:
    """All serializers that are installed, by name; read once in a process (`installed.cache_clear` forgets)."""
    from importlib.metadata import entry_points  # 34 ms, so only where a model is saved or loaded

    found = {(entry.name, entry.dist.name if entry.dist else "?"): entry for entry in entry_points(group=GROUP)}
    return tuple(Installed(name, distribution, entry) for (name, distribution), entry in sorted(found.items()))


def _claiming(name: str) -> Installed | None:
    """The entry point of that name; our own wins over others.

    Raises:
        SerializerError: two other distributions claim the name.
    """
    claims = [one for one in installed() if one.name == name]
    ours = [one for one in claims if one.distribution == _OURS]
    if len(claims) > 1 and not ours:
        names = " and ".join(one.distribution for one in claims)
        raise SerializerError(f"{names} both claim {name!r}; uninstall one of them", name=name)
    return next(iter(ours or claims), None)


def by_name(name: str) -> Serializer:
    """The serializer that records call *name*.

    Raises:
        SerializerError: it is not installed, or two distributions claim it.

    Example:
        >>> by_name("tree").name
        'tree'
    """
    found = _claiming(name)
    if found is None:
        raise SerializerError(f"no serializer {shown(name)} is installed; installed are {_listed()}", name=name)
    return found.load()


def for_object(obj: object) -> Serializer:
    """The serializer that claims the class of *obj*, or a base of it, by its top-level module.

    Raises:
        SerializerError: none does, or two distributions claim the module.

    Example:
        >>> import numpy as np
        >>> for_object({"w": np.zeros(3)}).name
        'tree'
    """
    for module in _modules(obj):
        found = _claiming(module)
        if found is not None:
            serializer = found.load()
            if serializer.accepts(obj):
                _check_found_again(serializer, found)
                return serializer
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    hint = " To save a file or folder pass pathlib.Path(…)." if isinstance(obj, str) else ""
    raise SerializerError(
        f"no serializer takes a {kind}; installed are {_listed()}.{hint} Install one that does, or save it with "
        "save(…, serializer='cloudpickle'), which loads with trust=True only",
        type=kind,
    )


def _check_found_again(serializer: Serializer, found: Installed) -> None:
    """A record keeps the serializer's own name: what that name leads to must be able to load what is saved now."""
    again = _claiming(serializer.name)
    if again is None or again.load() is not serializer:
        raise SerializerError(
            f"the serializer that {found.distribution} offers for {found.name!r} calls itself {serializer.name!r}, "
            f"which {'is no entry point' if again is None else f'belongs to {again.distribution}'}; versions saved "
            f"with it could not be loaded. Ask for an entry point of its own name in {found.distribution}",
            name=serializer.name,
            distribution=found.distribution,
        )


def _modules(obj: object) -> list[str]:
    named = [str(cls.__module__).partition(".")[0] for cls in type(obj).__mro__ if cls is not object]
    # what is also a dict belongs to its other bases first; what nobody takes, a bare tensor, may still be a tree
    return list(dict.fromkeys([*(name for name in named if name != "builtins"), "builtins"]))


def _listed() -> str:
    return ", ".join(f"{one.name} ({one.distribution})" for one in installed()) or "none"
