"""The text of a policy as it is read: each value knows where it stands, so that a refusal names line and column."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs

from modelkeep.errors import InvalidValueError, shown
from modelkeep.tomlplaces import Path, Place, place_of
from modelkeep.values import check_text

TOP = ("retention", "models")  # the tables of a policy
MAX_PATTERN = 1_000  # characters; names have 200, and 60,000 brackets would be looked at for minutes
_MOST = 1_000_000
_SPAN = re.compile(r"([0-9]{1,6}) (minute|hour|day|week)s?")  # six digits: a timedelta has room for these weeks
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # of models the names are quoted all the same, since most are patterns
_AT = re.compile(r"\(at line ([0-9]+), column ([0-9]+)\)")
_AT_END = "(at end of document)"


@attrs.frozen
class Said:
    """What a policy says in one place.

    Args:
        value: as `tomllib` read it.
        path: the keys that lead there, and indices of arrays.
        text: the whole policy.
    """

    value: Any
    path: Path = ()
    text: str = attrs.field(default="", repr=False)

    @property
    def spelled(self) -> str:
        """The keys that lead there, as a header has them."""
        keys = [key for key in self.path if isinstance(key, str)]
        bare = [before != "models" and _BARE.fullmatch(key) for before, key in zip(["", *keys], keys, strict=False)]
        return ".".join(key if is_bare else f'"{key}"' for key, is_bare in zip(keys, bare, strict=True))

    def wrong(self, wanted: str, *, about: str = "") -> InvalidValueError:
        """The error for a value that is not *wanted*; what it is *about* is else the key."""
        # TOML has hexadecimal numbers of more digits than Python writes out
        key = about or self.spelled
        return self.refused(f"{key} is {shown(self.value):.200}; give {wanted}", key=key)

    def refused(self, message: str, **facts: Any) -> InvalidValueError:
        """The error that says where this stands."""
        found = place_of(self.text, self.path)
        if found is None:
            return InvalidValueError(message, **facts)
        return InvalidValueError(f"{found}: {message}", line=found.line, column=found.column, **facts)

    def table(self, known: Sequence[str] | None = None) -> dict[str, Said]:
        """What a table says, by key.

        Raises:
            InvalidValueError: it is none, or has a key that is not *known*.
        """
        if not isinstance(self.value, dict):
            raise self.wrong(f"a table [{self.spelled}]")
        found = {key: Said(value, (*self.path, key), self.text) for key, value in self.value.items()}
        for key, said in found.items():
            if known is not None and key not in known:
                raise said.refused(f"{self._titled} has {key!r}, which is unknown; known: {', '.join(known)}", key=key)
        return found

    @property
    def _titled(self) -> str:
        if not self.path:
            return "the policy"
        return self.spelled if any(isinstance(key, int) for key in self.path) else f"[{self.spelled}]"

    def listed(self, wanted: str) -> list[Said]:
        """What an array says, one after the other.

        Raises:
            InvalidValueError: it is none.
        """
        if not isinstance(self.value, list):
            raise self.wrong(wanted)
        return [Said(value, (*self.path, index), self.text) for index, value in enumerate(self.value)]

    def key(self, name: str) -> Said:
        """What a table says under *name*; of what is not there the value is None."""
        return Said(self.value.get(name), (*self.path, name), self.text)

    def pattern(self) -> str:
        """The last key, which is a pattern of names.

        Raises:
            InvalidValueError: it cannot be one.
        """
        found = str(self.path[-1])
        if not 0 < len(found) <= MAX_PATTERN:
            table = Said(found, self.path, self.text)
            parent = Said(None, self.path[:-1]).spelled
            raise table.wrong('a pattern of names, such as "churn-*"', about=f"a name in [{parent}]")
        return found

    # -- values ------------------------------------------------------------------------------------------------

    def count(self, most: int = _MOST) -> int:
        """A whole number from 1 on."""
        if type(self.value) is not int or not 1 <= self.value <= most:
            raise self.wrong(f"a whole number from 1 to {most:,}")
        return self.value

    def number(self, *, least: float | None = None) -> float:
        """A number that is one: neither NaN nor infinite."""
        value = self.value
        fits = type(value) in (int, float) and abs(value) <= 1e300 and (least is None or value >= least)  # noqa: PLR2004
        if not fits:
            raise self.wrong(f"a number{'' if least is None else f' from {least:g} on'}, such as 0.9")
        return float(value)

    def span(self) -> timedelta:
        """A length of time, such as ``90 days``."""
        found = _SPAN.fullmatch(self.value) if isinstance(self.value, str) else None
        if not found:
            raise self.wrong('a number of minutes, hours, days or weeks, such as "90 days"')
        return timedelta(**{f"{found[2]}s": int(found[1])})

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def words(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("a text that is not empty")
        return self.value


def read(text: str) -> Said:
    r"""Read the TOML of a policy.

    Raises:
        InvalidValueError: it is none; has the line and the column.

    Example:
        >>> read('[retention]\nlast = 10').table()["retention"].table()["last"].count()
        10
    """
    try:
        return Said(tomllib.loads(check_text(text, "the policy")), (), text)
    except InvalidValueError:
        raise
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number may have too many digits
        at = _place_of_slip(text, str(error))
        said = str(error).replace(_AT_END, f"(at {at}, the end)")
        raise InvalidValueError(
            f"the policy is no TOML: {said}; write it as in [retention], last = 10",
            key="policy",
            **({"line": at.line, "column": at.column} if at else {}),
        ) from None


def _place_of_slip(text: str, said: str) -> Place | None:
    found = _AT.search(said)
    if found:
        return Place(int(found[1]), int(found[2]))
    lines = text.split("\n")
    return Place(len(lines), len(lines[-1]) + 1) if _AT_END in said else None
