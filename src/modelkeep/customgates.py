"""Gates of other distributions: functions under the entry point group ``modelkeep.gates``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelkeep.errors import NotFoundError, SerializerError, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "modelkeep.gates"


@lru_cache(maxsize=1)
def _installed() -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # 34 ms, so only where a policy names one

    return tuple(entry_points(group=GROUP))


def forget() -> None:
    """Look again for what is installed, the next time."""
    _installed.cache_clear()


def _named(name: str) -> EntryPoint:
    found = {entry.dist.name if entry.dist else "?": entry for entry in _installed() if entry.name == name}
    if not found:
        raise NotFoundError(
            f"no distribution that is installed here brings the gate {name!r}; install the one that does", name=name
        )
    if len(found) > 1:
        raise SerializerError(f"{' and '.join(sorted(found))} both bring the gate {name!r}; uninstall one", name=name)
    return next(iter(found.values()))


def custom_gate(
    name: str, version: Any, holder: Any, options: Mapping[str, Any]
) -> tuple[bool, int | float | str | None, str]:
    """Ask the gate *name*: whether it passed, what it measured, and what it says.

    The function gets the version, the holder or None, and the options of the policy by name. It gives back whether the
    gate passed, or a pair of that and what it measured. Only True passes: neither NaN nor 1 does.

    Raises:
        NotFoundError: it is not installed.
        SerializerError: two distributions bring it.
    """
    found = _named(name).load()(version, holder, **options)
    passed, measured = found if isinstance(found, tuple) and len(found) == 2 else (found, None)  # noqa: PLR2004  a pair
    plain = getattr(measured, "item", lambda: measured)()  # numbers of NumPy
    kept = plain if isinstance(plain, (int, float)) else None if plain is None else shown(plain)[:200]
    return _is_true(passed), kept, "" if kept is None else f"measured {kept}"


def _is_true(value: Any) -> bool:
    return value is True or (type(value).__module__ == "numpy" and getattr(value, "item", lambda: None)() is True)
