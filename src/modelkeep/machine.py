"""`Hardware`: what a version was made on, as a record holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from modelkeep.bounds import count_of, number_of, object_of, sentences_of, text_of

_MAX_GPUS = 1024


@attrs.frozen(kw_only=True)
class Gpu:
    """One graphics processor: its name, and its memory in bytes where that is known."""

    name: str
    memory: int | None = None

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "a graphics processor")
        memory = None if given.get("memory") is None else count_of(given["memory"], "memory")
        return cls(name=text_of(given["name"], "the name of a graphics processor"), memory=memory)

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        return {key: value for key, value in attrs.asdict(self).items() if value is not None}


@attrs.frozen(kw_only=True)
class Hardware:
    """What a version was made on; None or empty where that is not known.

    Args:
        cpu: the processor's name.
        cpus: logical processors of the machine.
        cores: physical ones.
        usable: logical processors that the process may run on.
        cpu_limit: processors' worth of time that its control group allows.
        memory: of the machine, in bytes.
        memory_limit: that its control group allows, in bytes.
        gpus: graphics processors.
        driver: the version of their driver.
        unknown: what could not be found out, a sentence each.

    Example:
        >>> Hardware.from_json({"cpus": 8, "gpus": [{"name": "NVIDIA H100"}]}).gpus[0].name
        'NVIDIA H100'
    """

    cpu: str = ""
    cpus: int | None = None
    cores: int | None = None
    usable: int | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    unknown: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a record holds; words of a newer release are left out.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        given = object_of(value, "hardware")
        gpus = given.get("gpus", [])
        if not isinstance(gpus, list) or len(gpus) > _MAX_GPUS:
            raise ValueError(f"'gpus' is a list of at most {_MAX_GPUS}")
        counts = {key: count_of(given[key], key) for key in _COUNTS if given.get(key) is not None}
        limit = given.get("cpu_limit")
        return cls(
            cpu=text_of(given.get("cpu", ""), "cpu"),
            driver=text_of(given.get("driver", ""), "driver"),
            cpu_limit=None if limit is None else number_of(limit, "cpu_limit"),
            gpus=tuple(Gpu.from_json(one) for one in gpus),
            unknown=sentences_of(given.get("unknown", [])),
            **counts,
        )

    def to_json(self) -> dict[str, Any]:
        """The form in a record."""
        kept: Mapping[str, Any] = {
            **attrs.asdict(self, recurse=False),
            "gpus": [one.to_json() for one in self.gpus],
            "unknown": list(self.unknown),
        }
        return {key: value for key, value in kept.items() if value not in (None, "", [])}


_COUNTS = ("cpus", "cores", "usable", "memory", "memory_limit")
