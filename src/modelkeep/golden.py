"""Golden inputs and outputs: kept with a version, and replayed wherever it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from modelkeep.serializers.packages import installed_versions
from modelkeep.version import Record, Tolerance

GOLDEN_INPUTS, GOLDEN_OUTPUTS = "golden-inputs", "golden-outputs"
_NOTHING = object()


@attrs.frozen
class Golden:
    """Inputs to be replayed, for ``Registry.save(golden=)``, where a tolerance is to be given.

    Args:
        inputs: as `ModelVersion.predict` takes them.
        outputs: what they give; not given: what the model makes of them at the save.
        rtol: how far an output may lie from what is expected, by what is expected.
        atol: and how far beside, in absolute terms.

    Example:
        >>> import numpy as np
        >>> golden = Golden(np.ones(3), rtol=0.01)
        >>> golden.has_outputs, golden.tolerance
        (False, Tolerance(rtol=0.01, atol=1e-08))
    """

    inputs: Any
    outputs: Any = attrs.field(default=_NOTHING, repr=lambda one: "…" if one is _NOTHING else repr(one))
    rtol: float = attrs.field(default=Tolerance().rtol, kw_only=True)
    atol: float = attrs.field(default=Tolerance().atol, kw_only=True)

    @classmethod
    def of(cls, given: Any) -> Self:
        """Read what a caller gave: one of these, a pair of inputs and outputs as a tuple, or inputs."""
        if isinstance(given, cls):
            return given
        pair = type(given) is tuple and len(given) == 2  # noqa: PLR2004  a pair
        return cls(*given) if pair else cls(given)

    @property
    def has_outputs(self) -> bool:
        """Whether the outputs were given."""
        return self.outputs is not _NOTHING

    @property
    def tolerance(self) -> Tolerance:
        """How far an output may lie from what is expected.

        Raises:
            InvalidValueError: it is no tolerance.
        """
        return Tolerance(self.rtol, self.atol)


@attrs.frozen(kw_only=True)
class GoldenCheck:
    """What a replay of golden inputs found; true if all outputs were as expected.

    Args:
        ok: whether all were.
        compared: values that were looked at.
        differing: those of them that differ, or are not there.
        worst_absolute: the largest distance of two numbers; infinite where only one of them is.
        worst_relative: the same, by the number that is expected.
        where: the first value that differs: its column, or its index.
        why: what differs there.
        packages: distributions of which other versions are installed here than at the save: the version then, and the
            one here, None if there is none.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> check = GoldenCheck.of(np.array([1.0, 2.0]), np.array([1.0, 2.5]), Tolerance())
        >>> bool(check), check.where
        (False, '[1]')
    """

    ok: bool
    compared: int
    differing: int
    worst_absolute: float
    worst_relative: float
    where: str | None = None
    why: str | None = None
    packages: Mapping[str, tuple[str, str | None]] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        other = "".join(
            f"; {name} was {then}, and is {now or 'not here'}" for name, (then, now) in self.packages.items()
        )
        if self.ok:
            return f"{self.compared} values are as expected{other}"
        return (
            f"{self.differing} of {self.compared} values differ, first at {self.where}: {self.why}; worst by "
            f"{self.worst_absolute:.3g} ({self.worst_relative:.3g} of what is expected){other}"
        )

    @classmethod
    def of(
        cls, then: Any, now: Any, tolerance: Tolerance, packages: Mapping[str, tuple[str, str | None]] | None = None
    ) -> Self:
        """Compare the outputs of now with those of then.

        Text, labels, whole numbers and truth values must be equal, floats lie within the tolerance, NaN equals NaN, and
        shapes must be the same.
        """
        from modelkeep.comparing import Difference

        found = Difference()
        found.compare(then, now, tolerance)
        return cls(ok=not found.differing, packages=packages or {}, **attrs.asdict(found))


def moved_packages(record: Record) -> dict[str, tuple[str, str | None]]:
    """The distributions that a record names of which another version is installed here, or none: then, and now."""
    then = dict(record.packages)
    for part in record.parts.values():
        then.update(part.packages)
    here = installed_versions(tuple(sorted(then)))
    return {name: (version, here.get(name)) for name, version in sorted(then.items()) if here.get(name) != version}
