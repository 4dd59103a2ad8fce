"""Finding the serializer for an object or a record, through entry points, without importing any framework.

Those of other distributions are listed, and imported only where the caller allows their names: to import one is to run
its code, and a record that a stranger wrote may name it.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from modelkeep.callers import level_above_us
from modelkeep.errors import SerializerError, TrustError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from modelkeep.serializers.port import Serializer

GROUP = "modelkeep.serializers"
_OURS, _HERE = "modelkeep", "modelkeep.integrations."
_FALLBACK = "cloudpickle"
_NO_MODELS = (str, bytes, bytearray, memoryview, numbers.Number, type(None))  # given by mistake more often than not
_LOOKED_AT = 1000  # parts of a container, to tell whose they are

Allowed = Callable[[str], bool]  # whether a serializer of another distribution may be imported, by its name


def nobody(_: str) -> bool:
    """Allow none but our own."""
    return False


@attrs.frozen
class Installed:
    """An entry point: the module or name that it claims, and the distribution that brings it."""

    name: str
    distribution: str
    _entry: EntryPoint = attrs.field(repr=False, eq=False)
    _kept: list[Serializer] = attrs.field(factory=list, init=False, repr=False, eq=False)

    @property
    def is_ours(self) -> bool:
        """Whether it is a part of modelkeep."""
        return self.distribution == _OURS and self._entry.value.startswith(_HERE)

    def load(self) -> Serializer:
        """Import the serializer, once.

        Raises:
            SerializerError: it cannot be imported.
        """
        if not self._kept:
            try:
                self._kept.append(self._entry.load())
            except Exception as error:  # another distribution's module may fail in any way
                raise SerializerError(
                    f"the serializer {self.name!r} of {self.distribution} ({self._entry.value}) cannot be imported: "
                    f"{error!r}; mend or uninstall {self.distribution}",
                    name=self.name,
                    distribution=self.distribution,
                ) from error
        return self._kept[0]

    def load_if(self, allowed: Allowed) -> Serializer:
        """Import the serializer if it is ours, or *allowed*.

        Raises:
            TrustError: it is neither.
            SerializerError: it cannot be imported.
        """
        if not self.is_ours and not allowed(self.name):
            raise TrustError(
                f"the serializer {self.name!r} is of {self.distribution}, and is imported only if you allow it: "
                f"Registry(…, trust=[{self.name!r}]), or trust={self.name!r} in this call",
                name=self.name,
                distribution=self.distribution,
            )
        return self.load()


@lru_cache(maxsize=1)
def _claims() -> dict[str, list[Installed]]:
    from importlib.metadata import entry_points  # 34 ms, so only where a model is saved or loaded

    found = {(entry.name, entry.dist.name if entry.dist else "?"): entry for entry in entry_points(group=GROUP)}
    claims: dict[str, list[Installed]] = {}
    for (name, distribution), entry in sorted(found.items()):
        claims.setdefault(name, []).append(Installed(name, distribution, entry))
    return claims


def installed() -> tuple[Installed, ...]:
    """All serializers that are installed, by name; looked for once in a process (`forget` lets it look again)."""
    return tuple(one for claims in _claims().values() for one in claims)


def forget() -> None:
    """Look again for what is installed, the next time."""
    _claims.cache_clear()


def _claiming(name: str) -> Installed | None:
    """The entry point of that name; our own wins over others.

    Raises:
        SerializerError: two other distributions claim the name.
    """
    claims = _claims().get(name, [])
    ours = [one for one in claims if one.is_ours]
    if len(claims) > 1 and not ours:
        names = " and ".join(one.distribution for one in claims)
        raise SerializerError(f"{names} both claim {name!r}; uninstall one of them", name=name)
    return next(iter(ours or claims), None)


def by_name(name: str, allowed: Allowed = nobody) -> Serializer:
    """The serializer that records call *name*.

    Raises:
        SerializerError: it is not installed, or two distributions claim it.
        TrustError: it is of another distribution and not *allowed*.

    Example:
        >>> by_name("tree").name
        'tree'
    """
    found = _claiming(name) if isinstance(name, str) else None
    if found is None:
        raise SerializerError(f"no serializer {shown(name)} is installed; installed are {_listed()}", name=shown(name))
    return found.load_if(allowed)


def for_object(obj: object, allowed: Allowed = nobody) -> Serializer:
    """The serializer that claims the class of *obj*, or a base of it, by its top-level module.

    What none takes but might take a part of, such as a tuple of optax's states, is offered to those of its parts. What
    is left goes to cloudpickle, with a warning.

    Raises:
        SerializerError: it is bare text, a number or nothing; or two distributions claim the module.
        TrustError: it is of another distribution and not *allowed*.

    Example:
        >>> import numpy as np
        >>> for_object({"w": np.zeros(3)}).name
        'tree'
    """
    chosen = claimant(obj, allowed)
    if chosen is None:
        _fall_back(obj)
        chosen = by_name(_FALLBACK)
    return chosen


def claimant(obj: object, allowed: Allowed = nobody) -> Serializer | None:
    """The serializer that claims the class of *obj*, as in `for_object`; None if none does."""
    for module in _modules(obj):
        found = _claiming(module)
        if found is not None and (chosen := _taking(obj, found, allowed)) is not None:
            return chosen
    for module in _modules_within(obj):
        found = _claiming(module)
        if found is not None and found.is_ours and (chosen := _taking(obj, found, allowed)) is not None:
            return chosen
    return None


def _taking(obj: object, found: Installed, allowed: Allowed) -> Serializer | None:
    serializer = found.load_if(allowed)
    if not serializer.accepts(obj):
        return None
    _check_found_again(serializer, found)
    return serializer


def _fall_back(obj: object) -> None:
    """Warn that *obj* will be pickled, or refuse: a path or an array of bytes given by mistake is no model."""
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    if isinstance(obj, _NO_MODELS):
        hint = " To save a file or folder pass pathlib.Path(…)." if isinstance(obj, str) else ""
        raise SerializerError(
            f"no serializer takes a {kind}; installed are {_listed()}.{hint} Put it into a dict, or save it with "
            "save(…, serializer='cloudpickle'), which loads with trust=True only",
            type=kind,
        )
    warnings.warn(
        f"no serializer of its own takes a {kind}; it is kept by cloudpickle, and loads with trust= only. Say "
        "save(…, serializer='cloudpickle') if that is meant, or install a serializer; installed are "
        f"{_listed()}",
        UserWarning,
        stacklevel=level_above_us(),
    )


def _check_found_again(serializer: Serializer, found: Installed) -> None:
    """A record keeps the serializer's own name: what that name leads to must be able to load what is saved now."""
    again = _claiming(serializer.name)
    if again is None or again.distribution != found.distribution or again.load() is not serializer:
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


def _modules_within(obj: object) -> list[str]:
    """The modules of the parts of a dict, list or tuple, in breadth; those of the whole are known to take it not."""
    seen, parts = dict.fromkeys(["builtins"]), [obj]
    for part in parts:  # grows on the way
        inner: Iterable[object] = part.values() if isinstance(part, dict) else ()
        inner = part if isinstance(part, (list, tuple)) else inner
        for one in inner:
            if len(parts) < _LOOKED_AT:
                parts.append(one)
                seen.update(dict.fromkeys(_modules(one)))
    return [name for name in seen if name != "builtins"]


def _listed() -> str:
    return ", ".join(f"{one.name} ({one.distribution})" for one in installed()) or "none"
